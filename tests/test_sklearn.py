"""The encoder of ids against `Interactions` made by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from fastals import Interactions, NotFittedError
from fastals.compat.sklearn import InteractionsEncoder

USERS, ITEMS, VALUES = ["b", "a", "b"], [30, 10, 10], [2.0, 3.0, 4.0]
FRAME = pd.DataFrame({"who": USERS, "what": ITEMS, "much": VALUES, "when": [3, 2, 1]})
ROWS = list(zip(USERS, ITEMS, VALUES, strict=True))


def same(one: Interactions, other: Interactions) -> bool:
    return (
        one.user_ids.same_as(other.user_ids) and one.item_ids.same_as(other.item_ids) and not (one.csr != other.csr).nnz
    )


@pytest.mark.parametrize(
    "events", [FRAME, ROWS, np.array(ROWS, object), Interactions.from_triplets(USERS, ITEMS, VALUES)]
)
def test_events_become_interactions(events):
    encoder = InteractionsEncoder("who", "what", "much", dtype="float64")
    found = encoder.fit_transform(events)
    assert same(found, Interactions.from_triplets(USERS, ITEMS, VALUES, dtype="float64"))
    assert found.dtype == np.float64
    later = clone(encoder).fit(events).transform([("a", 30, 5.0), ("new", 30, 1.0), ("b", 99, 1.0)])
    assert later.csr.toarray().tolist() == [[0, 5], [0, 0]]
    with pytest.raises(ValueError, match=r"user_ids\[1\] is 'new', which is not among the 2 ids of the fit"):
        encoder.set_params(unknown="raise").transform([("a", 30, 5.0), ("new", 30, 1.0)])


def test_times_and_pairs():
    found = InteractionsEncoder("who", "what", time="when").fit_transform(FRAME)
    assert found.times.tolist() == [3, 2, 1]
    assert InteractionsEncoder().fit_transform(np.array([[7, 8], [9, 8]])).csr.toarray().tolist() == [[1], [1]]


@pytest.mark.parametrize(
    ("encoder", "events", "sentence"),
    [
        (InteractionsEncoder(), FRAME, "user='user' is not a column of the DataFrame; it has 'who'"),
        (InteractionsEncoder(), [("a",)], r"^X has shape \(1, 1\): pass a table, or rows"),
        (InteractionsEncoder(), Interactions([[1, 0]]), "^X has no ids of users and items"),
        (InteractionsEncoder(unknown="x"), ROWS, "^unknown must be one of 'raise', 'ignore', got 'x'$"),
    ],
)
def test_wrong_events(encoder, events, sentence):
    with pytest.raises(ValueError, match=sentence):
        encoder.fit(events)


def test_wrong_order_and_targets():
    with pytest.raises(NotFittedError, match="is not fitted yet: call fit"):
        InteractionsEncoder().transform(ROWS)
    with pytest.raises(TypeError, match=r"^y must be None, got list"):
        InteractionsEncoder().fit(ROWS, [1, 2, 3])
