"""Readers of text files of interactions whose layout is told or certain; anything else is refused with its line."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from .events import Events
from .ids import encode
from .interactions import Interactions

# Bytes of a line: more is no table, and reading it would take memory without end.
_LONGEST_LINE = 1 << 26
_BLOCK = 1 << 20
# Lines parsed at a time when searching for a malformed one: few enough to hold, many enough that one call is fast.
_SCAN_ROWS = 65_536
_TABLES = (
    "for other files, read the table with pandas, polars or Arrow and pass it to "
    "fastals.Interactions.from_frame(table, user=..., item=...)"
)
# Before NumPy 2.3 a text that is no integer, or is beyond 64 bits, is parsed as a float and rounded.
_ROUNDS_INTEGERS = np.lib.NumpyVersion(np.__version__) < "2.3.0"


class _Layout(NamedTuple):
    """How a line of a file is made: its fields, what parts them, how many lines of header come before."""

    name: str
    fields: tuple[str, ...]
    separator: str | None  # None: any white space
    separator_name: str
    header_lines: int = 0
    words: bool = False  # whether ids may be words

    def describe(self) -> str:
        """Say what a line should be."""
        if self.name == "adjacency":
            return f"'user item item ...' separated by {self.separator_name}"
        return f"'{' '.join(self.fields)}' separated by {self.separator_name}"

    def rows(self, lines: Iterator[str]) -> Iterator[str]:
        """Bring lines into the form that `_parse` reads."""
        if self.separator == "::":
            # np.loadtxt takes separators of one character only; this one stands in no text.
            return (line.replace("\x1f", "?").replace("::", "\x1f") for line in lines)
        if self.name == "adjacency":
            return _pairs(lines)
        return lines


def _pairs(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        user, *items = line.split() or [""]
        for item in items:
            yield f"{user} {item}"


_TIMED = ("user", "item", "rating", "time")
_LAYOUTS = {
    layout.name: layout
    for layout in (
        _Layout("u.data", _TIMED, "\t", "tabs"),
        _Layout("ratings.dat", _TIMED, "::", "'::'"),
        _Layout("ratings.csv", ("userId", "movieId", "rating", "timestamp"), ",", "commas", header_lines=1),
        _Layout("lastfm", ("userID", "artistID", "weight"), "\t", "tabs", header_lines=1),
        _Layout("text", ("user", "item", "value", "time"), None, "white space", words=True),
        _Layout("adjacency", ("user", "item"), None, "white space", words=True),
    )
}
_FILE_NAMES = {name: name for name in ("u.data", "ratings.dat", "ratings.csv")} | {"user_artists.dat": "lastfm"}


class _Table(NamedTuple):
    """The columns of a file before its ids are coded."""

    layout: str
    users: np.ndarray
    items: np.ndarray
    values: np.ndarray
    times: np.ndarray | None
    doubt: str = ""  # why the layout is not certain


def read_ratings(path: str | Path, layout: str | None = None) -> Interactions:
    r"""Read a file of interactions.

    Parameters
    ----------
    path : str or Path
        The file, UTF-8 text. Empty lines are skipped.
    layout : str, optional
        How its lines are made. Without it, the layout comes from the file's name where that is one of the names
        below, from a known header, or from the lines, where these leave no doubt: fields separated by `::`, or
        integer ids in 2 to 4 fields ("text") or in lines of more ("adjacency"). Lines at the head that start with
        `#` or `%` are then skipped.

        - "u.data": `user item rating time`, separated by tabs (MovieLens 100K);
        - "ratings.dat": `user::item::rating::time` (MovieLens 1M, 10M);
        - "ratings.csv": header `userId,movieId,rating,timestamp` (MovieLens 20M and later);
        - "lastfm": header `userID artistID weight`, separated by tabs (HetRec 2011 `user_artists.dat`); copies with
          two lines of one count each for a header are read too;
        - "text": `user item [value [time]]`, separated by white space, no header. All lines have as many fields as
          the first; the value is 1 where there is none. Ids may be any words;
        - "adjacency": a line a user, `user item item ...`, separated by white space. Every value is 1. A user
          without items leaves no trace. Ids may be any words.

    Returns
    -------
    Interactions
        The events in the order of the file, ids in ascending order. Ids are int64, or strings in a column of "text" or
        "adjacency" where any of them is no integer (then "10" comes before "9").

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such file; the layout is unknown or not certain, the file is empty, or a line does not follow the
        layout or holds a value that is not finite: the message names file and line.

    Notes
    -----
    For tables of other kinds see `Interactions.from_frame`. A matrix in Matrix Market format is read by
    `scipy.io.mmread`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "ratings.txt")
    >>> _ = path.write_text("1 10 5\n1 20 3\n2 10 4\n")
    >>> read_ratings(path)
    Interactions(2 users x 2 items, 3 events, float32)
    """
    table = _read_table(path, layout)
    if table.doubt:
        raise ValueError(table.doubt)
    return _code(table)


def read_split(train: str | Path, test: str | Path, layout: str | None = None) -> tuple[Interactions, Interactions]:
    r"""Read data that is published in two files, with ids common to both.

    Parameters
    ----------
    train, test : str or Path
        The files, as for `read_ratings`.
    layout : str, optional
        The layout of both, as for `read_ratings`. Without it, where one file leaves a doubt the other's layout counts.

    Returns
    -------
    train, test : Interactions
        The events of each file. Both have the ids of either.

    Raises
    ------
    FileNotFoundError, ValueError
        As in `read_ratings`, and if only one of the files has times.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "train.txt").write_text("0 1 2 3 5\n1 2 3\n")
    >>> _ = (folder / "test.txt").write_text("0 4 6\n1 7 9\n")
    >>> read_split(folder / "train.txt", folder / "test.txt")[1]
    Interactions(2 users x 8 items, 4 events, float32)
    """
    paths, parts = (train, test), [_read_table(train, layout), _read_table(test, layout)]
    for place, (part, other) in enumerate(zip(tuple(parts), parts[::-1], strict=True)):
        if part.doubt and not other.doubt:
            parts[place] = _read_table(paths[place], other.layout)
        elif part.doubt:
            raise ValueError(part.doubt)
    timed = [part.times is not None for part in parts]
    if timed[0] != timed[1]:
        raise ValueError(f"{train} and {test} must both have times or both have none; give both the same columns")
    columns = zip(*(part[1:4] for part in parts), strict=True)
    users, items, values = (np.concatenate(_alike(column)) for column in columns)
    times = np.concatenate([part.times for part in parts if part.times is not None]) if all(timed) else None
    both = _code(_Table(parts[0].layout, users, items, values, times))
    in_train = np.arange(len(both)) < parts[0].users.size
    return both.select(in_train), both.select(~in_train)


def _alike(columns: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """Return all columns as words where one holds words."""
    if all(column.dtype == columns[0].dtype for column in columns):
        return list(columns)
    return [column if column.dtype == object else np.array([*map(str, column.tolist())], object) for column in columns]


# Layouts.


def _read_table(path: str | Path, name: str | None) -> _Table:
    """Read the columns of a file, with its own ids."""
    if name is not None and name not in _LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(map(repr, _LAYOUTS))}, got {name!r}")
    path = existing(path)
    check_lines(path)
    try:
        with numbered_lines(path) as lines:
            head = list(itertools.islice(lines, 2))
        if not head:
            raise ValueError(f"file {path} is empty: it holds no ratings")
        told = name or _FILE_NAMES.get(path.name) or _layout_of_header(head[0][1])
        if told is None:
            return _read_untold(path)
        return _parse_file(path, _fitted(path, _LAYOUTS[told], head))
    except UnicodeDecodeError:
        refuse_encoding(path)


def _fitted(path: Path, layout: _Layout, head: list[tuple[int, str]]) -> _Layout:
    """Check a layout against the first lines of a file, whose number of fields it takes."""
    number, first = head[0]
    if layout.header_lines and first.split(layout.separator) != list(layout.fields):
        if layout.name != "lastfm" or not all(line.isdecimal() for _, line in head):
            refuse_line(path, number, first, f"the header {layout.describe()}")
        layout = layout._replace(header_lines=len(head))
    if layout.name == "text":
        layout = layout._replace(fields=layout.fields[: max(len(first.split()), 2)])
    return layout


def _layout_of_header(first: str) -> str | None:
    """Return the layout that the first line leaves no doubt about."""
    for name, layout in _LAYOUTS.items():
        if layout.header_lines and first.split(layout.separator) == list(layout.fields):
            return name
    return "ratings.dat" if len(first.split("::")) == 4 else None


def _read_untold(path: Path) -> _Table:
    """Read a file whose lines leave no doubt about its layout: all of its ids are integers."""
    with numbered_lines(path) as lines:
        comments = [line for _, line in itertools.takewhile(lambda line: line[1].startswith(("#", "%")), lines)]
    n_comments = len(comments)
    with numbered_lines(path, n_comments) as lines:
        number, first = next(lines, (0, ""))
    if comments and comments[0].startswith("%%MatrixMarket"):
        raise ValueError(
            f"file {path}, line 1: this is a matrix in Matrix Market format; "
            f"read it with scipy.io.mmread({str(path)!r})"
        )
    if not first:
        raise ValueError(f"file {path} is empty: it holds no ratings")
    tabs = "\t" in first
    fields = [field.strip() for field in first.split("\t")] if tabs else first.split()
    if not all(map(is_integer, fields[:2])):
        _refuse_first(path, number, first, fields)
    plain = _LAYOUTS["text"]._replace(
        fields=_LAYOUTS["text"].fields[: len(fields)],
        header_lines=n_comments,
        words=False,
        separator="\t" if tabs else None,
        separator_name="tabs" if tabs else "white space",
    )
    if 2 <= len(fields) <= 4:
        try:
            table = _parse_file(path, plain)
        except UnicodeDecodeError:
            raise
        except ValueError as error:
            # Lines of several lengths: they may be users with their items, where one is longer than any table's.
            listed = None if tabs else _users_with_items(path, n_comments)
            if listed is None or listed <= 4:
                raise ValueError(f"{error}; {_TABLES}") from None
            return _parse_file(path, _LAYOUTS["adjacency"]._replace(header_lines=n_comments, words=False))
        return table._replace(doubt="" if tabs else _doubt(path, number, first, table))
    listed = None if tabs else _users_with_items(path, n_comments, ascending=True)
    if listed is None or (len(fields) < 2 and listed <= 4):
        _refuse_first(path, number, first, fields)
    return _parse_file(path, _LAYOUTS["adjacency"]._replace(header_lines=n_comments, words=False))


def _refuse_first(path: Path, number: int, first: str, fields: list[str]) -> NoReturn:
    """Say why the first line leaves doubt, and what to do about it."""
    if len(fields) < 2:
        separator = next((f"'{mark}'" for mark in ";,|" if mark in first), None)
        why = f"no layout has fields separated by {separator}" if separator else "it has one field"
        refuse_line(path, number, first, "a line of a known layout", f"{why}; {_TABLES}")
    if not all(map(is_integer, fields[:2])):
        why = "this may be a header, or ids that are words: name the layout with layout='text' or layout='adjacency'"
    else:
        why = f"{len(fields)} fields may be a table, or a user and its items: if so, give layout='adjacency'"
    refuse_line(path, number, first, "integer ids in 2 to 4 fields, or a line a user", f"{why}; {_TABLES}")


def _doubt(path: Path, number: int, first: str, table: _Table) -> str:
    """Say why a file may also be a list of users with their items; empty where it cannot be."""
    extra = [table.values] if table.times is None else [table.values, table.times]
    if len(first.split()) == 2 or np.unique(table.users).size < table.users.size:
        return ""
    columns = [table.items, *extra]
    for column in extra:
        if (column != np.floor(column)).any() or (column < 0).any():
            return ""
    if any((one == other).any() for one, other in itertools.combinations(columns, 2)):
        return ""
    shown = " ".join(("user", "item", "value", "time")[: 2 + len(extra)])
    return (
        f"file {path}, line {number}: {first[:100]!r} may be '{shown}' (layout='text') or a user and its items "
        "(layout='adjacency'), as no user has a second line; give the layout"
    )


def _users_with_items(path: Path, n_comments: int, ascending: bool = False) -> int | None:
    """Return the most fields of a line if all lines can be a user with its items, else None.

    Each user then has one line and each item stands in it once. With `ascending`, lines that are all of one length
    must have their items in order too, or they may be rows of a table.
    """
    users: set[str] = set()
    lengths: set[int] = set()
    ordered = True
    with numbered_lines(path, n_comments) as lines:
        for _, line in lines:
            user, *items = line.split()
            alone = user not in users and len(set(items)) == len(items)
            if not alone or not all(text.isascii() and text.isdigit() for text in (user, *items)) or "\t" in line:
                return None
            users.add(user)
            lengths.add(len(items) + 1)
            ordered = ordered and (numbers := [*map(int, items)]) == sorted(numbers)
    return max(lengths) if len(lengths) > 1 or ordered or not ascending else None


# Parsing.


def _parse_file(path: Path, layout: _Layout) -> _Table:
    """Parse at full speed; only where that fails look for the line that is to blame."""
    id_dtypes: list[tuple[type, type]] = [(np.int64, np.int64)]
    if layout.words:
        id_dtypes += [(np.int64, object), (object, np.int64), (object, object)]
    for dtypes in id_dtypes:
        with path.open(encoding="utf-8-sig") as stream:
            lines = itertools.islice(filter(str.strip, stream), layout.header_lines, None)
            rows = layout.rows(lines)
            first = next(rows, None)
            if first is None:
                raise ValueError(f"file {path} is empty: it holds no ratings")
            try:
                columns = _parse(itertools.chain([first], rows), layout, dtypes)
                break
            except UnicodeDecodeError:
                raise
            except ValueError:
                continue
    else:
        _refuse_first_bad_line(path, layout, dtypes)
    users, items = (np.ascontiguousarray(columns[field]) for field in layout.fields[:2])
    if len(layout.fields) == 2:
        return _Table(layout.name, users, items, np.ones(users.size, np.float32), None)
    values = np.ascontiguousarray(columns[layout.fields[2]])
    finite = np.isfinite(values)
    if not finite.all():
        with numbered_lines(path, layout.header_lines + int(finite.argmin())) as numbered:
            number, line = next(numbered)
        refuse_line(path, number, line, f"a finite {layout.fields[2]} in float32")
    times = np.ascontiguousarray(columns[layout.fields[3]]) if len(layout.fields) == 4 else None
    return _Table(layout.name, users, items, values, times)


def _parse(rows: Iterable[str], layout: _Layout, id_dtypes: tuple[type, type]) -> np.ndarray:
    """Make a structured array with one record a row; raise ValueError where a row does not fit."""
    dtypes = (*id_dtypes, np.float32, np.int64)[: len(layout.fields)]
    exact: Any = {place: integer for place, dtype in enumerate(dtypes) if dtype is np.int64}
    return np.loadtxt(
        rows,
        dtype=np.dtype(list(zip(layout.fields, dtypes, strict=True))),
        delimiter="\x1f" if layout.separator == "::" else layout.separator,
        comments=None,
        ndmin=1,
        encoding="utf-8",
        converters=exact if _ROUNDS_INTEGERS else None,
    )


def _refuse_first_bad_line(path: Path, layout: _Layout, id_dtypes: tuple[type, type]) -> NoReturn:
    """Find the first line that does not parse, by blocks and then within the block, and name it."""

    def parses(lines: Iterable[str]) -> bool:
        rows = layout.rows(iter(lines))
        first = next(rows, None)
        if first is None:  # users without items
            return True
        try:
            _parse(itertools.chain([first], rows), layout, id_dtypes)
        except ValueError:
            return False
        return True

    with numbered_lines(path, layout.header_lines) as numbered:
        blocks = iter(lambda: list(itertools.islice(numbered, _SCAN_ROWS)), [])
        block = next(block for block in blocks if not parses(line for _, line in block))
    number, line = next((number, line) for number, line in block if not parses([line]))
    fields, remedy = line.split(layout.separator), ""
    if not layout.words and len(fields) == len(layout.fields):
        remedy = "ids and times must be integers of at most 64 bits"
        if fields == list(layout.fields):
            remedy = "this is a header where numbers are wanted: remove it"
    refuse_line(path, number, line, layout.describe(), remedy)


def _code(table: _Table) -> Interactions:
    user_ids, users = encode("users", table.users)
    item_ids, items = encode("items", table.items)
    shape = len(user_ids), len(item_ids)
    events = Events(users, items, table.values, table.times)
    return Interactions._make(shape, np.dtype(np.float32), user_ids, item_ids, events=events)


# Lines.


def existing(path: str | Path) -> Path:
    """Return a path as Path; it must lead to a file."""
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is no regular file" if path.exists() else "does not exist"
        raise FileNotFoundError(
            f"{path} {what}: give the path of the data file itself (relative paths start at {Path.cwd()})"
        )
    return path


@contextmanager
def numbered_lines(path: Path, skip: int = 0) -> Iterator[Iterator[tuple[int, str]]]:
    """Open a file for its lines that are not empty, without their ends, each with its number from 1; less the first."""
    with path.open(encoding="utf-8-sig") as stream:
        lines = ((number, line.rstrip("\n")) for number, line in enumerate(stream, start=1) if line.strip())
        yield itertools.islice(lines, skip, None)


def refuse_line(path: Path, number: int, line: str, expected: str, remedy: str = "") -> NoReturn:
    """Say what is wrong with a line."""
    shown = repr(line[:100])[:100]
    raise ValueError(f"file {path}, line {number}: expected {expected}, got {shown}{'; ' if remedy else ''}{remedy}")


def check_lines(path: Path) -> None:
    """Refuse what is no text of lines, before it is read as such."""
    length = number = 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            if b"\0" in block:
                line = number + block.count(b"\n", 0, block.index(b"\0")) + 1
                raise ValueError(
                    f"file {path}, line {line}: expected UTF-8 text, got a NUL byte; unpack or convert the file"
                )
            ends = max(block.rfind(b"\n"), block.rfind(b"\r"))
            length = len(block) - ends - 1 if ends >= 0 else length + len(block)
            number += block.count(b"\n")
            if length > _LONGEST_LINE:
                raise ValueError(
                    f"file {path}, line {number + 1}: more than {_LONGEST_LINE:,} bytes without the end of a line: "
                    "this is no file of interactions with a line each"
                )


def refuse_encoding(path: Path) -> NoReturn:
    """Name the line of the first byte that is no UTF-8."""
    raw = path.read_bytes()
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        byte = raw[error.start]
    raise ValueError(
        f"file {path}, line {number}: expected UTF-8 text, got byte 0x{byte:02x}; unpack or convert the file"
    )


def is_integer(text: str) -> bool:
    """Tell whether a text is an integer of plain digits, with or without a minus."""
    return text.isascii() and text.removeprefix("-").isdigit()


def integer(text: str) -> int:
    """Return a text as an integer of 64 bits; Python's own would take 1_000 as well."""
    stripped = text.strip()
    number = int(stripped) if is_integer(stripped.removeprefix("+")) else None
    if number is None or not -(2**63) <= number < 2**63:
        raise ValueError(text)
    return number
