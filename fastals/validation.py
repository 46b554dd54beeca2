"""Checks of what a user passes: each raises a sentence that says what is wrong, where, what came, what is wanted."""

from __future__ import annotations

import inspect
import math
import numbers
from typing import Any, TypeVar

import numpy as np

__all__ = [
    "NotFittedError",
    "Params",
    "check_dtype",
    "check_flag",
    "check_ids",
    "check_integer",
    "check_number",
    "check_option",
    "check_random_state",
]

Self = TypeVar("Self", bound="Params")


class NotFittedError(ValueError, AttributeError):
    """Raised when a model is asked for what only `fit` can give it.

    It is a `ValueError` and an `AttributeError`, as scikit-learn's is, so that `hasattr(model, "user_factors_")`
    is False before `fit`.
    """


def check_number(name: str, value: Any, minimum: float | None = None) -> float:
    """Return `value` as a float; it must be a finite real number, not below `minimum`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {value!r} of type {type(value).__name__}")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {value!r}")
    if minimum is not None and number < minimum:
        raise ValueError(f"{name} must be at least {minimum:g}, got {value!r}")
    return number


def check_integer(name: str, value: Any, minimum: int) -> int:
    """Return `value` as an int; it must be an integer, not below `minimum`."""
    # A look at the abstract class takes as long as all else that a single request needs of Python.
    if type(value) is not int and (isinstance(value, bool) or not isinstance(value, numbers.Integral)):
        raise TypeError(f"{name} must be an integer, got {value!r} of type {type(value).__name__}")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value!r}")
    return int(value)


def check_flag(name: str, value: Any) -> bool:
    """Return `value` as a bool; it must be one."""
    if type(value) is not bool and not isinstance(value, np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r} of type {type(value).__name__}")
    return bool(value)


def check_option(name: str, value: Any, options: tuple[str, ...]) -> str:
    """Return `value`; it must be one of `options`."""
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {value!r}")
    return value


def check_dtype(name: str, value: Any) -> np.dtype:
    """Return `value` as a NumPy dtype; it must be float32 or float64."""
    try:
        dtype = np.dtype(value) if value is not None else None
    except (TypeError, ValueError):
        dtype = None
    if dtype is None or dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"{name} must be 'float32' or 'float64', got {value!r}")
    return dtype


def check_random_state(name: str, value: Any) -> np.random.Generator:
    """Return a NumPy Generator made from an int, a Generator, a RandomState, a SeedSequence or None."""
    if isinstance(value, np.random.RandomState):
        return np.random.default_rng(value.randint(2**31, size=4))
    if isinstance(value, bool) or not (
        value is None or isinstance(value, (numbers.Integral, np.random.Generator, np.random.SeedSequence))
    ):
        raise TypeError(
            f"{name} must be an int, a numpy.random.Generator or None, got {value!r} of type {type(value).__name__}"
        )
    if isinstance(value, numbers.Integral):
        value = check_integer(name, value, 0)
    return np.random.default_rng(value)


def check_ids(name: str, ids: Any, size: int) -> np.ndarray:
    """Return `ids` as a 1-D array of intp; each must lie in 0 .. size - 1.

    Parameters
    ----------
    name : str
        The argument, for the message.
    ids : int or array_like of int
        Row or column numbers; one number becomes an array of length 1.
    size : int
        How many rows or columns there are.
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
        raise TypeError(f"{name} must be integers, got {array.dtype} (the first is {array[:1].tolist()[0]!r})")
    outside = (array < 0) | (array >= size)
    if outside.any():
        first = int(np.argmax(outside))
        raise ValueError(
            f"{name}[{first}] is {array[first]}: ids run from 0 to {size - 1}"
            + (f" ({int(outside.sum())} of {array.size} are out of range)" if array.size > 1 else "")
        )
    return array.astype(np.intp)


class Params:
    """Parameters as plain attributes, listed once: in the signature of `__init__`.

    Gives `get_params`, `set_params` and a `repr` in the manner of scikit-learn's `BaseEstimator`, so that its `clone`,
    pipelines and searches (with a `scoring` of your own) work, without scikit-learn being needed.
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
            There for scikit-learn; changes nothing.

        Returns
        -------
        dict of str -> object
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
        """
        known = self._param_names()
        for name in params:
            if name not in known:
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}; it has {', '.join(known)}")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Any:
        # Only scikit-learn asks, so it is there; what it wants to be told changes with its version.
        from sklearn.base import BaseEstimator  # type: ignore

        return BaseEstimator().__sklearn_tags__()

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self)).parameters
        changed = (
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if type(value) is not type(defaults[name].default) or not np.array_equal(value, defaults[name].default)
        )
        return f"{type(self).__name__}({', '.join(changed)})"
