"""Rows with many solutions, as without a ridge: the smallest of them.

A row minimises a sum of squares, so it always has a solution. It has many where its equations are singular. The kernels
cannot tell: a pivot that is 0 exactly may come out as a rounding of either sign.

With a background the factors of every row lie in the range of G. There the half-step leaves out the directions in which
G is 0, and is as fast as any other. In float32 a direction may be lost in the rounding of G and still decide about a
row: the lengths of the fixed rows along it are square roots of what G has, and an entry may weigh a million times as
much as the background. So rows of float32 are solved in float64 where directions are lost. Rows that fail all the same,
and rows without a background and a ridge that counts, are solved one by one in float64, which takes some hundred times
as long as a kernel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .blas import one_blas_thread
from .equations import entries, gram, rounding_of_gram, row_equations, smallest
from .panel import largest_square
from .problem import BACKGROUND, IMPRECISE, MINIMUM_NORM, NOT_FINITE, NOT_POSITIVE, OK, RIDGE, Outcome, RowProblem


def without_ridge(problem: RowProblem, largest: float, eps: float | None = None) -> np.ndarray:
    """Tell which rows with entries have a ridge that is lost in the rounding of their background, bool (n_rows,).

    Parameters
    ----------
    problem : RowProblem
    largest : float
        Largest eigenvalue of G, or its largest diagonal number.
    eps : float, optional
        Of the dtype in which the problem came; that of the rows where it is not given.
    """
    rows = problem.rows
    share = np.finfo(rows.dtype).eps if eps is None else eps
    return (problem.cells.counts > 0) & (rows[:, RIDGE] <= share * rows[:, BACKGROUND] * largest)


def almost_free(problem: RowProblem, longest: np.floating) -> np.ndarray:
    """Tell which rows with entries, but without a background, have no ridge that counts, bool (n_rows,).

    Parameters
    ----------
    problem : RowProblem
    longest : floating
        As of `panel.largest_square`, of the fixed panel.
    """
    rows = problem.rows
    return (problem.cells.counts > 0) & (rows[:, RIDGE] <= np.finfo(rows.dtype).eps ** 2 * longest)


class Weak(NamedTuple):
    """Directions in which a background is 0 but for rounding."""

    null: np.ndarray
    """bool (kp,): in which the panel is 0 as well, but for rounding."""
    decide: bool
    """Whether there are directions in which the panel is not 0: rows without a ridge may depend on them."""


def weak_directions(
    problem: RowProblem, Y: np.ndarray, g: np.ndarray, width: int, eps: float | None = None
) -> tuple[Weak | None, np.ndarray]:
    """Return the directions in which a background is 0 but for rounding, and which rows have no ridge against that.

    None if there is no such direction, or no such row.

    Parameters
    ----------
    problem : RowProblem
    Y : ndarray, shape (n_columns, kp)
        The fixed panel, in the eigenbasis of the background.
    g : ndarray, shape (kp,)
        Eigenvalues of the background.
    width : int
        Columns of the panel in use.
    eps : float, optional
        Of the dtype in which the panel came, if that was another one.
    """
    own, largest = float(np.finfo(Y.dtype).eps), g.max()
    share = width * own if eps is None else rounding_of_gram(width, eps)
    if not (g[:width].min() <= share * largest and 0 < largest < np.inf):
        return None, np.zeros(1, bool)
    free = without_ridge(problem, largest, eps)
    if not free.any():
        return None, free
    weak = g <= share * largest
    weak[width:] = False
    # Not by g alone: it has the squares of the panel, so it is 0 but for rounding long before the panel is; and a
    # column without a weight in the background is not in it.
    squares = np.einsum("nk,nk->k", Y, Y, dtype=np.float64)
    null = weak & (squares <= (width * (eps or own)) ** 2 * squares.max())
    return Weak(null, bool((weak & ~null).any())), free


def solve_again(
    problem: RowProblem,
    Y: np.ndarray,
    background: np.ndarray,
    width: int,
    X: np.ndarray,
    outcome: Outcome,
    longest: np.floating | None = None,
    eps: float | None = None,
) -> None:
    """Solve the rows of a half-step that may have many solutions, or that the kernels cannot hold in float64.

    A row with a ridge or a background that counts has one solution. If float64 cannot tell its equations from singular
    ones, the row is IMPRECISE.

    Parameters
    ----------
    problem : RowProblem
    Y : ndarray, shape (n_columns, kp)
        The fixed panel.
    background : ndarray, shape (width, width) or (width,)
        G, or its diagonal.
    width : int
        Columns of the panels in use.
    X : ndarray, shape (n_rows, kp)
    outcome : Outcome
        Of the half-step. The rows that had failed, or may be singular, are overwritten.
    longest : floating, optional
        As of `panel.largest_square`, where it is known.
    eps : float, optional
        As of `without_ridge`.
    """
    losses, status = outcome
    known = bool(background.any())
    if known and not status.any():
        return
    if known:
        free = without_ridge(problem, background.max(), eps)
    else:
        free = almost_free(problem, largest_square(Y) if longest is None else longest)
    unsure = (status == NOT_POSITIVE) | (status == IMPRECISE)
    again = np.flatnonzero(unsure if known else unsure | free)
    if len(again) == 0:
        return
    weights, G = problem.columns[:, BACKGROUND], None
    if known:
        G = (np.diag(background) if background.ndim == 1 else background).astype(np.float64)
    elif weights.any():  # the squares are 0 in the dtype
        G = gram(Y[:, :width], weights)
    with np.errstate(all="ignore"):
        for u in again.tolist():
            x = X[u].copy()
            found, loss = _solve_row(problem, u, Y, G, width, x)
            if found == MINIMUM_NORM and not free[u]:
                found = IMPRECISE
            if found <= status[u] == IMPRECISE and not loss < losses[u]:
                continue  # the kernels' answer is as good
            X[u], status[u], losses[u] = x, found, loss


def _solve_row(
    problem: RowProblem, u: int, Y: np.ndarray, G: np.ndarray | None, width: int, x: np.ndarray
) -> tuple[int, float]:
    """Solve one row in float64; return its status and its objective."""
    one = problem._replace(cells=problem.cells.part(u, u + 1), rows=problem.rows[u : u + 1])
    found, numbers = row_equations(one, Y[one.cells.indices, :width], gram=G), entries(one)
    x[:] = 0
    limit = np.finfo(x.dtype).max
    if not (np.abs(found.A).max() <= limit and np.abs(found.r).max() <= limit):  # as where it is not a number
        return NOT_FINITE, 0.0
    x[:width], unique = smallest(found)
    solution = x[:width].astype(np.float64)
    with one_blas_thread():
        loss = numbers.constant.sum() + solution @ (found.A @ solution - 2 * found.r)
        loss += found.ridge * (found.mean @ found.mean) + float(problem.rows[u, BACKGROUND]) * problem.shifts.square
    if not (np.isfinite(x).all() and np.isfinite(loss)):
        x[:] = 0
        return NOT_FINITE, 0.0
    return (OK if unique else MINIMUM_NORM), float(loss)
