"""Rows solved again and single events: each against a fold-in or a fit of the whole."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import fastals
from fastals import ExplicitALS, ImplicitALS, Interactions, NotFittedError, WeightedALS
from tests.helpers import (
    CASES,
    CLASSIC,
    assert_rows_close,
    dtypes,
    half_step,
    observed,
    same_bits,
    same_model,
    sides,
    stored,
)

SMALL = {"factors": 3, "iterations": 2, "dtype": "float64", "random_state": 0}
MODELS = (ImplicitALS, ExplicitALS, WeightedALS)
# An array of weights says nothing of new items, weights of single cells nothing of new cells.
OPEN = {
    name: case for name, case in CASES.items() if case.params.get("item_weights") != "array" and not case.cell_weights
}
every_case = pytest.mark.parametrize("case", OPEN.values(), ids=OPEN.keys())
every_model = pytest.mark.parametrize("cls", MODELS)
few = settings(max_examples=10)


def example(seed: int = 0, shape: tuple[int, int] = (20, 14)) -> np.ndarray:
    R = observed(np.random.default_rng(seed), *shape, 0.3)
    R[R == 0] = 1.0  # which ImplicitALS would not count as a cell
    return R


def fitted(cls=ImplicitALS, R=None, **params):
    return cls(**(SMALL | params)).fit(stored(example() if R is None else R))


def with_biases(model, side):
    factors, biases = getattr(model, f"{side}_factors_"), getattr(model, f"{side}_biases_", None)
    return factors if biases is None else np.column_stack([factors, biases])


def cells_of(model):
    """What the model has, as a dense matrix with NaN where there is no cell."""
    seen = model._fitted.by_user.cells
    R = np.full((len(model.user_factors_), len(model.item_factors_)), np.nan)
    R[np.repeat(np.arange(seen.n_rows), seen.counts), seen.indices] = seen.all_values
    return R


def assert_same_cells(model, R):
    np.testing.assert_array_equal(cells_of(model), R)


# Whole rows.


@every_case
def test_partial_fit_users_is_a_fold_in(case):
    model, R = case.build(example(), **SMALL)[0].fit(stored(example())), example(1, (3, 14))
    folded, items = model.fold_in_users(stored(R)), model.item_factors_
    kept = with_biases(model, "user")[5:].copy()
    users = np.array([4, 21, 20])
    assert model.partial_fit_users(users, stored(R)) is model
    assert same_bits(with_biases(model, "user")[users], folded)
    np.testing.assert_array_equal(with_biases(model, "user")[5:20], kept)
    assert model.item_factors_ is items
    wanted = np.vstack([example(), np.full((2, 14), np.nan)])
    wanted[users] = R
    assert_same_cells(model, wanted)


@every_case
def test_partial_fit_items_is_a_fold_in(case):
    model, R = case.build(example(), **SMALL)[0].fit(stored(example())), example(1, (20, 3))
    folded = model.fold_in_items(stored(R))
    items = np.array([4, 15, 14])
    model.partial_fit_items(items, stored(R))
    assert same_bits(with_biases(model, "item")[items], folded)
    wanted = np.hstack([example(), np.full((20, 2), np.nan)])
    wanted[:, items] = R
    assert_same_cells(model, wanted)
    # The new items are part of the model: users are folded in and losses computed with them.
    model.partial_fit_users(np.arange(20), stored(wanted))
    assert np.isfinite(model.loss(stored(wanted)))


def test_recommendations_leave_out_the_new_cells():
    model = fitted()
    before = model.recommend(3, n=14)[0]
    R = np.full((1, 14), np.nan)
    R[0, before[:2]] = 1.0
    model.partial_fit_users(3, stored(R))
    assert sorted(model.recommend(3, n=12)[0]) == sorted(set(range(14)) - set(before[:2]))


def test_sparse_and_dense_rows_are_one():
    one, two = fitted(), fitted()
    R = example(1, (1, 14))
    one.partial_fit_users(0, stored(R))
    two.partial_fit_users([0], sparse.csr_matrix(np.nan_to_num(R)))
    assert same_model(one, two)


def test_no_rows_change_nothing():
    model, other = fitted(), fitted()
    model.partial_fit_users([], None).partial_fit_items([], None)
    assert same_model(model, other)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, R: m.partial_fit_users([1, 1], R[:2]), "users has 1 more than once"),
        (
            lambda m, R: m.partial_fit_users([0, 21], R[:2]),
            "users has 21, and 20 is the next new number",
        ),
        (lambda m, R: m.partial_fit_users([21], R[:1]), r"users.0. is 21: ids run from 0 to 20"),
        (lambda m, R: m.partial_fit_users([-1], R[:1]), "users.0. is -1"),
        (lambda m, R: m.partial_fit_users([0], R[:2]), "R_rows has shape .2, 14.: one row for each of the 1 users"),
        (lambda m, R: m.partial_fit_users([0], R[:1, :5]), "columns are items and the model has 14 of them, got 5"),
        (lambda m, R: m.partial_fit_items([0], R[:, :2]), "R_columns has shape .20, 2.: one column for each"),
        (lambda m, R: m.partial_fit_items([0], R[:5, :1]), "rows are users and the model has 20 of them, got 5"),
        (lambda m, R: m.update(21, 0), "user is 21: known are 0 to 19, and the next new one is 20"),
        (lambda m, R: m.update(0, -1), "item must be at least 0"),
        (lambda m, R: m.update(0.5, 0), "user must be an integer"),
        (lambda m, R: m.update(0, 0, np.nan), "value must be finite"),
        (lambda m, R: m.update(0, 0, "1"), "value must be a number"),
        (lambda m, R: m.refit(R[:10]), "R has 10 users and the model to start from 20"),
        (lambda m, R: m.refit(R[:, :10]), "R has 10 items and the model to start from 14"),
    ],
)
def test_bad_calls_leave_the_model_as_it_was(call, message):
    model, other = fitted(), fitted()
    with pytest.raises((ValueError, TypeError), match=message):
        call(model, stored(example()))
    assert same_model(model, other)
    assert_same_cells(model, example())


@pytest.mark.parametrize(
    "call",
    [
        lambda model: model.partial_fit_users([0], None),
        lambda model: model.partial_fit_items([0], None),
        lambda model: model.update(0, 0),
        lambda model: model.refit(None),
    ],
)
def test_not_fitted(call):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        call(ImplicitALS())


# Single events.


def items_folded_in(model, R):
    """The training items solved for the stored users: item weights and popularity stay those of the training set."""
    cells = model._interactions(stored(R), model.item_factors_.dtype)
    fitted = model._state
    problem = fitted.objective.item_problem(cells.by_item, fitted.statistics, len(R))
    return model._fold_in(fitted, problem, "item")


@every_case
@few
@given(seed=st.integers(0, 99), dtype=dtypes, k=st.integers(1, 9))
def test_updates_are_exact(case, seed, dtype, k):
    """The item is the solution for the users before the event, the user for the items after it."""
    rng = np.random.default_rng(seed)
    R = example(seed)
    model, reference, _ = case.build(R, factors=k, iterations=1, dtype=dtype, random_state=seed)
    model.fit(stored(R))
    for _ in range(3):
        user, item = int(rng.integers(20)), int(rng.integers(14))
        R[user, item] = rng.choice([-2.0, 1.0, 4.0])
        users_before, item_folded_in = sides(model)[0], items_folded_in(model, R)[item]
        model.update(user, item, R[user, item])
        X, Y = sides(model)
        # Twice the bound: the fold-in has its own rounding.
        _, item_bounds, _ = half_step(reference, R, users_before, "item", dtype)
        _, user_bounds, _ = half_step(reference, R, Y, "user", dtype)
        assert_rows_close(Y[[item]], item_folded_in[None].astype(np.float64), 2 * item_bounds[[item]])
        user_folded_in = model.fold_in_users(stored(R[[user]])).astype(np.float64)
        assert_rows_close(X[[user]], user_folded_in, 2 * user_bounds[[user]])
    assert_same_cells(model, R)


@every_model
def test_events_of_new_users_and_items(cls):
    model = fitted(cls, **CLASSIC.get(cls, {}))
    model.update(20, 3, 2.0)
    assert model.user_factors_.shape == (21, 3)
    model.update(5, 14, 1.0)
    assert model.item_factors_.shape == (15, 3)
    model.update(21, 15, 1.0)  # both new: nothing is known of either
    assert not model.user_factors_[21].any()
    wanted = np.full((22, 16), np.nan)
    wanted[:20, :14] = example()
    wanted[20, 3], wanted[5, 14], wanted[21, 15] = 2.0, 1.0, 1.0
    assert_same_cells(model, wanted)
    folded = model.fold_in_users(stored(wanted)[[5]])
    np.testing.assert_allclose(with_biases(model, "user")[5], folded[0], rtol=1e-9)
    assert np.isfinite(model.loss(stored(wanted)))


def test_zero_takes_a_cell_out_of_an_implicit_model_only():
    R = example()
    user, item = np.argwhere(~np.isnan(R))[0]
    implicit, explicit = fitted().update(user, item, 0), fitted(ExplicitALS).update(user, item, 0)
    taken = R.copy()
    taken[user, item] = np.nan
    assert_same_cells(implicit, taken)
    np.testing.assert_allclose(
        implicit.user_factors_[user], implicit.fold_in_users(stored(taken)[[user]])[0], rtol=1e-9
    )
    taken[user, item] = 0
    assert_same_cells(explicit, taken)


def test_the_last_cell_taken_out_leaves_zeros():
    R = np.full((4, 3), np.nan)
    R[0, 0] = R[1, 1] = R[2, 1] = 1.0
    model = fitted(R=R).update(0, 0, 0)
    assert not model.user_factors_[0].any()
    assert not model.item_factors_[0].any()


@every_model
def test_a_cell_keeps_its_weight(cls):
    R = example()
    extra = {"weights": np.arange(1, stored(R).nnz + 1.0)} if cls is WeightedALS else {}
    model = cls(**SMALL).fit(stored(R), **extra)
    users, items = np.nonzero(~np.isnan(R))
    weights = model._fitted.by_user.cells.all_weights.copy()
    model.update(int(users[3]), int(items[3]), 2.0)
    np.testing.assert_array_equal(model._fitted.by_user.cells.all_weights, weights)


@every_model
def test_events_in_any_number_are_as_one(cls):
    """Grams are carried along from event to event: after a thousand they are what they would be made anew."""
    model, rng = fitted(cls, factors=5), np.random.default_rng(0)
    for _ in range(1000):
        user, item = int(rng.integers(20)), int(rng.integers(14))
        model.update(user, item, float(rng.integers(1, 5)))
    np.testing.assert_allclose(
        with_biases(model, "user")[user], model.fold_in_users(stored(cells_of(model))[[user]])[0], rtol=1e-7
    )


def test_fold_in_sees_the_event():
    model, R = fitted(), stored(example())
    before = model.fold_in_users(R)
    model.update(0, 1, 5.0)
    assert not np.array_equal(model.fold_in_users(R), before)


def test_an_event_beyond_the_dtype_leaves_the_model_as_it_was():
    model = fitted(WeightedALS, dtype="float32", regularization=1e-3)
    model.user_factors_ = model.user_factors_ * 0.01
    before = copy.copy(model)
    user, item = np.argwhere(~np.isnan(example()))[0].tolist()
    with pytest.raises(
        np.linalg.LinAlgError, match=r"^item .* cannot be solved in float32: its solution is not finite"
    ):
        model.update(user, item, 3e38)
    assert same_model(model, before)


def test_an_event_with_many_solutions_gets_the_smallest():
    R = np.full((3, 3), np.nan)
    R[[0, 1, 2], [0, 1, 2]] = 1.0
    model = fitted(WeightedALS, R=R, regularization=1e-3)
    model.regularization = 0.0
    model._put(replace(model._state, objective=model._objective()))
    users = model.user_factors_.copy()
    model.update(0, 1, 1.0)
    for of_item, fixed, at in ((True, users[:2], 1), (False, model.item_factors_[:2], 0)):
        wanted = np.linalg.lstsq(fixed.astype(np.float64), np.ones(2), rcond=None)[0]
        found = (model.item_factors_ if of_item else model.user_factors_)[at]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


@every_model
@pytest.mark.parametrize("include_cells", [True, False])
def test_a_loaded_model(tmp_path, cls, include_cells):
    model = fitted(cls)
    model.save(tmp_path / "model", include_cells=include_cells)
    loaded = fastals.load(tmp_path / "model.npz")
    if include_cells:
        for one in (model, loaded):
            one.update(2, 3, 2.0)
        assert same_model(model, loaded)
        assert_same_cells(loaded, cells_of(model))
    else:
        with pytest.raises(ValueError, match="saved without its training interactions"):
            loaded.update(2, 3, 2.0)
        loaded.partial_fit_users([2], stored(example())[[3]])
        np.testing.assert_array_equal(loaded.user_factors_[2], model.fold_in_users(stored(example())[[3]])[0][:3])


def test_new_items_need_weights_that_are_a_function():
    model = fitted(WeightedALS, item_weights=np.ones(14))
    for call in (lambda: model.update(0, 14), lambda: model.partial_fit_items([0], stored(example())[:, [0]])):
        with pytest.raises(ValueError, match="item_weights is an array"):
            call()
    model.update(0, 13)


# Models with ids.

USERS, ITEMS = (np.array([f"{side}{number:02}" for number in range(n)]) for side, n in (("u", 20), ("i", 14)))
IDS = {
    "strings": (USERS, ITEMS),
    "integers": (np.arange(20)[::-1], np.arange(14) + 7),  # which row numbers might be taken for
    "items only": (None, ITEMS),
}
every_ids = pytest.mark.parametrize(("users", "items"), IDS.values(), ids=IDS)


def named(cls, users, items):
    return cls(**SMALL).fit(Interactions(stored(example()), "float64", user_ids=users, item_ids=items))


@every_model
@every_ids
def test_ids_and_numbers_do_the_same(cls, users, items):
    plain, model = fitted(cls), named(cls, users, items)
    users = np.arange(20) if users is None else users
    rows, columns = stored(example(1, (2, 14))), stored(example(2, (20, 2)))
    plain.partial_fit_users([5, 3], rows).partial_fit_items([1, 8], columns)
    order = np.random.default_rng(0).permutation(14)
    model.partial_fit_users(users[[5, 3]], Interactions(rows[:, order], "float64", item_ids=items[order]))
    order = np.arange(20) if model.user_ids_ is None else np.random.default_rng(0).permutation(20)
    model.partial_fit_items(items[[1, 8]], Interactions(columns[order], "float64", user_ids=users[order]))
    plain.update(4, 7, 3.0)
    model.update(users[4], items[7], 3.0)
    assert same_model(plain, model)
    assert_same_cells(model, cells_of(plain))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, R: m.update(0, "i00"), TypeError, "user must be strings"),
        (lambda m, R: m.update(["u00"], "i00"), ValueError, r"user must be one id, got an array of shape .1,."),
        (lambda m, R: m.update(None, "i00"), TypeError, "user.0. is None: ids must be all strings"),
        (lambda m, R: m.partial_fit_users(["u20", "u20"], R[:2]), ValueError, "users holds 'u20' more than once"),
        (lambda m, R: m.partial_fit_items(["i01", "i14"], R[:, :1]), ValueError, "one column for each of the 2 items"),
        (lambda m, R: m.add_items(["i14", "i01"]), ValueError, r"items.1. is 'i01', which the model has already"),
        (lambda m, R: m.add_items([14]), TypeError, "items must be strings"),
        (lambda m, R: m.partial_fit_users(["u03", "u03"], R[:2]), ValueError, "users has 'u03' more than once"),
        (
            lambda m, R: m.partial_fit_users(["u03", "u02"], Interactions(R[:2], user_ids=["u02", "u03"])),
            ValueError,
            r"row 0 of R_rows is that of 'u02', and users.0. is 'u03': give both in the same order",
        ),
        (
            lambda m, R: m.partial_fit_items(["i03"], Interactions(R[:, :1], item_ids=["i02"])),
            ValueError,
            r"column 0 of R_columns is that of 'i02', and items.0. is 'i03'",
        ),
        (
            lambda m, R: m.partial_fit_users(["u00"], Interactions.from_triplets(["u00"], ["other"])),
            ValueError,
            r"item_ids.0. is 'other', which is not among the 14 ids",
        ),
    ],
)
def test_ids_that_are_refused_leave_the_model_as_it_was(tmp_path, call, error, message):
    model, other = named(ImplicitALS, USERS, ITEMS), fitted()
    with pytest.raises(error, match=message):
        call(model, stored(example()))
    assert same_model(model, other)
    assert_same_cells(model, example())
    model.save(tmp_path / "model")
    assert same_model(fastals.load(tmp_path / "model.npz"), other)


def test_a_side_without_ids_takes_new_ones(tmp_path):
    model = named(ImplicitALS, None, ITEMS)
    model.update(20, "i03").partial_fit_users([21], Interactions.from_triplets(["any"], ["i04"]))
    assert np.argwhere(~np.isnan(cells_of(model)[20:])).tolist() == [[0, 3], [1, 4]]
    model.save(tmp_path / "model")
    assert same_model(fastals.load(tmp_path / "model.npz"), model)


# Copies.


@every_model
def test_events_of_a_copy_are_its_own(cls):
    model, other = fitted(cls).update(1, 1, 2.0), fitted(cls).update(1, 1, 2.0)
    answers = model.recommend(None, 5)
    changed = copy.copy(model)
    changed.update(0, 1, 5.0).update(2, 3, 4.0)
    assert same_model(model, other)
    assert_same_cells(model, cells_of(other))
    model._fitted.items._derived.clear()
    assert all(map(same_bits, model.recommend(None, 5), answers))
    other.update(0, 1, 5.0).update(2, 3, 4.0)
    for ours, theirs in zip(sides(changed), sides(other), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)  # a Gram matrix carried along, and one made anew
    assert_same_cells(changed, cells_of(other))


def test_a_copy_of_what_is_not_fitted():
    assert copy.copy(ImplicitALS(factors=5)).get_params() == ImplicitALS(factors=5).get_params()


def test_a_matrix_that_is_changed_in_place_after_a_fit_leads_no_kernel_outside():
    R = stored(example(), "float32")
    model = fastals.ImplicitALS(4, iterations=2, random_state=0).fit(R)
    ids, _ = model.recommend(n=5)
    R.indices[:] = 2**30
    R.indptr[1:] = 2**30
    np.testing.assert_array_equal(model.recommend(n=5)[0], ids)
    model.update(1, 2).partial_fit_items([0], np.ones((len(model.user_factors_), 1)))
    assert np.isfinite(model.item_factors_).all()


def test_a_callback_may_change_the_matrix():
    R = stored(example(), "float32")
    wanted = fastals.ImplicitALS(4, iterations=3, random_state=0).fit(R).user_factors_

    def spoil(iteration, model):
        R.indices[:] = 2**30

    spoilt = fastals.ImplicitALS(4, iterations=3, random_state=0).fit(R, callback=spoil)
    np.testing.assert_array_equal(spoilt.user_factors_, wanted)


def test_an_item_that_nobody_has_stays_in_a_refit_by_its_ids():
    orders = ["ann", "bob", "bob"], ["tea", "tea", "cup"]
    model = ImplicitALS(2, random_state=0).fit(Interactions.from_triplets(*orders)).add_items(["pot"])
    with pytest.raises(ValueError, match="R lacks item 'pot'"):
        model.refit(Interactions.from_triplets(*orders))
    model.refit(Interactions.from_triplets(*orders, item_ids=model.item_ids_))
    assert model.item_ids_.tolist() == ["cup", "tea", "pot"] and "pot" in model.recommend("bob", n=3)[0]
