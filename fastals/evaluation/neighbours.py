"""Neighbourhood methods: items, or users, that are alike recommend for each other."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt
from scipy import sparse

from ..data.interactions import Interactions, MatrixLike, as_interactions
from ..data.matrix import csr_of, transpose
from ..engine.problem import Cells
from ..engine.products import Skipped, Sparse, best_products, with_values
from ..validation import check_flag, check_integer, check_number, check_option
from . import term_weights
from .baselines import Array, Baseline, Known
from .metrics import Floats, Ints

Weighting: TypeAlias = Literal["cosine", "tfidf", "bm25"]

PAIRS = 4096  # pairs that are scored at once


class Products(Baseline):
    """A baseline whose scores are the rows of one matrix times another."""

    _left: Sparse  # a row for each user
    _right: Sparse | Array  # a column for each item

    def _predict(self, users: Ints, items: Ints) -> Floats:
        right, scores = self._right, np.empty(len(users))
        by_item: Any = _matrix(right, self.shape_[1]).T.tocsr() if isinstance(right, Sparse) else right.T
        left = _matrix(self._left, by_item.shape[1])
        for start in range(0, len(users), PAIRS):
            of, to = users[start : start + PAIRS], items[start : start + PAIRS]
            rows = left[of]
            if isinstance(right, Sparse):
                found = rows.multiply(by_item[to]).sum(axis=1)
            else:
                pairs = np.repeat(np.arange(len(of)), np.diff(rows.indptr))
                found = np.bincount(pairs, rows.data * right[rows.indices, to[pairs]], minlength=len(of))
            scores[start : start + PAIRS] = found
        return scores

    def _recommend(self, known: Known, users: Ints, ids: npt.NDArray[np.int32], scores: Floats) -> None:
        skipped = Skipped(known.indptr, known.items)
        ids[:], scores[:] = best_products(self._left, self._right, skipped, users, ids.shape[1], known.shape[1])


class ItemBased(Products):
    """A baseline whose scores are a user's interactions times a matrix of items by items."""

    def recommend(
        self,
        users: npt.ArrayLike | None = None,
        n: int = 10,
        *,
        exclude_seen: bool = True,
        fold_in: bool = False,
    ) -> tuple[Array, Floats]:
        """List the items with the highest scores, without those the user has.

        Parameters
        ----------
        users : id or array of ids, optional; with `fold_in` a matrix, Interactions or list of tuples
            None: all users. Row numbers, or the ids of the fit.
        n : int, default 10
            Length of the lists.
        exclude_seen : bool, default True
            Leave out the items that the user has.
        fold_in : bool, default False
            Recommend to users who were not there at the fit, one for each row of `users`: their interactions with the
            items of the fit.

        Returns
        -------
        ids : (n_users, n) array, or (n,) for one id
            Column numbers (int32) or the ids of the fit. By falling score, ties by lower number. An item that no
            interaction of the user speaks for has the score 0 and is not listed: the place has -1 (among strings "").
        scores : float64 array of the same shape
            -inf beside -1.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As in `predict`, or `n` is less than 1.

        Examples
        --------
        >>> from fastals.evaluation import ItemKNN
        >>> model = ItemKNN().fit([[1, 1, 0], [1, 1, 1], [0, 1, 1]])
        >>> model.recommend(0, n=1)[0], model.recommend([[0, 0, 1]], n=2, fold_in=True)[0]
        (array([2], dtype=int32), array([[1, 0]], dtype=int32))
        """
        if not check_flag("fold_in", fold_in):
            return super().recommend(users, n, exclude_seen=exclude_seen)
        known = self._fitted()
        n_items, n = known.shape[1], check_integer("n", n, 1)
        if users is None:
            raise TypeError("users is None: with fold_in=True pass the interactions of the new users")
        new = as_interactions(
            cast(MatrixLike, users), "float64", name="users", n_items=n_items, item_ids=known.item_ids
        )
        rows = new.without_zeros().by_user
        skipped = Skipped(rows.indptr, rows.indices)
        if not check_flag("exclude_seen", exclude_seen):
            skipped = Skipped(np.zeros_like(rows.indptr), rows.indices[:0])
        left = with_values(rows, self._left.data.dtype)
        columns, scores = best_products(left, self._right, skipped, np.arange(new.shape[0]), n, n_items)
        return columns if known.item_ids is None else known.item_ids.take(columns), scores

    def similar_items(self, items: npt.ArrayLike, n: int = 10) -> tuple[Array, Floats]:
        """List the items for which an item speaks most.

        Parameters
        ----------
        items : id or array of ids
            Column numbers, or the ids of the fit.
        n : int, default 10
            Length of the lists.

        Returns
        -------
        ids : (n_items, n) array, or (n,) for one id
            Without the item itself; otherwise as `recommend` returns them.
        scores : float64 array of the same shape
            Similarities of `ItemKNN`, weights of `EASE`.

        Examples
        --------
        >>> from fastals.evaluation import ItemKNN
        >>> ids, scores = ItemKNN().fit([[1, 1, 0], [1, 1, 1], [0, 1, 1]]).similar_items(0, n=2)
        >>> ids, scores.round(3)
        (array([1, 2], dtype=int32), array([0.816, 0.5  ]))
        """
        return _similar(self._fitted(), "items", items, n, self._right)


class _Nearest(Products):
    """A baseline in which documents, which are items or users, speak for those that are most alike to them."""

    def __init__(self, neighbours: int = 20, weighting: Weighting = "cosine", k1: float = 1.2, b: float = 0.75) -> None:
        self.neighbours = neighbours
        self.weighting = weighting
        self.k1 = k1
        self.b = b

    def _nearest(self, documents: Cells, shape: tuple[int, int]) -> Sparse:
        """Return the similarities of each document to its nearest neighbours, in the order of their numbers."""
        n = min(check_integer("neighbours", self.neighbours, 1), max(1, shape[0] - 1))
        weighting = check_option("weighting", self.weighting, get_args(Weighting))
        k1, b = check_number("k1", self.k1, 0.0), check_number("b", self.b, 0.0)
        if b > 1:
            raise ValueError(f"b must be at most 1, got {self.b!r}")
        values = documents.all_values.astype(np.float64)
        if weighting != "cosine" and (values < 0).any():
            raise ValueError(
                f"R has negative values, for which weighting={weighting!r} is not defined: leave such interactions "
                "out, or use weighting='cosine'"
            )
        X = csr_of(documents, values, shape).tocoo()
        if weighting == "bm25":
            X.data = term_weights.bm25(X, k1, b)
        else:
            X.data = term_weights.tfidf(X) if weighting == "tfidf" else X.data
            X.data = term_weights.normalized(X)
        rows = documents._replace(values=X.data)
        turned = transpose(rows, shape)
        itself = Skipped(np.arange(shape[0] + 1), np.arange(shape[0], dtype=np.int32))
        left, right = with_values(rows, values.dtype), with_values(turned, values.dtype)
        ids, scores = best_products(left, right, itself, np.arange(shape[0]), n, shape[0])
        order = np.argsort(ids, axis=1)
        ids, scores = np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1)
        there = ids >= 0
        return Sparse(np.concatenate([[0], there.sum(axis=1).cumsum()]), ids[there], scores[there])


class ItemKNN(_Nearest, ItemBased):
    """Recommend the items that are most alike to those a user has.

    The score of item j is the sum, over the items i of a user, of the interaction's value times the similarity of i and
    j, if j is among the nearest neighbours of i.

    Parameters
    ----------
    neighbours : int, default 20
        Number of other items that each item speaks for. `implicit` counts the item itself among its `K`: its K is one
        more.
    weighting : {'cosine', 'tfidf', 'bm25'}, default 'cosine'
        Similarity of two items. 'cosine': of their columns of the matrix. 'tfidf': cosine of the columns with weights
        ``sqrt(x) log(n_items / (1 + items of the user))``, so that users of many items count less. 'bm25': product of
        the columns with Okapi BM25 weights, in which popular items count less too.
    k1 : float, default 1.2
        Of 'bm25': how slowly the weight of a growing value saturates.
    b : float, default 0.75
        Of 'bm25': how much popular items are scaled down, from 0 to 1.

    Attributes
    ----------
    similarity_ : (n_items, n_items) sparse array
        Row i has the neighbours of item i. The diagonal is 0.

    References
    ----------
    Deshpande & Karypis: Item-based top-N recommendation algorithms. ACM TOIS 2004.

    Examples
    --------
    >>> from fastals.evaluation import ItemKNN
    >>> ItemKNN(neighbours=1).fit([[1, 1, 0], [1, 1, 1], [0, 1, 1]]).similarity_.toarray().round(3)
    array([[0.   , 0.816, 0.   ],
           [0.816, 0.   , 0.   ],
           [0.   , 0.816, 0.   ]])
    """

    def _learn(self, interactions: Interactions) -> None:
        by_user = interactions.without_zeros().by_user
        self._right = self._nearest(transpose(by_user, interactions.shape), interactions.shape[::-1])
        self._left = with_values(by_user, np.dtype(np.float64))

    @property
    def similarity_(self) -> sparse.csr_array:
        """Row i has the similarities of item i and its neighbours."""
        return _matrix(cast(Sparse, self._right), self.shape_[1])


class UserKNN(_Nearest):
    """Recommend what the users who are most alike have.

    The score of item i is the sum, over the nearest neighbours of a user who have i, of their similarity times the
    value of their interaction.

    Parameters
    ----------
    neighbours : int, default 100
        Number of other users that speak for each user.
    weighting : {'cosine', 'tfidf', 'bm25'}, default 'cosine'
        Similarity of two users; as in `ItemKNN`, with users and items exchanged.
    k1, b : float, default 1.2 and 0.75
        As in `ItemKNN`.

    Attributes
    ----------
    similarity_ : (n_users, n_users) sparse array
        Row u has the neighbours of user u. The diagonal is 0.

    References
    ----------
    Herlocker, Konstan, Borchers, Riedl: An algorithmic framework for performing collaborative filtering. SIGIR 1999.

    Examples
    --------
    >>> from fastals.evaluation import UserKNN
    >>> UserKNN(neighbours=1).fit([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1]]).recommend(0, n=2)[0]
    array([ 2, -1], dtype=int32)
    """

    def __init__(
        self, neighbours: int = 100, weighting: Weighting = "cosine", k1: float = 1.2, b: float = 0.75
    ) -> None:
        super().__init__(neighbours, weighting, k1, b)

    def _learn(self, interactions: Interactions) -> None:
        by_user = interactions.without_zeros().by_user
        self._left = self._nearest(by_user, interactions.shape)
        self._right = with_values(by_user, np.dtype(np.float64))

    @property
    def similarity_(self) -> sparse.csr_array:
        """Row u has the similarities of user u and its neighbours."""
        return _matrix(self._left, self.shape_[0])

    def similar_users(self, users: npt.ArrayLike, n: int = 10) -> tuple[Array, Floats]:
        """List the users who are most alike.

        Parameters
        ----------
        users : id or array of ids
            Row numbers, or the ids of the fit.
        n : int, default 10
            Length of the lists.

        Returns
        -------
        ids : (n_users, n) array, or (n,) for one id
            Without the user itself, and at most `neighbours`; otherwise as `recommend` returns them.
        scores : float64 array of the same shape
            Similarities; -inf where there is no neighbour.

        Examples
        --------
        >>> from fastals.evaluation import UserKNN
        >>> UserKNN().fit([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1]]).similar_users(2, n=2)[0]
        array([ 1, -1], dtype=int32)
        """
        return _similar(self._fitted(), "users", users, n, self._left)


def _matrix(rows: Sparse, n_columns: int) -> sparse.csr_array:
    """Return sparse rows as a matrix of SciPy."""
    return sparse.csr_array((rows.data, rows.indices, rows.indptr), shape=(len(rows.indptr) - 1, n_columns))


def _similar(
    known: Known, name: Literal["users", "items"], given: npt.ArrayLike, n: int, similarity: Sparse | Array
) -> tuple[Array, Floats]:
    """Return the highest entries of rows of a matrix, as ids."""
    (ids, size), rows, n = known.side(name), known.numbers(name, given), check_integer("n", n, 1)
    dtype = similarity.dtype if isinstance(similarity, np.ndarray) else np.dtype(np.float64)
    one = Sparse(np.arange(size + 1), np.arange(size, dtype=np.int32), np.ones(size, dtype))
    columns, scores = best_products(one, similarity, Skipped(*one[:2]), rows, n, size)
    named = columns if ids is None else ids.take(columns)
    return (named[0], scores[0]) if np.ndim(given) == 0 else (named, scores)
