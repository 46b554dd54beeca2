"""The loop, its start and its end."""

import itertools

import numpy as np
import pytest

from fastals import ImplicitALS
from fastals.engine import alternation, basis
from fastals.engine.alternation import Alternation, Begin
from fastals.engine.problem import Failure, first_failure
from fastals.engine.sketch import sketch
from tests.helpers import a_model, example


@pytest.mark.parametrize(("biases", "first"), [(False, []), (True, ["user"])])
def test_a_fit_is_as_many_half_steps_as_it_has_to_be(biases, first, monkeypatch):
    """Without a background the start has no users, and their half-step comes first."""
    taken = []
    half_step = Alternation._half_step

    def counted(self, side, plan, **others):
        taken.append(side)
        return half_step(self, side, plan, **others)

    monkeypatch.setattr(Alternation, "_half_step", counted)
    loop = Alternation(a_model(example(), 3, biases), "auto", 1)
    loop.fit(sketch(loop, np.random.default_rng(1)), 2, lambda *report: False)
    assert taken == [*first, "item", "user", "item", "user"]


def test_of_several_failed_rows_the_first_is_named():
    assert first_failure("item", np.array([0, 0, 2, 1], np.int8)) == Failure("item", 2, 2)
    assert first_failure("user", np.zeros(3, np.int8)) is None


def test_a_failed_row_is_named_and_the_fit_ends():
    R = np.full((4, 3), np.nan)
    R[0, 0] = R[1, 1] = R[3, 2] = 1.0
    model = a_model(R, 2, biases=True, regularization=0.0)
    model.users.cells.values[:] = np.inf
    calls = []
    loop = Alternation(model, "cholesky", 1)
    begin = sketch(loop, np.random.default_rng(0))
    assert begin == Begin("absent")
    failure = loop.fit(begin, 3, lambda *report: calls.append(report) or False)
    assert failure is not None
    assert failure.side == "user"
    assert failure.row in (0, 1, 3)
    assert not calls


def test_biases_are_offsets_inside_and_back_outside():
    model = a_model(example(), 3, biases=True)
    model.Y[:, 3] = np.arange(len(model.Y))
    with alternation.biases_as_offsets(model.users, model.Y, 3):
        assert np.array_equal(model.users.columns[:, 2], np.arange(len(model.Y)))
        assert np.all(model.Y[:, 3] == 1)
    assert np.array_equal(model.Y[:, 3], np.arange(len(model.Y)))


def test_reports_come_in_order_and_the_last_one_is_the_loss():
    R = example()
    model = a_model(R, 3)
    reports = []
    loop = Alternation(model, "auto", 1)
    loop.fit(sketch(loop, np.random.default_rng(0)), 3, lambda *report: reports.append(report) or False)
    assert [iteration for iteration, _ in reports] == [0, 1, 2]
    np.testing.assert_allclose(reports[-1][1], alternation.loss(model, 1), rtol=1e-9)


def test_from_a_solved_start_a_fit_goes_on_as_if_it_had_not_paused(monkeypatch):
    """By exact solutions and not beyond them, whose half-step twice over is that half-step once."""
    monkeypatch.setattr(alternation, "BEYOND", 0.0)
    last, reports = [], []
    for parts in ([5], [2, 3]):
        loop = Alternation(a_model(example(), 3), "cholesky", 1)
        begin = sketch(loop, np.random.default_rng(0))
        for iterations in parts:
            loop.fit(begin, iterations, lambda *report: reports.append(report) or False)
            begin = Begin("solved", iterations)
        last.append(reports[-1][1])
    np.testing.assert_allclose(*last, rtol=1e-9)


@pytest.fixture
def half_steps(monkeypatch):
    """Record of each half-step whether it was an early one, and how many eigenproblems it took."""
    recorded, half_step, eigh = [], Alternation._half_step, basis.eigh

    def step(self, side, plan, *, early):
        recorded.append([side, early, 0])
        return half_step(self, side, plan, early=early)

    def solve(matrix):
        recorded[-1][2] += 1
        return eigh(matrix)

    monkeypatch.setattr(Alternation, "_half_step", step)
    monkeypatch.setattr(basis, "eigh", solve)
    return recorded


@pytest.mark.parametrize(("whitened", "first"), [(256, 3), (1, 2)])
def test_early_half_steps_are_those_of_the_first_iterations_and_the_last_one(whitened, first, monkeypatch, half_steps):
    monkeypatch.setattr(alternation, "WHITENED", whitened)
    loop = Alternation(a_model(example(), 3), "auto", 1)
    loop.fit(sketch(loop, np.random.default_rng(0)), 10, lambda *report: False)
    # The users of the first iteration come from the sketch, and the last half-step is theirs.
    expected = [False] + [True] * (2 * first - 2) + [False] * 2 * (10 - first) + [True]
    assert [early for _, early, _ in half_steps] == expected


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("exponent", [0.0, 1.0])
@pytest.mark.parametrize("whitened", [256, 1])
def test_balance_takes_an_eigenproblem_of_its_own_at_most_once_an_iteration(
    whitened, exponent, biases, monkeypatch, half_steps
):
    monkeypatch.setattr(alternation, "WHITENED", whitened)
    monkeypatch.setattr(alternation, "FEW", np.inf)
    rng = np.random.default_rng(3)
    R = (rng.random((150, 90)) < rng.random((150, 1)) * 0.3) * rng.integers(1, 5, (150, 90)).astype(float)
    params = {"regularization": 3.0, "regularization_exponent": exponent, "popularity_exponent": exponent}
    ImplicitALS(6, alpha=1.0, iterations=5, biases=biases, random_state=0, **params).fit(R)
    if not biases and exponent == 0.0:  # balance and background take the same one
        allowed = [1] * len(half_steps)
    else:
        allowed = [1 + (side == "user" and early and whitened == 256) for side, early, _ in half_steps]
        allowed[-1] = 1
    assert all(taken <= most for (_, _, taken), most in zip(half_steps, allowed, strict=True))
    assert sum(taken for *_, taken in half_steps) <= (6 if whitened == 1 else sum(allowed))


@pytest.mark.parametrize("solver", ["auto", "cholesky"])
@pytest.mark.parametrize(
    "params",
    [
        {"regularization_exponent": 0.0, "popularity_exponent": 0.0},
        {"regularization_exponent": 1.0, "popularity_exponent": 0.0},
        {"regularization_exponent": 0.0, "popularity_exponent": 0.5},
    ],
)
def test_a_fit_that_seldom_balances_has_the_loss_of_one_that_always_does(solver, params, monkeypatch):
    monkeypatch.setattr(alternation, "WHITENED", 1)
    rng = np.random.default_rng(3)
    R = (rng.random((150, 90)) < rng.random((150, 1)) * 0.3) * rng.integers(1, 5, (150, 90)).astype(float)
    R[:, 0] = 1.0
    losses = {}
    for first in (100, alternation.FIRST_OF_MANY):
        monkeypatch.setattr(alternation, "FIRST_OF_MANY", first)
        losses[first] = ImplicitALS(
            12, alpha=2.0, unobserved_weight=0.5, regularization=0.1, solver=solver, random_state=0, **params
        ).fit(R)
    always, seldom = (np.array(model.loss_history_) for model in losses.values())
    assert not np.array_equal(always, seldom)
    np.testing.assert_allclose(seldom[-1], always[-1], rtol=1e-4)


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("solver", ["auto", "cg", "cholesky"])
def test_the_loss_never_rises_where_three_steps_from_zero_solve_little(solver, biases):
    """With a small ridge and background, conjugate gradients come nowhere near the solution in three steps."""
    rng = np.random.default_rng(1)
    tastes, kinds = rng.standard_normal((150, 8)), rng.standard_normal((200, 8))
    liking = tastes @ kinds.T / 2 + 1.5 * rng.standard_normal(150)[:, None] + 2 * rng.standard_normal(200) - 4
    R = (rng.random((150, 200)) < 1 / (1 + np.exp(-liking))) * rng.integers(1, 6, (150, 200)).astype(float)
    params = {"alpha": 1.0, "unobserved_weight": 0.01, "regularization": 1e-4, "regularization_exponent": 0.5}
    params |= {"popularity_exponent": 0.0, "biases": biases, "dtype": "float64"}
    losses = ImplicitALS(32, iterations=4, random_state=0, solver=solver, **params).fit(R).loss_history_
    assert all(later <= before * (1 + 1e-9) for before, later in itertools.pairwise(losses)), losses
