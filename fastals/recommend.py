"""From factors to answers: scores of pairs, the best items of each user, and who may be recommended what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from .data.ids import Ids
from .data.interactions import Interactions, check_indices
from .engine import topk
from .engine.problem import Cells
from .engine.topk import Columns, Lists

__all__ = [
    "EVERYTHING",
    "Choice",
    "Scores",
    "best",
    "check_inside",
    "choice_of",
    "list_of_cells",
    "pair_scores",
    "unit_rows",
]

PAIRS = 65_536  # pairs at once: keeps the two gathered blocks within the cache

Numbering = Callable[[str, Any], np.ndarray]
"""A function (argument's name, ids) -> row or column numbers, which refuses unknown ids."""


class Scores(NamedTuple):
    """What makes a prediction: `mean + user_biases[u] + item_biases[i] + user_factors[u].item_factors[i]`."""

    user_factors: np.ndarray  # T (n_users, k)
    item_factors: np.ndarray  # T (n_items, k)
    user_biases: np.ndarray | None  # T (n_users,)
    item_biases: np.ndarray | None  # T (n_items,)
    mean: float


class Choice(NamedTuple):
    """What may be chosen: by nobody, and by each row alone."""

    barred: np.ndarray | None = None  # bool (n_columns,)
    excluded: Lists | None = None
    allowed: Lists | None = None

    def part(self, rows: slice | np.ndarray) -> Choice:
        """Return the choice of some of the rows."""
        cut = (None if lists is None else lists._replace(rows=lists.rows[rows]) for lists in self[1:])
        return Choice(self.barred, *cut)


EVERYTHING = Choice()


def pair_scores(scores: Scores, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return the prediction of each pair (users[i], items[i]), shape (n_pairs,)."""
    out = np.empty(len(users), scores.item_factors.dtype)
    for start in range(0, len(users), PAIRS):
        pairs = slice(start, start + PAIRS)
        u, i = users[pairs], items[pairs]
        out[pairs] = np.einsum("nk,nk->n", scores.user_factors[u], scores.item_factors[i])
        if scores.item_biases is not None and scores.user_biases is not None:
            out[pairs] += scores.user_biases[u] + scores.item_biases[i] + scores.mean
    return out


def best(
    scores: Scores,
    columns: Columns,
    users: np.ndarray,
    seen: Cells | None,
    choice: Choice,
    n: int,
    n_threads: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and scores of the `n` best items of each user that are not among the user's `seen` cells.

    Parameters
    ----------
    scores : Scores
    columns : Columns
        The item factors, packed, with their biases as offsets.
    users : ndarray of intp, shape (n_rows,)
    seen : Cells, optional
        Row `users[i]` is left out of row `i` of the answer.
    choice : Choice
        Its lists have a row for each of `users`.
    n, n_threads : int

    Returns
    -------
    ids : ndarray of int32, shape (n_rows, n)
        By falling score, ties by lower id; -1 where fewer remain.
    scores : ndarray, same shape
        -inf beside -1.
    """
    excluded = () if seen is None else (Lists(seen.indptr, seen.indices, users),)
    if choice.excluded is not None:
        excluded = (*excluded, choice.excluded)
    check_inside(scores.user_factors, columns, users, excluded, choice.allowed)
    row_offsets = None
    if scores.user_biases is not None:
        row_offsets = scores.user_biases[users] + scores.user_factors.dtype.type(scores.mean)
    return topk.top_n(
        scores.user_factors,
        columns if choice.barred is None else columns.less(choice.barred),
        n,
        n_threads,
        rows=users,
        row_offsets=row_offsets,
        excluded=excluded,
        allowed=choice.allowed,
    )


def check_inside(
    X: np.ndarray, columns: Columns, rows: np.ndarray, excluded: tuple[Lists, ...], allowed: Lists | None
) -> None:
    """Refuse what would lead the kernel out of its arrays: it trusts them, and they may be of two fits.

    So they are where a thread asks while another fits. The last of a list, whose columns rise, is the greatest.
    """
    inside = X.shape[1] == columns.strips.shape[1] and _greatest(rows) < len(X)
    for lists in excluded if allowed is None else (*excluded, allowed):
        inside = inside and _is_inside(lists, len(columns.places))
    if not inside:
        raise RuntimeError(
            "the model was fitted again by another thread while this was answered, on other users, items or factors: "
            "ask again"
        )


def _is_inside(lists: Lists, n_columns: int) -> bool:
    if _greatest(lists.rows) >= len(lists.indptr) - 1:
        return False
    if len(lists.indices) == 0:
        return True
    # As a plain number a single row takes half the time, and of that every microsecond counts.
    rows: Any = lists.rows.item() if len(lists.rows) == 1 else lists.rows
    return _greatest(lists.indices[lists.indptr[rows + 1] - 1]) < n_columns


def _greatest(numbers: Any) -> int:
    """Return the greatest of some numbers, or one; -1 where there is none."""
    return numbers.item() if numbers.size == 1 else int(numbers.max(initial=-1))


def choice_of(n_rows: int, n_columns: int, number: Numbering, ids: Ids | None, exclude: Any, allow: Any) -> Choice:
    """Return what the arguments `exclude` and `allow` of a request for `n_rows` rows leave to choose from.

    Columns are numbered by `number`; those of Interactions with ids of their own, by `ids`.
    """
    barred = None
    lists: dict[str, Lists | None] = {}
    for name, given in (("exclude", exclude), ("allow", allow)):
        lists[name] = None
        if given is None:
            continue
        if isinstance(given, Interactions):
            given = given.renumbered(item_ids=ids, prefix=f"{name}: ")
        numbers = _numbers(name, given, n_rows, n_columns, number)
        if isinstance(numbers, Lists):
            lists[name] = numbers
            continue
        listed = np.zeros(n_columns, bool)
        listed[numbers] = True
        apart = listed if name == "exclude" else ~listed
        barred = apart if barred is None else barred | apart
    return Choice(barred, lists["exclude"], lists["allow"])


def _numbers(name: str, given: Any, n_rows: int, n_columns: int, number: Numbering) -> np.ndarray | Lists:
    """Return one array of column numbers for all rows, or lists, one for each row."""
    if isinstance(given, Interactions) or sparse.issparse(given):
        if tuple(given.shape) != (n_rows, n_columns):
            raise ValueError(
                f"{name} has shape {tuple(given.shape)}: as a sparse matrix it must have a row for each user asked for "
                f"and a column for each item, shape {(n_rows, n_columns)}"
            )
        if not isinstance(given, Interactions) and given.format in ("csr", "csc"):
            check_indices(name, given)
        matrix = given.csr if isinstance(given, Interactions) else sparse.csr_array(given, copy=True)
        matrix.sum_duplicates()
        return list_of_cells(matrix.indptr, matrix.indices)
    if isinstance(given, (str, bytes)) or np.ndim(given) == 0 if not isinstance(given, (list, tuple)) else False:
        raise TypeError(
            f"{name} must be a 1-D array of items, a list of such arrays (one for each user asked for), or a sparse "
            f"matrix with a row for each, got {type(given).__name__}"
        )
    if len(given) and all(isinstance(entry, (list, tuple, np.ndarray, range)) for entry in given):
        if len(given) != n_rows:
            raise ValueError(f"{name} must have one list for each of the {n_rows} users asked for, got {len(given)}")
        rows = [np.unique(number(f"{name}[{row}]", entry)) for row, entry in enumerate(given)]
        indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
        return list_of_cells(indptr, np.concatenate(rows))
    return number(name, given)


def list_of_cells(indptr: np.ndarray, indices: np.ndarray) -> Lists:
    """Return the cells of each row as lists."""
    return Lists(np.asarray(indptr, np.int64), np.asarray(indices, np.int32), np.arange(len(indptr) - 1, dtype=np.intp))


def unit_rows(factors: np.ndarray) -> np.ndarray:
    """Return the rows divided by their length; a row of zeros stays one."""
    # In float64, as the square of a float32 number may overflow or vanish.
    lengths = np.sqrt(np.einsum("nk,nk->n", factors, factors, dtype=np.float64))
    return (factors / np.where(lengths > 0, lengths, 1.0)[:, None]).astype(factors.dtype)
