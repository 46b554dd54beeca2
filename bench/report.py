"""Run the suites, print what they found, and rewrite the tables of README.md and docs/benchmarks.md.

python -m bench.report [--quick] [--only TABLE ...] [--problems NAME ...] [--factors K ...] [--contenders NAME ...]
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.kernels import PEAK
from bench.peers import CONTENDERS
from bench.problems import CACHE, ROOT
from bench.servers import BLOCK, SERVERS, N

README, BENCHMARKS = ROOT / "README.md", ROOT / "docs" / "benchmarks.md"
IN_README = {"fastest"}  # the tables that stand in README.md and not in docs/benchmarks.md
QUICK = ["--problems", "lastfm-2k", "ml-1m", "--factors", "32", "64", "--repeats", "3"]
OURS = "fastals-"

Run = dict[str, Any]  # one entry of pytest-benchmark's JSON
Cell = tuple[str, int]  # problem, number of factors


@dataclass(frozen=True)
class Result:
    """A contender in a cell: medians over its turns."""

    seconds: float
    iteration_seconds: float
    iterations_to_target: int | None
    memory: int


def fit_results(runs: Iterable[Run]) -> dict[Cell, dict[str, Result]]:
    """Return the medians over turns: cell -> contender -> result, problems in the order of the runs, factors rising."""
    turns: dict[Cell, dict[str, list[Run]]] = {}
    for run in runs:
        info = run["extra_info"]
        if "iterations_to_target" in info:
            cell = turns.setdefault((info["problem"], info["factors"]), {})
            cell.setdefault(info["contender"], []).append(run)
    problems = list(dict.fromkeys(problem for problem, _ in turns))
    return {
        cell: {
            contender: Result(
                statistics.median(run["stats"]["median"] for run in taken),
                statistics.median(statistics.median(run["extra_info"]["iteration_seconds"]) for run in taken),
                taken[0]["extra_info"]["iterations_to_target"],
                taken[0]["extra_info"]["memory"],
            )
            for contender, taken in contenders.items()
        }
        for cell, contenders in sorted(turns.items(), key=lambda item: (problems.index(item[0][0]), item[0][1]))
    }


def _number(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _contest(
    results: dict[Cell, dict[str, Result]],
    measure: Callable[[Result], float | None],
    show: Callable[[Result], str],
    missing: str,
) -> str:
    """Cells x contenders, the smallest in bold, and how many times the best of ours is ahead of the best peer."""
    contenders = [name for name in CONTENDERS if any(name in cell for cell in results.values())]
    rows = []
    for (problem, factors), cell in results.items():
        measured = {name: value for name, result in cell.items() if (value := measure(result)) is not None}
        best = min(measured, key=measured.__getitem__, default=None)
        row = [f"{problem}, k = {factors}"]
        for name in contenders:
            if name not in cell:
                row.append("-")
            elif name not in measured:
                row.append(missing)
            else:
                row.append(f"**{show(cell[name])}**" if name == best else show(cell[name]))
        ours = [value for name, value in measured.items() if name.startswith(OURS)]
        peers = [value for name, value in measured.items() if not name.startswith(OURS)]
        row.append(f"{_number(min(peers) / min(ours))}x" if ours and peers else "-")
        rows.append(row)
    return _table(["", *(name.replace("-", " ", 1) for name in contenders), "ahead of best peer"], rows)


def iteration_table(runs: list[Run]) -> str:
    """Seconds per iteration."""
    return _contest(fit_results(runs), lambda r: r.iteration_seconds, lambda r: _number(r.iteration_seconds), "-")


def time_to_loss_table(runs: list[Run]) -> str:
    """Seconds to the target loss, and iterations."""
    return _contest(
        fit_results(runs),
        lambda r: r.seconds if r.iterations_to_target else None,
        lambda r: f"{_number(r.seconds)} ({r.iterations_to_target})",
        "not reached",
    )


def fastest_table(runs: list[Run]) -> str:
    """Seconds to the target loss, iterations and solver: for each library that of its fastest solver."""
    results = fit_results(runs)
    libraries = list(dict.fromkeys(name.partition("-")[0] for name in CONTENDERS))
    libraries = [library for library in libraries if any(_of(library, cell) for cell in results.values())]
    rows = []
    for (problem, factors), cell in results.items():
        best = {}
        for library in libraries:
            reached = {name: cell[name] for name in _of(library, cell) if cell[name].iterations_to_target}
            if reached:
                best[library] = min(reached, key=lambda name: reached[name].seconds)
        fastest = min(best.values(), key=lambda name: cell[name].seconds, default=None)
        row = [f"{problem}, k = {factors}"]
        for library in libraries:
            name = best.get(library)
            if name is None:
                row.append("not reached" if _of(library, cell) else "-")
                continue
            seconds, solver = _number(cell[name].seconds), name.partition("-")[2]
            shown = f"**{seconds}**" if name == fastest else seconds
            row.append(f"{shown} ({cell[name].iterations_to_target}, {solver})")
        peers = [cell[name].seconds for library, name in best.items() if library != OURS[:-1]]
        ours = best.get(OURS[:-1])
        row.append(f"{_number(min(peers) / cell[ours].seconds)}x" if ours and peers else "-")
        rows.append(row)
    return _table(["", *libraries, "ahead of best peer"], rows)


def _of(library: str, cell: dict[str, Result]) -> list[str]:
    """Return the solvers of a library in a cell."""
    return [name for name in cell if name.partition("-")[0] == library]


def memory_table(runs: list[Run]) -> str:
    """Peak memory beyond the data, in MB."""
    return _contest(fit_results(runs), lambda r: r.memory, lambda r: _number(r.memory / 1e6), "-")


SERVE_TASKS = {
    "blocks": (f"top {N} of all users, {BLOCK} at a time, s", 1.0),
    "blocks memory": ("peak memory of that, MB", 1e6),
    "all": (f"top {N} of all users, s", 1.0),
    "all memory": ("peak memory of that, MB", 1e6),
    "one": ("one user, ms", 1e-3),
    "new": ("one new user, folded in, ms", 1e-3),
}


def serve_table(runs: list[Run]) -> str:
    """Answers of each library: medians over the turns, and how many times fastals is ahead of the best peer."""
    found: dict[tuple[str, int, str], dict[str, list[float]]] = {}
    for run in runs:
        info = run["extra_info"]
        if "server" not in info:
            continue
        measured = {info["task"]: run["stats"]["median"]}
        if info["memory"] is not None:
            measured[f"{info['task']} memory"] = info["memory"]
        for task, value in measured.items():
            cell = found.setdefault((info["problem"], info["factors"], task), {})
            cell.setdefault(info["server"], []).append(value)
    rows = []
    for (problem, factors, task), cell in found.items():
        label, unit = SERVE_TASKS[task]
        # Of memory the most: where free memory cannot be given back, later turns fit into that of earlier ones.
        summary = max if "memory" in task else statistics.median
        medians = {name: summary(values) / unit for name, values in cell.items()}
        best = min(medians, key=medians.__getitem__)
        row = [f"{problem}, k = {factors}", label]
        for name in SERVERS:
            shown = _number(medians[name]) if name in medians else "-"
            row.append(f"**{shown}**" if name == best else shown)
        peers = [value for name, value in medians.items() if name != "fastals"]
        row.append(f"{_number(min(peers) / medians['fastals'])}x" if peers and "fastals" in medians else "-")
        rows.append(row)
    return _table(["", "", *SERVERS, "ahead of best peer"], rows)


def index_table(runs: list[Run]) -> str:
    """Recall of the exact top 10, and users a second."""
    rows = []
    for run in runs:
        info = run["extra_info"]
        if "index" in info:
            speed = info["users"] / run["stats"]["median"]
            cell = f"{info['problem']}, k = {info['factors']}"
            rows.append([cell, info["index"], f"{info['recall']:.4f}", f"{speed:,.0f}"])
    return _table(["", "", f"recall of the top {N}", "users a second"], rows)


def kernel_table(runs: list[Run]) -> str:
    """GFLOP/s of each kernel, and its share of the matrix product timed in the same turn."""
    kernels = [run for run in runs if "kernel" in run["extra_info"]]
    speed: dict[tuple[str, int | None], dict[int, float]] = {}
    for run in kernels:
        info = run["extra_info"]
        turns = speed.setdefault((info["kernel"], info["factors"]), {})
        turns[info["turn"]] = info["flops"] / run["stats"]["median"]
    peak = speed[PEAK, None]
    rows = []
    for (name, factors), turns in speed.items():
        share = statistics.median(flops / peak[turn] for turn, flops in turns.items())
        gflops = statistics.median(turns.values()) / 1e9
        rows.append([name if factors is None else f"{name}, k = {factors}", _number(gflops), f"{share:.0%}"])
    return _table(["one thread", "GFLOP/s", "share of peak"], rows)


def short_rows_table(runs: list[Run]) -> str:
    """Seconds of an iteration by k, and the exponent of k between two neighbours; the same as a picture."""
    seconds: dict[str, dict[int, float]] = {}
    for run in runs:
        info = run["extra_info"]
        if info.get("short_rows"):
            seconds.setdefault(info["contender"], {})[info["factors"]] = statistics.median(info["iteration_seconds"])
    if not seconds:
        return ""
    plot_short_rows(seconds, CACHE / "short-rows.svg")
    header = ["k"]
    for name in seconds:
        header += [name.replace("-", " ", 1), "exponent"]
    rows = []
    factors = sorted(next(iter(seconds.values())))
    for before, k in zip([None, *factors], factors, strict=False):
        row = [str(k)]
        for times in seconds.values():
            exponent = math.log(times[k] / times[before]) / math.log(k / before) if before else None
            row += [_number(times[k]), "" if exponent is None else f"{exponent:.2f}"]
        rows.append(row)
    return _table(header, rows)


def plot_short_rows(seconds: dict[str, dict[int, float]], file: Path) -> None:
    """Draw the time of an iteration over k beside a line in proportion to k, where matplotlib is installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    axes = Figure(figsize=(5, 4), layout="constrained").subplots()
    for name, times in seconds.items():
        axes.loglog(list(times), list(times.values()), "o-", label=name.replace("-", " ", 1))
    first = next(iter(seconds.values()))
    k = list(first)
    axes.loglog(k, [first[k[0]] * factors / k[0] for factors in k], ":", color="0.5", label="in proportion to k")
    axes.set(xlabel="factors", ylabel="seconds an iteration", xticks=k, xticklabels=k)
    axes.minorticks_off()
    axes.legend()
    file.parent.mkdir(parents=True, exist_ok=True)
    axes.figure.savefig(file)


STARTS = {  # task: what it is called, and the task that its time is compared with
    "import_numba": ("import numba", None),
    "import_numba_and_sparse": ("import numba, scipy.sparse", None),
    "import_fastals": ("import fastals", "import_numba_and_sparse"),
    "first_call": ("first call of a function of one line, from Numba's cache", "import_numba"),
    "first_fit": ("first fit, from Numba's cache", "import_numba"),
}


def start_table(runs: list[Run]) -> str:
    """Seconds and memory of imports and first calls in fresh processes: medians of turns, ratios within a turn."""
    seconds: dict[str, dict[int, float]] = {}
    memory: dict[str, list[int]] = {}
    for run in runs:
        info = run["extra_info"]
        if "start" in info:
            seconds.setdefault(info["start"], {})[info["turn"]] = run["stats"]["median"]
            if info["turn"] >= 0:
                memory.setdefault(info["start"], []).append(info["memory"])
    rows = []
    for task, (label, compared) in STARTS.items():
        turns = {turn: taken for turn, taken in seconds[task].items() if turn >= 0}
        row = [label, _number(statistics.median(turns.values())), "", _number(statistics.median(memory[task]) / 1e6)]
        if compared:
            ratio = statistics.median(taken / seconds[compared][turn] for turn, taken in turns.items())
            row[2] = f"{_number(ratio)}x of {STARTS[compared][0]}"
        rows.append(row)
    rows.append(["first fit, compiled", _number(seconds["first_fit"][-1]), "", ""])
    return _table(["a fresh process", "seconds", "", "MB"], rows)


def compile_table(runs: list[Run]) -> str:
    """Seconds that compiling each function takes, without those it calls; what is below a tenth as one."""
    functions = next(functions for run in runs if (functions := run["extra_info"].get("functions")))
    rows = [[f"`{name}`", _number(taken)] for name, taken in functions.items() if taken >= 0.1]
    rows.sort(key=lambda row: -float(row[1]))
    short = [taken for taken in functions.values() if taken < 0.1]
    rows.append([f"{len(short)} others", _number(sum(short))])
    return _table(["compiled for a first fit", "seconds"], rows)


def machine_table(runs: list[Run]) -> str:
    """What the numbers were measured on."""
    info = runs[0]["extra_info"]
    threads = next((run["extra_info"]["threads"] for run in runs if "threads" in run["extra_info"]), 1)
    rows = [["processor", info["cpu"]], ["threads", str(threads)], *map(list, info["versions"].items())]
    return _table(["measured on", ""], rows)


FACTORS = "bench/bench_factors.py"
FIT, KERNELS, SERVE = "bench/bench_fit.py", "bench/bench_kernels.py", "bench/bench_serve.py"
INDEX, START = "bench/bench_index.py", "bench/bench_start.py"
TABLES: dict[str, tuple[str | None, Callable[[list[Run]], str]]] = {
    "machine": (None, machine_table),  # described by every suite
    "fastest": (FIT, fastest_table),
    "time-to-loss": (FIT, time_to_loss_table),
    "iteration": (FIT, iteration_table),
    "memory": (FIT, memory_table),
    "kernels": (KERNELS, kernel_table),
    "short-rows": (FACTORS, short_rows_table),
    "serve": (SERVE, serve_table),
    "index": (INDEX, index_table),
    "start": (START, start_table),
    "compile": (START, compile_table),
}


def rewrite(text: str, name: str, table: str) -> str:
    """Return the text with what stands between the markers of a table replaced."""
    begin, end = f"<!-- table:{name} -->", f"<!-- /table:{name} -->"
    for marker in (begin, end):
        if text.count(marker) != 1:
            raise ValueError(
                f"the markers of table {name!r}: expected {marker} once, found it {text.count(marker)} times"
            )
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{table}\n{end}{after}"


def fill(tables: dict[str, str]) -> None:
    """Write tables between their markers, each in the file where it stands."""
    for file in (README, BENCHMARKS):
        text = file.read_text()
        for name, table in tables.items():
            if (name in IN_README) == (file is README):
                text = rewrite(text, name, table)
        file.write_text(text)


def run_suites(suites: list[str], options: list[str], file: Path) -> int:
    """Prove that all contenders minimise the same thing, then time them; return pytest's exit code.

    A contender that fails costs its own numbers, not everybody's.
    """
    pytest = [sys.executable, "-m", "pytest"]
    if FIT in suites:
        subprocess.run([*pytest, "bench/test_peers.py"], cwd=ROOT, check=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    json_option = f"--benchmark-json={file}"
    command = [*pytest, "-rs", "--benchmark-quiet", *suites, json_option, *options]
    exit_code = subprocess.run(command, cwd=ROOT, check=False).returncode
    if not file.exists():
        raise SystemExit(f"the benchmarks wrote no results (pytest exit code {exit_code})")
    return exit_code


def main(argv: list[str] | None = None) -> int:
    """Run, print, rewrite; return a process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", choices=TABLES, default=list(TABLES), metavar="TABLE", help=", ".join(TABLES)
    )
    parser.add_argument("--quick", action="store_true", help="small cells, few repeats; the files stay as they are")
    parser.add_argument(
        "--json", type=Path, nargs="+", default=[], help="read these files of results instead of running anything"
    )
    for option in ("problems", "contenders", "factors", "repeats"):
        parser.add_argument(f"--{option}", nargs=1 if option == "repeats" else "+", help="as the suites have it")
    arguments = parser.parse_args(argv)

    exit_code = 0
    files = arguments.json or [CACHE / "results.json"]
    if not arguments.json:
        options = list(QUICK) if arguments.quick else []
        for option in ("problems", "contenders", "factors", "repeats"):
            if values := getattr(arguments, option):
                options += [f"--{option}", *values]
        suites = list(dict.fromkeys(suite for name in arguments.only if (suite := TABLES[name][0])))
        exit_code = run_suites(suites, options, files[0])
    runs = [run for file in files for run in json.loads(file.read_text())["benchmarks"]]

    tables = {name: TABLES[name][1](runs) for name in dict.fromkeys(["machine", *arguments.only])}
    for name, table in tables.items():
        print(f"\n{name}\n{table}")
    if not arguments.quick:
        fill(tables)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
