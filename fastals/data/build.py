"""From events of any number to a store, in a memory that is given."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..validation import check_dtype, check_option
from .events import Events, Numbered, cast_finite, event_values
from .ids import Ids
from .interactions import Interactions
from .passes import ROWS, Coded, Recipe, finish, renumber, write_block
from .sources import Paths
from .store import PARTS, Building, building, open_store, opened, parts_of, read_manifest, recover
from .tables import Duplicates, Opened, Told, in_memory_table, labels_of, opened_events
from .types import FloatType, Table

if TYPE_CHECKING:
    import datetime


def build_store(
    source: Paths | Table | Interactions,
    folder: str | os.PathLike[str],
    user: Hashable | None = None,
    item: Hashable | None = None,
    value: Hashable | None = None,
    time: Hashable | None = None,
    *,
    event: Hashable | None = None,
    weights: Mapping[Any, float] | None = None,
    half_life: float | datetime.timedelta | np.timedelta64 | None = None,
    where: str | None = None,
    duplicates: Duplicates = "sum",
    connection: Any = None,
    delimiter: str | None = None,
    header: bool = True,
    dtype: FloatType = "float32",
    memory_limit: str = "2GB",
    overwrite: bool = False,
) -> Interactions:
    """Write events into a store on disk, from which models are fitted without holding the events in memory.

    Parameters
    ----------
    source, user, item, value, time, event, weights, half_life, where, duplicates, connection, delimiter, header, dtype
        As in `read_table`; `source` may also be `Interactions`, which name their columns themselves. With `time` or
        `event` the store keeps the events, so that it can be split by time; else only the matrix.
    folder : path
        Where the store will be. Its parent must be there.
    memory_limit : str, default "2GB"
        About how much memory the build takes. Frames, and rows of databases other than DuckDB, are held in memory
        besides: save them as Parquet first.
    overwrite : bool, default False
        Whether a store in this place is replaced.

    Returns
    -------
    Interactions
        The store, opened.

    Raises
    ------
    FileExistsError, FileNotFoundError, ImportError, OSError, TypeError, ValueError
        As in `read_table`; or the store cannot be written there. Then nothing of it is left.

    Notes
    -----
    The store is built in a folder beside its place, and moved there when it is whole and on the disk. The build needs
    room there for three times the store, for a while.

    Examples
    --------
    >>> import pathlib, tempfile, fastals
    >>> folder = pathlib.Path(tempfile.mkdtemp(), "shop")
    >>> events = {"who": ["ann", "bob", "ann"], "what": ["tea", "tea", "pot"], "day": [3, 1, 2]}
    >>> fastals.build_store(events, folder, user="who", item="what", time="day")
    Interactions(2 users x 2 items, 3 events, float32)
    """
    recipe = Recipe(check_dtype("dtype", dtype), check_option("duplicates", duplicates, ("sum", "last")), memory_limit)
    _ = recipe.memory  # refused before any work
    labels = labels_of(user, item, value, time, event)
    told = Told(source, labels, where, connection, delimiter, header, weights, half_life)
    with building(Path(folder), overwrite) as store:
        _fill(store, recipe, "build_store", told)
    return open_store(folder)


def append_store(
    folder: str | os.PathLike[str],
    source: Paths | Table | Interactions,
    user: Hashable | None = None,
    item: Hashable | None = None,
    value: Hashable | None = None,
    time: Hashable | None = None,
    *,
    event: Hashable | None = None,
    weights: Mapping[Any, float] | None = None,
    where: str | None = None,
    connection: Any = None,
    delimiter: str | None = None,
    header: bool = True,
    memory_limit: str = "2GB",
    merge: bool = True,
) -> None:
    """Add events to a store.

    Parameters
    ----------
    folder : path
        The store.
    source, user, item, value, time, event, weights, where, connection, delimiter, header, memory_limit
        As in `build_store`. There must be times and kinds exactly where the store has them. Users and items may be
        new. The dtype and what becomes of duplicates are those of the store.
    merge : bool, default True
        Whether the store is written anew at once. False: the events become a part of the store, which takes time in
        proportion to the new events only; call `merge_store` before the store is opened.

    Raises
    ------
    FileNotFoundError, OSError, TypeError, ValueError
        As in `build_store`; or the store was built with `half_life`, so that what old events count would change.

    Examples
    --------
    >>> import pathlib, tempfile, fastals
    >>> folder = pathlib.Path(tempfile.mkdtemp(), "shop")
    >>> _ = fastals.build_store({"who": ["ann", "bob"], "what": ["tea", "tea"]}, folder, user="who", item="what")
    >>> fastals.append_store(folder, {"who": ["cem"], "what": ["pot"]}, user="who", item="what")
    >>> fastals.open_store(folder)
    Interactions(3 users x 2 items, 3 entries, float32)
    """
    folder = Path(folder)
    recover(folder)
    manifest = read_manifest(folder)
    if manifest["half_life"]:
        raise ValueError(
            f"store {folder} was built with half_life=..., and new events change what its old ones count: build it anew"
        )
    recipe = Recipe(np.dtype(manifest["dtype"]), manifest["duplicates"], memory_limit)
    _ = recipe.memory
    labels = labels_of(user, item, value, time, event)
    told = Told(source, labels, where, connection, delimiter, header, weights, half_life=None)
    parts = folder / PARTS
    parts.mkdir(exist_ok=True)
    numbers = [int(part.name) for part in parts_of(folder)]
    try:
        with building(parts / f"{max(numbers, default=0) + 1:06}", overwrite=False) as store:
            _fill(store, recipe, "append_store", told)
            _check_alike(folder, manifest["arrays"], store)
    except BaseException:
        with suppress(OSError):  # of a folder that has parts
            parts.rmdir()
        raise
    if merge:
        merge_store(folder, memory_limit=memory_limit)


def _check_alike(folder: Path, arrays: dict[str, Any], part: Building) -> None:
    """Refuse a part that cannot be merged into a store."""
    theirs, ours = ({name for name in ("event_times", "event_kinds") if name in of} for of in (arrays, part.columns))
    if ours != theirs:
        kept = " and ".join(sorted(name.removeprefix("event_") for name in theirs)) or "neither times nor kinds"
        raise ValueError(f"store {folder} has {kept}, and new events must have the same: time=..., event=...")
    for name in ("user_ids", "item_ids", "kind_ids"):
        kinds = [np.dtype(arrays[name]["dtype"]).kind if name in arrays else None]
        kinds.append(part.columns[name].dtype.kind if name in part.columns else None)
        if (kinds[0] == "U") != (kinds[1] == "U") or (kinds[0] is None) != (kinds[1] is None):
            called = ["without names" if kind is None else "strings" if kind == "U" else "integers" for kind in kinds]
            raise TypeError(
                f"{name} of store {folder} are {called[0]}, those of the new events {called[1]}: convert them"
            )


def merge_store(folder: str | os.PathLike[str], *, memory_limit: str = "2GB") -> Interactions:
    """Write a store anew with the events that were appended to it, and open it.

    Parameters
    ----------
    folder : path
        The store.
    memory_limit : str, default "2GB"
        As in `build_store`.

    Returns
    -------
    Interactions
        The store, opened. Users and items are numbered in the sorted order of all ids.

    Raises
    ------
    FileNotFoundError, OSError, TypeError, ValueError
        As in `open_store` and `build_store`. Then the store and its parts are unchanged.

    Examples
    --------
    >>> import pathlib, tempfile, fastals
    >>> folder = pathlib.Path(tempfile.mkdtemp(), "shop")
    >>> _ = fastals.build_store({"who": ["ann", "bob"], "what": ["tea", "tea"]}, folder, user="who", item="what")
    >>> fastals.append_store(folder, {"who": ["cem"], "what": ["pot"]}, user="who", item="what", merge=False)
    >>> fastals.merge_store(folder)
    Interactions(3 users x 2 items, 3 entries, float32)
    """
    folder = Path(folder)
    recover(folder)
    manifest = read_manifest(folder)
    parts = parts_of(folder)
    if parts:
        made = [opened(part, read_manifest(part)) for part in (folder, *parts)]
        recipe = Recipe(np.dtype(manifest["dtype"]), manifest["duplicates"], memory_limit)
        with building(folder, overwrite=True) as store:
            finish(store, recipe, _write_interactions(store, made, recipe.dtype), half_life=False)
    return open_store(folder)


# Events with numbers for ids.


def _fill(store: Building, recipe: Recipe, function: str, told: Told) -> None:
    """Write a whole store."""
    if isinstance(told.source, Interactions):
        options = {**told.labels, **told._asdict()}
        given = [name for name, value in options.items() if value and name not in ("source", "labels", "header")]
        if given:
            raise TypeError(f"{given[0]}= is for tables, and source is Interactions; leave it out")
        table: Interactions | None = told.source.astype(recipe.dtype)
    else:
        table = in_memory_table(told, recipe.dtype)
    if table is not None:
        if table.weights is not None:
            raise ValueError("source has a weight for each entry, which a store cannot hold; fit it in memory")
        coded = _write_interactions(store, [table], recipe.dtype)
    else:
        limit = f"{recipe.memory * 3 // 4}B"
        with opened_events(function, told, limit, store.folder) as events:
            coded = _write_table(store, events, told, recipe.dtype)
    finish(store, recipe, coded, half_life=told.half_life is not None)


def _write_table(store: Building, events: Opened, told: Told, dtype: np.dtype) -> Coded:
    """Write the events of a table that DuckDB reads."""
    weights, half_life = told.weights, told.half_life
    names = {f"{argument}s": called for argument, called in events.names.items()}
    latest = None if half_life is None else events.latest()
    begin = 0
    for found in events.blocks():
        kinds = None
        if weights is not None and "event" in found:
            kind_ids, places = events.coders["event"].ids()
            kinds = Numbered(kind_ids, places[found["event"]])
        n = len(found["user"])
        counted = event_values(n, found.get("value"), found.get("time"), kinds, weights, half_life, names, latest)
        values = cast_finite(names.get("values", "values"), counted.values, dtype, first=begin)
        # The numbers as they came: those in the order of the ids are known at the end.
        write_block(store, Events(found["user"], found["item"], values, counted.times, found.get("event")), dtype)
        begin += n
    ids = {}
    for side, coder in events.coders.items():
        ids[side], places = coder.ids()
        renumber(store, {"event": "event_kinds"}.get(side, f"event_{side}s"), places)
    return Coded((len(ids["user"]), len(ids["item"])), ids["user"], ids["item"], ids.get("event"))


def _write_interactions(store: Building, parts: Sequence[Interactions], dtype: np.dtype) -> Coded:
    """Write the events of one or several Interactions, with numbers that are common to all."""
    sides = [_common([getattr(part, f"{side}_ids") for part in parts], side) for side in ("user", "item")]
    events = [part._events for part in parts]
    kind_ids, kind_numbers = _common([each.kind_ids for each in events], "kind")
    for number, each in enumerate(events):
        for begin in range(0, len(each.users), ROWS):
            block = each.take(slice(begin, begin + ROWS))  # type: ignore[arg-type]
            users, items = (
                np.asarray(column) if numbers is None else numbers[number][column]
                for column, (_, numbers) in zip(block[:2], sides, strict=True)
            )
            kinds = None if block.kinds is None or kind_numbers is None else kind_numbers[number][block.kinds]
            write_block(store, Events(users, items, block.values, block.times, kinds), dtype)
    shape = [parts[0].shape[axis] if ids is None else len(ids) for axis, (ids, _) in enumerate(sides)]
    return Coded((shape[0], shape[1]), sides[0][0], sides[1][0], kind_ids)


def _common(ids: Sequence[Ids | None], side: str) -> tuple[Ids | None, list[np.ndarray] | None]:
    """Return all ids in ascending order, and for each of the given ones the numbers of its ids there."""
    given = [each.values for each in ids if each is not None]
    if not given:
        return None, None
    if {values.dtype.kind for values in given} == {"i", "u"}:  # which NumPy would make floats of
        if any(values.dtype.kind == "i" and values.min() < 0 for values in given):
            raise ValueError(f"{side} ids are below 0 and above 2^63 - 1, which no integer of 64 bits holds both")
        given = [values.astype(np.uint64) for values in given]
    every = np.unique(np.concatenate(given))
    return Ids.ascending(every), [np.searchsorted(every, values).astype(np.int32) for values in given]
