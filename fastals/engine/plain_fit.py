"""A loop without rotations: a random start, then half-steps of items and of users in turn, all alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .alternation import Begin, Reached
from .loss import ridge
from .model import Model
from .problem import Failure, Outcome, RowProblem, Unusual, drawn_to, first_failure
from .shifts import biases_as_offsets, on_panel

# Solves all rows of a side for the other: (problem, Y, X) -> Outcome.
HalfStep = Callable[[RowProblem, np.ndarray, np.ndarray], Outcome]


def start(model: Model, rng: np.random.Generator, nonnegative: bool) -> Begin:
    """Draw the items' factors; the users' are not part of the start."""
    n, factors = len(model.Y), model.width - (model.bias >= 0)
    model.Y[:, :factors] = rng.standard_normal((n, factors), model.Y.dtype) / np.sqrt(factors)
    if nonnegative:
        np.abs(model.Y, out=model.Y)
    return Begin("absent")


def fit(
    model: Model,
    half_step: HalfStep,
    unusual: dict[str, Unusual],
    begin: Begin,
    iterations: int,
    after: Callable[[int, float], bool],
    keep: Callable[[Reached], None] | None = None,
) -> Failure | None:
    """Alternate from the factors in `model.Y`, or from those of both sides where the users are solved already.

    `after(iteration, loss)` is called after each iteration; True ends the fit. `keep` is called before it: a fit that
    begins with the panels as they were then goes on from there. Returns the first row that failed, and in
    `unusual` how many rows of a side are to be told of.
    """
    sides = {"user": (model.users, model.X, model.Y), "item": (model.items, model.Y, model.X)}
    first, reached = 0, begin.reached
    if reached is not None:
        first = reached.iteration + 1
        if after(reached.iteration, reached.loss):
            return None
    elif begin.users != "solved":
        failure, _ = _solve_side("user", *sides["user"], model, half_step, unusual)
        if failure:
            return failure
    for iteration in range(first, iterations):
        for side in ("item", "user"):
            if side == "user":
                for name, prior in model.priors.items():
                    prior.learn(sides[name][1])
            failure, loss = _solve_side(side, *sides[side], model, half_step, unusual)
            if failure:
                return failure
        loss = max(0.0, loss) + ridge(_drawn("item", model.items, model), model.Y)
        loss += sum(prior.penalty for prior in model.priors.values())
        if keep is not None:
            keep(Reached(iteration, loss, {}))
        if after(iteration, loss):
            break
    return None


def _solve_side(
    side: str,
    problem: RowProblem,
    X: np.ndarray,
    Y: np.ndarray,
    model: Model,
    half_step: HalfStep,
    unusual: dict[str, Unusual],
) -> tuple[Failure | None, float]:
    with biases_as_offsets(problem, Y, model.bias):
        outcome = half_step(on_panel(_drawn(side, problem, model), Y), Y, X)
    unusual[side] = outcome.unusual
    return first_failure(side, outcome.status), outcome.loss


def _drawn(side: str, problem: RowProblem, model: Model) -> RowProblem:
    """Return the problem of a side with the prior means of its rows, where they have features."""
    prior = model.priors.get(side)
    return problem if prior is None else drawn_to(problem, prior.means(last=True))
