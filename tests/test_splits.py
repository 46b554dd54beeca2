"""Splits of interactions: sizes, order, ties, seeds, and tables in place of interactions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastals import Interactions
from fastals.data.readers import read_ratings
from fastals.data.splits import (
    k_core,
    rolling_windows,
    split_at_time,
    split_by_time,
    split_each_user,
    split_folds,
    split_leave_last_out,
    split_new_users,
    split_random,
    split_user_folds,
    without_known,
)
from tests.tables import ratings_of, rows_of


@st.composite
def timed_ratings(draw):
    """Ratings with many ties whose values tell the rows apart."""
    rows = draw(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 3)), min_size=2, max_size=40))
    users, items, times = zip(*rows, strict=True)
    return ratings_of(users, items, np.arange(len(rows)), times)


def assert_parts(ratings, train, test):
    """Nothing lost, nothing twice, the order and the tables kept."""
    in_test = np.isin(ratings.values, test.values)
    assert rows_of(ratings.select(in_test)) == rows_of(test)
    assert rows_of(ratings.select(~in_test)) == rows_of(train)
    assert train.shape == test.shape == ratings.shape


@given(timed_ratings(), st.integers(0, 3))
def test_what_users_have_is_left_out_of_the_test_part(ratings, when):
    try:
        train, test = split_at_time(ratings, when)
    except ValueError:  # a part is empty
        return
    has = set(zip(train.users.tolist(), train.items.tolist(), strict=True))
    wanted = [
        row for row, pair in enumerate(zip(test.users.tolist(), test.items.tolist(), strict=True)) if pair not in has
    ]
    assert rows_of(without_known(test, train)) == rows_of(test.select(wanted))


def test_parts_of_two_splits_are_not_compared():
    one, other = Interactions.from_triplets(["a", "b"], [1, 2]), Interactions.from_triplets(["a", "c"], [1, 2])
    for train in (other, Interactions(np.eye(2)), Interactions(np.eye(3))):
        with pytest.raises(ValueError, match=r"^test and train number their .*users.* differently: pass both parts"):
            without_known(one, train)


@given(timed_ratings(), st.floats(0.01, 0.99), st.integers(0, 9))
def test_random_split(ratings, share, seed):
    size = round(share * len(ratings))
    if not 0 < size < len(ratings):
        with pytest.raises(ValueError, match="both sides of a split need at least one row"):
            split_random(ratings, share, seed)
        return
    train, test = split_random(ratings, share, seed)
    assert_parts(ratings, train, test)
    assert len(test) == size
    assert rows_of(split_random(ratings, share, seed)[1]) == rows_of(test)


def test_random_split_follows_its_seed_and_needs_no_times():
    ratings = ratings_of(np.arange(100), np.zeros(100))
    first, second = (split_random(ratings, random_state=seed)[1] for seed in (0, 1))
    assert len(first) == 20
    assert rows_of(first) != rows_of(second)


@given(timed_ratings())
def test_split_by_time(ratings):
    train, test = split_by_time(ratings, 0.5)
    assert_parts(ratings, train, test)
    by_time = sorted(rows_of(ratings), key=lambda row: row[3])
    assert sorted(rows_of(test)) == sorted(by_time[len(ratings) - round(0.5 * len(ratings)) :])


LAST = {
    "file": lambda row: (row[3], row[2]),
    "first": lambda row: (row[3], -row[2]),
    "item": lambda row: (row[3], row[1], row[2]),
    "item_descending": lambda row: (row[3], -row[1], row[2]),
}


@given(timed_ratings(), st.integers(1, 3), st.sampled_from([*LAST, "random"]), st.integers(0, 9))
def test_leave_last_out(ratings, n, ties, seed):
    counts = np.bincount(ratings.users)
    if counts.max() <= n:
        with pytest.raises(ValueError, match=f"no user has more than n = {n} rows"):
            split_leave_last_out(ratings, n, ties, seed)
        return
    train, test = split_leave_last_out(ratings, n, ties, seed)
    assert_parts(ratings, train, test)
    np.testing.assert_array_equal(np.bincount(test.users, minlength=counts.size), np.where(counts > n, n, 0))
    for user in np.flatnonzero(counts > n):
        held, kept = ([row for row in rows_of(part) if row[0] == user] for part in (test, train))
        assert min(row[3] for row in held) >= max(row[3] for row in kept)
        if ties in LAST:
            assert min(map(LAST[ties], held)) > max(map(LAST[ties], kept))


def test_random_ties_follow_their_seed():
    ratings = ratings_of(np.repeat(np.arange(50), 4), np.tile(np.arange(4), 50), times=np.zeros(200))
    items = [split_leave_last_out(ratings, ties="random", random_state=seed)[1].items.tolist() for seed in (0, 0, 1)]
    assert items[0] == items[1] != items[2]
    assert set(items[0]) == {0, 1, 2, 3}


def test_splits_refuse_what_they_cannot_do():
    timed, untimed = ratings_of([0, 0], [0, 1], times=[1, 2]), ratings_of([0, 0], [0, 1])
    for share in (0, 1, -0.5, np.nan):
        for split in (split_random, split_by_time):
            with pytest.raises(ValueError, match="test_share must lie between 0 and 1, got"):
                split(timed, share)
    for split in (split_by_time, split_leave_last_out):
        with pytest.raises(ValueError, match=r"ratings have no times, which this split needs; .* use split_random"):
            split(untimed, **({"test_share": 0.5} if split is split_by_time else {}))
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        split_leave_last_out(timed, 0)
    with pytest.raises(TypeError, match=r"n must be an integer, got 1\.5"):
        split_leave_last_out(timed, 1.5)
    with pytest.raises(ValueError, match=r"ties must be one of 'file', 'first', .* got 'last'"):
        split_leave_last_out(timed, ties="last")
    with pytest.raises(ValueError, match="no user has more than n = 1 rows"):
        split_leave_last_out(timed.select([]))


@given(timed_ratings(), st.floats(0.1, 0.9), st.floats(0.1, 0.9), st.integers(0, 9))
def test_new_users_are_held_out_entirely(ratings, test_share, given_share, seed):
    try:
        parts = split_new_users(ratings, test_share, given_share, seed)
    except ValueError as error:
        assert "leaves a part without rows" in str(error)
        return
    old, new = set(parts.train.users.tolist()), set(parts.given.users.tolist())
    assert new == set(parts.test.users.tolist())
    assert not old & new
    assert_parts(ratings.select(np.isin(ratings.users, list(old))), *split_nothing(parts.train))
    items = set(parts.train.items.tolist())
    kept = [row for row in rows_of(ratings) if row[0] in new and row[1] in items]
    assert sorted(rows_of(parts.given) + rows_of(parts.test)) == sorted(kept)
    for user in new:
        n_given = int((parts.given.users == user).sum())
        n = n_given + int((parts.test.users == user).sum())
        assert n_given == min(max(round(given_share * n), 1), n - 1)


def split_nothing(ratings):
    return ratings, ratings.select([])


def test_new_users_follow_their_seed():
    ratings = ratings_of(np.repeat(np.arange(20), 10), np.tile(np.arange(10), 20))
    first, again, other = (split_new_users(ratings, 0.2, random_state=seed) for seed in (0, 0, 1))
    assert len(first.given) == 32
    assert len(first.test) == 8
    assert rows_of(first.test) == rows_of(again.test) != rows_of(other.test)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"test_share": 1.0}, "test_share must lie between 0 and 1, got 1.0"),
        ({"given_share": 0.0}, "given_share must lie between 0 and 1, got 0.0"),
        ({"test_share": 0.01}, "of 3 users leaves a part without rows"),
    ],
)
def test_new_users_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        split_new_users(ratings_of([0, 1, 2], [0, 0, 0]), **arguments)


def test_temporal_split_of_movielens(data_dir):
    """The first 80,000 ratings by time are of 751 users, and 107 users with 10 of them have 2,875 later ones."""
    train, test = split_by_time(read_ratings(data_dir / "ml-100k" / "u.data"))
    counts = np.bincount(train.users, minlength=943)
    assert (len(train), np.count_nonzero(counts)) == (80_000, 751)
    known = test.users[counts[test.users] >= 10]
    assert (known.size, np.unique(known).size) == (2875, 107)


@pytest.mark.parametrize(("ties", "hits"), [("file", 74), ("first", 79), ("item", 56), ("item_descending", 94)])
def test_ties_decide_the_hit_rate_of_popularity(data_dir, ties, hits):
    """The number of the 942 users with a held-out positive among the 10 most popular items they do not have."""
    ratings = read_ratings(data_dir / "ml-100k" / "u.data")
    train, test = split_leave_last_out(ratings.select(ratings.values >= 4), ties=ties)
    assert len(test) == 942
    scores = np.bincount(train.items, minlength=ratings.shape[1]) * np.ones((943, 1))
    scores[train.users, train.items] = -1
    held_out = scores[test.users, test.items][:, None]
    # Items of equal popularity at rank 10 leave the count open by one: give the held-out item the first and last place.
    ranks_first = (scores[test.users] > held_out).sum(axis=1)
    ranks_last = (scores[test.users] >= held_out).sum(axis=1) - 1
    assert (ranks_last < 10).sum() <= hits <= (ranks_first < 10).sum() <= (ranks_last < 10).sum() + 1


# Shares of each user, a point of time, windows, folds, cores.


def events_of(users, items, times):
    columns = {"user": users, "item": items, "time": times}
    return Interactions.from_frame(columns, user="user", item="item", time="time")


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.5, 0.75]), st.sampled_from(["random", "time"]))
def test_each_user_loses_the_same_share(seed, share, by):
    rng = np.random.default_rng(seed)
    events = events_of(rng.integers(0, 6, 40), np.arange(40), rng.integers(0, 9, 40))
    train, test = split_each_user(events, share, by, random_state=seed)
    assert sorted([*train.items, *test.items]) == list(range(40))
    for user in range(events.shape[0]):
        n = np.count_nonzero(events.users == user)
        held = test.times[test.users == user]
        assert len(held) == (max(1, math.floor(share * n + 1e-9)) if n > 1 else 0)
        if by == "time" and len(held):
            assert train.times[train.users == user].max() <= held.min()


def test_a_point_of_time_and_windows():
    rng = np.random.default_rng(0)
    events = events_of(rng.integers(0, 5, 50), np.arange(50), rng.permutation(50))
    train, test = split_at_time(events, 30)
    assert train.times.max() == 29 and test.times.min() == 30 and len(test) == 20
    windows = rolling_windows(events, 3, 0.2)
    assert [(len(train), sorted(test.times)) for train, test in windows] == [
        (20, list(range(20, 30))),
        (30, list(range(30, 40))),
        (40, list(range(40, 50))),
    ]
    assert all(train.times.max() < test.times.min() for train, test in windows)


def test_folds_hold_out_every_row_and_every_user_once():
    rng = np.random.default_rng(0)
    events = events_of(np.repeat(np.arange(10), 7), rng.integers(0, 9, 70), np.arange(70))
    folds = split_folds(events, 4, random_state=0)
    assert sorted(time for _, test in folds for time in test.times) == list(range(70))
    assert sorted(len(test) for _, test in folds) == [17, 17, 18, 18]
    assert all(not set(train.times) & set(test.times) and len(train) + len(test) == 70 for train, test in folds)
    by_user = split_user_folds(events, 3, random_state=0)
    new = [set(fold.test.users) for fold in by_user]
    assert sorted(user for users in new for user in users) == list(range(10))
    assert all(
        not set(fold.train.users) & (set(fold.given.users) | users) for fold, users in zip(by_user, new, strict=True)
    )


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 3))
def test_the_core_is_the_largest_in_which_all_have_enough(seed, users, items):
    matrix = np.random.default_rng(seed).random((8, 8)) < 0.35
    left = matrix.copy()
    while True:
        fewer = left & (left.sum(axis=1, keepdims=True) >= users) & (left.sum(axis=0, keepdims=True) >= items)
        if (fewer == left).all():
            break
        left = fewer
    if not left.any():
        with pytest.raises(ValueError, match=r"^(no users with|.*no )"):
            k_core(matrix.astype(float), users, items)
        return
    np.testing.assert_array_equal(k_core(matrix.astype(float), users, items).csr.toarray() > 0, left)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda events: split_each_user(events, 1.0), "^test_share must lie between 0 and 1, got 1.0$"),
        (lambda events: split_each_user([[1, 0], [0, 1]]), "^no user has two rows, so none can be held out"),
        (lambda events: split_each_user([[1, 1]], by="time"), "^ratings have no times"),
        (lambda events: split_at_time(events, 99), "^when is 99, and the times of ratings run from 0 to 3: both sides"),
        (lambda events: rolling_windows(events, 4, 0.25), "^n_windows = 4 of 1 rows each leave none of 4 rows to"),
        (lambda events: split_folds(events, 1), "^n_folds must be at least 2, got 1$"),
        (lambda events: split_folds(events, 5), "^n_folds = 5 is above the number of rows, 4$"),
        (lambda events: split_user_folds(events, 3), "^n_folds = 3 is above the number of users, 2$"),
        (lambda events: split_user_folds(events, 2, 1), "^given_share must lie between 0 and 1, got 1$"),
        (lambda events: k_core(events, 0), "^users must be at least 1, got 0$"),
    ],
)
def test_what_cannot_be_split_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(events_of([1, 1, 2, 2], [7, 8, 7, 8], [0, 1, 2, 3]))
