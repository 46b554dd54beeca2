"""Features of users and items for the commands: files as tables whose rows the interactions know."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data.ids import Ids
from ..data.interactions import Interactions
from ..data.readers import is_integer
from ..data.sources import check_columns, connected, expand, layout_of, run
from ..features import SIDES
from .options import Options


def add_features(parser: argparse.ArgumentParser) -> None:
    """Add files with features."""
    group = parser.add_argument_group("features")
    for side in SIDES:
        group.add_argument(
            f"--{side}-features",
            metavar="FILE",
            help=f"what is known of {side}s: a column of ids, named as --{side} says, and one for each feature",
        )


def features_of(options: Options, data: Interactions) -> tuple[dict[str, Any], str]:
    """Return what `fit` takes beside the interactions, and a sentence about it, which is empty without features."""
    found: dict[str, Any] = {}
    told = []
    for side, ids in zip(SIDES, (data.user_ids, data.item_ids), strict=True):
        file = getattr(options, f"{side}_features")
        if file is not None:
            assert ids is not None  # as a table that was read has
            key = side if options.no_header else getattr(options, side)
            table, n_rows = _known(file, side, key, _read(file, side, key), ids)
            found[f"{side}_features"] = table
            told.append(f"features of {len(table[side]):,} {side}s" + _left_out(n_rows - len(table[side])))
    return found, f", {' and '.join(told)}" if told else ""


def _left_out(n: int) -> str:
    return f" ({n:,} without interactions left out)" if n else ""


def _read(file: str, side: str, key: str) -> dict[str, list[Any]]:
    """Return the columns of a file; those of text are numbers where all of their fields are."""
    with connected(f"--{side}-features") as (con, _):
        files, called = expand(file), f"file {file}"
        layout = layout_of(con, files, [key], None, header=True)
        check_columns(layout, called, {f"--{side}": key})
        cursor = run(con, f"SELECT * FROM {layout.scan(files)}", called)
        names, rows = [column[0] for column in cursor.description], cursor.fetchall()
    if layout.format == "json":
        objects = [json.loads(row[0]) for row in rows]
        names = list(dict.fromkeys(name for entry in objects for name in entry))
        return {name: [entry.get(name) for entry in objects] for name in names}
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    if layout.format == "csv":
        columns = {name: column if name == key else _numbers(column) for name, column in columns.items()}
    return columns


def _numbers(column: Sequence[str | None]) -> list[Any]:
    """Return texts as numbers where all of them are; a missing one is None."""
    try:
        return [None if text is None else float(text) for text in column]
    except ValueError:
        return list(column)


def _known(file: str, side: str, key: str, table: dict[str, list[Any]], ids: Ids) -> tuple[dict[str, Any], int]:
    """Return the rows of the users, or items, that the interactions have, with their ids in a column `side`."""
    if key != side and side in table:
        raise ValueError(f"file {file} has a column {side!r} beside {key!r}, which has the ids: rename it")
    given = table.pop(key)
    if ids.values.dtype.kind in "iu":
        given = [int(text) if isinstance(text, str) and is_integer(text) else text for text in given]
    known = set(ids.values.tolist())
    rows = [row for row, value in enumerate(given) if value in known]
    if not rows:
        shown = given[0] if given else "nothing"
        raise ValueError(
            f"file {file}, column {key!r}: none of the {side}s of the interactions is there; it holds {shown!r}, and "
            f"the interactions have {ids.values[0].item()!r}"
        )
    kept: dict[str, Any] = {
        name: np.fromiter((column[row] for row in rows), object, len(rows)) for name, column in table.items()
    }
    return {side: [given[row] for row in rows]} | kept, len(given)
