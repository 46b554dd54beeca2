"""What the three models share: their parameters and fit."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeAlias, TypeVar, get_args

import numpy as np

from . import start as starts
from .checkpoint import Checkpoint, Request, identity_of, requested
from .data.interactions import Interactions, as_interactions
from .data.types import Columns, MatrixLike
from .engine import alternation as engine
from .engine import nonnegative, plain, plain_fit
from .engine.fallback import is_plain
from .engine.model import Model
from .engine.panel import aligned_copy
from .engine.problem import MOST_FACTORS, Failure, Unusual
from .engine.sketch import sketch
from .engine.sweep import solver_here
from .engine.threads import available, choose
from .errors import tell
from .features import Given, given_to_fit, priors_of, side_of
from .fitted import Counts, Fitted, Rows, SideName
from .objectives import Objective, Statistics
from .progress import Progress, logger
from .state import Stateful
from .validation import (
    check_dtype,
    check_flag,
    check_integer,
    check_no_target,
    check_number,
    check_option,
    check_random_state,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Base"]

MOST_THREADS = 1024  # more is a slip: no machine has them
Solver: TypeAlias = Literal["auto", "cholesky", "cg", "plain"]
SOLVERS = get_args(Solver)

Self = TypeVar("Self", bound="Base")
Callback = Callable[[int, Any], Any]


class _Checked(NamedTuple):
    """Parameters after their check."""

    factors: int
    iterations: int
    solver: str
    dtype: np.dtype
    tol: float
    n_threads: int
    rng: np.random.Generator


class Call(NamedTuple):
    """What `fit` is called with; its parameters say what each field is."""

    R: MatrixLike
    weights: MatrixLike | None
    features: tuple[Any, Any]  # of the users and of the items
    columns: Columns
    callback: Callback | None
    progress: bool
    start: Base | None
    checkpoint: tuple[Any, Any, Any]  # with `checkpoint_every` and `checkpoint_errors`


class Base(Stateful):
    """Parameters and fit of a model."""

    # Parameters that a subclass lists in its own signature; here for the type checker.
    factors: int
    iterations: int
    solver: str
    dtype: Any
    tol: float
    n_threads: int | None
    random_state: Any

    _missing: ClassVar[str] = "nan"  # what marks an entry of dense input as not observed

    # Parameters and data.

    def _objective(self, R: Interactions | None = None) -> Objective:
        """Return the objective for these data; without data numbers that follow from them are 0."""
        raise NotImplementedError

    def _half_step(self, objective: Objective, width: int) -> plain_fit.HalfStep | None:
        """Return what solves rows without an eigenbasis, where that is what serves."""
        threads, plainly = self._threads, self._plain
        if objective.nonnegative:
            bias = width - 1 if objective.biases else -1
            return lambda problem, Y, X: nonnegative.half_step(problem, Y, width, bias, X, threads, plain=plainly)
        return (lambda problem, Y, X: plain.half_step(problem, Y, width, X, threads)) if plainly else None

    def _check(self) -> _Checked:
        """Check all parameters; the first wrong one raises."""
        self._objective()
        return _Checked(
            factors=check_integer("factors", self.factors, 1, MOST_FACTORS),
            iterations=check_integer("iterations", self.iterations, 0),
            solver=check_option("solver", self.solver, SOLVERS),
            dtype=check_dtype("dtype", self.dtype),
            tol=check_number("tol", self.tol, 0.0),
            n_threads=self._threads,
            rng=check_random_state("random_state", self.random_state),
        )

    @property
    def _threads(self) -> int:
        if self.n_threads is None:
            return available()
        n_threads = check_integer("n_threads", self.n_threads, 1)
        if n_threads > MOST_THREADS:
            raise ValueError(f"n_threads must be at most {MOST_THREADS}, got {n_threads}; None takes what is there")
        return n_threads

    @property
    def _plain(self) -> bool:
        """Whether the plain engine serves."""
        return is_plain(self.solver)

    def _check_table(self, name: str, R: Any, columns: Mapping[str, Any]) -> None:
        """Refuse a table without the columns that the model learns from; messages call it `name`."""

    def _interactions(self, R: MatrixLike, dtype: np.dtype, *, name: str = "R", **expected: Any) -> Interactions:
        self._check_table(name, R, expected)
        return as_interactions(R, dtype, missing=self._missing, name=name, **expected)

    def interactions(self, R: MatrixLike, dtype: Any = None, **columns: Unpack[Columns]) -> Interactions:
        """Return `R` in the form that a fit works on: checked and converted once, for as many fits as you like.

        Parameters
        ----------
        R : as in `fit`
        dtype : {'float32', 'float64'}, optional
            The model's by default.
        **columns
            As in `fit`.

        Returns
        -------
        Interactions
            What `fit`, of this class and this dtype, takes as it is.

        Examples
        --------
        >>> import fastals
        >>> fastals.ImplicitALS().interactions([(0, 0, 1), (0, 1, 1)]).shape
        (1, 2)
        """
        return self._interactions(R, check_dtype("dtype", self.dtype if dtype is None else dtype), **columns)

    # Fit.

    def fit(
        self: Self,
        R: MatrixLike,
        y: None = None,
        *,
        weights: MatrixLike | None = None,
        user_features: Any = None,
        item_features: Any = None,
        callback: Callback | None = None,
        progress: bool = False,
        start: Base | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 1,
        checkpoint_errors: str = "raise",
        validation: MatrixLike | float | None = None,
        metric: str | Callable[[Any, Interactions], float] = "ndcg@10",
        patience: int = 2,
        **columns: Unpack[Columns],
    ) -> Self:
        """Factorise `R`.

        Parameters
        ----------
        R : sparse matrix or array, array_like of shape (n_users, n_items), list of tuples, Interactions, table
            Users are rows, items columns; a tuple is (user, item, value). For a table of pandas, polars or Arrow see
            `columns`. The values of a canonical CSR matrix of the model's dtype are kept, not copied: do not change
            them in place while the model is used.
        y : None
            Not used; here for scikit-learn, which passes it.
        weights : sparse matrix with the entries of R, or array_like, optional
            One weight, at least 0, for each stored entry: in the order of `R.data`, or of R's shape where R is dense.
            Like `R`, an array of the model's dtype is kept, not copied.
        user_features, item_features : sparse matrix, array_like or table, optional
            What is known of the users, of the items, beside their interactions. A matrix has a row for each row, or
            each column, of `R`: shapes (n_users, d), (n_items, d). A table goes through a `fastals.FeatureEncoder`.
            Where `R` has ids, the table has them in the column that `user=` or `item=` names, or in "user", "item".
            The factors of a user are drawn to what their features say, which is learned. Users or items without
            interactions get just that.
        callback : callable (iteration, model), optional
            Called after each iteration, counted from 0, with a model as it then is: a copy that does not change any
            more. A true return value ends the fit. With `validation` the copy has `validation_history_` so far.
        progress : bool, default False
            Show a bar with loss and time an iteration (tqdm, where installed), or log a line an iteration at level
            INFO to the logger "fastals". Where the engine is compiled first, the bar says so, and the log in any case.
        start : fitted ImplicitALS, ExplicitALS or WeightedALS, optional
            Go on from its factors, instead of from a start of one's own: to pause a fit, to go along a path of
            parameters, or with interactions that were added (see `refit`). Its users and items keep their numbers, or
            their ids where both have some; `R` may have more. It may have fewer factors: the new ones begin where `R`
            leaves the old ones behind.
        checkpoint : str or path, optional
            A file that keeps the progress of the fit (`.npz` is appended where it is missing). Call the same fit with
            the same file again after an interruption, or with more `iterations`: it goes on from there, to the same
            bits as without the interruption. See the notes.
        checkpoint_every : int, default 1
            Write the file after every so many iterations, and after the last one.
        checkpoint_errors : {'raise', 'warn'}, default 'raise'
            What to do if the file cannot be written during the fit: stop, or warn and go on without it. Before the
            first iteration it always raises.
        validation : as `R`, or float, optional
            Held-out interactions with the users and items of `R`, or the share of R's events to hold out, drawn by
            `random_state`. The model is scored on them after each iteration, and becomes what it was at the best
            score. `validation_history_` has the scores. Not with `checkpoint`.
        metric : str or callable (model, validation) -> float, default "ndcg@10"
            Of `validation`, as in `fastals.tuning.grid_search`: of "rmse" and "mae" a lower score is better.
        patience : int, default 2
            Stop after so many scores in a row that are not better than the best one.
        **columns
            Where `R` is a table: the names of its columns, `user=`, `item=` and others; see `Interactions.from_frame`.

        Returns
        -------
        self
            `loss_history_` and `n_iter_` count from here on.

        Raises
        ------
        TypeError, ValueError
            A parameter or an entry is not as wanted, or the checkpoint is of another fit; what was fitted before stays.
        OSError
            The checkpoint cannot be read or written; its last version stays.
        KeyboardInterrupt
            A model that was fitted before stays what it was. A model that was not fitted gets the state after the last
            iteration that a callback or a checkpoint has, and a log line at level WARNING says so.
        numpy.linalg.LinAlgError
            A row's solution is not finite in the model's dtype; the message names row and remedy.

        Warns
        -----
        fastals.errors.SingularRowsWarning
            Users or items have many solutions, as without regularization: each gets the one of minimum norm.
        fastals.errors.ImpreciseRowsWarning
            Users or items may be off by more than 1% even in float64, as with confidences of 1e16 and more.

        Notes
        -----
        A checkpoint is refused if it was made with other parameters than `iterations`, `tol` and `n_threads`, with
        another `R`, or with another `start`; the message names what differs. A `random_state` that is None, a Generator
        or a RandomState is not compared, because the checkpoint has what was drawn from it. On another CPU, or with
        other versions of fastals, NumPy or Numba, the fit goes on with a warning: its last bits may be others.

        The last iteration of a fit ends with an exact half-step, and those before do not. So the state that
        `validation` keeps may differ a little from a fit of so many iterations. Its score
        is the one in `validation_history_`.

        A new version of the file takes the place of the old one only when it is complete and on the disk. Files of up
        to 64 MB are written while the fit goes on; they are there before `callback` is called, and when `fit` returns.
        `callback` is called once more for the iteration of the checkpoint.

        Examples
        --------
        >>> import fastals
        >>> model = fastals.ImplicitALS(factors=2, random_state=0)
        >>> model.fit([(0, 0, 1), (0, 1, 1), (1, 1, 1)]).user_factors_.shape
        (2, 2)

        With a checkpoint, five iterations and then ten more are the same as fifteen:

        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "fit.npz")
        >>> R = [(0, 0, 1), (0, 1, 1), (1, 1, 1)]
        >>> model = fastals.ImplicitALS(factors=2, iterations=5, random_state=0).fit(R, checkpoint=path)
        >>> model.set_params(iterations=15).fit(R, checkpoint=path).n_iter_
        15
        """
        check_no_target(y)
        features, files = (user_features, item_features), (checkpoint, checkpoint_every, checkpoint_errors)
        call = Call(R, weights, features, columns, callback, progress, start, files)
        if validation is None:
            return self._fit(call)
        self._check_call(call)
        if requested(*files) is not None:
            raise ValueError(
                "checkpoint and validation are both given, but a checkpoint does not keep the best state: leave out "
                "one of them"
            )
        return self._fit_watched(call, validation, metric, patience)

    def _check_call(self, call: Call) -> None:
        """Refuse what is wrong with a call of `fit` before anything is read or changed."""
        check_flag("progress", call.progress)
        if call.callback is not None and not callable(call.callback):
            raise TypeError(f"callback must be callable (iteration, model), got {type(call.callback).__name__}")
        if call.start is not None and not isinstance(call.start, Base):
            got = type(call.start).__name__
            raise TypeError(f"start must be a fitted model, ImplicitALS, ExplicitALS or WeightedALS, got {got}")
        self._check_table("R", call.R, call.columns)

    def _fit(self: Self, call: Call, where: engine.Where = solver_here) -> Self:
        """Fit as `fit` does; `where` is where rows are solved."""
        self._check_call(call)
        vars(self).pop("validation_history_", None)  # of another fit
        learn = partial(self._learn, call, requested(*call.checkpoint), where)
        if call.start is not self:
            return self._put(learn(None if call.start is None else call.start._state))
        return self._write(learn)

    def _fit_watched(self: Self, call: Call, validation: Any, metric: Any, patience: int) -> Self:
        """Fit with `validation`; `scoring`, which may evaluate, has it."""
        raise NotImplementedError

    def _learn(self, call: Call, request: Request | None, where: engine.Where, start: Fitted | None) -> Fitted:
        """Return the record of a fit; `start` is the state to go on from."""
        checked, callback = self._check(), call.callback
        with choose(checked.n_threads):
            cells, given, objective, statistics = self._read(call, checked.dtype)
        model = starts.empty(checked.factors, cells, objective, statistics)
        model = model._replace(priors=priors_of(given, objective, model, self._plain, checked.n_threads))
        liked = objective.liked(cells.by_item)
        history: list[float] = []
        seen: list[Fitted] = []  # the state after the last iteration that is there as a whole, if any

        def record(X: np.ndarray, Y: np.ndarray) -> Fitted:
            users = side_of(model, "user", X, cells.user_ids, given, self._plain, checked.n_threads)
            items = side_of(model, "item", Y, cells.item_ids, given, self._plain, checked.n_threads)
            return Fitted(users, items, objective, statistics, Counts(liked), tuple(history), Rows(cells.by_user))

        def after(iteration: int, loss: float) -> bool:
            first_call = len(history) == iteration
            history[iteration:] = [loss]
            stop = False
            if report is not None and first_call:
                report(iteration, loss)
            if callback is not None and first_call:
                seen[:] = [record(aligned_copy(model.X), aligned_copy(model.Y))]
                stop = bool(callback(iteration, self._with(seen[0])))
            return stop or (iteration > 0 and history[-2] - loss <= checked.tol * history[-2] and checked.tol > 0)

        draw, run, unusual = self._loop(model, objective, checked, where)
        file, found, keep = None, None, None
        if request is not None:
            plainly = {"solver": "plain"} if self._plain else {}
            identity = identity_of(
                type(self).__name__, self.get_params() | plainly, objective, statistics, cells, given, start
            )
            file = Checkpoint(request, identity, model, checked.iterations, beside=callback is None)
            found = file.resume()
        begin = starts.begin(model, draw, start, objective, cells) if found is None else found.begin
        if found is not None:
            history += found.losses[:-1]
        if file is not None:
            keep, run = partial(file.keep, begin, history), file.waited_for(run)
        report = Progress(checked.iterations, done=len(history)) if call.progress else None
        try:
            failure = run(begin, checked.iterations, after, keep)
        except KeyboardInterrupt:
            if not seen and file is not None and self._fitted is None:
                with suppress(OSError, ValueError):
                    found = file.read()
                    if found is not None:
                        history[:] = found.losses
                        seen.append(record(model.X, model.Y))
            if seen:
                self._leave(seen[0])
            raise
        finally:
            if report is not None:
                report.close()
        tell(failure, {"user": cells.by_user, "item": cells.by_item}, unusual, checked.dtype)
        return record(model.X, model.Y)

    def _read(self, call: Call, dtype: np.dtype) -> tuple[Interactions, dict[SideName, Given], Objective, Statistics]:
        """Return the interactions and the features of a fit, and what follows from them."""
        cells = self._interactions(call.R, dtype, weights=call.weights, **call.columns)
        if cells.nnz == 0:
            raise ValueError(f"R of shape {cells.shape} has no entries to learn from: at least one is wanted")
        objective = self._objective(cells)
        given = given_to_fit(call.features, cells, dtype, call.columns, objective.implicit_features)
        objective = replace(objective, featured=("user" in given, "item" in given))
        return cells, given, objective, objective.learn(cells)

    def _loop(
        self, model: Model, objective: Objective, checked: _Checked, where: engine.Where
    ) -> tuple[Callable[[], engine.Begin], Callable[..., Failure | None], dict[str, Unusual]]:
        """Return what draws a start, what iterates, and how many rows of each side are to be told of."""
        half_step = self._half_step(objective, model.width)
        if half_step is None:
            alternation = engine.Alternation(model, checked.solver, checked.n_threads, where)
            return partial(sketch, alternation, checked.rng), alternation.fit, alternation.unusual
        unusual: dict[str, Unusual] = {}
        draw = partial(plain_fit.start, model, checked.rng, objective.nonnegative)
        return draw, partial(plain_fit.fit, model, half_step, unusual), unusual

    def _leave(self, left: Fitted) -> None:
        """Keep what an interrupted fit has, where there is nothing yet, and say so."""
        with self._writing: self._fitted = self._fitted or left  # fmt: skip  # noqa: E701
        if self._fitted is left:
            done, wanted = len(left.history), self.iterations
            logger.warning("the fit was interrupted: the model has the state after iteration %d of %d", done, wanted)
