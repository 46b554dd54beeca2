"""What notebooks and prompts show: short, and with nothing in it that a browser would run."""

import re

import numpy as np
import pytest

from fastals import ImplicitALS, Interactions, WeightedALS
from fastals.evaluation import Evaluation
from fastals.html import facts, table
from fastals.tuning import grid_search


def cells_of(text: str) -> list[list[str]]:
    rows = re.findall("<tr>(.*?)</tr>", text)
    return [re.findall("<t[dh][^>]*>(.*?)</t[dh]>", row) for row in rows]


def test_numbers_and_text():
    found = facts("a <b>", [("n", 12345), ("x", 0.123456), ("who", "<script>"), ("on", True), ("none", None)])
    assert "<strong>a &lt;b&gt;</strong>" in found
    assert cells_of(found) == [
        ["n", "12,345"],
        ["x", "0.1235"],
        ["who", "&lt;script&gt;"],
        ["on", "True"],
        ["none", "None"],
    ]


def test_long_tables_are_cut():
    found = table("t", ["a", "b"], [(row, -row) for row in range(1030)], bold=1)
    assert len(cells_of(found)) == 22
    assert "<tr><th>1</th><th>-1</th></tr>" in found
    assert cells_of(found)[-1] == ["and 1,010 more"]


def test_models_show_parameters_and_size():
    model = ImplicitALS(factors=3, iterations=2, random_state=0)
    assert "ImplicitALS, not fitted" in model._repr_html_()
    rows = dict(cells_of(model.fit([(0, 0, 1), (1, 2, 1)])._repr_html_()))
    assert (rows["factors"], rows["users"], rows["items"], rows["iterations done"]) == ("3", "2", "3", "2")
    assert float(rows["loss"]) == pytest.approx(model.loss_history_[-1], rel=1e-3)
    assert len(repr(WeightedALS(item_weights=np.arange(900.0)))) < 160


def test_interactions_show_their_size():
    found = Interactions.from_triplets(["a", "a", "b"], ["x", "x", "y"])
    rows = dict(cells_of(found._repr_html_()))
    assert rows == {"users": "2", "items": "2", "events": "3", "entries": "2", "observed": "0.5"}
    assert "Interactions, float32" in found._repr_html_()


def test_evaluations_and_searches_show_their_averages():
    found = Evaluation(np.arange(2000), {"recall@5": np.ones(2000)}, {"recall@5": 0.75})
    assert repr(found) == "Evaluation(2000 users: recall@5 0.75)"
    assert cells_of(found._repr_html_()) == [["recall@5", "0.75"]]
    R = np.eye(6)
    searched = grid_search(ImplicitALS(iterations=1, random_state=0), {"factors": [1, 2, 3]}, (R, np.roll(R, 1, 0)))
    assert repr(searched).startswith(f"SearchResult(3 candidates, best_score={searched.best_score:.4g}: {{'factors': ")
    assert len(repr(searched)) < 120
    rows = cells_of(searched._repr_html_())
    assert rows[0] == ["factors", "score", "n_iter", "seconds", "error"]
    assert [row[0] for row in rows[1:]] == ["1", "2", "3"]
    assert searched._repr_html_().count("<tr><th>") == 2
