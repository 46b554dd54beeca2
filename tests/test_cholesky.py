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


def embedded(rng, A, dtype):
    """Return ``A`` padded with ones on the diagonal, inside a larger matrix; its offset, leading dimension and size."""
    k, W = len(A), lanes(dtype)
    n = padded(k, dtype)
    larger = rng.standard_normal((n + 2, n + 2 * W)).astype(dtype)
    larger[1 : n + 1, W : W + n] = np.eye(n)
    larger[1 : k + 1, W : W + k] = A
    return larger, larger.shape[1] + W, larger.shape[1], n


def sizes(dtype):
    W = lanes(dtype)
    return range(1, 6 * W + 1) if FULL else [1, W - 1, W, W + 1, 5 * W + 1]


def test_solve(dtype):
    rng = np.random.default_rng(2)
    eps = np.finfo(dtype).eps
    for k in sizes(dtype):
        A = definite(rng, k, dtype)
        larger, offset, ld, n = embedded(rng, A, dtype)
        square = np.s_[1 : n + 1, lanes(dtype) : lanes(dtype) + n]
        surroundings = larger.copy()
        inv = np.empty(n, dtype)
        b = rng.standard_normal(k).astype(dtype)
        x = np.zeros(n + 3, dtype)
        x[3 : 3 + k] = b

        assert solve(larger, offset, ld, n, inv, x, 3) == 0

        exact = A.astype(np.float64)
        tolerance = k * eps * np.linalg.cond(exact)
        expected = np.linalg.cholesky(exact).T
        U = np.triu(larger[square])
        np.testing.assert_allclose(U[:k, :k], expected, rtol=0, atol=tolerance * np.abs(expected).max())
        np.testing.assert_array_equal(U[:k, k:], 0)
        np.testing.assert_array_equal(U[k:, k:], np.eye(n - k))
        np.testing.assert_allclose(inv[:k], 1 / np.diag(expected), rtol=tolerance)
        solution = np.linalg.solve(exact, b)
        np.testing.assert_allclose(x[3 : 3 + k], solution, rtol=0, atol=tolerance * np.abs(solution).max())
        np.testing.assert_array_equal(x[:3], 0)
        np.testing.assert_array_equal(x[3 + k :], 0)
        larger[square] = surroundings[square] = 0
        np.testing.assert_array_equal(larger, surroundings)


def test_only_the_upper_triangle_is_read(dtype):
    rng = np.random.default_rng(3)
    n = 3 * lanes(dtype)
    A = definite(rng, n, dtype)
    upper = np.where(np.tri(n, k=-1, dtype=bool), np.nan, A).astype(dtype)
    (inv, x), (inv_upper, x_upper) = np.ones((2, n), dtype), np.ones((2, n), dtype)

    assert solve(A, 0, n, n, inv, x, 0) == 0
    assert solve(upper, 0, n, n, inv_upper, x_upper, 0) == 0

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
        assert solve(A, 0, n, n, np.empty(n, dtype), np.ones(n, dtype), 0) == row + 1


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
    assert solve(A, 0, n, n, np.empty(n, dtype), np.ones(n, dtype), 0) == row + 1


def test_gram_add(dtype):
    rng = np.random.default_rng(5)
    W, strip = lanes(dtype), target().strip(np.dtype(dtype).itemsize)
    one = np.ones(300, dtype)
    for width in range(W, 6 * W, W) if FULL else [W, 4 * W]:
        for height in [*range(strip, width, strip), width]:
            for depths in ((0, 1), (2, 3), (17, 0), (5, 271)):
                C, ld = np.full((width + 20, width + 2 * W), np.nan, dtype), width + 2 * W
                expected, bound = np.zeros((2, width, width))
                for depth, keep, sign in zip(depths, (0, 1), (1.0, -1.0), strict=True):
                    M, rows = rng.standard_normal((depth + 1, width)).astype(dtype), depth + 1
                    P = np.full(rows * in_strips(width, dtype) + 3, np.nan, dtype)
                    twins.scaled(P, 3, rows, one, 0, M, 0, width, depth, width)
                    gram_add(C, ld + W, ld, keep, sign, P, 3, rows, depth, height, width)
                    panel = M[:depth].astype(np.float64)
                    expected += sign * panel.T @ panel
                    bound += np.abs(panel).T @ np.abs(panel)
                unfold_gram(C, ld + W, ld, height)

                column, block = np.arange(width), np.arange(width) // W
                upper = (column[:, None] <= column) & (column[:, None] < height)
                error = np.abs(C[1 : width + 1, W : W + width] - expected)
                assert np.all(error[upper] <= (sum(depths) + 4) * np.finfo(dtype).eps * bound[upper])
                written = np.zeros(C.shape, bool)
                written[1 : height + 1, W : W + width] = block[:height, None] <= block
                assert np.isnan(C[~written]).all()
