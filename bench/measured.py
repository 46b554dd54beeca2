"""Figures of runs that are too long to be repeated for one row of a table: `measured.json` keeps a record a row."""

import json
from collections.abc import Sequence
from typing import Any

from bench.problems import ROOT

FILE = ROOT / "bench" / "measured.json"

Record = dict[str, Any]


def records(table: str) -> list[Record]:
    """Return the records of a table, in the order in which their rows were first measured."""
    return list(json.loads(FILE.read_text()).get(table, {}).values())


def keep(table: str, row: str, record: Record) -> list[Record]:
    """Keep the record of a row in the place of an older one, and return all records of the table."""
    kept = json.loads(FILE.read_text())
    kept.setdefault(table, {})[row] = record
    FILE.write_text(json.dumps(kept, indent=1) + "\n")
    return records(table)


def span(values: Sequence[float] | None, digits: int = 1) -> str:
    """Return the smallest and the largest of some values as text; nothing where there are none."""
    if not values:
        return ""
    low, high = (f"{value:,.{digits}f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
