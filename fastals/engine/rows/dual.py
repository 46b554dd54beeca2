"""The dual way: Cholesky of an m x m matrix, for rows with fewer entries than factors."""

import numpy as np

from ..cholesky import gram_add, solve, unfold_gram
from ..jit import apart
from ..simd.kernels import gather_axpys, gather_transposed, lanes_of
from .workspace import clear


@apart
def solve_dual(Y, indices, begin, m, x, o, ws):  # -> solved, gain
    """Solve (I + Z Z') t = q = b / sqrt w by Cholesky, with Z' gathered as a panel of k rows.

    The prediction of entry j is (q_j - t_j) / sqrt w_j. So the gain x'A x is x'D x + sum_j (q_j - t_j)^2. The sum of
    q_j (q_j - t_j) is equal in exact arithmetic, but rounding spoils it where w is far below b.
    """
    kp = Y.shape[1]
    lanes = lanes_of(Y)
    mp = (m + lanes - 1) // lanes * lanes
    for i in range(kp):
        ws.e[i] = 1 / np.sqrt(ws.d[i])
    q, t = ws.p, ws.q
    for i in range(m):
        ws.s[i] = np.sqrt(ws.w[i])
        q[i] = ws.b[i] / ws.s[i]
        t[i] = q[i]
    clear(t, m, mp - m)
    gather_transposed(ws.panel, 0, kp, ws.s, 0, ws.e, 0, Y, kp, indices, begin, m)
    gram_add(ws.A, False, 1.0, ws.panel, kp, kp, mp, mp)
    unfold_gram(ws.A, mp, mp)
    for i in range(mp):
        ws.A[i * mp + i] += 1
    if solve(ws.A, mp, ws.inv, t) != 0:
        return False, 0.0
    gain = 0.0
    for i in range(m):
        gain += np.float64((q[i] - t[i]) * (q[i] - t[i]))
    for i in range(m):
        ws.s[i] *= t[i]
    clear(x, o, kp)
    gather_axpys(x, o, ws.s, 0, Y, kp, indices, begin, m)
    for i in range(kp):
        x[o + i] /= ws.d[i]
    for i in range(kp):
        gain += np.float64(ws.d[i] * x[o + i] * x[o + i])
    return True, gain
