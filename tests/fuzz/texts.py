"""Text files whose characters, fields or lines are changed, for every reader; each is also parsed here.

The parse here is slow and strict: it follows the layouts as the readers' docstrings have them. A reader must give the
same, or refuse in a sentence with the file. What the parse refuses, the reader must refuse.
"""

from __future__ import annotations

import csv
import io
import random
import re
import warnings
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from fastals.datasets import read_negatives, read_ratings, read_split, read_titles
from tests.tables import rows_of

from .outcome import RIGHT, refusal, scratch

Row = tuple[Any, Any, float, int | None]

LAYOUTS = {  # name: separator, header, whether the last field is a time
    "u.data": ("\t", None),
    "ratings.dat": ("::", None),
    "ratings.csv": (",", "userId,movieId,rating,timestamp"),
    "lastfm": ("\t", "userID\tartistID\tweight"),
    "text": (None, None),
    "adjacency": (None, None),
}
TOKENS = (
    "nan", "inf", "-inf", "1e39", "1e400", "-1", "+1", "0", "007", "1_000", "0x10", "1.5", "1.", ".5", "1e2", "true",
    "None", "", " ", '"', "'1'", '"1"', "#", "# 1", "%", "%%MatrixMarket", ":", "::", ",", ";", "|", "\t", "\x1f",
    "\x0b", "\x0c", "\u2028", "\xa0", "\u3000", "\ufeff", "\u0661", "\u00b2", "\u00bd", "zoë", "\U0001f600", "\0", "\r",
    "\n", "\r\n", str(2**63), str(2**63 - 1), str(-(2**63)), str(2**64), "9" * 400, "x" * 70_000, "1:2", "(1,2)", "()",
    "userId,movieId,rating,timestamp", "user item", "1 2 3 4 5", "1j", "1+2", "--1", "- 1", "1 ", "\\", "{}", "[1]",
)  # fmt: skip


class Refuse(Exception):  # noqa: N818
    """The parse here finds no answer."""


def integer(text: str) -> int:
    """Return an integer of 64 bits in plain digits."""
    text = text.strip()
    if not re.fullmatch("[+-]?[0-9]+", text) or not -(2**63) <= int(text) < 2**63:
        raise Refuse(text)
    return int(text)


def number(text: str) -> float:
    """Return a decimal number that is finite in float32, rounded to it."""
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text.strip()):
        raise Refuse(text)
    with np.errstate(over="ignore"):
        value = float(np.float32(float(text)))
    if not np.isfinite(value):
        raise Refuse(text)
    return value


def lines_of(content: bytes) -> list[str]:
    """Return the lines that are not empty."""
    if b"\0" in content:
        raise Refuse("NUL")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Refuse("encoding") from None
    found = [line for line in re.split("\r\n|\r|\n", text) if line.strip()]
    if not found:
        raise Refuse("empty")
    return found


def column(texts: list[str], words: bool) -> list[Any]:
    """Return ids: integers if all are, else words where the layout has them."""
    try:
        return [integer(text) for text in texts]
    except Refuse:
        if not words:
            raise
        return texts


def table(lines: list[str], separator: str | None, widths: tuple[int, ...], words: bool = False) -> list[Row]:
    """Parse lines of as many fields each."""
    fields = [line.split(separator) for line in lines]
    if not fields or len(fields[0]) not in widths or any(len(line) != len(fields[0]) for line in fields):
        raise Refuse("fields")
    users, items, *rest = zip(*fields, strict=True)
    values = [number(text) for text in rest[0]] if rest else [1.0] * len(lines)
    times: list[Any] = [integer(text) for text in rest[1]] if len(rest) > 1 else [None] * len(lines)
    return list(zip(column(list(users), words), column(list(items), words), values, times, strict=True))


def told(content: bytes, layout: str) -> list[Row]:
    """Parse a file whose layout is told."""
    lines = lines_of(content)
    separator, header = LAYOUTS[layout]
    if layout == "lastfm" and lines[0] != header and all(line.isdecimal() for line in lines[:2]):
        lines = lines[1:]  # two lines of a count each
    elif header is not None and lines[0] != header:
        raise Refuse("header")
    lines = lines[header is not None :]
    if layout == "adjacency":
        pairs = [f"{user} {item}" for line in lines for user, *items in [line.split()] for item in items]
        return table(pairs, None, (2,), True)
    return table(
        lines, separator, (2, 3, 4) if layout == "text" else (3,) if layout == "lastfm" else (4,), layout == "text"
    )


def untold(content: bytes) -> list[list[Row]]:
    """Return every answer that may be given for a file whose layout is not told: at most one if all is well."""
    lines = lines_of(content)
    found = []
    for layout in ("ratings.csv", "lastfm", "ratings.dat"):
        try:
            found.append(told(content, layout))
        except Refuse:
            continue
    if found:
        return found
    while lines and lines[0].startswith(("#", "%")):
        lines = lines[1:]
    ways: list[Callable[[], list[Row]]] = [
        lambda: table(lines, "\t" if "\t" in lines[0] else None, (2, 3, 4)),
        lambda: [(integer(u), integer(i), 1.0, None) for u, *items in map(str.split, lines) for i in items],
    ]
    for way in ways:
        try:
            found.append(way())
        except (Refuse, IndexError):
            continue
    if may_be_lists(lines) and len(lines[0].split()) in (3, 4) and "\t" not in lines[0]:
        return []  # as well a table as lists
    return found


def may_be_lists(lines: list[str]) -> bool:
    """Tell whether lines of one length can be a table, and users with their items as well."""
    fields = [line.split() for line in lines]
    users = [line[0] for line in fields]
    plain = all(re.fullmatch("[0-9]+", text) for line in fields for text in line)
    values = [[float(text) for text in line[1:]] for line in fields] if plain else []
    return (
        plain
        and len({len(line) for line in fields}) == 1
        and len(set(users)) == len(users)
        and all(len(set(items)) == len(items) for items in values)
    )


def titles(content: bytes, name: str) -> dict[int, str]:
    """Parse a file of titles."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    if not text.strip():
        raise Refuse("empty")
    if name.endswith(".csv"):
        try:
            header, *rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
        except (csv.Error, ValueError):
            raise Refuse("csv") from None
        if header != ["movieId", "title", "genres"]:
            raise Refuse("header")
    else:
        separator = "::" if "::" in text.lstrip().split("\n", 1)[0] else "|"
        rows = [line.rstrip("\r").split(separator) for line in text.split("\n") if line.strip()]
    if any(len(row) < 2 for row in rows):
        raise Refuse("fields")
    return {integer(row[0]): row[1] for row in rows}


def negatives(content: bytes) -> list[list[int]]:
    """Parse a file of held-out items with negatives."""
    rows = []
    for line in lines_of(content):
        head, *others = line.split("\t")
        if not (head.startswith("(") and head.endswith(")")) or head.count(",") != 1 or not others:
            raise Refuse(line)
        rows.append([*map(integer, head[1:-1].split(",")), *map(integer, others)])
    if len({len(row) for row in rows}) != 1:
        raise Refuse("lengths")
    return rows


# Files, and what is done to them.


def a_file(chance: random.Random, layout: str) -> str:
    """Return a sound file of a layout."""
    rows = [
        (chance.randrange(-3, 9), chance.randrange(9), chance.choice((1, 5, 3.5, -2, 0.1)), chance.randrange(10**9))
        for _ in range(chance.randrange(1, 8))
    ]
    end = chance.choice(("\n", "\n", "\n", "\r\n", "\r", "\n\n"))
    if layout == "titles":
        separator = chance.choice(("::", "|", ","))
        quote = '"' if separator == "," else ""
        lines = ["movieId,title,genres"] * (separator == ",")
        lines += [separator.join((str(row[0]), f"{quote}Film {row[1]}, The (1995){quote}", "Drama")) for row in rows]
    elif layout == "negatives":
        width = chance.randrange(1, 5)
        lines = [
            "\t".join([f"({row[0]},{row[1]})", *(str(chance.randrange(99)) for _ in range(width))]) for row in rows
        ]
    elif layout == "adjacency":
        lines = [
            " ".join(map(str, [user, *chance.sample(range(50), chance.randrange(0, 7))])) for user in range(len(rows))
        ]
    else:
        separator, header = LAYOUTS[layout]
        width = 3 if layout == "lastfm" else 4 if separator is not None else chance.randrange(2, 5)
        separator = separator or chance.choice((" ", "\t", "  "))
        words = layout == "text" and chance.random() < 0.3
        names = [("u%d" if words else "%d") % row[0] for row in rows]
        lines = [header] * (header is not None)
        lines += [separator.join(map(str, (name, *row[1:])[:width])) for name, row in zip(names, rows, strict=True)]
    return end.join(lines) + chance.choice((end, end, ""))


def changed(text: str, chance: random.Random) -> bytes:
    """Change characters, fields and lines."""
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
        lines, way = text.split("\n"), chance.randrange(7)
        at = chance.randrange(len(text) + 1)
        line = chance.randrange(len(lines))
        if way == 0:
            text = text[:at] + chance.choice(TOKENS) + text[at + chance.randrange(3) :]
        elif way == 1:  # a field is another one
            fields = [match.span() for match in re.finditer(r"[^\s:,|()]+", text)] or [(0, 0)]
            begin, end = chance.choice(fields)
            text = text[:begin] + chance.choice(TOKENS) + text[end:]
        elif way == 2:
            lines[line] = chance.choice((*TOKENS, lines[chance.randrange(len(lines))]))
            text = "\n".join(lines)
        elif way == 3:
            text = "\n".join([*lines[:line], chance.choice((*TOKENS, lines[line])), *lines[line:]])
        elif way == 4:
            text = text.replace(chance.choice((" ", "\t", "::", ",", "|")), chance.choice((" ", "\t", ",", ";", "::")))
        elif way == 5:
            text = text[:at]
        else:
            text = text[:at] + text[at + chance.randrange(1, 6) :]
    encoding = chance.choice(("utf-8",) * 9 + ("utf-8-sig", "latin-1", "utf-16"))
    content = bytearray(text.encode(encoding, "replace"))
    if content and chance.random() < 0.15:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(content)


def same_rows(found: list[Row], wanted: list[Row]) -> bool:
    """Tell whether two lists of events are equal, of the same types."""
    return found == wanted and all(
        type(a[0]) is type(b[0]) and type(a[1]) is type(b[1]) for a, b in zip(found, wanted, strict=True)
    )


def read(chance: random.Random, folder: Path, layout: str, content: bytes) -> tuple[Path, Callable[[], Any], Any]:
    """Return the file, a call of the reader, and the answers that may be given."""

    def allowed(parse: Callable[[], Any]) -> list[Any]:
        try:
            return [parse()]
        except Refuse:
            return []

    if layout == "titles":
        name = chance.choice(("movies.csv", "u.item")) if b"," in content else "u.item"
        path = folder / name
        return path, lambda: read_titles(path), allowed(lambda: titles(content, name))
    if layout == "negatives":
        path = folder / "test.negative"

        def cases() -> list[list[int]]:
            found = read_negatives(path)
            return np.column_stack([found.users, found.items, found.negatives]).tolist()

        return path, cases, allowed(lambda: negatives(content))
    way = chance.choice(("told", "named", "untold", "split"))
    names = {
        "u.data": "u.data",
        "ratings.dat": "ratings.dat",
        "ratings.csv": "ratings.csv",
        "lastfm": "user_artists.dat",
    }
    if way == "untold" or (way == "named" and layout not in names):
        path = folder / "file"

        def parse() -> list[list[Row]]:
            try:
                return untold(content)
            except Refuse:
                return []

        return path, lambda: rows_of(read_ratings(path)), parse()
    answers = allowed(lambda: told(content, layout))
    if way == "named":
        path = folder / names[layout]
        return path, lambda: rows_of(read_ratings(path)), answers
    path = folder / "file"
    if way == "split":  # both halves are the same file
        return path, lambda: both(*read_split(path, path, layout)), answers
    return path, lambda: rows_of(read_ratings(path, layout)), answers


def both(train: Any, test: Any) -> list[Row]:
    """Return the events of the two parts of a split of a file and itself."""
    assert rows_of(train) == rows_of(test)
    return rows_of(train)


def tries(seed: int, first: int) -> Iterator[str]:
    """Read changed files."""
    warnings.simplefilter("error")
    with scratch() as folder:
        for turn in count(first):
            chance = random.Random(f"{seed} {turn}")
            layout = chance.choice((*LAYOUTS, "titles", "negatives"))
            content = changed(a_file(chance, layout), chance)
            path, reader, answers = read(chance, Path(folder), layout, content)
            path.write_bytes(content)
            try:
                found = reader()
            except Exception as error:
                yield refusal(error, path)
                continue
            same = same_rows if layout not in ("titles", "negatives") else lambda a, b: a == b
            right = any(same(found, answer) for answer in answers)
            yield RIGHT if right else f"read {layout} {content!r:.300} as {found!r:.200}, wanted {answers!r:.200}"
