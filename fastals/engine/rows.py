"""One row: its cells in, its factors out.

Solves A x = r with A = diag(d) + sum_j w_j y_j y_j', r = sum_j b_j y_j and d = background_row g + ridge: in its own
eigenbasis the background is a diagonal. Five ways to the same x:

- diagonal: all w are 0, as where zeros are data and all weights are equal. Nothing to factorise.
- primal: Cholesky of the k x k matrix. m k^2 / 2 + k^3 / 6 multiply-adds for m cells.
- dual: with Z = diag(sqrt w) Y_S diag(d)^(-1/2), x = diag(d)^(-1/2) Z' (I + Z Z')^(-1) (b / sqrt w), Cholesky of an
  m x m matrix. m^2 k / 2 + m^3 / 6; needs all w and d above 0.
- cg: conjugate gradients preconditioned by 1 / d. 2 m k a step; a row that does not get there ends in primal or dual.
- few: the dual of a row of up to 6 cells, and no more cells than factors, in registers: 0.15 to 0.3 us at k = 64, a
  third of what steps take.

Each also knows the row's objective there, for next to nothing: the loss of a half-step is their sum.
"""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

import numpy as np

from .cholesky import gram_add, gram_add_between, solve, unfold_gram
from .jit import inlined, inner
from .problem import BACKGROUND, OFFSET, RIDGE, WEIGHT
from .simd.kernels import (
    AHEAD,
    FEW,
    cg_advance,
    cg_direction,
    dot,
    gather_axpys,
    gather_dots,
    gather_gram,
    gather_panel,
    gather_residual,
    gather_transposed,
    go_beyond,
    lanes_of,
    solve_few,
)
from .simd.target import aligned_empty, in_strips, padded

# What a row reports; the estimators turn it into sentences.
OK, NOT_POSITIVE, NOT_FINITE = 0, 1, 2

CHEAPEST, PRIMAL, DUAL, CG = -1, 0, 1, 2

# Rows gathered at once: 128 x 128 floats are 64 KiB, well inside the second-level cache, and the product that follows
# reads and writes each tile of A once for 128 cells. Rows of 4 k cells take 1% longer with 64 at k = 128, and 4% with
# 256 at k = 64.
CHUNK = 128

# Cells of a row that tell how many steps it may take. They cost 3% of a row of 50 cells at k = 64; a row of fewer than
# four times as many is not asked, as it takes little time either way.
SAMPLED = 8


class Plan(NamedTuple):
    """How the rows of one half-step are to be solved."""

    sketch: bool  # rows are not solved: x = `sketch_scale` r, as a start wants it; nothing below counts
    cholesky: bool  # a row may be solved exactly
    cg: bool  # a row may be solved by conjugate gradients
    warm: bool  # where rows of more than `steps` cells start from what X holds
    steps: int  # and take at most so many steps
    expected: int  # of which a row is expected to need so many, where `expected_steps` does not tell
    tolerance: float  # fewer where what is left to gain is at most its square times the gain so far
    only: int  # PRIMAL, DUAL or CG for all rows, where they can be solved so; CHEAPEST: as `choose` says
    finish: bool  # a row that has not got there by then is solved by Cholesky, as is one that is not expected to
    beyond: float  # how far X goes: to solution + beyond * (solution - what X held before)


class Workspace(NamedTuple):
    """One thread's memory; contents are undefined on entry and exit of everything here."""

    w: np.ndarray  # T (m,)   weights on top of the background
    b: np.ndarray  # T (m,)   right-hand coefficients
    s: np.ndarray  # T (m,)   scales of the gathered rows
    d: np.ndarray  # T (kp,)  diagonal
    e: np.ndarray  # T (kp,)  1 / d, or 1 / sqrt(d)
    r: np.ndarray  # T (kp,)  right-hand side, residual
    p: np.ndarray  # T (kp,)  direction
    q: np.ndarray  # T (kp,)  -A p
    inv: np.ndarray  # T (kp,)  reciprocals of the factor's diagonal
    before: np.ndarray  # T (kp,)  what X held; the way from there
    A: np.ndarray  # T (kp * kp,)
    panel: np.ndarray  # T (kp in whole strips * max(kp, CHUNK),)


def workspace(kp: int, longest: int, dtype: np.dtype) -> Workspace:
    """Return memory for rows of up to `longest` cells and `kp` factors."""
    m = padded(longest, dtype)
    sizes = 3 * [m] + 7 * [kp] + [kp * kp, in_strips(kp, dtype) * max(kp, CHUNK)]
    # One allocation, since twelve take 0.1 ms: as much as 200 short rows. Each part is whole vectors, hence aligned.
    memory = aligned_empty(sum(sizes), dtype)
    ends = list(accumulate(sizes))
    return Workspace(*map(memory.__getitem__, map(slice, [0, *ends], ends)))


# Numbers of a row's cells that a second-level cache of 2 MiB holds beside the rest. Where there are more, each takes
# two to four times as long in every pass (k = 64, 128 and 256 alike; measured apart from what follows).
CACHED = 400_000

# Predicted nanoseconds of a row of m cells by each way, fitted by `bench/cost_model.py` on one core with AVX-512 in
# float32, to 2 to 7% in the median (`few_cost`: from rows of 1 to 6 cells alone); another CPU scales all of them alike.
# Since then exact rows have become up to a quarter faster; with constants fitted anew no fit took 1% more or less.


def primal_cost(m, k):
    """Primal: gather and Gram matrix, factor, substitution."""
    return 330 + 0.45 * k * k + 0.0012 * k * k * k + 0.29 * m * k + 0.0061 * m * k * k


def dual_cost(m, k):
    """Dual: the matrix is m x m, its panel k rows long, both padded."""
    m = (m + 15) // 16 * 16
    return 400 + 4.8 * k + 0.25 * m * k + 0.4 * m * m + 0.0079 * m * m * k


def few_cost(m, k):
    """Few: a row of at most FEW cells, in registers."""
    return 100 + 18 * m + 0.45 * k + 0.06 * m * k


def cg_cost(m, k, steps):
    """Conjugate gradients: the first pass over the cells fetches them, each pass reads them."""
    return 250 + 0.1 * m * k + (steps + 1) * (0.32 * k + 1.07 * m + (0.057 + 0.1 * (m * k > CACHED)) * m * k)


def predicted_cost(m: np.ndarray, k: int, plan: Plan) -> np.ndarray:
    """Return the predicted nanoseconds of rows with `m` cells: what `choose` chooses by."""
    cost = np.where(m < k, np.minimum(primal_cost(m, k), dual_cost(m, k)), primal_cost(m, k))
    if plan.cg:
        inexact = cg_cost(m, k, plan.expected)
        cost = np.minimum(cost, inexact) if plan.cholesky else inexact
    return np.where(m <= FEW, few_cost(m, k), cost)


_primal_cost, _dual_cost, _cg_cost = inlined(primal_cost), inlined(dual_cost), inlined(cg_cost)


@inlined
def choose(
    m,  # in  intp  cells of the row
    k,  # in  intp
    steps,  # in  number  of conjugate gradients, as expected
    plan,  # in  Plan
):  # -> PRIMAL, DUAL or CG
    """Return the cheapest way that the plan allows."""
    if plan.only != CHEAPEST:
        return plan.only
    exact, way = _primal_cost(m, k), PRIMAL
    if m < k and _dual_cost(m, k) < exact:
        exact, way = _dual_cost(m, k), DUAL
    if plan.cg and (not plan.cholesky or (steps <= plan.steps and _cg_cost(m, k, steps) < exact)):
        way = CG
    return way


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
def gather_cells(
    problem,  # in    RowProblem
    u,  # in    intp
    begin,  # in    intp         the first of its cells that are wanted
    m,  # in    intp         how many are
    w,  # out   T (m,)
    b,  # out   T (m,)
):  # -> sum of confidence * target^2, sum of w, how many w are below 0, how many are 0
    """Compute the numbers of a row's cells: they are kept for one row at a time only.

    A call copies each array that it passes, 7 numbers: with all of a Workspace a fit of short rows takes 5% longer.
    """
    cells, rule, rows, columns = problem
    row_weight, row_background = rows[u, WEIGHT], rows[u, BACKGROUND]
    if len(cells.values) == len(cells.weights) == len(columns) == 1:
        # All cells are one cell, as in binary data: 0.1 ns a cell instead of 0.8.
        one, right, part = _cell(rule, cells.values[0], cells.weights[0] * row_weight, row_background, columns, 0)
        fill(w, m, one)
        fill(b, m, right)
        return m * np.float64(part), m * np.float64(one), m * (one < 0), m * (one == 0)
    # Plain loops over what varies from cell to cell, so that they become vector loops: 0.8 ns a cell. Until `_cell`
    # turns each pair into w and b, their places hold weights and values.
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
    constant, negative, zero = 0.0, 0, 0
    if len(columns) == 1:
        for i in range(m):
            w[i], b[i], part = _cell(rule, values[i], weights[i], row_background, columns, 0)
            constant += part
    else:
        for i in range(m):
            j = np.uintp(cells.indices[begin + i])
            w[i], b[i], part = _cell(rule, values[i], weights[i], row_background, columns, j)
            constant += part
    total = 0.0
    for i in range(m):
        total += np.float64(w[i])
        negative += w[i] < 0
        zero += w[i] == 0
    return constant, total, negative, zero


@inlined
def sketch_scale(background, g, ridge, weight, width):
    """Return 1 / a rough diagonal of A, for columns y with |y|^2 = 1 in the mean and all eigenvalues of G alike, g.

    Without a background 1: there a row's own cells are all it has, and rows of few would count like those of many.
    `weight`, the sum of the row's w, counts twice, as its y lean to the direction of the solution. Loss after the first
    iteration with it counted 0, 1, 2, 4, 8 times, over that of five exact iterations: lastfm, k = 64: 1.042, 1.028,
    1.025, 1.023, 1.024; MovieLens 1M, k = 64: 0.965, 0.951, 0.950, 0.952, 0.956; k = 256: 0.864, 0.847, 0.853, 0.864,
    0.879; the generated set, k = 64: 1.051, 1.017, 1.011, 1.006, 1.002.
    """
    if background * g > 0:
        return 1 / (background * g + ridge + 2 * max(weight, 0.0) / width)
    return 1.0


@inner
def set_diagonal(d, background, g, ridge, width):
    """Set d = background g + ridge, and 1 in the padding."""
    for i in range(width):
        d[i] = background * g[i] + ridge
    for i in range(width, len(d)):
        d[i] = 1


@inner
def clear(array, start, count):
    """array[start : start + count] = 0.

    Beside ``fill``, as LLVM makes a ``memset`` of it: with one function for both a row of 128 cells takes 5% longer at
    32 floats.
    """
    for i in range(start, start + count):
        array[i] = 0


@inner
def fill(array, count, value):
    """array[0:count] = value."""
    for i in range(count):
        array[i] = value


@inlined
def is_finite(number):
    """Return whether a number is finite, by a comparison.

    ``np.isfinite`` would subtract it from itself, and the LLVM of Numba 0.61 makes a plain 0 of that where sums may be
    taken in another order.
    """
    return abs(number) < np.inf


@inlined
def _cell(rule, value, weight, row_background, columns, j):  # -> w, b, confidence * target^2
    confidence = (rule.constant + rule.slope * abs(value)) * weight * columns[j, WEIGHT]
    target = rule.value_target * (value - rule.mean - columns[j, OFFSET]) + rule.sign_target * (value > 0)
    return confidence - row_background * columns[j, BACKGROUND], confidence * target, confidence * target * target


@inlined
def solve_row(
    problem,  # in    RowProblem
    u,  # in    intp
    Y,  # in    T (n_columns, kp)   fixed panel, in the eigenbasis of its background
    g,  # in    T (kp,)             eigenvalues of the background
    lowest,  # in    T                   the least of them
    width,  # in    intp               columns of the panels in use
    x,  # inout T (n_rows * kp,)    row u: a start where the plan is warm; the solution, or beyond it
    plan,  # in    Plan
    ws,  # work  Workspace
):  # -> status, objective of the row: its cells, background and ridge; of a sketch |x|^2
    """Solve one row in the cheapest way that the plan allows."""
    kp = Y.shape[1]
    o, begin, m = u * kp, problem.cells.indptr[u], problem.cells.indptr[u + 1] - problem.cells.indptr[u]
    if m == 0:
        clear(x, o, kp)
        return OK, 0.0
    indices = problem.cells.indices
    constant, weight, negative, zero = gather_cells(problem, u, begin, m, ws.w, ws.b)
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
    # With more cells than factors the dual's matrix is all but singular, and its pivots are what is left of much larger
    # numbers: at a ridge of 1e-6 users of one factor were wrong by 15%.
    few = m <= min(FEW, width) and plan.only == CHEAPEST and negative == 0 and least > 0
    if few and solve_few(ws.s, 0, x, o, ws.w, ws.b, ws.d, plan.beyond, Y, kp, indices, begin, m) == 0:
        gain, gained = np.float64(ws.s[0]), np.float64(ws.s[1])
    else:
        if plan.beyond > 0:
            for i in range(kp):
                ws.before[i] = x[o + i]
        solved, gain, gained = _solve(problem, u, Y, indices, begin, m, negative, zero, least, x, o, plan, ws)
        if not solved:
            return NOT_POSITIVE, 0.0
        if plan.beyond > 0:
            gained = _go_beyond(Y, indices, begin, m, x, o, gained, plan, ws)
    if plan.beyond > 0:
        # It was `gained` above its minimum and is beyond^2 of that now: with beyond < 1 a half-step never lets it rise.
        gain -= np.float64(plan.beyond * plan.beyond) * gained
    # A solution that is not finite shows in the gain.
    return (OK if is_finite(gain) else NOT_FINITE), constant - gain


@inlined
def _solve(problem, u, Y, indices, begin, m, negative, zero, least, x, o, plan, ws):  # -> solved, gain, gained
    """Solve A x = r; `gained` is what was gained from the start on, NaN where that is not known."""
    kp = Y.shape[1]
    positive = negative == 0 and zero == 0 and least > 0
    if least > 0 and zero == m:
        return True, _diagonal(Y, indices, begin, m, x, o, ws), np.nan
    steps = np.float64(plan.expected)
    if plan.finish and plan.cg and plan.cholesky and m > 4 * SAMPLED:
        steps = expected_steps(Y, indices, begin, m, plan, ws)
    way = choose(m, kp, steps, plan)
    if (way == DUAL and not (positive and m <= kp)) or (way == CG and not least > 0):
        way = PRIMAL
    if way == CG:
        converged, gain, gained = _conjugate_gradients(Y, indices, begin, m, x, o, plan, ws)
        if converged or not plan.finish:
            return True, gain, gained
        gather_cells(problem, u, begin, m, ws.w, ws.b)  # the steps have used up b
        way = DUAL if positive and m < kp and _dual_cost(m, kp) < _primal_cost(m, kp) else PRIMAL
    if way == DUAL:
        solved, gain = _dual(Y, indices, begin, m, x, o, ws)
    else:
        solved, gain = _primal(Y, indices, begin, m, negative, x, o, ws)
    return solved, gain, np.nan


@inner
def _weighted_square(w, x, n):
    total = x.dtype.type(0)
    for i in range(n):
        total += w[i] * x[i] * x[i]
    return total


@inner
def _go_beyond(Y, indices, begin, m, x, o, gained, plan, ws):  # -> gained
    """Over-relax: with s = x - before, X <- x + beyond * s, where the objective is beyond^2 s'A s above the minimum.

    What was gained from there on is s'A s.
    """
    kp = Y.shape[1]
    # The kernel's sum goes through ws.inv, which is free after a row is solved.
    go_beyond(ws.inv, 0, x, o, ws.before, ws.d, plan.beyond, kp)
    if np.isnan(gained):
        gather_dots(ws.s, 0, Y, kp, indices, begin, m, ws.before, 0)
        gained = np.float64(ws.inv[0] + _weighted_square(ws.w, ws.s, m))
    return gained


@inlined
def right_hand_side(Y, indices, begin, m, ws):
    """Sum r = sum_j b_j y_j."""
    clear(ws.r, 0, len(ws.r))
    gather_axpys(ws.r, 0, ws.b, 0, Y, Y.shape[1], indices, begin, m)


@inlined
def _diagonal(Y, indices, begin, m, x, o, ws):  # -> gain
    """Solve it where A is d: x = r / d."""
    kp = Y.shape[1]
    right_hand_side(Y, indices, begin, m, ws)
    for i in range(kp):
        x[o + i] = ws.r[i] / ws.d[i]
    dot(ws.s, 0, x, o, ws.r, 0, kp)
    return np.float64(ws.s[0])


@inner
def _primal(Y, indices, begin, m, negative, x, o, ws):  # -> solved, gain
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


@inner
def _dual(Y, indices, begin, m, x, o, ws):  # -> solved, gain
    """Cholesky of I + Z Z', Z' gathered as a panel of k rows.

    For t with (I + Z Z') t = q = b / sqrt w, sqrt w_j times the prediction of cell j is q_j - t_j, so the gain x'A x is
    x'D x + sum_j (q_j - t_j)^2. As sum_j q_j (q_j - t_j) it would be the same but for rounding, where w is far below b.
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


@inner
def _conjugate_gradients(Y, indices, begin, m, x, o, plan, ws):  # -> converged, gain, gained from x on
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
