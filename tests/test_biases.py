"""Biases where unobserved entries are data: rows with shifted targets, fits, and what a model answers with."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastals
from fastals.engine import alternation, equations, sweep
from fastals.engine.problem import OK, Shifts, drawn_to
from fastals.engine.shifts import shifts_for
from tests.helpers import (
    CASES,
    CLASSIC,
    WAYS,
    assert_rows_close,
    dtypes,
    example,
    half_step,
    loss_tolerance,
    one_row,
    plan,
    rounding,
    same_bits,
    same_model,
    sides,
    solve,
    stored,
)
from tests.reference import Implicit, Weighted

EVERYTHING = CASES["implicit, biases, everything"]
SMALL = {"factors": 3, "iterations": 3, "dtype": "float64", "random_state": 0}
every_model = pytest.mark.parametrize("cls", [fastals.ImplicitALS, fastals.WeightedALS])


def with_background(cls, **params):
    """A model with biases and a background."""
    given_ = CLASSIC.get(cls, {"unobserved_weight": 0.5})
    return cls(**SMALL | given_ | {"biases": True} | params)


# Rows.


def shifted_row(m, k, dtype, seed, drawn):
    """Return as `one_row`, with shifted targets, and a prior mean if wanted."""
    problem, Y, g, A, r, constant = one_row(m, k, dtype, seed)
    rng, entries = np.random.default_rng(seed), problem.cells.indices
    s, linear = rng.standard_normal(len(Y)).astype(dtype), np.zeros(Y.shape[1], dtype)
    linear[:k] = rng.standard_normal(k)
    y, own = Y[entries, :k].astype(float), s[entries].astype(float)
    confidence, targets = problem.cells.all_weights.astype(float)[:m], problem.cells.values.astype(float)
    w = confidence - 2
    r = r + y.T @ (w * own) + linear[:k]
    constant += (2 * confidence * targets * own + w * own**2).sum()
    if drawn:
        means = np.zeros((1, Y.shape[1]), dtype)
        means[0, :k] = rng.standard_normal(k)
        problem, p = drawn_to(problem, means), means[0, :k].astype(float)
        r, constant = r + 0.5 * p, constant + 0.5 * p @ p
    # The background's share of the constant, such that no objective is below 0.
    square = float(max(0.0, r @ np.linalg.solve(A, r) - constant) + 1)
    return problem._replace(shifts=Shifts(s, linear, square)), Y, g, A, r, constant + square


@pytest.mark.parametrize("way", WAYS)
@given(m=st.integers(1, 40), k=st.integers(1, 24), dtype=dtypes, seed=st.integers(0, 99), drawn=st.booleans())
def test_a_row_with_shifted_targets(way, m, k, dtype, seed, drawn):
    dtype = np.dtype(dtype).type
    problem, Y, g, A, r, constant = shifted_row(min(m, k) if way == "dual" else m, k, dtype, seed, drawn)
    x, outcome = solve(problem, Y, g, k, plan(way, dtype))
    wanted, condition = np.linalg.solve(A, r), np.linalg.cond(A)
    size = np.linalg.norm(wanted) + np.linalg.norm(r)
    inexact = 1e-5 if dtype == np.float32 and way in ("cg", "cheapest") else 0
    assert outcome.status[0] == OK
    assert np.linalg.norm(x[:k] - wanted) <= rounding(dtype, m + k, size, condition) + 2 * inexact * condition * size
    assert not x[k:].any()
    allowed = rounding(dtype, m + k, constant + abs(wanted @ r) + size**2, condition)
    assert abs(outcome.loss - (constant - wanted @ r)) <= allowed


@pytest.mark.parametrize("way", WAYS)
@given(m=st.integers(1, 40), k=st.integers(1, 24), beyond=st.sampled_from([0.0, 0.7]), seed=st.integers(0, 99))
def test_a_row_with_shifted_targets_goes_on_from_before(way, m, k, beyond, seed):
    problem, Y, g, A, r, constant = shifted_row(min(m, k) if way == "dual" else m, k, np.float64, seed, False)
    X = np.zeros((1, Y.shape[1]))
    X[0, :k] = np.random.default_rng(seed + 1).standard_normal(k)
    before = X[0, :k].copy()
    there = plan(way, np.float64, warm=True, steps=k + 5, beyond=np.float64(beyond))
    outcome = sweep.half_step(problem, Y, g, k, X, there, 1)
    x, solution, condition = X[0, :k], np.linalg.solve(A, r), np.linalg.cond(A)
    size = np.linalg.norm(before) + np.linalg.norm(solution) + np.linalg.norm(r)
    slack = rounding(np.float64, m + k, size, condition) + 1e-13 * np.sqrt(condition) * size
    assert np.linalg.norm(x - solution - beyond * (solution - before)) <= slack
    loss = constant - 2 * r @ x + x @ A @ x
    size = constant + abs(r @ x) + x @ A @ x + abs(r @ before) + before @ A @ before
    assert abs(outcome.loss - loss) <= rounding(np.float64, m + k, size, condition)


@given(m=st.integers(1, 12), k=st.integers(1, 8), seed=st.integers(0, 99), drawn=st.booleans())
def test_one_row_with_shifted_targets_in_float64(m, k, seed, drawn):
    problem, Y, g, A, r, _ = shifted_row(m, k, np.float64, seed, drawn)
    found = equations.row_equations(problem, Y[problem.cells.indices, :k], gram=np.diag(g[:k]))
    wanted, condition = np.linalg.solve(A, r), np.linalg.cond(A)
    bound = rounding(np.float64, m + k, np.linalg.norm(wanted) + np.linalg.norm(r), condition)
    assert np.linalg.norm(equations.solve(found) - wanted) <= bound
    y = np.arange(1.0, k + 1)
    parts = equations.contributions(found, y).sum() + equations.of_unobserved(found, y) + equations.of_mean(found, y)
    assert abs(parts - wanted @ y) <= bound * np.linalg.norm(y) * (1 + condition)


def test_shifts_of_a_panel_are_sums_over_all_columns():
    rng = np.random.default_rng(0)
    Y, s = rng.standard_normal((5000, 3)), rng.standard_normal(5000)
    for weights in (rng.random(5000), np.full(1, 0.3)):
        found = shifts_for(s, weights, Y)
        np.testing.assert_allclose(found.linear, ((weights * s)[:, None] * Y).sum(axis=0), rtol=1e-10)
        assert found.square == pytest.approx((weights * s**2).sum(), rel=1e-12)


# Fits.


@settings(max_examples=40)
@given(
    weighted=st.booleans(),
    solver=st.sampled_from(["auto", "cholesky", "cg", "plain"]),
    dtype=dtypes,
    exponents=st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.5, 1.0])),
    featured=st.booleans(),
    nonnegative=st.booleans(),
    k=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_the_loss_never_rises(weighted, solver, dtype, exponents, featured, nonnegative, k, seed):
    R, rng = example(seed, (15, 12)), np.random.default_rng(seed)
    params = {"regularization": (0.1, 0.3), "unobserved_weight": 0.5, "biases": True}
    params |= {"regularization_exponent": exponents[0], "popularity_exponent": exponents[1]}
    cls, reference = (fastals.WeightedALS, Weighted) if weighted else (fastals.ImplicitALS, Implicit)
    params |= {} if weighted else {"alpha": 5.0}
    features = {"user_features": rng.random((15, 3)), "item_features": rng.random((12, 4))} if featured else {}
    model = cls(
        k,
        iterations=6,
        solver=solver,
        dtype=dtype,
        random_state=seed,
        nonnegative=nonnegative and not featured,
        **params,
    ).fit(stored(R, dtype), **features)
    zero = reference(**params).loss(R, np.zeros((15, k + 1)), np.zeros((12, k + 1)))
    assert (np.diff(model.loss_history_) <= rounding(dtype, 100, zero)).all()
    assert model.loss_history_[-1] <= zero
    assert abs(model.loss(stored(R, dtype)) - model.loss_history_[-1]) <= rounding(dtype, 100, zero)


def test_many_factors_take_the_basis_without_an_eigenproblem(monkeypatch):
    R = example(3, (60, 40), 0.4)
    params = {"factors": 12, "iterations": 8, "dtype": "float64", "random_state": 0, "alpha": 5.0}
    params |= {"unobserved_weight": 1.0, "popularity_exponent": 0.0, "regularization_exponent": 0.0}
    params |= {"regularization": 0.5, "biases": True}
    wanted = fastals.ImplicitALS(**params).fit(stored(R))
    found, whitening = [], alternation.whitening
    monkeypatch.setattr(alternation, "WHITENED", 2)
    monkeypatch.setattr(alternation, "FIRST_OF_MANY", alternation.FIRST)
    monkeypatch.setattr(alternation, "whitening", lambda *of: found.append(whitening(*of)) or found[-1])
    model = fastals.ImplicitALS(**params).fit(stored(R))
    assert len(found) > 5 and all(basis is not None for basis in found)
    # Conjugate gradients in another basis leave another small error.
    np.testing.assert_allclose(model.loss_history_, wanted.loss_history_, rtol=1e-4)
    reference = Implicit(alpha=5.0, regularization=0.5, biases=True)
    solution, bounds, _ = half_step(reference, R, sides(model)[1], "user", np.float64)
    assert_rows_close(sides(model)[0], solution, bounds)


@pytest.mark.parametrize("solver", ["auto", "plain"])
def test_targets_are_shifted_without_a_background_too(solver):
    R = example(4)
    params = {"alpha": 3.0, "unobserved_weight": 0.0, "regularization": 1.0, "biases": True}
    model = fastals.ImplicitALS(**SMALL | params, popularity_exponent=0.0, regularization_exponent=0.0, solver=solver)
    model.fit(stored(R))
    reference = Implicit(**params)
    X, Y = sides(model)
    for name, fixed, rows in (("user", Y, X), ("item", X, model.fold_in_items(stored(R)))):
        solution, bounds, _ = half_step(reference, R, fixed, name, np.float64)
        assert_rows_close(rows, solution, bounds)
    assert model.loss(stored(R)) == pytest.approx(reference.loss(R, X, Y), rel=1e-10)
    model.update(2, 5, 1.0)
    R[2, 5] = 1.0
    np.testing.assert_allclose(sides(model)[0][[2]], model.fold_in_users(stored(R[[2]])), rtol=1e-8)


def test_weights_of_one_and_no_background_are_ratings():
    R = stored(example(6))
    params = SMALL | {"regularization": 0.2, "regularization_exponent": 1.0, "biases": True}
    ratings, weighted = fastals.ExplicitALS(**params).fit(R), fastals.WeightedALS(**params).fit(R)
    assert same_bits(ratings.item_factors_, weighted.item_factors_)
    assert same_bits(ratings.user_biases_, weighted.user_biases_)
    assert weighted.global_mean_ == ratings.global_mean_


@pytest.mark.parametrize("solver", ["auto", "cholesky", "plain"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_without_a_ridge_each_user_gets_the_smallest_solution(solver, dtype):
    """There are more factors than items, so all of a user's targets are met, in many ways."""
    R, rng = example(5, (9, 6)), np.random.default_rng(0)
    params = {"unobserved_weight": 0.5, "biases": True}
    model = fastals.WeightedALS(8, **params, regularization=1.0, iterations=1, dtype=dtype, solver=solver)
    model.fit(stored(R))
    model.item_factors_, model.item_biases_ = rng.standard_normal((6, 8)), rng.standard_normal(6)
    model.regularization = 0.0
    model._put(replace(model._state, objective=model._objective()))
    reference, Y = Weighted(**params, regularization=0.0), sides(model)[1].astype(float)
    (_, T), (Z, known) = reference.cells(R), reference.regressors(Y)
    wanted = np.linalg.lstsq(Z, (T - known).T, rcond=None)[0].T
    wanted[~reference.observed(R).any(axis=1)] = 0
    tolerance = 1e3 * np.finfo(dtype).eps * np.linalg.cond(Z) ** 2 * np.abs(wanted).max()
    np.testing.assert_allclose(model.fold_in_users(stored(R)), wanted, rtol=0, atol=tolerance)
    assert tolerance < 0.05 * np.abs(wanted).max()


def test_rows_that_float32_does_not_hold_are_solved_in_float64():
    R = np.abs(example(2, (60, 40), 0.3))
    params = {"alpha": 1e9, "regularization": 0.01, "biases": True}
    model = fastals.ImplicitALS(6, **CLASSIC[fastals.ImplicitALS] | params, iterations=3, random_state=0).fit(
        stored(R, "float32")
    )
    reference = Implicit(**params)
    X, Y = sides(model)
    wanted = reference.solve_users(R.astype(np.float32).astype(float), Y)
    np.testing.assert_allclose(X, wanted, atol=1e-3 * np.abs(wanted).max())
    loss = reference.loss(R, X, Y)
    assert model.loss(stored(R, "float32")) == pytest.approx(loss, abs=loss_tolerance(reference, R, X, Y, "float32"))


# Answers.


@every_model
def test_rows_without_interactions_have_no_bias_and_are_ranked_by_those_of_items(cls):
    R = example(7)
    R[3], R[:, 4] = np.nan, np.nan
    model = with_background(cls).fit(stored(R))
    assert model.global_mean_ == 0
    assert model.user_biases_[3] == 0 and model.item_biases_[4] == 0
    ids, scores = model.recommend(3, n=R.shape[1])
    assert (ids == np.argsort(-model.item_biases_, kind="stable")).all()
    np.testing.assert_allclose(scores, model.item_biases_[ids], rtol=1e-12)
    assert model.predict(0, 4) == pytest.approx(model.user_biases_[0], rel=1e-12)


@every_model
@pytest.mark.parametrize("nonnegative", [False, True])
def test_an_explanation_adds_up(cls, nonnegative):
    R = stored(example(8))
    model = with_background(cls, nonnegative=nonnegative).fit(R)
    for user, item in ((0, 1), (5, 3), (9, 17)):
        found = model.explain(user, item)
        assert found.score == pytest.approx(model.predict([user], [item])[0], rel=1e-8)
        assert found.score == pytest.approx(found.baseline + found.contributions.sum(), rel=1e-10)


@every_model
@pytest.mark.parametrize("changes", [{}, {"nonnegative": True}, {"solver": "plain"}])
def test_events_of_known_and_new_users_and_items(cls, changes):
    R, rng = np.full((34, 23), np.nan), np.random.default_rng(0)
    R[:30, :20] = example(9)
    model = with_background(cls, **changes).fit(stored(R[:30, :20]))
    users, items = 30, 20
    for step in range(60):
        # Every tenth event has a new user, every ninth a new item, until there are enough.
        user = users if step % 10 == 0 and users < 34 else int(rng.integers(users))
        item = items if step % 9 == 0 and items < 23 else int(rng.integers(items))
        users, items = max(users, user + 1), max(items, item + 1)
        R[user, item] = 1.0 + step % 3
        model.update(user, item, R[user, item])
        folded = model.fold_in_users(stored(R[[user], :items]))[0]
        np.testing.assert_allclose(sides(model)[0][user], folded, rtol=1e-7, atol=1e-9)
    assert (users, items) == (34, 23)
    users_before, fitted = sides(model)[0], model._state
    model.update(0, 5, 2.0)
    R[0, 5] = 2.0
    cells = model._interactions(stored(R), np.dtype(np.float64))
    problem = fitted.objective.item_problem(cells.by_item, fitted.statistics, 34)
    wanted = model._fold_in(fitted, problem, "item")[5]
    np.testing.assert_allclose(sides(model)[1][5], wanted, rtol=1e-7, atol=1e-9)
    assert not same_bits(users_before, sides(model)[0])


@every_model
def test_a_file_with_biases_is_of_a_later_format(cls, tmp_path):
    R = stored(example())
    for biases, version in ((True, 3), (False, 2)):
        model = with_background(cls, biases=biases).fit(R)
        model.save(tmp_path / "model.npz")
        with np.load(tmp_path / "model.npz") as file:
            header = json.loads(file["header"].tobytes())
        assert header["format"] == version
        assert ("biases" in header["params"]) == biases
        loaded = fastals.load(tmp_path / "model.npz")
        assert same_model(loaded, model)
        assert same_bits(loaded.fold_in_users(R), model.fold_in_users(R))
        assert same_model(loaded.update(3, 2), model.update(3, 2))


def test_biases_are_a_flag():
    for cls in (fastals.ImplicitALS, fastals.WeightedALS):
        with pytest.raises(TypeError, match=r"^biases must be True or False, got 1 of type int$"):
            cls(biases=1).fit([[1, 0]])
