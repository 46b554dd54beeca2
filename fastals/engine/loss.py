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

# Rows that a thread takes at a time at most, and parts in which the threads share the rows if there are fewer.
BLOCK, PARTS = 256, 64
ROWS = 2**14  # rows whose own terms are computed at once


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
    total = _of_entries(widened(problem), X, Y, np.arange(len(X)), n_threads).sum()
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


def of_rows(
    problem: RowProblem, X: np.ndarray, Y: np.ndarray, g: np.ndarray, rows: np.ndarray, n_threads: int
) -> np.ndarray:
    """Return the objectives of some rows: entries, background, own ridge; float64 (len(rows),), never below 0.

    Parameters
    ----------
    problem : RowProblem
    X, Y : ndarray, shapes (n_rows, kp), (n_columns, kp)
        In the eigenbasis of the background.
    g : ndarray, shape (kp,)
        Its eigenvalues.
    rows : ndarray of int64
        Their numbers.
    n_threads : int
    """
    given, problem = problem.rows, widened(problem._replace(rows=problem.rows[:, :PRIOR]))
    total = _of_entries(problem, X, Y, rows, n_threads)
    for begin in range(0, len(rows), ROWS):
        part = slice(begin, begin + ROWS)
        some, x = problem._replace(rows=problem.rows[rows[part]]), X[rows[part]].astype(np.float64)
        background, ridge = some.rows[:, BACKGROUND, None] * g, some.rows[:, RIDGE, None]
        mean = given[rows[part], PRIOR:].astype(np.float64)
        own = background * x**2 + ridge * (x - mean) ** 2 if mean.shape[1] else (background + ridge) * x**2
        total[part] += own.sum(axis=1) + _shifts_of_rows(some, x)
    return np.asarray(np.maximum(total, 0))


def _of_entries(problem: RowProblem, X: np.ndarray, Y: np.ndarray, rows: np.ndarray, n_threads: int) -> np.ndarray:
    """Return the sums of some rows over their entries, float64 (len(rows),)."""
    per_row = np.zeros(len(rows))
    longest = int(problem.cells.counts[rows].max(initial=0))
    size = max(1, min(BLOCK, len(rows) // PARTS))

    def work(counter: np.ndarray) -> None:
        ws = workspace(Y.shape[1], longest, problem.rows.dtype)
        _observed(counter, rows, size, problem, X, Y, per_row, ws)

    spread(work, n_threads)
    return per_row


def ridge(problem: RowProblem, X: np.ndarray, n_threads: int = 1) -> float:
    """Return sum_u ridge_u |x_u|^2, less the prior mean where rows have one."""
    # Not a product of vectors: OpenBLAS spreads it over all CPUs from 10,000 numbers on, and its threads then spin for
    # milliseconds beside ours. Short fits take up to 1.5 times as long.
    return float((squares(X, n_threads, problem.rows) * problem.rows[:, RIDGE]).sum())


def squares(X: np.ndarray, n_threads: int, rows: np.ndarray | None = None) -> np.ndarray:
    """Return |x_u|^2 of each row, float64 (n_rows,); less the prior mean if `rows`, those of a problem, have one."""
    found = np.empty(len(X))
    rows = np.empty((len(X), 0), X.dtype) if rows is None else rows
    in_parts(lambda part: _squares(X[part], rows[part], found[part]), *X.shape, n_threads)
    return found


@kernel
def _observed(
    counter,  # inout int64 (1,)
    rows,  # in    int64 (m,)
    size,  # in    intp               rows that are taken at a time
    problem,  # in    RowProblem            float64 but for the cells
    X,  # in    T (n_rows, kp)
    Y,  # in    T (n_columns, kp)
    per_row,  # inout float64 (m,)         in: zeros; out: the sums, 0 for rows without entries
    ws,  # work  Workspace             float64
):
    """Sum w (x.y)^2 - 2 b (x.y) over the entries of each row, and add the constant of its objective."""
    indptr, indices = problem.cells.indptr, problem.cells.indices
    while True:
        start = next_block(counter) * size
        if start >= len(rows):
            return
        for place in range(start, min(start + size, len(rows))):
            u = rows[place]
            begin, m = indptr[u], indptr[u + 1] - indptr[u]
            if m == 0:
                continue
            per_row[place], _, _, _ = gather_cells(problem, u, begin, m, ws.w, ws.b, ws.s)
            for i in range(m):
                y = Y[indices[begin + i]]
                prediction = 0.0
                for c in range(X.shape[1]):
                    prediction += np.float64(X[u, c]) * np.float64(y[c])
                per_row[place] += (ws.w[i] * prediction - 2 * ws.b[i]) * prediction


@kernel
def _squares(
    X,  # in    T (n, kp)
    rows,  # in    T (n, any)        of a RowProblem; prior means count
    out,  # out   float64 (n,)
):
    """Compute the squared length of each row, less its prior mean."""
    drawn = rows.shape[1] > PRIOR
    for u in range(len(X)):
        total = 0.0
        for i in range(X.shape[1]):
            total += np.float64(X[u, i] - rows[u, PRIOR + i] if drawn else X[u, i]) ** 2
        out[u] = total
