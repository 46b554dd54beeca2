"""The main job: three tables about a file of interactions, ten recommendations, and what to do next.

`python -m fastals` prints them. The functions here return tables as data and print nothing.
"""

from __future__ import annotations

import csv
import os
import textwrap
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .data.ids import Ids
from .datasets import Interactions, read_ratings, read_titles, split_leave_last_out, split_random, synthetic
from .evaluation import GlobalMean, ItemBias, Popularity, Random, evaluate, evaluate_ratings
from .models import ExplicitALS, ImplicitALS

# Rendle et al. 2022 search this range of weights and regularizations; these serve well on most data sets.
IMPLICIT: dict[str, Any] = {"unobserved_weight": 0.1, "regularization": 0.03, "regularization_exponent": 1.0}
TEST_SHARE = 0.2
FEWEST = 10  # liked interactions: with less there is nothing to measure
GREATEST_RATING = 100.0  # values beyond this are counts
ROLES = ("users", "items", "values", "times")  # of the columns, in their order
GREATEST_FLOAT = float(np.finfo(np.float32).max)
WIDTH = 100  # of printed notes
TITLE_FILES = ("u.item", "movies.dat", "movies.csv")
SEPARATORS = ("\t", ";", ",")  # and white space where a line has none of them
KNOWN_HEADERS = {"userId,movieId,rating,timestamp": "ratings.csv", "userID\tartistID\tweight": "lastfm"}

Cell: TypeAlias = str | int | float | None


class Table(NamedTuple):
    """A table as data: `text` gives it as text."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]]
    note: str


class Data(NamedTuple):
    """Interactions, and which of them count as liked."""

    source: str
    ratings: Interactions  # the last line of each user and item
    liked: Interactions
    rule: str  # how the columns were read and what counts as liked, in sentences
    titles: dict[int, str]

    @property
    def user_ids(self) -> Ids:
        """Ids of the users."""
        assert self.ratings.user_ids is not None
        return self.ratings.user_ids

    @property
    def item_ids(self) -> Ids:
        """Ids of the items."""
        assert self.ratings.item_ids is not None
        return self.ratings.item_ids


# --- data ------------------------------------------------------------------------------------------------------------


def find_data(path: str | Path | None = None) -> Data:
    """Read a file, or MovieLens 100K where `FASTALS_DATA` leads to it, or make synthetic ratings.

    The file has a line an interaction: user, item and, where there are any, value and time. Titles come from `u.item`,
    `movies.dat` or `movies.csv` beside it.
    """
    if path is None:
        folder = os.environ.get("FASTALS_DATA")
        found = Path(folder, "ml-100k", "u.data") if folder else None
        if found is None or not found.is_file():
            why = f"there is no {found}" if found else "no file is given and FASTALS_DATA is not set"
            return _prepare(f"synthetic ratings ({why})", synthetic(943, 1682, 100_000), {})
        path = found
    path = Path(path)
    try:
        ratings, columns = _read(path)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"file {path}: {error}") from None
    titles = next((file for name in TITLE_FILES if (file := path.with_name(name)).is_file() and file != path), None)
    return _prepare(str(path), ratings, {} if titles is None else read_titles(titles), columns)


def _prepare(source: str, ratings: Interactions, titles: dict[int, str], columns: str = "") -> Data:
    """Keep the last line of each user and item, and find out what counts as liked."""
    cells = ratings.users.astype(np.int64) * max(1, ratings.shape[1]) + ratings.items
    _, from_the_end = np.unique(cells[::-1], return_index=True)
    ratings = ratings.select(np.sort(len(ratings) - 1 - from_the_end))
    if _are_ratings(ratings):
        mean = ratings.values.mean(dtype=np.float64)
        liked = ratings.select(ratings.values >= mean)
        rule = f"Items rated {liked.values.min():g} or higher count as liked; the mean rating is {mean:.2f}."
    else:
        liked = ratings.select(ratings.values > 0)
        rule = "All items with a value above 0 count as liked."
    if len(liked) < FEWEST or np.bincount(liked.users).max() < 2:
        raise ValueError(
            f"{source} is too small for the tables: they need at least {FEWEST} interactions that count as liked and "
            f"a user with two of them, got {len(liked):,} of {np.unique(liked.users).size:,} users. {rule}"
        )
    return Data(source, ratings, liked, f"{columns} {rule}".strip(), titles)


def _are_ratings(ratings: Interactions) -> bool:
    """Whether the values are ratings and not counts: not all alike, and none too large."""
    values = ratings.values
    return bool(len(values) and values.min() < values.max() and np.abs(values).max() <= GREATEST_RATING)


def _read(path: Path) -> tuple[Interactions, str]:
    """Read a file by the layout that its first lines show; return how its columns were taken."""
    if not path.is_file():
        return read_ratings(path), ""  # which says what is wrong with the path
    try:
        with path.open(encoding="utf-8-sig") as stream:
            head = [line.rstrip("\r\n") for line in islice(filter(str.strip, stream), 2)]
    except UnicodeDecodeError:
        return read_ratings(path), ""  # which names the line
    first, second = (*head, "", "")[:2]
    separator = next((mark for mark in SEPARATORS if mark in first), None)
    fields, below = (_fields(line, separator) for line in (first, second))
    layout = "ratings.dat" if "::" in first else KNOWN_HEADERS.get(first)
    if layout or not head:
        return read_ratings(path, layout), ""
    if len(fields) < 2:
        raise ValueError(
            f"file {path}, line 1: expected a user and an item separated by a tab, comma, semicolon or space, "
            f"got {first!r:.100}"
        )
    has_names = _number(fields[2]) is None if len(fields) > 2 else not _has_digit(first) and all(map(_has_digit, below))
    if separator in (None, "\t") and len(first.split()) == len(fields) <= 4 and not has_names:
        return read_ratings(path, "u.data" if path.name == "u.data" and len(fields) == 4 else "text"), ""
    return _read_table(path, separator, fields if has_names else None, len(fields))


def _read_table(path: Path, separator: str | None, names: list[str] | None, width: int) -> tuple[Interactions, str]:
    """Read a table by the position of its columns: user, item, value, time, and others, which are left out."""
    columns: list[list[Any]] = [[] for _ in range(min(width, 4))]
    with path.open(newline="", encoding="utf-8-sig") as stream:
        rows = csv.reader(stream, delimiter=separator) if separator else map(str.split, stream)
        numbered = ((number, row) for number, row in enumerate(rows, start=1) if row)
        for number, row in islice(numbered, int(names is not None), None):
            if len(row) != width:
                raise ValueError(f"file {path}, line {number}: expected {width} fields as in line 1, got {len(row)}")
            number_in_row = _number(row[2]) if width > 2 else 1.0
            if number_in_row is None or not abs(number_in_row) <= GREATEST_FLOAT:
                raise ValueError(f"file {path}, line {number}: the value must be a finite number, got {row[2]!r:.100}")
            for column, field in zip(columns, row, strict=False):
                column.append(field.strip())
    if not columns[0]:
        raise ValueError(f"file {path} holds no interactions below the names of its columns")
    values = np.array(columns[2], np.float32) if width > 2 else None
    times = _times(columns[3]) if width > 3 else None
    labels = names or [f"column {place}" for place in range(1, width + 1)]
    n_used = min(width, 3 if times is None else 4)
    used = [f"{label} as {role}" for label, role in zip(labels[:n_used], ROLES, strict=False)] if names else []
    said = [f"{what}: {', '.join(some)}." for what, some in (("Columns", used), ("Left out", labels[n_used:])) if some]
    users, items = map(_ids, columns[:2])
    return Interactions.from_triplets(users, items, values, times), " ".join(said)


def _fields(line: str, separator: str | None) -> list[str]:
    if separator is None:
        return line.split()
    return [field.strip() for row in csv.reader([line], delimiter=separator) for field in row]


def _number(field: str) -> float | None:
    try:
        return float(field)
    except ValueError:
        return None


def _has_digit(field: str) -> bool:
    return any(map(str.isdigit, field))


def _ids(column: list[str]) -> np.ndarray:
    """Return ids as numbers where all are, else as strings."""
    try:
        return np.array([int(field) for field in column], np.int64)
    except (ValueError, OverflowError):
        return np.array(column)


def _times(column: list[str]) -> np.ndarray | None:
    """Return numbers or dates as integers that order them, None where a field is neither."""
    for dtype in ("int64", "float64", "datetime64[s]"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # NumPy converts times with a zone, and warns
                times = np.array(column, dtype)
        except (ValueError, OverflowError):
            continue
        if dtype == "float64" and not (np.abs(times) < 2.0**63).all():  # NaN too
            return None
        return None if dtype == "datetime64[s]" and np.isnat(times).any() else times.astype(np.int64)
    return None


# --- tables ----------------------------------------------------------------------------------------------------------


def tables(data: Data) -> Iterator[Table]:
    """Measure the models, table by table."""
    yield ranking(data)
    if _are_ratings(data.ratings):
        yield rating_errors(data)


def ranking(data: Data) -> Table:
    """Compare recommendations on held-out items with those of popularity and of chance."""
    train, test = split(data)
    how = (
        f"One of every {round(1 / TEST_SHARE)} liked interactions was held out, drawn at random"
        if data.liked.times is None
        else "The last liked item of each user was held out"
    )
    R, held_out = ones(train), ones(test)
    rows: list[tuple[Cell, ...]] = []
    models: dict[str, Any] = {
        "Random": Random(random_state=0),
        "Popularity": Popularity(),
        "ImplicitALS": ImplicitALS(**IMPLICIT, random_state=0),
    }
    for name, model in models.items():
        found = evaluate(model.fit(R), held_out, 10)
        row: list[Cell] = [name]
        for values in found.per_user.values():
            row += [float(values.mean()), float(values.std() / np.sqrt(len(values)))]
        rows.append(tuple(row))
    return Table(
        "ranking",
        "Do ten recommendations contain what users went on to like?",
        ("model", "Recall@10", "+-", "NDCG@10", "+-"),
        rows,
        f"{how}, and the models learned from the rest. Recall@10 is the share of the held-out items among a user's ten "
        f"recommendations; NDCG@10 counts those near the top for more. Averages over {len(found.users):,} users; +- is "
        "the standard error of the average.",
    )


def split(data: Data) -> tuple[Interactions, Interactions]:
    """Hold out the last liked item of each user, or a share at random where there are no times."""
    if data.liked.times is None:
        return split_random(data.liked, TEST_SHARE, random_state=0)
    return split_leave_last_out(data.liked)


def rating_errors(data: Data) -> Table:
    """Compare predicted ratings with those of two simple baselines."""
    train, test = split_random(data.ratings, TEST_SHARE, random_state=0)
    rows: list[tuple[Cell, ...]] = []
    models: dict[str, Any] = {
        "Mean of all ratings": GlobalMean(),
        "Mean of each item": ItemBias(),
        "ExplicitALS": ExplicitALS(random_state=0),
    }
    for name, model in models.items():
        errors = evaluate_ratings(model.fit(train), test)
        rows.append((name, errors["rmse"], errors["mae"]))
    values = data.ratings.values
    return Table(
        "ratings",
        "How far are predicted ratings from the true ones?",
        ("model", "RMSE", "MAE"),
        rows,
        f"{test.nnz:,} ratings drawn at random were held out, and the models learned from the other {train.nnz:,}. "
        "RMSE is the root of the mean squared error and MAE the mean absolute error, on ratings from "
        f"{values.min():g} to {values.max():g}; smaller is better.",
    )


def recommender(data: Data) -> ImplicitALS:
    """Return a model fitted on all liked interactions, with the ids of the file."""
    return ImplicitALS(**IMPLICIT, random_state=0).fit(ones(data.liked))


def ones(ratings: Interactions) -> Interactions:
    """Return interactions with ids that store 1 for each rating."""
    matrix = ratings.matrix(np.ones(len(ratings)))
    return Interactions(matrix, user_ids=ratings.user_ids, item_ids=ratings.item_ids)


def recommendations(data: Data, model: ImplicitALS, user: Any = None) -> Table:
    """List ten items for one user, named by the id in the file; by default for `first_user`."""
    liked = data.liked
    user = first_user(data) if user is None else user
    ids, scores = model.recommend(user, 10)
    known = np.isfinite(scores)
    rows: list[tuple[Cell, ...]] = [
        (rank, title(data, item), float(score))
        for rank, (item, score) in enumerate(zip(ids[known], scores[known], strict=True), start=1)
    ]
    has = liked.items[data.user_ids[liked.users] == user]
    some = "; ".join(title(data, item) for item in data.item_ids[has[-5:]])
    return Table(
        "recommendations",
        f"Ten recommendations for user {user}",
        ("", "item", "score"),
        rows,
        f"This user liked {len(has)} items, for example: {some}."
        + (
            ""
            if data.titles
            else " Titles are shown where a file u.item, movies.dat or movies.csv lies beside the data."
        ),
    )


def first_user(data: Data) -> Any:
    """Return the id of the first user who liked something."""
    return data.user_ids[int(data.liked.users.min())]


def title(data: Data, item: Any) -> str:
    """Return the title of an item, named by its id in the file, or the id where there is none."""
    return data.titles.get(item) or f"item {item}"


def cell_text(cell: Cell) -> str:
    """Return a cell as it is printed: four decimals, or nothing for None."""
    return "" if cell is None else f"{cell:.4f}" if isinstance(cell, float) else str(cell)


def text(table: Table) -> str:
    """Return a table as aligned text with its title above and its note below."""
    lines = [table.columns, *(tuple(map(cell_text, row)) for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numeric = [not any(isinstance(row[place], str) for row in table.rows) for place in range(len(table.columns))]
    aligned = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    ]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([table.title, "", aligned[0], rule, *aligned[1:], "", textwrap.fill(table.note, WIDTH)])
