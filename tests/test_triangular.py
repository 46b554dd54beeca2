"""Cholesky factors and their inverses by blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastals.engine import triangular
from fastals.engine.triangular import factor

EPS = np.finfo(np.float64).eps


def positive(k, seed=0, spread=0.0):
    """A positive definite matrix; its rows and columns differ by a factor of 10^spread."""
    Y = np.random.default_rng(seed).standard_normal((2 * k + 5, k)) * 10 ** np.linspace(0, spread, k)
    return Y.T @ Y


@given(k=st.integers(1, 40), size=st.integers(1, 40), seed=st.integers(0, 99), spread=st.floats(-3, 3))
def test_factor_and_inverse_are_right_for_blocks_of_every_size(k, size, seed, spread):
    matrix = positive(k, seed, spread)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(triangular, "ROWS", size)
        patch.setattr("fastals.engine.blas.ROWS", size)
        L, inverse = factor(matrix, 2)
    for triangle in (L, inverse):
        assert np.array_equal(triangle, np.tril(triangle))
    # Each number of L L' is a sum of k products, at most the root of the product of two diagonal numbers.
    scale = np.sqrt(matrix.diagonal())
    assert (np.abs(L @ L.T - matrix) <= 4 * k * EPS * np.outer(scale, scale)).all()
    # Rounding counts by the condition that is left when the diagonal has been scaled away.
    condition = np.linalg.cond(matrix / np.outer(scale, scale))
    assert np.abs(inverse @ L - np.eye(k)).max() <= 4 * k * EPS * condition


def test_any_number_of_threads_gives_the_same_bits(monkeypatch):
    monkeypatch.setattr("fastals.engine.blas.SHARE", 1)
    matrix = positive(700)
    for ours, theirs in zip(factor(matrix, 1), factor(matrix, 5), strict=True):
        assert np.array_equal(ours, theirs)


def test_the_argument_stays_and_only_its_lower_triangle_counts():
    matrix = np.tril(positive(200))
    before = matrix.copy()
    L, _ = factor(matrix, 2)
    assert np.array_equal(matrix, before)
    assert np.array_equal(L, factor(matrix + np.tril(matrix, -1).T, 2)[0])


@pytest.mark.parametrize("place", [0, 150])
def test_what_is_not_positive_definite_is_refused(place):
    matrix = positive(200)
    matrix[place, place] = -1.0
    with pytest.raises(np.linalg.LinAlgError):
        factor(matrix, 2)


@pytest.mark.parametrize("n", [1, 63, 64, 65, 131, 200])
def test_the_inverse_by_halves(n):
    L = np.linalg.cholesky(positive(n))
    inverse = triangular._inverse(L)
    assert np.array_equal(inverse, np.tril(inverse))
    assert np.abs(inverse @ L - np.eye(n)).max() <= n * EPS * np.linalg.cond(L)
