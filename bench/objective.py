"""The one loss that all contenders are judged by, in float64, whatever they believe they minimise."""

import numba
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from bench.problems import Problem

ROWS_PER_BLOCK = 4096  # a block of 1024 factors in float64 takes 32 MB

Factors = npt.NDArray[np.floating]


# Reassociation lets LLVM sum a dot product in vectors; the error stays that of float64.
@numba.njit(parallel=True, cache=True, fastmath={"reassoc", "contract"})
def _stored_cells(indptr, indices, values, X, Y, alpha, row_sums):
    """For each row, sum (1 + alpha r) (1 - x.y)^2 - (x.y)^2: a stored cell less what the background counts for it."""
    for u in numba.prange(len(indptr) - 1):
        total = 0.0
        for p in range(indptr[u], indptr[u + 1]):
            j = indices[p]
            score = 0.0
            for f in range(X.shape[1]):
                score += np.float64(X[u, f]) * np.float64(Y[j, f])
            total += (1.0 + alpha * values[p]) * (1.0 - score) ** 2 - score**2
        row_sums[u] = total


def _gram(X: Factors) -> npt.NDArray[np.float64]:
    gram = np.zeros((X.shape[1], X.shape[1]))
    for start in range(0, len(X), ROWS_PER_BLOCK):
        block = X[start : start + ROWS_PER_BLOCK].astype(np.float64)
        gram += block.T @ block
    return gram


def loss(problem: Problem, X: Factors, Y: Factors) -> float:
    """Return the objective of `Problem` for user factors X and item factors Y.

    Over all cells the squared scores sum to trace(X'X Y'Y), so that only stored cells are visited.
    """
    R = problem.R
    row_sums = np.empty(len(X))
    _stored_cells(
        R.indptr, R.indices, R.data, np.ascontiguousarray(X), np.ascontiguousarray(Y), problem.alpha, row_sums
    )
    gram_x, gram_y = _gram(X), _gram(Y)
    background = np.sum(gram_x * gram_y)
    ridge = problem.regularization * (np.trace(gram_x) + np.trace(gram_y))
    return float(row_sums.sum() + background + ridge)


def gradient(problem: Problem, X: Factors, Y: Factors) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return half the gradient of `loss` with respect to X and to Y."""
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    R = problem.R.tocoo()
    extra = problem.alpha * R.data.astype(np.float64)
    score = np.einsum("ij,ij->i", X[R.row], Y[R.col])
    residual = sp.csr_matrix((extra * score - (1.0 + extra), (R.row, R.col)), shape=R.shape)
    of_users = residual @ Y + X @ (Y.T @ Y) + problem.regularization * X
    of_items = residual.T @ X + Y @ (X.T @ X) + problem.regularization * Y
    return of_users, of_items
