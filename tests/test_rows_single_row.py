"""A row by itself with a dense background: as the reference has it, and what it leaves to `equations.solve`."""

import numpy as np
import pytest

from fastals.engine.panel import as_panel
from fastals.engine.rows.single_row import _solve, solve_single
from fastals.engine.rows.workspace import CHUNK
from tests.helpers import CASES, assert_rows_close, example, half_step
from tests.test_equations import equations_of, fixed_side, gram_of, one_row, problem_of, shifted


def solved(row, factors, biases, gram):
    row = shifted(row, factors, biases)
    panel, width = as_panel(factors, biases), factors.shape[1] + (biases is not None)
    return solve_single(row, panel[row.cells.indices], width, -1 if biases is None else width - 1, gram)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("k", [4, 17])
def test_each_row_is_solved_as_the_reference_has_it(case, k):
    R = example(7)
    R[:, -1] = np.where(np.isnan(R[:, -1]), 1, R[:, -1])  # at least one entry a row
    problem, reference = problem_of(case, R)
    factors, biases, both = fixed_side(reference, R.shape[1], k)
    wanted, bounds, _ = half_step(reference, R, both, "user", np.float64)
    gram = gram_of(problem, factors, biases)
    found = [solved(one_row(problem, u), factors, biases, gram) for u in range(len(R))]
    held = np.array([x is not None for x in found])
    assert held.any()
    assert_rows_close(np.array([x for x in found if x is not None]), wanted[held], bounds[held])
    without_ridge = problem.rows[:, 2] == 0
    assert held[~without_ridge].all()


def test_many_entries_in_either_dtype_are_those_of_numpy():
    rng = np.random.default_rng(0)
    R = np.where(rng.random((1, 3 * CHUNK + 5)) < 0.9, rng.integers(1, 9, (1, 3 * CHUNK + 5)), np.nan)
    case = CASES["implicit"]
    for dtype in ("float32", "float64"):
        problem, _ = problem_of(case, R, dtype)
        factors = rng.standard_normal((R.shape[1], 33)).astype(dtype)
        gram = gram_of(problem, factors)
        wanted = np.linalg.solve(*equations_of(problem, factors, None, gram)[:2])
        np.testing.assert_allclose(solved(problem, factors, None, gram), wanted, rtol=1e-10, atol=1e-12)


def test_what_cholesky_does_not_hold_is_left():
    R = np.array([[1.0, 2.0, np.nan]])
    problem, _ = problem_of(CASES["implicit"], R)
    factors = np.ones((3, 4))
    free = problem._replace(rows=problem.rows * [1, 1, 0])
    assert solved(free, factors, None, gram_of(free, factors)) is None  # many solutions
    nothing = problem._replace(cells=problem.cells.part(1, 1)._replace(indptr=np.zeros(2, np.int64)))
    assert solved(nothing, factors, None, gram_of(problem, factors)) is None
    factors[0] = np.inf
    with np.errstate(all="ignore"):
        assert solved(problem, factors, None, gram_of(problem, factors)) is None


def test_one_compilation_serves_all():
    before = len(_solve.signatures)
    test_many_entries_in_either_dtype_are_those_of_numpy()
    assert len(_solve.signatures) == max(before, 1)
