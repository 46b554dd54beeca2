"""Passes over whole arrays have the same bits in parts: gram, rotation, sketch, checks of input, losses."""

import numpy as np
import pytest

from fastals import ImplicitALS
from fastals.data import matrix
from fastals.engine import panel, threads
from tests.helpers import example, stored


def fitted(n_threads):
    model = ImplicitALS(20, iterations=5, alpha=2.0, random_state=0, n_threads=n_threads).fit(stored(example()))
    return model.user_factors_, model.item_factors_, np.array(model.loss_history_)


@pytest.mark.parametrize("n_threads", [2, 5, 16])
def test_a_fit_in_parts_has_the_bits_of_one_in_one_piece(n_threads, monkeypatch):
    whole = fitted(1)
    monkeypatch.setattr(threads, "SHARE", 1)
    for ours, theirs in zip(fitted(n_threads), whole, strict=True):
        assert np.array_equal(ours, theirs)


def test_checks_in_parts_find_what_checks_in_one_piece_find(monkeypatch):
    monkeypatch.setattr(threads, "SHARE", 1)
    with threads.choose(3):
        for place in (0, 4, 9):
            values = np.ones(10, np.float32)
            values[place] = 2.0
            assert len(matrix._compact(values)) == 10
            values[place] = np.inf
            assert not all(matrix._of_parts(matrix._is_finite, values))
            columns = np.zeros(10, np.int32)
            columns[place] = -1
            assert matrix._outside(columns, 5)
            columns[place] = 5
            assert matrix._outside(columns, 5)
            assert not matrix._outside(columns, 6)
        assert matrix._compact(np.ones(10, np.float32)).tolist() == [1.0]
        assert len(matrix._compact(np.ones(0, np.float32))) == 0


def test_the_longest_row_is_found_in_any_part(monkeypatch):
    Y = np.random.default_rng(0).standard_normal((50, 7)).astype(np.float32)
    wanted = panel.largest_square(Y)
    monkeypatch.setattr(threads, "SHARE", 1)
    assert panel.largest_square(Y, 4) == wanted
    assert wanted == pytest.approx((Y.astype(np.float64) ** 2).sum(axis=1).max(), rel=1e-6)
