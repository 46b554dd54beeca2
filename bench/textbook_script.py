"""Run an article's script twice, block by block: as it is, and with its functions imported from `fastals.compat.wals`.

python -m bench.textbook_script [ARTICLE] [--data FOLDER] [--seeds N] [--at-least RATIO]

ARTICLE is a Markdown file whose ```python blocks make one script (default: the file that FASTALS_TEXT names). What the
script downloads is answered with FOLDER/u.data (default: ml-100k in the folder that FASTALS_DATA names). The tables of
both runs are printed side by side. Exit status 1: a number differs by more than it does from one seed to another, or
the slow rows are not RATIO times faster.
"""

import argparse
import ast
import contextlib
import io
import os
import re
import sys
import types
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fastals.compat import wals

TIME = "Time (s)"
SLOW = 1.0  # seconds from which on a row is one of those that are to become faster

Table = dict[str, list]  # column -> cells
Tables = dict[str, Table]


def python_blocks(text: str) -> list[str]:
    """Return the code between ```python and ```, block by block."""
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def with_imports(code: str, module: types.ModuleType) -> str:
    """Replace the definition of each function that `module` exports by its import."""
    tree = ast.parse(code)
    for place, node in enumerate(tree.body):
        if isinstance(node, ast.FunctionDef) and node.name in module.__all__:
            tree.body[place] = ast.ImportFrom(module.__name__, [ast.alias(node.name)], 0)
    return ast.unparse(ast.fix_missing_locations(tree))


def with_seed(code: str, seed: int) -> str:
    """Give every call that has a `seed` this one."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "seed":
            node.value = ast.copy_location(ast.Constant(seed), node.value)
    return ast.unparse(tree)


@dataclass
class Run:
    """One reading of the script: its variables, and the tables that it has made so far."""

    change: Callable[[str], str]
    variables: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    tables: Tables = field(default_factory=dict)
    generator: Any = None  # the state of NumPy's global one, of which each reading has its own

    def execute(self, number: int, code: str) -> None:
        """Run a block, and keep what it prints as `name: number` and the data frames that it makes."""
        before, printed = {name: id(value) for name, value in self.variables.items()}, io.StringIO()
        if self.generator is not None:
            np.random.set_state(self.generator)  # noqa: NPY002
        with contextlib.redirect_stdout(printed):
            exec(compile(self.change(code), f"block {number}", "exec"), self.variables)
        self.generator = np.random.get_state()  # noqa: NPY002
        lines = re.findall(r"^([^:\n]+): (-?\d+\.?\d*)$", printed.getvalue(), re.MULTILINE)
        if lines:
            names, numbers = zip(*lines, strict=True)
            self.tables[f"block {number}, printed"] = {"": list(names), "value": [float(n) for n in numbers]}
        for name, value in self.variables.items():
            frame = hasattr(value, "columns") and hasattr(value, "to_dict") and not isinstance(value, type)
            if frame and before.get(name) != id(value):
                table = value.to_dict("list")
                if TIME in table or any(isinstance(column[0], str) for column in table.values() if column):
                    self.tables[f"block {number}, {name}"] = table


@contextlib.contextmanager
def downloads_answered(content: bytes):
    """Inside, `requests.get` of any address gives `content`, whether or not requests and urllib3 are installed."""
    response = types.SimpleNamespace(content=content, raise_for_status=lambda: None)
    exceptions = types.SimpleNamespace(InsecureRequestWarning=Warning)
    stubs: dict[str, Any] = {
        "requests": types.SimpleNamespace(get=lambda *args, **kwargs: response),
        "urllib3": types.SimpleNamespace(disable_warnings=lambda *args: None, exceptions=exceptions),
    }
    kept = {name: sys.modules.get(name) for name in stubs}
    sys.modules.update(stubs)
    try:
        yield
    finally:
        for name, module in kept.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module


def run_all(blocks: Sequence[str], seeds: Sequence[int]) -> tuple[Tables, Tables, list[Tables]]:
    """Return the tables of the script as it is, with imports, and with imports and each of the seeds.

    The two take turns, block after block, so that both meet the same machine.
    """
    as_is = Run(lambda code: code)
    ours = Run(lambda code: with_imports(code, wals))
    others = [Run(lambda code, seed=seed: with_seed(with_imports(code, wals), seed)) for seed in seeds]
    for number, code in enumerate(blocks, 1):
        for run in (as_is, ours, *others):
            run.execute(number, code)
    return as_is.tables, ours.tables, [run.tables for run in others]


def spread(tables: Sequence[Table], column: str) -> np.ndarray:
    """Return how far the numbers of a column lie apart in several runs, row by row."""
    return np.ptp([table[column] for table in tables], axis=0)


def differences(as_is: Tables, ours: Tables, others: Sequence[Tables]) -> list[str]:
    """Name each number that differs by more than it does between seeds.

    Numbers that no seed changes may differ by the rounding of float32, in which the script computes: a mean of n
    rounded squares is off by some eps; 16 eps are more than any order of summation makes of it.
    """
    found = []
    if as_is.keys() != ours.keys():
        return [f"not the same tables: {sorted(as_is.keys() ^ ours.keys())}"]
    for name, table in as_is.items():
        for column, numbers in table.items():
            if column == TIME or isinstance(numbers[0], str):
                continue
            theirs, mine = np.array(numbers, float), np.array(ours[name][column], float)
            rounding = 16 * np.finfo(np.float32).eps * np.abs(theirs)
            allowed = np.maximum(spread([ours[name], *(other[name] for other in others)], column), rounding)
            found += [
                f"{name}, row {row}, {column}: {theirs[row]:.6g} and {mine[row]:.6g}, {allowed[row]:.2g} allowed"
                for row in np.flatnonzero(~(np.abs(theirs - mine) <= allowed))
            ]
    return found


def ratios(as_is: Tables, ours: Tables) -> list[float]:
    """Return by how much each slow row became faster."""
    seconds = [np.array([run[name][TIME] for run in (as_is, ours)]).T for name in as_is if TIME in as_is[name]]
    return [theirs / mine for pairs in seconds for theirs, mine in pairs if theirs > SLOW]


def side_by_side(as_is: Tables, ours: Tables, others: Sequence[Tables]) -> str:
    """Return both runs' tables as text: each number as it is, as it becomes, and its spread over seeds."""
    lines = []
    for name, table in as_is.items():
        lines += ["", name]
        apart = {
            column: spread([ours[name], *(other[name] for other in others)], column)
            for column, cells in table.items()
            if column != TIME and not isinstance(cells[0], str)
        }
        for row in range(len(next(iter(table.values())))):
            parts = []
            for column, cells in table.items():
                theirs, mine = cells[row], ours[name][column][row]
                if isinstance(theirs, str):
                    parts.append(theirs)
                elif column == TIME:
                    faster = f", {theirs / mine:.1f}x" if mine else ""
                    parts.append(f"{theirs:.2f} s | {mine:.3f} s{faster}")
                else:
                    parts.append(f"{column} {theirs:.6g} | {mine:.6g} (spread {apart[column][row]:.2g})")
            lines.append("  " + "; ".join(parts))
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    environment = os.environ.get("FASTALS_DATA")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", metavar="ARTICLE", type=Path, default=os.environ.get("FASTALS_TEXT"))
    parser.add_argument("--data", type=Path, default=environment and Path(environment) / "ml-100k")
    parser.add_argument("--seeds", type=int, default=4, help="how many other seeds the spread is taken from")
    parser.add_argument("--at-least", type=float, default=0.0, metavar="RATIO")
    given = parser.parse_args(arguments)
    if given.text is None or given.data is None:
        parser.error("ARTICLE and --data are wanted, or FASTALS_TEXT and FASTALS_DATA in the environment")
    os.environ.setdefault("MPLBACKEND", "Agg")
    blocks = python_blocks(Path(given.text).read_text())
    with downloads_answered((given.data / "u.data").read_bytes()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the script's own, and of figures that nobody sees
        tables = run_all(blocks, range(1, given.seeds + 1))
    print("as it is | with imports (spread over seeds)")
    print(side_by_side(*tables))
    faster, wrong = ratios(*tables[:2]), differences(*tables)
    if faster:
        print(f"\nslow rows: {min(faster):.0f}x to {max(faster):.0f}x faster, median {np.median(faster):.0f}x")
    for line in wrong:
        print("differs:", line)
    slow = bool(faster) and float(np.median(faster)) < given.at_least
    if slow:
        print(f"not {given.at_least:g}x faster")
    return int(bool(wrong) or slow)


if __name__ == "__main__":
    sys.exit(main())
