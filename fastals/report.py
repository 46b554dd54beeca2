"""Tables with a title and a note: as aligned text, and with pictures as one self-contained page."""

from __future__ import annotations

import base64
import html
import textwrap
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

WIDTH = 100  # of printed notes
STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; }
h2 { margin-top: 2.5rem; }
div { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: 0.2rem 0.8rem; border-bottom: 1px solid #8886; text-align: left; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
img { max-width: 100%; background: white; margin-top: 1rem; }
pre { white-space: pre-wrap; }
"""

Cell: TypeAlias = str | int | float | None


class Table(NamedTuple):
    """A table as data."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]]
    note: str

    @property
    def numeric(self) -> list[bool]:
        """Tell for each column whether it holds no text."""
        return [not any(isinstance(row[place], str) for row in self.rows) for place in range(len(self.columns))]

    def facts(self) -> dict[str, object]:
        """Return the table as JSON holds it; a name that several columns have follows that of the column before it."""
        names = [
            name if self.columns.count(name) == 1 else f"{self.columns[place - 1]} {name}"
            for place, name in enumerate(self.columns)
        ]
        rows = [dict(zip(names, row, strict=True)) for row in self.rows]
        return {"name": self.name, "title": self.title, "rows": rows, "note": self.note}


def cell_text(cell: Cell) -> str:
    """Return a cell as it is printed: four decimals, or nothing for None."""
    return "" if cell is None else f"{cell:.4f}" if isinstance(cell, float) else str(cell)


def aligned(columns: Iterable[str], rows: Iterable[Iterable[Cell]], numeric: Iterable[bool]) -> str:
    """Return rows below their names as aligned text; columns of numbers stand to the right."""
    lines = [tuple(columns), *(tuple(map(cell_text, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    right = list(numeric)
    told = [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    ]
    return "\n".join([told[0], "  ".join("-" * width for width in widths), *told[1:]])


def text(table: Table) -> str:
    """Return a table as aligned text with its title above and its note below."""
    lines = [table.title, "", aligned(table.columns, table.rows, table.numeric)]
    return "\n".join([*lines, "", textwrap.fill(table.note, WIDTH)] if table.note else lines)


def page(title: str, introduction: str, tables: Iterable[Table], pictures: dict[str, bytes], end: str) -> str:
    """Return a page of HTML that needs no other file.

    Parameters
    ----------
    title, introduction, end : str
        Heading, first paragraph, and the text below the tables.
    tables : iterable of Table
    pictures : dict of str to bytes
        PNG files by the name of the table that they belong to.
    """
    parts = [f"<h1>{html.escape(title)}</h1>", f"<p>{html.escape(introduction)}</p>"]
    for table in tables:
        parts += [f"<h2>{html.escape(table.title)}</h2>", _grid(table), f"<p>{html.escape(table.note)}</p>"]
        if table.name in pictures:
            data = base64.b64encode(pictures[table.name]).decode()
            parts.append(f'<img alt="{html.escape(table.title)}" src="data:image/png;base64,{data}">')
    parts.append(f"<pre>{html.escape(end)}</pre>")
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head += f"<title>{html.escape(title)}</title><style>{STYLE}</style>"
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _grid(table: Table) -> str:
    lines = [_line("th", table.columns, table.numeric)]
    lines += [_line("td", map(cell_text, row), table.numeric) for row in table.rows]
    return f"<div><table>{''.join(lines)}</table></div>"


def _line(kind: str, cells: Iterable[str], numeric: list[bool]) -> str:
    classes = [' class="number"' if number else "" for number in numeric]
    told = (f"<{kind}{mark}>{html.escape(cell)}</{kind}>" for cell, mark in zip(cells, classes, strict=True))
    return f"<tr>{''.join(told)}</tr>"
