"""Searches that are interrupted and go on from their journal."""

import json

import numpy as np
import pytest
import scipy.sparse as sp

from fastals import ImplicitALS
from fastals.tuning import grid_search, successive_halving
from tests.helpers import split_of_liked

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
