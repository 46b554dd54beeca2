"""Moves between factors and biases: to the smallest objective that has the same predictions."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import fastals
from fastals.engine import alternation
from fastals.engine.leveling import level
from tests.helpers import dtypes, example, rounding, stored
from tests.test_biases import EVERYTHING

FACTORS = 3
BIAS = np.eye(FACTORS + 1)[FACTORS]


def problem(seed=2, dtype="float64", **params):
    """Return the two row problems of a matrix with an empty row and an empty column, random panels and the loss."""
    R, rng = example(seed), np.random.default_rng(seed)
    R[3], R[:, 5] = np.nan, np.nan
    case = replace(EVERYTHING, params=EVERYTHING.params | params)
    model, reference, _ = case.build(R, dtype=dtype, factors=FACTORS)
    cells = model._interactions(stored(R), np.dtype(dtype))
    objective = model._objective(cells)
    statistics = objective.learn(cells)
    users = objective.user_problem(cells.by_user, statistics)
    items = objective.item_problem(cells.by_item, statistics, len(R))
    there = [reference.observed(R).any(axis=axis) for axis in (1, 0)]
    panels = [has[:, None] * rng.standard_normal((len(has), FACTORS + 1)) for has in there]
    return (users, items), [panel.astype(dtype) for panel in panels], there, lambda X, Y: reference.loss(R, X, Y)


def moved(X, Y, z, there):
    """Return panels after a move of the users by z, written from the formula."""
    onto = there[1] * (Y[:, :FACTORS] @ z[:FACTORS] + z[FACTORS])
    return X + np.outer(there[0], z), Y - np.outer(onto, BIAS)


def predictions(X, Y):
    return X[:, :FACTORS] @ Y[:, :FACTORS].T + np.add.outer(X[:, FACTORS], Y[:, FACTORS])


@pytest.mark.parametrize("side", [0, 1], ids=["users", "items"])
def test_the_objective_is_smallest_among_the_same_predictions(side):
    problems, panels, there, loss = problem()
    order = (side, 1 - side)
    rows, columns = (problems[i] for i in order)
    X, Y = (panels[i].copy() for i in order)
    before = [X.copy(), Y.copy()]
    level(rows, columns, X, Y, FACTORS, 1)
    own = [there[i] for i in order]
    z = (X - before[0])[own[0]][0]
    assert (np.abs(z) > 1e-3).all()
    for found, wanted in zip((X, Y), moved(*before, z, own), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-14)
    known = np.outer(*own)
    np.testing.assert_allclose(predictions(X, Y)[known], predictions(*before)[known], atol=1e-13)

    def lost(*sides):
        return loss(*(sides[i] for i in order))

    after = lost(X, Y)
    assert after < lost(*before)
    for direction in (*np.eye(FACTORS + 1), *-np.eye(FACTORS + 1)):
        assert lost(*moved(X, Y, 1e-3 * direction, own)) > after


@pytest.mark.parametrize("n_threads", [2, 5])
def test_bits_do_not_depend_on_threads(n_threads):
    problems, panels, *_ = problem(dtype="float32")
    found = []
    for n in (1, n_threads):
        X, Y = (panel.copy() for panel in panels)
        level(*problems, X, Y, FACTORS, n)
        found.append((X, Y))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@given(
    seed=st.integers(0, 99),
    dtype=dtypes,
    ridge=st.sampled_from([0.0, 1e-12, 1e-6, 1.0, 1e6]),
    scales=st.tuples(*[st.sampled_from([1e-6, 1.0, 1e6])] * 2),
)
def test_the_loss_never_rises(seed, dtype, ridge, scales):
    problems, panels, _, loss = problem(seed, dtype, regularization=ridge)
    X, Y = (panel * np.dtype(dtype).type(scale) for panel, scale in zip(panels, scales, strict=True))
    before = loss(X, Y)
    largest = 1 + max(np.abs(X).max(), np.abs(Y).max()) ** 2
    level(*problems, X, Y, FACTORS, 1)
    assert np.isfinite(X).all() and np.isfinite(Y).all()
    # The new numbers are rounded, and with them the predictions.
    assert loss(X, Y) <= before + rounding(dtype, X.size * Y.size, before + largest**2)


def test_fits_with_biases_get_down_as_fast_as_fits_without(monkeypatch):
    """Data with a popular part, which biases and the first factor may both explain."""
    rng = np.random.default_rng(0)
    odds = np.outer(rng.random(300) ** 2, rng.random(120) ** 3)
    R = sparse.csr_array((rng.random(odds.shape) < odds).astype(float))

    def excess(**params):
        history = fastals.ImplicitALS(8, iterations=40, random_state=0, **params).fit(R).loss_history_
        return history[2] / history[-1] - 1

    leveled, without = excess(biases=True), excess()
    monkeypatch.setattr(alternation, "level", lambda *given: None)
    alone = excess(biases=True)
    assert leveled < 2 * without
    assert leveled < alone / 2


def test_ratings_get_down_faster_too(monkeypatch):
    rng = np.random.default_rng(0)
    X, Y = 1 + rng.standard_normal((300, 3)), 1 + rng.standard_normal((120, 3))
    values = X @ Y.T + rng.standard_normal((300, 1))
    R = sparse.csr_array(np.where(rng.random(values.shape) < 0.2, values, 0))

    def history():
        return fastals.ExplicitALS(3, iterations=20, random_state=0).fit(R).loss_history_

    leveled = history()
    monkeypatch.setattr(alternation, "level", lambda *given: None)
    alone = history()
    assert leveled[-1] == pytest.approx(alone[-1], rel=1e-3)
    assert all(one < other for one, other in zip(leveled[:4], alone[:4], strict=True))
