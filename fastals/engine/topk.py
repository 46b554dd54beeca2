"""The columns with the highest scores for each row.

Scores are computed in tiles of rows by columns. A vector compare rejects most scores, and the others go into a short
sorted list for each row. A score is one chain of multiply-adds in the order of the factors, whether its row comes alone
or among many. So ids and scores depend neither on the batch nor on the threads.

Columns are tried by falling norm. A row is done when no remaining column can reach its worst kept score, because
|x.y| <= |x| |y|. In a large catalogue most columns are never tried. The bound covers rounding, so it changes no result.

A tile of rows reads each column once for all rows, but a single row waits for memory. So it reads the columns rounded
to 8 bits first, and then in full only those strips that may hold one of the best.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .jit import inlined, inner, kernel, next_block
from .panel import aligned_zeros, with_gaps
from .simd.kernels import add_product, keep_best, row_product, screen
from .simd.target import aligned_empty, target
from .threads import spread

ROWS = 64  # maximum number of rows of a tile: each strip of columns is read from the cache once for all of them
COLUMNS = 256  # columns of a tile, whole strips on every CPU: its scores stay in the second-level cache
CHUNKS_PER_THREAD = 4  # minimum number of blocks for each thread, so that threads end at about the same time
WORD = 32  # bits of an int32


class Rounding:
    """Strips rounded to whole numbers. They are made on first use, which takes six times as long as packing."""

    def __init__(self, strips: np.ndarray, slack: float) -> None:
        self._strips = strips
        self._slack = slack
        self._made: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def made(self) -> tuple[np.ndarray, np.ndarray]:
        """The whole numbers and the terms of the bound, see `_make`."""
        # Not by `cached_property`: up to Python 3.11 it has a lock, which a fork may catch held.
        if self._made is None:
            self._made = self._make()
        return self._made

    def _make(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the whole numbers and the terms of the bound.

        The numbers are int8 of shape (n_strips, pairs of factors, width, 2), at most `BYTE`. The terms are T of shape
        (2, n_strips * width). The first is the unit of each column: what the number 1 stands for. The second is the
        length of what rounding takes from the column, plus the rounding of scores; it is infinite for a column with a
        number that is not finite.
        """
        n_strips, k, width = self._strips.shape
        numbers = aligned_zeros((n_strips, -(-k // 2), width, 2), np.dtype(np.int8))
        terms = np.empty((2, n_strips, width), self._strips.dtype)
        for start in range(0, n_strips, COLUMNS // width):  # so that temporary arrays fit the second-level cache
            strips = slice(start, start + COLUMNS // width)
            exact = self._strips[strips]
            finite = np.isfinite(exact).all(axis=1)
            exact = np.where(finite[:, None], exact, 0)
            lengths = np.sqrt(np.einsum("skw,skw->sw", exact, exact).astype(np.float64) + k * TINY)
            units = np.abs(exact).max(axis=1, initial=LEAST) / exact.dtype.type(BYTE)
            exact /= units[:, None]
            whole = np.rint(exact)
            exact -= whole
            lacking = np.sqrt(np.einsum("skw,skw->sw", exact, exact)) * units + self._slack * lengths
            terms[:, strips] = units, np.where(finite, lacking, np.inf)
            for half in (0, 1):
                numbers[strips, : (k + 1 - half) // 2, :, half] = whole[:, half::2]
        return numbers, terms.reshape(2, -1)


class Columns(NamedTuple):
    """One side's factors, packed for scores into strips of columns as wide as a tile of registers.

    Columns are sorted by falling norm. The place of a column is its number in this order.
    """

    strips: np.ndarray  # T (n_strips, k, width)
    offsets: np.ndarray  # T (n_tiles, COLUMNS), added to the scores of a column; -inf in the padding
    ids: np.ndarray  # int32 (n_tiles * COLUMNS,), id of the column at each place
    places: np.ndarray  # int32 (n,), place of the column with each id
    reach: np.ndarray  # float64 (n_tiles, 2): the largest norm and offset from each tile on, raised by `slack`
    rounding: Rounding  # of the strips
    slack: float  # relative bound of what rounding may add to a score
    height: int  # rows of a tile of registers
    lanes: int  # lanes of a vector

    @property
    def shape(self) -> tuple[int, int]:
        """Columns and factors."""
        return len(self.places), self.strips.shape[1]

    def less(self, barred: np.ndarray) -> Columns:
        """Return the columns without those that are True in `barred`, of shape (n,): their offset becomes -inf."""
        offsets = self.offsets.copy()
        offsets.reshape(-1)[self.places[barred]] = -np.inf
        return self._replace(offsets=offsets)


class Lists(NamedTuple):
    """A list of columns for each row: row `i` has `indices[indptr[rows[i]] : indptr[rows[i] + 1]]`."""

    indptr: np.ndarray  # int64
    indices: np.ndarray  # int32
    rows: np.ndarray  # intp (n_rows,), or (1,) if all rows have the same list


# Stand-ins for arguments that are not given. They are made once, because making them takes a tenth of a row's time.
NO_OFFSETS = {np.dtype(kind): np.zeros(1, kind) for kind in ("float32", "float64")}
NO_ROUNDING = {
    np.dtype(kind): (np.zeros((0, 0, 0, 2), np.int8), np.zeros((2, 0), kind)) for kind in ("float32", "float64")
}
NO_LISTS = Lists(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(1, np.intp))

# More than a product can lose to underflow. The square of every norm has k of it added.
TINY = float(np.finfo(np.float32).tiny)

# The largest numbers of 8, 16 and 32 bits. A sum of products of the first two must not exceed the third.
BYTE, HALF, SUM = 127, 2**15 - 1, 2**31 - 1

# The unit of a column or row is chosen as if its largest number were at least LEAST. A row with a number beyond MOST is
# not rounded, because its bound might exceed float32.
LEAST, MOST = 1e-30, 1e30


def pack(Y: np.ndarray, offsets: np.ndarray | None = None) -> Columns:
    """Pack factors of shape (n, k), and offsets of shape (n,), for `top_n`."""
    n, k = Y.shape
    height, _ = target().tile(Y.dtype.itemsize)
    width = target().strip(Y.dtype.itemsize)
    n_tiles = -(-n // COLUMNS)
    norms = np.sqrt(np.einsum("nk,nk->n", Y, Y).astype(np.float64) + k * TINY)
    norms[np.isnan(norms)] = 0  # NaN scores are never chosen
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
    lanes = target().lanes(Y.dtype.itemsize)
    return Columns(strips, tiles, ids, places, reach, Rounding(strips, slack), slack, height, lanes)


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
    """Return the `n` columns with the highest scores for each row of X, and their scores.

    Parameters
    ----------
    X : ndarray, shape (n_all, k)
    columns : Columns
    n, n_threads : int
    rows : ndarray of intp, shape (n_rows,), optional
        The rows of X; default all.
    row_offsets : ndarray, shape (n_rows,), optional
        score = x.y + (row offset + column offset). A column with offset -inf is left out.
    excluded : tuple of at most two Lists
        Columns to leave out.
    allowed : Lists, optional
        The only columns to choose from.

    Returns
    -------
    ids : ndarray of int32, shape (n_rows, n)
        Sorted by falling score, ties by rising id; -1 where fewer remain.
    scores : ndarray of T, shape (n_rows, n)
        -inf where the id is -1. Columns whose score is NaN or -inf never count.
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
    rounding = NO_ROUNDING[dtype]
    if are_few(n_rows, group):
        height, empty = n_rows, np.empty  # aligned memory takes microseconds to make, more than it saves here
        rounding = columns.rounding.made
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
            *rounding,
            columns.slack,
            *first,
            *second,
            *third,
            allowed is not None,
            empty((height + 1) * COLUMNS + height * (most + k), dtype),
            empty(height * (most + columns.ids.size // WORD + 1 + rounding[0].shape[1]) + COLUMNS, np.int32),
            np.empty((height, 3)),
            group,
            most,
            kept,
            ids,
            scores,
        )

    spread(work, min(n_threads, -(-n_rows // block)))
    return ids, scores


def are_few(count, group):
    """Tell whether rows are cheaper one by one than as a group that is mostly padding."""
    return 4 * count <= group


_are_few = inlined(are_few)


@kernel
def _top_n(
    counter,  # inout int64 (1,)
    block,  # in    intp                      rows drawn at a time
    X,  # in    T (n_all, >= k)
    rows,  # in    intp (n_rows,)            of X
    row_offsets,  # in    T (n_rows,) or (1,)
    strips,  # in    Columns                   as arrays: Numba takes 0.8 us to unpack a named tuple
    column_offsets,
    column_ids,
    places,
    reach,
    rounded,  # in    Rounding
    terms,
    slack,
    first_indptr,  # in    Lists                     columns to leave out
    first_indices,
    first_rows,
    second_indptr,  # in    Lists                     columns to leave out
    second_indices,
    second_rows,
    allowed_indptr,  # in    Lists                     columns to choose from
    allowed_indices,
    allowed_rows,
    restricted,  # in    bool                      whether `allowed` counts
    work,  # work  T (.,)                    holds tile, best and left
    numbers,  # work  int32 (.,)                holds best_ids, taken, live, pairs and hopeful
    bounds,  # work  float64 (height, 3)       norm and offset of each row, and the unit of its whole numbers
    group,  # in    intp                      rows of a tile of registers
    most,  # in    intp                      columns kept for a row, padded
    kept,  # in    intp                      columns kept for a row
    ids,  # out   int32 (n_rows, n)
    scores,  # out   T (n_rows, n)
):
    """Try the columns for each row, tile after tile, until no remaining column can be among its best.

    Rounding. With u half an eps, the chain of k multiply-adds differs from x.y by at most k u / (1 - k u) |x| |y|, and
    adding an offset by at most u times the sum. `slack` = 4 (k + 8) u covers both, whatever the order of additions, and
    the rounding of norms and bound. `TINY` covers underflow, because sqrt(a + t) sqrt(b + t) >= sqrt(a b) + t. Casting
    the bound rounds it as scores are rounded, so scores stay below it. If a number is NaN the comparison is False, and
    the row goes on.

    Single rows. In whole numbers the row is x' = scale q and a column y' = unit B, with |x - x'| <= sqrt(k) / 2 scale.
    So x.y <= scale unit q'B + |x - x'| |y'| + |x| |y - y'|, with |y'| <= 2 |y|. A column whose bound, with its offset,
    is below the worst kept score is not read in full.
    """
    k, width = strips.shape[1], strips.shape[2]
    n_columns, n_pairs = len(strips) * width, rounded.shape[1]
    n_rows = len(bounds)
    best = (n_rows + 1) * COLUMNS  # scores kept for each row, falling; before it the tile, with one row of padding
    left = best + n_rows * most  # the rows that are not done, transposed
    words = len(column_ids) // WORD
    taken = n_rows * most  # a bit for each column, set if it is left out; before it the ids of `best`
    live = taken + n_rows * words  # numbers of the rows that are not done, in the order of `left`
    pairs = live + n_rows  # factors of single rows in whole numbers, two in one int32
    hopeful = pairs + n_rows * n_pairs  # for each strip of a tile: the columns that may be among its best
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
            if alone:
                bounds[r, 2] = _in_halves(numbers, pairs + r * n_pairs, X, rows[begin + r], k)
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
                    scale = bounds[r, 2] if bounds[r, 0] * reach[t, 0] < MOST else np.nan  # NaN rejects no column
                    screen(
                        numbers,
                        hopeful,
                        numbers,
                        pairs + r * n_pairs,
                        rounded,
                        start * 2 * n_pairs,
                        n_pairs,
                        terms,
                        start,
                        n_columns,
                        column_offsets,
                        start,
                        slack,
                        scale,
                        bounds[r, 0],
                        bounds[r, 1] + scale * np.sqrt(k) * reach[t, 0],
                        work[best + r * most + kept - 1],
                        (stop - start) // width,
                    )
                    j = start
                    while j < stop:
                        end = _end_of_run(numbers, hopeful, start, taken + r * words, j, stop, width)
                        if end > j:
                            row_product(
                                work, s * COLUMNS + j - start, X, u * X.shape[1], strips, j * k, k, (end - j) // width
                            )
                        else:
                            end = j + width
                            for c in range(j, end):
                                work[s * COLUMNS + c - start] = -np.inf
                        j = end
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
                        work, j - start, COLUMNS, 1, 1.0, work, left, height, strips, j * k, width, k, whole, width
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
    """Return where the list of row `i` begins and ends."""
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


@inner
def _in_halves(numbers, p, X, u, k):
    """Write a row as whole numbers of 16 bits, two in one int32; return their unit, or NaN if it cannot be rounded."""
    n_pairs = (k + 1) // 2
    most = LEAST
    for i in range(k):
        size = abs(np.float64(X[u, i]))
        if not size < MOST:
            return np.nan
        most = max(most, size)
    scale = most / min(HALF, SUM // (2 * BYTE * n_pairs))
    for d in range(n_pairs):
        low = np.int32(np.rint(X[u, 2 * d] / scale))
        high = np.int32(np.rint(X[u, 2 * d + 1] / scale)) if 2 * d + 1 < k else 0
        numbers[p + d] = high << 16 | low & 0xFFFF
    return scale


@inner
def _end_of_run(numbers, hopeful, start, bits, j, stop, width):
    """Return the end of the run of strips from column `j` on that have a hopeful column which is not left out."""
    while j < stop and numbers[hopeful + (j - start) // width] & ~(numbers[bits + j // WORD] >> j % WORD) != 0:
        j += width
    return j
