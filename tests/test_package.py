"""`import fastals`: what is there at once, and what loads when it is first used."""

import subprocess
import sys

import pytest

import fastals

LAZY = """
import sys
import fastals
later = ("evaluation", "tuning", "plots", "compat")
assert not {f"fastals.{name}" for name in later} & set(sys.modules)
assert set(later) <= set(dir(fastals))
assert fastals.evaluation.evaluate and fastals.tuning.grid_search and fastals.plots.degrees and fastals.datasets
assert "matplotlib" not in sys.modules
from fastals import evaluation
assert evaluation is fastals.evaluation
"""


def test_submodules_load_when_they_are_first_used():
    done = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_other_names_are_refused_as_ever():
    with pytest.raises(AttributeError, match=r"^module 'fastals' has no attribute 'evalution'$"):
        _ = fastals.evalution
    assert set(fastals.__all__) | set(fastals.SUBMODULES) <= set(dir(fastals))
