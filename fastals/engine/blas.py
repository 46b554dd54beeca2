"""LAPACK of k x k matrices on one thread.

NumPy's OpenBLAS splits even small matrices over all CPUs, whose threads then spin and wait for each other: at k = 128
on busy CPUs a fit took 6.5 s, and 0.7 s with one BLAS thread. This is the only BLAS that the engine calls.
"""

from __future__ import annotations

import ctypes
import time
import weakref
from collections.abc import Callable
from functools import cache, partial
from threading import RLock, get_ident
from typing import Any

import numpy as np

from . import forks
from .threads import one_by_one

ROWS = 128  # of a product that one call of BLAS computes
SHARE = 2**21  # multiply-adds that are worth another thread: 0.1 ms of work
PASS = 16  # multiply-adds in the time in which a number is read and written

_entering = RLock()  # reentrant, as a signal's handler may run a fit while this thread holds it


class _Token(bytearray):
    """What keeps BLAS at one thread as long as anybody refers to it; `memoryview` gives it to a `with` statement."""

    __slots__ = ("__weakref__", "shared")

    def __init__(self, shared: _Token | None = None) -> None:
        self.shared = shared  # a thread's token refers to the one that all threads share


class _Reference(weakref.ref):
    """A reference that may call OpenBLAS when its token is gone; ctypes passes it as a 0 that nobody reads."""

    _as_parameter_ = 0


_shared: _Reference | None = None  # to the token that all who are inside share
_inside: dict[int, weakref.ref[_Token]] = {}  # for each thread, a reference to its token


@cache
def _controls() -> tuple[Any, Any] | None:
    """Return the functions that get and set the threads of NumPy's OpenBLAS; None where it has another BLAS.

    They hold for the whole process. NumPy offers no such function (its issue 11826), and OpenBLAS none for one thread.
    Remove when one of them does. `PyDLL` calls them with the GIL held, so no other thread comes between.
    """
    try:
        library = ctypes.PyDLL(np.linalg._umath_linalg.__file__)  # type: ignore[attr-defined]
    except (AttributeError, OSError):
        return None
    for prefix in ("scipy_openblas", "openblas"):
        for suffix in ("64_", ""):
            names = (f"{prefix}_{what}_num_threads{suffix}" for what in ("get", "set"))
            get, set_ = (getattr(library, name, None) for name in names)
            if get is not None and set_ is not None:
                return get, set_
    return None


def one_blas_thread() -> memoryview:
    """Return a context: inside, NumPy's OpenBLAS uses one thread; what it used before comes back with the last exit.

    Ctrl-C raises an exception between any two instructions of Python, and a second one may strike while the first is
    handled. So no instruction counts who is inside, and none restores: each context refers to one token, and the
    interpreter calls OpenBLAS when the last reference is gone. The end of a memory view releases what it refers to.
    """
    token: _Token | None = None
    try:
        token = _token_of_this_thread()
        return memoryview(token)
    except BaseException:
        token = None  # the traceback keeps this frame
        raise


def _token_of_this_thread() -> _Token:
    me = get_ident()
    mine = _inside.get(me)
    token = None if mine is None else mine()
    if token is not None:  # without `_entering`: a fork may hold it until this thread is outside
        return token
    try:
        with _entering:
            for thread, reference in list(_inside.items()):
                if reference() is None:
                    del _inside[thread]
            token = _Token(_quiet())
            _inside[me] = weakref.ref(token)
        return token
    except BaseException:
        token = None
        raise


def _quiet() -> _Token | None:
    """Return the token that all threads share, with BLAS at one thread; None where there is nothing to set."""
    global _shared
    controls = _controls()
    if controls is None:
        return None
    get, set_ = controls
    token = None if _shared is None else _shared()
    try:
        if token is None:
            token = _Token()
            _shared = _Reference(token, partial(set_, get()))
        if get() != 1:
            set_(1)
        return token
    except BaseException:
        token = None
        raise


def _wait_for_others() -> None:
    """Let nobody in any more, and wait until no other thread is inside: a fork must not catch BLAS's own locks held."""
    _entering.acquire()
    me = get_ident()
    while any(reference() is not None for thread, reference in list(_inside.items()) if thread != me):
        time.sleep(1e-4)


forks.hold(_wait_for_others, _entering.release)


def eigh(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues and eigenvectors of a symmetric matrix, in its dtype."""
    with one_blas_thread():
        return np.linalg.eigh(matrix)


def in_blocks(work: Callable[[slice], Any], begin: int, end: int, cost: int, n_threads: int) -> None:
    """Call `work` on blocks of rows, from `begin` to before `end`, on up to `n_threads` threads.

    The blocks are of one size, so the bits of their products do not depend on the number of threads. `cost` is the
    number of multiply-adds for each row.
    """
    count = -(-(end - begin) // ROWS)

    def one(number: int) -> None:
        start = begin + number * ROWS
        work(slice(start, min(start + ROWS, end)))

    one_by_one(one, count, max(1, min(n_threads, (end - begin) * cost // SHARE)))


def product(left: np.ndarray, right: np.ndarray, n_threads: int) -> np.ndarray:
    """Return ``left @ right`` in float64, with its rows spread over threads."""
    found = np.empty((len(left), right.shape[1]))

    def work(rows: slice) -> None:
        with one_blas_thread():
            np.matmul(left[rows], right, out=found[rows])

    in_blocks(work, 0, len(left), right.size, n_threads)
    return found
