"""Cholesky factors and their inverses, by products of blocks that threads share."""

from __future__ import annotations

import numpy as np

from .blas import ROWS, in_blocks, one_blas_thread


def factor(matrix: np.ndarray, n_threads: int) -> tuple[np.ndarray, np.ndarray]:
    """Return L with ``matrix = L L'`` and the inverse of L: float64 (k, k), with zeros above the diagonal.

    Raises
    ------
    LinAlgError
        The matrix is not positive definite.
    """
    k = len(matrix)
    L, inverse = np.tril(matrix), np.zeros((k, k))
    for begin in range(0, k, ROWS):
        block = slice(begin, min(begin + ROWS, k))
        end = block.stop
        with one_blas_thread():
            L[block, block] = np.linalg.cholesky(L[block, block])
            inverse[block, block] = _inverse(L[block, block])

        def below(rows: slice, block: slice = block) -> None:
            with one_blas_thread():
                L[rows, block] = L[rows, block] @ inverse[block, block].T

        def beyond(rows: slice, block: slice = block, end: int = end) -> None:
            with one_blas_thread():
                L[rows, end : rows.stop] -= L[rows, block] @ L[end : rows.stop, block].T

        in_blocks(below, end, k, ROWS * ROWS, n_threads)
        in_blocks(beyond, end, k, ROWS * (k - end) // 2, n_threads)

    def column(block: slice) -> None:
        with one_blas_thread():
            for begin in range(block.stop, k, ROWS):
                rows, above = slice(begin, min(begin + ROWS, k)), slice(block.start, begin)
                inverse[rows, block] = -(inverse[rows, rows] @ (L[rows, above] @ inverse[above, block]))

    in_blocks(column, 0, k, k * k // 6, n_threads)
    return L, inverse


def _inverse(L: np.ndarray) -> np.ndarray:
    """Return the inverse of a small triangular matrix by halves, at 128 rows 3 to 5 times as fast as ``inv``."""
    half = len(L) // 2
    with one_blas_thread():
        if half < 32:
            return np.tril(np.linalg.inv(L))  # LAPACK may leave rounding above the diagonal
        inverse = np.zeros_like(L)
        first, last = _inverse(L[:half, :half]), _inverse(L[half:, half:])
        inverse[:half, :half], inverse[half:, half:] = first, last
        inverse[half:, :half] = -last @ L[half:, :half] @ first
    return inverse
