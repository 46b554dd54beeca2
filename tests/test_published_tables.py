"""fastals.published: its splits, its tables as data, and on the real data the published figures."""

import re

import numpy as np
import pytest

from fastals import published
from fastals.datasets import synthetic


@pytest.fixture(scope="module")
def small():
    return published.prepare(synthetic(60, 40, 1500))


@pytest.fixture(scope="module")
def movielens(data_dir):
    return published.load()


def by_name(table):
    return {row[0]: row[1:] for row in table.rows}


def test_test_rows_are_of_known_users_and_known_items(small):
    train, test, known = small.temporal
    counts = np.bincount(train.users, minlength=60)
    assert counts[test.users].min() >= 10
    assert np.isin(known.items, train.items).all()
    assert train.times.max() <= test.times.min()


def test_the_standard_error_is_that_of_these_users(small):
    table = published.ranking(small, ties=("file",))
    recall, n_users = table.rows[-1][3], len(small.held_out["file"][1])
    assert f"over {n_users} users" in table.note
    assert f"last row is {np.sqrt(recall * (1 - recall) / n_users):.3f}." in table.note


def test_the_small_example_keeps_its_ratings_and_fills_in_the_rest():
    rows = by_name(published.small_example())
    given = [[cell if isinstance(cell, int) else None for cell in cells] for cells in rows.values()]
    assert given == [list(row) for row in published.EXAMPLE]
    # Users 1 and 2 agree where both have rated, and so do their filled-in ratings with what the other gave.
    assert rows["user 1"][2] == pytest.approx(2, abs=1)
    assert rows["user 2"][1] == pytest.approx(3, abs=1)


def test_the_numpy_loop_and_ours_give_one_answer(small):
    table = published.speed(small, iterations=3)
    assert float(re.search(r"differ by at most (\S+) ", table.note)[1]) < 1e-3
    loop, ours = by_name(table).values()
    assert loop[2] == 1
    assert ours[2] == round(loop[0] / ours[0])


# On the real data: the published figures.


def test_ranking_is_ahead_of_the_published_one(movielens):
    rows = by_name(published.ranking(movielens, ties=("file",)))
    assert rows["Popularity"][3] == pytest.approx(
        0.0399, abs=5e-5
    )  # the published NDCG: its split is the first of ours
    for name in ("ImplicitALS, as in the ALS notes", "ImplicitALS, tuned"):
        published_recall, published_ndcg, recall, ndcg, *_ = rows[name]
        assert (published_recall, published_ndcg) == (0.1316, 0.0675)
        assert recall > published_recall and ndcg > published_ndcg


def test_rating_errors_are_the_published_ones_and_better_with_biases(movielens):
    assert (len(movielens.temporal.test), len(movielens.temporal.test_known)) == (2875, 2786)
    rows = by_name(published.rating_errors(movielens))
    for name in ("GlobalMean", "ItemBias", "plain ALS, zeros are data", "WALS, linear weights"):
        # The article's sort is not stable: a few rows at the border of the split are others.
        assert rows[name][0] == pytest.approx(rows[name][1], abs=2e-3)
    assert rows["ExplicitALS, biases, tuned"][2] < 0.9774


def test_sign_accuracies_are_the_published_ones_and_better_with_biases(movielens):
    rows = by_name(published.sign_accuracies(movielens))
    for name in ("GlobalMean", "ItemBias", "plain ALS, zeros are data", "WALS, linear weights"):
        assert rows[name][0] == pytest.approx(rows[name][1], abs=2e-3)
    assert rows["ExplicitALS, biases, tuned"][2] > 0.6831
