"""Factor, substitution and Gram matrix against NumPy, for all sizes of a few blocks."""

import os

import numpy as np
import pytest

from fastals.engine import cholesky
from fastals.engine.jit import kernel
from fastals.engine.simd import twins
from fastals.engine.simd.target import in_strips, lanes, padded, target

FULL = os.environ.get("FASTALS_TEST_REDUCED") is None  # see test_simd.py


@pytest.fixture(params=[np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def dtype(request):
    return request.param


@kernel
def gram_add(*arguments):
    return cholesky.gram_add(*arguments)


@kernel
def unfold_gram(*arguments):
    return cholesky.unfold_gram(*arguments)


@kernel
def solve(*arguments):
    return cholesky.solve(*arguments)


def definite(rng, k, dtype):
    root = rng.standard_normal((k + 5, k))
    return (root.T @ root / (k + 5) + 0.1 * np.eye(k)).astype(dtype)


def padded_square(A, dtype):
    """Return ``A`` padded with ones on the diagonal."""
    n = padded(len(A), dtype)
    square = np.eye(n, dtype=dtype)
    square[: len(A), : len(A)] = A
    return square


def guarded(array):
    """Return ``array`` as the middle of a longer one, which is NaN around it, and the two ends."""
    longer = np.full(array.size + 80, np.nan, array.dtype)
    longer[40:-40] = array.ravel()
    return longer[40:-40], (longer[:40], longer[-40:])


def sizes(dtype):
    W = lanes(dtype)
    return range(1, 6 * W + 1) if FULL else [1, W - 1, W, W + 1, 5 * W + 1]


def test_solve(dtype):
    rng = np.random.default_rng(2)
    eps, W = np.finfo(dtype).eps, lanes(dtype)
    for k in sizes(dtype):
        A = definite(rng, k, dtype)
        square, ends = guarded(padded_square(A, dtype))
        n = padded(k, dtype)
        inv = np.empty(n, dtype)
        b = rng.standard_normal(k).astype(dtype)
        x, x_ends = guarded(np.pad(b, (0, n - k)))

        assert solve(square, n, inv, x) == 0

        exact = A.astype(np.float64)
        tolerance = k * eps * np.linalg.cond(exact)
        expected = np.eye(n)
        expected[:k, :k] = np.linalg.cholesky(exact).T
        for i in range(0, n, W):
            expected[i : i + W, i : i + W] = np.linalg.inv(expected[i : i + W, i : i + W]).T
        block = np.arange(n) // W
        upper = block[:, None] <= block
        scale = np.abs(expected).max()
        np.testing.assert_allclose(square.reshape(n, n)[upper], expected[upper], rtol=0, atol=tolerance * scale)
        np.testing.assert_allclose(inv, np.diag(expected), rtol=tolerance)
        solution = np.linalg.solve(exact, b)
        np.testing.assert_allclose(x[:k], solution, rtol=0, atol=tolerance * np.abs(solution).max())
        np.testing.assert_array_equal(x[k:], 0)
        assert np.isnan([*ends, *x_ends]).all()


def test_only_the_upper_triangle_is_read(dtype):
    rng = np.random.default_rng(3)
    n = 3 * lanes(dtype)
    A = definite(rng, n, dtype)
    upper = np.where(np.tri(n, k=-1, dtype=bool), np.nan, A).astype(dtype)
    (inv, x), (inv_upper, x_upper) = np.ones((2, n), dtype), np.ones((2, n), dtype)

    assert solve(A, n, inv, x) == 0
    assert solve(upper, n, inv_upper, x_upper) == 0

    np.testing.assert_array_equal(np.triu(upper), np.triu(A))
    np.testing.assert_array_equal(inv_upper, inv)
    np.testing.assert_array_equal(x_upper, x)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, -np.inf])
def test_the_first_pivot_that_is_not_positive_is_reported(dtype, bad):
    n = 3 * lanes(dtype)
    for row in range(n):
        A = np.eye(n, dtype=dtype)
        A[row, row] = bad
        if row < n - 1:
            A[n - 1, n - 1] = bad
        assert solve(A, n, np.empty(n, dtype), np.ones(n, dtype)) == row + 1


def test_an_indefinite_matrix_is_reported_where_numpy_finds_it(dtype):
    rng = np.random.default_rng(4)
    n = 3 * lanes(dtype)
    A = definite(rng, n, dtype)
    row = n // 2
    A[row, row] = 0.5 * (
        A[:row, row] @ np.linalg.solve(A[:row, :row], A[:row, row])
    )  # less than the rows above explain
    np.linalg.cholesky(A[:row, :row])
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(A[: row + 1, : row + 1])
    assert solve(A, n, np.empty(n, dtype), np.ones(n, dtype)) == row + 1


def test_gram_add(dtype):
    rng = np.random.default_rng(5)
    W, strip = lanes(dtype), target().strip(np.dtype(dtype).itemsize)
    one = np.ones(300, dtype)
    for width in range(W, 6 * W, W) if FULL else [W, 4 * W]:
        for height in [*range(strip, width, strip), width]:
            for depths in ((0, 1), (2, 3), (17, 0), (5, 271)):
                C, ends = guarded(np.full((height, width), np.nan, dtype))
                expected, bound = np.zeros((2, width, width))
                for depth, keep, sign in zip(depths, (False, True), (1.0, -1.0), strict=True):
                    M, rows = rng.standard_normal((depth + 1, width)).astype(dtype), depth + 1
                    P = np.full(rows * in_strips(width, dtype), np.nan, dtype)
                    twins.scaled(P, 0, rows, one, 0, M, 0, width, depth, width)
                    gram_add(C, keep, sign, P, rows, depth, height, width)
                    panel = M[:depth].astype(np.float64)
                    expected += sign * panel.T @ panel
                    bound += np.abs(panel).T @ np.abs(panel)
                unfold_gram(C, height, width)

                row, column = np.ogrid[:height, :width]
                upper, got = row <= column, C.reshape(height, width)
                error = np.abs(got - expected[:height])
                assert np.all(error[upper] <= (sum(depths) + 4) * np.finfo(dtype).eps * bound[:height][upper])
                assert np.isnan(got[row // W > column // W]).all()
                assert np.isnan(ends).all()
