"""A row that is too long for one thread: all threads sum its equations, each over parts of its entries.

The parts are the same for any number of threads, and their sums are added in a fixed order. So the bits do not depend
on the number of threads. Such a row is solved exactly, and in float64. Conjugate gradients would be slower: each step
would read all entries from memory again, and wait for the last part.
"""

from __future__ import annotations

import numpy as np

from ..blas import one_blas_thread
from ..cells import gather_cells
from ..jit import kernel, next_block
from ..plan import Plan
from ..problem import BACKGROUND, IMPRECISE, NOT_FINITE, NOT_POSITIVE, OK, PRIOR, RIDGE, RowProblem
from ..threads import spread
from .diagonal import right_hand_side, sketch_scale
from .precision import PIVOTS
from .primal import sum_equations
from .workspace import Workspace, workspace

LONG = 2**18  # a row with more entries is solved in parts
PARTS = 32  # 2 MB of sums at k = 128, 128 MB at k = 1024


def solve_long_row(
    problem: RowProblem, u: int, Y: np.ndarray, g: np.ndarray, width: int, x: np.ndarray, plan: Plan, n_threads: int
) -> tuple[int, float]:
    """Solve row `u` of a half-step on all threads at once, into `x` of shape (kp,).

    Returns
    -------
    status : int
        See `problem`.
    loss : float
        The row's objective; for a sketch |x|^2.
    """
    kp = Y.shape[1]
    begin, end = problem.cells.indptr[u : u + 2]
    indptr = begin + (end - begin) * np.arange(PARTS + 1, dtype=problem.cells.indptr.dtype) // PARTS
    parts = problem._replace(cells=problem.cells._replace(indptr=indptr), rows=problem.rows[[u] * PARTS])
    longest = int(np.diff(indptr).max())
    sums, right = np.zeros((PARTS, 0 if plan.sketch else kp * kp), Y.dtype), np.zeros((PARTS, kp), Y.dtype)
    constants, weights = np.zeros(PARTS), np.zeros(PARTS)
    free: list[Workspace] = [workspace(kp, longest, Y.dtype) for _ in range(min(n_threads, PARTS))]
    spread(lambda counter: _sum_parts(counter, parts, Y, sums, right, constants, weights, free.pop()), len(free))
    r = right.sum(axis=0, dtype=np.float64)[:width]
    x[width:] = 0
    if plan.sketch:
        r *= sketch_scale.py_func(problem.rows[u, BACKGROUND], g[0], problem.rows[u, RIDGE], weights.sum(), width)
        x[:width] = r
        return OK, float((r**2).sum())
    A = np.triu(sums.sum(axis=0, dtype=np.float64).reshape(kp, kp)[:width, :width])
    ridge, mean = problem.rows[u, RIDGE], problem.rows[u, PRIOR:][:width].astype(np.float64)
    background, shifts = problem.rows[u, BACKGROUND], problem.shifts
    d = background * g[:width] + ridge
    r[: len(mean)] += ridge * mean
    if len(shifts.linear):
        r += background * shifts.linear[:width].astype(np.float64)
    A += np.triu(A, 1).T + np.diag(d)
    with one_blas_thread():
        try:
            factor = np.linalg.cholesky(A)  # fails unless A is positive definite
        except np.linalg.LinAlgError:
            x[:] = 0
            return NOT_POSITIVE, 0.0
        solution = np.linalg.solve(A, r)
        loss = float(constants.sum() - solution @ r + ridge * (mean**2).sum() + background * shifts.square)
        if plan.beyond > 0:  # as `solve_row` does
            way = plan.beyond * (solution - x[:width])
            solution += way
            loss += float(way @ A @ way)
    x[:width] = solution
    if not np.isfinite(loss):
        x[:] = 0
        return NOT_FINITE, 0.0
    # The sums over the parts are in the dtype of the panel.
    ratio = (np.maximum(A.diagonal(), d) / factor.diagonal() ** 2).max()
    return (OK if ratio <= PIVOTS / np.finfo(Y.dtype).eps else IMPRECISE), loss


@kernel
def _sum_parts(
    counter,  # inout int64 (1,)
    problem,  # in    RowProblem           each part as a row
    Y,  # in    T (n_columns, kp)
    sums,  # inout T (n_parts, kp * kp)    in: zeros; out: upper triangles of sum_j w_j y_j y_j'; (n_parts, 0): skip
    right,  # out   T (n_parts, kp)        sum_j b_j y_j
    constants,  # out   float64 (n_parts,)  of the objective
    weights,  # out   float64 (n_parts,)  sum of w
    ws,  # work  Workspace
):
    """Sum the equations of parts until none is left."""
    indptr, indices, kp = problem.cells.indptr, problem.cells.indices, Y.shape[1]
    for i in range(kp):
        ws.d[i] = 0
    while True:
        part = next_block(counter)
        if part >= len(constants):
            return
        begin, m = indptr[part], indptr[part + 1] - indptr[part]
        constants[part], weights[part], negative, _ = gather_cells(problem, part, begin, m, ws.w, ws.b, ws.s)
        if sums.shape[1] == 0:
            right_hand_side(Y, indices, begin, m, ws)
        else:
            sum_equations(Y, indices, begin, m, negative, ws)
            for i in range(kp):
                for j in range(i * kp + i, i * kp + kp):
                    sums[part, j] = ws.A[j]
        for i in range(kp):
            right[part, i] = ws.r[i]
