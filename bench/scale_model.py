"""How long an iteration takes at sizes that do not run here: a model in parts, `python -m bench.scale_model`.

Computation, transfer, barriers and disk are predicted apart. The constants of the computation are fitted to the table
"Time per iteration" of docs/benchmarks.md, and judged by leaving one cell of it out at a time. With `--check` the bytes
that a fit on two local workers sends are counted and compared with the prediction. The tables go into
docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import itertools
import re
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import nnls

from bench.problems import load
from bench.report import BENCHMARKS, _table, fill

CORES = 2  # of the machine of the table
SERIAL = 0.01  # share of an iteration on two cores that one thread does, besides eigenvalues
HALF_STEP, A_WORKER = 0.010, 0.0025  # seconds that Dask takes for a half-step, and more for each worker in it
SKEW = 0.85  # of the popularity: with it `touched` is right for Last.fm 2K and MovieLens 1M, on 2 and on 8 workers
FLOAT = 4  # bytes
ENTRY = 8  # bytes of an entry in memory or on disk, on each side: index and value
GIGA = 1e9


class Size(NamedTuple):
    """Data, and how many factors."""

    name: str
    users: float
    items: float
    entries: float
    k: int


class Machines(NamedTuple):
    """What it runs on."""

    number: int
    cores: int  # of each
    memory: float  # bytes of each
    network: float  # bytes a second, of each link
    disk: float = 2e9  # bytes a second, of each


class Parts(NamedTuple):
    """Seconds of an iteration."""

    compute: float
    transfer: float
    barrier: float
    disk: float

    @property
    def total(self) -> float:
        """All of it, as if nothing went on side by side."""
        return sum(self)


def terms(size: Size) -> list[float]:
    """Return what the computation is a sum of: entries, entries k, rows k^2, k^3."""
    rows = size.users + size.items
    return [size.entries, size.entries * size.k, rows * size.k**2, size.k**3]


SIZES = {
    "lastfm-2k": (1_892, 17_632, 92_834),
    "ml-1m": (6_040, 3_260, 801_218),
    "synthetic-20m": (138_000, 27_000, 20_000_000),
}


def measured() -> list[tuple[Size, float]]:
    """Return sizes and seconds of an iteration of `solver="auto"`, from docs/benchmarks.md."""
    text = BENCHMARKS.read_text().split("<!-- table:iteration -->")[1].split("<!-- /table")[0]
    found = []
    for name, k, seconds in re.findall(r"^\| ([\w-]+), k = (\d+) \| \**([\d.]+)", text, re.MULTILINE):
        found.append((Size(name, *SIZES[name], int(k)), float(seconds)))
    return found


def constants(cells: list[tuple[Size, float]]) -> np.ndarray:
    """Return seconds a unit of each term on two cores, by least squares of the relative error."""
    matrix = np.array([terms(size) for size, _ in cells])
    seconds = np.array([seconds for _, seconds in cells])
    scale = matrix.max(axis=0)
    found, _ = nnls(matrix / scale / seconds[:, None], np.ones(len(cells)))
    return found / scale


def left_out(cells: list[tuple[Size, float]]) -> list[float]:
    """Return predicted / measured seconds of each cell, by constants from the others."""
    ratios = []
    for place, (size, seconds) in enumerate(cells):
        others = cells[:place] + cells[place + 1 :]
        ratios.append(float(np.dot(terms(size), constants(others)) / seconds))
    return ratios


def compute(size: Size, machines: Machines, c: np.ndarray) -> float:
    """Predict the seconds of the computation: rows on all cores, eigenvalues and what is serial on one."""
    *rows, cubed = np.array(terms(size)) * c
    on_two = float(np.sum(rows))
    return on_two * (SERIAL + (1 - SERIAL) * CORES / (machines.number * machines.cores)) + float(cubed)


def touched(n: float, entries: float) -> float:
    """Return how many of n columns a worker with so many entries touches, if popularity falls as rank^-SKEW."""
    edges = np.unique(np.geomspace(1, n + 1, 4000).astype(np.int64)).astype(float)  # ranks alike enough to be one
    ranks, counts = (edges[1:] + edges[:-1] - 1) / 2, np.diff(edges)
    popularity = ranks**-SKEW
    return float(np.dot(counts, -np.expm1(-entries * popularity / np.dot(counts, popularity))))


def bytes_of_half_step(size: Size, count: int, of_users: bool) -> float:
    """Predict what the calling process sends and receives: fixed factors for each worker, its own rows there and back.

    Where a worker touches most of the fixed factors it is sent all of them, as `fastals.cluster` does. Prior means are
    left out: those of features, and from 256 factors on those of coupled rows (`engine.alternation.FEW`).
    """
    rows, columns = (size.users, size.items) if of_users else (size.items, size.users)
    some = touched(columns, size.entries / count)
    fixed = columns if some > 0.8 * columns else some
    return FLOAT * size.k * (count * fixed + 2 * rows)


def parts(size: Size, machines: Machines, c: np.ndarray) -> Parts:
    """Predict an iteration with `fastals.cluster.fit`, or in one process where there is one machine."""
    several = machines.number > 1
    sent = sum(bytes_of_half_step(size, machines.number, side) for side in (True, False)) if several else 0.0
    barrier = 2 * (HALF_STEP + A_WORKER * machines.number) if several else 0.0
    here = 2 * ENTRY * size.entries / machines.number
    factors = FLOAT * size.k * (size.users + size.items)
    read = here if here + factors > machines.memory else 0.0
    return Parts(compute(size, machines, c), sent / machines.network, barrier, read / machines.disk)


def sharded(size: Size, machines: Machines, c: np.ndarray) -> float:
    """Predict an iteration if both sides were spread over the machines, which send each other the rows they need."""
    each = FLOAT * size.k * sum(touched(n, size.entries / machines.number) for n in (size.users, size.items))
    here = parts(size, machines, c)
    return here.compute + each / machines.network + here.barrier + here.disk


def first_limit(size: Size, machines: Machines) -> str:
    """Say what breaks first as the library is."""
    if max(size.users, size.items) >= 2**31:
        return "more rows than int32 numbers"
    both = FLOAT * size.k * (size.users + size.items)
    if both > machines.memory:
        return f"factors of {both / GIGA:,.0f} GB in the calling process"
    if machines.number > 1:
        sent = sum(bytes_of_half_step(size, machines.number, side) for side in (True, False))
        if sent / machines.network > 60:
            return f"{sent / GIGA:,.0f} GB an iteration through the calling process"
    if 2 * ENTRY * size.entries / machines.number + both > machines.memory:
        return "memory for the entries: read from disk"
    return "nothing"


ONE = Machines(1, 16, 64 * GIGA, np.inf)
BIG = Machines(1, 64, 512 * GIGA, np.inf)
CASES = (
    (Size("MovieLens 20M", 138_493, 26_744, 20_000_263, 64), (ONE,)),
    (Size("Netflix", 480_189, 17_770, 100_480_507, 128), (ONE,)),
    (Size("KakaoReco", 22e6, 1.5e6, 730e6, 128), (ONE, BIG, Machines(8, 16, 64 * GIGA, 1.25 * GIGA))),
    (Size("100 M users", 100e6, 5e6, 50e9, 128), (BIG, Machines(64, 64, 512 * GIGA, 12.5 * GIGA))),
    (Size("WebGraph", 365.4e6, 365.4e6, 30e9, 128), (BIG, Machines(64, 64, 512 * GIGA, 12.5 * GIGA))),
)


def duration(seconds: float) -> str:
    """Return seconds as people read them."""
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:,.0f} s" if seconds < 600 else f"{seconds / 3600:.1f} h"


def predictions(c: np.ndarray) -> str:
    """Return the table of sizes and machines."""
    rows = []
    for size, all_machines in CASES:
        for machines in all_machines:
            found = parts(size, machines, c)
            link = f", {8 * machines.network / GIGA:.0f} Gbit/s" if machines.number > 1 else ""
            rows.append(
                [
                    f"{size.name}, k = {size.k}",
                    f"{machines.number} x {machines.cores} cores, {machines.memory / GIGA:.0f} GB{link}",
                    *map(duration, (*found, found.total)),
                    duration(sharded(size, machines, c)) if machines.number > 1 else "",
                    first_limit(size, machines),
                ]
            )
    columns = ["compute", "transfer", "barriers", "disk", "an iteration", "both sides sharded", "what breaks first"]
    return _table(["data", "machines", *columns], rows)


def fit_of_the_model(cells: list[tuple[Size, float]]) -> str:
    """Return how far the prediction of each cell is off."""
    rows = [
        [f"{size.name}, k = {size.k}", f"{seconds:.4g}", f"{ratio * seconds:.4g}", f"{ratio:.2f}"]
        for (size, seconds), ratio in zip(cells, left_out(cells), strict=True)
    ]
    return _table(["", "measured, s", "predicted from the others, s", "ratio"], rows)


def check_transfer() -> str:
    """Count what fits on two local workers send, and compare with the prediction."""
    from distributed import Client, LocalCluster

    import fastals
    from fastals.cluster import tasks
    from fastals.cluster.workers import Workers

    sent: list[int] = []
    half_steps: set[str] = set()  # futures of what half-steps are sent, but not of those of the start
    send, answer = Workers.send, Workers.answer

    def counted_send(self: Workers, worker: str, what: Any) -> Any:
        future = send(self, worker, what)
        if isinstance(what, tasks.Asked) and not what.plan.sketch:
            half_steps.add(future.key)
            sent.append(sum(part.nbytes for part in (what.Y, what.X, what.means) if part is not None))
        return future

    def counted_answer(self: Workers, worker: str, task: Any, *arguments: Any) -> Any:
        found = answer(self, worker, task, *arguments)
        if task is tasks.solve and arguments[1].key in half_steps:
            sent.append(found[0].nbytes)
        return found

    rows, n_iterations = [], 5
    local = LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=":0")  # type: ignore[no-untyped-call]
    with local, Client(local) as client:  # type: ignore[no-untyped-call]
        for name, k in itertools.product(("lastfm-2k", "ml-1m"), (32, 64)):
            R = fastals.ImplicitALS().interactions(load(name).R)
            size, model = (
                Size(name, *R.shape, R.nnz, k),
                fastals.ImplicitALS(k, iterations=n_iterations, random_state=0),
            )
            Workers.send, Workers.answer = counted_send, counted_answer  # type: ignore[assignment, method-assign]
            sent.clear()
            try:
                fastals.cluster.fit(model, R, client=client)
            finally:
                Workers.send, Workers.answer = send, answer  # type: ignore[method-assign]
            predicted = n_iterations * sum(bytes_of_half_step(size, 2, side) for side in (True, False))
            # The first half-step of each side has no start of its own, and the last one does not use it.
            predicted -= FLOAT * k * (size.items + 2 * size.users)
            total = sum(sent)
            cells = f"{total / 1e6:.1f}", f"{predicted / 1e6:.1f}", f"{predicted / total:.2f}"
            rows.append([f"{name}, k = {k}", *cells])
    return _table(["5 iterations, 2 workers", "sent, MB", "predicted, MB", "ratio"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scale_model", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="count the bytes of fits on two local workers")
    arguments = parser.parse_args()
    cells = measured()
    c = constants(cells)
    tables = {"scale-fit": fit_of_the_model(cells), "scale": predictions(c)}
    if arguments.check:
        tables["scale-transfer"] = check_transfer()
    for name, table in tables.items():
        print(f"\n{name}\n{table}")
    print("\nnanoseconds a unit on two cores:", [float(f"{1e9 * number:.3g}") for number in c])
    fill(tables)


if __name__ == "__main__":
    main()
