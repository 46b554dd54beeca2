"""`implicit`'s AlternatingLeastSquares (0.7) on this library's engine: the same names, shapes, start and objective.

With `use_cg=False` the factors are those of `implicit` within rounding, after any number of iterations. With
`use_cg=True` rows start from the previous iterate as there, and take at most `cg_steps` steps; but these are steps of
preconditioned conjugate gradients, which get nearer to the solution, and a row for which Cholesky is cheaper is solved
by it. `use_native` changes nothing: all of it is compiled.

What to know of the model, as `implicit` has it, where `fastals.ImplicitALS` differs:

- A stored value r is a confidence of `alpha |r|`, not of `1 + alpha |r|`. A cell of confidence below 1 weighs less than
  one not stored, and a stored 0 drops out of the loss altogether.
- Users are solved first and items last, so the stored user factors are not the solution for the stored item factors.
  `recalculate_user` gives that.
- `fit` goes on from the factors that are there; set both to None for a new start.
- `recommend` returns `N` items also where fewer are left: those filtered out come last, with the score `-finfo.max`.
- Equal scores are ordered by falling id.
- Lengths for `similar_items` and `similar_users` are kept: after changing factors in place, assign the array anew.

Differences, and why:

- Nothing is read or written outside an array. Columns beyond the factors, ids out of range or below 0, factors of
  another shape, rows that do not match the ids, no ids in `items`, an `N` of 0, numbers that are not finite: each is a
  `ValueError` or `TypeError` that says where, before any work. There it is a crash, foreign memory, the last row of
  the factors, or NaN at the end of the fit.
- Where `N` is more than there are items, the places left over have the id -1 and the score `-finfo.max`. There they
  repeat id 0 with score 0. An id that stands twice in `items` is ranked once.
- Of equal scores at the end of the list those with higher ids are kept, so that a shorter list is the beginning of a
  longer one. There it depends on what came before them.
- Cells stored as 0 are filtered like any other; there not where `items` is given.
- The training loss is that of the objective; there the confidence of every disliked cell is added to it.
- A row that has no solution raises `numpy.linalg.LinAlgError`, a `ValueError`, and the model stays what it was.
- Any sparse or dense matrix will do wherever a `csr_matrix` is wanted, duplicate cells are summed, and with
  `dtype=float64` the data keep float64.
- Factors set by hand may be of any real dtype; they are used in that of the model.
- `random_state` may be a `RandomState`. `filter_items` may be an array or a set.
- `explain` takes the user's one row as well as the whole matrix.
- `recommend_all` works with `users_items_offset`.
- `save` leaves out a `random_state` that is not an int, which would make the file unreadable; `save` and `load` take
  paths of `pathlib` and open files; `load` sets no attribute but those that `save` writes.
- BLAS and its threads play no part in fits, and batches from 32 users on are spread over threads, not from 101.
- There is no GPU: `use_gpu` is for keeping calls as they are, and must be False; `to_gpu` and `solver`, which hand out
  the inner functions, are not there.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from scipy import linalg, sparse

from ...data.interactions import Interactions, MatrixLike, as_named_interactions
from ...engine.equations import gram, row_equations
from ...engine.fallback import is_plain
from ...engine.loss import ridge
from ...engine.panel import aligned_zeros, as_panel
from ...engine.simd.target import padded
from ...engine.threads import available
from ...engine.topk import Lists
from ...fitted import pack
from ...objectives import Objective, Statistics
from ...progress import Progress
from ...ranking import top_n
from ...storage import read_arrays, write_arrays
from ...validation import (
    NotFittedError,
    Params,
    check_dtype,
    check_flag,
    check_ids,
    check_integer,
    check_number,
    check_random_state,
)
from ..textbook import HalfStep, writable_panel

__all__ = ["AlternatingLeastSquares"]

Callback = Callable[[int, float, float | None], Any]
Ranked = tuple[np.ndarray, np.ndarray]
Factors = tuple[np.ndarray, np.ndarray]
FileOrPath = str | os.PathLike[str] | BinaryIO

START = 0.01  # the start is uniform from 0 to this
TINY = 1e-10  # stands for a norm of 0


class AlternatingLeastSquares(Params):
    """Alternating least squares for implicit feedback with the interface of `implicit`.

    Parameters
    ----------
    factors : int, default 100
    regularization : float, default 0.01
        The plain ridge of every row on both sides.
    alpha : float, default 1.0
        Confidence of a cell with value r is `alpha |r|`.
    dtype : {float32, float64}, default float32
        Of the factors and of the arithmetic.
    use_native : bool, default True
        Changes nothing.
    use_cg : bool, default True
        Few steps of conjugate gradients from the previous iterate; False: exact rows by Cholesky.
    iterations : int, default 15
        Each solves the users, then the items.
    calculate_training_loss : bool, default False
        Give the loss to the callback.
    num_threads : int, default 0
        Threads in all; 0: as many as the process may use. The result does not depend on it.
    random_state : int, numpy.random.Generator, RandomState, SeedSequence or None
        Of the start.
    use_gpu : bool, default False
        Must be False.

    Attributes
    ----------
    user_factors, item_factors : ndarray of `dtype`, shapes (n_users, factors), (n_items, factors), or None before `fit`
    cg_steps : int
        3; steps of conjugate gradients a row.
    fit_callback : callable or None
        Stands for the `callback` of `fit` where that is None.

    Notes
    -----
    Minimises, with p = 1 for r > 0 and p = 0 for r < 0,

        sum_{stored} alpha |r| (p - x_u.y_i)^2 + sum_{others} (x_u.y_i)^2
            + regularization (sum_u |x_u|^2 + sum_i |y_i|^2)
    """

    def __init__(
        self,
        factors: int = 100,
        regularization: float = 0.01,
        alpha: float = 1.0,
        dtype: Any = np.float32,
        use_native: bool = True,
        use_cg: bool = True,
        iterations: int = 15,
        calculate_training_loss: bool = False,
        num_threads: int = 0,
        random_state: Any = None,
        *,
        use_gpu: bool = False,
    ):
        if check_flag("use_gpu", use_gpu):
            raise ValueError("use_gpu is True, and there is no GPU code here: leave it out")
        self.factors = factors
        self.regularization = regularization
        self.alpha = alpha
        self.dtype = check_dtype("dtype", dtype)
        self.use_native = use_native
        self.use_cg = use_cg
        self.iterations = iterations
        self.calculate_training_loss = calculate_training_loss
        self.num_threads = num_threads
        self.random_state = random_state
        self.cg_steps = 3
        self.fit_callback: Callback | None = None
        self.user_factors: np.ndarray | None = None
        self.item_factors: np.ndarray | None = None
        self._kept: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": {}}

    def fit(self, user_items: MatrixLike, show_progress: bool = True, callback: Callback | None = None) -> None:
        """Factorise a matrix of confidences, from the factors that are there or from a random start.

        Parameters
        ----------
        user_items : sparse matrix or array, shape (n_users, n_items)
        show_progress : bool, default True
            Show a bar (tqdm, where installed), or log a line an iteration at level INFO to the logger "fastals".
        callback : callable (iteration, seconds, loss), optional
            Called after each iteration, counted from 0; the loss is None without `calculate_training_loss`, else

                (the objective) / (sum of the confidences + cells that are not stored)

        Raises
        ------
        TypeError, ValueError
            A parameter, a cell or a shape is not as wanted; the factors stay what they were.
        numpy.linalg.LinAlgError
            A row's equations have no solution; the message names row and remedy.
        """
        objective, n_threads, factors = self._objective(), self._threads, check_integer("factors", self.factors, 1)
        iterations = check_integer("iterations", self.iterations, 0)
        steps = check_integer("cg_steps", self.cg_steps, 1) if check_flag("use_cg", self.use_cg) else 0
        wants_loss = check_flag("calculate_training_loss", self.calculate_training_loss)
        rng = check_random_state("random_state", self.random_state)
        callback = callback or self.fit_callback
        if callback is not None and not callable(callback):
            raise TypeError(f"callback must be callable (iteration, seconds, loss), got {type(callback).__name__}")
        cells = as_named_interactions("user_items", user_items, self.dtype)
        before = self.user_factors, self.item_factors
        starts = []
        for side, given, n in zip(("user", "item"), before, cells.shape, strict=True):
            if given is None:
                given = rng.random((n, factors), dtype=self.dtype.type) * self.dtype.type(START)
            elif np.shape(given) != (n, factors):
                raise ValueError(
                    f"{side}_factors have shape {np.shape(given)}, and user_items of shape {cells.shape} with "
                    f"factors={factors} wants {(n, factors)}: set user_factors and item_factors to None for a new start"
                )
            starts.append(_finite(side, self._as_factors(side, given)))
        X, Y = (writable_panel(start) for start in starts)
        statistics = objective.learn(cells)
        problem = objective.user_problem(cells.by_user, statistics)
        users = HalfStep(problem, "user", factors, n_threads, steps)
        items = HalfStep(
            objective.item_problem(cells.by_item, statistics, cells.shape[0]), "item", factors, n_threads, steps
        )
        size = self._total_confidence(cells) + cells.shape[0] * cells.shape[1] - cells.nnz
        bar = Progress(iterations) if check_flag("show_progress", show_progress) else None
        try:
            for iteration in range(iterations):
                began = time.perf_counter()
                users(X, Y)
                loss = (items(Y, X) + ridge(problem, X)) / size
                if callback is not None:
                    self.user_factors, self.item_factors = X[:, :factors].copy(), Y[:, :factors].copy()
                seconds = time.perf_counter() - began
                if bar is not None:
                    bar(iteration, loss)
                if callback is not None:
                    callback(iteration, seconds, loss if wants_loss else None)
        except BaseException:
            self.user_factors, self.item_factors = before
            raise
        finally:
            if bar is not None:
                bar.close()
        self.user_factors, self.item_factors = X[:, :factors].copy(), Y[:, :factors].copy()

    def _objective(self) -> Objective:
        return Objective(
            constant=0.0,
            slope=check_number("alpha", self.alpha, 0.0),
            sign_target=1.0,
            value_target=0.0,
            regularization=(check_number("regularization", self.regularization, 0.0),) * 2,
            unobserved_weight=1.0,
        )

    @property
    def _threads(self) -> int:
        return check_integer("num_threads", self.num_threads, 0) or available()

    def _total_confidence(self, cells: Interactions) -> float:
        return float(self.alpha * np.abs(cells.by_user.all_values).sum(dtype=np.float64))

    def _factors(self, side: str) -> np.ndarray:
        factors: np.ndarray | None = getattr(self, f"{side}_factors")
        if factors is None:
            raise NotFittedError("this AlternatingLeastSquares is not fitted yet: call fit(user_items) first")
        return self._as_factors(side, factors)

    def _as_factors(self, side: str, given: Any) -> np.ndarray:
        """Return factors, which anybody may have set, as an array of the model's dtype."""
        array = np.asarray(given)
        if array.ndim != 2 or array.dtype.kind not in "iuf":
            raise ValueError(f"{side}_factors must be numbers of shape (n, factors), got {array.dtype} {array.shape}")
        return np.ascontiguousarray(array, self.dtype)

    def _both_factors(self) -> Factors:
        X, Y = self._factors("user"), self._factors("item")
        if X.shape[1] != Y.shape[1]:
            raise ValueError(
                f"user_factors have shape {X.shape} and item_factors {Y.shape}: one number of columns is wanted"
            )
        return X, Y

    # Answers.

    def recommend(
        self,
        userid: Any,
        user_items: MatrixLike | None,
        N: int = 10,
        filter_already_liked_items: bool = True,
        filter_items: Any = None,
        recalculate_user: bool = False,
        items: Any = None,
    ) -> Ranked:
        """Return the `N` items with the highest score for each user.

        Parameters
        ----------
        userid : int or array_like of int
        user_items : sparse matrix or array, shape (number of users, n_items), or None
            One row for each user of `userid`; None where it is neither filtered by nor recalculated from.
        N : int, default 10
        filter_already_liked_items : bool, default True
            Leave out the cells of `user_items`.
        filter_items : array_like of int, optional
            Items to leave out for everybody.
        recalculate_user : bool, default False
            Use the factors that `recalculate_user` gives; `userid` then need not be known.
        items : array_like of int, optional
            Rank only these; `N` is at most their number. Not together with `filter_items`.

        Returns
        -------
        ids : ndarray of int32, or of int64 where `items` is given, shape (number of users, N), or (N,) for one number
            By falling score, then by falling id. Items left out come last, then -1 where there are no more items.
        scores : ndarray of the factors' dtype, same shape
            `-finfo.max` beside what is left out and beside -1. One user's may differ in the last bit from the same
            user's among many.
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
        filter_items: Any = None,
        users_items_offset: int = 0,
    ) -> np.ndarray:
        """Return the ids of `recommend` for every row of `user_items`; deprecated, as in `implicit`.

        Parameters
        ----------
        user_items, N, recalculate_user, filter_already_liked_items, filter_items
            As in `recommend`.
        users_items_offset : int, default 0
            The user that the first row belongs to.

        Returns
        -------
        ndarray of int32, shape (rows of user_items, N)
        """
        warnings.warn(
            "recommend_all is deprecated. Use recommend with an array of userids", DeprecationWarning, stacklevel=2
        )
        rows = as_named_interactions("user_items", user_items, self.dtype)
        userids = np.arange(rows.shape[0]) + check_integer("users_items_offset", users_items_offset, 0)
        return self.recommend(userids, rows, N, filter_already_liked_items, filter_items, recalculate_user)[0]

    def rank_items(
        self, userid: Any, user_items: MatrixLike | None, selected_items: Any, recalculate_user: bool = False
    ) -> Ranked:
        """Return selected items by falling score; deprecated, as in `implicit`.

        Parameters
        ----------
        userid, user_items, recalculate_user
            As in `recommend`.
        selected_items : array_like of int

        Returns
        -------
        ids, scores
            As from `recommend` with as many as are selected, at most 10.
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
        itemid: Any,
        N: int = 10,
        recalculate_item: bool = False,
        item_users: MatrixLike | None = None,
        filter_items: Any = None,
        items: Any = None,
    ) -> Ranked:
        """Return the `N` items whose factors have the highest cosine with each given item's, itself included.

        Parameters
        ----------
        itemid : int or array_like of int
        N : int, default 10
        recalculate_item : bool, default False
            Use the factors that `recalculate_item` gives for `item_users`; `itemid` then need not be known.
        item_users : sparse matrix or array, shape (number of items, n_users), optional
            One row for each item of `itemid`.
        filter_items : array_like of int, optional
            Items to leave out.
        items : array_like of int, optional
            Rank only these. Not together with `filter_items`.

        Returns
        -------
        ids, scores
            As from `recommend`, of `N` columns also with `items`; scores are cosines.
        """
        Y = self._factors("item")
        if check_flag("recalculate_item", recalculate_item):
            if item_users is None:
                raise ValueError("item_users is None: it is wanted for recalculate_item=True")
            given = np.atleast_2d(self.recalculate_item(itemid, item_users))
            queries = given / _norms(given)[:, None]
        else:
            queries = self._directions("item")[check_ids("itemid", itemid, len(Y))]
        candidates = _candidates("items", items, "filter_items", filter_items, len(Y))
        ids, scores = _rank(queries, self._directions("item"), N, candidates, None, self._threads)
        return (ids[0], scores[0]) if np.ndim(itemid) == 0 else (ids, scores)

    def similar_users(self, userid: Any, N: int = 10, filter_users: Any = None, users: Any = None) -> Ranked:
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
        """
        n_users = len(self._factors("user"))
        candidates = _candidates("users", users, "filter_users", filter_users, n_users)
        queries = self._directions("user")[check_ids("userid", userid, n_users)]
        ids, scores = _rank(queries, self._directions("user"), N, candidates, None, self._threads)
        return (ids[0], scores[0]) if np.ndim(userid) == 0 else (ids, scores)

    def _directions(self, side: str) -> np.ndarray:
        """Return factors divided by their lengths, made once for the array that stands there."""
        factors = self._factors(side)
        kept = self._kept.get(side)
        if kept is None or kept[0] is not factors:
            kept = self._kept[side] = factors, factors / _norms(factors)[:, None]
        return kept[1]

    def explain(
        self, userid: int, user_items: MatrixLike, itemid: int, user_weights: Any = None, N: int = 10
    ) -> tuple[float, list[tuple[int, float]], Any]:
        """Split the score of an item for a user into what each of the user's cells adds to it.

        Parameters
        ----------
        userid : int
        user_items : sparse matrix or array, shape (n_users, n_items) or (1, n_items)
            The user's row, or all.
        itemid : int
        user_weights : tuple, optional
            What an earlier call for the same user returned: saves its factorisation.
        N : int, default 10
            How many cells to return.

        Returns
        -------
        total_score : float
            The score with the user's factors as `recalculate_user` gives them.
        top_contributions : list of (itemid, score)
            The cells that add most, in falling order. Disliked items add nothing and are not listed.
        user_weights : tuple
            For further calls: the Cholesky factor of the user's equations, as `scipy.linalg.cho_factor` returns it.

        Notes
        -----
        x_u.y_i = sum_j c_uj y_i' W y_j over the liked items j, with W the inverse of the user's matrix (section 5 of
        Hu, Koren, Volinsky 2008).
        """
        Y = self._factors("item").astype(np.float64)
        for name, number in (("userid", userid), ("itemid", itemid)):
            if np.ndim(number):
                raise ValueError(f"{name} must be one id, got an array of shape {np.shape(number)}")
        item = int(check_ids("itemid", itemid, len(Y))[0])
        given = as_named_interactions("user_items", user_items, self.dtype)
        row = int(check_ids("userid", userid, given.shape[0])[0]) if given.shape[0] > 1 else 0
        self._check_columns("user_items", given, len(Y), "items")
        cells, ones = given.by_user.part(row, row + 1), np.ones(len(Y))
        problem = self._objective().user_problem(cells, Statistics(0.0, ones, ones, 1.0))
        system = row_equations(problem, Y[cells.indices], gram=gram(Y, ones) if user_weights is None else None)
        if user_weights is None:
            user_weights = linalg.cho_factor(system.A)
        elif not (isinstance(user_weights, tuple) and np.shape(user_weights[0]) == (Y.shape[1],) * 2):
            raise ValueError(
                f"user_weights must be what explain returned for this user, a matrix of shape {(Y.shape[1],) * 2} in "
                f"a tuple, got {type(user_weights).__name__}"
            )
        scores = system.b * (system.Y @ linalg.cho_solve(user_weights, Y[item]))
        counted = cells.all_values >= 0
        liked, scores = cells.indices[counted], scores[counted]
        best = np.lexsort((-liked, -scores))[: check_integer("N", N, 1)]
        return float(scores.sum()), list(zip(liked[best].tolist(), scores[best].tolist(), strict=True)), user_weights

    # New data.

    def recalculate_user(self, userid: Any, user_items: MatrixLike) -> np.ndarray:
        """Return the factors of users for the stored item factors, solved exactly; nothing is stored.

        Parameters
        ----------
        userid : int or array_like of int
            Only their number counts.
        user_items : sparse matrix or array, shape (number of users, n_items)
            All cells of each user.

        Returns
        -------
        ndarray, shape (number of users, factors), or (factors,) for one number
        """
        rows = self._rows("user_items", user_items, np.size(userid), "items")
        X = self._fold_in(rows, "user")
        return X[0] if np.ndim(userid) == 0 else X

    def recalculate_item(self, itemid: Any, item_users: MatrixLike) -> np.ndarray:
        """Return the factors of items for the stored user factors, solved exactly; nothing is stored.

        Parameters
        ----------
        itemid : int or array_like of int
            Only their number counts.
        item_users : sparse matrix or array, shape (number of items, n_users)
            All cells of each item, which are rows here.

        Returns
        -------
        ndarray, shape (number of items, factors), or (factors,) for one number
        """
        rows = self._rows("item_users", item_users, np.size(itemid), "users")
        Y = self._fold_in(rows, "item")
        return Y[0] if np.ndim(itemid) == 0 else Y

    def partial_fit_users(self, userids: Any, user_items: MatrixLike) -> None:
        """Store the factors that `recalculate_user` gives; there may be new users among them.

        Parameters
        ----------
        userids : array_like of int
            Users between the known ones and a new one get factors of 0.
        user_items : sparse matrix or array, shape (number of users, n_items)
            All cells of each user, old ones too.
        """
        self._partial_fit("user", userids, "user_items", user_items)

    def partial_fit_items(self, itemids: Any, item_users: MatrixLike) -> None:
        """Store the factors that `recalculate_item` gives; there may be new items among them.

        Parameters
        ----------
        itemids : array_like of int
            Items between the known ones and a new one get factors of 0.
        item_users : sparse matrix or array, shape (number of items, n_users)
            All cells of each item, which are rows here, old ones too.
        """
        self._partial_fit("item", itemids, "item_users", item_users)

    def _partial_fit(self, side: str, ids: Any, name: str, given: MatrixLike) -> None:
        old = self._factors(side)
        rows = check_ids(f"{side}ids", ids, 2**31 - 1)
        repeated = np.sort(rows)[1:][np.diff(np.sort(rows)) == 0]
        if len(repeated):
            raise ValueError(f"{side}ids has {repeated[0]} more than once: one row for each {side} is wanted")
        other = "items" if side == "user" else "users"
        solved = self._fold_in(self._rows(name, given, len(rows), other), side)
        # A copy: another thread may be reading what is stored now.
        new = np.zeros((max(len(old), int(rows.max(initial=-1)) + 1), old.shape[1]), old.dtype)
        new[: len(old)] = old
        new[rows] = solved
        setattr(self, f"{side}_factors", new)

    def _rows(self, name: str, given: MatrixLike, n_rows: int, columns: str) -> Interactions:
        """Return a matrix with one row for each id that was asked for."""
        factors = self._factors(columns[:-1])
        if n_rows == 0:
            return Interactions(sparse.csr_array((1, len(factors)), dtype=self.dtype), self.dtype)
        rows = as_named_interactions(name, given, self.dtype)
        if rows.shape[0] != n_rows:
            asked = "users" if columns == "items" else "items"
            raise ValueError(
                f"{name} must contain 1 row for each of the {n_rows} {asked} asked for, got shape {rows.shape}: "
                f"pass {name}[ids]"
            )
        self._check_columns(name, rows, len(factors), columns)
        return rows

    def _check_columns(self, name: str, rows: Interactions, size: int, columns: str) -> None:
        # Fewer are all right: a matrix made before partial_fit added to that side.
        if rows.shape[1] > size:
            raise ValueError(
                f"{name} has shape {rows.shape}: columns are {columns} and the model has {size} of them; "
                "is it transposed, or were they added after the fit?"
            )

    def _fold_in(self, rows: Interactions, side: str) -> np.ndarray:
        fixed = "item" if side == "user" else "user"
        other = _finite(fixed, self._factors(fixed))
        ones = np.ones(len(other))
        problem = self._objective().user_problem(rows.by_user, Statistics(0.0, ones, ones, 1.0))
        solved = aligned_zeros((rows.shape[0], padded(other.shape[1], other.dtype)), other.dtype)
        HalfStep(problem, side, other.shape[1], self._threads)(solved, as_panel(other))
        return np.ascontiguousarray(solved[:, : other.shape[1]])

    # What `implicit` computes beside the factors.

    @property
    def user_norms(self) -> np.ndarray:
        """Lengths of the user factors, 1e-10 for 0, shape (n_users,)."""
        return _norms(self._factors("user"))

    @property
    def item_norms(self) -> np.ndarray:
        """Lengths of the item factors, 1e-10 for 0, shape (n_items,)."""
        return _norms(self._factors("item"))

    @property
    def YtY(self) -> np.ndarray:  # noqa: N802 - its name there
        """Gram matrix of the item factors, shape (factors, factors)."""
        Y = self._factors("item")
        return Y.T @ Y

    @property
    def XtX(self) -> np.ndarray:  # noqa: N802 - its name there
        """Gram matrix of the user factors, shape (factors, factors)."""
        X = self._factors("user")
        return X.T @ X

    # Files.

    def save(self, fileobj_or_path: FileOrPath) -> None:
        """Write the model to a `.npz` file that this class and `implicit` read.

        Parameters
        ----------
        fileobj_or_path : str, path or binary file
            `.npz` is appended to a path that lacks it.
        """
        values = {name: getattr(self, name) for name in self._saved()}
        values["dtype"] = self.dtype.name
        if not isinstance(self.random_state, (int, np.integer)):
            del values["random_state"]
        kept = {name: value for name, value in values.items() if value is not None}
        write_arrays(fileobj_or_path, kept)

    @classmethod
    def load(cls, fileobj_or_path: FileOrPath) -> AlternatingLeastSquares:
        """Read a model that this class or `implicit` saved.

        Parameters
        ----------
        fileobj_or_path : str, path or binary file

        Returns
        -------
        AlternatingLeastSquares

        Raises
        ------
        FileNotFoundError, ValueError
            No such file; not such a model.
        """
        source = fileobj_or_path
        values = read_arrays(source, "saved AlternatingLeastSquares")
        model = cls()
        unknown = sorted(set(values) - set(model._saved()))
        if unknown:
            raise ValueError(f"{source} is not a saved AlternatingLeastSquares: it has {', '.join(unknown)}")
        for name, value in values.items():
            setattr(model, name, value.item() if value.ndim == 0 else value)
        model.dtype = check_dtype("dtype", model.dtype)
        for name in ("user_factors", "item_factors"):
            factors = getattr(model, name)
            if factors is not None and (np.shape(factors)[1:] != (model.factors,) or factors.dtype != model.dtype):
                raise ValueError(
                    f"{source} is damaged: {name} has shape {np.shape(factors)} with factors={model.factors}"
                )
        return model

    def _saved(self) -> list[str]:
        return [*self._param_names(), "cg_steps", "user_factors", "item_factors"]


class _Candidates(NamedTuple):
    """Which ids may be returned, and which of them only at the end."""

    all: np.ndarray  # intp, rising
    left: np.ndarray  # intp, rising: those that are not left out for everybody
    id_dtype: Any  # of the ids returned


def _candidates(allow_name: str, allowed: Any, deny_name: str, denied: Any, size: int) -> _Candidates:
    """Check an allow list and a deny list, of which there may be one."""
    deny = np.empty(0, np.intp)
    if denied is not None:
        deny = check_ids(deny_name, sorted(denied) if isinstance(denied, (set, frozenset)) else denied, size)
    if allowed is None:
        everything = np.arange(size)
        return _Candidates(everything, np.delete(everything, deny) if len(deny) else everything, np.int32)
    if len(deny):
        raise ValueError(f"{allow_name} and {deny_name} cannot both be given: take the one list off the other")
    chosen = np.unique(
        check_ids(allow_name, sorted(allowed) if isinstance(allowed, (set, frozenset)) else allowed, size)
    )
    if len(chosen) == 0:
        raise ValueError(f"{allow_name} is empty: at least one id to choose from is wanted")
    return _Candidates(chosen, chosen, np.int64)


def _rank(
    X: np.ndarray, Y: np.ndarray, n: int, candidates: _Candidates, liked: Interactions | None, n_threads: int
) -> Ranked:
    """Return the best candidates of each row by falling score, then by falling id, then those that are left out."""
    n = check_integer("N", n, 1)
    if len(X) == 1:
        ids, scores = _rank_one(X[0], Y, n, candidates, liked)
        return ids[None], scores[None]
    # The kernel orders ties by rising position, so it is given the candidates in falling order.
    falling = candidates.left[::-1]
    indptr, indices = _skipped(liked, falling, len(X), len(Y))
    Y = Y[::-1] if len(falling) == len(Y) else Y[falling]
    skipped = Lists(indptr.astype(np.int64), indices.astype(np.int32), np.arange(len(X)))
    columns = pack(Y, None, is_plain("auto"))
    found, scores = top_n(X, columns, n, n_threads, np.arange(len(X)), None, (skipped,), None)
    ids = np.append(falling, -1)[found].astype(candidates.id_dtype)
    scores[found < 0] = np.finfo(scores.dtype).min
    for row in np.flatnonzero((found < 0).any(axis=1)):
        free = np.flatnonzero(found[row] < 0)
        masked = np.setdiff1d(candidates.all, ids[row])[::-1][: len(free)]
        ids[row, free[: len(masked)]] = masked
    return ids, scores


def _rank_one(x: np.ndarray, Y: np.ndarray, n: int, candidates: _Candidates, liked: Interactions | None) -> Ranked:
    """Rank for a single row: to pack Y for the kernel would take longer than all of this."""
    lowest = np.finfo(Y.dtype).min
    scores = np.full(len(Y), lowest, Y.dtype)
    left = slice(None) if len(candidates.left) == len(Y) else candidates.left
    with np.errstate(over="ignore", invalid="ignore"):
        scores[left] = np.fmax(Y[left] @ x, lowest)  # a score that is not a number is none
    if liked is not None:
        scores[liked.by_user.indices] = lowest
    if len(candidates.all) < len(Y):
        scores = scores[candidates.all]
    # All that are as good as the n-th best are candidates for its place.
    worst = np.partition(scores, len(scores) - n)[len(scores) - n] if n < len(scores) else -np.inf
    best = np.flatnonzero(scores >= worst)
    best = best[np.lexsort((-best, -scores[best]))][:n]
    ids = np.full(n, -1, candidates.id_dtype)
    ids[: len(best)] = candidates.all[best]
    ids_scores = np.full(n, lowest, Y.dtype)
    ids_scores[: len(best)] = scores[best]
    return ids, ids_scores


def _skipped(liked: Interactions | None, falling: np.ndarray, n_rows: int, n_ids: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells of `liked` as compressed rows of places in `falling`, sorted."""
    if liked is None or n_rows == 0:
        return np.zeros(n_rows + 1, np.int64), np.empty(0, np.int32)
    places = np.full(n_ids, -1, np.int32)
    places[falling] = np.arange(len(falling))
    rows, at = np.repeat(np.arange(n_rows), liked.by_user.counts), places[liked.by_user.indices]
    rows, at = rows[at >= 0], at[at >= 0]
    return np.searchsorted(rows, np.arange(n_rows + 1)), at[np.lexsort((at, rows))]


def _finite(side: str, factors: np.ndarray) -> np.ndarray:
    if not np.isfinite(factors).all():
        row = int(np.flatnonzero(~np.isfinite(factors).all(axis=1))[0])
        raise ValueError(f"{side}_factors are not finite in row {row}: set both sides to None and fit anew")
    return factors


def _norms(factors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(factors, axis=1)
    norms[norms == 0] = TINY
    return norms
