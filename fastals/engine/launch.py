"""Where `prange` may run: Numba's threading layers abort the process, or hang, where they are used at a wrong moment.

GNU's OpenMP ends a forked child of a process that has used it. The layer `workqueue` ends a process in which two
threads launch at once, one of which may be somebody else's. A loop that may not be spread runs serially, to the same
bits.
"""

from __future__ import annotations

import os
from functools import cache
from threading import Lock
from typing import Any

import numba
from numba import config

from .jit import ParallelKernel

HOME = os.getpid()  # of the process that has imported this: a forked child has another
_launching = Lock()


def launch(kernel: ParallelKernel, n_threads: int, *arguments: Any) -> None:
    """Call a kernel on up to `n_threads` threads, or on the calling one where that alone is safe.

    Parameters
    ----------
    kernel : ParallelKernel
    n_threads : int
        Numba has as many at most as NUMBA_NUM_THREADS says, by default one for each CPU.
    *arguments
        Of the kernel.
    """
    n_threads = min(n_threads, config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    alone = n_threads == 1 or config.DISABLE_JIT or os.getpid() != HOME  # type: ignore[attr-defined]
    if alone or not _launching.acquire(blocking=False):
        kernel.serial(*arguments)
        return
    try:
        if not _layer_is_safe():
            kernel.serial(*arguments)
            return
        before = numba.get_num_threads()
        numba.set_num_threads(n_threads)
        try:
            kernel.parallel(*arguments)
        finally:
            numba.set_num_threads(before)
    finally:
        _launching.release()


@cache
def _layer_is_safe() -> bool:
    """Whether there is a threading layer, which this starts, and any threads may use it at once."""
    try:
        numba.get_num_threads()
    except ValueError:  # none can be loaded
        return False
    return bool(numba.threading_layer() != "workqueue")  # type: ignore[attr-defined]
