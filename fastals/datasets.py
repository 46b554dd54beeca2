"""Interaction data: fetchers and readers of public sets, a synthetic generator, and splits into train and test."""

import csv
import io
import itertools
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import scipy.optimize
import scipy.sparse

from .data.downloads import Archive, data_home, fetch

Seed = int | np.random.Generator | None

# Rows of one look for a malformed line: few enough to hold, many enough that one call parses them fast.
_SCAN_ROWS = 65_536
# Rows of one gather of planted factors: 1 million rows of 16 factors in float64 are 128 MB for each side.
_AFFINITY_ROWS = 1_000_000
# Draws with replacement before the exact race takes over. With MovieLens 20M's shape eight rounds leave 4% of the
# users short; three would leave 18% and cost half as much again, as a race costs 0.5 ms a user.
_DRAW_ROUNDS = 8


@dataclass(frozen=True, eq=False)
class Ratings:
    """Interactions as parallel arrays, one entry a row of the file they came from.

    Parameters
    ----------
    users, items : int32 array of shape (n,)
        Codes from 0: positions in `user_ids` and `item_ids`.
    values : float32 array of shape (n,)
        Ratings, counts, or 1 where the file had none. Finite.
    times : int64 array of shape (n,), or None
        Times in the unit of the file (seconds since 1970 in MovieLens), None where the file had none.
    user_ids, item_ids : array of shape (n_users,) and (n_items,)
        The original ids. They may hold ids without a row, as in the parts of a split.

    Raises
    ------
    TypeError
        If an array has another dtype.
    ValueError
        If the arrays differ in length, or a code lies outside its id table.

    Notes
    -----
    The arrays are kept, not copied. One user and item may occur in many rows; `matrix` sums them.
    """

    users: np.ndarray
    items: np.ndarray
    values: np.ndarray
    times: np.ndarray | None
    user_ids: np.ndarray
    item_ids: np.ndarray

    def __post_init__(self) -> None:
        columns = {"users": np.int32, "items": np.int32, "values": np.float32}
        if self.times is not None:
            columns["times"] = np.int64
        for name, dtype in columns.items():
            column = getattr(self, name)
            if not isinstance(column, np.ndarray) or column.dtype != dtype:
                came = getattr(column, "dtype", type(column).__name__)
                raise TypeError(f"{name} must be an array of {np.dtype(dtype)}, got {came}")
            if column.shape != self.users.shape or column.ndim != 1:
                raise ValueError(
                    f"{name} must be 1-dimensional and as long as users, got shape {column.shape} "
                    f"beside {self.users.shape}"
                )
        for name, ids in (("users", self.user_ids), ("items", self.item_ids)):
            codes = getattr(self, name)
            if codes.size and (codes.min() < 0 or codes.max() >= len(ids)):
                raise ValueError(
                    f"{name} must be codes from 0 to {len(ids) - 1}, positions in the table of {len(ids)} ids, "
                    f"got codes from {codes.min()} to {codes.max()}"
                )

    def __len__(self) -> int:
        return self.users.size

    @property
    def shape(self) -> tuple[int, int]:
        """Number of users and number of items in the id tables."""
        return len(self.user_ids), len(self.item_ids)

    def select(self, rows: Any) -> "Ratings":
        """Return some of the rows, with the same id tables, so that shapes agree between the parts.

        Parameters
        ----------
        rows : boolean array of shape (n,), or array of integers
            A mask of the rows to keep, or their positions, in the wanted order.

        Returns
        -------
        Ratings
            The selected rows.

        Raises
        ------
        TypeError
            If `rows` holds neither booleans nor integers.
        ValueError
            If a mask has another length than the ratings.
        """
        index = np.asarray(rows)
        if index.size == 0 and index.dtype != np.bool_:
            index = index.astype(np.intp)  # numpy makes an empty list float64
        if index.dtype == np.bool_:
            if index.shape != self.users.shape:
                raise ValueError(f"a mask must have shape {self.users.shape}, as the ratings have, got {index.shape}")
        elif not np.issubdtype(index.dtype, np.integer):
            raise TypeError(f"rows must be a boolean mask or integer positions, got dtype {index.dtype}")
        times = None if self.times is None else self.times[index]
        return Ratings(self.users[index], self.items[index], self.values[index], times, self.user_ids, self.item_ids)

    def matrix(self, values: Any = None) -> scipy.sparse.csr_array:
        """Return the users x items matrix, with duplicate cells summed.

        Parameters
        ----------
        values : array of shape (n,), optional
            What to store instead of `self.values`, e.g. ones for a binary matrix of data without duplicates.

        Returns
        -------
        scipy.sparse.csr_array
            float32, shape `self.shape`, canonical: columns ascending in each row, no cell twice. A zero stays stored.

        Raises
        ------
        ValueError
            If `values` has another length than the ratings.
        """
        stored = self.values if values is None else np.asarray(values, dtype=np.float32)
        if stored.shape != self.users.shape:
            raise ValueError(f"values must have shape {self.users.shape}, one for each rating, got {stored.shape}")
        matrix = scipy.sparse.csr_array((stored, (self.users, self.items)), shape=self.shape)
        matrix.sum_duplicates()
        return matrix


# --- readers ---------------------------------------------------------------------------------------------------------


class _Layout(NamedTuple):
    """How a line of a file is made: its fields, what parts them, how many lines of header come before."""

    fields: tuple[str, ...]
    separator: str | None  # None: any white space
    separator_name: str
    header_lines: int = 0

    def describe(self) -> str:
        """Say what a line should be."""
        return f"'{' '.join(self.fields)}' separated by {self.separator_name}"

    def rows(self, stream: Iterator[str]) -> Iterator[str]:
        """Bring lines into the form that `_parse` reads."""
        if self.separator == "::":
            # np.loadtxt takes separators of one character only.
            return (line.replace("::", "\t") for line in stream)
        return stream


class _AdjacencyLayout(_Layout):
    """A line a user: the user, then all its items."""

    def describe(self) -> str:
        return f"'user item item ...' separated by {self.separator_name}"

    def rows(self, stream: Iterator[str]) -> Iterator[str]:
        for line in stream:
            user, *items = line.split() or [""]
            for item in items:
                yield f"{user} {item}"


_LAYOUTS = {
    "u.data": _Layout(("user", "item", "rating", "time"), "\t", "tabs"),
    "ratings.dat": _Layout(("user", "item", "rating", "time"), "::", "'::'"),
    "ratings.csv": _Layout(("userId", "movieId", "rating", "timestamp"), ",", "commas", header_lines=1),
    "lastfm": _Layout(("userID", "artistID", "weight"), "\t", "tabs", header_lines=1),
    "text": _Layout(("user", "item", "value", "time"), None, "white space"),
    "adjacency": _AdjacencyLayout(("user", "item"), None, "white space"),
}
_FILE_NAMES = {name: name for name in ("u.data", "ratings.dat", "ratings.csv")} | {"user_artists.dat": "lastfm"}


class _Table(NamedTuple):
    """The columns of a file before its ids are coded."""

    users: np.ndarray
    items: np.ndarray
    values: np.ndarray
    times: np.ndarray | None


def read_ratings(path: str | Path, layout: str | None = None) -> Ratings:
    """Read a file of interactions.

    Parameters
    ----------
    path : str or Path
        The file, UTF-8 text. Empty lines are skipped.
    layout : str, optional
        How its lines are made. Without it, the layout comes from the file's name where that is one of the names
        below, else from its first line (a known header, `::`, 2 to 4 fields for "text", more for "adjacency").

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
    Ratings
        The rows in the order of the file, ids coded in ascending order. Ids are int64, or strings in a column of
        "text" or "adjacency" where any of them is no integer (then "10" comes before "9").

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the layout is unknown or cannot be told, the file is empty, or a line does not follow the layout or holds a
        value that is not finite: the message names file and line.

    Notes
    -----
    An adjacency file whose first user has one to three items looks like "text": give its layout.
    """
    return _code(_read_table(path, layout))


def read_split(train: str | Path, test: str | Path, layout: str | None = None) -> tuple[Ratings, Ratings]:
    """Read data that is published in two files, with id tables common to both.

    Parameters
    ----------
    train, test : str or Path
        The files, as for `read_ratings`.
    layout : str, optional
        The layout of both, as for `read_ratings`.

    Returns
    -------
    train, test : Ratings
        The rows of each file. The id tables hold the ids of either.

    Raises
    ------
    FileNotFoundError, ValueError
        As for `read_ratings`, and if only one of the files has times.
    """
    parts = [_read_table(train, layout), _read_table(test, layout)]
    timed = [part.times is not None for part in parts]
    if timed[0] != timed[1]:
        raise ValueError(f"{train} and {test} must both have times or both have none; give both the same columns")
    users, items, values = (np.concatenate([part[column] for part in parts]) for column in range(3))
    times = np.concatenate([part.times for part in parts]) if all(timed) else None
    both = _code(_Table(users, items, values, times))
    in_train = np.arange(len(both)) < parts[0].users.size
    return both.select(in_train), both.select(~in_train)


def read_titles(path: str | Path) -> dict[int, str]:
    """Read the titles of MovieLens films.

    Parameters
    ----------
    path : str or Path
        `u.item` (`id|title|...`), `movies.dat` (`id::title::genres`) or `movies.csv` (header
        `movieId,title,genres`): a name that ends in `.csv` is the last, else the first line tells. The text is UTF-8,
        or Latin-1 where it is not valid UTF-8.

    Returns
    -------
    dict of int to str
        The title of each id.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is empty or a line does not follow the format: the message names file and line.
    """
    path = _existing(path)
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    if not text.strip():
        raise ValueError(f"file {path} is empty: it holds no titles")
    if path.suffix == ".csv":
        rows, expected = _csv_rows(path, text), "id,title,genres"
    else:
        separator = "::" if "::" in text.lstrip().split("\n", 1)[0] else "|"
        lines = enumerate(text.split("\n"), start=1)
        rows = ((number, line.rstrip("\r").split(separator)) for number, line in lines if line.strip())
        expected = separator.join(("id", "title", "..."))
    titles = {}
    for number, fields in rows:
        try:
            titles[int(fields[0])] = fields[1]
        except (ValueError, IndexError):
            raise ValueError(
                f"file {path}, line {number}: expected '{expected}' with an integer id, got fields {fields!r:.100}"
            ) from None
    return titles


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of `movies.csv` below its header, each with its line number."""
    reader = csv.reader(io.StringIO(text, newline=""))
    header = next(reader)
    if header != ["movieId", "title", "genres"]:
        raise ValueError(f"file {path}, line 1: expected the header 'movieId,title,genres', got {','.join(header)!r}")
    try:
        yield from ((reader.line_num, row) for row in reader if row)
    except csv.Error as error:
        raise ValueError(f"file {path}, line {reader.line_num}: not a CSV row ({error})") from None


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(
            f"{path} {what}: give the path of the data file itself (relative paths start at {Path.cwd()})"
        )
    return path


def _read_table(path: str | Path, layout_name: str | None) -> _Table:
    """Read the columns of a file, with its own ids."""
    if layout_name is not None and layout_name not in _LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(map(repr, _LAYOUTS))}, got {layout_name!r}")
    path = _existing(path)
    try:
        layout = _find_layout(path, layout_name)
        return _parse_file(path, layout)
    except UnicodeDecodeError:
        _refuse_encoding(path)


def _find_layout(path: Path, name: str | None) -> _Layout:
    """Find the layout of this very file and check it against the first line, whose number of fields it takes."""
    head = list(itertools.islice(_numbered_lines(path), 2))
    if not head:
        raise ValueError(f"file {path} is empty: it holds no ratings")
    number, first = head[0]
    words = len(first.split())
    if name is None:
        name = _FILE_NAMES.get(path.name) or _guess_layout(first, words)
    if name is None:
        raise ValueError(
            f"file {path}, line {number}: no layout fits {first!r:.100}; give layout=, one of "
            f"{', '.join(map(repr, _LAYOUTS))}"
        )
    layout = _LAYOUTS[name]
    if layout.header_lines and first.split(layout.separator) != list(layout.fields):
        if name != "lastfm" or not all(line.isdecimal() for _, line in head):
            _refuse_line(path, number, first, f"the header {layout.describe()}")
        layout = layout._replace(header_lines=len(head))
    if name == "text":
        layout = layout._replace(fields=layout.fields[: max(words, 2)])
    return layout


def _guess_layout(first: str, words: int) -> str | None:
    for name, layout in _LAYOUTS.items():
        if layout.header_lines and first.split(layout.separator) == list(layout.fields):
            return name
    if "::" in first:
        return "ratings.dat"
    if words < 2:
        return None
    return "text" if words <= len(_LAYOUTS["text"].fields) else "adjacency"


def _numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not empty, without their ends, each with its number from 1."""
    with path.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                yield number, line.rstrip("\n")


def _parse_file(path: Path, layout: _Layout) -> _Table:
    """Parse at full speed; only where that fails look for the line that is to blame."""
    id_dtypes: list[tuple[type, type]] = [(np.int64, np.int64)]
    if layout.separator is None:
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
    users, items = (_as_ids(columns[field]) for field in layout.fields[:2])
    if len(layout.fields) == 2:
        return _Table(users, items, np.ones(users.size, np.float32), None)
    values = np.ascontiguousarray(columns[layout.fields[2]])
    finite = np.isfinite(values)
    if not finite.all():
        data_lines = itertools.islice(_numbered_lines(path), layout.header_lines, None)
        number, line = next(itertools.islice(data_lines, int(finite.argmin()), None))
        _refuse_line(path, number, line, f"a finite {layout.fields[2]} in float32")
    times = np.ascontiguousarray(columns[layout.fields[3]]) if len(layout.fields) == 4 else None
    return _Table(users, items, values, times)


def _parse(rows: Iterable[str], layout: _Layout, id_dtypes: tuple[type, type]) -> np.ndarray:
    """Make a structured array with one record a row; raise ValueError where a row does not fit."""
    dtypes = (*id_dtypes, np.float32, np.int64)
    return np.loadtxt(
        rows,
        dtype=np.dtype(list(zip(layout.fields, dtypes, strict=False))),
        delimiter="\t" if layout.separator == "::" else layout.separator,
        comments=None,
        ndmin=1,
    )


def _as_ids(column: np.ndarray) -> np.ndarray:
    return column.astype(str) if column.dtype == object else np.ascontiguousarray(column)


def _refuse_first_bad_line(path: Path, layout: _Layout, id_dtypes: tuple[type, type]) -> NoReturn:
    """Find the first line that does not parse, by blocks and then within the block, and name it."""

    def parses(lines: Iterable[str]) -> bool:
        try:
            _parse(layout.rows(iter(lines)), layout, id_dtypes)
        except ValueError:
            return False
        return True

    numbered = itertools.islice(_numbered_lines(path), layout.header_lines, None)
    blocks = iter(lambda: list(itertools.islice(numbered, _SCAN_ROWS)), [])
    block = next(block for block in blocks if not parses(line for _, line in block))
    number, line = next((number, line) for number, line in block if not parses([line]))
    _refuse_line(path, number, line, layout.describe())


def _refuse_line(path: Path, number: int, line: str, expected: str) -> NoReturn:
    raise ValueError(f"file {path}, line {number}: expected {expected}, got {line!r:.100}")


def _refuse_encoding(path: Path) -> NoReturn:
    raw = path.read_bytes()
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        byte = raw[error.start]
    raise ValueError(
        f"file {path}, line {number}: expected UTF-8 text, got byte 0x{byte:02x}; unpack or convert the file"
    )


def _code(table: _Table) -> Ratings:
    user_ids, users = _encode(table.users)
    item_ids, items = _encode(table.items)
    return Ratings(users, items, table.values, table.times, user_ids, item_ids)


def _encode(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct ids in ascending order, and the position of each id among them as int32."""
    if ids.dtype == np.int64:
        low, high = int(ids.min()), int(ids.max())
        if high - low < 4 * ids.size + 1024:
            # A lookup table over the range instead of a sort: 0.5 s instead of 3 s for 20 million ids.
            present = np.zeros(high - low + 1, dtype=bool)
            present[ids - low] = True
            code_of = np.cumsum(present, dtype=np.int32) - np.int32(1)
            return np.flatnonzero(present) + low, code_of[ids - low]
    distinct, codes = np.unique(ids, return_inverse=True)
    return distinct, codes.astype(np.int32)


class SampledCases(NamedTuple):
    """Held-out items with the items among which to find them, as `evaluation.evaluate_sampled` takes them.

    Attributes
    ----------
    users, items : int64 arrays of shape (n,)
        Ids as in the file: case c holds out ``items[c]`` of ``users[c]``.
    negatives : int64 array of shape (n, n_negatives)
    """

    users: np.ndarray
    items: np.ndarray
    negatives: np.ndarray


def read_negatives(path: str | Path) -> SampledCases:
    """Read a file of held-out items with given negatives, as He et al. (2017) publish them: `ml-1m.test.negative`.

    Parameters
    ----------
    path : str or Path
        Each line is `(user,item)`, then negative items, all separated by tabs, as many in every line.

    Returns
    -------
    SampledCases
        Users and items are the ids of the file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is empty or a line does not follow the format: the message names file and line.
    """
    path = _existing(path)
    cases: list[list[int]] = []
    for number, line in _numbered_lines(path):
        head, *negatives = line.split("\t")
        try:
            if not (head.startswith("(") and head.endswith(")")):
                raise ValueError
            user, item = map(int, head[1:-1].split(","))
            cases.append([user, item, *map(int, negatives)])
        except ValueError:
            _refuse_line(path, number, line, "'(user,item)' and items separated by tabs")
        if len(cases[-1]) != len(cases[0]) or not negatives:
            _refuse_line(path, number, line, f"{max(len(cases[0]) - 2, 1)} negatives as in every line")
    if not cases:
        raise ValueError(f"file {path} is empty: it holds no cases")
    table = np.array(cases, dtype=np.int64)
    return SampledCases(table[:, 0], table[:, 1], table[:, 2:])


# --- fetchers --------------------------------------------------------------------------------------------------------


_GROUPLENS = "https://files.grouplens.org/datasets/"
# GroupLens publishes the MD5 sums beside the archives, as `<archive>.md5`. "latest-small" changes.
_MOVIELENS = {
    "100k": Archive(
        _GROUPLENS + "movielens/ml-100k.zip",
        "md5:0e33842e24a9c977be4e0107933c0723",
        {"u.data": "ml-100k/u.data", "u.item": "ml-100k/u.item"},
    ),
    "1m": Archive(
        _GROUPLENS + "movielens/ml-1m.zip",
        "md5:c4d9eecfca2ab87c1945afe126590906",
        {"ratings.dat": "ml-1m/ratings.dat", "movies.dat": "ml-1m/movies.dat"},
    ),
    "10m": Archive(
        _GROUPLENS + "movielens/ml-10m.zip",
        "md5:ce571fd55effeba0271552578f2648bd",
        {"ratings.dat": "ml-10M100K/ratings.dat", "movies.dat": "ml-10M100K/movies.dat"},
    ),
    "20m": Archive(
        _GROUPLENS + "movielens/ml-20m.zip",
        "md5:cd245b17a1ae2cc31bb14903e1204af3",
        {"ratings.csv": "ml-20m/ratings.csv", "movies.csv": "ml-20m/movies.csv"},
    ),
    "25m": Archive(
        _GROUPLENS + "movielens/ml-25m.zip",
        "md5:6b51fb2759a8657d3bfcbfc42b592ada",
        {"ratings.csv": "ml-25m/ratings.csv", "movies.csv": "ml-25m/movies.csv"},
    ),
    "latest-small": Archive(
        _GROUPLENS + "movielens/ml-latest-small.zip",
        None,
        {"ratings.csv": "ml-latest-small/ratings.csv", "movies.csv": "ml-latest-small/movies.csv"},
    ),
}
_PLAYS = "usersha1-artmbid-artname-plays.tsv"
_LASTFM = {
    "2k": Archive(
        _GROUPLENS + "hetrec2011/hetrec2011-lastfm-2k.zip",
        "sha256:6738f48195667ff03caaab4d32ca9a3133d8cc026b7c3cdaf6ce1010e913c59c",
        {"user_artists.dat": "user_artists.dat", "artists.dat": "artists.dat"},
    ),
    "360k": Archive(
        "http://mtg.upf.edu/static/datasets/last.fm/lastfm-dataset-360K.tar.gz",
        "md5:635e6ed3fc873aa4ba33aba0ebce02b1",
        {_PLAYS: f"lastfm-dataset-360K/{_PLAYS}"},
    ),
}


def fetch_movielens(
    variant: str = "100k", *, folder: str | Path | None = None, download: bool = True, progress: bool = False
) -> Ratings:
    """Read ratings of MovieLens, downloading them from GroupLens the first time.

    Parameters
    ----------
    variant : {"100k", "1m", "10m", "20m", "25m", "latest-small"}, default "100k"
        The name tells how many ratings. All but the last are checked against the MD5 sums that GroupLens publishes.
        GroupLens changes "latest-small" from time to time: of it only the sums within the archive can be checked, and
        figures measured on it cannot be repeated.
    folder : str or Path, optional
        Where data sets are kept, see `fastals.data.downloads.data_home`: without it `$FASTALS_DATA`, or the user's
        cache.
    download : bool, default True
        Whether to download what is not there.
    progress : bool, default False
        Show a bar while downloading.

    Returns
    -------
    Ratings
        With times. The titles, for `read_titles`, lie beside: `data_home() / "ml-100k" / "u.item"`, or `movies.dat`,
        `movies.csv`.

    Raises
    ------
    ValueError
        If the variant is unknown, or what came is not what GroupLens published.
    FileNotFoundError
        If nothing is there and `download` is False.
    OSError
        If it cannot be downloaded: the message says what to put where instead.

    Notes
    -----
    The licence of the data allows research use, not redistribution. Harper & Konstan 2015.
    """
    paths = _fetch(_MOVIELENS, f"ml-{variant}", variant, folder, download, progress)
    return read_ratings(paths[0])


def fetch_lastfm(
    variant: str = "2k", *, folder: str | Path | None = None, download: bool = True, progress: bool = False
) -> Ratings:
    """Read how often users listened to artists, downloading it the first time.

    Parameters
    ----------
    variant : {"2k", "360k"}, default "2k"
        "2k": HetRec 2011, 1,892 users (Cantador et al. 2011, from GroupLens). "360k": 359,347 users, 17.5 million
        cells, 550 MB (Celma 2010, from the Music Technology Group, Barcelona); an artist's id is its name.
        Both are checked against the sums of the archives.
    folder, download, progress
        As in `fetch_movielens`.

    Returns
    -------
    Ratings
        The values are counts of plays; no times.

    Raises
    ------
    ValueError, FileNotFoundError, OSError
        As in `fetch_movielens`.
    """
    path, *_ = _fetch(_LASTFM, f"lastfm-{variant}", variant, folder, download, progress)
    return read_ratings(path) if variant == "2k" else _read_plays(path)


def _fetch(
    archives: dict[str, Archive], name: str, variant: str, folder: str | Path | None, download: bool, progress: bool
) -> list[Path]:
    """Paths of the ratings, then of what comes with them."""
    if variant not in archives:
        raise ValueError(f"variant must be one of {', '.join(map(repr, archives))}, got {variant!r}")
    archive, place = archives[variant], data_home(folder) / name
    ratings = next(iter(archive.files))
    if (place / ratings).is_file():  # people keep the ratings without the titles
        return [place / ratings]
    return list(fetch(archive, place, download, progress).values())


def _read_plays(path: Path) -> Ratings:
    """Read `user mbid artist plays`, separated by tabs; rows without an artist's name are left out, as it is the id."""
    users, artists = array("i"), array("i")
    plays = array("f")
    user_codes: dict[str, int] = {}
    artist_codes: dict[str, int] = {}
    for number, line in _numbered_lines(path):
        try:
            user, _, artist, count = line.split("\t")
            value = float(count)
        except ValueError:
            _refuse_line(path, number, line, "'user mbid artist plays' separated by tabs")
        if artist:
            users.append(user_codes.setdefault(user, len(user_codes)))
            artists.append(artist_codes.setdefault(artist, len(artist_codes)))
            plays.append(value)
    if not users:
        raise ValueError(f"file {path} is empty: it holds no plays")
    return Ratings(
        np.frombuffer(users, np.int32),
        np.frombuffer(artists, np.int32),
        np.frombuffer(plays, np.float32),
        None,
        np.array(list(user_codes)),
        np.array(list(artist_codes)),
    )


# --- synthetic data --------------------------------------------------------------------------------------------------


def synthetic(
    n_users: int,
    n_items: int,
    n_cells: int,
    rank: int = 16,
    exponent: tuple[float, float] = (0.8, 2.0),
    random_state: Seed = 0,
) -> Ratings:
    r"""Ratings with a planted low-rank structure and power-law degrees on both sides.

    Parameters
    ----------
    n_users, n_items : int
        The shape.
    n_cells : int
        The number of ratings, from `n_users` to `n_users * n_items`.
    rank : int, default 16
        The rank of the planted structure.
    exponent : pair of float, default (0.8, 2.0)
        The exponents of the power laws of users and of items, from 0 (all alike) to 10. The default follows
        MovieLens 20M.
    random_state : int, numpy.random.Generator or None, default 0
        The seed. The same seed gives the same bits (with the same NumPy, on the same kind of machine).

    Returns
    -------
    Ratings
        Exactly `n_cells` distinct cells, at least one for every user; an unpopular item may have none. Values are the
        whole numbers 1 to 5. Times are integers that rise strictly down the rows; the rows stand in random order. Ids
        are the codes.

    Raises
    ------
    TypeError
        If a count is not an integer.
    ValueError
        If an argument is out of its range.

    Notes
    -----
    User `u` has a taste :math:`\theta_u` (Dirichlet(1/2), `rank` shares that add up to 1), item `i` an appeal
    :math:`a_i` (`rank` times Dirichlet(1), mean 1) and a popularity :math:`\pi_i`. The user picks items one after
    another without replacement, each with a probability in proportion to

    .. math:: \pi_i \, \theta_u^\top a_i ,

    a matrix of rank `rank`. The rating is :math:`\theta_u^\top a_i`, standardised over all cells, times 0.8, plus 3.5,
    plus normal noise of standard deviation 0.6, rounded and clipped to 1 to 5.

    Popularity and the users' degrees follow the Zipf-Mandelbrot law: the one at the share `x` of the ranking, in random
    order of the ids, weighs :math:`(x + q)^{-s}`, where `s` is the exponent and `q` is 1/1000 for users and 1/90 for
    items. A user's degree is 1 plus a share of the remaining cells in proportion to its weight, limited by the number
    of items; an item's degree comes from the draws. 138,000 x 27,000 with 20 million cells takes 25 s and 1 GB, with
    39 to 9,627 cells a user (median 68) and 6 to 40,520 an item (median 68).
    """
    for name, count in (("n_users", n_users), ("n_items", n_items), ("n_cells", n_cells), ("rank", rank)):
        _check_positive_integer(name, count)
    if not n_users <= n_cells <= n_users * n_items:
        raise ValueError(
            f"n_cells must be from n_users to n_users * n_items, {n_users} to {n_users * n_items}, got {n_cells}"
        )
    if len(exponent) != 2 or not all(0 <= value <= 10 for value in exponent):
        raise ValueError(f"exponent must be two numbers from 0 to 10, for users and for items, got {exponent}")
    rng = np.random.default_rng(random_state)
    degrees = rng.permutation(_share_out(_zipf_mandelbrot(n_users, exponent[0], 1 / 1000), n_cells, n_items))
    popularity = rng.permutation(_zipf_mandelbrot(n_items, exponent[1], 1 / 90))
    tastes = rng.dirichlet(np.full(rank, 0.5), size=n_users)
    appeals = rank * rng.dirichlet(np.ones(rank), size=n_items)
    cells = rng.permutation(_draw_cells(degrees, tastes, popularity[:, None] * appeals, rng))
    users, items = (codes.astype(np.int32) for codes in np.divmod(cells, n_items))
    affinity = _affinity(users, items, tastes, appeals)
    spread = affinity.std() or np.float32(1)  # rank 1: every affinity is 1
    affinity = 3.5 + 0.8 * (affinity - affinity.mean()) / spread
    affinity += 0.6 * rng.standard_normal(n_cells, dtype=np.float32)
    times = 1_000_000_000 + np.cumsum(rng.integers(1, 60, size=n_cells))
    return Ratings(
        users,
        items,
        np.clip(np.rint(affinity), 1, 5).astype(np.float32),
        times,
        np.arange(n_users),
        np.arange(n_items),
    )


def _zipf_mandelbrot(n: int, exponent: float, offset: float) -> np.ndarray:
    """Weights in descending order."""
    return ((np.arange(n) + 0.5) / n + offset) ** -exponent


def _share_out(weights: np.ndarray, n_cells: int, limit: int) -> np.ndarray:
    """Whole degrees from 1 to `limit`, beyond the first cell in proportion to the weights, that add up to `n_cells`."""
    spare, room = n_cells - weights.size, limit - 1

    def excess(scale: float) -> float:
        return np.minimum(scale * weights, room).sum() - spare

    full = (room + 1) / weights.min()
    shares = np.minimum(scipy.optimize.bisect(excess, 0, full, xtol=1e-300, rtol=1e-14, maxiter=1000) * weights, room)
    degrees = np.floor(shares).astype(np.int64)
    # Largest remainders: a share at the limit has none, and so never passes it.
    rest = spare - int(degrees.sum())
    degrees[np.argsort(degrees - shares, kind="stable")[:rest]] += 1
    return degrees + 1


def _draw_cells(degrees: np.ndarray, tastes: np.ndarray, appeals: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw each user's items without replacement, with probabilities in proportion to `tastes @ appeals.T`.

    Repeated draws with replacement that drop what the user has already are draws without replacement. They are cheap
    until little is left to a user; from there an exponential race over all remaining items gives the same
    distribution (Efraimidis and Spirakis 2006).

    Returns
    -------
    int64 array
        `user * n_items + item` of each cell, ascending.
    """
    n_users, n_items = degrees.size, appeals.shape[0]
    by_topic = np.ascontiguousarray(appeals.T)
    topic_shares = tastes * by_topic.sum(axis=1)
    topic_shares /= topic_shares.sum(axis=1, keepdims=True)
    cumulative = np.cumsum(by_topic, axis=1)
    cumulative /= cumulative[:, -1:]
    cells = np.empty(0, dtype=np.int64)
    held = np.zeros(n_users, dtype=np.int64)
    for _ in range(_DRAW_ROUNDS):
        per_topic = rng.multinomial(degrees - held, topic_shares).T
        parts = [cells]
        for counts, distribution in zip(per_topic, cumulative, strict=True):
            users = np.repeat(np.arange(n_users), counts)
            parts.append(users * n_items + np.searchsorted(distribution, rng.random(users.size), side="right"))
        # A sort, since the hash table of np.unique takes 26 s for 20 million cells where this takes 0.4 s.
        drawn = np.sort(np.concatenate(parts))
        cells = drawn[np.diff(drawn, prepend=-1) > 0]
        held = np.bincount(cells // n_items, minlength=n_users)
    ends = np.cumsum(held)
    raced = []
    for user in np.flatnonzero(held < degrees):
        chances = np.einsum("z,zi->i", tastes[user], by_topic)
        finish = rng.standard_exponential(n_items) / chances
        finish[cells[ends[user] - held[user] : ends[user]] - user * n_items] = np.inf
        missing = degrees[user] - held[user]
        raced.append(user * n_items + np.argpartition(finish, missing - 1)[:missing])
    return np.sort(np.concatenate([cells, *raced]))


def _affinity(users: np.ndarray, items: np.ndarray, tastes: np.ndarray, appeals: np.ndarray) -> np.ndarray:
    """Compute the inner product of each cell's two factors, float32."""
    tastes, appeals = tastes.astype(np.float32), appeals.astype(np.float32)
    result = np.empty(users.size, dtype=np.float32)
    for start in range(0, users.size, _AFFINITY_ROWS):
        rows = slice(start, start + _AFFINITY_ROWS)
        np.einsum("nz,nz->n", tastes[users[rows]], appeals[items[rows]], out=result[rows])
    return result


# --- splits ----------------------------------------------------------------------------------------------------------


def split_random(ratings: Ratings, test_share: float = 0.2, random_state: Seed = None) -> tuple[Ratings, Ratings]:
    """Hold out a share of the rows, drawn at random.

    Parameters
    ----------
    ratings : Ratings
        What to split.
    test_share : float, default 0.2
        The share of the rows to hold out, between 0 and 1.
    random_state : int, numpy.random.Generator or None
        The seed.

    Returns
    -------
    train, test : Ratings
        The rows in the order of `ratings`, `round(test_share * n)` of them in `test`; the id tables are those of
        `ratings`.

    Raises
    ------
    ValueError
        If the share does not lie between 0 and 1, or leaves one side without rows.
    """
    n_test = _test_size(ratings, test_share)
    order = np.random.default_rng(random_state).permutation(len(ratings))
    return _part(ratings, order[:n_test])


def split_by_time(ratings: Ratings, test_share: float = 0.2) -> tuple[Ratings, Ratings]:
    """Hold out the latest share of the rows.

    Parameters
    ----------
    ratings : Ratings
        What to split, with times.
    test_share : float, default 0.2
        The share of the rows to hold out, between 0 and 1.

    Returns
    -------
    train, test : Ratings
        The rows in the order of `ratings`, `round(test_share * n)` of them in `test`; the id tables are those of
        `ratings`. Of rows with the same time, the later in `ratings` counts as the later.

    Raises
    ------
    ValueError
        If the share does not lie between 0 and 1 or leaves one side without rows, or the ratings have no times.
    """
    n_test = _test_size(ratings, test_share)
    order = np.argsort(_times(ratings), kind="stable")
    return _part(ratings, order[len(ratings) - n_test :])


def split_leave_last_out(
    ratings: Ratings, n: int = 1, ties: str = "file", random_state: Seed = None
) -> tuple[Ratings, Ratings]:
    """Hold out the last rows of every user.

    Parameters
    ----------
    ratings : Ratings
        What to split, with times.
    n : int, default 1
        How many rows of each user to hold out.
    ties : {"file", "first", "item", "item_descending", "random"}, default "file"
        Which of a user's rows with the same time counts as the last: the later in `ratings`, the earlier in
        `ratings`, the one with the highest item code, the one with the lowest, or any. Rows that this leaves equal
        stand in their order in `ratings`.
    random_state : int, numpy.random.Generator or None
        The seed for `ties="random"`.

    Returns
    -------
    train, test : Ratings
        The rows in the order of `ratings`; the id tables are those of `ratings`. A user with more than `n` rows has
        exactly `n` in `test`. A user with `n` rows or fewer has all in `train`, since nothing could be learned about
        it otherwise, and should not count in the evaluation.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If the ratings have no times, `n` is below 1, `ties` is unknown, or no user has more than `n` rows.

    Notes
    -----
    Ties decide much: MovieLens users often enter many ratings in the same second. On MovieLens 100K (ratings of 4 and
    5, one held out) the hit rate at 10 of plain popularity lies between 0.059 and 0.100, according to the ties. State
    which rule you used.
    """
    times = _times(ratings)
    _check_positive_integer("n", n)
    rows = np.arange(len(ratings))
    if ties == "file":
        tie_break = rows
    elif ties == "first":
        tie_break = -rows
    elif ties == "item":
        tie_break = ratings.items
    elif ties == "item_descending":
        tie_break = -ratings.items
    elif ties == "random":
        tie_break = np.random.default_rng(random_state).permutation(rows)
    else:
        raise ValueError(f"ties must be 'file', 'first', 'item', 'item_descending' or 'random', got {ties!r}")
    counts = np.bincount(ratings.users, minlength=ratings.shape[0])
    if counts.max(initial=0) <= n:
        raise ValueError(f"no user has more than n = {n} rows, so none can be held out; choose a smaller n")
    order = np.lexsort((tie_break, times, ratings.users))
    users = ratings.users[order]
    later_rows = np.cumsum(counts)[users] - 1 - rows
    return _part(ratings, order[(later_rows < n) & (counts[users] > n)])


class NewUsers(NamedTuple):
    """Users held out entirely: what is learned from, what new users give, and what else they have.

    Attributes
    ----------
    train, given, test : Ratings
        The id tables are those of the ratings that were split; a user has rows in `train`, or in the other two.
    """

    train: Ratings
    given: Ratings
    test: Ratings


def split_new_users(
    ratings: Ratings, test_share: float = 0.1, given_share: float = 0.8, random_state: Seed = None
) -> NewUsers:
    """Hold out users entirely, and a part of their rows again: strong generalisation (Liang et al. 2018).

    Parameters
    ----------
    ratings : Ratings
        What to split.
    test_share : float, default 0.1
        The share of the users to hold out, between 0 and 1.
    given_share : float, default 0.8
        Of a held-out user's n rows `round(given_share * n)` are given, but always one at least, and one is left.
    random_state : int, numpy.random.Generator or None
        The seed.

    Returns
    -------
    NewUsers
        Rows in the order of `ratings`. Held-out rows of items without a row in `train`, about which nothing can be
        learned, are left out; so are then users with fewer than two rows.

    Raises
    ------
    ValueError
        If a share does not lie between 0 and 1, or a part is left without rows.
    """
    for name, share in (("test_share", test_share), ("given_share", given_share)):
        if not 0 < share < 1:
            raise ValueError(f"{name} must lie between 0 and 1, got {share}")
    rng = np.random.default_rng(random_state)
    present = np.unique(ratings.users)
    new = rng.permutation(present)[: round(test_share * present.size)]
    held_out = np.isin(ratings.users, new)
    known = np.bincount(ratings.items[~held_out], minlength=ratings.shape[1]) > 0
    rows = np.flatnonzero(held_out & known[ratings.items])
    counts = np.bincount(ratings.users[rows], minlength=ratings.shape[0])
    rows = rows[counts[ratings.users[rows]] >= 2]
    if held_out.all() or not rows.size:
        raise ValueError(
            f"test_share = {test_share} of {present.size} users leaves a part without rows: new users need two rows of "
            "items that others have"
        )
    order = rows[np.lexsort((rng.random(rows.size), ratings.users[rows]))]
    _, sizes = np.unique(ratings.users[order], return_counts=True)
    n_given = np.clip(np.round(given_share * sizes).astype(np.int64), 1, sizes - 1)
    nth = np.arange(order.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    is_given = nth < np.repeat(n_given, sizes)
    return NewUsers(
        ratings.select(~held_out), ratings.select(np.sort(order[is_given])), ratings.select(np.sort(order[~is_given]))
    )


def _test_size(ratings: Ratings, test_share: float) -> int:
    if not 0 < test_share < 1:
        raise ValueError(f"test_share must lie between 0 and 1, got {test_share}")
    n_test = round(test_share * len(ratings))
    if not 0 < n_test < len(ratings):
        raise ValueError(
            f"test_share = {test_share} of {len(ratings)} rows is {n_test}: both sides of a split need at least one row"
        )
    return n_test


def _times(ratings: Ratings) -> np.ndarray:
    if ratings.times is None:
        raise ValueError("ratings have no times, which this split needs; read a file with times or use split_random")
    return ratings.times


def _part(ratings: Ratings, test_rows: np.ndarray) -> tuple[Ratings, Ratings]:
    in_test = np.zeros(len(ratings), dtype=bool)
    in_test[test_rows] = True
    return ratings.select(~in_test), ratings.select(in_test)


def _check_positive_integer(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
