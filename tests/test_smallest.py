"""Rows with many solutions: the smallest one, as NumPy's least squares has it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastals
from fastals.engine import plain
from fastals.engine.alternation import fold_in
from fastals.engine.basis import fix
from fastals.engine.panel import as_panel
from fastals.engine.problem import BACKGROUND, MINIMUM_NORM, OK, RIDGE
from fastals.errors import SingularRowsWarning
from tests.helpers import CLASSIC, example, same_bits, same_model, stored

BOARD = (np.indices((5, 5)).sum(axis=0) % 2).astype(float)
MODELS = {
    "implicit": (fastals.ImplicitALS, {"alpha": 3.0}),
    "implicit, popularity": (fastals.ImplicitALS, {"alpha": 3.0, "popularity_exponent": 0.5}),
    "implicit, only observed": (fastals.ImplicitALS, {"alpha": 3.0, "unobserved_weight": 0.0}),
    "explicit": (fastals.ExplicitALS, {}),
    "explicit, no biases": (fastals.ExplicitALS, {"biases": False}),
    "weighted": (fastals.WeightedALS, {"unobserved_weight": 0.25}),
    "weighted, only observed": (fastals.WeightedALS, {"item_weights": fastals.LinearWeights()}),
}
every_model = pytest.mark.parametrize("name", MODELS)


def wanted_rows(problem, Y):
    """The minimum-norm least-squares solution of each row: every entry of R is an equation, observed or not."""
    cells, rule, rows, columns, _ = problem
    columns = np.broadcast_to(columns, (len(Y), 3))
    wanted = np.zeros((cells.n_rows, Y.shape[1]))
    for u in range(cells.n_rows):
        begin, end = cells.indptr[u : u + 2]
        if begin == end:
            continue
        weights = rows[u, BACKGROUND] * columns[:, BACKGROUND]
        targets = np.zeros(len(Y))
        there = cells.indices[begin:end]
        values = cells.all_values[begin:end]
        confidence = rule.constant + rule.slope * np.abs(values)
        weights[there] = confidence * cells.all_weights[begin:end] * rows[u, 0] * columns[there, 0]
        targets[there] = rule.sign_target * (values > 0) + rule.value_target * (values - rule.mean - columns[there, 2])
        root = np.sqrt(weights)
        wanted[u] = np.linalg.lstsq(Y * root[:, None], targets * root, rcond=1e-10)[0]
    return wanted


def problem_and_panel(name, R, factors, rank, rng):
    """The users' problem of a model without regularization, and items of a lower rank than they have factors."""
    kind, parameters = MODELS[name]
    model = kind(factors, regularization=0.0, dtype="float64", **parameters)
    cells = model._interactions(stored(R), np.dtype("float64"))
    objective = model._objective(cells)  # an unobserved weight by the rule
    problem = objective.user_problem(cells.by_user, objective.learn(cells))
    # Integers: the rank is exact, and what is not 0 is far above it.
    Y = rng.integers(-3, 4, (R.shape[1], rank)) @ rng.integers(-2, 3, (rank, factors)).astype(float)
    if objective.biases:
        Y = np.column_stack([Y, np.ones(len(Y))])
    return problem, Y


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(list(MODELS)),
    seed=st.integers(0, 2**32 - 1),
    n_items=st.integers(1, 14),
    factors=st.integers(1, 20),
    density=st.sampled_from([0.2, 0.6, 1.0]),
    solver=st.sampled_from(["auto", "cholesky", "cg", "plain"]),
    data=st.data(),
)
def test_rows_are_those_of_least_squares(name, seed, n_items, factors, density, solver, data):
    rng = np.random.default_rng(seed)
    R = np.abs(example(seed, (8, n_items), density))
    problem, Y = problem_and_panel(name, R, factors, data.draw(st.integers(1, factors)), rng)
    panel, width = as_panel(Y), Y.shape[1]
    wanted = wanted_rows(problem, Y)
    if solver == "plain":
        X = np.zeros((len(R), panel.shape[1]))
        status = plain.half_step(problem, panel, width, X, 1).status
    else:
        X, status = fold_in(problem, fix(panel, problem.columns[:, BACKGROUND], width, 1), width, solver, 1)
    assert (status <= OK).all()
    scale = 1 + np.linalg.norm(wanted, axis=1, keepdims=True)
    # Conjugate gradients and a bad condition leave more than a rounding.
    np.testing.assert_allclose(X[:, :width] / scale, wanted / scale, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("solver", ["auto", "cholesky", "cg", "plain"])
def test_more_factors_than_the_data_have_rank(solver, dtype):
    model = fastals.ImplicitALS(
        32, **CLASSIC[fastals.ImplicitALS] | {"regularization": 0.0}, solver=solver, dtype=dtype, random_state=0
    )
    with pytest.warns(SingularRowsWarning) as told:
        model.fit(BOARD)
    assert len(told) == 1
    assert str(told[0].message).startswith(
        f"the equations of 5 users and 5 items have more than one solution in {dtype}"
    )
    np.testing.assert_allclose(model.user_factors_ @ model.item_factors_.T, BOARD, atol=1e-3)
    assert np.abs(model.user_factors_).max() < 10
    assert same_bits(model.fold_in_users(BOARD), np.ascontiguousarray(model.user_factors_))
    assert model.loss_history_[-1] == pytest.approx(model.loss(BOARD), abs=1e-4)
    model.update(0, 0, 1.0)
    assert model.predict(0, 0) > 0.2
    assert np.isfinite(model.explain(0, 1).score)


@every_model
@pytest.mark.parametrize("solver", ["auto", "plain"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.filterwarnings("ignore::fastals.errors.SingularRowsWarning")
def test_fits_without_regularization_keep_the_promises(name, solver, dtype):
    kind, parameters = MODELS[name]
    R = stored(np.abs(example(5, (30, 20), 0.4)), dtype)
    fits = [
        kind(12, regularization=0.0, solver=solver, dtype=dtype, random_state=0, n_threads=n, **parameters).fit(R)
        for n in (1, 2, 5)
    ]
    assert all(same_model(fits[0], other) for other in fits[1:])
    model, size = fits[0], fits[0].loss_history_[0]
    accuracy = (1e-2 if dtype == "float32" else 1e-6) * max(size, 1)
    assert model.loss_history_[-1] == pytest.approx(model.loss(R), abs=accuracy)
    assert max(np.diff(model.loss_history_), default=0) <= accuracy
    folded = model.fold_in_users(R)
    assert same_bits(np.ascontiguousarray(folded[:, :12]), np.ascontiguousarray(model.user_factors_))
    for u in range(0, 30, 7):  # alone as in a batch
        assert same_bits(model.fold_in_users(R[[u]]), folded[[u]])
    assert np.isfinite(model.fold_in_items(R)).all()
    model.update(0, 0, 2.0)
    assert np.isfinite(model.explain(0, 0).score)


def test_rows_with_a_ridge_of_their_own_keep_their_bits():
    """Beside rows without one: each is solved as it is alone."""
    problem, Y = problem_and_panel("implicit", np.abs(example(3, (8, 9), 0.5)), 6, 2, np.random.default_rng(0))
    fixed = fix(as_panel(Y), problem.columns[:, BACKGROUND], 6, 1)
    some = problem.rows.copy()
    some[::2, RIDGE] = 0.5
    all_of_them = some.copy()
    all_of_them[:, RIDGE] = 0.5
    mixed, status = fold_in(problem._replace(rows=some), fixed, 6, "auto", 1)
    ridged, _ = fold_in(problem._replace(rows=all_of_them), fixed, 6, "auto", 1)
    free, _ = fold_in(problem, fixed, 6, "auto", 1)
    assert same_bits(mixed[::2], ridged[::2])
    assert same_bits(mixed[1::2], free[1::2])
    assert (status[::2] == OK).all()
    assert (status[1::2] == MINIMUM_NORM).all()


@pytest.mark.parametrize("name", ["implicit", "weighted"])
@pytest.mark.parametrize("solver", ["auto", "plain"])
def test_a_row_without_entries_has_one_solution(name, solver):
    """It is 0, whatever the background, and no row to be told of."""
    R = np.abs(example(3, (8, 9), 0.5))
    R[[0, 4]] = np.nan
    problem, Y = problem_and_panel(name, R, 6, 2, np.random.default_rng(0))
    panel, X = as_panel(Y), np.ones((8, as_panel(Y).shape[1]))
    if solver == "plain":
        status = plain.half_step(problem, panel, 6, X, 1).status
    else:
        X, status = fold_in(problem, fix(panel, problem.columns[:, BACKGROUND], 6, 1), 6, solver, 1)
    assert not X[[0, 4]].any()
    assert (status[[0, 4]] == OK).all()
    assert (np.delete(status, [0, 4]) == MINIMUM_NORM).all()


def test_columns_that_float32_can_hardly_tell_apart():
    """Without ridge and background: float32 would make of the pivots what it likes."""
    rng = np.random.default_rng(0)
    values = np.linspace(1, 2, 40)
    cells = fastals.Interactions(values[None], "float32")
    objective = fastals.ExplicitALS(3, regularization=0.0, biases=False)._objective()
    problem = objective.user_problem(cells.by_user, objective.learn(cells))
    Y = as_panel((rng.standard_normal((40, 1)) + 1e-4 * rng.standard_normal((40, 3))).astype(np.float32))
    X, status = fold_in(problem, fix(Y, np.zeros(1), 3, 1), 3, "auto", 1)
    exact = Y[:, :3].astype(np.float64)
    wanted = np.linalg.lstsq(exact, values.astype(np.float32).astype(float), rcond=None)[0]
    np.testing.assert_allclose(X[0, :3], wanted, rtol=1e-4)
    assert status.tolist() == [OK]


def objective(problem, Y, u, x):
    """The objective of a row's factors, and of 0, in extended precision."""
    cells, _, rows, columns, _ = problem
    there, values = (array[cells.indptr[u] : cells.indptr[u + 1]] for array in (cells.indices, cells.all_values))
    weights = cells.all_weights[cells.indptr[u] : cells.indptr[u + 1]].astype(np.longdouble)
    confidence = np.full(len(Y), rows[u, BACKGROUND] * columns[0, BACKGROUND], np.longdouble)
    targets = np.zeros(len(Y), np.longdouble)
    confidence[there], targets[there] = weights, values
    errors = [targets - Y.astype(np.longdouble) @ factors for factors in (x.astype(np.longdouble), 0 * x)]
    return [float(confidence @ error**2) for error in errors]


@pytest.mark.parametrize("solver", ["auto", "cholesky", "cg", "plain"])
@pytest.mark.parametrize("regularization", [0.0, 1e-12])
def test_directions_that_float32_loses_in_the_background_still_count(solver, regularization):
    """Items are 1e-4 as long along the third axis. The square is lost in G, and entries weigh 1e6 times as much."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    Y = (rng.standard_normal((12, 3)) * [1, 1, 1e-4] @ turn).astype(np.float32)
    R = rng.standard_normal((5, 12))
    R[:, 3:] = np.nan  # three entries decide about all three axes
    model = fastals.WeightedALS(3, regularization=regularization, unobserved_weight=1.0)
    cells = model._interactions(stored(R), np.dtype("float32"), weights=np.full(15, 1e6))
    rules = model._objective()
    problem = rules.user_problem(cells.by_user, rules.learn(cells))
    panel, X = as_panel(Y), np.zeros((5, as_panel(Y).shape[1]), np.float32)
    if solver == "plain":
        plain.half_step(problem, panel, 3, X, 1)
    else:
        X, _ = fold_in(problem, fix(panel, problem.columns[:, BACKGROUND], 3, 1), 3, solver, 1)
    wanted = wanted_rows(problem, Y.astype(float))
    for u in range(5):
        reached, nothing = objective(problem, Y, u, X[u, :3])
        best, _ = objective(problem, Y, u, wanted[u])
        assert reached <= best + 1e-4 * nothing
