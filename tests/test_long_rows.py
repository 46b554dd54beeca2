"""Rows solved in parts equal rows solved by one thread, for any number of threads."""

import numpy as np
import pytest

import fastals
from fastals.engine import sweep
from fastals.engine.panel import as_panel
from fastals.engine.problem import MINIMUM_NORM, NOT_FINITE, OK, drawn_to
from fastals.engine.rows import long_rows
from tests.helpers import example, one_row, plan, same_bits, stored

SHORT = 3 * long_rows.PARTS // 2  # some parts have one cell, others two


@pytest.fixture(autouse=True)
def rows_are_long(monkeypatch):
    """Solve rows of SHORT entries and more in parts."""
    monkeypatch.setattr(sweep, "LONG", SHORT - 1)


def ordinary(fit):
    """Call `fit` where no row is long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "LONG", 2**31)
        return fit()


@pytest.mark.parametrize("m", [SHORT, SHORT + 1, 700])
@pytest.mark.parametrize("k", [1, 5, 40])
@pytest.mark.parametrize("beyond", [0.0, 0.7])
@pytest.mark.parametrize("drawn", [False, True])
def test_a_row_in_parts_is_the_ordinary_row(m, k, beyond, drawn):
    problem, Y, g, A, r, _ = one_row(m, k, np.float64)
    if drawn:  # to a prior mean
        problem = drawn_to(problem, as_panel(np.random.default_rng(1).standard_normal((1, k))))
    exact = plan("primal", np.float64)._replace(beyond=np.float64(beyond))
    start = np.zeros((1, Y.shape[1]))
    start[0, :k] = np.random.default_rng(0).standard_normal(k)
    X, wanted = start.copy(), start.copy()
    outcome = sweep.half_step(problem, Y, g, k, X, exact, 2)
    same = ordinary(lambda: sweep.half_step(problem, Y, g, k, wanted, exact, 2))
    slack = 100 * (m + k) * np.finfo(np.float64).eps * np.linalg.cond(A)
    assert np.linalg.norm(X - wanted) <= slack * (np.linalg.norm(wanted) + np.linalg.norm(start))
    assert abs(outcome.loss - same.loss) <= slack * (abs(same.loss) + abs(r @ wanted[0, :k]) + wanted[0] @ wanted[0])
    assert outcome.status[0] == OK
    assert not X[:, k:].any()


def fitted(cls, n_threads, dtype, **params):
    R = stored(example(1, (300, 120), 0.4))
    model = cls(factors=12, iterations=3, solver="cholesky", dtype=dtype, random_state=0, n_threads=n_threads, **params)
    return model.fit(R), R


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (fastals.ImplicitALS, {}),
        (fastals.ImplicitALS, {"alpha": 2.0, "unobserved_weight": 1.5, "regularization": 5.0}),
        (fastals.ExplicitALS, {"biases": True}),
    ],
    ids=["implicit", "weights below the background's", "explicit"],
)
def test_a_fit_is_the_ordinary_fit(cls, params):
    (model, _), (wanted, _) = fitted(cls, 2, "float64", **params), ordinary(lambda: fitted(cls, 2, "float64", **params))
    counts = np.diff(fitted(cls, 2, "float64", **params)[1].tocsc().indptr)
    assert (counts >= SHORT).sum() > 20
    np.testing.assert_allclose(model.loss_history_, wanted.loss_history_, rtol=1e-9)
    users = np.arange(300)
    for item in range(0, 120, 7):
        np.testing.assert_allclose(
            model.predict(users, item),
            wanted.predict(users, item),
            atol=1e-6 * np.abs(wanted.predict(users, item)).max(),
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_depend_neither_on_threads_nor_on_who_else_is_solved(dtype):
    (model, R), (other, _) = (fitted(fastals.ImplicitALS, n_threads, dtype) for n_threads in (1, 5))
    assert same_bits(model.user_factors_, other.user_factors_)
    assert same_bits(model.item_factors_, other.item_factors_)
    assert model.loss_history_ == other.loss_history_
    longest = int(np.argmax(np.diff(R.indptr)))
    assert np.diff(R.indptr)[longest] >= SHORT
    assert same_bits(model.fold_in_users(R[[longest]]), model.user_factors_[[longest]])


def test_a_row_with_many_solutions_has_the_smallest_and_one_without_any_says_so():
    problem, Y, g, _, _, _ = one_row(SHORT, 5, np.float64)
    X = np.ones_like(Y[:1])
    singular = problem._replace(rows=np.array([[0.0, 0.0, 0.0]]))
    outcome = sweep.half_step(singular, Y, g, 5, X, plan("primal", np.float64), 2)
    assert outcome.status[0] == MINIMUM_NORM
    assert not X.any()  # as its weights are 0
    huge = problem._replace(cells=problem.cells._replace(values=np.full(SHORT, np.inf)))
    with np.errstate(invalid="ignore"):
        outcome = sweep.half_step(huge, Y, g, 5, X, plan("primal", np.float64), 2)
    assert outcome.status[0] == NOT_FINITE
    assert not X.any()
