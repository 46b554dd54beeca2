"""Folds: every event once, every user's events spread evenly."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastals import Interactions
from fastals.evaluation import UserFolds


@given(users=st.lists(st.integers(0, 6), min_size=1, max_size=60), n_splits=st.integers(2, 7), seed=st.integers(0, 99))
def test_folds_share_out_each_users_events(users, n_splits, seed):
    table = {"who": users, "item": range(len(users))}
    folds = list(UserFolds(n_splits, user="who", random_state=seed).split(table))
    assert len(folds) == n_splits == UserFolds(n_splits).get_n_splits(table)
    for train, test in folds:
        assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(len(users)))
        assert set(np.array(users)[test]) <= set(np.array(users)[train])
    held_out = np.concatenate([test for _, test in folds])
    counts = np.bincount(users, minlength=7)
    assert sorted(held_out) == [row for row, user in enumerate(users) if counts[user] > 1]
    for user in np.flatnonzero(counts > 1):
        sizes = [np.count_nonzero(np.array(users)[test] == user) for _, test in folds]
        assert max(sizes) - min(sizes) <= 1


@given(
    events=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=40),
    n_splits=st.integers(2, 4),
)
def test_events_of_one_user_and_item_stay_together(events, n_splits):
    users, items = zip(*events, strict=True)
    table = {"who": users, "what": items}
    folds = UserFolds(n_splits, user="who", item="what", random_state=0)
    wanted = [[part.tolist() for part in fold] for fold in folds.split(table)]
    for form in (events, Interactions.from_triplets(users, items)):
        assert [[part.tolist() for part in fold] for fold in folds.split(form)] == wanted
    items_of = {user: {item for other, item in events if other == user} for user in users}
    held_out = [event for _, test in wanted for event in test]
    assert sorted(held_out) == [place for place, (user, _) in enumerate(events) if len(items_of[user]) > 1]
    for train, test in wanted:
        assert not {events[place] for place in train} & {events[place] for place in test}


def test_all_kinds_of_events_are_split_alike():
    users, items = ["b", "a", "b", "a", "b", "c"], [1, 2, 3, 4, 5, 6]
    frame = pd.DataFrame({"user": users, "item": items})
    rows = list(zip(users, items, strict=True))
    forms = frame, pl.DataFrame({"user": users, "item": items}), rows, np.array(rows, object)
    folds = UserFolds(2, random_state=3)
    wanted = [[part.tolist() for part in fold] for fold in folds.split(Interactions.from_triplets(users, items))]
    for form in forms:
        assert [[part.tolist() for part in fold] for fold in folds.split(form, None, None)] == wanted
    assert repr(folds) == "UserFolds(n_splits=2, random_state=3)"


@pytest.mark.parametrize(
    ("folds", "events", "sentence"),
    [
        (UserFolds(1), {"user": [1, 1]}, "^n_splits must be at least 2, got 1$"),
        (UserFolds(user="who"), {"user": [1, 1]}, "user='who' is not a column of the dict; it has 'user'"),
        (UserFolds(), [1, 2], r"^X has shape \(2,\): pass a table, Interactions, or rows"),
        (UserFolds(), {"user": ["a", None]}, r"^column 'user', row 1 is None"),
    ],
)
def test_what_cannot_be_split(folds, events, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        folds.split(events)
