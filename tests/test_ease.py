"""EASE against its closed form."""

import numpy as np
import pytest
import scipy.sparse as sp

from fastals.evaluation import EASE


def closed_form(X, ridge):
    """Write the definition out, in float64."""
    P = np.linalg.inv(X.T @ X + ridge * np.eye(X.shape[1]))
    return np.eye(X.shape[1]) - P @ np.diag(1 / np.diag(P))


@pytest.mark.parametrize("n_items", [1, 7, 300, 530])  # 300 and 530 take several tiles
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_are_the_closed_form(n_items, dtype):
    rng = np.random.default_rng(n_items)
    X = rng.integers(1, 4, (80, n_items)) * (rng.random((80, n_items)) < 0.2)
    model = EASE(5.0, dtype).fit(sp.csr_array(X, dtype=float))
    B = model.item_weights_
    assert B.dtype == dtype
    wanted = closed_form(X.astype(float), 5.0)
    condition = np.linalg.cond(X.T @ X + 5.0 * np.eye(n_items))
    # The relative error of the inverse, times the largest quotient of two of its numbers.
    np.testing.assert_allclose(B, wanted, rtol=0, atol=20 * np.finfo(dtype).eps * condition)
    np.testing.assert_array_equal(np.diag(B), np.zeros(n_items))
    users, items = np.divmod(np.arange(X.size), n_items)
    np.testing.assert_allclose(model.predict(users, items), (X @ B.astype(float)).ravel(), rtol=1e-4, atol=1e-4)


def test_it_lists_negative_scores_and_similar_items():
    X = np.array([[1.0, 1, 0], [0, 1, 1], [1, 0, 0]])
    model = EASE(1.0, "float64").fit(X)
    B = closed_form(X, 1.0)
    ids, scores = model.recommend([0, 2], n=2)
    assert ids.tolist() == [[2, -1], [1, 2]]
    np.testing.assert_allclose(scores[0, 0], B[0, 2] + B[1, 2], rtol=1e-13)
    np.testing.assert_allclose(scores[1], B[0, 1:], rtol=1e-13)
    assert scores[1, 1] < 0
    assert model.similar_items(0)[0].tolist()[:2] == [1, 2]


def test_too_many_items_are_refused_with_the_memory():
    with pytest.raises(ValueError) as caught:
        EASE().fit(sp.csr_array(([1.0], ([0], [0])), shape=(1, 200_000)))
    assert str(caught.value) == (
        "R has 200,000 items, above max_items = 30,000: EASE keeps a matrix of items by items, here 160 GB. Leave rare "
        "items out, raise max_items if the memory is there, or use ItemKNN or ImplicitALS"
    )


def test_a_ridge_that_is_lost_is_refused():
    X = 1e6 * np.ones((2, 3))
    with pytest.raises(ValueError, match=r"is singular in float32 with regularization = 1e-05: raise regularization"):
        EASE(1e-5).fit(X)
    for wrong in (0, -1.0):
        with pytest.raises(ValueError, match=r"^regularization must be"):
            EASE(wrong).fit(X)
