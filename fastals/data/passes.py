"""Coded events to the arrays of a store: written as they come, then sorted in passes that fit in a given memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy import sparse

from .events import Events
from .ids import Ids
from .matrix import cells_of_events
from .store import Building, Column
from .tables import last_of_each

ROWS = 1 << 22  # events in a block
_BYTES = 80  # of memory for an event while it is sorted
_FEWEST = 1 << 16  # events that are sorted at a time, however little memory there is
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {f"{unit}I": 1024**power for power, unit in enumerate("KMGT", start=1)}


class Recipe(NamedTuple):
    """How a store is built."""

    dtype: np.dtype
    duplicates: str
    memory_limit: str

    @property
    def memory(self) -> int:
        """Return the limit in bytes."""
        found = re.fullmatch(r"([0-9.]+) ?([KMGT]?I?)B", str(self.memory_limit).upper())
        size = float(found[1]) * _UNITS[found[2]] if found and found[1].count(".") < 2 and found[1] != "." else 0
        if not size >= 1 << 27:
            raise ValueError(f"memory_limit must be at least 128MB, for example '2GB', got {self.memory_limit!r}")
        return int(size)


class Coded(NamedTuple):
    """Events whose users, items and kinds are numbers, in blocks and in order."""

    shape: tuple[int, int]
    user_ids: Ids | None
    item_ids: Ids | None
    kind_ids: Ids | None
    blocks: Callable[[], Iterator[Events]]


def write_events(store: Building, coded: Coded, recipe: Recipe) -> None:
    """Write the events as they come."""
    for block in coded.blocks():
        for name, column in zip(Events._fields, block[:5], strict=False):
            if column is not None:
                key = f"event_{name}"
                if key not in store.columns:
                    store.column(key, recipe.dtype if name == "values" else column.dtype)
                store.columns[key].append(column)


def finish(store: Building, recipe: Recipe, coded: Coded, half_life: bool) -> None:
    """Sort the events into both matrices, and complete the store."""
    rows = max(recipe.memory // 2 // _BYTES, _FEWEST)
    if recipe.duplicates == "last":
        _keep_last(store, coded.shape[0], rows)
    n_events = store.columns["event_users"].length
    indptr = _write_by_user(store, coded.shape, recipe.dtype, rows)
    _write_by_item(store, coded.shape, indptr, rows)
    if not {"event_times", "event_kinds"} & store.columns.keys():
        for name in ("event_users", "event_items", "event_values"):
            store.drop(name)
    for name, ids in (("user_ids", coded.user_ids), ("item_ids", coded.item_ids), ("kind_ids", coded.kind_ids)):
        if ids is not None:
            store.column(name, ids.values.dtype, ids.values)
    store.finish(
        shape=list(coded.shape),
        dtype=recipe.dtype.name,
        nnz=int(indptr[-1]),
        events=n_events,
        duplicates=recipe.duplicates,
        half_life=half_life,
    )


def _ranges(store: Building, column: str, n: int, rows: int) -> Iterator[tuple[int, int, int]]:
    """Cut the numbers of users or items into ranges with about `rows` events; yield begin, end and events of each."""
    counts = np.zeros(n, np.int64)
    for block in store.columns[column].blocks(ROWS):
        counts += np.bincount(block, minlength=n)
    ends = np.cumsum(counts)
    begin, before = 0, 0
    while begin < n:
        end = max(int(np.searchsorted(ends, before + rows, side="right")), begin + 1)
        yield begin, end, int(ends[end - 1]) - before
        begin, before = end, int(ends[end - 1])


def _picked(blocks: Iterator[tuple[np.ndarray, ...]], begin: int, end: int, size: int) -> list[np.ndarray]:
    """Return the rows of blocks of columns whose first column lies in a range."""
    found: list[np.ndarray] = []
    place = 0
    for block in blocks:
        inside = np.flatnonzero((block[0] >= begin) & (block[0] < end))
        if not found:
            found = [np.empty(size, column.dtype) for column in block]
        for whole, column in zip(found, block, strict=True):
            whole[place : place + len(inside)] = column[inside]
        place += len(inside)
    return found


def _columns(store: Building, *names: str) -> Iterator[tuple[np.ndarray, ...]]:
    return zip(*(store.columns[name].blocks(ROWS) for name in names), strict=True)


def _keep_last(store: Building, n_users: int, rows: int) -> None:
    """Delete all events of a user and item but the latest."""
    names = [name for name in store.columns if name.startswith("event_")]
    timed = ["event_times"] * ("event_times" in names)
    kept = np.zeros(store.columns["event_users"].length, bool)
    for begin, end, size in _ranges(store, "event_users", n_users, rows):
        starts = range(0, len(kept), ROWS)
        numbered = (
            (*block, np.arange(start, start + len(block[0])))
            for start, block in zip(starts, _columns(store, "event_users", "event_items", *timed), strict=True)
        )
        users, items, *times, places = _picked(numbered, begin, end, size)
        kept[places[last_of_each(users, items, times[0] if times else None)]] = True
    for name in names:
        old = store.columns[name]
        new = Column(old.path.with_suffix(".new"), old.dtype)
        for start, (block,) in zip(range(0, len(kept), ROWS), _columns(store, name), strict=True):
            new.append(block[kept[start : start + ROWS]])
        store.drop(name)
        new.path.rename(old.path)
        new.path = old.path
        store.columns[name] = new


def _write_by_user(store: Building, shape: tuple[int, int], dtype: np.dtype, rows: int) -> np.ndarray:
    """Write the matrix by user; return its `indptr`."""
    indptr = np.zeros(shape[0] + 1, np.int64)
    indices, values = store.column("by_user_indices", np.int32), store.column("by_user_values", dtype)
    for begin, end, size in _ranges(store, "event_users", shape[0], rows):
        block = _columns(store, "event_users", "event_items", "event_values")
        # The same code as in memory, and the events in the same order: the same sums to the bit.
        users, items, counted = _picked(block, begin, end, size)
        cells = cells_of_events(Events(users, items, counted), shape)
        indptr[begin + 1 : end + 1] = indptr[begin] + cells.indptr[begin + 1 : end + 1]
        indices.append(cells.indices)
        values.append(cells.all_values)
    store.column("by_user_indptr", np.int64, indptr)
    _compact(store, "by_user_values")
    return indptr


def _write_by_item(store: Building, shape: tuple[int, int], indptr: np.ndarray, rows: int) -> None:
    """Write the transpose of the matrix by user."""
    alike = store.columns["by_user_values"].length == 1
    turned_indptr = np.zeros(shape[1] + 1, np.int64)
    indices = store.column("by_item_indices", np.int32)
    values = None if alike else store.column("by_item_values", store.columns["by_user_values"].dtype)

    def entries() -> Iterator[tuple[np.ndarray, ...]]:
        start = 0
        for items, *data in _columns(store, "by_user_indices", *(["by_user_values"] * (not alike))):
            stop = start + len(items)
            first, last = np.searchsorted(indptr, [start, stop - 1], side="right") - 1
            bounds = np.clip(indptr[first : last + 2], start, stop)
            yield (items, np.repeat(np.arange(first, last + 1, dtype=np.int32), np.diff(bounds)), *data)
            start = stop

    for begin, end, size in _ranges(store, "by_user_indices", shape[1], rows):
        items, users, *data = _picked(entries(), begin, end, size)
        data = data or [np.ones(len(items), np.int8)]
        turned = sparse.coo_array((data[0], (items, users)), shape=shape[::-1]).tocsr()
        turned_indptr[begin + 1 : end + 1] = turned_indptr[begin] + turned.indptr[begin + 1 : end + 1]
        indices.append(turned.indices)
        if values is not None:
            values.append(turned.data)
    if alike:
        (one,) = store.columns["by_user_values"].blocks(1)
        store.column("by_item_values", one.dtype, one)
    store.column("by_item_indptr", np.int64, turned_indptr)


def _compact(store: Building, name: str) -> None:
    """Keep one number where all are alike, as in memory."""
    first = None
    for block in store.columns[name].blocks(ROWS):
        first = block[:1].copy() if first is None else first
        if (block != first).any():
            return
    assert first is not None
    store.drop(name)
    store.column(name, first.dtype, first)
