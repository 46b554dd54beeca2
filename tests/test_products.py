"""The best of sparse products against dense ones, row by row, and the same from plain NumPy."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from fastals.engine import products
from fastals.engine.products import Skipped, Sparse, best_products, lower_gram

every_engine = pytest.mark.parametrize("plain", [False, True], ids=["fast", "plain"])


def packed(matrix, dtype):
    """Give the arrays of a sparse matrix as the kernels take them."""
    csr = sp.csr_array(matrix, dtype=dtype)
    csr.sort_indices()
    return Sparse(csr.indptr.astype(np.int64), csr.indices.astype(np.int32), csr.data)


@st.composite
def factors(draw):
    """Two matrices of small whole numbers, so that sums are exact, and what each row leaves out."""
    seed, (m, k, n) = draw(st.integers(0, 2**32 - 1)), draw(st.tuples(*[st.integers(1, 40)] * 3))
    rng = np.random.default_rng(seed)
    shares = draw(st.tuples(*[st.sampled_from([0.02, 0.3, 0.9])] * 3))
    left, right = (rng.integers(-2, 6, shape) * (rng.random(shape) < share) for shape, share in
                   (((m, k), shares[0]), ((k, n), shares[1])))  # fmt: skip
    return left, right, rng.random((m, n)) < shares[2]


@every_engine
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(case=factors(), dense=st.booleans(), n=st.integers(1, 45))
def test_best_products_are_the_sorted_ones(plain, dtype, case, dense, n):
    left, right, barred = case
    rows = np.random.default_rng(n).integers(0, len(left), 5)
    skipped = Skipped(*packed(barred, np.int8)[:2])
    factor = right.astype(dtype) if dense else packed(right, dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "is_plain", lambda solver: plain)
        ids, scores = best_products(packed(left, dtype), factor, skipped, rows, n, right.shape[1])
    wanted = np.where(barred, 0, left @ right)
    for place, row in enumerate(rows):
        order = sorted(np.flatnonzero(wanted[row]), key=lambda j: (-wanted[row][j], j))[:n]
        empty = n - len(order)
        assert ids[place].tolist() == [*order, *[-1] * empty]
        assert scores[place].tolist() == [*wanted[row][order], *[-np.inf] * empty]


@every_engine
@given(case=factors())
def test_lower_gram_is_the_product(plain, case):
    X = case[0]
    out = np.zeros((X.shape[1],) * 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "is_plain", lambda solver: plain)
        lower_gram(packed(X, np.float64), packed(X.T, np.float64), out)
    np.testing.assert_array_equal(out, np.tril(X.T @ X))


def test_more_rows_than_one_thread_draws_at_once():
    rng = np.random.default_rng(0)
    left, right = (sp.random(200, 200, 0.1, random_state=rng, data_rvs=lambda n: rng.integers(1, 9, n)) for _ in "ab")
    nothing = Skipped(np.zeros(201, np.int64), np.zeros(0, np.int32))
    ids, scores = best_products(packed(left, float), packed(right, float), nothing, np.arange(200), 7, 200)
    full = (left @ right).toarray()
    np.testing.assert_array_equal(scores, -np.sort(-full, axis=1)[:, :7])
    np.testing.assert_array_equal(np.take_along_axis(full, ids, 1), scores)
