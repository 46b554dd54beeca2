"""Rows whose matrix is a diagonal, and the rough diagonal by which a sketch divides."""

import numpy as np

from ..jit import apart, inlined, inner
from ..problem import BACKGROUND, PRIOR, RIDGE
from ..simd.kernels import dot, gather_axpys, gather_dots
from .workspace import clear


@inner
def set_diagonal(d, background, g, ridge, width):
    """Set d = background * g + ridge, and 1 in the padding."""
    for i in range(width):
        d[i] = background * g[i] + ridge
    for i in range(width, len(d)):
        d[i] = 1


@inlined
def sketch_scale(background, g, ridge, weight, width):
    """Return 1 / an estimate of the diagonal of A, or 1 without a background.

    The estimate assumes that |y|^2 is 1 on average and that all eigenvalues of G are g. Without a background A consists
    of the row's entries alone: dividing by it would give short rows the same weight as long ones.

    `weight`, the sum of the row's w, counts twice because its columns lean towards the solution. Counted 1, 2 or 4
    times, the loss after the first iteration is the same within 2%; not counted at all, it is up to 4% higher.
    """
    if background * g > 0:
        return 1 / (background * g + ridge + 2 * max(weight, 0.0) / width)
    return 1.0


@inlined
def right_hand_side(Y, indices, begin, m, ws):
    """Compute r = sum_j b_j y_j."""
    clear(ws.r, 0, len(ws.r))
    gather_axpys(ws.r, 0, ws.b, 0, Y, Y.shape[1], indices, begin, m)


@inlined
def has_linear(problem):
    """Tell whether the rows have a linear term: a prior mean other than 0, or shifts."""
    return problem.rows.shape[1] > PRIOR or len(problem.shifts.linear) > 0


@inner
def set_linear(rows, shifts, u, linear):  # -> what the term is without x
    """Set the linear term of a row, a part of the right-hand side: ridge p + background l."""
    ridge, background, total = rows[u, RIDGE], rows[u, BACKGROUND], 0.0
    if rows.shape[1] > PRIOR:
        for i in range(len(linear)):
            linear[i] = ridge * rows[u, PRIOR + i]
        for i in range(len(linear)):
            total += np.float64(linear[i] * rows[u, PRIOR + i])
    else:
        clear(linear, 0, len(linear))
    if len(shifts.linear) > 0:
        for i in range(len(linear)):
            linear[i] += background * shifts.linear[i]
        total += background * shifts.square
    return total


@apart
def add_linear(r, linear):
    """Add the linear term to r."""
    for i in range(len(linear)):
        r[i] += linear[i]


@inner
def to_centre(Y, indices, begin, m, x, o, ws):  # -> gain of the centre
    """Move the origin to the centre D^-1 linear. There the row has no linear term, and b - w y.centre for b.

    So what solves a row from its entries alone solves a row with a linear term too; `from_centre` moves x back.
    """
    kp, gain = len(ws.linear), 0.0
    for i in range(kp):
        ws.e[i] = ws.linear[i] / ws.d[i]
    for i in range(kp):
        x[o + i] -= ws.e[i]
    for i in range(kp):
        gain += np.float64(ws.linear[i] * ws.e[i])
    gather_dots(ws.s, 0, Y, kp, indices, begin, m, ws.e, 0)
    for i in range(m):
        gain += np.float64((2 * ws.b[i] - ws.w[i] * ws.s[i]) * ws.s[i])
    for i in range(m):
        ws.b[i] -= ws.w[i] * ws.s[i]
    return gain


@inner
def from_centre(x, o, linear, d):
    """Add the centre to x."""
    for i in range(len(linear)):
        x[o + i] += linear[i] / d[i]


@inlined
def solve_diagonal(Y, indices, begin, m, x, o, drawn, ws):  # -> gain
    """Solve a row whose w are all 0: x = r / d."""
    kp = Y.shape[1]
    right_hand_side(Y, indices, begin, m, ws)
    if drawn:
        add_linear(ws.r, ws.linear)
    for i in range(kp):
        x[o + i] = ws.r[i] / ws.d[i]
    dot(ws.s, 0, x, o, ws.r, 0, kp)
    return np.float64(ws.s[0])
