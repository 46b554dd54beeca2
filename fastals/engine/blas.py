"""LAPACK of k x k matrices on one thread.

NumPy's OpenBLAS splits even small matrices over all CPUs, whose threads then spin and wait for each other: at k = 128
on busy CPUs a fit took 6.5 s, and 0.7 s with one BLAS thread. This is the only BLAS that the engine calls.
"""

from __future__ import annotations

import ctypes
import time
from functools import cache
from threading import RLock, get_ident
from typing import Any

import numpy as np

from . import forks

# Reentrant, as a signal's handler or the garbage collector may run a fit or end a guard while this thread holds it.
_lock = RLock()
_inside: dict[int, int] = {}  # the thread of each guard that is entered, by the guard's id
_outside: int | None = None  # threads that BLAS used before the first guard was entered; None while there is none


@cache
def _controls() -> tuple[Any, Any] | None:
    """Return the functions that get and set the threads of NumPy's OpenBLAS; None where it has another BLAS.

    They hold for the whole process. NumPy offers no such function (its issue 11826), and OpenBLAS none for one thread.
    Remove when one of them does.
    """
    try:
        library = ctypes.CDLL(np.linalg._umath_linalg.__file__)  # type: ignore[attr-defined]
    except (AttributeError, OSError):
        return None
    for prefix in ("scipy_openblas", "openblas"):
        for suffix in ("64_", ""):
            names = (f"{prefix}_{what}_num_threads{suffix}" for what in ("get", "set"))
            get, set_ = (getattr(library, name, None) for name in names)
            if get is not None and set_ is not None:
                return get, set_
    return None


class one_blas_thread:  # noqa: N801  a context manager that is used like a function
    """Inside, NumPy's OpenBLAS uses one thread; what it used before comes back when the last caller leaves.

    An exception may strike between any two instructions, as Ctrl-C raises one. So each step sets BLAS by who is inside,
    and can be done again: when it fails it is, and once more when Python drops the guard, as the exception may strike
    before `__exit__` has begun.
    """

    def __enter__(self) -> None:
        try:
            if _is_inside():  # BLAS uses one thread already; a fork may hold the lock until this thread is outside
                _inside[id(self)] = get_ident()
            else:
                with _lock:
                    _inside[id(self)] = get_ident()
                    _settle()
        except BaseException:
            self._leave()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            self._leave()
        except BaseException:
            self._leave()
            raise

    def __del__(self) -> None:
        if id(self) in _inside:
            self._leave()

    def _leave(self) -> None:
        _inside.pop(id(self), None)
        if not _is_inside():
            _settle()


def _is_inside() -> bool:
    return get_ident() in list(_inside.values())


def _settle() -> None:
    """Set BLAS to one thread if anyone is inside, otherwise to as many as before."""
    global _outside
    controls = _controls()
    if controls is None:
        return
    get, set_ = controls
    with _lock:
        if _inside:
            if _outside is None:
                _outside = get()
            if get() != 1:
                set_(1)
        elif _outside is not None:
            set_(_outside)
            _outside = None


def _wait_for_others() -> None:
    """Let nobody in any more, and wait until no other thread is inside: a fork must not catch BLAS's own locks held."""
    _lock.acquire()
    while set(list(_inside.values())) - {get_ident()}:
        time.sleep(1e-4)


forks.hold(_wait_for_others, _lock.release)
forks.in_child(_settle)


def eigh(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues and eigenvectors of a symmetric matrix, in its dtype."""
    with one_blas_thread():
        return np.linalg.eigh(matrix)
