"""Objects whose attributes cannot be set, and attributes that are computed when they are first read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

__all__ = ["Frozen", "derived"]

T = TypeVar("T")


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

    Parameters
    ----------
    compute : callable instance -> value
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
