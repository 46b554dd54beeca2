"""Features of users and items: every block is solved for the objective, and what is stored answers for new ones."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import fastals
from fastals import storage
from fastals.engine import equations, features, sweep
from fastals.engine.problem import OK, drawn_to
from tests.helpers import (
    CASES,
    WAYS,
    dtypes,
    example,
    one_row,
    plan,
    refused,
    rounding,
    same_bits,
    same_model,
    solve,
    stored,
)
from tests.reference import Featured
from tests.test_reference import slope

few = settings(max_examples=10)
BIASED = "explicit, everything"
SHIFTED = "implicit, biases, everything"
every_case = pytest.mark.parametrize(
    "case",
    [CASES[name] for name in ("implicit, everything", SHIFTED, "weighted, everything", BIASED, "weighted, plain")],
)
every_solver = pytest.mark.parametrize("solver", ["auto", "cholesky", "cg", "plain"])


def features_of(R, seed=0, dtype="float64"):
    """Dense features of users with a column and a row of zeros and two columns alike, and sparse ones of items."""
    rng = np.random.default_rng(seed)
    F, H = rng.standard_normal((len(R), 5)), (rng.random((R.shape[1], 9)) < 0.15).astype(float)
    F[:, 1], F[-1], F[:, 2] = 0, 0, F[:, 0]
    return F.astype(dtype).astype(float), H


def with_cold_rows(R):
    """Return the matrix with a user and an item that nobody has seen."""
    R = R.copy()
    R[3], R[:, 5] = np.nan, np.nan
    return R


def learned(model):
    """Return user and item factors, then the factors of their features, in float64, biases as the last column."""
    found = []
    for name in ("user", "item", "user_feature", "item_feature"):
        factors, biases = getattr(model, f"{name}_factors_"), getattr(model, f"{name}_biases_", None)
        found.append((factors if biases is None else np.column_stack([factors, biases])).astype(float))
    return found


def fitted(case, R, F, H, seed=0, **params):
    """Return a fitted model, and the reference of its objective."""
    model, reference, given = case.build(R, seed, **({"factors": 3, "dtype": "float64", "random_state": 0} | params))
    model.fit(stored(R), user_features=F, item_features=H, **given)
    return model, Featured(objective=reference, F=F, H=H), given


# The blocks.


@every_solver
@every_case
def test_every_block_is_solved_for_the_objective(case, solver):
    R = with_cold_rows(example())
    F, H = features_of(R)
    model, reference, given = fitted(case, R, F, H, solver=solver, iterations=4)
    X, Y, A, B = learned(model)
    users = reference.solve_users(R, Y, A)
    np.testing.assert_allclose(X, users, atol=1e-9 * np.abs(users).max())
    np.testing.assert_allclose(B, reference.solve_features(R, Y, 1), atol=1e-9 * np.abs(B).max())
    wanted = reference.loss(R, X, Y, A, B)
    assert model.loss_history_[-1] == pytest.approx(wanted, rel=1e-10)
    assert model.loss(stored(R), **given) == pytest.approx(wanted, rel=1e-10)
    np.testing.assert_allclose(X[3], F[3] @ A, atol=1e-12)
    np.testing.assert_allclose(Y[5], H[5] @ B, atol=1e-12)


@every_case
def test_within_a_fit_the_features_of_both_sides_are_exact(case):
    R = example()
    F, H = features_of(R)
    model, reference, given = case.build(R, factors=3, dtype="float64", random_state=0, iterations=3)
    reference, seen = Featured(objective=reference, F=F, H=H), []

    def look(iteration, model):
        if iteration == 1:
            X, Y, A, B = learned(model)
            seen.append(reference.loss(R, X, Y, A, B) / model.loss_history_[-1])
            for side, rows, factors in ((0, X, A), (1, Y, B)):
                wanted = reference.solve_features(R, rows, side)
                np.testing.assert_allclose(factors, wanted, atol=1e-9 * np.abs(wanted).max())

    model.fit(stored(R), user_features=F, item_features=H, callback=look, **given)
    assert seen == [pytest.approx(1, rel=1e-10)]


@every_solver
@few
@given(
    case=st.sampled_from(list(CASES.values())),
    seed=st.integers(0, 99),
    k=st.integers(1, 9),
    given_sides=st.sampled_from([(1, 0), (0, 1), (1, 1)]),
    dtype=dtypes,
)
def test_the_loss_never_rises(solver, case, seed, k, given_sides, dtype):
    R = example(seed, (15, 12))
    F, H = (part if there else None for part, there in zip(features_of(R, seed), given_sides, strict=True))
    model, reference, _ = fitted(case, R, F, H, seed, solver=solver, factors=k, iterations=5, dtype=dtype)
    history = np.array(model.loss_history_)
    # In float32 a loss is told to a few 1e-6 of the objective at factors of 0.
    width = model.factors + getattr(model, "biases", False)
    zeros = (np.zeros((n, width)) for n in (*R.shape, 5, 9))
    assert (np.diff(history) <= rounding(dtype, 100, reference.loss(R, *zeros))).all()


@every_case
def test_many_features_go_without_their_matrix(case, monkeypatch):
    R = example()
    F, H = features_of(R)
    wanted, *_ = fitted(case, R, F, H)
    monkeypatch.setattr(features, "MANY", 0)
    monkeypatch.setattr(features, "STEPS", 100)
    model, *_ = fitted(case, R, F, H)
    for found, same in zip(learned(model), learned(wanted), strict=True):
        np.testing.assert_allclose(np.abs(found), np.abs(same), atol=1e-6 * np.abs(same).max())
    assert model.loss_history_ == pytest.approx(wanted.loss_history_, rel=1e-9)


@pytest.mark.parametrize("name", ["implicit, everything", BIASED])
def test_the_reference_is_solved_where_its_loss_is_flat(name):
    R, rng = with_cold_rows(example(shape=(6, 7))), np.random.default_rng(0)
    F, H, width = rng.random((6, 2)), rng.random((7, 3)), 2 + (name == BIASED)
    reference = Featured(objective=CASES[name].build(R)[1], F=F, H=H, feature_regularization=(0.5, 2))
    X, Y, A, B = (rng.standard_normal((n, width)) for n in (6, 7, 2, 3))
    for flat in (
        slope(lambda at: reference.loss(R, at, Y, A, B), reference.solve_users(R, Y, A)),
        slope(lambda at: reference.loss(R, X, at, A, B), reference.solve_items(R, X, B)),
        slope(lambda at: reference.loss(R, X, Y, at, B), reference.solve_features(R, X, 0)),
        slope(lambda at: reference.loss(R, X, Y, A, at), reference.solve_features(R, Y, 1)),
    ):
        assert np.abs(flat).max() <= 1e-11 * reference.loss(R, X, Y, A, B)


# Rows.


def drawn_row(m, k, dtype, seed):
    """Return as `one_row`, with a prior mean."""
    problem, Y, g, A, r, constant = one_row(m, k, dtype, seed)
    means = np.zeros((1, Y.shape[1]), dtype)
    means[0, :k] = np.random.default_rng(seed).standard_normal(k)
    p, ridge = means[0, :k].astype(float), float(problem.rows[0, 2])
    return drawn_to(problem, means), Y, g, A, r + ridge * p, constant + ridge * p @ p, p


@pytest.mark.parametrize("way", WAYS)
@given(m=st.integers(0, 40), k=st.integers(1, 24), dtype=dtypes, seed=st.integers(0, 99))
def test_a_row_with_a_prior_mean(way, m, k, dtype, seed):
    dtype = np.dtype(dtype).type
    problem, Y, g, A, r, constant, p = drawn_row(min(m, k) if way == "dual" else m, k, dtype, seed)
    x, outcome = solve(problem, Y, g, k, plan(way, dtype))
    wanted = np.linalg.solve(A, r) if len(problem.cells.indices) else p
    condition, inexact = np.linalg.cond(A), 1e-5 if dtype == np.float32 and way in ("cg", "cheapest") else 0
    size = np.linalg.norm(wanted) + np.linalg.norm(p)
    bound = rounding(dtype, m + k, size, condition) + 2 * inexact * np.sqrt(condition) * size
    assert outcome.status[0] == OK
    assert np.linalg.norm(x[:k] - wanted) <= bound
    assert not x[k:].any()
    minimum = constant - wanted @ r if len(problem.cells.indices) else 0.0
    assert abs(outcome.loss - minimum) <= rounding(dtype, m + k, constant + abs(wanted @ r), condition)


@pytest.mark.parametrize("way", WAYS)
@given(m=st.integers(1, 40), k=st.integers(1, 24), beyond=st.sampled_from([0.0, 0.7]), seed=st.integers(0, 99))
def test_a_row_with_a_prior_mean_goes_on_from_before(way, m, k, beyond, seed):
    problem, Y, g, A, r, constant, _ = drawn_row(min(m, k) if way == "dual" else m, k, np.float64, seed)
    X = np.zeros((1, Y.shape[1]))
    X[0, :k] = np.random.default_rng(seed + 1).standard_normal(k)
    before = X[0, :k].copy()
    there = plan(way, np.float64, warm=True, steps=k + 5, beyond=np.float64(beyond))
    outcome = sweep.half_step(problem, Y, g, k, X, there, 1)
    x, solution = X[0, :k], np.linalg.solve(A, r)
    size = np.linalg.norm(before) + np.linalg.norm(solution)
    slack = rounding(np.float64, m + k, size, np.linalg.cond(A)) + 1e-13 * np.sqrt(np.linalg.cond(A)) * size
    assert np.linalg.norm(x - solution - beyond * (solution - before)) <= slack
    loss = constant - 2 * r @ x + x @ A @ x
    size = constant + abs(r @ x) + x @ A @ x + abs(r @ before) + before @ A @ before
    assert abs(outcome.loss - loss) <= rounding(np.float64, m + k, size, np.linalg.cond(A))


@given(m=st.integers(0, 12), k=st.integers(1, 8), seed=st.integers(0, 99))
def test_one_row_in_float64_with_a_prior_mean(m, k, seed):
    problem, Y, g, A, r, _, p = drawn_row(m, k, np.float64, seed)
    found = equations.row_equations(problem, Y[problem.cells.indices, :k], gram=np.diag(g[:k]))
    wanted = np.linalg.solve(A, r) if m else p
    bound = rounding(np.float64, m + k, np.linalg.norm(wanted) + np.linalg.norm(p), np.linalg.cond(A))
    assert np.linalg.norm(equations.solve(found) - wanted) <= bound


def test_rows_that_float32_does_not_hold_keep_their_prior_mean():
    R = example()
    F, H = features_of(R, dtype="float32")
    params = {"factors": 3, "alpha": 1e9, "regularization": 1.0, "unobserved_weight": 1e-3, "random_state": 0}
    model = fastals.ImplicitALS(**params, iterations=2).fit(stored(R, "float32"), user_features=F, item_features=H)
    case = fastals.ImplicitALS(**params, dtype="float64", solver="plain").fit(
        stored(R), user_features=F, item_features=H
    )
    case.item_factors_ = model.item_factors_.astype(float)
    fitted = case._fitted
    own = type(fitted.users.features)(
        model._fitted.users.features.panel[:, :8].astype(float), 3, 1.0, fitted.users.features.rows
    )
    case._put(fitted.with_side("user", type(fitted.users)(fitted.users.base, 3, False, None, features=own)))
    wanted = case.fold_in_users(stored(R), user_features=F)
    np.testing.assert_allclose(model.user_factors_, wanted, atol=1e-3 * np.abs(wanted).max())


# Bits.


@every_solver
@every_case
def test_features_of_zero_change_no_bit(case, solver):
    R = example(density=0.6)
    model, _, given = case.build(R, factors=3, iterations=3, random_state=0, solver=solver)
    plain = model.fit(stored(R), **given)._fitted
    again, *_ = fitted(
        case, R, np.zeros((len(R), 2)), np.zeros((R.shape[1], 1)), iterations=3, dtype="float32", solver=solver
    )
    assert same_bits(again.user_factors_, plain.users.public("factors"))
    assert same_bits(again.item_factors_, plain.items.public("factors"))
    assert not again.user_feature_factors_.any()


@every_solver
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_depend_neither_on_threads_nor_on_who_else_is_folded_in(solver, dtype):
    R = with_cold_rows(example(1, (200, 60)))
    F, H = features_of(R)
    one, many = (
        fitted(CASES["implicit, everything"], R, F, H, dtype=dtype, solver=solver, n_threads=n)[0] for n in (1, 4)
    )
    assert same_model(one, many)
    assert same_bits(one.user_feature_factors_, many.user_feature_factors_)
    assert same_bits(one.fold_in_users(stored(R), user_features=F), one.user_factors_)
    for user in (3, 7):
        alone = one.fold_in_users(stored(R)[[user]], user_features=sparse.csr_array(F[[user]]))
        assert same_bits(alone, one.user_factors_[[user]])


# What is stored, and new users and items.


def small(cls=fastals.ImplicitALS, R=None, **params):
    """Return a small model with features of both sides, its matrix and its features."""
    R = with_cold_rows(example()) if R is None else R
    F, H = features_of(R)
    params = {"factors": 3, "iterations": 2, "dtype": "float64", "random_state": 0} | params
    return cls(**params).fit(stored(R), user_features=F, item_features=H), stored(R), F, H


every_model = pytest.mark.parametrize("cls", [fastals.ImplicitALS, fastals.ExplicitALS, fastals.WeightedALS])


@every_model
def test_users_by_their_features_alone_by_interactions_alone_and_by_both(cls):
    model, R, F, H = small(cls)
    X, _, A, B = learned(model)
    np.testing.assert_allclose(model.fold_in_users(user_features=F), F @ A, atol=1e-12)
    np.testing.assert_allclose(model.fold_in_items(item_features=sparse.csr_array(H)), H @ B, atol=1e-12)
    assert not np.allclose(model.fold_in_users(R), X, atol=1e-3)
    assert same_bits(model.fold_in_users(R, user_features=0 * F), model.fold_in_users(R))
    both = model.fold_in_users(R, user_features=F)
    for user in (7, 3):
        ids, scores = model.recommend(R[[user]], 4, fold_in=True, user_features=F[[user]])
        wanted = model.recommend([user], 4)
        assert (ids == wanted[0]).all()
        np.testing.assert_allclose(scores, wanted[1], rtol=1e-12)
    ids, scores = model.recommend(n=3, user_features=F[[3]])
    assert (ids == model.recommend([3], 3)[0]).all()
    assert same_bits(both[3], model.fold_in_users(user_features=F)[3])


def test_a_basket_with_features():
    model, R, F, _ = small()
    items = R[[7]].indices[R[[7]].data > 0]
    basket = dict(zip(items.tolist(), R[[7]].data[R[[7]].data > 0].tolist(), strict=True))
    ids, scores = model.recommend(basket=basket, n=3, user_features=F[7])
    row = sparse.csr_array(R[[7]].maximum(0))
    wanted = model.recommend(row, 3, fold_in=True, user_features=F[[7]])
    assert (ids == wanted[0][0]).all()
    assert same_bits(scores, wanted[1][0])
    assert not np.array_equal(scores, model.recommend(basket=basket, n=3)[1])


@every_model
@pytest.mark.parametrize("solver", ["auto", "plain"])
def test_a_saved_model_answers_as_before(cls, solver, tmp_path):
    model, R, F, H = small(cls, solver=solver)
    model.save(tmp_path / "model")
    loaded = fastals.load(tmp_path / "model.npz")
    for found, wanted in zip(learned(loaded), learned(model), strict=True):
        assert same_bits(found, wanted)
    assert same_bits(loaded.fold_in_users(R, user_features=F), model.fold_in_users(R, user_features=F))
    assert same_bits(loaded.fold_in_items(R, item_features=H), model.fold_in_items(R, item_features=H))
    assert loaded.loss(R) == model.loss(R)
    assert same_bits(loaded.update(3, 2).user_factors_, model.update(3, 2).user_factors_)


def test_an_older_version_reads_models_without_features_only(tmp_path):
    model, *_ = small()
    without = fastals.ImplicitALS(2, iterations=1, random_state=0).fit(stored(example()))
    for fitted_model, version in ((model, 3), (without, 2)):
        fitted_model.save(tmp_path / "model.npz")
        with np.load(tmp_path / "model.npz") as file:
            header = json.loads(file["header"].tobytes())
        assert header["format"] == version
        assert ("featured" in header["objective"]) == ("feature_ridges" in header) == (version == 3)


@pytest.mark.parametrize(
    ("name", "array", "match"),
    [
        ("user_features_indices", np.full(2, 7, np.int32), "user_features_ind.*"),
        ("user_features_factors", np.zeros((4, 2), np.float32), "user_features_ind.*|user_encoder.*"),
        ("user_encoder_counts", np.array([0, 0, 9, 2]), "user_encoder_. are not those of an encoder of 6 features"),
        ("user_encoder_kinds", np.array(["number"] * 4), "user_encoder_. are not those of an encoder of 6 features"),
    ],
)
def test_files_whose_features_do_not_fit_together_are_refused(name, array, match, tmp_path):
    model = fastals.ImplicitALS(2, random_state=0).fit(EVENTS, user="who", item="what", user_features=PEOPLE)
    model.save(tmp_path / "model.npz")
    header, arrays = storage.read(tmp_path / "model.npz")
    storage.write(tmp_path / "model.npz", header, arrays | {name: array}, version=3)
    with pytest.raises(ValueError, match=match):
        fastals.load(tmp_path / "model.npz")


@every_model
def test_an_event_keeps_what_the_features_say(cls):
    model, R, F, _ = small(cls, R=with_cold_rows(np.abs(example())), iterations=20)
    for user, item in ((3, 2), (7, 5), (0, 0)):
        model.update(user, item, 2.0)
        seen = model.interactions_of(user)
        row = sparse.csr_array((seen[1], (np.zeros(len(seen[0]), int), seen[0])), shape=(1, R.shape[1]))
        wanted = model.fold_in_users(row, user_features=F[[user]])[0]
        found = learned(model)[0][user]
        np.testing.assert_allclose(found, wanted, atol=1e-9 * np.abs(wanted).max())
    rows = [model.interactions_of(user) for user in (3, 7)]
    given = np.full((2, R.shape[1]), np.nan)
    for at, (items, values) in enumerate(rows):
        given[at, items] = values
    wanted = model.fold_in_users(stored(given), user_features=F[[3, 7]])
    model.partial_fit_users([3, 7], stored(given))
    np.testing.assert_allclose(learned(model)[0][[3, 7]], wanted, atol=1e-12)
    model.partial_fit_users([3], stored(given[:1]), user_features=0 * F[[3]])
    wanted = model.fold_in_users(stored(given[:1]))
    np.testing.assert_allclose(learned(model)[0][[3]], wanted, atol=1e-9 * np.abs(wanted).max())


@pytest.mark.parametrize("solver", ["auto", "plain"])
@pytest.mark.parametrize("name", ["implicit", "implicit, biases"])
@pytest.mark.parametrize(("user", "item", "value"), [(3, 2, 1.0), (3, 5, 1.0), (4, 1, 0.0)])
def test_an_event_that_is_the_first_or_takes_the_last_interaction(name, user, item, value, solver):
    R = with_cold_rows(example())
    R[4] = np.nan
    R[4, 1] = 1
    F, H = features_of(R)
    model, reference, _ = fitted(CASES[name], R, F, H, solver=solver, iterations=2)
    X, _, A, B = learned(model)
    model.update(user, item, value)
    R[user, item] = value or np.nan
    users, Y, *_ = learned(model)
    for found, wanted in (
        (Y[item], reference.solve_items(R, X, B)[item]),
        (users[user], reference.solve_users(R, Y, A)[user]),
    ):
        np.testing.assert_allclose(found, wanted, atol=1e-9 * np.abs(wanted).max())


@every_model
def test_items_are_added_by_their_features(cls):
    model, R, _, H = small(cls)
    B = learned(model)[3]
    model.add_items([R.shape[1], R.shape[1] + 1], item_features=H[:2])
    np.testing.assert_allclose(learned(model)[1][-2:], H[:2] @ B, atol=1e-12)
    ids, _ = model.recommend(n=R.shape[1] + 2, exclude_seen=False)
    assert (np.sort(ids, axis=1)[:, -2:] == [R.shape[1], R.shape[1] + 1]).all()
    column = stored(np.where(np.arange(R.shape[0])[:, None] == 4, 1.0, np.nan))
    model.partial_fit_items([R.shape[1]], column)
    wanted = model.fold_in_items(column, item_features=H[:1])
    np.testing.assert_allclose(learned(model)[1][[-2]], wanted, atol=1e-12)


@every_model
def test_an_explanation_tells_the_features_share(cls):
    model, R, F, _ = small(cls)
    why = model.explain(7, 1)
    assert why.score == pytest.approx(model.predict(7, 1)[0], rel=1e-9)
    assert why.score == pytest.approx(why.baseline + why.features + why.contributions.sum())
    assert why.features != 0
    again = model.explain(None, 1, R[[7]], user_features=F[[7]])
    assert again.score == pytest.approx(why.score)
    assert model.explain(None, 1, R[[7]]).features == 0
    assert model.explain(3, 1).features == pytest.approx(model.predict(3, 1)[0] - why.baseline)


@every_solver
def test_a_fit_goes_on_from_its_checkpoint_to_the_same_bits(solver, tmp_path):
    R, path = with_cold_rows(example()), tmp_path / "fit.npz"
    F, H = features_of(R)
    params = {"factors": 3, "dtype": "float32", "random_state": 0, "solver": solver}
    whole = fastals.ImplicitALS(**params, iterations=6).fit(stored(R), user_features=F, item_features=H)
    model = fastals.ImplicitALS(**params, iterations=3)
    model.fit(stored(R), user_features=F, item_features=H, checkpoint=path)
    model.set_params(iterations=6).fit(stored(R), user_features=F, item_features=H, checkpoint=path)
    assert same_model(model, whole)
    assert same_bits(model.item_feature_factors_, whole.item_feature_factors_)
    with pytest.raises(ValueError, match="user features differ"):
        model.fit(stored(R), user_features=F + 1, item_features=H, checkpoint=path)


@every_solver
def test_a_refit_goes_on_and_its_loss_does_not_rise(solver):
    model, R, F, H = small(solver=solver, iterations=3)
    before = model.loss(R)
    refused("the model was fitted with user_features: pass those.*", ValueError, model, R, method="refit")
    model.refit(R, user_features=F, item_features=H)
    assert model.loss(R) <= before * (1 + 1e-9)


def test_validation_takes_features_too():
    R = example(2, (60, 30))
    F, H = features_of(R)
    model = fastals.ImplicitALS(3, iterations=3, random_state=0)
    model.fit(stored(np.abs(R)), validation=0.2, user_features=F, item_features=H)
    assert model.user_feature_factors_.shape == (5, 3)


# Bad input.


@pytest.mark.parametrize(
    ("features", "error", "match"),
    [
        (
            {"user_features": np.ones((29, 2))},
            ValueError,
            r"user_features must have one row for each of the 30.*",
        ),
        ({"item_features": np.ones(20)}, ValueError, r"item_features must have one row for each of the 20 items.*"),
        ({"user_features": np.full((30, 1), np.nan)}, ValueError, r"user_features.*(NaN|nan|finite).*"),
        ({"user_features": np.array([["a"]] * 30)}, TypeError, r"user_features must be numbers, got dtype <U1.*"),
        ({"item_features": "genres"}, TypeError, r"item_features must be .*, got str"),
    ],
)
def test_what_no_features_are_is_refused(features, error, match):
    refused(match, error, fastals.ImplicitALS(3), stored(example()), **features)


def test_features_need_a_ridge_and_a_regularization_of_their_own():
    F = np.ones((30, 1))
    refused(
        "user_features count through the regularization.*got 0.0",
        ValueError,
        fastals.ImplicitALS(3, regularization=(0.0, 1.0)),
        stored(example()),
        user_features=F,
    )
    refused(
        "features and nonnegative=True do not go together.*",
        ValueError,
        fastals.ImplicitALS(3, nonnegative=True),
        stored(example()),
        item_features=np.ones((20, 1)),
    )
    refused("feature_regularization must be above 0.*", ValueError, fastals.ImplicitALS(3, feature_regularization=0), F)


def test_features_at_fold_in_are_those_of_the_fit():
    without = fastals.ImplicitALS(3, iterations=1).fit(stored(example()))
    match = r"user_features are given, and the model was fitted without: fit it with user_features= first"
    refused(match, ValueError, without, method="fold_in_users", user_features=np.ones((1, 2)))
    model, _, F, _ = small()
    match = r"user_features has 2 columns, and the model was fitted with 5: .*"
    refused(match, ValueError, model, method="fold_in_users", user_features=np.ones((1, 2)))
    match = r"user_features are those of new users.*"
    refused(match, ValueError, model, [1], method="recommend", user_features=F[:1])


# Tables.

FRAMES = ("dict", "pandas", "polars", "arrow")


def as_frame(columns, library):
    if library == "dict":
        return columns
    module = pytest.importorskip({"arrow": "pyarrow"}.get(library, library))
    return module.table(columns) if library == "arrow" else module.DataFrame(columns)


EVENTS = {"who": ["ann", "ann", "bob", "cem", "dee"], "what": ["tea", "cup", "cup", "tea", "pot"]}
PEOPLE = {
    "who": ["dee", "cem", "ann"],
    "age": [0.5, None, 1.5],
    "new": [True, False, True],
    "city": ["Bonn", "Lyon", None],
    "tags": [["x", "y"], [], ["y"]],
}


@pytest.mark.parametrize("library", FRAMES)
def test_tables_are_encoded_and_aligned_by_ids(library, tmp_path):
    R = fastals.Interactions.from_frame(EVENTS, user="who", item="what")
    frame = as_frame(PEOPLE, library)
    params = {"factors": 2, "random_state": 0, "iterations": 2}
    model = fastals.ImplicitALS(**params).fit(EVENTS, user="who", item="what", user_features=frame)
    encoder = model.user_feature_encoder_
    assert encoder.feature_names_ == ["age", "new", "city=Bonn", "city=Lyon", "tags=x", "tags=y"]
    F = encoder.transform(frame, R.user_ids.values).toarray()
    wanted = [[1.5, 1, 0, 0, 0, 1], [0] * 6, [0, 0, 0, 1, 0, 0], [0.5, 1, 1, 0, 1, 1]]
    assert F.tolist() == wanted
    same = fastals.ImplicitALS(**params).fit(R, user_features=F)
    assert same_model(model, same)
    model.save(tmp_path / "model")
    loaded = fastals.load(tmp_path / "model.npz")
    new = as_frame({"age": [2.0], "new": [False], "city": ["Lyon"], "tags": [["x"]]}, library)
    row = [[2.0, 0, 0, 1, 1, 0]]
    assert same_bits(loaded.fold_in_users(user_features=new), same.fold_in_users(user_features=row))
    assert loaded.recommend(user_features=new, n=1)[0].shape == (1, 1)
    turned = {"who": ["eve", "abe"], "what": ["tea", "cup"]}
    both = as_frame({name: PEOPLE[name][:2] for name in PEOPLE} | {"who": ["eve", "abe"]}, library)
    found = model.fold_in_users(turned, user="who", item="what", user_features=both)
    wanted = same.fold_in_users([[0, 0, 1], [1, 0, 0]][::-1], user_features=F[[2, 3]])
    np.testing.assert_array_equal(found, wanted)
    with pytest.warns(UserWarning, match="1 values of the features were not there at the fit, such as 'Rome'") as told:
        model.fold_in_users(
            user_features=as_frame({"age": [0], "new": [0], "city": ["Rome"], "tags": [["x"]]}, library)
        )
    assert [warning.filename for warning in told] == [__file__]


def test_an_encoder_of_items_adds_items():
    films = {"what": ["tea", "cup"], "kind": ["drink", "ware"]}
    model = fastals.ImplicitALS(2, random_state=0).fit(EVENTS, user="who", item="what", item_features=films)
    model.add_items(["milk", "fork"], item_features={"what": ["fork", "milk"], "kind": ["ware", "drink"]})
    B = model.item_feature_factors_
    # Through the eigenbasis and back.
    np.testing.assert_allclose(model.item_factors_[-2:], B, atol=4 * np.finfo(B.dtype).eps * np.abs(B).max())
    assert model.recommend("bob", n=4)[0].tolist() != model.recommend("dee", n=4)[0].tolist()


@pytest.mark.parametrize(
    ("people", "error", "match"),
    [
        ({"age": [1, 2]}, ValueError, r"user_features has no column with the ids of the users: name it 'who'.*"),
        ({"who": ["ann", "zoe"], "age": [1, 2]}, ValueError, r"column 'who' of the features has 'zoe', which.*"),
        ({"who": ["ann", "ann"], "age": [1, 2]}, ValueError, r"column 'who' holds 'ann' more than once"),
        ({"who": ["ann", "bob"], "age": [1, "x"]}, TypeError, r"column 'age' must hold numbers, or text, or lists.*"),
        ({"who": ["ann"], "age": [np.inf]}, ValueError, r"column 'age' is infinite in row 0"),
        ({"who": ["ann"]}, ValueError, r"frame has no column beside 'who'.*"),
        (
            {"who": ["ann"], "at": [np.datetime64("2024-01-01")]},
            TypeError,
            r"column 'at' must hold .*; make numbers of times first, such as years",
        ),
    ],
)
def test_tables_that_are_no_features_are_refused(people, error, match):
    people = {name: np.array(column, object) if name == "age" else column for name, column in people.items()}
    model = fastals.ImplicitALS(2, random_state=0)
    refused(match, error, model, EVENTS, user="who", item="what", user_features=people)


def test_a_table_at_fold_in_is_for_models_that_were_fitted_with_one():
    model, _, _, _ = small()
    match = r"user_features is a dict, and the model was fitted with a matrix of features.*"
    refused(match, TypeError, model, method="fold_in_users", user_features={"age": [1]})
    model = fastals.ImplicitALS(2, random_state=0).fit(EVENTS, user="who", item="what", user_features=PEOPLE)
    match = r"column 'age' holds text, and at the fit numbers"
    frame = PEOPLE | {"age": ["a", "b", "c"]}
    refused(match, TypeError, model, method="fold_in_users", user_features=frame)
