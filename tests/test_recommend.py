"""Predictions and the best items of each user against NumPy. Small integers: every sum is exact, ties are frequent."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import fastals
from fastals import ExplicitALS, ImplicitALS, Interactions, WeightedALS
from fastals.ranking import PAIRS
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
        state = model._state
        model._put(replace(state, statistics=replace(state.statistics, mean=2.5)))
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
    model, scores, _ = exact_model(False, "float32", 0, (50, 40))
    users, items = rng.integers(0, 50, n_pairs), rng.integers(0, 40, n_pairs)
    assert np.array_equal(model.predict(users, items), scores[users, items])


# All users, and who has nothing, and who is new.


@pytest.mark.parametrize("n_users", [1, 5000])
def test_all_users_and_blocks_of_them(n_users):
    R = sparse.random(n_users, 9, 0.3, "csr", np.float32, np.random.default_rng(0))
    model = ImplicitALS(factors=3, iterations=1, random_state=0).fit(R)
    ids, scores = model.recommend(n=4, min_score=0.01, exclude=[2])
    assert np.array_equal(ids, model.recommend(range(n_users), 4, min_score=0.01, exclude=[2])[0])
    blocks = list(model.recommend_blocks(n=4, block_size=700, min_score=0.01, exclude=[2]))
    assert np.array_equal(np.concatenate([block[0] for block in blocks]), np.arange(n_users))
    assert np.array_equal(np.concatenate([block[1] for block in blocks]), ids)
    assert np.array_equal(np.concatenate([block[2] for block in blocks]), scores)
    assert max(len(users) for users, _, _ in blocks) <= 700


def test_users_without_cells_get_what_is_popular():
    R = np.array([[1, 1, 0, 1], [0, 1, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]], np.float32)
    model = ImplicitALS(factors=2, iterations=1, random_state=0).fit(R)
    ids, scores = model.recommend(3, n=5, min_score=100)
    assert ids.tolist() == [3, 1, 0, 2, -1]
    assert scores.tolist() == [3, 2, 1, 0, -np.inf]
    ids, _ = model.recommend([0, 3], n=2, exclude=[[], [3]])
    assert ids[1].tolist() == [1, 0]
    assert np.array_equal(ids[0], model.recommend(0, n=2)[0])
    ids, _ = model.recommend(sparse.csr_array((2, 4), dtype=np.float32), n=2, fold_in=True)
    assert ids.tolist() == [[3, 1]] * 2


def test_with_biases_these_rank_for_users_without_cells():
    R = np.array([[5, 1, np.nan], [4, 2, 3], [np.nan] * 3])
    model = ExplicitALS(factors=1, iterations=3, random_state=0).fit(R)
    ids, scores = model.recommend(2, n=3)
    assert ids.tolist() == np.argsort(-model.item_biases_).tolist()
    assert np.array_equal(scores, model.item_biases_[ids] + np.float32(model.global_mean_))


@pytest.mark.parametrize("cls", [ImplicitALS, ExplicitALS])
def test_a_user_folded_in_gets_what_it_had(cls):
    R = stored(observed(np.random.default_rng(0), 30, 12, 0.4), "float32")
    model = cls(factors=4, iterations=3, random_state=0).fit(R)
    ids, scores = model.recommend(n=5)
    new_ids, new_scores = model.recommend(R, n=5, fold_in=True)
    assert np.array_equal(new_ids, ids)
    assert np.array_equal(new_scores, scores)
    one_ids, _ = model.recommend(R[[4]], n=5, fold_in=True)
    assert np.array_equal(one_ids, ids[[4]])
    assert set(model.recommend(R[[4]], n=12, fold_in=True, exclude_seen=False)[0][0]) == set(range(12))


# What is refused.


@pytest.mark.parametrize(
    ("request_", "error", "sentence"),
    [
        ({"users": 99}, ValueError, r"^users is 99: ids run from 0 to 19; for somebody new pass basket="),
        ({"n": 0}, ValueError, "n must be at least 1, got 0"),
        ({"n": 2.0}, TypeError, "n must be an integer, got 2.0"),
        (
            {"exclude": [15]},
            ValueError,
            r"exclude\[0\] is 15: ids run from 0 to 14; unknown='ignore' leaves such ids out$",
        ),
        ({"allow": [[0], [15]]}, ValueError, r"allow\[1\]\[0\] is 15: ids run from 0 to 14"),
        ({"allow": [[0]]}, ValueError, "allow must have one list for each of the 2 users asked for, got 1"),
        ({"exclude": sparse.eye(3)}, ValueError, r"exclude has shape \(3, 3\): .* shape \(2, 15\)"),
        ({"exclude": 3}, TypeError, "exclude must be a 1-D array of items, a list of such arrays"),
        ({"allow": "abc"}, TypeError, "allow must be a 1-D array of items, a list of such arrays"),
        ({"min_score": "1"}, TypeError, "min_score must be a number"),
        ({"min_score": float("nan")}, ValueError, "min_score must be finite"),
        ({"exclude_seen": 1}, TypeError, "exclude_seen must be True or False"),
        ({"fold_in": 1}, TypeError, "fold_in must be True or False"),
        ({"users": None, "fold_in": True}, ValueError, "users must be the new users' interactions"),
        ({"users": np.ones((1, 3)), "fold_in": True}, ValueError, r"users has shape \(1, 3\): columns are items"),
    ],
)
def test_wrong_requests(request_, error, sentence):
    model, _, _ = exact_model(False, "float32", 0)
    with pytest.raises(error, match=sentence):
        model.recommend(**({"users": [0, 1]} | request_))


def test_nobody_is_folded_in_for_a_wrong_request(monkeypatch):
    model, _, _ = exact_model(False, "float32", 0)
    monkeypatch.setattr(model, "_solve_users", lambda cells: pytest.fail("solved"))
    for arguments in ({"n": 0}, {"min_score": "a"}, {"exclude": [99]}, {"exclude_seen": 0}):
        with pytest.raises((ValueError, TypeError)):
            model.recommend(np.ones((1, 15)), fold_in=True, **arguments)


def test_wrong_requests_for_blocks():
    model, _, _ = exact_model(False, "float32", 0)
    for arguments, error, sentence in (
        ({"block_size": 0}, ValueError, "block_size must be at least 1"),
        ({"users": [77]}, ValueError, r"users\[0\] is 77"),
        ({"n": 0}, ValueError, "n must be at least 1, got 0"),
        ({"exclude": [[1]]}, ValueError, "exclude must have one list for each of the 20 users asked for, got 1"),
        ({"allow": sparse.eye(3)}, ValueError, r"allow has shape \(3, 3\): .* shape \(20, 15\)"),
    ):
        with pytest.raises(error, match=sentence):
            model.recommend_blocks(**arguments)


# Baskets of somebody new.


@pytest.mark.parametrize("cls", [ImplicitALS, ExplicitALS, WeightedALS])
@given(ids=st.booleans(), values=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_a_basket_is_a_user_folded_in(cls, ids, values, seed):
    rng = np.random.default_rng(seed)
    model = basket_model(cls, ids)
    items = rng.integers(0, 15, rng.integers(1, 9))
    counts = np.bincount(items, minlength=15).astype(float)
    names = model.item_ids_ if ids else np.arange(15)
    basket = names[items]
    if values or cls is not ImplicitALS:
        counts[items] = rng.integers(1, 6, len(items)) if cls is ImplicitALS else rng.normal(size=len(items))
        basket = {names[item].item(): counts[item] for item in items}
    R = sparse.csr_array(counts[None])
    given_ = {"n": 4, "exclude": names[:2], "exclude_seen": bool(rng.integers(2))}
    wanted = model.recommend(R, fold_in=True, **given_)
    found = model.recommend(basket=basket, **given_)
    assert all(np.array_equal(one, row[0]) for one, row in zip(found, wanted, strict=True))


def basket_model(cls, ids: bool):
    R = observed(np.random.default_rng(1), 20, 15, 0.3)
    R[R == 0] = 1.0
    kept = Interactions(stored(R), "float32", item_ids=[f"i{item}" for item in range(15)] if ids else None)
    return cls(3, iterations=2, random_state=0).fit(kept)


def test_what_a_basket_may_be():
    model, numbers = basket_model(ImplicitALS, True), basket_model(ImplicitALS, False)
    popular = model.recommend(Interactions(np.zeros((1, 15))), 5, fold_in=True)[0][0].tolist()
    for basket, options in (([], {}), (["no"], {"unknown": "ignore"}), ({"i3": 0.0}, {}), ({}, {})):
        assert model.recommend(basket=basket, n=5, **options)[0].tolist() == popular
    assert (
        numbers.recommend(basket=[3, 99, -5], unknown="ignore")[0].tolist()
        == numbers.recommend(basket=(3,))[0].tolist()
    )
    assert model.recommend(basket={"i3": 2}, n=3)[0].tolist() == model.recommend(basket=["i3", "i3"], n=3)[0].tolist()
    for basket, options, error, sentence in (
        (["i1", "no"], {}, ValueError, r"^basket\[1\] is 'no', which is not among the 15 ids of the model \(1 of 2"),
        ([1], {}, TypeError, "^basket must be strings, as the ids that the model was fitted on are, got integers"),
        ([1], {"unknown": "ignore"}, TypeError, "^basket must be strings"),
        ("i1", {}, TypeError, "^basket must be a list of items, or a mapping from item to value, got 'i1' of type str"),
        ([["i1"]], {}, TypeError, "^basket must be a list of items"),
        ({"i1": "2"}, {}, TypeError, r"^basket\['i1'\] must be a number, got '2'"),
        ({"i1": np.nan}, {}, ValueError, r"^basket\['i1'\] must be finite"),
        ({"i1": 1e39}, {}, ValueError, "^basket has a value that is too large for float32: 1e.39"),
        (["i1"], {"users": 3}, ValueError, "^basket stands for a new user: leave out users and fold_in"),
        (["i1"], {"fold_in": True}, ValueError, "^basket stands for a new user"),
        (["i1"], {"unknown": "x"}, ValueError, "^unknown must be one of 'raise', 'ignore', got 'x'"),
    ):
        with pytest.raises(error, match=sentence):
            model.recommend(basket=basket, **options)
    with pytest.raises(
        TypeError, match=r"basket must map each item to its value, .* as ExplicitALS learns from values"
    ):
        basket_model(ExplicitALS, True).recommend(basket=["i1"])


@pytest.mark.parametrize("ids", [False, True])
def test_unknown_items_of_new_users_may_be_ignored(ids):
    model = basket_model(ImplicitALS, ids)
    names = model.item_ids_.tolist() if ids else list(range(15))
    strange = "no" if ids else 77
    frame = {"who": [5, 5, 6, 7], "what": [names[1], strange, names[2], strange]}
    R = sparse.csr_array(([1.0, 1.0], ([0, 1], [1, 2])), (3, 15))
    ways = [(frame, {"user": "who", "item": "what"})]
    if ids:
        ways.append((Interactions.from_triplets(frame["who"], frame["what"]), {}))
        cells = sparse.csr_array(([1.0] * 4, ([0, 0, 1, 2], [0, 1, 2, 1])), (3, 3))
        ways.append((Interactions(cells, weights=np.ones(4), item_ids=[names[1], strange, names[2]]), {}))
    for given_, columns in ways:
        folded = model.fold_in_users(given_, unknown="ignore", **columns)
        assert np.array_equal(folded, model.fold_in_users(R))
        with pytest.raises(ValueError, match=f"is {strange!r}, which is not among the 15 ids"):
            model.fold_in_users(given_, **columns)
        with pytest.raises(ValueError, match="unknown must be one of 'raise', 'ignore', got 'mean'"):
            model.fold_in_users(given_, unknown="mean", **columns)
    if ids:
        found = model.recommend(ways[1][0], 3, fold_in=True, unknown="ignore")
        assert np.array_equal(found[0], model.recommend(R, 3, fold_in=True)[0])


def test_unknown_users_of_new_items_may_be_ignored():
    model = ImplicitALS(2, random_state=0).fit(Interactions.from_triplets(["a", "b"], ["x", "y"]))
    frame = {"who": ["a", "c"], "what": ["new", "new"]}
    columns = {"user": "who", "item": "what"}
    assert np.array_equal(model.fold_in_items(frame, unknown="ignore", **columns), model.fold_in_items([[1], [0]]))
    with pytest.raises(ValueError, match="is 'c', which is not among"):
        model.fold_in_items(frame, **columns)


# Users for an item.


@given(
    biases=st.booleans(), dtype=dtypes, n=st.integers(1, 22), exclude_seen=st.booleans(), seed=st.integers(0, 2**32 - 1)
)
def test_users_for_an_item_are_the_sorted_scores(biases, dtype, n, exclude_seen, seed):
    model, scores, seen = exact_model(biases, dtype, seed)
    rng = np.random.default_rng(seed)
    items, exclude = rng.integers(0, 15, 4), rng.integers(0, 20, 3)
    left_out = (seen if exclude_seen else np.zeros_like(seen)).T[items]
    left_out[:, exclude] = True
    ids, best = model.recommend_users(items, n, exclude=exclude, exclude_seen=exclude_seen)
    wanted_ids, wanted = full_sort(scores.T[items], left_out, n)
    assert np.array_equal(ids, wanted_ids)
    assert np.array_equal(best, wanted)
    one = model.recommend_users(int(items[0]), n, exclude=exclude, exclude_seen=exclude_seen)
    assert np.array_equal(one[0], ids[0])


def test_users_for_an_item_after_events_and_without_interactions(tmp_path):
    model = ImplicitALS(2, random_state=0).fit(Interactions.from_triplets(["a", "b", "c"], ["x", "x", "y"]))
    model.update("d", "z").update("c", "z")
    assert sorted(model.recommend_users("z", 4)[0].tolist()) == ["", "", "a", "b"]
    assert sorted(model.recommend_users("z", 2, allow=["d", "c"], exclude_seen=False)[0].tolist()) == ["c", "d"]
    model.save(tmp_path / "model", include_cells=False)
    with pytest.raises(ValueError, match=r"saved without its training interactions.*or pass exclude_seen=False"):
        fastals.load(tmp_path / "model.npz").recommend_users("z")
    with pytest.raises(ValueError, match=r"^items is 'q', which is not among the 3 ids of the model$"):
        model.recommend_users("q")


# Predictions of what is unknown, and on a scale.


@given(dtype=dtypes, seed=st.integers(0, 2**32 - 1))
def test_predictions_of_unknown_pairs(dtype, seed):
    model, scores, _ = exact_model(True, dtype, seed)
    users, items = np.array([3, 99, 2, -1, 4]), np.array([1, 1, 77, 50, 2])
    mean, user_biases, item_biases = model.global_mean_, model.user_biases_, model.item_biases_
    wanted = np.array([scores[3, 1], mean + item_biases[1], mean + user_biases[2], mean, scores[4, 2]])
    assert np.array_equal(model.predict(users, items, unknown="mean"), wanted.astype(dtype))
    wanted[1:4] = np.nan
    assert np.array_equal(model.predict(users, items, unknown="nan"), wanted.astype(dtype), equal_nan=True)
    found = model.predict(users, 99, unknown="nan", clip=(1, 5))
    assert found.dtype == np.dtype(dtype)
    assert np.isnan(found).all()
    clipped = model.predict(3, range(15), clip=(-0.5, 1.5))
    assert np.array_equal(clipped, np.clip(scores[3], -0.5, 1.5))


def test_what_is_predicted_without_biases():
    R = [(0, 0, 5.0), (0, 1, 1.0), (1, 0, 3.0)]
    for model, wanted in (
        (ImplicitALS(2), 0.0),
        (WeightedALS(2, unobserved_weight=0.1), 0.0),
        (WeightedALS(2), 3.0),
        (ExplicitALS(2, biases=False), 3.0),
    ):
        fitted = model.set_params(random_state=0).fit(R)
        found = fitted.predict([0, 9, 1], [0, 0, 9], unknown="mean")
        assert found[1:].tolist() == [wanted, wanted]
        assert found[0] == fitted.predict(0, 0)[0]


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"unknown": "x"}, ValueError, "^unknown must be one of 'raise', 'mean', 'nan', got 'x'$"),
        ({"clip": 5}, TypeError, r"^clip must be \(lowest, highest\), such as \(1, 5\), got 5$"),
        ({"clip": (5, 1)}, ValueError, r"^clip must be \(lowest, highest\), got \(5, 1\): 5 is above 1$"),
        ({"clip": (1, "5")}, TypeError, r"^clip\[1\] must be a number, got '5'"),
        ({}, IndexError, r"^users is 20: ids run from 0 to 19; unknown='mean' or 'nan' predicts for such ids too$"),
    ],
)
def test_wrong_options_of_predictions(options, error, sentence):
    model, _, _ = exact_model(False, "float32", 0)
    with pytest.raises(error, match=sentence):
        model.predict(20, 0, **options)
