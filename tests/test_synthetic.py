"""Generated ratings: counts, degrees, rank, seeds."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastals.data import generated as module
from fastals.data.generated import synthetic
from tests.tables import rows_of


@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.floats(0, 1),
    st.integers(1, 3),
    st.tuples(st.floats(0, 10), st.floats(0, 10)),
    st.integers(0, 99),
)
def test_synthetic_keeps_its_guarantees(n_users, n_items, fill, rank, exponent, seed):
    n_cells = n_users + round(fill * n_users * (n_items - 1))
    ratings = synthetic(n_users, n_items, n_cells, rank, exponent, seed)
    assert ratings.shape == (n_users, n_items)
    assert len(set(zip(ratings.users.tolist(), ratings.items.tolist(), strict=True))) == len(ratings) == n_cells
    assert np.bincount(ratings.users, minlength=n_users).min() >= 1
    assert set(ratings.values.tolist()) <= {1, 2, 3, 4, 5}
    assert ratings.times is not None
    assert (np.diff(ratings.times) > 0).all()


def test_synthetic_is_reproducible_and_the_seed_counts():
    first, again, other = (synthetic(200, 100, 3000, random_state=seed) for seed in (5, 5, 6))
    assert rows_of(first) == rows_of(again)
    assert rows_of(first) != rows_of(other)


def test_synthetic_users_have_the_planned_degrees():
    users = np.sort(np.bincount(synthetic(2000, 4000, 100_000).users))[::-1]
    law = ((np.arange(2000) + 0.5) / 2000 + 1 / 1000) ** -0.8
    expected = 1 + 98_000 * law / law.sum()
    assert expected.max() < 4000  # no user is limited by the number of items
    assert np.abs(users - expected).max() <= 1


def test_synthetic_items_are_skewed_by_their_exponent():
    def gini(exponent):
        degrees = np.sort(np.bincount(synthetic(2000, 1000, 50_000, exponent=(0.8, exponent)).items, minlength=1000))
        return 1 - 2 * (np.cumsum(degrees) / degrees.sum()).mean()

    ginis = [gini(exponent) for exponent in (0.0, 1.0, 2.0)]
    assert ginis == sorted(ginis)
    # A law of exponent 2 alone has a Gini coefficient of 0.9; draws without replacement flatten its head.
    assert 0.6 < ginis[2] < 0.9


def test_synthetic_ratings_have_the_planted_rank():
    rank = 4
    dense = synthetic(300, 200, 60_000, rank=rank).matrix().toarray()
    spectrum = np.linalg.svd(dense, compute_uv=False)
    # Noise of deviation 0.6 and rounding (1 / sqrt(12)) have a norm of about sd * (sqrt(300) + sqrt(200)).
    noise = np.sqrt(0.6**2 + 1 / 12) * (np.sqrt(300) + np.sqrt(200))
    assert spectrum[rank - 1] > 3 * noise
    assert spectrum[rank] < 1.5 * noise


@pytest.mark.parametrize("rounds", [0, 1, 8])  # the race alone, both, almost only repeated draws
def test_cells_are_drawn_without_replacement_by_the_planted_probabilities(monkeypatch, rounds):
    monkeypatch.setattr(module, "_DRAW_ROUNDS", rounds)
    n_users, taste = 20_000, np.array([0.3, 0.7])
    appeals = np.array([[4.0, 1.0], [1.0, 2.0], [0.5, 0.5], [0.2, 1.0]])
    cells = module._draw_cells(np.full(n_users, 2), np.tile(taste, (n_users, 1)), appeals, np.random.default_rng(0))
    chosen = np.zeros((n_users, 4), bool)
    chosen.flat[cells] = True
    np.testing.assert_array_equal(chosen.sum(axis=1), 2)
    p = appeals @ taste / (appeals @ taste).sum()
    for i in range(4):
        for j in range(i):
            expected = p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j])
            deviation = np.sqrt(expected * (1 - expected) / n_users)
            assert abs((chosen[:, i] & chosen[:, j]).mean() - expected) < 4 * deviation


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 5, 5), ValueError, "n_users must be at least 1, got 0"),
        ((5, 2.5, 5), TypeError, "n_items must be an integer, got 2.5"),
        ((5, 5, 4), ValueError, "n_cells must be from n_users to n_users * n_items, 5 to 25, got 4"),
        ((5, 5, 26), ValueError, "n_cells must be from n_users to n_users * n_items, 5 to 25, got 26"),
        ((5, 5, 20, True), TypeError, "rank must be an integer, got True"),
        ((5, 5, 20, 2, (1, -1)), ValueError, "exponent must be two numbers from 0 to 10, for users and for items"),
        ((5, 5, 20, 2, (1, np.nan)), ValueError, "exponent must be two numbers from 0 to 10"),
        ((5, 5, 20, 2, (1,)), ValueError, "exponent must be two numbers from 0 to 10"),
    ],
)
def test_synthetic_refuses_arguments_out_of_range(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        synthetic(*arguments)
