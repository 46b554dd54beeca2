"""A short part of the fault suite, which `make fuzz` runs for as long as one likes; forks are in `test_forks`."""

import itertools
import json
import sys

import pytest

from tests import fuzz
from tests.fuzz import __main__ as suite
from tests.fuzz.outcome import REFUSED, RIGHT

HERE = {"meanings": 44, "checkpoints": 30, "texts": 300, "float32": 30, "float64": 60, "disks": 15, "kills": 6}
# These limit, interrupt or trace their process.
APART = {"files": 120, "interleavings": 15, "exceptions": 60, "interrupts": 20, "first fits": 3, "memory": 5}
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits and kills as Linux has them")


@pytest.mark.parametrize("kind", HERE)
def test_every_try_is_right_or_refused(kind):
    outcomes = itertools.islice(fuzz.tries(kind, 0), HERE[kind])
    assert [outcome for outcome in outcomes if outcome not in (RIGHT, REFUSED)] == []


@pytest.mark.parametrize("kind", APART)
def test_every_try_in_a_process_of_its_own_is_right_or_refused(kind, tmp_path, capfd):
    assert suite.main(["--only", kind, "--tries", str(APART[kind]), "--json", str(tmp_path / "file")]) == 0
    assert json.loads((tmp_path / "file").read_text())[kind]["tries"] == APART[kind]


def test_what_crashes_or_is_wrong_is_told_and_counted(monkeypatch, capfd, tmp_path):
    package = tmp_path / "tests" / "fuzz"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "worker.py").write_text(
        "import json, os, sys\n"
        "for turn in range(int(sys.argv[3]), 9):\n"
        "    if turn == 2: os.abort()\n"
        "    print(json.dumps({1: 'wrong'}.get(turn, ['right', 'refused'][turn % 2])), flush=True)\n"
    )
    monkeypatch.setattr(suite, "ROOT", tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    found = suite.run("files", seed=7, first=0, number=6, seconds=60)
    assert found[:4] == (6, 2, 2, 2)
    said = capfd.readouterr().err
    assert "files: wrong\n    python -m tests.fuzz --only files --seed 7 --first 1 --tries 1\n" in said
    assert "files: the process ended with -6\n" in said


def test_there_is_a_short_part_of_every_kind():
    assert {*HERE, *APART, "forks"} == set(fuzz.KINDS)
