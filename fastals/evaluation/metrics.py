"""Formulas: metrics of ranked lists, each a function of `Hits`, and metrics of predicted ratings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]

RankingMetric = Literal["recall", "capped_recall", "precision", "ndcg", "map", "hit_rate", "mrr", "auc"]
RatingMetric = Literal["rmse", "mae", "sign_accuracy"]


class Hits(NamedTuple):
    """Which places of ranked lists hold relevant items: the input of every ranking metric.

    One row for each user with at least one relevant item. Place 0 of a list is the best.

    Attributes
    ----------
    hit, filled : (n_users, k) bool arrays
        Whether the item in this place is relevant; whether there is an item.
    n_relevant, n_irrelevant : (n_users,) int64 arrays
        Items that are relevant, at least 1, and items that are neither relevant nor known from training, listed or not.

    Examples
    --------
    >>> import numpy as np
    >>> from fastals.evaluation import RANKING_METRICS, Hits
    >>> second_of_three = np.array([[False, True, False]])
    >>> hits = Hits(second_of_three, filled=np.ones((1, 3), bool), n_relevant=np.array([1]), n_irrelevant=np.array([9]))
    >>> RANKING_METRICS["mrr"](hits)
    array([0.5])
    """

    hit: Bools
    filled: Bools
    n_relevant: Ints
    n_irrelevant: Ints

    def first(self, k: int) -> Hits:
        """Return the first `k` places."""
        return self._replace(hit=self.hit[:, :k], filled=self.filled[:, :k])


def graded(lists: Ints, gains: sparse.csr_array) -> Floats:
    """Return the discounted gain of lists, relative to that of the ideal ones, in which the best items come first.

    Parameters
    ----------
    lists : (n, k) array of int
        Column numbers, the best item first; -1 is an empty place.
    gains : (n, n_items) sparse matrix
        Of at least 0; row r is for list r.

    Returns
    -------
    (n,) float64 array
        NaN for rows without a positive gain.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from fastals.evaluation.metrics import graded
    >>> graded(np.array([[1, 0]]), sparse.csr_array([[1.0, 3.0]]))
    array([1.])
    """
    users = np.broadcast_to(np.arange(len(lists))[:, None], lists.shape)
    listed = np.asarray(gains[users.ravel(), np.maximum(lists, 0).ravel()])
    discount = 1 / np.log2(np.arange(lists.shape[1]) + 2.0)
    dcg = (np.where(lists >= 0, listed.reshape(lists.shape), 0.0) * discount).sum(axis=1)
    rows = np.repeat(np.arange(len(lists)), np.diff(gains.indptr))
    order = np.lexsort((-gains.data, rows))
    rank = np.arange(len(rows)) - gains.indptr[rows]
    counted = rank < lists.shape[1]
    ideal = np.bincount(rows[counted], gains.data[order][counted] * discount[rank[counted]], minlength=len(lists))
    return np.divide(dcg, ideal, out=np.full(len(lists), np.nan), where=ideal > 0)


def recall(hits: Hits) -> Floats:
    """Return the share of the relevant items that are listed: ``hits / n_relevant``."""
    return hits.hit.sum(axis=1) / hits.n_relevant


def capped_recall(hits: Hits) -> Floats:
    """Return recall relative to the best that k places allow: ``hits / min(k, n_relevant)``."""
    return hits.hit.sum(axis=1) / _most_hits(hits)


def precision(hits: Hits) -> Floats:
    """Return the share of the k places that hold a relevant item: ``hits / k``; an empty place is a miss."""
    return hits.hit.sum(axis=1) / hits.hit.shape[1]


def ndcg(hits: Hits) -> Floats:
    """Return the normalised discounted cumulative gain with gains of 0 and 1.

    ``DCG / ideal``, where ``DCG = sum over hits of 1 / log2(rank + 1)``, ranks count from 1, and the ideal list has
    relevant items in its first ``min(k, n_relevant)`` places. Järvelin & Kekäläinen 2002.
    """
    discount = 1.0 / np.log2(np.arange(hits.hit.shape[1]) + 2.0)
    return np.where(hits.hit, discount, 0.0).sum(axis=1) / np.cumsum(discount)[_most_hits(hits) - 1]


def average_precision(hits: Hits) -> Floats:
    """Return the average precision at k, whose mean over users is MAP at k.

    ``sum over hits of (hits among the first rank places / rank) / min(k, n_relevant)``, so that a perfect list has 1.
    """
    rank = np.arange(hits.hit.shape[1]) + 1.0
    precision_at_hits = np.where(hits.hit, np.cumsum(hits.hit, axis=1) / rank, 0.0)
    return precision_at_hits.sum(axis=1) / _most_hits(hits)


def hit_rate(hits: Hits) -> Floats:
    """Return 1 where at least one relevant item is listed, else 0."""
    return np.where(hits.hit.any(axis=1), 1.0, 0.0)


def reciprocal_rank(hits: Hits) -> Floats:
    """Return ``1 / rank`` of the first hit, ranks from 1, and 0 without a hit; its mean over users is MRR at k."""
    return np.where(hits.hit.any(axis=1), 1.0 / (hits.hit.argmax(axis=1) + 1.0), 0.0)


def auc(hits: Hits) -> Floats:
    """Return the area under the ROC curve: the chance that a relevant item is ranked above an irrelevant one.

    A pair counts 1 if the relevant item is above, 0 if it is below and 1/2 if both are tied. All items that are not
    listed are tied below the list. With ``h`` hits and ``m`` misses in the list, and ``h_i`` hits above miss i::

        AUC = [sum over misses of h_i + (n_irrelevant - m) (h + n_relevant) / 2] / (n_relevant n_irrelevant)

    because an irrelevant item below the list is under ``h`` relevant items and tied with ``n_relevant - h``. An empty
    list has 1/2. A user whose items are all relevant or known from training has no such pair and gets NaN.
    """
    listed = hits.hit.sum(axis=1)
    misses = hits.filled & ~hits.hit
    won = (np.cumsum(hits.hit, axis=1) * misses).sum(axis=1)
    won_below = (hits.n_irrelevant - misses.sum(axis=1)) * (listed + hits.n_relevant) / 2.0
    pairs = (hits.n_relevant * hits.n_irrelevant).astype(np.float64)
    return np.divide(won + won_below, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def _most_hits(hits: Hits) -> Ints:
    """Return the number of hits of the best list of k places."""
    return np.minimum(hits.hit.shape[1], hits.n_relevant)


RANKING_METRICS: dict[RankingMetric, Callable[[Hits], Floats]] = {
    "recall": recall,
    "capped_recall": capped_recall,
    "precision": precision,
    "ndcg": ndcg,
    "map": average_precision,
    "hit_rate": hit_rate,
    "mrr": reciprocal_rank,
    "auc": auc,
}
"""Every ranking metric by name: a function of `Hits` that gives one number a user."""


def rmse(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Compute the root mean squared error, ``sqrt(mean((truth - predicted)^2))``.

    Parameters
    ----------
    truth, predicted : (n,) arrays
        One number for each pair of a user and an item.

    Returns
    -------
    float
        In the unit of the ratings.

    Raises
    ------
    ValueError
        The arrays are empty, of different lengths, not 1-D, or hold a number that is not finite.

    Examples
    --------
    >>> from fastals.evaluation import rmse
    >>> rmse([1, 2, 3, 4], [1, 2, 3, 2])
    1.0
    """
    error = np.subtract(*_check_pairs(truth=truth, predicted=predicted))
    return float(np.sqrt(np.mean(error**2)))


def mae(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Compute the mean absolute error, ``mean(abs(truth - predicted))``.

    Parameters
    ----------
    truth, predicted
        As in `rmse`, which also says what is returned and raised.

    Examples
    --------
    >>> from fastals.evaluation import mae
    >>> mae([1, 2, 3, 4], [1, 2, 3, 2])
    0.5
    """
    error = np.subtract(*_check_pairs(truth=truth, predicted=predicted))
    return float(np.mean(np.abs(error)))


def weighted_rmse(truth: npt.ArrayLike, predicted: npt.ArrayLike, weights: npt.ArrayLike) -> float:
    """Compute the weighted root mean squared error, ``sqrt(sum(w (truth - predicted)^2) / sum(w))`` with weights w.

    Parameters
    ----------
    truth, predicted
        As in `rmse`, which also says what is returned and raised.
    weights : (n,) array
        How much each pair counts: not negative, not all 0. Their scale does not matter.

    Examples
    --------
    >>> from fastals.evaluation import weighted_rmse
    >>> weighted_rmse([1, 2], [1, 4], weights=[3, 1])
    1.0
    """
    true, guessed, counts = _check_pairs(truth=truth, predicted=predicted, weights=weights)
    negative = np.flatnonzero(counts < 0)
    if negative.size:
        raise ValueError(f"weights[{negative[0]}] is {counts[negative[0]]}: all weights must be at least 0")
    if not counts.any():
        raise ValueError("weights are all 0: at least one must be positive")
    return float(np.sqrt(np.average((true - guessed) ** 2, weights=counts)))


def sign_accuracy(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Compute the share of the pairs whose predicted sign is right; a prediction of 0 counts as positive.

    Parameters
    ----------
    truth, predicted
        As in `rmse`, which also says what is raised. Pairs with a truth of 0 have no sign and are left out.

    Returns
    -------
    float
        From 0 to 1.

    Examples
    --------
    >>> from fastals.evaluation import sign_accuracy
    >>> sign_accuracy([1, -1, -2, 0], [0.5, 0.1, -3, 9])  # two of three; the last one has no sign
    0.6666666666666666
    """
    true, guessed = _check_pairs(truth=truth, predicted=predicted)
    signed = true != 0
    if not signed.any():
        raise ValueError("truth is all 0: at least one value must be positive or negative")
    return float(np.mean((true > 0)[signed] == (guessed >= 0)[signed]))


RATING_METRICS: dict[RatingMetric, Callable[[npt.ArrayLike, npt.ArrayLike], float]] = {
    "rmse": rmse,
    "mae": mae,
    "sign_accuracy": sign_accuracy,
}
"""Every metric of predicted ratings by name: a function of truth and prediction."""


def _check_pairs(**arrays: npt.ArrayLike) -> list[Floats]:
    """Return 1-D float64 arrays; they must be of one length, not empty and finite."""
    columns: dict[str, Floats] = {}
    for name, array in arrays.items():
        try:
            column = columns[name] = np.asarray(array, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name} must be an array of numbers ({error})") from error
        if column.ndim != 1:
            raise ValueError(f"{name} has shape {column.shape}: pass a 1-D array with one number for each pair")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"lengths differ ({listed}): pass one number for each pair in each")
    for name, column in columns.items():
        if not column.size:
            raise ValueError(f"{name} is empty: pass at least one pair")
        bad = np.flatnonzero(~np.isfinite(column))
        if bad.size:
            raise ValueError(f"{name}[{bad[0]}] is {column[bad[0]]}: all numbers must be finite")
    return list(columns.values())
