"""What a model has to beat: recommenders without factors, with the interface of the estimators."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from fastals.data.interactions import Interactions, as_interactions
from fastals.validation import NotFittedError, Params, check_ids, check_integer

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Self = TypeVar("Self", bound="Baseline")


class Seen(NamedTuple):
    """What users have: the items of user u are ``items[indptr[u]:indptr[u + 1]]``."""

    indptr: Ints
    items: npt.NDArray[np.int32]


class Baseline(Params, ABC):
    """What the baselines share: arguments, errors and the meaning of the results."""

    zeros_are_data = False  # whether a stored 0 is a rating, as it is to ExplicitALS, or nothing, as to ImplicitALS

    def fit(self: Self, R: Any) -> Self:
        """Learn from a matrix.

        Parameters
        ----------
        R : (n_users, n_items) sparse matrix, dense array or Interactions
            What users have.

        Returns
        -------
        Baseline
            Itself.
        """
        cells = as_interactions(R, "float64")
        self._learn(cells)
        self._seen = _seen(cells, self.zeros_are_data)
        self._shape = cells.shape
        # For `evaluation`, which puts test cells into this order; `predict` and `recommend` take numbers.
        self._ids = cells.user_ids, cells.item_ids
        return self

    def predict(self, users: npt.ArrayLike, items: npt.ArrayLike) -> Floats:
        """Score pairs of a user and an item.

        Parameters
        ----------
        users, items : (len,) arrays of integers
            Pair p is user ``users[p]`` with item ``items[p]``.

        Returns
        -------
        (len,) float64 array
            The score of each pair.

        Raises
        ------
        NotFittedError
            `fit` has not run.
        ValueError
            An id is out of range, or the lengths differ.
        """
        n_users, n_items = self._fitted_shape()
        user_ids = check_ids("users", users, n_users)
        item_ids = check_ids("items", items, n_items)
        if len(user_ids) != len(item_ids):
            raise ValueError(f"users has length {len(user_ids)} and items {len(item_ids)}: two equal ones are wanted")
        return self._predict(user_ids, item_ids)

    def recommend(self, users: npt.ArrayLike, n: int = 10) -> tuple[npt.NDArray[np.int32], Floats]:
        """List the best items that users do not have yet.

        Parameters
        ----------
        users : (len,) array of integers
            User ids.
        n : int
            Length of the lists.

        Returns
        -------
        ids : (len, n) int32 array
            Item ids by falling score, equal scores by rising id; -1 where fewer than `n` remain.
        scores : (len, n) float64 array
            Their scores; -inf where fewer than `n` remain.

        Raises
        ------
        NotFittedError
            `fit` has not run.
        ValueError
            An id is out of range, or `n` is less than 1.
        """
        n_users, n_items = self._fitted_shape()
        user_ids = check_ids("users", users, n_users)
        n = check_integer("n", n, 1)
        ids = np.full((len(user_ids), n), -1, dtype=np.int32)
        scores = np.full((len(user_ids), n), -np.inf)
        width = min(n, n_items)
        self._recommend(user_ids, ids[:, :width], scores[:, :width])
        return ids, scores

    def _fitted_shape(self) -> tuple[int, int]:
        if not hasattr(self, "_shape"):
            raise NotFittedError(f"this {type(self).__name__} is not fitted: call fit(R) first")
        return self._shape

    @abstractmethod
    def _learn(self, cells: Interactions) -> None:
        """Set the fitted attributes, all or none."""

    @abstractmethod
    def _predict(self, users: Ints, items: Ints) -> Floats:
        """Score checked pairs."""

    @abstractmethod
    def _recommend(self, users: Ints, ids: npt.NDArray[np.int32], scores: Floats) -> None:
        """Fill in the places of `ids` and `scores` for which items remain."""


class Random(Baseline):
    """Every order of the items is as likely as any other, for each user alone.

    A score is uniform in [0, 1). It depends on the seed, the user and the item only, not on who else is asked about.

    Parameters
    ----------
    random_state : int, optional
        Seed, at least 0. Without one, each `fit` draws its own.

    Attributes
    ----------
    seed_ : int
        The seed in use: `random_state`, or the one drawn.
    """

    def __init__(self, random_state: int | None = None) -> None:
        self.random_state = random_state

    def _learn(self, cells: Interactions) -> None:
        if self.random_state is None:
            self.seed_ = np.random.SeedSequence().generate_state(1, np.uint64).item()
        else:
            self.seed_ = check_integer("random_state", self.random_state, 0)

    def _predict(self, users: Ints, items: Ints) -> Floats:
        scores = np.empty(len(users))
        order = np.argsort(users, kind="stable")
        distinct, starts = np.unique(users[order], return_index=True)
        for user, pairs in zip(distinct, np.split(order, starts[1:]), strict=False):  # no users are still one part
            scores[pairs] = self._user_scores(user)[items[pairs]]
        return scores

    def _recommend(self, users: Ints, ids: npt.NDArray[np.int32], scores: Floats) -> None:
        for row, user in enumerate(users):
            user_scores = self._user_scores(user)
            user_scores[self._seen.items[self._seen.indptr[user] : self._seen.indptr[user + 1]]] = -np.inf
            best = _best(user_scores, ids.shape[1])
            ids[row, : len(best)] = best
            scores[row, : len(best)] = user_scores[best]

    def _user_scores(self, user: int) -> Floats:
        """One score for each item: a random stream of the user's own."""
        seed = np.random.SeedSequence(self.seed_, spawn_key=(int(user),))
        return np.random.default_rng(seed).random(self._shape[1])


class ItemScored(Baseline):
    """A baseline to which all users are alike: the score of an item is the same for everybody."""

    @abstractmethod
    def _item_scores(self) -> Floats:
        """Give one score for each item."""

    def _predict(self, users: Ints, items: Ints) -> Floats:
        return self._item_scores()[items]

    def _recommend(self, users: Ints, ids: npt.NDArray[np.int32], scores: Floats) -> None:
        item_scores = self._item_scores()
        order = np.argsort(-item_scores, kind="stable")
        places = _first_unseen(order, self._seen, users, ids.shape[1])
        remain = places < len(order)
        ids[remain] = order[places[remain]]
        scores[remain] = item_scores[ids[remain]]


class Popularity(ItemScored):
    """An item is worth the number of users who have it: the count of its stored positive cells.

    Attributes
    ----------
    item_counts_ : (n_items,) int64 array
        Stored positive cells of each item.
    """

    def _learn(self, cells: Interactions) -> None:
        stored = cells.by_user
        self.item_counts_: Ints = np.bincount(stored.indices[stored.all_values > 0], minlength=cells.shape[1])

    def _item_scores(self) -> Floats:
        return self.item_counts_.astype(np.float64)


class GlobalMean(ItemScored):
    """Every rating is the mean of the stored cells, stored zeros among them.

    Attributes
    ----------
    global_mean_ : float
        In the unit of the ratings.
    """

    zeros_are_data = True

    def _learn(self, cells: Interactions) -> None:
        self.global_mean_ = _mean(cells)

    def _item_scores(self) -> Floats:
        return np.full(self._shape[1], self.global_mean_)


class ItemBias(ItemScored):
    """A rating is the global mean plus the bias of the item.

    ``bias_i = sum over the ratings r of item i of (r - mean) / (count_i + damping)``; an item without ratings has 0.
    Every stored cell is a rating, a stored 0 too.

    Parameters
    ----------
    damping : float
        As many imagined ratings of every item that equal the mean; draws items with few ratings towards it.

    Attributes
    ----------
    global_mean_ : float
        Mean of the stored cells, in the unit of the ratings.
    item_biases_ : (n_items,) float64 array
        In the unit of the ratings.

    Notes
    -----
    The form is that of Koren & Bell 2011, "Advances in Collaborative Filtering", without the biases of users.
    """

    zeros_are_data = True

    def __init__(self, damping: float = 0.0) -> None:
        self.damping = damping

    def _learn(self, cells: Interactions) -> None:
        if not (np.isfinite(self.damping) and self.damping >= 0):
            raise ValueError(f"damping is {self.damping}: a finite number of at least 0 is wanted")
        mean = _mean(cells)
        stored = cells.by_user
        n_items = cells.shape[1]
        excess = np.bincount(stored.indices, stored.all_values - mean, minlength=n_items)
        counts = np.bincount(stored.indices, minlength=n_items)
        self.global_mean_ = mean
        self.item_biases_: Floats = np.divide(excess, counts + self.damping, out=np.zeros(n_items), where=counts > 0)

    def _item_scores(self) -> Floats:
        return self.global_mean_ + self.item_biases_


def _mean(cells: Interactions) -> float:
    if not cells.nnz:
        raise ValueError("R has no stored cells: at least one rating is wanted")
    return float(np.mean(cells.by_user.all_values, dtype=np.float64))


def _seen(cells: Interactions, zeros_are_data: bool) -> Seen:
    stored = cells.by_user
    if zeros_are_data:
        return Seen(stored.indptr, stored.indices)
    kept = stored.all_values != 0
    kept_before = np.concatenate([[0], np.cumsum(kept)])
    return Seen(kept_before[stored.indptr], stored.indices[kept])


def _best(scores: Floats, n: int) -> Ints:
    """Up to `n` ids by falling score, equal ones by rising id; -inf does not count."""
    n = min(n, int(np.count_nonzero(scores > -np.inf)))
    if n == 0:
        return np.empty(0, dtype=np.int64)
    # All that tie with the last to be listed are candidates, so that the id decides and not the partition.
    candidates = np.flatnonzero(scores >= np.partition(scores, -n)[-n])
    return candidates[np.argsort(-scores[candidates], kind="stable")[:n]]


def _first_unseen(order: Ints, seen: Seen, users: Ints, n: int) -> Ints:
    """Places in `order` of the first `n` items that each user does not have; ``len(order)`` or more where none remain.

    Of a user's own items, sorted by place, number i (from 0) at place p has p - i unseen items before it. So the
    unseen item number j stands behind those with ``p - i <= j``, at place ``j + their count``: one binary search a
    result, over a table no larger than what the users have.
    """
    n_items = len(order)
    counts = seen.indptr[users + 1] - seen.indptr[users]
    offsets = np.cumsum(counts) - counts
    rows = np.repeat(np.arange(len(users)), counts)
    nth = np.arange(len(rows)) - offsets[rows]
    place_of = np.empty(n_items, dtype=np.int64)
    place_of[order] = np.arange(n_items)
    keys = rows * n_items + place_of[seen.items[seen.indptr[users][rows] + nth]]
    keys.sort()
    unseen = np.arange(n)
    queries = np.arange(len(users))[:, None] * n_items + unseen
    return unseen + np.searchsorted(keys - nth, queries, side="right") - offsets[:, None]
