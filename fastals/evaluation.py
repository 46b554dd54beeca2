"""How good is it: metrics of ranked lists against held-out cells, and of predicted ratings."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastals.data.ids import Ids
from fastals.data.interactions import Interactions, as_interactions
from fastals.validation import check_ids, check_integer, check_number

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

    def first(self, k: int) -> "Hits":
        """Return the first `k` places."""
        return self._replace(hit=self.hit[:, :k], filled=self.filled[:, :k])


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
    return np.where(hits.hit, discount, 0.0).sum(axis=1) / np.cumsum(discount)[_most_hits(hits) - 1]


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
        Column numbers of `test`, the best first, as `recommend` gives them where a model was fitted without ids (with
        ids: `evaluate`); -1 is an empty place. Row r belongs to row r of `test`.
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
        that are not relevant are irrelevant ones. It is put in the order of `test` where both have ids.

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
    wanted = _Wanted(relevant, None if train is None else _as_ordered("train", train, relevant, "test"))
    wanted.refuse_known(np.arange(len(lists)), lists)
    hits = wanted.hits(wanted.users, lists[wanted.users]).first(k)
    result = {}
    for name in names:
        result[name] = np.full(len(lists), np.nan)
        result[name][wanted.users] = RANKING_METRICS[name](hits)
    return result


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found: `overall["ndcg@10"]` is the average of `per_user["ndcg@10"]`.

    Parameters
    ----------
    users : (n,) array
        Who was evaluated: the users, rows or cases with something to be found. Users by the ids of the model, if any.
    per_user : dict of str to (n,) float64 array
        One number for each of `users`, by metric and cutoff; NaN where a metric is not defined.
    overall : dict of str to float
        Averages of `per_user`, and what is a number of all lists together: "coverage" and "gini".
    """

    users: npt.NDArray[Any]
    per_user: dict[str, Floats]
    overall: dict[str, float]

    def interval(
        self, name: str, level: float = 0.95, n_resamples: int = 1000, random_state: int | None = 0
    ) -> tuple[float, float]:
        """Return the bootstrap interval over users of one of the averages.

        Parameters
        ----------
        name : str
            A key of `per_user`.
        level, n_resamples, random_state
            As in `bootstrap_interval`.

        Returns
        -------
        low, high : float
        """
        if name not in self.per_user:
            raise ValueError(f"there is no {name!r} for each user: choose from {', '.join(self.per_user)}")
        return bootstrap_interval(self.per_user[name], level, n_resamples, random_state)


def bootstrap_interval(
    values: npt.ArrayLike, level: float = 0.95, n_resamples: int = 1000, random_state: int | None = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the average of `values`.

    Parameters
    ----------
    values : (n,) array
        One number for each user; NaN are left out.
    level : float, default 0.95
        How often such an interval holds the average of the population, between 0 and 1.
    n_resamples : int, default 1000
        Averages of n users drawn with replacement, whose quantiles are the interval.
    random_state : int, optional
        Seed; None draws one.

    Returns
    -------
    low, high : float
        In the unit of the values.

    Raises
    ------
    ValueError
        No value is a number; `level` does not lie between 0 and 1; `n_resamples` is below 1.

    Notes
    -----
    It speaks of other users of the same kind, with this split and this model: not of other splits or starts.
    Efron 1979.
    """
    share = check_number("level", level, 0.0)
    if not 0 < share < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level!r}")
    n_resamples = check_integer("n_resamples", n_resamples, 1)
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[~np.isnan(numbers)]
    if not numbers.size:
        raise ValueError("values holds no number: at least one user with a value is wanted")
    rng = np.random.default_rng(random_state)
    averages = [numbers[rng.integers(0, numbers.size, numbers.size)].mean() for _ in range(n_resamples)]
    low, high = np.quantile(averages, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def evaluate(
    model: Any,
    test: Any,
    k: int | Iterable[int] = 10,
    metrics: Iterable[str] = ("recall", "ndcg"),
    *,
    train: Any = None,
    users: npt.ArrayLike | None = None,
    block_size: int = 4096,
) -> Evaluation:
    """Recommend to users and measure the lists, block by block: no matrix of all lists or scores is made.

    Parameters
    ----------
    model : fitted model or baseline
        Anything with `recommend(users, n) -> ids, scores` that leaves out what users have.
    test : (n_users, n_items) sparse matrix, dense array or Interactions
        Every stored cell that is not 0 is a relevant item. Where it and the model have ids, these say whose cells they
        are, in any order, and ids without test cells may be lacking; else rows and columns are those of training.
    k : int or iterable of int, default 10
        Lengths of the lists; all are measured in one pass.
    metrics : iterable of str
        Names from `RANKING_METRICS`, and "novelty", "coverage", "gini".
    train : (n_users, n_items) matrix, optional
        What users have: needed for "novelty"; makes "auc" leave these items out of the irrelevant ones. Ids as in
        `test`.
    users : (n,) array of ids, optional
        Whom to evaluate; by default everybody with a relevant item. Users without one are left out. Row numbers, or the
        ids that the model was fitted on.
    block_size : int, default 4096
        Users at once.

    Returns
    -------
    Evaluation
        With keys such as "recall@10".

    Raises
    ------
    ValueError
        `test` is empty, a metric unknown, a cutoff below 1, shapes do not fit, the model lists what it may not, or an
        id is not among those it was fitted on: leave such rows and columns out of `test`.
    TypeError
        A cutoff is not an integer.

    Notes
    -----
    Over the lists of length k of all evaluated users, with `e_i` the number of lists that hold item i and `f_i` the
    users who have it in `train`:

    - novelty: ``-log2(max(f_i, 1) / n_users)``, averaged over a user's listed items, then over users (Zhou et al. 2010,
      "self-information"); NaN for an empty list;
    - coverage: share of the items with ``e_i > 0``;
    - gini: ``sum_i (2 i - n_items - 1) e_(i) / (n_items sum_i e_i)``, ``e_(i)`` ascending and i from 1: 0 where all
      items are shown equally often, near 1 where few are shown always.
    """
    plain, user_ids, item_ids = without_ids(model)
    relevant = renumbered("test", as_interactions(test), user_ids, item_ids)
    known = None
    if train is not None:
        known = _as_ordered("train", renumbered("train", as_interactions(train), user_ids, item_ids), relevant, "test")
    _check_fits(model, relevant)
    chosen = None
    if users is not None:
        n_users = relevant.shape[0]
        chosen = check_ids("users", users, n_users) if user_ids is None else user_ids.positions("users", users)
    found = Evaluator(relevant, k, metrics, known).run(
        lambda rows, n: plain.recommend(rows, n)[0], block_size=block_size, users=chosen
    )
    return found if user_ids is None else replace(found, users=user_ids.values[found.users])


def evaluate_new_users(
    model: Any,
    given: Any,
    test: Any,
    k: int | Iterable[int] = 20,
    metrics: Iterable[str] = ("capped_recall", "ndcg"),
    *,
    block_size: int = 4096,
) -> Evaluation:
    """Fold in users whom the model has not seen, and measure lists of what else they have: strong generalisation.

    Parameters
    ----------
    model : fitted ImplicitALS, ExplicitALS or WeightedALS
    given : (n_new, n_items) sparse matrix, dense array or Interactions
        The cells to fold the users in from, which their lists leave out. Items by their ids where it and the model have
        some, as `fold_in_users` takes them.
    test : (n_new, n_items) sparse matrix, dense array or Interactions
        Every stored cell that is not 0 is a relevant item; row r is the user of row r of `given`, or whom its id says
        where both have user ids. Items as in `given`.
    k, metrics, block_size
        As in `evaluate`. The recall of Liang et al. is "capped_recall": they divide by ``min(k, n_relevant)``.

    Returns
    -------
    Evaluation
        `users` are rows of `given`. "novelty" counts users in `given`.

    Raises
    ------
    ValueError, TypeError
        As `evaluate` does.

    References
    ----------
    Liang, Krishnan, Hoffman, Jebara: Variational autoencoders for collaborative filtering. WWW 2018.
    """
    plain, _, item_ids = without_ids(model)
    known = renumbered("given", as_interactions(given), None, item_ids)
    relevant = _as_ordered("test", renumbered("test", as_interactions(test), None, item_ids), known, "given")
    if known.shape != relevant.shape:
        raise ValueError(f"given has shape {known.shape} and test {relevant.shape}: one shape for both is wanted")
    both = np.intersect1d(_keys(relevant), _keys(known), assume_unique=True)
    if both.size:
        row, item = divmod(int(both[0]), known.shape[1])
        raise ValueError(f"test has item {item} of row {row}, which given has too: what is given cannot be found")
    evaluator = Evaluator(relevant, k, metrics, known)
    matrix = known.csr

    def recommend(rows: Ints, n: int) -> Any:
        return plain.recommend(matrix[rows], n, fold_in=True)[0]

    return evaluator.run(recommend, block_size=block_size)


def evaluate_sampled(
    model: Any,
    users: npt.ArrayLike,
    items: npt.ArrayLike,
    negatives: npt.ArrayLike,
    k: int | Iterable[int] = 10,
    metrics: Iterable[str] = ("hit_rate", "ndcg"),
) -> Evaluation:
    """Rank one held-out item of each user among given items that the user does not have: leave one out, sampled.

    Parameters
    ----------
    model : fitted model or baseline
        Anything with `predict(users, items)`.
    users, items : (n,) arrays of ids
        Case c: user ``users[c]`` had ``items[c]`` held out. As `predict` takes them: row and column numbers, or the ids
        that the model was fitted on.
    negatives : (n, n_negatives) array of ids
        The items among which to find it; He et al. give 99 or 100 a user.
    k : int or iterable of int, default 10
        Cutoffs.
    metrics : iterable of str
        Names from `RANKING_METRICS`.

    Returns
    -------
    Evaluation
        `users` are those of the cases.

    Raises
    ------
    ValueError
        No case, arrays that do not fit, ids out of range, a held-out item among its negatives, a metric unknown, a
        cutoff below 1.

    Notes
    -----
    A tie counts against the model: the held-out item is placed below every negative with the same score, so that a
    model that cannot tell items apart finds none. Ranks among a sample are not ranks among all items, and may order
    models differently (Krichene & Rendle 2020).

    References
    ----------
    He, Liao, Zhang, Nie, Hu, Chua: Neural collaborative filtering. WWW 2017.
    """
    names, cutoffs = _check_metrics(metrics), _check_cutoffs(k)
    cases, held_out, others = np.asarray(users), np.asarray(items), np.asarray(negatives)
    if cases.ndim != 1 or cases.shape != held_out.shape or others.ndim != 2 or len(others) != len(cases):
        raise ValueError(
            f"users has shape {cases.shape}, items {held_out.shape} and negatives {others.shape}: "
            "(n,), (n,) and (n, n_negatives) are wanted"
        )
    if not others.size:
        raise ValueError(f"negatives has shape {others.shape}: at least one case with one negative is wanted")
    among = np.argwhere(others == held_out[:, None])
    if among.size:
        case, place = among[0]
        raise ValueError(f"negatives[{case}, {place}] is item {held_out[case]}, which is held out of this very case")
    n_negatives = others.shape[1]
    of_held_out = model.predict(cases, held_out)
    fitted = getattr(model, "item_factors_", None)
    if fitted is not None and getattr(model, "item_ids_", None) is None:
        outside = np.argwhere((others < 0) | (others >= len(fitted)))
        if outside.size:
            case, place = outside[0]
            raise ValueError(
                f"negatives[{case}, {place}] is {others[case, place]}: an item id from 0 to {len(fitted) - 1} is wanted"
            )
    scores = model.predict(np.repeat(cases, n_negatives), others.ravel()).reshape(others.shape)
    places = np.count_nonzero(scores >= of_held_out[:, None], axis=1)
    one = np.ones(len(cases), dtype=np.int64)
    per_user: dict[str, Floats] = {}
    for cutoff in cutoffs:
        hit = np.arange(cutoff) == places[:, None]
        hits = Hits(hit, np.broadcast_to(np.arange(cutoff) <= n_negatives, hit.shape), one, one * n_negatives)
        per_user |= {f"{name}@{cutoff}": RANKING_METRICS[name](hits) for name in names}
    return Evaluation(cases, per_user, {name: _mean(values) for name, values in per_user.items()})


def evaluate_ratings(model: Any, test: Any, metrics: Iterable[str] = ("rmse", "mae")) -> dict[str, float]:
    """Predict every stored cell of `test` and measure the errors.

    Parameters
    ----------
    model : fitted model or baseline
        Anything with `predict(users, items)`.
    test : (n_users, n_items) sparse matrix or Interactions
        Every stored cell is a rating, a stored 0 too; in a dense array NaN marks what is not rated. Ids as in
        `evaluate`.
    metrics : iterable of str
        Names from `RATING_METRICS`: "rmse", "mae", "sign_accuracy".

    Returns
    -------
    dict of str to float

    Raises
    ------
    ValueError
        `test` is empty or not of the model's shape, a metric unknown, or an id not among those the model was fitted on.
    """
    names = _check_metrics(metrics, tuple(RATING_METRICS))
    plain, user_ids, item_ids = without_ids(model)
    cells = renumbered("test", as_interactions(test, "float64", missing="nan"), user_ids, item_ids)
    if not cells.nnz:
        raise ValueError("test has no stored cell: at least one rating is wanted")
    _check_fits(model, cells)
    rows = cells.by_user
    predicted = plain.predict(np.repeat(np.arange(cells.shape[0]), np.diff(rows.indptr)), rows.indices)
    return {name: RATING_METRICS[name](rows.all_values, predicted) for name in names}


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


RATING_METRICS: dict[str, Callable[[npt.ArrayLike, npt.ArrayLike], float]] = {
    "rmse": rmse,
    "mae": mae,
    "sign_accuracy": sign_accuracy,
}
"""Every metric of predicted ratings by name: a function of truth and prediction."""

_LIST_METRICS = ("novelty", "coverage", "gini")  # of the lists alone, whatever is relevant
_JOINT_METRICS = ("coverage", "gini")  # of all lists together


def without_ids(model: Any) -> tuple[Any, Ids | None, Ids | None]:
    """Return the model as one that takes and gives row and column numbers, and the ids of its users and items, if any.

    Parameters
    ----------
    model : fitted model or baseline
        It stays what it is; the factors are shared.

    Returns
    -------
    plain : model
    user_ids, item_ids : Ids or None
    """
    user_ids, item_ids = getattr(model, "_ids", (None, None))
    if user_ids is None and item_ids is None:
        return model, None, None
    plain = object.__new__(type(model))  # not `copy.copy`, which copies the factors
    plain.__dict__ = {**model.__dict__, "_ids": (None, None)}
    return plain, user_ids, item_ids


def renumbered(
    name: str, cells: Interactions, user_ids: Ids | None, item_ids: Ids | None, of: str = "the model"
) -> Interactions:
    """Return `cells.renumbered(user_ids, item_ids)`; messages say which matrix has an id that they lack.

    Parameters
    ----------
    name : str
        The argument that the cells are from.
    cells : Interactions
    user_ids, item_ids : Ids or None
    of : str, default "the model"
        What has these ids.

    Returns
    -------
    Interactions
    """
    return cells.renumbered(user_ids, item_ids, prefix=f"{name}.", remedy=f"; leave such {{}} out of {name}", of=of)


def _as_ordered(name: str, R: Any, pattern: Interactions, of: str) -> Interactions:
    """Return `R` with rows and columns in the order of another matrix, called `of`, where both have ids."""
    return renumbered(name, as_interactions(R), pattern.user_ids, pattern.item_ids, of)


def _check_fits(model: Any, test: Interactions) -> None:
    """Refuse a test set of another shape than a model with factors has."""
    if not hasattr(model, "user_factors_"):
        return
    fitted = len(model.user_factors_), len(model.item_factors_)
    if fitted != test.shape:
        raise ValueError(
            f"test has shape {test.shape} and the model was fitted on {fitted}: one shape for both is wanted"
        )


def _check_metrics(metrics: Iterable[str], known: tuple[str, ...] = tuple(RANKING_METRICS)) -> list[str]:
    if isinstance(metrics, str):
        raise TypeError(f"metrics is the string {metrics!r}: write [{metrics!r}]")
    names = list(metrics)
    for name in names:
        if name not in known:
            raise ValueError(f"metrics has {name!r}, which is unknown: choose from {', '.join(known)}")
    return names


def _check_cutoffs(k: int | Iterable[int]) -> list[int]:
    cutoffs = [check_integer("k", cutoff, 1) for cutoff in (k if isinstance(k, Iterable) else [k])]
    if not cutoffs:
        raise ValueError("k is empty: at least one cutoff is wanted")
    return cutoffs


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


class _Wanted:
    """The relevant cells of every user, ready to be looked up."""

    def __init__(self, relevant: Interactions, known: Interactions | None):
        if known is not None and known.shape != relevant.shape:
            raise ValueError(f"train has shape {known.shape} and test {relevant.shape}: one shape for both is wanted")
        n_users, self.n_items = relevant.shape
        self._keys = _keys(relevant)
        self._known = None if known is None else _keys(known)
        self._n_relevant = np.bincount(self._keys // self.n_items, minlength=n_users)
        self._n_irrelevant = self.n_items - self._n_relevant
        if self._known is not None:
            only_known = self._known[~_contains(self._keys, self._known)]
            self._n_irrelevant -= np.bincount(only_known // self.n_items, minlength=n_users)
        self.users = np.flatnonzero(self._n_relevant)
        if not self.users.size:
            raise ValueError("test has no cell that is not 0: at least one user with a relevant item is wanted")

    def hits(self, users: Ints, lists: Ints) -> Hits:
        """Find the hits in the lists of some users."""
        keys, filled = users[:, None] * self.n_items + lists, lists >= 0
        hit = _contains(self._keys, keys) & filled
        return Hits(hit, filled, self._n_relevant[users], self._n_irrelevant[users])

    def refuse_known(self, users: Ints, lists: Ints) -> None:
        """Raise where a list holds what its user has."""
        if self._known is None:
            return
        leaked = np.argwhere(_contains(self._known, users[:, None] * self.n_items + lists) & (lists >= 0))
        if leaked.size:
            row, place = leaked[0]
            raise ValueError(
                f"ids[{users[row]}, {place}] is item {lists[row, place]}, which train has for this user: "
                "leave out what users have when recommending, or leave out train here"
            )


class Evaluator:
    """Metrics and cutoffs over one test set, prepared once for any number of models.

    Parameters
    ----------
    test, k, metrics, train
        As in `evaluate`, as Interactions.
    """

    def __init__(
        self, test: Interactions, k: int | Iterable[int], metrics: Iterable[str], train: Interactions | None = None
    ):
        self._names = _check_metrics(metrics, (*RANKING_METRICS, *_LIST_METRICS))
        self._cutoffs = _check_cutoffs(k)
        self._wanted = _Wanted(test, train)
        self._information: Floats | None = None
        if "novelty" in self._names:
            if train is None:
                raise ValueError("metrics has 'novelty', which needs train: pass what the users have")
            counts = np.bincount(_keys(train) % test.shape[1], minlength=test.shape[1])
            self._information = np.log2(test.shape[0]) - np.log2(np.maximum(counts, 1))

    def run(
        self, recommend: Callable[[Ints, int], Any], *, block_size: int = 4096, users: Ints | None = None
    ) -> Evaluation:
        """Measure the lists that `recommend(users, n)` gives.

        Parameters
        ----------
        recommend : callable (users, n) -> ids
        block_size, users
            As in `evaluate`; users are checked ids.

        Returns
        -------
        Evaluation
        """
        block_size = check_integer("block_size", block_size, 1)
        wanted = self._wanted
        evaluated = wanted.users if users is None else users[np.isin(users, wanted.users)]
        if not evaluated.size:
            raise ValueError("none of users has a relevant item in test: at least one is wanted")
        per_list = [name for name in self._names if name not in _JOINT_METRICS]
        per_user = {f"{name}@{k}": np.full(len(evaluated), np.nan) for k in self._cutoffs for name in per_list}
        shown = {k: np.zeros(wanted.n_items, dtype=np.int64) for k in self._cutoffs}
        for start in range(0, len(evaluated), block_size):
            rows = evaluated[start : start + block_size]
            lists = _check_lists(recommend(rows, max(self._cutoffs)), (len(rows), wanted.n_items))
            wanted.refuse_known(rows, lists)
            hits = wanted.hits(rows, lists)
            for k in self._cutoffs:
                places = hits.first(k)
                for name in per_list:
                    values = self._novelty(lists[:, :k]) if name == "novelty" else RANKING_METRICS[name](places)
                    per_user[f"{name}@{k}"][start : start + block_size] = values
                if len(per_list) < len(self._names):
                    shown[k] += np.bincount(lists[:, :k][places.filled], minlength=wanted.n_items)
        overall = {name: _mean(values) for name, values in per_user.items()}
        for k in self._cutoffs:
            if "coverage" in self._names:
                overall[f"coverage@{k}"] = float(np.mean(shown[k] > 0))
            if "gini" in self._names:
                overall[f"gini@{k}"] = _gini(shown[k])
        return Evaluation(evaluated, per_user, overall)

    def _novelty(self, lists: Ints) -> Floats:
        assert self._information is not None
        filled = lists >= 0
        total, count = np.where(filled, self._information[lists], 0.0).sum(axis=1), filled.sum(axis=1)
        return np.divide(total, count, out=np.full(len(lists), np.nan), where=count > 0)


def _gini(shown: Ints) -> float:
    """Inequality of how often items are shown; NaN where nothing is."""
    n, total = len(shown), int(shown.sum())
    weights = 2.0 * np.arange(1, n + 1) - n - 1
    return float(weights @ np.sort(shown) / (n * total)) if total else float("nan")


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
