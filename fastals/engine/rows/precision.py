"""Which rows the dtype can hold: whether rounding leaves a row's solution within 1%.

In the metric of D = background G + ridge, a row's matrix is I + sum_j w_j z_j z_j' with z = D^-1/2 y. Its condition is
at most (1 + sum of w z'z over w > 0) / (1 - what negative w take away). A solution is off by eps times the condition,
times a small number. A row is looked at closely only where bounds from numbers that are there anyway leave a doubt, so
ordinary data pay two multiplications a row. What is decided depends on the row and the fixed side alone.
"""

from __future__ import annotations

import numpy as np

from ..jit import apart, inlined
from ..panel import largest_square
from ..plan import Bounds
from ..problem import BACKGROUND, RIDGE, WEIGHT, Extent, RowProblem
from .cg import add_squares

# Bounds of eps times a condition for an error of 1% of a row's length in the metric of D. Rows of real and of random
# data are off by up to 0.2 times this product, where the condition is a bound, and by up to 4 times where it is told by
# the pivots of a Cholesky factor, which are lower bounds.
BOUND, PIVOTS = 2.0**-4, 2.0**-9

# Entries of less confidence than unobserved ones are taken off the background, number by number. Such rows are off by
# up to 3 times the product.
TAKEN_OFF = 2.0**-4

# The same bound for a loss: the dual way gives it with an error of up to eps times the condition, as a share of the sum
# of confidence * target^2. Beyond, it is computed from the factors.
LOSSES = {4: BOUND, 8: 2.0**-26}


def extent_of(columns: np.ndarray, Y: np.ndarray, n_threads: int = 1) -> Extent:
    """Return what `bounds_for` wants of the columns of a problem and of their fixed panel `Y`."""
    background = columns[:, BACKGROUND]
    uniform = len(background) == 1 and bool(background[0] > 0)  # then the lengths of the fixed rows do not count
    longest = None if uniform else largest_square(Y, n_threads)
    return Extent(longest, _least(background), -_least(-background), _least(columns[:, WEIGHT]))


def bounds_for(problem: RowProblem, extent: Extent) -> Bounds:
    """Return what the rows of a half-step are compared with."""
    longest, least, most, weight = extent
    dtype, floor = problem.rows.dtype, 0.0
    limit = BOUND / float(np.finfo(dtype).eps)
    far = np.inf if longest is None else float(longest)
    if most > 0:
        floor = float(problem.rule.constant) * weight * _least(problem.cells.weights)
    # z'z <= 1 / (background q) and z'z <= y'y / the smallest number of D. Half of the limit, as these are rounded.
    per_ridge = limit / far / 2 if 0 < far < np.inf else 0.0
    return Bounds(limit, limit * least / 2, per_ridge, most, floor, LOSSES[dtype.itemsize] / BOUND)


def _least(numbers: np.ndarray) -> float:
    return float(numbers[0] if len(numbers) == 1 else numbers.min())  # which takes 3 us, as much as a row


@inlined
def doubtful(problem, u, m, weight, negative, least, bounds):  # -> whether a row, and whether its loss are in doubt
    """Compare the sum of a row's w with bounds."""
    background = np.float64(problem.rows[u, BACKGROUND])
    bound = max(bounds.per_background * background, bounds.per_ridge * np.float64(least))
    if negative > 0:
        taken = background * bounds.most  # by an entry of confidence 0
        doubt = not (
            (weight + (m + 1) * taken) * taken <= TAKEN_OFF * bound * bounds.floor * np.float64(problem.rows[u, WEIGHT])
        )
        return doubt, doubt
    return not weight <= bound, not weight <= bound * bounds.losses


@apart
def holds(
    problem,  # in    RowProblem
    u,  # in    intp
    begin,  # in    intp              first entry
    m,  # in    intp              number of entries
    Y,  # in    T (n_columns, kp)
    g,  # in    T (kp,)
    width,  # in    intp
    w,  # in    T (m,)            weights on top of the background's
    sums,  # work  T (kp,)
    bounds,  # in    Bounds
):  # -> whether the dtype holds the row
    """Bound the condition of one row by its entries."""
    background, ridge = np.float64(problem.rows[u, BACKGROUND]), np.float64(problem.rows[u, RIDGE])
    indices, columns = problem.cells.indices, problem.columns
    left = 1.0
    for i in range(len(sums)):
        sums[i] = 0
    for i in range(m):
        j = np.uintp(indices[begin + i])
        if w[i] > 0:
            add_squares(sums, w[i], Y, j)
        elif w[i] < 0:
            taken = background * np.float64(columns[min(j, np.uintp(len(columns) - 1)), BACKGROUND])
            left = min(left, TAKEN_OFF * (taken + np.float64(w[i])) / taken)
    largest, total = 0.0, 1.0
    for i in range(width):
        d = background * np.float64(g[i]) + ridge
        largest = max(largest, d)
        total += np.float64(sums[i]) / d
    left = max(left, ridge / largest)
    return total <= bounds.limit * left
