"""The engine as a textbook has it, to read from top to bottom and to step through with a debugger.

Rows do not depend on each other, so `numba.prange` spreads them over threads. Each is a k x k system A x = r:

    A = background G + ridge I + sum_j w_j y_j y_j' ,   r = ridge p + background l + sum_j b_j y_j ,   G = Y' diag(q) Y

G has the entries that are not observed; an observed one adds what it weighs on top (`problem`, `objectives`). All is in
float64; x is rounded. It serves `solver="plain"`, CPUs without vector kernels, and NUMBA_DISABLE_JIT=1.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from .blas import one_blas_thread
from .cells import cell, shifted
from .equations import gram, range_of
from .jit import parallel_kernel, strict
from .launch import launch
from .problem import (
    BACKGROUND,
    MINIMUM_NORM,
    NOT_FINITE,
    NOT_POSITIVE,
    OK,
    PRIOR,
    RIDGE,
    WEIGHT,
    Outcome,
    RowProblem,
    widened,
)
from .rows.precision import PIVOTS
from .shifts import on_panel
from .smallest import solve_again, without_ridge

LEAST = float(np.finfo(np.float64).eps) / PIVOTS  # of what a pivot is a difference of: with less, its digits are lost


def half_step(problem: RowProblem, Y: np.ndarray, width: int, X: np.ndarray, n_threads: int) -> Outcome:
    """Overwrite X by the solutions for Y, as `sweep.half_step`; of both panels the first `width` columns count."""
    G = gram(Y[:, :width], problem.columns[:, BACKGROUND])
    free = without_ridge(problem, G.diagonal().max())
    axes = range_of(G, Y[:, :width], np.finfo(Y.dtype).eps) if G.any() and free.any() else None
    outcome = _launched(problem, Y, G, X, n_threads)
    if axes is not None:
        # The same problem with fewer factors: what they are along the axes.
        x, within = np.zeros((len(X), axes.shape[1]), X.dtype), problem._replace(rows=problem.rows[:, :PRIOR])
        with one_blas_thread():
            along, G_along = (Y[:, :width].astype(np.float64) @ axes).astype(Y.dtype), axes.T @ G @ axes
        losses, status = _launched(on_panel(within, along), along, G_along, x, n_threads)
        status[status == OK] = MINIMUM_NORM
        with one_blas_thread():  # row by row, so that the bits do not depend on other rows
            X[free, :width] = (x[free, None] @ axes.T)[:, 0]
        outcome = Outcome(np.where(free, losses, outcome.losses), np.where(free, status, outcome.status))
    solve_again(problem, Y, G, width, X, outcome)
    return outcome


def _launched(problem: RowProblem, Y: np.ndarray, G: np.ndarray, X: np.ndarray, n_threads: int) -> Outcome:
    status, losses = np.zeros(len(X), np.int8), np.zeros(len(X))
    launch(_solve_rows, n_threads, *widened(problem), Y, G, X, status, losses)
    return Outcome(losses, status)


@parallel_kernel
def _solve_rows(
    cells,  # in    RowProblem, one by one, as a parallel loop takes no tuple of tuples
    rule,  # in float64
    rows,
    columns,
    shifts,
    Y,  # in    T (n_columns, kp)
    G,  # in    float64 (k, k)
    X,  # out   T (n_rows, kp)
    status,  # out   int8 (n_rows,)
    losses,  # out   float64 (n_rows,)
):
    """Solve each row on its own; what a thread needs for that is made as it goes along."""
    for u in prange(len(X)):
        A, r, size = np.empty(G.shape), np.zeros(len(G)), np.empty(len(G))
        status[u], losses[u] = _solve_row(cells, rule, rows, columns, shifts, u, Y, G, A, r, size, X[u])


@strict
def _solve_row(cells, rule, rows, columns, shifts, u, Y, G, A, r, size, x):  # -> status, objective of the row
    """Solve A x = r."""
    x[:], constant = 0, 0.0
    for p in range(min(len(r), rows.shape[1] - PRIOR)):
        x[p], r[p] = rows[u, PRIOR + p], rows[u, RIDGE] * rows[u, PRIOR + p]
        constant += r[p] * rows[u, PRIOR + p]
    if cells.indptr[u] == cells.indptr[u + 1]:
        return OK, rows[u, BACKGROUND] * shifts.square  # and x is its prior mean
    constant += sum_row(cells, rule, rows, columns, shifts, u, Y, G, A, r, size)
    solved, gain = cholesky_solve(A, r, size)
    if not solved:
        return NOT_POSITIVE, 0.0
    x[: len(r)] = r
    r -= x[: len(r)]
    for p in range(len(r)):  # what rounding x adds to the objective: |U (r - x)|^2, r before rounding
        added = 0.0
        for q in range(p, len(r)):
            added += A[p, q] * r[q]
        gain -= added * added
    if not np.isfinite(gain):
        x[:] = 0
        return NOT_FINITE, 0.0
    return OK, max(0.0, constant - gain)


@strict
def sum_row(cells, rule, rows, columns, shifts, u, Y, G, A, r, size):  # -> constant of the row's objective
    """Write out A and r; `size` is what the pivots of A are differences of."""
    k, background = len(G), rows[u, BACKGROUND]
    A[:] = background * G  # of A, which is symmetric, the upper triangle counts
    for p in range(k):
        A[p, p] += rows[u, RIDGE]
    constant = background * shifts.square
    add(r, background, shifts.linear[:k])
    for i in range(cells.indptr[u], cells.indptr[u + 1]):
        j = cells.indices[i]
        value = cells.values[min(i, len(cells.values) - 1)]  # one value, weight or column may stand for all
        weight = cells.weights[min(i, len(cells.weights) - 1)] * rows[u, WEIGHT]
        w, b, part = cell(rule, value, weight, background, columns, min(j, len(columns) - 1))
        b, constant = shifted(shifts.columns, j, w, b, constant + np.float64(part))
        add(r, b, Y[j, :k])
        for p in range(k):
            add(A[p, p:], w * Y[j, p], Y[j, p:k])
    for p in range(k):
        size[p] = max(background * G[p, p] + rows[u, RIDGE], A[p, p])
    return constant


@strict
def cholesky_solve(A, x, size):  # -> whether A is positive definite beyond rounding, r'A^-1 r
    """Factor A = U'U in its upper triangle, solve U'z = r and U x = z in place; pivots are what is left of `size`."""
    k, gain = len(A), 0.0
    for p in range(k):
        if not A[p, p] > LEAST * size[p]:  # as where it is not a number
            return False, 0.0
        A[p, p] = np.sqrt(A[p, p])
        for q in range(p + 1, k):
            A[p, q] /= A[p, p]
        for i in range(p + 1, k):
            add(A[i, i:], -A[p, i], A[p, i:])
        x[p] /= A[p, p]
        add(x[p + 1 :], -x[p], A[p, p + 1 :])
        gain += np.float64(x[p]) ** 2
    for p in range(k - 1, -1, -1):
        for q in range(p + 1, k):
            x[p] -= A[p, q] * x[q]
        x[p] /= A[p, p]
    return True, gain


@strict
def add(total, factor, part):
    """Add `factor * part` to the first numbers of `total`; a function of its own, as only so it is a vector loop."""
    for i in range(len(part)):
        total[i] += factor * part[i]
