"""Recommendations and similar items or users from factors, with the arguments and the order of `implicit`.

Higher scores come first, and of equal scores the higher id. Ids that are left out come last, with the score
`-finfo.max`.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...data.interactions import Interactions, MatrixLike
from ...engine.fallback import is_plain
from ...engine.topk import Lists
from ...fitted import pack
from ...ranking import top_n
from ...validation import check_flag, check_ids, check_integer
from .factors import FactorModel, lengths
from .utils import as_confidences

__all__ = ["Ranking"]

Ranked = tuple[np.ndarray, np.ndarray]
Ids = npt.ArrayLike | set[int] | frozenset[int] | None


class Ranking(FactorModel):
    """What a model with two factor matrices answers."""

    def recommend(
        self,
        userid: npt.ArrayLike,
        user_items: MatrixLike | None,
        N: int = 10,
        filter_already_liked_items: bool = True,
        filter_items: Ids = None,
        recalculate_user: bool = False,
        items: Ids = None,
    ) -> Ranked:
        """Return the `N` items with the highest score for each user.

        Parameters
        ----------
        userid : int or array_like of int
        user_items : csr_matrix, shape (number of users, n_items), or None
            One row for each user of `userid`. None is valid where nothing is filtered or recalculated.
        N : int, default 10
        filter_already_liked_items : bool, default True
            Leave out the observed entries of `user_items`.
        filter_items : array_like of int, optional
            Items to leave out for all users.
        recalculate_user : bool, default False
            Use the factors that `recalculate_user` returns; `userid` may then be unknown to the model.
        items : array_like of int, optional
            Rank only these; `N` is at most their number. Not together with `filter_items`.

        Returns
        -------
        ids : ndarray of int32, or of int64 with `items`; shape (number of users, N), or (N,) for one number
            Highest score first, of equal scores the higher id. Items that are left out come last, then -1 where there
            are no more items.
        scores : ndarray of the factors' dtype, same shape
            `-finfo.max` for items that are left out and for -1. The last bit may differ between one user and many.

        Raises
        ------
        TypeError, ValueError
            An argument is not as described. An id out of range is an IndexError as well.

        Examples
        --------
        >>> from scipy.sparse import csr_matrix
        >>> from fastals.compat.implicit.als import AlternatingLeastSquares
        >>> user_items = csr_matrix([[1, 1, 0], [1, 0, 1], [1, 1, 1]])
        >>> model = AlternatingLeastSquares(2, random_state=0)
        >>> model.fit(user_items, show_progress=False)
        >>> ids, scores = model.recommend(0, user_items[0], N=1)
        >>> ids
        array([2], dtype=int32)
        """
        Y = self._factors("item")
        n_queries, liked = np.size(userid), None
        if check_flag("filter_already_liked_items", filter_already_liked_items) or recalculate_user:
            if user_items is None:
                raise ValueError(
                    "user_items is None: it is wanted for filter_already_liked_items=True and recalculate_user=True"
                )
            liked = self._rows("user_items", user_items, n_queries, "items")
        if check_flag("recalculate_user", recalculate_user) and liked is not None:
            X = self._fold_in(liked, "user")
        else:
            X, Y = self._both_factors()
            X = X[check_ids("userid", userid, len(X))]
        candidates = _candidates("items", items, "filter_items", filter_items, len(Y))
        if items is not None:
            N = min(N, len(candidates.all))
        ids, scores = _rank(X, Y, N, candidates, liked if filter_already_liked_items else None, self._threads)
        return (ids[0], scores[0]) if np.ndim(userid) == 0 else (ids, scores)

    def recommend_all(
        self,
        user_items: MatrixLike,
        N: int = 10,
        recalculate_user: bool = False,
        filter_already_liked_items: bool = True,
        filter_items: Ids = None,
        users_items_offset: int = 0,
    ) -> np.ndarray:
        """Return the ids of `recommend` for every row of `user_items`; deprecated, as in `implicit`.

        Parameters
        ----------
        user_items, N, recalculate_user, filter_already_liked_items, filter_items
            As in `recommend`.
        users_items_offset : int, default 0
            The user of the first row.

        Returns
        -------
        ndarray of int32, shape (rows of user_items, N)

        Examples
        --------
        >>> import warnings
        >>> from scipy.sparse import csr_matrix
        >>> from fastals.compat.implicit.als import AlternatingLeastSquares
        >>> user_items = csr_matrix([[1, 1, 0], [1, 0, 1]])
        >>> model = AlternatingLeastSquares(2, random_state=0)
        >>> model.fit(user_items, show_progress=False)
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore", DeprecationWarning)
        ...     model.recommend_all(user_items, N=1)
        array([[2],
               [1]], dtype=int32)
        """
        warnings.warn(
            "recommend_all is deprecated. Use recommend with an array of userids", DeprecationWarning, stacklevel=2
        )
        rows = as_confidences("user_items", user_items, self.dtype)
        userids = np.arange(rows.shape[0]) + check_integer("users_items_offset", users_items_offset, 0)
        return self.recommend(userids, rows, N, filter_already_liked_items, filter_items, recalculate_user)[0]

    def rank_items(
        self, userid: npt.ArrayLike, user_items: MatrixLike | None, selected_items: Ids, recalculate_user: bool = False
    ) -> Ranked:
        """Return selected items, the highest score first; deprecated, as in `implicit`.

        Parameters
        ----------
        userid, user_items, recalculate_user
            As in `recommend`.
        selected_items : array_like of int

        Returns
        -------
        ids, scores
            As from `recommend`; as many as are selected, at most 10.

        Examples
        --------
        >>> import warnings
        >>> from scipy.sparse import csr_matrix
        >>> from fastals.compat.implicit.als import AlternatingLeastSquares
        >>> user_items = csr_matrix([[1, 1, 0], [0, 0, 1]])
        >>> model = AlternatingLeastSquares(2, random_state=0)
        >>> model.fit(user_items, show_progress=False)
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore", DeprecationWarning)
        ...     model.rank_items(0, user_items[0], [1, 2])[0]
        array([1, 2])
        """
        warnings.warn(
            "rank_items is deprecated. Use recommend with the 'items' parameter", DeprecationWarning, stacklevel=2
        )
        return self.recommend(
            userid,
            user_items,
            filter_already_liked_items=False,
            recalculate_user=recalculate_user,
            items=selected_items,
        )

    def similar_items(
        self,
        itemid: npt.ArrayLike,
        N: int = 10,
        recalculate_item: bool = False,
        item_users: MatrixLike | None = None,
        filter_items: Ids = None,
        items: Ids = None,
    ) -> Ranked:
        """Return the `N` items whose factors have the highest cosine with each given item's, itself included.

        Parameters
        ----------
        itemid : int or array_like of int
        N : int, default 10
        recalculate_item : bool, default False
            Use the factors that `recalculate_item` returns for `item_users`; `itemid` may then be unknown to the model.
        item_users : csr_matrix, shape (number of items, n_users), optional
            One row for each item of `itemid`.
        filter_items : array_like of int, optional
            Items to leave out.
        items : array_like of int, optional
            Rank only these. Not together with `filter_items`.

        Returns
        -------
        ids, scores
            As from `recommend`, always with `N` columns; scores are cosines.

        Raises
        ------
        TypeError, ValueError
            As from `recommend`.

        Examples
        --------
        >>> from scipy.sparse import csr_matrix
        >>> from fastals.compat.implicit.als import AlternatingLeastSquares
        >>> model = AlternatingLeastSquares(2, random_state=0)
        >>> model.fit(csr_matrix([[1, 1, 0], [1, 1, 0], [0, 0, 1]]), show_progress=False)
        >>> sorted(model.similar_items(0, N=2)[0].tolist())
        [0, 1]
        """
        Y = self._factors("item")
        if check_flag("recalculate_item", recalculate_item):
            if item_users is None:
                raise ValueError("item_users is None: it is wanted for recalculate_item=True")
            given = self._fold_in(self._rows("item_users", item_users, np.size(itemid), "users"), "item")
            queries = given / lengths(given)[:, None]
        else:
            queries = self._directions("item")[check_ids("itemid", itemid, len(Y))]
        candidates = _candidates("items", items, "filter_items", filter_items, len(Y))
        ids, scores = _rank(queries, self._directions("item"), N, candidates, None, self._threads)
        return (ids[0], scores[0]) if np.ndim(itemid) == 0 else (ids, scores)

    def similar_users(self, userid: npt.ArrayLike, N: int = 10, filter_users: Ids = None, users: Ids = None) -> Ranked:
        """Return the `N` users whose factors have the highest cosine with each given user's, itself included.

        Parameters
        ----------
        userid : int or array_like of int
        N : int, default 10
        filter_users : array_like of int, optional
            Users to leave out.
        users : array_like of int, optional
            Rank only these. Not together with `filter_users`.

        Returns
        -------
        ids, scores
            As from `similar_items`.

        Raises
        ------
        TypeError, ValueError
            As from `recommend`.

        Examples
        --------
        >>> from scipy.sparse import csr_matrix
        >>> from fastals.compat.implicit.als import AlternatingLeastSquares
        >>> model = AlternatingLeastSquares(2, random_state=0)
        >>> model.fit(csr_matrix([[1, 1, 0], [1, 1, 0], [0, 0, 1]]), show_progress=False)
        >>> sorted(model.similar_users(0, N=2)[0].tolist())
        [0, 1]
        """
        n_users = len(self._factors("user"))
        candidates = _candidates("users", users, "filter_users", filter_users, n_users)
        queries = self._directions("user")[check_ids("userid", userid, n_users)]
        ids, scores = _rank(queries, self._directions("user"), N, candidates, None, self._threads)
        return (ids[0], scores[0]) if np.ndim(userid) == 0 else (ids, scores)


class _Candidates(NamedTuple):
    """Which ids may be returned, and which of them only at the end."""

    all: np.ndarray  # intp, rising
    left: np.ndarray  # intp, rising: those of `all` that are not left out for all rows
    id_dtype: Any  # of the ids returned


def _candidates(allow_name: str, allowed: Ids, deny_name: str, denied: Ids, size: int) -> _Candidates:
    """Check an allow list and a deny list; at most one of them may be given."""
    deny = np.empty(0, np.intp) if denied is None else _ids(deny_name, denied, size)
    if allowed is None:
        everything = np.arange(size)
        return _Candidates(everything, np.delete(everything, deny) if len(deny) else everything, np.int32)
    if len(deny):
        raise ValueError(f"{allow_name} and {deny_name} cannot both be given: remove {deny_name} from {allow_name}")
    chosen = np.unique(_ids(allow_name, allowed, size))
    if len(chosen) == 0:
        raise ValueError(f"{allow_name} is empty: at least one id to choose from is wanted")
    return _Candidates(chosen, chosen, np.int64)


def _ids(name: str, given: Any, size: int) -> np.ndarray:
    return check_ids(name, sorted(given) if isinstance(given, (set, frozenset)) else given, size)


def _rank(
    X: np.ndarray, Y: np.ndarray, n: int, candidates: _Candidates, liked: Interactions | None, n_threads: int
) -> Ranked:
    """Return the best candidates of each row: highest score first, then higher id, then those that are left out."""
    n = check_integer("N", n, 1)
    if len(X) == 1:
        ids, scores = _rank_one(X[0], Y, n, candidates, liked)
        return ids[None], scores[None]
    # The kernel puts the lower position first among equal scores, so the candidates go in by falling id.
    falling = candidates.left[::-1]
    indptr, indices = _skipped(liked, falling, len(X), len(Y))
    Y = Y[::-1] if len(falling) == len(Y) else Y[falling]
    skipped = Lists(indptr.astype(np.int64), indices.astype(np.int32), np.arange(len(X)))
    columns = pack(Y, None, is_plain("auto"))
    found, scores = top_n(X, columns, n, n_threads, np.arange(len(X)), skipped=skipped)
    ids = np.append(falling, -1)[found].astype(candidates.id_dtype)
    scores[found < 0] = np.finfo(scores.dtype).min
    for row in np.flatnonzero((found < 0).any(axis=1)):
        free = np.flatnonzero(found[row] < 0)
        masked = np.setdiff1d(candidates.all, ids[row])[::-1][: len(free)]
        ids[row, free[: len(masked)]] = masked
    return ids, scores


def _rank_one(x: np.ndarray, Y: np.ndarray, n: int, candidates: _Candidates, liked: Interactions | None) -> Ranked:
    """Rank for a single row by NumPy: packing Y for the kernel would take longer."""
    lowest = np.finfo(Y.dtype).min
    scores = np.full(len(Y), lowest, Y.dtype)
    left = slice(None) if len(candidates.left) == len(Y) else candidates.left
    with np.errstate(over="ignore", invalid="ignore"):
        scores[left] = np.fmax(Y[left] @ x, lowest)  # NaN counts as the lowest score
    if liked is not None:
        scores[liked.by_user.indices] = lowest
    if len(candidates.all) < len(Y):
        scores = scores[candidates.all]
    # Keep all that equal the n-th best score: their ids decide.
    worst = np.partition(scores, len(scores) - n)[len(scores) - n] if n < len(scores) else -np.inf
    best = np.flatnonzero(scores >= worst)
    best = best[np.lexsort((-best, -scores[best]))][:n]
    ids = np.full(n, -1, candidates.id_dtype)
    ids[: len(best)] = candidates.all[best]
    ids_scores = np.full(n, lowest, Y.dtype)
    ids_scores[: len(best)] = scores[best]
    return ids, ids_scores


def _skipped(liked: Interactions | None, falling: np.ndarray, n_rows: int, n_ids: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the entries of `liked` as compressed rows of places in `falling`, sorted."""
    if liked is None or n_rows == 0:
        return np.zeros(n_rows + 1, np.int64), np.empty(0, np.int32)
    places = np.full(n_ids, -1, np.int32)
    places[falling] = np.arange(len(falling))
    rows, at = np.repeat(np.arange(n_rows), liked.by_user.counts), places[liked.by_user.indices]
    rows, at = rows[at >= 0], at[at >= 0]
    return np.searchsorted(rows, np.arange(n_rows + 1)), at[np.lexsort((at, rows))]
