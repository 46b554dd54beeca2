"""Conjugate gradients: the loss that they report, and the number of steps that is expected."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastals.engine import sweep
from fastals.engine.cells import gather_cells
from fastals.engine.jit import kernel
from fastals.engine.rows import cg
from fastals.engine.rows.diagonal import set_diagonal
from fastals.engine.rows.workspace import workspace
from tests.helpers import one_row, plan, rounding


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


@kernel
def expected_steps(problem, Y, g, plan, ws):
    """Call the rule for row 0, as `solve_row` does."""
    gather_cells(problem, 0, 0, problem.cells.indptr[1], ws.w, ws.b, ws.s)
    set_diagonal(ws.d, problem.rows[0, 1], g, problem.rows[0, 2], len(g))
    return cg.expected_steps(Y, problem.cells.indices, 0, problem.cells.indptr[1], plan, ws)


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
    """For a row short enough that all of its entries are read."""
    m, k = cg.SAMPLED, 32
    problem, Y, g, *_ = one_row(m, k, np.float64)
    ws, some = workspace(k, m, Y.dtype), plan("cheapest", np.float64)
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
    expected = expected_steps(problem, Y, g, some, workspace(Y.shape[1], m, Y.dtype))
    taken = steps_of_textbook(A, g[:k].astype(np.float64) + ridge, r, some.tolerance)
    assert taken / 2 <= expected <= taken * 2
