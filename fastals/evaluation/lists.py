"""Ranked lists against held-out interactions: which places are hits, and the metrics of all lists in one pass."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, get_args

import numpy as np
import numpy.typing as npt
from scipy import sparse

from ..data.ids import Ids
from ..data.interactions import Interactions, MatrixLike, as_interactions
from ..data.types import Columns, FloatType
from ..validation import check_integer, level_of_caller
from .bootstrap import Evaluation
from .metrics import RANKING_METRICS, Bools, Floats, Hits, Ints, RankingMetric, graded

if TYPE_CHECKING:
    from typing_extensions import Unpack

Name = TypeVar("Name", bound=str)
ListMetric = RankingMetric | Literal["graded_ndcg", "novelty", "coverage", "gini"]
MORE_IS_BETTER = *get_args(RankingMetric), "graded_ndcg"  # what a model may be chosen by
LIST_METRICS = *MORE_IS_BETTER, "novelty", "coverage", "gini"
JOINT_METRICS = ("coverage", "gini")  # one number for all lists together


def ranking_metrics(
    ids: npt.ArrayLike,
    test: MatrixLike,
    k: int | None = None,
    metrics: Iterable[RankingMetric] = get_args(RankingMetric),
    *,
    train: MatrixLike | None = None,
    **columns: Unpack[Columns],
) -> dict[str, float]:
    """Average metrics of ranked lists over the users who have relevant items.

    Parameters
    ----------
    ids : (n_users, n) array of int
        Column numbers of `test`, the best item first; -1 is an empty place. Row r is the list of row r of `test`. This
        is what `recommend` returns for all users if the model was fitted without ids. If it has ids, use `evaluate`.
    test : (n_users, n_items) sparse matrix, dense array, Interactions or frame
        Every stored value other than 0 is a relevant item. Users without any are left out of the averages. Rows and
        columns of a frame are the sorted distinct ids of its users and items.
    k : int, optional
        Use the first `k` places only; all `n` by default.
    metrics : iterable of str
        Names from `RANKING_METRICS`: "recall", "capped_recall", "precision", "ndcg", "map", "hit_rate", "mrr", "auc";
        all of them by default.
    train : as `test`, optional
        The users' training interactions (stored values other than 0), which cannot be recommended. They do not count as
        irrelevant in "auc", and `ids` must not list any. Without it, all items that are not relevant are irrelevant.
        Its rows and columns are put in the order of `test` where both have ids.
    **columns
        Names of columns, such as ``user="customer", item="article"``, if `test` and `train` are frames.

    Returns
    -------
    dict of str to float
        One average for each name. "auc" leaves out users without an irrelevant item, and is NaN without other users.

    Raises
    ------
    TypeError, ValueError
        `ids` or `k` are no integers; an unknown metric; `k` out of range; shapes that do not fit; `test` without
        interactions; an id that is out of range, twice in one row, or in `train`.

    Notes
    -----
    The formula of each metric is in the docstring of its function in `fastals.evaluation.metrics`. Libraries define the
    metrics differently: what `implicit` calls precision is "capped_recall", with hits and caps summed over users before
    dividing. Its AUC is "auc" without `train`.

    Examples
    --------
    >>> from fastals.evaluation import ranking_metrics
    >>> ranking_metrics([[2, 1], [0, 2]], [[0, 1, 0], [1, 0, 0]], metrics=["recall", "mrr"])
    {'recall': 1.0, 'mrr': 0.75}
    """
    values = user_ranking_metrics(ids, test, k, metrics, train=train, **columns)
    return {name: mean(of_users) for name, of_users in values.items()}


def user_ranking_metrics(
    ids: npt.ArrayLike,
    test: MatrixLike,
    k: int | None = None,
    metrics: Iterable[RankingMetric] = get_args(RankingMetric),
    *,
    train: MatrixLike | None = None,
    **columns: Unpack[Columns],
) -> dict[str, Floats]:
    """Compute metrics of ranked lists for each user; `ranking_metrics` averages them.

    Parameters
    ----------
    ids, test, k, metrics, train, **columns
        As in `ranking_metrics`, which has the formulas and the errors.

    Returns
    -------
    dict of str to (n_users,) float64 array
        NaN for users without a relevant item.

    Examples
    --------
    >>> from fastals.evaluation import user_ranking_metrics
    >>> user_ranking_metrics([[2, 1], [0, 2]], [[0, 1, 0], [1, 0, 0]], metrics=["mrr"])
    {'mrr': array([0.5, 1. ])}
    """
    names = check_metrics(metrics, get_args(RankingMetric))
    relevant = in_order("test", test, **columns)
    known = None
    if train is not None:
        known = in_order("train", train, like=(relevant.user_ids, relevant.item_ids), of="test", **columns)
    lists = check_lists(ids, relevant.shape)
    k = lists.shape[1] if k is None else check_integer("k", k, 1)
    if k > lists.shape[1]:
        raise ValueError(f"k is {k}, but ids has {lists.shape[1]} columns: recommend more items, or lower k")
    wanted = _Wanted(relevant, known)
    wanted.refuse_known(np.arange(len(lists)), lists)
    hits = wanted.hits(wanted.users, lists[wanted.users]).first(k)
    result: dict[str, Floats] = {}
    for name in names:
        result[name] = np.full(len(lists), np.nan)
        result[name][wanted.users] = RANKING_METRICS[name](hits)
    return result


def in_order(
    name: str,
    R: MatrixLike,
    dtype: FloatType = "float32",
    *,
    like: tuple[Ids | None, Ids | None] = (None, None),
    of: str = "the model",
    shape: tuple[int | None, int | None] = (None, None),
    missing: str = "zero",
    unknown: str | None = None,
    **columns: Unpack[Columns],
) -> Interactions:
    """Return what a caller passed as Interactions, with rows and columns in the order of other ids.

    Where both `R` and `like` have ids, rows or columns are put in the order of `like`; messages say whose ids these are
    (`of`). Where `like` has none, the ids of a frame are numbers below those of `shape`. The rest is as in
    `as_interactions`.
    """
    sizes: dict[str, Any] = {}
    if columns:
        wanted = (size if ids is None else None for size, ids in zip(shape, like, strict=True))
        sizes = dict(zip(("n_users", "n_items"), wanted, strict=True))
    interactions = as_interactions(R, dtype, missing=missing, name=name, unknown=unknown, **sizes, **columns)
    remedy = f"; leave such {{}} out of {name}" + ("" if unknown is None else " or pass unknown='ignore'")
    return interactions.renumbered(*like, prefix=f"{name}.", remedy=remedy, of=of, unknown=unknown or "raise")


def check_disjoint(name: str, test: Interactions, of: str, known: Interactions | Ints) -> None:
    """Refuse test interactions that are all among the known ones; warn if some are.

    A model does not recommend what a user has. So a test interaction that it knows is never found. `known` may be the
    ascending numbers ``user * n_items + item``.
    """
    keys = _keys(test)
    both = int(np.count_nonzero(_contains(_keys(known) if isinstance(known, Interactions) else known, keys)))
    if keys.size and both == keys.size:
        raise ValueError(
            f"all {both} interactions of {name} are in {of} too. A model does not recommend what a user has, so every "
            f"metric would be 0: pass interactions as {name} that were held out of {of}"
        )
    if both:
        warnings.warn(
            f"{both} of the {keys.size} interactions of {name} are in {of} too. A model does not recommend what a user "
            f"has, so these count as not found: leave them out of {name} (fastals.datasets.without_known) or of {of}",
            stacklevel=level_of_caller(),
        )


def check_metrics(metrics: Iterable[Name], known: Collection[Name]) -> list[Name]:
    """Return the names as a list; each must be one of `known`."""
    if isinstance(metrics, str):
        raise TypeError(f"metrics is the string {metrics!r}: write [{metrics!r}]")
    names = list(metrics)
    for name in names:
        if name not in known:
            raise ValueError(f"metrics has {name!r}, which is unknown: choose from {', '.join(known)}")
    return names


def check_gains(name: str, values: npt.NDArray[np.floating]) -> None:
    """Refuse negative values as gains; `name` is what a message calls them."""
    negative = np.flatnonzero(values < 0)
    if negative.size:
        raise ValueError(f"{name} has the value {values[negative[0]]:g}: gains must be at least 0")


def check_cutoffs(k: int | Iterable[int]) -> list[int]:
    """Return the cutoffs as a list of at least one integer of at least 1."""
    cutoffs = [check_integer("k", cutoff, 1) for cutoff in (k if isinstance(k, Iterable) else [k])]
    if not cutoffs:
        raise ValueError("k is empty: pass at least one cutoff")
    return cutoffs


def mean(values: Floats) -> float:
    """Average the values that are not NaN; NaN without any."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


class Evaluator:
    """Metrics and cutoffs over one test set, prepared once for any number of models; arguments as in `evaluate`."""

    def __init__(
        self,
        test: Interactions,
        k: int | Iterable[int],
        metrics: Iterable[ListMetric],
        train: Interactions | None = None,
    ):
        self._names = check_metrics(metrics, LIST_METRICS)
        self._cutoffs = check_cutoffs(k)
        self._wanted = _Wanted(test, train)
        self._gains: sparse.csr_array | None = None
        if "graded_ndcg" in self._names:
            self._gains = test.csr.astype(np.float64)
            check_gains("test", self._gains.data)
        self._information: Floats | None = None
        if "novelty" in self._names:
            if train is None:
                raise ValueError("metrics has 'novelty', which needs train: pass the training interactions as train")
            counts = np.bincount(_keys(train) % test.shape[1], minlength=test.shape[1])
            self._information = np.log2(test.shape[0]) - np.log2(np.maximum(counts, 1))

    def run(
        self,
        recommend: Callable[[Ints, int], npt.ArrayLike],
        *,
        block_size: int = 4096,
        users: npt.NDArray[np.intp] | None = None,
    ) -> Evaluation:
        """Measure the lists that `recommend(users, n)` returns for row numbers of users, block by block.

        A list holds column numbers, -1 for an empty place. By default all users with a relevant item are evaluated.
        """
        block_size = check_integer("block_size", block_size, 1)
        wanted = self._wanted
        evaluated = wanted.users if users is None else users[np.isin(users, wanted.users)]
        if not evaluated.size:
            raise ValueError("none of users has a relevant item in test: pass at least one who has")
        per_list = [name for name in self._names if name not in JOINT_METRICS]
        per_user = {f"{name}@{k}": np.full(len(evaluated), np.nan) for k in self._cutoffs for name in per_list}
        shown = {k: np.zeros(wanted.n_items, dtype=np.int64) for k in self._cutoffs}
        for start in range(0, len(evaluated), block_size):
            rows = evaluated[start : start + block_size]
            lists = check_lists(recommend(rows, max(self._cutoffs)), (len(rows), wanted.n_items))
            wanted.refuse_known(rows, lists)
            hits = wanted.hits(rows, lists)
            for k in self._cutoffs:
                places = hits.first(k)
                for name in per_list:
                    if name == "novelty":
                        values = self._novelty(lists[:, :k])
                    elif name == "graded_ndcg":
                        values = graded(lists[:, :k], cast(sparse.csr_array, self._gains)[rows])
                    else:
                        values = RANKING_METRICS[cast(RankingMetric, name)](places)
                    per_user[f"{name}@{k}"][start : start + block_size] = values
                if len(per_list) < len(self._names):
                    shown[k] += np.bincount(lists[:, :k][places.filled], minlength=wanted.n_items)
        overall = {name: mean(values) for name, values in per_user.items()}
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


class _Wanted:
    """The relevant items of every user, for look-ups by many lists at once."""

    def __init__(self, relevant: Interactions, known: Interactions | None):
        if known is not None and known.shape != relevant.shape:
            raise ValueError(f"train has shape {known.shape} and test {relevant.shape}: both must have one shape")
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
            raise ValueError("test has no value other than 0: at least one user needs a relevant item")

    def hits(self, users: Ints, lists: Ints) -> Hits:
        """Find the hits in the lists of some users."""
        keys, filled = users[:, None] * self.n_items + lists, lists >= 0
        hit = _contains(self._keys, keys) & filled
        return Hits(hit, filled, self._n_relevant[users], self._n_irrelevant[users])

    def refuse_known(self, users: Ints, lists: Ints) -> None:
        """Raise if a list holds a training interaction of its user."""
        if self._known is None:
            return
        leaked = np.argwhere(_contains(self._known, users[:, None] * self.n_items + lists) & (lists >= 0))
        if leaked.size:
            row, place = leaked[0]
            raise ValueError(
                f"ids[{users[row]}, {place}] is item {lists[row, place]}, which train has for this user: "
                "leave out what users have when recommending, or leave out train here"
            )


def check_lists(ids: npt.ArrayLike, shape: tuple[int, int]) -> Ints:
    """Return `ids` as a 2-D array; each row must hold distinct item numbers, or -1."""
    lists = np.asarray(ids)
    if lists.ndim != 2 or lists.shape[1] == 0:
        raise ValueError(f"ids has shape {lists.shape}: pass an array of shape (n_users, n) with n of at least 1")
    if lists.dtype.kind not in "iu":
        raise TypeError(f"ids has dtype {lists.dtype}: pass integers, the column numbers of test")
    n_users, n_items = shape
    if len(lists) != n_users:
        raise ValueError(f"ids has {len(lists)} rows and test {n_users}: row r of both must be the same user")
    outside = np.argwhere((lists < -1) | (lists >= n_items))
    if outside.size:
        row, place = outside[0]
        raise ValueError(
            f"ids[{row}, {place}] is {lists[row, place]}: items run from 0 to {n_items - 1}, and -1 is an empty place"
        )
    ordered = np.sort(lists, axis=1)
    repeated = np.argwhere((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0))
    if repeated.size:
        row, place = repeated[0]
        raise ValueError(f"ids lists item {ordered[row, place]} twice in row {row}: list each item once")
    return lists.astype(np.int64, copy=False)


def _gini(shown: Ints) -> float:
    """Return the inequality of how often items are shown; NaN where nothing is."""
    n, total = len(shown), int(shown.sum())
    weights = 2.0 * np.arange(1, n + 1) - n - 1
    return float(weights @ np.sort(shown) / (n * total)) if total else float("nan")


def _keys(interactions: Interactions) -> Ints:
    """Return one number, ``user * n_items + item``, for each value that is not 0; ascending."""
    n_users, n_items = interactions.shape
    rows = interactions.by_user
    users = np.repeat(np.arange(n_users), np.diff(rows.indptr))
    return (users * n_items + rows.indices)[rows.all_values != 0]


def _contains(ascending: Ints, keys: Ints) -> Bools:
    """Return whether each of `keys` is in `ascending`."""
    if not ascending.size:
        return np.zeros(keys.shape, dtype=np.bool_)
    places = np.minimum(np.searchsorted(ascending, keys), ascending.size - 1)
    return ascending[places] == keys
