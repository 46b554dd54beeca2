"""Item-kNN and user-kNN against dense NumPy, and their answers in the terms of all baselines."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from fastals import Interactions
from fastals.evaluation import EASE, ItemKNN, UserKNN, evaluate, evaluate_new_users
from fastals.validation import NotFittedError

WEIGHTINGS = ["cosine", "tfidf", "bm25"]
every_weighting = pytest.mark.parametrize("weighting", WEIGHTINGS)
every_model = pytest.mark.parametrize("model", [ItemKNN(3), UserKNN(3), EASE(1.0, "float64")], ids=repr)


@st.composite
def matrices(draw):
    """Whole positive values, with empty rows and columns."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.tuples(st.integers(1, 12), st.integers(2, 12)))
    return (rng.integers(1, 6, shape) * (rng.random(shape) < draw(st.sampled_from([0.2, 0.6])))).astype(float)


def similarities(documents, weighting, k1=1.2, b=0.75):
    """Compute all similarities of rows, without their own."""
    X = documents.astype(float)
    idf = np.log(len(X)) - np.log(1 + (X > 0).sum(axis=0))
    if weighting == "tfidf":
        X = np.sqrt(X) * idf
    if weighting == "bm25":
        length = X.sum(axis=1, keepdims=True)
        X = X * (k1 + 1) / (k1 * (1 - b + b * length / (length.mean() or 1)) + X) * idf
    else:
        norms = np.sqrt((X**2).sum(axis=1, keepdims=True))
        X = np.divide(X, norms, out=np.zeros_like(X), where=norms > 0)
    S = X @ X.T
    np.fill_diagonal(S, 0)
    return S


def assert_nearest(found, S, k):
    """Check a sparse matrix against all similarities: of near ties either may be kept."""
    found = found.toarray()
    kept = found != 0
    # Sums of at most 12 products of numbers below 2.2 * log(12), squared.
    np.testing.assert_allclose(found[kept], S[kept], rtol=1e-11, atol=1e-12)
    for row, of_row in enumerate(kept):
        n_positive = np.count_nonzero(np.abs(S[row]) > 1e-12)
        assert min(k, n_positive) <= of_row.sum() <= k
        if of_row.sum() == k and not of_row.all():
            assert S[row][of_row].min() >= S[row][~of_row & (np.arange(len(S)) != row)].max(initial=-np.inf) - 1e-12


@every_weighting
@given(X=matrices(), k=st.integers(1, 14))
def test_the_nearest_items_are_kept(weighting, X, k):
    S = similarities(X.T, weighting)
    assert_nearest(ItemKNN(k, weighting).fit(X).similarity_, S, min(k, max(1, len(S) - 1)))


@every_weighting
@given(X=matrices(), k=st.integers(1, 14))
def test_the_nearest_users_are_kept(weighting, X, k):
    S = similarities(X, weighting)
    assert_nearest(UserKNN(k, weighting).fit(X).similarity_, S, min(k, max(1, len(S) - 1)))


@given(X=matrices(), n=st.integers(1, 14))
def test_scores_are_products(X, n):
    for model in (ItemKNN(2).fit(X), UserKNN(2).fit(X)):
        S = model.similarity_.toarray()
        wanted = X @ S if isinstance(model, ItemKNN) else S @ X
        users, items = np.divmod(np.arange(X.size), X.shape[1])
        np.testing.assert_allclose(model.predict(users, items), wanted.ravel(), rtol=1e-12, atol=1e-12)
        ids, scores = model.recommend(n=n)
        for user, (listed, theirs) in enumerate(zip(ids, scores, strict=True)):
            able = np.flatnonzero((X[user] == 0) & (wanted[user] != 0))
            assert np.count_nonzero(listed >= 0) == min(n, len(able))
            there = listed[listed >= 0]
            assert set(there) <= set(able)
            np.testing.assert_allclose(theirs[: len(there)], -np.sort(-wanted[user][able])[:n], rtol=1e-12)
            np.testing.assert_allclose(theirs[: len(there)], wanted[user][there], rtol=1e-12)


def test_bm25_has_its_parameters():
    X = np.array([[1.0, 2, 0, 0], [0, 3, 1, 0], [5, 0, 1, 0], [1, 1, 0, 2]])
    found = ItemKNN(3, "bm25", k1=3.0, b=0.2).fit(X).similarity_
    assert_nearest(found, similarities(X.T, "bm25", 3.0, 0.2), 3)


def test_by_hand():
    model = ItemKNN().fit([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 0]])
    ids, scores = model.similar_items([0, 3], n=2)
    assert ids.tolist() == [[1, 2], [-1, -1]]
    np.testing.assert_allclose(scores, [[1, 0.5], [-np.inf, -np.inf]], rtol=1e-15)
    ids, scores = model.recommend([0, 2], n=3)
    assert ids.tolist() == [[2, -1, -1], [0, 1, -1]]
    np.testing.assert_allclose(scores[:, 0], [1, 0.5], rtol=1e-15)
    near, similar = UserKNN().fit([[1, 1, 0], [1, 1, 1], [0, 0, 1]]).similar_users(1, n=2)
    assert near.tolist() == [0, 2]
    np.testing.assert_allclose(similar, [2 / np.sqrt(6), 1 / np.sqrt(3)], rtol=1e-15)


R = sp.random(12, 9, 0.4, random_state=np.random.default_rng(3), format="csr")
R.data[:] = 1


@every_model
def test_ids_and_shapes_are_as_the_models_have_them(model):
    numbers, scores = model.fit(R).recommend([3, 0], n=12)
    assert numbers.dtype == np.int32 and numbers.shape == (2, 12)
    users, items = [f"u{u:02d}" for u in range(12)], [f"i{i}" for i in range(9)]
    named = type(model)(**model.get_params()).fit(Interactions(R, user_ids=users, item_ids=items))
    ids, same = named.recommend(["u03", "u00"], n=12)
    assert ids.tolist() == [[items[i] if i >= 0 else "" for i in row] for row in numbers]
    np.testing.assert_array_equal(same, scores)
    assert named.recommend("u03", n=2)[0].tolist() == ids[0, :2].tolist()
    assert named.predict("u03", ids[0, 0])[0] == pytest.approx(scores[0, 0], rel=1e-12)
    assert model.recommend([], n=3)[0].shape == (0, 3)
    everything = model.recommend(n=9, exclude_seen=False)[0]
    assert any(np.isin(R[[u]].indices, everything[u]).any() for u in range(12))
    assert evaluate(model, sp.csr_array(R.toarray() == 0, dtype=float), 5, ["recall"]).overall["recall@5"] > 0


@pytest.mark.parametrize("model", [ItemKNN(3), EASE(1.0, "float64")], ids=repr)
def test_new_users_get_what_users_with_the_same_interactions_get(model):
    ids, scores = model.fit(R).recommend(n=4)
    folded, same = model.recommend(R, n=4, fold_in=True)
    np.testing.assert_array_equal(folded, ids)
    np.testing.assert_array_equal(same, scores)
    given, test = R.toarray()[:3].copy(), R.toarray()[:3].copy()
    given[:, 4:], test[:, :4] = 0, 0
    assert 0 <= evaluate_new_users(model, given, test, 5).overall["ndcg@5"] <= 1
    with pytest.raises(TypeError, match=r"^users is None: with fold_in=True pass the interactions"):
        model.recommend(fold_in=True)
    with pytest.raises(ValueError, match=r"^users"):
        model.recommend([[1, 0]], fold_in=True)


@every_model
def test_before_fit_there_is_nothing_to_ask(model):
    for ask in (lambda m: m.recommend([0]), lambda m: m.predict(0, 0)):
        with pytest.raises(NotFittedError, match=f"^this {type(model).__name__} is not fitted yet"):
            ask(type(model)())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ItemKNN(0), "neighbours must be at least 1, got 0"),
        (ItemKNN(weighting="bm"), "weighting must be one of 'cosine', 'tfidf', 'bm25', got 'bm'"),
        (UserKNN(b=1.5), "b must be at most 1, got 1.5"),
        (UserKNN(k1=-1), "k1 must be at least 0, got -1"),
    ],
)
def test_wrong_parameters_are_refused(model, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        model.fit(R)


def test_negative_values_have_a_cosine_only():
    X = [[1.0, -1.0], [2.0, 1.0]]
    np.testing.assert_allclose(ItemKNN().fit(X).similarity_.toarray()[0, 1], 1 / np.sqrt(10), rtol=1e-15)
    with pytest.raises(ValueError, match=r"^R has negative values, for which weighting='bm25' is not defined: leave"):
        UserKNN(weighting="bm25").fit(X)
