"""The background: its Gram matrix, its eigenbasis, and panels rotated into it.

In the eigenbasis of G = Q diag(g) Q' the background c G of every row is the diagonal c g, whatever its factor c. The
model does not change if both sides are rotated alike. So a fit leaves the fixed side rotated, and solves the other side
in the new basis.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .blas import eigh, one_blas_thread, product
from .cholesky import gram_add, unfold_gram
from .jit import inner, kernel, next_block
from .panel import aligned_like
from .problem import Extent, Shifts
from .simd.kernels import multiply, scaled, strip_of
from .simd.target import aligned_empty, in_strips, target
from .threads import in_parts, spread
from .triangular import factor

CHUNK = 128  # rows copied into strips at a time
# Rows summed in the dtype of the panel before the sum is added in float64. With half as many a Gram matrix takes 3 to
# 6% longer. With twice as many, panels of some 10,000 rows have too few pieces for the threads.
PIECE = 2048
BAND = 128  # rows of the Gram matrix that a thread sums at a time: at k = 1024 they fit the second-level cache
ROWS = 64  # rows rotated at a time; a multiple of every vector width
BLOCK = 64  # rows and columns transposed at a time
FULL, UPPER, LOWER = 0, 1, -1  # shapes of the matrix of a rotation
# Share of the trace that is added to all eigenvalues before balancing. It keeps singular matrices invertible, and T and
# T^-T inverse to each other within 1e-12. Both sides get it, so it leaves balanced panels as they are.
FLOOR = 1e-7
TASKS = 16  # minimum number of parts, if there are enough rows, so that threads end at about the same time
# Multiply-adds for each thread, 0.05 ms of work: a second thread comes after 0.01 to 0.02 ms.
SHARE = 2**22


class Fixed(NamedTuple):
    """A fixed side, ready for half-steps."""

    panel: np.ndarray  # T (n, kp), in the eigenbasis of the background
    g: np.ndarray  # T (kp,), eigenvalues of the background, 0 in the padding
    rotation: np.ndarray | None  # float64 (width, width): panel = original @ rotation; None if not rotated
    extent: Extent | None = None  # that of the columns, where it is kept for many half-steps
    shifts: Shifts | None = None  # those of the rows' targets, where there are some


def gram(panel: np.ndarray, weights: np.ndarray, width: int, n_threads: int) -> np.ndarray:
    """Return sum_j weights_j y_j y_j' in float64, of shape (width, width); a single weight counts for all columns.

    Pieces of fixed size are summed in a fixed order, so the bits do not depend on the number of threads.
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
    total = np.empty((kp, kp))
    in_parts(lambda rows: np.sum(partial[:, rows], axis=0, out=total[rows]), kp, groups * kp, n_threads)
    return _mirrored(total[:width, :width])


def _mirrored(upper: np.ndarray) -> np.ndarray:
    """Copy the upper triangle of a matrix to its lower one, which is 0, in place; return the matrix.

    Block by block, because the numbers of a whole column share a few cache lines: at many factors a fit would take 2 to
    4% longer.
    """
    for i in range(0, len(upper), BLOCK):
        block = upper[i : i + BLOCK, i : i + BLOCK]
        diagonal = block.diagonal().copy()
        block += block.T
        np.fill_diagonal(block, diagonal)
        upper[i + BLOCK :, i : i + BLOCK] = upper[i : i + BLOCK, i + BLOCK :].T
    return upper


def _threads_for(panel: np.ndarray, n_threads: int) -> int:
    """Return how many threads a product of the panel with a square matrix is worth."""
    return min(n_threads, 1 + panel.size * panel.shape[1] // SHARE)


@kernel
def _gram_bands(
    counter,  # inout int64 (1,)
    panel,  # in    T (n, kp)
    scales,  # in    T (n,), or (CHUNK,) if all alike  square roots of the weights
    each,  # in    bool                             whether each row has its own scale
    partial,  # inout float64 (groups * kp * kp,)      in: zeros; out: upper triangles
    piece,  # work  T (CHUNK * kp in whole strips,)  scaled rows, in strips
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
    # Only as a function of flat arrays this becomes a vector loop, which saves up to 15% of a Gram matrix.
    for i in range(count):
        total[t + i] += sums[s + i]


def diagonalise(background: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the eigenvalues and eigenvectors of a Gram matrix; None for the vectors if it is diagonal already.

    A panel rotated in `dtype` has off-diagonals of some eps |G|, which count as 0. A matrix that is not finite in
    `dtype` also counts as diagonal: the half-step then names the row that fails. The eigenvectors are computed in
    `dtype`, because the sums of a Gram matrix are no more precise.
    """
    if _is_diagonal(background, dtype):
        return background.diagonal(), None
    eigenvalues, vectors = eigh(background.astype(dtype))
    return np.maximum(eigenvalues, 0).astype(np.float64), vectors.astype(np.float64)


def _is_diagonal(matrix: np.ndarray, dtype: np.dtype) -> bool:
    """Tell whether all that is off the diagonal counts as 0, or a number is beyond the range of `dtype`."""
    diagonal, n = matrix.diagonal(), len(matrix)
    beside = matrix.reshape(-1)[1:].reshape(n - 1, n + 1)[:, :-1]  # a view of all numbers off the diagonal
    largest = max(beside.max(initial=0), -beside.min(initial=0))
    limits = np.finfo(dtype)
    return not largest + np.abs(diagonal).max() <= limits.max or bool(largest <= 64 * limits.eps * diagonal.max())


def balance(ours: np.ndarray, theirs: np.ndarray, n_threads: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return T such that both panels, X T and Y T^-T, have the same diagonal Gram matrix, weighted by the ridge.

    The product X Y' does not change, and the ridge term becomes as small as it can be for this product. Alternation
    alone gets there slowly: with balancing, ALS needs 2 iterations instead of 5 for the same loss.

    Parameters
    ----------
    ours, theirs : ndarray of float64, shape (k, k)
        sum_u ridge_u x_u x_u' and sum_i ridge_i y_i y_i'.
    n_threads : int

    Returns
    -------
    T, T^-T : ndarray of float64, shape (k, k)
    balanced : ndarray of float64, shape (k, k)
        T^-1 theirs T^-T, which is diagonal.

    Notes
    -----
    With ours = L L' and L' theirs L = W S^2 W', T = L^-T W S^(1/2) gives T' ours T = S and T^-1 theirs T^-T = S.
    `FLOOR` keeps both matrices invertible.
    """
    if _is_diagonal(ours, ours.dtype):
        sizes = np.sqrt(np.maximum(ours.diagonal(), 0) + FLOOR * ours.trace())[:, None]
        squares, turn = eigh(sizes * theirs * sizes.T)
        apart, along = turn / sizes, turn * sizes
    else:
        root, inverse = _root(ours, n_threads)
        squares, turn = eigh(product(product(root.T, theirs, n_threads), root, n_threads))
        apart, along = product(inverse.T, turn, n_threads), product(root, turn, n_threads)
    squares = np.maximum(squares, 0)
    even = np.sqrt(squares + FLOOR * theirs.trace() * (along**2).sum(axis=0))
    return apart * np.sqrt(even), along / np.sqrt(even), np.diag(squares / even)


def _root(gram: np.ndarray, n_threads: int) -> tuple[np.ndarray, np.ndarray]:
    """Return L and its inverse, with L L' = gram + floor I.

    Summed in float32, a Gram matrix may have eigenvalues below 0, on which Cholesky fails. Then L comes from the
    eigenvectors, which takes 4 to 8 times as long.
    """
    floor = FLOOR * gram.trace()
    try:
        return factor(gram + floor * np.eye(len(gram)), n_threads)
    except np.linalg.LinAlgError:
        sizes, axes = eigh(gram)
        scales = np.sqrt(np.maximum(sizes, 0) + floor)
        return axes * scales, (axes / scales).T


def whiten(panel: np.ndarray, width: int, n_threads: int) -> None:
    """Overwrite `panel` by orthogonal columns of equal length with the same range, as far as its dtype can tell.

    The squares of all numbers then sum up to the number of rows. A panel that is 0 or not finite stays as it is.

    With G + floor I = L L' the result is panel L^-T, scaled. Its squares sum up to k - floor |L^-1|^2. Summed in
    float32, G may have eigenvalues of about -floor; then a higher floor is tried. The eigenvectors of G would do as
    well, but a fit would take 2 to 13% longer.
    """
    matrix = gram(panel, np.ones(1, panel.dtype), width, n_threads)
    if not 0 < matrix.trace() < np.inf:
        return
    for floor in matrix.trace() * FLOOR * 10.0 ** np.arange(6):
        try:
            _, inverse = factor(matrix + floor * np.eye(width), n_threads)
        except np.linalg.LinAlgError:
            continue
        squares = width - floor * (inverse**2).sum()
        if squares > 0.5:  # about 1 or more, unless an eigenvalue is negative
            rotate(panel, inverse.T * np.sqrt(len(panel) / squares), n_threads)
            return


def outside(panel: np.ndarray, span: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Return the part of a panel outside the range of `span`, along its first `count` principal axes.

    Parameters
    ----------
    panel : ndarray, shape (n, k)
    span : ndarray, shape (len(rows), any)
        Counts as 0 in all other rows.
    rows : ndarray of int
        The rows of the panel to which the rows of `span` belong.
    count : int

    Returns
    -------
    ndarray of float64, shape (n, min(count, n, k))
    """
    if count == 0:
        return np.zeros((len(panel), 0))
    left = panel.astype(np.float64)
    with one_blas_thread():
        axes, _ = np.linalg.qr(span.astype(np.float64))
        left[rows] -= axes @ (axes.T @ left[rows])
        axes, sizes, _ = np.linalg.svd(left, full_matrices=False)
        return axes[:, :count] * sizes[:count]


def turned(matrix: np.ndarray, rotation: np.ndarray | None, n_threads: int) -> np.ndarray:
    """Return the Gram matrix of the rotated panel: rotation' matrix rotation."""
    if rotation is None:
        return matrix
    return product(product(rotation.T, matrix, n_threads), rotation, n_threads)


def composed(first: np.ndarray | None, second: np.ndarray | None, n_threads: int) -> np.ndarray | None:
    """Return the product of two rotations, the first one applied first; None is the identity."""
    if first is None or second is None:
        return second if first is None else first
    return product(first, second, n_threads)


def rotate(
    panel: np.ndarray, rotation: np.ndarray | None, n_threads: int, shape: int = FULL, out: np.ndarray | None = None
) -> None:
    """Overwrite `panel` by `panel @ rotation`, any matrix of shape (width, width); None is the identity.

    `shape` says that the matrix is `UPPER` or `LOWER` triangular, which takes half the time. `out` is another panel of
    the same shape, where the product goes instead.
    """
    if rotation is None:
        if out is not None:
            out[...] = panel
        return
    out = panel if out is None else out
    kp, strip, width = panel.shape[1], target().strip(panel.itemsize), len(rotation)
    flat = aligned_empty(kp * in_strips(kp, panel.dtype), panel.dtype)
    strips, whole = flat.reshape(-1, kp, strip), width // strip
    given = rotation[:, : whole * strip].reshape(width, whole, strip).swapaxes(0, 1)

    def put(part: slice) -> None:
        strips[part, :width] = given[part]

    in_parts(put, whole, width * strip, n_threads)
    strips[:whole, width:] = strips[whole:] = 0
    if whole * strip < width:
        strips[whole, :width, : width - whole * strip] = rotation[:, whole * strip :]

    def work(counter: np.ndarray) -> None:
        block = aligned_empty(ROWS * kp, panel.dtype)
        _rotate_blocks(counter, panel.reshape(-1), out.reshape(-1), kp, flat, shape, block)

    spread(work, min(_threads_for(panel, n_threads), -(-len(panel) // ROWS)))


@kernel
def _rotate_blocks(
    counter,  # inout int64 (1,)
    panel,  # in    T (n * kp,)
    out,  # out   T (n * kp,)       may be the panel itself
    kp,  # in    intp
    rotation,  # in    T (kp * kp in whole strips,)
    shape,  # in    FULL, UPPER or LOWER
    block,  # work  T (ROWS * kp,)
):
    """Rotate blocks of rows until none is left."""
    S = strip_of(panel)
    while True:
        start = next_block(counter) * ROWS * kp
        if start >= len(panel):
            return
        size = min(ROWS * kp, len(panel) - start)
        for i in range(size):
            block[i] = panel[start + i]
        for j in range(0, kp, S):
            first, width = j if shape == LOWER else 0, min(S, kp - j)
            depth, right = (j + width if shape == UPPER else kp) - first, j * kp + first * S
            multiply(out, start + j, kp, block, first, kp, rotation, right, S, size // kp, depth, width)


def fix(panel: np.ndarray, weights: np.ndarray, width: int, n_threads: int) -> Fixed:
    """Prepare a fixed side for half-steps: a rotated copy, or the panel itself if it is in its eigenbasis already.

    The factors that a fit stores are. So fold-in works on the stored factors themselves, and gives the same bits.
    """
    if not weights.any():
        return Fixed(panel, np.zeros(panel.shape[1], panel.dtype), None)
    g, rotation = diagonalise(gram(panel, weights, width, n_threads), panel.dtype)
    if rotation is None:
        return Fixed(panel, pad(g, panel), None)
    rotated = aligned_like(panel)
    rotate(panel, rotation, n_threads, out=rotated)
    return Fixed(rotated, pad(g, panel), rotation)


def pad(g: np.ndarray, panel: np.ndarray) -> np.ndarray:
    """Return `g` in the dtype of `panel`, padded with zeros."""
    full = np.zeros(panel.shape[1], panel.dtype)
    full[: len(g)] = g
    return full
