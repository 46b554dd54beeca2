"""What is refused of ranked lists, and the order of train and test."""

import numpy as np
import pytest
import scipy.sparse as sp

from fastals.evaluation import (
    ranking_metrics,
    user_ranking_metrics,
)
from tests.helpers import matrix_of_sets as matrix

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
        ({"ids": [0, 1]}, ValueError, "ids has shape (2,): pass an array of shape (n_users, n) with n of at least 1"),
        (
            {"ids": np.empty((2, 0), int)},
            ValueError,
            "ids has shape (2, 0): pass an array of shape (n_users, n) with n of at least 1",
        ),
        ({"ids": [[0.0], [1.0]]}, TypeError, "ids has dtype float64: pass integers, the column numbers of test"),
        ({"ids": [[0]]}, ValueError, "ids has 1 rows and test 2: row r of both must be the same user"),
        (
            {"ids": [[0, 1], [2, 3]]},
            ValueError,
            "ids[1, 1] is 3: items run from 0 to 2, and -1 is an empty place",
        ),
        (
            {"ids": [[0, 1], [-2, 1]]},
            ValueError,
            "ids[1, 0] is -2: items run from 0 to 2, and -1 is an empty place",
        ),
        (
            {"ids": [[0, 1, -1, -1], [2, 1, 0, 2]]},
            ValueError,
            "ids lists item 2 twice in row 1: list each item once",
        ),
        ({"k": 3}, ValueError, "k is 3, but ids has 2 columns: recommend more items, or lower k"),
        (
            {"train": matrix([{0}], 3)},
            ValueError,
            "train has shape (1, 3) and test (2, 3): both must have one shape",
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
            "test has no value other than 0: at least one user needs a relevant item",
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
