"""The metrics against their formulas written out user by user, and hand-computed cases."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from fastals.evaluation import (
    RANKING_METRICS,
    mae,
    ranking_metrics,
    rmse,
    sign_accuracy,
    user_ranking_metrics,
    weighted_rmse,
)
from tests.helpers import matrix_of_sets as matrix


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
        ([1.0, math.nan], [1.0, 1.0], "truth[1] is nan: all numbers must be finite"),
        ([1.0, 1.0, 1.0], [1.0, 1.0, -math.inf], "predicted[2] is -inf: all numbers must be finite"),
        ([[1.0]], [[1.0]], "truth has shape (1, 1): pass a 1-D array with one number for each pair"),
        ([], [], "truth is empty: pass at least one pair"),
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
    assert str(caught.value) == "lengths differ (truth 2, predicted 1): pass one number for each pair in each"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], "lengths differ (truth 2, predicted 2, weights 1): pass one number for each pair in each"),
        ([1.0, -0.5], "weights[1] is -0.5: all weights must be at least 0"),
        ([0.0, 0.0], "weights are all 0: at least one must be positive"),
        ([math.inf, 1.0], "weights[0] is inf: all numbers must be finite"),
    ],
)
def test_wrong_weights_are_refused_in_a_sentence(weights, message):
    with pytest.raises(ValueError) as caught:
        weighted_rmse([1.0, 2.0], [1.0, 2.0], weights)
    assert str(caught.value) == message


def test_a_truth_without_signs_is_refused():
    with pytest.raises(ValueError) as caught:
        sign_accuracy([0.0, 0.0], [1.0, 2.0])
    assert str(caught.value) == "truth is all 0: at least one value must be positive or negative"
