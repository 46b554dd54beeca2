"""One row: its cells in, its factors out.

Solves (diag(d) + sum_j w_j y_j y_j') x = sum_j b_j y_j with d = background_row * g + ridge, in the eigenbasis of the
background, where G is the diagonal g.
"""

from __future__ import annotations

import numpy as np

from .cholesky import factor, substitute
from .jit import inner

# What a row reports; `fastals.engine.fit` turns them into sentences.
OK, NOT_POSITIVE, NOT_FINITE = 0, 1, 2


@inner
def cell(
    problem,  # in   RowProblem
    u,  # in   intp       row
    p,  # in   intp       position in the cells
):  # -> w, b, constant part of the loss
    """Weight on top of the background, right-hand coefficient and confidence * target^2 of one cell."""
    cells, rule, rows, columns = problem
    value = cells.values[min(p, len(cells.values) - 1)]
    j = cells.indices[p]
    confidence = (
        (rule.constant + rule.slope * abs(value))
        * rows[u, 0]
        * columns[j, 0]
        * cells.weights[min(p, len(cells.weights) - 1)]
    )
    target = rule.value_target * (value - rule.mean - columns[j, 2])
    if value > 0:
        target += rule.sign_target
    return confidence - rows[u, 1] * columns[j, 1], confidence * target, confidence * target * target


@inner
def solve_row(
    problem,  # in    RowProblem
    u,  # in    intp
    Y,  # in    T (n_columns, kp)
    g,  # in    T (kp,)            eigenvalues of the background
    width,  # in    intp              columns of Y in use: the rest is padding
    x,  # out   T (kp,)
    A,  # work  T (kp, kp)
    r,  # work  T (kp,)
):  # -> status, loss of the row with its own ridge
    """Solve one row exactly by Cholesky."""
    indptr, indices = problem.cells.indptr, problem.cells.indices
    begin, end = indptr[u], indptr[u + 1]
    x[:] = 0
    if begin == end:
        return OK, 0.0
    A[:] = 0
    r[:] = 0
    for i in range(width):
        A[i, i] = problem.rows[u, 1] * g[i] + problem.rows[u, 2]
    for i in range(width, len(x)):
        A[i, i] = 1
    constant = 0.0
    for p in range(begin, end):
        w, b, part = cell(problem, u, p)
        y = Y[indices[p]]
        constant += part
        for i in range(width):
            wy = w * y[i]
            for j in range(i, width):
                A[i, j] += wy * y[j]
            r[i] += b * y[i]
    if factor(A) != 0:
        return NOT_POSITIVE, 0.0
    x[:] = r
    substitute(A, x)
    gain = 0.0
    for i in range(width):
        gain += r[i] * x[i]
    if not np.isfinite(gain):
        return NOT_FINITE, 0.0
    return OK, constant - gain
