"""What notebooks show of models, data, evaluations and searches: small tables of HTML."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .validation import shown

__all__ = ["facts", "table"]

ROWS = 20  # of a table; the rest is counted


def facts(title: str, rows: Iterable[tuple[str, Any]]) -> str:
    """Return names and values as a table of two columns."""
    return _page(title, "".join(_row("td", [name, value]) for name, value in rows))


def table(title: str, names: Sequence[str], rows: Sequence[Sequence[Any]], bold: int | None = None) -> str:
    """Return a table with a line of names; the row with the number `bold` is in bold type."""
    lines = [_row("th", names)]
    lines += [_row("th" if number == bold else "td", row) for number, row in enumerate(rows[:ROWS])]
    if len(rows) > ROWS:
        lines.append(f'<tr><td colspan="{len(names)}">and {len(rows) - ROWS:,} more</td></tr>')
    return _page(title, "".join(lines))


def number(value: Any) -> str:
    """Return a value as a reader wants it: whole numbers with commas, others with four digits, text as it is."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number)):
        return value if isinstance(value, str) else shown(value)
    return f"{value:,}" if isinstance(value, (int, np.integer)) else f"{value:.4g}"


def _page(title: str, lines: str) -> str:
    return f"<div><strong>{html.escape(title)}</strong><table>{lines}</table></div>"


def _row(cell: str, values: Iterable[Any]) -> str:
    return "<tr>" + "".join(f"<{cell}>{html.escape(number(value))}</{cell}>" for value in values) + "</tr>"
