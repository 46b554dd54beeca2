"""Where a fit begins."""

import numpy as np
import pytest

from fastals.engine import sketch as module
from fastals.engine.alternation import Alternation, Begin
from fastals.engine.problem import RIDGE
from fastals.engine.sketch import ENTRY, _randomise, sketch
from tests.helpers import a_model, example


@pytest.mark.parametrize("biases", [False, True])
def test_sketch_spans_the_range_of_the_data(biases):
    """The start for a matrix of rank 3 has rank 3. Scales aside, its columns lie in the row space of the matrix."""
    rng = np.random.default_rng(0)
    R = rng.random((30, 2)) @ rng.random((2, 20)) + 1
    R -= R.mean() if biases else 0
    model = a_model(R, 5, biases)
    begin = sketch(Alternation(model, "auto", 1), np.random.default_rng(1))
    assert begin == Begin("absent" if biases else "guessed")
    coefficients = R if biases else 1 + R  # implicit: b = 1 + alpha r, alpha = 1
    _, values, rows = np.linalg.svd(coefficients)
    rank = int((values > 1e-9 * values[0]).sum())
    start = model.Y[:, :5].copy()
    np.testing.assert_allclose(np.linalg.norm(start), np.sqrt(R.shape[1]))
    if not biases:  # and with a background
        start *= ((len(R) + 2 * R.sum(axis=0)) / 5 + model.items.rows[:, RIDGE])[:, None]
    outside = start - rows[:rank].T @ (rows[:rank] @ start)
    assert np.abs(outside).max() < 1e-9 * np.abs(start).max()
    assert np.linalg.matrix_rank(start, tol=1e-9 * np.linalg.norm(start)) == min(rank, 5)
    assert not model.Y[:, 5:].any()


def test_with_a_background_the_users_have_a_start_too():
    """The users are a product with the items' start, scaled to entries of size `ENTRY`."""
    R = np.nan_to_num(example())
    model = a_model(R, 3)
    assert sketch(Alternation(model, "auto", 1), np.random.default_rng(1)) == Begin("guessed")
    X, Y = model.X[:, :3], model.Y[:, :3]
    scales = 1 / ((R.shape[1] + 2 * np.abs(R).sum(axis=1)) / 3 + model.users.rows[:, RIDGE])
    wanted = scales[:, None] * ((R > 0) * (1 + R) @ Y)
    wanted *= ENTRY * np.sqrt(wanted.size) / np.linalg.norm(wanted)
    np.testing.assert_allclose(X, wanted, rtol=1e-9, atol=1e-9 * np.abs(wanted).max())


def test_factors_of_few_items_all_differ():
    """Among random signs for 6 items two of 3 columns would be alike in one of ten draws."""
    R = np.random.default_rng(0).random((9, 6))
    for seed in range(100):
        model = a_model(R, 3)
        sketch(Alternation(model, "auto", 1), np.random.default_rng(seed))
        assert np.linalg.matrix_rank(model.Y[:, :3], tol=1e-6 * np.linalg.norm(model.Y)) == 3


def test_random_signs_do_not_depend_on_the_rows_made_at_once(monkeypatch):
    panels = []
    for rows in (8, 64, 2**16):
        monkeypatch.setattr(module, "ROWS", rows)
        panels.append(np.full((203, 7), np.nan, np.float32))
        _randomise(panels[-1][:, :5], np.random.default_rng(0))
        assert set(np.unique(panels[-1][:, :5])) == {-1, 1}
        assert np.isnan(panels[-1][:, 5:]).all()
    assert np.array_equal(panels[0][:, :5], panels[1][:, :5])
    assert np.array_equal(panels[0][:, :5], panels[2][:, :5])
