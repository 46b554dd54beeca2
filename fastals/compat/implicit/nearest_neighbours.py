"""`implicit.nearest_neighbours`: BM25, TF-IDF and normalised weights of a matrix, applied before ALS.

Rows and entries of 0 stay 0. Entries that are not finite are refused, and so are negative ones, except in `normalize`.
In `implicit` all of these become NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from ...evaluation import term_weights
from ...validation import check_number

__all__ = ["bm25_weight", "normalize", "tfidf_weight"]


def tfidf_weight(X: Any) -> sparse.coo_matrix:
    """Weight entries by term frequency and inverse document frequency.

    Parameters
    ----------
    X : sparse matrix or array, shape (rows, columns)
        Rows are the documents.

    Returns
    -------
    coo_matrix
        `sqrt(x) (log(rows) - log(1 + entries of the column))`.

    Raises
    ------
    TypeError, ValueError
        X is not a matrix of finite numbers of at least 0.

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> tfidf_weight(csr_matrix([[4, 0], [0, 0], [0, 0]])).toarray().round(3)
    array([[0.811, 0.   ],
           [0.   , 0.   ],
           [0.   , 0.   ]])
    """
    X = _as_float_coo(X, negative=False)
    X.data = term_weights.tfidf(X)
    return X


def bm25_weight(X: Any, K1: float = 100, B: float = 0.8) -> sparse.coo_matrix:
    """Weight entries by Okapi BM25.

    Parameters
    ----------
    X : sparse matrix or array, shape (rows, columns)
        Rows are the documents.
    K1 : float, default 100
        The weight of a growing entry approaches `K1 + 1` times its inverse document frequency.
    B : float, default 0.8
        Share of the correction for the length of a row, from 0 to 1.

    Returns
    -------
    coo_matrix
        `x (K1 + 1) / (K1 (1 - B + B length / mean length) + x) * (log(rows) - log(1 + entries of the column))`,
        where length is the sum of the row.

    Raises
    ------
    TypeError, ValueError
        X is not a matrix of finite numbers of at least 0, or a parameter is below 0.

    References
    ----------
    Robertson, Zaragoza: The probabilistic relevance framework: BM25 and beyond. 2009.

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> bm25_weight(csr_matrix([[3, 0], [0, 0], [0, 0]]), K1=1, B=0).toarray().round(3)
    array([[0.608, 0.   ],
           [0.   , 0.   ],
           [0.   , 0.   ]])
    """
    K1, B = check_number("K1", K1, 0.0), check_number("B", B, 0.0)
    X = _as_float_coo(X, negative=False)
    X.data = term_weights.bm25(X, K1, B)
    return X


def normalize(X: Any) -> sparse.coo_matrix:
    """Divide each row by its Euclidean length.

    Parameters
    ----------
    X : sparse matrix or array, shape (rows, columns)

    Returns
    -------
    coo_matrix

    Raises
    ------
    TypeError, ValueError
        X is not a matrix of finite numbers.

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> normalize(csr_matrix([[3, 4], [0, 0]])).toarray()
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    X = _as_float_coo(X, negative=True)
    X.data = term_weights.normalized(X)
    return X


def _as_float_coo(X: Any, *, negative: bool) -> sparse.coo_matrix:
    """Return a copy; integers become float64."""
    if not sparse.issparse(X):
        X = np.asarray(X)
    if X.dtype.kind not in "biuf" or X.ndim != 2:
        raise TypeError(f"X must be a matrix of numbers, got {X.dtype} of shape {X.shape}")
    X = sparse.coo_matrix(X, copy=True)
    if X.dtype.kind != "f":
        X.data = X.data.astype(np.float64)
    bad = ~np.isfinite(X.data) if negative else ~(np.isfinite(X.data) & (X.data >= 0))
    if bad.any():
        first = int(np.argmax(bad))
        wanted = "finite" if negative else "finite and at least 0"
        raise ValueError(f"X must be {wanted}: row {X.row[first]}, column {X.col[first]} is {X.data[first].item()!r}")
    return X
