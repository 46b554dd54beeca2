"""The objective of given factors, in float64, summed in a fixed order."""

from __future__ import annotations

import numpy as np

from .cells import gather_cells
from .equations import gram
from .jit import kernel, next_block
from .problem import BACKGROUND, PRIOR, RIDGE, RowProblem, widened
from .rows.workspace import workspace
from .shifts import on_panel
from .threads import in_parts, spread

BLOCK = 256  # rows that a thread takes at a time


def cells_and_background(problem: RowProblem, X: np.ndarray, Y: np.ndarray, width: int, n_threads: int) -> float:
    """Return the objective without its ridge: the errors of the observed entries and the background.

    Parameters
    ----------
    problem : RowProblem
        The rows are those of `X`.
    X, Y : ndarray, shapes (n_rows, kp), (n_columns, kp)
    width : int
        Columns of the panels in use.
    n_threads : int

    Notes
    -----
    The background sums over all entries: sum_ij c_i q_j (x_i.y_j)^2 = <sum_i c_i x_i x_i', sum_j q_j y_j y_j'>. Shifted
    by s_j, it has the linear term of `problem.Shifts` as well.
    """
    total = _of_entries(widened(problem), X, Y, n_threads).sum()
    background = problem.columns[:, BACKGROUND]
    if background.any():
        total += (gram(Y[:, :width], background) * gram(X[:, :width], problem.rows[:, BACKGROUND])).sum()
    return float(total + of_shifts(on_panel(widened(problem), Y), X))


def of_shifts(problem: RowProblem, X: np.ndarray) -> float:
    """Return what the shifts add to the background: sum_i c_i (sum_j q_j s_j^2 - 2 l.x_i)."""
    return float(_shifts_of_rows(problem, X).sum())


def _shifts_of_rows(problem: RowProblem, X: np.ndarray) -> np.ndarray:
    """Return what the shifts add to each row's objective, float64 (n_rows,)."""
    shifts, background = problem.shifts, problem.rows[:, BACKGROUND].astype(np.float64)
    if len(shifts.linear) == 0:
        return np.zeros(len(X))
    products = np.einsum("nk,k->n", X, shifts.linear[: X.shape[1]], dtype=np.float64)
    return background * (shifts.square - 2 * products)


def of_rows(problem: RowProblem, X: np.ndarray, Y: np.ndarray, g: np.ndarray, n_threads: int) -> np.ndarray:
    """Return each row's objective: entries, background, its own ridge; float64 (n_rows,), never below 0.

    Parameters
    ----------
    problem : RowProblem
    X, Y : ndarray, shapes (n_rows, kp), (n_columns, kp)
        In the eigenbasis of the background.
    g : ndarray, shape (kp,)
        Its eigenvalues.
    n_threads : int
    """
    total = _of_entries(problem, X, Y, n_threads)
    background, ridge, mean = (
        problem.rows[:, BACKGROUND, None] * g,
        problem.rows[:, RIDGE, None],
        problem.rows[:, PRIOR:],
    )
    if mean.shape[1]:
        own = background * X**2 + ridge * (X - mean) ** 2
    else:
        own = (background + ridge) * X**2
    return np.asarray(np.maximum(total + own.sum(axis=1) + _shifts_of_rows(problem, X), 0))


def _of_entries(problem: RowProblem, X: np.ndarray, Y: np.ndarray, n_threads: int) -> np.ndarray:
    """Return each row's sum over its entries, float64 (n_rows,)."""
    per_row = np.zeros(problem.cells.n_rows)
    longest = int(problem.cells.counts.max())

    def work(counter: np.ndarray) -> None:
        _observed(counter, problem, X, Y, per_row, workspace(Y.shape[1], longest, problem.rows.dtype))

    spread(work, n_threads)
    return per_row


def ridge(problem: RowProblem, X: np.ndarray, n_threads: int = 1) -> float:
    """Return sum_u ridge_u |x_u|^2, less the prior mean where rows have one."""
    if problem.rows.shape[1] > PRIOR:
        X = X - problem.rows[:, PRIOR:][:, : X.shape[1]]
    squares = np.empty(len(X))
    in_parts(lambda rows: _squares(X[rows], squares[rows]), *X.shape, n_threads)
    # Not a product of vectors: OpenBLAS spreads it over all CPUs from 10,000 numbers on, and its threads then spin for
    # milliseconds beside ours. Short fits take up to 1.5 times as long.
    return float((squares * problem.rows[:, RIDGE]).sum())


@kernel
def _observed(
    counter,  # inout int64 (1,)
    problem,  # in    RowProblem            float64 but for the cells
    X,  # in    T (n_rows, kp)
    Y,  # in    T (n_columns, kp)
    per_row,  # inout float64 (n_rows,)    in: zeros; out: the sums, 0 for rows without entries
    ws,  # work  Workspace             float64
):
    """Sum w (x.y)^2 - 2 b (x.y) over the entries of each row, and add the constant of its objective."""
    indptr, indices = problem.cells.indptr, problem.cells.indices
    while True:
        start = next_block(counter) * BLOCK
        if start >= len(X):
            return
        for u in range(start, min(start + BLOCK, len(X))):
            begin, m = indptr[u], indptr[u + 1] - indptr[u]
            if m == 0:
                continue
            per_row[u], _, _, _ = gather_cells(problem, u, begin, m, ws.w, ws.b, ws.s)
            for i in range(m):
                y = Y[indices[begin + i]]
                prediction = 0.0
                for c in range(X.shape[1]):
                    prediction += np.float64(X[u, c]) * np.float64(y[c])
                per_row[u] += (ws.w[i] * prediction - 2 * ws.b[i]) * prediction


@kernel
def _squares(
    X,  # in    T (n, kp)
    out,  # out   float64 (n,)
):
    """Compute the squared length of each row."""
    for u in range(len(X)):
        total = 0.0
        for i in range(X.shape[1]):
            total += np.float64(X[u, i]) ** 2
        out[u] = total
