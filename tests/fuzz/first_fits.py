"""Ctrl-C at random moments of the first fit of a process, in which Numba loads or compiles; then the same fit again."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from itertools import count

from .outcome import RIGHT

FIT = """
import sys, time
from fastals import ImplicitALS
from tests.fuzz.interrupts import Sender
from tests.helpers import example, stored

R = stored(example(0, (60, 50), 0.1))
model = ImplicitALS(factors=5, iterations=2, random_state=0, n_threads=int(sys.argv[1]))
took = [0.0]

def fit():
    begun = time.perf_counter()
    model.fit(R)
    took.append(time.perf_counter() - begun)

Sender().during(fit, float(sys.argv[2]))
print(took[-1], model.fit(R).user_factors_.tobytes().hex())
"""


def first_fit(n_threads: int, after: float) -> tuple[float, str, str]:
    """Interrupt the first fit of a new process after so many seconds, and fit again.

    Return the seconds of the first, 0 if it did not end; the factors of the second, and what went wrong.
    """
    command = [sys.executable, "-c", FIT, str(n_threads), str(after)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode or ended.stderr:
        return 0.0, "", f"exit status {ended.returncode}: {ended.stderr[-300:]}"
    seconds, factors = ended.stdout.split()
    return float(seconds), factors, ""


def tries(seed: int, first: int) -> Iterator[str]:
    """Interrupt first fits, on one thread and on two."""
    first_fit(2, 0.0)  # the second fit compiles what is not in Numba's cache
    longest, right, _ = first_fit(2, 2.0)
    for turn in count(first):
        chance = random.Random(f"{seed} {turn}")
        _, factors, wrong = first_fit(chance.choice([1, 2]), chance.uniform(0, longest))
        yield wrong or (RIGHT if factors == right else "the next fit gives something else")
