"""The weights w and right-hand coefficients b of a row's observed entries."""

import numpy as np

from .jit import apart, fused, inlined, inner
from .problem import BACKGROUND, OFFSET, WEIGHT


@fused
def gather_cells(
    problem,  # in    RowProblem
    u,  # in    intp
    begin,  # in    intp         first entry wanted
    m,  # in    intp         number of entries wanted
    w,  # out   T (m,)
    b,  # out   T (m,)
    s,  # work  T (m,)
):  # -> constant of the row's objective, sum of w, how many w are below 0, how many are 0
    """Compute w and b of a row's entries. The constant is the sum of confidence * target^2, unless there are shifts.

    A call copies the descriptors of all arrays that it passes. Passing a whole Workspace makes a fit of short rows 5%
    slower.
    """
    cells, rule, rows, columns, shifts = problem
    row_weight, row_background = rows[u, WEIGHT], rows[u, BACKGROUND]
    constant, total, negative, zero = 0.0, 0.0, 0, 0
    if len(cells.values) == len(cells.weights) == len(columns) == 1:
        # All entries are alike, as in binary data: this takes an eighth of the time.
        one, right, part = cell(rule, cells.values[0], cells.weights[0] * row_weight, row_background, columns, 0)
        fill(w, m, one)
        fill(b, m, right)
        constant, total, negative, zero = m * np.float64(part), m * np.float64(one), m * (one < 0), m * (one == 0)
    else:
        # Each loop reads only what varies, so that LLVM makes a vector loop of it. w and b hold weights and values
        # until `cell` turns each pair into w and b.
        values, weights = b, w
        if len(cells.values) == 1:
            fill(values, m, cells.values[0])
        else:
            for i in range(m):
                values[i] = cells.values[begin + i]
        if len(cells.weights) == 1:
            fill(weights, m, cells.weights[0] * row_weight)
        else:
            for i in range(m):
                weights[i] = cells.weights[begin + i] * row_weight
        if len(columns) == 1:
            for i in range(m):
                w[i], b[i], part = cell(rule, values[i], weights[i], row_background, columns, 0)
                constant += part
        else:
            for i in range(m):
                j = np.uintp(cells.indices[begin + i])
                w[i], b[i], part = cell(rule, values[i], weights[i], row_background, columns, j)
                constant += part
        for i in range(m):
            total += np.float64(w[i])
            negative += w[i] < 0
            zero += w[i] == 0
    if len(shifts.columns) > 0:
        constant += shift(shifts.columns, cells.indices, begin, m, w, b, s)
    return constant, total, negative, zero


@apart
def gather_again(problem, u, begin, m, w, b, s):
    """Compute w and b of a row once more: one copy of the code for all who seldom need it."""
    gather_cells(problem, u, begin, m, w, b, s)


@inlined
def cell(
    rule,  # in  CellRule
    value,  # in  T
    weight,  # in  T               of the entry, times the row's
    row_background,  # in  T
    columns,  # in  T (n_columns, 3)
    j,  # in  intp            row of `columns`
):  # -> w, b, confidence * target^2
    """Compute the numbers of one entry."""
    confidence = (rule.constant + rule.slope * abs(value)) * weight * columns[j, WEIGHT]
    target = rule.value_target * (value - rule.mean - columns[j, OFFSET]) + rule.sign_target * (value > 0)
    return confidence - row_background * columns[j, BACKGROUND], confidence * target, confidence * target * target


@inner
def shift(columns, indices, begin, m, w, b, s):  # -> by how much the constant of the row's objective changes
    """Shift the targets of a row's entries: those that are observed, against those that they would be unobserved."""
    total = 0.0
    for i in range(m):  # by itself, so that the other loops are vector loops
        s[i] = columns[np.uintp(indices[begin + i])]
    for i in range(m):
        total += np.float64((2 * b[i] + w[i] * s[i]) * s[i])
    for i in range(m):
        b[i] += w[i] * s[i]
    return total


@inlined
def shifted(columns, j, w, b, constant):  # -> b, constant of the row's objective
    """Do as `shift` for one entry, if the targets are shifted."""
    if len(columns) == 0:
        return b, constant
    return b + w * columns[j], constant + np.float64((2 * b + w * columns[j]) * columns[j])


@inner
def fill(array, count, value):
    """array[0:count] = value."""
    for i in range(count):
        array[i] = value
