"""How many threads, and how work is spread over them.

Kernels release the GIL and draw blocks of rows from a shared atomic counter, so plain Python threads are enough: the
calling thread works too, late threads find the counter exhausted, and nothing of Numba's own threading layers is
started. Those abort the process when two Python threads launch at once (workqueue) or when a process that used them
forks (OpenMP).
"""

from __future__ import annotations

import contextlib
import os
from _thread import LockType, allocate_lock, start_new_thread
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from threading import local
from typing import Any

import numpy as np

from . import forks, limits
from .limits import UNLIMITED
from .shielded import given_up_if

WAITING = 100  # calls for help beyond which no more is asked for

SPARE = 2**20  # bytes without which a thread does not help

_Helpers = tuple[SimpleQueue, list[int]]  # calls, and the threads that take them
_pool: _Helpers | None = None


def available() -> int:
    """CPUs that this process may use: its affinity, cut to the quota of its control group (rounded up)."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cpus, limits.cpus()))


_choice = local()


def chosen() -> int:
    """Threads for work on data: as many as `choose` says in this Python thread, else all that are available."""
    number: int | None = getattr(_choice, "number", None)
    return available() if number is None else number


@contextmanager
def choose(number: int) -> Iterator[None]:
    """Within the context, work on data takes so many threads. Containers of data have no parameter for it."""
    before: int | None = getattr(_choice, "number", None)
    _choice.number = number
    try:
        yield
    finally:
        _choice.number = before


def spread(work: Callable[[np.ndarray], Any], n_threads: int) -> None:
    """Call `work(counter)` on up to `n_threads` threads at once and wait for all of them.

    The calling thread works as well, alone where no other can be started: the system may have no thread left, or the
    interpreter may be about to end. When this returns or raises, also by Ctrl-C, no thread is at work any more.

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
    crew = _Crew(work, counter)
    try:
        try:
            crew.call(n_threads - 1)
            work(counter)
        except BaseException:
            counter[0] = UNLIMITED  # the others stop after their block
            raise
        finally:
            crew.wait()
    except BaseException:  # Ctrl-C may have come before or in the wait, and the others write into the caller's arrays
        crew.wait_in_any_case()
        raise
    if crew.error is not None:
        raise crew.error


# Numbers that a pass over an array must have to be worth another thread: 0.1 ms of work.
SHARE = 2**18


def in_parts(work: Callable[[slice], Any], length: int, width: int, n_threads: int) -> None:
    """Call `work` on parts of an array's rows, on up to `n_threads` threads at once.

    For functions of NumPy that release the GIL, and that compute each row by itself, so that parts change no bits.

    Parameters
    ----------
    work : callable
        Is given the rows as a slice.
    length, width : int
        Rows, and numbers in each.
    n_threads : int
    """
    parts = max(1, min(n_threads, length * width // SHARE))
    one_by_one(lambda part: work(slice(length * part // parts, length * (part + 1) // parts)), parts, parts)


def one_by_one(work: Callable[[int], Any], count: int, n_threads: int) -> None:
    """Call `work` with each number below `count`, on up to `n_threads` threads at once, which draw the numbers."""
    if min(count, n_threads) <= 1:
        for number in range(count):
            work(number)
        return
    drawing = allocate_lock()

    def draw(counter: np.ndarray) -> None:
        while True:
            with drawing:
                number = int(counter[0])
                counter[0] += 1
            if number >= count:
                return
            work(number)

    spread(draw, min(count, n_threads))


CLOSED = allocate_lock()


class _Crew:
    """The threads that help the calling one, of which any number may come late or never.

    Whoever stands in the list before `CLOSED` takes part, and is waited for: until its lock is open. Nothing else is
    counted, so that every step can be interrupted and done again. A thread may also die for want of memory. Before it
    stands in the list, it is not missed; from then on it needs no memory to open its lock.
    """

    def __init__(self, work: Callable[[np.ndarray], Any], counter: np.ndarray) -> None:
        self.error: BaseException | None = None
        self._work: Callable[[np.ndarray], Any] | None = work
        self._counter = counter
        self._came: list[LockType] = []

    def call(self, size: int) -> None:
        """Ask for the help of `size` threads, or of as many as there can be."""
        tasks, started = _helpers(size)
        with contextlib.suppress(MemoryError):
            for _ in range(min(size, len(started))):
                if tasks.qsize() <= WAITING:
                    tasks.put(partial(self._help, allocate_lock()))

    def wait(self) -> None:
        """Let nobody begin any more, and wait for those that have."""
        self._came.append(CLOSED)
        for lock in self._came:
            if lock is CLOSED:
                break
            _wait_for(lock)
        self._work = None  # a call that nobody has taken yet keeps no arrays

    def wait_in_any_case(self) -> None:
        """Do so whatever is raised meanwhile."""
        while True:
            try:
                self.wait()
                break
            except BaseException:  # Ctrl-C once more
                continue

    def _help(self, lock: LockType) -> None:
        with lock:
            try:
                np.empty(SPARE, np.uint8)  # Numba does not check whether it got memory, and would crash
            except MemoryError:
                return
            self._came.append(lock)
            try:
                for other in self._came:
                    if other is CLOSED:
                        return
                    if other is lock:
                        break
                if self._work is not None:
                    with given_up_if(lambda: bool(self._counter[0] >= UNLIMITED)):
                        self._work(self._counter)
            except BaseException as error:
                self.error = error


def _wait_for(lock: LockType) -> None:
    with lock:  # Ctrl-C cannot strike between taking the lock and giving it back
        del lock  # `pass` is no instruction of the block: what a debugger raises there would leave the lock taken


class Meanwhile:
    """A call that a thread of its own makes while the caller goes on, or the caller when it waits for it.

    Nobody waits for a thread that has not come: there may be none left, or it may have died at its start. A forked
    child leaves the call to its parent.
    """

    def __init__(self, call: Callable[[], object]) -> None:
        self._calls = [call]
        self._lock = allocate_lock()
        self._process = os.getpid()
        self._error: BaseException | None = None

    def start(self) -> None:
        """Let a thread make the call; the calling one makes it where none can be started."""
        try:
            start_new_thread(self._help, ())
        except (RuntimeError, MemoryError):
            self._help()

    def wait(self) -> None:
        """Return when the call is made, and raise what it has raised; after Ctrl-C one may wait again."""
        if os.getpid() == self._process:
            self._make()
        if self._error is not None:
            raise self._error

    def _make(self) -> None:
        with self._lock:
            if self._calls:
                self._calls.pop()()

    def _help(self) -> None:
        try:
            self._make()
        except BaseException as error:
            self._error = error


def _helpers(size: int) -> _Helpers:
    """Return the helping threads, kept between calls: `size` of them, or as many as can be started.

    `threading.Thread` and the pools of `concurrent.futures` wait until a new thread is there, and wait for ever if it
    dies at its start for want of memory. Here nobody waits for a thread that has not come.
    """
    global _pool
    pool = _pool
    if pool is None:
        pool = _pool = SimpleQueue(), []
    _, started = pool
    with contextlib.suppress(RuntimeError, MemoryError):
        while len(started) < size:
            started.append(start_new_thread(_serve, pool))
    return pool


def _serve(tasks: SimpleQueue[Callable[[], None]], started: list[int]) -> None:
    try:
        while True:
            tasks.get()()
    finally:
        started.pop()


def _forget_pool() -> None:
    """Drop the pool: in a forked child its threads do not exist."""
    global _pool
    _pool = None


forks.in_child(_forget_pool)
