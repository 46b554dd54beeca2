"""One row by itself, in float64 and with a dense background: what an event solves.

The half-step wants the background as a diagonal. To bring it there costs ten times what one row does, and an event
changes the background. Here the dense background is added to the sums over the entries. A row of 200 entries takes 0.38
of the time of `equations.solve` at k = 32, and 0.13 at k = 128.
"""

from __future__ import annotations

import numpy as np

from ..cells import gather_cells
from ..cholesky import solve
from ..jit import inlined, kernel
from ..problem import BACKGROUND, OFFSET, RIDGE, Cells, RowProblem, widened
from ..simd.target import aligned_empty
from .diagonal import add_linear, has_linear, set_linear
from .precision import PIVOTS
from .primal import sum_equations
from .workspace import workspace

WIDE = np.dtype(np.float64)
EPS = float(np.finfo(WIDE).eps)
NOTHING = np.zeros((0, 0))


def solve_single(
    problem: RowProblem, Y: np.ndarray, width: int, bias: int, gram: np.ndarray | None
) -> np.ndarray | None:
    """Solve a problem of one row by Cholesky.

    Parameters
    ----------
    problem : RowProblem
        Where targets are shifted, `shifts` has their linear term; the shifts themselves follow from the biases.
    Y : ndarray, shape (m, kp)
        The fixed rows of its entries, from a panel.
    width : int
        Columns of the panel in use.
    bias : int
        Column of the fixed rows' biases, -1 if there is none. They are taken off the targets, and the row's own bias is
        the unknown in this column.
    gram : ndarray of float64, shape (width, width), or None
        G of the fixed side; None where there is no background.

    Returns
    -------
    ndarray of float64, shape (width,), or None
        None where there is no entry, or Cholesky does not hold the equations: `equations.solve` does.
    """
    (m, kp), ridge = Y.shape, problem.rows[0, RIDGE]
    if m == 0:
        return None
    if gram is not None and ridge <= np.finfo(Y.dtype).eps * problem.rows[0, BACKGROUND] * gram.diagonal().max():
        return None  # as `smallest.without_ridge`
    alone, panel = gathered(problem, Y, bias)
    G, ws = NOTHING if gram is None else gram, workspace(kp, m, WIDE)
    ratio = _solve(widened(alone), panel, G, width, ws)
    return ws.q[:width] if ratio <= PIVOTS / EPS else None


def gathered(problem: RowProblem, Y: np.ndarray, bias: int) -> tuple[RowProblem, np.ndarray]:
    """Return a problem of one row whose columns are its entries' alone, and its fixed panel in float64.

    Parameters
    ----------
    problem, Y, bias
        As in `solve_single`.
    """
    m, columns, shifts, panel = len(Y), problem.columns, problem.shifts, aligned_empty(Y.shape, WIDE)
    panel[...] = Y
    if len(columns) > 1:
        columns = columns[problem.cells.indices]
    if bias >= 0 and len(shifts.columns):
        shifts = shifts._replace(columns=-panel[:, bias])
    elif bias >= 0:
        columns = np.array(np.broadcast_to(columns, (m, 3)))
        columns[:, OFFSET] = panel[:, bias]
    if bias >= 0:
        panel[:, bias] = 1
    values, weights = (part.astype(WIDE, order="C") for part in (problem.cells.values, problem.cells.weights))
    cells = Cells(np.array([0, m]), np.arange(m, dtype=np.int32), values, weights)
    return problem._replace(cells=cells, columns=columns, shifts=shifts), panel


@kernel
def _solve(
    problem,  # in    RowProblem, float64
    Y,  # in    float64 (m, kp)
    G,  # in    float64 (width, width), or (0, 0) for none
    width,  # in    intp
    ws,  # inout Workspace   out: the solution in q
):  # -> largest ratio of what a pivot is a difference of to the pivot; infinite where one is not positive
    """Sum the equations, add the background, and solve."""
    m, kp = Y.shape
    sum_densely(problem, 0, 0, m, Y, G, width, ws)
    for i in range(kp):
        ws.q[i] = ws.r[i]
        ws.e[i] = ws.A[i * kp + i]
    if solve(ws.A, kp, ws.inv, ws.q) != 0:
        return np.inf
    ratio = 0.0
    for i in range(kp):
        ratio = max(ratio, ws.e[i] * ws.inv[i] ** 2)
    return ratio


@inlined
def sum_densely(
    problem,  # in    RowProblem, float64
    u,  # in    intp
    begin,  # in    intp              first entry
    m,  # in    intp              number of entries, above 0
    Y,  # in    float64 (n_columns, kp)
    G,  # in    float64 (width, width), or (0, 0) for none
    width,  # in    intp
    ws,  # inout Workspace         out: A, its upper triangle, and r
):  # -> constant of the row's objective
    """Sum the equations of a row whose background is dense."""
    kp = Y.shape[1]
    constant, _, negative, _ = gather_cells(problem, u, begin, m, ws.w, ws.b, ws.s)
    for i in range(kp):
        ws.d[i] = problem.rows[u, RIDGE] if i < width else 1.0
    sum_equations(Y, problem.cells.indices, begin, m, negative, ws)
    if has_linear(problem):
        constant += set_linear(problem.rows, problem.shifts, u, ws.linear)
        add_linear(ws.r, ws.linear)
    background = problem.rows[u, BACKGROUND]
    for i in range(len(G)):
        for j in range(i, len(G)):
            ws.A[i * kp + j] += background * G[i, j]
    return constant
