"""Checks of what a caller passes. Each check raises a sentence: which argument, what came, what is wanted."""

from __future__ import annotations

import inspect
import math
import numbers
import os
import sys
from types import FrameType
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = [
    "NotFittedError",
    "Params",
    "RandomState",
    "Unknown",
    "UnknownIdError",
    "check_clip",
    "check_dtype",
    "check_flag",
    "check_ids",
    "check_integer",
    "check_no_target",
    "check_number",
    "check_option",
    "check_random_state",
    "check_unknown",
    "level_of_caller",
    "shown",
]

Self = TypeVar("Self", bound="Params")
Option = TypeVar("Option", bound=str)

RandomState: TypeAlias = int | np.random.Generator | np.random.RandomState | np.random.SeedSequence | None
"""What every `random_state` takes; see `check_random_state`."""

Unknown: TypeAlias = Literal["raise", "ignore"]
"""What to do with an id that the model does not have: raise, or leave it out."""

PACKAGE = os.path.dirname(__file__) + os.sep
LONGEST = 100  # characters of a value in a message
INT64_MAX = np.iinfo(np.int64).max


class NotFittedError(ValueError, AttributeError):
    """Raised when a model is asked for what only `fit` can give it.

    It is a `ValueError` and an `AttributeError`, as scikit-learn's is, so that `hasattr(model, "user_factors_")`
    is False before `fit`.

    Examples
    --------
    >>> import fastals
    >>> try:
    ...     fastals.ImplicitALS().recommend(0)
    ... except fastals.NotFittedError:
    ...     print("fit the model first")
    fit the model first
    """


class UnknownIdError(ValueError, IndexError):
    """Raised when a user or item number is out of range.

    Examples
    --------
    >>> import fastals
    >>> model = fastals.ImplicitALS(2, iterations=1).fit([(0, 0, 1), (1, 1, 1)])
    >>> try:
    ...     model.recommend(7)
    ... except IndexError as error:
    ...     print(type(error).__name__)
    UnknownIdError
    """


def level_of_caller() -> int:
    """Return the `stacklevel` by which a warning names the line that called into this package, from however deep.

    On Python 3.12 and later this is what ``skip_file_prefixes`` of ``warnings.warn`` does.

    Examples
    --------
    >>> level_of_caller()  # nothing of this package called it
    1
    """
    frame: FrameType | None = sys._getframe(1)
    level = 1
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame, level = frame.f_back, level + 1
    return level


def shown(value: Any) -> str:
    """Return the `repr` of a value for a message, shortened where it is long."""
    try:
        text = repr(value)
    except Exception:  # Python refuses to write an integer of more than 4300 digits
        return f"a value of type {type(value).__name__} that cannot be printed"
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}... ({len(text)} characters)"


def check_number(name: str, value: Any, minimum: float | None = None) -> float:
    """Return `value` as a float; it must be a finite real number, not below `minimum`."""
    if isinstance(value, (bool, np.timedelta64)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {shown(value)} of type {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        beyond = "" if value in (math.inf, -math.inf) or value != value else " and of float64's range, below 1.8e308"
        raise ValueError(f"{name} must be finite{beyond}, got {shown(value)}")
    if minimum is not None and number < minimum:
        raise ValueError(f"{name} must be at least {minimum:g}, got {shown(value)}")
    return number


def check_integer(name: str, value: Any, minimum: int, maximum: int | None = INT64_MAX) -> int:
    """Return `value` as an int; it must be an integer from `minimum` to `maximum`; None: no upper bound."""
    # For an int the look at the abstract class is left out: it takes as long as the rest of a single request.
    if type(value) is not int and (
        isinstance(value, (bool, np.timedelta64)) or not isinstance(value, numbers.Integral)
    ):
        raise TypeError(f"{name} must be an integer, got {shown(value)} of type {type(value).__name__}")
    number = int(value)
    if number < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {shown(value)}")
    if maximum is not None and number > maximum:
        raise ValueError(f"{name} must be at most {maximum}, got {shown(value)}")
    return number


def check_flag(name: str, value: Any) -> bool:
    """Return `value` as a bool; it must be one."""
    if type(value) is not bool and not isinstance(value, np.bool_):
        raise TypeError(f"{name} must be True or False, got {shown(value)} of type {type(value).__name__}")
    return bool(value)


def check_option(name: str, value: Any, options: tuple[Option, ...]) -> Option:
    """Return `value`; it must be one of `options`."""
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {shown(value)}")
    return options[options.index(value)]


def is_auto(name: str, value: Any) -> bool:
    """Tell whether a number is left to a rule; a text other than 'auto' is refused."""
    if isinstance(value, str) and value != "auto":
        raise ValueError(f"{name} must be 'auto' or a number, got {shown(value)}")
    return isinstance(value, str)


def check_unknown(value: Any) -> str:
    """Return what `unknown` says of ids that a model does not have: 'raise' or 'ignore'."""
    return check_option("unknown", value, ("raise", "ignore"))


def check_no_target(y: Any) -> None:
    """Refuse a y, which scikit-learn's methods have as their second argument."""
    if y is not None:
        raise TypeError(
            f"y must be None, got {type(y).__name__}: R holds all that is fitted; pass weights=, callback= or "
            "start= by name"
        )


def check_dtype(name: str, value: Any) -> np.dtype:
    """Return `value` as a NumPy dtype; it must be float32 or float64."""
    try:
        dtype = np.dtype(value) if value is not None else None
    except Exception:  # whatever NumPy makes of it: a text can be a SyntaxError to it
        dtype = None
    if dtype is None or dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"{name} must be 'float32' or 'float64', got {shown(value)}")
    return dtype


def check_random_state(name: str, value: RandomState) -> np.random.Generator:
    """Return the Generator that a `random_state` stands for. This is what `random_state` means everywhere.

    Parameters
    ----------
    name : str
        The argument, for the message.
    value : int, numpy.random.Generator, RandomState, SeedSequence or None
        An int of at least 0 or a SeedSequence is a seed: the same numbers each time. A Generator is drawn from, and
        moves on. So does a RandomState, whose draws seed a new Generator. None takes a seed from the system.
    """
    if isinstance(value, np.random.RandomState):
        return np.random.default_rng(value.randint(2**31, size=4))
    if isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.timedelta64)):
        value = check_integer(name, value, 0, None)
    elif not (value is None or isinstance(value, (np.random.Generator, np.random.SeedSequence))):
        raise TypeError(
            f"{name} must be an int, a numpy.random.Generator, RandomState or SeedSequence, or None, "
            f"got {shown(value)} of type {type(value).__name__}"
        )
    return np.random.default_rng(value)


def check_clip(name: str, value: Any) -> tuple[float, float]:
    """Return (lowest, highest) as floats; the first must not be above the second."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{name} must be (lowest, highest), such as (1, 5), got {shown(value)}")
    low, high = (check_number(f"{name}[{place}]", end) for place, end in enumerate(value))
    if low > high:
        raise ValueError(f"{name} must be (lowest, highest), got {shown(value)}: {low:g} is above {high:g}")
    return low, high


def check_ids(name: str, ids: npt.ArrayLike, size: int, unknown: str = "raise", remedy: str = "") -> np.ndarray:
    """Return `ids` as a 1-D array of intp; each must lie in 0 .. size - 1, or becomes -1 where unknown ones may be.

    Parameters
    ----------
    name : str
        The argument, for the message.
    ids : int or array_like of int
        Row or column numbers; one number becomes an array of length 1.
    size : int
        How many rows or columns there are.
    unknown : {'raise', 'ignore'}, default 'raise'
        What to do with a number outside: raise, or put -1 in its place.
    remedy : str
        What ends the message about a number outside.
    """
    if type(ids) is int and 0 <= ids < size:  # a single request, where every microsecond counts
        return np.array([ids], np.intp)
    try:
        array = np.atleast_1d(np.asarray(ids))
    except ValueError as error:
        raise ValueError(f"{name} must be one id or a 1-D array of ids, got a ragged list") from error
    if array.ndim != 1:
        raise ValueError(f"{name} must be one id or a 1-D array of ids, got an array of shape {array.shape}")
    if array.size == 0:
        return np.empty(0, np.intp)
    if array.dtype.kind not in "iu":
        # NumPy has no integer type for [0, 2**64], so the numbers are looked at as they came.
        objects = np.atleast_1d(np.asarray(ids, object))
        if not all(isinstance(one, numbers.Integral) and not isinstance(one, bool) for one in objects.flat):
            raise TypeError(
                f"{name} must be integers, as users and items without ids are numbered, got {array.dtype} "
                f"(the first is {shown(array[:1].tolist()[0])})"
            )
        array = objects
    outside = (array < 0) | (array >= size)
    if outside.any():
        if unknown != "raise":
            return np.where(outside, -1, array).astype(np.intp)
        first = int(np.argmax(outside))
        raise UnknownIdError(
            f"{name if np.ndim(ids) == 0 else f'{name}[{first}]'} is {shown(array[first : first + 1].tolist()[0])}: "
            f"ids run from 0 to {size - 1}"
            + (f" ({int(outside.sum())} of {array.size} are out of range)" if array.size > 1 else "")
            + remedy
        )
    return array.astype(np.intp)


class Params:
    """Parameters as plain attributes, listed once: in the signature of `__init__`.

    Gives `get_params`, `set_params` and a `repr` as scikit-learn's `BaseEstimator` does. So scikit-learn's `clone`,
    pipelines and searches (with your own `scoring`) work, and scikit-learn need not be installed.

    Examples
    --------
    >>> import fastals
    >>> model = fastals.ImplicitALS(factors=8).set_params(alpha=2.0)
    >>> model.get_params()["alpha"]
    2.0
    """

    @classmethod
    def _param_names(cls) -> list[str]:
        parameters = inspect.signature(cls).parameters.values()
        return [parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters.

        Parameters
        ----------
        deep : bool, default True
            Has no effect; scikit-learn passes it.

        Returns
        -------
        dict of str -> object

        Examples
        --------
        >>> from fastals.evaluation import ItemBias
        >>> ItemBias(damping=2.0).get_params()
        {'damping': 2.0}
        """
        del deep
        return {name: getattr(self, name) for name in self._param_names()}

    def set_params(self: Self, **params: Any) -> Self:
        """Set parameters by name; their values are checked when they are used.

        Parameters
        ----------
        **params
            New values.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            There is no parameter of that name; then none is set.

        Examples
        --------
        >>> from fastals.evaluation import ItemBias
        >>> ItemBias().set_params(damping=2.0)
        ItemBias(damping=2.0)
        """
        known = self._param_names()
        for name in params:
            if name not in known:
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}; it has {', '.join(known)}")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Any:
        # Only scikit-learn asks, so it is installed; the tags it wants change with its version.
        from sklearn.base import BaseEstimator  # type: ignore

        return BaseEstimator().__sklearn_tags__()

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self)).parameters
        changed = (
            f"{name}={shown(value)}"
            for name, value in self.get_params().items()
            if type(value) is not type(defaults[name].default) or not np.array_equal(value, defaults[name].default)
        )
        return f"{type(self).__name__}({', '.join(changed)})"
