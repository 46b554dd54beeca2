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

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import sparse

from .basis import gram
from .blas import one_blas_thread
from .jit import kernel, next_block
from .mapped import blocks_of, in_turn, is_mapped, row_blocks
from .panel import aligned_zeros, as_panel
from .plan import TOLERANCE
from .problem import RIDGE, Cells, RowProblem
from .rows.workspace import clear
from .simd.kernels import gather_axpys
from .simd.target import aligned_empty
from .threads import one_by_one, spread

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
PARTS = 64  # blocks whose products are held at a time


class Entries(NamedTuple):
    """Compressed rows, block by block where they lie in mapped files.

    Values that follow from the row, or from the column, are written out for one block at a time.
    """

    cells: Cells
    n_columns: int  # entries in further columns are left out
    of_rows: np.ndarray | None = None  # T (n_rows,): the value of all entries of a row
    of_columns: np.ndarray | None = None  # T (n_columns,): that of all entries of a column

    def blocks(self) -> Iterator[tuple[int, Cells]]:
        """Yield the first row of each block, and its rows with all values."""
        bounds = row_blocks(self.cells)
        for (begin, end), cells in zip(bounds, in_turn(self.cells, bounds), strict=True):
            yield begin, self._written(cells, begin, end)

    def part(self, begin: int, end: int) -> Cells:
        """Return the rows from `begin` to before `end`, or to the last one, with all values."""
        end = min(end, self.cells.n_rows)
        return self._written(self.cells.part(begin, end), begin, end)

    def _written(self, cells: Cells, begin: int, end: int) -> Cells:
        counts, values = cells.counts, cells.all_values
        if self.of_rows is not None:
            values = np.repeat(self.of_rows[begin:end], counts)
        known = cells.indices < self.n_columns
        if not known.all():
            indptr = np.concatenate([[0], np.cumsum(known)])[cells.indptr]
            cells, values = cells._replace(indptr=indptr, indices=cells.indices[known]), values[known]
        if self.of_columns is not None:
            values = self.of_columns[cells.indices]
        return cells._replace(values=np.ascontiguousarray(values))

    def sparse_blocks(self) -> Iterator[tuple[slice, sparse.csr_array]]:
        """Yield blocks of rows, the same ones whether files are mapped or not, as SciPy matrices."""
        for begin, end in blocks_of(self.cells.indptr):
            yield slice(begin, end), as_sparse(self.part(begin, end), self.n_columns)


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
    features : Entries
        F, of the dtype of the factors; rows without entries included.
    by_feature : Cells, optional
        The same entries feature by feature, where they are at hand and the values follow from the rows.
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
        features: Entries,
        by_feature: Cells | None,
        problem: RowProblem,
        mu: float,
        width: int,
        plain: bool,
        n_threads: int,
    ) -> None:
        self.features, self.mu = features, mu
        n_rows, n_features = features.cells.n_rows, features.n_columns
        self.factors = np.zeros((n_features, width))  # A, float64
        self._dtype, self._plain, self._n_threads = problem.rows.dtype, plain, n_threads
        self._ridges = problem.rows[:, RIDGE]
        ridges = self._ridges.astype(np.float64)
        self._dense = not plain and len(features.cells.indices) >= DENSE * n_rows * n_features
        self._whole: np.ndarray | None = None
        if not self._dense:
            self._weighted = _weighted_by_feature(features, by_feature, ridges)
        elif not is_mapped(features.cells.indices):
            self._whole = as_sparse(features.part(0, n_rows), n_features).toarray()
        self._inverse: np.ndarray | None = None
        if n_features <= MANY:
            self._matrix = self._weighted_gram(ridges) + mu * np.eye(n_features)
            # Scaled to a diagonal of 1, as features may be of very different size, and kept positive in float64.
            scales = 1 / np.sqrt(self._matrix.diagonal())
            scaled = self._matrix * np.outer(scales, scales) + n_features * np.finfo(float).eps * np.eye(n_features)
            with one_blas_thread():
                self._inverse = np.linalg.inv(np.linalg.cholesky(scaled)) * scales
        else:
            self._diagonal = np.full(n_features, mu)
            for rows, F in features.sparse_blocks():
                self._diagonal += F.multiply(F).T.dot(ridges[rows])

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
        if self._dense:
            return self._dense_sums(X)
        sums = np.zeros((len(self.factors), X.shape[1]))
        for begin, cells in self._weighted.blocks():
            some = sums[begin : begin + cells.n_rows]
            if self._plain:
                some[...] = as_sparse(cells, len(X)).dot(X.astype(np.float64))
                continue

            def work(counter: np.ndarray, cells: Cells = cells, some: np.ndarray = some) -> None:
                part = aligned_empty(X.shape[1], X.dtype)
                _weighted_sums(counter, cells.indptr, cells.indices, cells.values, X, part, some)

            spread(work, min(self._n_threads, len(some)))
        return sums

    def _dense_rows(self, begin: int) -> np.ndarray:
        """Return a block of rows of a dense F."""
        if self._whole is not None:
            return self._whole[begin : begin + ROWS]
        return as_sparse(self.features.part(begin, begin + ROWS), len(self.factors)).toarray()

    def _dense_sums(self, X: np.ndarray) -> np.ndarray:
        """Return F'RX for a dense F: blocks of rows in the dtype of the factors, summed in float64 in their order."""
        sums = np.zeros((len(self.factors), X.shape[1]))
        for first in range(0, len(X), PARTS * ROWS):
            blocks = range(first, min(len(X), first + PARTS * ROWS), ROWS)
            parts = np.zeros((len(blocks), *sums.shape), X.dtype)

            def product(number: int, blocks: range = blocks, parts: np.ndarray = parts) -> None:
                rows = slice(blocks[number], blocks[number] + ROWS)
                F = self._dense_rows(rows.start)
                with one_blas_thread():
                    np.matmul(F.T, X[rows] * self._ridges[rows, None], out=parts[number])

            one_by_one(product, len(blocks), self._n_threads)
            for part in parts:
                sums += part
        return sums

    def _means(self, panel: np.ndarray) -> np.ndarray:
        """Return F A for the A in a panel; if F is dense, the bits of a row depend on the block that it is in."""
        if not self._dense:
            return means(self.features, panel, self._plain, self._n_threads)
        out = aligned_zeros((self.features.cells.n_rows, panel.shape[1]), panel.dtype)

        def product(number: int) -> None:
            rows = slice(number * ROWS, number * ROWS + ROWS)
            F = self._dense_rows(rows.start)
            with one_blas_thread():
                np.matmul(F, panel, out=out[rows])

        one_by_one(product, -(-len(out) // ROWS), self._n_threads)
        return out

    def _weighted_gram(self, ridges: np.ndarray) -> np.ndarray:
        """Return F'RF, float64."""
        total = np.zeros((len(self.factors), len(self.factors)))
        if not self._dense:
            for rows, F in self.features.sparse_blocks():
                wide = F.astype(np.float64)
                total += wide.T.dot(wide.multiply(ridges[rows, None])).toarray()
            return total
        for begin in range(0, len(ridges), ROWS):
            # The root of R on both sides, as BLAS takes half the time for a product of a matrix and its own transpose.
            block = self._dense_rows(begin) * np.sqrt(ridges[begin : begin + ROWS, None])
            with one_blas_thread():
                total += block.T @ block
        return total

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


def means(features: Entries, factors: np.ndarray, plain: bool, n_threads: int) -> np.ndarray:
    """Return F A, T (n_rows, kp). A row's numbers depend on its own features alone.

    Parameters
    ----------
    features : Entries
        F.
    factors : ndarray, T (n_features, kp)
        A, as a panel.
    plain : bool
        Whether the plain engine serves.
    n_threads : int
    """
    out = aligned_zeros((features.cells.n_rows, factors.shape[1]), factors.dtype)
    for begin, cells in features.blocks():
        some = out[begin : begin + cells.n_rows]
        if plain:
            some[...] = as_sparse(cells, len(factors)).dot(factors.astype(np.float64))
            continue
        values = cells.values.astype(factors.dtype, copy=False)

        def work(
            counter: np.ndarray, cells: Cells = cells, values: np.ndarray = values, some: np.ndarray = some
        ) -> None:
            _sums_of_rows(counter, cells.indptr, cells.indices, values, factors, some.reshape(-1))

        spread(work, min(n_threads, -(-len(some) // BLOCK)))
    return out


def as_sparse(cells: Cells, n_columns: int) -> sparse.csr_array:
    """Return cells with all values as a SciPy matrix of their dtype."""
    return sparse.csr_array((cells.values, cells.indices, cells.indptr), shape=(cells.n_rows, n_columns))


def _weighted_by_feature(features: Entries, by_feature: Cells | None, ridges: np.ndarray) -> Entries:
    """Return F'R, feature by feature."""
    n_rows = features.cells.n_rows
    if by_feature is not None and features.of_rows is not None:
        weighted = Entries(by_feature, n_rows, of_columns=(features.of_rows * ridges).astype(features.of_rows.dtype))
        # Written out once where memory holds the entries anyway.
        return weighted if is_mapped(by_feature.indices) else Entries(weighted.part(0, by_feature.n_rows), n_rows)
    F = as_sparse(features.part(0, n_rows), features.n_columns)
    turned = sparse.csr_array(F.T.multiply(ridges[None, :]))
    turned.sort_indices()
    indptr, indices = turned.indptr.astype(np.int64), turned.indices.astype(np.int32)
    return Entries(Cells(indptr, indices, turned.data.astype(F.dtype), np.ones(1, F.dtype)), n_rows)


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
