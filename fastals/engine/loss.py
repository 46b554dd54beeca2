"""The objective of stored factors, in float64, summed in a fixed order."""

from __future__ import annotations

import numpy as np

from .basis import gram
from .jit import kernel, next_block
from .problem import BACKGROUND, RIDGE, RowProblem
from .rows import cell
from .threads import spread

BLOCK = 256  # rows drawn at once


def cells_and_background(problem: RowProblem, X: np.ndarray, Y: np.ndarray, width: int, n_threads: int) -> float:
    """Return sum_cells confidence (target - x.y)^2 + what the background adds over all other cells.

    Parameters
    ----------
    problem : RowProblem
        Rows are those of `X`.
    X, Y : ndarray, shapes (n_rows, kp), (n_columns, kp)
    width : int
        Columns in use.

    Notes
    -----
    The background of all cells is sum_ij c_i q_j (x_i.y_j)^2 = <sum_i c_i x_i x_i', sum_j q_j y_j y_j'>.
    """
    per_row = np.zeros(problem.cells.n_rows)
    spread(_observed, n_threads, problem, X, Y, per_row)
    total = per_row.sum()
    background = problem.columns[:, BACKGROUND]
    if background.any():
        theirs = gram(Y, background, width, n_threads)
        ours = gram(X, problem.rows[:, BACKGROUND], width, n_threads)
        total += (theirs * ours).sum()
    return float(total)


def ridge(problem: RowProblem, X: np.ndarray) -> float:
    """Return sum_u ridge_u |x_u|^2."""
    squares = np.empty(len(X))
    _squares(X, squares)
    return float(squares @ problem.rows[:, RIDGE].astype(np.float64))


@kernel
def _observed(
    counter,  # inout int64 (1,)
    problem,  # in    RowProblem
    X,  # in    T (n_rows, kp)
    Y,  # in    T (n_columns, kp)
    per_row,  # out   float64 (n_rows,)
):
    """Sum w (x.y)^2 - 2 b (x.y) + confidence target^2 over each row's cells."""
    indptr, indices = problem.cells.indptr, problem.cells.indices
    while True:
        start = next_block(counter) * BLOCK
        if start >= len(X):
            return
        for u in range(start, min(start + BLOCK, len(X))):
            total = 0.0
            for p in range(indptr[u], indptr[u + 1]):
                w, b, constant = cell(problem, u, p)
                prediction = 0.0
                y = Y[indices[p]]
                for i in range(X.shape[1]):
                    prediction += np.float64(X[u, i]) * np.float64(y[i])
                total += w * prediction * prediction - 2 * b * prediction + constant
            per_row[u] = total


@kernel
def _squares(
    X,  # in    T (n, kp)
    out,  # out   float64 (n,)
):
    """Squared length of each row."""
    for u in range(len(X)):
        total = 0.0
        for i in range(X.shape[1]):
            total += np.float64(X[u, i]) ** 2
        out[u] = total
