"""The best columns of each row: scores of one row at a time and a bounded heap, never a matrix of scores."""

from __future__ import annotations

import numpy as np

from .jit import inner, kernel, next_block
from .threads import spread

BLOCK = 16  # rows drawn at once


def top_n(
    X: np.ndarray,
    Y: np.ndarray,
    indptr: np.ndarray,
    indices: np.ndarray,
    rows: np.ndarray,
    n: int,
    n_threads: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the `n` columns of Y with the highest product with each row of X, and the products.

    Parameters
    ----------
    X, Y : ndarray, shapes (n_rows, k), (n_columns, k)
    indptr, indices : ndarray of int64, int32
        Row `rows[i]` of this compressed matrix holds the columns left out of row `i`, sorted.
    rows : ndarray of intp, shape (n_rows,)
    n, n_threads : int

    Returns
    -------
    ids : ndarray of int32, shape (n_rows, n); -1 where fewer remain
    scores : ndarray of T, shape (n_rows, n); -inf beside -1
    """
    ids = np.full((len(X), n), -1, np.int32)
    scores = np.full((len(X), n), -np.inf, X.dtype)
    X, Y = np.ascontiguousarray(X), np.ascontiguousarray(Y)
    spread(_top_n, max(1, min(n_threads, len(X) // BLOCK)), X, Y, indptr, indices, rows, ids, scores)
    return ids, scores


@kernel
def _top_n(
    counter,  # inout int64 (1,)
    X,  # in    T (n_rows, k)
    Y,  # in    T (n_columns, k)
    indptr,  # in    int64
    indices,  # in    int32
    rows,  # in    intp (n_rows,)
    ids,  # inout int32 (n_rows, n)   -1
    scores,  # inout T (n_rows, n)       -inf
):
    """Offer every column to each row's heap, in rising order of ids, so that a later tie never wins."""
    while True:
        start = next_block(counter) * BLOCK
        if start >= len(X):
            return
        for r in range(start, min(start + BLOCK, len(X))):
            p, end = indptr[rows[r]], indptr[rows[r] + 1]
            for j in range(len(Y)):
                if p < end and indices[p] == j:
                    p += 1
                    continue
                score = X.dtype.type(0)
                for i in range(X.shape[1]):
                    score += X[r, i] * Y[j, i]
                if score > scores[r, 0]:
                    _replace_root(ids[r], scores[r], j, score)
            _sort(ids[r], scores[r])


@inner
def _below(ids, scores, a, b):
    """Tell whether entry `a` is worse than `b`: a lower score, or the same and a higher id."""
    return scores[a] < scores[b] or (scores[a] == scores[b] and ids[a] > ids[b])


@inner
def _sift(
    ids,  # inout int32 (n,)   heap, the worst entry at 0
    scores,  # inout T (n,)
    at,  # in    intp
    size,  # in    intp
):
    """Let the entry at `at` sink until no child is worse."""
    while True:
        child = 2 * at + 1
        if child >= size:
            return
        if child + 1 < size and _below(ids, scores, child + 1, child):
            child += 1
        if not _below(ids, scores, child, at):
            return
        ids[at], ids[child] = ids[child], ids[at]
        scores[at], scores[child] = scores[child], scores[at]
        at = child


@inner
def _replace_root(ids, scores, j, score):
    ids[0], scores[0] = j, score
    _sift(ids, scores, 0, len(ids))


@inner
def _sort(ids, scores):
    """Turn the heap into falling order: move the worst entry to the end, again and again."""
    for size in range(len(ids) - 1, 0, -1):
        ids[0], ids[size] = ids[size], ids[0]
        scores[0], scores[size] = scores[size], scores[0]
        _sift(ids, scores, 0, size)
