"""The best columns of each row: tiles of scores, a vector compare that rejects most, and a short sorted list.

A score is one chain of multiply-adds in the order of the factors, whether its row comes alone or among many, so ids and
bits depend neither on the batch nor on the threads. No score outlives its tile.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .jit import inner, kernel, next_block
from .panel import aligned_zeros
from .simd.kernels import add_product, first_above, row_axpys
from .simd.target import aligned_empty, target
from .threads import spread

ROWS = 64  # of a tile at most: each strip of columns is read from the cache once for so many rows
COLUMNS = 256  # of a tile: 64 KB of float32 scores stay in the second-level cache
CHUNKS_PER_THREAD = 4  # blocks of rows for each thread where there are few rows: they end at about the same time


class Columns(NamedTuple):
    """One side's factors, packed for scores: strips of columns, factor after factor, as wide as a tile of registers."""

    strips: np.ndarray  # T (n_strips, k, width)
    n: int  # columns in all


class Lists(NamedTuple):
    """A list of columns for each row: row `i` has `indices[indptr[rows[i]] : indptr[rows[i] + 1]]`, sorted."""

    indptr: np.ndarray  # int64
    indices: np.ndarray  # int32
    rows: np.ndarray  # intp (n_rows,)


@lru_cache(maxsize=8)
def no_lists(n_rows: int) -> Lists:
    """Return empty lists for so many rows; kept, as single rows are asked for again and again."""
    return Lists(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(n_rows, np.intp))


def pack(Y: np.ndarray) -> Columns:
    """Return factors of shape (n, k) as columns for `top_n`."""
    n, k = Y.shape
    width = target().strip(Y.dtype.itemsize)
    whole, rest = divmod(n, width)
    strips = aligned_zeros((whole + (rest > 0), k, width), Y.dtype)
    strips[:whole] = Y[: whole * width].reshape(whole, width, k).swapaxes(1, 2)
    if rest:
        strips[whole, :, :rest] = Y[whole * width :].T
    return Columns(strips, n)


def top_n(
    X: np.ndarray,
    columns: Columns,
    n: int,
    n_threads: int,
    *,
    row_offsets: np.ndarray | None = None,
    column_offsets: np.ndarray | None = None,
    excluded: tuple[Lists, ...] = (),
    allowed: Lists | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the `n` columns with the highest score for each row of X, and the scores.

    Parameters
    ----------
    X : ndarray, shape (n_rows, k)
    columns : Columns
    n, n_threads : int
    row_offsets, column_offsets : ndarray, shapes (n_rows,), (n_columns,), optional
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
    ids = np.full((len(X), n), -1, np.int32)
    scores = np.full((len(X), n), -np.inf, X.dtype)
    if len(X) == 0 or columns.n == 0:
        return ids, scores
    group = target().tile(X.dtype.itemsize)[0]
    block = -(-len(X) // (CHUNKS_PER_THREAD * n_threads * group)) * group if n_threads > 1 else ROWS
    block = min(block, ROWS)
    none = no_lists(len(X))
    first, second = (*excluded, none, none)[:2]
    offsets = np.zeros(len(X), X.dtype) if row_offsets is None else row_offsets.astype(X.dtype, copy=False)
    padded = np.zeros((-(-columns.n // COLUMNS), COLUMNS), X.dtype)
    if column_offsets is not None:
        padded.flat[: columns.n] = column_offsets
    padded[-1, COLUMNS - padded.size + columns.n :] = -np.inf
    X = np.ascontiguousarray(X)
    kept = min(n, columns.n)

    def work(counter: np.ndarray) -> None:
        height = -(-min(block, len(X)) // group) * group
        _top_n(
            counter,
            block,
            X,
            offsets,
            columns.strips,
            padded,
            first,
            second,
            none if allowed is None else allowed,
            allowed is not None,
            aligned_empty((X.shape[1], height), X.dtype),
            aligned_empty((height + 1, COLUMNS), X.dtype),
            np.empty((3, height), np.int64),
            group,
            kept,
            ids,
            scores,
        )

    spread(work, min(n_threads, -(-len(X) // block)))
    return ids, scores


@kernel
def _top_n(
    counter,  # inout int64 (1,)
    block,  # in    intp                      rows drawn at once
    X,  # in    T (n_rows, k)
    row_offsets,  # in    T (n_rows,)
    strips,  # in    T (n_strips, k, width)
    column_offsets,  # in    T (n_tiles, COLUMNS)      -inf in the padding
    first,  # in    Lists                     left out
    second,  # in    Lists                     left out too
    allowed,  # in    Lists
    restricted,  # in    bool                      whether `allowed` counts
    left,  # work  T (k, height)             a block's rows, transposed
    tile,  # work  T (height + 1, COLUMNS)   the last row may be read, and is not used
    at,  # work  int64 (3, height)         where each row stands in its lists
    group,  # in    intp                      rows of a tile of registers
    kept,  # in    intp                      columns kept for a row
    ids,  # inout int32 (n_rows, n)         -1
    scores,  # inout T (n_rows, n)             -inf
):
    """Offer every column to each row, in rising order of ids, so that a later tie never wins."""
    k, width = strips.shape[1], strips.shape[2]
    n_columns = len(strips) * width
    while True:
        begin = next_block(counter) * block
        if begin >= len(X):
            return
        count = min(block, len(X) - begin)
        # A few rows alone are cheaper one by one than as a whole group, most of it padding.
        alone = 4 * count <= group
        height = (count + group - 1) // group * group
        if not alone:
            for i in range(k):
                for r in range(height):
                    left[i, r] = X[begin + r, i] if r < count else 0
        for r in range(count):
            at[0, r] = first.indptr[first.rows[begin + r]]
            at[1, r] = second.indptr[second.rows[begin + r]]
            at[2, r] = allowed.indptr[allowed.rows[begin + r]]
        for t in range(len(column_offsets)):
            start = t * COLUMNS
            stop = min(start + COLUMNS, n_columns)
            if alone:
                for r in range(count):
                    for j in range(COLUMNS):
                        tile[r, j] = 0
                    for j in range(start, stop, width):
                        at_strip = j * k
                        row_axpys(tile, r * COLUMNS + j - start, X, (begin + r) * k, strips, at_strip, width, k, width)
                    for j in range(COLUMNS):
                        tile[r, j] += row_offsets[begin + r] + column_offsets[t, j]
            else:
                for r in range(height):
                    offset = row_offsets[begin + min(r, count - 1)]
                    for j in range(COLUMNS):
                        tile[r, j] = offset + column_offsets[t, j]
                for j in range(start, stop, width):
                    add_product(
                        tile, j - start, COLUMNS, 1.0, left, 0, left.shape[1], strips, j * k, width, k, height, width
                    )
            for r in range(count):
                u, row = begin + r, r * COLUMNS
                if restricted:
                    at[2, r] = _keep_only(tile, r, start, stop, allowed.indices, at[2, r], _end(allowed, u))
                at[0, r] = _leave_out(tile, r, start, stop, first.indices, at[0, r], _end(first, u))
                at[1, r] = _leave_out(tile, r, start, stop, second.indices, at[1, r], _end(second, u))
                j = first_above(tile, row, 0, stop - start, scores[u, kept - 1])
                while j < stop - start:
                    _insert(ids, scores, u, kept - 1, start + j, tile[r, j])
                    j = first_above(tile, row, j + 1, stop - start, scores[u, kept - 1])


@inner
def _end(lists, u):
    return lists.indptr[lists.rows[u] + 1]


@inner
def _leave_out(tile, r, start, stop, indices, p, end):
    """Put -inf at the columns start .. stop - 1 of a list that goes on at `p`; return where it goes on then."""
    while p < end and indices[p] < stop:
        tile[r, indices[p] - start] = -np.inf
        p += 1
    return p


@inner
def _keep_only(tile, r, start, stop, indices, p, end):
    """Put -inf at the columns start .. stop - 1 that are not in a list; return where it goes on then."""
    for j in range(start, stop):
        if p < end and indices[p] == j:
            p += 1
        else:
            tile[r, j - start] = -np.inf
    return p


@inner
def _insert(
    ids,  # inout int32 (n_rows, n)
    scores,  # inout T (n_rows, n)
    u,
    last,  # the worst place
    j,
    score,  # above that of the worst place
):
    """Put a column at its place among the best of row `u`, behind those of the same score.

    Shifting beats a heap up to some hundred places: it has one branch that is hard to predict, not two a level.
    """
    place = last
    while place > 0 and scores[u, place - 1] < score:
        scores[u, place], ids[u, place] = scores[u, place - 1], ids[u, place - 1]
        place -= 1
    scores[u, place], ids[u, place] = score, j
