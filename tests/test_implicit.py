"""`implicit`'s class and functions: its behaviour line by line, and the listed differences.

That the behaviour is `implicit`'s own is tested beside it, in bench/test_compat.py.
"""

from __future__ import annotations

import io
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from fastals import NotFittedError
from fastals.compat.implicit import AlternatingLeastSquares
from fastals.compat.implicit.als import calculate_loss
from fastals.compat.implicit.utils import ParameterWarning
from fastals.data.interactions import Interactions
from tests.helpers import dtypes, rounding, same_bits

LOWEST = np.finfo(np.float32).min


def confidences(seed: int = 0, shape: tuple[int, int] = (12, 9)) -> sparse.csr_matrix:
    """Cells above and below a confidence of 1, disliked ones, stored zeros, a user and an item without any."""
    rng = np.random.default_rng(seed)
    R = rng.choice([-2.0, 0.5, 1.0, 3.0, 10.0], shape).astype(np.float32)
    R[rng.random(shape) >= 0.4] = 0
    R[3], R[:, 4] = 0, 0
    matrix = sparse.csr_matrix(R)
    matrix.data[::7] = 0
    return matrix


def textbook(R, X, Y, alpha, regularization, iterations):
    """Loop of `implicit` in float64: users, then items, each row by a dense solve."""

    def solve(cells, Y):
        X = np.zeros((cells.shape[0], Y.shape[1]))
        for u in range(len(X)):
            row = cells[u].tocoo()
            y, c = Y[row.col], np.abs(row.data)
            A = Y.T @ Y + regularization * np.eye(Y.shape[1]) + (y.T * (c - 1)) @ y
            X[u] = np.linalg.solve(A, y.T @ (c * (row.data > 0)))
        return X

    cells = R.astype(np.float64) * alpha
    for _ in range(iterations):
        X = solve(cells, Y)
        Y = solve(cells.T.tocsr(), X)
    return X, Y


def start(seed, shape, factors, dtype):
    rng = np.random.default_rng(seed)
    return [rng.random((n, factors), dtype=dtype) * np.dtype(dtype).type(0.01) for n in shape]


def objective(R, X, Y, alpha, regularization):
    P, C = np.zeros(R.shape), np.ones(R.shape)
    cells = R.tocoo()
    P[cells.row, cells.col], C[cells.row, cells.col] = cells.data > 0, alpha * np.abs(cells.data)
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    total = np.sum(C * (P - X @ Y.T) ** 2) + regularization * (np.sum(X**2) + np.sum(Y**2))
    return total / (alpha * np.abs(cells.data).sum() + C.size - R.nnz)


def fitted(R=None, **params):
    model = AlternatingLeastSquares(
        **({"factors": 4, "iterations": 3, "random_state": 1, "regularization": 0.1} | params)
    )
    model.fit(confidences() if R is None else R, show_progress=False)
    return model


def with_factors(X, Y):
    """A model with given factors: small integers make every score exact, and ties frequent."""
    model = AlternatingLeastSquares(factors=X.shape[1])
    model.user_factors, model.item_factors = X.astype(np.float32), Y.astype(np.float32)
    return model


def integers(seed=0, shape=(12, 9)):
    rng = np.random.default_rng(seed)
    return [rng.integers(-2, 3, (n, 3)) for n in shape]


def ranking(scores, seen, n, chosen=None):
    """What `recommend` gives for one user, by sorting: falling score, falling id, what is left out last, then -1."""
    chosen = np.arange(len(scores)) if chosen is None else np.unique(chosen)
    shown = np.where(seen, LOWEST, scores).astype(np.float32)
    order = chosen[np.lexsort((-chosen, -shown[chosen]))]
    ids = np.concatenate([order, np.full(n, -1)])[:n]
    return ids, np.concatenate([shown[order], np.full(n, LOWEST)])[:n]


# Constructor, attributes, objective, start.


def test_constructor_takes_the_same_arguments_in_the_same_order():
    given = (7, 0.5, 2.0, np.float64, False, False, 3, True, 2, 11)
    names = "factors regularization alpha dtype use_native use_cg iterations calculate_training_loss num_threads"
    names = [*names.split(), "random_state"]
    model = AlternatingLeastSquares(*given)
    assert [getattr(model, name) for name in names] == list(given)
    defaults = [getattr(AlternatingLeastSquares(), name) for name in names]
    assert defaults == [100, 0.01, 1.0, np.dtype("float32"), True, True, 15, False, 0, None]


def test_attributes_before_fit():
    model = AlternatingLeastSquares(use_gpu=False)
    assert model.user_factors is None
    assert model.item_factors is None
    assert model.cg_steps == 3
    assert model.fit_callback is None
    for call in (lambda: AlternatingLeastSquares(use_gpu=True), model.to_gpu):
        with pytest.raises(ValueError, match="there is no GPU code here"):
            call()


@given(
    seed=st.integers(0, 99),
    dtype=dtypes,
    alpha=st.sampled_from([0.5, 1.0, 3.0]),
    iterations=st.integers(0, 3),
    factors=st.integers(1, 17),
)
def test_factors_are_those_of_the_loop(seed, dtype, alpha, iterations, factors):
    """Confidence alpha |r|, disliked cells, stored zeros, confidences below 1, the start, the order of half-steps."""
    R, ridge = confidences(seed), 5.0
    model = fitted(
        R,
        factors=factors,
        dtype=dtype,
        alpha=alpha,
        iterations=iterations,
        use_cg=False,
        regularization=ridge,
        random_state=seed,
    )
    X, Y = start(seed, R.shape, factors, dtype)
    wanted = textbook(R, X.astype(np.float64), Y.astype(np.float64), alpha, ridge, iterations)
    # Each half-step rounds, and the ridge of 5 bounds the condition: a row's matrix is at most its confidences larger.
    largest = alpha * np.abs(R.data).sum()
    bound = rounding(dtype, R.shape[0], max(np.abs(side).max() for side in wanted), (1 + largest / ridge) * 4)
    for factor, expected in zip((model.user_factors, model.item_factors), wanted, strict=True):
        assert factor.dtype == np.dtype(dtype)
        np.testing.assert_allclose(factor, expected, rtol=0, atol=bound)


def test_the_start_is_uniform_users_first():
    model = fitted(iterations=0)
    for factors, wanted in zip((model.user_factors, model.item_factors), start(1, (12, 9), 4, "float32"), strict=True):
        assert same_bits(factors, wanted)


def test_a_stored_zero_drops_out_of_the_loss():
    R = confidences()
    without = R.copy()
    without.eliminate_zeros()
    assert without.nnz < R.nnz
    assert not np.allclose(fitted(R).item_factors, fitted(without).item_factors)


def test_rows_without_cells_are_zero():
    for use_cg in (True, False):
        model = fitted(use_cg=use_cg)
        assert not model.user_factors[3].any()
        assert not model.item_factors[4].any()


def test_users_are_stale_and_recalculate_user_is_exact():
    R = confidences()
    model = fitted(R, use_cg=False, dtype="float64")
    exact, _ = textbook(R, None, model.item_factors, 1.0, 0.1, 1)
    recalculated = model.recalculate_user(np.arange(12), R)
    np.testing.assert_allclose(recalculated, exact, rtol=0, atol=1e-10)
    assert np.abs(model.user_factors - exact).max() > 1e-3


def test_conjugate_gradients_end_where_cholesky_does():
    exact, steps = (fitted(dtype="float64", iterations=300, use_cg=use_cg) for use_cg in (False, True))
    scores = [model.user_factors @ model.item_factors.T for model in (exact, steps)]
    np.testing.assert_allclose(scores[0], scores[1], rtol=0, atol=1e-3)


def test_fitting_again_goes_on():
    once, twice = fitted(iterations=4, use_cg=False), fitted(iterations=2, use_cg=False)
    twice.fit(confidences(), show_progress=False)
    assert same_bits(once.user_factors, twice.user_factors)
    assert same_bits(once.item_factors, twice.item_factors)
    twice.user_factors = twice.item_factors = None
    twice.iterations = 4
    twice.fit(confidences(), show_progress=False)
    assert same_bits(once.item_factors, twice.item_factors)


@pytest.mark.parametrize("shape", [(11, 9), (13, 9), (12, 8), (12, 10)])
def test_fitting_again_on_another_shape_is_refused(shape):
    """There: a crash, NaN, or reads outside the factors."""
    model = fitted()
    before = model.user_factors
    with pytest.raises(ValueError, match=r"_factors have shape .* for a new start"):
        model.fit(confidences(shape=shape), show_progress=False)
    assert model.user_factors is before


def test_threads_do_not_change_the_factors():
    one, two = fitted(num_threads=1), fitted(num_threads=2)
    assert same_bits(one.user_factors, two.user_factors)


@pytest.mark.parametrize("use_cg", [True, False])
def test_loss_and_callback(use_cg):
    R, calls = confidences(), []
    model = AlternatingLeastSquares(
        4, 0.1, 2.0, np.float64, use_cg=use_cg, iterations=3, calculate_training_loss=True, random_state=0
    )

    def callback(iteration, seconds, loss):
        calls.append((iteration, seconds >= 0, loss, objective(R, model.user_factors, model.item_factors, 2.0, 0.1)))

    assert model.fit(R, show_progress=False, callback=callback) is None
    assert [call[:2] for call in calls] == [(0, True), (1, True), (2, True)]
    for _, _, loss, wanted in calls:
        assert loss == pytest.approx(wanted, rel=1e-12)


def test_without_calculate_training_loss_the_callback_gets_none():
    losses = []
    model = AlternatingLeastSquares(2, iterations=2)
    model.fit_callback = lambda iteration, seconds, loss: losses.append(loss)
    model.fit(confidences(), show_progress=False)
    assert losses == [None, None]


def test_a_callback_that_raises_leaves_the_model_as_it_was():
    model = fitted()
    before = model.user_factors

    def stop(iteration, seconds, loss):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(confidences(), show_progress=False, callback=stop)
    assert model.user_factors is before


def test_progress_is_reported(caplog, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tqdm.auto", None)  # as if tqdm were not installed
    with caplog.at_level("INFO", logger="fastals"):
        AlternatingLeastSquares(2, iterations=2).fit(confidences())
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    "state", [np.random.RandomState(0), np.random.default_rng(0), np.random.SeedSequence(0), np.int64(3), None]
)
def test_every_random_state_is_taken(state):
    """There a RandomState crashes."""
    assert fitted(random_state=state).user_factors.any()


@pytest.mark.parametrize("convert", [sparse.csr_array, Interactions])
def test_compressed_rows_are_taken_as_they_are(convert):
    R = confidences()
    model = fitted(convert(R))
    assert same_bits(model.item_factors, fitted(R).item_factors)
    np.testing.assert_array_equal(model.recommend(0, convert(R[:1]))[0], model.recommend(0, R[0])[0])


@pytest.mark.parametrize("convert", [sparse.coo_matrix, sparse.csc_matrix, sparse.lil_matrix, lambda R: R.toarray()])
@pytest.mark.filterwarnings("ignore:recommend_all is deprecated")
def test_other_matrices_warn(convert):
    """As in `implicit`, whose `recommend` refuses what is not a csr_matrix, and whose `fit` has no dense matrices."""
    R = confidences()
    R.eliminate_zeros()
    wanted = fitted(R)
    calls = [
        lambda model, R, T, to: model.fit(to(R), show_progress=False),
        lambda model, R, T, to: model.recommend(0, to(R[0])),
        lambda model, R, T, to: model.recommend_all(to(R)),
        lambda model, R, T, to: model.recalculate_user(0, to(R[0])),
        lambda model, R, T, to: model.recalculate_item(0, to(T[0])),
        lambda model, R, T, to: model.partial_fit_users([0], to(R[0])),
        lambda model, R, T, to: model.partial_fit_items([0], to(T[0])),
        lambda model, R, T, to: model.similar_items(0, recalculate_item=True, item_users=to(T[0])),
        lambda model, R, T, to: model.explain(0, to(R), 1),
        lambda model, R, T, to: model.solver(to(R), model.user_factors, model.item_factors, 0.1),
    ]
    for call in calls:
        ours, theirs = (AlternatingLeastSquares(4, random_state=0) for _ in range(2))
        for model in (ours, theirs):
            model.user_factors, model.item_factors = wanted.user_factors.copy(), wanted.item_factors.copy()
        with pytest.warns(ParameterWarning, match="is converted to CSR at every call") as caught:
            found = call(ours, R, R.T.tocsr(), convert)
        assert [str(warning.filename) for warning in caught] == [__file__] * len(caught)
        expected = call(theirs, R, R.T.tocsr(), sparse.csr_matrix)
        assert repr(found) == repr(expected)
        assert same_bits(ours.user_factors, theirs.user_factors)
        assert same_bits(ours.item_factors, theirs.item_factors)


def test_index_dtypes_may_differ():
    R = confidences()
    mixed = R.copy()
    mixed.indptr = mixed.indptr.astype(np.int64)
    assert same_bits(fitted(mixed).item_factors, fitted(R).item_factors)


def test_duplicates_are_summed():
    """There the later one is added to the first as a cell of its own."""
    R = confidences()
    twice = sparse.csr_matrix((np.repeat(R.data / 2, 2), np.repeat(R.indices, 2), R.indptr * 2), shape=R.shape)
    assert same_bits(fitted(twice).item_factors, fitted(R).item_factors)


def test_data_keep_float64():
    """There they are rounded to float32."""
    R = confidences().astype(np.float64)
    R.data *= 1 + 2.0**-40
    assert not same_bits(fitted(R, dtype="float64").item_factors, fitted(confidences(), dtype="float64").item_factors)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"factors": 0}, "factors must be at least 1"),
        ({"regularization": -1.0}, "regularization must be at least 0"),
        ({"alpha": -1.0}, "alpha must be at least 0"),
        ({"alpha": float("nan")}, "alpha must be finite"),
        ({"iterations": -1}, "iterations must be at least 0"),
        ({"num_threads": -1}, "num_threads must be at least 0"),
        ({"dtype": np.float16}, "dtype must be 'float32' or 'float64'"),
        ({"random_state": "x"}, "random_state must be an int"),
        ({"use_cg": 1}, "use_cg must be True or False"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises((ValueError, TypeError), match=message):
        fitted(**params)


@pytest.mark.parametrize(
    ("R", "message"),
    [
        (sparse.csr_matrix(np.array([[1.0, np.nan]])), "not finite in 1 of 2 entries, the first at row 0, column 1"),
        (sparse.csr_matrix((2, 0)), "at least one user and one item"),
        ("ratings", "must be a SciPy sparse matrix"),
    ],
)
def test_bad_data_is_refused_before_the_fit(R, message):
    """There NaN is found after the whole fit."""
    model = AlternatingLeastSquares()
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(R, show_progress=False)
    assert model.user_factors is None


# The half-step that clients call.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("use_native", [True, False])
def test_the_exact_solver_overwrites_users_and_items(dtype, use_native):
    """The confidences are those passed: alpha is the caller's. The number of factors is that of the arrays."""
    R, (X, Y) = confidences(), start(0, (12, 9), 6, dtype)
    model = AlternatingLeastSquares(4, alpha=3.0, dtype=dtype, use_cg=False, use_native=use_native)
    wanted = textbook(R, X.astype(np.float64), Y.astype(np.float64), 1.0, 5.0, 1)
    given = Y.copy()
    assert model.solver(R, X, Y, 5.0, num_threads=1) is None
    assert same_bits(Y, given)
    assert model.solver(Cui=R.T.tocsr(), X=Y, Y=X, regularization=5.0, num_threads=2) is None
    for found, expected in zip((X, Y), wanted, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize("use_cg", [True, False])
def test_the_solver_called_epoch_by_epoch_is_fit(use_cg):
    """As RecTools calls it: its own start, alpha times the matrix, and the number of threads by position."""
    R, wanted = confidences(), fitted(alpha=2.0, use_cg=use_cg)
    model = AlternatingLeastSquares(4, use_cg=use_cg)
    (X, Y), Cui, solver = start(1, (12, 9), 4, "float32"), 2.0 * confidences(), model.solver
    for _ in range(wanted.iterations):
        solver(Cui, X, Y, wanted.regularization, model.num_threads)
        solver(Cui.T.tocsr(), Y, X, wanted.regularization, model.num_threads)
    np.testing.assert_allclose(X, wanted.user_factors, rtol=0, atol=2e-5)
    np.testing.assert_allclose(Y, wanted.item_factors, rtol=0, atol=2e-5)
    model.user_factors, model.item_factors = X, Y
    assert model.recommend(0, R[0], N=3)[0].shape == (3,)


def test_the_solver_takes_steps_from_the_rows_that_are_there():
    R = sparse.csr_matrix(np.random.default_rng(0).integers(1, 50, (80, 120)).astype(np.float64))
    X, Y = (np.random.default_rng(1).normal(size=(n, 32)) for n in R.shape)
    exact = X.copy()
    AlternatingLeastSquares(use_cg=False).solver(R, exact, Y, 0.1)
    errors = [np.linalg.norm(X - exact)]
    for steps in (1, 2, 4):
        found, model = X.copy(), AlternatingLeastSquares()
        model.solver(R, found, Y, 0.1, cg_steps=steps)
        model.cg_steps, again = steps, X.copy()
        model.solver(R, again, Y, 0.1)
        assert same_bits(found, again)
        errors.append(np.linalg.norm(found - exact))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1 * errors[0]


def test_the_solver_writes_into_any_part_of_an_array():
    R, (X, Y) = confidences(), start(0, (12, 9), 6, "float64")
    solver = AlternatingLeastSquares(use_cg=False).solver
    wide = np.full((12, 10), 7.0, order="F")
    solver(R, wide[:, 2:8], Y, 0.5)
    solver(R.astype(np.float64), X, Y, 0.5)
    assert same_bits(np.ascontiguousarray(wide[:, 2:8]), X)
    assert (np.delete(wide, range(2, 8), axis=1) == 7).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"X": [[1.0]]}, "X must be a 2-D array of float32 or float64, got list"),
        ({"Y": np.ones((9, 4), int)}, r"Y must be a 2-D array of float32 or float64, got int64 \(9, 4\)"),
        ({"Y": np.ones((9, 4), np.float32)}, "X and Y must have one dtype"),
        ({"Y": np.ones((9, 3))}, "one number of columns"),
        ({"X": np.ones((11, 4))}, r"Cui has shape \(12, 9\): one row for each of the 11 rows of X"),
        ({"Y": np.ones((8, 4))}, "at most one column for each of the 8 rows of Y"),
        ({"X": np.full((12, 4), np.nan)}, "factors X are not finite in row 0"),
        ({"Y": np.diag([1, 1, np.inf, 1])[[0, 1, 3, 2, 0, 0, 0, 0, 0]]}, "factors Y are not finite in row"),
        ({"X": np.broadcast_to(1.0, (12, 4))}, "X is read-only"),
        ({"regularization": -1.0}, "regularization must be at least 0"),
        ({"num_threads": -1}, "num_threads must be at least 0"),
        ({"cg_steps": 0}, "cg_steps must be at least 1"),
        ({"Cui": "cells"}, "Cui must be a SciPy sparse matrix"),
    ],
)
def test_bad_calls_of_the_solver(changed, message):
    """There most of them read or write outside of an array."""
    given = {"Cui": confidences(), "X": np.ones((12, 4)), "Y": np.ones((9, 4)), "regularization": 0.1} | changed
    before = np.array(given["X"])
    with np.errstate(invalid="ignore"), pytest.raises((ValueError, TypeError), match=message):
        AlternatingLeastSquares().solver(**given)
    np.testing.assert_array_equal(given["X"], before)


# The loss of given factors.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("regularization", [0.0, 0.75])
def test_calculate_loss_is_the_objective_by_the_sum_of_all_confidences(dtype, regularization):
    R, (X, Y) = confidences(), start(0, (12, 9), 5, dtype)
    X, Y = 90 * X, 90 * Y
    given = X.copy(), Y.copy()
    found = calculate_loss(R, X, Y, regularization, num_threads=2)
    assert found == pytest.approx(objective(R, X, Y, 1.0, regularization), rel=1e-12)
    assert same_bits(X, given[0])
    assert same_bits(Y, given[1])


def test_calculate_loss_is_what_the_callback_gets():
    """Alpha is the caller's here too: the confidences are those passed."""
    R, losses = confidences(), []
    model = AlternatingLeastSquares(4, 0.1, 2.0, iterations=2, calculate_training_loss=True, random_state=0)
    model.fit(R, show_progress=False, callback=lambda iteration, seconds, loss: losses.append(loss))
    found = calculate_loss(2.0 * R, model.user_factors, model.item_factors, 0.1)
    assert found == pytest.approx(losses[-1], rel=1e-6)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"Y": np.ones((8, 4))}, "at most one column for each of the 8 rows of Y"),
        ({"X": np.full((12, 4), np.nan)}, "factors X are not finite in row 0"),
        ({"regularization": -1.0}, "regularization must be at least 0"),
    ],
)
def test_bad_calls_of_calculate_loss(changed, message):
    """There the first reads outside of an array."""
    given = {"Cui": confidences(), "X": np.ones((12, 4)), "Y": np.ones((9, 4)), "regularization": 0.1} | changed
    with pytest.raises(ValueError, match=message):
        calculate_loss(**given)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("use_cg", [True, False])
def test_more_factors_than_items_without_regularization(use_cg, dtype):
    board = (np.indices((5, 5)).sum(axis=0) % 2).astype(dtype)
    model = fitted(sparse.csr_matrix(board), regularization=0.0, factors=32, use_cg=use_cg, dtype=dtype, iterations=10)
    np.testing.assert_allclose(model.user_factors @ model.item_factors.T, board, atol=1e-3)


# recommend and its relatives.


# One row is ranked in another way than many.
@given(
    seed=st.integers(0, 99),
    n=st.integers(1, 14),
    masked=st.booleans(),
    filtered=st.booleans(),
    n_users=st.sampled_from([1, 20]),
)
def test_recommend(seed, n, masked, filtered, n_users):
    """Masked items stay in the list with -finfo.max, ties go to the higher id, ids are int32."""
    X, Y = integers(seed)
    model, R = with_factors(X, Y), confidences(seed)
    users = np.random.default_rng(seed).integers(0, 12, n_users)
    deny = [1, 5] if filtered else None
    ids, scores = model.recommend(users, R[users], n, filter_already_liked_items=masked, filter_items=deny)
    assert ids.dtype == np.int32
    assert scores.dtype == np.float32
    for row, user in enumerate(users):
        seen = np.zeros(9, bool)
        if masked:
            seen[R[user].indices] = True
        if filtered:
            seen[[1, 5]] = True
        wanted_ids, wanted = ranking(X[user] @ Y.T, seen, n)
        np.testing.assert_array_equal(ids[row], wanted_ids)
        np.testing.assert_array_equal(scores[row], wanted)


@given(seed=st.integers(0, 99), n=st.integers(1, 14), masked=st.booleans())
def test_recommend_from_a_list(seed, n, masked):
    X, Y = integers(seed)
    model, R = with_factors(X, Y), confidences(seed)
    allow = [7, 2, 2, 5]
    ids, scores = model.recommend(3, R[3], n, filter_already_liked_items=masked, items=allow)
    assert ids.dtype == np.int64
    seen = np.zeros(9, bool)
    if masked:
        seen[R[3].indices] = True
    wanted_ids, wanted = ranking(X[3] @ Y.T, seen, min(n, 3), allow)
    np.testing.assert_array_equal(ids, wanted_ids)
    np.testing.assert_array_equal(scores, wanted)
    twice = model.recommend([3, 3], R[[3, 3]], n, filter_already_liked_items=masked, items=allow)
    for row in (0, 1):
        np.testing.assert_array_equal(twice[0][row], wanted_ids)
        np.testing.assert_array_equal(twice[1][row], wanted)


@pytest.mark.parametrize("users", [[0], [0, 1]])
def test_scores_that_are_not_finite_come_last(users):
    """There NaN is the best of all."""
    X, Y = (factors.astype(np.float32) for factors in integers(0))
    X[:, 0], Y[[2, 5], 0], Y[7, 0] = 1, np.nan, -np.inf
    ids, scores = with_factors(X, Y).recommend(users, None, 9, filter_already_liked_items=False)
    assert ids[0, -3:].tolist() == [7, 5, 2]
    assert (scores[0, -3:] == LOWEST).all()
    assert np.isfinite(scores).all()


def test_one_user_gets_one_row():
    model, R = fitted(), confidences()
    ids, scores = model.recommend([2], R[2])
    for user in (2, np.int32(2), np.array(2)):
        one = model.recommend(user, R[2])
        np.testing.assert_array_equal(one[0], ids[0])
        np.testing.assert_array_equal(one[1], scores[0])
    assert model.recommend([], R[[]], 4)[0].shape == (0, 4)


def test_user_items_may_be_none_where_it_is_not_needed():
    model = fitted()
    ids, _ = model.recommend(0, None, N=9, filter_already_liked_items=False)
    assert sorted(ids) == list(range(9))
    for needed in ({}, {"filter_already_liked_items": False, "recalculate_user": True}):
        with pytest.raises(ValueError, match="user_items is None"):
            model.recommend(0, None, **needed)


def test_recalculated_users_need_not_be_known():
    model, R = fitted(), confidences()
    ids, scores = model.recommend([40, 41], R[[0, 1]], recalculate_user=True)
    X = model.recalculate_user([0, 1], R[[0, 1]])
    wanted = with_factors(X, model.item_factors).recommend([0, 1], R[[0, 1]])
    np.testing.assert_array_equal(ids, wanted[0])
    np.testing.assert_array_equal(scores, wanted[1])


def test_filter_items_may_be_an_array_or_a_set():
    model, R = fitted(), confidences()
    wanted = model.recommend(0, R[0], filter_items=[1, 2])[0]
    for deny in (np.array([1, 2]), {1, 2}, (2, 1)):
        np.testing.assert_array_equal(model.recommend(0, R[0], filter_items=deny)[0], wanted)
    everything = model.recommend(0, R[0], N=9, filter_items=range(9))
    assert list(everything[0]) == list(range(8, -1, -1))
    assert (everything[1] == LOWEST).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model, R: model.recommend(0, R), "user_items must contain 1 row for each of the 1 users asked for"),
        (lambda model, R: model.recommend(-1, R[0]), "userid is -1: ids run from 0 to 11"),
        (lambda model, R: model.recommend(12, R[0]), "userid is 12: ids run from 0 to 11"),
        (lambda model, R: model.recommend(0.5, R[0]), "userid must be integers"),
        (lambda model, R: model.recommend(0, R[0], N=0), "N must be at least 1"),
        (lambda model, R: model.recommend(0, R[0], items=[]), "items is empty"),
        (lambda model, R: model.recommend(0, R[0], items=[9]), "items.0. is 9"),
        (lambda model, R: model.recommend(0, R[0], filter_items=[-1]), "filter_items.0. is -1"),
        (lambda model, R: model.recommend(0, R[0], items=[1], filter_items=np.array([2])), "cannot both be given"),
        (lambda model, R: model.recommend(0, sparse.csr_matrix((1, 10))), "columns are items and the model has 9"),
        (lambda model, R: model.similar_items(-1), "itemid is -1"),
        (lambda model, R: model.similar_items(0, items=[9]), "items.0. is 9"),
        (lambda model, R: model.similar_items(0, recalculate_item=True), "item_users is None"),
        (lambda model, R: model.similar_users(99), "userid is 99"),
        (lambda model, R: model.similar_users(0, filter_users=[1], users=[2]), "cannot both be given"),
        (lambda model, R: model.recalculate_user([0, 1], R[0]), "1 row for each of the 2 users asked for"),
        (lambda model, R: model.recalculate_user(0, sparse.csr_matrix((1, 10))), "columns are items"),
        (lambda model, R: model.recalculate_item([0, 1], R.T.tocsr()[0]), "1 row for each of the 2 items asked for"),
        (lambda model, R: model.recalculate_item(0, sparse.csr_matrix((1, 13))), "columns are users"),
        (lambda model, R: model.partial_fit_users([-1], R[0]), "userids.0. is -1"),
        (lambda model, R: model.partial_fit_users([1, 1], R[[0, 1]]), "userids has 1 more than once"),
        (lambda model, R: model.explain(0, R, 9), "itemid is 9"),
        (lambda model, R: model.explain(12, R, 0), "userid is 12"),
        (lambda model, R: model.explain([0, 1], R, 0), "userid must be one id, got an array of shape .2,."),
        (lambda model, R: model.explain(0, R, 0, user_weights=3), "user_weights must be what explain returned"),
        (lambda model, R: model.explain(0, R, 0, user_weights=(np.eye(9), True)), "user_weights must be what explain"),
        (
            lambda model, R: model.recommend(None, R[0]),
            "userid must be integers, as users and items without ids are numbered, got object .the first is None",
        ),
        (lambda model, R: model.explain(0, sparse.csr_matrix((12, 10)), 0), "columns are items"),
    ],
)
def test_bad_calls(call, message):
    """There they crash, read foreign memory, or answer with something."""
    with pytest.raises((ValueError, TypeError), match=message):
        call(fitted(), confidences())


@pytest.mark.parametrize(
    "call",
    [
        lambda model, R: model.recommend(12, R[0]),
        lambda model, R: model.recommend([0, -1], R[:2]),
        lambda model, R: model.recommend(0, R[0], items=[1, 9]),
        lambda model, R: model.recommend(0, R[0], items=[1, -1]),
        lambda model, R: model.recommend(0, R[0], filter_items=[9]),
        lambda model, R: model.similar_items(9),
        lambda model, R: model.similar_items(0, items=[-1]),
        lambda model, R: model.similar_users(0, users=[12]),
        lambda model, R: model.explain(0, R, 9),
        lambda model, R: model.explain(12, R, 0),
    ],
)
def test_ids_out_of_range_are_index_errors_and_value_errors(call):
    for kind in (IndexError, ValueError):
        with pytest.raises(kind, match="ids run from 0 to"):
            call(fitted(), confidences())


def checkerboard(size: int) -> sparse.csr_matrix:
    """Even users have the even items, odd users the odd ones, and nobody has the item of the own number."""
    users, items = np.indices((size, size))
    return sparse.csr_matrix(((users + items) % 2 == 0) & (users != items), dtype=np.float64)


@pytest.mark.parametrize("use_cg", [True, False])
def test_a_checkerboard_without_regularization(use_cg):
    """The item that was held out is the first recommendation: alone, in a batch and recalculated."""
    R, params = checkerboard(50), {"factors": 32, "regularization": 0.0, "iterations": 15, "use_cg": use_cg}
    model, users = fitted(R, **params), np.arange(50)
    ids, scores = model.recommend(users, R, N=1)
    assert ids[:, 0].tolist() == users.tolist()
    again, recalculated = model.recommend(users, R, N=1, recalculate_user=True)
    assert again.tolist() == ids.tolist()
    np.testing.assert_allclose(recalculated, scores, rtol=0, atol=1e-3)
    for one in users:
        assert model.recommend(one, R[one], N=1)[0] == one
    assert (model.similar_users(users, N=10)[0] % 2 == users[:, None] % 2).all()
    selected, _ = model.recommend(0, R[0], items=np.arange(1, 7), N=20)
    assert set(selected[3:]) == {2, 4, 6}
    larger = fitted(checkerboard(256), **params)
    ids, scores = larger.similar_items(users, N=10)
    assert (ids % 2 == users[:, None] % 2).all()
    assert ids[:, 0].tolist() == users.tolist()
    np.testing.assert_allclose(scores[:, 0], 1, rtol=0, atol=1e-4)


@pytest.mark.parametrize("use_cg", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_as_many_factors_as_items_reproduce_the_matrix(dtype, use_cg):
    likes = np.array(
        [[1, 1, 0, 1, 0], [0, 1, 1, 1, 0], [1, 0, 1, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 1, 1], [0, 1, 0, 0, 1]]
    )
    model = fitted(
        sparse.csr_matrix(2.0 * likes), factors=5, regularization=0.0, iterations=15, dtype=dtype, use_cg=use_cg
    )
    atol = 1e-2 if dtype == "float32" else 1e-10  # float32: the systems are nearly singular
    np.testing.assert_allclose(model.user_factors @ model.item_factors.T, likes, rtol=0, atol=atol)


def test_users_and_items_without_interactions_resemble_nobody():
    R = checkerboard(50).toarray()
    R[[42, 49]], R[:, [42, 49]] = 0, 0
    model = fitted(sparse.csr_matrix(R), factors=32, iterations=15)
    ids, _ = model.similar_items(np.arange(40), N=10)
    assert not np.isin(ids, [42, 49]).any()


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        (np.ones((12, 5)), r"user_factors have shape \(12, 5\) and item_factors \(9, 3\)"),
        (np.ones(12), r"user_factors must be numbers of shape \(n, factors\), got float64 \(12,\)"),
        ([["a"]], "user_factors must be numbers"),
    ],
)
def test_factors_set_by_hand_are_checked(factors, message):
    """There they are multiplied as they are, or read as if they were of the other side's length."""
    model = with_factors(*integers())
    model.user_factors = factors
    with pytest.raises(ValueError, match=message):
        model.recommend([0, 1], None, filter_already_liked_items=False)


@pytest.mark.parametrize("users", [0, [0, 1]])
def test_factors_set_by_hand_may_be_of_any_dtype(users):
    X, Y = integers()
    model = with_factors(X, Y)
    wanted = model.recommend(users, None, filter_already_liked_items=False)
    model.user_factors, model.item_factors = X.astype(np.float64), Y.tolist()
    ids, scores = model.recommend(users, None, filter_already_liked_items=False)
    np.testing.assert_array_equal(ids, wanted[0])
    assert same_bits(scores, wanted[1])


def test_factors_that_are_not_finite_are_refused():
    model, R = fitted(), confidences()
    model.item_factors[3, 1] = np.nan
    for call in (lambda: model.recalculate_user(0, R[0]), lambda: model.fit(R, show_progress=False)):
        with pytest.raises(ValueError, match="item_factors are not finite in row 3"):
            call()


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda model, bad: model.fit(bad, show_progress=False), "user_items"),
        (lambda model, bad: model.recommend(0, bad), "user_items"),
        (lambda model, bad: model.recommend_all(bad), "user_items"),
        (lambda model, bad: model.recalculate_user(0, bad), "user_items"),
        (lambda model, bad: model.recalculate_item(0, bad), "item_users"),
        (lambda model, bad: model.similar_items(0, recalculate_item=True, item_users=bad), "item_users"),
        (lambda model, bad: model.partial_fit_users([0], bad), "user_items"),
        (lambda model, bad: model.partial_fit_items([0], bad), "item_users"),
        (lambda model, bad: model.explain(0, bad, 0), "user_items"),
    ],
)
@pytest.mark.filterwarnings("ignore:recommend_all is deprecated")
def test_messages_name_the_argument(call, name):
    model = fitted()
    with pytest.raises(TypeError, match=f"^{name} must be a SciPy sparse matrix"):
        call(model, "cells")
    with pytest.raises(ValueError, match=f"^{name}.* not finite in 1 of 1 entries, the first at row 0, column 0"):
        call(model, np.array([[np.nan]]))


@pytest.mark.parametrize(
    "call",
    [
        lambda model: model.recommend(0, confidences()[0]),
        lambda model: model.similar_items(0),
        lambda model: model.similar_users(0),
        lambda model: model.recalculate_user(0, confidences()[0]),
        lambda model: model.explain(0, confidences(), 0),
        lambda model: model.item_norms,
    ],
)
def test_not_fitted(call):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        call(AlternatingLeastSquares())


def test_recommend_all():
    """With an offset it raises there."""
    model, R = fitted(), confidences()
    for offset in (0, 2):
        with pytest.warns(DeprecationWarning, match="recommend_all is deprecated"):
            ids = model.recommend_all(R[offset : offset + 5], N=4, users_items_offset=offset)
        np.testing.assert_array_equal(ids, model.recommend(np.arange(5) + offset, R[offset : offset + 5], N=4)[0])


def test_rank_items():
    model, R = fitted(), confidences()
    with pytest.warns(DeprecationWarning, match="rank_items is deprecated"):
        ids, scores = model.rank_items(0, R[0], [5, 1, 3])
    assert sorted(ids) == [1, 3, 5]
    np.testing.assert_array_equal(scores, np.sort(scores)[::-1])


def test_similar():
    model = fitted()
    for side, call in (("item", model.similar_items), ("user", model.similar_users)):
        Y = getattr(model, f"{side}_factors").astype(np.float64)
        cosines = (Y @ Y.T) / np.outer(getattr(model, f"{side}_norms"), getattr(model, f"{side}_norms"))
        ids, scores = call([0, 1], N=4)
        assert ids.dtype == np.int32
        assert ids[:, 0].tolist() == [0, 1]
        np.testing.assert_allclose(scores, -np.sort(-cosines[[0, 1]], axis=1)[:, :4], rtol=0, atol=1e-5)
        one = call(1, N=4)
        np.testing.assert_array_equal(one[0], ids[1])


def test_similar_after_new_factors():
    model = fitted()
    before = model.similar_items(0, N=9)[1]
    model.item_factors = model.item_factors[::-1].copy()
    assert not np.array_equal(model.similar_items(0, N=9)[1], before)
    model.partial_fit_items([0], confidences().T.tocsr()[2])
    query = model.item_factors @ model.item_factors[0] / model.item_norms / model.item_norms[0]
    np.testing.assert_allclose(model.similar_items(0, N=9)[1], np.sort(query)[::-1], rtol=0, atol=1e-5)


def test_similar_with_lists_and_padding():
    """There the places beyond the items repeat id 0 with score 0."""
    model = fitted()
    ids, scores = model.similar_items(0, N=5, items=[5, 2, 0])
    assert ids.dtype == np.int64
    assert sorted(ids[:3]) == [0, 2, 5]
    assert ids[3:].tolist() == [-1, -1]
    assert (scores[3:] == LOWEST).all()
    ids, scores = model.similar_users(0, N=12, filter_users=[0, 4])
    assert ids[-2:].tolist() == [4, 0]
    assert (scores[-2:] == LOWEST).all()


def test_similar_to_a_recalculated_item():
    model, R = fitted(), confidences()
    column = R.T.tocsr()[0]
    ids, scores = model.similar_items(77, N=3, recalculate_item=True, item_users=column)
    query = model.recalculate_item(0, column)
    cosines = (model.item_factors @ query) / model.item_norms / np.linalg.norm(query)
    np.testing.assert_allclose(scores, np.sort(cosines)[::-1][:3], rtol=0, atol=1e-5)
    assert ids[0] == np.argmax(cosines)


def test_norms_and_grams():
    model = fitted()
    assert model.item_norms[4] == np.float32(1e-10)  # an item without cells
    np.testing.assert_array_equal(model.YtY, model.item_factors.T @ model.item_factors)
    np.testing.assert_array_equal(model.XtX, model.user_factors.T @ model.user_factors)
    np.testing.assert_array_equal(model.user_norms[:2], np.linalg.norm(model.user_factors, axis=1)[:2])


# New data.


def test_recalculate_gives_one_row_for_one_id():
    model, R = fitted(), confidences()
    assert model.recalculate_user(0, R[0]).shape == (4,)
    assert model.recalculate_user([0], R[0]).shape == (1, 4)
    assert model.recalculate_item(0, R.T.tocsr()[0]).shape == (4,)
    assert same_bits(model.recalculate_item([0, 1], R.T.tocsr()[:2])[1], model.recalculate_item(1, R.T.tocsr()[1]))


def test_partial_fit_grows_with_rows_of_zero():
    model, R = fitted(), confidences()
    old, norms = model.user_factors, model.user_norms
    wanted = model.recalculate_user([2, 14], R[[0, 1]])
    model.partial_fit_users([2, 14], R[[0, 1]])
    assert model.user_factors.shape == (15, 4)
    assert same_bits(model.user_factors[[2, 14]], wanted)
    assert not model.user_factors[12:14].any()
    assert same_bits(model.user_factors[3:12], old[3:12])
    assert model.user_norms[2] != norms[2]  # there they were stale once
    model.partial_fit_items(np.array([9]), R.T.tocsr()[0])  # made before there were 15 users
    assert model.item_factors.shape == (10, 4)
    ids, _ = model.recommend(14, R[1], N=10)
    assert sorted(ids) == list(range(10))


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_explain(alpha):
    model, R = fitted(alpha=alpha, dtype="float64"), confidences()
    total, contributions, weights = model.explain(0, R, 5, N=2)
    user = model.recalculate_user(0, R[0])
    assert total == pytest.approx(user @ model.item_factors[5])
    assert len(contributions) == 2
    again = model.explain(0, R[0], 5, user_weights=weights)
    assert again[0] == total
    assert again[1][:2] == contributions
    liked = R[0].indices[R[0].data >= 0]
    assert sorted(item for item, _ in again[1]) == sorted(liked)
    assert sum(score for _, score in again[1]) == pytest.approx(total)


# Files.


@pytest.mark.parametrize("name", ["model", "model.npz", "model.v2"])
def test_save_and_load(tmp_path, name):
    model = fitted(alpha=2.0, use_cg=False, num_threads=1)
    model.cg_steps = 5
    for path in (str(tmp_path / name), tmp_path / name):
        model.save(path)
        loaded = AlternatingLeastSquares.load(path)
        assert loaded.get_params() == model.get_params()
        assert loaded.cg_steps == 5
        assert same_bits(loaded.user_factors, model.user_factors)
        assert same_bits(loaded.item_factors, model.item_factors)


def test_save_to_an_open_file_and_pickle():
    model, file = fitted(), io.BytesIO()
    model.save(file)
    file.seek(0)
    assert same_bits(AlternatingLeastSquares.load(file).item_factors, model.item_factors)
    size = len(pickle.dumps(model))
    model.similar_items(0)
    assert len(pickle.dumps(model)) == size  # what is kept for speed stays here
    assert same_bits(pickle.loads(pickle.dumps(model)).item_factors, model.item_factors)


def test_an_unfitted_model_and_a_generator_are_saved(tmp_path):
    """There a Generator makes a file that cannot be loaded."""
    model = AlternatingLeastSquares(3, random_state=np.random.default_rng(0))
    model.save(tmp_path / "model")
    loaded = AlternatingLeastSquares.load(tmp_path / "model")
    assert (loaded.factors, loaded.random_state, loaded.user_factors) == (3, None, None)


def test_a_file_of_implicit_is_read(tmp_path):
    """With the keys and types that 0.7.3 writes."""
    X, Y = integers()
    np.savez(
        tmp_path / "theirs.npz",
        user_factors=X.astype(np.float32),
        item_factors=Y.astype(np.float32),
        regularization=0.5,
        factors=3,
        num_threads=0,
        iterations=15,
        use_native=True,
        use_cg=False,
        cg_steps=3,
        calculate_training_loss=False,
        dtype="float32",
        random_state=7,
        alpha=2.0,
    )
    model = AlternatingLeastSquares.load(tmp_path / "theirs.npz")
    assert (model.regularization, model.factors, model.use_cg, model.random_state) == (0.5, 3, False, 7)
    assert model.dtype == np.float32
    np.testing.assert_array_equal(model.user_factors, X)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"fit": np.zeros(1)}, "not a saved AlternatingLeastSquares: it has fit"),
        ({"factors": np.array(2), "user_factors": np.zeros((3, 5), np.float32)}, "user_factors has shape"),
        ({"random_state": np.array([object()])}, "not a saved AlternatingLeastSquares"),
    ],
)
def test_bad_files(tmp_path, content, message):
    with warnings.catch_warnings():
        np.savez(tmp_path / "bad.npz", **content)
    with pytest.raises(ValueError, match=message):
        AlternatingLeastSquares.load(tmp_path / "bad.npz")
    (tmp_path / "text.npz").write_text("no zip")
    with pytest.raises(ValueError, match="not a saved"):
        AlternatingLeastSquares.load(tmp_path / "text.npz")
    with pytest.raises(FileNotFoundError):
        AlternatingLeastSquares.load(tmp_path / "nothing")


def test_parameters_are_listed_and_shown():
    model = AlternatingLeastSquares(7, use_cg=False)
    assert "factors=7, " in repr(model)
    assert type(model)(**model.get_params()).get_params() == model.get_params()
