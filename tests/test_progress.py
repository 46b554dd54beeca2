"""Progress: a bar where tqdm is, log lines where it is not, and the end of the bar however the fit ends."""

import logging
import sys

import numba
import numpy as np
import pytest

from fastals import ImplicitALS
from fastals.engine import jit
from fastals.progress import Progress

R = np.eye(5) + np.eye(5, k=1)


@pytest.fixture(autouse=True)
def compiled(monkeypatch):
    """Nothing to tell of, though this may be the first test in a process to compile something."""
    tell = jit._tell
    monkeypatch.setattr(jit, "_tell", lambda folder: None)
    return tell


@pytest.fixture
def without_tqdm(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "tqdm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tqdm", None)  # Python then raises ImportError for it.


@pytest.fixture
def bars(monkeypatch):
    """What is done to the bars that are made."""
    auto = pytest.importorskip("tqdm.auto")
    calls = []

    class Bar:
        def __init__(self, **options):
            calls.append(("make", options))

        def set_description(self, text, refresh=True):
            calls.append(("say", text))

        def set_postfix(self, **shown):
            calls.append(("show", shown))

        def update(self):
            calls.append(("update",))

        def close(self):
            calls.append(("close",))

    monkeypatch.setattr(auto, "tqdm", Bar)
    return calls


def test_bar_counts_iterations_and_shows_the_loss(bars):
    model = ImplicitALS(factors=2, iterations=3, random_state=0).fit(R, progress=True)
    assert bars[0] == ("make", {"total": 3, "unit": "iteration", "initial": 0})
    assert [call[0] for call in bars[1:]] == ["show", "update"] * 3 + ["close"]
    shown = [call[1] for call in bars if call[0] == "show"]
    assert [entry["loss"] for entry in shown] == [f"{loss:.6g}" for loss in model.loss_history_]
    assert all(float(entry["seconds"]) >= 0 for entry in shown)


def test_bar_is_closed_when_a_callback_raises(bars):
    def fail(iteration, model):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        ImplicitALS(factors=2, iterations=3).fit(R, callback=fail, progress=True)
    assert [call[0] for call in bars] == ["make", "show", "update", "close"]


def test_bar_says_what_the_first_iteration_waits_for(bars, compiled, monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))  # an earlier run has filled the usual one
    monkeypatch.setattr(jit, "_tell", compiled)
    progress, other = Progress(2), Progress(2)

    @jit.kernel
    def once(x):
        return x + 1

    assert once(1) == 2
    assert once(1.0) == 2.0
    progress(0)
    other.close()
    assert once(1j) == 1 + 1j
    assert [call for call in bars if call[0] == "say"] == [
        *[("say", "compiling for this machine")] * 2,
        ("say", None),
        ("say", "compiling for this machine"),
    ]
    progress.close()
    progress.close()
    assert jit.WATCHERS == []


def test_the_log_says_once_that_something_is_compiled(compiled, monkeypatch, caplog):
    monkeypatch.setattr(jit, "_told", False)
    with caplog.at_level(logging.INFO, logger="fastals"):
        compiled("some/folder")
        compiled("some/folder")
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert record.getMessage().startswith("compiling the engine for this machine")
    assert record.getMessage().endswith("later processes load it from some/folder")


def test_the_real_bar(capsys):
    pytest.importorskip("tqdm")
    ImplicitALS(factors=2, iterations=2).fit(R, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "2/2" in err
    assert "loss=" in err


def test_log_lines_without_tqdm(without_tqdm, caplog, capsys):
    with caplog.at_level(logging.INFO, logger="fastals"):
        model = ImplicitALS(factors=2, iterations=2, random_state=0).fit(R, progress=True)
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith(f"iteration 1 of 2: loss {model.loss_history_[0]:.6g}, ")
    assert second.startswith(f"iteration 2 of 2: loss {model.loss_history_[1]:.6g}, ")
    assert second.endswith(" s")
    assert {(record.name, record.levelname) for record in caplog.records} == {("fastals", "INFO")}
    assert capsys.readouterr() == ("", "")


def test_nothing_is_said_unasked(caplog, capsys):
    with caplog.at_level(logging.DEBUG, logger="fastals"):
        ImplicitALS(factors=2, iterations=2).fit(R)
    assert caplog.records == []
    assert capsys.readouterr() == ("", "")


def test_progress_changes_no_bit(without_tqdm):
    quiet, loud = (ImplicitALS(factors=2, random_state=0).fit(R, progress=progress) for progress in (False, True))
    assert np.array_equal(quiet.user_factors_, loud.user_factors_)
    assert quiet.loss_history_ == loud.loss_history_


def test_closing_twice_or_without_a_bar_is_harmless(without_tqdm):
    progress = Progress(3)
    progress.close()
    progress.close()
