"""Predictions and the best items of each user against NumPy. Small integers: every sum is exact, ties are frequent."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastals import ExplicitALS, ImplicitALS
from fastals.recommend import PAIRS, Scores, pair_scores
from tests.helpers import dtypes, observed, stored
from tests.test_topk import full_sort


def exact_model(biases: bool, dtype: str, seed: int, shape: tuple[int, int] = (20, 15)):
    """Fit, then put small integers in place of the factors; returns the model, its scores and what users have."""
    rng = np.random.default_rng(seed)
    R = observed(rng, *shape, 0.3)
    R[R == 0] = 1.0
    model = ExplicitALS(factors=3, iterations=1, dtype=dtype, biases=biases, random_state=0).fit(stored(R))
    X, Y = (rng.integers(-2, 3, (length, 3)).astype(dtype) for length in shape)
    X[~X.any(axis=1)] = 1  # a user without factors would get what is popular
    model.user_factors_, model.item_factors_ = X, Y
    scores = X @ Y.T
    if biases:
        model.user_biases_, model.item_biases_ = (rng.integers(-3, 4, length).astype(dtype) for length in shape)
        model.global_mean_ = 2.5
        scores = scores + model.user_biases_[:, None] + model.item_biases_ + model.item_factors_.dtype.type(2.5)
    return model, scores, ~np.isnan(R)


@given(biases=st.booleans(), dtype=dtypes, n=st.integers(1, 18), seed=st.integers(0, 2**32 - 1))
def test_recommendations_are_the_sorted_scores(biases, dtype, n, seed):
    model, scores, seen = exact_model(biases, dtype, seed)
    users = np.random.default_rng(seed).integers(0, 20, 30)
    ids, best = model.recommend(users, n)
    wanted_ids, wanted = full_sort(scores[users], seen[users], n)
    assert np.array_equal(ids, wanted_ids)
    assert np.array_equal(best, wanted)
    assert best.dtype == np.dtype(dtype)


def test_fewer_remain_than_wanted():
    ids, scores = ImplicitALS(factors=2, iterations=1).fit(np.eye(3)).recommend([0, 2], n=5)
    assert sorted(ids[0, :2]) == [1, 2]
    assert sorted(ids[1, :2]) == [0, 1]
    assert (ids[:, 2:] == -1).all()
    assert (scores[:, 2:] == -np.inf).all()
    assert np.isfinite(scores[:, :2]).all()


def test_one_user_gets_one_row():
    model, _, _ = exact_model(True, "float32", 0)
    ids, scores = model.recommend([4], n=6)
    for user in (4, np.int32(4), np.array(4)):
        one_ids, one_scores = model.recommend(user, n=6)
        assert one_ids.shape == one_scores.shape == (6,)
        assert np.array_equal(one_ids, ids[0])
        assert np.array_equal(one_scores, scores[0])


def test_no_users():
    model, _, _ = exact_model(True, "float32", 0)
    ids, scores = model.recommend([], n=6)
    assert ids.shape == scores.shape == (0, 6)


@given(biases=st.booleans(), dtype=dtypes, seed=st.integers(0, 2**32 - 1))
def test_predictions_of_pairs(biases, dtype, seed):
    model, scores, _ = exact_model(biases, dtype, seed)
    users, items = (ids.ravel() for ids in np.indices(scores.shape))
    assert np.array_equal(model.predict(users, items), scores.ravel())
    assert np.array_equal(model.predict(3, range(15)), scores[3])
    assert np.array_equal(model.predict(range(20), [4]), scores[:, 4])
    assert model.predict(3, 4).tolist() == [scores[3, 4]]
    assert model.predict([], []).shape == (0,)


@pytest.mark.parametrize("n_pairs", [PAIRS - 1, PAIRS, 2 * PAIRS + 1])
def test_pairs_go_in_pieces(n_pairs):
    rng = np.random.default_rng(0)
    X, Y = rng.integers(-2, 3, (50, 2)).astype(np.float32), rng.integers(-2, 3, (40, 2)).astype(np.float32)
    users, items = rng.integers(0, 50, n_pairs), rng.integers(0, 40, n_pairs)
    assert np.array_equal(pair_scores(Scores(X, Y, None, None, 0.0), users, items), (X @ Y.T)[users, items])
