"""Metrics beyond hits against their definitions, written out list by list."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from fastals.evaluation import graded_ndcg, intra_list_diversity, miscalibration, serendipity


@st.composite
def lists(draw):
    """Lists of distinct items, some shorter than others, and a generator."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_users, n_items = draw(st.integers(1, 6)), draw(st.integers(3, 9))
    n = draw(st.integers(1, n_items))
    ids = np.array([rng.permutation(n_items)[:n] for _ in range(n_users)])
    for row in ids:
        row[n - rng.integers(0, 3) :] = -1 if n > 2 else row[n:].sum() or -1
    return ids, n_items, rng


@given(lists(), st.sampled_from(["linear", "exponential"]))
def test_graded_ndcg_is_scikit_learns(case, gain):
    ids, n_items, rng = case
    test = rng.integers(0, 6, (len(ids), n_items)).astype(float)
    found = graded_ndcg(ids, test, gain=gain)
    k = ids.shape[1]
    for row, listed in enumerate(ids):
        gains = test[row] if gain == "linear" else 2 ** test[row] - 1
        if not gains.any():
            assert np.isnan(found[row])
            continue
        there = listed[listed >= 0]
        # What is listed gets falling scores; what is not gets none, in places without a gain at the end.
        scores, padded = np.zeros(n_items + k), np.concatenate([gains, np.zeros(k)])
        scores[there] = 3 * k - np.arange(len(there))
        scores[n_items:] = np.arange(k, 0, -1)
        wanted = ndcg_score([padded], [scores], k=k)
        assert found[row] == pytest.approx(wanted, rel=1e-12, abs=1e-15)


@given(lists())
def test_diversity_is_the_average_over_pairs(case):
    ids, n_items, rng = case
    features = rng.integers(0, 3, (n_items, 3)).astype(float)
    found = intra_list_diversity(ids, features)
    for row, listed in enumerate(ids):
        there = listed[listed >= 0]
        apart = []
        for a in range(len(there)):
            for b in range(a):
                x, y = features[there[a]], features[there[b]]
                size = np.sqrt((x @ x) * (y @ y))
                apart.append(1 - (x @ y / size if size else 0))
        # A zero vector has no length of its own either, so it takes part with a cosine of 0.
        assert (np.isnan(found[row]) and not apart) or found[row] == pytest.approx(np.mean(apart), abs=1e-12)


@given(lists())
def test_serendipity_counts_what_is_relevant_and_not_obvious(case):
    ids, n_items, rng = case
    test = rng.integers(0, 2, (len(ids), n_items))
    test[0, 0] = 1
    obvious = np.array([rng.permutation(n_items)[:2] for _ in ids])
    found = serendipity(ids, obvious, test)
    for row, listed in enumerate(ids):
        if not test[row].any():
            assert np.isnan(found[row])
            continue
        wanted = [i for i in listed if i >= 0 and test[row, i] and i not in obvious[row][: ids.shape[1]]]
        assert found[row] == len(wanted) / ids.shape[1]


@given(lists())
def test_miscalibration_is_the_divergence(case):
    ids, n_items, rng = case
    train, genres = rng.integers(0, 2, (len(ids), n_items)), rng.integers(0, 2, (n_items, 3)).astype(float)
    train[0, 0] = 1
    found = miscalibration(ids, train, genres, smoothing=0.1)

    def distribution(items):
        total = sum((genres[i] / genres[i].sum() for i in items if genres[i].any()), np.zeros(3))
        return total / total.sum() if total.any() else None

    for row, listed in enumerate(ids):
        p, q = distribution(np.flatnonzero(train[row])), distribution(listed[listed >= 0])
        if p is None or q is None:
            assert np.isnan(found[row])
            continue
        wanted = sum(p[c] * np.log(p[c] / (0.9 * q[c] + 0.1 * p[c])) for c in range(3) if p[c])
        assert found[row] == pytest.approx(wanted, abs=1e-12)


def test_the_first_places_alone():
    ids, test = [[2, 0, 1]], [[3.0, 0, 1]]
    np.testing.assert_array_equal(graded_ndcg(ids, test, 1), [1 / 3])
    np.testing.assert_array_equal(serendipity(ids, [[0, 1, 2]], test, 2), [0.5])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: graded_ndcg([[0]], [[-1.0]]), "^test has the value -1: gains must be at least 0$"),
        (lambda: graded_ndcg([[0]], [[1.0]], 2), "^k must be an integer from 1 to 1, the columns of ids, got 2$"),
        (lambda: graded_ndcg([[0]], [[1.0]], gain="log"), "^gain must be one of 'linear', 'exponential', got 'log'$"),
        (lambda: intra_list_diversity([[5]], [[1.0]]), r"^ids\[0, 0\] is 5: items run from 0 to 0"),
        (lambda: intra_list_diversity([[0]], [1.0]), r"^features of items must be a 2-D array"),
        (lambda: miscalibration([[0]], [[1]], [[1], [1]]), "^categories has 2 rows and train 1 items: pass a row an"),
        (lambda: miscalibration([[0]], [[1]], [[-1]]), "^categories has the number -1: all must be at least 0$"),
        (lambda: miscalibration([[0]], [[1]], [[1]], smoothing=0), "^smoothing must lie between 0 and 1, got 0$"),
    ],
)
def test_bad_input_is_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
