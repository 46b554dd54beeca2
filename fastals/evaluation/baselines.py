"""Recommenders without factors, with the interface of the models: what a model has to beat."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from ..data.ids import Ids
from ..data.interactions import Interactions, MatrixLike, as_interactions
from ..data.types import Columns
from ..validation import (
    NotFittedError,
    Params,
    RandomState,
    check_flag,
    check_ids,
    check_integer,
    check_number,
    check_option,
    check_random_state,
)
from .metrics import Floats, Ints

if TYPE_CHECKING:
    from typing_extensions import Unpack

Self = TypeVar("Self", bound="Baseline")
Array = npt.NDArray[Any]


class Known(NamedTuple):
    """What a baseline keeps of the interactions: the items of user u are ``items[indptr[u]:indptr[u + 1]]``."""

    shape: tuple[int, int]
    indptr: Ints
    items: npt.NDArray[np.int32]
    user_ids: Ids | None
    item_ids: Ids | None

    def side(self, name: Literal["users", "items"]) -> tuple[Ids | None, int]:
        """Return the ids of a side, and how many there are on it."""
        return (self.user_ids, self.shape[0]) if name == "users" else (self.item_ids, self.shape[1])

    def numbers(self, name: Literal["users", "items"], given: npt.ArrayLike, unknown: str = "raise") -> Ints:
        """Return the numbers of ids, or check numbers where there are no ids."""
        ids, size = self.side(name)
        return check_ids(name, given, size, unknown) if ids is None else ids.positions(name, given, unknown=unknown)


class Baseline(Params, ABC):
    """What the baselines share: arguments, errors, ids and the meaning of the results."""

    zeros_are_data = False  # whether a stored 0 is a rating, as for ExplicitALS, or nothing, as for ImplicitALS
    _known: Known | None = None

    def fit(self: Self, R: MatrixLike, **columns: Unpack[Columns]) -> Self:
        """Learn from interactions.

        Parameters
        ----------
        R : (n_users, n_items) sparse matrix, dense array, Interactions or frame
            Random and Popularity read a dense array as ImplicitALS does (0 is not observed), GlobalMean and ItemBias as
            ExplicitALS does (NaN is not observed).
        **columns
            Names of columns, such as ``user="customer", item="article"``, if `R` is a frame.

        Examples
        --------
        >>> from fastals.evaluation import Popularity
        >>> Popularity().fit([[1, 0], [1, 1]]).item_counts_
        array([2, 1])
        """
        interactions = as_interactions(R, "float64", missing="nan" if self.zeros_are_data else "zero", **columns)
        self._learn(interactions)
        kept = interactions if self.zeros_are_data else interactions.without_zeros()
        rows = kept.by_user
        self._known = Known(kept.shape, rows.indptr, rows.indices, kept.user_ids, kept.item_ids)
        return self

    @property
    def shape_(self) -> tuple[int, int]:
        """Users and items of the fit."""
        return self._fitted().shape

    @property
    def user_ids_(self) -> Array | None:
        """The users' ids by row number; None if the fit was on row numbers."""
        known = self._fitted()
        return None if known.user_ids is None else known.user_ids.values

    @property
    def item_ids_(self) -> Array | None:
        """The items' ids by column number; None if the fit was on column numbers."""
        known = self._fitted()
        return None if known.item_ids is None else known.item_ids.values

    def predict(
        self,
        users: npt.ArrayLike,
        items: npt.ArrayLike,
        *,
        unknown: Literal["raise", "mean", "nan"] = "raise",
    ) -> Floats:
        """Score pairs of a user and an item.

        Parameters
        ----------
        users, items : id or (n_pairs,) array of ids
            Pair p is user ``users[p]`` with item ``items[p]``; one id is paired with all of the other side. Row and
            column numbers, or the ids of the fit.
        unknown : {'raise', 'mean', 'nan'}, default 'raise'
            What to do with a user or item that was not there at the fit: raise; score the item as for any other user,
            an unknown one by the mean (0 where a baseline has none); or return NaN.

        Returns
        -------
        (n_pairs,) float64 array

        Raises
        ------
        NotFittedError, TypeError, ValueError
            `fit` has not run; an id is unknown or of another kind, or the lengths differ.

        Examples
        --------
        >>> from fastals.evaluation import Popularity
        >>> Popularity().fit([[1, 0], [1, 1]]).predict(0, [0, 1])
        array([2., 1.])
        """
        known = self._fitted()
        check_option("unknown", unknown, ("raise", "mean", "nan"))
        rows, columns = known.numbers("users", users, unknown), known.numbers("items", items, unknown)
        if len(rows) != len(columns) and 1 not in (len(rows), len(columns)):
            raise ValueError(f"users and items must be of equal length, got {len(rows)} and {len(columns)}")
        rows, columns = np.broadcast_arrays(rows, columns)
        there = np.minimum(rows, columns) >= 0
        if there.all():
            return self._predict(rows, columns)
        scores = np.full(len(rows), np.nan)
        scores[there] = self._predict(rows[there], columns[there])
        if unknown == "mean":
            scores[~there] = self._without(columns[~there])
        return scores

    def recommend(
        self, users: npt.ArrayLike | None = None, n: int = 10, *, exclude_seen: bool = True
    ) -> tuple[Array, Floats]:
        """List the items with the highest scores, without those the user has.

        Parameters
        ----------
        users : id or array of ids, optional
            None: all users. Row numbers, or the ids of the fit.
        n : int, default 10
            Length of the lists.
        exclude_seen : bool, default True
            Leave out the items that the user has.

        Returns
        -------
        ids : (n_users, n) array, or (n,) for one id
            Column numbers (int32) or the ids of the fit. By falling score, ties by lower number; -1 (among strings "")
            where fewer than `n` items remain.
        scores : float64 array of the same shape
            -inf beside -1.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As in `predict`, or `n` is less than 1.

        Examples
        --------
        >>> from fastals.evaluation import Popularity
        >>> ids, scores = Popularity().fit([[1, 0, 0], [1, 1, 0]]).recommend(0, n=3)
        >>> ids, scores
        (array([ 1,  2, -1], dtype=int32), array([  1.,   0., -inf]))
        """
        known = self._fitted()
        n_users, n_items = known.shape
        rows = np.arange(n_users) if users is None else known.numbers("users", users)
        n = check_integer("n", n, 1)
        if not check_flag("exclude_seen", exclude_seen):
            known = known._replace(indptr=np.zeros(n_users + 1, np.int64), items=known.items[:0])
        columns = np.full((len(rows), n), -1, dtype=np.int32)
        scores = np.full((len(rows), n), -np.inf)
        width = min(n, n_items)
        self._recommend(known, rows, columns[:, :width], scores[:, :width])
        ids = columns if known.item_ids is None else known.item_ids.take(columns)
        return (ids[0], scores[0]) if users is not None and np.ndim(users) == 0 else (ids, scores)

    def _fitted(self) -> Known:
        if self._known is None:
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet: call fit(R) first")
        return self._known

    @abstractmethod
    def _learn(self, interactions: Interactions) -> None:
        """Set the fitted attributes, all or none."""

    @abstractmethod
    def _predict(self, users: Ints, items: Ints) -> Floats:
        """Score pairs of numbers."""

    def _without(self, items: Ints) -> Floats:
        """Score items for users that are unknown; -1 is an unknown item."""
        return np.zeros(len(items))

    @abstractmethod
    def _recommend(self, known: Known, users: Ints, ids: npt.NDArray[np.int32], scores: Floats) -> None:
        """Fill in the places of `ids` and `scores` for which items remain."""


class Random(Baseline):
    """Recommend items in random order, each order as likely as any other.

    A score is uniform in [0, 1). It depends on the seed, the user's number and the item's number, not on which other
    users are asked for.

    Parameters
    ----------
    random_state : int, numpy.random.Generator, RandomState, SeedSequence or None

    Attributes
    ----------
    seed_ : int
        The seed in use: `random_state` if that is an int, else drawn from it by `fit`.

    Examples
    --------
    >>> from fastals.evaluation import Random
    >>> ids, scores = Random(random_state=0).fit([[1, 0, 0]]).recommend(0, n=2)
    >>> sorted(ids.tolist())
    [1, 2]
    """

    def __init__(self, random_state: RandomState = None) -> None:
        self.random_state = random_state

    def _learn(self, interactions: Interactions) -> None:
        rng = check_random_state("random_state", self.random_state)
        given = isinstance(self.random_state, (int, np.integer))
        self.seed_ = int(self.random_state) if given else int(rng.integers(2**63))  # type: ignore[arg-type]

    def _predict(self, users: Ints, items: Ints) -> Floats:
        scores = np.empty(len(users))
        order = np.argsort(users, kind="stable")
        distinct, starts = np.unique(users[order], return_index=True)
        for user, pairs in zip(distinct, np.split(order, starts[1:]), strict=False):  # no users are still one part
            scores[pairs] = self._user_scores(user)[items[pairs]]
        return scores

    def _recommend(self, known: Known, users: Ints, ids: npt.NDArray[np.int32], scores: Floats) -> None:
        for row, user in enumerate(users):
            user_scores = self._user_scores(user)
            user_scores[known.items[known.indptr[user] : known.indptr[user + 1]]] = -np.inf
            best = _best(user_scores, ids.shape[1])
            ids[row, : len(best)] = best
            scores[row, : len(best)] = user_scores[best]

    def _user_scores(self, user: int) -> Floats:
        """Return one score for each item, from a random stream of this user."""
        seed = np.random.SeedSequence(self.seed_, spawn_key=(int(user),))
        return np.random.default_rng(seed).random(self.shape_[1])


class ItemScored(Baseline):
    """A baseline whose score of an item is the same for all users."""

    @abstractmethod
    def _item_scores(self) -> Floats:
        """Return one score for each item."""

    def _predict(self, users: Ints, items: Ints) -> Floats:
        return self._item_scores()[items]

    def _without(self, items: Ints) -> Floats:
        return np.where(items < 0, getattr(self, "global_mean_", 0.0), self._item_scores()[items])

    def _recommend(self, known: Known, users: Ints, ids: npt.NDArray[np.int32], scores: Floats) -> None:
        item_scores = self._item_scores()
        order = np.argsort(-item_scores, kind="stable")
        places = _first_unseen(order, known, users, ids.shape[1])
        remain = places < len(order)
        ids[remain] = order[places[remain]]
        scores[remain] = item_scores[ids[remain]]


class Popularity(ItemScored):
    """Score an item by the number of users who have it: its stored positive values.

    Attributes
    ----------
    item_counts_ : (n_items,) int64 array
        Stored positive values of each item.

    Examples
    --------
    >>> from fastals.evaluation import Popularity
    >>> Popularity().fit([[1, 0, 0], [1, 1, 0]]).recommend([0, 1], n=1)[0].tolist()
    [[1], [2]]
    """

    def _learn(self, interactions: Interactions) -> None:
        rows = interactions.by_user
        self.item_counts_: Ints = np.bincount(rows.indices[rows.all_values > 0], minlength=interactions.shape[1])

    def _item_scores(self) -> Floats:
        return self.item_counts_.astype(np.float64)


class GlobalMean(ItemScored):
    """Predict the mean of all ratings, stored zeros among them.

    Attributes
    ----------
    global_mean_ : float
        In the unit of the ratings.

    Examples
    --------
    >>> import numpy as np
    >>> from fastals.evaluation import GlobalMean
    >>> GlobalMean().fit(np.array([[1.0, 3.0], [np.nan, 5.0]])).predict(1, 0)
    array([3.])
    """

    zeros_are_data = True

    def _learn(self, interactions: Interactions) -> None:
        self.global_mean_ = _mean(interactions)

    def _item_scores(self) -> Floats:
        return np.full(self.shape_[1], self.global_mean_)


class ItemBias(ItemScored):
    """Predict the global mean plus the bias of the item.

    ``bias_i = sum over the ratings r of item i of (r - mean) / (count_i + damping)``; an item without ratings has 0.
    Every stored value is a rating, a stored 0 too.

    Parameters
    ----------
    damping : float, default 0.0
        Number of imagined ratings of every item that equal the mean. They pull items with few ratings towards it.

    Attributes
    ----------
    global_mean_ : float
        Mean of the ratings, in their unit.
    item_biases_ : (n_items,) float64 array
        In the unit of the ratings.

    References
    ----------
    Koren & Bell: Advances in collaborative filtering. Recommender Systems Handbook 2011. Here without biases of users.

    Examples
    --------
    >>> import numpy as np
    >>> from fastals.evaluation import ItemBias
    >>> ItemBias().fit(np.array([[1.0, 3.0], [np.nan, 5.0]])).predict(1, [0, 1])
    array([1., 4.])
    """

    zeros_are_data = True

    def __init__(self, damping: float = 0.0) -> None:
        self.damping = damping

    def _learn(self, interactions: Interactions) -> None:
        damping, mean = check_number("damping", self.damping, 0.0), _mean(interactions)
        rows, n_items = interactions.by_user, interactions.shape[1]
        excess = np.bincount(rows.indices, rows.all_values - mean, minlength=n_items)
        counts = np.bincount(rows.indices, minlength=n_items)
        self.global_mean_ = mean
        self.item_biases_: Floats = np.divide(excess, counts + damping, out=np.zeros(n_items), where=counts > 0)

    def _item_scores(self) -> Floats:
        return self.global_mean_ + self.item_biases_


def _mean(interactions: Interactions) -> float:
    if not interactions.nnz:
        raise ValueError(f"R of shape {interactions.shape} has no ratings: pass at least one")
    return float(np.mean(interactions.by_user.all_values, dtype=np.float64))


def _best(scores: Floats, n: int) -> Ints:
    """Return up to `n` numbers by falling score, ties by lower number; -inf does not count."""
    n = min(n, int(np.count_nonzero(scores > -np.inf)))
    if n == 0:
        return np.empty(0, dtype=np.int64)
    # All that tie with the last listed one are candidates: the number decides between them, not the partition.
    candidates = np.flatnonzero(scores >= np.partition(scores, -n)[-n])
    return candidates[np.argsort(-scores[candidates], kind="stable")[:n]]


def _first_unseen(order: Ints, known: Known, users: Ints, n: int) -> Ints:
    """Return the places in `order` of each user's first `n` unseen items; ``len(order)`` or more if none remain.

    Sort a user's own items by place. Number i of them (from 0), at place p, has p - i unseen items before it. So
    ``j + the number of own items with p - i <= j`` is the place of unseen item number j: one binary search a result,
    in a table with one entry for each interaction of the users.
    """
    n_items = len(order)
    counts = known.indptr[users + 1] - known.indptr[users]
    offsets = np.cumsum(counts) - counts
    rows = np.repeat(np.arange(len(users)), counts)
    nth = np.arange(len(rows)) - offsets[rows]
    place_of = np.empty(n_items, dtype=np.int64)
    place_of[order] = np.arange(n_items)
    keys = rows * n_items + place_of[known.items[known.indptr[users][rows] + nth]]
    keys.sort()
    unseen = np.arange(n)
    queries = np.arange(len(users))[:, None] * n_items + unseen
    return unseen + np.searchsorted(keys - nth, queries, side="right") - offsets[:, None]
