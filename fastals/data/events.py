"""What an event counts: its kind's weight, and how long ago it was."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..validation import check_number

__all__ = ["column", "decay", "event_values"]


def column(name: str, frame: Any, label: Any) -> Any:
    """Return a column of a table: of pandas, polars or Arrow, or of a dict of arrays."""
    try:
        return frame[label]
    except (KeyError, IndexError, TypeError) as error:
        names = next((getattr(frame, a) for a in ("columns", "column_names") if hasattr(frame, a)), None)
        known = f"; it has {', '.join(map(repr, names))}" if names is not None else ""
        raise ValueError(f"{name}={label!r} is not a column of the {type(frame).__name__}{known}") from error
    except Exception as error:  # polars has exceptions of its own, and is not imported for them
        raise ValueError(f"{name}={label!r} is not a column of the {type(frame).__name__}: {error}") from error


def event_values(
    n: int,
    values: Any = None,
    times: Any = None,
    events: Any = None,
    weights: Mapping[Any, float] | None = None,
    half_life: Any = None,
) -> np.ndarray:
    """Return `value * weight of its kind * 0.5^(age / half_life)` for each of `n` events, float64.

    Parameters
    ----------
    n : int
        How many events there are.
    values : array_like of float, optional
        None: 1 each.
    times : array_like of datetime64 or number, optional
    events : array_like, optional
        The kind of each event.
    weights : mapping from kind to number, optional
    half_life : number or timedelta, optional
        In the unit of `times`; the age is that before the latest event.
    """
    for name, given, partner, other in (
        ("times", times, half_life, "half_life"),
        ("events", events, weights, "weights"),
    ):
        if (given is None) != (partner is None):
            there, missing = (other, name) if given is None else (name, other)
            raise ValueError(f"{there} is given without {missing}: they count together")
    total = np.ones(n)
    if values is not None:
        array = np.asarray(values)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"values must be numbers, got {array.dtype}; convert them first")
        total *= _of_length("values", array, n)
    if events is not None and weights is not None:
        total *= _kind_weights(_of_length("events", np.asarray(events), n), weights)
    if times is not None:
        total *= decay(_of_length("times", np.asarray(times), n), half_life)
    return total


def decay(times: np.ndarray, half_life: Any) -> np.ndarray:
    """Return `0.5^((latest - time) / half_life)`, float64.

    Parameters
    ----------
    times : ndarray of datetime64 or number
    half_life : number, or datetime.timedelta or numpy.timedelta64 for datetimes
        Above 0.
    """
    if times.dtype.kind == "M":
        if not isinstance(half_life, (datetime.timedelta, np.timedelta64)):
            raise TypeError(
                f"half_life must be a timedelta as times are {times.dtype}, got {half_life!r}; "
                "for example datetime.timedelta(days=30)"
            )
        life = np.timedelta64(half_life) / np.timedelta64(1, "ns")
        bad = np.isnat(times)
    elif times.dtype.kind in "iuf":
        life = check_number("half_life", half_life)
        bad = ~np.isfinite(times)
    else:
        raise TypeError(
            f"times must be datetime64 or numbers, got {times.dtype}; "
            "convert them first, for example to seconds since 1970"
        )
    if not (life > 0 and math.isfinite(life)):
        raise ValueError(f"half_life must be above 0, got {half_life!r}")
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"times[{row}] is {times[row]}: {int(bad.sum())} of {len(times)} times are missing; drop them")
    if len(times) == 0:
        return np.ones(0)
    if times.dtype.kind == "M":
        age = (times.max() - times) / np.timedelta64(1, "ns")
    else:
        age = np.float64(times.max()) - times.astype(np.float64)
    return 0.5 ** (age / life)


def _kind_weights(events: np.ndarray, weights: Mapping[Any, float]) -> np.ndarray:
    kinds, which = np.unique(events, return_inverse=True)
    unknown = [kind for kind in kinds.tolist() if kind not in weights]
    if unknown:
        raise ValueError(
            f"weights has no number for the event {unknown[0]!r}; it knows {', '.join(map(repr, weights))}: "
            "give each kind a weight, or drop these rows"
        )
    numbers = [check_number(f"weights[{kind!r}]", weights[kind]) for kind in kinds.tolist()]
    return np.array(numbers)[which.ravel()] if numbers else np.ones(0)


def _of_length(name: str, array: np.ndarray, n: int) -> np.ndarray:
    if array.shape != (n,):
        raise ValueError(f"{name} must have one entry for each of the {n} events, got shape {array.shape}")
    return array
