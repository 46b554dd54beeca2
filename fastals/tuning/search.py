"""One search: data prepared once for all candidates, fits that pause and go on, results and the best model."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from scipy import sparse

from ..answers import as_table, library_of
from ..data.interactions import Interactions, MatrixLike
from ..data.types import Columns, is_frame
from ..engine.forks import OwnLock
from ..engine.threads import available
from ..evaluation.held_out import LOWER_IS_BETTER, Metric, check_metric, scorer
from ..evaluation.lists import in_order
from ..features import SIDES, Given, encoded, given_to_fit
from ..fitted import SideName
from ..html import table
from ..models import ExplicitALS, ImplicitALS, WeightedALS
from ..progress import Progress, logger
from ..validation import check_dtype, check_flag, check_integer
from .candidates import Parameters, canonical
from .journal import Journal

Model: TypeAlias = ImplicitALS | ExplicitALS | WeightedALS
Pair: TypeAlias = tuple[MatrixLike, MatrixLike]
Splits: TypeAlias = Pair | list[Pair]

RESULTS = ("score", "n_iter", "seconds", "error")


@dataclass(frozen=True)
class SearchResult:
    """The result of a search.

    Parameters
    ----------
    table : dict of str to array
        One entry a candidate, in the order they were given: a column for each searched parameter, and "score" (the
        metric, averaged over the splits; NaN if it failed), "n_iter" (iterations to that score), "seconds", "error"
        (the message, empty if there is none).
    best_parameters : dict
        Parameters of the best candidate, with the number of iterations to its score.
    best_score : float
        Its metric.
    model : ImplicitALS, ExplicitALS or WeightedALS
        Fitted with the best parameters.
    metric : str
        Name of the metric, or of the function that was passed as such.

    Examples
    --------
    >>> import numpy as np
    >>> from fastals import ImplicitALS
    >>> from fastals.tuning import grid_search
    >>> found = grid_search(ImplicitALS(iterations=2), {"factors": [1, 2]}, (np.eye(3), 1 - np.eye(3)))
    >>> list(found.table)
    ['factors', 'score', 'n_iter', 'seconds', 'error']
    """

    table: dict[str, np.ndarray]
    best_parameters: Parameters
    best_score: float
    model: Model
    metric: str

    @property
    def best_params_(self) -> Parameters:
        """`best_parameters`, by scikit-learn's name."""
        return self.best_parameters

    @property
    def best_score_(self) -> float:
        """`best_score`, by scikit-learn's name."""
        return self.best_score

    @property
    def best_estimator_(self) -> Model:
        """`model`, by scikit-learn's name."""
        return self.model

    @property
    def results_(self) -> Any:
        """`table` as a frame of pandas, polars or Arrow: the first of the three that is installed."""
        return as_table(library_of(None), self.table)

    def __repr__(self) -> str:
        n_candidates = len(self.table["score"])
        return f"SearchResult({n_candidates} candidates, best_score={self.best_score:.4g}: {self.best_parameters})"

    def _repr_html_(self) -> str:
        rows = list(zip(*(column.tolist() for column in self.table.values()), strict=True))
        best = next(iter(np.flatnonzero(self.table["score"] == self.best_score).tolist()), None)
        return table(repr(self), list(self.table), rows, bold=best)


class State(NamedTuple):
    """How far the fit of a candidate to a split has come."""

    model: Any
    n_iter: int  # over all its parts


@dataclass
class Trial:
    """A candidate and what is known of it."""

    parameters: Parameters
    score: float = math.nan
    rank: float = -math.inf  # the score, negated if lower is better
    n_iter: int = 0
    seconds: float = 0.0
    error: str = ""
    states: list[State] = field(default_factory=list)  # one a split; none if the score is from the journal


class Split(NamedTuple):
    """Training interactions for each dtype, and the score of a model on the validation interactions."""

    train: Callable[[np.dtype], Interactions]
    score: Callable[[Any], float]
    validation: Interactions
    features: dict[str, Any]  # what `fit` takes beside the interactions
    given: dict[SideName, Given]  # the same as it reads them


def check_model(model: Any) -> None:
    """Refuse what is no model of this library."""
    if not isinstance(model, (ImplicitALS, ExplicitALS, WeightedALS)):
        raise TypeError(f"model must be an ImplicitALS, ExplicitALS or WeightedALS, got {type(model).__name__}")


class Search:
    """Candidates, data and results of one search; the arguments are those of `grid_search`."""

    def __init__(
        self,
        model: Model,
        candidates: list[Parameters],
        splits: Splits,
        metric: Metric,
        n_jobs: int,
        refit: bool,
        journal: str | Path | None,
        options: Parameters,
        columns: Columns,
        features: Parameters,
    ):
        self.pauses: Callable[[int], Sequence[int]] = lambda most: [most]  # where a fit of so many iterations is scored
        check_model(model)
        self._prototype, self._refit = type(model)(**model.get_params()), check_flag("refit", refit)
        self._n_jobs, self._at_once = check_jobs(n_jobs), 1
        for parameters in candidates:
            copy.copy(self._prototype).set_params(**parameters)  # refuses unknown names
        self.trials = [Trial(parameters) for parameters in candidates]
        name, _ = check_metric(metric)
        self._metric = metric if isinstance(metric, str) else getattr(metric, "__qualname__", repr(metric))
        self.sign = -1.0 if name in LOWER_IS_BETTER else 1.0
        pairs = splits if isinstance(splits, list) else [splits]
        self._splits = [_prepare(model, pair, metric, columns, features) for pair in pairs]
        if not self._splits:
            raise ValueError("splits is an empty list: pass at least one (train, validation)")
        dtype = check_dtype("dtype", model.dtype)
        if refit and self._splits[0].train(dtype).weights is not None:
            raise ValueError("train has weights and validation has none, so they cannot be joined: pass refit=False")
        self._best: Trial | None = None
        self._journal = None
        if journal is not None:
            header = {
                "search": type(model).__name__,
                "metric": self._metric,
                "parameters": json.loads(canonical(model.get_params())),
                "options": options,
                "data": _digest(self._splits, dtype),
            }
            self._journal = Journal(Path(journal), header)

    @contextmanager
    def reporting(self, n: int, progress: bool) -> Iterator[Callable[[float], None]]:
        """Give the function to call with the best score after each of `n` candidates."""
        bar, done = Progress(n, "candidate", "best") if check_flag("progress", progress) else None, itertools.count()
        try:
            yield lambda best_score: bar(next(done), best_score) if bar is not None else None
        finally:
            if bar is not None:
                bar.close()

    @property
    def best_score(self) -> float:
        """The best score so far; NaN before the first."""
        return math.nan if self._best is None else self._best.score

    def run(self, trials: list[Trial], work: Callable[[Trial], None], budget: int | None = None) -> Iterator[Trial]:
        """Work on candidates, `n_jobs` at once; give each when all before it are done.

        `budget` is the number of iterations after this work; None: those of a whole fit.
        """
        self._at_once = min(self._n_jobs, len(trials))
        attempt = partial(self._attempt, work, budget)
        if self._at_once == 1:
            yield from map(attempt, trials)
            return
        with ThreadPoolExecutor(self._at_once) as pool:
            yield from pool.map(attempt, trials)
        self._at_once = 1

    def _attempt(self, work: Callable[[Trial], None], budget: int | None, trial: Trial) -> Trial:
        """Work on a candidate, or take its result from the journal. An exception fails this candidate only."""
        key = f"{budget or self._model(trial).iterations} {canonical(trial.parameters)}"
        if self._journal is not None and (known := self._journal.results.get(key)):
            trial.score, trial.n_iter, trial.seconds, trial.error = (known[name] for name in RESULTS)
            trial.score = math.nan if trial.score is None else trial.score
        else:
            begun = time.perf_counter()
            try:
                work(trial)
                if math.isnan(trial.score):
                    raise ValueError("its score is not a number")
            except Exception as error:
                trial.score, trial.error, trial.states = math.nan, f"{type(error).__name__}: {error}", []
                logger.warning("candidate %s failed: %s", trial.parameters, trial.error)
            trial.seconds += time.perf_counter() - begun
            if self._journal is not None:
                result = {name: getattr(trial, name) for name in RESULTS}
                result["score"] = None if math.isnan(trial.score) else trial.score
                self._journal.add(key, {"parameters": json.loads(canonical(trial.parameters))} | result)
        trial.rank = -math.inf if trial.error else self.sign * trial.score
        return trial

    def advance(self, trial: Trial, until: int) -> None:
        """Go on with the fits of a candidate up to so many iterations, and score them."""
        for pause in self.pauses(until):
            self._go_on(trial, pause)
        self._score(trial)

    def train(self, trial: Trial, patience: int, start: list[Any] | None) -> None:
        """Fit a candidate and score it at each pause, until it gets worse; keep its best state."""
        best: Trial | None = None
        without_gain = 0
        for pause in self.pauses(self._model(trial).iterations):
            self._go_on(trial, pause, start)
            self._score(trial)
            if best is None or self.sign * trial.score > self.sign * best.score:
                best, without_gain = copy.copy(trial), 0
            else:
                without_gain += 1
            if without_gain == patience:
                break
        assert best is not None
        trial.score, trial.n_iter, trial.states = best.score, best.n_iter, best.states

    def _go_on(self, trial: Trial, until: int, start: list[Any] | None = None) -> None:
        """Take the fits of a candidate from their states, or from the start, to so many iterations."""
        begun = trial.states or [State(model, 0) for model in start or [None] * len(self._splits)]
        trial.states = [
            self._fitted(trial, split, state, until) for split, state in zip(self._splits, begun, strict=True)
        ]

    def _fitted(self, trial: Trial, split: Split, state: State, until: int) -> State:
        if state.n_iter and (until <= state.n_iter or state.model.n_iter_ < state.model.iterations):
            return state  # it has come so far, or has ended by its `tol`
        model = self._model(trial).set_params(iterations=until - state.n_iter if state.n_iter else until)
        if self._at_once > 1:
            threads = available() if model.n_threads is None else check_integer("n_threads", model.n_threads, 1)
            model.set_params(n_threads=max(1, threads // self._at_once))
        model.fit(split.train(check_dtype("dtype", model.dtype)), start=state.model, **split.features)
        return State(model, state.n_iter + model.n_iter_)

    def _score(self, trial: Trial) -> None:
        trial.n_iter = max(state.n_iter for state in trial.states)
        scores = [split.score(state.model) for split, state in zip(self._splits, trial.states, strict=True)]
        trial.score = float(np.mean(scores))

    def keep_best(self, trial: Trial) -> None:
        """Keep the models of the best candidate only."""
        if not trial.error and (self._best is None or trial.rank > self._best.rank):
            if self._best is not None:
                self._best.states = []
            self._best = trial
        elif trial is not self._best:
            trial.states = []

    def result(self) -> SearchResult:
        """Return the table, and the model of the best candidate."""
        best = self._best
        if best is None:
            first = self.trials[0]
            raise ValueError(f"all {len(self.trials)} candidates failed, the first, {first.parameters}: {first.error}")
        parameters = best.parameters | {"iterations": best.n_iter}
        if self._refit:
            split, model = self._splits[0], self._model(best).set_params(**parameters)
            both = _together(split.train(check_dtype("dtype", model.dtype)), split.validation)
            model.fit(both, **split.features)
        else:
            for pause in self.pauses(best.n_iter):
                self._go_on(best, pause)
            model = best.states[0].model.set_params(**{"n_threads": self._model(best).n_threads} | parameters)
        names = dict.fromkeys(name for trial in self.trials for name in trial.parameters)
        table = {name: _column([trial.parameters.get(name) for trial in self.trials]) for name in names}
        table |= {name: np.array([getattr(trial, name) for trial in self.trials]) for name in RESULTS}
        return SearchResult(table, parameters, best.score, model, self._metric)

    def _model(self, trial: Trial) -> Any:
        """Return the candidate's model, not fitted."""
        return type(self._prototype)(**self._prototype.get_params() | trial.parameters)

    def family(self, trial: Trial, of_half: bool = False) -> str:
        """Name the candidates that are equal but for regularization: one may start from another's factors.

        `of_half`: the family with half the factors.
        """
        params = self._model(trial).get_params()
        params["regularization"] = None
        if of_half and isinstance(params["factors"], int):
            params["factors"] = params["factors"] // 2 if params["factors"] % 2 == 0 else None
        return canonical(params)

    def path(self) -> list[Trial]:
        """Return few factors before many, strong regularization before weak; otherwise in the order given."""

        def key(trial: Trial) -> tuple[float, float]:
            model = self._model(trial)
            try:
                ridge = 0.0 if isinstance(model.regularization, str) else float(np.sum(model.regularization))
                return float(model.factors), -ridge
            except (TypeError, ValueError, OverflowError):  # `fit` will say what is wrong
                return math.inf, 0.0

        return sorted(self.trials, key=key)


def check_jobs(n_jobs: int) -> int:
    """Return the number of candidates at once; -1: as many as there are threads."""
    number = check_integer("n_jobs", n_jobs, -1)
    if number == 0:
        raise ValueError("n_jobs must be at least 1, or -1 for as many as there are threads, got 0")
    return available() if number == -1 else number


def _prepare(model: Model, pair: Pair, metric: Metric, columns: Columns, features: Parameters) -> Split:
    """Bring a pair of matrices into the form that all candidates share."""
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise TypeError(f"splits must be a tuple (train, validation) or a list of such, got {type(pair).__name__}")
    if columns:
        model._check_table("train", pair[0], columns)
        pair = in_order("train", pair[0], "float64", **columns), in_order("validation", pair[1], "float64", **columns)
    prepared: dict[np.dtype, Interactions] = {}
    preparing = OwnLock()

    def train(dtype: np.dtype) -> Interactions:
        with preparing():
            if dtype not in prepared:
                prepared[dtype] = _taken("train", pair[0], model, dtype)
            return prepared[dtype]

    known = train(check_dtype("dtype", model.dtype))
    validation = _taken("validation", pair[1], model, np.dtype(np.float64))
    validation, score = scorer(metric, validation, known)
    return Split(train, score, validation, *_encoded(features, known, columns))


def _encoded(features: Parameters, train: Interactions, columns: Columns) -> tuple[Parameters, dict[SideName, Given]]:
    """Return features as `fit` takes them, and as it reads them; tables are encoded once for all candidates."""
    found: Parameters = {}
    for side, n_rows, ids in zip(SIDES, train.shape, (train.user_ids, train.item_ids), strict=True):
        given = features.get(f"{side}_features")
        found[f"{side}_features"] = encoded(side, given, n_rows, ids, columns) if is_frame(given) else given
    return found, given_to_fit(tuple(found.values()), train, train.dtype, columns, implicit=False)


def _taken(name: str, R: MatrixLike, model: Model, dtype: np.dtype) -> Interactions:
    """Return `R` as the model's `fit` takes it; messages call it what the caller calls it."""
    try:
        return model.interactions(R, dtype)
    except (TypeError, ValueError) as error:
        raise type(error)(re.sub(r"\bR\b", name, str(error))) from None


def _together(train: Interactions, validation: Interactions) -> Interactions:
    """Return the interactions of both, stored zeros too, with the ids of train; values of one place are summed."""
    parts = [part.csr.tocoo() for part in (train, validation)]
    data, rows, columns = (np.concatenate([getattr(part, name) for part in parts]) for name in ("data", "row", "col"))
    matrix = sparse.coo_array((data, (rows, columns)), shape=train.shape)
    return Interactions(matrix, train.dtype, user_ids=train.user_ids, item_ids=train.item_ids)


def _column(values: list[Any]) -> np.ndarray:
    """Return numbers, words and flags as an array of their own dtype, anything else as objects."""
    if any(all(isinstance(value, kind) for value in values) for kind in (bool, int, str)) or all(
        isinstance(value, (int, float)) and not isinstance(value, bool) for value in values
    ):
        return np.array(values)
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _digest(splits: list[Split], dtype: np.dtype) -> str:
    """Return a text that differs for other data."""
    digest = hashlib.sha256()
    for split in splits:
        for interactions in (split.train(dtype), split.validation):
            digest.update(repr(interactions.shape).encode())
            for array in interactions.by_user:
                digest.update(np.ascontiguousarray(array).data)
        for side, of in split.given.items():
            digest.update(side.encode())
            for array in of.entries.cells:
                digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
