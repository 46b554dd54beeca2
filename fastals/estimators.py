"""The three models: parameters, fit, fold-in and prediction. The mathematics is in `objectives` and `engine`."""

from __future__ import annotations

import numbers
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np

from . import storage
from .data.ids import Ids
from .data.interactions import Interactions, MatrixLike, as_interactions, canonical_row
from .engine import alternation as engine
from .engine import basis
from .engine.panel import aligned_zeros, as_panel
from .engine.problem import BACKGROUND, NOT_POSITIVE, OFFSET, Cells, Failure, Model, RowProblem, first_failure
from .engine.simd.target import padded
from .engine.sketch import sketch
from .engine.threads import available
from .incremental import Incremental
from .objectives import ExponentialWeights, ItemWeights, LinearWeights, Objective, Statistics, check_regularization
from .progress import Progress
from .serving import Serving
from .validation import (
    NotFittedError,
    check_dtype,
    check_flag,
    check_integer,
    check_number,
    check_option,
    check_random_state,
)

__all__ = ["ExplicitALS", "ImplicitALS", "WeightedALS", "load", "warmup"]

MOST_THREADS = 1024  # more is a slip, and no machine has them
SOLVERS = ("auto", "cholesky", "cg")

Self = TypeVar("Self", bound="_ALS")
Callback = Callable[[int, Any], Any]


class _Checked(NamedTuple):
    """Parameters after their check."""

    objective: Objective
    factors: int
    iterations: int
    solver: str
    dtype: np.dtype
    tol: float
    n_threads: int
    rng: np.random.Generator


class _ALS(Incremental, Serving):
    """What the three models share."""

    # Parameters that a subclass lists in its own signature; here for the type checker.
    factors: int
    iterations: int
    solver: str
    dtype: Any
    tol: float
    n_threads: int | None
    random_state: Any

    _missing: ClassVar[str] = "nan"  # what marks a cell of dense input as not observed

    user_factors_: np.ndarray
    item_factors_: np.ndarray
    loss_history_: list[float]
    n_iter_: int

    def _objective(self) -> Objective:
        raise NotImplementedError

    def _interactions(self, R: MatrixLike, dtype: np.dtype, **expected: Any) -> Interactions:
        return as_interactions(R, dtype, missing=self._missing, **expected)

    def interactions(self, R: MatrixLike, dtype: Any = None) -> Interactions:
        """Return `R` in the form that a fit works on: checked and converted once, for as many fits as you like.

        Parameters
        ----------
        R : as in `fit`
        dtype : {'float32', 'float64'}, optional
            The model's by default.

        Returns
        -------
        Interactions
            What `fit`, of this class and this dtype, takes as it is.
        """
        return self._interactions(R, check_dtype("dtype", self.dtype if dtype is None else dtype))

    def _new_users(self, R_new: MatrixLike) -> Cells:
        dtype, n_items = self.item_factors_.dtype, len(self.item_factors_)
        row = canonical_row(R_new, n_items, dtype)
        if row is not None:
            return row
        return self._interactions(R_new, dtype, n_items=n_items, item_ids=self._ids[1]).by_user

    def _solve_users(self, cells: Cells) -> np.ndarray:
        return self._fold_in(self._fitted_objective.user_problem(cells, self._statistics), "item", "user")

    def fit(
        self: Self, R: MatrixLike, callback: Callback | None = None, progress: bool = False, start: Any = None
    ) -> Self:
        """Factorise `R`.

        Parameters
        ----------
        R : sparse matrix or array, array_like of shape (n_users, n_items), list of (user, item, value), Interactions
            Users are rows, items columns. A canonical CSR matrix of the model's dtype is kept, not copied: do not
            change it in place while the model is used, which looks there for what users have.
        callback : callable (iteration, model), optional
            Called after each iteration, counted from 0; the model has its fitted attributes, whose arrays go on to
            change. A true return value ends the fit.
        progress : bool, default False
            Show a bar with loss and time an iteration (tqdm, where installed), or log a line an iteration at level
            INFO to the logger "fastals".
        start : fitted ImplicitALS, ExplicitALS or WeightedALS, optional
            Go on from its factors, which stay what they are, instead of from a start of one's own: to pause a fit, to
            go along a path of parameters, or with cells that were added (see `refit`). Its users and items keep their
            numbers, or their ids where both have some; `R` may have more. Of its factors there may be fewer than
            `factors`: the new ones begin where `R` leaves its old ones behind.

        Returns
        -------
        self
            `loss_history_` and `n_iter_` count from here on.

        Raises
        ------
        TypeError, ValueError
            A parameter or a cell is not as wanted; what was fitted before stays.
        numpy.linalg.LinAlgError
            A row's equations have no solution in the model's dtype; the message names row and remedy.
        """
        return self._fit(R, None, callback, progress, start)

    def _fit(
        self: Self,
        R: MatrixLike,
        weights: MatrixLike | None,
        callback: Callback | None,
        progress: bool,
        start: Any,
    ) -> Self:
        checked = self._check()
        check_flag("progress", progress)
        if callback is not None and not callable(callback):
            raise TypeError(f"callback must be callable (iteration, model), got {type(callback).__name__}")
        if start is not None:
            _check_start(start, checked.factors)
        cells = self._interactions(R, checked.dtype, weights=weights)
        if cells.nnz == 0:
            raise ValueError(f"R of shape {cells.shape} has no cells to learn from: at least one interaction is wanted")
        objective = checked.objective
        statistics = objective.learn(cells)
        n_users, n_items = cells.shape
        width = checked.factors + objective.biases
        model = Model(
            users=objective.user_problem(cells.by_user, statistics),
            items=objective.item_problem(cells.by_item, statistics, n_users),
            X=aligned_zeros((n_users, padded(width, checked.dtype)), checked.dtype),
            Y=aligned_zeros((n_items, padded(width, checked.dtype)), checked.dtype),
            width=width,
            bias=checked.factors if objective.biases else -1,
        )
        places = None if start is None else _places(start, cells)
        before = self.__dict__.copy()
        history: list[float] = []
        report = Progress(checked.iterations) if progress else None

        def keep() -> None:
            self._keep(objective, statistics, model.X, model.Y, checked.factors, cells.by_user, history)
            self._item_counts, self._ids = cells.by_item.counts, (cells.user_ids, cells.item_ids)

        def after(iteration: int, loss: float) -> bool:
            first_call = len(history) == iteration
            history[iteration:] = [loss]
            if report is not None and first_call:
                report(iteration, loss)
            keep()
            stop = first_call and callback is not None and bool(callback(iteration, self))
            return stop or (iteration > 0 and history[-2] - loss <= checked.tol * history[-2] and checked.tol > 0)

        try:
            alternation = engine.Alternation(model, checked.solver, checked.n_threads)
            if places is None:
                begin = sketch(alternation, checked.rng)
            else:
                begin = engine.Begin("solved" if _is_solved(start, objective, cells) else "absent", start.n_iter_)
                if checked.factors > start.item_factors_.shape[1]:
                    sketch(alternation, checked.rng)
                    begin = engine.Begin("absent")
                _go_on_from(start, places, model, checked.factors)
            failure = alternation.fit(begin, checked.iterations, after)
            if failure is not None:
                side = cells.by_user if failure.side == "user" else cells.by_item
                raise solve_error(failure, side, checked.dtype)
        except BaseException:
            self.__dict__ = before
            raise
        finally:
            if report is not None:
                report.close()
        keep()
        return self

    def _keep(
        self,
        objective: Objective,
        statistics: Statistics,
        X: np.ndarray,
        Y: np.ndarray,
        k: int,
        seen: Cells | None,
        history: list[float],
    ) -> None:
        """Set the fitted attributes: views of the panels."""
        self.user_factors_, self.item_factors_ = X[:, :k], Y[:, :k]
        if objective.biases:
            self.user_biases_, self.item_biases_ = X[:, k], Y[:, k]
            self.global_mean_ = statistics.mean
        else:
            for name in ("user_biases_", "item_biases_", "global_mean_"):
                self.__dict__.pop(name, None)  # an earlier fit's
        self.loss_history_, self.n_iter_ = history, len(history)
        self._fitted_objective = objective
        self._statistics = statistics
        self._seen = seen
        self._kept = {}

    def _check(self) -> _Checked:
        """Check all parameters; the first wrong one raises."""
        return _Checked(
            objective=self._objective(),
            factors=check_integer("factors", self.factors, 1),
            iterations=check_integer("iterations", self.iterations, 0),
            solver=check_option("solver", self.solver, SOLVERS),
            dtype=check_dtype("dtype", self.dtype),
            tol=check_number("tol", self.tol, 0.0),
            n_threads=self._threads,
            rng=check_random_state("random_state", self.random_state),
        )

    def _check_fitted(self) -> None:
        if "item_factors_" not in self.__dict__:
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet: call fit(R) first")

    @property
    def _threads(self) -> int:
        if self.n_threads is None:
            return available()
        n_threads = check_integer("n_threads", self.n_threads, 1)
        if n_threads > MOST_THREADS:
            raise ValueError(f"n_threads must be at most {MOST_THREADS}, got {n_threads}; None takes what is there")
        return n_threads

    def _fixed_side(self, side: str, factors: np.ndarray, background: np.ndarray) -> basis.Fixed:
        """Panel and background of a `side` ("user" or "item") with these factors, made once for them."""

        def fix() -> basis.Fixed:
            biases = self._fitted_objective.biases
            panel = as_panel(factors, np.ones(len(factors)) if biases else None)
            return basis.fix(panel, background, factors.shape[1] + biases, self._threads)

        return self._keep_made(f"fixed {side}", (factors,), fix)

    def fold_in_users(self, R_new: MatrixLike) -> np.ndarray:
        """Return the factors of users that were not in the training set, for the stored item factors.

        The same half-step as the last one of `fit`: a training user folded in with the same cells gets the same bits.

        Parameters
        ----------
        R_new : as in `fit`, shape (n_new, n_items)
            The new users' cells. A user without cells gets zeros.

        Returns
        -------
        ndarray, shape (n_new, factors)
            With biases, their biases as a last column: shape (n_new, factors + 1).
        """
        self._check_fitted()
        return self._solve_users(self._new_users(R_new))

    def fold_in_items(self, R_new: MatrixLike) -> np.ndarray:
        """Return the factors of items that were not in the training set, for the stored user factors.

        Parameters
        ----------
        R_new : as in `fit`, shape (n_users, n_new)
            The new items' cells: users are rows here too.

        Returns
        -------
        ndarray, shape (n_new, factors), or (n_new, factors + 1) with biases.
        """
        self._check_fitted()
        n_users = len(self.user_factors_)
        cells = self._interactions(R_new, self.item_factors_.dtype, n_users=n_users, user_ids=self._ids[0])
        problem = self._fitted_objective.item_problem(cells.by_item, self._statistics, n_users, new_items=True)
        return self._fold_in(problem, "user", "item")

    def _fold_in(self, problem: RowProblem, fixed_side: str, side: str) -> np.ndarray:
        factors: np.ndarray = getattr(self, f"{fixed_side}_factors_")
        biases, n = self._biases(fixed_side), len(factors)
        # The kernels trust all this to be of one size.
        last = problem.cells.indices.max(initial=-1)
        if len(problem.columns) not in (1, n) or last >= n or (biases is not None and len(biases) != n):
            raise RuntimeError("another thread gave the model other users or items while this was solved: ask again")
        if biases is not None:
            problem.columns[:, OFFSET] = biases
        width = factors.shape[1] + (biases is not None)
        fixed = self._fixed_side(fixed_side, factors, problem.columns[:, BACKGROUND])
        solver = check_option("solver", self.solver, SOLVERS)
        X, status = engine.fold_in(problem, fixed, width, solver, self._threads)
        failure = first_failure(side, status)
        if failure is not None:
            raise solve_error(failure, problem.cells, X.dtype)
        return X[:, :width]

    def loss(self, R: MatrixLike) -> float:
        """Return the objective of the stored factors on `R`, in float64.

        Parameters
        ----------
        R : as in `fit`, of the training shape
            Usually the training cells; its own counts scale the regularization. Item statistics (popularity, item
            weights, mean) stay those of the training set.
        """
        return self._loss(R, None)

    def _loss(self, R: MatrixLike, weights: MatrixLike | None) -> float:
        self._check_fitted()
        (n_users, k), n_items = self.user_factors_.shape, len(self.item_factors_)
        dtype = self.item_factors_.dtype
        users, items = self._ids
        expected = {"n_users": n_users, "n_items": n_items, "user_ids": users, "item_ids": items}
        cells = self._interactions(R, dtype, weights=weights, **expected)
        objective = self._fitted_objective
        model = Model(
            objective.user_problem(cells.by_user, self._statistics),
            objective.item_problem(cells.by_item, self._statistics, n_users),
            as_panel(self.user_factors_, self._biases("user")),
            as_panel(self.item_factors_, self._biases("item")),
            k + objective.biases,
            k if objective.biases else -1,
        )
        return engine.loss(model, self._threads)

    def save(self, path: str | os.PathLike[str], include_cells: bool = True) -> None:
        """Write the model to one `.npz` file, which `fastals.load` reads.

        Parameters
        ----------
        path : str or path
            `.npz` is appended where it is missing.
        include_cells : bool, default True
            Keep the training cells, so that `recommend` can leave them out, `explain` name them and `update` solve
            rows again: 4 bytes a cell, and 4 or 8 more where their values differ.

        Notes
        -----
        Arrays and JSON, no pickle. What JSON cannot hold is replaced: a `random_state` that is not an int by None, an
        `item_weights` that is a function of the user's own by the array of weights that the fit had, a subclass by the
        model it derives from.

        Parameters set since the fit are kept as such: the file has the objective that was fitted beside them.
        """
        self._check_fitted()
        known = next(model for model in MODELS.values() if isinstance(self, model))
        params = {name: getattr(self, name) for name in known._param_names()}
        arrays = {
            name: np.ascontiguousarray(getattr(self, name))
            for name in ("user_factors_", "item_factors_", "user_biases_", "item_biases_")
            if hasattr(self, name)
        }
        arrays["item_weight"], arrays["item_background"] = self._statistics.weight, self._statistics.background
        if include_cells and self._seen is not None:
            arrays |= {f"seen_{name}": array for name, array in self._seen._asdict().items()}
        arrays["item_counts"] = self._item_counts
        arrays |= {
            f"{side}_ids": ids.values for side, ids in zip(("user", "item"), self._ids, strict=True) if ids is not None
        }
        header = {
            "model": known.__name__,
            "params": _all_to_json(params, self._statistics),
            "objective": _all_to_json(vars(self._fitted_objective), self._statistics),
            "loss_history": self.loss_history_,
            "mean": self._statistics.mean,
            "popularity_scale": self._statistics.popularity_scale,
        }
        storage.write(path, header, arrays)


class ImplicitALS(_ALS):
    """Implicit feedback: what users did, not what they said (Hu, Koren & Volinsky 2008).

    Parameters
    ----------
    factors : int, default 64
        Length of a user's and an item's vector.
    regularization : float or (float, float), default 0.01
        Of users and items, or (user, item).
    alpha : float, default 1.0
        Confidence of a cell is 1 + alpha |r|.
    iterations : int, default 15
        Half-steps of items and of users, each side's over-relaxed from the second on, under which the loss still never
        rises; the last one, of the users, is exact.
    unobserved_weight : float, default 1.0
        Weight of the cells not in R, with target 0.
    popularity_exponent : float, default 0.0
        e: an unobserved cell of item i weighs `unobserved_weight * p_i`, `p_i` proportional to (cells of i)^e, mean 1.
    regularization_exponent : float, default 0.0
        nu: the ridge of a row with n cells is `regularization * (n + unobserved_weight * N)^nu`, N rows on the other
        side. 0: the plain ridge; 1: as ALS-WR and iALS have it.
    solver : {'auto', 'cholesky', 'cg'}, default 'auto'
        How rows are solved. 'cholesky': exactly, throughout. 'cg': by conjugate gradients, 3 steps from the previous
        iterate. 'auto': each row in the cheaper way. In the last half-step, and so in what is stored and folded in,
        'cg' and 'auto' go on until what a row's loss can still fall by is at most 1e-10 (float64: 1e-28) of what it
        fell by so far, beside rounding; a row that does not get there within 32 steps is finished by Cholesky.
    dtype : {'float32', 'float64'}, default 'float32'
        Of the factors and of the arithmetic.
    tol : float, default 0.0
        Stop when an iteration lowers the loss by less than this share of it; 0: never.
    n_threads : int, optional
        Threads in all; None: as many as the process may use. The result does not depend on it.
    random_state : int, numpy.random.Generator or None
        Of the start. The same int gives the same bits.

    Attributes
    ----------
    user_factors_, item_factors_ : ndarray, shapes (n_users, factors), (n_items, factors)
        The users are optimal for the items. Rows without cells are 0.
    loss_history_ : list of float
        The objective after the items of each iteration, and after the users of the last. The first of several has users
        that were only guessed, and long: with 1024 factors their ridge may make it ten times the second. It comes with
        the solutions: in float32 it is good to a few 1e-6 of what the objective is where all factors are 0. `loss`
        computes it.
    n_iter_ : int
        Iterations done.

    Notes
    -----
    Minimises, with t = 1 for r > 0 and t = 0 for r < 0 (disliked), r = 0 being the same as not stored,

        sum_{stored} (1 + alpha |r|) (t - x_u.y_i)^2 + sum_{others} unobserved_weight p_i (x_u.y_i)^2
            + sum_u ridge_u |x_u|^2 + sum_i ridge_i |y_i|^2

    References
    ----------
    Hu, Koren, Volinsky: Collaborative filtering for implicit feedback datasets. ICDM 2008.
    """

    _missing = "zero"

    def __init__(
        self,
        factors: int = 64,
        regularization: float | tuple[float, float] = 0.01,
        alpha: float = 1.0,
        iterations: int = 15,
        unobserved_weight: float = 1.0,
        popularity_exponent: float = 0.0,
        regularization_exponent: float = 0.0,
        solver: str = "auto",
        dtype: Any = "float32",
        tol: float = 0.0,
        n_threads: int | None = None,
        random_state: Any = None,
    ):
        self.factors = factors
        self.regularization = regularization
        self.alpha = alpha
        self.iterations = iterations
        self.unobserved_weight = unobserved_weight
        self.popularity_exponent = popularity_exponent
        self.regularization_exponent = regularization_exponent
        self.solver = solver
        self.dtype = dtype
        self.tol = tol
        self.n_threads = n_threads
        self.random_state = random_state

    def _objective(self) -> Objective:
        return Objective(
            constant=1.0,
            slope=check_number("alpha", self.alpha, 0.0),
            sign_target=1.0,
            value_target=0.0,
            regularization=check_regularization(self.regularization),
            unobserved_weight=check_number("unobserved_weight", self.unobserved_weight, 0.0),
            popularity_exponent=check_number("popularity_exponent", self.popularity_exponent, 0.0),
            regularization_exponent=check_number("regularization_exponent", self.regularization_exponent, 0.0),
        )

    def _interactions(self, R: MatrixLike, dtype: np.dtype, **expected: Any) -> Interactions:
        return super()._interactions(R, dtype, **expected).without_zeros()


class ExplicitALS(_ALS):
    """Ratings: only stored cells count, and the mean, the user and the item have a bias (ALS-WR with biases).

    Parameters
    ----------
    factors : int, default 64
        Length of a user's and an item's vector, biases not counted.
    regularization : float or (float, float), default 0.1
        Of users and items, or (user, item); of biases too.
    biases : bool, default True
        Predict `mean + user bias + item bias + x.y`, the biases solved jointly with the factors; False: `x.y`.
    regularization_exponent : float, default 1.0
        nu: the ridge of a row with n ratings is `regularization * n^nu`.
    iterations, solver, dtype, tol, n_threads, random_state
        As in `ImplicitALS`.

    Attributes
    ----------
    user_factors_, item_factors_, loss_history_, n_iter_
        As in `ImplicitALS`.
    user_biases_, item_biases_ : ndarray, shapes (n_users,), (n_items,)
        With `biases` only.
    global_mean_ : float
        Mean of the ratings; with `biases` only.

    Notes
    -----
    Every stored cell is a rating, a stored 0 too; in dense input NaN marks what is not rated. Minimises

        sum_{rated} (r - mean - b_u - b_i - x_u.y_i)^2
            + sum_u ridge_u (|x_u|^2 + b_u^2) + sum_i ridge_i (|y_i|^2 + b_i^2)

    References
    ----------
    Zhou, Wilkinson, Schreiber, Pan: Large-scale parallel collaborative filtering for the Netflix Prize. AAIM 2008.
    """

    def __init__(
        self,
        factors: int = 64,
        regularization: float | tuple[float, float] = 0.1,
        biases: bool = True,
        regularization_exponent: float = 1.0,
        iterations: int = 15,
        solver: str = "auto",
        dtype: Any = "float32",
        tol: float = 0.0,
        n_threads: int | None = None,
        random_state: Any = None,
    ):
        self.factors = factors
        self.regularization = regularization
        self.biases = biases
        self.regularization_exponent = regularization_exponent
        self.iterations = iterations
        self.solver = solver
        self.dtype = dtype
        self.tol = tol
        self.n_threads = n_threads
        self.random_state = random_state

    def _objective(self) -> Objective:
        return Objective(
            constant=1.0,
            slope=0.0,
            sign_target=0.0,
            value_target=1.0,
            regularization=check_regularization(self.regularization),
            regularization_exponent=check_number("regularization_exponent", self.regularization_exponent, 0.0),
            biases=check_flag("biases", self.biases),
        )


class WeightedALS(_ALS):
    """Weighted ALS: every stored cell is an observation with a weight of its own, every other cell a weaker 0.

    Parameters
    ----------
    factors : int, default 64
    regularization : float or (float, float), default 0.1
        Of users and items, or (user, item).
    item_weights : LinearWeights, ExponentialWeights, callable counts -> weights, array of shape (n_items,), optional
        Factor of the weight of each stored cell of an item; None: 1.
    unobserved_weight : float, default 0.0
        Weight of the cells not stored, with target 0. With 1 and no `item_weights` this is plain regularised ALS on
        the full matrix, zeros being data.
    popularity_exponent, regularization_exponent, iterations, solver, dtype, tol, n_threads, random_state
        As in `ImplicitALS`.

    Attributes
    ----------
    user_factors_, item_factors_, loss_history_, n_iter_
        As in `ImplicitALS`.

    Notes
    -----
    Every stored cell is an observation, a stored 0 too; in dense input NaN marks what is not observed. Minimises

        sum_{stored} W_ui (r - x_u.y_i)^2 + sum_{others} unobserved_weight p_i (x_u.y_i)^2
            + sum_u ridge_u |x_u|^2 + sum_i ridge_i |y_i|^2 ,      W_ui = item weight of i * weight of the cell
    """

    def __init__(
        self,
        factors: int = 64,
        regularization: float | tuple[float, float] = 0.1,
        item_weights: ItemWeights = None,
        unobserved_weight: float = 0.0,
        popularity_exponent: float = 0.0,
        regularization_exponent: float = 0.0,
        iterations: int = 15,
        solver: str = "auto",
        dtype: Any = "float32",
        tol: float = 0.0,
        n_threads: int | None = None,
        random_state: Any = None,
    ):
        self.factors = factors
        self.regularization = regularization
        self.item_weights = item_weights
        self.unobserved_weight = unobserved_weight
        self.popularity_exponent = popularity_exponent
        self.regularization_exponent = regularization_exponent
        self.iterations = iterations
        self.solver = solver
        self.dtype = dtype
        self.tol = tol
        self.n_threads = n_threads
        self.random_state = random_state

    def _objective(self) -> Objective:
        weights = self.item_weights
        if weights is not None and not callable(weights):
            weights = np.asarray(weights)
        return Objective(
            constant=1.0,
            slope=0.0,
            sign_target=0.0,
            value_target=1.0,
            regularization=check_regularization(self.regularization),
            unobserved_weight=check_number("unobserved_weight", self.unobserved_weight, 0.0),
            popularity_exponent=check_number("popularity_exponent", self.popularity_exponent, 0.0),
            regularization_exponent=check_number("regularization_exponent", self.regularization_exponent, 0.0),
            item_weights=weights,
        )

    def fit(  # type: ignore[override]
        self,
        R: MatrixLike,
        weights: MatrixLike | None = None,
        callback: Callback | None = None,
        progress: bool = False,
        start: Any = None,
    ) -> WeightedALS:
        """Factorise `R`; see `ImplicitALS.fit`.

        Parameters
        ----------
        R, callback, progress, start
            As in `ImplicitALS.fit`.
        weights : sparse matrix with the cells of R, or array_like, optional
            One weight, at least 0, for each stored cell: in the order of `R.data`, or of R's shape where R is dense.
            Like `R`, an array of the model's dtype is kept, not copied.
        """
        return self._fit(R, weights, callback, progress, start)

    def refit(  # type: ignore[override]
        self,
        R: MatrixLike,
        weights: MatrixLike | None = None,
        callback: Callback | None = None,
        progress: bool = False,
    ) -> WeightedALS:
        """Factorise `R` again, from the stored item factors on; see `ImplicitALS.refit`.

        Parameters
        ----------
        R, weights, callback, progress
            As in `fit`.
        """
        self._check_fitted()
        return self._fit(R, weights, callback, progress, start=self)

    def loss(self, R: MatrixLike, weights: MatrixLike | None = None) -> float:
        """Return the objective of the stored factors on `R`, in float64; see `ImplicitALS.loss`.

        Parameters
        ----------
        R, weights
            As in `fit`, of the training shape.
        """
        return self._loss(R, weights)


MODELS = {model.__name__: model for model in (ImplicitALS, ExplicitALS, WeightedALS)}
WEIGHTS = {weights.__name__: weights for weights in (LinearWeights, ExponentialWeights)}


def _check_start(start: Any, factors: int) -> None:
    if not isinstance(start, _ALS):
        raise TypeError(f"start must be a fitted {', a fitted '.join(MODELS)}, got {type(start).__name__}")
    start._check_fitted()
    k = start.item_factors_.shape[1]
    if k > factors:
        raise ValueError(f"factors is {factors} and the model to start from has {k}: at least as many are wanted")


def _places(start: _ALS, cells: Interactions) -> list[np.ndarray]:
    """Return where the users, and the items, of a start are in the matrix to be fitted."""
    places = []
    for side, size, old, new, stored in (
        ("user", cells.shape[0], start._ids[0], cells.user_ids, len(start.user_factors_)),
        ("item", cells.shape[1], start._ids[1], cells.item_ids, len(start.item_factors_)),
    ):
        if old is not None and new is not None:
            gone = np.flatnonzero(~np.isin(old.values, new.values))
            if len(gone):
                raise ValueError(
                    f"R lacks {side} {old.values[gone[0]].item()!r}, which the model to start from has: it keeps its "
                    "row, an empty one too; use fit without start for another set"
                )
            places.append(new.positions(f"{side}_ids", old.values))
        elif size < stored:
            raise ValueError(
                f"R has {size} {side}s and the model to start from {stored}: they keep their numbers and their rows, "
                "empty ones too; use fit without start for another set"
            )
        else:
            places.append(np.arange(stored))
    return places


def _is_solved(start: _ALS, objective: Objective, cells: Interactions) -> bool:
    """Whether a start has been fitted to the same cells by the same objective, so that its users are exact."""
    before = start._fitted_objective
    alike = before.item_weights is objective.item_weights
    return alike and start._seen is cells.by_user and replace(before, item_weights=objective.item_weights) == objective


def _go_on_from(start: _ALS, places: list[np.ndarray], model: Model, factors: int) -> None:
    """Put the factors of a start into the panels; what is new stays 0.

    More factors than the start has come from the sketch that the panels then hold: what of it lies outside the span of
    the start's, along its principal axes.
    """
    k = start.item_factors_.shape[1]
    more = basis.outside(model.Y[:, :factors], start.item_factors_, places[1], factors - k)
    for side, panel, rows in (("user", model.X, places[0]), ("item", model.Y, places[1])):
        panel[:] = 0
        panel[rows, :k] = getattr(start, f"{side}_factors_")
        biases = start._biases(side)
        if model.bias >= 0 and biases is not None:
            panel[rows, model.bias] = biases
    model.Y[:, k : k + more.shape[1]] = more


def load(path: str | os.PathLike[str]) -> ImplicitALS | ExplicitALS | WeightedALS:
    """Read a model that `save` wrote.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    ImplicitALS, ExplicitALS or WeightedALS
        Fitted; predictions and folded-in factors have the bits they had when it was saved. A model of a subclass
        becomes the one it derives from.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; not a fastals model, damaged, or of a newer format.
    """
    header, arrays = storage.read(path)
    try:
        model = MODELS[header["model"]](**_all_from_json(header["params"]))
        # The first files had the parameters only.
        objective = Objective(**_all_from_json(header["objective"])) if "objective" in header else model._objective()
        _check_saved(path, arrays, check_flag("biases", objective.biases))
        statistics = Statistics(
            header["mean"], arrays["item_weight"], arrays["item_background"], header["popularity_scale"]
        )
        seen = None
        if "seen_indptr" in arrays:
            seen = Cells(*(arrays[f"seen_{name}"] for name in Cells._fields))
        X, Y = (as_panel(arrays[f"{side}_factors_"], arrays.get(f"{side}_biases_")) for side in ("user", "item"))
        model._keep(objective, statistics, X, Y, arrays["item_factors_"].shape[1], seen, header["loss_history"])
        model._item_counts = arrays["item_counts"]
        users, items = (Ids(name, arrays[name]) if name in arrays else None for name in ("user_ids", "item_ids"))
        model._ids = users, items
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} lacks a part of a fastals model ({error!r}); save the model again") from error
    return model


def warmup(dtype: Any = "float32") -> None:
    """Compile, or load from the disk cache, what fits, fold-in and recommendations of `dtype` need.

    Call it before serving, or once while an image is built: the first fit of a process otherwise waits for most of it,
    some 12 of 20 seconds on a machine that has never compiled this version and CPU, and a third of a second afterwards.
    What rows of more than 262,144 cells need besides is left to the first of them.

    Parameters
    ----------
    dtype : {'float32', 'float64'}, default 'float32'

    Raises
    ------
    ValueError
        Another dtype.
    """
    cells = Interactions(np.eye(3), check_dtype("dtype", dtype))
    model = ImplicitALS(factors=2, iterations=1, dtype=dtype, random_state=0).fit(cells)
    model.loss(cells)
    model.recommend(0, n=1)
    # Of a row of so many cells and factors the engine thinks no cache holds it.
    model.set_params(factors=256).fit(Interactions(np.ones((2, 2000)), cells.dtype))


def _check_saved(path: str | os.PathLike[str], arrays: dict[str, np.ndarray], biases: bool) -> None:
    """Refuse arrays that do not fit together: kernels trust shapes and ids."""
    factors = arrays["item_factors_"]
    dtype = factors.dtype if factors.dtype == np.float32 else np.dtype(np.float64)
    n_items, k = factors.shape if factors.ndim == 2 else (0, 0)
    n_users = len(arrays["user_factors_"])
    wanted: dict[str, tuple[tuple[int, ...], Any]] = {
        "item_factors_": ((n_items, k), dtype),
        "user_factors_": ((n_users, k), dtype),
        "item_weight": ((n_items,), np.float64),
        "item_background": ((n_items,), np.float64),
        "item_counts": ((n_items,), np.int64),
    }
    for name, n in (("user_ids", n_users), ("item_ids", n_items)):
        if name in arrays:
            wanted[name] = (n,), arrays[name].dtype
    if biases:
        wanted |= {"user_biases_": ((n_users,), dtype), "item_biases_": ((n_items,), dtype)}
    if "seen_indptr" in arrays:
        indptr, indices = arrays["seen_indptr"], arrays["seen_indices"]
        wanted |= {"seen_indptr": ((n_users + 1,), np.int64), "seen_indices": ((indices.size,), np.int32)}
    _check_arrays(path, arrays, wanted)
    if "seen_indptr" not in arrays:
        return
    if indptr[0] != 0 or indptr[-1] != len(indices) or np.any(np.diff(indptr) < 0):
        raise ValueError(f"{path} is damaged: seen_indptr does not fit seen_indices; save the model again")
    if len(indices) and not 0 <= indices.min() <= indices.max() < n_items:
        raise ValueError(
            f"{path} is damaged: seen_indices has items beyond the model's {n_items}; save the model again"
        )
    names = "seen_values", "seen_weights"
    _check_arrays(path, arrays, {n: ((1 if arrays[n].size == 1 else len(indices),), dtype) for n in names})


def _check_arrays(
    path: str | os.PathLike[str], arrays: dict[str, np.ndarray], wanted: dict[str, tuple[tuple[int, ...], Any]]
) -> None:
    for name, (shape, kind) in wanted.items():
        if arrays[name].shape != shape or arrays[name].dtype != kind:
            raise ValueError(
                f"{path} is damaged: {name} is {arrays[name].dtype} of shape {arrays[name].shape}, "
                f"wanted is {np.dtype(kind)} of shape {shape}; save the model again"
            )


def solve_error(failure: Failure, cells: Cells, dtype: np.dtype) -> np.linalg.LinAlgError:
    """Return the error that says which row could not be solved, why, and what may help.

    Parameters
    ----------
    failure : Failure
    cells : Cells
        Of the side that the row is on.
    dtype : numpy.dtype
        In which it was tried.
    """
    begin, end = cells.indptr[failure.row], cells.indptr[failure.row + 1]
    cause = (
        "its equations are not positive definite" if failure.status == NOT_POSITIVE else "its solution is not finite"
    )
    precision = "" if dtype == np.float64 else ", or use dtype='float64'"
    return np.linalg.LinAlgError(
        f"{failure.side} {failure.row} with {end - begin} cells cannot be solved in {dtype}: {cause}; "
        f"raise regularization, or rescale the values{precision}"
    )


def _all_to_json(values: dict[str, Any], statistics: Statistics) -> dict[str, Any]:
    return {name: _to_json(value, statistics) for name, value in values.items()}


def _to_json(value: Any, statistics: Statistics) -> Any:
    """Return a parameter as JSON has it; see `_ALS.save` for what has to be replaced."""
    if type(value) in WEIGHTS.values():
        return {"weights": type(value).__name__, **_all_to_json(vars(value), statistics)}
    if isinstance(value, (type, np.dtype)):
        return np.dtype(value).name
    if callable(value):
        value = statistics.weight
    if isinstance(value, np.ndarray):
        return {"array": _to_json(value.tolist(), statistics)}
    if isinstance(value, (list, tuple)):
        return [_to_json(entry, statistics) for entry in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, (np.random.Generator, np.random.RandomState, np.random.SeedSequence)):
        return None
    return value


def _all_from_json(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _from_json(value) for name, value in values.items()}


def _from_json(value: Any) -> Any:
    """Return what `_to_json` was given; a tuple has become a list in the file."""
    if isinstance(value, dict):
        return np.array(value["array"]) if "array" in value else WEIGHTS[value.pop("weights")](**_all_from_json(value))
    return tuple(value) if isinstance(value, list) else value
