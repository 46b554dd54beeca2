"""The metrics against their formulas written out user by user, hand-computed cases, and every error."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from fastals import ExplicitALS, ImplicitALS, Interactions
from fastals.baselines import GlobalMean, ItemBias, Popularity, Random
from fastals.evaluation import (
    RANKING_METRICS,
    Evaluation,
    bootstrap_interval,
    evaluate,
    evaluate_new_users,
    evaluate_ratings,
    evaluate_sampled,
    mae,
    ranking_metrics,
    rmse,
    sign_accuracy,
    user_ranking_metrics,
    weighted_rmse,
)


def one_user(ranked: list[int], relevant: set[int], known: set[int], n_items: int) -> dict[str, float]:
    """Every metric of one user's list, place by place; -1 is an empty place."""
    k = len(ranked)
    cap = min(k, len(relevant))
    n_hits = sum(item in relevant for item in ranked)
    dcg = average = first = 0.0
    for rank, item in enumerate(ranked, start=1):
        if item in relevant:
            dcg += 1 / math.log2(rank + 1)
            average += sum(other in relevant for other in ranked[:rank]) / rank
            first = first or 1 / rank
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, cap + 1))
    return {
        "recall": n_hits / len(relevant),
        "capped_recall": n_hits / cap,
        "precision": n_hits / k,
        "ndcg": dcg / ideal,
        "map": average / cap,
        "hit_rate": float(n_hits > 0),
        "mrr": first,
        "auc": pairwise_auc(ranked, relevant, set(range(n_items)) - relevant - known),
    }


def pairwise_auc(ranked: list[int], relevant: set[int], irrelevant: set[int]) -> float:
    """The definition itself: each pair of a relevant and an irrelevant item, all unlisted items tied at the bottom."""
    place = {item: at for at, item in enumerate(ranked)}
    pairs = [(place.get(good, len(ranked)), place.get(bad, len(ranked))) for good in relevant for bad in irrelevant]
    return np.mean([1.0 if good < bad else 0.5 if good == bad else 0.0 for good, bad in pairs]) if pairs else math.nan


@st.composite
def evaluations(draw):
    """Lists, test cells, known cells and a cutoff; lists may be short, known items are never listed."""
    n_users, n_items = draw(st.integers(1, 5)), draw(st.integers(1, 8))
    width = draw(st.integers(1, n_items + 2))
    items = st.sets(st.integers(0, n_items - 1))
    relevant = draw(st.lists(items, min_size=n_users, max_size=n_users).filter(any))
    known = draw(st.lists(items, min_size=n_users, max_size=n_users))
    ids = np.full((n_users, width), -1, dtype=np.int32)
    for row in range(n_users):
        ranked = draw(st.permutations(sorted(set(range(n_items)) - known[row])))
        ranked = ranked[: draw(st.integers(0, min(width, len(ranked))))]
        ids[row, : len(ranked)] = ranked
    return ids, relevant, known, n_items, draw(st.integers(1, width))


def matrix(rows: list[set[int]], n_items: int) -> sp.csr_array:
    dense = np.zeros((len(rows), n_items))
    for row, items in enumerate(rows):
        dense[row, list(items)] = 1.0
    return sp.csr_array(dense)


@given(evaluations())
def test_every_metric_is_its_formula(case):
    ids, relevant, known, n_items, k = case
    got = user_ranking_metrics(ids, matrix(relevant, n_items), k, train=matrix(known, n_items))
    assert set(got) == set(RANKING_METRICS)
    for row in range(len(ids)):
        if relevant[row]:
            want = one_user(ids[row, :k].tolist(), relevant[row], known[row], n_items)
        else:
            want = dict.fromkeys(RANKING_METRICS, math.nan)
        for name, values in got.items():
            # Sums of at most 10 terms of size 1: rounding stays below 20 units in the last place.
            np.testing.assert_allclose(values[row], want[name], rtol=20 * np.finfo(float).eps, err_msg=name)


@given(evaluations())
def test_averages_leave_out_users_without_a_value(case):
    ids, relevant, known, n_items, k = case
    test, train = matrix(relevant, n_items), matrix(known, n_items)
    of_users = user_ranking_metrics(ids, test, k, train=train)
    for name, value in ranking_metrics(ids, test, k, train=train).items():
        defined = of_users[name][~np.isnan(of_users[name])]
        assert isinstance(value, float)
        np.testing.assert_equal(value, defined.mean() if defined.size else np.nan)


@given(evaluations())
def test_all_metrics_lie_between_0_and_1(case):
    ids, relevant, _, n_items, k = case
    for values in user_ranking_metrics(ids, matrix(relevant, n_items), k).values():
        defined = values[~np.isnan(values)]
        assert np.all((defined >= 0) & (defined <= 1 + 4 * np.finfo(float).eps))


def test_by_hand():
    # Ranks 2 and 4 are hits, of 3 relevant items among 10.
    ids = np.array([[5, 1, 6, 2]])
    test = sp.csr_array(([1.0, 4.0, 2.0], ([0, 0, 0], [1, 2, 3])), shape=(1, 10))
    got = ranking_metrics(ids, test)
    assert got["recall"] == 2 / 3
    assert got["capped_recall"] == 2 / 3
    assert got["precision"] == 0.5
    assert got["hit_rate"] == 1.0
    assert got["mrr"] == 0.5
    assert got["map"] == pytest.approx((1 / 2 + 2 / 4) / 3, rel=1e-15)
    ideal = 1 + 1 / math.log2(3) + 0.5
    assert got["ndcg"] == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / ideal, rel=1e-15)
    # 21 pairs: miss 5 is under no hit, miss 6 under one; each of the 5 unlisted is under two and tied with the third.
    assert got["auc"] == pytest.approx((0 + 1 + 5 * 2.5) / 21, rel=1e-15)


def test_recall_divides_by_what_exists_and_capped_recall_by_what_fits():
    got = ranking_metrics([[0, 1]], matrix([{0, 1, 2, 3}], 5), metrics=["recall", "capped_recall", "precision"])
    assert got == {"recall": 0.5, "capped_recall": 1.0, "precision": 1.0}


def test_a_perfect_list_has_1_everywhere():
    got = ranking_metrics([[3, 1, 0, 2, 4]], matrix([{1, 3}], 5), k=2)
    assert got == dict.fromkeys(RANKING_METRICS, 1.0)


def test_an_empty_list_has_0_everywhere_but_a_half_in_auc():
    got = ranking_metrics([[-1, -1]], matrix([{1, 3}], 5))
    assert got == dict.fromkeys(RANKING_METRICS, 0.0) | {"auc": 0.5}


def test_an_empty_place_does_not_match_the_last_item_of_the_user_before():
    # User 0's last item and user 1's place -1 are neighbours in a table of cells.
    got = user_ranking_metrics([[0], [-1]], matrix([{3}, {0}], 4), metrics=["recall"])
    np.testing.assert_array_equal(got["recall"], [0.0, 0.0])


def test_auc_compares_with_items_that_could_be_recommended_only():
    ids, test = [[0, 1]], matrix([{1}], 4)
    assert ranking_metrics(ids, test, metrics=["auc"]) == {"auc": 2 / 3}  # above 2 and 3, below 0
    assert ranking_metrics(ids, test, metrics=["auc"], train=matrix([{2, 3}], 4)) == {"auc": 0.0}  # below 0


def test_auc_of_a_user_without_irrelevant_items_is_undefined():
    test = matrix([{0, 1}, {0}], 2)
    np.testing.assert_array_equal(user_ranking_metrics([[0], [0]], test, metrics=["auc"])["auc"], [np.nan, 1.0])
    assert ranking_metrics([[0], [0]], test, metrics=["auc"]) == {"auc": 1.0}
    np.testing.assert_equal(ranking_metrics([[0]], matrix([{0, 1}], 2), metrics=["auc"]), {"auc": np.nan})


def test_stored_zeros_are_not_relevant_and_other_values_are():
    test = sp.csr_array(([0.0, -2.0], ([0, 0], [0, 1])), shape=(1, 3))
    assert ranking_metrics([[0, 1]], test, metrics=["recall", "precision"]) == {"recall": 1.0, "precision": 0.5}


def test_names_come_back_in_the_order_asked_for():
    assert list(ranking_metrics([[0]], matrix([{0}], 2), metrics=("mrr", "auc", "map"))) == ["mrr", "auc", "map"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint64, np.int32, np.int64])
def test_ids_of_any_integer_type(dtype):
    got = ranking_metrics(np.array([[1, 2]], dtype=dtype), matrix([{2}], 3), metrics=["mrr"], train=matrix([{0}], 3))
    assert got == {"mrr": 0.5}


TEST = matrix([{0}, {1}], 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"metrics": ["recall", "f1"]},
            ValueError,
            "metrics has 'f1', which is unknown: choose from recall, capped_recall, precision, ndcg, map, hit_rate, "
            "mrr, auc",
        ),
        ({"metrics": "recall"}, TypeError, "metrics is the string 'recall': write ['recall']"),
        ({"ids": [0, 1]}, ValueError, "ids has shape (2,): (n_users, n) with n of at least 1 is wanted"),
        (
            {"ids": np.empty((2, 0), int)},
            ValueError,
            "ids has shape (2, 0): (n_users, n) with n of at least 1 is wanted",
        ),
        ({"ids": [[0.0], [1.0]]}, TypeError, "ids has dtype float64: integers are wanted"),
        ({"ids": [[0]]}, ValueError, "ids has 1 rows and test 2: row r of both must be the same user"),
        (
            {"ids": [[0, 1], [2, 3]]},
            ValueError,
            "ids[1, 1] is 3: an item id from 0 to 2 is wanted, or -1 for none",
        ),
        (
            {"ids": [[0, 1], [-2, 1]]},
            ValueError,
            "ids[1, 0] is -2: an item id from 0 to 2 is wanted, or -1 for none",
        ),
        (
            {"ids": [[0, 1, -1, -1], [2, 1, 0, 2]]},
            ValueError,
            "ids lists item 2 twice in row 1: each item once a row is wanted",
        ),
        ({"k": 3}, ValueError, "k is 3, but ids has 2 columns: recommend more items, or lower k"),
        (
            {"train": matrix([{0}], 3)},
            ValueError,
            "train has shape (1, 3) and test (2, 3): one shape for both is wanted",
        ),
        (
            {"train": matrix([{2}, {0}], 3)},
            ValueError,
            "ids[1, 1] is item 0, which train has for this user: leave out what users have when recommending, "
            "or leave out train here",
        ),
        (
            {"test": sp.csr_array(([0.0], ([0], [0])), shape=(2, 3))},
            ValueError,
            "test has no cell that is not 0: at least one user with a relevant item is wanted",
        ),
    ],
)
@pytest.mark.parametrize("function", [ranking_metrics, user_ranking_metrics])
def test_wrong_arguments_are_refused_in_a_sentence(function, arguments, error, message):
    with pytest.raises(error) as caught:
        function(**{"ids": [[0, 1], [1, 0]], "test": TEST} | arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(("k", "error"), [(0, ValueError), (-1, ValueError), (1.0, TypeError)])
def test_a_cutoff_below_1_or_not_an_integer_is_refused(k, error):
    with pytest.raises(error, match=r"\bk\b"):
        ranking_metrics([[0, 1], [1, 0]], TEST, k)


numbers = st.floats(-100, 100)


@given(st.lists(st.tuples(numbers, numbers, st.floats(0.25, 4.0)), min_size=1, max_size=8))
def test_rating_metrics_are_their_formulas(pairs):
    truth, predicted, weights = zip(*pairs, strict=True)
    squares = [(t - p) ** 2 for t, p, _ in pairs]
    rounding = {"rel": 20 * np.finfo(float).eps, "abs": 0.0}  # sums of at most 8 positive terms
    assert rmse(truth, predicted) == pytest.approx(math.sqrt(sum(squares) / len(pairs)), **rounding)
    assert mae(truth, predicted) == pytest.approx(sum(abs(t - p) for t, p, _ in pairs) / len(pairs), **rounding)
    weighted = math.sqrt(sum(w * s for w, s in zip(weights, squares, strict=True)) / sum(weights))
    assert weighted_rmse(truth, predicted, weights) == pytest.approx(weighted, **rounding)
    signed = [(t > 0) == (p >= 0) for t, p, _ in pairs if t != 0]
    if signed:
        assert sign_accuracy(truth, predicted) == pytest.approx(sum(signed) / len(signed), **rounding)


def test_rating_metrics_by_hand():
    assert rmse([1, 2, 3, 4], [2, 2, 3, 1]) == math.sqrt(10 / 4)
    assert mae([1, 2, 3, 4], [2, 2, 3, 1]) == 1.0
    assert weighted_rmse([1, 2], [3, 5], [3, 1]) == math.sqrt((3 * 4 + 9) / 4)


def test_equal_weights_of_any_scale_leave_the_rmse():
    assert weighted_rmse([1, 2, 4], [2, 2, 1], np.full(3, 0.125)) == rmse([1, 2, 4], [2, 2, 1])


def test_a_prediction_of_0_counts_as_positive_and_a_truth_of_0_not_at_all():
    assert sign_accuracy([1, 1, -1, 0], [0, -0.5, 0, 7]) == 1 / 3


@pytest.mark.parametrize("function", [rmse, mae, sign_accuracy, lambda t, p: weighted_rmse(t, p, np.ones(len(t)))])
@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        ([1.0, math.nan], [1.0, 1.0], "truth[1] is nan: finite numbers are wanted"),
        ([1.0, 1.0, 1.0], [1.0, 1.0, -math.inf], "predicted[2] is -inf: finite numbers are wanted"),
        ([[1.0]], [[1.0]], "truth has shape (1, 1): a 1-D array with one number a pair is wanted"),
        ([], [], "truth is empty: at least one pair is wanted"),
    ],
)
def test_wrong_pairs_are_refused_in_a_sentence(function, truth, predicted, message):
    with pytest.raises(ValueError) as caught:
        function(truth, predicted)
    assert str(caught.value) == message


@pytest.mark.parametrize("function", [rmse, mae, sign_accuracy])
def test_different_lengths_are_refused(function):
    with pytest.raises(ValueError) as caught:
        function([1.0, 2.0], [1.0])
    assert str(caught.value) == "lengths differ (truth 2, predicted 1): one number a pair is wanted in each"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], "lengths differ (truth 2, predicted 2, weights 1): one number a pair is wanted in each"),
        ([1.0, -0.5], "weights[1] is -0.5: weights of at least 0 are wanted"),
        ([0.0, 0.0], "weights are all 0: at least one positive weight is wanted"),
        ([math.inf, 1.0], "weights[0] is inf: finite numbers are wanted"),
    ],
)
def test_wrong_weights_are_refused_in_a_sentence(weights, message):
    with pytest.raises(ValueError) as caught:
        weighted_rmse([1.0, 2.0], [1.0, 2.0], weights)
    assert str(caught.value) == message


def test_a_truth_without_signs_is_refused():
    with pytest.raises(ValueError) as caught:
        sign_accuracy([0.0, 0.0], [1.0, 2.0])
    assert str(caught.value) == "truth is all 0: at least one positive or negative value is wanted"


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
        ({"test": np.zeros((40, 30))}, ValueError, "test has no cell that is not 0"),
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
    with pytest.raises(ValueError, match=r"negatives\[0, 1\] is 30: an item id from 0 to 29 is wanted"):
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
    with pytest.raises(ValueError, match="test has no stored cell"):
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
    message = r"^test.user_ids\[1\] is 'c', which is not among the 2 ids of the model .*; leave such rows out of test$"
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


def test_the_interval_holds_the_average_and_narrows_with_the_root_of_n():
    rng = np.random.default_rng(0)
    values = rng.random(400)
    low, high = bootstrap_interval(np.append(values, np.nan), n_resamples=2000)
    # 95% of a normal: 1.96 standard errors each way; the quantiles of 2000 resamples are good to about 5%.
    error = values.std() / 20
    np.testing.assert_allclose([low, high], values.mean() + error * np.array([-1.96, 1.96]), atol=0.2 * error)
    assert bootstrap_interval(values, n_resamples=2000) == bootstrap_interval(values, n_resamples=2000)
    evaluation = Evaluation(np.arange(400), {"ndcg@10": values}, {"ndcg@10": values.mean()})
    assert evaluation.interval("ndcg@10", n_resamples=2000) == (low, high)
    with pytest.raises(ValueError, match="no 'recall@10' for each user: choose from ndcg@10"):
        evaluation.interval("recall@10")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": [np.nan]}, "values holds no number"),
        ({"values": [1.0], "level": 1.0}, "level must lie between 0 and 1, got 1.0"),
        ({"values": [1.0], "n_resamples": 0}, "n_resamples must be at least 1"),
    ],
)
def test_the_interval_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(**arguments)
