"""A fit of mapped files beside the same fit in memory: `python -m bench.out_of_core --entries 20_000_000 --factors 32`.

Each fit runs in a process of its own, with the compiled functions loaded before. Memory is anonymous memory: what the
process holds beside the copies of files that the system keeps and can give back. The files are made in a folder that is
deleted at the end; `--store FOLDER` takes a store that is there, and fits only that. With `--cold` the system is asked
to forget the files before each fit. With `--group FOLDER` fits of mapped files join a control group of Linux, which
root has made and given a memory limit: it counts anonymous memory and the copies of files that the fit reads first. The
table in docs/benchmarks.md is rewritten, unless `--quick`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CHUNK = 5_000_000  # entries made at a time


def make(folder: Path, n_entries: int, n_users: int, n_items: int) -> None:
    """Write a generated matrix by user and by item: long and short users, popular and rare items, values 1 to 5."""
    import numpy as np
    from scipy import sparse

    rng, per_user = np.random.default_rng(0), n_entries / n_users
    columns, counts, step = [], [], max(1, int(CHUNK / per_user))
    for begin, end in pairwise([*range(0, n_users, step), n_users]):
        wanted = 1 + rng.geometric(1 / per_user, end - begin)
        users = np.repeat(np.arange(end - begin), wanted)
        keys = np.unique(users * n_items + (n_items * rng.random(len(users)) ** 3).astype(np.int64))
        counts.append(np.bincount(keys // n_items, minlength=end - begin))
        columns.append((keys % n_items).astype(np.int32))
    indices = np.concatenate(columns)
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    values = rng.integers(1, 6, len(indices)).astype(np.float32)
    turned = sparse.csr_array((values, indices, indptr), shape=(n_users, n_items)).tocsc()
    for name, parts in (("user", (indptr, indices, values)), ("item", (turned.indptr, turned.indices, turned.data))):
        for part, array, dtype in zip(("indptr", "indices", "values"), parts, ("i8", "i4", "f4"), strict=True):
            np.save(folder / f"{name}-{part}.npy", array.astype(dtype, copy=False))


class Watch(threading.Thread):
    """Look at this process's anonymous memory 50 times a second, and keep the largest."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.ended = 0, threading.Event()

    def run(self) -> None:
        """Look until `ended` is set."""
        while not self.ended.wait(0.02):
            self.peak = max(self.peak, anonymous())


def anonymous() -> int:
    """Return the bytes of anonymous memory that this process holds."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def forget(folder: Path) -> None:
    """Ask the system to forget its copies of the files."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def fit(
    folder: Path, where: str, factors: int, iterations: int, users: int, items: int, group: Path | None
) -> dict[str, Any]:
    """Fit in this process, and return what it took."""
    if group is not None and where != "memory":
        (group / "cgroup.procs").write_text(str(os.getpid()))
    import numpy as np
    from scipy import sparse

    import fastals
    from bench.same_bits import digest
    from fastals.data.interactions import Interactions
    from fastals.engine.problem import Cells

    model = fastals.ImplicitALS(factors, iterations=iterations, alpha=10.0, random_state=0)
    rows = np.random.default_rng(0).integers(1, 9, (300, 200)) * np.tri(300, 200, -50)
    model.fit(rows)  # loads the compiled functions
    before, watch = anonymous(), Watch()
    watch.start()
    clock, cpu = time.perf_counter(), time.process_time()
    if where == "memory":
        indptr, indices, values = (np.load(folder / f"user-{part}.npy") for part in ("indptr", "indices", "values"))
        small = indptr.astype(np.int32) if indptr[-1] < 2**31 else indptr
        R: Any = sparse.csr_array((values, indices, small), shape=(users, items))
    elif where == "store":
        R = fastals.open_store(folder)
    else:
        sides = []
        for side in ("user", "item"):
            parts = (np.load(folder / f"{side}-{part}.npy", mmap_mode="r") for part in ("indptr", "indices", "values"))
            sides.append(Cells(*parts, np.ones(1, np.float32)))
        R = Interactions._make((users, items), np.dtype("f4"), None, None, cells=sides[0], turned=sides[1], locked=True)
    model.fit(R)
    found = {"seconds": time.perf_counter() - clock, "cpu": time.process_time() - cpu, "before": before}
    watch.ended.set()
    panels = model.user_factors_.nbytes + model.item_factors_.nbytes
    bits = digest(model.user_factors_, model.item_factors_, model.loss_history_)
    return found | {"peak": watch.peak, "size": panels, "entries": R.nnz, "bits": bits}


def table(records: list[dict[str, Any]]) -> str:
    """Return the table in docs/benchmarks.md, the fewest entries first."""
    from bench.measured import span
    from bench.report import _table

    header = [
        "entries",
        "factors",
        "factors, MB",
        "iterations",
        "source",
        "seconds",
        "CPU seconds",
        "peak of anonymous memory, MB",
    ]
    sources = {"memory": "in memory, from `.npy` files", "mapped": "from the store", "store": "from the store"}
    rows = []
    for record in sorted(records, key=lambda record: record["entries"]):
        source = sources[record["where"]] + ", none of whose files the system had copies of" * record["cold"]
        if limit := record.get("group"):
            source += f", in a control group of {limit / 1e6:,.0f} MB"
        row = [f"{record['entries']:,}", str(record["factors"]), f"{record['size'] / 1e6:,.0f}"]
        row += [str(record["iterations"]), source]
        row += [span(record["seconds"]), span(record["cpu"])]
        rows.append([*row, *(f"{record[name] / 1e6:,.0f}" for name in ("peak", "before"))])
    return _table([*header, "of these before the fit, MB"], rows)


def run(folder: Path, where: str, users: int, items: int, given: argparse.Namespace) -> dict[str, Any]:
    """Fit in a process of its own."""
    if given.cold:
        forget(folder)
    command = [sys.executable, "-m", "bench.out_of_core", f"--fit={where}", f"--folder={folder}"]
    command += [
        f"--factors={given.factors}",
        f"--iterations={given.iterations}",
        f"--users={users}",
        f"--items={items}",
    ]
    command += [f"--group={given.group}"] if given.group else []
    found: dict[str, Any] = json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)
    memory = [found[name] / 1e6 for name in ("before", "peak", "size")]
    numbers = [f"{found['seconds']:8.2f} {found['cpu']:8.2f}", *(f"{mb:8.0f}" for mb in memory)]
    print(f"{where:8}", *numbers, f"{memory[1] - memory[2]:8.0f} ", found["bits"], flush=True)
    return found


def group_limit(group: Path) -> int:
    """Return the bytes that a control group may have, by either version of the interface."""
    limits = (group / name for name in ("memory.max", "memory.limit_in_bytes"))
    return int(next(limit for limit in limits if limit.exists()).read_text())


def record(fits: list[dict[str, Any]], where: str, given: argparse.Namespace) -> dict[str, Any]:
    """Return what is kept of fits that are alike."""
    found = {"entries": fits[0]["entries"], "factors": given.factors, "size": fits[0]["size"], "where": where}
    found |= {"iterations": given.iterations, "cold": given.cold}
    if given.group and where != "memory":
        found["group"] = group_limit(given.group)
    found |= {name: [fit[name] for fit in fits] for name in ("seconds", "cpu")}
    return found | {name: max(fit[name] for fit in fits) for name in ("peak", "before")}


def main() -> int:
    """Make the files and fit them both ways, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=20_000_000)
    parser.add_argument("--users", type=int, help="default: entries / 100")
    parser.add_argument("--items", type=int, help="default: users / 4")
    parser.add_argument("--factors", type=int, default=32)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--group", type=Path, help="folder of a control group that fits of mapped files join")
    parser.add_argument("--folder", type=Path, help="keep the files here, and use those that are there")
    parser.add_argument("--store", type=Path, help="fit this store alone")
    parser.add_argument("--quick", action="store_true", help="leave docs/benchmarks.md as it is")
    parser.add_argument("--fit", choices=("memory", "mapped", "store"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    users = given.users or max(1, given.entries // 100)
    items = given.items or max(1, users // 4)
    if given.fit:
        found = fit(given.folder, given.fit, given.factors, given.iterations, users, items, given.group)
        json.dump(found, sys.stdout)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.store or given.folder or Path(temporary)
        if not given.store:
            folder.mkdir(exist_ok=True)
            if not (folder / "item-values.npy").exists():
                make(folder, given.entries, users, items)
        print(f"{given.factors} factors; MB and seconds")
        print(f"{'':8} {'seconds':>8} {'CPU':>8} {'before':>8} {'peak':>8} {'factors':>8} {'beyond':>8}  bits")
        fits: dict[str, list[dict[str, Any]]] = {
            where: [] for where in (["store"] if given.store else ["memory", "mapped"])
        }
        for _ in range(given.repeats):
            for where, done in fits.items():
                done.append(run(folder, where, users, items, given))
    if not given.quick:
        from bench.measured import keep
        from bench.report import fill

        for where, done in fits.items():
            row = f"{done[0]['entries']} {where}{' cold' * given.cold}{' group' * (given.group is not None)}"
            fill({"out-of-core": table(keep("out-of-core", row, record(done, where, given)))})
    return int(len({fit["bits"] for done in fits.values() for fit in done}) > 1)


if __name__ == "__main__":
    sys.exit(main())
