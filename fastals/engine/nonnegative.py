"""Half-steps whose factors are not negative: of all x >= 0 the one that minimises a row's objective.

The row's objective is x'A x - 2 r'x + constant, as in `plain`. At its minimum over x >= 0, with the gradient
s = A x - r, each factor has x = 0 and s >= 0, or x > 0 and s = 0 (Karush, Kuhn, Tucker). A bias may have any sign.

Coordinate descent finds which factors are 0 within some sweeps: it minimises over one factor at a time, and never
raises the objective. Then Cholesky solves for the others at once, and what is left is rounding. Where that solution has
a negative number, the way towards it is cut off at the first factor that becomes 0, as Lawson and Hanson do, and the
sweeps go on from there.

There is no eigenbasis: a rotation would mix factors that have to keep their sign. So G is dense, as in `plain`.

References
----------
Lawson, Hanson: Solving least squares problems. Prentice-Hall 1974, chapter 23.
Cichocki, Phan: Fast local algorithms for large scale nonnegative matrix and tensor factorizations. IEICE 2009.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from .equations import gram
from .jit import kernel, next_block, parallel_kernel, strict
from .launch import launch
from .panel import aligned_zeros
from .plain import add, cholesky_solve, sum_row
from .problem import BACKGROUND, IMPRECISE, NOT_FINITE, OK, Outcome, RowProblem, widened
from .rows.single_row import EPS, WIDE, gathered, sum_densely
from .rows.workspace import workspace
from .simd.target import padded
from .threads import spread

SWEEPS = 4  # over all factors, before Cholesky; with 2 or 8 a fit takes up to a fifth longer
ROUNDS = 100  # of sweeps and Cholesky; rows of real data take 2 to 5
ROUNDINGS = 64  # of the terms of a gradient: less counts as 0
PRECISE = 1e-6  # share of the terms of a gradient up to which a row that has taken all rounds is as good as solved


def half_step(
    problem: RowProblem,
    Y: np.ndarray,
    width: int,
    bias: int,
    X: np.ndarray,
    n_threads: int,
    *,
    plain: bool = False,
    background: np.ndarray | None = None,
) -> Outcome:
    """Overwrite X by the rows without negative factors whose objectives for Y are smallest: in float64, then rounded.

    Parameters
    ----------
    problem : RowProblem
    Y : ndarray, shape (n_columns, kp)
        The fixed panel.
    width : int
        Columns of the panels in use.
    bias : int
        The column of the rows' biases, -1 if there is none.
    X : ndarray, shape (n_rows, kp)
    n_threads : int
    plain : bool
        Without the vector kernels.
    background : ndarray of float64, shape (width, width), optional
        G, where it is known.
    """
    G = gram(Y[:, :width], problem.columns[:, BACKGROUND]) if background is None else background
    losses, status = np.zeros(len(X)), np.zeros(len(X), np.int8)
    wide = widened(problem)
    if plain:
        launch(_solve_plainly, n_threads, *wide, Y, G, bias, X, status, losses)
        return Outcome(losses, status)
    panel = aligned_zeros((len(Y), padded(width, WIDE)), WIDE)
    panel[:, :width] = Y[:, :width]
    counts = problem.cells.counts
    order = np.argsort(-counts, kind="stable").astype(np.int32)  # the longest first, so that no thread ends with one
    longest = int(counts.max(initial=0))
    # Allocated before the threads start, as in `sweep.solve_rows`.
    memory = [
        (workspace(panel.shape[1], longest, WIDE), np.zeros((2, width, width)), np.zeros((5, width)))
        for _ in range(max(1, min(n_threads, len(X))))
    ]
    spread(lambda c: _solve(c, order, wide, panel, G, bias, X, status, losses, *memory.pop()), len(memory))
    return Outcome(losses, status)


def solve_nonnegative(
    problem: RowProblem, Y: np.ndarray, width: int, bias: int, gram: np.ndarray | None, plain: bool
) -> np.ndarray:
    """Solve a problem of one row; parameters as in `rows.single_row.solve_single`, and `plain` as in `half_step`.

    Returns
    -------
    ndarray of float64, shape (width,)
        Not finite where the equations are not.
    """
    x = np.zeros((1, width))
    alone, panel = gathered(problem, Y, bias)
    G = np.zeros((width, width)) if gram is None else gram
    found = half_step(alone, panel, width, bias, x, 1, plain=plain, background=G)
    return x[0] if found.status[0] <= OK else np.full(width, np.nan)


@kernel
def _solve(
    counter,  # inout int64 (1,)
    order,  # in    int32 (n_rows,)
    problem,  # in    RowProblem, float64
    Y,  # in    float64 (n_columns, kp)
    G,  # in    float64 (k, k)
    bias,  # in    intp
    X,  # out   T (n_rows, ...)
    status,  # out   int8 (n_rows,)
    losses,  # out   float64 (n_rows,)
    ws,  # work  Workspace, float64
    square,  # work  float64 (2, k, k)
    numbers,  # work  float64 (5, k)
):
    """Solve rows until none is left."""
    k, kp = len(G), Y.shape[1]
    A, r = square[0], numbers[0]
    while True:
        block = next_block(counter)
        if block >= len(order):
            return
        u = order[block]
        begin, m = problem.cells.indptr[u], problem.cells.indptr[u + 1] - problem.cells.indptr[u]
        constant = problem.rows[u, BACKGROUND] * problem.shifts.square
        if m > 0:
            constant = sum_densely(problem, u, begin, m, Y, G, k, ws)
            for p in range(k):
                r[p] = ws.r[p]
                for q in range(p, k):
                    A[p, q] = ws.A[p * kp + q]
        status[u], losses[u] = _finish(m, constant, A, bias, square[1], numbers, X[u])


@parallel_kernel
def _solve_plainly(
    cells,  # in    RowProblem, one by one, as a parallel loop takes no tuple of tuples
    rule,  # in float64
    rows,
    columns,
    shifts,
    Y,  # in    T (n_columns, kp)
    G,  # in    float64 (k, k)
    bias,  # in    intp
    X,  # out   T (n_rows, kp)
    status,  # out   int8 (n_rows,)
    losses,  # out   float64 (n_rows,)
):
    """Solve each row on its own, without the vector kernels."""
    for u in prange(len(X)):
        k = len(G)
        A, C, numbers = np.zeros((k, k)), np.empty((k, k)), np.zeros((5, k))
        constant = sum_row(cells, rule, rows, columns, shifts, u, Y, G, A, numbers[0], numbers[1])
        m = cells.indptr[u + 1] - cells.indptr[u]
        status[u], losses[u] = _finish(m, constant, A, bias, C, numbers, X[u])


@strict
def _finish(m, constant, A, bias, C, numbers, x):  # -> status, objective of the row
    """Minimise over x >= 0; the upper triangle of A counts."""
    k = len(A)
    x[:] = 0
    if m == 0:
        return OK, constant
    r, found, gradient = numbers[0], numbers[1], numbers[2]
    for p in range(k):
        for q in range(p):
            A[p, q] = A[q, p]
    off = minimise(A, r, bias, found, gradient, C, numbers[3], numbers[4])
    loss = constant
    for p in range(k):
        loss += found[p] * (gradient[p] - r[p])
    if not np.isfinite(loss):
        return NOT_FINITE, 0.0
    for p in range(k):
        x[p] = found[p]
    return (OK if off <= PRECISE else IMPRECISE), max(0.0, loss)


@strict
def minimise(
    A,  # in    float64 (k, k)
    r,  # in    float64 (k,)
    bias,  # in    intp             a number of any sign, -1 for none
    x,  # out   float64 (k,)
    gradient,  # out   float64 (k,)     A x - r
    C,  # work  float64 (k, k)
    z,  # work  float64 (k,)
    size,  # work  float64 (k,)
):  # -> how far the conditions are off, as a share of the terms that are summed for them; 0 within rounding
    """Minimise x'A x - 2 r'x over x >= 0."""
    k = len(A)
    for p in range(k):
        x[p], gradient[p] = 0.0, -r[p]
    off = 0.0
    for _ in range(ROUNDS):
        for _ in range(SWEEPS):
            for p in range(k):
                if A[p, p] > 0:
                    new = x[p] - gradient[p] / A[p, p]
                    if new < 0 and p != bias:
                        new = 0.0
                    if new != x[p]:
                        add(gradient, new - x[p], A[p])
                        x[p] = new
        whole = _towards_solution(A, r, bias, x, C, z, size)
        off = _gradient(A, r, bias, x, gradient)
        if whole and off == 0:
            break
    return off


@strict
def _towards_solution(A, r, bias, x, C, z, size):  # -> whether x is the solution for the factors that are not 0
    """Solve for the factors that are not 0, and go there as far as all of them stay at 0 or above."""
    k, n = len(A), 0
    for p in range(k):
        if x[p] > 0 or p == bias:
            i = 0
            for q in range(k):
                if x[q] > 0 or q == bias:
                    C[n, i] = A[p, q]
                    i += 1
            z[n], size[n] = r[p], A[p, p]
            n += 1
    if n == 0:
        return True
    solved, _ = cholesky_solve(C[:n, :n], z[:n], size[:n])
    if not solved:
        return False
    share, first, n = 1.0, -1, 0
    for p in range(k):
        if x[p] > 0 or p == bias:
            if z[n] < 0 and p != bias and x[p] < share * (x[p] - z[n]):
                share, first = x[p] / (x[p] - z[n]), p
            n += 1
    n = 0
    for p in range(k):
        if x[p] > 0 or p == bias:
            x[p] += share * (z[n] - x[p])
            if p != bias:
                x[p] = 0.0 if p == first else max(0.0, x[p])
            n += 1
    return first < 0


@strict
def _gradient(A, r, bias, x, gradient):  # -> how far the conditions are off
    """Compute the gradient anew, and the largest share of its terms by which a condition is missed."""
    k, off = len(A), 0.0
    for p in range(k):
        total, terms = -r[p], abs(r[p])
        for q in range(k):
            total += A[p, q] * x[q]
            terms += abs(A[p, q] * x[q])
        gradient[p] = total
        missed = -total if x[p] == 0 and p != bias else abs(total)
        if missed > ROUNDINGS * EPS * terms:
            off = max(off, missed / terms)
    return off
