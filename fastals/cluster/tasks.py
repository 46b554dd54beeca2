"""What workers do: hold a block of rows, and solve them for a panel that is sent to them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..answers import Framing
from ..checkpoint import environment
from ..data.matrix import unlocked
from ..engine import sweep
from ..engine.panel import aligned_copy, aligned_zeros
from ..engine.plan import Plan
from ..engine.problem import CellRule, Cells, RowProblem, Shifts, drawn_to
from ..engine.simd.target import target


class File(NamedTuple):
    """Some numbers in a file that a worker can map into its memory."""

    path: str
    offset: int
    length: int
    dtype: np.dtype


class Sent(NamedTuple):
    """A block as it is sent: the arrays of its cells, each as it is or as a file, and the rest of its row problem."""

    cells: Sequence[np.ndarray | File]
    rule: CellRule
    rows: np.ndarray  # see `RowProblem`, without prior means


class Asked(NamedTuple):
    """A half-step, as it is sent to the worker of a block."""

    Y: np.ndarray  # T (n_columns, kp), or the touched rows of it only
    touched: np.ndarray | None  # int64: which rows of the panel these are; None for all
    n_columns: int
    columns: np.ndarray  # see `RowProblem`
    shifts: Shifts
    g: np.ndarray
    width: int
    X: np.ndarray | None  # T (n_rows, kp): where the plan starts; None if it does not read it
    means: np.ndarray | None  # T (n_rows, kp): prior means, which features change in each half-step; None without
    plan: Plan
    typical: Plan  # for which the block is cut into sections
    together: bool  # see `sweep.in_batches`


class Block:
    """Rows of one side in the memory of a worker."""

    def __init__(self, sent: Sent) -> None:
        self.cells = Cells(*(_loaded(array) for array in sent.cells))
        self.rule, self.rows = sent.rule, aligned_copy(sent.rows)
        self._sections: list[sweep.Section] | None = None

    def sections(self, Y: np.ndarray, typical: Plan, n_threads: int) -> list[sweep.Section]:
        """Return the rows in sections, cut once."""
        if self._sections is None:
            self._sections = sweep.cut_sections(self.cells, Y, typical, n_threads)
        return self._sections


def _loaded(numbers: np.ndarray | File) -> np.ndarray:
    """Return an array that kernels take: what Dask has received may be read-only, or start anywhere."""
    if isinstance(numbers, File):
        return unlocked(np.memmap(numbers.path, numbers.dtype, "r", numbers.offset, (numbers.length,)))
    return aligned_copy(numbers)


def touched(block: Block, n_columns: int) -> np.ndarray:
    """Return a bit for each column: whether a block has entries there."""
    there = np.zeros(n_columns, bool)
    there[block.cells.indices] = True
    return np.packbits(there)


def solve(block: Block, asked: Asked, n_threads: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Solve the rows of a block. Return their part of X, their losses and their status."""
    Y = asked.Y
    if asked.touched is None:
        Y = aligned_copy(Y)
    else:
        Y = aligned_zeros((asked.n_columns, Y.shape[1]), Y.dtype)
        Y[asked.touched] = asked.Y
    X = aligned_zeros((block.cells.n_rows, Y.shape[1]), Y.dtype) if asked.X is None else aligned_copy(asked.X)
    shifts = Shifts(aligned_copy(asked.shifts.columns), aligned_copy(asked.shifts.linear), asked.shifts.square)
    problem = RowProblem(block.cells, block.rule, block.rows, aligned_copy(asked.columns), shifts)
    if asked.means is not None:
        problem = drawn_to(problem, asked.means)
    sections = block.sections(Y, asked.typical, n_threads)
    g = aligned_copy(asked.g)
    losses, status = sweep.solve_rows(
        problem, Y, g, asked.width, X, asked.plan, n_threads, sections, together=asked.together
    )
    return X, losses, status


def recommend(model: Framing, users: np.ndarray, n: int, options: Mapping[str, Any], n_threads: int) -> Any:
    """Return the recommendations for some users as an Arrow table."""
    mine = copy(model)
    mine.n_threads = n_threads
    return mine.recommend_frame(users, n, frame="arrow", **options)


def greeting() -> dict[str, str]:
    """Return what the bits of a half-step depend on."""
    said = environment()
    del said["CPU"]  # of which the rest follows
    return said | {"fused multiply-add": "yes" if target().fma else "no"}


def stamps(paths: Sequence[str]) -> list[tuple[int, int] | None]:
    """Return size and time of change of files, None where there is none: whether two machines see the same ones."""
    return [_stamp(path) for path in paths]


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(Path(path))
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
