"""What a fitted model answers: predictions, recommendations, similar users and items, and why."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .data.ids import Ids
from .data.interactions import MatrixLike
from .engine import equations, topk
from .engine.problem import BACKGROUND, Cells
from .engine.topk import Columns, Lists
from .objectives import Objective, Statistics
from .recommend import EVERYTHING, Choice, Scores, best, check_inside, choice_of, pair_scores, unit_rows
from .validation import Params, check_flag, check_ids, check_integer, check_number

__all__ = ["Explanation", "IndexVectors", "Serving"]

NOBODY = np.zeros(0, np.intp)
BLOCK = 4096  # users of a block, where nobody says otherwise

T = TypeVar("T")


class Explanation(NamedTuple):
    """Why a user's prediction for an item is what it is: `score = baseline + contributions.sum()`."""

    score: float
    """Prediction of the user as folded in, in float64."""
    baseline: float
    """Mean and item bias, 0 without biases."""
    items: np.ndarray
    """The user's items, by falling contribution; shape (n_cells,)."""
    contributions: np.ndarray
    """What each of them adds, float64, shape (n_cells,)."""


class IndexVectors(NamedTuple):
    """Vectors for an index: the order of items by inner product, by cosine and by distance is that of the scores."""

    items: np.ndarray
    """Of one length, shape (n_items, d)."""
    users: np.ndarray
    """Shape (n_users, d)."""


class Request(NamedTuple):
    """What is asked for, checked."""

    n: int
    seen: Cells | None  # rows by the numbers of the users
    choice: Choice
    min_score: float | None


class Serving(Params):
    """The answers of a fitted model; a mixin of the estimators, which do the fitting."""

    user_factors_: np.ndarray
    item_factors_: np.ndarray
    _fitted_objective: Objective
    _statistics: Statistics
    _seen: Cells | None
    _item_counts: np.ndarray
    _ids: tuple[Ids | None, Ids | None]
    _kept: dict[str, tuple[tuple[Any, ...], Any]]

    def _check_fitted(self) -> None:
        raise NotImplementedError

    @property
    def _threads(self) -> int:
        raise NotImplementedError

    def _new_users(self, R_new: MatrixLike) -> Cells:
        """Return the cells of new users."""
        raise NotImplementedError

    def _solve_users(self, cells: Cells) -> np.ndarray:
        """Return the factors of new users, with the bias as the last column where there is one."""
        raise NotImplementedError

    def _biases(self, side: str) -> np.ndarray | None:
        return getattr(self, f"{side}_biases_", None)

    def _keep_made(self, name: str, sources: tuple[Any, ...], make: Callable[[], T]) -> T:
        """Return what `make` makes of the `sources`, made once for the objects that they are."""
        kept = self._kept.get(name)
        if kept is None or not all(map(operator.is_, kept[0], sources)):
            # One assignment: a second thread at the same time makes the same once more, and that is all.
            kept = self._kept[name] = (sources, make())
        return kept[1]

    def _ready(self) -> tuple[Scores, Columns]:
        """Return what makes the predictions, and the items packed for them."""
        own = self.__dict__.get
        sources = self.user_factors_, self.item_factors_, own("user_biases_"), own("item_biases_")
        mean = own("global_mean_", 0.0)
        return self._keep_made("ready", sources, lambda: (Scores(*sources, mean), topk.pack(sources[1], sources[3])))

    def _numbers(self, side: str, name: str, ids: Any, size: int | None = None) -> np.ndarray:
        """Return the row or column numbers of users or items, by the ids that the model was fitted on.

        `size`: how many there are, where another thread may have added some since.
        """
        known = self._ids[side == "item"]
        if known is not None:
            return known.positions(name, ids)
        return check_ids(name, ids, len(getattr(self, f"{side}_factors_")) if size is None else size)

    def _names(self, side: str, numbers: np.ndarray) -> np.ndarray:
        known = self._ids[side == "item"]
        return numbers if known is None else known.take(numbers)

    @property
    def user_ids_(self) -> np.ndarray | None:
        """The users' ids in the order of `user_factors_`; None where the model was fitted on row numbers."""
        self._check_fitted()
        return None if self._ids[0] is None else self._ids[0].values

    @property
    def item_ids_(self) -> np.ndarray | None:
        """The items' ids in the order of `item_factors_`; None where the model was fitted on column numbers."""
        self._check_fitted()
        return None if self._ids[1] is None else self._ids[1].values

    def predict(self, users: Any, items: Any) -> np.ndarray:
        """Return the prediction for each pair (users[i], items[i]).

        Parameters
        ----------
        users, items : id or array_like of ids
            Of equal length; one id stands for as many as the other has. Row and column numbers, or the ids of the
            `Interactions` that the model was fitted on.

        Returns
        -------
        ndarray, shape (n_pairs,)
        """
        self._check_fitted()
        users, items = self._numbers("user", "users", users), self._numbers("item", "items", items)
        if len(users) != len(items) and 1 not in (len(users), len(items)):
            raise ValueError(f"users and items must be of equal length, got {len(users)} and {len(items)}")
        users, items = np.broadcast_arrays(users, items)
        return pair_scores(self._scores(), users, items)

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
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the `n` items with the highest prediction for each user, without those the user has.

        Parameters
        ----------
        users : id or array_like of ids, optional
            None: all. With `fold_in` new users' interactions, as `fit` takes them, shape (n_users, n_items).
        n : int, default 10
        fold_in : bool, default False
            Whether `users` are interactions, of users whose factors are solved first.
        exclude, allow : array_like of items, list of such arrays, sparse matrix or Interactions, optional
            Items to leave out, and the only ones to choose from: a 1-D array for all users, a list with an array for
            each user, or the stored cells of a matrix with a row for each user.
        min_score : float, optional
            Items predicted below it are left out.
        exclude_seen : bool, default True
            Leave out what the user has in the training cells, or in the interactions given.

        Returns
        -------
        ids : ndarray, shape (n_users, n), or (n,) for one id
            Column numbers (int32) or the ids that the model was fitted on. By falling score, ties by lower number; -1
            (among strings "") where fewer items remain.
        scores : ndarray, same shape
            Predictions; -inf beside -1.

        Notes
        -----
        Ids and scores do not depend on who else is asked for, nor on the number of threads. A user without factors has
        nothing but popularity: where the model has item biases they rank the items; else the items' numbers of training
        cells do and stand for the scores, and `min_score` does not count.

        Other threads may ask, or solve users and items again by `partial_fit_users` and `partial_fit_items`. Where one
        fits the model to other users, items or factors, this may raise RuntimeError: ask again.
        """
        self._check_fitted()
        one, new = False, None
        if check_flag("fold_in", fold_in):
            if users is None:
                raise ValueError("users must be the new users' interactions where fold_in=True, got None")
            new = self._new_users(users)
            rows = np.arange(new.n_rows)
        elif users is None:
            rows = np.arange(len(self.user_factors_))
        else:
            one = isinstance(users, (int, str)) or np.ndim(users) == 0
            rows = self._numbers("user", "users", users)
        # In this order: see `Incremental`.
        seen = self._seen if new is None else new
        scores, columns = self._ready()
        request = self._request(len(rows), len(scores.item_factors), seen, n, exclude, allow, min_score, exclude_seen)
        if new is not None:
            X, k = self._solve_users(new), self.item_factors_.shape[1]
            scores = scores._replace(user_factors=X[:, :k], user_biases=None if scores.item_biases is None else X[:, k])
        ids, found = self._answer(scores, columns, rows, request)
        return (ids[0], found[0]) if one else (ids, found)

    def _request(
        self,
        n_rows: int,
        n_items: int,
        seen: Cells | None,
        n: Any,
        exclude: Any,
        allow: Any,
        min_score: Any,
        exclude_seen: Any,
    ) -> Request:
        """Check what `recommend` is asked for."""
        n = check_integer("n", n, 1)
        if min_score is not None:
            min_score = check_number("min_score", min_score)
        choice = EVERYTHING
        if exclude is not None or allow is not None:
            number = partial(self._numbers, "item", size=n_items)
            choice = choice_of(n_rows, n_items, number, self._ids[1], exclude, allow)
        if not check_flag("exclude_seen", exclude_seen):
            seen = None
        elif seen is None and choice.excluded is None:
            raise ValueError(
                "this model was saved without its training cells, so it does not know what users have: save it with "
                "include_cells=True, pass exclude=R_rows, a sparse matrix with a row for each user asked for, or "
                "exclude_seen=False"
            )
        return Request(n, seen, choice, min_score)

    def _answer(
        self, scores: Scores, columns: Columns, rows: np.ndarray, request: Request
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return ids and scores for some rows of the scores' users."""
        n, seen, choice, min_score = request
        ids, found = best(scores, columns, rows, seen, choice, n, self._threads)
        popular = NOBODY
        if scores.item_biases is None and np.count_nonzero(found[:, 0]) < len(found):
            popular = np.flatnonzero(found[:, 0] == 0)
            popular = popular[~scores.user_factors[rows[popular]].any(axis=1)]
        if min_score is not None:
            below = found < min_score
            ids[below], found[below] = -1, -np.inf
        if len(popular):
            n_items = len(scores.item_factors)
            ids[popular], found[popular] = self._by_popularity(rows[popular], n_items, seen, choice.part(popular), n)
        return self._names("item", ids), found

    def _by_popularity(
        self, rows: np.ndarray, n_items: int, seen: Cells | None, choice: Choice, n: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the items with the most training cells, and how many, for users without factors."""
        known = self._item_counts
        if len(known) > n_items:  # another thread has added some since
            known = known[:n_items]
        counts = known.astype(self.item_factors_.dtype)[:, None]
        ones = np.ones((int(rows.max()) + 1, 1), counts.dtype)
        columns = self._keep_made("popularity", (known,), lambda: topk.pack(counts))
        return best(Scores(ones, counts, None, None, 0.0), columns, rows, seen, choice, n, self._threads)

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
            The rows that `recommend` has for these users. Items added meanwhile are not among them.
        """
        self._check_fitted()
        block_size = check_integer("block_size", block_size, 1)
        rows = np.arange(len(self.user_factors_)) if users is None else self._numbers("user", "users", users)
        seen = self._seen
        scores, columns = self._ready()
        request = self._request(len(rows), len(scores.item_factors), seen, n, exclude, allow, min_score, exclude_seen)

        def blocks() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
            for start in range(0, len(rows), block_size):
                block = slice(start, start + block_size)
                part = request._replace(choice=request.choice.part(block))
                yield self._names("user", rows[block]), *self._answer(scores, columns, rows[block], part)

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
        """
        return self._similar("user", users, n, include_self, exclude, allow)

    def _similar(
        self, side: str, given: Any, n: int, include_self: bool, exclude: Any, allow: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        self._check_fitted()
        n = check_integer("n", n, 1)
        factors: np.ndarray = getattr(self, f"{side}_factors_")
        number = partial(self._numbers, side, size=len(factors))
        numbers = number(f"{side}s", given)
        choice = choice_of(len(numbers), len(factors), number, self._ids[side == "item"], exclude, allow)
        queries = unit_rows(factors[numbers])
        itself = None
        if not check_flag("include_self", include_self):
            itself = Lists(
                np.arange(len(numbers) + 1), numbers.astype(np.int32), np.arange(len(numbers), dtype=np.intp)
            )
        excluded = tuple(lists for lists in (itself, choice.excluded) if lists is not None)
        columns = self._keep_made(f"unit {side}", (factors,), lambda: topk.pack(unit_rows(factors)))
        if choice.barred is not None:
            columns = columns.less(choice.barred)
        check_inside(queries, columns, np.arange(0), excluded, choice.allowed)
        ids, cosines = topk.top_n(queries, columns, n, self._threads, excluded=excluded, allowed=choice.allowed)
        ids = self._names(side, ids)
        return (ids[0], cosines[0]) if np.ndim(given) == 0 else (ids, cosines)

    def explain(self, user: Any, item: Any, R_new: MatrixLike | None = None) -> Explanation:
        """Return what each of a user's items adds to the prediction for an item.

        Parameters
        ----------
        user : id
            Not looked at where `R_new` is given.
        item : id
        R_new : as in `fold_in_users`, shape (1, n_items), optional
            The user's cells; None: the training cells.

        Returns
        -------
        Explanation
            NamedTuple (score, baseline, items, contributions). The score is that of the user folded in, which differs
            from the stored one by rounding only.

        Notes
        -----
        A user's factors are x = A^-1 sum_j b_j y_j over the user's cells, so the prediction x.y_i is the sum of
        b_j y_j' A^-1 y_i (Hu, Koren, Volinsky: Collaborative filtering for implicit feedback datasets. ICDM 2008,
        section 5). In float64.
        """
        self._check_fitted()
        (target,) = self._one("item", "item", item)
        if R_new is None:
            (row,) = self._one("user", "user", user)
            if self._seen is None:
                raise ValueError(
                    "this model was saved without its training cells, so it does not know what users have: save it "
                    "with include_cells=True, or pass the user's cells as R_new"
                )
            cells = self._seen.row(row)
        else:
            cells = self._new_users(R_new)
            if cells.n_rows != 1:
                shape = cells.n_rows, len(self.item_factors_)
                raise ValueError(f"R_new must be the cells of one user, shape (1, n_items), got shape {shape}")
        problem = self._fitted_objective.user_problem(cells, self._statistics)
        factors, biases, background = self.item_factors_, self._biases("item"), problem.columns[:, BACKGROUND]
        gram = None
        if background.any():
            sources = factors, self._statistics
            gram = self._keep_made("explain", sources, lambda: equations.gram(factors, background))
        y = factors[target].astype(np.float64)
        if biases is not None:
            y = np.append(y, 1.0)
        contributions = equations.contributions(equations.row_equations(problem, factors, biases, gram), y)
        if contributions is None:
            raise np.linalg.LinAlgError(
                f"the prediction for item {item!r} cannot be explained: the equations of the user, who has "
                f"{len(cells.indices)} interactions, are not positive definite; raise regularization and fit again"
            )
        order = np.argsort(-contributions, kind="stable")
        baseline = 0.0 if biases is None else float(self._statistics.mean + biases[target])
        ranked = contributions[order]
        return Explanation(
            baseline + float(ranked.sum()), baseline, self._names("item", cells.indices[order].astype(np.intp)), ranked
        )

    def _one(self, side: str, name: str, given: Any) -> np.ndarray:
        if np.ndim(given) != 0:
            raise ValueError(f"{name} must be one id, got an array of shape {np.shape(given)}")
        return self._numbers(side, name, given)

    def to_index_vectors(self) -> IndexVectors:
        """Return vectors for a nearest-neighbour index that ranks items as `recommend` does.

        Returns
        -------
        IndexVectors
            NamedTuple (items, users) of arrays of the model's dtype with d = factors + 1 columns, one more with biases.

        Notes
        -----
        An item becomes [y, bias, sqrt(M^2 - |y|^2 - bias^2)], M the largest length, a user [x, 1, 0]: their product is
        the prediction less mean and user bias, and as all items have the same length M, the order by cosine and by
        Euclidean distance is the same (Bachrach et al.: Speeding up the Xbox recommender system using a Euclidean
        transformation for inner-product spaces. RecSys 2014). What a user has is not left out.
        """
        self._check_fitted()
        X, Y = (factors.astype(np.float64) for factors in (self.user_factors_, self.item_factors_))
        biases = self._biases("item")
        if biases is not None:
            X, Y = np.column_stack([X, np.ones(len(X))]), np.column_stack([Y, biases])
        squares = np.einsum("nk,nk->n", Y, Y)
        rest = np.sqrt(np.maximum(squares.max() - squares, 0.0))
        dtype = self.item_factors_.dtype
        items, users = np.column_stack([Y, rest]), np.column_stack([X, np.zeros(len(X))])
        return IndexVectors(items.astype(dtype), users.astype(dtype))

    def _scores(self) -> Scores:
        return Scores(
            self.user_factors_,
            self.item_factors_,
            self._biases("user"),
            self._biases("item"),
            getattr(self, "global_mean_", 0.0),
        )
