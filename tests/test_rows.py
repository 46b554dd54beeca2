"""One row by each way, against a dense solution in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastals.engine import fit, rows, sweep
from fastals.engine.jit import kernel
from fastals.engine.panel import as_panel
from fastals.engine.problem import CellRule, Cells, RowProblem
from fastals.engine.simd.kernels import FEW, FOLDED
from fastals.engine.simd.target import padded
from tests.helpers import dtypes, rounding

WAYS = {"primal": rows.PRIMAL, "dual": rows.DUAL, "cg": rows.CG, "cheapest": rows.CHEAPEST}
every_way = pytest.mark.parametrize("way", WAYS)


def plan(way, dtype, **changes):
    """Solve as `way` says, from zero, to the end."""
    return fit.plan_for("auto", np.dtype(dtype), True, warm=False, last=True)._replace(only=WAYS[way], **changes)


def one_row(m, k, dtype, seed=0, lowest=0.1):
    """A row of `m` cells with weights `lowest` .. `lowest + 2`, its columns, background and dense system."""
    rng = np.random.default_rng(seed)
    n = m + 3
    Y = as_panel(rng.standard_normal((n, k)).astype(dtype))
    g = np.zeros(padded(k, dtype), dtype)
    g[:k] = rng.random(k) * n
    weights = (lowest + 2 * rng.random(m)).astype(dtype)
    targets = rng.standard_normal(m).astype(dtype)
    indices = np.sort(rng.choice(n, m, replace=False)).astype(np.int32)
    # w = confidence - background: a background of 2 a column leaves any w above -2 to the confidence.
    cells = Cells(np.array([0, m]), indices, targets, weights + dtype(2) if m else np.ones(1, dtype))
    rule = CellRule(*(dtype(number) for number in (1, 0, 0, 1, 0)))
    problem = RowProblem(cells, rule, np.array([[1, 1, 0.5]], dtype), np.array([[1, 2, 0]], dtype))
    exact = Y[indices, :k].astype(np.float64)
    confidence = cells.weights[:m].astype(np.float64)
    A = np.diag(g[:k].astype(np.float64) + 0.5) + (exact * (confidence - 2)[:, None]).T @ exact
    r = exact.T @ (confidence * targets)
    return problem, Y, g, A, r, float(confidence @ targets.astype(np.float64) ** 2)


def solve(problem, Y, g, k, plan):
    X = np.full((1, Y.shape[1]), np.nan, Y.dtype)
    outcome = sweep.half_step(problem, Y, g, k, X, plan, 1)
    return X[0], outcome


@given(
    m=st.integers(0, 70),
    k=st.integers(1, 40),
    dtype=dtypes,
    lowest=st.sampled_from([0.1, -1.9]),
    background=st.sampled_from([3, 0]),
)
def test_a_sketch_is_the_right_hand_side_over_a_rough_diagonal(m, k, dtype, lowest, background):
    problem, Y, g, _, r, _ = one_row(m, k, np.dtype(dtype).type, lowest=lowest)
    x, outcome = solve(problem, Y, np.full_like(g, background), k, plan("cheapest", dtype, sketch=True))
    cells = problem.cells
    size = np.abs(cells.weights[:m] * cells.values) @ np.abs(Y[cells.indices, :k])
    weight = cells.weights[:m].astype(np.float64).sum() - 2 * m
    diagonal = background + 0.5 + 2 * max(weight, 0) / k if background else 1
    assert np.all(np.abs(x[:k] - r / diagonal) <= rounding(dtype, m, size / diagonal))
    np.testing.assert_allclose(outcome.loss, np.linalg.norm(x.astype(np.float64)) ** 2, rtol=rounding(dtype, k, 1))


@every_way
@given(m=st.integers(0, 70), k=st.integers(1, 40), dtype=dtypes, seed=st.integers(0, 99))
def test_solution_and_minimum(way, m, k, dtype, seed):
    solves(way, min(m, k) if way == "dual" else m, k, dtype, seed)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("m", "k"), [(rows.CHUNK + 1, 60), (3 * rows.CHUNK + 1, 70), (rows.CHUNK, 130)])
def test_rows_of_many_chunks(m, k, dtype):
    assert rows.CHUNK <= FOLDED  # as `gather_panel` requires
    solves("primal", m, k, dtype, 0)


def solves(way, m, k, dtype, seed):
    dtype = np.dtype(dtype).type
    problem, Y, g, A, r, constant = one_row(m, k, dtype, seed)
    x, outcome = solve(problem, Y, g, k, plan(way, dtype))
    wanted = np.linalg.solve(A, r) if m else np.zeros(k)
    condition = np.linalg.cond(A)
    assert outcome.status[0] == rows.OK
    # Conjugate gradients end within their tolerance in the energy norm, beside rounding.
    inexact = fit.TOLERANCE[np.dtype(dtype).itemsize] * np.sqrt(condition) if way in ("cg", "cheapest") else 0
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
        assert outcome.status[0] == rows.OK
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


def test_weights_of_zero_are_a_diagonal():
    problem, Y, g, *_ = one_row(FEW + 3, 5, np.float64)
    problem = problem._replace(cells=problem.cells._replace(weights=np.full(1, 2.0)))
    x, _ = solve(problem, Y, g, 5, plan("cheapest", np.float64))
    r = Y[problem.cells.indices, :5].T @ (2 * problem.cells.values)
    np.testing.assert_allclose(x[:5], r / (g[:5] + 0.5), rtol=rounding(np.float64, FEW + 3, 1.0))


def test_a_matrix_that_is_not_positive_is_reported():
    problem, Y, _, _, _, _ = one_row(3, 5, np.float64)
    problem = problem._replace(rows=np.array([[1.0, 0.0, 0.0]]))
    x, outcome = solve(problem, Y, np.zeros_like(Y[0]), 5, plan("primal", np.float64))
    assert outcome.status[0] == rows.NOT_POSITIVE
    assert not x.any()


def test_a_solution_that_is_not_finite_is_reported():
    problem, Y, g, _, _, _ = one_row(3, 5, np.float32)
    cells = problem.cells._replace(values=np.full(3, 1e38, np.float32), weights=np.full(3, 1e3, np.float32))
    x, outcome = solve(problem._replace(cells=cells), Y, g, 5, plan("primal", np.float32))
    assert outcome.status[0] == rows.NOT_FINITE
    assert not x.any()


@given(m=st.integers(1, 60), k=st.integers(1, 40), steps=st.integers(0, 4), warm=st.booleans(), seed=st.integers(0, 99))
def test_steps_of_conjugate_gradients_lower_the_loss_that_they_report(m, k, steps, warm, seed):
    problem, Y, g, A, r, constant = one_row(m, k, np.float64, seed)
    X = np.zeros((1, Y.shape[1]))
    X[0, :k] = np.random.default_rng(seed).standard_normal(k)
    start = X[0, :k].copy() if warm else np.zeros(k)
    some = plan("cg", np.float64, warm=warm, steps=steps, finish=False, tolerance=np.float64(0))
    outcome = sweep.half_step(problem, Y, g, k, X, some, 1)
    before, after = (constant - 2 * r @ x + x @ A @ x for x in (start, X[0, :k]))
    slack = rounding(np.float64, m + k, constant + start @ A @ start + abs(r @ start), np.linalg.cond(A))
    assert after <= before + slack
    assert abs(outcome.loss - after) <= slack


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


@kernel
def expected_steps(problem, Y, g, plan, ws):
    """Call the rule for row 0, as `solve_row` does."""
    rows.gather_cells(problem, 0, 0, problem.cells.indptr[1], ws.w, ws.b)
    rows.set_diagonal(ws.d, problem.rows[0, 1], g, problem.rows[0, 2], len(g))
    return rows.expected_steps(Y, problem.cells.indices, 0, problem.cells.indptr[1], plan, ws)


def steps_of_textbook(A, d, r, tolerance):
    """Count the steps of conjugate gradients preconditioned by 1 / d, in float64."""
    x, p, steps, solution = np.zeros_like(r), r / d, 0, np.linalg.solve(A, r)
    while (x - solution) @ A @ (x - solution) > tolerance**2 * (solution @ A @ solution):
        residual = r - A @ x
        if steps:
            z = residual / d
            p = z - (z @ A @ p) / (p @ A @ p) * p
        x = x + (residual @ p) / (p @ A @ p) * p
        steps += 1
    return steps


def test_expected_steps_are_their_formula():
    """Of a row whose cells are all asked."""
    m, k = rows.SAMPLED, 32
    problem, Y, g, *_ = one_row(m, k, np.float64)
    ws, some = rows.workspace(k, m, Y.dtype), plan("cheapest", np.float64)
    steps = expected_steps(problem, Y, g, some, ws)
    t = np.mean(ws.w[:m] * (Y[problem.cells.indices] ** 2 / ws.d).sum(axis=1))
    formula = 0.75 * np.log(1 / some.tolerance) * np.sqrt(1 + 2 * t) * (m / (m + k)) ** 0.25
    assert steps == pytest.approx(formula, rel=rounding(np.float64, m * k, 1.0))


@pytest.mark.parametrize("ridge", [0.5, 30.0, 1000.0])
@pytest.mark.parametrize(("m", "k"), [(40, 32), (300, 32), (60, 96), (250, 96)])
def test_expected_steps(m, k, ridge):
    problem, Y, g, A, r, _ = one_row(m, k, np.float32)
    problem = problem._replace(rows=np.array([[1, 1, ridge]], np.float32))
    A += np.diag(np.full(k, ridge - 0.5))
    some = plan("cheapest", np.float32)
    expected = expected_steps(problem, Y, g, some, rows.workspace(Y.shape[1], m, Y.dtype))
    taken = steps_of_textbook(A, g[:k].astype(np.float64) + ridge, r, some.tolerance)
    assert taken / 2 <= expected <= taken * 2


@pytest.mark.parametrize(("ridge", "exact"), [(0.5, True), (1e6, False)])
def test_a_row_that_may_not_get_there_is_exact_from_the_start(ridge, exact):
    problem, Y, g, *_ = one_row(400, 200, np.float32)
    problem = problem._replace(rows=np.array([[1, 1, ridge]], np.float32))
    few = plan("cheapest", np.float32, expected=1, steps=12)  # by `expected` it would take steps in either case
    x, _ = solve(problem, Y, g, 200, few)
    wanted, _ = solve(problem, Y, g, 200, few._replace(only=rows.PRIMAL))
    assert np.array_equal(x, wanted) == exact


@kernel
def choose(m, k, steps, plan):
    return rows.choose(m, k, steps, plan)


@pytest.mark.parametrize(
    ("m", "k", "steps", "way"),
    [
        (100, 256, 5.0, rows.CG),
        (100, 256, 25.0, rows.DUAL),
        (1000, 256, 20.0, rows.CG),
        (2000, 256, 20.0, rows.PRIMAL),  # more than the cache holds
        (300, 512, 32.0, rows.CG),
        (300, 512, 32.5, rows.DUAL),  # may not get there
    ],
)
def test_the_way_follows_from_the_steps_that_are_expected(m, k, steps, way):
    assert choose(m, k, steps, plan("cheapest", np.float32)) == way


@given(m=st.integers(1, 5000), k=st.sampled_from([16, 64, 256]), cg=st.booleans())
def test_predicted_cost_is_that_of_the_cheapest_way(m, k, cg):
    chosen = plan("cheapest", np.float32, cg=cg)
    costs = {rows.PRIMAL: rows.primal_cost(m, k)}
    if m < k:
        costs[rows.DUAL] = rows.dual_cost(m, k)
    if m <= rows.FEW:
        costs = {rows.CHEAPEST: rows.few_cost(m, k)}
    elif cg:
        costs[rows.CG] = rows.cg_cost(m, k, chosen.expected)
    assert rows.predicted_cost(np.array([m]), k, chosen)[0] == min(costs.values())
