"""The three models against the float64 reference, their promises, their parameters, and what they refuse."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import threading
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import fastals
from fastals import ExplicitALS, ImplicitALS, Interactions, NotFittedError, WeightedALS, storage, warmup
from fastals.engine import basis, loss, sweep
from fastals.engine.alternation import Alternation
from tests.helpers import (
    CASES,
    Case,
    assert_rows_close,
    dtypes,
    example,
    half_step,
    loss_tolerance,
    matrices,
    numbers_of_factors,
    rounding,
    same_bits,
    same_model,
    sides,
    solvers,
    stored,
    weights_of,
)
from tests.reference import Weighted

MODELS = (ImplicitALS, ExplicitALS, WeightedALS)
SMALL = {"factors": 3, "iterations": 2, "dtype": "float64", "random_state": 0}

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
every_model = pytest.mark.parametrize("cls", MODELS)
few = settings(max_examples=15)


def fitted(cls: type = ImplicitALS, R: np.ndarray | None = None, **params):
    return cls(**(SMALL | params)).fit(stored(example() if R is None else R))


# Against the reference.


@every_case
@few
@given(R=matrices, k=numbers_of_factors, dtype=dtypes, solver=solvers, seed=st.integers(0, 99))
def test_users_are_the_solution_for_the_items(case: Case, R, k, dtype, solver, seed):
    model, reference, extra = case.build(
        R, seed, factors=k, dtype=dtype, solver=solver, iterations=2, random_state=seed
    )
    model.fit(stored(R), **extra)
    X, Y = sides(model)
    wanted, bounds, _ = half_step(reference, R, Y, "user", dtype)
    assert_rows_close(X, wanted, bounds)


@every_case
@few
@given(R=matrices, k=numbers_of_factors, dtype=dtypes, solver=solvers, seed=st.integers(0, 99))
def test_items_folded_in_are_the_solution_for_the_users(case: Case, R, k, dtype, solver, seed):
    if case.cell_weights or case.params.get("item_weights") == "array":
        return  # What new items weigh is then not known: refused, see below.
    model, reference, _ = case.build(R, seed, factors=k, dtype=dtype, solver=solver, iterations=1, random_state=seed)
    model.fit(stored(R))
    wanted, bounds, _ = half_step(reference, R, sides(model)[0], "item", dtype)
    assert_rows_close(model.fold_in_items(stored(R)), wanted, bounds)


@every_case
@few
@given(R=matrices, k=numbers_of_factors, dtype=dtypes, seed=st.integers(0, 99))
def test_loss_is_the_objective(case: Case, R, k, dtype, seed):
    model, reference, extra = case.build(R, seed, factors=k, dtype=dtype, iterations=1, random_state=seed)
    model.fit(stored(R), **extra)
    X, Y = sides(model)
    tolerance = loss_tolerance(reference, R, X, Y, dtype)
    assert abs(model.loss(stored(R), **extra) - reference.loss(R, X, Y)) <= tolerance
    assert abs(model.loss_history_[-1] - reference.loss(R, X, Y)) <= tolerance


@every_case
def test_whole_fit_follows_the_reference(case: Case, monkeypatch):
    """Predictions after each half-step: the item half-step of the training is not visible anywhere else.

    Balancing is taken out: it leaves predictions alone, but not those of the next half-step. With a background the
    users come from the start, which is not visible either, and their first half-step is that of the second iteration.
    """
    monkeypatch.setattr(basis, "balance", lambda ours, theirs: (np.eye(len(ours)), np.eye(len(ours)), theirs))
    starts, known = [], []

    def alternate(self, begin, *others):
        starts.append(self.model.X[:, :3].copy())
        known.append(begin.users != "absent")
        return fit(self, begin, *others)

    fit = Alternation.fit
    monkeypatch.setattr(Alternation, "fit", alternate)
    R = example(3, (15, 12), 0.5)
    settings = {"factors": 3, "dtype": "float64", "random_state": 1, "solver": "cholesky"}
    fits = [case.build(R, iterations=n, **settings) for n in range(3)]
    for model, _, extra in fits:
        model.fit(stored(R), **extra)
    reference = fits[0][1]
    # A start is known up to a rotation of the factors, and neither predictions nor going beyond depend on that.
    X, Y = solution, _ = sides(fits[0][0])
    if known[0]:
        X = solution = starts[0]
    magnified = 1.0
    for (model, _, _), beyond in zip(fits[1:], (0.0, 0.4), strict=True):
        X = solution + (0.0 if known[0] else beyond) * (solution - X)
        solution, _, items = half_step(reference, R, X, "item", "float64")
        Y = solution + beyond * (solution - Y)
        solution, _, users = half_step(reference, R, Y, "user", "float64")
        magnified *= items * users
        wanted = reference.predict(R, solution, Y)
        tolerance = rounding("float64", R.size, np.abs(wanted).max(), magnified)
        assert tolerance < 0.01 * np.abs(wanted).max(), "this problem is too ill-conditioned to tell anything"
        np.testing.assert_allclose(reference.predict(R, *sides(model)), wanted, rtol=0, atol=tolerance)


@every_case
def test_predict_is_what_the_reference_predicts(case: Case):
    R = example()
    model, reference, extra = case.build(R, **SMALL)
    model.fit(stored(R), **extra)
    users, items = (ids.ravel() for ids in np.indices(R.shape))
    X, Y = sides(model)
    size = np.abs(reference.mean(R)) + np.abs(X).max() * np.abs(Y).max() * (X.shape[1] + 2)
    np.testing.assert_allclose(
        model.predict(users, items).reshape(R.shape),
        reference.predict(R, X, Y),
        rtol=0,
        atol=rounding("float64", X.shape[1], size),
    )


@every_case
@few
@given(R=matrices, k=numbers_of_factors, seed=st.integers(0, 99))
def test_gradient_of_the_users_is_zero(case: Case, R, k, seed):
    model, reference, extra = case.build(R, seed, factors=k, dtype="float64", iterations=1, random_state=seed)
    model.fit(stored(R), **extra)
    X, Y = sides(model)
    gradient = reference.gradient_users(R, X, Y)
    with_cells = reference.observed(R).any(axis=1)  # A row without cells is 0 by promise.
    C, T = reference.cells(R)
    unobserved = reference.cells(np.full_like(R, np.nan), training=R)[0]
    columns, known = reference.regressors(np.abs(Y))
    squares = np.sum(columns**2, axis=1)
    length = np.linalg.norm(X, axis=1)
    targets = np.abs(T) + np.abs(reference.mean(R)) + known
    size = 2 * (((C + unobserved) @ squares + reference.ridges(R)[0]) * length + (C * targets) @ np.sqrt(squares))
    bound = rounding("float64", R.shape[1] + Y.shape[1], size)
    assert (np.linalg.norm(gradient, axis=1) <= bound)[with_cells].all()


# Promises.


@every_case
@few
@given(R=matrices, k=numbers_of_factors, seed=st.integers(0, 99))
def test_loss_never_rises(case: Case, R, k, seed):
    model, reference, extra = case.build(R, seed, factors=k, dtype="float64", iterations=6, random_state=seed)
    model.fit(stored(R), **extra)
    # Each of these losses is off by no more than the largest of them would be.
    C, T = reference.cells(R)
    size = np.sum(C * (T - reference.mean(R)) ** 2) + np.sum(C * T**2) + max(model.loss_history_)
    slack = rounding("float64", R.size, size) + loss_tolerance(reference, R, *sides(model), "float64")
    assert all(later <= earlier + slack for earlier, later in pairwise(model.loss_history_))


@every_case
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_do_not_change_a_bit(case: Case, dtype):
    R = example(1, (70, 40))
    models = []
    for n_threads in (1, 2, 5):
        model, _, extra = case.build(R, factors=5, iterations=3, dtype=dtype, random_state=0, n_threads=n_threads)
        models.append(model.fit(stored(R), **extra))
        assert same_bits(model.recommend(range(70))[1], models[0].recommend(range(70))[1])
        assert model.loss(stored(R), **extra) == models[0].loss(stored(R), **extra)
        assert same_model(model, models[0])


@every_case
@few
@given(R=matrices, k=numbers_of_factors, dtype=dtypes, solver=solvers, seed=st.integers(0, 99))
def test_folded_in_users_have_the_bits_of_the_fit(case: Case, R, k, dtype, solver, seed):
    if case.cell_weights:
        return  # `fold_in_users` takes no weights.
    model, _, _ = case.build(R, seed, factors=k, dtype=dtype, solver=solver, iterations=2, random_state=seed)
    cells = stored(R)
    model.fit(cells)
    trained = model.user_factors_
    if hasattr(model, "user_biases_"):
        trained = np.column_stack([trained, model.user_biases_])
    order = np.random.default_rng(seed).permutation(len(R))
    assert same_bits(model.fold_in_users(cells), trained)
    assert same_bits(model.fold_in_users(cells[order]), trained[order])
    for u in range(len(R)):
        assert same_bits(model.fold_in_users(cells[[u]]), trained[[u]])


@few
@given(R=matrices, k=numbers_of_factors, dtype=dtypes, seed=st.integers(0, 99))
def test_folded_in_items_do_not_depend_on_the_batch(R, k, dtype, seed):
    cells = stored(R)
    for cls in MODELS:
        model = cls(factors=k, dtype=dtype, iterations=1, random_state=seed).fit(cells)
        batch = model.fold_in_items(cells)
        for i in range(R.shape[1]):
            assert same_bits(model.fold_in_items(cells[:, [i]]), batch[[i]])


@every_case
def test_users_in_another_order(case: Case):
    """The users' order changes the order of sums, and nothing else."""
    R = example(4)
    order = np.random.default_rng(0).permutation(len(R))
    predictions = []
    for rows in (np.arange(len(R)), order):
        model, reference, extra = case.build(R, **SMALL)
        if extra:
            extra = {"weights": extra["weights"][rows]}
        predictions.append(reference.predict(R[rows], *sides(model.fit(stored(R[rows]), **extra))))
    _, _, condition = half_step(reference, R, sides(model)[1], "user", "float64")
    tolerance = rounding("float64", R.size, np.abs(predictions[0]).max(), condition**3)
    np.testing.assert_allclose(predictions[1], predictions[0][order], rtol=0, atol=tolerance)


@every_model
def test_items_in_another_order(cls):
    """With the items' factors in another order the users' half-step sums in another order, and nothing else."""
    R = example(5)
    model = fitted(cls, R, solver="cholesky")
    order = np.random.default_rng(0).permutation(R.shape[1])
    turned = copy.deepcopy(model)
    turned.item_factors_ = model.item_factors_[order]
    if hasattr(model, "item_biases_"):
        turned.item_biases_ = model.item_biases_[order]
    _, bounds, _ = half_step(_reference(cls), R, sides(model)[1], "user", "float64")
    assert_rows_close(turned.fold_in_users(stored(R[:, order])), model.fold_in_users(stored(R)), 2 * bounds)


def _reference(cls: type):
    return next(case.reference() for case in CASES.values() if case.model is cls)


@few
@given(power=st.integers(-8, 8), dtype=dtypes)
def test_scale_of_targets_scales_the_users(power, dtype):
    """A power of two changes no rounding: targets and start times s, ridge times s^2 ... users and items times s."""
    R = example(6)
    scale = 2.0**power
    model = WeightedALS(factors=3, iterations=1, dtype=dtype, random_state=0, solver="cholesky").fit(stored(R))
    assert same_bits(
        model.fold_in_users(stored(R * scale)), model.fold_in_users(stored(R)) * model.user_factors_.dtype.type(scale)
    )


@few
@given(power=st.integers(-8, 8), dtype=dtypes)
def test_scale_of_weights_and_ridge_changes_nothing(power, dtype):
    R, scale = example(7), 4.0**power  # A Cholesky factor scales by the root of it.
    settings_ = {"factors": 3, "iterations": 3, "dtype": dtype, "random_state": 0, "solver": "cholesky"}
    plain = WeightedALS(regularization=0.5, **settings_).fit(stored(R))
    scaled = WeightedALS(regularization=0.5 * scale, **settings_).fit(stored(R), weights=np.full(stored(R).nnz, scale))
    assert same_bits(plain.user_factors_, scaled.user_factors_)
    assert same_bits(plain.item_factors_, scaled.item_factors_)


def test_implicit_without_alpha_sees_no_values():
    R = example(8)
    positive = np.where(np.isnan(R), np.nan, np.abs(R) + 1.0)
    ones = np.where(np.isnan(R), np.nan, 1.0)
    assert same_model(fitted(R=positive, alpha=0.0), fitted(R=ones, alpha=0.0))


def test_plain_weights_are_no_weights():
    R = example(9)
    ones = np.ones(R.shape[1])
    plain = fitted(WeightedALS, R)
    assert same_model(plain, fitted(WeightedALS, R, item_weights=ones))
    assert same_model(plain, fitted(WeightedALS, R, item_weights=np.ones_like))
    assert same_model(plain, WeightedALS(**SMALL).fit(stored(R), weights=np.ones(stored(R).nnz)))


@every_case
def test_rows_without_cells_are_zero(case: Case):
    R = example(10)
    R[[0, 7, -1]] = np.nan
    R[:, [2, -1]] = np.nan
    model, _, extra = case.build(R, **SMALL)
    X, Y = sides(model.fit(stored(R), **extra))
    assert not X[[0, 7, -1]].any()
    assert not Y[[2, -1]].any()


@every_model
def test_the_same_seed_gives_the_same_bits(cls):
    assert same_model(fitted(cls, random_state=5), fitted(cls, random_state=np.int64(5)))
    assert same_model(fitted(cls, random_state=5), fitted(cls, random_state=np.random.default_rng(5)))
    assert not same_model(fitted(cls, random_state=5), fitted(cls, random_state=6))


def test_every_kind_of_random_state_is_accepted():
    for make in (np.random.default_rng, np.random.RandomState, np.random.SeedSequence):
        assert same_model(fitted(random_state=make(5)), fitted(random_state=make(5)))
    assert fitted(random_state=None).n_iter_ == 2


def test_a_fit_draws_nothing_from_numpys_global_generator():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - the state that must stay
    fitted(random_state=None)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


# Every form of the same input.


def forms(R: np.ndarray) -> dict[str, object]:
    cells = stored(R, "float32")
    rows, columns = cells.nonzero() if cells.data.all() else np.nonzero(~np.isnan(R))
    int32, int64, unsorted = cells.copy(), cells.copy(), cells.copy()
    int32.indptr, int32.indices = cells.indptr.astype(np.int32), cells.indices.astype(np.int32)
    int64.indptr, int64.indices = cells.indptr.astype(np.int64), cells.indices.astype(np.int64)
    mixed = int64.copy()
    mixed.indices = cells.indices.astype(np.int32)
    reverse = np.lexsort((-columns, rows))
    unsorted = sparse.csr_array((cells.data[reverse], cells.indices[reverse], cells.indptr), shape=R.shape)
    shuffled = np.random.default_rng(0).permutation(cells.nnz)
    twice = sparse.coo_array((np.tile(cells.data / 2, 2), (np.tile(rows, 2), np.tile(columns, 2))), shape=R.shape)
    strided = sparse.csr_array(R.shape, dtype=np.float32)
    strided.data, strided.indices, strided.indptr = (
        np.repeat(array, 2)[::2] for array in (cells.data, int32.indices, int64.indptr)
    )
    return {
        "csr, int32": int32,
        "csr, int64": int64,
        "csr, mixed": mixed,
        "csr, unsorted": unsorted,
        "csr, strided": strided,
        "csr_matrix": sparse.csr_matrix(cells),
        "csc": cells.tocsc(),
        "csc_matrix": sparse.csc_matrix(cells),
        "coo": sparse.coo_array((cells.data[shuffled], (rows[shuffled], columns[shuffled])), shape=R.shape),
        "duplicates": twice,
        "bsr": sparse.bsr_array(cells, blocksize=(1, 1)),
        "lil": sparse.lil_array(cells),
        "dok": sparse.dok_array(cells),
        "float64": cells.astype(np.float64),
        "float16": sparse.csr_array((cells.data.astype(np.float16), cells.indices, cells.indptr), shape=R.shape),
        "triplets": list(zip(rows.tolist(), columns.tolist(), cells.data.tolist(), strict=True)),
        "Interactions": Interactions(cells),
        "Interactions, float64": Interactions(cells, "float64"),
        "dense, NaN": R,
        "dense, Fortran order": np.asfortranarray(R),
        "lists, NaN": R.tolist(),
    }


@pytest.mark.parametrize("form", forms(example()))
@every_model
def test_any_form_gives_the_same_bits(cls, form):
    R = example(11)
    # The last user and the last item must be there: triplets do not tell a shape. A halved value must be exact.
    R[-1, -1] = 1.0
    R[R == 0] = 2.0  # LIL, DOK and dense input of ImplicitALS do not keep a stored 0.
    given_ = forms(R)[form]
    if cls is ImplicitALS and isinstance(given_, (np.ndarray, list)) and form != "triplets":
        given_ = np.nan_to_num(R) if isinstance(given_, np.ndarray) else np.nan_to_num(R).tolist()
    settings_ = {"factors": 3, "iterations": 2, "random_state": 0}
    wanted = cls(**settings_).fit(stored(R, "float32"))
    assert same_model(cls(**settings_).fit(given_), wanted)
    assert same_bits(wanted.fold_in_users(given_), wanted.fold_in_users(stored(R)))
    assert wanted.loss(given_) == wanted.loss(stored(R))


def test_bool_and_integers_are_numbers():
    R = np.where(np.isnan(example(12)), 0, 1)
    wanted = fitted(R=np.where(R, 1.0, np.nan))
    for dtype in (bool, np.int8, np.uint16, np.int64):
        assert same_model(ImplicitALS(**SMALL).fit(sparse.csr_array(R.astype(dtype))), wanted)
        assert same_model(ImplicitALS(**SMALL).fit(R.astype(dtype)), wanted)
    for dtype in (np.float16, *(np.dtype(kind).newbyteorder() for kind in (np.float64, np.float32, np.int32))):
        cells = sparse.coo_array(R)
        cells.data = cells.data.astype(dtype)
        assert same_model(ImplicitALS(**SMALL).fit(R.astype(dtype)), wanted)
        assert same_model(ImplicitALS(**SMALL).fit(cells), wanted)


def test_zeros_and_signs():
    zero, missing = np.array([[1.0, 0.0], [2.0, 3.0]]), np.array([[1.0, np.nan], [2.0, 3.0]])
    assert same_model(fitted(R=zero), fitted(R=missing))
    for cls in (ExplicitALS, WeightedALS):
        assert not same_model(fitted(cls, R=zero), fitted(cls, R=missing))
    # Disliked: weighs as much, wants 0.
    liked, disliked = np.array([[1.0, 5.0], [1.0, np.nan]]), np.array([[1.0, -5.0], [1.0, np.nan]])
    assert fitted(R=liked).predict(0, 1) > 0.5 > fitted(R=disliked).predict(0, 1)


@pytest.mark.parametrize("form", ["dense", "1-D", "csc", "csr, unsorted", "lists"])
def test_every_form_of_cell_weights(form):
    R = example(13)
    weights = np.random.default_rng(0).choice([0.0, 0.5, 2.0], R.shape)
    wanted = WeightedALS(**SMALL).fit(stored(R), weights=weights_of(R, weights))
    places = ~np.isnan(R)
    reverse = np.lexsort((-np.nonzero(places)[1], np.nonzero(places)[0]))
    cells, theirs = stored(R), weights_of(R, weights)
    R_given, weights_given = {
        "dense": (R, np.where(places, weights, np.nan)),
        "1-D": (cells, weights[places]),
        "csc": (cells.tocsc(), theirs.tocsc()),
        "csr, unsorted": (
            sparse.csr_array((cells.data[reverse], cells.indices[reverse], cells.indptr), shape=R.shape),
            weights[places][reverse],
        ),
        "lists": (R.tolist(), weights.tolist()),
    }[form]
    model = WeightedALS(**SMALL).fit(R_given, weights=weights_given)
    assert same_model(model, wanted)
    assert model.loss(R_given, weights=weights_given) == wanted.loss(stored(R), weights=weights_of(R, weights))


def test_weights_in_interactions_count():
    R = example(14)
    weights = np.random.default_rng(0).choice([0.5, 2.0], stored(R).nnz)
    wanted = WeightedALS(**SMALL).fit(stored(R), weights=weights)
    for dtype in ("float32", "float64"):
        assert same_model(WeightedALS(**SMALL).fit(Interactions(stored(R), dtype, weights=weights)), wanted)
        # One weight for all is kept as one number, and is still a weight.
        twos = Interactions(stored(R), dtype, weights=np.full(stored(R).nnz, 2.0))
        assert not same_model(WeightedALS(**SMALL).fit(twos), WeightedALS(**SMALL).fit(stored(R)))


@every_model
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_input_is_not_modified(cls, dtype):
    canonical = stored(example(), dtype)
    unsorted = canonical[:, ::-1]
    assert not unsorted.has_sorted_indices
    parts = {"csr": ("data", "indices", "indptr"), "csc": ("data", "indices", "indptr"), "coo": ("data", "row", "col")}
    for cells in (canonical, unsorted, canonical.tocsc(), canonical.tocoo()):
        given_ = cells.copy()
        model = cls(factors=3, iterations=2, dtype=dtype).fit(given_)
        model.fold_in_users(given_)
        model.fold_in_items(given_)
        model.loss(given_)
        for part in parts[cells.format]:
            assert same_bits(getattr(given_, part), getattr(cells, part))
    dense = np.nan_to_num(example()).astype(dtype)
    given_ = dense.copy()
    cls(factors=3, iterations=1, dtype=dtype).fit(given_)
    assert same_bits(given_, dense)


def test_read_only_input_is_as_good():
    """Memory maps and arrays that joblib shares are read-only."""
    given_ = stored(example(), "float32")
    wanted = fitted(dtype="float32", R=example())
    for part in ("data", "indices", "indptr"):
        getattr(given_, part).flags.writeable = False
    assert same_model(ImplicitALS(**(SMALL | {"dtype": "float32"})).fit(given_), wanted)


# The loop: callback, tol, history.


@every_model
def test_callback_sees_a_fitted_model_each_iteration(cls):
    seen = []

    def callback(iteration, model):
        assert model.n_iter_ == iteration + 1 == len(model.loss_history_)
        assert model.recommend([0], n=2)[0].shape == (1, 2)
        assert np.isfinite(model.predict(0, 0)).all()
        assert model.fold_in_users(stored(example())).shape[0] == 30
        seen.append((iteration, model.loss_history_[-1], model.loss(stored(example()))))

    with_callback = cls(**(SMALL | {"iterations": 4})).fit(stored(example()), callback=callback)
    assert [iteration for iteration, _, _ in seen] == [0, 1, 2, 3]
    reference = _reference(cls) if cls is not ExplicitALS else CASES["explicit"].reference()
    tolerance = loss_tolerance(reference, example(), *sides(with_callback), "float64") * 8
    assert all(abs(told - computed) <= tolerance for _, told, computed in seen)
    # Looking on changes nothing.
    assert same_model(with_callback, fitted(cls, iterations=4))


def test_callback_ends_the_fit():
    calls = []
    model = ImplicitALS(**(SMALL | {"iterations": 9}))
    model.fit(stored(example()), callback=lambda iteration, _: calls.append(iteration) or iteration == 2)
    assert calls == [0, 1, 2]
    assert same_model(model, fitted(iterations=3))


def test_exception_in_a_callback_leaves_what_was_fitted():
    model = fitted()
    before = copy.deepcopy(model)

    def fail(iteration, _):
        if iteration == 1:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        model.set_params(factors=5).fit(stored(example(1)), callback=fail)
    assert same_model(model, before)
    assert same_bits(model.fold_in_users(stored(example())), before.fold_in_users(stored(example())))
    assert np.array_equal(model.recommend([1, 2])[0], before.recommend([1, 2])[0])
    unfitted = ImplicitALS(**SMALL)
    with pytest.raises(RuntimeError, match="enough"):
        unfitted.fit(stored(example()), callback=fail)
    assert not hasattr(unfitted, "user_factors_")


def test_tol_ends_the_fit_where_the_loss_hardly_falls():
    long = fitted(iterations=30)
    falls = [(a - b) / a for a, b in pairwise(long.loss_history_)]
    tol = 0.01
    wanted = next(i for i, fall in enumerate(falls) if fall <= tol) + 2
    model = fitted(iterations=30, tol=tol)
    assert model.n_iter_ == wanted < 30
    assert same_model(model, fitted(iterations=wanted))


@every_model
def test_no_iterations_solve_the_users_for_the_start(cls):
    model = fitted(cls, iterations=0)
    assert model.n_iter_ == 0 == len(model.loss_history_)
    wanted, bounds, _ = half_step(_reference(cls), example(), sides(model)[1], "user", "float64")
    assert_rows_close(sides(model)[0], wanted, bounds)


def test_fitting_again_starts_anew():
    model = fitted()
    assert same_model(model.fit(stored(example())), fitted())
    assert model.fit(stored(example(1, (5, 4)))).user_factors_.shape == (5, 3)


def test_fitting_again_without_biases_leaves_none():
    model, wanted = fitted(ExplicitALS), fitted(ExplicitALS, biases=False)
    before = model.predict([0, 1], [1, 2])
    model.set_params(biases=False)
    with pytest.raises(RuntimeError, match="enough"):
        model.fit(GOOD, callback=_fail)
    assert same_bits(model.predict([0, 1], [1, 2]), before)
    model.fit(GOOD)
    assert [name for name in vars(model) if name in ("user_biases_", "item_biases_", "global_mean_")] == []
    assert same_bits(model.predict([0, 1], [1, 2]), wanted.predict([0, 1], [1, 2]))
    assert same_bits(model.fold_in_users(GOOD), wanted.fold_in_users(GOOD))


def _fail(iteration, model):
    raise RuntimeError("enough")


def test_fit_returns_the_model_with_arrays_of_the_dtype():
    for dtype in ("float32", "float64", np.float32, np.dtype("float64"), float):
        model = ExplicitALS(factors=3, iterations=1, dtype=dtype)
        assert model.fit(stored(example())) is model
        arrays = model.user_factors_, model.item_factors_, model.user_biases_, model.item_biases_
        assert {array.dtype for array in arrays} == {np.dtype(dtype)}
        assert model.predict([0, 1], [1, 2]).dtype == np.dtype(dtype)
        assert isinstance(model.global_mean_, float)


# Parameters.


def clone(model):
    """Do what scikit-learn's clone does, with its check that a constructor only stores its arguments."""
    params = {name: copy.deepcopy(value) for name, value in model.get_params(deep=False).items()}
    new = type(model)(**params)
    for name, value in new.get_params(deep=False).items():
        assert value is params[name], f"the constructor changes {name}"
    return new


@every_model
def test_clone_keeps_parameters_and_drops_the_fit(cls):
    model = fitted(cls, regularization=(0.1, 0.2), n_threads=1)
    twin = clone(model)
    assert twin.get_params() == model.get_params()
    assert not hasattr(twin, "user_factors_")
    assert same_model(twin.fit(stored(example())), model)


def test_clone_keeps_weights():
    weights = np.ones(20)
    assert clone(WeightedALS(item_weights=fastals.LinearWeights(1.0, 2.0))).item_weights == fastals.LinearWeights(1, 2)
    assert np.array_equal(clone(WeightedALS(item_weights=weights)).item_weights, weights)


@every_model
def test_set_params_sets_all_or_nothing(cls):
    model = cls()
    assert model.set_params(factors=7, tol=0.5) is model
    assert (model.factors, model.tol) == (7, 0.5)
    with pytest.raises(ValueError, match=rf"^{cls.__name__} has no parameter 'factor'; it has factors, regularization"):
        model.set_params(factors=9, factor=8)
    assert model.factors == 7


def test_repr_shows_what_differs_from_the_defaults():
    assert repr(ImplicitALS()) == "ImplicitALS()"
    assert repr(ImplicitALS(factors=3, alpha=10.0)) == "ImplicitALS(factors=3, alpha=10.0)"
    weighted = WeightedALS(item_weights=fastals.LinearWeights(), random_state=1)
    assert repr(weighted) == "WeightedALS(item_weights=LinearWeights(w0=0.1, wk=1.0), random_state=1)"
    assert repr(WeightedALS(item_weights=np.ones(2))) == "WeightedALS(item_weights=array([1., 1.]))"


@every_model
def test_constructor_checks_nothing_and_fit_checks_all(cls):
    model = cls(factors=0)
    with pytest.raises(ValueError, match=r"^factors must be at least 1, got 0$"):
        model.fit(stored(example()))


@every_model
def test_scikit_learn_clones_searches_and_shows(cls):
    pytest.importorskip("sklearn", minversion="1.6")
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline

    model = cls(**SMALL)
    assert clone(fitted(cls)).get_params() == model.get_params()
    search = GridSearchCV(model, {"factors": [1, 2]}, scoring=lambda model, R: -model.fit(R).loss(R), cv=2)
    assert search.fit(GOOD).best_params_["factors"] in (1, 2)
    assert cls.__name__ in make_pipeline(model)._repr_html_()


# Several threads, several processes.


def test_two_threads_use_one_model():
    cells = stored(example(1, (200, 50)), "float32")
    model = ImplicitALS(factors=8, iterations=2, random_state=0, n_threads=2).fit(cells)
    wanted = model.recommend(range(200)), model.fold_in_users(cells), model.fold_in_items(cells)
    for side in (model._fitted.users, model._fitted.items):
        side._derived.clear()  # Both threads make it anew.
    failures, gate = [], threading.Barrier(2)

    def use():
        gate.wait()
        try:
            for _ in range(20):
                ids, scores = model.recommend(range(200))
                assert np.array_equal(ids, wanted[0][0])
                assert same_bits(scores, wanted[0][1])
                assert same_bits(model.fold_in_users(cells), wanted[1])
                assert same_bits(model.fold_in_items(cells), wanted[2])
                assert same_model(ImplicitALS(**model.get_params()).fit(cells), model)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


FORKING = """
import os, sys
import numpy as np
from scipy import sparse
import fastals
R = sparse.csr_array(np.random.default_rng(0).integers(0, 2, (50, 20)).astype(np.float32))
def use():
    model = fastals.ImplicitALS(factors=4, iterations=2, n_threads=2, random_state=0).fit(R)
    return model.recommend(range(50))[1].tobytes()
parents = use()
child = os.fork()
if child == 0:
    os._exit(0 if use() == parents else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_can_fit_and_recommend():
    done = subprocess.run([sys.executable, "-c", FORKING], cwd=Path(__file__).parent.parent, timeout=60)
    assert done.returncode == 0


# Bad input: each sentence, before any work, with nothing fitted lost.


def refused(match: str, error: type[Exception], model, *args, method: str = "fit", **kwargs) -> None:
    before = model.__getstate__()
    with pytest.raises(error, match=f"^{match}$"):
        getattr(model, method)(*args, **kwargs)
    assert model.__getstate__() == before


GOOD = stored(example())
INTEGER, NUMBER = r"must be an integer, got {} of type {}", r"must be a number, got {} of type {}"


@pytest.mark.parametrize(
    ("cls", "params", "error", "sentence"),
    [
        (ImplicitALS, {"factors": 0}, ValueError, "factors must be at least 1, got 0"),
        (ImplicitALS, {"factors": -3}, ValueError, "factors must be at least 1, got -3"),
        (ImplicitALS, {"factors": 2.0}, TypeError, "factors must be an integer, got 2.0 of type float"),
        (ImplicitALS, {"factors": True}, TypeError, "factors must be an integer, got True of type bool"),
        (ImplicitALS, {"factors": "8"}, TypeError, "factors must be an integer, got '8' of type str"),
        (ImplicitALS, {"iterations": -1}, ValueError, "iterations must be at least 0, got -1"),
        (ImplicitALS, {"iterations": None}, TypeError, "iterations must be an integer, got None of type NoneType"),
        (ImplicitALS, {"regularization": -0.1}, ValueError, "regularization must be at least 0, got -0.1"),
        (ImplicitALS, {"regularization": np.nan}, ValueError, "regularization must be finite, got nan"),
        (ImplicitALS, {"regularization": True}, TypeError, "regularization must be a number, got True of type bool"),
        (
            ImplicitALS,
            {"regularization": (1, 2, 3)},
            ValueError,
            r"regularization must be a number or \(user, item\), got 3 numbers: \(1, 2, 3\)",
        ),
        (ImplicitALS, {"regularization": (1, -2)}, ValueError, r"regularization\[1\] must be at least 0, got -2"),
        (
            ImplicitALS,
            {"regularization": ("a", 1)},
            TypeError,
            r"regularization\[0\] must be a number, got 'a' of type str",
        ),
        (ImplicitALS, {"alpha": -1}, ValueError, "alpha must be at least 0, got -1"),
        (ImplicitALS, {"alpha": np.inf}, ValueError, "alpha must be finite, got inf"),
        (ImplicitALS, {"unobserved_weight": -1}, ValueError, "unobserved_weight must be at least 0, got -1"),
        (
            ImplicitALS,
            {"popularity_exponent": "1"},
            TypeError,
            "popularity_exponent must be a number, got '1' of type str",
        ),
        (
            ImplicitALS,
            {"regularization_exponent": -1},
            ValueError,
            "regularization_exponent must be at least 0, got -1",
        ),
        (
            ImplicitALS,
            {"solver": "lu"},
            ValueError,
            "solver must be one of 'auto', 'cholesky', 'cg', 'plain', got 'lu'",
        ),
        (
            ImplicitALS,
            {"solver": None},
            ValueError,
            "solver must be one of 'auto', 'cholesky', 'cg', 'plain', got None",
        ),
        (ImplicitALS, {"dtype": "float16"}, ValueError, "dtype must be 'float32' or 'float64', got 'float16'"),
        (ImplicitALS, {"dtype": int}, ValueError, "dtype must be 'float32' or 'float64', got <class 'int'>"),
        (ImplicitALS, {"dtype": None}, ValueError, "dtype must be 'float32' or 'float64', got None"),
        (ImplicitALS, {"dtype": "fp32"}, ValueError, "dtype must be 'float32' or 'float64', got 'fp32'"),
        (ImplicitALS, {"tol": -1.0}, ValueError, "tol must be at least 0, got -1.0"),
        (ImplicitALS, {"n_threads": 0}, ValueError, "n_threads must be at least 1, got 0"),
        (ImplicitALS, {"n_threads": 1.5}, TypeError, "n_threads must be an integer, got 1.5 of type float"),
        (ImplicitALS, {"random_state": -1}, ValueError, "random_state must be at least 0, got -1"),
        (
            ImplicitALS,
            {"random_state": "7"},
            TypeError,
            "random_state must be an int, a numpy.random.Generator, RandomState or SeedSequence, or None, "
            "got '7' of type str",
        ),
        (ExplicitALS, {"biases": 1}, TypeError, "biases must be True or False, got 1 of type int"),
        (
            WeightedALS,
            {"item_weights": np.ones(3)},
            ValueError,
            r"item_weights must give one weight for each of the 20 items, shape \(20,\), got shape \(3,\)",
        ),
        (
            WeightedALS,
            {"item_weights": lambda counts: 1.0},
            ValueError,
            r"item_weights must give one weight for each of the 20 items, shape \(20,\), got shape \(\)",
        ),
        (WeightedALS, {"item_weights": ["a"] * 20}, TypeError, "item_weights must be numbers, got dtype <U1"),
        (
            WeightedALS,
            {"item_weights": -np.ones(20)},
            ValueError,
            r"item_weights must be finite and at least 0: item 0 with \d+ cells got -1.0",
        ),
        (
            WeightedALS,
            {"item_weights": np.where(np.arange(20) == 4, np.nan, 1.0)},
            ValueError,
            r"item_weights must be finite and at least 0: item 4 with \d+ cells got nan",
        ),
        (
            ImplicitALS,
            {"alpha": 1e300, "dtype": "float32"},
            ValueError,
            "alpha, regularization or a weight is too large for float32; use smaller ones or dtype='float64'",
        ),
    ],
)
def test_wrong_parameters(cls, params, error, sentence):
    model = fitted(cls, R=example())
    refused(sentence, error, model.set_params(**params), GOOD)


def test_an_unknown_parameter():
    with pytest.raises(TypeError, match="unexpected keyword argument 'factor'"):
        ImplicitALS(factor=3)


def with_cell(value, dtype=np.float64) -> sparse.csr_array:
    R = example().astype(dtype)
    R[3, 5] = value
    return stored(R, dtype)


@pytest.mark.parametrize(
    ("R", "error", "sentence"),
    [
        (
            with_cell(np.inf),
            ValueError,
            r"R is not finite in 1 of \d+ cells, the first at row 3, column 5: inf; drop or mend these cells first",
        ),
        (
            np.where(np.arange(20) == 4, np.nan, np.ones((2, 1))),
            ValueError,
            r"R is not finite in 2 of 40 cells, the first at row 0, column 4: nan; drop or mend these cells first",
        ),
        (sparse.csr_array((0, 5)), ValueError, r"R has shape \(0, 5\): at least one user and one item are wanted"),
        (np.zeros((5, 0)), ValueError, r"R has shape \(5, 0\): at least one user and one item are wanted"),
        (
            np.zeros((5, 4)),
            ValueError,
            r"R of shape \(5, 4\) has no entries to learn from: at least one is wanted",
        ),
        (np.ones(5), ValueError, r"R must have 2 dimensions, users x items, got shape \(5,\)"),
        (np.ones((2, 3, 4)), ValueError, r"R must have 2 dimensions, users x items, got shape \(2, 3, 4\)"),
        ([], ValueError, r"R must have 2 dimensions, users x items, got shape \(0,\)"),
        pytest.param(
            sparse.coo_array(np.ones(5)),
            ValueError,
            r"R must have 2 dimensions, users x items, got shape \(5,\)",
            marks=pytest.mark.skipif(sparse.coo_array(np.ones(5)).ndim == 2, reason="SciPy before 1.13: one row"),
        ),
        (
            np.array([["a", "b"]]),
            TypeError,
            "R must hold real numbers, got dtype <U1; convert its values first",
        ),
        (
            np.ones((2, 2), complex),
            TypeError,
            "R must hold real numbers, got dtype complex128; convert its values first",
        ),
        (
            sparse.csr_array(np.ones((2, 2), complex)),
            TypeError,
            "R must hold real numbers, got dtype complex128; convert its values first",
        ),
        (
            np.array([[None, 1]]),
            TypeError,
            "R must hold real numbers, got dtype object; convert its values first",
        ),
        ([[1, 2], [3]], ValueError, r"R must be an array of numbers: its rows differ in length \(.*\)"),
        (
            "ratings.csv",
            TypeError,
            r"R must be a SciPy sparse matrix, a 2-D array, a table or Interactions, got the string 'ratings.csv'; "
            r"read the file first: fastals.datasets.read_ratings\('ratings.csv'\), "
            r"or a table by pandas, polars or Arrow, "
            r"passed with user=... and item=...",
        ),
        ([(0, -1, 1.0)], ValueError, r"R\[0\]: the item must be at least 0, got -1"),
        ([(0, 1, 1.0), (0.5, 1, 1.0)], TypeError, r"R\[1\]: the user must be an integer, got 0.5"),
        ([(0, 1, "5")], TypeError, r"R\[0\]: the value must be a number, got '5'"),
        (
            [(2**40, 1, 1.0)],
            ValueError,
            r"R\[0\]: the user must be below 2147483647, got 1099511627776; .* from 0, without gaps",
        ),
        (
            np.ma.masked_less(np.ones((2, 2)), 0),
            TypeError,
            r"R is a masked array, whose mask would be lost; pass R.filled\(0\), or R.filled\(nan\) .*",
        ),
    ],
)
def test_wrong_matrices(R, error, sentence):
    refused(sentence, error, fitted(), R)


def test_cells_too_large_for_the_dtype():
    sentence = (
        r"R is too large for float32 in 1 of \d+ cells, the first at row 3, column 5: 1e\+39; "
        "rescale, or use dtype='float64'"
    )
    refused(sentence, ValueError, fitted(dtype="float32"), with_cell(1e39))
    assert Interactions(with_cell(1e39), "float64").csr[3, 5] == 1e39


@pytest.mark.parametrize(
    ("weights", "error", "sentence"),
    [
        (np.ones(3), ValueError, r"weights must have one number for each stored cell of R, shape .*, got shape \(3,\)"),
        (
            sparse.csr_array((30, 19)),
            ValueError,
            r"weights has shape \(30, 19\), R has \(30, 20\): they must be equal",
        ),
        (
            sparse.csr_array(np.ones((30, 20))),
            ValueError,
            r"weights must store exactly the cells of R: it has 600 cells, R has \d+",
        ),
        (
            sparse.csr_array((np.ones(GOOD.nnz), (GOOD.indices + 1) % 20, GOOD.indptr), shape=(30, 20)),
            ValueError,
            r"weights must store exactly the cells of R: it has \d+ cells, R has \d+ in other places",
        ),
        (
            np.where(np.arange(GOOD.nnz) == 0, -1.0, 1.0),
            ValueError,
            r"weights is not finite or below 0 in 1 of \d+ cells, the first at row 0, column \d+: -1.0; drop .*",
        ),
        (
            np.where(np.arange(GOOD.nnz) == 0, np.nan, 1.0),
            ValueError,
            r"weights is not finite or below 0 in 1 of \d+ cells, the first at row 0, column \d+: nan; drop .*",
        ),
        (np.full(GOOD.nnz, "a"), TypeError, "weights must hold real numbers, got dtype <U1; convert its values first"),
        (
            GOOD.astype(complex),
            TypeError,
            "weights must hold real numbers, got dtype complex128; convert its values first",
        ),
        ([[1, 2], [3]], ValueError, r"weights must be an array of numbers: its rows differ in length \(.*\)"),
    ],
)
def test_wrong_cell_weights(weights, error, sentence):
    refused(sentence, error, fitted(WeightedALS), GOOD, weights=weights)


def test_cell_weights_whose_order_is_not_known():
    sentence = (
        "weights is an array and R is neither CSR nor dense, so the order of its cells is not kept: "
        "pass R as CSR or weights as a sparse matrix"
    )
    for R in (GOOD.tocoo(), GOOD.tocsc(), [(0, 1, 1.0), (0, 0, 1.0)]):
        refused(sentence, ValueError, fitted(WeightedALS), R, weights=np.ones(2 if isinstance(R, list) else R.nnz))


def test_cell_weights_on_duplicates():
    R = sparse.csr_array((np.ones(3), [1, 0, 1], [0, 0, 3]), shape=(2, 2))
    sentence = (
        "R holds row 1, column 1 more than once, and weights are given: a sum has no one weight; merge duplicates first"
    )
    refused(sentence, ValueError, fitted(WeightedALS), R, weights=np.ones(3))


@pytest.mark.parametrize("form", ["COO", "triplets", "COO weights"])
def test_cell_weights_on_duplicates_that_scipy_would_sum(form):
    once = sparse.csr_array((np.ones(2), [1, 0], [0, 0, 2]), shape=(2, 2))
    twice = sparse.coo_array((np.ones(3), ([1, 1, 1], [1, 0, 1])), shape=(2, 2))
    R, weights = {
        "COO": (twice, once),
        "triplets": ([(1, 1, 1.0), (1, 0, 1.0), (1, 1, 2.0)], once),
        "COO weights": (once, twice),
    }[form]
    name = "weights" if form == "COO weights" else "R"
    sentence = (
        f"{name} holds row 1, column 1 more than once, and weights are given: a sum has no one weight; "
        "merge duplicates first"
    )
    refused(sentence, ValueError, fitted(WeightedALS), R, weights=weights)


def test_cell_weights_too_large_for_the_dtype():
    sentence = r"weights is too large for float32 in (\d+) of \1 cells, the first at .*: 1e\+39; rescale, or .*"
    refused(sentence, ValueError, fitted(WeightedALS, dtype="float32"), GOOD, weights=np.full(GOOD.nnz, 1e39))


@every_model
def test_fold_in_of_the_wrong_width(cls):
    model = fitted(cls, R=example())
    columns = r"R has shape \(4, 7\): columns are items and the model has 20 of them, got 7; .*"
    turned = r"R has shape \(20, 4\): columns are items and the model has 20 of them, got 4 \(is it transposed\?\); .*"
    rows = r"R has shape \(20, 30\): rows are users and the model has 30 of them, got 20 \(is it transposed\?\); .*"
    refused(columns, ValueError, model, np.ones((4, 7)), method="fold_in_users")
    refused(turned, ValueError, model, np.ones((20, 4)), method="fold_in_users")
    refused(rows, ValueError, model, stored(example()).T, method="fold_in_items")
    refused(rows, ValueError, model, stored(example()).T, method="loss")


def test_triplets_are_as_wide_as_the_model():
    model = fitted()
    assert same_bits(model.fold_in_users([(0, 3, 1.0)]), model.fold_in_users(np.eye(1, 20, 3)))
    assert same_bits(model.fold_in_items([(3, 0, 1.0)]), model.fold_in_items(np.eye(30, 1, -3)))
    sentence = r"R\[0\]: the model has 20 items, numbered from 0, got 20"
    refused(sentence, ValueError, model, [(0, 20, 1.0)], method="fold_in_users")


def test_new_items_of_unknown_weight():
    sentence = (
        "item_weights is an array of the training items' weights: what new items weigh is not known; "
        r"fit with a function counts -> weights to fold items in"
    )
    model = fitted(WeightedALS, item_weights=np.ones(20))
    refused(sentence, ValueError, model, np.ones((30, 1)), method="fold_in_items")


@pytest.mark.parametrize(
    ("users", "items", "error", "sentence"),
    [
        (30, 0, ValueError, r"users\[0\] is 30: ids run from 0 to 29"),
        (0, [0, -1], ValueError, r"items\[1\] is -1: ids run from 0 to 19 \(1 of 2 are out of range\)"),
        ([0, 1], [0, 1, 2], ValueError, "users and items must be of equal length, got 2 and 3"),
        ("alice", 0, TypeError, r"users must be integers, got <U5 \(the first is 'alice'\)"),
        (0.5, 0, TypeError, r"users must be integers, got float64 \(the first is 0.5\)"),
        (True, 0, TypeError, r"users must be integers, got bool \(the first is True\)"),
        ([[0]], 0, ValueError, r"users must be one id or a 1-D array of ids, got an array of shape \(1, 1\)"),
    ],
)
def test_wrong_ids(users, items, error, sentence):
    refused(sentence, error, fitted(), users, items, method="predict")


@pytest.mark.parametrize("n", [0, -1])
def test_wrong_n(n):
    refused(f"n must be at least 1, got {n}", ValueError, fitted(), 0, n, method="recommend")


def test_wrong_callback_and_progress():
    refused(r"callback must be callable \(iteration, model\), got int", TypeError, fitted(), GOOD, callback=1)
    refused("progress must be True or False, got 1 of type int", TypeError, fitted(), GOOD, progress=1)


@every_model
@pytest.mark.parametrize(
    "use",
    [
        lambda model: model.predict(0, 0),
        lambda model: model.recommend(0),
        lambda model: model.fold_in_users(GOOD),
        lambda model: model.fold_in_items(GOOD),
        lambda model: model.loss(GOOD),
        lambda model: model.save("nowhere"),
    ],
)
def test_unfitted_model(cls, use):
    with pytest.raises(NotFittedError, match=rf"^this {cls.__name__} is not fitted yet: call fit\(R\) first$"):
        use(cls())


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_without_a_unique_solution(seed, dtype):
    R = np.random.default_rng(seed).normal(size=(30, 40))
    R[3, 2:] = np.nan
    model = fitted(ExplicitALS)
    before = model.user_factors_
    failing = model.set_params(factors=5, regularization=0, biases=False, dtype=dtype, random_state=seed)
    with pytest.raises(
        np.linalg.LinAlgError,
        match=f"^user 3 with 2 interactions cannot be solved in {dtype}: its equations are not positive definite; "
        "raise regularization, or rescale the values",
    ):
        failing.fit(R)
    assert model.user_factors_ is before


def test_a_solution_beyond_the_dtype():
    R = example()
    R[3, 5] = 3e38
    model = fitted(WeightedALS, dtype="float32")
    sentence = (
        r"(user|item) \d+ with \d+ interactions cannot be solved in float32: .*; raise .*, or use dtype='float64'"
    )
    refused(sentence, np.linalg.LinAlgError, model, stored(R))


@pytest.mark.parametrize("solver", ["auto", "cg", "cholesky"])
@pytest.mark.parametrize(("cls", "params", "scale"), [(ImplicitALS, {"alpha": 1e18}, 1), (WeightedALS, {}, 1e19)])
def test_numbers_that_overflow_are_an_error_with_any_solver(solver, cls, params, scale):
    background = {"unobserved_weight": 1.0} if cls is WeightedALS else {}
    model = cls(factors=16, iterations=3, solver=solver, random_state=0, **params, **background)
    sentence = (
        r"(user|item) \d+ with \d+ interactions cannot be solved in float32: .*; raise .*, or use dtype='float64'"
    )
    R = example(1, (60, 50), 0.3)
    refused(sentence, np.linalg.LinAlgError, model, stored(np.abs(R) * scale))


@pytest.mark.parametrize("power", [-44, 0, 40])
def test_conjugate_gradients_reach_their_residual_at_any_scale(power):
    """Of values and ridge: factors and residuals follow, and float32 has no numbers for the squares of those."""
    R = np.abs(example(3, (60, 50), 0.3)) * 2.0**power
    lam, a0 = 2.0**power, 0.125
    model = WeightedALS(8, lam, unobserved_weight=a0, solver="cg", random_state=0).fit(stored(R, "float32"))
    Y = model.item_factors_.astype(np.float64)
    for x, row in zip(model.user_factors_.astype(np.float64), R, strict=True):
        seen = ~np.isnan(row)
        w = np.where(seen, 1.0, a0)
        A = (Y.T * w) @ Y + lam * np.eye(8)
        exact = np.linalg.solve(A, Y[seen].T @ row[seen])
        assert (x - exact) @ A @ (x - exact) <= (2e-5) ** 2 * (exact @ A @ exact)


@pytest.mark.parametrize("solver", ["auto", "cg", "cholesky"])
def test_the_last_loss_is_that_of_the_model_where_weights_hardly_exceed_the_background(solver):
    R = stored(example(4, (120, 90), 0.2), "float32")
    model = ImplicitALS(48, alpha=1e-6, iterations=2, solver=solver, random_state=0).fit(R)
    np.testing.assert_allclose(model.loss_history_[-1], model.loss(R), rtol=1e-5)


def test_folding_in_checks_a_solver_set_since():
    model = fitted().set_params(solver="lu")
    with pytest.raises(ValueError, match=r"^solver must be one of 'auto', 'cholesky', 'cg', 'plain'"):
        model.fold_in_users(GOOD)


# Saving: the file itself is the matter of test_storage.


@every_case
def test_a_loaded_model_has_the_same_bits(case: Case, tmp_path):
    R = example()
    model, _, extra = case.build(R, **SMALL)
    cells = stored(R)
    model.fit(cells, **extra)
    model.save(tmp_path / "model")
    loaded = fastals.load(tmp_path / "model.npz")
    assert type(loaded) is type(model)
    assert same_model(loaded, model)
    assert loaded.loss(cells, **extra) == model.loss(cells, **extra)
    assert same_bits(loaded.fold_in_users(cells), model.fold_in_users(cells))
    assert same_bits(loaded.predict(range(20), range(20)), model.predict(range(20), range(20)))
    for ours, theirs in zip(loaded.recommend(range(30)), model.recommend(range(30)), strict=True):
        assert same_bits(ours, theirs)
    if not callable(model.get_params().get("item_weights")) or hasattr(model.item_weights, "__dataclass_fields__"):
        same = {name: np.array_equal(value, getattr(loaded, name)) for name, value in model.get_params().items()}
        assert all(same.values()), same


def test_every_dtype_and_random_state_can_be_saved(tmp_path):
    for dtype in ("float32", np.float32, np.dtype("float64"), float):
        fitted(dtype=dtype, random_state=np.random.default_rng(0)).save(tmp_path / "model.npz")
        loaded = fastals.load(tmp_path / "model.npz")
        assert np.dtype(loaded.dtype) == np.dtype(dtype)
        assert loaded.random_state is None
        assert loaded.fit(GOOD).item_factors_.dtype == np.dtype(dtype)


def saved_and_loaded(model, tmp_path):
    model.save(tmp_path / "model")
    return fastals.load(tmp_path / "model.npz")


PARAMETERS_SET_SINCE = [
    (ImplicitALS, {"regularization": (100.0, 20.0), "alpha": 20.0, "unobserved_weight": 0.1}),
    (ExplicitALS, {"regularization": 100.0, "biases": False}),
    (WeightedALS, {"regularization": 100.0, "item_weights": np.full(20, 3.0), "unobserved_weight": 1.0}),
]


@pytest.mark.parametrize(("cls", "since"), PARAMETERS_SET_SINCE)
def test_a_loaded_model_is_what_was_fitted_and_has_the_parameters_set_since(cls, since, tmp_path):
    model = fitted(cls)
    model.set_params(**since)
    loaded = saved_and_loaded(model, tmp_path)
    assert all(np.array_equal(getattr(loaded, name), value) for name, value in since.items())
    assert same_bits(loaded.fold_in_users(GOOD), model.fold_in_users(GOOD))
    assert same_bits(loaded.fold_in_items(GOOD), model.fold_in_items(GOOD))
    assert same_bits(loaded.predict([0, 1], [1, 2]), model.predict([0, 1], [1, 2]))
    assert loaded.loss(GOOD) == model.loss(GOOD)
    assert same_bits(loaded.fit(GOOD).item_factors_, model.fit(GOOD).item_factors_)


def with_header(path, change) -> None:
    """Write a model's file again with another header."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(arrays["header"].tobytes())
    change(header)
    np.savez(path, **(arrays | {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}))


@every_case
def test_files_that_hold_parameters_only_are_read(case: Case, tmp_path):
    model, _, extra = case.build(example(), **SMALL)
    model.fit(GOOD, **extra).save(tmp_path / "model")
    with_header(tmp_path / "model.npz", lambda header: header.pop("objective"))
    assert same_bits(fastals.load(tmp_path / "model.npz").fold_in_users(GOOD), model.fold_in_users(GOOD))


def test_a_damaged_objective_is_refused(tmp_path):
    # Shapes depend on it: with True for 5, kernels would read past the panels.
    for name, value in {"biases": 5, "unknown": 1.0}.items():
        fitted(ExplicitALS).save(tmp_path / "model")
        with_header(
            tmp_path / "model.npz", lambda header, name=name, value=value: header["objective"].update({name: value})
        )
        with pytest.raises(ValueError, match=rf"lacks a part of a fastals model .*{name}"):
            fastals.load(tmp_path / "model.npz")


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (ImplicitALS, {"regularization": (np.float32(0.1), np.longdouble(0.1)), "alpha": Fraction(1, 2)}),
        (ExplicitALS, {"factors": np.int64(2), "random_state": np.uint8(1), "biases": np.bool_(False)}),
        (WeightedALS, {"item_weights": fastals.LinearWeights(np.float32(0.1), np.int64(1)), "tol": np.float64(0.0)}),
        (WeightedALS, {"item_weights": [np.float32(0.1)] * 20}),
    ],
)
def test_every_kind_of_number_can_be_saved(cls, params, tmp_path):
    model = fitted(cls, **params)
    loaded = saved_and_loaded(model, tmp_path)
    assert same_bits(loaded.fold_in_users(GOOD), model.fold_in_users(GOOD))
    assert same_model(loaded.fit(GOOD), model)


class HalfWeights(fastals.LinearWeights):
    def __call__(self, counts):
        return super().__call__(counts) / 2


class Mine(ImplicitALS):
    """A subclass with parameters of its own."""

    def __init__(self, strength: float = 20.0):
        super().__init__(factors=3, alpha=strength, iterations=2, random_state=0)


def test_a_subclass_is_loaded_as_the_model_it_derives_from(tmp_path):
    model = Mine().fit(GOOD)
    loaded = saved_and_loaded(model, tmp_path)
    assert type(loaded) is ImplicitALS
    assert loaded.get_params() == ImplicitALS(factors=3, alpha=20.0, iterations=2, random_state=0).get_params()
    assert same_bits(loaded.fold_in_users(GOOD), model.fold_in_users(GOOD))
    weighted = fitted(WeightedALS, item_weights=HalfWeights())
    loaded = saved_and_loaded(weighted, tmp_path)
    assert np.array_equal(loaded.item_weights, weighted._fitted.statistics.weight)
    assert same_bits(loaded.fold_in_users(GOOD), weighted.fold_in_users(GOOD))


def test_a_model_saved_without_its_cells_says_so(tmp_path):
    model = fitted()
    model.save(tmp_path / "model", include_cells=False)
    loaded = fastals.load(tmp_path / "model.npz")
    sentence = (
        "this model was saved without its training interactions, so it does not know what users have: "
        "save it with include_cells=True, or pass exclude=R_rows, a sparse matrix with a row for each user asked for, "
        "or exclude_seen=False"
    )
    refused(sentence, ValueError, loaded, 0, method="recommend")
    rows = sparse.csr_array(np.nan_to_num(example()))
    lists = [row.indices.tolist() for row in rows]
    for exclude in (rows, lists, Interactions(rows)):
        assert same_bits(loaded.recommend(exclude=exclude)[1], model.recommend()[1])
    assert loaded.recommend(exclude_seen=False)[0].shape == model.recommend()[0].shape
    refused(sentence, ValueError, loaded, 0, method="recommend", exclude=[1])
    assert same_bits(loaded.predict(0, 1), model.predict(0, 1))


def test_damaged_arrays_are_refused_before_they_reach_a_kernel(tmp_path):
    fitted(ExplicitALS).save(tmp_path / "model")
    header, good = storage.read(tmp_path / "model.npz")
    for name, damaged in {
        "item_factors_": good["item_factors_"][:, :-1],
        "user_factors_": good["user_factors_"][0],
        "user_biases_": good["user_biases_"][:-1],
        "item_weight": good["item_weight"][:-1],
        "item_background": good["item_background"].astype(np.float32)[:-1],
        "seen_indptr": good["seen_indptr"] + 10**9,
        "seen_indices": good["seen_indices"][:-1],
        "seen_values": good["seen_values"][:-1],
        "seen_weights": good["seen_weights"].astype(np.int64),
    }.items():
        storage.write(tmp_path / "damaged.npz", header, good | {name: damaged})
        with pytest.raises(ValueError, match=f"damaged.npz is damaged: .*{name[5:]}.*; save the model again$"):
            fastals.load(tmp_path / "damaged.npz")
    beyond = good | {"seen_indices": good["seen_indices"] + np.int32(1)}
    storage.write(tmp_path / "damaged.npz", header, beyond)
    with pytest.raises(ValueError, match=r"damaged.npz is damaged: seen_indices has items beyond the model's 20"):
        fastals.load(tmp_path / "damaged.npz")
    del header["mean"]
    storage.write(tmp_path / "damaged.npz", header, good)
    with pytest.raises(ValueError, match=r"damaged.npz lacks a part of a fastals model \(KeyError\('mean'\)\)"):
        fastals.load(tmp_path / "damaged.npz")


def test_weights_zero_everywhere_is_the_ridge_alone():
    R = example()
    model = WeightedALS(**SMALL).fit(stored(R), weights=np.zeros(GOOD.nnz))
    assert not model.user_factors_.any()
    assert model.loss_history_[-1] == Weighted(weights=0.0).loss(R, *sides(model)) == 0.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_warmup_compiles_all_that_any_model_needs(dtype):
    warmup(dtype)
    of_sweep = (sweep._solve_blocks, sweep.solve_batches)
    kernels = (*of_sweep, loss._observed, loss._squares, basis._gram_bands, basis._rotate_blocks)
    before = [len(kernel.signatures) for kernel in kernels]
    assert 0 not in before
    R = example()
    for case in CASES.values():
        model, _, extra = case.build(R, factors=3, iterations=1, dtype=dtype)
        model.fit(stored(R), **extra)
        model.loss(stored(R), **extra)
        model.recommend([0, 1])
    WeightedALS(factors=256, iterations=2, unobserved_weight=0.5, dtype=dtype).fit(np.ones((2, 2000)))
    assert [len(kernel.signatures) for kernel in kernels] == before


def test_warmup_takes_a_dtype_that_exists():
    with pytest.raises(ValueError, match="dtype must be 'float32' or 'float64', got 'float16'"):
        warmup("float16")
