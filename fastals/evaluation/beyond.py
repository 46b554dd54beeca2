"""Metrics of ranked lists beyond hits: graded gain, diversity, serendipity, calibration. One number for each list."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse

from ..data.interactions import MatrixLike
from ..validation import check_number, check_option
from .lists import check_gains, check_lists, in_order
from .metrics import Floats, Ints, graded


def graded_ndcg(
    ids: npt.ArrayLike, test: MatrixLike, k: int | None = None, *, gain: Literal["linear", "exponential"] = "linear"
) -> Floats:
    """Compute the normalised discounted cumulative gain in which a better rating counts more.

    ``DCG / ideal`` with ``DCG = sum over places of gain / log2(rank + 1)``. The gain of an item is its value in `test`,
    or ``2^value - 1``. The ideal list has the user's best items, the best first.

    Parameters
    ----------
    ids : (n_users, n) array of int
        Column numbers of `test`, the best item first; -1 is an empty place. Row r is the list of row r of `test`.
    test : (n_users, n_items) sparse matrix, dense array or Interactions
        The held-out values, of at least 0.
    k : int, optional
        Use the first `k` places only; all `n` by default.
    gain : {'linear', 'exponential'}, default 'linear'

    Returns
    -------
    (n_users,) float64 array
        From 0 to 1; NaN for users without a positive value.

    Raises
    ------
    TypeError, ValueError
        `ids` are no lists of distinct items, or `test` has a negative value.

    References
    ----------
    Järvelin & Kekäläinen: Cumulated gain-based evaluation of IR techniques. ACM TOIS 2002.

    Examples
    --------
    >>> from fastals.evaluation import graded_ndcg
    >>> graded_ndcg([[1, 0]], [[1, 3]]), graded_ndcg([[0, 1]], [[1, 3]]).round(3)
    (array([1.]), array([0.797]))
    """
    check_option("gain", gain, ("linear", "exponential"))
    held_out = in_order("test", test, "float64")
    lists = _first(ids, held_out.shape, k)
    matrix = held_out.csr
    check_gains("test", matrix.data)
    data = np.exp2(matrix.data) - 1 if gain == "exponential" else matrix.data
    return graded(lists, sparse.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape))


def intra_list_diversity(ids: npt.ArrayLike, features: npt.ArrayLike, k: int | None = None) -> Floats:
    """Compute how unlike the items of each list are: 1 less the average cosine of all pairs of listed items.

    Parameters
    ----------
    ids : (n_users, n) array of int
        As in `graded_ndcg`; here column numbers are rows of `features`.
    features : (n_items, n_features) array
        What describes an item, such as genres of 0 and 1, or a model's `item_factors_`. The cosine of a row of zeros
        is 0.
    k : int, optional
        Use the first `k` places only.

    Returns
    -------
    (n_users,) float64 array
        From 0 (all alike) to 2; NaN for lists of fewer than two items.

    References
    ----------
    Ziegler, McNee, Konstan, Lausen: Improving recommendation lists through topic diversification. WWW 2005.

    Examples
    --------
    >>> from fastals.evaluation import intra_list_diversity
    >>> intra_list_diversity([[0, 1], [0, 2]], [[1, 0], [2, 0], [0, 1]])
    array([0., 1.])
    """
    vectors = _features(features)
    lists = _first(ids, (len(np.atleast_2d(np.asarray(ids))), len(vectors)), k)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    filled = lists >= 0
    listed = np.where(filled[:, :, None], units[lists], 0.0)
    count = filled.sum(axis=1)
    # The sum over all pairs is the squared length of the sum, less what each item has with itself.
    together = (listed.sum(axis=1) ** 2).sum(axis=1) - (listed**2).sum(axis=(1, 2))
    pairs = count * (count - 1)
    return 1 - np.divide(together, pairs, out=np.full(len(lists), np.nan), where=pairs > 0)


def serendipity(ids: npt.ArrayLike, baseline_ids: npt.ArrayLike, test: MatrixLike, k: int | None = None) -> Floats:
    """Compute the share of each list that is relevant and that a baseline does not list.

    ``(items of the list that are in test and not in the baseline's list) / k``.

    Parameters
    ----------
    ids, test, k
        As in `graded_ndcg`; every value of `test` other than 0 is a relevant item.
    baseline_ids : (n_users, n) array of int
        Lists of an obvious recommender, such as `Popularity`; its first `k` places count.

    Returns
    -------
    (n_users,) float64 array
        From 0 to 1; NaN for users without a relevant item.

    References
    ----------
    Ge, Delgado-Battenfeld, Jannach: Beyond accuracy: evaluating recommender systems by coverage and serendipity.
    RecSys 2010.

    Examples
    --------
    >>> from fastals.evaluation import serendipity
    >>> serendipity([[0, 1], [1, 2]], [[0, 2], [0, 2]], [[1, 1, 0], [0, 0, 1]])
    array([0.5, 0. ])
    """
    relevant = in_order("test", test)
    lists = _first(ids, relevant.shape, k)
    obvious = _first(baseline_ids, relevant.shape, None)[:, : lists.shape[1]]
    expected = ((lists[:, :, None] == obvious[:, None, :]) & (lists >= 0)[:, :, None]).any(axis=2)
    matrix = relevant.csr
    users = np.broadcast_to(np.arange(len(lists))[:, None], lists.shape)
    hit = np.asarray(matrix[users.ravel(), np.maximum(lists, 0).ravel()]).reshape(lists.shape) != 0
    share = (hit & (lists >= 0) & ~expected).sum(axis=1) / lists.shape[1]
    has = np.bincount(np.repeat(np.arange(len(lists)), np.diff(matrix.indptr))[matrix.data != 0], minlength=len(lists))
    return np.where(has > 0, share, np.nan)


def miscalibration(
    ids: npt.ArrayLike, train: MatrixLike, categories: npt.ArrayLike, k: int | None = None, *, smoothing: float = 0.01
) -> Floats:
    """Compute how far the categories of each list are from those of what the user has: 0 is calibrated.

    ``sum over categories c of p(c) log(p(c) / q'(c))``, the Kullback-Leibler divergence of p, the average of the
    categories of the user's interactions, and ``q' = (1 - smoothing) q + smoothing p``, where q is that of the list.

    Parameters
    ----------
    ids : (n_users, n) array of int
        As in `graded_ndcg`.
    train : (n_users, n_items) sparse matrix, dense array or Interactions
        What users have: values other than 0.
    categories : (n_items, n_categories) array
        Numbers of at least 0, such as genres of 0 and 1. An item shares itself out over its categories; an item without
        any does not count.
    k : int, optional
        Use the first `k` places only.
    smoothing : float, default 0.01
        Share of p in q', above 0 and below 1, which keeps the logarithm finite.

    Returns
    -------
    (n_users,) float64 array
        At least 0; NaN where the list or the user has no category.

    References
    ----------
    Steck: Calibrated recommendations. RecSys 2018.

    Examples
    --------
    >>> from fastals.evaluation import miscalibration
    >>> miscalibration([[2, 3], [2, 3]], [[1, 1, 0, 0], [1, 0, 0, 0]], [[1, 0], [0, 1], [1, 0], [0, 1]]).round(3)
    array([0.   , 0.683])
    """
    share = check_number("smoothing", smoothing, 0.0)
    if not 0 < share < 1:
        raise ValueError(f"smoothing must lie between 0 and 1, got {smoothing!r}")
    genres = _features(categories)
    if (genres < 0).any():
        raise ValueError(f"categories has the number {genres.min():g}: all must be at least 0")
    known = in_order("train", train)
    if len(genres) != known.shape[1]:
        raise ValueError(f"categories has {len(genres)} rows and train {known.shape[1]} items: pass a row an item")
    lists = _first(ids, known.shape, k)
    genres = _shares(genres)
    had = sparse.csr_array((known.csr != 0).astype(np.float64))
    p, q = _shares(had @ genres), _shares(np.where((lists >= 0)[:, :, None], genres[lists], 0.0).sum(axis=1))
    mixed = (1 - share) * q + share * p
    terms = p * np.log(np.divide(p, mixed, out=np.ones_like(p), where=p > 0))
    defined = (p.sum(axis=1) > 0) & (q.sum(axis=1) > 0)
    return np.where(defined, np.maximum(terms.sum(axis=1), 0.0), np.nan)


def _first(ids: npt.ArrayLike, shape: tuple[int, int], k: int | None) -> Ints:
    """Return the first `k` places of lists that are in order."""
    lists = check_lists(ids, shape)
    if k is not None and (not isinstance(k, (int, np.integer)) or not 1 <= k <= lists.shape[1]):
        raise ValueError(f"k must be an integer from 1 to {lists.shape[1]}, the columns of ids, got {k!r}")
    return lists[:, :k]


def _features(given: npt.ArrayLike) -> Floats:
    array = np.asarray(given.toarray() if sparse.issparse(given) else given, dtype=np.float64)  # type: ignore[union-attr]
    if array.ndim != 2 or not np.isfinite(array).all():
        raise ValueError(f"features of items must be a 2-D array of finite numbers, got shape {array.shape}")
    return array


def _shares(rows: Floats) -> Floats:
    """Divide each row by its sum; a row of zeros stays."""
    total = rows.sum(axis=1, keepdims=True)
    return np.divide(rows, total, out=np.zeros_like(rows), where=total > 0)
