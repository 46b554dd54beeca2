"""Non-negative factors: the conditions of the minimum, another method's solution, and what a model does with them."""

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

import fastals
from fastals.engine.nonnegative import EPS, ROUNDINGS, minimise
from tests.helpers import CASES, example, stored

NAMES = ["implicit", "implicit, everything", "explicit", "explicit, no biases", "weighted", "weighted, everything"]
NAMES += ["implicit, biases, everything"]


def solve(A, r, bias=-1):
    k = len(A)
    x, gradient = np.empty(k), np.empty(k)
    off = minimise(A.copy(), r, bias, x, gradient, np.empty((k, k)), np.empty(k), np.empty(k))
    return x, off


@given(st.integers(1, 12), st.integers(1, 30), st.integers(0, 2**32), st.booleans(), st.floats(1e-6, 10))
def test_a_row_is_the_solution_of_least_squares(k, m, seed, biased, ridge):
    rng = np.random.default_rng(seed)
    Y, b = rng.standard_normal((m, k)), rng.standard_normal(m)
    rows, right = np.vstack([Y, np.sqrt(ridge) * np.eye(k)]), np.append(b, np.zeros(k))
    A, r, bias = rows.T @ rows, rows.T @ right, k - 1 if biased else -1
    x, off = solve(A, r, bias)
    least = np.zeros(k)
    if biased:
        least[bias] = -np.inf
    assert off == 0 and (x >= least).all()
    # The conditions of Karush, Kuhn and Tucker, which hold at the only minimum.
    gradient, terms = A @ x - r, np.abs(A) @ np.abs(x) + np.abs(r)
    allowed = 2 * ROUNDINGS * EPS * terms
    inside = (x > 0) | ~np.isfinite(least)
    assert (np.abs(gradient)[inside] <= allowed[inside]).all()
    assert (gradient[~inside] >= -allowed[~inside]).all()
    wanted = scipy.optimize.lsq_linear(rows, right, (least, np.inf), method="bvls", tol=1e-14).x
    condition = np.linalg.cond(A)
    np.testing.assert_allclose(x, wanted, atol=1e-9 + 1e3 * condition * EPS * (1 + np.abs(wanted).max()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("solver", ["auto", "plain"])
def test_the_users_of_a_fit_meet_the_conditions(name, dtype, solver):
    R = example(5)
    model, reference, given_ = CASES[name].build(
        R, dtype=dtype, factors=5, nonnegative=True, solver=solver, iterations=4
    )
    model.fit(stored(R, dtype), **given_)
    X, Y = model.user_factors_.astype(float), model.item_factors_.astype(float)
    assert (X >= 0).all() and (Y >= 0).all() and X.any()
    biased = reference.biases
    if biased:
        X, Y = (np.column_stack([F, b]) for F, b in ((X, model.user_biases_), (Y, model.item_biases_)))
    C, T = reference.cells(R)
    T = T - reference.mean(R)
    ridges = reference.ridges(R)[0]
    Z, known = reference.regressors(Y)
    observed, unobserved = reference.observed(R), reference.cells(np.full_like(R, np.nan), training=R)[0]
    for u in np.flatnonzero(observed.any(axis=1)):
        A = (Z.T * C[u]) @ Z + ridges[u] * np.eye(Z.shape[1])
        r = Z.T @ (C[u] * (T[u] - known))
        gradient = A @ X[u] - r
        # The weight on top of the background is a difference, so both sizes are rounded.
        summed = (np.abs(Z.T) * (C[u] + unobserved[u])) @ np.abs(Z) + ridges[u] * np.eye(Z.shape[1])
        terms = summed @ np.abs(X[u]) + np.abs(Z.T) @ (C[u] * (np.abs(T[u]) + np.abs(known)))
        allowed = 100 * np.finfo(dtype).eps * terms
        zero = X[u] == 0
        if biased:
            zero[-1] = False
        assert (np.abs(gradient[~zero]) <= allowed[~zero]).all()
        assert (gradient[zero] >= -allowed[zero]).all()


@pytest.mark.parametrize("cls", [fastals.ImplicitALS, fastals.ExplicitALS, fastals.WeightedALS])
def test_a_model(cls, tmp_path):
    R = stored(np.abs(example(9, (40, 30))), "float64")
    model = cls(6, iterations=6, dtype="float64", nonnegative=True, random_state=0).fit(R)
    history = np.array(model.loss_history_)
    assert (np.diff(history) <= 1e-12 * history[:-1]).all()
    assert model.loss(R) == pytest.approx(history[-1], rel=1e-10)
    for n_threads in (1, 3):
        twin = cls(6, iterations=6, dtype="float64", nonnegative=True, random_state=0, n_threads=n_threads).fit(R)
        assert twin.item_factors_.tobytes() == model.item_factors_.tobytes()
    folded = model.fold_in_users(R)
    np.testing.assert_array_equal(folded[:, :6], model.user_factors_)
    plain = cls(6, iterations=6, dtype="float64", nonnegative=True, random_state=0, solver="plain").fit(R)
    np.testing.assert_allclose(plain.loss_history_, history, rtol=1e-9)
    path = tmp_path / "model.npz"
    model.save(path)
    loaded = fastals.load(path)
    np.testing.assert_array_equal(loaded.fold_in_users(R), folded)
    explained = model.explain(1, 2)
    assert explained.score == pytest.approx(float(model.predict([1], [2])[0]), rel=1e-8)
    model.update(0, 3, 2.0).update(40, 3, 5.0)
    assert (model.user_factors_ >= 0).all() and (model.item_factors_ >= 0).all() and model.user_factors_[40].any()
    items, values = model.interactions_of(40)
    row = scipy.sparse.csr_array((values, (np.zeros(len(items), int), items)), (1, len(model.item_factors_)))
    np.testing.assert_allclose(model.user_factors_[40], model.fold_in_users(row)[0, :6], rtol=1e-9)
    negative = cls(6, iterations=0, dtype="float64", random_state=0).fit(R)
    assert (negative.item_factors_ < 0).any()
    assert (cls(6, iterations=0, dtype="float64", nonnegative=True).fit(R, start=negative).item_factors_ >= 0).all()


def test_bad_input():
    with pytest.raises(TypeError, match="nonnegative must be True or False"):
        fastals.ImplicitALS(nonnegative=2).fit([[1, 0]])
