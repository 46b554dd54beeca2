"""How much of a fit runs on one thread: `python -m bench.serial [--cells lastfm-2k:32:2 ...] [--fits 5] [--quick]`.

A fit lays its work out for 16 threads, and runs here on one. Timed are what it spends within launches of several
threads, by `fastals.engine.threads.spread`, and what it spends otherwise, part by part. Nothing in the library is
instrumented: functions are replaced from here. Seconds are CPU time of the fit's thread, of the fit with the median
share.

What these figures allow on more cores is predicted: the time of each launch is divided by the threads that it asks for.
Helping threads come as late as they do on this machine. Blocks are taken to spread evenly; `bench.balance` says how
evenly. The table in docs/benchmarks.md gets the rows that were measured, unless `--quick`.
"""

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from threading import Event, get_ident
from typing import Any, NamedTuple

import numpy as np

from bench import problems
from bench.machine import cpu_model, limit_blas
from bench.measured import Record, keep
from bench.report import _table, fill

CORES = (8, 16, 64)
CELLS = [
    *(f"lastfm-2k:32:{iterations}" for iterations in (2, 15)),
    *(f"ml-1m:{k}:{iterations}" for k in (64, 256, 1024) for iterations in (2, 15)),
    "synthetic-20m:64:2",
    "ml-1m:64:15:defaults",
    "ml-1m:256:15:defaults",
    "ml-1m:1024:15:defaults",
]
LAID_OUT = 16
REST, SWEEPS, ALONE = "everything else", "within launches", "launches of one thread"
# Functions by part. The time of a function is that without the other functions that it calls.
PARTS = {
    "transposition": ["data.matrix.transpose"],
    "checks and conversion": ["data.interactions.as_interactions"],
    "schedules": ["engine.sweep.solver_here"],
    "sketch": ["engine.sketch.sketch"],
    "whitening": ["engine.basis.whiten"],
    "Gram matrices": ["engine.basis.gram"],
    "eigenproblems": ["engine.basis.diagonalise", "engine.blas.eigh"],
    "balance": ["engine.basis.balance"],
    "triangular factors": ["engine.triangular.factor", "engine.whitening.whitening"],
    "rotations": ["engine.basis.rotate", "engine.blas.product"],
    "loss": ["engine.loss.ridge"],
    "around sweeps": ["engine.sweep.half_step"],
}


class Fit(NamedTuple):
    """What one fit took."""

    parts: dict[str, float]  # seconds outside of launches, by part
    launches: list[tuple[float, int]]  # seconds of one thread, and the threads asked for

    @property
    def serial(self) -> float:
        """Seconds outside of launches."""
        return sum(self.parts.values())

    @property
    def total(self) -> float:
        """Seconds on one thread."""
        return self.serial + sum(seconds for seconds, _ in self.launches)

    def on(self, cores: int, late: float) -> float:
        """Return the predicted seconds on so many cores, if helping threads come `late` seconds after the first."""
        shared = 0.0
        for seconds, asked in self.launches:
            n = min(asked, cores)
            shared += min(seconds, (seconds + (n - 1) * late) / n)
        return self.serial + shared


class Clock:
    """Says which part the CPU time of the calling thread belongs to."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = defaultdict(float)
        self.launches: list[tuple[float, int]] = []
        self._stack = [REST]
        self._since = 0.0

    def begin(self) -> None:
        """Let time run from now on."""
        self._since = time.thread_time()

    @contextmanager
    def within(self, part: str) -> Iterator[None]:
        """Within the context, time belongs to `part`."""
        self._book()
        self._stack.append(part)
        try:
            yield
        finally:
            self._book()
            self._stack.pop()

    def spread(self, work: Callable[[np.ndarray], Any], n_threads: int) -> None:
        """Do as `threads.spread`, on the calling thread alone."""
        before = self.parts[SWEEPS]
        with self.within(SWEEPS):
            work(np.zeros(1, np.int64))
        seconds = self.parts[SWEEPS] - before
        if n_threads > 1:
            self.launches.append((seconds, n_threads))
        else:
            self.parts[ALONE] += seconds

    def timed(self, part: str, function: Callable) -> Callable:
        """Return a function whose time belongs to `part`."""

        @wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            with self.within(part):
                return function(*arguments, **named)

        return call

    def fit(self) -> Fit:
        """Return what has been booked."""
        self._book()
        self.parts.pop(SWEEPS, None)
        return Fit(dict(self.parts), self.launches)

    def _book(self) -> None:
        now = time.thread_time()
        self.parts[self._stack[-1]] += now - self._since
        self._since = now


@contextmanager
def replaced(replacements: dict[str, Callable]) -> Iterator[None]:
    """Within the context, functions of fastals are others, wherever a module has them: by their full names."""
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("fastals")]
    before = []
    for name, replacement in replacements.items():
        home, _, attribute = name.rpartition(".")
        original = getattr(sys.modules[f"fastals.{home}"], attribute)
        for module in modules:
            before += [(module, key, original) for key, value in vars(module).items() if value is original]
        for module, key, function in before:
            if function is original:
                setattr(module, key, replacement)
    try:
        yield
    finally:
        for module, key, function in before:
            setattr(module, key, function)


def measured(problem: problems.Problem, defaults: bool, factors: int, iterations: int, n_threads: int) -> Fit:
    """Return what a fit for so many threads takes on one, with default parameters or those of the benchmarks."""
    import fastals

    given: dict[str, Any] = {"alpha": problem.alpha, "regularization": problem.regularization, "unobserved_weight": 1.0}
    given |= {"popularity_exponent": 0.0, "regularization_exponent": 0.0}
    model = fastals.ImplicitALS(
        factors, iterations=iterations, n_threads=n_threads, random_state=0, **{} if defaults else given
    )
    clock, replacements = Clock(), {}
    for part, names in PARTS.items():
        for name in names:
            home, _, attribute = name.rpartition(".")
            if hasattr(sys.modules.get(f"fastals.{home}"), attribute):
                replacements[name] = clock.timed(part, getattr(sys.modules[f"fastals.{home}"], attribute))
    with replaced({**replacements, "engine.threads.spread": clock.spread}):
        clock.begin()  # to replace functions takes milliseconds
        model.fit(problem.R)
        return clock.fit()


def lateness() -> float:
    """Return how long after the call of a launch its second thread begins: the median of 200."""
    from fastals.engine.threads import spread

    def one() -> float:
        came, caller = Event(), get_ident()
        at: list[float] = []

        def work(counter: np.ndarray) -> None:
            if get_ident() == caller:
                came.wait(1.0)
            else:
                at.append(time.perf_counter())
                came.set()

        begin = time.perf_counter()
        spread(work, 2)
        return at[0] - begin if at else 1.0

    return statistics.median(one() for _ in range(200))


def table(rows: list[Record]) -> str:
    """Return the table of docs/benchmarks.md."""
    header = ["", "iterations", "one thread, s", "outside launches", *(f"{n} cores" for n in CORES), "processor"]
    lines = []
    for row in rows:
        gains = [f"{row['gains'][str(cores)]:.1f}x" for cores in CORES]
        share = f"{row['serial'] / row['total']:.1%}"
        cell = f"{row['problem']}, k = {row['factors']}{', default parameters' * row['defaults']}"
        lines.append([cell, str(row["iterations"]), f"{row['total']:.3g}", share, *gains, row["cpu"]])
    return _table(header, lines)


def of_cell(cell: str, n_fits: int, late: float) -> Record:
    """Measure and print the parts of a cell, and what they allow."""
    name, factors, iterations, *defaults = cell.split(":")
    arguments = problems.load(name), bool(defaults), int(factors), int(iterations)
    measured(*arguments, LAID_OUT)  # compiles
    fits = sorted((measured(*arguments, LAID_OUT) for _ in range(n_fits)), key=lambda fit: fit.serial / fit.total)
    fit, gains = fits[len(fits) // 2], {}
    print(f"\n{cell}: {fit.serial * 1e3:.2f} of {fit.total * 1e3:.1f} ms serial, {fit.serial / fit.total:.1%}")
    for part, seconds in sorted(fit.parts.items(), key=lambda item: -item[1]):
        if seconds > 1e-3 * fit.total:
            print(f"    {part:24s}{seconds * 1e3:10.2f} ms{seconds / fit.total:8.1%}")
    for cores in CORES:
        wide = [measured(*arguments, cores) for _ in range(1 + n_fits // 2)]
        gains[str(cores)] = statistics.median(one.total / one.on(cores, late) for one in wide)
        amdahl = 1 / (fit.serial / fit.total + (1 - fit.serial / fit.total) / cores)
        print(f"    on {cores} cores: {amdahl:.1f}x by Amdahl's law, {gains[str(cores)]:.1f}x predicted", flush=True)
    of_fit = {"serial": fit.serial, "total": fit.total, "gains": gains, "late": late, "cpu": cpu_model()}
    of_cell = {"problem": name, "factors": int(factors), "iterations": int(iterations), "defaults": bool(defaults)}
    return of_cell | of_fit


def main(argv: list[str] | None = None) -> None:
    """Print the parts of each cell, and what they allow."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--cells", nargs="+", default=CELLS, help="problem:factors:iterations, and :defaults for default parameters"
    )
    parser.add_argument("--fits", type=int, default=5, help="fits of each cell")
    parser.add_argument("--quick", action="store_true", help="leave docs/benchmarks.md as it is")
    options = parser.parse_args(argv)
    limit_blas()
    late = lateness()
    print(f"a helping thread begins {late * 1e6:.0f} us after the call of a launch")
    for cell in options.cells:
        row = of_cell(cell, options.fits, late)
        if not options.quick:
            fill({"serial": table(keep("serial", cell, row))})


if __name__ == "__main__":
    main()
