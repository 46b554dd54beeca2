"""Moves between factors and biases that leave all predictions as they are.

With factors x_u, y_i and biases d_u, b_i, nothing changes in x_u.y_i + d_u + b_i when

    x_u <- x_u + v,    d_u <- d_u + c,    b_i <- b_i - v.y_i - c

for any v and c. So only the ridge tells which v and c are best: they solve k + 1 linear equations. Alternation alone
gets there slowly, because no half-step sees both sides: on MovieLens 1M at 64 factors the loss of the second iteration
then comes two iterations later.
"""

from __future__ import annotations

import numpy as np

from .basis import gram
from .blas import one_blas_thread
from .problem import BACKGROUND, RIDGE, RowProblem
from .shifts import weighted_sum
from .threads import in_parts
from .triangular import factor


def level(rows: RowProblem, columns: RowProblem, X: np.ndarray, Y: np.ndarray, bias: int, n_threads: int) -> None:
    """Move a vector from the factors of the rows, and a number from their biases, to the biases of the columns.

    Those for which the objective is smallest. Rows and columns without entries stay 0, so the predictions of their
    unobserved entries do change, and count.

    Parameters
    ----------
    rows : RowProblem
        Of the side that is solved next.
    columns : RowProblem
        Of the other side: its biases are what changes for the next half-step.
    X, Y : ndarray, shape (n, kp)
        The panels of both.
    bias : int
        The column of the biases, after those of the factors.
    n_threads : int
    """
    there, others = rows.cells.counts > 0, columns.cells.counts > 0
    # The background of rows, and of columns, that have no factors: to their unobserved entries a bias is all there is.
    alone, alone_columns = (
        X.dtype.type(of.rows[~has, BACKGROUND].sum(dtype=np.float64)) for of, has in ((rows, there), (columns, others))
    )
    ridges = rows.rows[:, RIDGE] * there
    of_biases = (rows.rows[:, RIDGE] + rows.rows[:, BACKGROUND] * alone_columns) * there
    of_columns = (columns.rows[:, RIDGE] + columns.rows[:, BACKGROUND] * alone) * others
    # With z = (v, c): sum_u ridge_u |x_u + v|^2 + of_bias_u (d_u + c)^2 + sum_i of_column_i (b_i - z.(y_i, 1))^2.
    squares, sums = gram(Y, of_columns, bias + 1, n_threads), weighted_sum(of_columns, Y)[: bias + 1]
    linear = weighted_sum(ridges, X)[: bias + 1]
    linear[bias] = weighted_sum(of_biases, X[:, bias : bias + 1])[0]
    weights = np.full(bias + 1, ridges.sum(dtype=np.float64))
    weights[bias] = of_biases.sum(dtype=np.float64)
    matrix = squares.copy()
    matrix[bias, :bias] = matrix[:bias, bias] = sums[:bias]
    matrix[bias, bias] = of_columns.sum(dtype=np.float64)
    right = np.append(squares[:bias, bias], sums[bias]) - linear
    try:
        inverse = factor(matrix + np.diag(weights), n_threads)[1]
    except np.linalg.LinAlgError:  # no ridge to speak of
        return
    with one_blas_thread():
        z = (inverse.T @ (inverse @ right)).astype(X.dtype)
        taken = (Y[:, :bias] @ z[:bias] + z[bias]) * others
        rise = z @ (2 * linear + weights * z)
    biases = Y[:, bias]
    rise += float((of_columns * (taken - 2 * biases) * taken).sum(dtype=np.float64))
    if not rise < 0:  # by rounding, or not finite
        return

    def add(part: slice) -> None:
        X[part, : bias + 1] += z
        X[part][~there[part]] = 0

    in_parts(add, *X.shape, n_threads)
    biases -= taken
