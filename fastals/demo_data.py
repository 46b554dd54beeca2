"""What the main job works on: a file of interactions whose columns it finds, MovieLens 100K, or synthetic ratings."""

from __future__ import annotations

import csv
import os
import re
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .data.ids import Ids
from .data.sources import Paths
from .data.tables import last_of_each, read_table
from .datasets import Interactions, read_ratings, read_titles, synthetic

FEWEST = 10  # liked interactions: with less there is nothing to measure
GREATEST_RATING = 100.0  # values beyond this are counts
UPPER = 0.75  # where on the scale liked begins: at 4 of 1 to 5 and of half stars, at 3 of 1 to 3, at 1 of 0 and 1
ENOUGH = 0.1  # share of the ratings: counts of 1 to 50, say, have almost none in the upper quarter
ROLES = ("user", "item", "value", "time")  # of the columns, in their order
TITLE_FILES = ("u.item", "movies.dat", "movies.csv")
SEPARATORS = ("\t", ";", ",")  # and white space where a line has none of them
KNOWN_HEADERS = {"userId,movieId,rating,timestamp": "ratings.csv", "userID\tartistID\tweight": "lastfm"}
TYPED = re.compile(r"\.(parquet|pq|json|jsonl|ndjson)(\.gz|\.zst)?$|^\s*(select|from|with)\s", re.IGNORECASE)
DATE = re.compile(r"\d{4}-\d\d-\d\d")
TIME_NAME = re.compile(r"(time|timestamp|date|day|_at)$", re.IGNORECASE)  # of a third column of numbers
OTHERWISE = "where other columns are meant, name them: user=... item=... value=... time=..."


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


def find_data(path: str | Path | None = None, columns: dict[str, Any] | None = None) -> Data:
    """Read a file, or MovieLens 100K where `FASTALS_DATA` leads to it, or make synthetic ratings.

    Parameters
    ----------
    path : str or Path, optional
        The file has a line an interaction: user, item and, where there are any, value and time. Titles come from
        `u.item`, `movies.dat` or `movies.csv` beside it.
    columns : dict of str to str, optional
        Names of columns by what they are, and `where`, as `read_table` takes them: then `path` is any file that it
        reads.
    """
    if path is None:
        folder = os.environ.get("FASTALS_DATA")
        found = Path(folder, "ml-100k", "u.data") if folder else None
        if found is None or not found.is_file():
            why = f"there is no {found}" if found else "no file is given and FASTALS_DATA is not set"
            return _prepare(f"synthetic ratings ({why})", synthetic(943, 1682, 100_000), {})
        path = found
    if columns:
        for side in ("user", "item"):
            if side not in columns:
                raise ValueError(f"{side} is missing: name its column too, {side}=...")
        ratings, said = read_table(str(path), **columns), ""
    elif TYPED.search(str(path)):
        raise ValueError(f"{path} has named columns: say which of them to read, user=... item=... value=... time=...")
    else:
        try:
            ratings, said = _read(Path(path))
        except (csv.Error, ValueError) as error:
            raise ValueError(str(error) if str(path) in str(error) else f"file {path}: {error}") from None
    beside = (Path(path).with_name(name) for name in TITLE_FILES)
    titles = next((file for file in beside if file.is_file() and file != Path(path)), None)
    return _prepare(str(path), ratings, {} if titles is None else read_titles(titles), said)


def are_ratings(ratings: Interactions) -> bool:
    """Tell whether the values are ratings and not counts: not all alike, and none too large."""
    values = ratings.values
    return bool(len(values) and values.min() < values.max() and np.abs(values).max() <= GREATEST_RATING)


def least_liked(values: np.ndarray) -> tuple[float, str]:
    """Return the least rating that counts as liked, and why; the lowest of all never does.

    It follows from the ends of the scale. From the mean it would follow whole steps of the scale: a few ratings more or
    less move a mean from 2.97 to 3.02.
    """
    scale, counts = np.unique(values.astype(np.float64), return_counts=True)
    share = counts[::-1].cumsum()[::-1] / len(values)  # of the ratings that are as high as this one or higher
    low, size = scale[0], scale[-1] - scale[0]
    upper = low + (UPPER - 1e-6) * size  # less rounding: float32 has no 0.8 of 0 to 1
    least = scale[1:][scale[1:] >= min(upper, scale[share >= ENOUGH][-1])][0]
    why = f"the upper quarter of the scale from {low:g} to {scale[-1]:g}"
    return float(least), why if least >= upper else f"less than a tenth of the ratings are in {why}"


def _prepare(source: str, ratings: Interactions, titles: dict[int, str], columns: str = "") -> Data:
    """Keep the last line of each user and item, and find out what counts as liked."""
    ratings = ratings.select(last_of_each(ratings.users, ratings.items, None))
    if are_ratings(ratings):
        least, why = least_liked(ratings.values)
        liked = ratings.select(ratings.values >= least)
        rule = f"Items rated {least:g} or higher count as liked: {why}."
    else:
        liked = ratings.select(ratings.values > 0)
        rule = "All items with a value above 0 count as liked."
    if len(liked) < FEWEST or np.bincount(liked.users).max() < 2:
        small = (
            f"{source} is too small for the tables: they need at least {FEWEST} interactions that count as liked and "
            f"a user with two of them, got {len(liked):,} of {np.unique(liked.users).size:,} users."
        )
        otherwise = f"{OTHERWISE[0].upper()}{OTHERWISE[1:]}" if columns.startswith("Columns: ") else ""
        raise ValueError(" ".join(filter(None, (small, columns, rule, otherwise))))
    return Data(source, ratings, liked, f"{columns} {rule}".strip(), titles)


def _read(path: Path) -> tuple[Interactions, str]:
    """Read a file by the layout that its first lines show; return how its columns were taken."""
    if not path.is_file():
        return read_ratings(path), ""  # which says what is wrong with the path
    try:
        with path.open(encoding="utf-8-sig") as stream:
            first, second, *_ = [*(line.rstrip("\r\n") for line in islice(filter(str.strip, stream), 2)), "", ""]
    except UnicodeDecodeError:
        return read_ratings(path), ""  # which names the line
    separator = next((mark for mark in SEPARATORS if mark in first), None)
    fields, below = (_fields(line, separator) for line in (first, second))
    layout = "ratings.dat" if "::" in first else KNOWN_HEADERS.get(first)
    if layout or not first:
        return read_ratings(path, layout), ""
    if len(fields) < 2:
        raise ValueError(
            f"file {path}, line 1: expected a user and an item separated by a tab, comma, semicolon or space, "
            f"got {first!r:.100}"
        )
    has_names = not _is_time(fields[2]) if len(fields) > 2 else not _has_digit(first) and all(map(_has_digit, below))
    example = below if has_names else fields
    roles = _roles(fields if has_names else [], example)
    if separator in (None, "\t") and len(first.split()) == len(fields) <= 4 and not has_names and roles == ROLES:
        return read_ratings(path, "u.data" if path.name == "u.data" and len(fields) == 4 else "text"), ""
    n_used = min(len(fields), 4 if len(example) > 3 and _is_time(example[3]) else 3)
    labels = fields if has_names else [f"column {place}" for place in range(1, len(fields) + 1)]
    used = [f"{label} as {role}s" for label, role in zip(labels[:n_used], roles, strict=False)]
    used = used if has_names or roles != ROLES else []
    said = [f"{what}: {', '.join(some)}." for what, some in (("Columns", used), ("Left out", labels[n_used:])) if some]
    taken: dict[str, Any] = dict(zip(roles[:n_used], fields if has_names else range(n_used), strict=False))
    files: Paths = [path]  # a list: its name may look like a pattern or a query
    try:
        return read_table(files, **taken, delimiter=separator or " ", header=has_names), " ".join(said)
    except ValueError as error:
        raise ValueError(f"{error}; {OTHERWISE}" if has_names else str(error)) from None


def _roles(names: list[str], example: list[str]) -> tuple[str, ...]:
    """Return what the columns are in their order: the third one has times if its name or its entries say so."""
    third = example[2] if len(example) > 2 else ""
    named = len(names) > 2 and TIME_NAME.search(names[2]) is not None and _is_number(third)
    return ("user", "item", "time", "value") if named or DATE.match(third) else ROLES


def _fields(line: str, separator: str | None) -> list[str]:
    if separator is None:
        return line.split()
    return [field.strip() for row in csv.reader([line], delimiter=separator) for field in row]


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _is_time(field: str) -> bool:
    return _is_number(field) or DATE.match(field) is not None


def _has_digit(field: str) -> bool:
    return any(map(str.isdigit, field))
