"""Single kernels on one thread, as a share of what a big matrix product reaches on the same core at the same time."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.linalg.blas import ssyrk
from scipy.linalg.lapack import sposv

PEAK = "sgemm 2048"
CELLS = 1024  # rows of a long Gram product, as many as a heavy row has cells
ROWS = 1024  # of a half-step: with 64 its start was almost a third of the time at 64 factors
REPEATS = 20  # of a compiled kernel within one call from Python


class Kernel(NamedTuple):
    """A piece of work whose useful operations are known."""

    name: str
    factors: int | None
    flops: float  # of one call; an addition and a multiplication are two
    prepare: Callable[[], Callable[[], object]]  # allocates and compiles, returns the work


def _sgemm(n: int) -> Callable[[], object]:
    A, B = _normal(n, n), _normal(n, n)
    C = np.empty((n, n), np.float32)
    return lambda: np.matmul(A, B, out=C)


def _blas_gram(cells: int, factors: int) -> Callable[[], object]:
    rows = np.asfortranarray(_normal(factors, cells))
    return lambda: ssyrk(1.0, rows)


def _lapack_cholesky(factors: int) -> Callable[[], object]:
    A, x = np.asfortranarray(np.eye(factors, dtype=np.float32)), np.ones(factors, np.float32)
    return lambda: sposv(A, x, overwrite_a=True, overwrite_b=True)


def _our_gram(cells: int, factors: int) -> Callable[[], object]:
    from fastals.engine.cholesky import gram_add
    from fastals.engine.jit import kernel
    from fastals.engine.rows.workspace import CHUNK
    from fastals.engine.simd.target import aligned_empty, in_strips, padded

    @kernel
    def repeated(C, P, cells, kp, times):  # type: ignore[no-untyped-def]
        size = len(P) // (cells // CHUNK)
        for _ in range(times):
            for chunk in range(cells // CHUNK):
                gram_add(C, True, 1.0, P[chunk * size :], CHUNK, CHUNK, kp, kp)

    kp = padded(factors, np.float32)
    P, C = aligned_empty(cells * in_strips(kp, np.float32), np.float32), aligned_empty(kp * kp, np.float32)
    P[:] = _normal(1, len(P))
    C[:] = 0
    return lambda: repeated(C, P, cells, kp, REPEATS)


def _our_product(cells: int, factors: int) -> Callable[[], object]:
    """Return the product of the Gram matrix's tile as a whole: what it takes where nothing lies below a diagonal."""
    from fastals.engine.jit import kernel
    from fastals.engine.rows.workspace import CHUNK
    from fastals.engine.simd.kernels import add_product, strip_of
    from fastals.engine.simd.target import aligned_empty, in_strips, padded

    @kernel
    def repeated(C, P, kp, times):  # type: ignore[no-untyped-def]
        S, size = strip_of(P), CHUNK * kp
        for _ in range(times):
            for chunk in range(0, len(P), size):
                for i in range(0, kp, S):
                    for j in range(0, kp, S):
                        left, right = chunk + i * CHUNK, chunk + j * CHUNK
                        add_product(C, i * kp + j, kp, 1, 1.0, P, left, S, P, right, S, CHUNK, S, S)

    kp = padded(factors, np.float32)
    P, C = aligned_empty(cells * in_strips(kp, np.float32), np.float32), aligned_empty(kp * kp, np.float32)
    P[:] = _normal(1, len(P))
    C[:] = 0
    return lambda: repeated(C, P, kp, REPEATS)


def _our_cholesky(factors: int) -> Callable[[], object]:
    """Return a solution by the identity, which is its own factor: no matrix has to be copied back."""
    from fastals.engine.cholesky import solve
    from fastals.engine.jit import kernel
    from fastals.engine.simd.target import aligned_empty

    @kernel
    def repeated(A, kp, inv, x, times):  # type: ignore[no-untyped-def]
        failed = 0
        for _ in range(times):
            failed += solve(A, kp, inv, x)
        return failed

    A = aligned_empty(factors * factors, np.float32)
    A[:] = np.eye(factors, dtype=np.float32).ravel()
    inv, x = np.ones((2, factors), np.float32)
    return lambda: repeated(A, factors, inv, x, REPEATS)


def _our_rows(cells: int, factors: int, n_rows: int) -> Callable[[], object]:
    """Return a whole exact half-step over rows of `cells` cells: gather, Gram matrix, Cholesky, substitution."""
    from bench.cost_model import problem
    from fastals.engine import plan as plans
    from fastals.engine import sweep
    from fastals.engine.panel import as_panel

    Y = as_panel(_normal(4000, factors) / np.float32(np.sqrt(factors)))
    some, X = problem(cells, n_rows, len(Y)), np.zeros((n_rows, Y.shape[1]), np.float32)
    plan = plans.plan_for("cholesky", Y.dtype, True, warm=False, last=False)._replace(only=plans.PRIMAL)
    g = np.full(Y.shape[1], 10, np.float32)
    return lambda: sweep.half_step(some, Y, g, factors, X, plan, 1)


def _top_10(users: int, items: int, factors: int) -> Callable[[], object]:
    from fastals.engine.topk import pack, top_n

    X, columns = _normal(users, factors), pack(_normal(items, factors))
    return lambda: top_n(X, columns, 10, 1)


def _normal(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((rows, columns), dtype=np.float32)


def peak() -> Kernel:
    """Return the yardstick: a matrix product large enough for BLAS to be at its best."""
    return Kernel(PEAK, None, 2.0 * 2048**3, lambda: _sgemm(2048))


def kernels(factors: int) -> list[Kernel]:
    """Return the kernels for one number of factors; those of the engine join the list here.

    A call from Python costs about a microsecond: compiled kernels repeat their work within a call, and `flops` counts
    the repeats.
    """
    users, items = 1024, 8192
    gram = CELLS * factors * (factors + 1.0)  # one triangle
    cholesky = factors**3 / 3.0 + 2.0 * factors**2
    return [
        Kernel("Gram tile", factors, REPEATS * gram, lambda: _our_gram(CELLS, factors)),
        Kernel(
            "the tile in a whole product",
            factors,
            REPEATS * 2.0 * CELLS * factors**2,
            lambda: _our_product(CELLS, factors),
        ),
        Kernel("Gram, BLAS ssyrk", factors, gram, lambda: _blas_gram(CELLS, factors)),
        Kernel("block Cholesky and solution", factors, REPEATS * cholesky, lambda: _our_cholesky(factors)),
        Kernel("Cholesky and solution, LAPACK sposv", factors, cholesky, lambda: _lapack_cholesky(factors)),
        Kernel(
            "exact half-step, rows of 4 k cells",
            factors,
            ROWS * (4 * factors * factors * (factors + 1.0) + factors**3 / 3.0 + 6.0 * factors * factors),
            lambda: _our_rows(4 * factors, factors, ROWS),
        ),
        Kernel("Top 10 of 8192", factors, 2.0 * users * items * factors, lambda: _top_10(users, items, factors)),
    ]
