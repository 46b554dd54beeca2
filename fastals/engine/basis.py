"""The background: its Gram matrix, its eigenbasis, and panels rotated into it.

In the eigenbasis G = Q diag(g) Q' the background of every row, whatever its factor, is the diagonal c g. The model does
not change when both sides are rotated alike, so a fit leaves the fixed side rotated and solves the other one there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .blas import one_blas_thread
from .jit import kernel, next_block
from .simd.kernels import add_product, transpose
from .simd.target import aligned_empty
from .threads import spread

PIECE = 512  # rows summed in the panel's own precision before they go to float64
BAND = 128  # rows of the Gram matrix that one thread works on: a band of 128 x 1024 sums fits the second-level cache
ROWS = 64  # rotated at once; a multiple of every vector width
# Share of the trace below which a direction is not balanced: it keeps singular matrices factorable, and T and T^-T
# inverse to each other to 1e-12. Taken on both sides alike, it leaves alone what is in balance already.
FLOOR = 1e-7
TASKS = 16  # at least so many independent parts, so that threads end at about the same time


class Fixed(NamedTuple):
    """A fixed side ready for half-steps."""

    panel: np.ndarray  # T (n, kp), in the eigenbasis
    g: np.ndarray  # T (kp,), eigenvalues of the background, 0 in the padding
    rotation: np.ndarray | None  # float64 (width, width): panel = original @ rotation; None where it is the original


def gram(panel: np.ndarray, weights: np.ndarray, width: int, n_threads: int) -> np.ndarray:
    """Return sum_j weights_j y_j y_j' in float64, shape (width, width); one weight stands for all.

    Pieces of fixed size are summed in a fixed order: the bits do not depend on the number of threads.
    """
    n, kp = panel.shape
    n_bands = -(-kp // BAND)
    groups = min(-(-n // PIECE), -(-TASKS // n_bands))
    partial = np.zeros((groups, kp, kp))

    scales = np.sqrt(weights)

    def work(counter: np.ndarray) -> None:
        buffers = (aligned_empty(size, panel.dtype) for size in (PIECE * kp, BAND * kp))
        _gram_bands(counter, panel, scales, partial, *buffers)

    spread(work, min(n_threads, groups * n_bands))
    upper = np.triu(partial.sum(axis=0)[:width, :width])
    return upper + np.triu(upper, 1).T


@kernel
def _gram_bands(
    counter,  # inout int64 (1,)
    panel,  # in    T (n, kp)
    scales,  # in    T (n,) or (1,)              square roots of the weights
    partial,  # inout float64 (groups, kp, kp)   zeros; upper triangles, and some of what is below
    piece,  # work  T (PIECE * kp,)            scaled rows
    sums,  # work  T (BAND * kp,)
):
    """Sum every groups-th piece into its group, one band of rows of the Gram matrix at a time."""
    n, kp = panel.shape
    groups, n_bands = len(partial), (kp + BAND - 1) // BAND
    while True:
        task = next_block(counter)
        if task >= groups * n_bands:
            return
        group, first = task % groups, task // groups * BAND
        height = min(BAND, kp - first)
        for start in range(group * PIECE, n, groups * PIECE):
            depth = min(PIECE, n - start)
            for j in range(depth):
                scale = scales[min(start + j, len(scales) - 1)]
                for i in range(first, kp):
                    piece[j * kp + i] = scale * panel[start + j, i]
            for i in range(height * kp):
                sums[i] = 0
            add_product(sums, first, kp, 1.0, piece, first, kp, piece, first, kp, depth, height, kp - first)
            for i in range(height):
                for c in range(first + i, kp):
                    partial[group, first + i, c] += sums[i * kp + c]


def diagonalise(background: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray | None]:
    """Return eigenvalues and eigenvectors of a Gram matrix; None for the vectors where it is diagonal already.

    A panel rotated in `dtype` has off-diagonals of some eps |G|, not 0: that counts as diagonal.
    """
    diagonal = background.diagonal()
    if np.abs(background - np.diag(diagonal)).max() <= 64 * np.finfo(dtype).eps * diagonal.max():
        return diagonal, None
    with one_blas_thread():
        eigenvalues, vectors = np.linalg.eigh(background)
    return np.maximum(eigenvalues, 0), vectors


def balance(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return T such that the panels X T and Y T^-T share the ridge evenly: both Gram matrices are the same diagonal.

    The model X Y' stays what it is, and the ridge becomes the least that it can be for this model. Alternation alone
    moves slowly there: with this, ALS needs 2 iterations for what took it 5 (MovieLens 1M, k = 64).

    Parameters
    ----------
    ours, theirs : ndarray of float64, shape (k, k)
        sum_u ridge_u x_u x_u' and sum_i ridge_i y_i y_i'.

    Returns
    -------
    T, T^-T : ndarray of float64, shape (k, k)

    Notes
    -----
    With ours = L L' and L' theirs L = W S^2 W', T = L^-T W S^(1/2): then T' ours T = S and T^-1 theirs T^-T = S.
    """
    ours, theirs = (matrix + np.eye(len(matrix)) * (FLOOR * matrix.trace()) for matrix in (ours, theirs))
    with one_blas_thread():
        factor = np.linalg.cholesky(ours)
        squares, vectors = np.linalg.eigh(factor.T @ theirs @ factor)
        roots = np.sqrt(np.sqrt(squares))
        return np.linalg.solve(factor.T, vectors) * roots, factor @ vectors / roots


def rotate(panel: np.ndarray, rotation: np.ndarray, n_threads: int) -> None:
    """Overwrite `panel` by `panel @ rotation`; the rotation, shape (width, width), may be any linear map."""
    kp = panel.shape[1]
    square = aligned_empty((kp, kp), panel.dtype)
    square[...] = 0
    square[: len(rotation), : len(rotation)] = rotation

    def work(counter: np.ndarray) -> None:
        _rotate_blocks(counter, panel, square, *(aligned_empty(ROWS * kp, panel.dtype) for _ in range(2)))

    spread(work, min(n_threads, -(-len(panel) // ROWS)))


@kernel
def _rotate_blocks(
    counter,  # inout int64 (1,)
    panel,  # inout T (n, kp)
    rotation,  # in    T (kp, kp)
    turned,  # work  T (kp * ROWS,)
    product,  # work  T (ROWS * kp,)
):
    """Rotate blocks of rows by way of a buffer."""
    n, kp = panel.shape
    while True:
        start = next_block(counter) * ROWS
        if start >= n:
            return
        count = min(ROWS, n - start)
        for r in range(count):
            for i in range(kp):
                product[r * kp + i] = panel[start + r, i]
        for i in range(count * kp, ROWS * kp):
            product[i] = 0
        transpose(turned, 0, ROWS, product, 0, kp, ROWS, kp)
        for i in range(ROWS * kp):
            product[i] = 0
        add_product(product, 0, kp, 1.0, turned, 0, ROWS, rotation, 0, kp, kp, ROWS, kp)
        for r in range(count):
            for i in range(kp):
                panel[start + r, i] = product[r * kp + i]


def fix(panel: np.ndarray, weights: np.ndarray, width: int, n_threads: int) -> Fixed:
    """Prepare a side that must not change: rotated into a copy, unless it lies in its eigenbasis already.

    What a fit stores does, so folding in works on the stored factors themselves, and gives the same bits.
    """
    if not weights.any():
        return Fixed(panel, np.zeros(panel.shape[1], panel.dtype), None)
    g, rotation = diagonalise(gram(panel, weights, width, n_threads), panel.dtype)
    if rotation is None:
        return Fixed(panel, pad(g, panel), None)
    rotated = aligned_empty(panel.shape, panel.dtype)
    rotated[...] = panel
    rotate(rotated, rotation, n_threads)
    return Fixed(rotated, pad(g, panel), rotation)


def pad(g: np.ndarray, panel: np.ndarray) -> np.ndarray:
    """Return `g` in the dtype of `panel`, with zeros for its padding."""
    full = np.zeros(panel.shape[1], panel.dtype)
    full[: len(g)] = g
    return full
