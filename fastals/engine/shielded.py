"""Calls of Numba and LLVM that Ctrl-C must not cut short, made on a thread where it cannot strike.

Python runs the handlers of signals in the main thread, between any two of its instructions. Numba does not stand that:
what is half registered makes every later compilation fail ("KeyError: <ufunc 'invert'>"), and llvmlite may free a
string twice, which ends the process. So the main thread waits for another one to make such a call. Ctrl-C ends the
waiting at once. The other thread goes on to the end, and the next call that needs the same finds it done.
"""

from __future__ import annotations

import atexit
import ctypes
import os
from _thread import allocate_lock, get_ident, start_new_thread
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import local, main_thread
from typing import Any

from . import forks

# Seconds for a thread to begin. Then the caller makes the call: the thread may have died at its start.
PATIENCE = 0.25
END = 60.0  # seconds that the interpreter's end waits for a call, at most


class GivenUpError(Exception):
    """What a waiting thread raises when those for whom it works have given up."""


_own = local()


@contextmanager
def given_up_if(stopped: Callable[[], bool]) -> Iterator[None]:
    """Within the context, this thread too lets another one make the calls, and stops waiting when `stopped` is true.

    For threads that the main one waits for: otherwise it would wait for their compilation, whatever Ctrl-C says.
    """
    before = getattr(_own, "stopped", None)
    _own.stopped = stopped
    try:
        yield
    finally:
        _own.stopped = before


def shielded(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Return ``function(*arguments, **named)``, or raise what it raises; no signal's handler runs inside of it.

    Where no other thread can be had, the calling one makes the call, unshielded.
    """
    stopped = getattr(_own, "stopped", None)
    if stopped is None and get_ident() != main_thread().ident:
        return function(*arguments, **named)
    call, process = _Call(partial(function, *arguments, **named)), os.getpid()
    try:
        start_new_thread(call.make, ())
    except (RuntimeError, MemoryError):
        call.make()
    while not call.over(PATIENCE):
        if stopped is not None and stopped():
            raise GivenUpError
        if os.getpid() != process:  # a signal's handler has forked, and the child has no other thread
            return function(*arguments, **named)
        call.make()
    return call.result()


class _Call:
    """A call that the first thread makes that comes, and what came of it."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._waiting = [function]
        self._value: Any = None
        self._error: BaseException | None = None
        self._at_work = allocate_lock()  # open when the call is made
        self._at_work.acquire()

    def make(self) -> None:
        """Make the call; do nothing if another thread has begun to."""
        try:
            function = self._waiting.pop()
        except IndexError:
            return
        try:
            _at_work[get_ident()] = self
            self._value = function()
        except BaseException as error:
            self._error = error
        finally:
            _at_work.pop(get_ident(), None)
            self._at_work.release()

    def over(self, seconds: float) -> bool:
        """Wait until the call is made, at most so many seconds, and tell whether it is."""
        found = self._at_work.acquire(timeout=seconds)
        if found:
            self._at_work.release()  # several threads may wait
        return found

    def result(self) -> Any:
        """Return or raise what came of the call."""
        error, self._error = self._error, None  # an error that knows its frames must not stand in one of them
        if error is not None:
            raise error
        return self._value


_at_work: dict[int, _Call] = {}  # by thread


def _end() -> None:
    """Stop what is still at work: a process must not end beside a thread that runs LLVM, which could crash it."""
    for thread, call in list(_at_work.items()):
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(SystemExit))
        call.over(END)


atexit.register(_end)
forks.in_child(_at_work.clear)
