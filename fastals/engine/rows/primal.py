"""The primal way: Cholesky of the k x k matrix of a row."""

import numpy as np

from ..cholesky import gram_add_between, solve, unfold_gram
from ..jit import apart, inlined
from ..simd.kernels import dot, gather_gram, gather_panel, lanes_of
from .diagonal import add_linear
from .workspace import CHUNK, clear


@apart
def solve_primal(Y, indices, begin, m, negative, doubt, x, o, drawn, ws):  # -> solved, gain, loss of digits
    """Sum the equations and solve them by Cholesky.

    The largest ratio of what a pivot is a difference of to the pivot is told where there is a doubt, else 0.
    """
    kp = Y.shape[1]
    sum_equations(Y, indices, begin, m, negative, ws)
    if drawn:
        add_linear(ws.r, ws.linear)
    for i in range(kp):
        ws.q[i] = ws.r[i]
    if doubt:
        for i in range(kp):
            ws.e[i] = max(ws.A[i * kp + i], ws.d[i])
    if solve(ws.A, kp, ws.inv, ws.q) != 0:
        return False, 0.0, np.inf
    ratio = 0.0
    if doubt:
        for i in range(kp):
            ratio = max(ratio, np.float64(ws.e[i]) * np.float64(ws.inv[i]) ** 2)
    for i in range(kp):
        x[o + i] = ws.q[i]
    dot(ws.s, 0, x, o, ws.r, 0, kp)
    return True, np.float64(ws.s[0]), ratio


@apart
def sum_equations(
    Y,  # in    T (n_columns, kp)
    indices,  # in    int32
    begin,  # in    intp              first entry
    m,  # in    intp              number of entries, above 0
    negative,  # in    intp              number of w below 0
    ws,  # inout Workspace         in: d, w, b; out: A, r; overwritten: s, panel, and b if any w is below 0
):
    """Compute the upper triangle of A = diag(d) + sum_j w_j y_j y_j', and r = sum_j b_j y_j.

    The Gram matrix is the sum over chunks of gathered columns, scaled by sqrt |w|. Where columns are one vector long,
    it is summed in registers, without a panel.
    """
    kp = Y.shape[1]
    clear(ws.r, 0, kp)
    if kp == lanes_of(Y):
        clear(ws.A, 0, kp * kp)
        for start in range(0, m, CHUNK):
            gather_gram(ws.A, 0, kp, ws.r, ws.w, ws.b, start, Y, indices, begin + start, min(CHUNK, m - start))
    else:
        _add_weighted_gram(Y, indices, begin, m, 1.0, ws)
        if negative > 0:
            clear(ws.b, 0, m)  # r has them already
            _add_weighted_gram(Y, indices, begin, m, -1.0, ws)
        unfold_gram(ws.A, kp, kp)
    for i in range(kp):
        ws.A[i * kp + i] += ws.d[i]


@inlined
def _add_weighted_gram(Y, indices, begin, m, sign, ws):
    """Add sign * |w| y y' to A for the entries whose w has this sign, and b y to r for all entries.

    The first chunk of sign 1 overwrites A, which saves filling A with zeros: 1% of an exact row.
    """
    kp = Y.shape[1]
    real = ws.w.dtype.type  # with a Python number the roots would be float64, which takes four times as long
    for i in range(m):
        signed = real(sign) * ws.w[i]
        # 0 * signed is NaN where w is infinite, whatever its sign, so that the row fails.
        ws.s[i] = np.sqrt(max(signed, real(0) * signed))
    for start in range(0, m, CHUNK):
        depth, keep, here = min(CHUNK, m - start), start > 0 or sign < 0, begin + start
        gather_panel(ws.A, keep, sign, ws.panel, CHUNK, ws.s, ws.b, start, ws.r, Y, kp, indices, here, depth, m - start)
        gram_add_between(ws.A, keep, sign, ws.panel, CHUNK, depth, kp, kp)
