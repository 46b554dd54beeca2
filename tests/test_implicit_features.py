"""Implicit features: the items that a user has rated at all, whatever the ratings, as features of the user."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import fastals
from fastals import storage
from fastals.engine import features
from fastals.objectives import FEATURES, IMPLICIT_FEATURES
from tests.helpers import CASES, dtypes, example, refused, rounding, same_bits, same_model, stored
from tests.reference import Featured
from tests.test_features import with_cold_rows

PARAMS = {"factors": 3, "dtype": "float64", "random_state": 0, "iterations": 4}
every_case = pytest.mark.parametrize("case", [CASES["explicit, everything"], CASES["explicit, no biases"]])
every_solver = pytest.mark.parametrize("solver", ["auto", "cholesky", "cg", "plain"])


def implied(R):
    """Return the features that a matrix says of its users, in float64."""
    has = ~np.isnan(R)
    return has / np.sqrt(np.maximum(has.sum(axis=1, keepdims=True), 1))


def small(R=None, **params):
    """Return a small model and its matrix."""
    R = with_cold_rows(example()) if R is None else R
    return fastals.ExplicitALS(**PARAMS | {"implicit_features": True} | params).fit(stored(R)), R


# The fit.


@every_solver
@every_case
def test_every_block_is_solved_for_the_objective(case, solver):
    R, seen = with_cold_rows(example()), []
    model, reference, _ = case.build(R, **PARAMS, solver=solver, implicit_features=True, feature_regularization=0.5)
    reference = Featured(objective=reference, F=implied(R), feature_regularization=(0.5, 0.5), unit=10.0)

    def look(iteration, model):
        if iteration == 1 and solver != "plain":  # the plain engine learns before the users, which are then solved
            A, wanted = learned_of_users(model), reference.solve_features(R, learned_rows(model, "user"), 0)
            np.testing.assert_allclose(A, wanted, atol=1e-9 * np.abs(wanted).max())
            seen.append(iteration)

    model.fit(stored(R), callback=look)
    assert seen == ([1] if solver != "plain" else [])
    X, Y, A = learned_rows(model, "user"), learned_rows(model, "item"), learned_of_users(model)
    users = reference.solve_users(R, Y, A)
    np.testing.assert_allclose(X, users, atol=1e-9 * np.abs(users).max())
    wanted = reference.loss(R, X, Y, A, None)
    assert model.loss_history_[-1] == pytest.approx(wanted, rel=1e-10)
    assert model.loss(stored(R)) == pytest.approx(wanted, rel=1e-10)


def learned_rows(model, name):
    factors, biases = getattr(model, f"{name}_factors_"), getattr(model, f"{name}_biases_", None)
    return factors if biases is None else np.column_stack([factors, biases])


def learned_of_users(model):
    return learned_rows(model, "user_feature")


@every_solver
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("with_items", [False, True])
def test_the_bits_are_those_of_the_same_features_in_a_matrix(solver, dtype, with_items):
    R = with_cold_rows(example())
    H = np.random.default_rng(0).random((R.shape[1], 4)) if with_items else None
    params = PARAMS | {"solver": solver, "dtype": dtype, "feature_regularization": (2.0, 2.0)}
    found = fastals.ExplicitALS(**params, implicit_features=True).fit(stored(R), item_features=H)
    params["feature_regularization"] = (2.0 * IMPLICIT_FEATURES / FEATURES, 2.0)
    wanted = fastals.ExplicitALS(**params).fit(stored(R), user_features=sparse.csr_array(implied(R)), item_features=H)
    assert same_model(found, wanted)
    assert same_bits(found.user_feature_factors_, wanted.user_feature_factors_)
    assert found.loss_history_ == wanted.loss_history_


@every_solver
@settings(max_examples=8)
@given(seed=st.integers(0, 99), k=st.integers(1, 9), dtype=dtypes, many=st.booleans(), biases=st.booleans())
def test_the_loss_never_rises(solver, seed, k, dtype, many, biases):
    R = example(seed, (15, 12))
    params = {"factors": k, "dtype": dtype, "solver": solver, "iterations": 5, "biases": biases}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "MANY", 0 if many else 100)
        model = fastals.ExplicitALS(**params, regularization=0.1, random_state=seed, implicit_features=True)
        history = np.array(model.fit(stored(R)).loss_history_)
    assert (np.diff(history) <= rounding(dtype, 100, np.nansum(R**2))).all()


@every_solver
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_depend_neither_on_threads_nor_on_who_else_is_folded_in(solver, dtype):
    R = with_cold_rows(example(1, (200, 60)))
    one, three = (small(R, dtype=dtype, solver=solver, n_threads=n)[0] for n in (1, 3))
    assert same_model(one, three)
    assert same_bits(one.user_feature_factors_, three.user_feature_factors_)
    for model in (one, three):
        assert same_bits(model.fold_in_users(stored(R))[:, :3], one.user_factors_)
    for user in (3, 7):
        assert same_bits(one.fold_in_users(stored(R)[[user]])[:, :3], one.user_factors_[[user]])


@every_solver
def test_a_fit_goes_on_from_its_checkpoint_to_the_same_bits(solver, tmp_path):
    R, path = stored(with_cold_rows(example())), tmp_path / "fit.npz"
    whole, _ = small(iterations=6, solver=solver, dtype="float32")
    model = fastals.ExplicitALS(**PARAMS | {"dtype": "float32", "solver": solver}, implicit_features=True)
    model.set_params(iterations=3).fit(R, checkpoint=path)
    model.set_params(iterations=6).fit(R, checkpoint=path)
    assert same_model(model, whole)
    with pytest.raises(ValueError, match="it was made with another R, of which user features differ"):
        model.set_params(implicit_features=False).fit(R, checkpoint=path)


# New users, items and events.


def test_users_are_drawn_to_what_their_own_items_say():
    model, R = small()
    A, basket = learned_of_users(model), {2: 5.0, 6: 1.0}
    row = np.full((1, R.shape[1]), np.nan)
    row[0, [2, 6]] = 5, 1
    assert np.abs(A).max() > 0
    found = model.recommend(basket=basket, n=4)
    wanted = model.recommend(stored(row), n=4, fold_in=True)
    assert (found[0] == wanted[0][0]).all()
    assert same_bits(found[1], wanted[1][0])
    assert not model.fold_in_users(stored(np.full((1, R.shape[1]), np.nan))).any()


@every_solver
def test_an_event_moves_what_a_user_is_drawn_to(solver):
    model, R = small(np.abs(example()), solver=solver)
    n_users, n_items = R.shape
    events = [(0, 0), (3, 2), (n_users, 4), (5, n_items), (n_users, n_items), (n_users, n_items + 1)]
    for user, item in events:
        model.update(user, item, 2.0)
        items, values = model.interactions_of(user)
        row = sparse.csr_array((values, (np.zeros(len(items), int), items)), (1, len(model.item_factors_)))
        wanted, found = model.fold_in_users(row)[0], learned_rows(model, "user")[user]
        np.testing.assert_allclose(found, wanted, atol=1e-9 * np.abs(wanted).max())
    # Nothing has been learned of new items: they count, but add nothing.
    A, known = learned_of_users(model), [4]
    own = (A[known].sum(axis=0) / np.sqrt(3)) @ np.append(model.item_factors_[0], 1)
    assert len(A) == n_items
    assert model.explain(n_users, 0).features != pytest.approx(own, rel=1e-3)  # the ridge's part of it, not all


def test_rows_solved_again_and_new_items():
    model, R = small(np.abs(example()))
    other = np.where(np.isnan(R), np.nan, 3.0)[[4, 9]]
    wanted = model.fold_in_users(stored(other))
    model.partial_fit_users([4, 9], stored(other))
    np.testing.assert_array_equal(learned_rows(model, "user")[[4, 9]], wanted)
    model.add_items([R.shape[1]])
    assert not model.item_factors_[-1].any()
    wider = np.column_stack([other, [np.nan, 2.0]])
    found = model.fold_in_users(stored(wider))
    assert same_bits(found[0], wanted[0])
    model.partial_fit_users([4, 9], stored(wider))
    assert same_bits(learned_rows(model, "user")[[4, 9]], found)


def test_a_refit_follows_from_its_interactions():
    model, R = small(iterations=3)
    before = model.loss(stored(R))
    assert model.refit(stored(R)).loss(stored(R)) <= before * (1 + 1e-9)
    more = np.column_stack([R, np.full(len(R), 2.0)])
    assert model.refit(stored(more)).user_feature_factors_.shape == (R.shape[1] + 1, 3)


def test_an_explanation_tells_the_features_share():
    model, R = small()
    why = model.explain(7, 1)
    assert why.score == pytest.approx(model.predict(7, 1)[0], rel=1e-9)
    assert why.score == pytest.approx(why.baseline + why.features + why.contributions.sum())
    assert why.features != 0
    assert model.explain(None, 1, stored(R[[7]])).features == pytest.approx(why.features)


# Files.


@pytest.mark.parametrize("solver", ["auto", "plain"])
def test_a_saved_model_answers_as_before(solver, tmp_path):
    model, R = small(solver=solver)
    model.update(3, R.shape[1], 2.0)
    model.save(tmp_path / "model.npz")
    header, arrays = storage.read(tmp_path / "model.npz")
    assert not {"user_features_indptr", "user_features_indices", "user_features_values"} & set(arrays)
    loaded = fastals.load(tmp_path / "model.npz")
    wider = stored(np.column_stack([R, np.full(len(R), 2.0)]))
    assert same_model(loaded, model)
    assert same_bits(loaded.user_feature_factors_, model.user_feature_factors_)
    assert same_bits(loaded.fold_in_users(wider), model.fold_in_users(wider))
    assert loaded.loss(wider) == model.loss(wider)
    assert same_bits(loaded.update(3, 2).user_factors_, model.update(3, 2).user_factors_)
    model.save(tmp_path / "less.npz", include_cells=False)
    assert same_bits(fastals.load(tmp_path / "less.npz").fold_in_users(wider), model.fold_in_users(wider))
    header["objective"]["featured"] = [False, False]
    header["feature_ridges"] = [None, None]
    storage.write(tmp_path / "bad.npz", header, arrays, version=3)
    with pytest.raises(ValueError, match="its objective has implicit_features, and no features of users"):
        fastals.load(tmp_path / "bad.npz")


def test_files_without_implicit_features_do_not_name_them(tmp_path):
    for features_of_items in (None, np.eye(20)):
        model = fastals.ExplicitALS(**PARAMS).fit(stored(example()), item_features=features_of_items)
        model.save(tmp_path / "model.npz")
        header, _ = storage.read(tmp_path / "model.npz")
        assert "implicit_features" not in header["params"]
        assert "implicit_features" not in header["objective"]
        assert same_model(fastals.load(tmp_path / "model.npz"), model)


# What is refused.


def test_what_does_not_go_together_is_refused():
    R, model = stored(example()), fastals.ExplicitALS(**PARAMS, implicit_features=True)
    match = r"implicit_features=True makes features .*, and user_features are given too: leave out one of them"
    refused(match, ValueError, model, R, user_features=np.ones((30, 1)))
    refused("features and nonnegative=True do not go together.*", ValueError, model.set_params(nonnegative=True), R)
    refused("implicit_features must be True or False.*", TypeError, model.set_params(implicit_features="yes"), R)
    fitted, _ = small()
    match = r"user_features are given, and the model was fitted with implicit_features=True: they follow .*"
    refused(match, ValueError, fitted, R, method="fold_in_users", user_features=np.ones((30, 1)))
