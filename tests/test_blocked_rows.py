"""Rows solved together, block after block: they are what each is by itself, whoever else is solved."""

import numpy as np
import pytest

import fastals
from fastals.engine import blocked_rows, fit, rows, sweep
from fastals.engine.panel import as_panel
from fastals.engine.problem import CellRule, Cells, RowProblem
from tests.helpers import example, same_bits, stored

FEW = 30


@pytest.fixture(autouse=True)
def rows_are_blocked(monkeypatch):
    """Have rows of more cells than these solved together, by blocks of a few columns and batches of a few rows."""
    monkeypatch.setattr(blocked_rows, "CACHED", FEW * 16)
    monkeypatch.setattr(blocked_rows, "CELLS", 0)
    monkeypatch.setattr(blocked_rows, "BLOCK", 2**10)


def problem(dtype, n_rows=40, n_columns=150, k=12, seed=0):
    """Rows of 0 to 150 cells with weights of any sign above the background's, the fixed panel and its background."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, n_columns + 1, n_rows)
    indices = np.concatenate([np.sort(rng.choice(n_columns, m, replace=False)) for m in counts]).astype(np.int32)
    indptr = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    values, weights = (rng.random(len(indices)).astype(dtype) + dtype(offset) for offset in (-0.5, 0.5))
    rule = CellRule(*(dtype(number) for number in (1, 2, 0.3, 1, 0.1)))
    numbers = np.column_stack([1 + rng.random((n_rows, 2)), 0.1 + rng.random(n_rows)]).astype(dtype)
    Y = as_panel(rng.standard_normal((n_columns, k)).astype(dtype))
    g = np.zeros(Y.shape[1], dtype)
    g[:k] = n_columns * (0.5 + rng.random(k))
    return RowProblem(Cells(indptr, indices, values, weights), rule, numbers, np.ones((1, 3), dtype)), Y, g


def some_steps(dtype, **changes):
    plan = fit.plan_for("cg", np.dtype(dtype), True, warm=False, last=False)
    return plan._replace(**changes)


def solve(problem, Y, g, plan, n_threads=1, *, together=True):
    X = np.zeros((problem.cells.n_rows, Y.shape[1]), Y.dtype)
    X[:, :12] = np.random.default_rng(1).standard_normal((len(X), 12))
    with pytest.MonkeyPatch.context() as patch:
        if not together:
            patch.setattr(sweep, "serves", lambda *_: False)
        outcome = sweep.half_step(problem, Y, g, 12, X, plan, n_threads)
    return X, outcome


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 4, 60])
@pytest.mark.parametrize("beyond", [0.0, 0.7])
def test_a_row_is_what_it_is_by_itself(warm, steps, beyond):
    if beyond and not warm:
        return
    cells, Y, g = problem(np.float64)
    plan = some_steps(np.float64, warm=warm, steps=steps, beyond=np.float64(beyond))
    assert (cells.cells.counts > FEW).sum() > 20
    assert len(sweep.make_schedule(cells.cells.counts, Y, plan, 1).batches) > 5
    (X, outcome), (wanted, same) = solve(cells, Y, g, plan), solve(cells, Y, g, plan, together=False)
    np.testing.assert_allclose(X, wanted, rtol=0, atol=1e-10 * np.abs(wanted).max())
    np.testing.assert_allclose(outcome.loss, same.loss, rtol=1e-10)
    assert (outcome.status == rows.OK).all()
    assert not X[:, 12:].any()


def test_a_sketch_is_what_it_is_by_itself():
    cells, Y, g = problem(np.float64)
    plan = some_steps(np.float64, sketch=True)
    (X, outcome), (wanted, same) = solve(cells, Y, g, plan), solve(cells, Y, g, plan, together=False)
    np.testing.assert_allclose(X, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())
    np.testing.assert_allclose(outcome.loss, same.loss, rtol=1e-12)


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


def test_a_solution_that_is_not_finite_is_reported():
    cells, Y, g = problem(np.float32)
    values = cells.cells.values.copy()
    u = int(np.argmax(cells.cells.counts))
    values[cells.cells.indptr[u]] = 3e38
    spoilt = cells._replace(cells=cells.cells._replace(values=values))
    X, outcome = solve(spoilt, Y, g, some_steps(np.float32))
    assert outcome.status[u] == rows.NOT_FINITE
    assert not X[u].any()
    assert np.count_nonzero(outcome.status) == 1


@pytest.mark.parametrize(
    ("changes", "ridge", "expected"),
    [({}, 0.1, True), ({"finish": True}, 0.1, False), ({"only": rows.CG}, 0.1, False), ({}, -1e6, False)],
    ids=["within a fit", "last", "one way for all", "not positive"],
)
def test_which_half_steps_are_served(changes, ridge, expected):
    cells, _, g = problem(np.float64)
    cells.rows[:, 2] = ridge
    assert blocked_rows.serves(cells, g[:12].min(), 16, some_steps(np.float64, **changes)) is expected


def test_exact_rows_stay_exact_where_steps_cost_as_much():
    cells, _, _ = problem(np.float32)
    auto = fit.plan_for("auto", np.dtype(np.float32), True, warm=True, last=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocked_rows, "CACHED", rows.CACHED)
        assert [blocked_rows.serves(cells, 1.0, k, auto) for k in (16, 64, 128, 256)] == [False, False, True, True]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_fit_is_the_ordinary_fit(dtype):
    R = stored(example(1, (300, 120), 0.4))
    models = []
    for together in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not together:
                patch.setattr(sweep, "serves", lambda *_: False)
            model = fastals.ImplicitALS(factors=12, iterations=4, solver="cg", dtype=dtype, random_state=0)
            models.append(model.fit(R))
    blocked, ordinary = (model.loss_history_ for model in models)
    np.testing.assert_allclose(blocked, ordinary, rtol=1e-4 if dtype == "float32" else 1e-9)
