"""Rows solved in batches equal rows solved one by one, whatever the batch."""

import numpy as np
import pytest

import fastals
from fastals.engine import sweep
from fastals.engine.jit import kernel
from fastals.engine.panel import as_panel
from fastals.engine.plan import CACHED, CG, plan_for
from fastals.engine.problem import NOT_FINITE, OK, CellRule, Cells, RowProblem, no_shifts
from fastals.engine.rows import blocked_rows
from fastals.engine.shifts import shifts_for
from tests.helpers import example, factors_from_memory, same_bits, stored

FEW = 30


@pytest.fixture(autouse=True)
def rows_are_blocked(monkeypatch):
    """Solve rows of more than FEW entries in batches of a few rows, by blocks of a few columns."""
    monkeypatch.setattr(blocked_rows, "CACHED", FEW * 16)
    monkeypatch.setattr(blocked_rows, "CELLS", 0)
    monkeypatch.setattr(blocked_rows, "BLOCK", 2**10)
    monkeypatch.setattr(blocked_rows, "SKETCHED", 0)


@pytest.fixture
def calls(monkeypatch):
    """Count the calls of the kernel."""
    made = []
    kernel = sweep.solve_batches
    monkeypatch.setattr(sweep, "solve_batches", lambda *arguments: made.append(1) or kernel(*arguments))
    return made


def problem(dtype, kind="each its own", n_rows=40, n_columns=150, k=12, seed=0):
    """Rows of 0 to 150 entries with w of any sign, the fixed panel and its background."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, n_columns + 1, n_rows)
    indices = np.concatenate([np.sort(rng.choice(n_columns, m, replace=False)) for m in counts]).astype(np.int32)
    indptr = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    values, weights = (rng.random(len(indices)).astype(dtype) + dtype(offset) for offset in (-0.5, 0.5))
    rule = CellRule(*(dtype(number) for number in (1, 2, 0.3, 1, 0.1)))
    if kind not in ("each its own", "drawn to a mean", "shifted"):
        values, weights = values[:1], np.ones(1, dtype)
    if kind == "none above the background":
        rule = rule._replace(slope=dtype(0))
    numbers = np.column_stack([1 + rng.random((n_rows, 2)), 0.1 + rng.random(n_rows)]).astype(dtype)
    Y = as_panel(rng.standard_normal((n_columns, k)).astype(dtype))
    g = np.zeros(Y.shape[1], dtype)
    g[:k] = n_columns * (0.5 + rng.random(k))
    if kind == "none above the background":
        numbers[:, :2] = 1
    if kind == "drawn to a mean":
        means = np.zeros((n_rows, Y.shape[1]), dtype)
        means[:, :k] = rng.standard_normal((n_rows, k))
        numbers = np.hstack([numbers, means])
    shifts = no_shifts(np.dtype(dtype))
    if kind == "shifted":
        shifts = shifts_for(rng.standard_normal(n_columns).astype(dtype), np.ones(1, dtype), Y)
    return RowProblem(Cells(indptr, indices, values, weights), rule, numbers, np.ones((1, 3), dtype), shifts), Y, g


def without(problem, rows):
    """Return the problem with these rows empty."""
    cells = problem.cells
    counts = np.where(np.isin(np.arange(cells.n_rows), rows), 0, cells.counts)
    stay = np.repeat(counts > 0, cells.counts)
    indptr = np.concatenate(([0], np.cumsum(counts)))
    rest = (cells.indices[stay], cells.values[stay], cells.weights[stay])
    return problem._replace(cells=Cells(indptr, *rest))


def some_steps(dtype, **changes):
    plan = plan_for("cg", np.dtype(dtype), True, warm=False, last=False)
    return plan._replace(**changes)


def solve(problem, Y, g, plan, n_threads=1, *, together=True):
    X = np.zeros((problem.cells.n_rows, Y.shape[1]), Y.dtype)
    X[:, :12] = np.random.default_rng(1).standard_normal((len(X), 12))
    with pytest.MonkeyPatch.context() as patch:
        if not together:
            patch.setattr(sweep, "serves", lambda *_: False)
        outcome = sweep.half_step(problem, Y, g, 12, X, plan, n_threads)
    return X, outcome


@kernel
def first_from(indices, begin, end, column):
    return blocked_rows._first_from(indices, begin, end, column)


def test_the_first_cell_of_a_block_is_found():
    columns = np.unique(np.random.default_rng(0).integers(0, 400, 120)).astype(np.int32)
    for begin in (0, 1, 15, 70):
        for end in (begin, begin + 1, begin + 16, begin + 17, len(columns)):
            for column in range(402):
                wanted = begin + np.searchsorted(columns[begin:end], column)
                assert first_from(columns, begin, end, column) == wanted


@pytest.mark.parametrize(
    "kind", ["each its own", "all alike", "none above the background", "drawn to a mean", "shifted"]
)
@pytest.mark.parametrize(("warm", "beyond"), [(False, 0.0), (True, 0.0), (True, 0.7)])
@pytest.mark.parametrize("steps", [0, 1, 4, 60])
def test_a_row_is_what_it_is_by_itself(kind, warm, beyond, steps, calls):
    cells, Y, g = problem(np.float64, kind)
    plan = some_steps(np.float64, warm=warm, steps=steps, beyond=np.float64(beyond))
    assert (cells.cells.counts > FEW).sum() > 20
    assert len(sweep.make_schedule(cells.cells.counts, Y, plan, 1).batches) > 5
    X, outcome = solve(cells, Y, g, plan)
    assert calls
    wanted, same = solve(cells, Y, g, plan, together=False)
    # With all weights 0 a row by itself is a diagonal: one step gets there.
    if kind != "none above the background" or steps > 0:
        np.testing.assert_allclose(X, wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())
        np.testing.assert_allclose(outcome.loss, same.loss, rtol=1e-10)
    assert (outcome.status == OK).all()
    assert not X[:, 12:].any()


@pytest.mark.parametrize("warm", [False, True])
def test_a_sketch_is_what_it_is_by_itself(warm, calls):
    cells, Y, g = problem(np.float64)
    plan = some_steps(np.float64, sketch=True, warm=warm)
    X, outcome = solve(cells, Y, g, plan)
    assert calls
    wanted, same = solve(cells, Y, g, plan, together=False)
    np.testing.assert_allclose(X, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())
    np.testing.assert_allclose(outcome.loss, same.loss, rtol=1e-12)


def test_bits_do_not_depend_on_what_an_earlier_half_step_has_left_in_a_batch(calls, monkeypatch):
    R = stored(example(1, (150, 150), 0.4))
    kept, anew = (factors_from_memory(monkeypatch, R, kept, factors=12, solver="cg") for kept in (True, False))
    assert kept == anew
    assert len(calls) > 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_depend_neither_on_threads_nor_on_the_batch(dtype, monkeypatch):
    cells, Y, g = problem(dtype)
    plan = some_steps(dtype, warm=True, beyond=dtype(0.5))
    X, outcome = solve(cells, Y, g, plan)
    for n_threads in (2, 5):
        other, same = solve(cells, Y, g, plan, n_threads)
        assert same_bits(X, other)
        assert outcome.loss == same.loss
    monkeypatch.setattr(sweep, "rows_of_batch", lambda *_: 1)
    alone, same = solve(cells, Y, g, plan)
    assert same_bits(X, alone)
    assert outcome.loss == same.loss
    gone = np.arange(0, len(X), 2)
    fewer, _ = solve(without(cells, gone), Y, g, plan)
    assert same_bits(np.delete(X, gone, 0), np.delete(fewer, gone, 0))


def test_a_solution_that_is_not_finite_is_reported():
    cells, Y, g = problem(np.float32)
    values = cells.cells.values.copy()
    u = int(np.argmax(cells.cells.counts))
    values[cells.cells.indptr[u]] = 3e38
    spoilt = cells._replace(cells=cells.cells._replace(values=values))
    X, outcome = solve(spoilt, Y, g, some_steps(np.float32))
    assert outcome.status[u] == NOT_FINITE
    assert not X[u].any()
    assert np.count_nonzero(outcome.status) == 1


@pytest.mark.parametrize(
    ("changes", "ridge", "expected"),
    [
        ({}, 0.1, True),
        ({"finish": True}, 0.1, False),
        ({"only": CG}, 0.1, False),
        ({"beyond": 0.5}, 0.1, False),
        ({}, -1e6, False),
    ],
    ids=["within a fit", "last", "one way for all", "beyond what is not known", "not positive"],
)
def test_which_half_steps_are_served(changes, ridge, expected):
    cells, _, g = problem(np.float64)
    cells.rows[:, 2] = ridge
    assert blocked_rows.serves(cells.rows, g[:12].min(), 16, some_steps(np.float64, **changes)) is expected


def test_exact_rows_stay_exact_where_steps_cost_as_much(monkeypatch):
    monkeypatch.setattr(blocked_rows, "CACHED", CACHED)
    auto = plan_for("auto", np.dtype(np.float32), True, warm=True, last=False)
    assert [blocked_rows.cheaper(k, auto) for k in (16, 64, 128, 256)] == [False, False, True, True]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_fit_is_the_ordinary_fit(dtype, calls):
    R = stored(example(1, (300, 120), 0.4))
    models = []
    for together in (True, False):
        assert together or len(calls) > 8
        with pytest.MonkeyPatch.context() as patch:
            if not together:
                patch.setattr(sweep, "serves", lambda *_: False)
            model = fastals.ImplicitALS(factors=12, iterations=4, solver="cg", dtype=dtype, random_state=0)
            models.append(model.fit(R))
    blocked, ordinary = (model.loss_history_ for model in models)
    np.testing.assert_allclose(blocked, ordinary, rtol=1e-4 if dtype == "float32" else 1e-9)
