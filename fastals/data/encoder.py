"""Tables of features as matrices: numbers as they are, categories one-hot, lists of tags multi-hot."""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from ..validation import level_of_caller
from .ids import Ids, as_id_array
from .types import column_names, is_frame, read_columns

__all__ = ["FeatureEncoder"]

KINDS = NUMBER, CATEGORY, TAGS = ("number", "category", "tags")
HOLDS = {NUMBER: "numbers", CATEGORY: "text", TAGS: "lists"}
TIMES = (datetime.date, datetime.timedelta, np.datetime64, np.timedelta64)
LISTS = (list, tuple, set, frozenset, np.ndarray)


class Column(NamedTuple):
    """A column of the table that was fitted."""

    label: str
    kind: str
    values: tuple[str, ...]  # of a category or of tags, in ascending order; each is a feature


class FeatureEncoder:
    """Turn a table with a row for each user, or each item, into a matrix of features.

    Columns of numbers and of True and False stay what they are. A column of text, or of categories, becomes a feature
    of 0 and 1 for each value; a column of lists (tags, genres) one for each entry. What is missing is 0.

    Parameters
    ----------
    key : str, optional
        Name of the column with the ids of the users or items, which is no feature.

    Attributes
    ----------
    feature_names_ : list of str
        Name of each feature: that of its column, or `column=value`.

    Examples
    --------
    >>> import fastals
    >>> films = {"film": ["Alien", "Heat"], "year": [1979, 1995], "genres": [["horror", "scifi"], ["crime"]]}
    >>> encoder = fastals.FeatureEncoder(key="film").fit(films)
    >>> encoder.feature_names_
    ['year', 'genres=crime', 'genres=horror', 'genres=scifi']
    >>> encoder.transform({"film": ["Up"], "year": [2009], "genres": [["crime"]]}).toarray().tolist()
    [[2009.0, 1.0, 0.0, 0.0]]
    """

    def __init__(self, key: str | None = None) -> None:
        self.key = key

    _columns: tuple[Column, ...]

    def fit(self, frame: Any) -> FeatureEncoder:
        """Learn the columns and their values.

        Parameters
        ----------
        frame : table of pandas, polars or Arrow, or dict of arrays

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            A column has neither numbers nor text nor lists, or both.

        Examples
        --------
        >>> import fastals
        >>> fastals.FeatureEncoder().fit({"age": [31, 45], "city": ["Bonn", "Lyon"]}).feature_names_
        ['age', 'city=Bonn', 'city=Lyon']
        """
        if not is_frame(frame):
            raise TypeError(f"frame must be a table with named columns, got {type(frame).__name__}")
        labels = [label for label in column_names(frame) or [] if label != self.key]
        found = []
        for label, given in _arrays(frame, {str(label): label for label in labels}).items():
            kind, values = _kind(label, given, _is_category(frame, label))
            named = () if kind == NUMBER else tuple(sorted(set().union(*values)))
            found.append(Column(label, kind, named))
        if not found:
            raise ValueError(f"frame has no column beside {self.key!r}: at least one feature is wanted")
        self._columns = tuple(found)
        return self

    @property
    def feature_names_(self) -> list[str]:
        """Name of each feature."""
        return [
            name
            for label, kind, values in self._columns
            for name in ([label] if kind == NUMBER else [f"{label}={value}" for value in values])
        ]

    def transform(self, frame: Any, ids: Any = None) -> sparse.csr_array:
        """Return the features of the rows of a table.

        Parameters
        ----------
        frame : as in `fit`, with the same columns
        ids : array_like of ids, optional
            What the rows of the result are: those of the table with these ids in the column `key`; zeros for an id
            that the table lacks. None: the rows of the table, in its order.

        Returns
        -------
        csr_array of float64, shape (n_rows, n_features)

        Raises
        ------
        TypeError, ValueError
            A column is missing, or of another kind; the table has an id twice, or one that `ids` lack.

        Warns
        -----
        UserWarning
            The table has values that were not there in `fit`: they count as zeros.

        Examples
        --------
        >>> import fastals
        >>> encoder = fastals.FeatureEncoder(key="who").fit({"who": ["ann", "bob"], "city": ["Bonn", "Lyon"]})
        >>> encoder.transform({"who": ["bob"], "city": ["Lyon"]}, ids=["ann", "bob"]).toarray().tolist()
        [[0.0, 0.0], [0.0, 1.0]]
        """
        if not is_frame(frame):
            raise TypeError(f"frame must be a table with the columns of the fit, got {type(frame).__name__}")
        arrays = _arrays(frame, {column.label: _label(frame, column.label) for column in self._columns})
        n_rows = len(next(iter(arrays.values())))
        parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # rows, features and values of the entries
        strange, first = [], 0
        for label, kind, values in self._columns:
            found, entries = _kind(label, arrays[label], kind == CATEGORY)
            if found != kind and any(entries):
                raise TypeError(f"column {label!r} holds {HOLDS[found]}, and at the fit {HOLDS[kind]}")
            if kind == NUMBER:
                known = np.asarray(entries, np.float64) if len(entries) else np.zeros(0)
                at = np.flatnonzero(known)
                parts.append((at, np.full(len(at), first), known[at]))
                first += 1
                continue
            number = {value: first + place for place, value in enumerate(values)}
            unknown = sorted(set().union(*entries) - number.keys())
            strange += [(label, value) for value in unknown]
            pairs = [(row, number[v]) for row, entry in enumerate(entries) for v in sorted(entry) if v in number]
            at, column = np.array(pairs, np.int64).reshape(-1, 2).T
            parts.append((at, column, np.ones(len(at))))
            first += len(values)
        if strange:
            label, value = strange[0]
            warnings.warn(
                f"{len(strange)} values of the features were not there at the fit, such as {value!r} in column "
                f"{label!r}: they count as zeros",
                UserWarning,
                stacklevel=level_of_caller(),
            )
        where, places, numbers = (np.concatenate(part) for part in zip(*parts, strict=True))
        n = n_rows
        if ids is not None and self.key is not None:
            placed, n = self._places(frame, ids), len(ids)
            where = placed[where]
        return sparse.csr_array((numbers, (where, places)), shape=(n, first))

    def fit_transform(self, frame: Any, ids: Any = None) -> sparse.csr_array:
        """Return `fit(frame).transform(frame, ids)`.

        Parameters
        ----------
        frame, ids
            As in `fit` and in `transform`.

        Examples
        --------
        >>> import fastals
        >>> fastals.FeatureEncoder().fit_transform({"age": [31, 45]}).toarray().tolist()
        [[31.0], [45.0]]
        """
        return self.fit(frame).transform(frame, ids)

    def _places(self, frame: Any, ids: Any) -> np.ndarray:
        """Return where the rows of a table belong among ids."""
        assert self.key is not None
        argument = f"column {self.key!r}"
        given = read_columns(frame, {"user": _label(frame, self.key)})["user"]
        own = as_id_array(argument, given)
        Ids(argument, own)  # refuses what is there twice
        places = Ids("ids", ids).positions(argument, own, unknown="ignore")
        if (places < 0).any():
            lost = own[np.argmin(places)].item()
            raise ValueError(
                f"{argument} of the features has {lost!r}, which the interactions lack: leave its row out, and add it "
                "to the fitted model with add_items, or fold it in"
            )
        return places

    # As arrays, for files.

    def _to_arrays(self) -> dict[str, np.ndarray]:
        """Return the encoder as arrays of numbers and text."""
        values = [value for column in self._columns for value in column.values]
        return {
            "key": np.array([self.key or ""]),
            "labels": np.array([column.label for column in self._columns]),
            "kinds": np.array([column.kind for column in self._columns]),
            "counts": np.array([len(column.values) for column in self._columns]),
            "values": np.array(values) if values else np.zeros(0, "<U1"),
        }

    @classmethod
    def _from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> FeatureEncoder:
        """Return the encoder that `_to_arrays` was called of."""
        encoder = cls(arrays["key"][0].item() or None)
        values = iter(arrays["values"].tolist())
        encoder._columns = tuple(
            Column(label, kind, tuple(next(values) for _ in range(count)))
            for label, kind, count in zip(
                *(arrays[part].tolist() for part in ("labels", "kinds", "counts")), strict=True
            )
        )
        return encoder


def _label(frame: Any, name: str) -> Any:
    """Return the label of a column, which may be no string, by its name."""
    return next((label for label in column_names(frame) or [] if str(label) == name), name)


def _arrays(frame: Any, labels: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return columns of a table by name, as `read_columns` does; lists of lists as objects."""
    if isinstance(frame, Mapping):
        lists = [label for label in labels.values() if isinstance(frame.get(label), (list, tuple))]
        frame = {**frame, **{label: np.fromiter(iter(frame[label]), object, len(frame[label])) for label in lists}}
    return read_columns(frame, labels)


def _is_category(frame: Any, name: str) -> bool:
    """Tell whether a column of pandas is one of categories, whatever these are."""
    column = frame[_label(frame, name)] if not hasattr(frame, "collect") else None
    return str(getattr(column, "dtype", "")) == "category"


def _kind(label: str, array: np.ndarray, category: bool) -> tuple[str, Any]:
    """Return the kind of a column, and its numbers, or for each row the set of its values."""
    if array.ndim == 2:  # NumPy makes a table of lists of one length
        array = np.fromiter(iter(array.tolist()), object, len(array))
    if array.ndim != 1:
        raise ValueError(f"column {label!r} must have one entry for each row, got shape {array.shape}")
    if array.dtype.kind in "biuf" and not category:
        numbers = array.astype(np.float64)
        return NUMBER, _finite(label, numbers)
    if array.dtype.kind in "mM":
        raise TypeError(f"column {label!r} holds times; make numbers of times first, such as years")
    entries = array.tolist()
    kinds: set[Any] = {_kind_of(entry) for entry in entries if not _is_missing(entry)}
    if category:
        kinds = {CATEGORY} if TAGS not in kinds else kinds
    if len(kinds) > 1 or None in kinds:
        there = [entry for entry in entries if not _is_missing(entry)]
        odd = next(entry for entry in there if _kind_of(entry) is None or _kind_of(entry) != _kind_of(there[0]))
        raise TypeError(
            f"column {label!r} must hold numbers, or text, or lists, got {odd!r:.60} of type {type(odd).__name__}"
            + ("; make numbers of times first, such as years" if isinstance(odd, TIMES) else "")
        )
    kind = kinds.pop() if kinds else CATEGORY
    if kind == NUMBER:
        return kind, _finite(label, np.array([np.nan if _is_missing(e) else float(e) for e in entries]))
    if kind == TAGS:
        return kind, [set() if _is_missing(e) else {str(tag) for tag in e if not _is_missing(tag)} for e in entries]
    return kind, [set() if _is_missing(entry) else {str(entry)} for entry in entries]


def _finite(label: str, numbers: np.ndarray) -> np.ndarray:
    """Return numbers with 0 for what is missing."""
    if np.isinf(numbers).any():
        raise ValueError(f"column {label!r} is infinite in row {int(np.argmax(np.isinf(numbers)))}")
    return np.nan_to_num(numbers)


def _kind_of(entry: Any) -> str | None:
    if isinstance(entry, str):
        return CATEGORY
    if isinstance(entry, LISTS):
        return TAGS
    return NUMBER if isinstance(entry, (int, float, np.number, np.bool_)) else None


def _is_missing(entry: Any) -> bool:
    if entry is None or isinstance(entry, (str, *LISTS)):
        return entry is None
    try:
        return bool(entry != entry)
    except TypeError:  # of pandas.NA nobody can tell
        return True
