"""What a fresh process waits for: `python -m bench.start TASK` does one of TASKS and prints its seconds as JSON."""

import json
import sys
from collections.abc import Iterable
from time import perf_counter
from typing import Any

# Nothing is imported up here that a task is about: not even NumPy.


def import_numba() -> dict[str, Any]:
    """Import Numba."""
    start = perf_counter()
    import numba  # noqa: F401

    return {"seconds": perf_counter() - start}


def import_numba_and_sparse() -> dict[str, Any]:
    """Import what fastals is built on."""
    start = perf_counter()
    import numba  # noqa: F401
    import scipy.sparse  # noqa: F401

    return {"seconds": perf_counter() - start}


def import_fastals() -> dict[str, Any]:
    """Import fastals."""
    start = perf_counter()
    import fastals  # noqa: F401

    return {"seconds": perf_counter() - start}


def first_call() -> dict[str, Any]:
    """Call a function of one line: what Numba itself takes before anything compiled can run."""
    import numba

    @numba.njit(cache=True)
    def plus_one(x):  # type: ignore[no-untyped-def]
        return x + 1

    start = perf_counter()
    plus_one(1)
    return {"seconds": perf_counter() - start}


def first_fit() -> dict[str, Any]:
    """Fit a small float32 matrix, and tell what compiling each function took.

    On one thread, so that one function is compiled inside another; on more, all but one wait for the compiler.
    """
    import scipy.sparse as sp
    from numba.core import event

    import fastals

    R = sp.random(500, 400, 0.05, format="csr", dtype="float32", random_state=0)
    compiled = event.RecordingListener()
    with event.install_listener("numba:compile", compiled):
        start = perf_counter()
        fastals.ImplicitALS(factors=32, iterations=5, random_state=0, n_threads=1).fit(R)
        seconds = perf_counter() - start
    return {"seconds": seconds, "functions": own_seconds(compiled.buffer)}


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


TASKS = {task.__name__: task for task in (import_numba, import_numba_and_sparse, import_fastals, first_call, first_fit)}

if __name__ == "__main__":
    print(json.dumps(TASKS[sys.argv[1]]()))
