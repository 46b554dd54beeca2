"""Random problems with extreme numbers, in every model, solver and dtype, held to the dense float64 reference.

Users are the exact solution for the stored items, as exactly as the dtype and the condition of their equations allow:
some roundings of the terms that were summed into the equations, magnified by the inverse. Where rounding is larger than
the smallest eigenvalue, many solutions are as good as exact, and a user may only not be worse than factors of 0.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import count, pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

import fastals
from fastals import ExplicitALS, ImplicitALS, WeightedALS
from tests import reference
from tests.helpers import loss_tolerance, rounding, same_bits, sides, square_root_weights, weights_of

from .outcome import REFUSED, RIGHT, refusal

RIDGES = (0.0, 0.0, 1e-30, 1e-12, 1e-6, 1e-3, 0.1, 0.1, 1.0, 100.0, 1e6)
BALANCED = 1e-12  # what balancing leaves of a side, as a share of its lengths: see `engine.basis.FLOOR`
INEXACT = 1e-5  # relative residual at which conjugate gradients end before the last half-step
TRUSTED = {"float32": 0.01, "float64": 2.0**-26}  # what is promised of a loss, as a share of sum C T^2
EXPONENTS = (0.0, 0.0, 0.5, 1.0, 2.0)
WEIGHTS = {
    "none": (None, 1.0),
    "linear": (fastals.LinearWeights(), reference.linear_weights),
    "exponential": (fastals.ExponentialWeights(), reference.exponential_weights),
    "function": (square_root_weights, square_root_weights),
}


class Problem(NamedTuple):
    """A model before its fit, the reference for it, and the data of both."""

    model: Any
    reference: reference.Objective
    R: np.ndarray  # dense float64, NaN where not observed
    stored: Any  # the same as the model takes it
    weights: Any  # of entries, or None
    watched: bool  # whether a callback looks at each iteration


def values_of(draw: np.random.Generator, dtype: str) -> np.ndarray:
    """Draw a matrix, often with empty rows, one row, or values of one extreme size."""
    n_users, n_items = draw.choice([1, 2, 3, 5, 8, 12, 30], 2)
    sizes = [1e-30, 1e-12, 1e-6, 1e-3, 1.0, 1.0, 1.0, 1.0, 1.0, 1e3, 1e6, 1e12]
    R = draw.choice([-2.0, 0.0, 0.5, 1.0, 1.0, 3.0, 5.0], (n_users, n_items)) * draw.choice(sizes)
    if draw.random() < 0.15:
        R *= 10.0 ** draw.integers(-8, 9, R.shape)
    if draw.random() < 0.2:  # rows and columns that are alike: fewer dimensions than factors
        R[:] = R[draw.integers(n_users)]
    R[draw.random(R.shape) >= draw.choice([0.05, 0.3, 0.7, 1.0])] = np.nan
    R[draw.integers(n_users), draw.integers(n_items)] = 1.0
    found: np.ndarray = R.astype(dtype).astype(np.float64)
    return found


def as_given(draw: np.random.Generator, R: np.ndarray, dtype: str) -> Any:
    """Return the observed entries in some form; as COO each may be there in two halves."""
    rows, columns = np.nonzero(~np.isnan(R))
    values = R[rows, columns].astype(dtype)
    if draw.random() < 0.3 and (np.abs(values[values != 0]) > 1e-37).all():
        twice = np.concatenate([values, values]) / 2
        return sparse.coo_array((twice, (np.tile(rows, 2), np.tile(columns, 2))), shape=R.shape)
    kind = draw.choice([sparse.csr_array, sparse.csc_array, sparse.coo_array])
    return kind(sparse.coo_array((values, (rows, columns)), shape=R.shape))


def problem(draw: np.random.Generator, dtype: str) -> Problem:
    """Draw a problem."""
    R = values_of(draw, dtype)
    pick = draw.choice
    both = {
        "regularization": float(pick(RIDGES)) if draw.random() < 0.7 else tuple(map(float, pick(RIDGES, 2))),
        "regularization_exponent": float(pick(EXPONENTS)),
    }
    settings = {
        "factors": int(pick([1, 2, 3, 4, 5, 8, 16, 19, 40])),
        "iterations": int(pick([0, 1, 2, 4, 7])),
        "solver": str(pick(["auto", "auto", "cholesky", "cg", "plain"])),
        "n_threads": int(pick([1, 1, 2])),
        "random_state": int(draw.integers(2**31)),
        "dtype": dtype,
    }
    extra: dict[str, Any] = {}
    weights = None
    model: Any = pick([ImplicitALS, ExplicitALS, WeightedALS])
    if model is not ExplicitALS:
        extra = {
            "unobserved_weight": float(pick([0.0, 0.0, 1e-6, 0.1, 1.0, 1.0, 1.0, 10.0, 1e5])),
            "popularity_exponent": float(pick(EXPONENTS)),
        }
    if model is ImplicitALS:
        extra["alpha"] = float(pick([0.0, 1e-6, 0.1, 1.0, 1.0, 1.0, 40.0, 1e4, 1e8]))
        objective: reference.Objective = reference.Implicit(**both, **extra)
        R[R == 0.0] = np.nan  # what is stored as 0 is not observed
        if np.isnan(R).all():
            R[0, 0] = 1.0
    elif model is ExplicitALS:
        extra["biases"] = bool(draw.random() < 0.6)
        objective = reference.Explicit(**both, **extra)
    else:
        name = str(pick([*WEIGHTS, "array"]))
        of_items = draw.choice([0.0, 1e-6, 1.0, 1.0, 3.0, 1e6], R.shape[1])
        ours, theirs = (of_items, of_items) if name == "array" else WEIGHTS[name]
        of_entries = np.ones(R.shape)
        if draw.random() < 0.4:
            of_entries = draw.choice([0.0, 1e-6, 0.5, 1.0, 1.0, 3.0, 1e6], R.shape).astype(dtype).astype(np.float64)
            weights = weights_of(R, of_entries)
        objective = reference.Weighted(**both, **extra, item_weights=theirs, weights=of_entries)
        extra = extra | {"item_weights": ours}
    watched = bool(draw.random() < 0.5)
    return Problem(model(**both, **extra, **settings), objective, R, as_given(draw, R, dtype), weights, watched)


def tries(seed: int, first: int, dtype: str) -> Iterator[str]:
    """Fit random problems."""
    warnings.simplefilter("ignore")
    for turn in count(first):
        given = problem(np.random.default_rng([seed, turn]), dtype)
        try:
            outcome = judged(given)
        except (ValueError, TypeError) as error:
            outcome = refusal(error)
        except Exception as error:
            outcome = f"raised {error!r:.300}"
        yield outcome if outcome in (RIGHT, REFUSED) else described(given, outcome)


def described(given: Problem, outcome: str) -> str:
    """Return what is wrong with the problem it is wrong for."""
    C, _ = given.reference.cells(given.R)
    shown = ", ".join(f"{name}={value}" for name, value in given.model.get_params().items())
    beyond = "beyond the dtype: " if far(given, C) else ""
    return (
        f"{beyond}{outcome}; {type(given.model).__name__}({shown}), shape {given.R.shape}, confidences to {C.max():g}"
    )


def far(given: Problem, C: np.ndarray) -> bool:
    """Tell whether confidences, the unobserved weight or a small ridge are of a size at which digits are lost."""
    observed = given.reference.observed(given.R)
    background, ridge = C[~observed].max(initial=0.0), min(np.min(side) for side in given.reference.ridges(given.R))
    large = C.max() >= 1e6 or background > 100 * C[observed].min(initial=np.inf)
    return bool((large and given.model.dtype == "float32") or ridge <= 1e-6 * C.max())


def judged(given: Problem) -> str:
    """Fit, and compare everything with the reference."""
    model, objective, R, stored, weights, watched = given
    extra = {} if weights is None else {"weights": weights}
    seen: list[Any] = []
    model.fit(stored, **extra, callback=(lambda _, now: seen.append(now) and None) if watched else None)
    X, Y = sides(model)
    if not (np.isfinite(X).all() and np.isfinite(Y).all()):
        return "factors that are not finite"
    wrong = wrong_rows(objective, R, X, Y, "user", model.dtype)
    if wrong:
        return wrong
    floor = R.size * float(np.finfo(model.dtype).tiny)  # squares below are 0
    tolerance = loss_tolerance(objective, R, X, Y, model.dtype) + floor
    exact = objective.loss(R, X, Y)
    if not abs(model.loss(stored, **extra) - exact) <= tolerance:
        return f"loss {model.loss(stored, **extra)!r}, the reference has {exact!r} +- {tolerance:.1e}"
    history = model.loss_history_
    allowed = (
        told_tolerance(objective, R, X, Y, model.dtype) + floor + in_passing(objective, R, X, Y, "user", model.dtype)
    )
    if history and not abs(history[-1] - exact) <= allowed:
        return f"loss of the fit {history[-1]!r}, the reference has {exact!r} +- {allowed:.1e}"
    bounds = [allowed] * len(history)
    for iteration, now in enumerate(seen[:-1]):
        its_X, its_Y = sides(now)
        exact = objective.loss(R, its_X, its_Y)
        bounds[iteration] = told_tolerance(objective, R, its_X, its_Y, model.dtype, BALANCED) + INEXACT * exact + floor
        bounds[iteration] += in_passing(objective, R, its_X, its_Y, "item", model.dtype)
        if not abs(history[iteration] - exact) <= bounds[iteration]:
            return (
                f"loss {history[iteration]!r} of iteration {iteration}, {exact!r} +- {bounds[iteration]:.1e} is right"
            )
    if watched:
        for iteration, ((before, after), both) in enumerate(zip(pairwise(history), pairwise(bounds), strict=True)):
            if iteration == 0 and from_zero(model, objective, R):
                continue
            if not after <= before + sum(both):
                return f"loss rises from {before!r} to {after!r} in iteration {iteration + 1}"
    if weights is None:
        again = model.fold_in_users(stored)
        trained = sides(model)[0].astype(again.dtype)
        if not same_bits(np.ascontiguousarray(again), np.ascontiguousarray(trained)):
            return f"fold-in is another one than the fit by {np.abs(again - trained).max():.1e}"
        if not isinstance(getattr(model, "item_weights", None), np.ndarray):
            rows = model.fold_in_items(stored).astype(np.float64)
            return wrong_rows(objective, R, X, rows, "item", model.dtype) or RIGHT
    return RIGHT


def from_zero(model: Any, objective: reference.Objective, R: np.ndarray) -> bool:
    """Tell whether the users' first half-step may lose what a sketch of them had: it takes some steps, and from zero.

    Conjugate gradients never raise the loss of what they start from. So all later half-steps do not raise it.
    """
    background = objective.cells(np.full_like(R, np.nan), training=R)[0]
    return model.solver in ("auto", "cg") and bool(background.any())


def told_tolerance(
    objective: reference.Objective, R: np.ndarray, X: np.ndarray, Y: np.ndarray, dtype: str, share: float = 0.0
) -> float:
    """Bound the error of a loss that a half-step tells, as `loss_tolerance` that of given factors.

    A half-step works in the eigenbasis of the background. What turns a side into it, and what is left of the background
    beside the diagonal, is off by eps of the lengths of the rows, however small their numbers are in some direction; or
    by a `share` of them. And a row's loss is that of its solution, from which rounding may take the row as far.
    """
    C, T = objective.cells(R)
    unobserved = objective.cells(np.full_like(R, np.nan), training=R)[0]
    columns, known = objective.regressors(Y)
    P = np.abs(objective.mean(R)) + np.abs(known) + np.outer(np.linalg.norm(X, axis=1), np.linalg.norm(columns, axis=1))
    size = np.sum((C + unobserved) * (np.abs(T) + P) ** 2)
    return loss_tolerance(objective, R, X, Y, dtype) + float(rounding(dtype, R.size + X.shape[1], size) + share * size)


def in_passing(
    objective: reference.Objective, R: np.ndarray, X: np.ndarray, Y: np.ndarray, side: str, dtype: str
) -> float:
    """Bound what the dual way adds to the error of a loss: eps times a condition, as a share of sum C T^2 of a row.

    The condition is that of I + Z Z' with Z = sqrt(w) D^-1/2 y and D = background + ridge. The loss of a row is b'b / w
    less what t = (I + Z Z')^-1 b / sqrt(w) gains, which is off by eps |Z Z'| |t| |b|, as each sum is of that size.
    """
    C, T = objective.cells(R)
    background, ridges = objective.cells(np.full_like(R, np.nan), training=R)[0], objective.ridges(R)[side == "item"]
    fixed = Y
    if side == "item":
        fixed, C, T, background = X, C.T, T.T, background.T
    columns, known = objective.regressors(fixed)
    squares, total = np.sum(columns**2, axis=1), 0.0
    for u in range(len(C)):
        D = (columns.T * background[u]) @ columns + ridges[u] * np.eye(columns.shape[1])
        weights, least = np.maximum(C[u] - background[u], 0) @ squares, np.linalg.eigvalsh(D)[0]
        share = rounding(dtype, len(columns), weights / least) if least > 0 else np.inf
        total += min(share, TRUSTED[dtype]) * (C[u] @ (T[u] - objective.mean(R) - known) ** 2)
    return total


def wrong_rows(
    objective: reference.Objective, R: np.ndarray, X: np.ndarray, Y: np.ndarray, side: str, dtype: str
) -> str:
    """Say which row of a side does not solve its equations for the other side; empty if all do."""
    C, T = objective.cells(R)
    background = objective.cells(np.full_like(R, np.nan), training=R)[0]
    observed = objective.observed(R)
    ridges = objective.ridges(R)[side == "item"]
    mean = objective.mean(R)
    rows, fixed = X, Y
    if side == "item":
        rows, fixed, C, T, background, observed = Y, X, C.T, T.T, background.T, observed.T
    columns, known = objective.regressors(fixed)
    squares = np.sum(columns**2, axis=1)
    if rows[~observed.any(axis=1)].any():
        return f"a {side} without entries has factors"
    for u in np.flatnonzero(observed.any(axis=1)):
        x, left = rows[u], T[u] - mean - known
        A = (columns.T * C[u]) @ columns + ridges[u] * np.eye(columns.shape[1])
        r = columns.T @ (C[u] * left)
        # The weight on top of the background is a difference, so both sizes are rounded.
        summed = (C[u] + background[u]) @ squares + ridges[u]
        right = (C[u] * (np.abs(T[u]) + abs(mean) + np.abs(known))) @ np.sqrt(squares)
        allowed = rounding(dtype, len(columns) + columns.shape[1], summed * np.linalg.norm(x) + right)
        allowed += 4 * np.sqrt(np.finfo(dtype).tiny)  # below, the square of a right-hand side is 0
        residual = np.linalg.norm(A @ x - r)
        if residual <= allowed:
            continue
        smallest = np.linalg.eigvalsh(A)[0]
        if smallest > rounding(dtype, len(columns) + columns.shape[1], summed):
            error = np.linalg.norm(x - np.linalg.solve(A, r))
            if error <= 2 * allowed / smallest:  # the reference is rounded too
                continue
            return f"{side} {u} is off by {error * smallest / allowed:.3g} times what rounding explains"
        size = C[u] @ (np.abs(T[u]) + abs(mean) + np.abs(known) + np.abs(columns @ x)) ** 2
        if not x @ A @ x - 2 * x @ r <= rounding(dtype, len(columns), size + ridges[u] * x @ x):
            return f"{side} {u} is worse than factors of 0"
    return ""
