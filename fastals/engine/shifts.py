"""Biases of the fixed side: where they stand in a panel, and what they do to the targets of a row problem.

The prediction of row x and column y is x.y + d + b, with the biases d of the row and b of the column. Against [y, 1]
the bias d is one more factor. b is known, and taken off the targets. Without a background only observed entries have
some, and b is an offset of their column. With a background the unobserved entries, whose targets are 0 otherwise, give
all rows the same linear term, see `problem.Shifts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from .blas import one_blas_thread
from .problem import BACKGROUND, OFFSET, RIDGE, RowProblem, Shifts

PIECE = 2048  # columns summed in the dtype of the panel before the sum is added in float64, as in a Gram matrix


@contextmanager
def biases_as_offsets(problem: RowProblem, Y: np.ndarray, bias: int) -> Iterator[None]:
    """Within the context, take the biases of the fixed side off the targets, and set their column to 1.

    The bias of a row is then one more unknown of the same system.
    """
    if bias < 0:
        yield
        return
    biases = Y[:, bias].copy()
    take_off(problem, biases)
    Y[:, bias] = 1
    try:
        yield
    finally:
        Y[:, bias] = biases


def take_off(problem: RowProblem, biases: np.ndarray) -> None:
    """Take biases of the columns off the targets of a problem."""
    if len(problem.shifts.columns):
        np.negative(biases, out=problem.shifts.columns)
    else:
        problem.columns[:, OFFSET] = biases


def shifts_for(shifts: np.ndarray, weights: np.ndarray, Y: np.ndarray) -> Shifts:
    """Return what the shifts of columns make of a fixed panel.

    Parameters
    ----------
    shifts : ndarray, shape (n_columns,)
    weights : ndarray, shape (n_columns,) or (1,)
        Of the background; a single weight counts for all columns.
    Y : ndarray, shape (n_columns, kp)
        The fixed panel, in the basis in which the rows are solved.
    """
    linear, square, dtype = np.zeros(Y.shape[1]), 0.0, shifts.dtype
    with one_blas_thread():
        for begin in range(0, len(Y), PIECE):
            part = slice(begin, begin + PIECE)
            weighted = shifts[part] * (weights if len(weights) == 1 else weights[part])
            linear += weighted @ Y[part]
            square += float(weighted @ shifts[part])
    return Shifts(shifts, linear.astype(dtype), square)


def on_panel(problem: RowProblem, Y: np.ndarray) -> RowProblem:
    """Return the problem with what its shifts make of a fixed panel."""
    if len(problem.shifts.columns) == 0:
        return problem
    return problem._replace(shifts=shifts_for(problem.shifts.columns, problem.columns[:, BACKGROUND], Y))


def level(users: RowProblem, items: RowProblem, X: np.ndarray, Y: np.ndarray, bias: int) -> None:
    """Move a number from the biases of one side to those of the other: the one for which the objective is smallest.

    Predictions stay the same, so it is the ridge that falls. Alternation alone moves it slowly: a fit then needs about
    two iterations more for the same loss. The biases of rows without entries stay 0, so the predictions of their
    unobserved entries do change, and count.
    """
    sides = []
    for problem, other, panel in ((users, items, X), (items, users, Y)):
        empty = other.rows[other.cells.counts == 0, BACKGROUND].sum(dtype=np.float64)
        there = np.flatnonzero(problem.cells.counts)
        weights = problem.rows[there, RIDGE] + problem.rows[there, BACKGROUND] * empty
        sides.append((there, weights.sum(), (weights * panel[there, bias]).sum()))
    (of_users, all_users, sum_users), (of_items, all_items, sum_items) = sides
    moved = (sum_items - sum_users) / (all_users + all_items) if all_users + all_items > 0 else 0.0
    if np.isfinite(moved):
        X[of_users, bias] += moved
        Y[of_items, bias] -= moved
