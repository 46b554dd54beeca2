"""Weights of the entries of a matrix whose rows are documents: TF-IDF, BM25, rows of length 1."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from .metrics import Floats


def tfidf(X: sparse.coo_matrix) -> Floats:
    """Return ``sqrt(x) (log(rows) - log(1 + entries of the column))`` for each entry x of at least 0."""
    return np.asarray(np.sqrt(X.data) * _idf(X))


def bm25(X: sparse.coo_matrix, k1: float, b: float) -> Floats:
    """Return the weight of Okapi BM25 for each entry x of at least 0; an entry of 0 keeps 0.

    ``x (k1 + 1) / (k1 (1 - b + b length / mean length) + x) * idf``, where length is the sum of the row, and idf that
    of `tfidf`. Robertson & Zaragoza 2009.
    """
    lengths = np.asarray(X.sum(axis=1)).ravel()
    relative = 1 - b + b * lengths / (lengths.mean() or 1)
    below = k1 * relative[X.row] + X.data
    return np.asarray(np.divide(X.data * (k1 + 1), below, out=np.zeros_like(X.data), where=below > 0) * _idf(X))


def normalized(X: sparse.coo_matrix) -> Floats:
    """Return each entry divided by the Euclidean length of its row; a row of length 0 keeps its zeros."""
    lengths = np.sqrt(np.bincount(X.row, X.data**2))[X.row]
    return np.asarray(np.divide(X.data, lengths, out=np.zeros_like(X.data), where=lengths > 0))


def _idf(X: sparse.coo_matrix) -> Floats:
    return np.asarray((np.log(X.shape[0]) - np.log1p(np.bincount(X.col, minlength=X.shape[1])))[X.col])
