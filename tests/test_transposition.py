"""Compressed columns from compressed rows: the entries of SciPy's, in the same order, on any number of threads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from fastals.data import matrix
from fastals.engine import transposition
from fastals.engine.problem import Cells


def cells_of(R, dtype=np.float32, valued=True, weighted=False):
    one = np.ones(1, dtype)
    return Cells(
        R.indptr.astype(np.int64),
        R.indices.astype(np.int32),
        R.data.astype(dtype) if valued else one,
        np.arange(R.nnz, dtype=dtype) if weighted else one,
    )


def by_scipy(cells, shape):
    places = sparse.csr_array((np.arange(len(cells.indices)), cells.indices, cells.indptr), shape=shape).tocsc()
    numbers = (one if len(one) == 1 else one[places.data] for one in (cells.values, cells.weights))
    return Cells(places.indptr.astype(np.int64), places.indices.astype(np.int32), *numbers)


def assert_same(found, wanted):
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    density=st.floats(0, 1),
    n_threads=st.integers(1, 7),
    dtype=st.sampled_from([np.float32, np.float64]),
    valued=st.booleans(),
    weighted=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_transpose_is_that_of_scipy_on_any_number_of_threads(
    shape, density, n_threads, dtype, valued, weighted, seed
):
    R = sparse.random(*shape, density=density, format="csr", random_state=seed)
    R.sort_indices()
    cells = cells_of(R, dtype, valued, weighted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transposition, "SHARE", 1)
        found = transposition.transposed(cells, shape[1], n_threads)
    assert_same(found, by_scipy(cells, shape))


def test_duplicates_and_columns_that_do_not_rise_keep_their_order():
    cells = Cells(
        np.array([0, 3, 5]), np.array([1, 0, 1, 1, 1], np.int32), np.arange(5, dtype=np.float32), np.ones(1, np.float32)
    )
    found = transposition.transposed(cells, 2, 2)
    assert found.indices.tolist() == [0, 0, 0, 1, 1]
    assert found.values.tolist() == [1, 0, 2, 3, 4]


def test_few_entries_get_few_counters():
    """With a counter for each thread and column, 5 entries in a million columns would ask for 128 MB."""
    R = sparse.csr_array((np.ones(5), ([0, 1, 2, 3, 4], [5, 4, 3, 2, 1])), shape=(5, 1_000_000))
    parts = []

    def spread(work, n_threads):
        parts.append(n_threads)
        work(np.zeros(1, np.int64))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transposition, "SHARE", 1)
        patch.setattr(transposition, "spread", spread)
        found = transposition.transposed(cells_of(R), R.shape[1], 16)
    assert parts == [1, 1]
    assert found.indices.tolist() == [4, 3, 2, 1, 0]


def test_without_a_compiler_scipy_transposes(monkeypatch):
    R = sparse.random(20, 30, density=0.2, format="csr", random_state=0)
    cells = cells_of(R, weighted=True)
    monkeypatch.setattr(matrix, "compiles", lambda: False)
    monkeypatch.setattr(matrix, "transposed", None)
    assert_same(matrix.transpose(cells, R.shape), by_scipy(cells, R.shape))


def test_one_dtype_is_one_compilation():
    for valued in (False, True):
        for weighted in (False, True):
            R = sparse.random(9, 7, density=0.5, format="csr", random_state=0)
            transposition.transposed(cells_of(R, np.float32, valued, weighted), 7, 2)
    kinds = [signature[2] for signature in transposition._place.signatures]
    assert len(kinds) == len(set(kinds)) <= 2
    assert len(transposition._count.signatures) == 1
