"""The bounded heap against a full sort. Small integers: every product is exact, and ties are frequent."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastals.engine.topk import top_n
from tests.helpers import dtypes, observed, stored


def full_sort(scores: np.ndarray, left_out: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The best n columns of each row by falling score, then by rising id; -1 and -inf where fewer remain."""
    ids = np.full((len(scores), n), -1, np.int32)
    best = np.full((len(scores), n), -np.inf, scores.dtype)
    for row, (row_scores, row_left_out) in enumerate(zip(scores, left_out, strict=True)):
        candidates = np.flatnonzero(~row_left_out)
        order = candidates[np.lexsort((candidates, -row_scores[candidates]))][:n]
        ids[row, : len(order)], best[row, : len(order)] = order, row_scores[order]
    return ids, best


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 30), st.integers(1, 9)),
    n=st.integers(1, 35),
    density=st.sampled_from([0.0, 0.3, 1.0]),
    n_threads=st.sampled_from([1, 2, 5]),
    dtype=dtypes,
    seed=st.integers(0, 2**32 - 1),
)
def test_heap_is_the_full_sort(shape, n, density, n_threads, dtype, seed):
    rng = np.random.default_rng(seed)
    n_rows, n_columns, k = shape
    X, Y = (rng.integers(-2, 3, (length, k)).astype(dtype) for length in (n_rows, n_columns))
    seen = observed(rng, n_rows, n_columns, density)
    rows = rng.integers(0, n_rows, 23)
    cells = stored(seen)
    indptr, indices = cells.indptr.astype(np.int64), cells.indices.astype(np.int32)
    ids, scores = top_n(X[rows], Y, indptr, indices, rows, n, n_threads)
    wanted_ids, wanted_scores = full_sort(X[rows] @ Y.T, ~np.isnan(seen[rows]), n)
    assert np.array_equal(ids, wanted_ids)
    assert np.array_equal(scores, wanted_scores)
    assert (ids.dtype, scores.dtype) == (np.dtype(np.int32), np.dtype(dtype))


def test_no_rows():
    Y = np.ones((3, 2))
    ids, scores = top_n(np.ones((0, 2)), Y, np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.intp), 2, 1)
    assert ids.shape == scores.shape == (0, 2)


def test_scores_that_are_not_numbers_are_never_recommended():
    Y = np.array([[np.nan], [1.0], [-np.inf]])
    ids, scores = top_n(np.ones((1, 1)), Y, np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(1, np.intp), 3, 1)
    assert ids.tolist() == [[1, -1, -1]]
    assert scores.tolist() == [[1.0, -np.inf, -np.inf]]
