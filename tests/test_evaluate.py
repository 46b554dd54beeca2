"""Evaluations of models: by lists, for new users, among samples, by ratings; with ids and without."""

import copy
import math

import numpy as np
import pytest
import scipy.sparse as sp

from fastals import ExplicitALS, ImplicitALS, Interactions
from fastals.evaluation import (
    RANKING_METRICS,
    GlobalMean,
    ItemBias,
    Popularity,
    Random,
    evaluate,
    evaluate_new_users,
    evaluate_ratings,
    evaluate_sampled,
    graded_ndcg,
    ranking_metrics,
    user_ranking_metrics,
)
from tests.helpers import matrix_of_sets as matrix

# Evaluations of models.

ALL = (*RANKING_METRICS, "novelty", "coverage", "gini")


@pytest.fixture(scope="module")
def parts() -> tuple[sp.csr_array, sp.csr_array]:
    """Train and test cells of 40 users and 30 items; the last five users have nothing in test."""
    rng = np.random.default_rng(5)
    cells = rng.random((40, 30))
    train, test = cells < 0.2, (cells >= 0.2) & (cells < 0.3)
    test[35:] = False
    return sp.csr_array(train.astype(np.float32)), sp.csr_array(test.astype(np.float32))


@pytest.fixture(scope="module")
def model(parts) -> ImplicitALS:
    return ImplicitALS(factors=4, iterations=3, random_state=0).fit(parts[0])


@pytest.mark.parametrize("block_size", [1, 7, 1000])
def test_blocks_and_cutoffs_in_one_pass_are_the_metrics_of_whole_lists(parts, model, block_size):
    train, test = parts
    ids, _ = model.recommend(np.arange(40), 8)
    got = evaluate(model, test, (3, 8), ALL, train=train, block_size=block_size)
    assert list(got.per_user) == [f"{name}@{k}" for k in (3, 8) for name in (*RANKING_METRICS, "novelty")]
    for k in (3, 8):
        want = user_ranking_metrics(ids, test, k, train=train)
        for name in RANKING_METRICS:
            np.testing.assert_array_equal(got.per_user[f"{name}@{k}"], want[name][got.users])
            np.testing.assert_equal(got.overall[f"{name}@{k}"], ranking_metrics(ids, test, k, train=train)[name])
    np.testing.assert_array_equal(got.users, np.flatnonzero(np.diff(test.indptr)))


@pytest.mark.parametrize("block_size", [7, 1000])
def test_graded_ndcg_by_name_is_the_function(parts, model, block_size):
    train, test = parts
    graded = test.copy()
    graded.data = np.random.default_rng(0).integers(1, 6, graded.nnz).astype(np.float32)
    ids, _ = model.recommend(np.arange(40), 8)
    got = evaluate(model, graded, (3, 8), ["graded_ndcg", "coverage"], train=train, block_size=block_size)
    for k in (3, 8):
        want = graded_ndcg(ids, graded, k)
        np.testing.assert_array_equal(got.per_user[f"graded_ndcg@{k}"], want[got.users])
        assert got.overall[f"graded_ndcg@{k}"] == pytest.approx(np.nanmean(want), rel=1e-14)
    watched = ImplicitALS(factors=4, iterations=2, random_state=0)
    watched.fit(train, validation=graded, metric="graded_ndcg@3", patience=2)
    best = max(watched.validation_history_)
    assert evaluate(watched, graded, 3, ["graded_ndcg"], train=train).overall["graded_ndcg@3"] == best
    with pytest.raises(ValueError, match=r"^test has the value -1: gains must be at least 0$"):
        evaluate(model, -test, 3, ["graded_ndcg"], train=train)


def test_novelty_coverage_and_gini_are_their_formulas(parts, model):
    train, test = parts
    got = evaluate(model, test, 5, ALL, train=train)
    ids, _ = model.recommend(got.users, 5)
    shown = [sum(item in row for row in ids.tolist()) for item in range(30)]
    owners = np.bincount(train.indices, minlength=30).tolist()
    information = [[-math.log2(max(owners[item], 1) / 40) for item in row if item >= 0] for row in ids]
    eps = 100 * np.finfo(float).eps  # sums of a few hundred terms
    np.testing.assert_allclose(got.per_user["novelty@5"], [np.mean(row) for row in information], rtol=eps)
    assert got.overall["coverage@5"] == sum(count > 0 for count in shown) / 30
    differences = sum(abs(a - b) for a in shown for b in shown)
    assert got.overall["gini@5"] == pytest.approx(differences / (2 * 30 * sum(shown)), rel=eps)


class Fixed:
    """Recommends the same list to everybody."""

    def __init__(self, *ids: int):
        self.ids = ids

    def recommend(self, users, n):
        lists = np.tile(self.ids, (len(users), 1))
        return lists, np.zeros(lists.shape)


def test_lists_without_an_item():
    got = evaluate(Fixed(-1, -1), np.eye(3), 2, ALL, train=np.eye(3)[::-1] * [1, 0, 1])
    assert math.isnan(got.overall["novelty@2"])
    assert got.overall["coverage@2"] == 0
    assert math.isnan(got.overall["gini@2"])


def test_only_the_users_asked_for_are_evaluated(parts, model):
    whole = evaluate(model, parts[1], 5, ["ndcg"])
    some = evaluate(model, parts[1], 5, ["ndcg"], users=[3, 1, 39])
    np.testing.assert_array_equal(some.users, [3, 1])
    np.testing.assert_array_equal(some.per_user["ndcg@5"], whole.per_user["ndcg@5"][[3, 1]])


@pytest.mark.parametrize("baseline", [Popularity(), Random(random_state=0)])
def test_baselines_are_evaluated_like_models(parts, baseline):
    train, test = parts
    ids, _ = baseline.fit(train).recommend(np.arange(40), 5)
    assert evaluate(baseline, test, 5).overall["recall@5"] == ranking_metrics(ids, test)["recall"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"test": np.zeros((40, 30))}, ValueError, "test has no value other than 0"),
        ({"k": 0}, ValueError, "k must be at least 1, got 0"),
        ({"k": [5, -2]}, ValueError, "k must be at least 1, got -2"),
        ({"k": 2.5}, TypeError, "k must be an integer, got 2.5"),
        ({"k": []}, ValueError, "k is empty"),
        (
            {"metrics": ["ndgc"]},
            ValueError,
            "'ndgc', which is unknown: choose from recall, .*, novelty, coverage, gini",
        ),
        ({"metrics": "ndcg"}, TypeError, r"write \['ndcg'\]"),
        ({"metrics": ["novelty"]}, ValueError, "'novelty', which needs train"),
        ({"train": np.ones((40, 29))}, ValueError, r"train has shape \(40, 29\) and test \(40, 30\)"),
        ({"test": np.ones((30, 40))}, ValueError, r"test has shape \(30, 40\) and the model was fitted on \(40, 30\)"),
        ({"users": [40]}, ValueError, r"users\[0\] is 40"),
        ({"users": [39]}, ValueError, "none of users has a relevant item"),
        ({"block_size": 0}, ValueError, "block_size must be at least 1"),
    ],
)
def test_evaluate_refuses(parts, model, arguments, error, message):
    with pytest.raises(error, match=message):
        evaluate(model, **{"test": parts[1]} | arguments)


def test_a_model_that_lists_what_users_have_is_refused():
    with pytest.raises(ValueError, match=r"ids\[1, 1\] is item 1, which train has"):
        evaluate(Fixed(0, 1), [[0, 0, 1.0]] * 2, 2, train=[[0, 0, 0], [0, 1.0, 0]])


@pytest.mark.parametrize("estimator", [ImplicitALS, ExplicitALS])
def test_training_users_as_new_ones_get_the_lists_they_had(parts, estimator):
    """Fold-in of the training cells is the last half-step of the fit, so both evaluations see the same model."""
    train, test = parts
    fitted = estimator(factors=3, iterations=2, random_state=1).fit(train)
    old = evaluate(fitted, test, (2, 6), ["capped_recall", "ndcg", "auc"], train=train)
    new = evaluate_new_users(fitted, train, test, (2, 6), ["capped_recall", "ndcg", "auc"], block_size=9)
    for name, values in old.per_user.items():
        np.testing.assert_array_equal(new.per_user[name], values)


def test_new_users_need_rows_that_belong_together(parts, model):
    with pytest.raises(ValueError, match=r"given has shape \(39, 30\) and test \(40, 30\)"):
        evaluate_new_users(model, parts[0][:39], parts[1])
    row, item = (int(ids[0]) for ids in parts[0].nonzero())
    with pytest.raises(ValueError, match=rf"test has item {item} of row {row}, which given has too"):
        evaluate_new_users(model, parts[0], parts[0] + parts[1])


class Scored:
    """Scores come from a table."""

    def __init__(self, table):
        self.table = np.asarray(table, dtype=float)

    def predict(self, users, items):
        return self.table[users, items]


def test_sampled_ranks_by_hand():
    # User 0: item 0 below one negative; user 1: tied with one, above the other: second too; user 2: last of three.
    model = Scored([[5, 7, 1], [4, 4, 3], [1, 2, 3]])
    got = evaluate_sampled(model, [0, 1, 2], [0, 0, 0], [[1, 2]] * 3, (1, 2, 5), ["hit_rate", "ndcg", "mrr", "auc"])
    np.testing.assert_array_equal(got.per_user["hit_rate@1"], [0, 0, 0])
    np.testing.assert_array_equal(got.per_user["hit_rate@2"], [1, 1, 0])
    np.testing.assert_allclose(got.per_user["ndcg@5"], [1 / math.log2(3), 1 / math.log2(3), 0.5], rtol=1e-15)
    np.testing.assert_allclose(got.per_user["mrr@5"], [1 / 2, 1 / 2, 1 / 3], rtol=1e-15)
    np.testing.assert_array_equal(got.per_user["auc@5"], [0.5, 0.5, 0.0])
    assert got.overall["hit_rate@2"] == 2 / 3


@pytest.mark.parametrize(
    ("users", "items", "negatives", "message"),
    [
        ([0], [0], [[0, 1]], r"negatives\[0, 0\] is item 0, which is held out"),
        ([0, 1], [0], [[1]], r"users has shape \(2,\), items \(1,\) and negatives \(1, 1\)"),
        ([], [], np.empty((0, 3)), "at least one case"),
    ],
)
def test_sampled_refuses(users, items, negatives, message):
    with pytest.raises(ValueError, match=message):
        evaluate_sampled(Scored(np.zeros((2, 2))), users, items, negatives)


def test_what_a_fitted_model_does_not_have_is_refused(parts, model):
    fitted = model.fit(parts[0])
    with pytest.raises(ValueError, match=r"negatives\[0, 1\] is 30: items run from 0 to 29"):
        evaluate_sampled(fitted, [0], [1], [[2, 30]])
    with pytest.raises(ValueError, match=r"test has shape \(40, 29\) and the model was fitted on \(40, 30\)"):
        evaluate_ratings(fitted, parts[1][:, :29])


def test_ratings_are_every_stored_cell():
    R = sp.csr_array(([1.0, 0.0, 4.0], ([0, 0, 1], [0, 1, 1])), shape=(2, 3))
    model = Scored([[1, 2, 9], [9, 3, 9]])
    assert evaluate_ratings(model, R) == {"rmse": math.sqrt(5 / 3), "mae": 1.0}
    assert evaluate_ratings(GlobalMean().fit(R), R, ["sign_accuracy"]) == {"sign_accuracy": 1.0}
    with pytest.raises(ValueError, match="'ndcg', which is unknown: choose from rmse, mae, sign_accuracy"):
        evaluate_ratings(model, R, ["ndcg"])
    with pytest.raises(ValueError, match="test has no stored value"):
        evaluate_ratings(ItemBias().fit(R), sp.csr_array((2, 3)))


# Ids: whoever is in whatever row, the numbers are those of the same cells without ids.

NAMES = {
    "permuted": lambda side, n: np.random.default_rng(n).permutation(n),
    "from 1": lambda side, n: np.arange(1, n + 1),
    "strings": lambda side, n: np.array([f"{side}{number}" for number in range(n)]),
}


@pytest.fixture(params=NAMES)
def names(request) -> tuple[np.ndarray, np.ndarray]:
    """What the users and the items of `parts` are called."""
    return NAMES[request.param]("user", 40), NAMES[request.param]("item", 30)


def named(R, names, rows=slice(None), columns=slice(None)) -> Interactions:
    """Some rows and columns of a matrix, in any order, with their ids."""
    return Interactions(R[rows][:, columns], user_ids=names[0][rows], item_ids=names[1][columns])


ORDERS = [(slice(None), slice(None)), (np.arange(40)[::-1], np.roll(np.arange(30), 7))]


@pytest.mark.parametrize("order", ORDERS)
def test_a_model_with_ids_has_the_metrics_of_one_without(parts, model, names, order):
    train, test = parts
    by_ids = ImplicitALS(factors=4, iterations=3, random_state=0).fit(named(train, names))
    want = evaluate(model, test, (3, 8), ALL, train=train)
    got = evaluate(by_ids, named(test, names, *order), (3, 8), ALL, train=named(train, names, *order))
    assert got.overall == want.overall
    for name, values in want.per_user.items():
        np.testing.assert_array_equal(got.per_user[name], values)
    np.testing.assert_array_equal(got.users, names[0][want.users])
    np.testing.assert_array_equal(by_ids.item_ids_, names[1])  # it still goes by them
    some = evaluate(by_ids, named(test, names, *order), 5, users=names[0][[3, 1, 39]])
    np.testing.assert_array_equal(some.users, names[0][[3, 1]])
    assert some.overall == evaluate(model, test, 5, users=[3, 1, 39]).overall


def test_a_matrix_without_ids_has_the_rows_and_columns_of_training(parts, model, names):
    train, test = parts
    by_ids = ImplicitALS(factors=4, iterations=3, random_state=0).fit(named(train, names))
    want = evaluate(model, test, 5, ALL, train=train).overall
    assert evaluate(by_ids, test, 5, ALL, train=train).overall == want
    assert evaluate(by_ids, named(test, names, *ORDERS[1]), 5, ALL, train=train).overall == want
    assert evaluate(model, named(test, names), 5, ALL, train=named(train, names, *ORDERS[1])).overall == want


def test_ids_that_test_lacks_have_no_test_cells(parts, model, names):
    train, test = parts
    by_ids = ImplicitALS(factors=4, iterations=3, random_state=0).fit(named(train, names))
    rows, columns = np.arange(20, 5, -1), np.arange(3, 25)
    inner = np.zeros((40, 30))
    inner[6:21, 3:25] = test.toarray()[6:21, 3:25]
    got = evaluate(by_ids, named(test, names, rows, columns), 5, ["recall", "auc"]).overall
    assert got == evaluate(model, inner, 5, ["recall", "auc"]).overall


def test_unknown_ids_are_refused():
    model = ImplicitALS(factors=2, iterations=1).fit(Interactions([[1, 0], [1, 1]], user_ids=["a", "b"]))
    test = Interactions([[1, 0], [0, 1]], user_ids=["b", "c"])
    message = r"^test.user_ids\[1\] is 'c', which is not among the 2 ids of the model .*; leave such rows out of test"
    message += " or pass unknown='ignore'$"
    for function in (evaluate, evaluate_ratings):
        with pytest.raises(ValueError, match=message):
            function(model, test)
    with pytest.raises(ValueError, match=r"^train.user_ids\[1\] is 'c'"):
        evaluate(model, [[0, 1], [0, 0]], train=test)
    with pytest.raises(TypeError, match=r"^test.user_ids must be strings"):
        evaluate(model, Interactions(np.eye(2), user_ids=[0, 1]))
    with pytest.raises(ValueError, match=r"^users\[0\] is 'c'"):
        evaluate(model, [[0, 1], [0, 0]], users=["c"])


@pytest.mark.parametrize("order", ORDERS)
def test_ratings_by_ids_are_those_by_numbers(parts, names, order):
    rng = np.random.default_rng(1)
    train, test = parts[0].copy(), parts[1].copy()
    train.data, test.data = (rng.integers(0, 5, part.nnz).astype(np.float32) for part in parts)
    fitted = ExplicitALS(factors=3, iterations=2, random_state=0)
    want = evaluate_ratings(fitted.fit(train), test)
    got = evaluate_ratings(fitted.fit(named(train, names)), named(test, names, *order))
    assert got == pytest.approx(want, rel=1e-13)  # sums over cells in another order


@pytest.mark.parametrize("order", ORDERS)
def test_new_users_by_ids_are_those_by_numbers(parts, model, names, order):
    train, test = parts
    by_ids = ImplicitALS(factors=4, iterations=3, random_state=0).fit(named(train, names))
    want = evaluate_new_users(model, train, test, 5)
    newcomers = np.array([f"new {row}" for row in range(40)]), names[1]
    for given_cells in (train, named(train, newcomers), named(train, newcomers, slice(None), order[1])):
        held_out = named(test, newcomers, slice(None) if given_cells is train else order[0], order[1])
        got = evaluate_new_users(by_ids, given_cells, held_out, 5)
        np.testing.assert_array_equal(got.users, want.users)
        assert got.overall == want.overall
    got = evaluate_new_users(model, named(train, newcomers), named(test, newcomers, *order), 5)
    assert got.overall == want.overall
    with pytest.raises(
        ValueError, match=r"^test.user_ids\[39\] is 'new 39', .* the 39 ids of given .*; leave such rows"
    ):
        evaluate_new_users(by_ids, named(train, newcomers, slice(39)), named(test, newcomers), 5)


def test_sampled_cases_are_by_ids(parts, model, names):
    by_ids = ImplicitALS(factors=4, iterations=3, random_state=0).fit(named(parts[0], names))
    users, items, negatives = np.array([4, 0]), np.array([1, 2]), np.array([[3, 4], [5, 6]])
    want = evaluate_sampled(model, users, items, negatives, 2)
    got = evaluate_sampled(by_ids, names[0][users], names[1][items], names[1][negatives], 2)
    assert got.overall == want.overall
    np.testing.assert_array_equal(got.users, names[0][users])


@pytest.mark.parametrize("baseline", [Popularity(), Random(random_state=0)])
@pytest.mark.parametrize("order", ORDERS)
def test_baselines_are_evaluated_by_ids(parts, names, baseline, order):
    train, test = parts
    want = evaluate(baseline.fit(train), test, 5).overall
    assert evaluate(baseline.fit(named(train, names)), named(test, names, *order), 5).overall == want


def test_train_is_put_in_the_order_of_test(names):
    ids, relevant, known = [[0, 1], [1, 2]], matrix([{1}, {2}], 4), matrix([{2, 3}, {0}], 4)
    few = names[0][:2], names[1][:4]
    test, train = named(relevant, few), named(known, few, [1, 0], [3, 2, 1, 0])
    assert ranking_metrics(ids, test, train=train) == ranking_metrics(ids, relevant, train=known)


# Test interactions that are in training: no model lists them.


def test_evaluation_on_the_training_interactions_is_refused(parts, model):
    train = parts[0]
    sentence = (
        f"all {train.nnz} interactions of test are in train too. A model does not recommend what a user has, so every "
        "metric would be 0: pass interactions as test that were held out of train"
    )
    with pytest.raises(ValueError) as caught:
        evaluate(model, train, train=train)
    assert str(caught.value) == sentence
    with pytest.raises(ValueError, match=r"^all 1 interactions of test are in train too"):
        evaluate(Fixed(0, 1), [[1, 0, 0]], 1, train=[[1, 1, 0]])


def test_some_test_interactions_in_train_are_told(parts, model):
    train, test = parts
    row, item = (int(numbers[0]) for numbers in train.nonzero())
    overlapping = test.copy().tolil()
    overlapping[row, item] = 1.0
    with pytest.warns(UserWarning, match=rf"^1 of the {test.nnz + 1} interactions of test are in train too") as told:
        got = evaluate(model, overlapping.tocsr(), 5, ["recall"], train=train)
    assert told[0].filename == __file__
    n_relevant = test[[row]].nnz
    alone = evaluate(model, test, 5, ["recall"], train=train).per_user["recall@5"][0]
    assert got.per_user["recall@5"][0] == pytest.approx(alone * n_relevant / (n_relevant + 1), rel=1e-15)


def test_without_train_the_model_tells_what_it_was_fitted_on(parts, model):
    train, test = parts
    with pytest.raises(ValueError, match=rf"^all {train.nnz} interactions of test are in what the model was fitted on"):
        evaluate(model, train)
    row, item = (int(numbers[0]) for numbers in train.nonzero())
    overlapping = test.copy().tolil()
    overlapping[row, item] = 1.0
    overlapping = overlapping.tocsr()
    sentence = rf"^1 of the {test.nnz + 1} interactions of test are in what the model was fitted on too"
    with pytest.warns(UserWarning, match=sentence) as told:
        got = evaluate(model, overlapping, 5, ["recall"])
    assert told[0].filename == __file__
    with pytest.warns(UserWarning, match="are in train too"):
        assert got.overall == evaluate(model, overlapping, 5, ["recall"], train=train).overall


def test_what_an_update_added_counts_as_fitted_on(parts, model):
    test = parts[1]
    row, item = (int(numbers[0]) for numbers in test.nonzero())
    updated = copy.deepcopy(model)
    updated.update(row, item, 1.0)
    evaluate(model, test)
    with pytest.warns(UserWarning, match=rf"^1 of the {test.nnz} interactions of test are in what the model"):
        evaluate(updated, test)


def test_by_ids_too_the_model_tells_what_it_was_fitted_on():
    orders = Interactions.from_triplets(["ann", "ann", "bob"], ["tea", "cup", "cup"])
    model = ImplicitALS(2, random_state=0).fit(orders)
    evaluate(model, Interactions.from_triplets(["bob"], ["tea"]), 1)
    with pytest.raises(ValueError, match=r"^all 1 interactions of test are in what the model was fitted on"):
        evaluate(model, Interactions.from_triplets(["ann"], ["tea"]), 1)


class Shop:
    """A recommender of one's own with ids, one of which is -1."""

    user_ids_ = np.array([10, 20])
    item_ids_ = np.array([-1, 7, 8])

    def recommend(self, users, n):
        assert set(users) <= {10, 20}
        lists = {10: ([-1, 8], [2.0, 1.0]), 20: ([7, -1], [1.0, -np.inf])}
        ids, scores = zip(*(lists[user] for user in users), strict=True)
        return np.array(ids)[:, :n], np.array(scores)[:, :n]

    def predict(self, users, items):
        return np.array([{-1: 1.0, 7: 2.0, 8: 3.0}[item] for item in items])


def test_an_object_of_ones_own_is_asked_by_its_ids():
    test = Interactions([[1, 0], [0, 1]], user_ids=[20, 10], item_ids=[7, -1])
    got = evaluate(Shop(), test, 2, ["recall", "precision", "coverage"])
    assert got.users.tolist() == [10, 20]
    assert got.per_user["recall@2"].tolist() == [1.0, 1.0]
    assert got.overall["coverage@2"] == 1.0  # the empty place of user 20 is not item -1
    assert evaluate(Shop(), np.array([[0, 0, 0], [1, 0, 0]]), 2, ["recall"]).overall == {"recall@2": 0.0}
    assert evaluate_ratings(Shop(), Interactions([[2.0, 3.0]], "float64", user_ids=[10], item_ids=[7, -1])) == {
        "rmse": math.sqrt(2.0),
        "mae": 1.0,
    }


def test_a_matrix_is_named_as_the_caller_does(parts, model):
    with pytest.raises(ValueError, match=r"^train is not finite in 1 of 1 "):
        evaluate(model, parts[1], train=[[np.inf]])
    with pytest.raises(ValueError, match=r"^given must have 2 dimensions"):
        evaluate_new_users(model, [1.0], parts[1])
    with pytest.raises(ValueError, match=r"^test has shape \(3, 3\) and the model was fitted on \(40, 30\)"):
        evaluate_ratings(Popularity().fit(parts[0]), np.eye(3))


@pytest.mark.parametrize(
    ("model", "given"), [(ImplicitALS, "the class ImplicitALS"), (3, "int"), (np.eye(3), "ndarray")]
)
def test_what_cannot_be_asked_is_refused(model, given):
    for method, ask in (
        ("recommend", lambda: evaluate(model, np.eye(3))),
        ("recommend", lambda: evaluate_new_users(model, np.eye(3), np.eye(3))),
        ("predict", lambda: evaluate_ratings(model, np.eye(3))),
        ("predict", lambda: evaluate_sampled(model, [0], [1], [[2]])),
    ):
        with pytest.raises(TypeError) as caught:
            ask()
        assert str(caught.value) == f"model must be a fitted model or an object with a method {method}, got {given}"


# What the model does not know.


def known_and_unknown():
    train = Interactions.from_triplets(["a", "a", "b", "b", "c"], [1, 2, 2, 3, 1], [5.0, 3.0, 4.0, 1.0, 2.0])
    pairs = ["a", "c", "new", "b"], [3, 2, 1, 9]
    return train, Interactions.from_triplets(*pairs, [4.0, 2.0, 5.0, 3.0])


def test_unknown_ids_of_lists_may_be_ignored():
    train, test = known_and_unknown()
    model = ImplicitALS(factors=2, iterations=1, random_state=0).fit(train)
    found = evaluate(model, test, k=1, metrics=["hit_rate"], unknown="ignore")
    wanted = evaluate(model, Interactions.from_triplets(["a", "c"], [3, 2]), k=1, metrics=["hit_rate"])
    assert found.users.tolist() == ["a", "c"]
    assert found.overall == wanted.overall
    with pytest.raises(ValueError, match=r"test.user_ids\[3\] is 'new', .* leave such rows out of test"):
        evaluate(model, test)
    with pytest.raises(ValueError, match="unknown must be one of 'raise', 'ignore', got 'mean'"):
        evaluate(model, test, unknown="mean")


@pytest.mark.parametrize(
    "model", [ExplicitALS(2, random_state=0), GlobalMean(), ItemBias()], ids=lambda m: type(m).__name__
)
def test_unknown_ids_of_ratings(model):
    train, test = known_and_unknown()
    model.fit(train)
    users, items, truth = ["a", "c", "new", "b"], [3, 2, 1, 9], np.array([4.0, 2.0, 5.0, 3.0])
    predicted = model.predict(users, items, unknown="mean")
    mean = model.global_mean_
    item = getattr(model, "item_biases_", np.zeros(3))[0]
    user = getattr(model, "user_biases_", np.zeros(3))[1]
    assert predicted[2:] == pytest.approx([mean + item, mean + user], rel=1e-6)
    assert np.isnan(model.predict(users, items, unknown="nan")).tolist() == [False, False, True, True]
    wanted = float(np.sqrt(np.mean((predicted - truth) ** 2)))
    assert evaluate_ratings(model, test, ["rmse"], unknown="mean")["rmse"] == pytest.approx(wanted, rel=1e-6)
    wanted = float(np.mean(np.abs(np.clip(predicted, 2.5, 2.75) - truth)))
    found = evaluate_ratings(model, test, ["mae"], unknown="mean", clip=(2.5, 2.75))
    assert found["mae"] == pytest.approx(wanted, rel=1e-6)
    wanted = float(np.mean(np.abs(predicted - truth)[:2]))
    assert evaluate_ratings(model, test, ["mae"], unknown="ignore")["mae"] == pytest.approx(wanted, rel=1e-6)
    with pytest.raises(ValueError, match=r"test.user_ids\[3\] is 'new'"):
        evaluate_ratings(model, test)
    for options, sentence in (
        ({"unknown": "nan"}, "unknown must be one of 'raise', 'mean', 'ignore', got 'nan'"),
        ({"clip": (5, 1)}, "5 is above 1"),
    ):
        with pytest.raises(ValueError, match=sentence):
            evaluate_ratings(model, test, **options)


def test_unknown_pairs_of_baselines_without_a_mean():
    assert Popularity().fit([[1, 0], [1, 1]]).predict([0, 9, 0], [0, 0, 9], unknown="mean").tolist() == [2, 2, 0]
    assert Random(0).fit([[1, 0], [1, 1]]).predict(9, [0, 9], unknown="mean").tolist() == [0, 0]
    with pytest.raises(ValueError, match="unknown must be one of 'raise', 'mean', 'nan', got 'ignore'"):
        Popularity().fit([[1, 0]]).predict(0, 0, unknown="ignore")
