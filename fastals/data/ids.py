"""Names for rows and columns: strings or integers of any range, to positions and back."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Ids", "as_id_array"]


class Ids:
    """What users or items are called: one string or integer for each row or column number.

    Parameters
    ----------
    name : str
        The argument, for messages.
    values : array_like of str or int, shape (n,)
        No two alike; `values[i]` is the name of number `i`.
    """

    def __init__(self, name: str, values: Any):
        self.values = as_id_array(name, values)
        self._order = np.argsort(self.values, kind="stable")
        self._sorted = self.values[self._order]
        twice = self._sorted[1:] == self._sorted[:-1]
        if twice.any():
            raise ValueError(f"{name} holds {self._sorted[int(np.argmax(twice))].item()!r} more than once")

    def __len__(self) -> int:
        return len(self.values)

    def same_as(self, other: Ids) -> bool:
        """Tell whether all numbers have the same names."""
        return self is other or np.array_equal(self.values, other.values)

    def positions(self, name: str, ids: Any, remedy: str = "", of: str = "the model") -> np.ndarray:
        """Return the number of each id, intp of shape (n_ids,); one id becomes an array of length 1.

        `remedy` ends the message about an id that is not there, and `of` says whose ids these are.
        """
        if np.ndim(ids) == 0:
            ids = [ids]
        if np.ndim(ids) != 1:
            raise ValueError(f"{name} must be one id or a 1-D array of ids, got an array of shape {np.shape(ids)}")
        if len(ids) == 0:
            return np.empty(0, np.intp)
        wanted = as_id_array(name, ids)
        if (wanted.dtype.kind == "U") != (self.values.dtype.kind == "U"):
            kinds = {True: "strings", False: "integers"}
            raise TypeError(
                f"{name} must be {kinds[self.values.dtype.kind == 'U']}, as the ids that the model was fitted on are, "
                f"got {kinds[wanted.dtype.kind == 'U']} (the first is {wanted[0].item()!r})"
            )
        # Not compared as they are: NumPy compares int64 with uint64 as float64, where neighbours are equal.
        cast = wanted.astype(self.values.dtype) if wanted.dtype.kind in "iu" else wanted
        places = np.minimum(np.searchsorted(self._sorted, cast), len(self._sorted) - 1)
        unknown = self._sorted[places] != cast
        if cast.dtype != wanted.dtype and wanted.dtype.kind in "iu":
            unknown |= (cast < 0) != (wanted < 0)
        if unknown.any():
            first = int(np.argmax(unknown))
            raise ValueError(
                f"{name}[{first}] is {wanted[first].item()!r}, which is not among the {len(self)} ids of {of}"
                + (f" ({int(unknown.sum())} of {len(wanted)} are unknown)" if len(wanted) > 1 else "")
                + remedy
            )
        return self._order[places]

    def take(self, positions: np.ndarray) -> np.ndarray:
        """Return the id of each number; beside -1 stands -1, or "" among strings."""
        nothing = np.asarray("" if self.values.dtype.kind == "U" else -1).astype(self.values.dtype)
        return np.where(positions < 0, nothing, self.values[np.maximum(positions, 0)])


def as_id_array(name: str, ids: Any) -> np.ndarray:
    """Return ids as a 1-D array of int64, uint64 or fixed-width strings.

    Parameters
    ----------
    name : str
    ids : array_like of str or int
        Anything with a NumPy conversion: a list, a column of pandas, polars or Arrow.
    """
    # A list goes as objects: NumPy makes strings of [1, "a"], and floats of [0, 2**63].
    array = np.asarray(ids, object if isinstance(ids, (list, tuple)) else None)
    if array.ndim != 1:
        raise ValueError(f"{name} must be a 1-D array of ids, got shape {array.shape}")
    kind = array.dtype.kind
    if kind == "U":
        return array
    if kind == "i" or (kind == "u" and (array.size == 0 or array.max() <= np.iinfo(np.int64).max)):
        return array.astype(np.int64)
    if kind == "u":
        return array.astype(np.uint64)
    if kind in "OT":
        return _from_objects(name, array)
    advice = "; drop rows without an id and convert the rest to integers" if kind == "f" else "; convert them first"
    raise TypeError(f"{name} must be strings or integers, got {array.dtype}{advice}")


def _from_objects(name: str, array: np.ndarray) -> np.ndarray:
    values = array.tolist()
    wanted: Any = str if not values or isinstance(values[0], str) else (int, np.integer)
    for row, value in enumerate(values):
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise TypeError(
                f"{name}[{row}] is {value!r}: ids must be all strings or all integers; "
                "drop rows without an id and convert the rest"
            )
    if wanted is str:
        return np.array(values, dtype=np.str_)
    try:
        return np.array(values, dtype=np.int64 if min(values) < 0 or max(values) < 2**63 else np.uint64)
    except OverflowError as error:
        raise ValueError(f"{name} holds an integer beyond 64 bits: make strings of them") from error
