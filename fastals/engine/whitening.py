"""A basis in which all rows of a half-step have the same diagonal, without an eigenproblem.

Where all rows have one background c and one ridge r, their equations share M = c G + r I. With M = N N' and

    Y~ = s Y N^-T,    X~ = X N / s,    s^2 = the mean of M's diagonal,

the model X Y' does not change, and background and ridge of every row are s^2 |x~|^2. So N may be the Cholesky factor of
M, which is computed many times faster than eigenvectors, and mostly by products of matrices. The eigenbasis of G also
serves rows whose backgrounds or ridges differ.

Nothing is left off the diagonal but rounding, which is bounded. With D the diagonal of M, rounding moves the k-th part
of y~ by at most eps sqrt(width) |row k of N^-1 D^1/2| times |s D^-1/2 y|, and on the way back likewise. So the error of
a row in the metric of M, relative to its length, is about eps sqrt(width) times the longest of these rows of N^-1
D^1/2. It is kept below sqrt(eps) / 4, which is 9e-5 in float32; conjugate gradients leave 1e-2 of a row's error in
these half-steps. In panels that were rotated into an eigenbasis a few half-steps before, these lengths are about 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .basis import lower_inverse
from .blas import one_blas_thread


class Whitening(NamedTuple):
    """The way into the basis and back."""

    root: np.ndarray
    """float64 (width, width), lower triangular: N / s. X~ = X root."""
    inverse: np.ndarray
    """float64 (width, width), lower triangular: s N^-1. X = X~ inverse, Y~ = Y inverse'."""
    g: float
    """What the eigenvalues of G are in this basis: c g + r = s^2."""


def whitening(gram: np.ndarray, background: float, ridge: float, dtype: np.dtype) -> Whitening | None:
    """Return the basis; None if rounding in `dtype` counts in it, or if M is not positive definite.

    A ridge that is lost in the rounding of G also has none: its rows may have many solutions, which are told apart in
    the eigenbasis.

    Parameters
    ----------
    gram : ndarray of float64, shape (width, width)
        G.
    background, ridge : float
        c and r of all rows.
    dtype : dtype
        Of the panels.
    """
    matrix = background * gram
    width = len(matrix)
    matrix.reshape(-1)[:: width + 1] += ridge
    diagonal = matrix.diagonal().copy()
    square = diagonal.mean()
    eps = np.finfo(dtype).eps
    if not (0 < square < np.inf and ridge > eps * background * gram.trace()):
        return None
    with one_blas_thread():
        try:
            root = np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError:
            return None
        inverse = lower_inverse(root)
        for i in range(0, width, 64):  # LAPACK may leave rounding above the diagonal of blocks of up to 63
            block = inverse[i : i + 64, i : i + 128]
            block[...] = np.tril(block)
        lengths = np.square(inverse, out=matrix) @ diagonal
    if not lengths.max() * width <= 1 / (16 * eps):
        return None
    scale = np.sqrt(square)
    root /= scale
    inverse *= scale
    return Whitening(root, inverse, (square - ridge) / background)
