"""The best columns of each row: tiles of scores, a vector compare that rejects most, and a short sorted list.

A score is one chain of multiply-adds in the order of the factors, whether its row comes alone or among many, so ids and
bits depend neither on the batch nor on the threads. No score outlives its tile.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .jit import inlined, inner, kernel, next_block
from .panel import aligned_zeros, with_gaps
from .simd.kernels import add_product, first_above, insert_sorted, row_product
from .simd.target import aligned_empty, target
from .threads import spread

ROWS = 64  # of a tile at most: each strip of columns is read from the cache once for so many rows
COLUMNS = 256  # of a tile: 64 KB of float32 scores stay in the second-level cache; whole strips on every CPU
CHUNKS_PER_THREAD = 4  # blocks of rows for each thread where there are few rows: they end at about the same time


class Columns(NamedTuple):
    """One side's factors, packed for scores: strips of columns, factor after factor, as wide as a tile of registers."""

    strips: np.ndarray  # T (n_strips, k, width)
    offsets: np.ndarray  # T (n_tiles, COLUMNS), added to all scores of a column; -inf in the padding
    n: int  # columns in all
    height: int  # rows of a tile of registers
    lanes: int  # of a vector

    def less(self, barred: np.ndarray) -> Columns:
        """Return them without those that are True in `barred`, shape (n,): their offset is -inf."""
        offsets = self.offsets.copy()
        offsets.reshape(-1)[: self.n][barred] = -np.inf
        return self._replace(offsets=offsets)


class Lists(NamedTuple):
    """A list of columns for each row: row `i` has `indices[indptr[rows[i]] : indptr[rows[i] + 1]]`, sorted."""

    indptr: np.ndarray  # int64
    indices: np.ndarray  # int32
    rows: np.ndarray  # intp (n_rows,), or (1,) where all rows have the same list


# What stands for arguments that are not given, made once: making them anew takes a tenth of a single row's time.
NO_OFFSETS = {np.dtype(kind): np.zeros(1, kind) for kind in ("float32", "float64")}
NO_LISTS = Lists(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(1, np.intp))


def pack(Y: np.ndarray, offsets: np.ndarray | None = None) -> Columns:
    """Return factors of shape (n, k), and offsets of shape (n,), as columns for `top_n`."""
    n, k = Y.shape
    height, _ = target().tile(Y.dtype.itemsize)
    width = target().strip(Y.dtype.itemsize)
    whole, rest = divmod(n, width)
    strips = aligned_zeros((whole + (rest > 0), k, width), Y.dtype)
    strips[:whole] = Y[: whole * width].reshape(whole, width, k).swapaxes(1, 2)
    if rest:
        strips[whole, :, :rest] = Y[whole * width :].T
    tiles = np.full((-(-n // COLUMNS), COLUMNS), -np.inf, Y.dtype)
    tiles.reshape(-1)[:n] = 0 if offsets is None else offsets
    return Columns(strips, tiles, n, height, target().lanes(Y.dtype.itemsize))


def top_n(
    X: np.ndarray,
    columns: Columns,
    n: int,
    n_threads: int,
    *,
    rows: np.ndarray | None = None,
    row_offsets: np.ndarray | None = None,
    excluded: tuple[Lists, ...] = (),
    allowed: Lists | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the `n` columns with the highest score for each row of X, and the scores.

    Parameters
    ----------
    X : ndarray, shape (n_all, k)
    columns : Columns
    n, n_threads : int
    rows : ndarray of intp, shape (n_rows,), optional
        Which rows of X; None: all.
    row_offsets : ndarray, shape (n_rows,), optional
        score = x.y + (row offset + column offset); a column of offset -inf is left out.
    excluded : tuple of at most two Lists
        Columns left out.
    allowed : Lists, optional
        The only columns to choose from.

    Returns
    -------
    ids : ndarray of int32, shape (n_rows, n)
        By falling score, ties by lower id; -1 where fewer remain.
    scores : ndarray of T, shape (n_rows, n)
        -inf beside -1. A score that is not a number, or -inf, is none.
    """
    if rows is None:
        rows = np.arange(len(X))
    n_rows, k, dtype = len(rows), X.shape[1], X.dtype
    ids, scores = np.empty((n_rows, n), np.int32), np.empty((n_rows, n), dtype)
    if n_rows == 0:
        return ids, scores
    X = with_gaps(X)
    group = columns.height
    chunks = 1 if n_threads == 1 else CHUNKS_PER_THREAD * n_threads
    block = min(ROWS, -(-n_rows // (chunks * group)) * group)
    height: int = block
    empty: Any = aligned_empty
    if are_few(n_rows, group):
        height, empty = n_rows, np.empty  # aligned memory takes microseconds to make, which a row does not win back
    kept = min(n, columns.n)
    most = -(-kept // columns.lanes) * columns.lanes
    offsets = NO_OFFSETS[dtype] if row_offsets is None else row_offsets.astype(dtype, copy=False)
    first, second = (*excluded, NO_LISTS, NO_LISTS)[:2]
    third = NO_LISTS if allowed is None else allowed

    def work(counter: np.ndarray) -> None:
        _top_n(
            counter,
            block,
            X,
            rows,
            offsets,
            columns.strips,
            columns.offsets,
            *first,
            *second,
            *third,
            allowed is not None,
            empty((height + 1) * COLUMNS + height * (most + k), dtype),
            empty((height, most), np.int32),
            np.empty((3, height), np.int64),
            group,
            kept,
            ids,
            scores,
        )

    spread(work, min(n_threads, -(-n_rows // block)))
    return ids, scores


def are_few(count, group):
    """Tell whether rows are cheaper one by one than as a whole group, most of it padding."""
    return 4 * count <= group


_are_few = inlined(are_few)


@kernel
def _top_n(
    counter,  # inout int64 (1,)
    block,  # in    intp                      rows drawn at once
    X,  # in    T (n_all, >= k)
    rows,  # in    intp (n_rows,)            of X
    row_offsets,  # in    T (n_rows,) or (1,)
    strips,  # in    T (n_strips, k, width)
    column_offsets,  # in    T (n_tiles, COLUMNS)      -inf in the padding
    first_indptr,  # in    Lists                     left out; as arrays, since Numba looks 0.8 us at a named tuple
    first_indices,
    first_rows,
    second_indptr,  # in    Lists                     left out too
    second_indices,
    second_rows,
    allowed_indptr,  # in    Lists
    allowed_indices,
    allowed_rows,
    restricted,  # in    bool                      whether `allowed` counts
    work,  # work  T (.,)                    for tile, best and left
    best_ids,  # work  int32 (height, most)
    at,  # work  int64 (3, height)         where each row stands in its lists
    group,  # in    intp                      rows of a tile of registers
    kept,  # in    intp                      columns kept for a row
    ids,  # out   int32 (n_rows, n)
    scores,  # out   T (n_rows, n)
):
    """Offer every column to each row, in rising order of ids, so that a later tie never wins."""
    k, width = strips.shape[1], strips.shape[2]
    n_columns = len(strips) * width
    most = best_ids.shape[1]
    best = (len(best_ids) + 1) * COLUMNS  # of each row, falling; before it the tile, of whose last row nothing is used
    left = best + len(best_ids) * most  # a block's rows, transposed
    first, second = (first_indptr, first_indices, first_rows), (second_indptr, second_indices, second_rows)
    allowed = allowed_indptr, allowed_indices, allowed_rows
    while True:
        begin = next_block(counter) * block
        if begin >= len(rows):
            return
        count = min(block, len(rows) - begin)
        alone = _are_few(count, group)
        height = (count + group - 1) // group * group
        if not alone:
            for i in range(k):
                for r in range(height):
                    work[left + i * height + r] = X[rows[begin + r], i] if r < count else 0
        for r in range(count):
            at[0, r], at[1, r], at[2, r] = (
                _end(first, begin + r, 0),
                _end(second, begin + r, 0),
                _end(allowed, begin + r, 0),
            )
            for p in range(most):
                work[best + r * most + p], best_ids[r, p] = -np.inf, -1
        for t in range(len(column_offsets)):
            start = t * COLUMNS
            stop = min(start + COLUMNS, n_columns)
            if alone:
                for r in range(count):
                    offset, u = row_offsets[min(begin + r, len(row_offsets) - 1)], rows[begin + r]
                    row_product(work, r * COLUMNS, X, u * X.shape[1], strips, start * k, k, (stop - start) // width)
                    for j in range(stop - start):
                        work[r * COLUMNS + j] += offset + column_offsets[t, j]
            else:
                for r in range(height):
                    offset = row_offsets[min(begin + min(r, count - 1), len(row_offsets) - 1)]
                    for j in range(COLUMNS):
                        work[r * COLUMNS + j] = offset + column_offsets[t, j]
                for j in range(start, stop, width):
                    add_product(
                        work, j - start, COLUMNS, 1.0, work, left, height, strips, j * k, width, k, height, width
                    )
            for r in range(count):
                row, worst = r * COLUMNS, best + r * most + kept - 1
                if restricted:
                    at[2, r] = _keep_only(work, row, start, stop, allowed[1], at[2, r], _end(allowed, begin + r, 1))
                at[0, r] = _leave_out(work, row, start, stop, first[1], at[0, r], _end(first, begin + r, 1))
                at[1, r] = _leave_out(work, row, start, stop, second[1], at[1, r], _end(second, begin + r, 1))
                j = first_above(work, row, 0, stop - start, work[worst])
                while j < stop - start:
                    insert_sorted(work, best + r * most, best_ids, r * most, most, work[row + j], start + j)
                    j = first_above(work, row, j + 1, stop - start, work[worst])
        for r in range(count):
            for p in range(scores.shape[1]):
                ids[begin + r, p] = best_ids[r, p] if p < kept else -1
                scores[begin + r, p] = work[best + r * most + p] if p < kept else -np.inf


@inner
def _end(lists, i, side):
    """Return where the list of row `i` begins (side 0) or ends (side 1)."""
    indptr, _, rows = lists
    return indptr[rows[min(i, len(rows) - 1)] + side]


@inner
def _leave_out(tile, row, start, stop, indices, p, end):
    """Put -inf at the columns start .. stop - 1 of a list that goes on at `p`; return where it goes on then."""
    while p < end and indices[p] < stop:
        tile[row + indices[p] - start] = -np.inf
        p += 1
    return p


@inner
def _keep_only(tile, row, start, stop, indices, p, end):
    """Put -inf at the columns start .. stop - 1 that are not in a list; return where it goes on then."""
    for j in range(start, stop):
        if p < end and indices[p] == j:
            p += 1
        else:
            tile[row + j - start] = -np.inf
    return p
