"""Any matrix in, canonical cells both ways round out; the refusals' sentences are checked in test_input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from fastals.data.interactions import Interactions, as_interactions
from fastals.data.matrix import canonical_row
from tests.helpers import matrices, observed, same_bits, stored


def example() -> np.ndarray:
    return observed(np.random.default_rng(0), 9, 7, 0.4)


def same_cells(a, b) -> bool:
    return all(same_bits(ours, theirs) for ours, theirs in zip(a, b, strict=True))


def assert_canonical(cells, n_columns: int) -> None:
    assert (cells.indptr.dtype, cells.indices.dtype) == (np.dtype(np.int64), np.dtype(np.int32))
    for u in range(cells.n_rows):
        row = cells.indices[cells.indptr[u] : cells.indptr[u + 1]]
        assert (np.diff(row) > 0).all()
        assert ((row >= 0) & (row < n_columns)).all()


@given(R=matrices, dtype=st.sampled_from(["float32", "float64"]))
def test_cells_are_those_of_the_matrix(R, dtype):
    R[R == 1.0] = 1.25
    cells = Interactions(stored(R), dtype)
    assert cells.shape == R.shape
    assert cells.nnz == (~np.isnan(R)).sum()
    assert cells.dtype == cells.by_user.values.dtype == np.dtype(dtype)
    assert_canonical(cells.by_user, R.shape[1])
    assert_canonical(cells.by_item, R.shape[0])
    assert np.array_equal(cells.csr.toarray(), np.nan_to_num(R))
    by_item = cells.by_item
    turned = sparse.csr_array((by_item.all_values, by_item.indices, by_item.indptr), shape=R.T.shape)
    assert np.array_equal(turned.toarray(), np.nan_to_num(R).T)
    assert by_item.counts.tolist() == (~np.isnan(R)).sum(axis=0).tolist()


def test_weights_go_along_both_ways():
    R = example()
    weights = np.random.default_rng(1).random(stored(R).nnz)
    places = ~np.isnan(R)
    dense = np.zeros(R.shape)
    dense[places] = weights
    for with_values in (R, np.where(places, 2.0, np.nan)):  # All values alike: they are one number then.
        cells = Interactions(stored(with_values), "float64", weights=weights)
        assert np.array_equal(cells.by_user.weights, weights)
        assert np.array_equal(cells.by_item.weights, dense.T[places.T])
        assert np.array_equal(cells.by_item.all_values, with_values.T[places.T])


def test_one_number_stands_for_equal_values():
    cells = Interactions(sparse.csr_array(np.eye(4)))
    assert cells.by_user.values.tolist() == cells.by_item.values.tolist() == [1.0]
    assert cells.by_user.all_values.tolist() == [1.0] * 4
    assert Interactions(sparse.csr_array(np.eye(4)), weights=np.full(4, 3.0)).by_user.weights.tolist() == [3.0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_of_a_canonical_csr_are_not_copied(dtype):
    R = stored(example(), dtype)
    for matrix in (R, sparse.csr_matrix(R)):
        cells = Interactions(matrix, dtype).by_user
        assert np.shares_memory(cells.values, matrix.data)
        for part in (cells.indices, cells.indptr):  # who changes them later must not lead a kernel outside
            assert not np.shares_memory(part, matrix.indices) and not np.shares_memory(part, matrix.indptr)


def test_kernels_get_contiguous_arrays():
    """A column of a table of pairs is no contiguous array, and SciPy keeps it as it is."""
    R = stored(example(), "float32")
    pairs = np.stack([R.indices, R.indices], axis=1).astype(np.int32)
    strided = sparse.csr_array((np.repeat(R.data, 2)[::2], pairs[:, 1], R.indptr), shape=R.shape)
    assert not strided.data.flags.c_contiguous and not strided.indices.flags.c_contiguous
    strided.indptr = np.repeat(R.indptr.astype(np.int64), 2)[::2]
    cells = Interactions(strided, weights=np.repeat(np.arange(R.nnz, dtype=np.float32), 2)[::2])
    assert same_cells(cells.by_user, Interactions(R, weights=np.arange(R.nnz, dtype=np.float32)).by_user)
    for side in (cells.by_user, cells.by_item):
        assert all(array.flags.c_contiguous for array in side)
    row = sparse.csr_array((1, R.shape[1]), dtype=np.float32)
    row.data, row.indices = np.array([1, 0, 2, 0], np.float32)[::2], np.array([1, 0, 3, 0], np.int32)[::2]
    row.indptr = np.array([0, 2], np.int32)
    cells = canonical_row(row, R.shape[1], np.dtype(np.float32))
    assert cells is not None
    assert cells.indices.tolist() == [1, 3]
    assert all(array.flags.c_contiguous for array in cells)


@pytest.mark.parametrize("make", [sparse.csr_array, sparse.csc_array, sparse.coo_array])
@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int32, np.int64, np.float32, np.float64])
def test_duplicates_are_summed_as_numbers(make, dtype):
    """100 + 100 is -56 in a byte, and True + True is True."""
    one = 1 if dtype is bool else 100
    values, places = np.full(3, one, dtype), ([0, 0, 1], [1, 1, 0])
    R = sparse.coo_array((values, places), shape=(2, 2))
    if make is not sparse.coo_array:
        outer, inner = places if make is sparse.csr_array else places[::-1]
        order = np.argsort(outer, kind="stable")
        indptr = np.searchsorted(np.sort(outer), range(3))
        R = make((values[order], np.array(inner)[order], indptr), shape=(2, 2))
    assert Interactions(R).csr.toarray().tolist() == [[0, 2 * one], [one, 0]]


def test_stored_zeros_are_cells_until_asked_away():
    R = sparse.csr_array(([0.0, 2.0, 3.0], ([0, 0, 1], [0, 1, 1])), shape=(2, 2))
    cells = Interactions(R, weights=np.array([5.0, 6.0, 7.0]))
    assert cells.nnz == 3
    without = cells.without_zeros()
    assert without.csr.data.tolist() == [2.0, 3.0]
    assert without.weights.tolist() == [6.0, 7.0]
    assert without.without_zeros() is without
    assert Interactions(np.zeros((2, 2)), missing="nan").without_zeros().nnz == 0


def test_dense_input():
    R = np.array([[0.0, np.nan], [2.0, 3.0]])
    assert Interactions(R, missing="nan").nnz == 3
    assert Interactions(np.nan_to_num(R)).nnz == 2
    assert Interactions([[1, 0], [0, 1]], missing="nan").nnz == 4
    with pytest.raises(ValueError, match=r"^missing must be one of 'zero', 'nan', got 'none'$"):
        Interactions(R, missing="none")


def test_triplets():
    cells = Interactions([(0, 2, 1.5), (np.int64(1), 0, 2), (0, 2, 1.0)])
    assert cells.csr.toarray().tolist() == [[0, 0, 2.5], [2, 0, 0]]
    assert as_interactions([(0, 0, 1.0)], n_users=4, n_items=3).shape == (4, 3)


def test_interactions_of_interactions():
    R = example()
    weighted = Interactions(stored(R), weights=np.full(stored(R).nnz, 2.0))
    assert as_interactions(weighted, "float32") is weighted
    for other in (as_interactions(weighted, "float64"), Interactions(weighted, "float64")):
        assert other.dtype == np.float64
        assert np.array_equal(other.csr.toarray(), weighted.csr.toarray())
        assert (other.weights == 2.0).all()
    assert as_interactions(weighted, weights=np.full(weighted.nnz, 3.0)).weights[0] == 3.0
    assert Interactions(stored(R)).weights is None


def test_sums_beyond_the_dtype_are_no_cells_beyond_it():
    for dtype in ("float32", "float64"):
        huge = np.finfo(dtype).max * np.array([[0.5, 1.0, 1.0]])
        assert Interactions(huge, dtype).nnz == 3


@pytest.mark.parametrize("make", [sparse.csr_array, sparse.csc_array])
def test_compressed_arrays_that_point_outside(make):
    for indices, indptr, cause in (
        ([5], [0, 1, 1], r"a (row|column) number is not in 0 \.\. 1"),
        ([-1], [0, 1, 1], r"a (row|column) number is not in 0 \.\. 1"),
        ([0, 1], [0, 2, 1], "its indptr falls"),
    ):
        R = make((2, 2))
        R.data, R.indices, R.indptr = np.ones(len(indices)), np.array(indices, np.int32), np.array(indptr, np.int32)
        with pytest.raises(
            ValueError, match=rf"^R is not a valid CS[RC] matrix of shape \(2, 2\): {cause}; build it anew$"
        ):
            Interactions(R)


def test_byte_order_is_no_matter():
    R = stored(example(), "float32")
    swapped = R.copy()
    swapped.data = R.data.astype(R.data.dtype.newbyteorder())
    assert same_cells(Interactions(swapped).by_user, Interactions(R).by_user)


def test_repr():
    assert repr(Interactions(np.eye(3), "float64")) == "Interactions(3 users x 3 items, 3 entries, float64)"


def test_ids_for_a_matrix():
    R = Interactions(np.eye(2), user_ids=["b", "a"], item_ids=[10, 20])
    for same in (Interactions(R, "float64"), R.without_zeros(), Interactions(np.eye(2) * 0, user_ids=R.user_ids)):
        assert same.user_ids is R.user_ids
    with pytest.raises(ValueError, match="item_ids must have one id for each of the 2 items of R, got 3"):
        Interactions(np.eye(2), item_ids=[1, 2, 3])


def test_renumbering():
    R = Interactions(np.array([[1, 2], [0, 3]]), user_ids=["a", "b"], item_ids=[10, 20], weights=[[1, 2], [0, 4]])
    other = Interactions(np.ones((3, 3)), user_ids=["b", "c", "a"], item_ids=[20, 5, 10])
    moved = R.renumbered(other.user_ids, other.item_ids)
    assert moved.csr.toarray().tolist() == [[3, 0, 0], [0, 0, 0], [2, 0, 1]]
    assert moved.weights.tolist() == [4, 2, 1]
    assert moved.user_ids is other.user_ids
    assert R.renumbered(R.user_ids, R.item_ids) is R
    assert R.renumbered() is R
    with pytest.raises(ValueError, match=r"item_ids\[1\] is 5, which is not among the 2 ids of the model"):
        other.renumbered(item_ids=R.item_ids)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csr_matrix])
def test_a_canonical_row_is_what_the_whole_check_makes_of_it(kind, dtype):
    R = kind(np.array([[0, 1, 2.5, 0, -1]], dtype))
    row, cells = canonical_row(R, 5, np.dtype(dtype)), as_interactions(R, dtype).by_user
    assert same_cells((row.indptr, row.indices, row.all_values, row.weights), cells)


def test_what_is_not_a_canonical_row_is_left_to_the_whole_check():
    def csr(data, indices, indptr=None):
        R = sparse.csr_array((1, 5), dtype=np.float32)
        R.data, R.indices = np.array(data, np.float32), np.array(indices, np.int32)
        R.indptr = np.array([0, len(indices)] if indptr is None else indptr, np.int32)
        return R

    row = csr([1, 2], [0, 3])
    assert canonical_row(row, 5, np.dtype(np.float32)) is not None
    for R in (
        row.toarray(),
        row.tocsc(),
        row.astype(np.float64),
        row[[0, 0]],
        row[:, :4],
        Interactions(row),
        [(0, 1, 2.0)],
        csr([], []),
        csr([1, 2], [3, 0]),
        csr([1, 2], [3, 3]),
        csr([1, 2], [-1, 3]),
        csr([1, 2], [3, 5]),
        csr([1, np.nan], [0, 3]),
        csr([1, np.inf], [0, 3]),
        csr([1, 0], [0, 3]),
        csr([1, 2, 3], [0, 3], [0, 2]),
        csr([1, 2], [0, 3], [0, 1]),
        csr([1, 2], [0, 3], [1, 2]),
    ):
        assert canonical_row(R, 5, np.dtype(np.float32)) is None
