"""The basis in which background and ridge of all rows are one number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastals.engine import alternation
from fastals.engine.alternation import Alternation
from fastals.engine.problem import BACKGROUND, NOT_POSITIVE, RIDGE, Outcome
from fastals.engine.whitening import whitening
from tests.helpers import a_model, example

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


def gram_of(width, seed, decay=1.0):
    Y = np.random.default_rng(seed).standard_normal((3 * width, width)) * decay ** np.arange(width)
    return Y.T @ Y


@given(
    width=st.integers(1, 80),
    seed=st.integers(0, 99),
    decay=st.floats(0.8, 1.2),
    background=st.floats(0.01, 10),
    share=st.floats(1e-6, 10),
)
def test_background_and_ridge_become_one_number(width, seed, decay, background, share):
    G = gram_of(width, seed, decay)
    ridge = share * background * G.trace()
    found = whitening(G, background, ridge, F64)
    assert found is not None
    M, square = background * G + ridge * np.eye(width), background * found.g + ridge
    assert square == pytest.approx(M.trace() / width)
    allowed = 20 * width * np.finfo(np.float64).eps
    for triangle in (found.root, found.inverse):
        assert np.array_equal(triangle, np.tril(triangle))
    assert np.abs(found.root @ found.root.T * square - M).max() <= allowed * M.trace()
    # The diagonal counts for the condition that is left when it has been scaled away.
    scale = np.sqrt(M.diagonal())
    condition = np.linalg.cond(M / np.outer(scale, scale))
    assert np.abs(found.inverse @ found.root - np.eye(width)).max() <= allowed * condition


@pytest.mark.parametrize(
    "gram",
    [np.full((3, 3), 0.0) - 0.1 * np.eye(3), np.diag([1.0, -1, 1]), np.full((3, 3), np.nan), np.diag([np.inf, 1, 1])],
    ids=["nothing", "indefinite", "nan", "infinite"],
)
def test_what_has_no_such_basis(gram):
    assert whitening(gram, 1.0, 0.1, F64) is None


def test_where_rounding_counts_there_is_none_in_that_dtype():
    near = np.ones((2, 2))
    assert whitening(near, 1.0, 1e-6, F32) is None
    assert whitening(near, 1.0, 1e-6, F64) is not None
    assert whitening(np.diag([1e5, 1e-5]), 1.0, 0.1, F32) is not None  # scales alone do no harm


def test_a_ridge_that_is_lost_in_rounding_has_none():
    assert whitening(np.diag([1e8, 1.0]), 1.0, 1.0, F32) is None
    assert whitening(np.diag([1e8, 1.0]), 1.0, 1.0, F64) is not None


@pytest.fixture
def few(monkeypatch):
    """Let any number of factors take this way."""
    monkeypatch.setattr(alternation, "WHITENED", 1)


def started(**params):
    model = a_model(example(), 3, **params)
    rng = np.random.default_rng(0)
    for panel in (model.X, model.Y):
        panel[:, :3] = rng.standard_normal((len(panel), 3))
    loop = Alternation(model, "cholesky", 2)
    return model, loop


def dense(model):
    """The users' exact solutions."""
    problem, Y = model.users, model.Y[:, :3].astype(np.float64)
    cells, (constant, slope, sign, value, mean) = problem.cells, map(float, problem.rule)
    X = np.zeros((cells.n_rows, 3))
    weights = np.broadcast_to(problem.columns[:, BACKGROUND], len(Y))
    for u in range(cells.n_rows):
        part = cells.part(u, u + 1)
        y, v = Y[part.indices], part.all_values.astype(np.float64)
        c = (constant + slope * np.abs(v)) * part.all_weights
        background = problem.rows[u, BACKGROUND]
        w = c - background * weights[part.indices]
        A = background * (Y.T * weights) @ Y + problem.rows[u, RIDGE] * np.eye(3) + (y.T * w) @ y
        X[u] = np.linalg.solve(A, y.T @ (c * (sign * (v > 0) + value * (v - mean)))) if len(v) else 0
    return X


def test_rows_get_their_solutions_and_the_fixed_side_stays(few):
    model, loop = started()
    before, wanted = model.Y.copy(), dense(model)
    outcome = loop._solve_whitened("user", loop._inner_plan("user", 0))
    assert outcome is not None
    eps = np.finfo(model.Y.dtype).eps
    assert np.array_equal(model.Y, before)
    assert np.abs(model.X[:, :3] - wanted).max() <= 500 * eps * np.abs(wanted).max()


def test_rows_that_differ_have_none(few):
    model, loop = started()
    model.users.rows[1, RIDGE] *= 2
    before = model.Y.copy()
    assert loop._solve_whitened("user", loop._inner_plan("user", 4)) is None
    assert np.array_equal(model.Y, before)


def test_a_row_that_fails_is_solved_in_the_eigenbasis(few, monkeypatch):
    model, loop = started()
    solved = loop.solve_rows

    def failing(side, Y, g, plan, *, mend=True):
        outcome = solved(side, Y, g, plan, mend=mend)
        status = outcome.status.copy()
        status[2] = 0 if mend else NOT_POSITIVE
        return Outcome(outcome.losses, status)

    monkeypatch.setattr(loop, "solve_rows", failing)
    wanted = dense(model) @ model.Y[:, :3].T
    failure, _ = loop._half_step("user", loop._inner_plan("user", 0), settled=True)
    assert failure is None
    found = model.X[:, :3] @ model.Y[:, :3].T
    assert np.abs(found - wanted).max() <= 1e3 * np.finfo(model.Y.dtype).eps * np.abs(wanted).max()
