"""The three models against the float64 reference, their promises, their parameters; `warmup`."""

from __future__ import annotations

import copy
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastals
from fastals import ImplicitALS, WeightedALS, warmup
from fastals.engine import alternation, basis, loss, sweep, transposition
from fastals.engine.alternation import Alternation
from fastals.errors import SummedRatingsWarning
from fastals.evaluation import evaluate, evaluate_new_users, evaluate_ratings
from fastals.tuning import grid_search, optuna_space
from tests.helpers import (
    CASES,
    CLASSIC,
    GOOD,
    MODELS,
    SMALL,
    Case,
    assert_rows_close,
    dtypes,
    every_case,
    every_model,
    example,
    few,
    fitted,
    half_step,
    loss_tolerance,
    matrices,
    numbers_of_factors,
    reference_of,
    rounding,
    same_bits,
    same_model,
    sides,
    solvers,
    stored,
)
from tests.reference import Weighted

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
    monkeypatch.setattr(basis, "balance", lambda ours, theirs, _: (np.eye(len(ours)), np.eye(len(ours)), theirs))
    monkeypatch.setattr(alternation, "level", lambda *sides: None)
    starts, known = [], []

    def alternate(self, begin, *others):
        starts.append(self.model.X[:, : self.model.width].copy())
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
    model = fitted(cls, R, solver="cholesky", **CLASSIC.get(cls, {}))
    order = np.random.default_rng(0).permutation(R.shape[1])
    turned = copy.deepcopy(model)
    turned.item_factors_ = model.item_factors_[order]
    if hasattr(model, "item_biases_"):
        turned.item_biases_ = model.item_biases_[order]
    _, bounds, _ = half_step(reference_of(cls), R, sides(model)[1], "user", "float64")
    assert_rows_close(turned.fold_in_users(stored(R[:, order])), model.fold_in_users(stored(R)), 2 * bounds)


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


def test_weights_zero_everywhere_is_the_ridge_alone():
    R = example()
    model = WeightedALS(**SMALL).fit(stored(R), weights=np.zeros(GOOD.nnz))
    assert not model.user_factors_.any()
    assert model.loss_history_[-1] == Weighted(weights=0.0).loss(R, *sides(model)) == 0.0


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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_warmup_compiles_all_that_any_model_needs(dtype):
    warmup(dtype)
    of_sweep = (sweep._solve_blocks, sweep.solve_batches)
    kernels = (*of_sweep, loss._observed, loss._squares, basis._gram_bands, basis._rotate_blocks)
    kernels += (transposition._count, transposition._place)
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


TABLE = {"who": ["ann", "ann", "bob"], "film": ["Alien", "Heat", "Heat"], "stars": [4, 5, 3]}
NAMES = {"user": "who", "item": "film"}
LOWEST = SimpleNamespace(suggest_int=lambda _, low, *__, **___: low, suggest_float=lambda _, low, *__, **___: low)
NO_RATINGS = r"^value= is missing: ExplicitALS learns ratings; name their column\. {} has 'who', 'film', 'stars'$"


@pytest.mark.parametrize("given", [{}, {"value": None}, {"validation": 0.5}, {"validation": TABLE, "value": None}])
def test_ratings_in_a_table_without_their_column_are_refused(given):
    model = fastals.ExplicitALS(factors=2, random_state=0)
    model.fit(TABLE, **NAMES, value="stars", validation=TABLE, metric="rmse")
    before = model.user_factors_, model.validation_history_
    with pytest.raises(ValueError, match=NO_RATINGS.format("R")):
        model.fit(TABLE, **NAMES, **given)
    assert (model.user_factors_, model.validation_history_) == before
    fastals.ImplicitALS(factors=2).fit(TABLE, **NAMES)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("R", lambda model, R, **names: model.interactions(R, **names)),
        ("R", lambda model, R, **names: model.loss(R, **names)),
        ("R", lambda model, R, **names: model.score(R, **names)),
        ("R", lambda model, R, **names: model.refit(R, **names)),
        ("R_new", lambda model, R, **names: model.fold_in_users(R, **names)),
        ("R_new", lambda model, R, **names: model.fold_in_items(R, **names)),
        ("R_rows", lambda model, R, **names: model.partial_fit_users(["ann", "bob"], R, **names)),
        ("R_columns", lambda model, R, **names: model.partial_fit_items(["Alien", "Heat"], R, **names)),
        ("test", lambda model, R, **names: evaluate_ratings(model, R, **names)),
        ("test", lambda model, R, **names: evaluate_ratings(model, R, unknown="mean", **names)),
        ("train", lambda model, R, **names: grid_search(model, {"factors": [1]}, (R, R), "rmse", **names)),
        ("train", lambda model, R, **names: optuna_space(LOWEST, model, R, **names)),
    ],
)
def test_nor_does_any_other_method_take_ratings_of_one_for_them(name, call):
    model = fastals.ExplicitALS(factors=2, random_state=0).fit(TABLE, **NAMES, value="stars")
    with pytest.raises(ValueError, match=NO_RATINGS.format(name)):
        call(model, TABLE, **NAMES)
    call(model, TABLE, **NAMES, value="stars")


def test_new_users_are_not_folded_in_from_ratings_of_one():
    model = fastals.ExplicitALS(factors=2, random_state=0).fit(TABLE, **NAMES, value="stars")
    given, test = ({"who": ["eve"], "film": [film], "stars": [5]} for film in ("Alien", "Heat"))
    with pytest.raises(ValueError, match=NO_RATINGS.format("given")):
        evaluate_new_users(model, given, test, k=1, **NAMES)
    evaluate_new_users(model, given, test, k=1, **NAMES, value="stars")


def test_a_table_without_ratings_says_what_is_relevant_and_what_kinds_of_events_count():
    names = NAMES | {"event": "stars", "event_weights": {3: 0.0, 4: 1.0, 5: 1.0}}
    model = fastals.ExplicitALS(factors=2, random_state=0).fit(TABLE, **names)
    assert model.global_mean_ == pytest.approx(2 / 3)
    evaluate(model, {"who": ["bob"], "film": ["Alien"]}, k=1, **NAMES)  # which items are relevant, and no rating


def test_ratings_that_are_summed_are_told_to_whoever_calls_fit():
    twice = {"who": ["ann", "ann", "bob"], "film": ["Alien", "Alien", "Heat"], "stars": [4, 5, 3]}
    names = {"user": "who", "item": "film", "value": "stars"}
    with pytest.warns(
        SummedRatingsWarning, match="^1 of 3 ratings are of a user and an item that have another"
    ) as told:
        fastals.ExplicitALS(factors=2, random_state=0).fit(twice, **names)
    assert [warning.filename for warning in told] == [__file__]
    with pytest.warns(SummedRatingsWarning) as told:
        fastals.ExplicitALS(factors=2, random_state=0).fit(twice, **names, validation=twice, metric="rmse")
    assert [warning.filename for warning in told] == [__file__]
    fastals.ImplicitALS(factors=2, random_state=0).fit(twice, **names)  # events: each is an error here
    latest = fastals.read_table(twice, **names, duplicates="last")
    model = fastals.ExplicitALS(factors=2, random_state=0).fit(latest)
    assert model.global_mean_ == 4  # (5 + 3) / 2
