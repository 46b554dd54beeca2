"""What a fresh process waits for: `python -m bench.start TASK` does one of TASKS and prints what it took, as JSON."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from time import perf_counter
from typing import Any

# Nothing is imported up here that a task is about: not even NumPy.


@contextmanager
def measured() -> Iterator[dict[str, Any]]:
    """Fill in the seconds that the block takes, and the bytes that the process holds afterwards and did not before."""
    found: dict[str, Any] = {}
    held, start = _resident_memory(), perf_counter()
    yield found
    found |= {"seconds": perf_counter() - start, "memory": _resident_memory() - held}


def _resident_memory() -> int:
    """Return 0 where the system does not tell. Not that of `bench.machine`, whose imports are some of Numba's."""
    try:
        with open("/proc/self/statm") as status:
            return int(status.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def imports(*modules: str) -> dict[str, Any]:
    """Import modules."""
    with measured() as found:
        for module in modules:
            import_module(module)
    return found


def first_call() -> dict[str, Any]:
    """Call a function of one line: what Numba itself takes before anything compiled can run."""
    import numba

    @numba.njit(cache=True)
    def plus_one(x):  # type: ignore[no-untyped-def]
        return x + 1

    with measured() as found:
        plus_one(1)
    return found


def first_fit() -> dict[str, Any]:
    """Fit a small float32 matrix, and tell what compiling each function took.

    On one thread, so that one function is compiled inside another; on more, all but one wait for the compiler.
    """
    import scipy.sparse as sp
    from numba.core import event

    import fastals

    R = sp.random(500, 400, 0.05, format="csr", dtype="float32", random_state=0)
    compiled = event.RecordingListener()
    with event.install_listener("numba:compile", compiled), measured() as found:
        fastals.ImplicitALS(factors=32, iterations=5, random_state=0, n_threads=1).fit(R)
    return found | {"functions": own_seconds(compiled.buffer)}


def own_seconds(events: Iterable[tuple[float, Any]]) -> dict[str, float]:
    """Return the seconds of each function, without those it calls, from Numba's events of beginnings and ends."""
    functions: dict[str, float] = {}
    running: list[tuple[float, float]] = []  # of each function: when it began, and the seconds of what it calls
    for now, event in events:
        if event.is_start:
            running.append((now, 0.0))
            continue
        name = event.data["dispatcher"].__name__
        begun, inside = running.pop()
        functions[name] = functions.get(name, 0.0) + now - begun - inside
        if running:
            running[-1] = running[-1][0], running[-1][1] + now - begun
    return functions


TASKS: dict[str, Callable[[], dict[str, Any]]] = {
    "import_numba": lambda: imports("numba"),
    "import_numba_and_sparse": lambda: imports("numba", "scipy.sparse"),
    "import_fastals": lambda: imports("fastals"),
    "first_call": first_call,
    "first_fit": first_fit,
}

if __name__ == "__main__":
    print(json.dumps(TASKS[sys.argv[1]]()))
