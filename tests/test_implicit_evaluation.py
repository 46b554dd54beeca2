"""`implicit.evaluation` and `implicit.nearest_neighbours`: splits, metrics, weightings, and what is mended."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from fastals.compat.implicit import AlternatingLeastSquares, evaluation
from fastals.compat.implicit.evaluation import leave_k_out_split, ranking_metrics_at_k, train_test_split
from fastals.compat.implicit.nearest_neighbours import bm25_weight, normalize, tfidf_weight

LOWEST = np.finfo(np.float32).min


def ratings(seed: int = 0, shape: tuple[int, int] = (15, 12), shuffled: bool = True) -> sparse.coo_matrix:
    rng = np.random.default_rng(seed)
    cells = sparse.coo_matrix(np.where(rng.random(shape) < 0.4, rng.integers(1, 6, shape), 0))
    order = rng.permutation(cells.nnz) if shuffled else np.arange(cells.nnz)
    return sparse.coo_matrix((cells.data[order], (cells.row[order], cells.col[order])), shape=shape)


class Fixed:
    """A model whose recommendations are given."""

    def __init__(self, ids, scores=None):
        self.ids = np.asarray(ids)
        self.scores = -np.arange(self.ids.size, dtype=np.float32).reshape(self.ids.shape) if scores is None else scores

    def recommend(self, userid, user_items, N):
        assert user_items.shape[0] == len(userid)
        return self.ids[userid, :N], self.scores[userid, :N]


def test_train_test_split():
    R = ratings()
    R.data[:4] = -1
    train, test = train_test_split(R, 0.7, random_state=3)
    picked = np.random.default_rng(3).random(R.nnz) < 0.7  # what `implicit` draws
    assert train.nnz == picked.sum()
    assert test.nnz == (~picked & (R.data > 0)).sum()
    together = (train + test).toarray()
    positive = R.toarray() > 0
    np.testing.assert_array_equal(together[positive], R.toarray()[positive])
    assert train.dtype == test.dtype == R.dtype
    assert isinstance(train, sparse.csr_matrix)


@given(seed=st.integers(0, 99), k=st.integers(1, 4), share=st.sampled_from([0.0, 0.3]))
def test_leave_k_out_split(seed, k, share):
    """There cells that are not sorted by user are lost or added up."""
    R = ratings(seed)
    train, test = leave_k_out_split(R, k, share, random_state=seed)
    np.testing.assert_array_equal((train + test).toarray(), R.toarray())
    assert train.nnz + test.nnz == R.nnz
    counts = np.bincount(R.row, minlength=15)
    held_out = np.diff(test.indptr)
    users = np.count_nonzero(counts)
    kept = np.count_nonzero(held_out == 0) - np.count_nonzero(counts <= k + 1)
    assert set(held_out) <= {0, k}
    assert (held_out[counts <= k + 1] == 0).all()
    assert 0 <= kept <= max(1, int(users * share)) * (share > 0)
    again = leave_k_out_split(R, k, share, random_state=seed)[1]
    assert (again != test).nnz == 0


def test_every_cell_may_be_left_out():
    R = sparse.coo_matrix(np.ones((1, 4)))
    picked = {int(leave_k_out_split(R, random_state=seed)[1].indices[0]) for seed in range(60)}
    assert picked == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda R: train_test_split(R, 1.5), "train_percentage is a share"),
        (lambda R: train_test_split(R.toarray()), "ratings must be a SciPy sparse matrix"),
        (lambda R: leave_k_out_split(R, 0), "K must be at least 1"),
        (lambda R: leave_k_out_split(R, 1, 1.0), "train_only_size is a share"),
        (lambda R: ranking_metrics_at_k(Fixed([[0]]), R, R, K=0), "K must be at least 1"),
        (lambda R: ranking_metrics_at_k(Fixed([[0]]), R, R.T, K=1), "one is wanted"),
        (lambda R: ranking_metrics_at_k(None, R, R), "model must have a method recommend, got NoneType"),
        (lambda R: ranking_metrics_at_k(Fixed([[0]]), None, R), "train_user_items must be a SciPy sparse matrix"),
        (lambda R: ranking_metrics_at_k(Fixed([[0]]), R, "R"), "test_user_items must be a SciPy sparse matrix"),
        (lambda R: tfidf_weight("cells"), "X must be a matrix of numbers"),
        (lambda R: tfidf_weight(-R), "X must be finite and at least 0: row .*, column"),
        (lambda R: bm25_weight(np.array([[1.0, np.inf]])), "row 0, column 1 is inf"),
        (lambda R: normalize(np.array([[1.0, np.nan]])), "X must be finite: row 0, column 1 is nan"),
        (
            lambda R: ranking_metrics_at_k(Fixed([[0]]), R, R * 0, K=1, show_progress=False),
            "test has no value other than 0",
        ),
    ],
)
def test_bad_calls(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(ratings())


def test_metrics_by_hand():
    # Relevant: user 0 {1, 3}, user 1 {0}; user 2 has none and does not count.
    test = sparse.csr_matrix(np.array([[0, 1, 0, 2, 0], [4, 0, 0, 0, -1], [0, 0, 0, 0, 0]]))
    metrics = ranking_metrics_at_k(Fixed([[1, 0, 3], [2, 0, 4], [0, 1, 2]]), test * 0, test, K=3, show_progress=False)
    discount = 1 / np.log2([2, 3, 4])
    assert metrics["precision"] == pytest.approx((2 + 1) / (2 + 1))
    assert metrics["map"] == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2)
    assert metrics["ndcg"] == pytest.approx(((discount[0] + discount[2]) / discount[:2].sum() + discount[1]) / 2)
    # Pairs won: user 0 item 0 below 1 hit, two unlisted below both; user 1 item 4 below the hit, two unlisted.
    assert metrics["auc"] == pytest.approx(((1 + 2 * 2) / 6 + (0 + 1 + 2) / 4) / 2)
    for name, function in (
        ("precision", evaluation.precision_at_k),
        ("map", evaluation.mean_average_precision_at_k),
        ("ndcg", evaluation.ndcg_at_k),
        ("auc", evaluation.AUC_at_k),
    ):
        assert function(Fixed([[1, 0, 3], [2, 0, 4], [0, 1, 2]]), test * 0, test, 3, False) == metrics[name]


def test_items_left_out_are_no_misses():
    """There K above the number of items gives a precision above 1, since what pads the list is item 0."""
    test = sparse.csr_matrix(np.array([[1, 0, 0, 0]]))
    ids, scores = [[0, 1, 3, 2]], np.array([[2, 1, LOWEST, LOWEST]], np.float32)
    for K in (4, 9):
        metrics = ranking_metrics_at_k(Fixed(ids, scores), test * 0, test, K, False)
        assert metrics == {"precision": 1.0, "map": 1.0, "ndcg": 1.0, "auc": 1.0}


def test_a_user_who_likes_everything_has_no_auc():
    test = sparse.csr_matrix(np.array([[1, 1]]))
    metrics = ranking_metrics_at_k(Fixed([[0, 1]]), test * 0, test, 2, False)
    assert np.isnan(metrics["auc"])
    assert metrics["precision"] == 1.0


def test_wide_indices_and_a_real_model(caplog, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tqdm.auto", None)  # as if tqdm were not installed
    train, test = train_test_split(ratings().astype(np.float32), random_state=0)
    model = AlternatingLeastSquares(3, random_state=0, iterations=2)
    model.fit(train, show_progress=False)
    metrics = ranking_metrics_at_k(model, train, test, K=3, show_progress=False)
    for matrix in (train, test):
        matrix.indptr, matrix.indices = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64)
    with caplog.at_level("INFO", logger="fastals"):
        assert ranking_metrics_at_k(model, train, test, K=3) == metrics
    assert len(caplog.records) == 1


def test_weightings():
    X = np.array([[1.0, 4.0, 0.0], [2.0, 0.0, 0.0], [0.0, 5.0, 6.0]])
    idf = np.log(3) - np.log1p([2, 2, 1])
    np.testing.assert_allclose(tfidf_weight(X).toarray(), np.sqrt(X) * idf)
    length = X.sum(axis=1, keepdims=True)
    wanted = X * 3.0 / (2.0 * (0.5 + 0.5 * length / length.mean()) + X) * idf
    np.testing.assert_allclose(bm25_weight(X, K1=2, B=0.5).toarray(), wanted)
    np.testing.assert_allclose(normalize(X).toarray(), X / np.linalg.norm(X, axis=1, keepdims=True))
    counts = sparse.csr_matrix(X.astype(np.int32))
    np.testing.assert_allclose(bm25_weight(counts).toarray(), bm25_weight(X).toarray())
    assert counts.dtype == np.int32  # what is given stays what it is


def test_weightings_of_nothing_are_zero():
    """There they are 0 / 0."""
    nothing = sparse.csr_matrix((np.zeros(1), ([0], [1])), shape=(2, 2))
    for weighting in (tfidf_weight, bm25_weight, normalize, lambda X: bm25_weight(X, K1=0)):
        for X in (nothing, sparse.csr_matrix((2, 2))):
            assert (weighting(X).toarray() == 0).all()
    assert normalize(-np.eye(2)).toarray().tolist() == [[-1, 0], [0, -1]]
