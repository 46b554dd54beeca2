"""Rows whose matrix is a diagonal, and the rough diagonal by which a sketch divides."""

import numpy as np

from ..jit import inlined, inner
from ..simd.kernels import dot, gather_axpys
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
def solve_diagonal(Y, indices, begin, m, x, o, ws):  # -> gain
    """Solve a row whose w are all 0: x = r / d."""
    kp = Y.shape[1]
    right_hand_side(Y, indices, begin, m, ws)
    for i in range(kp):
        x[o + i] = ws.r[i] / ws.d[i]
    dot(ws.s, 0, x, o, ws.r, 0, kp)
    return np.float64(ws.s[0])
