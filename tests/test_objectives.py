"""The numbers of each row problem against the table in the module's docstring."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastals.data.interactions import Interactions
from fastals.engine.problem import BACKGROUND, OFFSET, RIDGE, WEIGHT
from fastals.objectives import ExponentialWeights, LinearWeights, Objective, check_regularization
from tests.helpers import matrices, observed, rounding, stored
from tests.reference import exponential_weights, frequency_scaled_ridges, linear_weights, popularity

counts_strategy = st.lists(st.integers(0, 10_000), min_size=1, max_size=20).map(np.array)


def objective(**params) -> Objective:
    return Objective(constant=1.0, slope=2.0, sign_target=1.0, value_target=0.0, regularization=(0.1, 0.3), **params)


@given(counts=counts_strategy)
def test_weights_by_count(counts):
    assert np.array_equal(LinearWeights(0.5, 2.0)(counts), linear_weights(counts, 0.5, 2.0))
    assert np.array_equal(ExponentialWeights(0.5, 0.3)(counts), exponential_weights(counts, 0.5, 0.3))


def test_default_weights_are_those_of_the_loops_in_the_wild():
    assert LinearWeights()(np.array([10])) == 0.1 + 1 / 10
    assert ExponentialWeights()(np.array([10])) == 1 + 0.1**0.1


@given(R=matrices, exponent=st.sampled_from([0.0, 0.5, 1.0, 2.0]), a0=st.sampled_from([0.0, 0.5, 3.0]))
def test_background_is_the_popularity(R, exponent, a0):
    learnt = objective(unobserved_weight=a0, popularity_exponent=exponent).learn(Interactions(stored(R)))
    wanted = a0 * popularity((~np.isnan(R)).sum(axis=0), exponent)
    assert np.abs(learnt.background - wanted).max() <= rounding("float64", R.shape[1], wanted.max())


@given(R=matrices, exponent=st.sampled_from([0.0, 0.5, 1.0]), a0=st.sampled_from([0.0, 0.5]))
def test_ridges_scale_with_the_cells(R, exponent, a0):
    cells = Interactions(stored(R), "float64")
    rule = objective(unobserved_weight=a0, regularization_exponent=exponent)
    learnt = rule.learn(cells)
    users = rule.user_problem(cells.by_user, learnt).rows[:, RIDGE]
    items = rule.item_problem(cells.by_item, learnt, len(R)).rows[:, RIDGE]
    wanted_users, wanted_items = frequency_scaled_ridges(~np.isnan(R), (0.1, 0.3), exponent, a0)
    assert np.array_equal(users, wanted_users)
    assert np.array_equal(items, wanted_items)


def test_both_sides_see_the_same_cell():
    """Weights and backgrounds are products of a row's and a column's number, whichever side is the row."""
    R = observed(np.random.default_rng(0), 6, 5, 0.5)
    cells = Interactions(stored(R), "float64")
    rule = objective(unobserved_weight=0.5, popularity_exponent=1.0, item_weights=LinearWeights())
    learnt = rule.learn(cells)
    users, items = rule.user_problem(cells.by_user, learnt), rule.item_problem(cells.by_item, learnt, 6)
    for column in (WEIGHT, BACKGROUND):
        ours, theirs = (np.multiply.outer(side.rows[:, column], side.columns[:, column]) for side in (users, items))
        assert np.array_equal(*np.broadcast_arrays(ours, theirs.T))  # columns that are alike stand there once
    assert not users.columns[:, OFFSET].any()
    assert not items.columns[:, OFFSET].any()


def test_no_background_leaves_both_sides_where_they_are():
    """Columns with a background are rotated into its eigenbasis, which would mix a bias into the factors."""
    cells = Interactions(stored(observed(np.random.default_rng(0), 6, 5, 0.5)))
    rule = objective(biases=True)
    learnt = rule.learn(cells)
    assert not rule.user_problem(cells.by_user, learnt).columns[:, BACKGROUND].any()
    assert not rule.item_problem(cells.by_item, learnt, 6).columns[:, BACKGROUND].any()


def test_new_items_weigh_by_their_own_counts():
    R = observed(np.random.default_rng(0), 6, 5, 0.5)
    cells = Interactions(stored(R), "float64")
    rule = objective(unobserved_weight=0.5, popularity_exponent=1.0, item_weights=LinearWeights())
    learnt = rule.learn(cells)
    trained = rule.item_problem(cells.by_item, learnt, 6)
    as_new = rule.item_problem(cells.by_item, learnt, 6, new_items=True)
    assert np.array_equal(as_new.rows, trained.rows)
    turned = Interactions(stored(R[:, ::-1]), "float64")
    assert np.array_equal(rule.item_problem(turned.by_item, learnt, 6, new_items=True).rows, trained.rows[::-1])


def test_mean_is_learnt_with_biases_only():
    cells = Interactions(np.array([[1.0, 0.0], [4.0, 0.0]]))
    explicit = replace(objective(biases=True), value_target=1.0)
    assert explicit.learn(cells).mean == 2.5
    assert replace(explicit, biases=False).learn(cells).mean == 0.0


def test_unobserved_entries_take_the_mean_to_their_target():
    cells = Interactions(np.array([[1.0, 0.0], [4.0, 0.0]]))
    weighted = replace(objective(biases=True, unobserved_weight=0.1), value_target=1.0)
    assert weighted.learn(cells).mean == 0.0


def test_regularization_for_both_or_each():
    assert check_regularization(0.5) == (0.5, 0.5)
    assert check_regularization((1, 0.5)) == check_regularization([1, 0.5]) == (1.0, 0.5)


@pytest.mark.parametrize("params", [{"item_weights": lambda counts: counts * 1e300}, {"unobserved_weight": 1e300}])
def test_numbers_beyond_the_dtype(params):
    cells = Interactions(np.eye(3))
    rule = objective(**params)
    sentence = r"^alpha, regularization or a weight is too large for float32; use smaller ones or dtype='float64'$"
    with pytest.raises(ValueError, match=sentence):
        rule.user_problem(cells.by_user, rule.learn(cells))
