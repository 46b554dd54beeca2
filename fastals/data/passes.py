"""Events in files to the arrays of a store, in passes that fit in a given memory."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..engine.problem import Cells
from ..engine.turned import turn
from .events import Events
from .ids import Ids
from .matrix import cells_of_events
from .store import Building
from .tables import last_of_each

T = TypeVar("T")
ROWS = 1 << 22  # events in a block
_BYTES = 80  # of memory for an event while it is sorted, of two ranges at the same time
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
        if not size >= 128_000_000:
            raise ValueError(f"memory_limit must be at least 128MB, for example '2GB', got {self.memory_limit!r}")
        return int(size)

    @property
    def rows(self) -> int:
        """Return the number of events that are sorted at a time."""
        return max(self.memory // 2 // _BYTES, _FEWEST)


class Coded(NamedTuple):
    """What the numbers of users, items and kinds in the events of a store mean."""

    shape: tuple[int, int]
    user_ids: Ids | None
    item_ids: Ids | None
    kind_ids: Ids | None


def write_block(store: Building, block: Events, dtype: np.dtype) -> None:
    """Write some more events."""
    for name, column in zip(Events._fields, block[:5], strict=False):
        if column is not None:
            key = f"event_{name}"
            if key not in store.columns:
                store.column(key, dtype if name == "values" else column.dtype)
            store.columns[key].append(column)


def renumber(store: Building, name: str, places: np.ndarray) -> None:
    """Replace the numbers in a column by those that stand in their places."""
    _replace(store, name, (places[block] for block in store.columns[name].blocks(ROWS)))


def finish(store: Building, recipe: Recipe, coded: Coded, half_life: bool) -> None:
    """Sort the events into both matrices, and complete the store."""
    if recipe.duplicates == "last":
        _keep_last(store, coded.shape[0], recipe.rows)
    n_events = store.columns["event_users"].length
    indptr = _write_by_user(store, coded.shape, recipe.dtype, recipe.rows)
    _write_by_item(store, coded.shape, indptr, recipe.memory // 2)
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


def _counts(store: Building, column: str, n: int) -> np.ndarray:
    """Count how often each number from 0 to n - 1 stands in a column."""
    counts = np.zeros(n, np.int64)
    for block in store.columns[column].blocks(ROWS):
        counts += np.bincount(block, minlength=n)
    return counts


def _cut(counts: np.ndarray, most: int) -> list[int]:
    """Return where ranges of users or items begin that have `most` entries, or are of one; and the end of the last."""
    ends, cuts = np.cumsum(counts), [0]
    while cuts[-1] < len(counts):
        before = ends[cuts[-1] - 1] if cuts[-1] else 0
        cuts.append(max(int(np.searchsorted(ends, before + most, side="right")), cuts[-1] + 1))
    return cuts


def _columns(store: Building, *names: str) -> Iterator[tuple[np.ndarray, ...]]:
    return zip(*(store.columns[name].blocks(ROWS) for name in names), strict=True)


def _by_range(
    store: Building, n_users: int, rows: int, names: Sequence[str], numbered: bool = False
) -> Iterator[tuple[int, int, list[np.ndarray]]]:
    """Yield ranges of users with about `rows` events, and columns of their events in the order in which they came.

    `numbered` adds a column: the place of each event among all.
    """
    counts = _counts(store, names[0], n_users)
    cuts = _cut(counts, rows)
    sizes = np.add.reduceat(counts, cuts[:-1])
    range_of = np.repeat(np.arange(len(sizes), dtype=np.uint16), np.diff(cuts))
    dtypes = [store.columns[name].dtype for name in names] + [np.dtype(np.int64)] * numbered
    dealt = [_Dealt(store.folder / f"dealt-{place}", dtype, sizes) for place, dtype in enumerate(dtypes)]
    try:
        first = 0
        for block in _columns(store, *names):
            added = [np.arange(first, first + len(block[0]))] * numbered
            ranges = range_of[block[0]]
            order = np.argsort(ranges, kind="stable")  # a radix sort, as they have 16 bits
            bounds = np.searchsorted(ranges[order], np.arange(len(sizes) + 1))
            for column, into in zip([*block, *added], dealt, strict=True):
                into.deal(column[order], bounds)
            first += len(block[0])
        for place, (begin, end) in enumerate(pairwise(cuts)):
            yield begin, end, [column.read(place) for column in dealt]
    finally:
        for into in dealt:
            into.close()


class _Dealt:
    """A column on disk, whose numbers are dealt into ranges that follow one another."""

    def __init__(self, path: Path, dtype: np.dtype, sizes: np.ndarray):
        self._path, self._dtype, self._sizes = path, dtype, sizes
        self._begins = np.cumsum(sizes) - sizes
        self._filled = self._begins.copy()
        self._file = path.open("xb+")

    def deal(self, values: np.ndarray, bounds: np.ndarray) -> None:
        """Add to each range the values between two bounds."""
        for place, (begin, end) in enumerate(pairwise(bounds.tolist())):
            if begin < end:
                self._file.seek(int(self._filled[place]) * self._dtype.itemsize)
                self._file.write(values[begin:end].data)
                self._filled[place] += end - begin

    def read(self, place: int) -> np.ndarray:
        """Return the values of a range."""
        self._file.seek(int(self._begins[place]) * self._dtype.itemsize)
        return np.fromfile(self._file, self._dtype, int(self._sizes[place]))

    def close(self) -> None:
        """Delete the file."""
        self._file.close()
        self._path.unlink(missing_ok=True)


def _replace(store: Building, name: str, blocks: Iterator[np.ndarray]) -> None:
    """Write a column anew."""
    new, path = store.column(f"new_{name}", store.columns[name].dtype), store.columns[name].path
    for block in blocks:
        new.append(block)
    store.drop(name)
    new.path = new.path.rename(path)
    store.columns[name] = store.columns.pop(f"new_{name}")


def _keep_last(store: Building, n_users: int, rows: int) -> None:
    """Delete all events of a user and item but the latest."""
    names = [name for name in store.columns if name.startswith("event_")]
    wanted = ["event_users", "event_items", *(name for name in names if name == "event_times")]
    kept = np.zeros(store.columns["event_users"].length, bool)
    for _, _, (users, items, *times, places) in _by_range(store, n_users, rows, wanted, numbered=True):
        kept[places[last_of_each(users, items, times[0] if times else None)]] = True
    for name in names:
        starts = range(0, len(kept), ROWS)
        blocks = zip(starts, store.columns[name].blocks(ROWS), strict=True)
        _replace(store, name, (block[kept[start : start + ROWS]] for start, block in blocks))


def _write_by_user(store: Building, shape: tuple[int, int], dtype: np.dtype, rows: int) -> np.ndarray:
    """Write the matrix by user; return its `indptr`."""
    indptr = np.zeros(shape[0] + 1, np.int64)
    indices, values = store.column("by_user_indices", np.int32), store.column("by_user_values", dtype)

    def summed(begin: int, end: int, columns: list[np.ndarray]) -> tuple[int, int, Cells]:
        # The same code as in memory, and the events in the same order: the same sums to the bit.
        return begin, end, cells_of_events(Events(columns[0], columns[1], columns[2]), shape)

    ranges = _by_range(store, shape[0], rows, ("event_users", "event_items", "event_values"))
    for begin, end, cells in _by_two_threads(summed, ranges):
        indptr[begin + 1 : end + 1] = indptr[begin] + cells.indptr[begin + 1 : end + 1]
        indices.append(cells.indices)
        values.append(cells.all_values)
    store.column("by_user_indptr", np.int64, indptr)
    _compact(store, "by_user_values")
    return indptr


def _by_two_threads(work: Callable[..., T], ranges: Iterator[tuple[Any, ...]]) -> Iterator[T]:
    """Yield the results in order, while two of them at most are worked on."""
    with ThreadPoolExecutor(2) as pool:
        waiting: deque[Future[T]] = deque()
        for given in ranges:
            waiting.append(pool.submit(work, *given))
            del given  # two ranges fit in memory, not three
            if len(waiting) == 2:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _write_by_item(store: Building, shape: tuple[int, int], indptr: np.ndarray, memory: int) -> None:
    """Write the transpose of the matrix by user."""
    alike, dtype = store.columns["by_user_values"].length == 1, store.columns["by_user_values"].dtype
    counts = _counts(store, "by_user_indices", shape[1])
    turned_indptr = np.concatenate([[0], np.cumsum(counts)])
    indices = store.column("by_item_indices", np.int32)
    values = None if alike else store.column("by_item_values", dtype)
    names = ["by_user_indices", *(["by_user_values"] * (not alike))]
    for begin, end in pairwise(_cut(counts, max(memory // (4 + (not alike) * dtype.itemsize), _FEWEST))):
        size = int(turned_indptr[end] - turned_indptr[begin])
        users, moved = np.empty(size, np.int32), np.empty(0 if alike else size, dtype)
        places = turned_indptr[begin:end] - turned_indptr[begin]
        entry = 0
        for items, *given in _columns(store, *names):
            row = int(np.searchsorted(indptr, entry, side="right")) - 1
            turn(items, given[0] if given else moved, entry, row, indptr, begin, places, users, moved)
            entry += len(items)
        indices.append(users)
        if values is not None:
            values.append(moved)
    if alike:
        (one,) = store.columns["by_user_values"].blocks(1)
        store.column("by_item_values", dtype, one)
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
