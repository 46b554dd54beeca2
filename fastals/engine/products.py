"""Products of sparse rows with a matrix, of which only the highest scores of each row are kept.

All neighbourhood methods are such products: similarities are items times users times items, and recommendations are
users times items times similarities. A row's scores are summed in one array of all columns. They are cleared on the
way where the row reaches few of the columns, so that a short row costs no pass over a large catalogue.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .fallback import is_plain
from .jit import inner, kernel, next_block
from .problem import Cells
from .threads import available, spread

BLOCK = 16  # rows that a thread draws at once


class Skipped(NamedTuple):
    """Columns that are left out of each row of a product: row r lacks ``indices[indptr[r]:indptr[r + 1]]``."""

    indptr: np.ndarray  # int64 (n_rows + 1,)
    indices: np.ndarray  # int32


class Sparse(NamedTuple):
    """Rows of a sparse matrix: row r has ``data[indptr[r]:indptr[r + 1]]`` in the columns ``indices``."""

    indptr: np.ndarray  # int64 (n_rows + 1,)
    indices: np.ndarray  # int32
    data: np.ndarray  # T


def with_values(cells: Cells, dtype: np.dtype) -> Sparse:
    """Return cells with a value for each entry, in a dtype."""
    return Sparse(cells.indptr, cells.indices, np.ascontiguousarray(cells.all_values, dtype))


def best_products(
    left: Sparse, right: Sparse | np.ndarray, skipped: Skipped, rows: np.ndarray, n: int, n_columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns with the highest scores in rows of ``left @ right``, by falling score, ties by lower column.

    Parameters
    ----------
    left : Sparse
    right : Sparse, or ndarray T (n_inner, n_columns)
        With one row for each column of `left`, of the dtype of `left.data`.
    skipped : Skipped
        Row r has the columns that row r of the product leaves out. A column of score 0 is left out in any case.
    rows : int array (m,)
        The wanted rows.
    n : int
        Length of a list.
    n_columns : int
        Of `right`.

    Returns
    -------
    ids : int32 (m, n)
        -1 where fewer than `n` columns remain.
    scores : float64 (m, n)
        -inf beside -1.
    """
    ids, scores = np.full((len(rows), n), -1, np.int32), np.full((len(rows), n), -np.inf)
    if is_plain("auto"):
        _plain(left, right, skipped, rows, ids, scores, n_columns)
        return ids, scores
    wanted = np.ascontiguousarray(rows, np.int64)
    run = _dense_products if isinstance(right, np.ndarray) else _sparse_products

    def work(counter: np.ndarray) -> None:
        sums = np.zeros(n_columns, left.data.dtype)
        run(left, right, skipped, wanted, counter, sums, ids, scores)

    spread(work, min(available(), max(1, len(rows) // BLOCK)))
    return ids, scores


def lower_gram(by_row: Sparse, by_column: Sparse, out: np.ndarray) -> None:
    """Add ``X.T @ X`` to the lower triangle of `out`, for X in both orders with ascending indices.

    Parameters
    ----------
    by_row, by_column : Sparse
        X and its transpose.
    out : T (n_columns, n_columns)
    """
    if is_plain("auto"):
        for i in range(len(out)):
            for e in range(by_column.indptr[i], by_column.indptr[i + 1]):
                row = slice(*by_row.indptr[by_column.indices[e] :][:2])
                upto = by_row.indices[row] <= i
                out[i, by_row.indices[row][upto]] += by_column.data[e] * by_row.data[row][upto]
        return
    spread(lambda counter: _lower_gram(*by_row, *by_column, counter, out), available())


def _plain(
    left: Sparse,
    right: Sparse | np.ndarray,
    skipped: Skipped,
    rows: np.ndarray,
    ids: np.ndarray,
    scores: np.ndarray,
    n_columns: int,
) -> None:
    """Write what `best_products` does, row by row in NumPy."""
    for place, row in enumerate(rows):
        sums = np.zeros(n_columns, left.data.dtype)
        for e in range(left.indptr[row], left.indptr[row + 1]):
            if isinstance(right, np.ndarray):
                sums += left.data[e] * right[left.indices[e]]
            else:
                listed = slice(*right.indptr[left.indices[e] :][:2])
                sums[right.indices[listed]] += left.data[e] * right.data[listed]
        sums[skipped.indices[slice(*skipped.indptr[row:][:2])]] = 0
        best = np.flatnonzero(sums)
        best = best[np.argsort(-sums[best], kind="stable")][: ids.shape[1]]
        ids[place, : len(best)], scores[place, : len(best)] = best, sums[best]


@kernel
def _sparse_products(
    left,  # in    Sparse
    right,  # in    Sparse
    skipped,  # in    Skipped
    rows,  # in    int64 (m,)
    counter,  # inout int64 (1,)
    sums,  # inout T (n_columns,)           0 before and after
    ids,  # out   int32 (m, n)
    scores,  # out   float64 (m, n)
):
    """Sum the rows of the right matrix that each row of the left one lists, and keep the best sums."""
    while True:
        first = next_block(counter) * BLOCK
        if first >= len(rows):
            return
        for place in range(first, min(first + BLOCK, len(rows))):
            row, reached = rows[place], 0
            for e in range(left.indptr[row], left.indptr[row + 1]):
                i, weight = left.indices[e], left.data[e]
                reached += right.indptr[i + 1] - right.indptr[i]
                for f in range(right.indptr[i], right.indptr[i + 1]):
                    sums[right.indices[f]] += weight * right.data[f]
            _leave_out(skipped, row, sums)
            if reached > len(sums):
                _keep_best(sums, ids[place], scores[place])
                continue
            kept = 0
            for e in range(left.indptr[row], left.indptr[row + 1]):
                i = left.indices[e]
                for f in range(right.indptr[i], right.indptr[i + 1]):
                    j = right.indices[f]
                    if sums[j] != 0:
                        kept = _keep(sums[j], j, ids[place], scores[place], kept)
                        sums[j] = 0


@kernel
def _dense_products(
    left,  # in    Sparse
    right,  # in    T (n, n_columns)
    skipped,  # in    Skipped
    rows,  # in    int64 (m,)
    counter,  # inout int64 (1,)
    sums,  # inout T (n_columns,)           0 before and after
    ids,  # out   int32 (m, n)
    scores,  # out   float64 (m, n)
):
    """Do as `_sparse_products`, with a dense right matrix."""
    while True:
        first = next_block(counter) * BLOCK
        if first >= len(rows):
            return
        for place in range(first, min(first + BLOCK, len(rows))):
            row = rows[place]
            for e in range(left.indptr[row], left.indptr[row + 1]):
                i, weight = left.indices[e], left.data[e]
                for j in range(len(sums)):
                    sums[j] += weight * right[i, j]
            _leave_out(skipped, row, sums)
            _keep_best(sums, ids[place], scores[place])


@inner
def _leave_out(
    skipped,  # in    Skipped
    row,  # in    intp
    sums,  # inout T (n_columns,)
):
    """Set the sums of the columns that a row leaves out to 0."""
    for e in range(skipped.indptr[row], skipped.indptr[row + 1]):
        sums[skipped.indices[e]] = 0


@inner
def _keep_best(
    sums,  # inout T (n_columns,)           out: zeros
    ids,  # out   int32 (n,)
    scores,  # out   float64 (n,)
):
    """Keep the best of all sums."""
    kept = 0
    for j in range(len(sums)):
        if sums[j] != 0:
            kept = _keep(sums[j], j, ids, scores, kept)
            sums[j] = 0


@inner
def _keep(
    score,  # in    T
    j,  # in    intp
    ids,  # inout int32 (n,)
    scores,  # inout float64 (n,)
    kept,  # in    intp                     places that are taken
):  # -> places that are taken then
    """Put a score where it belongs in a list by falling score, ties by lower number."""
    n = len(ids)
    if kept == n:
        if score < scores[n - 1] or (score == scores[n - 1] and j > ids[n - 1]):
            return kept
        place = n - 1
    else:
        place = kept
        kept += 1
    while place > 0 and (scores[place - 1] < score or (scores[place - 1] == score and ids[place - 1] > j)):
        ids[place], scores[place] = ids[place - 1], scores[place - 1]
        place -= 1
    ids[place], scores[place] = j, score
    return kept


@kernel
def _lower_gram(
    indptr,  # in    int64 (n_rows + 1,)    of X by rows
    indices,  # in    int32 (nnz,)          ascending in each row
    data,  # in    T (nnz,)
    column_indptr,  # in    int64           of X by columns
    column_indices,  # in    int32
    column_data,  # in    T
    counter,  # inout int64 (1,)
    out,  # inout T (n_columns, n_columns)
):
    """Add to each row of the lower triangle what the rows of X that have its column add."""
    n_columns = len(out)
    while True:
        first = next_block(counter) * BLOCK
        if first >= n_columns:
            return
        for i in range(first, min(first + BLOCK, n_columns)):
            for e in range(column_indptr[i], column_indptr[i + 1]):
                u, weight = column_indices[e], column_data[e]
                for f in range(indptr[u], indptr[u + 1]):
                    j = indices[f]
                    if j > i:
                        break
                    out[i, j] += weight * data[f]
