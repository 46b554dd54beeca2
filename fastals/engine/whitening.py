"""A basis in which the rows of a half-step have diagonal equations, without an eigenproblem.

A row's equations have the background c G and the ridge r. Let t be the least r / c of all rows with entries, and

    N N' = G + t I,    K = N^-1 N^-T,    D the diagonal of K,    Y~ = Y N^-T D^-1/2,    X~ = X N D^1/2.

The model X Y' does not change, and background and ridge of a row become

    x~' (c D^-1 - c t I + r I + (r - c t) C) x~,    C = D^-1/2 K D^-1/2 - I.

All but C is diagonal, and C has zeros on its diagonal. Where all rows have the same r / c, its factor r - c t is 0. So
N may be the Cholesky factor, which is computed many times faster than eigenvectors, and mostly by products of matrices.

Where rows differ, (r - c t) C is the coupling of a row. It is taken at the row's previous x, as a linear term. Let H be
the diagonal part of background and ridge, and e the norm of the coupling in the metric of H, which is the largest
absolute eigenvalue of H^-1/2 (r - c t) C H^-1/2. Then at most the share e of the step from the previous x to the
solution is left undone, in the metric of H. Where the fit has converged, nothing is left undone. If a half-step goes
`beyond` its solution by a share b of the step, the objective falls as long as e < (1 - b) / (1 + b).

These two bounds hold if no entry has less confidence than it would have unobserved: entries then only add to H. If each
entry has at least the share s of it, the row's matrix without the coupling is at least (s - (1 - s) e) H. So
e / (s - (1 - s) e) takes the place of e in the second bound. The larger r / c, the larger is e, so the bound of the row
with the largest r / c holds for all rows. With default parameters and 256 to 1024 factors e is 0.03 to 0.06 for such
rows of MovieLens 1M, and 0.004 at most for half of the users. For items of Last.fm it is up to 0.16.

Rounding counts little as well. It moves the k-th number of N^-1 y by about eps sqrt(width) |row k of N^-1 M^1/2| times
|M^-1/2 y|, with M the diagonal of G + t I, and on the way back likewise. So the error of a row in the metric of
G + t I, relative to its length, is about eps sqrt(width) times the longest of these rows. It is kept below
sqrt(eps) / 4, which is 9e-5 in float32. Conjugate gradients leave 1e-2 of a row's error in these half-steps. In panels
that were rotated into an eigenbasis a few half-steps before, these lengths are about 1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .blas import PASS, in_blocks, one_blas_thread, product
from .triangular import factor


class Whitening(NamedTuple):
    """The way into the basis and back."""

    root: np.ndarray
    """float64 (width, width), lower triangular: N D^1/2. X~ = X root."""
    inverse: np.ndarray
    """float64 (width, width), lower triangular: D^-1/2 N^-1. X = X~ inverse, Y~ = Y inverse'."""
    g: np.ndarray
    """float64 (width,): what the eigenvalues of G are in this basis, D^-1 - t I."""


def whitening(
    gram: np.ndarray,
    least: float,
    most: float,
    dtype: np.dtype,
    beyond: float = 0.0,
    kept: float = 1.0,
    n_threads: int = 1,
) -> Whitening | None:
    """Return the basis; None if rounding in `dtype` or the coupling counts, or if G + t I is not positive definite.

    A ridge that is lost in the rounding of G also has none: its rows may have many solutions, which are told apart in
    the eigenbasis.

    Parameters
    ----------
    gram : ndarray of float64, shape (width, width)
        G.
    least, most : float
        The least and the largest r / c of all rows with entries.
    dtype : dtype
        Of the panels.
    beyond : float
        How far the half-step goes beyond its solution, as a share of the step: b.
    kept : float
        The least confidence of an entry, as a share of what it would have unobserved, and at most 1: s.
    n_threads : int
    """
    width, eps = len(gram), np.finfo(dtype).eps
    matrix = gram.copy()
    matrix.reshape(-1)[:: width + 1] += least
    diagonal = matrix.diagonal().copy()
    if not (0 < diagonal.sum() < np.inf and least > eps * gram.trace()):
        return None
    try:
        root, inverse = factor(matrix, n_threads)
    except np.linalg.LinAlgError:
        return None
    scales, lengths = np.empty(width), np.empty(width)

    def measure(rows: slice) -> None:
        squares = np.square(inverse[rows])
        scales[rows], lengths[rows] = squares.sum(axis=1), (squares * diagonal).sum(axis=1)

    def scale(rows: slice) -> None:
        root[rows] *= sizes
        inverse[rows] /= sizes[rows, None]

    in_blocks(measure, 0, width, PASS * width, n_threads)
    if not lengths.max() * width <= 1 / (16 * eps):
        return None
    sizes = np.sqrt(scales)
    in_blocks(scale, 0, width, PASS * width, n_threads)
    if most > least:
        limit = (1 - beyond) / (1 + beyond)
        limit *= kept / (1 + limit * (1 - kept))  # e / (s - (1 - s) e) is then below it
        if not coupling(inverse, scales, most - least, limit, n_threads) <= limit:
            return None
    return Whitening(root, inverse, 1 / scales - least)


def coupling(inverse: np.ndarray, scales: np.ndarray, excess: float, enough: float, n_threads: int) -> float:
    """Return a bound of e for a row whose r / c is `excess` above t; `scales` is D.

    A bound up to `enough` may be a rough one.
    """
    width, metric = len(inverse), 1 / np.sqrt(1 + 1 / (excess * scales))
    matrix, parts = np.zeros((width, width)), np.zeros(width)

    def work(rows: slice) -> None:
        begin, end = rows.start, rows.stop
        with one_blas_thread():
            block = inverse[rows, :end] @ inverse[:end, :end].T
        block *= metric[rows, None]
        block *= metric[:end]
        block[:, begin:] = np.tril(block[:, begin:], -1)
        matrix[rows, :end], parts[rows] = block, np.square(block).sum(axis=1)

    in_blocks(work, 0, width, width * width // 3, n_threads)
    bound = math.sqrt(2 * parts.sum())
    if bound <= enough:
        return bound
    # e is the largest absolute eigenvalue. The root of the sum of all squares may be sqrt(width) times as large, the
    # fourth root of the sum of all fourth powers only width^(1/4) times.
    matrix += matrix.T
    return math.sqrt(math.sqrt(np.square(product(matrix, matrix, n_threads)).sum()))
