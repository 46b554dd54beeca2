"""Which items a request may be answered with: `exclude` and `allow`, for all rows and for each row."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from .data.interactions import Interactions, as_named_interactions
from .engine.topk import Lists
from .fitted import Columns, Side

__all__ = ["EVERYTHING", "Choice", "choice_of", "lists_of"]


class Choice(NamedTuple):
    """Which columns are allowed: for all rows, and for each row."""

    barred: np.ndarray | None = None  # bool (n_columns,)
    excluded: Lists | None = None
    allowed: Lists | None = None

    def part(self, rows: slice | np.ndarray) -> Choice:
        """Return the choice of some of the rows."""
        cut = (None if lists is None else lists._replace(rows=lists.rows[rows]) for lists in self[1:])
        return Choice(self.barred, *cut)

    def of(self, columns: Columns) -> Columns:
        """Return the columns without those that no row may be answered with."""
        return columns if self.barred is None else columns.less(self.barred)

    def excluded_and(self, lists: Lists | None) -> tuple[Lists, ...]:
        """Return the lists of what is left out of each row, some more of them included."""
        return tuple(found for found in (lists, self.excluded) if found is not None)


EVERYTHING = Choice()


def choice_of(n_rows: int, side: Side, exclude: Any, allow: Any) -> Choice:
    """Return what `exclude` and `allow` leave of a side to choose from, for a request for `n_rows` rows."""
    if exclude is None and allow is None:
        return EVERYTHING
    barred, n_columns = None, len(side)
    lists: dict[str, Lists | None] = {}
    for name, given in (("exclude", exclude), ("allow", allow)):
        lists[name] = None
        if given is None:
            continue
        numbers = _numbers(name, given, n_rows, side)
        if isinstance(numbers, Lists):
            lists[name] = numbers
            continue
        listed = np.zeros(n_columns, bool)
        listed[numbers] = True
        apart = listed if name == "exclude" else ~listed
        barred = apart if barred is None else barred | apart
    return Choice(barred, lists["exclude"], lists["allow"])


def _numbers(name: str, given: Any, n_rows: int, side: Side) -> np.ndarray | Lists:
    """Return one array of column numbers for all rows, or lists, one for each row."""
    if isinstance(given, Interactions) or sparse.issparse(given):
        entries = as_named_interactions(name, given)
        if isinstance(given, Interactions):
            entries = entries.renumbered(item_ids=side.ids, prefix=f"{name}: ")
        wanted = n_rows, len(side)
        if entries.shape != wanted:
            raise ValueError(
                f"{name} has shape {entries.shape}: as a sparse matrix it must have a row for each user asked for "
                f"and a column for each item, shape {wanted}"
            )
        return lists_of(entries.by_user.indptr, entries.by_user.indices)
    if isinstance(given, (str, bytes)) or (not isinstance(given, (list, tuple)) and np.ndim(given) == 0):
        raise TypeError(
            f"{name} must be a 1-D array of items, a list of such arrays (one for each user asked for), or a sparse "
            f"matrix with a row for each, got {type(given).__name__}"
        )
    if isinstance(given, (list, tuple)) and len(given) and not any(np.ndim(entry) == 0 for entry in given):
        if len(given) != n_rows:
            raise ValueError(f"{name} must have one list for each of the {n_rows} users asked for, got {len(given)}")
        rows = [np.unique(side.numbers(f"{name}[{row}]", entry)) for row, entry in enumerate(given)]
        indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
        return lists_of(indptr, np.concatenate(rows))
    return side.numbers(name, given)


def lists_of(indptr: np.ndarray, indices: np.ndarray) -> Lists:
    """Return compressed rows as lists."""
    return Lists(np.asarray(indptr, np.int64), np.asarray(indices, np.int32), np.arange(len(indptr) - 1, dtype=np.intp))
