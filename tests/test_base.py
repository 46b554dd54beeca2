"""What the models share: the loop of a fit, several threads and processes, and what fits and fold-ins refuse."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import threading
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from fastals import ExplicitALS, ImplicitALS, NotFittedError, WeightedALS
from fastals.errors import SingularRowsWarning
from tests.helpers import (
    CASES,
    CLASSIC,
    GOOD,
    SMALL,
    assert_rows_close,
    every_model,
    example,
    fitted,
    half_step,
    loss_tolerance,
    reference_of,
    refused,
    same_bits,
    same_model,
    sides,
    stored,
)

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
    reference = reference_of(cls) if cls is not ExplicitALS else CASES["explicit"].reference()
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
    model = fitted(cls, iterations=0, **CLASSIC.get(cls, {}))
    assert model.n_iter_ == 0 == len(model.loss_history_)
    wanted, bounds, _ = half_step(reference_of(cls), example(), sides(model)[1], "user", "float64")
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
            r"item_weights must be finite and at least 0: item 0 with \d+ interactions got -1.0",
        ),
        (
            WeightedALS,
            {"item_weights": np.where(np.arange(20) == 4, np.nan, 1.0)},
            ValueError,
            r"item_weights must be finite and at least 0: item 4 with \d+ interactions got nan",
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


@every_model
def test_fold_in_of_the_wrong_width(cls):
    model = fitted(cls, R=example())
    columns = r"R_new has shape \(4, 7\): columns are items and the model has 20 of them, got 7; .*"
    turned = (
        r"R_new has shape \(20, 4\): columns are items and the model has 20 of them, got 4 \(is it transposed\?\); .*"
    )
    rows = r"R has shape \(20, 30\): rows are users and the model has 30 of them, got 20 \(is it transposed\?\); .*"
    refused(columns, ValueError, model, np.ones((4, 7)), method="fold_in_users")
    refused(turned, ValueError, model, np.ones((20, 4)), method="fold_in_users")
    refused(rows.replace("R has", "R_new has"), ValueError, model, stored(example()).T, method="fold_in_items")
    refused(rows, ValueError, model, stored(example()).T, method="loss")


def test_triplets_are_as_wide_as_the_model():
    model = fitted()
    assert same_bits(model.fold_in_users([(0, 3, 1.0)]), model.fold_in_users(np.eye(1, 20, 3)))
    assert same_bits(model.fold_in_items([(3, 0, 1.0)]), model.fold_in_items(np.eye(30, 1, -3)))
    sentence = r"R_new\[0\]: the model has 20 items, numbered from 0, got 20"
    refused(sentence, ValueError, model, [(0, 20, 1.0)], method="fold_in_users")


def test_new_items_of_unknown_weight():
    sentence = (
        "item_weights is an array with the weights of the training items, so the weights of new items are "
        "unknown: fit with a function counts -> weights to add or fold in items"
    )
    model = fitted(WeightedALS, item_weights=np.ones(20))
    refused(sentence, ValueError, model, np.ones((30, 1)), method="fold_in_items")


PREDICT = "; unknown='mean' or 'nan' predicts for such ids too"
NUMBERED = "users must be integers, as users and items without ids are numbered"


@pytest.mark.parametrize(
    ("users", "items", "error", "sentence"),
    [
        (30, 0, ValueError, f"users is 30: ids run from 0 to 29{PREDICT}"),
        (0, [0, -1], ValueError, rf"items\[1\] is -1: ids run from 0 to 19 \(1 of 2 are out of range\){PREDICT}"),
        ([0, 1], [0, 1, 2], ValueError, "users and items must be of equal length, got 2 and 3"),
        ("alice", 0, TypeError, rf"{NUMBERED}, got <U5 \(the first is 'alice'\)"),
        (0.5, 0, TypeError, rf"{NUMBERED}, got float64 \(the first is 0.5\)"),
        (True, 0, TypeError, rf"{NUMBERED}, got bool \(the first is True\)"),
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


@pytest.mark.filterwarnings("ignore::fastals.errors.SingularRowsWarning")
def test_whichever_way_it_is_fitted_a_warning_names_the_line_of_the_caller():
    R = np.where(np.eye(4) > 0, 1.0, np.nan)
    model = ExplicitALS(2, regularization=0, biases=False, random_state=0).fit(R)
    for fit in (model.refit, partial(model.fit, start=model), partial(model.fit, validation=R, metric="rmse")):
        with pytest.warns(SingularRowsWarning) as told:
            fit(R)
        assert [warning.filename for warning in told] == [__file__]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_without_a_unique_solution_gets_the_smallest(seed, dtype):
    R = np.random.default_rng(seed).normal(size=(30, 40))
    R[3, 2:] = np.nan
    model = ExplicitALS(5, regularization=0, biases=False, dtype=dtype, random_state=seed)
    sentence = f"^the equations of 1 user have more than one solution in {dtype}: each got the smallest one; raise reg"
    with pytest.warns(SingularRowsWarning, match=sentence) as told:
        model.fit(R)
    assert [warning.filename for warning in told] == [__file__]
    users, items = sides(model)
    wanted = np.linalg.lstsq(items[:2], R[3, :2], rcond=None)[0]
    accuracy = 1e-4 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(users[3], wanted, rtol=0, atol=accuracy * np.abs(wanted).max())
    assert same_bits(model.fold_in_users(R), np.ascontiguousarray(model.user_factors_))


def test_a_solution_beyond_the_dtype():
    R = example()
    R[3, 5] = 3e38
    model = fitted(WeightedALS, dtype="float32")
    sentence = (
        r"(user|item) \d+ with \d+ interactions cannot be solved in float32: .*; raise .*, or use dtype='float64'"
    )
    refused(sentence, np.linalg.LinAlgError, model, stored(R))


@pytest.mark.parametrize("solver", ["auto", "cg", "cholesky"])
def test_numbers_that_overflow_are_an_error_with_any_solver(solver):
    model = WeightedALS(factors=16, iterations=3, solver=solver, random_state=0, unobserved_weight=1.0)
    sentence = (
        r"(user|item) \d+ with \d+ interactions cannot be solved in float32: .*; raise .*, or use dtype='float64'"
    )
    R = example(1, (60, 50), 0.3)
    refused(sentence, np.linalg.LinAlgError, model, stored(np.abs(R) * 1e19))


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
