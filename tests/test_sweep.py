"""Half-steps over many rows: schedules, threads, and what `auto` guarantees of the stored rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import fastals
from fastals.engine import sweep
from fastals.engine.plan import TOLERANCE, plan_for
from fastals.engine.problem import Cells
from fastals.engine.rows import blocked_rows
from tests.helpers import CLASSIC, example, factors_from_memory, stored
from tests.reference import Implicit


@given(counts=st.lists(st.integers(0, 300), min_size=1, max_size=200), n_threads=st.integers(1, 130))
def test_a_schedule_has_every_row_once_and_long_ones_first(counts, n_threads):
    counts = np.array(counts)
    plan = plan_for("auto", np.dtype("float32"), True, warm=True, last=False)
    for most in (sweep.LONG, 150):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sweep, "LONG", most)
            patch.setattr(blocked_rows, "CACHED", 100 * 32)
            patch.setattr(blocked_rows, "BLOCK", 16 * 32 * 4)
            Y = np.empty((6 * 16, 32), np.float32)
            order, blocks, longest, batches, too_long = sweep.make_schedule(counts, Y, plan, n_threads)
        assert sorted([*too_long, *order]) == list(range(len(counts)))
        assert np.all(counts[too_long] > most)
        assert blocks[0] == 0
        assert blocks[-1] == len(order)
        assert np.all(np.diff(blocks) > 0)
        assert np.all(np.diff(counts[order]) <= 0)
        assert longest == max(counts[order], default=0)
        assert batches[0] == 0
        assert batches[-1] in blocks
        assert np.all(np.diff(batches) > 0)
        assert np.all(np.diff(batches) <= 8)
        assert batches[-1] == np.count_nonzero(counts[order] > 100)


def test_one_row_to_fold_in_is_solved_by_itself_whatever_its_length(monkeypatch):
    monkeypatch.setattr(blocked_rows, "CACHED", 100 * 32)
    plan, Y = plan_for("auto", np.dtype("float32"), True, warm=False, last=True), np.empty((500, 32), np.float32)
    one = Cells(np.array([0, 200]), np.arange(200, dtype=np.int32), np.ones(1), np.ones(1))
    [(begin, end, alone)] = sweep.make_sections(one, Y, plan, 2)
    assert (begin, end, alone.longest) == (0, 1, 200)
    parts = alone.order, alone.blocks, alone.batches, alone.too_long
    assert [part.tolist() for part in parts] == [[0], [0, 1], [0], []]
    monkeypatch.setattr(sweep, "LONG", 199)
    [(_, _, together)] = sweep.make_sections(one, Y, plan, 2)
    assert together.too_long.tolist() == [0]


def test_rows_of_more_cells_than_16_bits_count_are_sorted():
    counts = np.array([3, 2**15 - 1, 40_000, 2**15, 5, 2**16 + 1])
    plan = plan_for("cholesky", np.dtype("float32"), True, warm=True, last=False)
    order, _, longest, _, _ = sweep.make_schedule(counts, np.empty((2**17, 16), np.float32), plan, 2)
    assert list(order) == [5, 2, 3, 1, 4, 0]
    assert longest == 2**16 + 1


def test_blocks_cost_about_the_same():
    counts = (1000 / np.arange(1, 3000)).astype(int) + 1
    plan = plan_for("auto", np.dtype("float32"), True, warm=True, last=False)
    order, blocks, _, _, _ = sweep.make_schedule(counts, np.empty((1001, 64), np.float32), plan, 2)
    cost = sweep.predicted_cost(counts[order], 64, plan)
    assert len(blocks) <= 2 * sweep.BLOCKS_PER_THREAD + 1
    shares = np.add.reduceat(cost, blocks[:-1])
    # A block ends with the row that carries it over its share.
    assert shares.max() <= cost.sum() / (2 * sweep.BLOCKS_PER_THREAD) + cost.max()


def test_a_row_of_few_cells_in_a_block_is_solved_by_itself():
    kp, dtype = 1024, np.dtype("float32")
    columns = blocked_rows.columns_of_block(kp, dtype)
    assert blocked_rows.longest_alone(100 * columns, kp, dtype) == 100 * blocked_rows.CELLS
    assert blocked_rows.longest_alone(columns, kp, dtype) == blocked_rows.CACHED // kp


@pytest.mark.parametrize("solver", ["auto", "cholesky", "cg"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_do_not_depend_on_threads(solver, dtype):
    R = stored(example(1, (300, 120), 0.2))
    fits = [
        fastals.ImplicitALS(factors=20, iterations=2, solver=solver, dtype=dtype, random_state=0, n_threads=n).fit(R)
        for n in (1, 2, 5)
    ]
    for other in fits[1:]:
        assert np.array_equal(fits[0].user_factors_, other.user_factors_)
        assert np.array_equal(fits[0].item_factors_, other.item_factors_)
        assert fits[0].loss_history_ == other.loss_history_


def test_bits_do_not_depend_on_what_an_earlier_half_step_has_left_in_memory(monkeypatch):
    R = stored(example(1, (60, 40), 0.2))
    kept, anew = (factors_from_memory(monkeypatch, R, kept, factors=24) for kept in (True, False))
    assert kept == anew


def test_bits_do_not_depend_on_where_arrays_lie():
    """A loop that stores and sums asks whether its arrays overlap, in a way that is not always exact (see `jit`)."""
    R = sparse.random(41, 200, 0.1, format="csr", random_state=1)
    rng, kept, histories = np.random.default_rng(0), [], set()
    for i in range(100):
        kept.append(np.empty(rng.integers(1, 6000)))  # so that the next arrays lie elsewhere
        params = {"regularization": 1e-6, "alpha": 1e-6, "iterations": 3, "dtype": "float64", "random_state": 1}
        model = fastals.ImplicitALS(96, n_threads=1 + i % 3, **params).fit(R)
        histories.add(tuple(model.loss_history_))
    assert len(histories) == 1


@pytest.mark.parametrize("solver", ["auto", "cg"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("parameters", [{}, {"alpha": 40.0}, {"unobserved_weight": 0.01, "regularization": 0.1}])
def test_stored_rows_have_the_residual_that_is_promised(solver, dtype, parameters):
    """What is left to gain is at most tolerance^2 times the gain, rounding aside."""
    R = example(1, (200, 90), 0.3)
    params = CLASSIC[fastals.ImplicitALS] | parameters
    model = fastals.ImplicitALS(24, iterations=2, solver=solver, dtype=dtype, random_state=0, **params).fit(stored(R))
    reference = Implicit(**{"regularization": 0.01, **parameters})
    X, Y = model.user_factors_.astype(np.float64), model.item_factors_.astype(np.float64)
    exact = reference.solve_users(R, Y)
    C, _ = reference.cells(R)
    tolerance = TOLERANCE[np.dtype(dtype).itemsize]
    eps = np.finfo(dtype).eps
    for u in range(len(R)):
        A = (Y * C[u][:, None]).T @ Y + reference.regularization * np.eye(Y.shape[1])
        error, gained = X[u] - exact[u], exact[u] @ A @ exact[u]
        # Rounding a right-hand side to eps moves x by no more than eps sqrt(condition) in the energy norm.
        allowed = tolerance + 64 * eps * np.sqrt(np.linalg.cond(A))
        assert error @ A @ error <= allowed**2 * gained
