"""Solve one row in the cheapest way that its plan allows."""

import numpy as np

from ..cells import gather_again, gather_cells
from ..jit import apart, fused
from ..plan import CG, CHEAPEST, DUAL, cheaper_exactly, choose
from ..problem import BACKGROUND, IMPRECISE, NOT_FINITE, NOT_POSITIVE, OK, PRIOR, RIDGE, UNSURE
from ..simd.kernels import FEW, dot, gather_axpys, gather_dots, go_beyond, solve_few
from .cg import SAMPLED, conjugate_gradients, expected_steps
from .diagonal import from_centre, has_linear, set_diagonal, set_linear, sketch_scale, solve_diagonal, to_centre
from .dual import solve_dual
from .precision import PIVOTS, doubtful, holds
from .primal import solve_primal
from .workspace import clear, is_finite


@fused
def solve_row(
    problem,  # in    RowProblem
    u,  # in    intp
    Y,  # in    T (n_columns, kp)   fixed panel, in the eigenbasis of its background
    g,  # in    T (kp,)             eigenvalues of the background
    lowest,  # in    T                   the smallest of them
    width,  # in    intp                columns of the panels in use
    x,  # inout T (n_rows * kp,)    row u; in: the previous x, where the plan is warm or goes beyond; out: the new x
    plan,  # in    Plan
    ws,  # work  Workspace
):  # -> status, objective of the row: its entries, background and ridge; for a sketch |x|^2
    """Solve one row."""
    kp = Y.shape[1]
    o, begin, m = u * kp, problem.cells.indptr[u], problem.cells.indptr[u + 1] - problem.cells.indptr[u]
    drawn = has_linear(problem)
    if m == 0:
        clear(x, o, kp)
        if problem.rows.shape[1] > PRIOR:
            for i in range(kp):
                x[o + i] = problem.rows[u, PRIOR + i]
        return OK, problem.rows[u, BACKGROUND] * problem.shifts.square
    indices = problem.cells.indices
    constant, weight, negative, zero = gather_cells(problem, u, begin, m, ws.w, ws.b, ws.s)
    background, ridge = problem.rows[u, BACKGROUND], problem.rows[u, RIDGE]
    if plan.sketch:
        scale = x.dtype.type(sketch_scale(background, g[0], ridge, weight, width))
        for i in range(m):
            ws.b[i] *= scale
        clear(x, o, kp)
        gather_axpys(x, o, ws.b, 0, Y, kp, indices, begin, m)
        dot(ws.s, 0, x, o, x, o, kp)
        return OK, np.float64(ws.s[0])
    set_diagonal(ws.d, background, g, ridge, width)
    least = background * lowest + ridge
    if drawn:
        constant += set_linear(problem.rows, problem.shifts, u, ws.linear)
    doubt, unsure = doubtful(problem, u, m, weight, negative, least, plan.bounds)
    ratio = np.inf
    # Without a background many entries may be as good as a ridge. With one, a row that they determine is held as well,
    # but its loss is not: what high confidences leave of it is less than the rounding of their sum.
    by_pivots = doubt and background == 0
    # With more entries than factors and a small ridge the pivots of the dual matrix are differences of almost equal
    # numbers: rounding makes the solution wrong by several percent. With entries that outweigh the background by 1e8 a
    # dual solution within 1e-3 may be worse than 0. In float32 such a row is solved again.
    outweighed = unsure and plan.bounds.losses < 1
    few = m <= min(FEW, width) and plan.only == CHEAPEST and negative == 0 and least > 0 and not outweighed
    of_centre = 0.0
    if few and drawn:
        of_centre = to_centre(Y, indices, begin, m, x, o, ws)
    failed = not few or solve_few(ws.s, 0, x, o, ws.w, ws.b, ws.d, plan.beyond, Y, kp, indices, begin, m) != 0
    if few and drawn:
        from_centre(x, o, ws.linear, ws.d)
        if failed:
            gather_again(problem, u, begin, m, ws.w, ws.b, ws.s)
    if not failed:
        gain, gained = of_centre + np.float64(ws.s[0]), np.float64(ws.s[1])
    else:
        if plan.beyond > 0:
            for i in range(kp):
                ws.before[i] = x[o + i]
        solved, gain, gained, ratio = _solve(
            problem, u, Y, indices, begin, m, negative, zero, least, by_pivots, not outweighed, x, o, drawn, plan, ws
        )
        if not solved:
            return NOT_POSITIVE, 0.0
        if plan.beyond > 0:
            gained = _go_beyond(Y, indices, begin, m, x, o, gained, plan, ws)
    if plan.beyond > 0:
        # The previous x was `gained` above the minimum, the new x is beyond^2 * gained above it. With beyond < 1 the
        # objective never rises.
        gain -= np.float64(plan.beyond * plan.beyond) * gained
    # Where the solution is not finite, the gain is not finite either.
    status = OK if is_finite(gain) else NOT_FINITE
    if doubt and not (by_pivots and ratio <= PIVOTS / np.finfo(x.dtype).eps):
        gather_again(problem, u, begin, m, ws.w, ws.b, ws.s)
        if status == OK and not holds(problem, u, begin, m, Y, g, width, ws.w, ws.e, plan.bounds):
            status = IMPRECISE
    if status == OK and ((unsure and not ratio < np.inf) or not is_finite(constant)):
        status = UNSURE
    return status, constant - gain


@fused
def _solve(
    problem, u, Y, indices, begin, m, negative, zero, least, by_pivots, dual, x, o, drawn, plan, ws
):  # -> solved, gain, gained, loss of digits
    """Solve A x = r.

    `gained` is how much the objective has fallen from the previous x, NaN if unknown. The last number is that of
    `solve_primal`, infinite if unknown.
    """
    kp = Y.shape[1]
    positive = negative == 0 and zero == 0 and least > 0
    if least > 0 and zero == m:
        return True, solve_diagonal(Y, indices, begin, m, x, o, drawn, ws), np.nan, np.inf
    steps = np.float64(plan.expected)
    if plan.finish and plan.cg and plan.cholesky and m > 4 * SAMPLED:
        steps = expected_steps(Y, indices, begin, m, plan, ws)
    way = choose(m, kp, steps, plan)
    if way == CG:
        if least > 0:
            converged, gain, gained = conjugate_gradients(Y, indices, begin, m, x, o, drawn, plan, ws)
            # Where steps gain nothing, r.z or the curvature may be beyond the dtype.
            if (gain != 0 or plan.steps == 0) and (converged or not plan.finish):
                return True, gain, gained, np.inf
            gather_again(problem, u, begin, m, ws.w, ws.b, ws.s)  # the steps have used up b
        way = cheaper_exactly(m, kp)
    if way == DUAL and dual and positive and m <= kp:
        of_centre = 0.0
        if drawn:
            of_centre = to_centre(Y, indices, begin, m, x, o, ws)
        solved, gain = solve_dual(Y, indices, begin, m, x, o, ws)
        if drawn:
            from_centre(x, o, ws.linear, ws.d)
            gain += of_centre
        return solved, gain, np.nan, np.inf
    solved, gain, ratio = solve_primal(Y, indices, begin, m, negative, by_pivots, x, o, drawn, ws)
    return solved, gain, np.nan, ratio


@fused
def _go_beyond(Y, indices, begin, m, x, o, gained, plan, ws):  # -> gained
    """Over-relax: x <- x + beyond * s, with s = x - before.

    Return what the solution gained from `before` on: s'A s. The new x is beyond^2 * s'A s above the minimum.
    """
    kp = Y.shape[1]
    # The kernel returns its sum in ws.inv, which is free once a row is solved.
    go_beyond(ws.inv, 0, x, o, ws.before, ws.d, plan.beyond, kp)
    if np.isnan(gained):
        gather_dots(ws.s, 0, Y, kp, indices, begin, m, ws.before, 0)
        gained = np.float64(ws.inv[0] + _weighted_square(ws.w, ws.s, m))
    return gained


@apart
def _weighted_square(w, x, n):
    total = x.dtype.type(0)
    for i in range(n):
        total += w[i] * x[i] * x[i]
    return total
