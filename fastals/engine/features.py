"""What a side's features say of its factors: a prior mean A'f for each row, with the A that fits the rows best.

The ridge of a row lies on the deviation from its prior mean, so features F (n x d) add to the objective

    sum_u ridge_u |x_u - A'f_u|^2  +  mu |A|^2 .

For given rows X the best A solves (F'RF + mu I) A = F'RX, with R the ridges. The matrix is the same in every iteration,
and is factorised once. With many features it is never formed: a few steps of conjugate gradients go on from the A
before, and use F as it is. The rows are exact for A, and A fits the rows as well as before or better, so the objective
never rises.

Rows without entries have no ridge in R: they are their prior mean, whatever it is, and say nothing about A.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from .basis import gram
from .blas import one_blas_thread
from .jit import kernel, next_block
from .panel import aligned_zeros, as_panel
from .plan import TOLERANCE
from .problem import RIDGE, Cells, RowProblem
from .rows.workspace import clear
from .simd.kernels import gather_axpys
from .simd.target import aligned_empty
from .threads import spread

BLOCK = 64  # rows that a thread takes at a time
CHUNK = 256  # entries summed in the dtype of the factors, before the sum is added in float64
# Features from which on F'RF is not formed. Its factor would take as long as a whole fit of MovieLens 1M at 4000.
MANY = 1000
# Of conjugate gradients in an iteration, at most. With 3 steps the loss of a fit with 3,706 features is 0.3% higher
# after 3 iterations than with exact ones, and the same after 10.
STEPS = 3
# Share of entries from which on products with F are those of dense blocks: an entry then costs a fifth as much.
DENSE = 0.2
ROWS = 2048  # of such a block


class Learned(NamedTuple):
    """What a new A does to the objective."""

    fall: float
    """By how much it has fallen."""
    gram: np.ndarray | None
    """(X - FA)'R(X - FA) + mu A'A, float64 (width, width): its trace is what is left. None where A is 0."""


class Prior:
    """The features of one side of a fit, and the A that is learned for them.

    Parameters
    ----------
    features : Cells
        F, of the dtype of the factors; rows without entries included.
    n_features : int
    problem : RowProblem
        Of the same rows: its ridges are R.
    mu : float
    width : int
        Columns of the panels in use.
    plain : bool
        Whether the plain engine serves.
    n_threads : int
    """

    def __init__(
        self,
        features: Cells,
        n_features: int,
        problem: RowProblem,
        mu: float,
        width: int,
        plain: bool,
        n_threads: int,
    ) -> None:
        self.features, self.mu = features, mu
        self.factors = np.zeros((n_features, width))  # A, float64
        self._dtype, self._plain, self._n_threads = features.values.dtype, plain, n_threads
        self._ridges = problem.rows[:, RIDGE]
        ridges = self._ridges.astype(np.float64)
        F = _as_sparse(features, n_features)
        self._dense: np.ndarray | None = None
        if not plain and F.nnz >= DENSE * F.shape[0] * n_features:
            self._dense = F.toarray()
        else:
            self._weighted = _weighted_by_feature(F, ridges, self._dtype)
        self._inverse: np.ndarray | None = None
        if n_features <= MANY:
            self._matrix = _weighted_gram(F if self._dense is None else self._dense, ridges) + mu * np.eye(n_features)
            # Scaled to a diagonal of 1, as features may be of very different size, and kept positive in float64.
            scales = 1 / np.sqrt(self._matrix.diagonal())
            scaled = self._matrix * np.outer(scales, scales) + n_features * np.finfo(float).eps * np.eye(n_features)
            with one_blas_thread():
                self._inverse = np.linalg.inv(np.linalg.cholesky(scaled)) * scales
        else:
            self._diagonal = F.multiply(F).T.dot(ridges) + mu

    @property
    def panel(self) -> np.ndarray:
        """A in the dtype of the factors, as a panel of shape (n_features, kp)."""
        return as_panel(self.factors.astype(self._dtype))

    @property
    def penalty(self) -> float:
        """Return mu |A|^2."""
        return float(self.mu * (self.factors**2).sum())

    def means(self, *, last: bool) -> np.ndarray:
        """Return the prior mean of each row, T (n_rows, kp); if `last`, to the bits of a fold-in."""
        if last:
            return means(self.features, self.panel, self._plain, self._n_threads)
        return self._means(self.panel)

    def turn(self, rotation: np.ndarray | None) -> None:
        """Follow the rows into another basis."""
        if rotation is not None:
            with one_blas_thread():
                self.factors = self.factors @ rotation

    def learn(self, X: np.ndarray) -> Learned:
        """Make A the best one for these rows, T (n_rows, kp)."""
        A, width = self.factors, self.factors.shape[1]
        sums = self._sums(X)[:, :width]
        left = sums - self._times(A)
        step, done = self._solved(left)
        self.factors = A + step
        fall = float((step * (2 * left - done)).sum())
        if self._plain or not self.factors.any():
            return Learned(fall, None)
        with one_blas_thread():
            explained = self.factors.T @ (2 * sums - (sums - left + done))
        return Learned(fall, gram(X, self._ridges, width, self._n_threads) - (explained + explained.T) / 2)

    def _sums(self, X: np.ndarray) -> np.ndarray:
        """Return F'RX, float64 (n_features, kp)."""
        if self._dense is not None:
            return self._dense_sums(self._dense, X)
        cells, n_features = self._weighted, len(self.factors)
        if self._plain:
            return np.asarray(_as_sparse(cells, len(X)).dot(X.astype(np.float64)))
        sums = np.zeros((n_features, X.shape[1]))

        def work(counter: np.ndarray) -> None:
            part = aligned_empty(X.shape[1], X.dtype)
            _weighted_sums(counter, cells.indptr, cells.indices, cells.values, X, part, sums)

        spread(work, min(self._n_threads, n_features))
        return sums

    def _dense_sums(self, F: np.ndarray, X: np.ndarray) -> np.ndarray:
        """Return F'RX for a dense F: blocks of rows in the dtype of the factors, summed in float64 in their order."""
        blocks = range(0, len(X), ROWS)
        parts = np.zeros((len(blocks), F.shape[1], X.shape[1]), X.dtype)
        left = iter(blocks)

        def work(_: np.ndarray) -> None:
            for begin in left:
                rows = slice(begin, begin + ROWS)
                with one_blas_thread():
                    np.matmul(F[rows].T, X[rows] * self._ridges[rows, None], out=parts[begin // ROWS])

        spread(work, min(self._n_threads, len(blocks)))
        return np.asarray(parts.sum(axis=0, dtype=np.float64))

    def _means(self, panel: np.ndarray) -> np.ndarray:
        """Return F A for the A in a panel; if F is dense, the bits of a row depend on the block that it is in."""
        F = self._dense
        if F is None:
            return means(self.features, panel, self._plain, self._n_threads)
        out = aligned_zeros((len(F), panel.shape[1]), panel.dtype)
        left = iter(range(0, len(F), ROWS))

        def work(_: np.ndarray) -> None:
            for begin in left:
                with one_blas_thread():
                    np.matmul(F[begin : begin + ROWS], panel, out=out[begin : begin + ROWS])

        spread(work, min(self._n_threads, -(-len(F) // ROWS)))
        return out

    def _times(self, A: np.ndarray) -> np.ndarray:
        """Return (F'RF + mu I) A, float64."""
        if not A.any():
            return np.zeros_like(A)
        if self._inverse is not None:
            with one_blas_thread():
                return np.asarray(self._matrix @ A)
        rows = self._means(as_panel(A.astype(self._dtype)))
        return self._sums(rows)[:, : A.shape[1]] + self.mu * A

    def _solved(self, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the S of (F'RF + mu I) S = `right`, and the left-hand side for this S."""
        if self._inverse is not None:
            with one_blas_thread():
                solution = self._inverse.T @ (self._inverse @ right)
            return solution, self._times(solution)
        # A column of A at a time, but all columns in the same pass over F.
        S, done, r = np.zeros_like(right), np.zeros_like(right), right.copy()
        z = r / self._diagonal[:, None]
        p, rz = z, (r * z).sum(axis=0)
        wanted = TOLERANCE[self._dtype.itemsize] ** 2 * rz
        for _ in range(STEPS):
            active = rz > wanted
            if not active.any():
                break
            q = self._times(p)
            curvature = (p * q).sum(axis=0)
            alpha = np.where(active & (curvature > 0), rz / np.where(curvature > 0, curvature, 1), 0)
            S, done, r = S + alpha * p, done + alpha * q, r - alpha * q
            z = r / self._diagonal[:, None]
            before, rz = rz, (r * z).sum(axis=0)
            p = z + np.where(before > 0, rz / np.where(before > 0, before, 1), 0) * p
        return S, done


def means(features: Cells, factors: np.ndarray, plain: bool, n_threads: int) -> np.ndarray:
    """Return F A, T (n_rows, kp). A row's numbers depend on its own features alone.

    Parameters
    ----------
    features : Cells
        F.
    factors : ndarray, T (n_features, kp)
        A, as a panel.
    plain : bool
        Whether the plain engine serves.
    n_threads : int
    """
    out = aligned_zeros((features.n_rows, factors.shape[1]), factors.dtype)
    if plain:
        out[...] = _as_sparse(features, len(factors)).dot(factors.astype(np.float64))
        return out
    values = np.ascontiguousarray(features.all_values, factors.dtype)

    def work(counter: np.ndarray) -> None:
        _sums_of_rows(counter, features.indptr, features.indices, values, factors, out.reshape(-1))

    spread(work, min(n_threads, -(-len(out) // BLOCK)))
    return out


def _as_sparse(features: Cells, n_columns: int) -> sparse.csr_array:
    """Return features as a SciPy matrix of their dtype."""
    parts = features.all_values, features.indices, features.indptr
    return sparse.csr_array(parts, shape=(features.n_rows, n_columns))


def _weighted_by_feature(F: sparse.csr_array, ridges: np.ndarray, dtype: np.dtype) -> Cells:
    """Return F'R, feature by feature."""
    weighted = sparse.csr_array(F.T.multiply(ridges[None, :]))
    weighted.sort_indices()
    indptr, indices = weighted.indptr.astype(np.int64), weighted.indices.astype(np.int32)
    return Cells(indptr, indices, weighted.data.astype(dtype), np.ones(1, dtype))


def _weighted_gram(F: Any, ridges: np.ndarray) -> np.ndarray:
    """Return F'RF of a sparse or dense F, float64."""
    if sparse.issparse(F):
        F = F.astype(np.float64)
        return np.asarray(F.T.dot(F.multiply(ridges[:, None])).toarray())
    total = np.zeros((F.shape[1], F.shape[1]))
    for begin in range(0, len(F), ROWS):
        # The root of R on both sides, as BLAS takes half the time for a product of a matrix and its own transpose.
        block = F[begin : begin + ROWS] * np.sqrt(ridges[begin : begin + ROWS, None])
        with one_blas_thread():
            total += block.T @ block
    return total


@kernel
def _sums_of_rows(
    counter,  # inout int64 (1,)
    indptr,  # in    int64 (n_rows + 1,)
    indices,  # in    int32 (nnz,)
    values,  # in    T (nnz,)
    A,  # in    T (n_features, kp)
    out,  # inout T (n_rows * kp,)         in: zeros
):
    """Sum the rows of A that each row lists."""
    kp = A.shape[1]
    while True:
        start = next_block(counter) * BLOCK
        if start >= len(indptr) - 1:
            return
        for u in range(start, min(start + BLOCK, len(indptr) - 1)):
            begin = indptr[u]
            gather_axpys(out, u * kp, values, begin, A, kp, indices, begin, indptr[u + 1] - begin)


@kernel
def _weighted_sums(
    counter,  # inout int64 (1,)
    indptr,  # in    int64 (n_features + 1,)
    indices,  # in    int32 (nnz,)           rows that have the feature
    values,  # in    T (nnz,)
    X,  # in    T (n_rows, kp)
    part,  # work  T (kp,)
    out,  # inout float64 (n_features, kp)   in: zeros
):
    """Sum the rows that have each feature."""
    kp = X.shape[1]
    while True:
        j = next_block(counter)
        if j >= len(indptr) - 1:
            return
        for begin in range(indptr[j], indptr[j + 1], CHUNK):
            clear(part, 0, kp)
            gather_axpys(part, 0, values, begin, X, kp, indices, begin, min(CHUNK, indptr[j + 1] - begin))
            for i in range(kp):
                out[j, i] += part[i]
