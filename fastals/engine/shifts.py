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
from .problem import BACKGROUND, OFFSET, RowProblem, Shifts

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
    weighted = shifts * weights
    linear, square = weighted_sum(weighted, Y), weighted_sum(weighted, shifts[:, None])
    return Shifts(shifts, linear.astype(shifts.dtype), float(square[0]))


def weighted_sum(weights: np.ndarray, panel: np.ndarray) -> np.ndarray:
    """Return sum_j weights_j y_j, float64 (kp,), for weights of the dtype of the panel."""
    total = np.zeros(panel.shape[1])
    with one_blas_thread():
        for begin in range(0, len(panel), PIECE):
            part = slice(begin, begin + PIECE)
            total += weights[part] @ panel[part]
    return total


def on_panel(problem: RowProblem, Y: np.ndarray) -> RowProblem:
    """Return the problem with what its shifts make of a fixed panel."""
    if len(problem.shifts.columns) == 0:
        return problem
    return problem._replace(shifts=shifts_for(problem.shifts.columns, problem.columns[:, BACKGROUND], Y))
