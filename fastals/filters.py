"""Which items a request may be answered with: `exclude` and `allow`, for all rows and for each row."""

from __future__ import annotations

import weakref
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from .data.ids import IGNORE, Frozen
from .data.interactions import Interactions, as_interactions
from .engine.topk import Lists
from .fitted import Columns, Side

__all__ = ["EVERYTHING", "Choice", "ItemFilter", "choice_of", "lists_of"]

KEPT = 8  # kinds of columns that a filter keeps its offsets for: scores, popularity, cosines, and those of other states


class ItemFilter(Frozen):
    """Items that many requests leave out, or choose from: looked up once, by `model.item_filter`.

    Attributes
    ----------
    listed : ndarray of bool, shape (n_items,)
        Which of the items that the model had when the filter was made.

    Examples
    --------
    >>> import fastals
    >>> model = fastals.ImplicitALS(2, random_state=0).fit([(0, 0, 1), (0, 1, 1), (1, 1, 1)])
    >>> model.item_filter([1])
    ItemFilter(1 of 2 items)
    """

    listed: np.ndarray
    _origin: object
    _kept: dict[Any, tuple[Any, np.ndarray]]

    def __init__(self, side: Side, numbers: np.ndarray):
        listed = np.zeros(len(side), bool)
        listed[numbers] = True
        listed.flags.writeable = False
        self.__dict__.update(listed=listed, _origin=side.origin, _kept={})

    def __len__(self) -> int:
        return int(self.listed.sum())

    def __repr__(self) -> str:
        return f"ItemFilter({len(self)} of {len(self.listed)} items)"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": {}}

    def belongs_to(self, side: Side) -> bool:
        """Tell whether the filter was made for this side, or for one that it has grown from."""
        return self._origin is side.origin

    def of(self, columns: Columns, outside: bool) -> Columns:
        """Return the columns without those that are listed, or without those `outside` of the list."""
        offsets = columns.offsets
        # Known by their offsets: a weak reference to these keeps no factors of an old state alive.
        kept = self._kept.get((outside, id(offsets)))
        if kept is None or kept[0]() is not offsets:
            barred = np.full(columns.shape[0], outside)
            both = min(len(barred), len(self.listed))
            barred[:both] = self.listed[:both] != outside
            if len(self._kept) >= KEPT:
                self._kept.clear()
            kept = self._kept[outside, id(offsets)] = weakref.ref(offsets), columns.less(barred).offsets
        return columns._replace(offsets=kept[1])


class Choice(NamedTuple):
    """Which columns are allowed: for all rows, and for each row."""

    barred: np.ndarray | None = None  # bool (n_columns,)
    excluded: Lists | None = None
    allowed: Lists | None = None
    filters: tuple[tuple[ItemFilter, bool], ...] = ()  # each with whether what is outside is left out

    def part(self, rows: slice | np.ndarray) -> Choice:
        """Return the choice of some of the rows."""
        lists = (self.excluded, self.allowed)
        excluded, allowed = (None if found is None else found._replace(rows=found.rows[rows]) for found in lists)
        return self._replace(excluded=excluded, allowed=allowed)

    def of(self, columns: Columns) -> Columns:
        """Return the columns without those that no row may be answered with."""
        for items, outside in self.filters:
            columns = items.of(columns, outside)
        return columns if self.barred is None else columns.less(self.barred)


EVERYTHING = Choice()


def choice_of(n_rows: int, side: Side, exclude: Any, allow: Any, unknown: str | None = None) -> Choice:
    """Return what `exclude` and `allow` leave of a side to choose from, for a request for `n_rows` rows.

    `unknown` is None where the caller has no such option; then unknown ids raise.
    """
    if exclude is None and allow is None:
        return EVERYTHING
    barred, n_columns = None, len(side)
    lists: dict[str, Lists | None] = {}
    filters: tuple[tuple[ItemFilter, bool], ...] = ()
    for name, given in (("exclude", exclude), ("allow", allow)):
        lists[name] = None
        if given is None:
            continue
        if isinstance(given, ItemFilter):
            if not given.belongs_to(side):
                raise ValueError(
                    f"{name} is {given!r}, of another model, of this one before it was fitted or loaded anew, or of "
                    "items where users are wanted: make a new one with item_filter"
                )
            filters = (*filters, (given, name == "allow"))
            continue
        numbers = _numbers(name, given, n_rows, side, unknown)
        if isinstance(numbers, Lists):
            lists[name] = numbers
            continue
        listed = np.zeros(n_columns, bool)
        listed[numbers] = True
        apart = listed if name == "exclude" else ~listed
        barred = apart if barred is None else barred | apart
    return Choice(barred, lists["exclude"], lists["allow"], filters)


def _numbers(name: str, given: Any, n_rows: int, side: Side, unknown: str | None) -> np.ndarray | Lists:
    """Return one array of column numbers for all rows, or lists, one for each row."""
    if isinstance(given, Interactions) or sparse.issparse(given):
        entries = as_interactions(given, name=name)
        if isinstance(given, Interactions):
            remedy = IGNORE if unknown else ""
            entries = entries.renumbered(
                item_ids=side.ids, prefix=f"{name}: ", remedy=remedy, unknown=unknown or "raise"
            )
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
        rows = [np.unique(_known(f"{name}[{row}]", entry, side, unknown)) for row, entry in enumerate(given)]
        indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
        return lists_of(indptr, np.concatenate(rows))
    return _known(name, given, side, unknown)


def _known(name: str, given: Any, side: Side, unknown: str | None) -> np.ndarray:
    """Return the numbers of ids, without those of unknown ones where these may be ignored."""
    numbers = side.numbers(name, given, unknown or "raise", IGNORE if unknown else "")
    return numbers[numbers >= 0] if unknown == "ignore" else numbers


def lists_of(indptr: np.ndarray, indices: np.ndarray) -> Lists:
    """Return compressed rows as lists."""
    return Lists(np.asarray(indptr, np.int64), np.asarray(indices, np.int32), np.arange(len(indptr) - 1, dtype=np.intp))
