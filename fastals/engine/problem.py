"""What the engine is given: the observed entries of one side, the numbers of its row problem, and the panels.

A half-step has no users and items, only *rows* (solved) and *columns* (fixed). `fastals.objectives` reduces every
objective to the same row problem, so no engine module knows which objective it works for.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

# Columns of RowProblem.rows and of RowProblem.columns.
WEIGHT, BACKGROUND = 0, 1
RIDGE = 2
OFFSET = 2
PRIOR = 3  # of rows: where the mean that a row is drawn to begins, if the rows have one

# Sizes that kernels can count. int32 numbers rows and columns, int64 all else: entries, and positions in panels, whose
# products tests/test_problem.py computes for these sizes. Numba multiplies smaller integers as int64.
MOST_ROWS = 2**31 - 1  # or columns
MOST_FACTORS = 2**20

# Status of a row. The models turn one above OK into an error message. MINIMUM_NORM: of many solutions the smallest.
# IMPRECISE: rounding may have moved the solution by more than 1%, see `rows.precision`. UNSURE: the solution is OK, its
# loss may not be; no half-step leaves a row so.
UNSURE, IMPRECISE, MINIMUM_NORM, OK, NOT_POSITIVE, NOT_FINITE = -3, -2, -1, 0, 1, 2


class Cells(NamedTuple):
    """Observed entries in compressed rows: row `u` has the entries `indptr[u] : indptr[u + 1]`, sorted by column.

    No entry occurs twice. `values` and `weights` have length 1 where all entries share one number, which halves the
    memory.
    """

    indptr: np.ndarray  # int64 (n_rows + 1,)
    indices: np.ndarray  # int32 (n_entries,)
    values: np.ndarray  # T (n_entries,) or (1,)
    weights: np.ndarray  # T (n_entries,) or (1,)

    @property
    def n_rows(self) -> int:
        """Number of rows, empty ones included."""
        return len(self.indptr) - 1

    @property
    def counts(self) -> np.ndarray:
        """Number of entries of each row, int64 (n_rows,)."""
        return self.indptr[1:] - self.indptr[:-1]  # np.diff takes five times as long for one row

    @property
    def all_values(self) -> np.ndarray:
        """One value for each entry, T (n_entries,); read-only where all entries share one number."""
        return self.values if len(self.values) == len(self.indices) else np.broadcast_to(self.values, len(self.indices))

    @property
    def all_weights(self) -> np.ndarray:
        """One weight for each entry, as `all_values`."""
        n = len(self.indices)
        return self.weights if len(self.weights) == n else np.broadcast_to(self.weights, n)

    def part(self, begin: int, end: int) -> Cells:
        """Return the rows from `begin` to before `end` as cells of their own."""
        indptr = self.indptr[begin : end + 1]
        place = slice(indptr[0], indptr[-1])
        values, weights = (part if len(part) == 1 else part[place] for part in (self.values, self.weights))
        return Cells(indptr - indptr[0], self.indices[place], values, weights)

    def only(self, rows: np.ndarray) -> Cells:
        """Return some rows, in the order in which they are given, as cells of their own."""
        counts = self.counts[rows]
        indptr = np.concatenate([[0], np.cumsum(counts)])
        places = np.arange(indptr[-1]) + np.repeat(self.indptr[rows] - indptr[:-1], counts)
        values, weights = (part if len(part) == 1 else part[places] for part in (self.values, self.weights))
        return Cells(indptr, self.indices[places], values, weights)


class CellRule(NamedTuple):
    """How the confidence and the target of an observed entry follow from its value v.

    confidence = (constant + slope |v|) * row weight * column weight * entry weight
    target     = sign_target [v > 0] + value_target (v - mean - column offset)
    """

    constant: np.floating
    slope: np.floating
    sign_target: np.floating
    value_target: np.floating
    mean: np.floating


class Shifts(NamedTuple):
    """By how much the targets of each column are shifted, those of unobserved entries from 0.

    A column's bias b is no part of the product x.y, so all its targets are shifted by -b. `engine.shifts` fills this
    for a fixed panel. Where nothing is shifted, the arrays are empty.
    """

    columns: np.ndarray  # T (n_columns,): s
    linear: np.ndarray  # T (kp,): l = sum_j background_j s_j y_j, in the basis of the fixed panel
    square: float  # sum_j background_j s_j^2


class Extent(NamedTuple):
    """What all columns of a half-step, and their fixed rows, have in common."""

    longest: np.floating | None  # as of `panel.largest_square`; None where one background above 0 is that of all
    least: float  # smallest background
    most: float  # largest background
    weight: float  # smallest weight


@cache
def no_shifts(dtype: np.dtype) -> Shifts:
    """Return the shifts of a problem that has none."""
    return Shifts(np.zeros(0, dtype), np.zeros(0, dtype), 0.0)


class RowProblem(NamedTuple):
    """One side's row problem: for each row minimise over x

        sum_observed [ w (x.y)^2 - 2 b (x.y) ]  +  background_row (x'Gx - 2 l.x)  +  ridge |x - p|^2,
        G = sum_j background_j y_j y_j'

    with w = confidence - background_row * background_column and b = confidence * target + w s. The row's prior mean p
    is 0 unless the row has features, see `engine.features`. The shifts s and l are 0 unless the model has biases and a
    background, see `Shifts`. A row without entries is p.
    """  # noqa: D400 - the formula is the summary

    cells: Cells
    rule: CellRule
    rows: np.ndarray  # T (n_rows, 3): weight, background, ridge; or (n_rows, 3 + kp): then the prior mean
    columns: np.ndarray  # T (n_columns, 3), or (1, 3) where all are alike: weight, background, offset
    shifts: Shifts


def drawn_to(problem: RowProblem, means: np.ndarray) -> RowProblem:
    """Return a problem whose rows have these prior means, T (n_rows, kp), in the basis of the fixed panel."""
    return problem._replace(rows=np.concatenate([problem.rows[:, :PRIOR], means], axis=1))


def widened(problem: RowProblem) -> RowProblem:
    """Return a problem whose numbers are float64, but for those of the cells."""
    wide = np.dtype(np.float64)
    rule = CellRule(*map(wide.type, problem.rule))
    shifts = problem.shifts._replace(
        columns=problem.shifts.columns.astype(wide), linear=problem.shifts.linear.astype(wide)
    )
    return RowProblem(problem.cells, rule, problem.rows.astype(wide), problem.columns.astype(wide), shifts)


def in_float64(problem: RowProblem, rows: np.ndarray) -> RowProblem:
    """Return some rows of a problem as a problem in float64."""
    cells = problem.cells.only(rows)
    values, weights = (part.astype(np.float64) for part in (cells.values, cells.weights))
    return widened(problem._replace(cells=cells._replace(values=values, weights=weights), rows=problem.rows[rows]))


class Unusual(NamedTuple):
    """How many rows of a half-step are to be told of."""

    singular: int = 0  # with many solutions, of which they have got the smallest
    imprecise: int = 0  # whose solution may be off by more than 1%


class Outcome(NamedTuple):
    """The result of a half-step beside the panel."""

    losses: np.ndarray
    """float64 (n_rows,): each row's objective: entries, background and its own ridge; for a sketch |x|^2."""
    status: np.ndarray
    """int8 (n_rows,): see the top of this module."""

    @property
    def loss(self) -> float:
        """Sum of the rows' objectives, without the ridge of the columns."""
        return float(self.losses.sum())

    @property
    def unusual(self) -> Unusual:
        """How many rows are to be told of."""
        return Unusual(*(int(np.count_nonzero(self.status == kind)) for kind in (MINIMUM_NORM, IMPRECISE)))


class Failure(NamedTuple):
    """A row that could not be solved."""

    side: str  # "user" or "item"
    row: int
    status: int


def first_failure(side: str, status: np.ndarray) -> Failure | None:
    """Return the first row of a half-step that could not be solved."""
    if not status.any():  # a third of the time, which counts where one row is folded in
        return None
    failed = np.flatnonzero(status > OK)
    return Failure(side, int(failed[0]), int(status[failed[0]])) if len(failed) else None
