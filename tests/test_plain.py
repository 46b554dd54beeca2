"""The textbook's engine: against the reference, the fast engine against it, and wherever it has to run."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastals
from fastals.engine import basis, fallback, launch, plain, plain_answers, sweep
from fastals.engine.fallback import PlainEngineWarning
from fastals.engine.jit import ParallelKernel
from fastals.engine.model import Model
from fastals.engine.panel import aligned_zeros
from fastals.engine.plan import plan_for
from fastals.engine.problem import BACKGROUND, MINIMUM_NORM, NOT_FINITE, OK
from fastals.engine.shifts import biases_as_offsets, on_panel
from fastals.engine.simd.target import padded
from fastals.errors import SingularRowsWarning
from tests.helpers import (
    CASES,
    Case,
    assert_rows_close,
    dtypes,
    example,
    half_step,
    loss_tolerance,
    same_bits,
    same_model,
    sides,
    stored,
)
from tests.test_topk import full_sort, lists

ROOT = Path(__file__).parent.parent
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
every_model = pytest.mark.parametrize("cls", [fastals.ImplicitALS, fastals.ExplicitALS, fastals.WeightedALS])


def a_model(case: Case, R: np.ndarray, k: int, dtype: str) -> tuple[Model, object]:
    """Both sides' problems, panels with a random start, and the reference."""
    model, reference, given = case.build(R, dtype=dtype, factors=k)
    cells = model._interactions(stored(R, dtype), np.dtype(dtype), **given)
    objective = model._objective()
    statistics = objective.learn(cells)
    width, rng = k + objective.biases, np.random.default_rng(5)
    panels = [aligned_zeros((n, padded(width, dtype)), np.dtype(dtype)) for n in R.shape]
    for panel in panels:
        panel[:, :width] = rng.standard_normal((len(panel), width))
    problems = (
        objective.user_problem(cells.by_user, statistics),
        objective.item_problem(cells.by_item, statistics, R.shape[0]),
    )
    return Model(*problems, *panels, width, k if objective.biases else -1), reference


# One half-step.


@every_case
@every_dtype
@pytest.mark.parametrize("side", ["user", "item"])
def test_a_half_step_is_the_reference_and_the_fast_one_is_this(case: Case, dtype: str, side: str):
    R = example(7)
    R[3] = np.nan
    model, reference = a_model(case, R, 5, dtype)
    problem, Y = (model.users, model.Y) if side == "user" else (model.items, model.X)
    width, n = model.width, problem.cells.n_rows
    wanted, bounds, _ = half_step(reference, R, Y[:, :width].astype(np.float64), side, dtype)
    slow, fast = (aligned_zeros((n, Y.shape[1]), Y.dtype) for _ in range(2))
    slow[...] = np.pi  # what was there does not count
    with biases_as_offsets(problem, Y, model.bias):
        outcome = plain.half_step(on_panel(problem, Y), Y, width, slow, 1)
        background = problem.columns[:, BACKGROUND]
        fixed = basis.fix(Y, background, width, 1)
        plan = plan_for("cholesky", Y.dtype, bool(background.any()), warm=False, last=True)
        theirs = sweep.half_step(on_panel(problem, fixed.panel), fixed.panel, fixed.g, width, fast, plan, 1)
    if fixed.rotation is not None:
        basis.rotate(fast, fixed.rotation.T, 1)
    assert not outcome.status.any()
    assert_rows_close(slow[:, :width], wanted, bounds)
    assert not slow[:, width:].any()
    assert_rows_close(fast[:, :width], slow[:, :width].astype(np.float64), 2 * bounds)
    both = (wanted, Y[:, :width]) if side == "user" else (Y[:, :width], wanted)
    allowed = loss_tolerance(reference, R, *(part.astype(np.float64) for part in both), dtype)
    assert abs(outcome.loss - theirs.loss) <= 2 * allowed


@every_dtype
def test_what_has_no_or_many_solutions_has_a_status(dtype: str):
    R = np.full((3, 4), np.nan)
    R[0, :2], R[1, :3], R[2, 0] = 1.0, 2.0, 1.0
    model, _ = a_model(
        Case(fastals.ExplicitALS, lambda **_: None, {"biases": False, "regularization": 0.0}), R, 2, dtype
    )
    X, Y = model.X, model.Y
    Y[:3] = 0
    Y[:3, :2] = [[1, 0], [0, 1], [1, 1]]
    outcome = plain.half_step(model.users, Y, 2, X, 1)
    assert outcome.status.tolist() == [OK, OK, MINIMUM_NORM]
    assert outcome.unusual.singular == 1
    np.testing.assert_allclose(X[:, :2], [[1, 1], [4 / 3, 4 / 3], [1, 0]], atol=1e-6)
    Y[:3, :2] *= 10
    R[0, :2] = np.finfo(dtype).max / 2  # times 10 beyond what the dtype holds
    problem = model.users._replace(cells=fastals.Interactions(stored(R, dtype), dtype).by_user)
    assert plain.half_step(problem, Y, 2, X, 1).status.tolist() == [NOT_FINITE, OK, MINIMUM_NORM]
    assert not X[0].any()


@every_case
@every_dtype
def test_any_number_of_threads_and_the_serial_loop_have_the_same_bits(case: Case, dtype: str):
    model, _ = a_model(case, example(8, (60, 40)), 9, dtype)
    X = [aligned_zeros(model.X.shape, model.X.dtype) for _ in range(4)]
    losses = {plain.half_step(model.users, model.Y, model.width, X[n], n).loss for n in (1, 2, 3)}
    assert all(same_bits(X[1], X[n]) for n in (2, 3))
    assert len(losses) == 1


# Fits and answers.


@every_case
@every_dtype
def test_a_fit_keeps_the_promises(case: Case, dtype: str):
    R = example(9)
    R[3] = np.nan
    model, reference, given = case.build(R, factors=4, iterations=4, dtype=dtype, solver="plain", random_state=0)
    cells = stored(R, dtype)
    model.fit(cells, **given)
    users, items = sides(model)
    allowed = loss_tolerance(reference, R, users, items, dtype)
    assert (np.diff(model.loss_history_) <= allowed).all()
    assert model.n_iter_ == 4
    assert model.loss(cells, **given) == pytest.approx(reference.loss(R, users, items), abs=allowed)
    assert model.loss_history_[-1] == pytest.approx(reference.loss(R, users, items), abs=4 * allowed)
    assert not users[3].any()
    if not given:
        folded = model.fold_in_users(cells)
        assert same_bits(np.ascontiguousarray(folded[:, :4]), np.ascontiguousarray(model.user_factors_))
    if case.params.get("item_weights") != "array":
        wanted, bounds, _ = half_step(reference, R, users, "item", dtype)
        if not given:
            assert_rows_close(model.fold_in_items(cells), wanted, bounds)


@every_model
def test_the_same_seed_has_the_same_bits_on_any_number_of_threads(cls):
    fits = [cls(4, iterations=2, solver="plain", random_state=1, n_threads=n).fit(stored(example())) for n in (1, 2, 5)]
    assert all(same_model(fits[0], other) for other in fits[1:])


def test_a_callback_ends_a_fit_and_another_goes_on_from_it():
    R, seen = stored(example()), []
    first = fastals.ImplicitALS(3, iterations=9, solver="plain", random_state=0)
    first.fit(R, callback=lambda iteration, model: seen.append(model.loss_history_[-1]) or iteration == 2)
    assert first.n_iter_ == len(seen) == 3
    second = fastals.ImplicitALS(3, iterations=2, solver="plain").fit(R, start=first)
    straight = fastals.ImplicitALS(3, iterations=5, solver="plain", random_state=0).fit(R)
    assert straight.loss_history_[3:] == second.loss_history_
    wider = fastals.ImplicitALS(5, iterations=1, solver="plain", random_state=0).fit(R, start=straight)
    assert wider.loss_history_[0] < straight.loss_history_[-1]


def test_rows_with_many_solutions_are_counted():
    R = np.full((3, 4), np.nan)
    R[1, :2] = 1.0
    model = fastals.ExplicitALS(4, regularization=0.0, biases=False, solver="plain", random_state=0)
    with pytest.warns(SingularRowsWarning, match="^the equations of 1 user and 2 items have more than one solution"):
        model.fit(stored(R))
    np.testing.assert_allclose(model.predict([1, 1], [0, 1]), 1.0, rtol=1e-6)


@every_model
def test_answers_are_those_of_the_fast_kernels(cls):
    R = stored(example(4, (40, 30)))
    model = cls(5, iterations=2, solver="plain", random_state=0, dtype="float64").fit(R)
    asked = [
        lambda: model.recommend(n=31),
        lambda: model.recommend([4, 1], 5, exclude=[2, 3], min_score=0.1),
        lambda: model.recommend([4, 1], 5, exclude=[[1], [2, 3]], allow=[[1, 2, 3, 9], []], exclude_seen=False),
        lambda: model.recommend(R[:3], 5, fold_in=True),
        lambda: model.similar_items([3, 4], 6, exclude=[1]),
        lambda: model.similar_users(3, 6, include_self=True),
    ]
    for ask in asked:
        slow = ask()
        model.set_params(solver="cholesky")
        fast = ask()
        model.set_params(solver="plain")
        assert np.array_equal(slow[0], fast[0])
        np.testing.assert_allclose(slow[1], fast[1], rtol=1e-9, atol=1e-12)


def test_an_update_is_exact_for_the_stored_factors():
    R = np.nan_to_num(example())
    model = fastals.ImplicitALS(4, iterations=2, solver="plain", random_state=0, dtype="float64").fit(R)
    model.update(2, 5, 3.0)
    R[2, 5] = 3.0
    np.testing.assert_allclose(model.fold_in_users(R[[2]])[0], model.user_factors_[2], rtol=1e-10)
    model.update(30, 6, 2.0)
    assert model.user_factors_.shape == (31, 4)
    np.testing.assert_allclose(model.fold_in_users(2.0 * np.eye(20)[[6]])[0], model.user_factors_[30], rtol=1e-10)


@given(
    shape=st.tuples(st.integers(1, 12), st.sampled_from([1, 7, 33]), st.integers(1, 9)),
    n=st.integers(1, 35),
    allow=st.booleans(),
    dtype=dtypes,
    seed=st.integers(0, 2**32 - 1),
)
def test_the_best_are_those_of_a_full_sort(shape, n, allow, dtype, seed):
    rng = np.random.default_rng(seed)
    n_all, n_columns, k = shape
    X, Y = (rng.integers(-2, 3, (length, k)).astype(dtype) for length in (n_all, n_columns))
    rows = rng.integers(0, n_all, 5)
    masks = [rng.random((n_all, n_columns)) < 0.3 for _ in range(3)]
    offsets = rng.integers(-2, 3, 5).astype(dtype), rng.integers(-2, 3, n_columns).astype(dtype)
    barred = rng.random(n_columns) < 0.2
    columns = plain_answers.Columns(Y, offsets[1]).less(barred)
    excluded, allowed = tuple(lists(mask, rows) for mask in masks[:2]), lists(masks[2], rows) if allow else None
    ids, scores = plain_answers.top_n(X, columns, n, rows, offsets[0], excluded, allowed)
    left_out = masks[0] | masks[1] | barred | (~masks[2] if allow else False)
    wanted_ids, wanted = full_sort(X[rows] @ Y.T + (offsets[0][:, None] + offsets[1]), left_out[rows], n)
    assert np.array_equal(ids, wanted_ids)
    assert np.array_equal(scores, wanted)
    assert (ids.dtype, scores.dtype) == (np.dtype(np.int32), np.dtype(dtype))


def test_a_score_that_is_not_a_number_is_none():
    Y = np.array([[1.0], [np.nan], [-np.inf], [2.0]])
    columns = plain_answers.Columns(Y, np.zeros(4))
    ids, scores = plain_answers.top_n(np.ones((1, 1)), columns, 4, np.array([0]), None, (), None)
    assert ids.tolist() == [[3, 0, -1, -1]]
    assert scores.tolist() == [[2.0, 1.0, -np.inf, -np.inf]]


# Launches.


@pytest.fixture
def ran():
    """A kernel that writes down how it was called, and on how many of Numba's threads."""
    calls = []
    kernel = ParallelKernel(
        lambda x: calls.append(("parallel", x, numba.get_num_threads())), lambda x: calls.append(("serial", x, 1))
    )
    return kernel, calls


def test_a_launch_takes_the_threads_asked_for_and_gives_them_back(ran):
    kernel, calls = ran
    most = numba.config.NUMBA_NUM_THREADS
    before = numba.get_num_threads()
    for n in (1, 2, most + 5):
        launch.launch(kernel, n, n)
    wanted = [("parallel", n, min(n, most)) if min(n, most) > 1 else ("serial", n, 1) for n in (1, 2, most + 5)]
    assert calls == wanted
    assert numba.get_num_threads() == before
    assert not launch._launching.locked()


def test_what_fails_gives_lock_and_threads_back():
    def fails():
        raise KeyboardInterrupt

    before = numba.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        launch.launch(ParallelKernel(fails, fails), 2)
    assert not launch._launching.locked()
    assert numba.get_num_threads() == before


def test_a_second_launch_at_once_is_serial(ran):
    kernel, calls = ran
    with launch._launching:
        launch.launch(kernel, 2, "x")
    assert calls == [("serial", "x", 1)]


def test_a_forked_child_is_serial(ran, monkeypatch):
    kernel, calls = ran
    monkeypatch.setattr(launch, "HOME", -1)
    launch.launch(kernel, 2, "x")
    assert calls == [("serial", "x", 1)]


def no_layer():
    raise ValueError("No threading layer could be loaded.")


@pytest.mark.parametrize(
    ("name", "replacement"), [("threading_layer", lambda: "workqueue"), ("get_num_threads", no_layer)]
)
def test_a_layer_that_is_not_safe_is_left_alone(ran, monkeypatch, name, replacement):
    kernel, calls = ran
    launch._layer_is_safe.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(numba, name, replacement)
        launch.launch(kernel, 2, "x")
    launch._layer_is_safe.cache_clear()
    assert calls == [("serial", "x", 1)]


def test_two_threads_fit_at_once():
    R = stored(example(1, (300, 200)))

    def fitted(seed):
        return fastals.ImplicitALS(8, iterations=6, solver="plain", random_state=seed, n_threads=2).fit(R)

    alone, found = [fitted(seed) for seed in range(4)], {}
    threads = [threading.Thread(target=lambda seed=seed: found.update({seed: fitted(seed)})) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same_model(alone[seed], found[seed]) for seed in range(4))


# Other processes.

FITS = """
import hashlib, sys, warnings
import numpy as np
warnings.simplefilter("always")
import fastals
from tests.helpers import example, stored
R = stored(example(), "float32")
def bits(solver):
    digest = hashlib.sha256()
    for cls in (fastals.ImplicitALS, fastals.ExplicitALS, fastals.WeightedALS):
        model = cls(3, iterations=2, solver=solver, random_state=0, n_threads=2).fit(R)
        model.update(0, 1)
        numbers = [model.user_factors_, model.item_factors_, model.fold_in_users(R), model.fold_in_items(R)]
        numbers += [*model.recommend(n=4), *model.recommend(2, exclude=[1]), *model.similar_items([1, 2], 3)]
        for array in numbers + [np.array([model.loss(R), *model.loss_history_]), model.predict([0, 1], 2)]:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
"""


def run(script: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def compiled() -> str:
    """The bits of fits and answers of the plain engine, compiled."""
    done = run(FITS + 'print(bits("plain"))')
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_all_of_it_runs_without_a_compiler_to_the_same_bits(compiled):
    done = run(FITS + 'print(bits("plain"))', NUMBA_DISABLE_JIT="1")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", compiled)


def test_without_a_compiler_every_solver_is_the_plain_one(compiled):
    done = run(FITS + 'print(bits("auto"))', NUMBA_DISABLE_JIT="1")
    assert (done.returncode, done.stdout) == (0, compiled)
    assert done.stderr.count("PlainEngineWarning") == 1


@pytest.mark.parametrize("layer", ["workqueue", "tbb"])
def test_under_any_threading_layer(compiled, layer):
    done = run(FITS + 'print(bits("plain"))', NUMBA_THREADING_LAYER=layer)
    assert (done.returncode, done.stdout) == (0, compiled), done.stderr


WITHOUT_VECTORS = """
from fastals.engine.simd import kernels
def refuse(*arguments):
    raise RuntimeError("LLVM cannot select this instruction")
kernels._emitted = refuse
"""


def copy_of_cache(folder):
    """Fill a cache with what is compiled of the plain engine, and of nothing else."""

    def others(_, names):
        return [name for name in names if name.endswith((".nbi", ".nbc")) and not name.startswith("plain")]

    shutil.copytree(os.environ["NUMBA_CACHE_DIR"], folder, ignore=others, dirs_exist_ok=True)


def test_where_vector_kernels_cannot_be_compiled_it_serves_with_one_warning(compiled, tmp_path):
    compat = """
from fastals.compat.implicit import AlternatingLeastSquares
R.data = abs(R.data) + 1
model = AlternatingLeastSquares(3, iterations=2, random_state=0)
model.fit(R, show_progress=False)
assert model.recommend([0, 1], R[:2], N=3)[0].shape == (2, 3)
"""
    copy_of_cache(tmp_path)
    done = run(FITS + WITHOUT_VECTORS + 'print(bits("auto"))' + compat, NUMBA_CACHE_DIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, compiled), done.stderr
    assert done.stderr.count("PlainEngineWarning") == 1
    assert "cannot be compiled for this CPU" in done.stderr


FORKS = """
import os
wanted = bits("plain")
for _ in range(3):
    child = os.fork()
    if child == 0:
        os._exit(bits("plain") != wanted)
    assert os.waitpid(child, 0)[1] == 0
print(bits("plain"))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_fits_after_its_parent_did(compiled):
    done = run(FITS + FORKS)
    assert (done.returncode, done.stdout) == (0, compiled), done.stderr


def test_the_kernels_are_looked_at_once():
    assert fallback.vector_kernels_compile()
    assert fallback.is_plain("plain")
    assert not fallback.is_plain("auto")
    assert issubclass(PlainEngineWarning, RuntimeWarning)
