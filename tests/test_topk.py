"""The best columns against a full sort. Small integers: every product is exact, and ties are frequent."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastals.engine.topk import COLUMNS, ROWS, Columns, Lists, Rounding, pack, top_n
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


def falling(rng: np.random.Generator, shape: tuple[int, int], kind: str, dtype: str) -> np.ndarray:
    """Factors whose norms span many orders; products of parallel ones are their bound, up to roundings."""
    n, k = shape
    sizes = 2.0 ** -rng.integers(0, 9, (n, 1))
    if kind == "extreme":
        sizes = 10.0 ** rng.choice([-30, -22, -19, 0, 19, 25] if dtype == "float32" else [-200, -160, 0, 160], (n, 1))
    directions = rng.standard_normal((n, k))
    if kind == "parallel":
        directions = np.resize(np.random.default_rng(k).standard_normal(k), (n, k))
        sizes = 1 + np.finfo(dtype).eps * rng.integers(-3, 4, (n, k))
    factors = (directions * sizes).astype(dtype)
    if kind == "extreme":
        factors[rng.random((n, k)) < 0.02] = 0
        for value in (np.nan, np.inf, -np.inf):
            factors[rng.integers(0, n), rng.integers(0, k)] = value
    return factors


def without_bounds(columns: Columns) -> Columns:
    rounding = Rounding(np.full_like(columns.strips, np.nan), 0.0)  # which rules out none
    return columns._replace(reach=np.full_like(columns.reach, np.inf), rounding=rounding)


@settings(max_examples=400)
@given(
    kinds=st.tuples(*[st.sampled_from(["falling", "parallel", "extreme"])] * 2),
    shape=st.tuples(st.sampled_from([1, 2, 9, ROWS + 3]), st.sampled_from([7, 3 * COLUMNS, 5 * COLUMNS + 9])),
    k=st.integers(1, 20),
    offset_size=st.sampled_from([0.0, 1e-3, 1.0, 30.0]),
    lists_=st.sampled_from(["none", "excluded", "allowed"]),
    n=st.sampled_from([1, 3, 16, 40]),
    dtype=dtypes,
    seed=st.integers(0, 2**32 - 1),
)
def test_bounds_change_no_id_and_no_bit(kinds, shape, k, offset_size, lists_, n, dtype, seed):
    rng = np.random.default_rng(seed)
    n_rows, n_columns = shape
    X, Y = (falling(rng, (length, k), kind, dtype) for length, kind in zip(shape, kinds, strict=True))
    if seed % 2:
        X[rng.integers(0, n_rows)] = 0
    offsets = [(offset_size * rng.standard_normal(length)).astype(dtype) for length in shape]
    some = lists(rng.random((n_rows, n_columns)) < 0.05, np.arange(n_rows))
    chosen = {"none": {}, "excluded": {"excluded": (some,)}, "allowed": {"allowed": some}}[lists_]
    columns = pack(Y, offsets[1] if offset_size else None)
    if seed % 3 == 0:
        columns = columns.less(rng.random(n_columns) < 0.8)
    if offset_size:
        chosen["row_offsets"] = offsets[0]
    ids, scores = top_n(X, columns, n, 1, **chosen)
    wanted_ids, wanted = top_n(X, without_bounds(columns), n, 1, **chosen)
    assert same_bits(ids, wanted_ids)
    assert same_bits(scores, wanted)


def test_columns_that_cannot_be_among_the_best_are_not_looked_at():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((30, 8)), rng.standard_normal((4 * COLUMNS, 8))
    Y[COLUMNS:] /= 1e3
    columns = pack(Y)
    wanted = top_n(X, columns, 5, 1)
    columns.strips[len(columns.strips) // 4 :] = np.inf
    for part in (slice(None), slice(3, 4)):
        ids, scores = top_n(X[part], columns, 5, 1)
        assert same_bits(ids, wanted[0][part])
        assert same_bits(scores, wanted[1][part])


def test_a_row_alone_reads_in_full_only_what_rounding_may_hide():
    Y = np.random.default_rng(0).standard_normal((4 * COLUMNS, 8))
    Y /= np.linalg.norm(Y, axis=1, keepdims=True)
    Y[:COLUMNS] *= 1.01
    Y[:COLUMNS, 0], Y[COLUMNS:, 0] = 1, 0  # those that come later are at right angles to the row
    columns = pack(Y)
    wanted = top_n(np.eye(1, 8), columns, 5, 1)
    columns.strips[len(columns.strips) // 4 :] = np.inf
    ids, scores = top_n(np.eye(1, 8), columns, 5, 1)
    assert same_bits(ids, wanted[0])
    assert same_bits(scores, wanted[1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("score", [0.0, 1.0, -1.0, np.inf])
@pytest.mark.parametrize("n_rows", [1, ROWS])
@pytest.mark.parametrize("as_offset", [False, True])
def test_among_equal_scores_the_lowest_ids_win(as_offset, n_rows, score, dtype):
    n_columns = 3 * COLUMNS
    X, offsets = np.tile(np.array([1, 0], dtype), (n_rows, 1)), np.full(n_columns, score if as_offset else 0, dtype)
    Y = np.column_stack([np.full(n_columns, 0 if as_offset else score), np.arange(n_columns) / 4096]).astype(dtype)
    ids, scores = top_n(X, pack(Y, offsets), 20, 1)  # the norms rise with the ids
    assert ids.tolist() == [list(range(20))] * n_rows
    assert (scores == score).all()


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
