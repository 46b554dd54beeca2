"""The loop, its start and its end."""

import numpy as np
import pytest

import fastals
from fastals.engine import fit
from fastals.engine.panel import aligned_zeros
from fastals.engine.problem import RIDGE
from fastals.engine.simd.target import padded
from tests.helpers import example, stored


def a_model(R, k, biases=False, **parameters):
    cells = fastals.Interactions(stored(R), "float64")
    kind = fastals.ExplicitALS if biases else fastals.ImplicitALS
    objective = kind(factors=k, **parameters)._objective()
    statistics = objective.learn(cells)
    width = k + biases
    return fit.Model(
        objective.user_problem(cells.by_user, statistics),
        objective.item_problem(cells.by_item, statistics, R.shape[0]),
        *(aligned_zeros((n, padded(width, "float64")), np.dtype("float64")) for n in R.shape),
        width,
        k if biases else -1,
    )


@pytest.mark.parametrize("biases", [False, True])
def test_sketch_spans_the_range_of_the_data(biases):
    """Of a matrix of rank 3 the start has rank 3; its columns lie in the matrix's row space but for its scales."""
    rng = np.random.default_rng(0)
    R = rng.random((30, 2)) @ rng.random((2, 20)) + 1
    R -= R.mean() if biases else 0
    model = a_model(R, 5, biases)
    fit.Alternation(model, "auto", 1).sketch(np.random.default_rng(1))
    coefficients = R if biases else 1 + R  # implicit: b = 1 + alpha r, alpha = 1
    _, values, rows = np.linalg.svd(coefficients)
    rank = int((values > 1e-9 * values[0]).sum())
    start = model.Y[:, :5].copy()
    np.testing.assert_allclose(np.linalg.norm(start), np.sqrt(R.shape[1]))
    if not biases:  # and with a background
        start *= ((len(R) + 2 * R.sum(axis=0)) / 5 + model.items.rows[:, RIDGE])[:, None]
    outside = start - rows[:rank].T @ (rows[:rank] @ start)
    assert np.abs(outside).max() < 1e-9 * np.abs(start).max()
    assert np.linalg.matrix_rank(start, tol=1e-9 * np.linalg.norm(start)) == min(rank, 5)
    assert not model.Y[:, 5:].any()


def test_with_a_background_the_users_have_a_start_too():
    """It is a step of the sketch from the items' start, with entries of a size of their own."""
    R = np.nan_to_num(example())
    model = a_model(R, 3)
    assert fit.Alternation(model, "auto", 1).sketch(np.random.default_rng(1))
    X, Y = model.X[:, :3], model.Y[:, :3]
    scales = 1 / ((R.shape[1] + 2 * np.abs(R).sum(axis=1)) / 3 + model.users.rows[:, RIDGE])
    wanted = scales[:, None] * ((R > 0) * (1 + R) @ Y)
    wanted *= fit.ENTRY * np.sqrt(wanted.size) / np.linalg.norm(wanted)
    np.testing.assert_allclose(X, wanted, rtol=1e-9, atol=1e-9 * np.abs(wanted).max())


@pytest.mark.parametrize(("biases", "first"), [(False, []), (True, ["user"])])
def test_a_fit_is_as_many_half_steps_as_it_has_to_be(biases, first, monkeypatch):
    """Without a background the start has no users, and their half-step comes first."""
    taken = []
    half_step = fit.Alternation._half_step

    def counted(self, side, plan, **others):
        taken.append(side)
        return half_step(self, side, plan, **others)

    monkeypatch.setattr(fit.Alternation, "_half_step", counted)
    alternation = fit.Alternation(a_model(example(), 3, biases), "auto", 1)
    known = alternation.sketch(np.random.default_rng(1))
    alternation.fit(2, lambda *report: False, known=known)
    assert taken == [*first, "item", "user", "item", "user"]


def test_of_several_failed_rows_the_first_is_named():
    assert fit.first_failure("item", np.array([0, 0, 2, 1], np.int8)) == fit.Failure("item", 2, 2)
    assert fit.first_failure("user", np.zeros(3, np.int8)) is None


def test_a_failed_row_is_named_and_the_fit_ends():
    R = np.full((4, 3), np.nan)
    R[0, 0] = R[1, 1] = R[3, 2] = 1.0
    model = a_model(R, 2, biases=True, regularization=0.0)
    calls = []
    alternation = fit.Alternation(model, "cholesky", 1)
    alternation.sketch(np.random.default_rng(0))
    failure = alternation.fit(3, lambda *report: calls.append(report) or False)
    assert failure is not None
    assert failure.side == "user"
    assert failure.row in (0, 1, 3)
    assert not calls


def test_biases_are_offsets_inside_and_back_outside():
    model = a_model(example(), 3, biases=True)
    model.Y[:, 3] = np.arange(len(model.Y))
    with fit.biases_as_offsets(model.users, model.Y, 3):
        assert np.array_equal(model.users.columns[:, 2], np.arange(len(model.Y)))
        assert np.all(model.Y[:, 3] == 1)
    assert np.array_equal(model.Y[:, 3], np.arange(len(model.Y)))


def test_reports_come_in_order_and_the_last_one_is_the_loss():
    R = example()
    model = a_model(R, 3)
    reports = []
    alternation = fit.Alternation(model, "auto", 1)
    known = alternation.sketch(np.random.default_rng(0))
    alternation.fit(3, lambda *report: reports.append(report) or False, known=known)
    assert [iteration for iteration, _ in reports] == [0, 1, 2]
    np.testing.assert_allclose(reports[-1][1], fit.loss(model, 1), rtol=1e-9)


def test_from_a_solved_start_a_fit_goes_on_as_if_it_had_not_paused(monkeypatch):
    """By exact solutions and not beyond them, whose half-step twice over is that half-step once."""
    monkeypatch.setattr(fit, "BEYOND", 0.0)
    last, reports = [], []
    for parts in ([5], [2, 3]):
        alternation = fit.Alternation(a_model(example(), 3), "cholesky", 1)
        known = alternation.sketch(np.random.default_rng(0))
        for part, iterations in enumerate(parts):
            alternation.fit(iterations, lambda *report: reports.append(report) or False, done=2 * part, known=known)
        last.append(reports[-1][1])
    np.testing.assert_allclose(*last, rtol=1e-9)
