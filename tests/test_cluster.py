"""Fits on workers of a Dask cluster: the bits of a fit in one process, whatever becomes of the workers."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import fastals
from fastals import ExplicitALS, ImplicitALS, Interactions, WeightedALS
from fastals.cluster import rows, tasks
from fastals.cluster.workers import Workers
from fastals.engine import alternation
from fastals.engine.mapped import file_of
from tests.helpers import example, mapped, same_bits, same_model, stored

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")

PARAMS = {"factors": 5, "iterations": 2, "random_state": 0}
CASES = {
    "implicit": (ImplicitALS, {}, "float32"),
    "implicit, all confidences 1": (ImplicitALS, {"unobserved_weight": 0.1, "popularity_exponent": 0.5}, "float32"),
    "implicit, conjugate gradients": (ImplicitALS, {"solver": "cg"}, "float64"),
    "implicit, biases": (ImplicitALS, {"biases": True}, "float32"),
    "explicit": (ExplicitALS, {}, "float32"),
    "explicit, Cholesky": (ExplicitALS, {"solver": "cholesky", "biases": False}, "float64"),
    "weighted": (WeightedALS, {"item_weights": fastals.LinearWeights(), "unobserved_weight": 0.5}, "float32"),
    "no ridge": (ExplicitALS, {"regularization": 0.0, "biases": False}, "float32"),
}


FEATURED = {
    "implicit": (ImplicitALS, {"unobserved_weight": 0.1, "popularity_exponent": 0.5}),
    "implicit, biases": (ImplicitALS, {"biases": True}),
    "explicit, implicit features": (ExplicitALS, {"implicit_features": True}),
    "weighted": (WeightedALS, {"item_weights": fastals.LinearWeights(), "unobserved_weight": 0.5}),
}


def events(dtype="float32", shape=(90, 50)):
    """Users of different numbers of entries, one of none."""
    R = example(1, shape)
    R[-1] = np.nan
    return Interactions(stored(R, dtype), dtype)


def features(R, params=()):
    """Return what is known of users and items: dense of users, unless R itself says it, and sparse of items."""
    rng = np.random.default_rng(0)
    found = {"item_features": sparse.csr_array(rng.random((R.shape[1], 9)) < 0.15)}
    return found if "implicit_features" in params else found | {"user_features": rng.random((R.shape[0], 4))}


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(n_workers=3, threads_per_worker=1, processes=True, dashboard_address=":0") as local,
        distributed.Client(local, set_as_default=False) as made,
    ):
        yield made


@pytest.fixture
def seen(client, monkeypatch):
    """Let a fit see only so many workers, each with the number of threads that is given."""

    def patch(*threads):
        found = sorted(client.nthreads())
        monkeypatch.setattr(Workers, "_threads", lambda self: dict(zip(found, threads, strict=False)))

    return patch


# The same bits.


@pytest.mark.filterwarnings("ignore::fastals.errors.SingularRowsWarning", "ignore::fastals.errors.ImpreciseRowsWarning")
@pytest.mark.parametrize("case", CASES)
def test_a_fit_has_the_bits_of_one_process(client, case):
    cls, params, dtype = CASES[case]
    R, params = events(dtype), PARAMS | params | {"dtype": dtype}
    alone = cls(**params, n_threads=1).fit(R)
    model = cls(**params)
    assert fastals.cluster.fit(model, R, client=client) is model
    assert same_model(model, alone)


@pytest.mark.parametrize("threads", [(1,), (1, 3), (2, 1, 1)])
@pytest.mark.parametrize("case", FEATURED)
def test_a_fit_with_features_has_the_bits_of_one_process(client, seen, case, threads):
    cls, params = FEATURED[case]
    R, params = events(), PARAMS | params
    given = features(R, params)
    alone = cls(**params).fit(R, **given)
    seen(*threads)
    model = fastals.cluster.fit(cls(**params), R, client=client, **given)
    assert same_model(model, alone)
    assert same_bits(model.user_feature_factors_, alone.user_feature_factors_)
    assert same_bits(model.item_feature_factors_, alone.item_feature_factors_)


@pytest.mark.parametrize("biases", [False, True])
def test_a_fit_of_coupled_rows_has_the_bits_of_one_process(client, monkeypatch, biases):
    monkeypatch.setattr(alternation, "WHITENED", 1)
    monkeypatch.setattr(alternation, "FEW", np.inf)
    taken, coupled = [], alternation.Alternation._coupled
    monkeypatch.setattr(alternation.Alternation, "_coupled", lambda *of: taken.append(coupled(*of)) or taken[-1])
    params = PARAMS | {"iterations": 5, "unobserved_weight": 0.1, "regularization_exponent": 1.0, "biases": biases}
    alone = ImplicitALS(**params).fit(events())
    count = len(taken)
    assert count > 3
    assert same_model(fastals.cluster.fit(ImplicitALS(**params), events(), client=client), alone)
    assert len(taken) == 2 * count


@pytest.mark.parametrize("threads", [(1,), (3,), (1, 3)])
def test_the_number_of_workers_and_threads_changes_no_bits(client, seen, threads):
    R, alone = events(), ImplicitALS(**PARAMS).fit(events())
    seen(*threads)
    assert same_model(fastals.cluster.fit(ImplicitALS(**PARAMS), R, client=client), alone)


def test_three_parts_change_no_bits(client, monkeypatch):
    whole = rows.Rows._cut

    def cut(self, begin, end, there):
        middle = (begin + end) // 2
        parts = ([(begin, middle), (middle, end - 1), (end - 1, end)]) if end - begin > 3 else [(begin, end)]
        return [place for part in parts for place in whole(self, *part, there)]

    monkeypatch.setattr(rows.Rows, "_cut", cut)
    R = events()
    assert same_model(fastals.cluster.fit(ImplicitALS(**PARAMS), R, client=client), ImplicitALS(**PARAMS).fit(R))


def test_long_rows_in_batches_have_the_same_bits(client, monkeypatch):
    rng = np.random.default_rng(0)
    dense = (rng.random((6, 8_000)) < np.array([[0.99], [0.95], [0.9], [0.001], [0.9], [0.9]])).astype(np.float32)
    R, params = Interactions(dense), {"factors": 128, "iterations": 2, "random_state": 0, "solver": "cg"}
    together, in_batches = [], rows.sweep.in_batches
    monkeypatch.setattr(rows.sweep, "in_batches", lambda *args: together.append(in_batches(*args)) or together[-1])
    alone = ImplicitALS(**params).fit(R)
    assert any(together)
    assert same_model(fastals.cluster.fit(ImplicitALS(**params), R, client=client), alone)


def test_few_touched_columns_are_sent_alone(client, monkeypatch):
    R = np.zeros((40, 60), np.float32)
    R[:20, :30], R[20:, 30:] = np.random.default_rng(0).random((2, 20, 30)) < 0.4
    asked, send = [], Workers.send
    monkeypatch.setattr(Workers, "send", lambda self, worker, data: asked.append(data) or send(self, worker, data))
    model = fastals.cluster.fit(ImplicitALS(**PARAMS), R, client=client)
    assert min(len(data.Y) for data in asked if isinstance(data, tasks.Asked) and data.n_columns == 60) == 30
    assert same_model(model, ImplicitALS(**PARAMS).fit(R))


@pytest.mark.parametrize("shared", [True, False])
def test_rows_of_files_are_read_by_workers_that_see_them(client, tmp_path, monkeypatch, shared):
    R = mapped(events(), tmp_path)
    if not shared:
        monkeypatch.setattr(rows.tasks, "stamps", lambda paths: [os.getpid() for _ in paths])
    sent, send = [], Workers.send
    monkeypatch.setattr(Workers, "send", lambda self, worker, data: sent.append(data) or send(self, worker, data))
    model = fastals.cluster.fit(ExplicitALS(**PARAMS), R, client=client)
    files = [isinstance(data.cells[1], tasks.File) for data in sent if isinstance(data, tasks.Sent)]
    assert files and all(files) == any(files) == shared
    assert same_model(model, ExplicitALS(**PARAMS).fit(R))


def test_implicit_features_of_mapped_files_have_the_same_bits(client, tmp_path):
    model = ExplicitALS(**PARAMS, implicit_features=True)
    wanted = ExplicitALS(**model.get_params()).fit(events())
    assert wanted.user_feature_factors_.any()
    assert same_model(fastals.cluster.fit(model, mapped(events(), tmp_path), client=client), wanted)


def test_a_store_is_named_by_its_folder(client, tmp_path):
    fastals.build_store({"who": ["a", "b", "b"], "what": ["x", "x", "y"]}, tmp_path / "shop", user="who", item="what")
    model = fastals.cluster.fit(ImplicitALS(**PARAMS), tmp_path / "shop", client=client)
    assert same_model(model, ImplicitALS(**PARAMS).fit(fastals.open_store(tmp_path / "shop")))


def test_places_in_files_are_found(tmp_path):
    whole = np.arange(100, dtype=np.int32)
    np.save(tmp_path / "whole.npy", whole)
    there = np.load(tmp_path / "whole.npy", mmap_mode="r")
    path, offset = file_of(np.asarray(there)[10:20])
    assert Path(path) == tmp_path / "whole.npy"
    assert same_bits(np.fromfile(path, np.int32, 10, offset=offset), whole[10:20])
    assert file_of(whole) is None and file_of(there[::2]) is None


# As in `fit`: callback, checkpoint, start, tol.


@pytest.mark.parametrize("featured", [False, True])
def test_callback_checkpoint_start_and_tol_are_those_of_fit(client, tmp_path, featured):
    R, whole, calls = events(), PARAMS | {"iterations": 4}, []
    wanted, given = [], features(R) if featured else {}
    alone = ImplicitALS(**whole).fit(R, callback=lambda _, model: wanted.append(model.user_factors_), **given)
    path = tmp_path / "fit.npz"
    fastals.cluster.fit(ImplicitALS(**PARAMS), R, client=client, checkpoint=path, **given)
    resumed = ImplicitALS(**whole)
    fastals.cluster.fit(
        resumed, R, client=client, checkpoint=path, callback=lambda _, model: calls.append(model.user_factors_), **given
    )
    assert same_model(resumed, alone)
    assert all(same_bits(*both) for both in zip(calls, wanted[-len(calls) :], strict=True))
    params = whole | {"tol": 0.5}
    warm = fastals.cluster.fit(ImplicitALS(**params), R, client=client, start=alone, **given)
    assert warm.n_iter_ == 2
    assert same_model(warm, ImplicitALS(**params).fit(R, start=alone, **given))


# Workers that are lost.


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize(("call", "featured"), [(2, False), (12, False), (12, True)])  # in the sketch; in a half-step
def test_a_worker_that_is_killed_changes_no_bits(client, tmp_path, monkeypatch, call, featured):
    R, solve = events(), tasks.solve
    given = features(R) if featured else {}
    client.wait_for_workers(3, timeout=60)  # a test before may have killed one

    def dying(block, asked, n_threads):
        number = len(list(tmp_path.iterdir()))
        (tmp_path / f"{number}-{os.getpid()}").touch()
        if number >= call and not any(name.name == "dead" for name in tmp_path.iterdir()):
            (tmp_path / "dead").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return solve(block, asked, n_threads)

    monkeypatch.setattr(rows.tasks, "solve", dying)
    model = fastals.cluster.fit(ImplicitALS(**PARAMS), R, client=client, **given)
    assert (tmp_path / "dead").exists()
    assert same_model(model, ImplicitALS(**PARAMS).fit(R, **given))


def test_rows_that_no_worker_survives_are_given_up(client, monkeypatch):
    def lost(block, asked, n_threads):
        raise OSError("no way")

    monkeypatch.setattr(rows.tasks, "solve", lost)
    with pytest.raises(RuntimeError, match="5 workers in turn were lost at the same work, the last one tcp://"):
        fastals.cluster.fit(ImplicitALS(**PARAMS), events(), client=client)


def test_other_errors_of_workers_are_raised(client, monkeypatch):
    def failing(block, asked, n_threads):
        raise MemoryError("too large")

    monkeypatch.setattr(rows.tasks, "solve", failing)
    with pytest.raises(MemoryError, match="too large"):
        fastals.cluster.fit(ImplicitALS(**PARAMS), events(), client=client)


# Recommendations.


@pytest.mark.parametrize("users", [None, [3, 89, 7]])
def test_recommendations_are_those_of_one_process(client, tmp_path, users):
    parquet = pytest.importorskip("pyarrow.parquet")
    model = ImplicitALS(**PARAMS).fit(events())
    folder = fastals.cluster.recommend(model, tmp_path / "lists", 4, users=users, client=client, block_size=2)
    assert len(list(folder.iterdir())) == -(-(90 if users is None else 3) // 2)
    assert parquet.read_table(folder).equals(model.recommend_frame(users, 4, frame="arrow"))
    assert [path.name for path in tmp_path.iterdir()] == ["lists"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_recommendations_outlive_a_worker(client, tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    model, recommend, mark = ImplicitALS(**PARAMS).fit(events()), tasks.recommend, tmp_path / "dead"

    def dying(model, users, *others):
        if users[0] == 40 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return recommend(model, users, *others)

    monkeypatch.setattr(rows.tasks, "recommend", dying)
    folder = fastals.cluster.recommend(model, tmp_path / "lists", 4, client=client, block_size=20)
    assert mark.exists()
    assert parquet.read_table(folder).equals(model.recommend_frame(n=4, frame="arrow"))


def test_recommendations_that_fail_leave_nothing(client, tmp_path):
    model = ImplicitALS(**PARAMS).fit(events())
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        fastals.cluster.recommend(model, tmp_path / "lists", 0, client=client)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileExistsError, match="is there: choose another folder, or delete it first"):
        fastals.cluster.recommend(model, tmp_path, client=client)
    with pytest.raises(TypeError, match="model must be ImplicitALS, ExplicitALS or WeightedALS, got int"):
        fastals.cluster.recommend(3, tmp_path / "lists", client=client)


# What is refused.


@pytest.mark.parametrize("name", ["fastals", "NumPy", "Numba", "vector width"])
def test_workers_of_other_versions_are_refused(client, monkeypatch, name):
    said = tasks.greeting() | {name: "0.9"}
    own = tasks.greeting()[name]
    monkeypatch.setattr(Workers, "run", lambda self, *_, workers: dict.fromkeys(workers, said))
    with pytest.raises(ValueError, match=rf"^worker tcp://\S+ has {name} 0.9, this process {own}: .* same versions"):
        fastals.cluster.fit(ImplicitALS(**PARAMS), events(), client=client)


def test_workers_without_fastals_are_refused(client, monkeypatch):
    error = ModuleNotFoundError("No module named 'fastals'")
    monkeypatch.setattr(Workers, "run", lambda self, *_, workers: dict.fromkeys(workers, error))
    with pytest.raises(ValueError, match=rf"cannot import fastals .*: install fastals {fastals.__version__} there"):
        fastals.cluster.fit(ImplicitALS(**PARAMS), events(), client=client)


def test_what_is_no_model_or_no_client_is_refused(client):
    with pytest.raises(TypeError, match="model must be ImplicitALS, ExplicitALS or WeightedALS, got int"):
        fastals.cluster.fit(3, events(), client=client)
    with pytest.raises(ValueError, match="plain engine runs in one process"):
        fastals.cluster.fit(ImplicitALS(solver="plain"), events(), client=client)
    with pytest.raises(TypeError, match=r"client must be a distributed.Client, got str"):
        fastals.cluster.fit(ImplicitALS(), events(), client="tcp://127.0.0.1:1")
    with pytest.raises(ValueError, match="client is None and no Dask client is running: give client="):
        fastals.cluster.fit(ImplicitALS(), events())


def test_a_scheduler_that_is_not_there_is_named(client, monkeypatch):
    def silent(**_):
        raise TimeoutError

    monkeypatch.setattr(client, "nthreads", silent)
    with pytest.raises(OSError, match=r"no Dask scheduler answers at tcp://\S+ \(TimeoutError\)"):
        fastals.cluster.fit(ImplicitALS(), events(), client=client)
    monkeypatch.setattr(client, "nthreads", lambda **_: {})
    monkeypatch.setattr(client, "_timeout", 0.2)
    with pytest.raises(OSError, match="has no workers: start some with `dask worker`"):
        fastals.cluster.fit(ImplicitALS(), events(), client=client)


def test_without_dask_the_message_has_the_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"fastals.cluster needs Dask: pip install 'fastals\[dask\]'"):
        fastals.cluster.fit(ImplicitALS(), events())
