"""The loop: half-step users, half-step items, and at the end users once more. Sequence only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np

from . import basis, sweep
from .loss import cells_and_background, ridge
from .problem import BACKGROUND, OFFSET, RIDGE, RowProblem
from .rows import CHEAPEST, Plan

# Conjugate gradients near what the dtype resolves, by size of its items. Within a fit 3 steps from the previous iterate
# leave 1.2% of a row's error (MovieLens 1M, k = 128), and ALS then needs as many iterations as with exact rows. In the
# last half-step and in fold-in, from zero, it takes 7 to 12.
TOLERANCE = {4: 1e-5, 8: 1e-14}
STEPS = 3
LAST_STEPS, LAST_EXPECTED = 32, 10


class Model(NamedTuple):
    """Both sides of a factorisation: the row problems and the panels that a fit improves in place."""

    users: RowProblem
    items: RowProblem
    X: np.ndarray  # T (n_users, kp)
    Y: np.ndarray  # T (n_items, kp)
    width: int  # columns in use: factors, then the bias where there is one
    bias: int  # column of the bias, -1 without


class Failure(NamedTuple):
    """A row that could not be solved."""

    side: str  # "user" or "item"
    row: int
    status: int


def sketch(model: Model, rng: np.random.Generator, n_threads: int) -> None:
    """Overwrite the panels by a start: the range of B, the matrix of all right-hand coefficients b.

    Y = B'B times a normal matrix, which leans to the leading singular vectors of B: a randomised range finder with one
    power step. Costs half a step of conjugate gradients on each side, and stands for about three iterations from a
    normal start (MovieLens 1M, k = 64: the loss after one iteration is 0.98 of what five reach from there).

    References
    ----------
    Halko, Martinsson, Tropp: Finding structure with randomness. SIAM Review 2011, algorithm 4.3.
    """
    factors = model.width - (model.bias >= 0)
    model.Y[:, :factors] = rng.standard_normal((len(model.Y), factors), dtype=model.Y.dtype)
    for problem, Y, X in ((model.users, model.Y, model.X), (model.items, model.X, model.Y)):
        plan = SKETCH._replace(tolerance=Y.dtype.type(0))
        sweep.half_step(problem, Y, np.zeros(Y.shape[1], Y.dtype), model.width, X, plan, n_threads)
        length = np.sqrt(np.einsum("ij,ij->", X, X, dtype=np.float64))
        # An overflow is left to the rows, which can name the first of them.
        scale = 1.0 if X is model.X else np.sqrt(len(X))
        if 0 < length < np.inf:
            np.multiply(X, scale / length, out=X)


def fit(
    model: Model,
    iterations: int,
    solver: str,
    n_threads: int,
    after: Callable[[int, float, bool], bool],
    warm: bool = False,
) -> Failure | None:
    """Alternate from the start in `model.Y`; on return the users are exact for the items.

    Parameters
    ----------
    model : Model
        Its panels are overwritten.
    iterations : int
        Half-steps of users and of items.
    solver : str
    n_threads : int
    after : callable (iteration, loss, last) -> bool
        Called when an iteration is done, with the objective then; True ends the fit.
    warm : bool, default False
        `model.X` is a start as well.

    Returns
    -------
    Failure or None
        The first row that could not be solved; the panels are then of no use.
    """
    half_step = partial(_half_step, model, solver, n_threads, {})
    for iteration in range(iterations):
        failure, _ = half_step("user", warm=warm or iteration > 0)
        if failure:
            return failure
        failure, items_loss = half_step("item", warm=True)
        if failure:
            return failure
        if iteration == iterations - 1:
            break
        if after(iteration, items_loss, False):
            iterations = iteration + 1
            break
    failure, users_loss = half_step("user", warm=iterations > 0, last=True)
    if failure:
        return failure
    if iterations:
        after(iterations - 1, users_loss, True)
    return None


def _half_step(
    model: Model,
    solver: str,
    n_threads: int,
    schedules: dict[tuple[str, bool], sweep.Schedule],
    side: str,
    *,
    warm: bool,
    last: bool = False,
) -> tuple[Failure | None, float]:
    """Solve one side; return the first failure, and the objective after it.

    `schedules` is filled on the way: a side's schedule is the same in all half-steps but the last.
    """
    problem, other, X, Y = (
        (model.users, model.items, model.X, model.Y) if side == "user" else (model.items, model.users, model.Y, model.X)
    )
    weights = problem.columns[:, BACKGROUND]
    with biases_as_offsets(problem, Y, model.bias):
        if weights.any():
            g = _to_eigenbasis(problem, other, X, Y, model.width, warm, n_threads)
        if last or not weights.any():
            g = basis.fix(Y, weights, model.width, n_threads).g
        plan = plan_for(solver, Y.dtype, bool(weights.any()), warm=warm and not last, last=last)
        key = side, last
        if key not in schedules:
            schedules[key] = sweep.make_schedule(problem.cells.counts, Y.shape[1], plan, n_threads)
        outcome = sweep.half_step(problem, Y, g, model.width, X, plan, n_threads, schedules[key])
    failed = np.flatnonzero(outcome.status)
    if len(failed):
        return Failure(side, int(failed[0]), int(outcome.status[failed[0]])), 0.0
    return None, outcome.loss + ridge(other, Y)


def _to_eigenbasis(
    problem: RowProblem, other: RowProblem, X: np.ndarray, Y: np.ndarray, width: int, warm: bool, n_threads: int
) -> np.ndarray:
    """Balance both panels, where X is a start, and rotate both to where the background of Y is diagonal; return it."""
    background = basis.gram(Y, problem.columns[:, BACKGROUND], width, n_threads)
    ours, theirs = np.eye(width), np.eye(width)
    if warm:
        ridges = (basis.gram(P, side.rows[:, RIDGE], width, n_threads) for P, side in ((X, problem), (Y, other)))
        ridge_x, ridge_y = ridges
        if ridge_x.any() and ridge_y.any():
            ours, theirs = basis.balance(ridge_x, ridge_y)
    g, rotation = basis.diagonalise(theirs.T @ background @ theirs, Y.dtype)
    rotation = np.eye(width) if rotation is None else rotation
    basis.rotate(Y, theirs @ rotation, n_threads)
    if warm:
        basis.rotate(X, ours @ rotation, n_threads)
    return basis.pad(g, Y)


SKETCH = Plan(
    sketch=True,
    cholesky=False,
    cg=False,
    warm=False,
    steps=0,
    expected=0,
    tolerance=np.float32(0),
    only=CHEAPEST,
    finish=False,
)


def plan_for(solver: str, dtype: np.dtype, background: bool, *, warm: bool, last: bool) -> Plan:
    """Return how rows are solved in a half-step of a fit, or in its last one, which is what fold-in does.

    Without a background `auto` is Cholesky throughout: the preconditioner is the background.
    """
    real = dtype.type
    return Plan(
        sketch=False,
        cholesky=solver != "cg",
        cg=solver == "cg" or (solver == "auto" and background),
        warm=warm,
        steps=LAST_STEPS if last else STEPS,
        expected=LAST_EXPECTED if last else STEPS,
        tolerance=real(TOLERANCE[dtype.itemsize]),
        only=CHEAPEST,
        finish=last,
    )


def fold_in(
    problem: RowProblem, fixed: basis.Fixed, width: int, solver: str, n_threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """Solve new rows for a fixed side: the half-step, and nothing else.

    Returns
    -------
    X : ndarray, shape (n_rows, kp)
        In the basis of the factors that were fixed, before their rotation.
    status : ndarray of int8, shape (n_rows,)
    """
    X = np.zeros((problem.cells.n_rows, fixed.panel.shape[1]), fixed.panel.dtype)
    plan = plan_for(solver, X.dtype, bool(fixed.g.any()), warm=False, last=True)
    outcome = sweep.half_step(problem, fixed.panel, fixed.g, width, X, plan, n_threads)
    if fixed.rotation is not None:
        basis.rotate(X, fixed.rotation.T, n_threads)
    return X, outcome.status


def loss(model: Model, n_threads: int) -> float:
    """Return the objective of the panels as they are."""
    total = ridge(model.users, model.X) + ridge(model.items, model.Y)
    with biases_as_offsets(model.users, model.Y, model.bias):
        total += cells_and_background(model.users, model.X, model.Y, model.width, n_threads)
    return total


@contextmanager
def biases_as_offsets(problem: RowProblem, Y: np.ndarray, bias: int) -> Iterator[None]:
    """Inside, the biases of the fixed side are offsets of the target, and their column is 1.

    So the rows' own biases are one more unknown of the same system.
    """
    if bias < 0:
        yield
        return
    problem.columns[:, OFFSET] = Y[:, bias]
    Y[:, bias] = 1
    try:
        yield
    finally:
        Y[:, bias] = problem.columns[:, OFFSET]
