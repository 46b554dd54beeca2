"""The best columns of each row: tiles of scores, a vector compare that rejects most, and a short sorted list.

A score is one chain of multiply-adds in the order of the factors, whether its row comes alone or among many, so ids and
bits depend neither on the batch nor on the threads. No score outlives its tile.

Columns are tried by falling norm. A row is done as soon as no column that is left can reach its worst kept score, by
the inequality of Cauchy and Schwarz: |x.y| <= |x| |y|. Of the 27,000 columns of a model of 20 million cells 92% are
never tried at k = 64, of the 3,260 of MovieLens 1M 21%. No id and no bit changes: what is bounded is the score as
computed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .jit import inlined, inner, kernel, next_block
from .panel import aligned_zeros, with_gaps
from .simd.kernels import add_product, keep_best, row_product
from .simd.target import aligned_empty, target
from .threads import spread

ROWS = 64  # of a tile at most: each strip of columns is read from the cache once for so many rows
COLUMNS = 256  # of a tile: 64 KB of float32 scores stay in the second-level cache; whole strips on every CPU
CHUNKS_PER_THREAD = 4  # blocks of rows for each thread where there are few rows: they end at about the same time
WORD = 32  # bits of a number


class Columns(NamedTuple):
    """One side's factors, packed for scores: strips of columns, factor after factor, as wide as a tile of registers.

    They stand by falling norm; a column's number in this order is its place.
    """

    strips: np.ndarray  # T (n_strips, k, width)
    offsets: np.ndarray  # T (n_tiles, COLUMNS), added to all scores of a column; -inf in the padding
    ids: np.ndarray  # int32 (n_tiles * COLUMNS,), of the column at each place
    places: np.ndarray  # int32 (n,), of the column with each id
    reach: np.ndarray  # float64 (n_tiles, 2): the greatest norm and offset from this tile on, raised by `slack`
    slack: float  # what rounding may add to a score, in parts of what it is the sum of
    height: int  # rows of a tile of registers
    lanes: int  # of a vector

    def less(self, barred: np.ndarray) -> Columns:
        """Return them without those that are True in `barred`, shape (n,): their offset is -inf, their bounds stay."""
        offsets = self.offsets.copy()
        offsets.reshape(-1)[self.places[barred]] = -np.inf
        return self._replace(offsets=offsets)


class Lists(NamedTuple):
    """A list of columns for each row: row `i` has `indices[indptr[rows[i]] : indptr[rows[i] + 1]]`."""

    indptr: np.ndarray  # int64
    indices: np.ndarray  # int32
    rows: np.ndarray  # intp (n_rows,), or (1,) where all rows have the same list


# What stands for arguments that are not given, made once: making them anew takes a tenth of a single row's time.
NO_OFFSETS = {np.dtype(kind): np.zeros(1, kind) for kind in ("float32", "float64")}
NO_LISTS = Lists(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(1, np.intp))

# More than a product loses that falls below what its dtype resolves: k of it stand in the square of every norm.
TINY = float(np.finfo(np.float32).tiny)


def pack(Y: np.ndarray, offsets: np.ndarray | None = None) -> Columns:
    """Return factors of shape (n, k), and offsets of shape (n,), as columns for `top_n`."""
    n, k = Y.shape
    height, _ = target().tile(Y.dtype.itemsize)
    width = target().strip(Y.dtype.itemsize)
    n_tiles = -(-n // COLUMNS)
    norms = np.sqrt(np.einsum("nk,nk->n", Y, Y).astype(np.float64) + k * TINY)
    norms[np.isnan(norms)] = 0  # a score that is not a number is never chosen
    order = np.argsort(-norms)
    ids, places = np.zeros(n_tiles * COLUMNS, np.int32), np.empty(n, np.int32)
    ids[:n], places[order] = order, np.arange(n, dtype=np.int32)
    strips = aligned_zeros((-(-n // width), k, width), Y.dtype)
    for start in range(0, n, COLUMNS):
        some = Y[order[start : start + COLUMNS]]
        whole, rest = divmod(len(some), width)
        first = start // width
        strips[first : first + whole] = some[: whole * width].reshape(whole, width, k).swapaxes(1, 2)
        if rest:
            strips[first + whole, :, :rest] = some[whole * width :].T
    tiles = np.full((n_tiles, COLUMNS), -np.inf, Y.dtype)
    tiles.reshape(-1)[:n] = 0 if offsets is None else offsets[order]
    slack = float(2 * (k + 8) * np.finfo(Y.dtype).eps)
    greatest = np.maximum.accumulate(tiles.max(axis=1, initial=-np.inf)[::-1])[::-1].astype(np.float64)
    reach = np.empty((n_tiles, 2))
    reach[:, 0] = norms[order[::COLUMNS]] * (1 + slack)
    reach[:, 1] = greatest * (1 + slack * np.sign(greatest))
    return Columns(strips, tiles, ids, places, reach, slack, height, target().lanes(Y.dtype.itemsize))


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
    kept = min(n, len(columns.places))
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
            columns.ids,
            columns.places,
            columns.reach,
            columns.slack,
            *first,
            *second,
            *third,
            allowed is not None,
            empty((height + 1) * COLUMNS + height * (most + k), dtype),
            empty(height * (most + columns.ids.size // WORD + 1), np.int32),
            np.empty((height, 2)),
            group,
            most,
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
    strips,  # in    Columns                   as arrays, since Numba looks 0.8 us at a named tuple
    column_offsets,
    column_ids,
    places,
    reach,
    slack,
    first_indptr,  # in    Lists                     left out
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
    numbers,  # work  int32 (.,)                for best_ids, taken and live
    bounds,  # work  float64 (height, 2)       norm and offset of each row
    group,  # in    intp                      rows of a tile of registers
    most,  # in    intp                      columns kept for a row, padded
    kept,  # in    intp                      columns kept for a row
    ids,  # out   int32 (n_rows, n)
    scores,  # out   T (n_rows, n)
):
    """Offer the columns to each row, tile after tile, until none that is left can be among its best.

    The chain of k multiply-adds differs from x.y by at most k u / (1 - k u) |x| |y|, u half an eps, and a sum with an
    offset by u of what it is the sum of. `slack`, 4 (k + 8) u, covers these, in whatever order offsets are added, and
    the rounding of norms and bound. What products lose below the smallest number `TINY` covers, as
    sqrt(a + t) sqrt(b + t) >= sqrt(a b) + t. Casting the bound rounds it as it does scores, which so stay below. Where
    anything is not a number the comparison is False, and the row goes on.
    """
    k, width = strips.shape[1], strips.shape[2]
    n_columns = len(strips) * width
    n_rows = len(bounds)
    best = (n_rows + 1) * COLUMNS  # of each row, falling; before it the tile, of whose last row nothing is used
    left = best + n_rows * most  # the rows that are not done, transposed
    words = len(column_ids) // WORD
    taken = n_rows * most  # a bit for each column, set where it is left out; before it the ids of `best`
    live = taken + n_rows * words  # the rows that are not done, in the order of `left`
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
        for p in range(count * most):
            work[best + p], numbers[p] = -np.inf, -1
        for p in range(count * words):
            numbers[taken + p] = -restricted
        for r in range(count):
            square = work.dtype.type(0)
            for i in range(k):
                square += X[rows[begin + r], i] * X[rows[begin + r], i]
            offset = np.float64(row_offsets[min(begin + r, len(row_offsets) - 1)])
            bounds[r, 0], bounds[r, 1] = np.sqrt(np.float64(square) + k * TINY), offset + slack * abs(offset)
            numbers[live + r] = r
            bits = taken + r * words
            if restricted:
                _allow(numbers, bits, places, allowed_indices, *_span(allowed_indptr, allowed_rows, begin + r))
            _leave_out(numbers, bits, places, first_indices, *_span(first_indptr, first_rows, begin + r))
            _leave_out(numbers, bits, places, second_indices, *_span(second_indptr, second_rows, begin + r))
        n_live = count
        for t in range(len(column_offsets)):
            s = 0
            while s < n_live:
                r = numbers[live + s]
                worst = work[best + r * most + kept - 1]
                bound = work.dtype.type(bounds[r, 0] * reach[t, 0] + (bounds[r, 1] + reach[t, 1]))
                if bound < worst:
                    n_live -= 1
                    numbers[live + s] = numbers[live + n_live]
                    if not alone:
                        for i in range(k):
                            work[left + i * height + s] = work[left + i * height + n_live]
                else:
                    s += 1
            if n_live == 0:
                break
            start = t * COLUMNS
            stop = min(start + COLUMNS, n_columns)
            if alone:
                for s in range(n_live):
                    r = numbers[live + s]
                    offset, u = row_offsets[min(begin + r, len(row_offsets) - 1)], rows[begin + r]
                    row_product(work, s * COLUMNS, X, u * X.shape[1], strips, start * k, k, (stop - start) // width)
                    for j in range(stop - start):
                        work[s * COLUMNS + j] += offset + column_offsets[t, j]
            else:
                for s in range(n_live):
                    offset = row_offsets[min(begin + numbers[live + s], len(row_offsets) - 1)]
                    for j in range(COLUMNS):
                        work[s * COLUMNS + j] = offset + column_offsets[t, j]
                whole = (n_live + group - 1) // group * group
                for j in range(start, stop, width):
                    add_product(
                        work, j - start, COLUMNS, 1.0, work, left, height, strips, j * k, width, k, whole, width
                    )
            for s in range(n_live):
                r = numbers[live + s]
                keep_best(
                    work,
                    best + r * most,
                    numbers,
                    r * most,
                    most,
                    kept,
                    work,
                    s * COLUMNS,
                    column_ids,
                    start,
                    numbers,
                    taken + r * words + start // WORD,
                    stop - start,
                )
        for r in range(count):
            for p in range(scores.shape[1]):
                ids[begin + r, p] = numbers[r * most + p] if p < kept else -1
                scores[begin + r, p] = work[best + r * most + p] if p < kept else -np.inf


@inner
def _span(indptr, rows, i):
    """Return where the list of row `i` begins and where it ends."""
    row = rows[min(i, len(rows) - 1)]
    return indptr[row], indptr[row + 1]


@inner
def _leave_out(numbers, bits, places, indices, begin, end):
    """Set the bits of the columns in a list."""
    for p in range(begin, end):
        place = np.uintp(places[np.uintp(indices[p])])
        numbers[bits + place // WORD] |= 1 << place % WORD


@inner
def _allow(numbers, bits, places, indices, begin, end):
    """Clear the bits of the columns in a list."""
    for p in range(begin, end):
        place = np.uintp(places[np.uintp(indices[p])])
        numbers[bits + place // WORD] &= ~(1 << place % WORD)
