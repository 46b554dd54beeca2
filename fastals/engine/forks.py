"""What a fork waits for, so that the forked child can fit and answer.

A child has only the thread that forked. A lock that another thread held stays locked in it for ever, and what that
thread was about to finish stays half done. So each module names here the locks that a fork takes first, and gives back
on both sides, and what the child puts right.

The hooks are registered when this module is imported, not at the first fit: by then another thread may be compiling,
and nothing of ours runs between a kernel's call and Numba's taking its lock. The hooks do nothing until a fork.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import RLock

_forking = RLock()  # one fork at a time keeps account of what it has taken
_locks: list[tuple[Callable[[], object], Callable[[], object]]] = [(_forking.acquire, _forking.release)]
_to_release: list[Callable[[], object]] = []
_in_child: list[Callable[[], object]] = []


def hold(acquire: Callable[[], object], release: Callable[[], object]) -> None:
    """Make every fork call `acquire` before, and `release` after, in the parent and in the child.

    The thread that forks may hold the lock already: it must be reentrant. Locks are taken in the order of these calls.
    """
    _locks.append((acquire, release))


def in_child(repair: Callable[[], object]) -> None:
    """Make every forked child call `repair`."""
    _in_child.append(repair)


class OwnLock:
    """A reentrant lock of which each process has its own: a forked child does not find it held.

    For what a fork need not wait for, as it is replaced as a whole: the child cannot see half of it. Call it to get the
    lock, in the line of a `with`: an exception that a signal raises between two lines could leave it held.
    """

    def __init__(self) -> None:
        self._locks: dict[int, AbstractContextManager] = {}

    def __call__(self) -> AbstractContextManager:
        """Return the lock of this process."""
        return self._locks.setdefault(os.getpid(), RLock())


def _before() -> None:
    for acquire, release in _locks:
        acquire()
        _to_release.append(release)


def _after_in_parent() -> None:
    while _to_release:
        _to_release.pop()()


def _after_in_child() -> None:
    for repair in _in_child:
        repair()
    _after_in_parent()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
