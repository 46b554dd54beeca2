"""Single kernels on one thread, as a share of what a big matrix product reaches on the same core at the same time."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.linalg.blas import ssyrk
from scipy.linalg.lapack import spotrf

PEAK = "sgemm 2048"
CELLS = 1024  # rows of a long Gram product, as many as a heavy row has cells


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
    Y = _normal(2 * factors, factors)
    A = np.asfortranarray(Y.T @ Y)
    return lambda: spotrf(A)


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
    return [
        Kernel("Gram, BLAS ssyrk", factors, gram, lambda: _blas_gram(CELLS, factors)),
        Kernel("Cholesky, LAPACK spotrf", factors, factors**3 / 3.0, lambda: _lapack_cholesky(factors)),
        Kernel("Top 10 of 8192", factors, 2.0 * users * items * factors, lambda: _top_10(users, items, factors)),
    ]
