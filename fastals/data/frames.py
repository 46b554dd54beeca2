"""Tables of pandas, polars, Arrow or plain dicts: which columns they have, and those columns as arrays.

None of these libraries is imported. What a table is, its own attributes tell.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from scipy import sparse

__all__ = ["column_names", "is_frame", "read_columns", "refuse_source", "refuse_unnamed"]


def is_frame(data: Any) -> bool:
    """Tell whether something is a table with named columns: see `fastals.data.types.FrameLike`."""
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


def read_columns(frame: Any, labels: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return columns of a table as arrays.

    Parameters
    ----------
    frame : table
        Of a lazy one only these columns are collected.
    labels : mapping from argument to name of a column
        Such as ``{"user": "customer_id"}``.

    Raises
    ------
    ValueError
        There is no such column; the message lists those that there are.
    """
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
        f"fastals.datasets.read_ratings({file!r}), or a table by pandas, polars or Arrow, passed with user=... and "
        "item=..."
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
