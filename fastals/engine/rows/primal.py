"""A row by Cholesky of its k x k matrix."""

import numpy as np

from ..cholesky import gram_add_between, solve, unfold_gram
from ..jit import inlined, inner
from ..simd.kernels import dot, gather_gram, gather_panel, lanes_of
from .workspace import CHUNK, clear


@inner
def solve_primal(Y, indices, begin, m, negative, x, o, ws):  # -> solved, gain
    """Cholesky of the k x k matrix."""
    kp = Y.shape[1]
    sum_equations(Y, indices, begin, m, negative, ws)
    for i in range(kp):
        ws.q[i] = ws.r[i]
    if solve(ws.A, kp, ws.inv, ws.q) != 0:
        return False, 0.0
    for i in range(kp):
        x[o + i] = ws.q[i]
    dot(ws.s, 0, x, o, ws.r, 0, kp)
    return True, np.float64(ws.s[0])


@inner
def sum_equations(
    Y,  # in    T (n_columns, kp)
    indices,  # in    int32
    begin,  # in    intp              of the cells in indices
    m,  # in    intp              above 0
    negative,  # in    intp              how many of their w are below 0
    ws,  # inout Workspace         d, w, b; A and r are written, s and panel are used
):
    """Sum A = diag(d) + sum_j w_j y_j y_j', its upper triangle, and r = sum_j b_j y_j.

    The Gram matrix is summed from chunks of gathered rows times sqrt |w|. Rows of one vector need no panel: theirs is
    summed in registers.
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
            clear(ws.b, 0, m)  # they are in r
            _add_weighted_gram(Y, indices, begin, m, -1.0, ws)
        unfold_gram(ws.A, kp, kp)
    for i in range(kp):
        ws.A[i * kp + i] += ws.d[i]


@inlined
def _add_weighted_gram(Y, indices, begin, m, sign, ws):
    """Add sign * |w| y y' to A for the cells whose w has this sign, and b y to r for all.

    The first chunk of sign 1 is put there: to fill A with zeros and to read them takes 1% of a row of 4 k cells.
    """
    kp = Y.shape[1]
    real = ws.w.dtype.type  # not a plain number, of which float64 roots come: four times as long, 2% of a row at k = 64
    for i in range(m):
        signed = real(sign) * ws.w[i]
        # 0 * signed, not 0: of an infinite w of the other sign that is NaN, and the row fails.
        ws.s[i] = np.sqrt(max(signed, real(0) * signed))
    for start in range(0, m, CHUNK):
        depth, keep, here = min(CHUNK, m - start), start > 0 or sign < 0, begin + start
        gather_panel(ws.A, keep, sign, ws.panel, CHUNK, ws.s, ws.b, start, ws.r, Y, kp, indices, here, depth, m - start)
        gram_add_between(ws.A, keep, sign, ws.panel, CHUNK, depth, kp, kp)
