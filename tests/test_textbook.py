"""One half-step against the float64 reference: exact, and by conjugate gradients from a start."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastals.compat.textbook import HalfStep, writable_panel
from fastals.data.interactions import Interactions
from fastals.objectives import Objective
from tests import helpers
from tests.helpers import CASES, assert_rows_close, dtypes, matrices, numbers_of_factors, same_bits, stored

UNBIASED = {
    name: case
    for name, case in CASES.items()
    if not (name.startswith("explicit") or "biases" in name or case.cell_weights)
}


def problem_of(case, R, dtype):
    model, reference, _ = case.build(R)
    cells = model._interactions(stored(R), np.dtype(dtype))
    objective: Objective = model._objective()
    return objective.user_problem(cells.by_user, objective.learn(cells)), reference


def solve(problem, Y, n_threads, start=None, steps=0):
    factors = Y.shape[1]
    X = writable_panel(np.zeros((problem.cells.n_rows, factors), Y.dtype) if start is None else start)
    loss = HalfStep(problem, "user", factors, n_threads, steps)(X, writable_panel(Y))
    return X[:, :factors], loss


def items(R, k, dtype, seed):
    return np.random.default_rng(seed).normal(size=(R.shape[1], k)).astype(dtype)


@pytest.mark.parametrize("case", UNBIASED.values(), ids=UNBIASED.keys())
@settings(max_examples=10)
@given(R=matrices, k=numbers_of_factors, dtype=dtypes, seed=st.integers(0, 99))
def test_rows_are_exact_in_the_basis_of_what_is_given(case, R, k, dtype, seed):
    problem, reference = problem_of(case, R, dtype)
    Y = items(R, k, dtype, seed)
    panel = writable_panel(Y)
    X = writable_panel(np.zeros((len(R), k), dtype))
    step = HalfStep(problem, "user", k, 2)
    step(X, panel)
    assert same_bits(panel, writable_panel(Y))
    again = X.copy()
    step(again, panel)  # what it starts from is of no account
    assert same_bits(again, X)
    X = X[:, :k]
    assert X.shape == (len(R), k)
    assert X.dtype == Y.dtype
    wanted, bounds, _ = helpers.half_step(reference, R, Y.astype(np.float64), "user", dtype)
    assert_rows_close(X, wanted, bounds)


def test_the_loss_is_that_of_the_solution():
    R = helpers.observed(np.random.default_rng(0), 20, 15, 0.3)
    problem, reference = problem_of(CASES["implicit, everything"], R, "float64")
    Y = items(R, 4, "float64", 0)
    X, loss = solve(problem, Y, 1)
    assert loss + reference.ridges(R)[1] @ np.sum(Y**2, 1) == pytest.approx(reference.loss(R, X, Y))


def test_steps_from_a_start_come_nearer_with_each():
    R = helpers.observed(np.random.default_rng(0), 40, 60, 0.8)
    problem, _ = problem_of(CASES["implicit"], R, "float64")
    Y = items(R, 32, "float64", 0)
    start = items(R.T, 32, "float64", 1)
    exact, _ = solve(problem, Y, 1)
    errors = [np.linalg.norm(solve(problem, Y, 1, start, steps)[0] - exact) for steps in (1, 2, 4)]
    assert np.linalg.norm(start - exact) > errors[0] > errors[1] > errors[2]


def test_a_row_with_many_solutions_has_the_smallest_and_one_beyond_the_dtype_is_named():
    cells = Interactions(np.array([[1.0, 1.0], [0.0, 2.0]]), "float64")
    objective = Objective(1.0, 0.0, 0.0, 1.0, (0.0, 0.0))
    problem = objective.user_problem(cells.by_user, objective.learn(cells))
    X, loss = solve(problem, np.eye(2), 1)
    np.testing.assert_allclose(X, [[1.0, 1.0], [0.0, 2.0]], atol=1e-14)
    assert loss == pytest.approx(0.0, abs=1e-14)
    with pytest.raises(np.linalg.LinAlgError, match="user 0 with 2 interactions cannot be solved in float64"):
        solve(problem, 1e200 * np.eye(2), 1)
