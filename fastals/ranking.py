"""Predictions and rankings: scores of pairs, the best items of each user, similar users and items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from .data.events import cast_values
from .data.ids import IGNORE
from .data.types import is_frame
from .engine import plain_answers, topk
from .engine.problem import Cells
from .engine.topk import Lists
from .features import check_given
from .filters import EVERYTHING, Choice, ItemFilter, choice_of
from .fitted import Columns, Fitted, Rows, SideName, unit_rows
from .foldin import FoldingIn
from .validation import (
    Unknown,
    check_clip,
    check_flag,
    check_integer,
    check_number,
    check_option,
    check_unknown,
    shown,
)

__all__ = ["IndexVectors", "Ranking"]

BLOCK = 4096  # users of a block of `recommend_blocks`
PAIRS = 65_536  # pairs predicted at once: the gathered factors of both sides fit the cache
# Ends of messages about ids that the model does not have.
NEW_USER = "; for somebody new pass basket=[items], or interactions with fold_in=True"
PREDICT = "; unknown='mean' or 'nan' predicts for such ids too"


class IndexVectors(NamedTuple):
    """Vectors for an index: the order of items by inner product, by cosine and by distance is that of the scores."""

    items: np.ndarray
    """Of one length, shape (n_items, d)."""
    users: np.ndarray
    """Shape (n_users, d)."""


class Request(NamedTuple):
    """What is asked for, checked."""

    n: int
    choice: Choice
    min_score: float | None
    seen: Rows | None  # what the users have, by the numbers of the users; None: nothing is left out
    n_threads: int
    plain: bool  # whether the plain engine serves

    def best(
        self, X: np.ndarray, columns: Columns, rows: np.ndarray, users: np.ndarray, offsets: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return column numbers and scores of the best for some rows of X, which are those of these users."""
        seen = None if self.seen is None else self.seen.lists(users)
        return top_n(X, columns, self.n, self.n_threads, rows, offsets, self.choice, seen)


def top_n(
    X: np.ndarray,
    columns: Columns,
    n: int,
    n_threads: int,
    rows: np.ndarray,
    offsets: np.ndarray | None = None,
    choice: Choice = EVERYTHING,
    skipped: Lists | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and scores of the `n` best columns of some rows of X, see `engine.topk.top_n`.

    The columns are those that `choice` allows, without those that `skipped` lists for each row.
    """
    columns = choice.of(columns)
    excluded = tuple(lists for lists in (skipped, choice.excluded) if lists is not None)
    if isinstance(columns, plain_answers.Columns):
        return plain_answers.top_n(X, columns, n, rows, offsets, excluded, choice.allowed)
    return topk.top_n(
        X, columns, n, n_threads, rows=rows, row_offsets=offsets, excluded=excluded, allowed=choice.allowed
    )


class Ranking(FoldingIn):
    """The part of a model that predicts and ranks."""

    def predict(
        self,
        users: Any,
        items: Any,
        *,
        unknown: Literal["raise", "mean", "nan"] = "raise",
        clip: tuple[float, float] | None = None,
    ) -> np.ndarray:
        """Return the prediction for each pair (users[i], items[i]).

        Parameters
        ----------
        users, items : id or array_like of ids
            Of equal length; one id stands for as many as the other has. Row and column numbers, or the ids of the
            `Interactions` that the model was fitted on.
        unknown : {'raise', 'mean', 'nan'}, default 'raise'
            What to do with a user or item that the model does not have: raise; predict as for one without
            interactions; or return NaN. Without interactions the prediction is the mean plus the bias of the other
            side. Without biases it is 0, or the mean of the training values where a model does not fit unobserved
            entries (`unobserved_weight=0`, and `ExplicitALS`).
        clip : (float, float), optional
            Lowest and highest prediction, such as (1, 5) for ratings: what lies beyond is moved to them.

        Returns
        -------
        ndarray, shape (n_pairs,)

        Raises
        ------
        TypeError, ValueError
            An id is unknown or of another kind, lengths differ, or an option is not as wanted.

        Examples
        --------
        >>> import fastals
        >>> model = fastals.ImplicitALS(2, random_state=0).fit([(0, 0, 1), (0, 1, 1), (1, 1, 1)])
        >>> model.predict([0, 1], [1, 0]).shape
        (2,)
        >>> model.predict([0, 99], [1, 1], unknown="nan", clip=(1, 5)).tolist()
        [1.0, nan]
        """
        fitted = self._whole_state
        if clip is not None:
            clip = check_clip("clip", clip)
        if unknown != "raise":
            check_option("unknown", unknown, ("raise", "mean", "nan"))
        users = fitted.users.numbers("users", users, unknown, PREDICT)
        items = fitted.items.numbers("items", items, unknown, PREDICT)
        if len(users) != len(items) and 1 not in (len(users), len(items)):
            raise ValueError(f"users and items must be of equal length, got {len(users)} and {len(items)}")
        users, items = np.broadcast_arrays(users, items)
        strange = np.zeros(0, np.intp) if unknown == "raise" else np.flatnonzero(np.minimum(users, items) < 0)
        if len(strange):
            scores = np.empty(len(users), fitted.dtype)
            known = np.minimum(users, items) >= 0
            scores[known] = _pair_scores(fitted, users[known], items[known])
            scores[strange] = np.nan if unknown == "nan" else _without(fitted, users[strange], items[strange])
        else:
            scores = _pair_scores(fitted, users, items)
        return scores if clip is None else np.clip(scores, *clip)

    def item_filter(self, items: Any, *, unknown: Unknown = "raise") -> ItemFilter:
        """Look up items once for many requests, which take the result as `exclude` or `allow`.

        Parameters
        ----------
        items : id or array_like of ids
            What is in stock, for example.
        unknown : {'raise', 'ignore'}, default 'raise'
            What to do with ids that the model does not have.

        Returns
        -------
        ItemFilter
            It can be used until the model is fitted or loaded anew. `update`, `partial_fit_users` and
            `partial_fit_items` do not end its use: items that they add are not listed.

        Examples
        --------
        >>> import fastals
        >>> model = fastals.ImplicitALS(2, random_state=0).fit([(0, 0, 1), (0, 1, 1), (1, 1, 1)])
        >>> in_stock = model.item_filter([0])
        >>> model.recommend(1, n=2, allow=in_stock)[0].tolist()
        [0, -1]
        """
        side = self._state.items
        numbers = side.numbers("items", items, check_unknown(unknown), IGNORE)
        return ItemFilter(side, numbers[numbers >= 0])

    def recommend(
        self,
        users: Any = None,
        n: int = 10,
        *,
        fold_in: bool = False,
        exclude: Any = None,
        allow: Any = None,
        min_score: float | None = None,
        exclude_seen: bool = True,
        basket: Any = None,
        user_features: Any = None,
        unknown: Unknown = "raise",
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the `n` items with the highest prediction for each user, without those the user has.

        Parameters
        ----------
        users : id or array_like of ids, optional
            None: all. With `fold_in` new users' interactions, as `fit` takes them, shape (n_users, n_items).
        n : int, default 10
        fold_in : bool, default False
            Whether `users` are interactions, of users whose factors are solved first.
        exclude, allow : array_like of items, ItemFilter, list of arrays, sparse matrix or Interactions, optional
            Items to leave out, and the only ones to choose from: a 1-D array or an `item_filter` for all users, a list
            with an array for each user, or the stored entries of a matrix with a row for each user.
        min_score : float, optional
            Items predicted below it are left out.
        exclude_seen : bool, default True
            Leave out what the user has in the training interactions, or in the interactions given.
        basket : array_like of items, or mapping from item to value, optional
            What one user has whom the model does not know, instead of `users`: the factors are solved first. A value is
            what R has for the item, 1 in a list. `ExplicitALS` and `WeightedALS` need values.
        user_features : as in `fit`, optional
            Features of the new users of `basket` or `fold_in`, which may also be left out: then they are all that is
            known of these users. For `basket` 1-D.
        unknown : {'raise', 'ignore'}, default 'raise'
            What to do with ids of items that the model does not have, in `basket`, `exclude`, `allow` and with
            `fold_in`: raise, or leave them out.

        Returns
        -------
        ids : ndarray, shape (n_users, n), or (n,) for one id or a basket
            Column numbers (int32) or the ids that the model was fitted on. By falling score, ties by lower number; -1
            (among strings "") where fewer items remain.
        scores : ndarray, same shape
            Predictions; -inf beside -1.

        Notes
        -----
        Ids and scores do not depend on who else is asked for, nor on the number of threads. All of them come from one
        fitted state, whatever other threads do to the model meanwhile.

        Users without factors get the most popular items. Where the model has item biases these rank the items. Else
        the items' numbers of training interactions do, dislikes left out; they stand for the scores, and `min_score`
        does not count.

        Examples
        --------
        >>> import fastals
        >>> orders = fastals.Interactions.from_triplets(["ann", "ann", "bob"], ["tea", "cup", "cup"])
        >>> model = fastals.ImplicitALS(2, random_state=0).fit(orders)
        >>> model.recommend("bob", n=1)[0].tolist()
        ['tea']
        >>> model.recommend(basket=["tea", "pot"], n=1, unknown="ignore")[0].tolist()
        ['cup']
        """
        fitted = self._whole_state
        if unknown != "raise":
            check_unknown(unknown)
        options = n, exclude, allow, min_score, exclude_seen, unknown
        if basket is not None:
            if users is not None or fold_in is not False:
                raise ValueError("basket stands for a new user: leave out users and fold_in, or leave out basket")
            new = self._basket(fitted, basket, unknown)
            features = None
            if user_features is not None:
                features = check_given(fitted, "user", _as_row(user_features), 1)
            request = self._request(fitted, 1, Rows(new), *options)
            ids, scores = _answer(fitted, request, np.zeros(1, np.intp), self._solve_users(fitted, new, features))
            return fitted.items.names(ids[0]), scores[0]
        if check_flag("fold_in", fold_in) or (users is None and user_features is not None):
            if users is None and user_features is None:
                raise ValueError("users must be the new users' interactions where fold_in=True, got None")
            new, features = self._new_users_and_features(fitted, users, user_features, unknown, {}, "users")
            request = self._request(fitted, new.n_rows, Rows(new), *options)
            numbers = np.arange(new.n_rows)
            ids, scores = _answer(fitted, request, numbers, self._solve_users(fitted, new, features))
            return fitted.items.names(ids), scores
        if user_features is not None:
            raise ValueError(
                "user_features are those of new users: leave out users, or pass the new users' interactions as users "
                "with fold_in=True"
            )
        numbers, one = np.arange(len(fitted.users)), False
        if users is not None:
            one = isinstance(users, (int, str)) or np.ndim(users) == 0
            numbers = fitted.users.numbers("users", users, remedy=NEW_USER)
        ids, scores = _answer(fitted, self._request(fitted, len(numbers), fitted.by_user, *options), numbers)
        ids = fitted.items.names(ids)
        return (ids[0], scores[0]) if one else (ids, scores)

    def _request(
        self,
        fitted: Fitted,
        n_rows: int,
        seen: Rows | None,
        n: Any,
        exclude: Any,
        allow: Any,
        min_score: Any,
        exclude_seen: Any,
        unknown: str = "raise",
    ) -> Request:
        """Check what `recommend` is asked for."""
        n = check_integer("n", n, 1)
        if min_score is not None:
            min_score = check_number("min_score", min_score)
        choice = choice_of(n_rows, fitted.items, exclude, allow, unknown)
        if not check_flag("exclude_seen", exclude_seen):
            seen = None
        elif seen is None and choice.excluded is None:
            fitted.seen(
                "pass exclude=R_rows, a sparse matrix with a row for each user asked for, or exclude_seen=False"
            )
        return Request(n, choice, min_score, seen, self._threads, self._plain)

    def _basket(self, fitted: Fitted, basket: Any, unknown: str) -> Cells:
        """Return a basket as the only row: as the interactions of a new user would be."""
        if isinstance(basket, (str, bytes)) or np.ndim(list(basket) if isinstance(basket, Mapping) else basket) != 1:
            raise TypeError(
                f"basket must be a list of items, or a mapping from item to value, got {shown(basket)} of type "
                f"{type(basket).__name__}"
            )
        values = np.ones(len(basket))
        if isinstance(basket, Mapping):
            values = np.array([check_number(f"basket[{item!r}]", value) for item, value in basket.items()])
        elif self._missing == "nan":
            raise TypeError(
                f"basket must map each item to its value, such as {{item: 4.0}}, as {type(self).__name__} learns from "
                f"values, got {type(basket).__name__}"
            )
        listed = list(basket) if isinstance(basket, Mapping) else basket
        numbers = fitted.items.numbers("basket", listed, unknown, IGNORE)
        kept = numbers >= 0 if self._missing == "nan" else (numbers >= 0) & (values != 0)
        columns, places = np.unique(numbers[kept], return_inverse=True)
        sums = np.bincount(places, values[kept], len(columns))
        with np.errstate(over="ignore"):
            cast = cast_values(sums, fitted.dtype)
        if not np.isfinite(cast).all():
            raise ValueError(f"basket has a value that is too large for {fitted.dtype}: {shown(float(sums.max()))}")
        ends = np.array([0, len(columns)])
        return Cells(ends, columns.astype(np.int32), cast, np.ones(1, fitted.dtype))

    def recommend_users(
        self, items: Any, n: int = 10, *, exclude: Any = None, allow: Any = None, exclude_seen: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the `n` users with the highest prediction for each item: whom to write to about it.

        Parameters
        ----------
        items : id or array_like of ids
        n : int, default 10
        exclude, allow : optional
            Users to leave out, and the only ones to choose from, as items in `recommend`.
        exclude_seen : bool, default True
            Leave out the users who have the item in the training interactions.

        Returns
        -------
        ids : ndarray, shape (n_items, n), or (n,) for one id
            Row numbers (int32) or ids of users, by falling score; -1 (among strings "") where fewer users remain.
        scores : ndarray, same shape
            Predictions, as of `predict` to rounding; -inf beside -1. All users have the same one for an item without
            factors.

        Examples
        --------
        >>> import fastals
        >>> orders = fastals.Interactions.from_triplets(["ann", "ann", "bob"], ["tea", "cup", "cup"])
        >>> model = fastals.ImplicitALS(2, random_state=0).fit(orders)
        >>> model.recommend_users("tea", n=2)[0].tolist()
        ['bob', '']
        """
        fitted = self._whole_state
        n = check_integer("n", n, 1)
        numbers = fitted.items.numbers("items", items)
        choice = choice_of(len(numbers), fitted.users, exclude, allow)
        seen = None
        if check_flag("exclude_seen", exclude_seen):
            fitted.seen("pass exclude_seen=False")
            seen = fitted.rows_by_item().lists(numbers)
        panel, rows = fitted.items.part(numbers)
        offsets, k = None, fitted.items.k
        if fitted.items.biased:
            offsets = panel[rows, k] + panel.dtype.type(fitted.mean)
        columns = fitted.users.columns(self._plain)
        ids, scores = top_n(panel[:, :k], columns, n, self._threads, rows, offsets, choice, seen)
        ids = fitted.users.names(ids)
        return (ids[0], scores[0]) if np.ndim(items) == 0 else (ids, scores)

    def recommend_blocks(
        self,
        users: Any = None,
        n: int = 10,
        block_size: int = BLOCK,
        *,
        exclude: Any = None,
        allow: Any = None,
        min_score: float | None = None,
        exclude_seen: bool = True,
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Recommend to users block after block, where all answers together are too large to hold.

        Parameters
        ----------
        users : array_like of ids, optional
            None: all.
        n : int, default 10
        block_size : int, default 4096
            Users at once.
        exclude, allow, min_score, exclude_seen
            As in `recommend`: lists and rows of `exclude` and `allow` are those of all `users`.

        Yields
        ------
        users, ids, scores : ndarray, shapes (n_block,), (n_block, n), (n_block, n)
            The rows that `recommend` has for these users, all from the state that the model has at the call.

        Examples
        --------
        >>> import fastals
        >>> model = fastals.ImplicitALS(2, random_state=0).fit([(0, 0, 1), (0, 1, 1), (1, 1, 1)])
        >>> [users.tolist() for users, ids, scores in model.recommend_blocks(n=1, block_size=1)]
        [[0], [1]]
        """
        fitted = self._whole_state
        block_size = check_integer("block_size", block_size, 1)
        numbers = np.arange(len(fitted.users)) if users is None else fitted.users.numbers("users", users)
        request = self._request(fitted, len(numbers), fitted.by_user, n, exclude, allow, min_score, exclude_seen)

        def blocks() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
            for start in range(0, len(numbers), block_size):
                block = slice(start, start + block_size)
                part = request._replace(choice=request.choice.part(block))
                ids, scores = _answer(fitted, part, numbers[block])
                yield fitted.users.names(numbers[block]), fitted.items.names(ids), scores

        return blocks()

    def similar_items(
        self, items: Any, n: int = 10, *, include_self: bool = False, exclude: Any = None, allow: Any = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the `n` items whose factors have the highest cosine with those of each item.

        Parameters
        ----------
        items : id or array_like of ids
        n : int, default 10
        include_self : bool, default False
            Whether the item asked for may be among the answers.
        exclude, allow : optional
            As in `recommend`, a list or row for each of `items`.

        Returns
        -------
        ids : ndarray, shape (n_items, n), or (n,) for one id
            As in `recommend`.
        cosines : ndarray, same shape
            0 where one of the two has no factors; -inf beside -1. Biases do not count.

        Examples
        --------
        >>> import fastals
        >>> model = fastals.ImplicitALS(2, random_state=0).fit([(0, 0, 1), (0, 1, 1), (1, 1, 1)])
        >>> model.similar_items(0, n=1)[0].tolist()
        [1]
        """
        return self._similar("item", items, n, include_self, exclude, allow)

    def similar_users(
        self, users: Any, n: int = 10, *, include_self: bool = False, exclude: Any = None, allow: Any = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the `n` users whose factors have the highest cosine with those of each user.

        Parameters
        ----------
        users : id or array_like of ids
        n, include_self, exclude, allow
            As in `similar_items`.

        Returns
        -------
        ids, cosines : ndarray, shape (n_users, n), or (n,) for one id
            As in `similar_items`.

        Examples
        --------
        >>> import fastals
        >>> model = fastals.ImplicitALS(2, random_state=0).fit([(0, 0, 1), (0, 1, 1), (1, 1, 1)])
        >>> model.similar_users(0, n=1)[0].tolist()
        [1]
        """
        return self._similar("user", users, n, include_self, exclude, allow)

    def _similar(
        self, name: SideName, given: Any, n: int, include_self: bool, exclude: Any, allow: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        side = self._state.side(name)
        n = check_integer("n", n, 1)
        numbers = side.numbers(f"{name}s", given)
        choice = choice_of(len(numbers), side, exclude, allow)
        itself, every = None, np.arange(len(numbers) + 1)
        if not check_flag("include_self", include_self):
            itself = Lists(every, numbers.astype(np.int32), every[:-1].astype(np.intp))
        queries, columns = unit_rows(side.factors[numbers]), side.unit_columns(self._plain)
        ids, cosines = top_n(queries, columns, n, self._threads, every[:-1], choice=choice, skipped=itself)
        ids = side.names(ids)
        return (ids[0], cosines[0]) if np.ndim(given) == 0 else (ids, cosines)

    def to_index_vectors(self) -> IndexVectors:
        """Return vectors for a nearest-neighbour index that ranks items as `recommend` does.

        Returns
        -------
        IndexVectors
            NamedTuple (items, users) of arrays of the model's dtype with d = factors + 1 columns, one more with biases.

        Notes
        -----
        An item becomes [y, bias, sqrt(M^2 - |y|^2 - bias^2)], M the largest length, a user [x, 1, 0]. Their product is
        the prediction less mean and user bias. As all items have the same length M, the order by cosine and by
        Euclidean distance is the same (Bachrach et al.: Speeding up the Xbox recommender system using a Euclidean
        transformation for inner-product spaces. RecSys 2014). What a user has is not left out.

        Examples
        --------
        >>> import fastals
        >>> model = fastals.ImplicitALS(2, random_state=0).fit([(0, 0, 1), (0, 1, 1), (1, 1, 1)])
        >>> model.to_index_vectors().items.shape
        (2, 3)
        """
        fitted = self._whole_state
        X, Y = (side.factors.astype(np.float64) for side in (fitted.users, fitted.items))
        biases = fitted.items.biases
        if biases is not None:
            X, Y = np.column_stack([X, np.ones(len(X))]), np.column_stack([Y, biases])
        squares = np.einsum("nk,nk->n", Y, Y)
        rest = np.sqrt(np.maximum(squares.max() - squares, 0.0))
        items, users = np.column_stack([Y, rest]), np.column_stack([X, np.zeros(len(X))])
        return IndexVectors(items.astype(fitted.dtype), users.astype(fitted.dtype))


def _as_row(features: Any) -> Any:
    """Return the features of one user as a matrix."""
    return features if is_frame(features) or getattr(features, "ndim", 1) == 2 else [features]


def _pair_scores(fitted: Fitted, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return the prediction of each pair of row numbers, shape (n_pairs,)."""
    X, Y, k = fitted.users, fitted.items, fitted.items.k
    out = np.empty(len(users), fitted.dtype)
    for start in range(0, len(users), PAIRS):
        pairs = slice(start, start + PAIRS)
        x, y = X.rows(users[pairs]), Y.rows(items[pairs])
        out[pairs] = np.einsum("nk,nk->n", x[:, :k], y[:, :k])
        if Y.biased:
            out[pairs] += x[:, k] + y[:, k] + fitted.mean
    return out


def _without(fitted: Fitted, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return predictions for pairs of which one or both are -1, and count as without interactions."""
    if not fitted.items.biased:
        objective = fitted.objective
        if objective.sign_target or objective.unobserved_weight:
            return np.zeros(len(users), fitted.dtype)
        values = fitted.seen("pass unknown='nan'").cells.all_values
        return np.full(len(users), values.mean(dtype=np.float64), fitted.dtype)
    scores = np.full(len(users), fitted.mean, fitted.dtype)
    for side, numbers in ((fitted.users, users), (fitted.items, items)):
        known = np.flatnonzero(numbers >= 0)
        scores[known] += side.rows(numbers[known])[:, side.k]
    return scores


def _answer(
    fitted: Fitted, request: Request, users: np.ndarray, solved: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return item numbers and scores for some users: known ones, or `solved` ones, shape (n_users, width)."""
    panel, rows = fitted.users.part(users) if solved is None else (solved, users)
    k, offsets = fitted.items.k, None
    if fitted.items.biased:
        offsets = panel[rows, k] + panel.dtype.type(fitted.mean)
    X = panel[:, :k]
    ids, scores = request.best(X, fitted.items.columns(request.plain), rows, users, offsets)
    popular = np.zeros(0, np.intp)
    if offsets is None and np.count_nonzero(scores[:, 0]) < len(scores):
        popular = np.flatnonzero(scores[:, 0] == 0)
        popular = popular[~X[rows[popular]].any(axis=1)]
    if request.min_score is not None:
        below = scores < request.min_score
        ids[below], scores[below] = -1, -np.inf
    if len(popular):
        part = request._replace(choice=request.choice.part(popular))
        ones = np.ones((len(popular), 1), fitted.dtype)
        every = np.arange(len(popular), dtype=np.intp)
        ids[popular], scores[popular] = part.best(ones, fitted.popularity(request.plain), every, users[popular])
    return ids, scores
