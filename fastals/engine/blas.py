"""LAPACK of k x k matrices on one thread.

NumPy's OpenBLAS splits even small matrices over all CPUs, whose threads then spin and wait for each other: at k = 128
on busy CPUs a fit took 6.5 s, and 0.7 s with one BLAS thread. This is the only BLAS that the engine calls.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

import numpy as np

_lock = Lock()
_inside = 0
_before = 1


@cache
def _controls() -> tuple[Any, Any] | None:
    """Return the functions that get and set the threads of NumPy's OpenBLAS; None where it has another BLAS."""
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


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Inside, NumPy's OpenBLAS uses one thread; what it used before comes back when the last caller leaves."""
    global _inside, _before
    controls = _controls()
    if controls is None:
        yield
        return
    get, set_ = controls
    with _lock:
        if _inside == 0:
            _before = get()
            set_(1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                set_(_before)


def eigh(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues and eigenvectors of a symmetric matrix, in the precision that it comes in.

    `np.linalg.eigh` takes float32 for float64, and 1.4 to 1.8 times as long: a fit on lastfm took 2% longer at 512
    factors and 5% at 1024. NumPy has the other precision too, but not in public.
    """
    solver = getattr(getattr(np.linalg, "_umath_linalg", None), "eigh_lo", np.linalg.eigh)
    with one_blas_thread():
        return solver(matrix)
