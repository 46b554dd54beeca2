"""The best columns against a full sort. Small integers: every product is exact, and ties are frequent."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastals.engine.topk import COLUMNS, ROWS, Lists, pack, top_n
from tests.helpers import dtypes, observed, same_bits, stored


def full_sort(scores: np.ndarray, left_out: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The best n columns of each row by falling score, then by rising id; -1 and -inf where fewer remain."""
    ids = np.full((len(scores), n), -1, np.int32)
    best = np.full((len(scores), n), -np.inf, scores.dtype)
    for row, (row_scores, row_left_out) in enumerate(zip(scores, left_out, strict=True)):
        candidates = np.flatnonzero(~row_left_out)
        order = candidates[np.lexsort((candidates, -row_scores[candidates]))][:n]
        ids[row, : len(order)], best[row, : len(order)] = order, row_scores[order]
    return ids, best


def lists(mask: np.ndarray, rows: np.ndarray) -> Lists:
    cells = stored(np.where(mask, 1.0, np.nan))
    return Lists(cells.indptr.astype(np.int64), cells.indices.astype(np.int32), rows)


@given(
    shape=st.tuples(st.integers(1, 40), st.sampled_from([1, 7, 31, 33, COLUMNS + 9]), st.integers(1, 19)),
    n=st.integers(1, 35),
    density=st.sampled_from([0.0, 0.3, 1.0]),
    n_rows=st.sampled_from([1, 2, 3, 23, ROWS + 1]),
    n_threads=st.sampled_from([1, 2, 5]),
    dtype=dtypes,
    seed=st.integers(0, 2**32 - 1),
)
def test_it_is_the_full_sort(shape, n, density, n_rows, n_threads, dtype, seed):
    rng = np.random.default_rng(seed)
    n_all, n_columns, k = shape
    X, Y = (rng.integers(-2, 3, (length, k)).astype(dtype) for length in (n_all, n_columns))
    rows = rng.integers(0, n_all, n_rows)
    masks = [~np.isnan(observed(rng, n_all, n_columns, density)) for _ in range(3)]
    offsets = rng.integers(-2, 3, n_rows).astype(dtype), rng.integers(-2, 3, n_columns).astype(dtype)
    ids, scores = top_n(
        X[rows],
        pack(Y, offsets[1]),
        n,
        n_threads,
        row_offsets=offsets[0],
        excluded=(lists(masks[0], rows), lists(masks[1], rows)),
        allowed=lists(masks[2], rows) if seed % 2 else None,
    )
    left_out = masks[0] | masks[1] | (~masks[2] if seed % 2 else False)
    wanted_ids, wanted = full_sort(X[rows] @ Y.T + (offsets[0][:, None] + offsets[1]), left_out[rows], n)
    assert np.array_equal(ids, wanted_ids)
    assert np.array_equal(scores, wanted)
    assert (ids.dtype, scores.dtype) == (np.dtype(np.int32), np.dtype(dtype))


@given(k=st.integers(1, 40), n_rows=st.integers(1, 2 * ROWS), dtype=dtypes, seed=st.integers(0, 2**32 - 1))
def test_a_row_has_the_same_bits_alone_and_among_many(k, n_rows, dtype, seed):
    rng = np.random.default_rng(seed)
    X, Y = (rng.standard_normal((length, k)).astype(dtype) for length in (n_rows, 50))
    bias = rng.standard_normal(50).astype(dtype)
    columns = pack(Y, bias)
    ids, scores = top_n(X, columns, 7, 1)
    for part in (slice(0, 1), slice(n_rows // 2, None), slice(0, -(-n_rows // 3))):
        some_ids, some = top_n(X[part], columns, 7, 2)
        assert same_bits(some_ids, ids[part])
        assert same_bits(some, scores[part])


@pytest.mark.parametrize(("n_rows", "n_columns"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_to_choose_from_or_for(n_rows, n_columns):
    ids, scores = top_n(np.ones((n_rows, 2)), pack(np.ones((n_columns, 2))), 2, 1)
    assert ids.shape == scores.shape == (n_rows, 2)
    assert (ids == -1).all()


def test_scores_that_are_not_numbers_are_never_chosen():
    Y = np.array([[np.nan], [1.0], [-np.inf]])
    ids, scores = top_n(np.ones((1, 1)), pack(Y), 3, 1)
    assert ids.tolist() == [[1, -1, -1]]
    assert scores.tolist() == [[1.0, -np.inf, -np.inf]]
    ids, _ = top_n(np.ones((9, 1)), pack(Y), 3, 1)
    assert ids.tolist() == [[1, -1, -1]] * 9
