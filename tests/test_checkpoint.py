"""Fits that are interrupted and go on from their checkpoint, to the bits of those that are not."""

import errno
import os
import sys
import time
import warnings
from pathlib import Path
from threading import get_ident

import numpy as np
import pytest

import fastals
from fastals import ExplicitALS, ImplicitALS, Interactions, WeightedALS, checkpoint, places, storage
from fastals.engine import threads
from fastals.engine.model import Model
from tests.helpers import example, interrupted, same_model, stored

R = stored(example(0, (60, 40)), "float64")
ITERATIONS = 6
FIT = {"factors": 5, "iterations": ITERATIONS, "random_state": 3}
posix = pytest.mark.skipif(os.name != "posix", reason="needs fork and limits of POSIX")


class Stop(Exception):  # noqa: N818
    pass


def until(last: int):
    """Stop with an exception after an iteration."""

    def callback(iteration, model):
        if iteration == last:
            raise Stop

    return callback


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "fit.npz"


# The same bits.

KINDS = {
    "implicit": (ImplicitALS, {}),
    "implicit, only observed": (ImplicitALS, {"unobserved_weight": 0.0, "regularization": 1.0}),
    "implicit, biases": (ImplicitALS, {"biases": True}),
    "explicit": (ExplicitALS, {}),
    "explicit, no biases": (ExplicitALS, {"biases": False}),
    "weighted": (WeightedALS, {"item_weights": fastals.LinearWeights(), "unobserved_weight": 0.5}),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("solver", ["auto", "cholesky", "cg", "plain"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_goes_on_to_the_same_bits_from_every_iteration(path, kind, solver, dtype):
    model, params = KINDS[kind]
    params = FIT | params | {"solver": solver, "dtype": dtype}
    states = {}
    whole = model(**params).fit(R, callback=lambda iteration, model: states.update({iteration: model}))
    for last in range(ITERATIONS):
        path.unlink(missing_ok=True)
        with pytest.raises(Stop):
            model(**params).fit(R, checkpoint=path, callback=until(last))
        seen = {}
        again = model(**params, n_threads=1).fit(
            R, checkpoint=path, callback=lambda iteration, model, seen=seen: seen.update({iteration: model})
        )
        assert same_model(again, whole)
        assert list(seen) == list(range(last, ITERATIONS))
        assert all(same_model(seen[iteration], states[iteration]) for iteration in seen)
    assert os.listdir(path.parent) == [path.name]


def test_it_is_written_after_every_so_many_iterations_and_after_the_last(path, monkeypatch):
    written = []
    original = storage.write
    monkeypatch.setattr(
        storage,
        "write",
        lambda path, header, arrays: written.append(len(arrays["losses"])) or original(path, header, arrays),
    )
    ImplicitALS(2, iterations=8, random_state=0).fit(R, checkpoint=path, checkpoint_every=3)
    assert written == [3, 6, 8]


def test_what_is_kept_of_a_panel_is_all_of_it(path, monkeypatch):
    """Its padding is 0 throughout."""
    original = checkpoint.Checkpoint.keep
    seen = []

    def keep(self, *arguments):
        model = self._model
        seen.append(model.X[:, model.width :].any() or model.Y[:, model.width :].any())
        original(self, *arguments)

    monkeypatch.setattr(checkpoint.Checkpoint, "keep", keep)
    ExplicitALS(**FIT).fit(R, checkpoint=path)
    ImplicitALS(**FIT).fit(R, checkpoint=path.with_name("other"))
    assert seen == [False] * 2 * ITERATIONS


def test_a_finished_fit_goes_on_with_more_iterations_and_is_there_at_once_with_as_many(path):
    model = ImplicitALS(**FIT).fit(R, checkpoint=path)
    content = path.read_bytes()
    assert same_model(ImplicitALS(**FIT).fit(R, checkpoint=path), model)
    assert path.read_bytes() == content  # no iteration was done
    longer = FIT | {"iterations": ITERATIONS + 3}
    assert same_model(ImplicitALS(**longer).fit(R, checkpoint=path), ImplicitALS(**longer).fit(R))
    with pytest.raises(ValueError, match=f"has {ITERATIONS + 3} iterations and iterations is {ITERATIONS}: at least"):
        ImplicitALS(**FIT).fit(R, checkpoint=path)


@pytest.mark.parametrize("solver", ["auto", "plain"])
@pytest.mark.parametrize("ending", [{"tol": 1e-2}, {"callback": lambda iteration, model: iteration == 2}])
def test_a_fit_that_has_ended_early_ends_there_again(path, solver, ending):
    def fit(**options):
        callback = ending.get("callback")
        return ImplicitALS(**FIT | {"iterations": 30}, tol=ending.get("tol", 0.0), solver=solver).fit(
            R, callback=callback, **options
        )

    whole = fit()
    assert 1 < whole.n_iter_ < 30
    assert same_model(fit(checkpoint=path), whole)
    assert same_model(fit(checkpoint=path), whole)


@pytest.mark.parametrize("state", [lambda: None, lambda: np.random.default_rng(1), lambda: np.random.RandomState(1)])
def test_a_start_that_cannot_be_drawn_again_is_in_the_checkpoint(path, state):
    states = []
    params = FIT | {"random_state": state()}
    whole = ImplicitALS(**params).fit(
        R, checkpoint=path, callback=lambda *_: states.append(path.read_bytes()) and False
    )
    path.write_bytes(states[1])
    assert same_model(ImplicitALS(**FIT | {"random_state": state()}).fit(R, checkpoint=path), whole)


def test_a_seed_sequence_is_a_seed(path):
    params = FIT | {"random_state": np.random.SeedSequence(5)}
    model = ImplicitALS(**params).fit(R, checkpoint=path)
    assert same_model(ImplicitALS(**params).fit(R, checkpoint=path), model)
    with pytest.raises(ValueError, match="made with random_state=SeedSequence"):
        ImplicitALS(**FIT | {"random_state": np.random.SeedSequence(6)}).fit(R, checkpoint=path)


@pytest.mark.parametrize("factors", [5, 7])
@pytest.mark.parametrize("solver", ["auto", "plain"])
def test_a_fit_with_a_start_goes_on(path, solver, factors):
    start = ImplicitALS(**FIT, solver=solver).fit(R)
    params = FIT | {"factors": factors, "regularization": 0.1, "solver": solver}
    whole = ImplicitALS(**params).fit(R, start=start)
    for last in (0, 3):
        path.unlink(missing_ok=True)
        with pytest.raises(Stop):
            ImplicitALS(**params).fit(R, start=start, checkpoint=path, callback=until(last))
        assert same_model(ImplicitALS(**params).fit(R, start=start, checkpoint=path), whole)
    other = ImplicitALS(**FIT | {"random_state": 4}, solver=solver).fit(R)
    for given, sentence in ((None, "made with a start, this fit has none"), (other, "made with another start")):
        with pytest.raises(ValueError, match=sentence):
            ImplicitALS(**params).fit(R, start=given, checkpoint=path)


def test_a_refit_goes_on(path):
    model, twin = (ImplicitALS(**FIT).fit(R) for _ in range(2))
    twin.refit(R)
    with pytest.raises(Stop):
        model.refit(R, checkpoint=path, callback=until(2))
    assert same_model(model.refit(R, checkpoint=path), twin)
    with pytest.raises(ValueError, match="made with another start"):
        model.refit(R, checkpoint=path)


def test_names_and_paths_as_in_save(path):
    model = ImplicitALS(**FIT).fit(R, checkpoint=str(path.with_suffix("")))
    assert same_model(ImplicitALS(**FIT).fit(R, checkpoint=path), model)


# Ctrl-C.


def interrupt(last: int):
    def callback(iteration, model):
        if iteration == last:
            raise KeyboardInterrupt

    return callback


@pytest.mark.parametrize("solver", ["auto", "plain"])
def test_an_interrupted_first_fit_leaves_what_the_callback_had(solver, caplog):
    states = []
    model = ImplicitALS(**FIT, solver=solver)
    ImplicitALS(**FIT, solver=solver).fit(R, callback=lambda iteration, model: states.append(model) and False)
    with pytest.raises(KeyboardInterrupt):
        model.fit(R, callback=interrupt(3))
    assert same_model(model, states[3])
    assert model.n_iter_ == 4
    assert model.recommend(0, 3)[0].shape == (3,)
    assert caplog.messages == ["the fit was interrupted: the model has the state after iteration 4 of 6"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_first_fit_leaves_the_checkpoint(path, kind, monkeypatch, caplog):
    states = []
    kind, params = KINDS[kind]
    model = kind(**FIT | params)
    kind(**FIT | params).fit(R, callback=lambda iteration, model: states.append(model) and False)
    original = checkpoint.Checkpoint.keep

    def keep(self, begin, losses, reached):
        original(self, begin, losses, reached)
        if reached.iteration == 4:
            self._model.X[:], self._model.Y[:] = 7, 8  # as if in the middle of a half-step
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint.Checkpoint, "keep", keep)
        with pytest.raises(KeyboardInterrupt):
            model.fit(R, checkpoint=path, checkpoint_every=2)
    assert same_model(model, states[3])
    assert caplog.messages == ["the fit was interrupted: the model has the state after iteration 4 of 6"]
    assert same_model(model.fit(R, checkpoint=path), kind(**FIT | params).fit(R))


def test_an_interrupted_fit_leaves_a_fitted_model_as_it_was(path, caplog):
    model, twin = (ImplicitALS(**FIT).fit(R) for _ in range(2))
    with pytest.raises(KeyboardInterrupt):
        model.set_params(alpha=3.0).fit(R, checkpoint=path, callback=interrupt(3))
    assert same_model(model, twin)
    assert caplog.messages == []


def test_without_a_complete_iteration_nothing_is_left(path, monkeypatch):
    def keep(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.Checkpoint, "keep", keep)
    model = ImplicitALS(**FIT)
    with pytest.raises(KeyboardInterrupt):
        model.fit(R, checkpoint=path)
    with pytest.raises(fastals.NotFittedError):
        model.recommend(0)


# Other fits are refused.

IDS = {"user_ids": [f"u{u}" for u in range(60)], "item_ids": np.arange(40) + 100}


def changed(**parts):
    """R with other parts."""
    other = R.copy()
    for name, array in parts.items():
        getattr(other, name)[...] = array
    return other


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"alpha": 2.0}, r"made with alpha=0.0, this model has alpha=2.0; name another file, or delete"),
        ({"factors": 6, "alpha": 3}, "with factors=5, this model has factors=6; it was made with regularization="),
        (
            {"regularization": (0.01, 0.1)},
            r"regularization=\[[0-9.]+, [0-9.]+\], this model has regularization=\[0.01, 0.1\]",
        ),
        ({"solver": "cg"}, "made with solver=auto, this model has solver=cg"),
        ({"dtype": "float64"}, "made with dtype=float32, this model has dtype=float64"),
        ({"random_state": 4}, "made with random_state=3, this model has random_state=4"),
        ({"random_state": None}, "made with random_state=3, this model has random_state=None or a generator"),
        ({"R": R[:50]}, r"made with R of shape \(60, 40\), this R has \(50, 40\)"),
        ({"R": changed(data=R.data * 2)}, "another R, of which values differ"),
        ({"R": Interactions(R, **IDS)}, "another R, of which user ids and item ids differ"),
        ({"weights": np.linspace(0, 1, R.nnz)}, "another R, of which weights differ"),
        ({"kind": ExplicitALS}, "made by ImplicitALS, this model is ExplicitALS"),
    ],
)
def test_another_fit_is_refused_and_the_file_left_alone(path, change, sentence):
    ImplicitALS(**FIT).fit(R, checkpoint=path)
    content = path.read_bytes()
    params = FIT | {name: value for name, value in change.items() if name not in ("R", "weights", "kind")}
    model = change.get("kind", ImplicitALS)(**params)
    with pytest.raises(ValueError, match=rf"checkpoint \S+ is of another fit: it was .*{sentence}"):
        model.fit(change.get("R", R), weights=change.get("weights"), checkpoint=path)
    assert path.read_bytes() == content


def test_a_long_part_is_told_in_short(path):
    ImplicitALS(**FIT).fit(R, checkpoint=path)
    header, arrays = storage.read(path)
    header["identity"]["shape"] = [60, [40] * 1000]
    storage.write(path, header, arrays)
    with pytest.raises(ValueError, match=r"made with R of shape \(60, \[40, ") as caught:
        ImplicitALS(**FIT).fit(R, checkpoint=path)
    assert len(str(caught.value)) < 500


def test_entries_are_compared(path):
    other = R[:, ::-1].tocsr()
    ImplicitALS(**FIT).fit(R, checkpoint=path)
    with pytest.raises(ValueError, match="another R, of which entries"):
        ImplicitALS(**FIT).fit(other, checkpoint=path)


def test_item_weights_are_compared_by_value(path):
    WeightedALS(**FIT, item_weights=fastals.LinearWeights()).fit(R, checkpoint=path)
    own = WeightedALS(**FIT, item_weights=lambda counts: 0.1 + 1 / np.maximum(counts, 1))
    own.fit(R, checkpoint=path)
    with pytest.raises(ValueError, match="made with item_weights that give other weights"):
        own.set_params(item_weights=None).fit(R, checkpoint=path)


def test_what_does_not_change_the_bits_may_change(path):
    model = ImplicitALS(**FIT, alpha=2, regularization=0.01).fit(R, checkpoint=path)
    again = ImplicitALS(**FIT, alpha=2.0, n_threads=1, tol=1e-30, regularization=(0.01, 0.01))
    assert same_model(again.fit(R.tocoo(), checkpoint=path), model)


def test_elsewhere_it_goes_on_with_a_warning(path, monkeypatch):
    whole = ImplicitALS(**FIT).fit(R)
    with monkeypatch.context() as patched:
        elsewhere = checkpoint.environment() | {"CPU": "a80486", "NumPy": "0.9"}
        patched.setattr(checkpoint, "environment", lambda: elsewhere)
        with pytest.raises(Stop):
            ImplicitALS(**FIT).fit(R, checkpoint=path, callback=until(2))
    with pytest.warns(RuntimeWarning, match="made with another NumPy, another CPU: the fit goes on") as caught:
        assert same_model(ImplicitALS(**FIT).fit(R, checkpoint=path), whole)
    assert caught[0].filename == __file__


# What is no checkpoint.


def test_other_files_are_refused_and_left_alone(path):
    model = ImplicitALS(**FIT).fit(R)
    model.save(path)
    written = [path.read_bytes(), b"", b"my notes\n"]
    with pytest.raises(Stop):
        ImplicitALS(**FIT).fit(R, checkpoint=path.with_name("real"), callback=until(0))
    real = path.with_name("real.npz").read_bytes()
    for content in (*written, real[:-100], real[:1000] + b"x" + real[1001:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"checkpoint \S+ is not one, or is damaged \(.*\); name another file, or"):
            ImplicitALS(**FIT).fit(R, checkpoint=path)
        assert path.read_bytes() == content
    with pytest.raises(ValueError, match="is not one, or is damaged"):
        ImplicitALS(**FIT).fit(R, checkpoint=path.parent)


def drop(name):
    return lambda header, arrays: (header if name in header else arrays).pop(name)


def put(name, value):
    return lambda header, arrays: (arrays if isinstance(value, np.ndarray) else header).update({name: value})


@pytest.mark.parametrize(
    "damage",
    [
        *map(drop, ("checkpoint", "identity", "environment", "users", "done", "items", "losses")),
        *(put("identity", value) for value in (None, 1, {}, [], {"model": "ImplicitALS", "params": 1})),
        *(put("environment", value) for value in (None, 1, [])),
        *(put("users", value) for value in (None, "known", 3, [])),
        *(put("done", value) for value in (None, -1, 1.5, "2", True)),
        *(put("users", np.zeros(shape, np.float32)) for shape in ((60, 6), (59, 5), (0,), ())),
        put("items", np.zeros((40, 5))),
        *(put("losses", np.zeros(shape)) for shape in (0, (), (1, 1))),
        put("ridge_user", np.zeros((5, 6))),
        put("ridge_item", np.zeros((5, 5), np.float32)),
        put("checkpoint", 2),
    ],
)
def test_parts_that_do_not_fit_are_refused(path, damage):
    with pytest.raises(Stop):
        ImplicitALS(**FIT).fit(R, checkpoint=path, callback=until(1))
    header, arrays = storage.read(path)
    damage(header, arrays)
    storage.write(path, header, arrays)
    with pytest.raises(ValueError, match=r"checkpoint \S+ is not one, or is damaged"):
        ImplicitALS(**FIT).fit(R, checkpoint=path)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"checkpoint": 3}, TypeError, "checkpoint must be the path of a file, or None, got 3"),
        ({"checkpoint": ""}, TypeError, "checkpoint must be the path of a file, or None, got ''"),
        ({"checkpoint": b"x"}, TypeError, "checkpoint must be the path of a file, or None, got b'x'"),
        ({"checkpoint_every": 0}, ValueError, "checkpoint_every must be at least 1, got 0"),
        ({"checkpoint_every": 1.5}, TypeError, "checkpoint_every must be an integer"),
        ({"checkpoint_errors": "ignore"}, ValueError, "checkpoint_errors must be one of 'raise', 'warn', got 'ignore'"),
    ],
)
def test_arguments(options, error, sentence):
    with pytest.raises(error, match=sentence):
        ImplicitALS(**FIT).fit(R, **options)


# Disks.


def no_work(*_):
    raise AssertionError("an iteration was begun")


@pytest.fixture
def idle(monkeypatch):
    monkeypatch.setattr("fastals.engine.alternation.Alternation.fit", no_work)


@pytest.mark.parametrize("errors", ["raise", "warn"])
def test_a_folder_that_is_not_there_is_named_before_work(tmp_path, idle, errors):
    with pytest.raises(FileNotFoundError, match=r"cannot write \S+gone/fit.npz .* check that its folder exists"):
        ImplicitALS(**FIT).fit(R, checkpoint=tmp_path / "gone" / "fit.npz", checkpoint_errors=errors)


@posix
def test_a_file_that_finds_no_room_is_told_before_work(path, idle):
    import resource

    if not hasattr(os, "posix_fallocate"):
        pytest.skip("the system cannot reserve room")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match=r"cannot write \S+fit.npz .*has room") as caught:
            ImplicitALS(**FIT).fit(R, checkpoint=path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert os.listdir(path.parent) == []


# Python tells of what is raised between the opening of a file and the `with` that closes it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 may raise between a `with` block and its end")
def test_an_interrupt_while_room_is_reserved_leaves_nothing(path):
    request = checkpoint.requested(path, 1, "raise")
    panels = Model(None, None, np.zeros((60, 16)), np.zeros((40, 16)), 5, -1)
    file = checkpoint.Checkpoint(request, {}, panels, ITERATIONS)
    codes = {checkpoint.__file__, storage.__file__, places.__file__}
    steps = 0
    while interrupted(file.resume, lambda frame: frame.f_code.co_filename in codes, steps + 1):
        steps += 1
        assert os.listdir(path.parent) == []
    assert steps > 20


def fail_from(monkeypatch, iteration: int, number: int = errno.ENOSPC) -> None:
    """Let the disk be full when a checkpoint of this iteration is written, counted from 1, or of a later one."""
    original = storage._write_member

    def write(archive, name, array):
        if name == "losses" and len(array) >= iteration:
            raise OSError(number, os.strerror(number))
        return original(archive, name, array)

    monkeypatch.setattr(storage, "_write_member", write)


def test_a_disk_that_gets_full_ends_the_fit_and_the_last_checkpoint_stays(path, monkeypatch):
    with monkeypatch.context() as patched:
        fail_from(patched, 4)
        with pytest.raises(
            OSError, match=r"no checkpoint of iteration 4: cannot write .*No space.*checkpoint_errors='warn'"
        ) as caught:
            ImplicitALS(**FIT).fit(R, checkpoint=path)
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(path.parent) == [path.name]
    assert len(storage.read(path)[1]["losses"]) == 3
    assert same_model(ImplicitALS(**FIT).fit(R, checkpoint=path), ImplicitALS(**FIT).fit(R))


@pytest.mark.parametrize("way", ["beside the fit", "no thread", "a thread that dies", "large"])
def test_the_file_is_written_beside_the_fit_where_it_can_be(path, way, monkeypatch):
    writers = []
    original = storage.write
    monkeypatch.setattr(storage, "write", lambda *args: writers.append(get_ident()) or original(*args))
    params = FIT | {"n_threads": 1}
    if way == "large":
        monkeypatch.setattr(checkpoint, "COPIED", 0)
    elif way != "beside the fit":

        def start(*_):
            if way == "no thread":
                raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threads, "start_new_thread", start)
    model = ImplicitALS(**params).fit(R, checkpoint=path)
    assert len(writers) == ITERATIONS
    if way != "beside the fit":  # there whoever comes first writes
        assert set(writers) == {get_ident()}
    assert len(storage.read(path)[1]["losses"]) == ITERATIONS
    assert same_model(ImplicitALS(**params).fit(R, checkpoint=path), model)


def test_the_callback_finds_the_checkpoint_of_its_iteration(path):
    found = []
    ImplicitALS(**FIT).fit(R, checkpoint=path, callback=lambda *_: found.append(len(storage.read(path)[1]["losses"])))
    assert found == list(range(1, ITERATIONS + 1))


def test_a_fit_that_ends_otherwise_waits_for_the_file(path, monkeypatch):
    """Whatever else ends it, and though the file takes longer."""
    original = storage.write

    def slowly(*args):
        time.sleep(0.2)
        return original(*args)

    monkeypatch.setattr(storage, "write", slowly)
    monkeypatch.setattr("fastals.base.Progress.__call__", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ImplicitALS(**FIT).fit(R, checkpoint=path, progress=True)
    assert os.listdir(path.parent) == [path.name]
    assert len(storage.read(path)[1]["losses"]) == 1


def test_a_fit_may_go_on_without_checkpoints(path, monkeypatch):
    whole = ImplicitALS(**FIT).fit(R)
    with monkeypatch.context() as patched:
        fail_from(patched, 5)
        with pytest.warns(RuntimeWarning, match=r"no checkpoint of iteration \d: cannot write .*No space") as caught:
            model = ImplicitALS(**FIT).fit(R, checkpoint=path, checkpoint_errors="warn")
    assert len(caught) == 2
    assert {warning.filename for warning in caught} == {__file__}
    assert same_model(model, whole)
    with monkeypatch.context() as patched:
        fail_from(patched, 1)
        with pytest.warns(RuntimeWarning, match=r"no checkpoint of iteration \d") as caught:
            model.refit(R, checkpoint=path.with_name("other.npz"), checkpoint_errors="warn")
    assert {warning.filename for warning in caught} == {__file__}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(storage.read(path)[1]["losses"]) == 4
        assert same_model(ImplicitALS(**FIT).fit(R, checkpoint=path), whole)


def test_digests_tell_arrays_apart():
    arrays = [np.zeros(2), np.zeros(3), np.zeros(2, np.int64), np.array([0.0, -0.0]), np.array(["a", "b"]), np.zeros(0)]
    digests = [checkpoint._digest(array)[0] for array in arrays]
    assert len(set(digests)) == len(arrays)
