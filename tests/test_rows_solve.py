"""One row by each way, against a dense solution in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastals.engine import sweep
from fastals.engine.plan import PRIMAL, TOLERANCE
from fastals.engine.problem import NOT_FINITE, OK
from fastals.engine.simd.kernels import FEW
from tests.helpers import WAYS, dtypes, one_row, plan, rounding, solve

every_way = pytest.mark.parametrize("way", WAYS)


@every_way
@given(m=st.integers(0, 70), k=st.integers(1, 40), dtype=dtypes, seed=st.integers(0, 99))
def test_solution_and_minimum(way, m, k, dtype, seed):
    solves(way, min(m, k) if way == "dual" else m, k, dtype, seed)


def solves(way, m, k, dtype, seed):
    dtype = np.dtype(dtype).type
    problem, Y, g, A, r, constant = one_row(m, k, dtype, seed)
    x, outcome = solve(problem, Y, g, k, plan(way, dtype))
    wanted = np.linalg.solve(A, r) if m else np.zeros(k)
    condition = np.linalg.cond(A)
    assert outcome.status[0] == OK
    # Conjugate gradients end within their tolerance in the energy norm, beside rounding.
    inexact = TOLERANCE[np.dtype(dtype).itemsize] * np.sqrt(condition) if way in ("cg", "cheapest") else 0
    bound = rounding(dtype, m + k, np.linalg.norm(wanted), condition) + 2 * inexact * np.linalg.norm(wanted)
    assert np.linalg.norm(x[:k] - wanted) <= bound
    assert not x[k:].any()
    minimum = constant - wanted @ r if m else 0.0
    assert abs(outcome.loss - minimum) <= rounding(dtype, m + k, constant + abs(wanted @ r), condition)


@given(m=st.integers(1, 40), k=st.integers(1, 20), seed=st.integers(0, 99))
def test_weights_below_zero_are_left_to_the_primal(m, k, seed):
    problem, Y, g, A, r, _ = one_row(m, k, np.float64, seed, lowest=-0.4)
    if np.linalg.eigvalsh(A)[0] <= 0.05:
        return
    for way in ("dual", "primal"):
        x, outcome = solve(problem, Y, g, k, plan(way, np.float64))
        assert outcome.status[0] == OK
        bound = rounding(np.float64, m + k, np.linalg.norm(x), np.linalg.cond(A))
        assert np.linalg.norm(x[:k] - np.linalg.solve(A, r)) <= bound


@pytest.mark.parametrize("m", range(2, FEW + 1))
def test_few_cells_on_fewer_factors_with_next_to_no_ridge(m):
    problem, Y, g, _, _, _ = one_row(m, 1, np.float32)
    problem = problem._replace(rows=np.array([[1, 0, 1e-6]], np.float32))
    x, _ = solve(problem, Y, g, 1, plan("cheapest", np.float32))
    y = Y[problem.cells.indices, 0].astype(np.float64)
    weights, values = (np.broadcast_to(array[:m], m) for array in (problem.cells.weights, problem.cells.values))
    equation = y**2 @ weights + 1e-6
    wanted, size = (y @ (weights * values) / equation, np.abs(y) @ np.abs(weights * values) / equation)
    assert abs(x[0] - wanted) <= rounding(np.float32, 2 * m, size)


def test_a_solution_that_is_not_finite_is_reported():
    problem, Y, g, _, _, _ = one_row(3, 5, np.float64)
    cells = problem.cells._replace(values=np.full(3, 1e308), weights=np.full(3, 1e3))
    x, outcome = solve(problem._replace(cells=cells), Y, g, 5, plan("primal", np.float64))
    assert outcome.status[0] == NOT_FINITE
    assert not x.any()


@every_way
@given(
    m=st.integers(0, 70),
    k=st.integers(1, 40),
    steps=st.integers(0, 4),
    beyond=st.sampled_from([0.25, 0.7, 1.0]),
    seed=st.integers(0, 99),
)
def test_a_row_goes_beyond_its_solution_and_knows_its_loss_there(way, m, k, steps, beyond, seed):
    problem, Y, g, A, r, constant = one_row(min(m, k) if way == "dual" else m, k, np.float64, seed)
    X = np.zeros((1, Y.shape[1]))
    X[0, :k] = np.random.default_rng(seed).standard_normal(k)
    before, solution = X[0, :k].copy(), X.copy()
    there = plan(way, np.float64, warm=True, steps=steps, finish=False, tolerance=np.float64(0))
    sweep.half_step(problem, Y, g, k, solution, there, 1)
    outcome = sweep.half_step(problem, Y, g, k, X, there._replace(beyond=np.float64(beyond)), 1)
    x, wanted = X[0, :k], solution[0, :k] + beyond * (solution[0, :k] - before)
    if m == 0:
        assert not x.any()
        return
    assert np.linalg.norm(x - wanted) <= rounding(np.float64, 3, np.linalg.norm(before) + np.linalg.norm(wanted))
    start, loss = (constant - 2 * r @ at + at @ A @ at for at in (before, x))
    size = constant + abs(r @ before) + before @ A @ before + abs(r @ x) + x @ A @ x
    slack = rounding(np.float64, m + k, size, np.linalg.cond(A))
    assert abs(outcome.loss - loss) <= slack
    assert loss <= start + slack


def test_what_conjugate_gradients_leave_is_finished_by_cholesky():
    problem, Y, g, A, r, _ = one_row(60, 40, np.float64)
    short = plan("cg", np.float64, steps=1)
    x, _ = solve(problem, Y, g, 40, short)
    assert np.linalg.norm(A @ x[:40] - r) <= rounding(np.float64, 100, np.linalg.norm(r), np.linalg.cond(A))
    unfinished, _ = solve(problem, Y, g, 40, short._replace(finish=False))
    assert np.linalg.norm(A @ unfinished[:40] - r) > 1e-3 * np.linalg.norm(r)


@pytest.mark.parametrize(("ridge", "exact"), [(0.5, True), (1e6, False)])
def test_a_row_that_may_not_get_there_is_exact_from_the_start(ridge, exact):
    problem, Y, g, *_ = one_row(400, 200, np.float32)
    problem = problem._replace(rows=np.array([[1, 1, ridge]], np.float32))
    few = plan("cheapest", np.float32, expected=1, steps=12)  # by `expected` it would take steps in either case
    x, _ = solve(problem, Y, g, 200, few)
    wanted, _ = solve(problem, Y, g, 200, few._replace(only=PRIMAL))
    assert np.array_equal(x, wanted) == exact


@pytest.mark.parametrize(("m", "rank"), [(6, 4), (11, 8)])
@pytest.mark.parametrize("seed", range(3))
def test_entries_that_outweigh_the_ridge_are_fitted_closely(m, rank, seed):
    """More of them than dimensions, so that they contradict each other: an error of 1e-3 may cost more than 0."""
    rng = np.random.default_rng(seed)
    problem, Y, g, _, _, _ = one_row(m, 40, np.float64)
    # Of this rank but for rounding to float32.
    Y[:, :40] = (rng.standard_normal((len(Y), rank)) @ rng.standard_normal((rank, 40)) / 10).astype(np.float32)
    cells = problem.cells._replace(weights=rng.uniform(2e13, 1e14, m), values=rng.choice([0.0, 1.0], m))
    ridge = 4.0
    problem = problem._replace(cells=cells, rows=np.array([[1, 1, ridge]]))
    x, _ = solve(problem, Y, g * 0, 40, plan("cheapest", np.float64))
    root, columns = np.sqrt(cells.weights), Y[cells.indices, :40]
    Z = np.vstack([columns * root[:, None], np.sqrt(ridge) * np.eye(40)])
    q = np.append(root * cells.values, np.zeros(40))
    wanted = np.linalg.lstsq(Z, q, rcond=None)[0]  # by singular values: what is 1e14 in the equations is 1e7 here
    reached, best = (np.sum((Z @ found - q) ** 2) for found in (x[:40], wanted))
    residual = np.finfo(float).eps * np.linalg.norm(Z, 2) ** 2 * np.linalg.norm(x)
    assert reached <= best + residual**2 / ridge
