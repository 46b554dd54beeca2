"""One row's equations against the reference, and what they leave unsolved."""

import numpy as np
import pytest

import fastals
from fastals.engine import equations
from fastals.engine.panel import as_panel
from fastals.engine.problem import BACKGROUND
from fastals.engine.shifts import shifts_for
from tests.helpers import CASES, Case, assert_rows_close, example, half_step, rounding, stored
from tests.reference import Explicit, Implicit

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def problem_of(case: Case, R: np.ndarray, dtype: str = "float64"):
    """The users' problem, the reference, and what weights belong to it."""
    model, reference, given = case.build(R, dtype=dtype)
    cells = model._interactions(stored(R, dtype), np.dtype(dtype), **given)
    objective = model._objective()
    return objective.user_problem(cells.by_user, objective.learn(cells)), reference


def one_row(problem, u: int):
    return problem._replace(cells=problem.cells.part(u, u + 1), rows=problem.rows[u : u + 1])


def fixed_side(reference, n: int, k: int = 4):
    """Factors and biases, and both in one array as the reference has them."""
    factors = np.random.default_rng(1).standard_normal((n, k))
    biases = np.random.default_rng(2).standard_normal(n) if getattr(reference, "biases", False) else None
    return factors, biases, factors if biases is None else np.column_stack([factors, biases])


def regressors(factors, biases):
    return factors if biases is None else np.column_stack([factors, np.ones(len(factors))])


def gram_of(problem, factors, biases=None):
    background = problem.columns[:, BACKGROUND]
    return equations.gram(regressors(factors, biases), background) if background.any() else None


def shifted(problem, factors, biases):
    """The problem with the linear term of its shifts."""
    if len(problem.shifts.columns) == 0:
        return problem
    shifts = shifts_for(-biases, problem.columns[:, BACKGROUND], as_panel(regressors(factors, biases)))
    return problem._replace(shifts=shifts)


def equations_of(row, factors, biases, gram):
    """The equations of a problem of one row, of the whole fixed side."""
    entries, row = row.cells.indices, shifted(row, factors, biases)
    return equations.row_equations(row, factors[entries], None if biases is None else biases[entries], gram)


@every_case
def test_each_row_is_solved_as_the_reference_has_it(case: Case):
    R = example(7)
    R[3] = np.nan  # nothing observed: 0
    problem, reference = problem_of(case, R)
    factors, biases, both = fixed_side(reference, R.shape[1])
    wanted, bounds, _ = half_step(reference, R, both, "user", np.float64)
    gram = gram_of(problem, factors, biases)
    systems = [equations_of(one_row(problem, u), factors, biases, gram) for u in range(len(R))]
    assert_rows_close(np.array([equations.solve(system) for system in systems]), wanted, bounds)


@every_case
def test_contributions_add_up_to_the_prediction(case: Case):
    R = example(8)
    R[3] = np.nan
    problem, reference = problem_of(case, R)
    factors, biases, both = fixed_side(reference, R.shape[1])
    _, bounds, _ = half_step(reference, R, both, "user", np.float64)
    y = reference.regressors(both)[0][5]
    for u in range(len(R)):
        row = one_row(problem, u)
        system = equations_of(row, factors, biases, gram_of(problem, factors, biases))
        parts = equations.contributions(system, y)
        unobserved = equations.of_unobserved(system, y)
        assert parts.shape == (len(row.cells.indices),)
        error = abs(parts.sum() + unobserved - equations.solve(system) @ y)
        size = np.abs(parts).sum() + abs(unobserved)
        assert error <= 2 * bounds[u] * np.linalg.norm(y) + rounding(np.float64, len(parts), size)


def test_numbers_of_entries_worked_by_hand():
    R = np.array([[2.0, np.nan, -3.0], [np.nan, 1.0, np.nan]])
    problem, _ = problem_of(Case(fastals.ImplicitALS, Implicit, {"alpha": 10.0, "unobserved_weight": 0.5}), R)
    found = equations.entries(problem)
    assert found.confidence.tolist() == [21.0, 31.0, 11.0]
    assert found.target.tolist() == [1.0, 0.0, 1.0]
    assert found.w.tolist() == [20.5, 30.5, 10.5]
    assert found.b.tolist() == [21.0, 0.0, 11.0]


@every_case
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_entries_of_all_rows_are_those_of_each_row(case: Case, dtype: str):
    problem, _ = problem_of(case, example(9), dtype)
    whole, indptr = equations.entries(problem), problem.cells.indptr
    for u in range(problem.cells.n_rows):
        for part, alone in zip(whole, equations.entries(one_row(problem, u)), strict=True):
            assert part.dtype == np.float64
            assert np.array_equal(part[indptr[u] : indptr[u + 1]], alone)


def test_what_is_not_positive_definite_has_the_smallest_solution():
    R = np.full((1, 3), np.nan)
    R[0, :2] = 1.0, 3.0
    case = Case(fastals.ExplicitALS, Explicit, {"biases": False, "regularization": 0.0})
    problem, _ = problem_of(case, R)
    for factors in (np.random.default_rng(0).standard_normal((3, 4)), np.outer([1.0, 2.0, 3.0], [1.0, 0.0, -1.0, 2.0])):
        system = equations_of(problem, factors, None, None)
        assert np.linalg.matrix_rank(system.A) < 4
        wanted = np.linalg.lstsq(factors[:2], R[0, :2], rcond=None)[0]
        np.testing.assert_allclose(equations.solve(system), wanted, atol=1e-13)
        y = np.arange(4.0)
        assert equations.contributions(system, y).sum() == pytest.approx(wanted @ y, abs=1e-12)


def test_a_background_without_full_rank_leaves_its_other_directions_out():
    R = np.full((1, 3), np.nan)
    R[0, :2] = 1.0, 3.0
    problem, _ = problem_of(Case(fastals.ImplicitALS, Implicit, {"regularization": 0.0}), R)
    factors = np.outer([1.0, 2.0, 3.0], [1.0, 0.0, -1.0, 2.0])
    system = equations_of(problem, factors, None, gram_of(problem, factors))
    expected = np.linalg.pinv(system.A, hermitian=True) @ system.r
    np.testing.assert_allclose(equations.solve(system), expected, rtol=1e-10, atol=1e-13)
    assert equations.contributions(system, factors[2]).sum() == pytest.approx(expected @ factors[2])


def test_a_background_does_not_hide_what_has_no_weight_in_it():
    problem, _ = problem_of(
        Case(fastals.ImplicitALS, Implicit, {"regularization": 0.0}), np.array([[1.0, 3.0, np.nan]])
    )
    factors = np.eye(3, 4)
    system = equations_of(problem, factors, None, np.diag([0.0, 1.0, 1.0, 0.0]))
    expected = np.linalg.pinv(system.A, hermitian=True) @ system.r
    np.testing.assert_allclose(equations.solve(system), expected, atol=1e-13)
    assert expected[0] > 0.5


@pytest.mark.parametrize("weights", [np.full(1, 0.5, np.float32), np.linspace(0, 1, 600, dtype=np.float32)])
def test_the_gram_matrix_of_float32_factors_is_summed_in_float64(weights):
    panel = np.random.default_rng(0).standard_normal((600, 16)).astype(np.float32)
    exact = panel[:, :12].astype(np.float64)
    allowed = len(panel) * np.finfo(float).eps * (np.abs(exact).T @ np.abs(exact))
    assert (np.abs(equations.gram(panel[:, :12], weights) - (exact.T * weights) @ exact) <= allowed).all()


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_not_finite_has_no_finite_solution(number):
    problem, _ = problem_of(CASES["weighted"], example(7))
    row = one_row(problem, 0)
    Y = np.random.default_rng(0).standard_normal((len(row.cells.indices), 4))
    Y[0, 1] = number
    with np.errstate(all="ignore"):
        system = equations.row_equations(row, Y)
        assert not np.isfinite(equations.solve(system)).any()
        assert not np.isfinite(equations.contributions(system, np.ones(4))).all()


@pytest.mark.parametrize("lowest", [0.0, 1e13])
@pytest.mark.parametrize("rank", [5, 7])
def test_entries_that_outweigh_the_background_leave_it_what_it_decides(lowest, rank):
    """Beside 1e13 a Gram matrix has lost the background, which alone decides about some directions."""
    rng = np.random.default_rng(rank)
    Y = rng.integers(-3, 4, (12, rank)) @ rng.integers(-2, 3, (rank, 7)).astype(float)
    confidence, targets = np.ones(12), np.zeros(12)
    confidence[:4], targets[:4] = [lowest, 1e13, 1e13, 3e13], [1.0, 2.0, -1.0, 1.0]
    values, weights = targets[None, :4], confidence[None, :4]
    R = np.where(np.arange(12) < 4, np.pad(values, ((0, 0), (0, 8))), np.nan)
    model = fastals.WeightedALS(7, regularization=0.0, unobserved_weight=1.0, dtype="float64")
    cells = model._interactions(stored(R), np.dtype("float64"), weights=weights[0])
    objective = model._objective()
    problem = objective.user_problem(cells.by_user, objective.learn(cells))
    x = equations.solve(equations_of(problem, Y, None, equations.gram(Y, np.ones(1))))
    root = np.sqrt(confidence)
    wanted = np.linalg.lstsq(Y * root[:, None], targets * root, rcond=1e-14)[0]
    # The right-hand side is a sum of numbers of some 1e13, of which eps is 0.002.
    values = np.linalg.svd(Y * root[:, None])[1]
    size = (confidence * np.abs(targets)) @ np.linalg.norm(Y, axis=1)
    assert np.linalg.norm(x - wanted) <= np.finfo(float).eps * size / values[rank - 1] ** 2


@pytest.mark.parametrize("seed", range(8))
def test_what_entries_take_off_the_background_whole_leaves_nothing_but_rounding(seed):
    """An entry of weight 0 in the only column that is not tiny."""
    rng = np.random.default_rng(seed)
    Y = 1e-30 * rng.standard_normal((4, 3))
    Y[0, 2] = 0.3
    R, weights = 1e-30 * rng.integers(1, 4, (1, 4)), np.array([0.0, 1e6, 1.0, 1e6])
    model = fastals.WeightedALS(3, regularization=0.0, unobserved_weight=1e5, dtype="float64")
    cells = model._interactions(stored(R), np.dtype("float64"), weights=weights)
    objective = model._objective()
    problem = objective.user_problem(cells.by_user, objective.learn(cells))
    x = equations.solve(equations_of(problem, Y, None, gram_of(problem, Y)))
    assert weights @ (R[0] - Y @ x) ** 2 <= weights @ R[0] ** 2
