"""What a file of events is: its format, its columns, its dialect; how DuckDB reads it, and where its bad lines are.

Nothing is guessed. A text file is read as text, and the type of a column follows from all of its rows.
"""

from __future__ import annotations

import csv
import errno
import glob
import json
import os
import re
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from string import Template
from typing import Any, NamedTuple, TypeAlias

from .arrow import Batch, batches
from .readers import existing, refuse_line

Paths: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_DELIMITERS = {",": "','", "\t": "tabs", ";": "';'", "|": "'|'"}
_LATIN_1 = "encoding='latin-1'"
_COMPRESSION = {".gz": "gzip", ".zst": "zstd"}
_FORMATS = {".parquet": "parquet", ".pq": "parquet", ".json": "json", ".jsonl": "json", ".ndjson": "json"}
_CSV_ERROR = re.compile(
    r"CSV Error on Line: (\d+)\s*Original Line: ?(.*?)\n(Expected[^\n]*|Value[^\n]*|[A-Z][^\n]*)", re.S
)
_JSON_ERROR = re.compile(r'JSON in file "(.*?)"')
_DAY, _CLOCK = r"\d{4}-\d{1,2}-\d{1,2}", r"\d{1,2}:\d{2}(:\d{2}([.]\d+)?)?"
_ZONE = r" ?(Z|[+-]\d{2}(:?\d{2})?)"
# When text $c can be taken as a type. An integer is what is written as one is, without leading zeros or a plus: all
# else stays the text that it is. $t is a JSON string less its quotation marks.
_TESTS = {
    "UBIGINT": "CAST(TRY_CAST($c AS UBIGINT) AS VARCHAR) = $c",
    "BIGINT": "CAST(TRY_CAST($c AS BIGINT) AS VARCHAR) = $c",
    "DOUBLE": "TRY_CAST($c AS DOUBLE) IS NOT NULL AND NOT contains($c, '_')",
    "TIMESTAMP": f"regexp_full_match($t, '{_DAY}([ T]{_CLOCK})?') AND TRY_CAST($t AS TIMESTAMP) IS NOT NULL",
    "TIMESTAMPTZ": f"regexp_full_match($t, '{_DAY}[ T]{_CLOCK}{_ZONE}') AND TRY_CAST($t AS TIMESTAMPTZ) IS NOT NULL",
    "VARCHAR": "$is_text",
}


class Layout(NamedTuple):
    """How a source is read: format, names and types of its columns, and of a text file its dialect."""

    format: str  # "csv", "json", "parquet" or "query"
    columns: dict[str, str]
    compression: str = "none"
    delimiter: str = ""
    header: bool = True
    query: str = ""

    @property
    def typed(self) -> bool:
        """Tell whether the columns have types of their own."""
        return self.format in ("parquet", "query")

    def scan(self, files: Sequence[str]) -> str:
        """Return the SQL that reads files of this layout."""
        if self.query:
            return f"({self.query}\n)"
        paths = f"[{', '.join(quoted(glob.escape(file)) for file in files)}]"
        if self.format == "parquet":
            return f"read_parquet({paths}, hive_partitioning=false)"
        if self.format == "json":
            # Before version 2.0 DuckDB has another word here than for CSV.
            compression = "uncompressed" if self.compression == "none" else self.compression
            return f"read_ndjson_objects({paths}, compression={quoted(compression)})"
        packed = f"compression={quoted(self.compression)}"
        columns = ", ".join(f"{quoted(label)}: 'VARCHAR'" for label in self.columns)
        return (
            f"read_csv({paths}, auto_detect=false, strict_mode=true, hive_partitioning=false, {packed}, quote='\"', "
            f"escape='\"', delim={quoted(self.delimiter)}, header={self.header}, columns={{{columns}}})"
        )

    def column(self, label: str) -> str:
        """Return the SQL of a column as it stands in the source."""
        if self.format == "json":
            key = "/" + label.replace("~", "~0").replace("/", "~1")
            return f"nullif(CAST(json_extract(json, {quoted(key)}) AS VARCHAR), 'null')"
        return named(label)

    def test(self, column: str, kind: str) -> str:
        """Return the SQL that tells whether text can be taken as a type."""
        is_text = f"starts_with({column}, '\"')" if self.format == "json" else "true"
        test = Template(_TESTS[kind]).substitute(c=column, t=self._bare(column), is_text=is_text)
        return f"({column} IS NULL OR coalesce({test}, false))"

    def cast(self, column: str, kind: str) -> str:
        """Return the SQL of text as a type whose test it has passed."""
        if self.format == "json" and kind == "VARCHAR":
            return f"json_extract_string({column}, '$')"
        return f"CAST({self._bare(column)} AS {kind})"

    def _bare(self, column: str) -> str:
        return f"trim({column}, '\"')" if self.format == "json" else column


def quoted(value: str) -> str:
    """Return a string as SQL has it."""
    return "'" + value.replace("'", "''") + "'"


def named(value: str) -> str:
    """Return the name of a column as SQL has it."""
    return '"' + value.replace('"', '""') + '"'


def by_query(file: str | Path, option: str) -> str:
    """Return the query that reads a text file which is written otherwise, for messages."""
    return f"SELECT * FROM read_csv({quoted(str(file))}, {option})"


@contextmanager
def connected(function: str, memory_limit: str | None = None, inside: Path | None = None) -> Iterator[tuple[Any, Path]]:
    """Open a DuckDB that reaches no network, and the temporary folder that is all it writes into."""
    try:
        import duckdb
    except ImportError as error:
        raise ImportError(f"{function} needs DuckDB for files and queries: pip install 'fastals[io]'") from error
    with tempfile.TemporaryDirectory(prefix="fastals-", dir=inside, ignore_cleanup_errors=True) as folder:
        config: dict[str, Any] = {
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
            "temp_directory": folder,
        }
        with duckdb.connect(config=config) as con:
            # Batches of text may have more than 2^31 characters.
            con.execute("SET TimeZone = 'UTC'; SET arrow_large_buffer_size = true")
            with suppress(duckdb.InvalidInputException):  # a notebook without ipywidgets, which can show no bar
                con.execute("SET enable_progress_bar = false")
            if memory_limit is not None:
                con.execute(f"SET memory_limit = {quoted(memory_limit)}")
            yield con, Path(folder)


# Files.


def expand(source: Paths) -> list[str]:
    """Return the files that paths and patterns lead to, as absolute paths."""
    files: list[str] = []
    for path in [source] if isinstance(source, (str, os.PathLike)) else source:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"source must be paths, a query or a table, got a list with {path!r:.100}")
        given = os.fspath(path)
        if "://" in given:
            raise ValueError(
                f"source is the address {given!r}, and fastals reads no network; download the file first, or pass a "
                "query and a DuckDB connection in which you have loaded httpfs: connection=..."
            )
        found = [] if Path(given).is_file() else sorted(glob.glob(given, recursive=True))
        files += [str(existing(file).resolve()) for file in found or [given]]
    if not files:
        raise ValueError("source is an empty list: name at least one file")
    return files


def layout_of(con: Any, files: Sequence[str], wanted: Sequence[str], delimiter: str | None, header: bool) -> Layout:
    """Return the layout that all files have, in which the wanted columns are."""
    first = _layout(con, files[0], wanted, delimiter, header)
    for file in files[1:]:
        other = _layout(con, file, wanted, delimiter, header)
        if first.typed and other.typed:  # columns go by name
            same = all(first.columns.get(label) == other.columns.get(label) for label in wanted)
        else:
            same = first._replace(columns={}) == other._replace(columns={}) and (
                first.format == "json" or list(first.columns) == list(other.columns)
            )
        if not same:
            raise ValueError(
                f"files {files[0]} and {file} differ: one is {first.format} ({first.compression} compression), "
                f"{_listed(first)}; the other is {other.format} ({other.compression}), {_listed(other)}; "
                "read files together that are alike"
            )
    return first


def _layout(con: Any, file: str, wanted: Sequence[str], delimiter: str | None, header: bool) -> Layout:
    path = Path(file)
    compression = _COMPRESSION.get(path.suffix.lower(), "none")
    suffix = (path.with_suffix("") if compression != "none" else path).suffix.lower()
    kind = _FORMATS.get(suffix, "csv")
    if kind != "csv" and (delimiter is not None or not header):
        raise ValueError(f"delimiter= and header= are for delimited text, and file {file} is {kind.upper()}")
    if kind == "parquet":
        layout = Layout(kind, {})
        described = run(con, f"DESCRIBE SELECT * FROM {layout.scan([file])}", f"file {file}").fetchall()
        return layout._replace(columns={row[0]: row[1] for row in described})
    first = next((line for _, line in lines(con, file, compression) if line.strip()), None)
    if first is None:
        raise ValueError(f"file {file} is empty: it holds no events")
    if kind == "json":
        keys = run(con, f"SELECT json_keys({quoted(first)})", f"file {file}, line 1").fetchall()[0][0]
        return Layout(kind, dict.fromkeys(keys, "JSON"), compression)
    mark, names = _dialect(file, first, wanted, delimiter, header)
    return Layout(kind, dict.fromkeys(names, "VARCHAR"), compression, mark, header)


def _dialect(
    file: str, first: str, wanted: Sequence[str], delimiter: str | None, header: bool
) -> tuple[str, list[str]]:
    """Return the delimiter, where it is told or certain, and the names of the columns."""
    marks = [delimiter] if delimiter is not None else [mark for mark in _DELIMITERS if mark in first]
    split = {mark: next(csv.reader([first], delimiter=mark), []) for mark in marks}
    if header:
        fits = [mark for mark, fields in split.items() if set(wanted) <= set(fields)]
    else:
        split = {mark: [str(place) for place in range(len(fields))] for mark, fields in split.items()}
        fits = marks
    if len(fits) > 1:
        listed = " or ".join(_DELIMITERS[mark] for mark in fits)
        raise ValueError(f"file {file}, line 1: its fields may be separated by {listed}; say which: delimiter=...")
    mark = fits[0] if fits else max(split, key=lambda mark: len(split[mark]), default=",")
    names: list[str] = []
    for label in split.get(mark, [first]):
        if label in names and label in wanted:
            raise ValueError(f"file {file}, line 1: the column {label!r} is there twice; rename one")
        names.append(label if label not in names and label else f"{label}_{len(names)}")
    return mark, names


def check_columns(layout: Layout, called: str, labels: dict[str, str]) -> None:
    """Refuse a column that is not there, and list those that are."""
    for argument, label in labels.items():
        if label not in layout.columns:
            hint = ""
            if layout.format == "csv":
                hint = "; the first line must name them, or give header=False and positions from 0"
                hint += "" if len(layout.columns) > 1 else ", and delimiter=... where it is none of ',', ';', '|', tab"
            raise ValueError(f"{argument}={label!r} is not a column of {called}; {_listed(layout)}{hint}")


def _listed(layout: Layout) -> str:
    shown = [f"{label!r}{f' ({kind})' if layout.typed else ''}" for label, kind in layout.columns.items()]
    return f"it has {', '.join(shown[:30])}{', ...' if len(shown) > 30 else ''}"


# Lines.


def lines(con: Any, file: str, compression: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file with their numbers, whatever compresses it."""
    query = (
        f"SELECT line FROM read_csv({quoted(glob.escape(file))}, auto_detect=false, strict_mode=false, header=false, "
        f"delim='\x01', quote='', escape='', columns={{'line': 'VARCHAR'}}, compression={quoted(compression)})"
    )
    with con.cursor() as cursor:
        number = 0
        found = run(cursor, query, f"file {file}")
        while block := found.fetchmany(2048):
            for (line,) in block:
                number += 1
                yield number, line or ""


def line_of_row(con: Any, file: str, layout: Layout, row: int) -> int | None:
    """Return the number of the line in which a row starts, None if it cannot be told; rows and lines count from 1."""
    numbered = lines(con, file, layout.compression)
    if layout.format == "json":
        full = (number for number, line in numbered if line.strip())
        return next((number for place, number in enumerate(full, start=1) if place == row), None)
    reader = csv.reader((line + "\n" for _, line in numbered), delimiter=layout.delimiter)
    row += layout.header
    try:
        started = reader.line_num + 1
        for record in reader:
            row -= bool(record)
            if row == 0:
                return started
            started = reader.line_num + 1
    except csv.Error:
        pass
    return None


def run(con: Any, sql: str, called: str) -> Any:
    """Run a query; of what DuckDB cannot read, say in one sentence what it is and where it stands."""
    import duckdb

    try:
        return con.execute(sql)
    except duckdb.Error as error:
        raise _refusal(con, str(error), called) from error


def stream(con: Any, sql: str, called: str) -> Generator[Batch, None, None]:
    """Yield the rows of a query in batches, as `batches` does; refuse what DuckDB cannot read as `run` does."""
    import duckdb

    try:
        yield from batches(con.sql(sql).__arrow_c_stream__())
    except (duckdb.Error, RuntimeError) as error:
        raise _refusal(con, str(error), called) from error


def _refusal(con: Any, message: str, called: str) -> Exception:
    """Return the sentence about what DuckDB says it cannot do."""
    _refuse_bad_line(con, message)
    said = message.partition(": ")[2].split("\n")[0].strip() or message.split("\n")[0]
    if message.startswith("Out of Memory"):
        said += "; raise memory_limit, or make room in the folder for temporary files (TMPDIR)"
    if message.startswith("IO Error") and ("write" in message or "No space" in message):
        return OSError(errno.ENOSPC, f"temporary files of DuckDB: {said}")
    return ValueError(f"{called} cannot be read: {said}")


def _refuse_bad_line(con: Any, message: str) -> None:
    """Raise the sentence about a line of a file that DuckDB speaks of in a message."""
    bad_json = _JSON_ERROR.search(message)
    if bad_json:  # DuckDB's number of the line is that of a later one where the line ends too early
        path = Path(bad_json[1])
        numbered = lines(con, str(path), _COMPRESSION.get(path.suffix.lower(), "none"))
        for number, line in numbered:
            try:
                json.loads(line or "0")
            except ValueError:
                refuse_line(path, number, line, "a JSON object")
    bad_line = _CSV_ERROR.search(message)
    file = re.search(r"^\s*file = (.*)$", message, re.M)
    if bad_line and file:
        place, given, reason = bad_line.groups()
        path, remedy = Path(file[1].strip()), ""
        if "nicode" in reason:
            remedy = f"save the file as UTF-8, or pass the query {by_query(path, _LATIN_1)}, or encoding='utf-16'"
        refuse_line(path, int(place), given.strip("\n"), _in_words(reason), remedy)


def _in_words(reason: str) -> str:
    columns = re.match(r"Expected Number of Columns: (\d+) Found: (\d+)", reason)
    if columns:
        return f"{columns[1]} fields as in the first line"
    if "nicode" in reason:
        return "UTF-8 text"
    if "quote" in reason:
        return 'a quotation mark " with its partner, and a delimiter after it'
    return f"a line of fields ({reason.strip().rstrip('.')})"
