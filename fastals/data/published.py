"""Readers of what is published beside ratings: titles of films, and held-out items with given negatives."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .readers import check_lines, existing, integer, numbered_lines, refuse_encoding, refuse_line


def read_titles(path: str | Path) -> dict[int, str]:
    r"""Read the titles of MovieLens films.

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
    FileNotFoundError, ValueError
        As in `read_ratings`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "u.item")
    >>> _ = path.write_text("1|Toy Story (1995)|01-Jan-1995\n")
    >>> read_titles(path)
    {1: 'Toy Story (1995)'}
    """
    path = existing(path)
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
            titles[integer(fields[0])] = fields[1]
        except (ValueError, IndexError):
            raise ValueError(
                f"file {path}, line {number}: expected '{expected}' with an integer id, got fields {fields!r:.100}"
            ) from None
    return titles


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of `movies.csv` below its header, each with its line number."""
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = next(reader)
        if header != ["movieId", "title", "genres"]:
            raise ValueError(
                f"file {path}, line 1: expected the header 'movieId,title,genres', got {','.join(header)!r:.100}"
            )
        yield from ((reader.line_num, row) for row in reader if row)
    except csv.Error as error:
        raise ValueError(f"file {path}, line {reader.line_num}: not a CSV row ({error})") from None


class SampledCases(NamedTuple):
    """Held-out items with the items among which to find them, as `evaluation.evaluate_sampled` takes them.

    Ids are as in the file, int64: case c holds out ``items[c]`` of ``users[c]`` among ``negatives[c]``.

    Examples
    --------
    >>> import numpy as np
    >>> SampledCases(users=np.array([7]), items=np.array([1]), negatives=np.array([[2, 3]])).negatives.shape
    (1, 2)
    """

    users: np.ndarray
    items: np.ndarray
    negatives: np.ndarray


def read_negatives(path: str | Path) -> SampledCases:
    r"""Read a file of held-out items with given negatives, as He et al. (2017) publish them: `ml-1m.test.negative`.

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
    FileNotFoundError, ValueError
        As in `read_ratings`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "ml.test.negative")
    >>> _ = path.write_text("(0,25)\t1064\t174\n")
    >>> read_negatives(path).negatives
    array([[1064,  174]])
    """
    path = existing(path)
    check_lines(path)
    try:
        cases = _cases(path)
    except UnicodeDecodeError:
        refuse_encoding(path)
    if not cases:
        raise ValueError(f"file {path} is empty: it holds no cases")
    table = np.array(cases, dtype=np.int64)
    return SampledCases(table[:, 0], table[:, 1], table[:, 2:])


def _cases(path: Path) -> list[list[int]]:
    """Return user, item and negatives of each line."""
    cases: list[list[int]] = []
    with numbered_lines(path) as lines:
        for number, line in lines:
            head, *negatives = line.split("\t")
            try:
                if not (head.startswith("(") and head.endswith(")")):
                    raise ValueError
                user, item = map(integer, head[1:-1].split(","))
                cases.append([user, item, *map(integer, negatives)])
            except ValueError:
                refuse_line(path, number, line, "'(user,item)' and items separated by tabs")
            if len(cases[-1]) != len(cases[0]) or not negatives:
                refuse_line(path, number, line, f"{max(len(cases[0]) - 2, 1)} negatives as in every line")
    return cases
