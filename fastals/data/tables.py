"""Tables of events, wherever they are: files, frames, queries; as `Interactions`."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

import numpy as np

from ..validation import check_dtype, check_option
from .arrow import Batch
from .coding import Coder
from .events import Events, Numbered, cast_finite, event_values
from .interactions import Interactions
from .sources import (
    Layout,
    Paths,
    by_query,
    check_columns,
    connected,
    expand,
    layout_of,
    line_of_row,
    named,
    quoted,
    run,
    stream,
)
from .types import FloatType, Table, check_apart, is_frame

if TYPE_CHECKING:
    import datetime

_SQL = re.compile(r"\s*(select|from|with)\s", re.IGNORECASE)
_BATCH = 65_536  # rows fetched at a time from a database
_IDS = ("UBIGINT", "BIGINT", "VARCHAR")
# Types that text may be taken as, the first that fits all rows; and what is wanted, for messages.
_OF_TEXT = {
    "user": _IDS,
    "item": _IDS,
    "event": _IDS,
    "value": ("DOUBLE",),
    "time": ("BIGINT", "DOUBLE", "TIMESTAMP", "TIMESTAMPTZ"),
}
_WANTED = dict.fromkeys(("user", "item", "event"), "all integers or all text are wanted") | {
    "value": "finite numbers are wanted",
    "time": "all numbers, all times as 2024-01-31 10:00:00, or all such times with a zone (+02:00, Z) are wanted",
}
# What typed columns are taken as. Ids never go by way of floats.
_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
_NUMBERS = (*_INTEGERS, "UBIGINT", "HUGEINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "BOOLEAN")
_MOMENTS = ("DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE")
_ID_TYPES = dict.fromkeys(_INTEGERS, "BIGINT") | {"UBIGINT": "UBIGINT"}
_ID_TYPES |= dict.fromkeys(("VARCHAR", "ENUM", "UUID"), "VARCHAR")
_TAKEN_AS = {
    "user": _ID_TYPES,
    "item": _ID_TYPES,
    "event": _ID_TYPES | {"BOOLEAN": "BIGINT"},
    "value": dict.fromkeys(_NUMBERS, "DOUBLE"),
    "time": dict.fromkeys(_INTEGERS, "BIGINT") | {"UBIGINT": "UBIGINT", "FLOAT": "DOUBLE", "DOUBLE": "DOUBLE"},
}
_TAKEN_AS["time"] |= {kind: kind for kind in _MOMENTS}
Duplicates = Literal["sum", "last"]


def read_table(
    source: Paths | Table,
    user: Hashable,
    item: Hashable,
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
) -> Interactions:
    r"""Read a table with a row an event: files, a frame, or a query.

    Parameters
    ----------
    source : path, list of paths, str, or table
        - Files, also by a pattern such as `"logs/*.parquet"`: Parquet (`.parquet`, `.pq`), JSON lines (`.json`,
          `.jsonl`, `.ndjson`), and delimited text (any other name). Text may be compressed (`.gz`, `.zst`). All files
          of one call have the same columns. DuckDB reads them: `pip install 'fastals[io]'`.
        - A query: a string that begins with SELECT, FROM or WITH. Without `connection`, DuckDB runs it, over files
          that the query names.
        - A table of pandas, polars or Arrow, or a dict of arrays, as `Interactions.from_frame` takes it.
    user, item, value, time, event : str
        Names of the columns; the last three are optional. With `header=False`: positions from 0.
    weights, half_life, dtype
        As in `Interactions.from_triplets`.
    where : str, optional
        A condition in SQL: only rows for which it holds are read, for example `"stars >= 4 AND country = 'NL'"`. A
        frame is better filtered by its own library.
    duplicates : {'sum', 'last'}, default 'sum'
        What several events of one user and item become in the matrix: their sum, or only the latest is kept (without
        times: the last in the source), as ratings want it.
    connection : connection of DuckDB, sqlite3, or another DB-API 2.0 driver, optional
        Where a query runs. Rows from DuckDB go through a temporary Parquet file, those of other databases are fetched
        into memory in batches. Larger tables of SQLite and Postgres are better attached in DuckDB (`ATTACH`).
    delimiter : str, optional
        What separates the fields of text: one character. None: that of comma, tab, semicolon and vertical bar by which
        the first line has the named columns; without a header, the only one of them in the first line.
    header : bool, default True
        Whether the first line of text names the columns.

    Returns
    -------
    Interactions
        The events in the order of the source, with ids in ascending order.

    Raises
    ------
    FileNotFoundError, ImportError, TypeError, ValueError
        There is no such file or column; a row lacks an id, or holds text where a number is wanted; a line has too few
        fields. The message names file and line.

    Notes
    -----
    Ids stay what they are: integers of 64 bits, or strings. In delimited text, where nothing has a type, a column of
    ids is integers if every one is written as an integer is; one `007` or `1.0` among them, and all stay strings. In
    JSON, numbers are integers and strings are strings. In Parquet and queries the type of the column counts. (A query
    that names a text file lets DuckDB guess its types; `read_csv('...', all_varchar=true)` does not.) Fields of text
    may be in quotation marks, `"`; one in a field is doubled. An empty field is missing. Times in text are ISO 8601.

    Examples
    --------
    >>> import pathlib, tempfile, fastals
    >>> path = pathlib.Path(tempfile.mkdtemp(), "orders.csv")
    >>> _ = path.write_text("customer;product;pieces\n007;tea;2\n12;tea;1\n")
    >>> R = fastals.read_table(path, user="customer", item="product", value="pieces")
    >>> R, R.user_ids
    (Interactions(2 users x 1 items, 2 events, float32), Ids(2 strings: '007', '12'))
    """
    wanted = check_dtype("dtype", dtype)
    check_option("duplicates", duplicates, ("sum", "last"))
    labels = labels_of(user, item, value, time, event)
    told = Told(source, labels, where, connection, delimiter, header, weights, half_life)
    R = in_memory_table(told, wanted)
    if R is None:
        with opened_events("read_table", told) as events:
            R = _interactions(events, told, wanted)
    return R if duplicates == "sum" else R.select(last_of_each(R.users, R.items, R.times))


class Told(NamedTuple):
    """What a caller tells of a table; the fields are parameters of `read_table`."""

    source: Any
    labels: dict[str, Any]  # what each column is called, see `labels_of`
    where: str | None
    connection: Any
    delimiter: str | None
    header: bool
    weights: Mapping[Any, float] | None
    half_life: Any


def labels_of(user: Any, item: Any, value: Any, time: Any, event: Any) -> dict[str, Any]:
    """Return what columns are called, as far as they are named."""
    labels = {"user": user, "item": item, "value": value, "time": time, "event": event}
    check_apart(labels)
    return {argument: label for argument, label in labels.items() if label is not None}


def last_of_each(users: np.ndarray, items: np.ndarray, times: np.ndarray | None) -> np.ndarray:
    """Return a mask of the latest event of each user and item; of those with one time, the last."""
    order = np.lexsort((items, users) if times is None else (times, items, users))  # stable: else by place
    last = np.ones(len(order), bool)
    same = (users[order][1:] == users[order][:-1]) & (items[order][1:] == items[order][:-1])
    last[:-1] = ~same
    mask = np.zeros(len(order), bool)
    mask[order[last]] = True
    return mask


# Tables in memory.


def in_memory_table(told: Told, dtype: np.dtype) -> Interactions | None:
    """Read a frame, or a query of a database other than DuckDB; None for what DuckDB reads."""
    for side in ("user", "item"):
        if side not in told.labels:
            raise TypeError(f"{side} is missing: name the column of the {side}s, {side}=...")
    if not (is_frame(told.source) or _is_foreign(told.source, told.connection)):
        return None
    columns: Any = {**told.labels, "event_weights": told.weights, "half_life": told.half_life}
    return Interactions._of_frame(_in_memory(told.source, told.where, told.connection), columns, dtype)


def _is_foreign(source: Any, connection: Any) -> bool:
    """Tell whether rows come from a database other than DuckDB; refuse a source that does not go with a connection."""
    is_query = isinstance(source, str) and _SQL.match(source) is not None
    if connection is None:
        return False
    if not is_query:
        raise TypeError(
            f"connection= is for queries, and source is {source!r:.100}; pass SQL that begins with SELECT, FROM or WITH"
        )
    if not hasattr(connection, "cursor"):
        raise TypeError(
            "connection must be a connection of DuckDB, sqlite3 or another DB-API driver, got "
            f"{type(connection).__name__}"
        )
    return type(connection).__module__.split(".")[0] not in ("duckdb", "_duckdb")


def _in_memory(source: Any, where: str | None, connection: Any) -> Any:
    """Return a frame as it is, and the rows of a query as columns."""
    if connection is None:
        if where is not None:
            raise TypeError(f"where= is for files and queries; filter the {type(source).__name__} before it is passed")
        return source
    query = source if where is None else f"SELECT * FROM ({source.rstrip().rstrip(';')}\n) AS events WHERE {where}"
    cursor = connection.cursor()
    try:
        cursor.execute(query)
        names = [column[0] for column in cursor.description]
        columns: list[list[Any]] = [[] for _ in names]
        while rows := cursor.fetchmany(_BATCH):
            for column, values in zip(columns, zip(*rows, strict=True), strict=True):
                column.extend(values)
    finally:
        cursor.close()
    return dict(zip(names, columns, strict=True))


# Tables that DuckDB reads.


class Opened:
    """Checked events of a source, in its order."""

    def __init__(self, reader: _Reader, names: dict[str, str]):
        self._reader, self.kinds = reader, reader.kinds()
        self.names = names  # what the caller calls each column, for messages
        self.coders = {side: Coder(names[side]) for side in ("user", "item", "event") if side in self.kinds}

    def latest(self) -> np.ndarray | None:
        """Return the latest time, as an array of one; None where there are no times."""
        if "time" not in self.kinds:
            return None
        query = f'SELECT max("time") AS latest FROM ({self._reader.query(self.kinds)}) WHERE fastals_flawed = 0'
        found: np.ndarray = run(self._reader.con, query, self._reader.called).fetchnumpy()["latest"]
        return found

    def blocks(self) -> Iterator[dict[str, np.ndarray]]:
        """Yield the events by column. Ids are numbers that `coders` have given them in the order in which they came."""
        reader, n = self._reader, 0
        with ThreadPoolExecutor(len(self.coders)) as pool:
            batches = stream(reader.con, reader.query(self.kinds), reader.called)
            for batch in batches:
                if batch.pop("fastals_flawed").any():  # type: ignore[union-attr]
                    batches.close()  # the connection runs one query at a time
                    reader.refuse_flawed(self.kinds)
                coded = pool.map(lambda side, ids: self.coders[side].numbers(ids), *zip(*self._ids(batch), strict=True))
                others = {name: np.array(column) for name, column in batch.items() if name not in self.coders}
                yield dict(zip(self.coders, coded, strict=True)) | others
                n += len(batch["user"])
        if n == 0:
            reader.refuse_nothing()

    def _ids(self, batch: Batch) -> list[tuple[str, Any]]:
        return [(side, batch[side]) for side in self.coders]


@contextmanager
def opened_events(
    function: str, told: Told, memory_limit: str | None = None, folder: Path | None = None
) -> Iterator[Opened]:
    """Open a source in a DuckDB of our own, its columns checked as far as no row need be read."""
    _check_told(told)
    source, columns = told.source, {argument: str(label) for argument, label in told.labels.items()}
    with connected(function, memory_limit, folder) as (con, temporary):
        files: Sequence[str] = ()
        if isinstance(source, str) and _SQL.match(source):
            layout = _query(con, temporary, source, told.connection)
            called = "the query"
        else:
            files = expand(source)
            called = f"file {files[0]}"
            layout = layout_of(con, files, list(columns.values()), told.delimiter, told.header)
        check_columns(layout, called, columns)
        reader = _Reader(con, layout, files, called, columns, told.where)
        yield Opened(reader, {argument: f"column {label!r}" for argument, label in columns.items()})


def _check_told(told: Told) -> None:
    source, labels, where, _, delimiter, header, _, _ = told
    if not isinstance(source, (str, os.PathLike, list, tuple)):
        raise TypeError(f"source must be paths, a query or a table, got {type(source).__name__}")
    if not isinstance(header, bool):
        raise TypeError(f"header must be True or False, got {header!r}")
    for argument, label in labels.items():
        place = isinstance(label, int) and not isinstance(label, bool) and label >= 0
        if not (isinstance(label, str) if header else place):
            wanted = "the name of a column" if header else "a position from 0, as header=False"
            raise TypeError(f"{argument} must be {wanted}, got {label!r}")
    if delimiter is not None and not (isinstance(delimiter, str) and len(delimiter) == 1 and delimiter not in '"\r\n'):
        raise ValueError(f"delimiter must be one character, and no quotation mark, got {delimiter!r}")
    if where is not None and not (isinstance(where, str) and where.strip()):
        raise TypeError(f"where must be a condition in SQL, for example 'stars >= 4', got {where!r}")


def _query(con: Any, folder: Path, source: str, connection: Any) -> Layout:
    """Return the layout of a query; the rows of another connection are brought over as a file."""
    query = source.strip().rstrip(";")
    if connection is not None:
        copy = folder / "query.parquet"
        run(connection, f"COPY ({query}\n) TO {quoted(str(copy))} (FORMAT parquet)", "the query")
        query = f"SELECT * FROM read_parquet({quoted(str(copy))})"
    described = run(con, f"DESCRIBE SELECT * FROM ({query}\n)", "the query").fetchall()
    return Layout("query", {row[0]: row[1] for row in described}, query=query)


class _Reader:
    """Columns of files or of a query, and where a bad entry stands."""

    def __init__(
        self,
        con: Any,
        layout: Layout,
        files: Sequence[str],
        called: str,
        labels: dict[str, str],
        where: str | None,
    ):
        self.con, self.layout, self.files, self.called = con, layout, files, called
        self.labels, self.where = labels, where
        self._visible = [] if where is None else self._seen_by_where()

    def kinds(self) -> dict[str, str]:
        """Return the types of the columns."""
        rows = self._rows(self.files)
        if self.where is not None:
            run(self.con, f"EXPLAIN {rows}", f"where={self.where!r}, a condition on {self.called},")
        if self.layout.typed:
            return {argument: self._taken_as(argument) for argument in self.labels}
        kinds = self._types_of_text({a: f"fastals_{a}" for a in self.labels}, _OF_TEXT, rows)
        for argument in self.labels.keys() - kinds.keys():
            self._refuse_mixed(argument)
        return kinds

    def query(self, kinds: Mapping[str, str]) -> str:
        """Return the query of the columns by their types, and of whether an entry of the row cannot be used."""
        casts = ", ".join(f"{self._cast(argument, kind)} AS {named(argument)}" for argument, kind in kinds.items())
        flawed = " OR ".join(_flaw(argument, named(argument)) for argument in kinds)
        inner = f"SELECT {casts} FROM ({self._rows(self.files)})"
        return f"SELECT *, CAST({flawed} AS UTINYINT) AS fastals_flawed FROM ({inner})"

    def refuse_flawed(self, kinds: Mapping[str, str]) -> NoReturn:
        """Raise for the first row of which an entry cannot be used."""
        for argument, kind in kinds.items():
            self._refuse(argument, _flaw(argument, self._cast(argument, kind)))
        raise ValueError(f"{self.called} cannot be read: its rows differ from one reading to the next")

    def refuse_nothing(self) -> NoReturn:
        """Raise as there is no row."""
        raise ValueError(f"{self.called} holds no events" + (f" for which {self.where}" if self.where else ""))

    def _rows(self, files: Sequence[str], numbered: bool = False) -> str:
        """Return the query of the named columns as they stand in the source, less the rows that are not wanted."""
        columns = [f"{self.layout.column(label)} AS fastals_{argument}" for argument, label in self.labels.items()]
        columns += ["row_number() OVER () AS fastals_row"] * numbered
        scan = self.layout.scan(files)
        if self.where is None:
            return f"SELECT {', '.join(columns)} FROM {scan}"
        inner = f"SELECT {', '.join([*columns, *self._visible])} FROM {scan}"
        kept = [column.rsplit(" AS ", 1)[1] for column in columns]
        return f"SELECT {', '.join(kept)} FROM ({inner}) WHERE (\n{self.where}\n)"

    def _seen_by_where(self) -> list[str]:
        """Return the columns that a condition may name; those of text with the types that fit all of their rows."""
        if self.layout.typed:
            return ["*"]
        scan, names = self.layout.scan(self.files), list(self.layout.columns)
        if self.layout.format == "json":
            keys = run(self.con, f"SELECT DISTINCT unnest(json_keys(json)) FROM {scan}", self.called).fetchall()
            names = [row[0] for row in keys]
        columns = {label: self.layout.column(label) for label in names}
        fitting = dict.fromkeys(names, ("BIGINT", "DOUBLE", "VARCHAR"))
        kinds = self._types_of_text(columns, fitting, f"SELECT * FROM {scan}")
        return [
            f"{self.layout.cast(column, kinds[label]) if label in kinds else column} AS {named(label)}"
            for label, column in columns.items()
        ]

    def _types_of_text(
        self, columns: Mapping[str, str], candidates: Mapping[str, Sequence[str]], rows: str
    ) -> dict[str, str]:
        """Return for each column the first type that all of its texts fit; a column that none fits is left out."""
        pairs = [(key, kind) for key in columns for kind in candidates[key]]
        tests = [f"coalesce(bool_and({self.layout.test(columns[key], kind)}), true)" for key, kind in pairs]
        fits = run(self.con, f"SELECT {', '.join(tests)} FROM ({rows})", self.called).fetchall()[0]
        found: dict[str, str] = {}
        for (key, kind), fit in zip(pairs, fits, strict=True):
            if fit:
                found.setdefault(key, kind)
        return found

    def _cast(self, argument: str, kind: str) -> str:
        column = f"fastals_{argument}"
        return f"CAST({column} AS {kind})" if self.layout.typed else self.layout.cast(column, kind)

    def _taken_as(self, argument: str) -> str:
        """Return what a column that has a type is taken as."""
        label = self.labels[argument]
        kind = self.layout.columns[label].split("(")[0]
        taken = _TAKEN_AS[argument].get(kind)
        if taken is None and kind == "VARCHAR":
            tests = [self.layout.test(f"fastals_{argument}", text) for text in _OF_TEXT[argument]]
            self._refuse(argument, f"NOT ({' OR '.join(tests)})")
            self._refuse(argument, "true")
        if taken is None:
            aim = (
                "BIGINT" if argument in ("user", "item", "event") else "DOUBLE" if argument == "value" else "TIMESTAMP"
            )
            raise TypeError(
                f"{argument}={label!r} is a column of {kind} in {self.called}: {_WANTED[argument]}; convert it in a "
                f"query: CAST({named(label)} AS {aim})"
            )
        return taken

    def _refuse_mixed(self, argument: str) -> NoReturn:
        """Name the first text that differs in type from the first one."""
        column = f"fastals_{argument}"
        tests = {kind: self.layout.test(column, kind) for kind in _OF_TEXT[argument][::-1]}
        rows = f"SELECT {', '.join(tests.values())} FROM ({self._rows(self.files)}) WHERE {column} IS NOT NULL LIMIT 1"
        first = run(self.con, rows, self.called).fetchall()[0]
        kind = next((kind for kind, fit in zip(tests, first, strict=True) if fit), None)
        self._refuse(argument, "true" if kind is None else f"NOT {tests[kind]}")
        raise AssertionError(argument)

    def _refuse(self, argument: str, flaw: str) -> None:
        """Raise for the first row of the source that has a flaw, if there is one."""
        for file in self.files or [""]:
            rows = self._rows([file] if file else [], numbered=True)
            query = f"SELECT fastals_row, fastals_{argument} FROM ({rows}) WHERE {flaw} ORDER BY fastals_row LIMIT 1"
            found = run(self.con, query, self.called).fetchall()
            if found:
                row, value = found[0]
                label = self.labels[argument]
                what = f"column {label!r} has no value" if value is None else f"column {label!r} holds {value!r:.100}"
                option = _otherwise(argument, str(value)) if self.layout.format == "csv" else None
                rest = _rest(argument, label, value) if option is None else ""
                way = f"pass the query {by_query(file, option)}" if option else f"leave such rows out: where={rest}"
                raise ValueError(f"{self._place(file, row)}: {what}: {_WANTED[argument]}; mend it, or {way}")

    def _place(self, file: str, row: int) -> str:
        if not file:
            return f"row {row} of the query"
        line = None if self.layout.typed else line_of_row(self.con, file, self.layout, row)
        return f"file {file}, " + (f"row {row}" if line is None else f"line {line}")


def _otherwise(argument: str, text: str) -> str | None:
    """Return the option of DuckDB's `read_csv` that reads a decimal comma, or a date with the day first."""
    date = re.fullmatch(r"\s*\d\d?([./-])\d\d?\1\d{4}\s*", text)
    if argument == "time" and date:
        return f"dateformat='%d{date[1]}%m{date[1]}%Y'"
    return "decimal_separator=','" if argument == "value" and re.fullmatch(r"\s*[+-]?\d+,\d+\s*", text) else None


def _rest(argument: str, label: str, value: Any) -> str:
    """Return the condition that leaves out a bad entry and others of its kind, or dots where none is that simple."""
    if value is None:
        return repr(f"{named(label)} IS NOT NULL")
    if argument != "value":
        return "..."
    try:
        finite = math.isfinite(float(value))
    except ValueError:
        finite = False
    return "..." if finite else repr(f"isfinite(TRY_CAST({named(label)} AS DOUBLE))")


def _flaw(argument: str, column: str) -> str:
    """Return the SQL that tells whether an entry cannot be used."""
    return f"{column} IS NULL" + (f" OR NOT isfinite({column})" if argument in ("value", "time") else "")


def _interactions(events: Opened, told: Told, dtype: np.dtype) -> Interactions:
    """Read all events into memory."""
    blocks = list(events.blocks())
    found = {name: np.concatenate([block.pop(name) for block in blocks]) for name in list(blocks[0])}
    ids = {}
    for side, coder in events.coders.items():
        ids[side], places = coder.ids()
        found[side] = places[found[side]]
    kinds = Numbered(ids["event"], found["event"]) if "event" in ids else None
    names = {f"{argument}s": called for argument, called in events.names.items()}
    n = len(found["user"])
    counted = event_values(n, found.get("value"), found.get("time"), kinds, told.weights, told.half_life, names)
    values = cast_finite(names.get("values", "values"), counted.values, dtype)
    made = Events(found["user"], found["item"], values, *counted[1:])
    shape = len(ids["user"]), len(ids["item"])
    return Interactions._make(shape, dtype, ids["user"], ids["item"], events=made)
