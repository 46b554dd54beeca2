"""Rows with more entries than a cache holds: many rows at a time, one block of columns after another.

By itself, such a row reads the columns of all its entries from memory in each step of conjugate gradients. Here the
rows of a batch take their steps together. A block of columns that fits the second-level cache is fetched once, and
every row of the batch uses its entries in the block. At k = 128 and 256 this takes 0.6 to 0.7 of the time.

The blocks depend only on the number of factors and the dtype, and the sums of a row only on its own entries. So the
bits depend neither on the batch nor on the number of threads. Only half-steps within a fit and its start work this way.
The last half-step takes many steps, and there such rows are usually solved exactly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..cells import gather_cells
from ..jit import inner, kernel, next_block
from ..plan import CACHED, CHEAPEST, Plan, primal_cost
from ..problem import BACKGROUND, IMPRECISE, NOT_FINITE, OK, RIDGE
from ..simd.kernels import cg_direction, dot, gather_axpys, gather_residual
from ..simd.target import aligned_empty
from .cg import advance
from .diagonal import has_linear, set_diagonal, set_linear, sketch_scale
from .precision import doubtful, holds
from .workspace import clear, is_finite

BLOCK = 2**20  # bytes of a block of columns; with half or twice as many a batch takes up to a tenth longer
CELLS = 16  # minimum average number of entries that a row has in a block: as many as the kernel takes at once
# Factors from which on a sketch works this way. With fewer, a fit gains 1% at most, less than it takes to compile.
SKETCHED = 128


class Batch(NamedTuple):
    """One thread's memory for a batch of rows."""

    p: np.ndarray  # T (n, kp)  direction
    q: np.ndarray  # T (n, kp)  -A p
    r: np.ndarray  # T (n, kp)  residual
    before: np.ndarray  # T (n, kp)  previous x
    rz: np.ndarray  # T (n,)  r'D^-1 r
    beta: np.ndarray  # T (n,)
    gain: np.ndarray  # float64 (n,)
    first: np.ndarray  # float64 (n,)  gain at the start
    constant: np.ndarray  # float64 (n,)  sum of confidence * target^2
    weight: np.ndarray  # float64 (n,)  sum of w
    negative: np.ndarray  # int64 (n,)  how many w are below 0
    at: np.ndarray  # int64 (n,)  first entry of the blocks to come
    active: np.ndarray  # bool (n,)  not converged


def columns_of_block(kp: int, dtype: np.dtype) -> int:
    """Return the number of columns of a block."""
    return max(2, BLOCK // (kp * dtype.itemsize))


def rows_of_batch(kp: int, dtype: np.dtype) -> int:
    """Return the maximum number of rows of a batch, whose memory is that of two blocks."""
    return columns_of_block(kp, dtype) // 2


def batch_memory(n: int, kp: int, dtype: np.dtype, count: int) -> list[Batch]:
    """Return memory for batches of up to `n` rows, for `count` threads.

    In few allocations: each asks the system for pages, which takes as long as a fifth of a half-step for 16 threads.
    """
    vectors, numbers = aligned_empty((count, 4, n, kp), dtype), np.zeros((count, 2, n), dtype)
    sums, places, flags = np.zeros((count, 4, n)), np.zeros((count, 2, n), np.int64), np.zeros((count, 1, n), np.bool_)
    parts = zip(vectors, numbers, sums, places, flags, strict=True)
    return [Batch(*(row for part in of_thread for row in part)) for of_thread in parts]


def longest_alone(n_columns: int, kp: int, dtype: np.dtype) -> int:
    """Return the maximum length of a row that is solved by itself: the cache holds it, or blocks have few entries."""
    n_blocks = -(-n_columns // columns_of_block(kp, dtype))
    return max(CACHED // kp, CELLS * n_blocks)


def cost(m, k, steps):
    """Return the predicted nanoseconds of a row, like `plan.cg_cost`."""
    return (steps + 1) * 0.18 * m * k


def cheaper(kp: int, plan: Plan) -> bool:
    """Tell whether such rows take less time in batches than one by one, or than an exact solution if one is allowed."""
    if plan.sketch:
        return kp >= SKETCHED
    m = CACHED // kp
    return plan.cg and (not plan.cholesky or cost(m, kp, plan.steps) < primal_cost(m, kp))


def serves(rows: np.ndarray, lowest: float, kp: int, plan: Plan) -> bool:
    """Tell whether a half-step solves its long rows in batches; `rows` is their part of `RowProblem.rows`."""
    if plan.sketch:
        return cheaper(kp, plan)
    positive = lowest * rows[:, BACKGROUND].min() + rows[:, RIDGE].min() > 0
    within = plan.only == CHEAPEST and not plan.finish and (plan.warm or not plan.beyond > 0)
    return bool(positive and within and cheaper(kp, plan))


@kernel
def solve_batches(
    counter,  # inout int64 (1,)             next batch, shared by all threads
    order,  # in    int32 (n,)
    batches,  # in    int64 (n_batches + 1,)   batch i is order[batches[i] : batches[i + 1]]
    columns,  # in    intp                     columns of a block
    problem,  # in    RowProblem
    Y,  # in    T (n_columns, kp)
    g,  # in    T (kp,)
    width,  # in    intp
    x,  # inout T (n_rows * kp,)         as in `solve_row`
    plan,  # in    Plan
    losses,  # out   float64 (n_rows,)
    status,  # out   int8 (n_rows,)
    ws,  # work  Workspace
    batch,  # work  Batch
):
    """Solve batches of rows until none is left."""
    while True:
        n = next_block(counter)
        if n >= len(batches) - 1:
            return
        rows = order[batches[n] : batches[n + 1]]
        _start(problem, rows, g, width, x, plan, ws, batch)
        _sum_cells(problem, rows, Y, columns, True, plan, ws, batch)
        if plan.sketch:
            _keep_sketch(problem, rows, g, width, x, losses, status, ws, batch)
            continue
        _set_residual(problem, rows, g, width, ws, batch)
        for _ in range(plan.steps):
            _take_directions(problem, rows, g, width, plan, ws, batch)
            _sum_cells(problem, rows, Y, columns, False, plan, ws, batch)
            _go(problem, rows, g, width, x, ws, batch)
        _end(problem, rows, Y, g, width, x, plan, losses, status, ws, batch)


@inner
def _start(problem, rows, g, width, x, plan, ws, batch):
    """Set p = x, the start, and q = -D p. Adding the sums over the entries makes q the first residual.

    A linear term is added to q, and twice its product with x to the gain.
    """
    kp = len(g)
    for i in range(len(rows)):
        u, p, q, before = rows[i], batch.p[i], batch.q[i], batch.before[i]
        set_diagonal(ws.d, problem.rows[u, BACKGROUND], g, problem.rows[u, RIDGE], width)
        for c in range(kp):
            before[c] = x[u * kp + c]
            p[c] = before[c] if plan.warm and not plan.sketch else before.dtype.type(0)
            q[c] = -ws.d[c] * p[c]
            x[u * kp + c] = p[c]
        batch.gain[i] = batch.constant[i] = batch.weight[i] = 0.0
        batch.active[i], batch.negative[i] = True, 0
        if has_linear(problem) and not plan.sketch:
            batch.constant[i], gain = set_linear(problem.rows, problem.shifts, u, ws.linear), 0.0
            for c in range(kp):
                q[c] += ws.linear[c]
            for c in range(kp):
                gain += np.float64(2 * ws.linear[c] * p[c])
            batch.gain[i] = gain


@inner
def _sum_cells(problem, rows, Y, columns, whole, plan, ws, batch):
    """Add sum_j (b_j - w_j p.y_j) y_j to q; b counts only in the first pass, where `whole` is True.

    A sketch has p = 0, so its products are left out, which saves a tenth of its time.
    """
    indptr, indices = problem.cells.indptr, problem.cells.indices
    for i in range(len(rows)):
        batch.at[i] = indptr[rows[i]]
    for start in range(0, len(Y), columns):
        for i in range(len(rows)):
            if not batch.active[i]:
                continue
            begin = batch.at[i]
            end = _first_from(indices, begin, indptr[rows[i] + 1], start + columns)
            batch.at[i], m = end, end - begin
            constant, weight, negative, _ = gather_cells(problem, rows[i], begin, m, ws.w, ws.b, ws.s)
            if not whole:
                clear(ws.b, 0, m)
            p, q = batch.p[i], batch.q[i]
            if plan.sketch:
                batch.weight[i] += weight
                gather_axpys(q, 0, ws.b, 0, Y, Y.shape[1], indices, begin, m)
                continue
            gather_residual(q, 0, ws.s, ws.b, ws.w, 0, Y, Y.shape[1], indices, begin, m, p, 0, 0)
            if whole:
                gain = 0.0
                for c in range(m):
                    gain += np.float64((2 * ws.b[c] - ws.w[c] * ws.s[c]) * ws.s[c])
                batch.gain[i] += gain
                batch.constant[i] += constant
                batch.weight[i] += weight
                batch.negative[i] += negative


@inner
def _first_from(indices, begin, end, column):  # -> the first entry in begin .. end whose column is not below `column`
    while begin + 16 <= end and indices[begin + 15] < column:
        begin += 16
    while begin < end and indices[begin] < column:
        begin += 1
    return begin


@inner
def _keep_sketch(problem, rows, g, width, x, losses, status, ws, batch):
    """Set x = `sketch_scale` * r."""
    kp = batch.q.shape[1]
    for i in range(len(rows)):
        u, q = rows[i], batch.q[i]
        scale = x.dtype.type(
            sketch_scale(problem.rows[u, BACKGROUND], g[0], problem.rows[u, RIDGE], batch.weight[i], width)
        )
        for c in range(kp):
            x[u * kp + c] = scale * q[c]
        dot(ws.s, 0, x, u * kp, x, u * kp, kp)
        losses[u], status[u] = np.float64(ws.s[0]), OK


@inner
def _set_residual(problem, rows, g, width, ws, batch):
    """Set r = q, and the gain at the start: 2 sum_j b_j s_j - x'A x with s_j = x.y_j."""
    for i in range(len(rows)):
        u, p, q, r = rows[i], batch.p[i], batch.q[i], batch.r[i]
        _set_diagonals(problem, u, g, width, ws)
        lost = rz = 0.0
        for c in range(len(g)):
            r[c] = q[c]
        for c in range(len(g)):
            lost += np.float64(ws.d[c] * p[c] * p[c])
            rz += np.float64(ws.e[c] * r[c] * r[c])
        batch.gain[i] -= lost
        batch.first[i], batch.rz[i], batch.beta[i] = batch.gain[i], rz, 0


@inner
def _set_diagonals(problem, u, g, width, ws):
    """Set d of row u, and e = 1 / d."""
    set_diagonal(ws.d, problem.rows[u, BACKGROUND], g, problem.rows[u, RIDGE], width)
    for c in range(len(g)):
        ws.e[c] = 1 / ws.d[c]


@inner
def _take_directions(problem, rows, g, width, plan, ws, batch):
    """Compute p and q for the rows that have not converged."""
    wanted = plan.tolerance * plan.tolerance
    for i in range(len(rows)):
        batch.active[i] = batch.active[i] and batch.rz[i] > wanted * batch.gain[i]
        if batch.active[i]:
            _set_diagonals(problem, rows[i], g, width, ws)
            cg_direction(batch.p[i], batch.q[i], ws.d, ws.e, batch.r[i], batch.beta[i], len(g))


@inner
def _go(problem, rows, g, width, x, ws, batch):
    """Step along p in the rows that have not converged."""
    for i in range(len(rows)):
        if batch.active[i]:
            u, p, q, r = rows[i], batch.p[i], batch.q[i], batch.r[i]
            _set_diagonals(problem, u, g, width, ws)
            went, gained, beta, rz = advance(x, u * len(g), r, p, q, ws.e, batch.rz[i], ws.s)
            batch.gain[i] += gained
            batch.active[i], batch.beta[i], batch.rz[i] = went, beta, rz


@inner
def _end(problem, rows, Y, g, width, x, plan, losses, status, ws, batch):
    """Go beyond the solution, as `solve_row` does, and report losses and status."""
    kp, lowest = batch.q.shape[1], np.float64(g[0])
    for c in range(1, width):
        lowest = min(lowest, np.float64(g[c]))
    for i in range(len(rows)):
        u, gain, before = rows[i], batch.gain[i], batch.before[i]
        if plan.beyond > 0:
            for c in range(kp):
                x[u * kp + c] += plan.beyond * (x[u * kp + c] - before[c])
            gain -= np.float64(plan.beyond * plan.beyond) * (gain - batch.first[i])
        losses[u], status[u] = batch.constant[i] - gain, OK
        if not is_finite(gain):
            status[u] = NOT_FINITE
            clear(x, u * kp, kp)
            continue
        begin, m = problem.cells.indptr[u], problem.cells.indptr[u + 1] - problem.cells.indptr[u]
        least = np.float64(problem.rows[u, BACKGROUND]) * lowest + np.float64(problem.rows[u, RIDGE])
        doubt, _ = doubtful(problem, u, m, batch.weight[i], batch.negative[i], least, plan.bounds)
        if doubt:
            gather_cells(problem, u, begin, m, ws.w, ws.b, ws.s)
            if not holds(problem, u, begin, m, Y, g, width, ws.w, ws.e, plan.bounds):
                status[u] = IMPRECISE
