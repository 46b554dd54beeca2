"""The background: its Gram matrix, its eigenbasis, and panels rotated into it.

In the eigenbasis G = Q diag(g) Q' the background of every row, whatever its factor, is the diagonal c g. The model does
not change when both sides are rotated alike, so a fit leaves the fixed side rotated and solves the other one there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .blas import eigh, one_blas_thread
from .cholesky import gram_add, unfold_gram
from .jit import inner, kernel, next_block
from .simd.kernels import multiply, scaled, strip_of
from .simd.target import aligned_empty, in_strips, target
from .threads import spread

CHUNK = 128  # rows copied into strips at once
# Rows summed in the panel's own precision before they go to float64. With half as many a Gram matrix takes 3 to 6%
# longer at 64 to 512 floats a row; with twice as many less still, but 10,000 rows would be too few parts for threads.
PIECE = 2048
BAND = 128  # rows of the Gram matrix that one thread works on: a band of 128 x 1024 sums fits the second-level cache
ROWS = 64  # rotated at once; a multiple of every vector width
BLOCK = 64  # rows and columns transposed at once
# Share of the trace below which a direction is not balanced: it keeps singular matrices invertible, and T and T^-T
# inverse to each other to 1e-12. Taken on both sides alike, it leaves alone what is in balance already.
FLOOR = 1e-7
TASKS = 16  # at least so many independent parts, so that threads end at about the same time
# Numbers of a panel times its columns, for each thread: 0.2 ms or more. Until a second one is awake, takes part and is
# waited for, 0.1 ms pass: with two a panel of 2,000 x 32 takes twice as long, and only from here on less than with one.
SHARE = 2**24


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
    scales = np.sqrt(weights).astype(panel.dtype)
    scales = np.full(CHUNK, scales[0]) if len(weights) == 1 else scales

    def work(counter: np.ndarray) -> None:
        buffers = (aligned_empty(size, panel.dtype) for size in (CHUNK * in_strips(kp, panel.dtype), BAND * kp))
        _gram_bands(counter, panel, scales, len(weights) > 1, partial.reshape(-1), *buffers)

    spread(work, min(_threads_for(panel, n_threads), groups * n_bands))
    return _mirrored(partial.sum(axis=0)[:width, :width])


def _mirrored(upper: np.ndarray) -> np.ndarray:
    """Fill what lies below the diagonal of an upper triangular matrix, and is 0, from above; return the matrix.

    Block by block, as columns of a whole matrix fall on the same few lines of the cache: a fit on lastfm took 2% longer
    at 512 factors and 4% at 1024.
    """
    for i in range(0, len(upper), BLOCK):
        block = upper[i : i + BLOCK, i : i + BLOCK]
        block += np.triu(block, 1).T
        upper[i + BLOCK :, i : i + BLOCK] = upper[i : i + BLOCK, i + BLOCK :].T
    return upper


def _threads_for(panel: np.ndarray, n_threads: int) -> int:
    return min(n_threads, 1 + panel.size * panel.shape[1] // SHARE)


@kernel
def _gram_bands(
    counter,  # inout int64 (1,)
    panel,  # in    T (n, kp)
    scales,  # in    T (n,), or (CHUNK,) all alike     square roots of the weights
    each,  # in    bool                                whether each row has a scale of its own
    partial,  # inout float64 (groups * kp * kp,)         zeros; upper triangles
    piece,  # work  T (CHUNK * kp in whole strips,)     scaled rows, in strips
    sums,  # work  T (BAND * kp,)
):
    """Sum every groups-th piece into its group, one band of rows of the Gram matrix at a time."""
    n, kp = panel.shape
    groups, n_bands = len(partial) // (kp * kp), (kp + BAND - 1) // BAND
    while True:
        task = next_block(counter)
        if task >= groups * n_bands:
            return
        group, band = task % groups, task // groups * BAND
        height, right = min(BAND, kp - band), kp - band  # rows of the band; columns, from its diagonal on
        for begin in range(group * PIECE, n, groups * PIECE):
            end = min(begin + PIECE, n)
            for start in range(begin, end, CHUNK):
                depth, own = min(CHUNK, end - start), start if each else 0
                scaled(piece, 0, CHUNK, scales, own, panel, start * kp + band, kp, depth, right)
                gram_add(sums, start > begin, 1.0, piece, CHUNK, depth, height, right)
            unfold_gram(sums, height, right)
            for i in range(height):
                diagonal = (group * kp + band + i) * kp + band + i
                _add(partial, diagonal, sums, i * right + i, right - i)


@inner
def _add(total, t, sums, s, count):
    # A function of flat arrays, as only so it becomes a vector loop: 15% of a Gram matrix at k = 64.
    for i in range(count):
        total[t + i] += sums[s + i]


def diagonalise(background: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray | None]:
    """Return eigenvalues and eigenvectors of a Gram matrix; None for the vectors where it is diagonal already.

    A panel rotated in `dtype` has off-diagonals of some eps |G|, not 0: that counts as diagonal. So does what is not
    finite in `dtype`, as the rows that it makes impossible can be named. Eigenvectors in `dtype` leave less of it, and
    the sums of a Gram matrix are no more precise.
    """
    diagonal, n = background.diagonal(), len(background)
    beside = background.reshape(-1)[1:].reshape(n - 1, n + 1)[:, :-1]  # each number but the diagonal's, where it stands
    largest = max(beside.max(initial=0), -beside.min(initial=0))
    limits = np.finfo(dtype)
    if not largest + np.abs(diagonal).max() <= limits.max or largest <= 64 * limits.eps * diagonal.max():
        return diagonal, None
    eigenvalues, vectors = eigh(background.astype(dtype))
    return np.maximum(eigenvalues, 0).astype(np.float64), vectors.astype(np.float64)


def balance(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
    balanced : ndarray of float64, shape (k, k)
        T^-1 theirs T^-T, which is diagonal.

    Notes
    -----
    With ours = L L' and L' theirs L = W S^2 W', T = L^-T W S^(1/2): then T' ours T = S and T^-1 theirs T^-T = S. L is
    of the eigenvectors of ours, as Cholesky may fail on a Gram matrix summed in float32; with one ridge for all ours is
    diagonal. A floor on both diagonals keeps singular matrices invertible; that of theirs is in S alone.
    """
    sizes, axes = diagonalise(ours, ours.dtype)
    root = np.sqrt(sizes + FLOOR * ours.trace())[:, None]
    squares, turn = eigh(root * turned(theirs, axes) * root.T)
    with one_blas_thread():
        apart, along = turn / root, turn * root
        if axes is not None:
            apart, along = axes @ apart, axes @ along
    squares = np.maximum(squares, 0)
    even = np.sqrt(squares + FLOOR * theirs.trace() * (along**2).sum(axis=0))
    return apart * np.sqrt(even), along / np.sqrt(even), np.diag(squares / even)


def whiten(panel: np.ndarray, width: int, n_threads: int) -> None:
    """Overwrite `panel` by orthogonal columns of one length with the same range, as far as its precision tells.

    The squares of all its numbers then sum up to its rows. A panel that is 0 or not finite stays as it is.

    With G + floor I = L L' it is panel L^-T, whose squares sum up to k - floor |L^-1|^2 = sum_i g_i / (g_i + floor).
    Summed in float32 G may have eigenvalues g_i of about -floor, which a higher floor covers. By the eigenvectors of G
    a fit takes longer: 2% on lastfm and MovieLens 1M, k = 64 to 512, on lastfm 6% at k = 512 and 13% at 1024.
    """
    matrix = gram(panel, np.ones(1, panel.dtype), width, n_threads)
    if not 0 < matrix.trace() < np.inf:
        return
    for floor in matrix.trace() * FLOOR * 10.0 ** np.arange(6):
        try:
            with one_blas_thread():
                inverse = _lower_inverse(np.linalg.cholesky(matrix + floor * np.eye(width)))
        except np.linalg.LinAlgError:
            continue
        squares = width - floor * (inverse**2).sum()
        if squares > 0.5:  # that of a Gram matrix is 1 at least, or all but
            rotate(panel, inverse.T * np.sqrt(len(panel) / squares), n_threads)
            return


def _lower_inverse(L: np.ndarray) -> np.ndarray:
    """Return the inverse of a lower triangular matrix, by halves: 3 to 5 times as fast as ``inv`` from k = 128 on."""
    half = len(L) // 2
    with one_blas_thread():
        if half < 32:
            return np.linalg.inv(L)
        inverse = np.zeros_like(L)
        first, last = _lower_inverse(L[:half, :half]), _lower_inverse(L[half:, half:])
        inverse[:half, :half], inverse[half:, half:] = first, last
        inverse[half:, :half] = -last @ L[half:, :half] @ first
    return inverse


def outside(panel: np.ndarray, span: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Return what of a panel lies outside the range of `span`, along its `count` principal axes.

    Parameters
    ----------
    panel : ndarray, shape (n, k)
    span : ndarray, shape (len(rows), any)
        0 in the rows that it lacks.
    rows : ndarray of int
        Which rows of the panel its rows are.
    count : int

    Returns
    -------
    ndarray of float64, shape (n, count), or of fewer columns where n or k are fewer
    """
    if count == 0:
        return np.zeros((len(panel), 0))
    left = panel.astype(np.float64)
    with one_blas_thread():
        axes, _ = np.linalg.qr(span.astype(np.float64))
        left[rows] -= axes @ (axes.T @ left[rows])
        axes, sizes, _ = np.linalg.svd(left, full_matrices=False)
        return axes[:, :count] * sizes[:count]


def turned(matrix: np.ndarray, rotation: np.ndarray | None) -> np.ndarray:
    """Return the Gram matrix of a panel that is rotated: rotation' matrix rotation."""
    if rotation is None:
        return matrix
    with one_blas_thread():
        return rotation.T @ matrix @ rotation


def composed(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    """Return the map of one rotation after the other, where None is the identity."""
    if first is None or second is None:
        return second if first is None else first
    with one_blas_thread():
        return first @ second


def rotate(panel: np.ndarray, rotation: np.ndarray | None, n_threads: int) -> None:
    """Overwrite `panel` by `panel @ rotation`: any linear map of shape (width, width), or None for the identity."""
    if rotation is None:
        return
    kp, strip = panel.shape[1], target().strip(panel.itemsize)
    square = np.zeros((kp, in_strips(kp, panel.dtype)), panel.dtype)
    square[: len(rotation), : len(rotation)] = rotation
    strips = aligned_empty(square.size, panel.dtype)
    strips.reshape(-1, kp, strip)[...] = square.reshape(kp, -1, strip).swapaxes(0, 1)

    def work(counter: np.ndarray) -> None:
        _rotate_blocks(counter, panel.reshape(-1), kp, strips, aligned_empty(ROWS * kp, panel.dtype))

    spread(work, min(_threads_for(panel, n_threads), -(-len(panel) // ROWS)))


@kernel
def _rotate_blocks(
    counter,  # inout int64 (1,)
    panel,  # inout T (n * kp,)
    kp,  # in    intp
    rotation,  # in    T (kp * kp in whole strips,)
    block,  # work  T (ROWS * kp,)
):
    """Rotate blocks of rows, each out of a copy."""
    S = strip_of(panel)
    while True:
        start = next_block(counter) * ROWS * kp
        if start >= len(panel):
            return
        size = min(ROWS * kp, len(panel) - start)
        for i in range(size):
            block[i] = panel[start + i]
        for j in range(0, kp, S):
            multiply(panel, start + j, kp, block, 0, kp, rotation, j * kp, S, size // kp, kp, min(S, kp - j))


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
