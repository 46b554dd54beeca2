"""Searches that are interrupted and go on from their journal."""

import itertools
import json
import os
import random
import signal
import threading
import time

import numpy as np
import pytest
import scipy.sparse as sp

from fastals import ImplicitALS, storage
from fastals.tuning import grid_search, successive_halving
from fastals.tuning import search as search_module
from fastals.tuning.journal import Journal
from tests.helpers import split_of_liked

KILLS = int(os.environ.get("FASTALS_KILLS", "12"))
MODEL = ImplicitALS(iterations=6, random_state=0)


@pytest.fixture(scope="module")
def split() -> tuple[sp.csr_array, sp.csr_array]:
    return split_of_liked()


# The journal.


@pytest.fixture
def fits(monkeypatch) -> list:
    """Factors of each fit that is begun."""
    begun = []
    original = ImplicitALS.fit

    def fit(self, *arguments, **options):
        begun.append(self.factors)
        return original(self, *arguments, **options)

    monkeypatch.setattr(ImplicitALS, "fit", fit)
    return begun


@pytest.mark.parametrize("search", [grid_search, successive_halving])
def test_an_interrupted_search_goes_on(split, tmp_path, fits, search):
    journal = tmp_path / "search.jsonl"
    candidates = {"factors": [2, 3, -1, 4, 5]}
    whole = search(MODEL, candidates, split, "ndcg@5", refit=False)
    fits.clear()
    search(MODEL, candidates, split, "ndcg@5", refit=False, journal=journal)
    assert sorted(set(fits)) == [-1, 2, 3, 4, 5]
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:4]) + lines[4][:20])  # killed while it wrote the fourth result
    fits.clear()
    again = search(MODEL, candidates, split, "ndcg@5", refit=False, journal=journal)
    assert again.best_parameters == whole.best_parameters
    np.testing.assert_array_equal(again.table["score"], whole.table["score"])
    assert again.table["error"].tolist() == whole.table["error"].tolist()
    assert -1 not in fits
    assert {4, 5} <= set(fits)
    if search is grid_search:
        assert fits.count(4) == fits.count(5) == 1
        assert 2 not in fits or again.best_parameters["factors"] == 2
    fits.clear()
    model = search(MODEL, candidates, split, "ndcg@5", refit=False, journal=journal).model
    assert set(fits) == {again.best_parameters["factors"]}  # everything is known but the model
    np.testing.assert_array_equal(model.item_factors_, whole.model.item_factors_)


def test_a_journal_is_read_as_json(split, tmp_path):
    grid_search(MODEL, {"factors": [2, 0]}, split, "ndcg@5", journal=tmp_path / "j")
    header, *entries = (json.loads(line) for line in (tmp_path / "j").read_text().splitlines())
    assert header["search"] == "ImplicitALS"
    assert header["metric"] == "ndcg@5"
    assert [entry["parameters"] for entry in entries] == [{"factors": 2}, {"factors": 0}]
    assert entries[1]["score"] is None
    assert entries[1]["error"].startswith("ValueError: factors")


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"metric": "recall@5"}, "metric"),
        ({"model": ImplicitALS(iterations=7, random_state=0)}, "parameters"),
        ({"every": 2}, "options"),
        ({"splits": (np.eye(4), np.eye(4)[::-1])}, "data"),
    ],
)
def test_a_journal_of_another_search_is_refused(split, tmp_path, change, differs):
    arguments = {
        "model": MODEL,
        "grid": {"factors": [2]},
        "splits": split,
        "metric": "ndcg@5",
        "journal": tmp_path / "j",
    }
    grid_search(**arguments)
    with pytest.raises(ValueError, match=rf"is of another search \({differs} differ\)"):
        grid_search(**arguments | change)


def test_a_file_that_is_no_journal_is_left_alone(split, tmp_path):
    notes = tmp_path / "notes.txt"
    for text in ("my notes\n", '"my notes"\n', "[1]\n"):
        notes.write_text(text)
        with pytest.raises(ValueError, match=r"is not one of a search|is of another search"):
            grid_search(MODEL, {"factors": [2]}, split, journal=notes)
        assert notes.read_text() == text


def test_a_journal_always_is_a_whole_one(tmp_path, monkeypatch):
    path, header = tmp_path / "j", {"search": "a"}

    def full(self, other):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.replace", full)
        with pytest.raises(OSError, match="cannot write"):
            Journal(path, header)
    assert os.listdir(tmp_path) == []
    journal = Journal(path, header)
    journal.add("1", {"score": 1.0})
    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.replace", full)
        with pytest.raises(OSError, match="cannot write"):
            journal.add("2", {"score": 2.0})
    assert list(Journal(path, header).results) == ["1"]
    journal.add("3", {"score": 3.0})
    assert list(Journal(path, header).results) == ["1", "2", "3"]
    assert os.listdir(tmp_path) == ["j"]


def test_a_journal_is_on_the_disk_before_the_search_goes_on(tmp_path, monkeypatch):
    flushed = []
    original = os.fsync
    monkeypatch.setattr(storage.os, "fsync", lambda descriptor: flushed.append(descriptor) or original(descriptor))
    journal = Journal(tmp_path / "j", {"search": "a"})
    before = len(flushed)
    journal.add("1", {"score": 1.0})
    assert len(flushed) > before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_search_leaves_a_whole_journal(tmp_path):
    path, header, chance, known = tmp_path / "j", {"search": "a" * 10_000}, random.Random(0), 0
    for _ in range(KILLS):
        child = os.fork()
        if child == 0:
            try:
                journal = Journal(path, header)
                for number in itertools.count(len(journal.results)):
                    journal.add(str(number), {"score": 1.0})
            finally:
                os._exit(1)
        time.sleep(chance.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
        results = Journal(path, header).results
        assert list(results) == [str(number) for number in range(len(results))]
        assert len(results) >= known
        known = len(results)
    assert known


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_forked_while_a_thread_adds_can_add_too(tmp_path, monkeypatch):
    path, header, written = tmp_path / "j", {"search": "a"}, []
    journal = Journal(path, header)

    def forking(self):
        """Fork in a thread that does not hold the lock, while this one does."""
        thread = threading.Thread(target=lambda: written.append(ended(self)))
        thread.start()
        thread.join()

    def ended(journal):
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            monkeypatch.undo()
            journal.add("2", {"score": 2.0})
            os._exit(0)
        return os.waitpid(child, 0)[1]

    monkeypatch.setattr(Journal, "_write", forking)
    journal.add("1", {"score": 1.0})
    assert written == [0]
    monkeypatch.undo()
    assert list(Journal(path, header).results) == ["1", "2"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_forked_while_a_thread_prepares_the_data_can_prepare_them_too(split, monkeypatch):
    train, ended = search_module._prepare(MODEL, split, "ndcg@5", {}, {}).train, []

    def fork():
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            monkeypatch.undo()
            os._exit(0 if train(np.dtype("float64")).dtype == "float64" else 1)
        ended.append(os.waitpid(child, 0)[1])

    def forking(*arguments):
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()
        return taken(*arguments)

    taken = search_module._taken
    monkeypatch.setattr(search_module, "_taken", forking)
    assert train(np.dtype("float64")).dtype == "float64"
    assert ended == [0]
