"""What several test modules need: random problems, every objective as model and as reference, and tolerances.

There is one rule for tolerances, `rounding`: so many roundings, each of at most eps, of numbers of such a size, made
larger by at most the condition of what is solved. Sizes and conditions are computed, never guessed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from scipy import sparse

import fastals
from fastals.engine import plan as plans
from fastals.engine import sweep
from fastals.engine.model import Model
from fastals.engine.panel import aligned_zeros, as_panel
from fastals.engine.problem import CellRule, Cells, RowProblem, no_shifts
from fastals.engine.simd.target import padded
from tests.reference import Explicit, Implicit, Objective, Weighted

# A side counts as lying in its eigenbasis up to 64 eps of its Gram matrix: no other single rounding is larger.
BASIS = 64


def rounding(dtype: Any, steps: float, size: Any, condition: Any = 1.0) -> Any:
    """Bound the error of `steps` roundings of numbers of `size` that a system of `condition` then magnifies."""
    return (BASIS + steps) * np.finfo(dtype).eps * size * condition


# The papers' numbers, in the place of what a rule makes of the data.
CLASSIC: dict[type, dict[str, Any]] = {
    fastals.ImplicitALS: {
        "regularization": 0.01,
        "alpha": 1.0,
        "unobserved_weight": 1.0,
        "popularity_exponent": 0.0,
        "regularization_exponent": 0.0,
    },
    fastals.ExplicitALS: {"regularization": 0.1},
}


@dataclass(frozen=True)
class Case:
    """One objective with its parameters, which the model and the reference call alike."""

    model: type
    reference: type
    params: dict[str, Any] = field(default_factory=dict)
    cell_weights: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", CLASSIC.get(self.model, {}) | self.params)

    def build(self, R: np.ndarray, seed: int = 0, **settings: Any) -> tuple[Any, Objective, dict[str, Any]]:
        """Return the model, the reference, and what `fit` and `loss` take beside R."""
        rng = np.random.default_rng(seed)
        params = self.params
        if params.get("item_weights") == "array":
            params = params | {"item_weights": rng.choice([0.0, 0.5, 1.0, 3.0], R.shape[1])}
        if not self.cell_weights:
            return self.model(**params, **settings), self.reference(**params), {}
        weights = rng.choice([0.0, 0.5, 1.0, 3.0], R.shape)
        given = {"weights": sparse.csr_array(weights_of(R, weights))}
        return self.model(**params, **settings), self.reference(**params, weights=weights), given


def weights_of(R: np.ndarray, weights: np.ndarray) -> sparse.csr_array:
    """Weights stored where R is observed."""
    rows, columns = np.nonzero(~np.isnan(R))
    return sparse.csr_array((weights[rows, columns], (rows, columns)), shape=R.shape)


def square_root_weights(counts: np.ndarray) -> np.ndarray:
    """Weigh items as a user's own function might."""
    return 1.0 / np.sqrt(1.0 + counts)


EVERYTHING = {"regularization": (0.2, 0.5), "regularization_exponent": 0.5}
CASES = {
    "implicit": Case(fastals.ImplicitALS, Implicit, {"regularization": 0.1}),
    "implicit, alpha 0": Case(fastals.ImplicitALS, Implicit, {"regularization": 0.1, "alpha": 0.0}),
    "implicit, only observed": Case(
        fastals.ImplicitALS, Implicit, {"regularization": 1.0, "alpha": 3.0, "unobserved_weight": 0.0}
    ),
    "implicit, everything": Case(
        fastals.ImplicitALS,
        Implicit,
        {"alpha": 10.0, "unobserved_weight": 0.25, "popularity_exponent": 0.5, **EVERYTHING},
    ),
    "implicit, background above confidence": Case(
        fastals.ImplicitALS, Implicit, {"regularization": 1.0, "alpha": 0.5, "unobserved_weight": 4.0}
    ),
    "implicit, ridge of observed": Case(
        fastals.ImplicitALS,
        Implicit,
        {"regularization": 0.3, "regularization_exponent": 1.0, "regularization_counts": "observed"},
    ),
    "implicit, biases": Case(fastals.ImplicitALS, Implicit, {"regularization": 0.1, "biases": True}),
    "implicit, biases, everything": Case(
        fastals.ImplicitALS,
        Implicit,
        {"alpha": 10.0, "unobserved_weight": 0.25, "popularity_exponent": 0.5, "biases": True, **EVERYTHING},
    ),
    "explicit": Case(fastals.ExplicitALS, Explicit),
    "explicit, no biases": Case(fastals.ExplicitALS, Explicit, {"biases": False}),
    "explicit, everything": Case(fastals.ExplicitALS, Explicit, EVERYTHING),
    "weighted": Case(fastals.WeightedALS, Weighted),
    "weighted, plain": Case(fastals.WeightedALS, Weighted, {"unobserved_weight": 1.0}),
    "weighted, linear": Case(fastals.WeightedALS, Weighted, {"item_weights": fastals.LinearWeights()}),
    "weighted, exponential": Case(
        fastals.WeightedALS, Weighted, {"item_weights": fastals.ExponentialWeights(), "unobserved_weight": 0.5}
    ),
    "weighted, function": Case(
        fastals.WeightedALS, Weighted, {"item_weights": square_root_weights, "popularity_exponent": 2.0}
    ),
    "weighted, array": Case(fastals.WeightedALS, Weighted, {"item_weights": "array"}),
    "weighted, cells": Case(fastals.WeightedALS, Weighted, {}, cell_weights=True),
    "weighted, biases, everything": Case(
        fastals.WeightedALS,
        Weighted,
        {"item_weights": "array", "unobserved_weight": 0.5, "popularity_exponent": 0.7, "biases": True, **EVERYTHING},
        cell_weights=True,
    ),
    "weighted, everything": Case(
        fastals.WeightedALS,
        Weighted,
        {"item_weights": "array", "unobserved_weight": 0.5, "popularity_exponent": 0.7, **EVERYTHING},
        cell_weights=True,
    ),
}


def observed(rng: np.random.Generator, n_users: int, n_items: int, density: float) -> np.ndarray:
    """Draw a users x items matrix of small numbers, also 0 and below, NaN where not observed; one cell is 1."""
    R = rng.choice([-2.0, 0.0, 0.5, 1.0, 1.0, 3.0, 5.0], (n_users, n_items))
    R[rng.random(R.shape) >= density] = np.nan
    R[rng.integers(n_users), rng.integers(n_items)] = 1.0
    return R


def example(seed: int = 0, shape: tuple[int, int] = (30, 20), density: float = 0.3) -> np.ndarray:
    """One such matrix."""
    return observed(np.random.default_rng(seed), *shape, density)


matrices = st.builds(
    lambda seed, *shape: observed(np.random.default_rng(seed), *shape),
    st.integers(0, 2**32 - 1),
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from([0.05, 0.3, 0.7, 1.0]),
)
numbers_of_factors = st.integers(1, 19)
dtypes = st.sampled_from(["float32", "float64"])
solvers = st.sampled_from(["auto", "cholesky", "cg"])


def stored(R: np.ndarray, dtype: Any = "float64") -> sparse.csr_array:
    """The observed cells of R, zeros too, as canonical CSR."""
    rows, columns = np.nonzero(~np.isnan(R))
    places = rows.astype(np.int32), columns.astype(np.int32)
    return sparse.csr_array((R[rows, columns].astype(dtype), places), shape=R.shape)


def mapped(R: fastals.Interactions, folder: Path) -> fastals.Interactions:
    """Return the same interactions in read-only mapped files of their own, by user and by item."""
    folder = Path(tempfile.mkdtemp(dir=folder))

    def moved(cells: Cells, side: str) -> Cells:
        for name, array in cells._asdict().items():
            np.save(folder / f"{side} {name}.npy", array)
        return Cells(*(np.load(folder / f"{side} {name}.npy", mmap_mode="r") for name in cells._fields))

    by_user, by_item = moved(R.by_user, "user"), moved(R.by_item, "item")
    return R._make(R.shape, R.dtype, R.user_ids, R.item_ids, cells=by_user, turned=by_item, locked=True)


def sides(model: Any) -> tuple[np.ndarray, np.ndarray]:
    """User and item factors in float64, their biases as the last column."""
    both = []
    for side in ("user", "item"):
        factors = getattr(model, f"{side}_factors_")
        bias = getattr(model, f"{side}_biases_", None)
        both.append((factors if bias is None else np.column_stack([factors, bias])).astype(np.float64))
    return both[0], both[1]


def half_step(objective: Objective, R: np.ndarray, fixed: np.ndarray, side: str, dtype: Any) -> tuple[Any, Any, Any]:
    """Return the reference's rows, by how much each row may be off, and the largest condition of their systems.

    A backward stable solver returns the exact solution of a system whose entries are off by some roundings of the
    terms that were summed into them; the inverse magnifies that.
    """
    C, T = objective.cells(R)
    unobserved = objective.cells(np.full_like(R, np.nan), training=R)[0]
    observed = objective.observed(R)
    ridges = objective.ridges(R)[side == "item"]
    T = T - objective.mean(R)
    X = objective.solve_users(R, fixed) if side == "user" else objective.solve_items(R, fixed)
    if side == "item":
        C, T, unobserved, observed = C.T, T.T, unobserved.T, observed.T
    Y, known = objective.regressors(fixed)
    squares = np.sum(Y**2, axis=1)
    bounds, conditions = np.zeros(len(X)), np.ones(len(X))
    for u in np.flatnonzero(observed.any(axis=1)):
        A = (Y.T * C[u]) @ Y + ridges[u] * np.eye(Y.shape[1])
        inverse = 1.0 / np.linalg.eigvalsh(A)[0]
        # The weight on top of the background is a difference, so both sizes are rounded.
        summed = (C[u] + unobserved[u]) @ squares + ridges[u]
        right = (C[u] * (np.abs(T[u]) + np.abs(known))) @ np.sqrt(squares)
        steps = len(Y) + Y.shape[1]
        conditions[u] = inverse * summed
        bounds[u] = rounding(dtype, steps, summed * np.linalg.norm(X[u]) + right, inverse)
    return X, bounds, conditions.max()


def loss_tolerance(objective: Objective, R: np.ndarray, X: np.ndarray, Y: np.ndarray, dtype: Any) -> float:
    """Bound the error of a loss whose terms are all taken positive."""
    C, T = objective.cells(R)
    unobserved = objective.cells(np.full_like(R, np.nan), training=R)[0]
    columns, known = objective.regressors(np.abs(Y))
    P = np.abs(objective.mean(R)) + known + np.abs(X) @ columns.T
    users, items = objective.ridges(R)
    size = np.sum((C + unobserved) * (np.abs(T) + P) ** 2) + users @ np.sum(X**2, 1) + items @ np.sum(Y**2, 1)
    return rounding(dtype, R.size + X.shape[1], size)


def assert_rows_close(actual: np.ndarray, wanted: np.ndarray, bounds: np.ndarray) -> None:
    """Each row within its bound, in the Euclidean norm."""
    assert actual.shape == wanted.shape
    errors = np.linalg.norm(actual.astype(np.float64) - wanted, axis=1)
    assert (errors <= bounds).all(), f"errors {errors} above bounds {bounds}"


def same_bits(a: Any, b: Any) -> bool:
    """Tell whether two arrays are equal in type, shape and every bit."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def same_model(a: Any, b: Any) -> bool:
    """Tell whether two fitted models have the same bits."""
    return (
        same_bits(a.user_factors_, b.user_factors_)
        and same_bits(a.item_factors_, b.item_factors_)
        and a.loss_history_ == b.loss_history_
    )


# For the engine's tests

WAYS = {"primal": plans.PRIMAL, "dual": plans.DUAL, "cg": plans.CG, "cheapest": plans.CHEAPEST}


def a_model(R, k, biases=False, **parameters):
    """Return the row problems of `R` and panels of zeros."""
    cells = fastals.Interactions(stored(R), "float64")
    kind = fastals.ExplicitALS if biases else fastals.ImplicitALS
    objective = kind(factors=k, **CLASSIC[kind] | parameters)._objective()
    statistics = objective.learn(cells)
    width = k + biases
    return Model(
        objective.user_problem(cells.by_user, statistics),
        objective.item_problem(cells.by_item, statistics, R.shape[0]),
        *(aligned_zeros((n, padded(width, "float64")), np.dtype("float64")) for n in R.shape),
        width,
        k if biases else -1,
    )


def plan(way, dtype, **changes):
    """Return the plan that solves rows as `way` says, from zero, to the end."""
    return plans.plan_for("auto", np.dtype(dtype), True, warm=False, last=True)._replace(only=WAYS[way], **changes)


def one_row(m, k, dtype, seed=0, lowest=0.1):
    """Return a row of `m` entries with w from `lowest` to `lowest + 2`, its columns, background and dense system."""
    rng = np.random.default_rng(seed)
    n = m + 3
    Y = as_panel(rng.standard_normal((n, k)).astype(dtype))
    g = np.zeros(padded(k, dtype), dtype)
    g[:k] = rng.random(k) * n
    weights = (lowest + 2 * rng.random(m)).astype(dtype)
    targets = rng.standard_normal(m).astype(dtype)
    indices = np.sort(rng.choice(n, m, replace=False)).astype(np.int32)
    # w = confidence - background. With a background of 2 for each column any w above -2 has a positive confidence.
    cells = Cells(np.array([0, m]), indices, targets, weights + dtype(2) if m else np.ones(1, dtype))
    rule = CellRule(*(dtype(number) for number in (1, 0, 0, 1, 0)))
    problem = RowProblem(
        cells, rule, np.array([[1, 1, 0.5]], dtype), np.array([[1, 2, 0]], dtype), no_shifts(np.dtype(dtype))
    )
    exact = Y[indices, :k].astype(np.float64)
    confidence = cells.weights[:m].astype(np.float64)
    A = np.diag(g[:k].astype(np.float64) + 0.5) + (exact * (confidence - 2)[:, None]).T @ exact
    r = exact.T @ (confidence * targets)
    return problem, Y, g, A, r, float(confidence @ targets.astype(np.float64) ** 2)


def solve(problem, Y, g, k, plan):
    """Solve a problem of one row; return the row and the outcome."""
    X = np.full((1, Y.shape[1]), np.nan, Y.dtype)
    outcome = sweep.half_step(problem, Y, g, k, X, plan, 1)
    return X[0], outcome


def matrix_of_sets(rows: list[set[int]], n_items: int) -> sparse.csr_array:
    """Return a matrix with a 1 for each item of each user."""
    dense = np.zeros((len(rows), n_items))
    for row, items in enumerate(rows):
        dense[row, list(items)] = 1.0
    return sparse.csr_array(dense)


def split_of_liked() -> tuple[sparse.csr_array, sparse.csr_array]:
    """Return train and validation of a matrix with structure: rank 2 and noise."""
    rng = np.random.default_rng(3)
    affinity = rng.random((60, 2)) @ rng.random((2, 40)) + 0.2 * rng.random((60, 40))
    liked = affinity > np.quantile(affinity, 0.7)
    held_out = rng.random(liked.shape) < 0.3
    return sparse.csr_array((liked & ~held_out).astype(np.float32)), sparse.csr_array(
        (liked & held_out).astype(np.float32)
    )


# For the tests of the three models

MODELS = (fastals.ImplicitALS, fastals.ExplicitALS, fastals.WeightedALS)
SMALL = {"factors": 3, "iterations": 2, "dtype": "float64", "random_state": 0}
GOOD = stored(example())

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
every_model = pytest.mark.parametrize("cls", MODELS)
few = settings(max_examples=15)


def fitted(cls: type = fastals.ImplicitALS, R: np.ndarray | None = None, **params: Any) -> Any:
    """Return a small model of a small example."""
    return cls(**(SMALL | params)).fit(stored(example() if R is None else R))


def reference_of(cls: type) -> Objective:
    """Return the reference of the first case of a model."""
    return next(case.reference() for case in CASES.values() if case.model is cls)


def refused(match: str, error: type[Exception], model: Any, *args: Any, method: str = "fit", **kwargs: Any) -> None:
    """Check that a call is refused in these words, and that the model is what it was."""
    before = model.__getstate__()
    with pytest.raises(error, match=f"^{match}$"):
        getattr(model, method)(*args, **kwargs)
    assert model.__getstate__() == before


def interrupted(run: Callable[[], object], ours: Callable[[FrameType], bool], stop: int) -> bool:
    """Run with Ctrl-C at the `stop`-th call or line of the frames that are `ours`; tell whether it came to that."""
    steps = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal steps
        if not ours(frame):
            return None
        if event in {"call", "line"}:
            steps += 1
            if steps == stop:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def in_file(path, shape, dtype):
    """Return a mapped array of zeros that takes no room: a file that is a hole."""
    return np.memmap(path, dtype, "w+", shape=shape)


def holes_are_free(path):
    """Tell whether a file that is a hole takes no room here."""
    size = 2**40
    try:
        with path.open("wb") as file:
            file.truncate(size)
        return hasattr(os.stat_result, "st_blocks") and os.stat(path).st_blocks * 512 < 2**20
    except OSError:
        return False
    finally:
        path.unlink(missing_ok=True)


def factors_from_memory(monkeypatch, R, kept, **params):
    """The bits of a fit whose half-steps find other numbers in the memory of threads, or get memory of their own."""
    solve = sweep.solve_rows

    def solve_rows(*arguments, **named):
        for memory in (*named["kept"].workspaces, *named["kept"].batches):
            for array in memory:
                array[...] = np.nan if array.dtype.kind == "f" else 1
        return solve(*arguments, **{**named, "kept": named["kept"] if kept else None})

    with monkeypatch.context() as patch:
        patch.setattr(sweep, "solve_rows", solve_rows)
        model = fastals.ImplicitALS(iterations=3, random_state=0, n_threads=2, **params).fit(R)
    return model.user_factors_.tobytes(), tuple(model.loss_history_)
