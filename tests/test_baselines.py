"""The baselines against plain Python, user by user, and what they share with the estimators."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from fastals import ImplicitALS, Interactions
from fastals.evaluation import GlobalMean, ItemBias, Popularity, Random
from fastals.validation import NotFittedError

BASELINES = [Random(random_state=3), Popularity(), GlobalMean(), ItemBias(), ItemBias(damping=2.5)]
names = [repr(model) for model in BASELINES]
every_baseline = pytest.mark.parametrize("model", BASELINES, ids=names)

# Item 0: ratings 4 and 2; item 1: 5 and a stored 0; item 2: -1; item 3: nothing. Five cells, mean 2.
CELLS = sp.csr_array(([4.0, 5.0, 2.0, 0.0, -1.0], ([0, 0, 1, 1, 2], [0, 1, 0, 1, 2])), shape=(4, 4))


@st.composite
def matrices(draw):
    """A sparse matrix of small whole ratings, some of them stored zeros, with at least one cell."""
    n_users, n_items = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    cells = draw(
        st.dictionaries(
            st.tuples(st.integers(0, n_users - 1), st.integers(0, n_items - 1)), st.integers(-1, 5), min_size=1
        )
    )
    users, items = np.array(list(cells)).T
    values = np.array(list(cells.values()), dtype=np.float64)
    return sp.csr_array((values, (users, items)), shape=(n_users, n_items)), cells


def by_definition(model, cells, n_users, n_items, users, n):
    """Sort all items that a user does not have by (-score, id), and take n."""
    keeps_zeros = isinstance(model, GlobalMean | ItemBias)
    ids, scores = [], []
    for user in users:
        had = {i for (u, i), value in cells.items() if u == user and (keeps_zeros or value != 0)}
        all_scores = model.predict(np.full(n_items, user), np.arange(n_items))
        ranked = sorted(set(range(n_items)) - had, key=lambda item: (-all_scores[item], item))[:n]
        missing = n - len(ranked)
        ids.append(ranked + [-1] * missing)
        scores.append([all_scores[item] for item in ranked] + [-math.inf] * missing)
    return ids, scores


@every_baseline
@given(matrices(), st.data())
def test_recommendations_are_the_sorted_unseen_items(model, case, data):
    R, cells = case
    users = data.draw(st.lists(st.integers(0, R.shape[0] - 1), min_size=1, max_size=8))
    n = data.draw(st.integers(1, R.shape[1] + 3))
    ids, scores = model.fit(R).recommend(users, n)
    want_ids, want_scores = by_definition(model, cells, *R.shape, users, n)
    assert ids.dtype == np.int32
    assert scores.dtype == np.float64
    np.testing.assert_array_equal(ids, want_ids)
    np.testing.assert_array_equal(scores, want_scores)


@given(matrices(), st.floats(0, 10))
def test_item_bias_is_its_formula(case, damping):
    R, cells = case
    model = ItemBias(damping=damping).fit(R)
    mean = sum(cells.values()) / len(cells)
    assert model.global_mean_ == pytest.approx(mean, rel=1e-14, abs=1e-14)
    for item in range(R.shape[1]):
        ratings = [value for (_, i), value in cells.items() if i == item]
        bias = sum(r - mean for r in ratings) / (len(ratings) + damping) if ratings else 0.0
        # At most 6 ratings of size 5 an item: rounding below 6 * 6 * 5 units of 2.2e-16.
        assert model.item_biases_[item] == pytest.approx(bias, rel=0, abs=4e-14)
        assert model.predict([0], [item])[0] == model.global_mean_ + model.item_biases_[item]


def test_popularity_counts_positive_cells():
    model = Popularity().fit(CELLS)
    np.testing.assert_array_equal(model.item_counts_, [2, 1, 0, 0])
    np.testing.assert_array_equal(model.predict([3, 3, 0], [0, 1, 0]), [2.0, 1.0, 2.0])


def test_popularity_by_hand():
    ids, scores = Popularity().fit(CELLS).recommend([0, 1, 2, 3], n=3)
    # User 1's stored 0 at item 1 is nothing; user 2's -1 at item 2 is something.
    np.testing.assert_array_equal(ids, [[2, 3, -1], [1, 2, 3], [0, 1, 3], [0, 1, 2]])
    np.testing.assert_array_equal(scores[0], [0.0, 0.0, -np.inf])


def test_global_mean_takes_every_stored_cell():
    model = GlobalMean().fit(CELLS)
    assert model.global_mean_ == 2.0
    np.testing.assert_array_equal(model.predict([0, 3], [3, 0]), [2.0, 2.0])
    np.testing.assert_array_equal(model.recommend([1], n=4)[0], [[2, 3, -1, -1]])  # a stored 0 is a rating


def test_item_bias_by_hand():
    np.testing.assert_array_equal(ItemBias().fit(CELLS).item_biases_, [1.0, 0.5, -3.0, 0.0])
    np.testing.assert_array_equal(ItemBias(damping=2).fit(CELLS).item_biases_, [0.5, 0.25, -1.0, 0.0])


def test_random_gives_the_same_to_a_user_whoever_else_is_asked_about():
    R = sp.csr_array(sp.random(20, 30, density=0.2, random_state=0))
    model = Random(random_state=5).fit(R)
    ids, scores = model.recommend(np.arange(20), n=30)
    for user in (7, 0, 19):
        alone_ids, alone_scores = model.recommend([user], n=30)
        np.testing.assert_array_equal(alone_ids[0], ids[user])
        np.testing.assert_array_equal(alone_scores[0], scores[user])
    again_ids, again_scores = Random(random_state=5).fit(R).recommend(np.arange(20), n=30)
    np.testing.assert_array_equal(again_ids, ids)
    np.testing.assert_array_equal(again_scores, scores)


def test_random_differs_between_users_and_seeds():
    R = sp.csr_array((2, 50))
    ids, _ = Random(random_state=5).fit(R).recommend([0, 1], n=50)
    other_ids, _ = Random(random_state=6).fit(R).recommend([0, 1], n=50)
    assert len({tuple(row) for row in np.vstack([ids, other_ids])}) == 4
    np.testing.assert_array_equal(np.sort(ids), np.tile(np.arange(50), (2, 1)))


def test_random_scores_of_pairs_come_in_the_order_asked_for():
    model = Random(random_state=5).fit(sp.csr_array((3, 4)))
    users, items = np.array([2, 0, 2, 1, 0]), np.array([1, 3, 0, 1, 3])
    one_by_one = [model.predict([user], [item])[0] for user, item in zip(users, items, strict=True)]
    np.testing.assert_array_equal(model.predict(users, items), one_by_one)


def test_random_orders_are_equally_likely():
    # 6000 users, 6 orders of 3 items: 1000 each expected, standard deviation sqrt(6000 * 5 / 36) = 28.9.
    ids, _ = Random(random_state=0).fit(sp.csr_array((6000, 3))).recommend(np.arange(6000), n=3)
    orders, counts = np.unique(ids, axis=0, return_counts=True)
    assert len(orders) == 6
    assert np.all(np.abs(counts - 1000) < 5 * 28.9)


def test_random_without_a_seed_draws_one_and_tells_it():
    R = sp.csr_array((1, 40))
    model = Random().fit(R)
    first = model.seed_
    ids, _ = model.recommend([0], n=40)
    np.testing.assert_array_equal(Random(random_state=first).fit(R).recommend([0], n=40)[0], ids)
    assert model.fit(R).seed_ != first
    assert model.random_state is None


@every_baseline
def test_no_users_and_no_pairs_are_fine(model):
    model.fit(CELLS)
    ids, scores = model.recommend([], n=3)
    assert ids.shape == scores.shape == (0, 3)
    assert model.predict([], []).shape == (0,)


@every_baseline
def test_before_fit_there_is_nothing_to_ask(model):
    fresh = type(model)()
    for ask in (lambda: fresh.predict([0], [0]), lambda: fresh.recommend([0])):
        with pytest.raises(NotFittedError) as caught:
            ask()
        assert str(caught.value) == f"this {type(model).__name__} is not fitted yet: call fit(R) first"


@every_baseline
def test_wrong_questions_are_refused(model):
    model.fit(CELLS)
    with pytest.raises(ValueError, match="users"):
        model.recommend([4])
    with pytest.raises(ValueError, match="users"):
        model.predict([-1], [0])
    with pytest.raises(ValueError, match="items"):
        model.predict([0], [4])
    with pytest.raises(ValueError, match=r"\bn\b"):
        model.recommend([0], n=0)
    with pytest.raises(ValueError) as caught:
        model.predict([0, 1], [0, 1, 2])
    assert str(caught.value) == "users and items must be of equal length, got 2 and 3"


@pytest.mark.parametrize("model", [GlobalMean(), ItemBias()], ids=repr)
def test_a_mean_of_nothing_is_refused_and_nothing_fitted_is_lost(model):
    model.fit(CELLS)
    with pytest.raises(ValueError) as caught:
        model.fit(sp.csr_array((2, 2)))
    assert str(caught.value) == "R of shape (2, 2) has no ratings: pass at least one"
    assert model.global_mean_ == 2.0
    assert model.recommend([3], n=4)[0].min() == 0


@pytest.mark.parametrize(
    ("damping", "wanted"), [(-1.0, "at least 0"), (math.nan, "finite"), (math.inf, "finite"), ("1", "a number")]
)
def test_wrong_damping_is_refused(damping, wanted):
    with pytest.raises((TypeError, ValueError), match=f"^damping must be {wanted}, got {damping!r}"):
        ItemBias(damping=damping).fit(CELLS)


@pytest.mark.parametrize(("seed", "error"), [(-1, ValueError), (0.5, TypeError)])
def test_wrong_seeds_are_refused(seed, error):
    with pytest.raises(error, match="random_state"):
        Random(random_state=seed).fit(CELLS)


def test_parameters_are_plain_attributes():
    assert Random(random_state=4).get_params() == {"random_state": 4}
    assert ItemBias().set_params(damping=3.0).damping == 3.0
    assert Popularity().get_params() == GlobalMean().get_params() == {}


# Ids and shapes: as the models have them.

USERS, ITEMS = ["ann", "bob", "cem", "dee"], ["tea", "milk", "rice", "salt"]


@every_baseline
def test_ids_go_in_and_come_out(model):
    numbers, scores = model.fit(CELLS).recommend([2, 0], n=4)
    alone = model.recommend(3, n=2)
    pairs = model.predict([0, 3], [1, 2])
    assert model.user_ids_ is model.item_ids_ is None
    assert model.shape_ == (4, 4)
    by_ids = model.fit(Interactions(CELLS, "float64", user_ids=USERS, item_ids=ITEMS))
    ids, same = by_ids.recommend(["cem", "ann"], n=4)
    assert ids.tolist() == [[ITEMS[number] if number >= 0 else "" for number in row] for row in numbers]
    np.testing.assert_array_equal(same, scores)
    one, its = by_ids.recommend("dee", n=2)
    assert one.tolist() == [ITEMS[number] for number in alone[0]]
    np.testing.assert_array_equal(its, alone[1])
    np.testing.assert_array_equal(by_ids.predict(["ann", "dee"], ["milk", "rice"]), pairs)
    assert by_ids.user_ids_.tolist() == USERS
    assert by_ids.item_ids_.tolist() == ITEMS
    with pytest.raises(ValueError, match=r"^users\[1\] is 'eve', which is not among the 4 ids"):
        by_ids.recommend(["ann", "eve"])
    with pytest.raises(TypeError, match=r"^items must be strings"):
        by_ids.predict("ann", 0)
    assert model.fit(CELLS).item_ids_ is None


@every_baseline
@pytest.mark.parametrize("users", [None, 1, np.int64(1), [1], [], np.array([3, 1])], ids=repr)
def test_answers_have_the_shapes_of_a_models(model, users):
    of_model = ImplicitALS(factors=2, iterations=1, random_state=0).fit(CELLS)
    for n in (1, 3, 6):
        for ours, theirs in zip(model.fit(CELLS).recommend(users, n), of_model.recommend(users, n), strict=True):
            assert ours.shape == theirs.shape
    ids, scores = model.recommend(users, 6)
    assert ids.dtype == of_model.recommend(users, 6)[0].dtype
    np.testing.assert_array_equal(ids == -1, scores == -np.inf)


@every_baseline
def test_what_users_have_is_listed_where_asked_for(model):
    ids, scores = model.fit(CELLS).recommend(n=4, exclude_seen=False)
    np.testing.assert_array_equal(np.sort(ids), np.tile(np.arange(4), (4, 1)))
    everything = model.predict(np.repeat(np.arange(4), 4), ids.ravel()).reshape(4, 4)
    np.testing.assert_array_equal(scores, everything)
    assert (np.diff(scores) <= 0).all()
    with pytest.raises(TypeError, match=r"^exclude_seen must be True or False, got 1"):
        model.recommend(0, exclude_seen=1)


@every_baseline
def test_one_id_is_paired_with_all_of_the_other_side(model):
    np.testing.assert_array_equal(model.fit(CELLS).predict(1, [0, 2]), model.predict([1, 1], [0, 2]))
    np.testing.assert_array_equal(model.predict([0, 3], 2), model.predict([0, 3], [2, 2]))


def test_what_is_not_observed_in_a_dense_array_is_as_the_models_have_it():
    assert GlobalMean().fit(np.array([[0.0, np.nan], [4.0, np.nan]])).global_mean_ == 2.0
    assert Popularity().fit([[0, 1], [0, 1]]).item_counts_.tolist() == [0, 2]


@pytest.mark.parametrize("kind", [np.random.default_rng, np.random.RandomState, np.random.SeedSequence])
def test_every_random_state_makes_a_seed(kind):
    R = sp.csr_array((1, 40))
    first, second = (Random(random_state=kind(7)).fit(R) for _ in range(2))
    assert first.seed_ == second.seed_ != Random(random_state=kind(8)).fit(R).seed_
    again = Random(random_state=first.seed_).fit(R)
    np.testing.assert_array_equal(again.recommend(0, n=40)[0], first.recommend(0, n=40)[0])
