"""How good is it: metrics of ranked lists against held-out cells, and of predicted ratings."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastals.interactions import Interactions, as_interactions
from fastals.validation import check_integer

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Hits(NamedTuple):
    """Ranked lists held against the test cells: all that a ranking metric needs to know.

    One row for each user with at least one relevant item. Place 0 of a list is the best.

    Attributes
    ----------
    hit : (n_users, k) bool array
        The item in this place is relevant.
    filled : (n_users, k) bool array
        There is an item in this place.
    n_relevant : (n_users,) int64 array
        Relevant items of the user, listed or not; at least 1.
    n_irrelevant : (n_users,) int64 array
        Items that are neither relevant nor known from training, listed or not.
    """

    hit: Bools
    filled: Bools
    n_relevant: Ints
    n_irrelevant: Ints


def recall(hits: Hits) -> Floats:
    """Share of the relevant items that are listed: ``hits / n_relevant``."""
    return hits.hit.sum(axis=1) / hits.n_relevant


def capped_recall(hits: Hits) -> Floats:
    """Recall against what k places can hold: ``hits / min(k, n_relevant)``."""
    return hits.hit.sum(axis=1) / _most_hits(hits)


def precision(hits: Hits) -> Floats:
    """Share of the k places that hold a relevant item: ``hits / k``; an empty place is a miss."""
    return hits.hit.sum(axis=1) / hits.hit.shape[1]


def ndcg(hits: Hits) -> Floats:
    """Normalised discounted cumulative gain with gains of 0 and 1.

    ``DCG / ideal``, where ``DCG = sum over hits of 1 / log2(rank + 1)``, ranks count from 1, and the ideal list has
    relevant items in its first ``min(k, n_relevant)`` places. Järvelin & Kekäläinen 2002.
    """
    discount = 1.0 / np.log2(np.arange(hits.hit.shape[1]) + 2.0)
    return hits.hit @ discount / np.cumsum(discount)[_most_hits(hits) - 1]


def average_precision(hits: Hits) -> Floats:
    """Average precision at k, whose mean over users is MAP at k.

    ``sum over hits of (hits among the first rank places / rank) / min(k, n_relevant)``, so that a perfect list has 1.
    """
    rank = np.arange(hits.hit.shape[1]) + 1.0
    precision_at_hits = np.where(hits.hit, np.cumsum(hits.hit, axis=1) / rank, 0.0)
    return precision_at_hits.sum(axis=1) / _most_hits(hits)


def hit_rate(hits: Hits) -> Floats:
    """1 where at least one relevant item is listed, else 0."""
    return np.where(hits.hit.any(axis=1), 1.0, 0.0)


def reciprocal_rank(hits: Hits) -> Floats:
    """``1 / rank`` of the first hit, ranks counting from 1, and 0 without one; its mean over users is MRR at k."""
    return np.where(hits.hit.any(axis=1), 1.0 / (hits.hit.argmax(axis=1) + 1.0), 0.0)


def auc(hits: Hits) -> Floats:
    """Area under the ROC curve of the list: the chance that a relevant item is ranked above an irrelevant one.

    A pair counts 1 where the relevant item is above, 0 where it is below and 1/2 where the two are tied. All items
    that are not listed are tied below the list. With ``h`` hits and ``m`` misses in the list, and ``h_i`` hits above
    miss i::

        AUC = [sum over misses of h_i + (n_irrelevant - m) (h + n_relevant) / 2] / (n_relevant n_irrelevant)

    since an irrelevant item below the list is under ``h`` relevant items and tied with ``n_relevant - h``. An empty
    list has 1/2. A user whose every item is relevant or known from training has no such pair, hence NaN.
    """
    listed = hits.hit.sum(axis=1)
    misses = hits.filled & ~hits.hit
    won = (np.cumsum(hits.hit, axis=1) * misses).sum(axis=1)
    won_below = (hits.n_irrelevant - misses.sum(axis=1)) * (listed + hits.n_relevant) / 2.0
    pairs = (hits.n_relevant * hits.n_irrelevant).astype(np.float64)
    return np.divide(won + won_below, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def _most_hits(hits: Hits) -> Ints:
    """As many hits as the best list of k places has."""
    return np.minimum(hits.hit.shape[1], hits.n_relevant)


RANKING_METRICS: dict[str, Callable[[Hits], Floats]] = {
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


def ranking_metrics(
    ids: npt.ArrayLike,
    test: Any,
    k: int | None = None,
    metrics: Iterable[str] = tuple(RANKING_METRICS),
    *,
    train: Any = None,
) -> dict[str, float]:
    """Average metrics of ranked lists over the users who have something to be found.

    Parameters
    ----------
    ids : (n_users, n) array of integers
        Item ids, the best first, as `recommend` gives them; -1 is an empty place. Row r belongs to row r of `test`.
    test : (n_users, n_items) sparse matrix, dense array or Interactions
        Every stored cell that is not 0 is a relevant item. Users without any are left out of the averages.
    k : int, optional
        Look at the first `k` places only; all `n` by default.
    metrics : iterable of str
        Names from `RANKING_METRICS`: "recall", "capped_recall", "precision", "ndcg", "map", "hit_rate", "mrr", "auc";
        all of them by default.
    train : (n_users, n_items) sparse matrix, dense array or Interactions, optional
        What the users had already (cells that are not 0), and therefore cannot be recommended: these items do not
        count as irrelevant ones in "auc", and finding one in `ids` is an error. Without it, all `n_items` columns
        that are not relevant are irrelevant ones.

    Returns
    -------
    dict of str to float
        One average for each name. "auc" leaves out users without an irrelevant item and is NaN if that is everybody.

    Raises
    ------
    ValueError
        Unknown metric; `k` out of range; shapes that do not fit; `test` without a cell; an id out of range, twice in
        one row, or in `train` too.
    TypeError
        `ids` are not integers, or `k` is not.

    Notes
    -----
    The formula of each metric stands in the docstring of its function in this module. The conventions differ between
    libraries: what `implicit` calls precision is "capped_recall", with hits and caps summed over users before dividing,
    and its AUC is "auc" without `train`.
    """
    return {name: _mean(values) for name, values in user_ranking_metrics(ids, test, k, metrics, train=train).items()}


def user_ranking_metrics(
    ids: npt.ArrayLike,
    test: Any,
    k: int | None = None,
    metrics: Iterable[str] = tuple(RANKING_METRICS),
    *,
    train: Any = None,
) -> dict[str, Floats]:
    """Metrics of ranked lists for each user: what `ranking_metrics` averages.

    Parameters
    ----------
    ids, test, k, metrics, train
        As in `ranking_metrics`, whose formulas and errors these are.

    Returns
    -------
    dict of str to (n_users,) float64 array
        NaN for users without a relevant item.
    """
    names = _check_metrics(metrics)
    relevant = as_interactions(test)
    lists = _check_lists(ids, relevant.shape)
    k = lists.shape[1] if k is None else check_integer("k", k, 1)
    if k > lists.shape[1]:
        raise ValueError(f"k is {k}, but ids has {lists.shape[1]} columns: recommend more items, or lower k")
    known = None if train is None else as_interactions(train)
    if known is not None and known.shape != relevant.shape:
        raise ValueError(f"train has shape {known.shape} and test {relevant.shape}: one shape for both is wanted")

    users, hits = _match(lists, k, relevant, known)
    if not users.size:
        raise ValueError("test has no cell that is not 0: at least one user with a relevant item is wanted")
    result = {}
    for name in names:
        result[name] = np.full(len(lists), np.nan)
        result[name][users] = RANKING_METRICS[name](hits)
    return result


def rmse(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Root mean squared error, ``sqrt(mean((truth - predicted)^2))``.

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
    """
    error = np.subtract(*_check_columns(truth=truth, predicted=predicted))
    return float(np.sqrt(np.mean(error**2)))


def mae(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Mean absolute error, ``mean(abs(truth - predicted))``.

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
    """
    error = np.subtract(*_check_columns(truth=truth, predicted=predicted))
    return float(np.mean(np.abs(error)))


def weighted_rmse(truth: npt.ArrayLike, predicted: npt.ArrayLike, weights: npt.ArrayLike) -> float:
    """Weighted root mean squared error, ``sqrt(sum(weights (truth - predicted)^2) / sum(weights))``.

    Parameters
    ----------
    truth, predicted : (n,) arrays
        One number for each pair of a user and an item.
    weights : (n,) array
        How much each pair counts: not negative, not all 0. Their scale does not matter.

    Returns
    -------
    float
        In the unit of the ratings.

    Raises
    ------
    ValueError
        The arrays are empty, of different lengths, not 1-D, or hold a number that is not finite; weights are negative
        or all 0.
    """
    true, guessed, counts = _check_columns(truth=truth, predicted=predicted, weights=weights)
    negative = np.flatnonzero(counts < 0)
    if negative.size:
        raise ValueError(f"weights[{negative[0]}] is {counts[negative[0]]}: weights of at least 0 are wanted")
    if not counts.any():
        raise ValueError("weights are all 0: at least one positive weight is wanted")
    return float(np.sqrt(np.average((true - guessed) ** 2, weights=counts)))


def sign_accuracy(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Share of the pairs whose predicted sign is right; a prediction of 0 counts as positive.

    Parameters
    ----------
    truth, predicted : (n,) arrays
        One number for each pair of a user and an item. Pairs with a truth of 0 have no sign and are left out.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    ValueError
        The arrays are empty, of different lengths, not 1-D, or hold a number that is not finite; truth is all 0.
    """
    true, guessed = _check_columns(truth=truth, predicted=predicted)
    signed = true != 0
    if not signed.any():
        raise ValueError("truth is all 0: at least one positive or negative value is wanted")
    return float(np.mean((true > 0)[signed] == (guessed >= 0)[signed]))


def _check_metrics(metrics: Iterable[str]) -> list[str]:
    if isinstance(metrics, str):
        raise TypeError(f"metrics is the string {metrics!r}: write [{metrics!r}]")
    names = list(metrics)
    for name in names:
        if name not in RANKING_METRICS:
            raise ValueError(f"metrics has {name!r}, which is unknown: choose from {', '.join(RANKING_METRICS)}")
    return names


def _check_lists(ids: npt.ArrayLike, shape: tuple[int, int]) -> Ints:
    """`ids` as a 2-D array whose rows hold distinct item ids, or -1."""
    lists = np.asarray(ids)
    if lists.ndim != 2 or lists.shape[1] == 0:
        raise ValueError(f"ids has shape {lists.shape}: (n_users, n) with n of at least 1 is wanted")
    if lists.dtype.kind not in "iu":
        raise TypeError(f"ids has dtype {lists.dtype}: integers are wanted")
    n_users, n_items = shape
    if len(lists) != n_users:
        raise ValueError(f"ids has {len(lists)} rows and test {n_users}: row r of both must be the same user")
    outside = np.argwhere((lists < -1) | (lists >= n_items))
    if outside.size:
        row, place = outside[0]
        raise ValueError(
            f"ids[{row}, {place}] is {lists[row, place]}: an item id from 0 to {n_items - 1} is wanted, or -1 for none"
        )
    ordered = np.sort(lists, axis=1)
    repeated = np.argwhere((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0))
    if repeated.size:
        row, place = repeated[0]
        raise ValueError(f"ids lists item {ordered[row, place]} twice in row {row}: each item once a row is wanted")
    return lists.astype(np.int64, copy=False)


def _match(lists: Ints, k: int, relevant: Interactions, known: Interactions | None) -> tuple[Ints, Hits]:
    """Find the users with relevant items, and the hits among the first `k` places of their lists."""
    n_users, n_items = relevant.shape
    keys = np.arange(n_users)[:, None] * n_items + lists
    relevant_keys = _keys(relevant)
    n_relevant = np.bincount(relevant_keys // n_items, minlength=n_users)
    n_irrelevant = n_items - n_relevant
    if known is not None:
        known_keys = _keys(known)
        leaked = np.argwhere(_contains(known_keys, keys) & (lists >= 0))
        if leaked.size:
            row, place = leaked[0]
            raise ValueError(
                f"ids[{row}, {place}] is item {lists[row, place]}, which train has for this user: "
                "leave out what users have when recommending, or leave out train here"
            )
        only_known = known_keys[~_contains(relevant_keys, known_keys)]
        n_irrelevant -= np.bincount(only_known // n_items, minlength=n_users)

    users = np.flatnonzero(n_relevant)
    filled = lists[users, :k] >= 0
    hit = _contains(relevant_keys, keys[users, :k]) & filled
    return users, Hits(hit, filled, n_relevant[users], n_irrelevant[users])


def _keys(cells: Interactions) -> Ints:
    """One ascending number, ``user * n_items + item``, for each cell that is not 0."""
    n_users, n_items = cells.shape
    rows = cells.by_user
    users = np.repeat(np.arange(n_users), np.diff(rows.indptr))
    return (users * n_items + rows.indices)[rows.all_values != 0]


def _contains(ascending: Ints, keys: Ints) -> Bools:
    """Whether each of `keys` is in `ascending`."""
    if not ascending.size:
        return np.zeros(keys.shape, dtype=np.bool_)
    places = np.minimum(np.searchsorted(ascending, keys), ascending.size - 1)
    return ascending[places] == keys


def _mean(values: Floats) -> float:
    """Average the defined values; NaN without any."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def _check_columns(**arrays: npt.ArrayLike) -> list[Floats]:
    """1-D float64 arrays of one length, not empty, all finite."""
    columns = {name: np.asarray(array, dtype=np.float64) for name, array in arrays.items()}
    for name, column in columns.items():
        if column.ndim != 1:
            raise ValueError(f"{name} has shape {column.shape}: a 1-D array with one number a pair is wanted")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"lengths differ ({listed}): one number a pair is wanted in each")
    for name, column in columns.items():
        if not column.size:
            raise ValueError(f"{name} is empty: at least one pair is wanted")
        bad = np.flatnonzero(~np.isfinite(column))
        if bad.size:
            raise ValueError(f"{name}[{bad[0]}] is {column[bad[0]]}: finite numbers are wanted")
    return list(columns.values())
