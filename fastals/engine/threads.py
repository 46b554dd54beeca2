"""How many threads, and how work is spread over them.

Kernels release the GIL and draw blocks of rows from a shared atomic counter, so plain Python threads are enough: the
calling thread works too, late threads find the counter exhausted, and nothing of Numba's own threading layers is
started. Those abort the process when two Python threads launch at once (workqueue) or when a process that used them
forks (OpenMP).
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

UNLIMITED = 2**31

_pool: ThreadPoolExecutor | None = None
_pool_size = 0


def available() -> int:
    """CPUs that this process may use: its affinity, cut to the quota of its control group (rounded up)."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cpus, _cgroup_quota()))


@cache
def _cgroup_quota() -> int:
    """CPUs' worth of time that the control group may use: the least of its own and its parents' limits.

    Read once a process: it takes longer than folding in a user.
    """
    limits = [UNLIMITED]
    for folder, one_file in _cgroup_folders():
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max": no quota
            if one_file:
                quota, period = map(int, (folder / "cpu.max").read_text().split())
            else:
                quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
            if quota > 0:  # version 1 has -1 for no quota
                limits.append(math.ceil(quota / period))
    return min(limits)


def _cgroup_folders() -> list[tuple[Path, bool]]:
    """Return the folders of this process's control group and its parents, and whether they are of version 2."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    folders = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = Path("/sys/fs/cgroup/cpu" if controllers else "/sys/fs/cgroup")
        own = root / path.lstrip("/")
        # In a container the path may be the host's, and only the root be there.
        folders += [(folder, not controllers) for folder in (own, *own.parents) if folder.is_relative_to(root)]
    return folders


def spread(work: Callable[[np.ndarray], Any], n_threads: int) -> None:
    """Call `work(counter)` on `n_threads` threads at once and wait for all of them.

    Parameters
    ----------
    work : callable
        Releases the GIL, draws blocks from `counter` (int64 array of length 1) until none is left.
    n_threads : int
        Threads in all, the calling one included.
    """
    counter = np.zeros(1, np.int64)
    if n_threads == 1:
        work(counter)
        return
    pool = _threads(n_threads - 1)
    others = [pool.submit(work, counter) for _ in range(n_threads - 1)]
    try:
        work(counter)
    finally:
        for other in others:
            other.result()


def _threads(size: int) -> ThreadPoolExecutor:
    """Return a pool with room for `size` threads, kept between calls."""
    global _pool, _pool_size
    if _pool is None and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget_pool)
    if _pool is None or _pool_size < size:
        # An outgrown pool ends by itself once its last task is done and nothing refers to it.
        _pool, _pool_size = ThreadPoolExecutor(size, thread_name_prefix="fastals"), size
    return _pool


def _forget_pool() -> None:
    """Drop the pool in a forked child, where its threads do not exist."""
    global _pool, _pool_size
    _pool, _pool_size = None, 0
