"""The loop: half-step users, half-step items, and at the end users once more. Sequence only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from . import basis, sweep
from .loss import cells_and_background, ridge
from .problem import BACKGROUND, OFFSET, RowProblem


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


def fit(
    model: Model, iterations: int, solver: str, n_threads: int, after: Callable[[int, float, bool], bool]
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

    Returns
    -------
    Failure or None
        The first row that could not be solved; the panels are then of no use.
    """
    for iteration in range(iterations):
        failure, _ = _half_step(model, "user", solver, n_threads)
        if failure:
            return failure
        failure, items_loss = _half_step(model, "item", solver, n_threads)
        if failure:
            return failure
        if iteration == iterations - 1:
            break
        if after(iteration, items_loss, False):
            iterations = iteration + 1
            break
    failure, users_loss = _half_step(model, "user", solver, n_threads, last=True)
    if failure:
        return failure
    if iterations:
        after(iterations - 1, users_loss, True)
    return None


def _half_step(
    model: Model, side: str, solver: str, n_threads: int, last: bool = False
) -> tuple[Failure | None, float]:
    """Solve one side; return the first failure, and the objective after it."""
    problem, other, X, Y = (
        (model.users, model.items, model.X, model.Y) if side == "user" else (model.items, model.users, model.Y, model.X)
    )
    weights = problem.columns[:, BACKGROUND]
    with biases_as_offsets(problem, Y, model.bias):
        if weights.any():
            g, rotation = basis.diagonalise(Y, weights, model.width, n_threads)
            basis.rotate(Y, rotation)
        if last or not weights.any():
            g = basis.fix(Y, weights, model.width, n_threads).g
        outcome = sweep.half_step(problem, Y, g, model.width, X, n_threads)
    failed = np.flatnonzero(outcome.status)
    if len(failed):
        return Failure(side, int(failed[0]), int(outcome.status[failed[0]])), 0.0
    return None, outcome.loss + ridge(other, Y)


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
    outcome = sweep.half_step(problem, fixed.panel, fixed.g, width, X, n_threads)
    if fixed.rotation is not None:
        # One product a row: in one product of many rows, BLAS lets a row's bits depend on how many there are.
        X[:, :width] = np.matmul(X[:, None, :width], fixed.rotation.T.astype(X.dtype))[:, 0]
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
