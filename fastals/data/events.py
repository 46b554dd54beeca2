"""Events: who, what, when, of which kind, and what each one counts."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from ..validation import check_number
from .ids import Ids, as_ids, at, encode

# Seconds of each unit of numpy.datetime64 that has a fixed length.
_SECONDS = {"W": Fraction(604_800), "D": Fraction(86_400), "h": Fraction(3600), "m": Fraction(60)} | {
    unit: Fraction(1, 1000**power) for power, unit in enumerate(("s", "ms", "us", "ns", "ps", "fs", "as"))
}
_TO_TIMES = "as by pandas.to_datetime or polars.read_csv(..., try_parse_dates=True)"


class Events(NamedTuple):
    """Parallel arrays with one entry an event, in the order they came in.

    `users` and `items` are numbers (int32), `values` float32 or float64, `times` int64, float64 or datetime64, and
    `kinds` numbers (int32) in `kind_ids`.
    """

    users: np.ndarray
    items: np.ndarray
    values: np.ndarray
    times: np.ndarray | None = None
    kinds: np.ndarray | None = None
    kind_ids: Ids | None = None

    def take(self, index: np.ndarray) -> Events:
        """Return some of the events, by a mask or by positions."""
        times, kinds = (None if column is None else column[index] for column in (self.times, self.kinds))
        return Events(self.users[index], self.items[index], self.values[index], times, kinds, self.kind_ids)

    def read_only(self) -> Events:
        """Return the same events as arrays that cannot be written to."""
        views: list[Any] = [None if column is None else column.view() for column in self[:5]]
        for view in views:
            if view is not None:
                view.flags.writeable = False
        return Events._make([*views, self.kind_ids])


def read_events(
    dtype: np.dtype,
    columns: Mapping[str, Any],
    weights: Mapping[Any, float] | None,
    half_life: Any,
    names: Mapping[str, str],
    user_ids: Any = None,
    item_ids: Any = None,
    of: str = "the model",
    remedy: str = "",
) -> tuple[Events, Ids, Ids]:
    """Check columns of events and number their users and items.

    `columns` are those of `from_triplets` by name, and `names` says what the caller calls each. Given ids number the
    users and items, and others are refused, with a `remedy` at the end of the message; else the ids are those of the
    events, in ascending order.
    """
    sides = []
    for axis, ids in (("users", user_ids), ("items", item_ids)):
        if ids is None:
            sides.append(encode(names[axis], columns[axis]))
        else:
            ids = as_ids(f"{axis[:-1]}_ids", ids)
            sides.append((ids, ids.positions(names[axis], columns[axis], remedy, of).astype(np.int32)))
    (user_ids, users), (item_ids, items) = sides
    if len(users) != len(items):
        raise ValueError(
            f"{names['users']} and {names['items']} must be of equal length, got {len(users)} and {len(items)}"
        )
    if len(users) == 0:
        raise ValueError("there are no events: at least one is wanted")
    values, times, kinds = (columns.get(name) for name in ("values", "times", "events"))
    counted = event_values(len(users), values, times, kinds, weights, half_life, names)
    cast = cast_finite(names["values"], counted.values, dtype)
    return Events(users, items, cast, *counted[1:]), user_ids, item_ids


class Numbered(NamedTuple):
    """A column of ids as numbers (int32) in `ids`."""

    ids: Ids
    numbers: np.ndarray


class Counted(NamedTuple):
    """What each event counts (float64), and its time and kind as in `Events`."""

    values: np.ndarray
    times: np.ndarray | None
    kinds: np.ndarray | None
    kind_ids: Ids | None


def event_values(
    n: int,
    values: Any = None,
    times: Any = None,
    events: Any = None,
    weights: Mapping[Any, float] | None = None,
    half_life: Any = None,
    names: Mapping[str, str] | None = None,
    latest: Any = None,
) -> Counted:
    """Return `value * weight of its kind * 0.5^(age / half_life)` for each of `n` events.

    The arguments are as in `Interactions.from_triplets`; `events` may also be `Numbered`. `names`
    says what the caller calls each.
    """
    called = {name: name for name in ("values", "times", "events")} | dict(names or {})
    for given, partner, option, missing in (
        (half_life, times, "half_life", "times"),
        (weights, events, "event weights", "events"),
    ):
        if given is not None and partner is None:
            raise ValueError(f"{option} is given without {missing}: give both, or neither")
    total = np.ones(n)
    if values is not None:
        array = _plain(_vector(called["values"], values, n))
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{called['values']} must be numbers, got {array.dtype}; convert them first")
        total *= array
    kind_ids = kinds = None
    if events is not None:
        if isinstance(events, Numbered):
            kind_ids, kinds = events
        else:
            flags = _vector(called["events"], events, n)
            kind_ids, kinds = encode(called["events"], flags.astype(np.int64) if flags.dtype == np.bool_ else events)
        if weights is not None:
            total *= _kind_weights(kind_ids, weights)[kinds]
    moments = None
    if times is not None:
        moments = as_times(called["times"], _vector(called["times"], times, n))
        if half_life is not None:
            faded = total * decay(moments, half_life, None if latest is None else as_times(called["times"], latest))
            # An event so old that nothing is left of it was seen all the same: 0 would mean that it was not.
            vanished = (faded == 0) & (total != 0)
            total = np.where(vanished, np.copysign(np.finfo(np.float64).tiny, total), faded)
    return Counted(total, moments, kinds, kind_ids)


def as_times(name: str, times: Any) -> np.ndarray:
    """Return times as int64, float64 or datetime64, those with a time zone in UTC; none may be missing."""
    array = _plain(np.asarray(times))
    if array.dtype.kind == "O":
        array = _from_datetimes(name, array.tolist())
    kind = array.dtype.kind
    if kind == "M" and np.datetime_data(array.dtype)[0] not in _SECONDS:
        array = array.astype("datetime64[D]")  # years and months have no fixed length, their first days have
    if kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} holds a number beyond 64 bits: subtract the earliest time first")
    if kind not in "Miuf":
        raise TypeError(f"{name} must be datetime64 or numbers, got {array.dtype}; convert them first, {_TO_TIMES}")
    missing = np.isnat(array) if kind == "M" else ~np.isfinite(array)
    if missing.any():
        row = int(np.argmax(missing))
        raise ValueError(
            f"{at(name, row)} is {array[row]}: {int(missing.sum())} of {len(array)} times are missing; drop them"
        )
    return array.copy() if kind == "M" else array.astype(np.float64 if kind == "f" else np.int64)


def _from_datetimes(name: str, moments: list[Any]) -> np.ndarray:
    """Return Python's datetimes, or their like of pandas, as datetime64; those with a time zone in UTC."""
    zoned = []
    for row, moment in enumerate(moments):
        if not isinstance(moment, datetime.date) or moment != moment:  # NaT is a date that differs from itself
            way = f"convert them first, {_TO_TIMES}" if isinstance(moment, str) else "drop missing ones"
            raise TypeError(f"{at(name, row)} is {moment!r}: times must be datetimes or numbers; {way}")
        zoned.append(isinstance(moment, datetime.datetime) and moment.utcoffset() is not None)
    if any(zoned) and not all(zoned):
        rows = zoned.index(True), zoned.index(False)
        raise ValueError(
            f"{at(name, rows[0])} has a time zone and {at(name, rows[1])} has none: give all times a zone, or none"
        )
    if any(zoned):
        moments = [moment.astimezone(datetime.timezone.utc).replace(tzinfo=None) for moment in moments]
    return np.array(moments, "datetime64[us]")


def decay(times: np.ndarray, half_life: Any, latest: np.ndarray | None = None) -> np.ndarray:
    """Return `0.5^((latest - time) / half_life)`, float64, of times as `as_times` returns them.

    `latest` is an array of one time; None: the latest of `times`.
    """
    if times.dtype.kind == "M":
        unit, count = np.datetime_data(times.dtype)
        life = float(_seconds(half_life, times.dtype) / (_SECONDS[unit] * count))
    else:
        life = check_number("half_life", half_life)
    if not life > 0:
        raise ValueError(f"half_life must be above 0, got {half_life!r}")
    if len(times) == 0:
        return np.ones(0)
    last = times.max() if latest is None else latest[0]
    with np.errstate(over="ignore", under="ignore"):
        if times.dtype.kind == "f":
            age = last - times
        else:
            # The difference of two 64-bit integers fits in 64 bits without a sign, and wraps around to it.
            whole = times.view(np.int64)
            age = (last.view(np.int64) - whole).view(np.uint64).astype(np.float64)
        return 0.5 ** (age / life)


def _seconds(half_life: Any, wanted: np.dtype) -> Fraction:
    """Return a timedelta's length, exactly."""
    if isinstance(half_life, np.timedelta64):
        unit, count = np.datetime_data(half_life.dtype)
        if unit not in _SECONDS or np.isnat(half_life):
            raise ValueError(
                f"half_life is {half_life!r}, which has no fixed length; give it in days, hours or seconds, "
                "for example numpy.timedelta64(30, 'D')"
            )
        return int(half_life.astype(np.int64)) * count * _SECONDS[unit]
    if not isinstance(half_life, datetime.timedelta) or half_life != half_life:
        raise TypeError(
            f"half_life must be a timedelta as times are {wanted}, got {half_life!r}; "
            "for example datetime.timedelta(days=30)"
        )
    parts = Fraction(half_life.days * 86_400 + half_life.seconds) + Fraction(half_life.microseconds, 10**6)
    return parts + Fraction(getattr(half_life, "nanoseconds", 0), 10**9)  # those of pandas have them


def _kind_weights(kinds: Ids, weights: Mapping[Any, float]) -> np.ndarray:
    """Return the weight of each kind."""
    unknown = [kind for kind in kinds if kind not in weights]
    if unknown:
        raise ValueError(
            f"event weights have no number for the event {unknown[0]!r}; they know {', '.join(map(repr, weights))}: "
            "give each kind a weight, or drop these rows"
        )
    return np.array([check_number(f"weights[{kind!r}]", weights[kind]) for kind in kinds])


def _vector(name: str, column: Any, n: int) -> np.ndarray:
    array = np.asarray(column)
    if array.shape != (n,):
        raise ValueError(f"{name} must have one entry for each of the {n} events, got shape {array.shape}")
    return array


def _plain(array: np.ndarray) -> np.ndarray:
    """Return numbers that are objects, as in a column of pandas that held others, as numbers."""
    if array.dtype.kind != "O" or not all(type(value) in (int, float) for value in array.tolist()):
        return array
    return np.array(array.tolist())


def cast_values(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return values as `dtype`, without a copy where they are; what is not 0 does not become 0.

    A stored 0 means "not observed" to ImplicitALS, so the smallest number of `dtype` stands for what lies below it.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        cast = values.astype(dtype, copy=False)
    if cast is not values and values.dtype.kind == "f":
        vanished = (cast == 0) & (values != 0)
        if vanished.any():
            cast[vanished] = np.copysign(np.finfo(dtype).tiny, values[vanished])
    return cast


def cast_finite(name: str, values: np.ndarray, dtype: np.dtype, what: str = "events", first: int = 0) -> np.ndarray:
    """Return values as `cast_values` does; where one is not finite then, say which: they are numbered from `first`."""
    cast = cast_values(values, dtype)
    if math.isfinite(float(cast.sum(dtype=np.float64))):  # a sum is finite only if every term is
        return cast
    bad = ~np.isfinite(cast)
    if not bad.any():
        return cast
    row = int(np.argmax(bad))
    too_large = bool(np.isfinite(values[bad]).all())
    raise ValueError(
        f"{at(name, first + row)} is {values[row].item()!r}: {int(bad.sum())} of {len(values)} {what} are "
        + (f"too large for {cast.dtype}; rescale, or use dtype='float64'" if too_large else "not finite; drop them")
    )
