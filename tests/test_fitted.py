"""The frozen record: rows and sides with changes beside them, against plain NumPy."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import fastals
from fastals import Interactions
from fastals.data import ids
from fastals.engine.panel import as_panel
from fastals.fitted import FEW, Counts, Row, Rows, Side, unit_rows
from tests.helpers import CLASSIC, dtypes, fitted, observed, stored

# Rows.


@given(seed=st.integers(0, 999), alike=st.booleans())
def test_rows_replaced_and_added(seed, alike):
    rng = np.random.default_rng(seed)
    before, after = (observed(np.random.default_rng(s), n, 8, 0.4) for s, n in ((seed, 6), (seed + 1, 9)))
    if alike:
        before, after = before * 0 + 1, after * 0 + 1
    numbers = np.concatenate([rng.permutation(6)[: rng.integers(6)], [6, 7, 8]])
    rows, others = (Rows(Interactions(stored(R)).by_user) for R in (before, after))
    half = len(numbers) // 2
    for some in (numbers[:half], numbers[half:]):
        rows = rows.with_rows({int(number): others[number] for number in some})
    wanted = np.vstack([before, np.full((3, 8), np.nan)])
    wanted[numbers] = after[numbers]
    merged = rows.cells
    canonical = Interactions(stored(wanted)).by_user
    np.testing.assert_array_equal(merged.indptr, canonical.indptr)
    np.testing.assert_array_equal(merged.indices, canonical.indices)
    np.testing.assert_array_equal(merged.all_values, canonical.all_values)
    assert rows.cells is merged
    if alike:
        assert len(merged.values) == 1  # one number for all, still
    for number in range(9):
        np.testing.assert_array_equal(rows[number].columns, np.flatnonzero(~np.isnan(wanted[number])))
    assert len(rows[9].columns) == 0


def dense(rows: Rows, n_rows: int, n_columns: int, weights: bool = False) -> np.ndarray:
    """Return rows one by one as a matrix, NaN where there is no entry."""
    R = np.full((n_rows, n_columns), np.nan)
    for number in range(n_rows):
        row = rows[number]
        assert (np.diff(row.columns) > 0).all()
        R[number, row.columns] = row.weights if weights else row.values
    return R


def of_cells(rows: Rows, n_columns: int, weights: bool = False) -> np.ndarray:
    """Return all rows at once as such a matrix."""
    cells = rows.cells
    R = np.full((cells.n_rows, n_columns), np.nan)
    R[np.repeat(np.arange(cells.n_rows), cells.counts), cells.indices] = (
        cells.all_weights if weights else cells.all_values
    )
    return R


@given(seed=st.integers(0, 2**32 - 1), events=st.integers(1, 12), asked=st.booleans(), alike=st.booleans())
def test_rows_follow_a_matrix(seed, events, asked, alike):
    """Entries are set and taken out one by one; whether all rows are asked for in between makes no difference."""
    rng = np.random.default_rng(seed)
    R = observed(rng, 5, 7, 0.4)
    R = R * 0 + 1 if alike else R
    weights = np.where(np.isnan(R), np.nan, rng.choice([0.5, 2.0], R.shape))
    rows = Rows(Interactions(stored(R), weights=weights[~np.isnan(R)]).by_user)
    states = []
    for _ in range(events):
        states.append((rows, R.copy(), weights.copy()))
        number, column, value = int(rng.integers(len(R) + 1)), int(rng.integers(7)), float(rng.integers(1, 4))
        if number == len(R):
            R, weights = (np.vstack([matrix, np.full(7, np.nan)]) for matrix in (R, weights))
        if rng.random() < 0.3:
            row = rows[number].without_entry(column)
            R[number, column] = weights[number, column] = np.nan
        else:
            row = rows[number].with_entry(column, value)
            R[number, column] = value
            weights[number, column] = 1 if np.isnan(weights[number, column]) else weights[number, column]
        rows = rows.with_rows({number: row})
        if asked:
            assert rows.cells is rows.cells
    states.append((rows, R, weights))
    for state, matrix, their_weights in states:  # earlier ones too: nothing is written to
        np.testing.assert_array_equal(dense(state, len(matrix), 7), matrix)
        np.testing.assert_array_equal(dense(state, len(matrix), 7, True), their_weights)
        np.testing.assert_array_equal(of_cells(state, 7), matrix)
        np.testing.assert_array_equal(of_cells(state, 7, True), their_weights)
        np.testing.assert_array_equal(of_cells(state.transposed(7), len(matrix)), matrix.T)
        assert len(state[len(matrix)].columns) == 0


@given(seed=st.integers(0, 2**32 - 1), n=st.sampled_from([0, 1, 5, FEW, FEW + 1]), asked=st.booleans())
def test_lists_are_the_columns_of_the_rows_asked_for(seed, n, asked):
    rng = np.random.default_rng(seed)
    R = observed(rng, 6, 8, 0.4)
    rows = Rows(Interactions(stored(R)).by_user)
    if seed % 2:
        new = observed(rng, 1, 8, 0.5)
        number = int(rng.integers(7))
        R = np.vstack([R[:number], new, R[number + 1 :]])
        rows = rows.with_rows({number: Rows(Interactions(stored(new)).by_user)[0]})
    if asked:
        rows.cells  # noqa: B018 - made once
    numbers = rng.integers(0, len(R), n)
    lists = rows.lists(numbers)
    assert len(lists.rows) == n
    for number, place in zip(numbers, lists.rows, strict=True):
        columns = lists.indices[lists.indptr[place] : lists.indptr[place + 1]]
        np.testing.assert_array_equal(columns, np.flatnonzero(~np.isnan(R[number])))


def test_many_changed_rows_become_a_base():
    rows = Rows(Interactions(np.ones((3, 4))).by_user)
    base, sizes = rows.base, []
    for number in range(3, 3 + 2 * FEW):
        rows = rows.with_rows({number: Row(*(np.zeros(0, part.dtype) for part in rows[0]))})
        sizes.append(len(rows.changed))
    assert max(sizes) == FEW + math.isqrt(len(base.indices))
    assert rows.base is not base
    assert rows.cells.counts.tolist() == [4] * 3 + [0] * 2 * FEW


# Sides.


def a_side(rng: np.random.Generator, n: int, k: int, dtype: str, biased: bool) -> tuple[Side, np.ndarray]:
    """Return a side, and its rows as a plain array."""
    rows = rng.standard_normal((n, k + biased)).astype(dtype)
    return Side(as_panel(rows), k, biased, None), rows


@given(
    n=st.integers(1, 9),
    k=st.sampled_from([1, 3, 16]),
    dtype=dtypes,
    biased=st.booleans(),
    events=st.integers(1, 8),
    asked=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_sides_follow_an_array(n, k, dtype, biased, events, asked, seed):
    rng = np.random.default_rng(seed)
    side, rows = a_side(rng, n, k, dtype, biased)
    states = [(side, rows)]
    for _ in range(events):
        numbers = rng.permutation(len(rows) + 2)[: rng.integers(1, 3)]
        new = rng.standard_normal((len(numbers), k + biased + 2)).astype(dtype)
        side = side.with_rows(numbers, new)
        rows = np.vstack([rows, np.zeros((max(0, numbers.max() + 1 - len(rows)), k + biased), dtype)])
        rows[numbers] = new[:, : k + biased]
        states.append((side, rows))
        if asked:
            assert side.panel is side.panel
    for state, wanted in states:
        asked_for = rng.integers(0, len(wanted), 5)
        panel, places = state.part(asked_for)
        np.testing.assert_array_equal(panel[places, : k + biased], wanted[asked_for])
        beyond = np.append(asked_for, len(wanted) + 3) if state.changed else asked_for
        found = state.rows(beyond)
        np.testing.assert_array_equal(found[:5, : k + biased], wanted[asked_for])
        assert not found[5:].any()
        assert not found[:, k + biased :].any()
        assert len(state) == len(wanted)
        assert state.panel.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(state.panel[:, : k + biased], wanted)
        assert not state.panel[:, k + biased :].any()
        np.testing.assert_array_equal(state.public("factors"), wanted[:, :k])
        if biased:
            np.testing.assert_array_equal(state.public("biases"), wanted[:, k])
            np.testing.assert_array_equal(state.regressors[:, :k], wanted[:, :k])
            assert (state.regressors[:, k] == 1).all()
        else:
            assert state.biases is None
            assert state.regressors is state.panel


@pytest.mark.parametrize("n", [1, FEW, FEW + 1, 3 * FEW])
def test_many_rows_at_once(n):
    rng = np.random.default_rng(n)
    side, rows = a_side(rng, 10, 3, "float64", True)
    numbers, new = rng.permutation(n), rng.standard_normal((n, 4))
    grown = side.with_rows(numbers, new)
    wanted = np.vstack([rows, np.zeros((max(0, n - 10), 4))])
    wanted[numbers] = new
    panel, places = grown.part(np.arange(len(wanted)))
    np.testing.assert_array_equal(panel[places, :4], wanted)
    np.testing.assert_array_equal(grown.rows(np.arange(len(wanted)))[:, :4], wanted)
    assert bool(grown.changed) == (n <= FEW + 3)
    np.testing.assert_array_equal(side.panel[:, :4], rows)


def test_a_gram_matrix_is_of_one_state():
    rng = np.random.default_rng(0)
    side, _ = a_side(rng, 10, 3, "float64", False)
    with_gram = side.with_rows(np.array([2]), np.ones((1, 3)), np.eye(3))
    assert with_gram.gram is not None
    assert with_gram.with_rows(np.array([3]), np.ones((1, 3))).gram is None


def test_public_arrays_are_one_object_that_nobody_can_write_to():
    side, _ = a_side(np.random.default_rng(0), 4, 3, "float32", True)
    for name in ("factors", "biases"):
        assert side.public(name) is side.public(name)
        with pytest.raises(ValueError, match="read-only"):
            side.public(name)[0] = 1


@given(dtype=dtypes, power=st.sampled_from([-120, -60, 0, 60, 120]), seed=st.integers(0, 99))
def test_unit_rows_have_length_one_at_any_scale(dtype, power, seed):
    rows = np.random.default_rng(seed).standard_normal((5, 4))
    rows[2] = 0
    found = unit_rows((rows * 2.0**power).astype(dtype))
    lengths = np.linalg.norm(rows, axis=1)[:, None]
    np.testing.assert_allclose(found, rows / np.where(lengths > 0, lengths, 1), rtol=8 * np.finfo(dtype).eps, atol=0)
    assert found.dtype == np.dtype(dtype)


# The record.


def test_records_are_frozen_and_copies_have_nothing_derived():
    model = fitted()
    state = model._state
    model.recommend(0)
    assert state.items._derived
    for record in (state, state.items, state.by_user):
        with pytest.raises(dataclasses.FrozenInstanceError):
            record.base = None
        for twin in (copy.copy(record), pickle.loads(pickle.dumps(record))):
            assert twin._derived == {}
    assert model.update(0, 0)._state is not state


def test_what_is_derived_is_made_once():
    state = fitted(**CLASSIC[fastals.ImplicitALS])._state
    assert state.rows_by_item() is state.rows_by_item()
    assert state.gram("item", False) is state.gram("item", False)
    assert state.items.columns(False) is state.items.columns(False)
    np.testing.assert_allclose(
        state.gram("item", False), state.items.factors.T @ state.items.factors, rtol=0, atol=1e-12
    )
    np.testing.assert_allclose(state.gram("item", True), state.gram("item", False), rtol=0, atol=1e-12)


@given(
    st.lists(st.integers(0, 50), max_size=9),
    st.lists(st.dictionaries(st.integers(0, 12), st.integers(0, 9), min_size=1, max_size=4), max_size=6),
)
def test_counts_are_those_of_an_array_that_is_written_to(first, changes):
    counts, wanted = Counts(np.array(first, np.int64)), dict(enumerate(first))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids, "_FEW", 2)
        for change in changes:
            counts = counts.with_counts(np.array(list(change)), np.array(list(change.values())))
            wanted |= change
            assert len(counts.changed) <= 2 + len(counts.base)
    assert counts.all.tolist() == [wanted.get(place, 0) for place in range(max(wanted, default=-1) + 1)]


MANY = 200_000


@pytest.mark.parametrize("users", [30, MANY])
@pytest.mark.parametrize(
    "model",
    [fastals.ImplicitALS(2, iterations=1), fastals.ExplicitALS(2, iterations=1), fastals.WeightedALS(2, iterations=1)],
    ids=lambda model: type(model).__name__,
)
def test_one_event_and_one_new_user_take_no_memory_for_all_others(model, users):
    """Less than a byte for each item, once what follows from the fit is made."""
    rng = np.random.default_rng(0)
    R = sparse.csr_array((np.ones(900), (rng.integers(0, users, 900), rng.integers(0, MANY, 900))), shape=(users, MANY))
    new = sparse.csr_array((np.ones(2), [3, 70], [0, 2]), shape=(1, MANY))
    model.fit(R).fold_in_users(new)
    assert peak(lambda: model.fold_in_users(new)) < MANY
    model.update(5, 11)
    assert peak(lambda: model.update(6, 12)) < MANY


def peak(call):
    """The most bytes that a call holds at once."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
