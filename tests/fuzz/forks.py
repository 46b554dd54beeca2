"""Forks at any moment beside busy threads: the child fits and answers, and does not hang.

python -m tests.fuzz.forks STATE NUMBER SEED forks so often in one state, and prints how each child ended: 0 where all
was well, 9 where it hung. A process of its own for each state, as one that has fitted is no longer in its first fit.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
from scipy import sparse

import fastals
from fastals.engine import basis, blas, threads

from .outcome import RIGHT

STATES = ("first fit", "eigh", "update", "spread", "fit", "after a fit")
LIMIT = 300.0  # seconds until a child counts as hanging
A_PROCESS = 10  # forks of one process
R = sparse.random(300, 200, 0.05, "csr", random_state=0)


def fit(factors: int = 8) -> Any:
    """Fit on two threads."""
    return fastals.ImplicitALS(factors, iterations=2, n_threads=2, random_state=0).fit(R)


def busy(step: Callable[[], object]) -> None:
    """Let two threads do this over and over, until the process ends."""

    def repeat() -> None:
        while True:
            step()

    for _ in range(2):
        threading.Thread(target=repeat, daemon=True).start()


def begin(state: str) -> None:
    """Make the process busy."""
    if state == "eigh":
        matrix = np.cov(np.random.default_rng(0).standard_normal((40, 80)))
        busy(lambda: blas.eigh(matrix))
    elif state == "update":
        models = [fit(64), fit(64)]
        busy(lambda: models[threading.get_ident() % 2].update(3, 4, 2.0))
    elif state == "spread":
        busy(lambda: threads.spread(lambda counter: time.sleep(1e-4), 3))
    elif state == "fit":
        busy(lambda: fit(64))


def child(wanted: Any, outside: int | None) -> int:
    """Do what a forked child must be able to do; return its exit status."""
    model = fit()
    model.update(1, 2, 1.0)
    model.recommend(np.arange(40), n=5)
    if wanted is not None and not (fit().item_factors_ == wanted).all():
        return 2
    controls = blas._controls()
    return 3 if controls is not None and outside is not None and controls[0]() != outside else 0


def ending(run: Callable[[], int]) -> int:
    """Fork, and return how the child that runs this ended."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = run()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(1e-3)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return 9


def main(state: str, number: int, seed: int) -> None:
    """Fork so often in one state, and print how each child ended."""
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
    basis.SHARE = 1  # small panels on several threads too
    controls = blas._controls()
    outside = None
    if controls is not None:
        controls[1](2)
        outside = controls[0]()
    wanted = None
    if state != "first fit":
        wanted = fit().item_factors_
    begin(state)
    for turn in range(number):
        draw = np.random.default_rng([seed, turn])

        def in_first_fit(after: float = draw.random() * 0.3) -> int:
            """As a process that has not fitted yet, fork while a thread does."""
            threading.Thread(target=fit, daemon=True).start()
            time.sleep(after)
            return ending(lambda: child(wanted, outside))

        time.sleep(draw.random() * 1e-2)
        ended = ending(in_first_fit if state == "first fit" else lambda: child(wanted, outside))
        sys.stdout.write(f"{ended}\n")
        sys.stdout.flush()
    os._exit(0)


def endings(state: str, number: int, seed: int = 0, **environment: str) -> list[str]:
    """Return how each child of a process in a state ended, and what it wrote to the standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.forks", state, str(number), str(seed)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=3600,
    )
    return [*done.stdout.split(), *([done.stderr] if done.stderr or done.returncode else [])]


def tries(seed: int, first: int) -> Iterator[str]:
    """Fork in one state after the other, some times in each process."""
    for turn in count(first // A_PROCESS):
        state = STATES[turn % len(STATES)]
        found = endings(state, A_PROCESS, seed + turn)
        for place in range(A_PROCESS):
            ended = found[place] if place < len(found) else "nothing"
            if turn * A_PROCESS + place >= first:
                yield RIGHT if ended == "0" else f"in the state {state!r} a child ended with {ended:.500}"


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
