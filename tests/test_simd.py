"""Every micro-kernel against its twin, on this CPU and, in subprocesses, on narrower ones."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core.registry import cpu_target

from fastals.engine.jit import kernel
from fastals.engine.simd import kernels, twins
from fastals.engine.simd.target import (
    CACHE_LINE,
    Target,
    aligned_empty,
    compiled_for,
    describe,
    in_strips,
    lanes,
    padded,
    target,
)

DTYPES = [np.float32, np.float64]
HALF, BYTE = 2**15 - 1, 127  # the greatest numbers of 16 and of 8 bits
FULL = os.environ.get("FASTALS_TEST_REDUCED") is None  # the subprocesses for other CPUs run fewer sizes


@pytest.fixture(params=DTYPES, ids=lambda dtype: dtype.__name__)
def dtype(request):
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(1)


@kernel
def add_product(*arguments):
    return kernels.add_product(*arguments)


@kernel
def add_gram(*arguments):
    return kernels.add_gram(*arguments)


@kernel
def unfold(*arguments):
    return kernels.unfold(*arguments)


@kernel
def row_product(*arguments):
    return kernels.row_product(*arguments)


@kernel
def multiply(*arguments):
    return kernels.multiply(*arguments)


@kernel
def cholesky_block(*arguments):
    return kernels.cholesky_block(*arguments)


@kernel
def solve_tile(*arguments):
    return kernels.solve_tile(*arguments)


@kernel
def substitute_forward(*arguments):
    return kernels.substitute_forward(*arguments)


@kernel
def substitute_backward(*arguments):
    return kernels.substitute_backward(*arguments)


@kernel
def gather_dots(*arguments):
    return kernels.gather_dots(*arguments)


@kernel
def gather_axpys(*arguments):
    return kernels.gather_axpys(*arguments)


@kernel
def gather_residual(*arguments):
    return kernels.gather_residual(*arguments)


@kernel
def dot(*arguments):
    return kernels.dot(*arguments)


@kernel
def cg_direction(*arguments):
    return kernels.cg_direction(*arguments)


@kernel
def cg_advance(*arguments):
    return kernels.cg_advance(*arguments)


@kernel
def solve_few(*arguments):
    return kernels.solve_few(*arguments)


@kernel
def go_beyond(*arguments):
    return kernels.go_beyond(*arguments)


@kernel
def scaled(*arguments):
    return kernels.scaled(*arguments)


@kernel
def gather_gram(*arguments):
    return kernels.gather_gram(*arguments)


@kernel
def gather_panel(*arguments):
    return kernels.gather_panel(*arguments)


@kernel
def gather_transposed(*arguments):
    return kernels.gather_transposed(*arguments)


@kernel
def prefetch_rows(*arguments):
    return kernels.prefetch_rows(*arguments)


@kernel
def screen(*arguments):
    return kernels.screen(*arguments)


@kernel
def keep_best(*arguments):
    return kernels.keep_best(*arguments)


@kernel
def lanes_of(A):
    return kernels.lanes_of(A)


def mapped(change, arguments):
    """Arguments with ``change`` applied to (a copy of) every float array and float."""
    return [
        change(value) if isinstance(value, np.floating) or getattr(value, "dtype", None) in DTYPES else value
        for value in arguments
    ]


def check(compiled, arguments, roundings, subtracted=None):
    """Run a kernel and its twin on copies of ``arguments`` and compare every element of every array.

    What the twin leaves alone must keep its bits: the operands lie inside larger arrays of random numbers, so that
    this finds writes out of range. What it writes may be off by ``roundings`` times eps times the same expression of
    absolute values, in which the products with ``subtracted``, an argument's number and places in it, are added.
    """
    twin = getattr(twins, compiled.__name__)
    dtype = next(value.dtype for value in arguments if getattr(value, "dtype", None) in DTYPES)
    got, expected, magnitude = mapped(np.positive, arguments), mapped(np.positive, arguments), mapped(np.abs, arguments)
    if subtracted is not None:
        number, places = subtracted
        magnitude[number][places] *= -1
    compiled(*got)
    with np.errstate(all="ignore"):  # NumPy's BLAS on ARM raises flags for lanes that it does not use
        twin(*expected)
        twin(*magnitude)
    for before, after, reference, bound in zip(arguments, got, expected, magnitude, strict=True):
        if not isinstance(after, np.ndarray):
            continue
        untouched = np.equal(before, reference) | (np.isnan(before) & np.isnan(reference))
        np.testing.assert_array_equal(after[untouched], before[untouched])
        finite = np.isfinite(reference)
        np.testing.assert_array_equal(np.isnan(after), np.isnan(reference))
        np.testing.assert_array_equal(after[~finite], reference[~finite])
        error = np.abs(after[finite] - reference[finite])
        assert np.all(error <= 2 * roundings * np.finfo(dtype).eps * np.abs(bound[finite]))  # the twin rounds as well


def triangular(rng, n, ld, offset, dtype):
    """A flat array holding a well-conditioned upper triangular n x n matrix, and the reciprocals of its diagonal."""
    U = np.triu(rng.uniform(-1, 1, (n, n)) / n) + np.diag(rng.uniform(1, 2, n))
    flat = rng.standard_normal(offset + n * ld + 5).astype(dtype)
    flat[twins._at(offset, ld, n, n)] = U
    inv = rng.standard_normal(n + 3).astype(dtype)
    inv[:n] = 1 / np.diag(U).astype(dtype)
    return flat, inv


def gathered(rng, rows, width, count, dtype):
    """A matrix whose rows may be gathered, and indices that point outside it but for the ``count`` that count."""
    Y = rng.standard_normal((rows, width)).astype(dtype)
    indices = np.full(count + 40, 2**31 - 1, np.int32)
    indices[3 : 3 + count] = rng.integers(0, rows, count)
    return Y, indices


WIDTHS = [1, 2, 3, 4, 5] if FULL else [1, 3]
COUNTS = [*range(18), 31, 32, 33] if FULL else [0, 1, 7, 8, 9, 17]


@pytest.mark.parametrize("width", WIDTHS)
def test_add_product(rng, dtype, width):
    W = lanes(dtype)
    for depth in [*range(8), 33] if FULL else [0, 1, 5]:
        for height in (W, 3 * W):
            C, A, B = (rng.standard_normal((40 + 3 * W, 6 * W)).astype(dtype) for _ in range(3))
            operands = [dtype(-1.0), A, 2 * W, 6 * W, B, W, 6 * W, depth, height, width * W]
            check(add_product, [C, W, 6 * W, 1, *operands], roundings=depth + 3)
            C[1 : height // 2] = np.nan  # where C is not kept, it does not matter what it holds
            check(add_product, [C, W, 6 * W, 0, *operands], roundings=depth + 2)


def test_add_product_scales_and_reads_one_matrix_twice(rng, dtype):
    W = lanes(dtype)
    C, A = (rng.standard_normal((2 * W + 7, 2 * W)).astype(dtype) for _ in range(2))
    check(add_product, [C, 0, 2 * W, 1, dtype(0.5), A, 0, 2 * W, A, W, 2 * W, 7, W, W], roundings=10)


@pytest.mark.parametrize("depth", [*range(18), 255, 256, 257, 530] if FULL else [0, 1, 2, 7, 257])
def test_add_gram(rng, dtype, depth):
    strip = target().strip(dtype().itemsize)
    C, P = (rng.standard_normal((rows, strip)).astype(dtype) for rows in (strip + 5, depth + 2))
    wide = rng.standard_normal((strip + 5, strip + 7)).astype(dtype)
    check(add_gram, [wide, strip + 11, strip + 7, 1, dtype(-1.0), P, strip, depth], roundings=depth + 3)
    C[1:3] = np.nan  # where C is not kept, it does not matter what it holds
    check(add_gram, [C, strip, strip, 0, dtype(0.5), P, strip, depth], roundings=depth + 3)


def test_unfold(rng, dtype):
    if not target().folds(dtype().itemsize):
        pytest.skip("not used with this vector width")
    strip = target().strip(dtype().itemsize)
    C = rng.standard_normal((strip + 5, strip + 7)).astype(dtype)
    check(unfold, [C, strip + 11, strip + 7], roundings=0)


@pytest.mark.parametrize("count", WIDTHS + COUNTS[-1:])
def test_row_product(rng, dtype, count):
    width = target().strip(dtype().itemsize)
    for k in (1, 2, 9):
        x, y = rng.standard_normal(20).astype(dtype), rng.standard_normal((count + 1) * width).astype(dtype)
        strips = rng.standard_normal((count + 1) * k * width).astype(dtype)
        check(row_product, [y, 5, x, 3, strips, width, k, count], roundings=k + 2)
        columns = strips[width : width + count * k * width].reshape(count, k, width).swapaxes(0, 1)
        columns = columns.reshape(k, count * width).copy()
        rows = np.repeat(x[3 : 3 + k, None], lanes(dtype), axis=1)
        many = np.zeros((lanes(dtype), count * width), dtype)
        operands = [dtype(1), rows, 0, lanes(dtype), columns, 0, count * width, k, *many.shape]
        add_product(many, 0, count * width, 0, *operands)
        row_product(y, 5, x, 3, strips, width, k, count)
        assert y[5 : 5 + count * width].tobytes() == many[0].tobytes()


@pytest.mark.parametrize("width", WIDTHS)
def test_multiply(rng, dtype, width):
    W = lanes(dtype)
    for height in COUNTS:
        for depth in (0, 1, 5, 33):
            C, A, B = (rng.standard_normal((40, 6 * W + 35)).astype(dtype) for _ in range(3))
            operands = [C, W, 6 * W, A, 2 * W + 1, 39, B, W, 6 * W]
            check(multiply, [*operands, height, depth, width * W], roundings=depth + 2)


def definite_block(rng, dtype):
    W = lanes(dtype)
    root = rng.standard_normal((2 * W, W))
    return (root.T @ root / W + np.eye(W)).astype(dtype)


def test_cholesky_block(rng, dtype):
    W = lanes(dtype)
    block = definite_block(rng, dtype)
    C, inv = rng.standard_normal((3 * W, 3 * W)).astype(dtype), rng.standard_normal(3 * W).astype(dtype)
    C[W : 2 * W, W : 2 * W] = np.where(np.tri(W, k=-1, dtype=bool), np.nan, block)  # the lower triangle is not read
    before, before_inv = C.copy(), inv.copy()
    expected = np.linalg.cholesky(block.astype(np.float64)).T
    tolerance = W * np.finfo(dtype).eps * np.linalg.cond(block)
    for factor in (cholesky_block, twins.cholesky_block):
        C, inv = before.copy(), before_inv.copy()
        assert factor(C, 3 * W * W + W, 3 * W, inv, W) == 0
        np.testing.assert_allclose(C[W : 2 * W, W : 2 * W], expected, rtol=0, atol=tolerance * np.abs(expected).max())
        np.testing.assert_allclose(inv[W : 2 * W], 1 / np.diag(expected), rtol=tolerance)
        C[W : 2 * W, W : 2 * W], inv[W : 2 * W] = before[W : 2 * W, W : 2 * W], before_inv[W : 2 * W]
        np.testing.assert_array_equal(C, before)
        np.testing.assert_array_equal(inv, before_inv)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, -np.inf])
def test_cholesky_block_names_the_first_pivot_that_is_not_positive(rng, dtype, bad):
    W = lanes(dtype)
    for j in range(W):
        block = np.eye(W, dtype=dtype)
        block[j, j] = bad
        twin = block.copy()
        inv = np.empty(W, dtype)
        assert cholesky_block(block, 0, W, inv, 0) == j + 1
        assert twins.cholesky_block(twin, 0, W, inv, 0) == j + 1


@pytest.mark.parametrize("width", WIDTHS)
def test_solve_tile(rng, dtype, width):
    W = lanes(dtype)
    U, inv = triangular(rng, W, 2 * W, W, dtype)
    C = rng.standard_normal((W + 2, 7 * W)).astype(dtype)
    check(solve_tile, [U, W, 2 * W, inv, 0, C, W, 7 * W, width * W], roundings=4 * W, subtracted=(0, ...))


@pytest.mark.parametrize("blocks", WIDTHS)
def test_substitutions(rng, dtype, blocks):
    W = lanes(dtype)
    n = blocks * W
    U, _ = triangular(rng, n, n + W, W, dtype)
    x = rng.standard_normal(n + 9).astype(dtype)
    places, block = twins._at(W, n + W, n, n), np.arange(n) // W
    for i in range(0, n, W):
        diagonal = places[i : i + W, i : i + W]
        U[diagonal] = np.linalg.inv(U[diagonal]).T
    above = places[block[:, None] < block]
    check(substitute_forward, [U, W, n + W, n - W, x, 4], roundings=4 * n, subtracted=(0, above))
    check(substitute_backward, [U, W, n + W, n, x, 4], roundings=4 * n, subtracted=(0, above))


@pytest.mark.parametrize("width", WIDTHS)
def test_gathered_products(rng, dtype, width):
    W = lanes(dtype)
    for count in COUNTS:
        Y, indices = gathered(rng, 9, width * W, count, dtype)
        x, s, out = (rng.standard_normal(6 * W + 64).astype(dtype) for _ in range(3))
        check(gather_dots, [out, 5, Y, width * W, indices, 3, count, x, 3], roundings=width * W + 2)
        check(gather_axpys, [x, 3, s, 5, Y, width * W, indices, 3, count], roundings=count + 2)
        q, b, w = (rng.standard_normal(6 * W + 64).astype(dtype) for _ in range(3))
        for ahead in (0, 4):
            residual = [q, 3, s, b, w, 5, Y, width * W, indices, 3, count, x, 3, ahead]
            check(gather_residual, residual, roundings=width * W + count + 4, subtracted=(4, ...))


@pytest.mark.parametrize("width", WIDTHS)
def test_vectors_of_conjugate_gradients(rng, dtype, width):
    n = width * lanes(dtype)
    x, r, p, q, d, e, out = (rng.standard_normal(n + 7).astype(dtype) for _ in range(7))
    check(dot, [out, 2, x, 3, r, 5, n], roundings=n + 2)
    check(cg_direction, [p, q, d, e, r, dtype(0.3), n], roundings=4)
    check(cg_advance, [out, 2, x, 3, r, p, q, e, dtype(0.3), n], roundings=n + 8)
    check(go_beyond, [out, 2, x, 3, p, d, dtype(0.3), n], roundings=n + 8)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("count", range(1, kernels.FEW + 1))
def test_solve_few(rng, dtype, width, count):
    n = width * lanes(dtype)
    Y, indices = gathered(rng, 9, n, count, dtype)
    w, d = rng.uniform(0, 3, 9).astype(dtype), rng.uniform(1, 9, n + 3).astype(dtype)
    b, x, out = (rng.standard_normal(size).astype(dtype) for size in (9, n + 7, 9))
    w[0] = 0  # no weight on top of the background
    for beyond in (0, 0.5):
        got, wanted = (out.copy(), x.copy()), [array.astype(np.float64) for array in (out, x)]
        arguments = w, b, d, dtype(beyond), Y, n, indices, 3, count
        assert solve_few(got[0], 2, got[1], 3, *arguments) == 0
        assert twins.solve_few(wanted[0], 2, wanted[1], 3, *arguments) == 0
        # The matrix is I + something whose norm is at most the product's.
        condition = 1 + 3 * np.linalg.norm(Y[indices[3 : 3 + count]]) ** 2
        for mine, reference in zip(got, wanted, strict=True):
            size = np.abs(reference).max() * condition * (n + 2 * count)
            np.testing.assert_allclose(mine, reference, rtol=0, atol=2 * size * np.finfo(dtype).eps)
        np.testing.assert_array_equal(got[0][[0, 1, *range(4, 9)]], out[[0, 1, *range(4, 9)]])
        np.testing.assert_array_equal(got[1][[0, 1, 2, *range(n + 3, n + 7)]], x[[0, 1, 2, *range(n + 3, n + 7)]])


def test_solve_few_without_a_solution(rng, dtype):
    n = lanes(dtype)
    Y, indices = gathered(rng, 9, n, kernels.FEW, dtype)
    x, out = (rng.standard_normal(n).astype(dtype) for _ in range(2))
    d, before = np.ones(n, dtype), (x.copy(), out.copy())
    for weight in (-1e3, np.nan):
        for count in range(1, kernels.FEW + 1):
            w = np.full(kernels.FEW, 1, dtype)
            w[count - 1] = weight
            assert solve_few(out, 0, x, 0, w, w, d, dtype(0.5), Y, n, indices, 3, count) == 1
            np.testing.assert_array_equal((x, out), before)


@pytest.mark.parametrize("width", WIDTHS)
def test_gathered_panels(rng, dtype, width):
    W = lanes(dtype)
    for count in COUNTS:
        Y, indices = gathered(rng, 9, width * W, count, dtype)
        s, e, b, y = (rng.standard_normal(6 * W + 64).astype(dtype) for _ in range(4))
        for rows, keep, more in ((count, 0, 0), (count + 2, 1, 20)):
            P = rng.standard_normal((rows + 2) * in_strips(width * W, dtype)).astype(dtype)
            C = rng.standard_normal((width * W + 1, width * W)).astype(dtype)
            read = [s, b, 5, y, Y, width * W, indices, 3, count, count + more]
            check(gather_panel, [C, keep, dtype(-1.0), P, rows, *read], roundings=count + 4)
        M = rng.standard_normal((count + 1, 7 * W)).astype(dtype)
        check(scaled, [P, 2, count + 2, s, 5, M, W, 7 * W, count, width * W], roundings=2)
        for rows in (width * W, width * W + 2):
            T = rng.standard_normal((rows + 2) * in_strips(padded(count, dtype), dtype)).astype(dtype)
            check(gather_transposed, [T, 2, rows, s, 5, e, 3, Y, width * W, indices, 3, count], roundings=3)
        check(prefetch_rows, [Y, width * W, indices, 3, count], roundings=0)


def test_gather_gram(rng, dtype):
    W = lanes(dtype)
    for count in COUNTS:
        Y, indices = gathered(rng, 9, W, count, dtype)
        A = rng.standard_normal((W + 1, W + 3)).astype(dtype)
        r, w, b = (rng.standard_normal(size).astype(dtype) for size in (W + 3, count + 7, count + 7))
        check(gather_gram, [A, 2, W + 3, r, w, b, 5, Y, indices, 3, count], roundings=count + 3)


@pytest.mark.parametrize("named", [True, False], ids=["named", "spelt out"])
def test_screen(rng, dtype, named, monkeypatch):
    """Whole numbers in all arguments: no rounding, and many bounds that are exactly what is looked for."""
    compiled = screen
    if not named:
        monkeypatch.setattr(kernels, "target", lambda: replace(target(), pair_bytes=0))
        compiled = numba.njit(screen.py_func)
    S, ld = target().strip(dtype().itemsize), 40 * target().strip(8)
    seen = set()
    for count in COUNTS[1:]:
        for pairs, most in ((1, 3), (2, 3), (7, 1), (66, HALF)):
            q = rng.integers(-most, most + 1, 2 * (pairs + 5)).astype(np.int16).view(np.int32)
            B = rng.integers(-min(most, BYTE), min(most, BYTE) + 1, 9 + count * pairs * 2 * S).astype(np.int8)
            terms, offsets = (rng.integers(-2, 3, 3 + ld + 40 * S).astype(dtype) for _ in range(2))
            out, wanted = np.full(count + 5, 7, np.int32), np.full(count + 5, 7, np.int32)
            numbers = dtype(0.5), dtype(2), dtype(3), dtype(-1), dtype(rng.choice([-4, 0, 3, np.nan]))
            arguments = 2, q, 3, B, 5, pairs, terms, 1, ld, offsets, 2, *numbers, count
            compiled(out, *arguments)
            twins.screen(wanted, *arguments)
            np.testing.assert_array_equal(out, wanted)
            seen.update(wanted[2 : 2 + count] & 1)
    assert seen == {0, 1}


def test_screen_adds_the_greatest_products(dtype):
    """The sum of as many as a row may have, of one sign and of the other: none leaves 32 bits."""
    pairs, S = 258, target().strip(dtype().itemsize)
    q, B = np.full(2 * pairs, HALF, np.int16).view(np.int32), np.full(pairs * 2 * S, BYTE, np.int8)
    terms, out = np.repeat(np.array([1, 0], dtype), S), np.zeros(1, np.int32)
    total = dtype(2 * pairs * HALF * BYTE)
    for sign, worst, wanted in ((1, total, 1), (1, np.nextafter(total, dtype(np.inf)), 0), (-1, -total, 1)):
        numbers = dtype(0), dtype(1), dtype(0), dtype(0), dtype(worst)
        screen(out, 0, q, 0, np.int8(sign) * B, 0, pairs, terms, 0, S, terms, S, *numbers, 1)
        assert out[0] & 1 == wanted


@pytest.mark.parametrize("width", WIDTHS)
def test_keep_best(rng, dtype, width):
    n = width * lanes(dtype)
    for strips in range(7):
        count = strips * target().strip(np.dtype(dtype).itemsize)
        for kept in {1, n // 2, n}:
            for values in (range(-2, 3), [0], [-np.inf, np.inf, np.nan, 0], rng.standard_normal(99)):
                best, best_ids = np.full(n + 9, -np.inf, dtype), np.full(n + 9, -1, np.int32)
                best[:4], best[4 + n :], best_ids[:3], best_ids[3 + n :] = 7, 7, 7, 7
                x, ids = (
                    rng.choice(values, (2, 3 + count)).astype(dtype),
                    rng.permutation(5 + 2 * count).astype(np.int32),
                )
                for turn, taken in enumerate(
                    (rng.integers(-(2**31), 2**31, 99).astype(np.int32), np.zeros(99, np.int32))
                ):
                    wanted, wanted_ids = best.copy(), best_ids.copy()
                    arguments = n, kept, x[turn], 3, ids, 5 + turn * count, taken, 2, count
                    twins.keep_best(wanted, 4, wanted_ids, 3, *arguments)
                    keep_best(best, 4, best_ids, 3, *arguments)
                    np.testing.assert_array_equal(best, wanted)
                    np.testing.assert_array_equal(best_ids, wanted_ids)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_passed_on(rng, dtype, value):
    W = lanes(dtype)
    n = 2 * W
    for position in (0, W - 1, n - 1):
        Y, indices = gathered(rng, 9, n, 9, dtype)
        indices[3:12] = range(9)
        s, x, out, e = (rng.uniform(1, 2, 4 * W + 64).astype(dtype) for _ in range(4))
        Y[4, position] = value
        check(gather_dots, [out, 0, Y, n, indices, 3, 7, x, 0], roundings=n + 2)
        check(gather_axpys, [x, 0, s, 0, Y, n, indices, 3, 7], roundings=9)
        P = np.zeros(9 * in_strips(n, dtype), dtype)
        check(scaled, [P, 0, 9, s, 0, Y, 0, n, 7, n], roundings=2)
        C = np.zeros((n, n), dtype)
        check(gather_panel, [C, 1, dtype(1.0), P, 9, s, e, 0, x, Y, n, indices, 3, 7, 9], roundings=11)
        T = np.zeros(n * in_strips(16, dtype), dtype)
        check(gather_transposed, [T, 0, n, s, 0, e, 0, Y, n, indices, 3, 7], roundings=3)
        narrow = np.ascontiguousarray(Y[:, position // W * W :][:, :W])
        check(gather_gram, [np.zeros((W, W), dtype), 0, W, x, s, e, 0, narrow, indices, 3, 7], roundings=10)
        C = np.zeros((W, n), dtype)
        check(add_product, [C, 0, n, 1, dtype(1.0), Y, 0, n, Y, 0, n, 9, W, n], roundings=12)
        U, _ = triangular(rng, n, n, 0, dtype)
        x[position] = value
        forward, backward = x.copy(), x.copy()
        for i in range(0, n, W):
            substitute_forward(U, 0, n, i, forward, 0)
        substitute_backward(U, 0, n, n, backward, 0)
        assert not np.isfinite(forward[position])
        assert not np.isfinite(backward[position])


def test_lanes_of(dtype):
    assert lanes_of(np.empty(3, dtype)) == lanes(dtype)


def test_padded(dtype):
    W = lanes(dtype)
    assert [padded(n, dtype) for n in (0, 1, W, W + 1)] == [0, W, W, 2 * W]


@pytest.mark.parametrize("shape", [7, (3, 5)])
def test_aligned_empty(dtype, shape):
    made = aligned_empty(shape, dtype)
    assert made.ctypes.data % CACHE_LINE == 0
    assert made.flags.c_contiguous
    assert made.dtype == dtype
    assert made.shape == np.empty(shape).shape


@pytest.mark.parametrize(
    "arrays",
    [
        [np.zeros((32, 32)), np.zeros((32, 32), np.float32)],
        [np.zeros((32, 32)).T[:, ::2], np.zeros((32, 32))],
        [np.zeros((32, 32), np.int64), np.zeros((32, 32))],
    ],
    ids=["two dtypes", "not contiguous", "not float"],
)
def test_arrays_that_a_kernel_cannot_take_are_refused_when_compiled(arrays):
    C, A = arrays
    with pytest.raises(numba.TypingError, match="multiply: "):
        numba.njit(multiply.py_func)(C, 0, 32, A, 0, 32, A, 0, 32, 16, 16, 16)


# The machine code

TARGETS = [
    Target("skylake-avx512", vector_bytes=64, accumulators=16, fma=True, pair_bytes=64),
    Target("knl", vector_bytes=64, accumulators=16, fma=True, pair_bytes=32),
    Target("haswell", vector_bytes=32, accumulators=8, fma=True, pair_bytes=32),
    Target("sandybridge", vector_bytes=32, accumulators=8, fma=False, pair_bytes=16),
    Target("x86-64", vector_bytes=16, accumulators=8, fma=False, pair_bytes=16),
]
TRIPLE = compiled_for()[0]
on_x86 = pytest.mark.skipif(not TRIPLE.startswith("x86_64"), reason="x86-64 only")


def test_the_cpu_is_the_one_that_numba_compiles_for(monkeypatch):
    codegen = cpu_target.target_context.codegen()
    assert compiled_for() == codegen.magic_tuple()
    monkeypatch.setattr(numba.config, "ENABLE_AVX", False)
    assert compiled_for()[2] == codegen._get_host_cpu_features()
    monkeypatch.setattr(numba.config, "CPU_FEATURES", "-fma")
    monkeypatch.setattr(numba.config, "CPU_NAME", "haswell")
    assert compiled_for() == (TRIPLE, "haswell", "-fma")


@on_x86
@pytest.mark.parametrize("cpu", TARGETS, ids=lambda cpu: cpu.cpu)
def test_llvm_knows_what_a_cpu_has(cpu):
    assert describe(TRIPLE, cpu.cpu, "") == cpu


def test_a_feature_may_be_switched_off():
    if target().vector_bytes == 64:
        assert describe(TRIPLE, "skylake-avx512", "-avx512f").vector_bytes == 32


@pytest.mark.parametrize("cpu", TARGETS, ids=lambda cpu: cpu.cpu)
@pytest.mark.parametrize("itemsize", [4, 8])
def test_the_rows_of_a_tile_divide_a_vector(cpu, itemsize):
    rows, vectors = cpu.tile(itemsize)
    assert cpu.lanes(itemsize) % rows == 0
    assert rows * vectors == cpu.accumulators


def test_the_triangle_of_a_strip_is_folded_in_float32_from_avx_on():
    folding = [cpu.cpu for cpu in TARGETS if cpu.folds(4)]
    assert folding == ["skylake-avx512", "knl", "haswell", "sandybridge"]
    assert not any(cpu.folds(8) for cpu in TARGETS)


def test_multiply_adds_are_fused_at_full_width(dtype):
    W = lanes(dtype)
    M = np.zeros((W, 2 * W), dtype)
    fresh = numba.njit(add_product.py_func)  # what comes from the cache has no listing
    fresh(M, 0, 2 * W, 1, dtype(1.0), M, 0, 2 * W, M, 0, 2 * W, 0, W, 2 * W)
    suffix = f"v{W}f{8 * dtype().itemsize}"
    (text,) = fresh.inspect_llvm().values()
    assert f"@fastals.add_product.{suffix}" in text
    assert (f"@llvm.fma.{suffix}" in text) == target().fma


@on_x86
def test_the_inner_loop_of_a_product_keeps_its_sums_in_registers(dtype):
    W = lanes(dtype)
    M = np.zeros((W, 2 * W), dtype)
    fresh = numba.njit(add_product.py_func)
    fresh(M, 0, 2 * W, 1, dtype(1.0), M, 0, 2 * W, M, 0, 2 * W, 0, W, 2 * W)
    (text,) = fresh.inspect_asm().values()
    text = text[text.index("\nfastals.add_product") :]
    blocks = re.findall(r"\n\.L\w+:(?=(.*?\n\tj\w+))", text[: text.index("\n.Lfunc_end")], re.DOTALL)
    rows, vectors = target().tile(dtype().itemsize)
    operation = r"vfmadd\d+p" if target().fma else r"\bv?mulp"
    loops = [block for block in blocks if len(re.findall(operation, block)) >= rows * vectors]
    register = {64: "%zmm", 32: "%ymm", 16: "%xmm"}[target().vector_bytes]
    inner = min(loops, key=lambda block: block.count("(%rsp)"))
    assert "(%rsp)" not in inner
    assert inner.count(register) >= rows * vectors


@on_x86
def test_every_line_of_a_row_is_asked_for(dtype):
    """Their number is not known before: there is a loop over lines."""
    fresh = numba.njit(prefetch_rows.py_func)
    fresh(np.zeros((3, 64), dtype), 64, np.zeros(3, np.int32), 0, 3)
    (text,) = fresh.inspect_asm().values()
    text = text[text.index("\nfastals.prefetch_rows") :]
    assert re.search(r"\tprefetcht0\t", text[: text.index("\n.Lfunc_end")])


@on_x86
def test_a_solved_tile_reads_its_triangle_from_memory(dtype):
    """As vectors, one for each element, it would take W / 2 times the stack that it does."""
    W, itemsize = lanes(dtype), dtype().itemsize
    M = np.ones((W, W), dtype)
    fresh = numba.njit(solve_tile.py_func)
    fresh(M, 0, W, M[0], 0, M.copy(), 0, W, W)
    (text,) = fresh.inspect_asm().values()
    text = text[text.index("\nfastals.solve_tile") :]
    frames = re.findall(r"\tsubq\t\$(\d+), %rsp", text[: text.index("\n.Lfunc_end")])  # none where it is small
    assert max(map(int, frames), default=0) <= 3 * W * W * itemsize


@on_x86
@pytest.mark.skipif(not FULL, reason="is one of the subprocesses")
@pytest.mark.parametrize("cpu", ["haswell", "x86-64"])
def test_all_of_this_on_a_narrower_cpu(cpu):
    """Numba's cache is keyed by the CPU, so that the folder of this run serves, and the next run is fast."""
    files = [str(Path(__file__).with_name(name)) for name in ("test_simd.py", "test_cholesky.py")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *files],
        env={**os.environ, "NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": "", "FASTALS_TEST_REDUCED": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
