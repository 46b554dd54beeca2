"""Ids of users and items, strings or integers of any range, numbered from 0; and the base of what cannot be changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import numpy as np

T = TypeVar("T")

# Ids that are coded in one step: their Python objects are all that is held beside the codes.
_BLOCK = 1 << 20
# Strings are stored at the width of the longest: padding may take so many bytes, or so many times the ids themselves.
_PADDING_BYTES, _PADDING_RATIO = 1 << 26, 8
IGNORE = "; unknown='ignore' leaves such ids out"  # of a message about an id that the model does not have
_FEW = 64  # changes that stand beside an array of any size


class Frozen:
    """Base of classes whose attributes are set once, by `self.__dict__.update(...)` in `__init__`."""

    def __setattr__(self, name: str, value: Any) -> None:
        kind = type(self).__name__
        raise AttributeError(f"{kind}.{name} cannot be set: {kind} do not change, make new ones")

    def __delattr__(self, name: str) -> None:
        self.__setattr__(name, None)


class derived(Generic[T]):  # noqa: N801 - used as a decorator, like property
    """An attribute that is computed when it is first read, and kept.

    `functools.cached_property` takes a lock before Python 3.12. A process forked while another thread holds that lock
    would wait for it forever. Here two threads may compute the same value twice; the first one stored is kept.
    """

    def __init__(self, compute: Callable[[Any], T]):
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> T:
        if instance is None:
            return self  # type: ignore[return-value]
        kept: T = instance.__dict__.setdefault(self._name, self._compute(instance))
        return kept


def stand_beside(changed: int, size: int) -> bool:
    """Tell whether so few changes stand beside an array of this size, before a copy of it has them all."""
    return changed <= _FEW + math.isqrt(size)


class Ids(Frozen):
    """What users or items are called: one string or integer for each number from 0.

    Parameters
    ----------
    name : str
        The argument, for messages.
    values : array_like of str or int, shape (n,)
        No two alike; `values[i]` is the id of number `i`.

    Attributes
    ----------
    values : read-only array of int64, uint64 or fixed-width strings, shape (n,)

    Raises
    ------
    TypeError, ValueError
        The values are not all strings or all integers, or two are alike.

    Examples
    --------
    >>> ids = Ids("items", ["tea", "book"])
    >>> len(ids), ids[1], "tea" in ids, list(ids)
    (2, 'book', True, ['tea', 'book'])
    >>> ids.positions("items", ["book", "tea"])
    array([1, 0])
    """

    _base: np.ndarray  # the ids that are in `_sorted`, by number
    _order: np.ndarray
    _sorted: np.ndarray
    _tail: np.ndarray  # the ids behind them
    _places: Mapping[Any, int]  # and the numbers of these

    def __init__(self, name: str, values: Any):
        own = as_id_array(name, values).copy()
        order = np.argsort(own, kind="stable")
        ascending = own[order]
        twice = ascending[1:] == ascending[:-1]
        if twice.any():
            raise ValueError(f"{name} holds {ascending[int(np.argmax(twice))].item()!r} more than once")
        self.__dict__.update(_parts(own, order, ascending))

    @derived
    def values(self) -> np.ndarray:
        """All ids, by number."""
        return _locked(np.concatenate([self._base, self._tail]))

    def with_ids(self, name: str, new: Any) -> Ids:
        """Return these ids with new ones behind them: the old ones keep their numbers.

        Parameters
        ----------
        name : str
            The argument that the new ids are from, for messages.
        new : array_like of ids, shape (n_new,)
            None twice, and none of them known.

        Raises
        ------
        TypeError, ValueError
            They are of another kind than the old ones, or one is there already.

        Examples
        --------
        >>> Ids("items", ["tea", "book"]).with_ids("items", ["pen"]).positions("items", ["pen", "book"])
        array([2, 1])
        """
        added = Ids(name, new).values
        if len(added) == 0:
            return self
        self._check_kind(name, added, "the model")
        there = self.find(added) >= 0
        if there.any():
            raise ValueError(f"{at(name, int(np.argmax(there)))} is {added[there][0].item()!r}, which is known already")
        base, ascending, tail = self._base, self._sorted, self._tail
        if base.dtype.kind != added.dtype.kind:  # integers with and without a sign
            dtype = as_id_array(name, [*self, *added.tolist()]).dtype
            base, ascending, tail, added = (part.astype(dtype) for part in (base, ascending, tail, added))
        if added.dtype.kind == "U" and added.dtype.itemsize > base.dtype.itemsize:
            used = base.size * base.dtype.itemsize // 4 + added.size
            _check_width(name, added.tolist(), added.dtype.itemsize // 4, len(self) + len(added), used)
        tail = np.concatenate([tail, added])
        if stand_beside(len(tail), len(base)):
            places = {value: number for number, value in enumerate(tail.tolist(), len(base))}
            return self._made(_base=base, _order=self._order, _sorted=ascending, _tail=tail, _places=places)
        values = np.concatenate([base, tail])
        late = np.argsort(tail, kind="stable")
        places_of = np.searchsorted(ascending, tail[late])
        order = np.insert(self._order, places_of, late + len(base))
        return self._made(**_parts(values, order, values[order]))

    @classmethod
    def _made(cls, **parts: Any) -> Ids:
        self = cls.__new__(cls)
        self.__dict__.update(parts)
        return self

    @classmethod
    def ascending(cls, values: np.ndarray) -> Ids:
        """Make ids of an array that is known to be in ascending order without duplicates; it is not copied.

        Examples
        --------
        >>> import numpy as np
        >>> Ids.ascending(np.array([3, 7]))
        Ids(2 integers: 3, 7)
        """
        own = values.view()
        return cls._made(**_parts(own, np.arange(len(own)), own))

    def __len__(self) -> int:
        return len(self._base) + len(self._tail)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values.tolist())

    def __getitem__(self, number: Any) -> Any:
        found = self.values[number]
        return found.item() if isinstance(found, np.generic) else found

    def __contains__(self, name: Any) -> bool:
        try:
            wanted = as_id_array("id", [name])
        except (TypeError, ValueError):
            return False
        return _kind(wanted) == _kind(self._base) and bool(self.find(wanted)[0] >= 0)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype) if copy else np.asarray(self.values, dtype)

    def __repr__(self) -> str:
        shown = [*map(repr, self.values[:3].tolist()), *(["..."] if len(self) > 3 else [])]
        return f"Ids({len(self)} {_kind(self._base)}: {', '.join(shown)})"

    def tolist(self) -> list[Any]:
        """Return the ids as Python's strings or integers.

        Examples
        --------
        >>> Ids("items", ["tea", "book"]).tolist()
        ['tea', 'book']
        """
        return list(self)

    def same_as(self, other: Ids) -> bool:
        """Tell whether all numbers have the same ids.

        Examples
        --------
        >>> Ids("items", ["tea", "book"]).same_as(Ids("items", ["book", "tea"]))
        False
        """
        return self is other or (len(self) == len(other) and np.array_equal(self.values, other.values))

    def positions(
        self, name: str, ids: Any, remedy: str = "", of: str = "the model", unknown: str = "raise"
    ) -> np.ndarray:
        """Return the number of each id.

        Parameters
        ----------
        name : str
            The argument that the ids are from, for messages.
        ids : id or array_like of ids, shape (n_ids,)
            One id becomes an array of length 1.
        remedy, of : str
            For messages: what ends the one about an unknown id, and whose ids these are.
        unknown : {'raise', 'ignore'}, default 'raise'
            'ignore' gives -1 to an unknown id.

        Returns
        -------
        intp array of shape (n_ids,)

        Examples
        --------
        >>> Ids("items", ["tea", "book"]).positions("items", "book").tolist()
        [1]
        """
        if type(ids) is str or type(ids) is int:
            number = self._number(ids)
            if number >= 0:
                return np.array([number], np.intp)
        one = np.ndim(ids) == 0
        if one:
            ids = [ids]
        if np.ndim(ids) != 1:
            raise ValueError(f"{name} must be one id or a 1-D array of ids, got an array of shape {np.shape(ids)}")
        if len(ids) == 0:
            return np.empty(0, np.intp)
        wanted = as_id_array(name, ids)
        self._check_kind(name, wanted, of)
        numbers = self.find(wanted)
        if unknown == "raise" and numbers.min() < 0:
            missing = numbers < 0
            first = int(np.argmax(missing))
            raise ValueError(
                f"{name if one else at(name, first)} is {wanted[first].item()!r}, which is not among the {len(self)} "
                f"ids of {of}"
                + (f" ({missing.sum()} of {len(wanted)} are unknown)" if len(wanted) > 1 else "")
                + remedy
            )
        return numbers

    def _number(self, one: str | int) -> int:
        """Return the number of one id, or -1. By arrays, as in `find`, it would take a tenth of a single request."""
        ascending = self._sorted
        if isinstance(one, str):
            fits = ascending.dtype.kind == "U" and 4 * len(one) <= ascending.dtype.itemsize and not one.endswith("\0")
        else:
            fits = ascending.dtype == np.int64 and -(2**63) <= one < 2**63
        if fits:
            place = ascending.searchsorted(one)
            if place < len(ascending) and ascending[place] == one:
                return int(self._order[place])
        return self._places.get(one, -1)

    def _check_kind(self, name: str, wanted: np.ndarray, of: str) -> None:
        if _kind(wanted) != _kind(self._base):
            raise TypeError(
                f"{name} must be {_kind(self._base)}, as the ids that {of} was fitted on are, "
                f"got {_kind(wanted)} (the first is {wanted[0].item()!r})"
            )

    def take(self, positions: np.ndarray) -> np.ndarray:
        """Return the id of each number; beside -1 stands -1, or "" among strings.

        Examples
        --------
        >>> Ids("items", ["tea", "book"]).take(np.array([1, -1])).tolist()
        ['book', '']
        """
        base, tail = self._base, self._tail
        nothing = np.asarray("" if _kind(base) == "strings" else -1).astype(base.dtype)
        if not len(tail):
            return np.where(positions < 0, nothing, base[np.maximum(positions, 0)])
        late = positions >= len(base)
        found = np.where(positions < 0, nothing, base[np.where(late, 0, np.maximum(positions, 0))])
        found = found.astype(np.result_type(base, tail), copy=False)
        found[late] = tail[positions[late] - len(base)]
        return found

    def find(self, wanted: np.ndarray) -> np.ndarray:
        """Return the number of each id of an array of the same kind, -1 where it is unknown.

        Examples
        --------
        >>> Ids("items", ["tea", "book"]).find(np.array(["book", "pen"])).tolist()
        [1, -1]
        """
        # Not compared as they are: NumPy compares int64 with uint64 as float64, where neighbours are equal, and makes
        # all strings as wide as the widest one.
        cast = wanted.astype(self._sorted.dtype, copy=False)
        places = np.minimum(np.searchsorted(self._sorted, cast), len(self._sorted) - 1)
        known = self._sorted[places] == (cast if wanted.dtype.kind in "iu" else wanted)
        if cast.dtype != wanted.dtype and wanted.dtype.kind in "iu":
            known &= (cast < 0) == (wanted < 0)
        numbers = self._order[places]
        if not known.all():
            numbers[~known] = -1
            if self._places:
                numbers[~known] = [self._places.get(value, -1) for value in wanted[~known].tolist()]
        return numbers


def _parts(values: np.ndarray, order: np.ndarray, ascending: np.ndarray) -> dict[str, Any]:
    """Return the attributes of ids that are all sorted."""
    values = _locked(values)
    return {
        "values": values, "_base": values, "_order": order, "_sorted": ascending, "_tail": values[:0], "_places": {},
    }  # fmt: skip


def _locked(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def at(name: str, row: int) -> str:
    """Say where something stands: `users[3]`, or `column 'user', row 3` of a table."""
    return f"{name}, row {row}" if name.startswith("column ") else f"{name}[{row}]"


def as_ids(name: str, values: Any, n: int | None = None) -> Ids:
    """Return values as Ids, one for each of `n` users or items of a matrix `R`; None is any number of them."""
    ids = values if isinstance(values, Ids) else Ids(name, values)
    if n is not None and len(ids) != n:
        raise ValueError(f"{name} must have one id for each of the {n} {name[:4]}s of R, got {len(ids)}")
    return ids


def as_id_array(name: str, ids: Any) -> np.ndarray:
    """Return ids, anything with a NumPy conversion, as a 1-D array of int64, uint64 or fixed-width strings."""
    array = _as_vector(name, ids)
    kind = array.dtype.kind
    if kind == "U":
        return array
    if kind == "i" or (kind == "u" and (array.size == 0 or array.max() <= np.iinfo(np.int64).max)):
        return array.astype(np.int64)
    if kind == "u":
        return array.astype(np.uint64)
    if kind in "OT":
        return _from_objects(name, array.tolist())
    advice = "; drop rows without an id and convert the rest to integers" if kind == "f" else "; convert them first"
    raise TypeError(f"{name} must be strings or integers, got {array.dtype}{advice}")


def encode(name: str, ids: Any) -> tuple[Ids, np.ndarray]:
    """Return the distinct ids in ascending order, and the number of each id among them, int32."""
    array = _as_vector(name, ids)
    if array.dtype.kind not in "UOT" or not len(array) or not isinstance(array[0], str):
        numbers = as_id_array(name, array)
        distinct, codes = _encode_integers(numbers) if numbers.dtype == np.int64 else _encode_sorted(numbers)
        return Ids(name, distinct), codes
    # By a dictionary: a sort of all strings takes ten times as long, and a fixed width for all of them more memory.
    known: dict[str, int] = {}
    codes = np.empty(len(array), np.int32)
    for start in range(0, len(array), _BLOCK):
        block = array[start : start + _BLOCK].tolist()
        _check_alike(name, block, str, start)
        codes[start : start + len(block)] = [known.setdefault(word, len(known)) for word in block]
    words = sorted(known)
    number = np.empty(len(words), np.int32)
    number[[known[word] for word in words]] = np.arange(len(words), dtype=np.int32)
    return Ids(name, words), number[codes]


def _encode_integers(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = (int(ids.min()), int(ids.max())) if ids.size else (0, 0)
    if high - low >= 4 * ids.size + 1024:
        return _encode_sorted(ids)
    # A lookup table over the range instead of a sort: 0.5 s instead of 3 s for 20 million ids.
    present = np.zeros(high - low + 1, dtype=bool)
    present[ids - low] = True
    code_of = np.cumsum(present, dtype=np.int32) - np.int32(1)
    return np.flatnonzero(present) + low, code_of[ids - low]


def _encode_sorted(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    distinct, codes = np.unique(ids, return_inverse=True)
    return distinct, codes.ravel().astype(np.int32)


def _kind(values: np.ndarray) -> str:
    return "strings" if values.dtype.kind == "U" else "integers"


def _as_vector(name: str, ids: Any) -> np.ndarray:
    # A list goes as objects: NumPy makes strings of [1, "a"], and floats of [0, 2**63].
    array = np.asarray(ids, object if isinstance(ids, (list, tuple)) else None)
    if array.ndim != 1:
        raise ValueError(f"{name} must be a 1-D array of ids, got shape {array.shape}")
    return array


def _from_objects(name: str, values: list[Any]) -> np.ndarray:
    wanted: Any = str if not values or isinstance(values[0], str) else (int, np.integer)
    _check_alike(name, values, wanted)
    if wanted is str:
        _check_strings(name, values)
        return np.array(values, dtype=np.str_)
    try:
        return np.array(values, dtype=np.int64 if min(values) < 0 or max(values) < 2**63 else np.uint64)
    except OverflowError as error:
        raise ValueError(f"{name} holds an integer beyond 64 bits: make strings of them") from error


def _check_alike(name: str, values: list[Any], wanted: Any, start: int = 0) -> None:
    """Refuse values that are not all strings or all integers; the first of them has the number `start`."""
    if set(map(type, values)) <= {str} and wanted is str:
        return
    for row, value in enumerate(values, start):
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise TypeError(
                f"{at(name, row)} is {value!r}: ids must be all strings or all integers; "
                "drop rows without an id and convert the rest"
            )


def _check_width(name: str, values: list[str], width: int, count: int, characters: int) -> None:
    """Refuse an id among `values` that would make the array of `count` ids, of so many characters in all, huge."""
    padded = 4 * width * count
    if padded > _PADDING_BYTES and padded > 4 * _PADDING_RATIO * characters:
        longest = next(value for value in values if len(value) == width)
        raise ValueError(
            f"{name} holds an id of {width:,} characters, which starts {longest[:30]!r}: ids are stored at the "
            f"width of the longest, {padded / 1e6:,.0f} MB for {count:,} of them; shorten it (a quotation mark "
            "without its partner in a CSV file makes such an id)"
        )


def _check_strings(name: str, values: list[str]) -> None:
    """Refuse what a fixed-width array of strings would change, or what would make it huge."""
    width = max(map(len, values), default=0)
    _check_width(name, values, width, len(values), sum(map(len, values)))
    for value in values:
        if value.endswith("\0"):
            raise ValueError(
                f"{name} holds {value[-60:]!r}: an id cannot end with the character NUL, which NumPy drops; "
                "strip it first"
            )
