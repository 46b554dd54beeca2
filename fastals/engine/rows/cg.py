"""A row by conjugate gradients."""

import numpy as np

from ..jit import inlined, inner
from ..simd.kernels import AHEAD, cg_advance, cg_direction, dot, gather_residual
from .diagonal import right_hand_side
from .workspace import clear

# Cells of a row that tell how many steps it may take. They cost 3% of a row of 50 cells at k = 64; a row of fewer than
# four times as many is not asked, as it takes little time either way.
SAMPLED = 8


@inner
def expected_steps(
    Y,  # in    T (n_columns, kp)
    indices,  # in    int32
    begin,  # in    intp       of the cells in indices
    m,  # in    intp       above 0
    plan,  # in    Plan
    ws,  # inout Workspace  d, w; e is used
):  # -> float64
    """Return how many steps of conjugate gradients a row may take from 0 to the plan's tolerance.

    The larger w is beside the background, the more. With t the mean of w y'D^-1 y over the row's cells, here over some
    of them,

        steps = 0.75 log(1 / tolerance) sqrt(1 + 2 t) (m / (m + k))^(1/4)

    It is fitted to 800 rows of lastfm, MovieLens 1M and the generated set, k = 64 to 512, which took 5 to 30 steps, and
    off by 14% in the root mean square; by 20% what follows from the condition of a random matrix of this trace. With 10
    steps for all the last half-step took a quarter longer on the generated set at k = 128, a fifth at 256, and a fit in
    float64 half as long again on MovieLens 1M at k = 128.
    """
    kp = Y.shape[1]
    clear(ws.e, 0, kp)
    stride, taken = (m + SAMPLED - 1) // SAMPLED, 0
    for i in range(0, m, stride):
        _add_squares(ws.e, ws.w[i], Y, np.uintp(indices[begin + i]))
        taken += 1
    trace = 0.0
    for i in range(kp):
        trace += np.float64(ws.e[i] / ws.d[i])
    share = np.sqrt(m / (m + kp))
    return -0.75 * np.log(np.float64(plan.tolerance)) * np.sqrt((1 + 2 * max(trace / taken, 0.0)) * share)


@inner
def _add_squares(total, w, Y, j):
    for i in range(len(total)):
        total[i] += w * Y[j, i] * Y[j, i]


@inner
def conjugate_gradients(Y, indices, begin, m, x, o, plan, ws):  # -> converged, gain, gained from x on
    """Conjugate gradients preconditioned by e = 1 / d, from x or from 0.

    The gain is known throughout: each step adds alpha r.z. What is left to gain is r' A^-1 r, at most r.z = r' D^-1 r,
    and that is what ends the row: r.z <= tolerance^2 * gain.
    """
    kp = Y.shape[1]
    wanted = plan.tolerance * plan.tolerance
    gain, first = 0.0, np.nan
    # From 0, m steps solve a row of m cells: D^-1/2 A D^-1/2 is I plus a matrix of rank m. From elsewhere it takes one
    # more, and a pass over the cells for the residual.
    if plan.warm and m > plan.steps:
        # r = sum_j (b_j - w_j s_j) y_j - d x with s_j = x.y_j, and gain = 2 sum_j b_j s_j - x.A x
        for i in range(kp):
            ws.r[i] = -ws.d[i] * x[o + i]
        for i in range(kp):
            gain += np.float64(ws.r[i] * x[o + i])
        gather_residual(ws.r, 0, ws.s, ws.b, ws.w, 0, Y, kp, indices, begin, m, x, o, AHEAD)
        for i in range(m):
            gain += np.float64((2 * ws.b[i] - ws.w[i] * ws.s[i]) * ws.s[i])
        first = gain
    else:
        clear(x, o, kp)
        right_hand_side(Y, indices, begin, m, ws)
    clear(ws.b, 0, m)
    for i in range(kp):
        ws.e[i] = 1 / ws.d[i]
        ws.p[i] = 0
    # The numbers that the kernels return go through ws.s, which is free between two passes over the cells.
    beta = x.dtype.type(0)
    for i in range(kp):
        ws.q[i] = ws.e[i] * ws.r[i]
    dot(ws.s, 0, ws.q, 0, ws.r, 0, kp)
    rz = ws.s[0]
    for _ in range(plan.steps):
        if rz <= wanted * gain:
            return True, gain, gain - first
        cg_direction(ws.p, ws.q, ws.d, ws.e, ws.r, beta, kp)
        gather_residual(ws.q, 0, ws.s, ws.b, ws.w, 0, Y, kp, indices, begin, m, ws.p, 0, 0)  # now q = -A p
        went, more, beta, rz = advance(x, o, ws.r, ws.p, ws.q, ws.e, rz, ws.s)
        gain += more
        if not went:
            return False, gain, gain - first
    return rz <= wanted * gain, gain, gain - first


@inlined
def advance(x, o, r, p, q, e, rz, out):  # -> whether it went, what it gained, beta, r'D^-1 r
    """Go along p as far as the objective falls; q = -A p. Where that is not finite, nor is what it gained."""
    kp = len(r)
    dot(out, 0, p, 0, q, 0, kp)
    curvature = -out[0]
    if not curvature > 0:
        return False, np.float64(0 * curvature), rz, rz
    alpha = rz / curvature
    cg_advance(out, 0, x, o, r, p, q, e, alpha, kp)
    return True, np.float64(alpha * rz), out[0] / rz, out[0]
