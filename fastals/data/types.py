"""What may be passed as data: matrices, and tables with the names of their columns; those columns as arrays.

A table is one of pandas, polars or Arrow, or a dict. None of these libraries is imported: what a table is, its own
attributes tell.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, NoReturn, Protocol, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt
from scipy import sparse


class InteractionsLike(Protocol):
    """`fastals.Interactions`, whose module stands above this one."""

    @property
    def by_user(self) -> Any:
        """Compressed rows."""

    def without_zeros(self) -> Any:
        """Return it less its stored zeros."""


class SparseLike(Protocol):
    """A SciPy sparse array or matrix of any format."""

    @property
    def format(self) -> str:
        """Such as "csr"."""

    def tocsr(self, copy: bool = ...) -> Any:
        """Convert to compressed rows."""


class FrameLike(Protocol):
    """A table: a frame of pandas or polars (eager or lazy), a table or record batch of Arrow."""

    @property
    def columns(self) -> Any:
        """Names of columns, or the columns themselves."""


class Columns(TypedDict, total=False):
    """How to read a table with a row an event.

    Attributes
    ----------
    user, item : name of a column
        Ids: strings or integers.
    value, time, event : name of a column, optional
        How much an event counts (1 where there is none), when it was, and its kind.
    event_weights : mapping from kind to number, optional
        What an event of each kind counts.
    half_life : number, or timedelta where times are datetimes, optional
        An event counts `0.5^(age / half_life)`.

    Examples
    --------
    >>> columns: Columns = {"user": "customer", "item": "product", "time": "bought"}
    """

    user: Hashable
    item: Hashable
    value: Hashable | None
    time: Hashable | None
    event: Hashable | None
    event_weights: Mapping[Any, float] | None
    half_life: float | datetime.timedelta | np.timedelta64 | None


FloatType: TypeAlias = Literal["float32", "float64"] | np.dtype[Any] | type[np.floating[Any]]
"""A dtype of factors and values: float32 or float64."""
Dense: TypeAlias = npt.NDArray[Any] | Sequence[Sequence[float]] | Sequence[npt.NDArray[Any]]
Table: TypeAlias = FrameLike | Mapping[Any, Any]
MatrixLike: TypeAlias = InteractionsLike | SparseLike | Dense | Table
"""Users x items data: Interactions, a SciPy sparse matrix of any format, a dense 2-D array, a list of (user, item,
value) tuples, or a table with the names of its columns (see `Columns`)."""


def is_frame(data: Any) -> bool:
    """Tell whether something is a table with named columns: see `FrameLike`."""
    if sparse.issparse(data):  # one of SciPy's formats is a dict
        return False
    if isinstance(data, np.ndarray):
        return data.dtype.names is not None
    # Of the type, as a lazy frame of polars warns where its own columns are asked for.
    return isinstance(data, Mapping) or hasattr(type(data), "columns")


def column_names(frame: Any) -> list[Any] | None:
    """Return the names of a table's columns; None where it does not tell."""
    if isinstance(frame, Mapping):
        return list(frame)
    if isinstance(frame, np.ndarray):
        return list(frame.dtype.names or ())
    if hasattr(frame, "collect_schema"):  # lazy frames of polars warn where their columns are asked for
        return list(frame.collect_schema().names())
    if hasattr(frame, "column_names"):  # Arrow, whose `columns` are the columns themselves
        return list(frame.column_names)
    names = getattr(getattr(frame, "schema", None), "names", None)
    if names is None:
        names = getattr(frame, "columns", None)
    return None if names is None else list(names)


def check_apart(labels: Mapping[str, Any]) -> None:
    """Refuse one column for users and for items: each user would have one item, itself."""
    if labels.get("user") is not None and labels["user"] == labels.get("item"):
        raise ValueError(
            f"user and item are both the column {labels['user']!r}: name the column of the items, item=..."
        )


def read_columns(frame: Any, labels: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return columns of a table as arrays, by argument; `labels` has the name of the column of each.

    Of a lazy table only these columns are collected.
    """
    check_apart(labels)
    names = column_names(frame)
    for argument, label in labels.items():
        if names is not None and label not in names:
            raise ValueError(
                f"{argument}={label!r} is not a column of the {type(frame).__name__}; "
                f"it has {', '.join(map(repr, names)) or 'none'}"
            )
    if hasattr(frame, "collect"):
        frame = frame.select(list(dict.fromkeys(labels.values()))).collect()
    return {argument: _as_array(argument, frame, label) for argument, label in labels.items()}


def _as_array(argument: str, frame: Any, label: Any) -> np.ndarray:
    try:
        column = frame[label]
    except Exception as error:  # polars has exceptions of its own, and is not imported for them
        raise ValueError(f"{argument}={label!r} is not a column of the {type(frame).__name__}: {error}") from error
    dtype = getattr(column, "dtype", None)
    if getattr(dtype, "tz", None) is not None and hasattr(column, "to_numpy"):
        # pandas makes an object of every time with a zone; asked for datetime64, it gives UTC.
        return np.asarray(column.to_numpy(f"datetime64[{getattr(dtype, 'unit', 'ns')}]"))
    if isinstance(column, (list, tuple)) and argument in ("user", "item", "event"):
        return np.asarray(column, object)  # NumPy makes strings of [1, "a"]
    if isinstance(column, np.ma.MaskedArray) and np.ma.is_masked(column):
        raise ValueError(f"column {label!r} is a masked array with missing entries; drop them first")
    return np.asarray(column)


def refuse_source(name: str, data: Any) -> None:
    """Refuse the name of a file or an address where data are wanted, and say which function reads it."""
    if not isinstance(data, (str, bytes, os.PathLike)):
        return
    shown = os.fspath(data)
    if isinstance(shown, bytes):
        shown = shown.decode(errors="replace")
    file, first = shown, "read the file first"
    if "://" in shown:
        file, first = shown.rsplit("/", 1)[-1], "download it and read the file"
    raise TypeError(
        f"{name} must be a SciPy sparse matrix, a 2-D array, a table or Interactions, got the "
        f"{'string' if isinstance(data, (str, bytes)) else 'path'} {shown!r}; {first}: "
        f"fastals.read_table({file!r}, user=..., item=...), or a public data set by fastals.datasets.read_ratings"
    )


def refuse_unnamed(name: str, frame: Any) -> NoReturn:
    """Say how a table is passed."""
    names = column_names(frame) or []
    listed = ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "")
    dense = ""
    if hasattr(frame, "to_numpy") and not isinstance(frame, Mapping):
        dense = f"; if its columns are items and its rows users, pass {name}.to_numpy()"
    raise TypeError(
        f"{name} is a {type(frame).__name__} with the columns {listed or 'none'}: name those of the users and the "
        f"items with user=... and item=...{dense}"
    )
