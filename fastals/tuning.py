"""Search for parameters: the data prepared once for all candidates, every fit paused and gone on with at will."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from scipy import sparse

from .data.interactions import Interactions
from .estimators import ExplicitALS, ImplicitALS, WeightedALS
from .evaluation import RANKING_METRICS, RATING_METRICS, Evaluator, evaluate_ratings, renumbered, without_ids
from .progress import Progress
from .validation import check_dtype, check_flag, check_integer

__all__ = ["SearchResult", "grid_search", "random_search", "sample_candidates", "successive_halving"]

logger = logging.getLogger("fastals")

Metric: TypeAlias = str | Callable[[Any, Any], float]
Parameters: TypeAlias = dict[str, Any]
Grid: TypeAlias = Mapping[str, Sequence[Any]] | Sequence[Parameters]

LOWER_IS_BETTER = ("rmse", "mae")


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Parameters
    ----------
    table : dict of str to array
        One entry a candidate, in the order they were given: a column for each searched parameter, and "score" (the
        metric, averaged over the splits; NaN where it failed), "n_iter" (iterations that score had), "seconds", "error"
        (the message, empty where there is none).
    best_parameters : dict
        Of the best candidate, with the number of iterations that its score had.
    best_score : float
        Its metric.
    model : estimator
        Fitted with the best parameters.
    """

    table: dict[str, np.ndarray]
    best_parameters: Parameters
    best_score: float
    model: Any


def grid_search(
    model: Any,
    grid: Grid,
    splits: Any,
    metric: Metric = "ndcg@10",
    *,
    every: int = 0,
    patience: int = 2,
    warm_start: bool = False,
    n_jobs: int = 1,
    refit: bool = True,
    journal: str | Path | None = None,
    progress: bool = False,
) -> SearchResult:
    """Try every combination of parameters.

    Parameters
    ----------
    model : ImplicitALS, ExplicitALS or WeightedALS
        Its parameters are those of every candidate where the grid does not say otherwise. It is not changed.
    grid : dict of str to sequence, or sequence of dict
        The values of each parameter, all of whose combinations are candidates; or the candidates themselves.
    splits : (train, validation), or list of such pairs
        Users x items matrices of one shape, as `fit` takes them. Scores are averages over the pairs. Where both have
        ids, these say whose cells are those of validation, in any order; ids without a cell there may be lacking, and
        one that train lacks is refused.
    metric : str or callable (model, validation) -> float, default "ndcg@10"
        A name of `evaluation.RANKING_METRICS` with a cutoff, or of `evaluation.RATING_METRICS`: "rmse", "mae" (the
        lower the better), "sign_accuracy". Of a function the higher number is the better; it gets Interactions, with
        rows and columns as in train.
    every : int, default 0
        Score a candidate every so many iterations, and keep its best state; 0: when it is fitted only.
    patience : int, default 2
        Stop a candidate when so many scores in a row have not been better than its best one.
    warm_start : bool, default False
        Let a candidate begin where one ended that differs in regularization only, going from strong to weak, or that
        has half its factors. Few iterations then go further; scores depend on the path, which begins anew where an
        interrupted search goes on. With `n_jobs` of 1 only.
    n_jobs : int, default 1
        Candidates at once, which share the threads of a fit among them; scores stay the same. On small data much
        faster, as fits of a few milliseconds an iteration gain little from threads of their own (MovieLens 100K on 2
        CPUs: 1.6 times); it takes the memory of so many fits. A metric that is a function is called from several
        threads at once.
    refit : bool, default True
        Fit the best parameters on train and validation cells together (of the first split), with the ids of train.
        False: the model is the one that was fitted on the first train; if with pauses, `loss_history_` and `n_iter_`
        are of the last part.
    journal : str or path, optional
        A file to which each score is added as a line of JSON when it is known. A search that finds its own journal
        takes the scores from there: so an interrupted one goes on where it was. Parameters that JSON cannot hold are
        told apart by their `repr`.
    progress : bool, default False
        Show a bar of candidates with the best score.

    Returns
    -------
    SearchResult

    Raises
    ------
    ValueError, TypeError
        Before any fit: an unknown parameter or metric, no candidates, shapes that differ, an empty validation part, a
        journal of another search. After all: no candidate could be fitted.

    Notes
    -----
    A candidate that fails is named in a warning to the logger "fastals" and in the table, and the search goes on.
    """
    every, patience = check_integer("every", every, 0), check_integer("patience", patience, 1)
    options = {"every": every, "patience": patience, "warm_start": check_flag("warm_start", warm_start)}
    if warm_start and check_integer("n_jobs", n_jobs, 1) > 1:
        raise ValueError(f"n_jobs is {n_jobs}, but with warm_start candidates wait for each other: use n_jobs=1")
    search = _Search(model, _candidates(grid), splits, metric, n_jobs, refit, journal, options)
    search.pauses = lambda most: [*range(every, most, every), most] if every else [most]
    order = _path(search) if warm_start else list(search.trials)
    starts: dict[str, list[Any]] = {}

    def train(trial: _Trial) -> None:
        start = starts.get(_family(search, trial), starts.get(_family(search, trial, of_half=True)))
        search.train(trial, patience, start)

    with search.reporting(len(order), progress) as report:
        for trial in search.run(order, train):
            if warm_start and trial.states:
                starts[_family(search, trial)] = [state.model for state in trial.states]
            search.keep_best(trial)
            report(search.best_score)
    return search.result()


def random_search(
    model: Any,
    distributions: Mapping[str, Any],
    splits: Any,
    metric: Metric = "ndcg@10",
    *,
    n_candidates: int = 20,
    random_state: int | np.random.Generator | None = None,
    **options: Any,
) -> SearchResult:
    """Try combinations drawn at random.

    Parameters
    ----------
    model, splits, metric
        As in `grid_search`.
    distributions, n_candidates, random_state
        As in `sample_candidates`. An interrupted search goes on only with a seed, which gives the same candidates.
    **options
        `every`, `patience`, `warm_start`, `n_jobs`, `refit`, `journal`, `progress` of `grid_search`.

    Returns
    -------
    SearchResult
    """
    return grid_search(model, sample_candidates(distributions, n_candidates, random_state), splits, metric, **options)


def successive_halving(
    model: Any,
    candidates: Grid,
    splits: Any,
    metric: Metric = "ndcg@10",
    *,
    min_iterations: int = 1,
    factor: int = 3,
    n_jobs: int = 1,
    refit: bool = True,
    journal: str | Path | None = None,
    progress: bool = False,
) -> SearchResult:
    """Give all candidates a few iterations, the best of them more, and few all.

    Parameters
    ----------
    model, splits, metric, n_jobs, refit, journal, progress
        As in `grid_search`.
    candidates : dict of str to sequence, or sequence of dict
        As `grid` in `grid_search`; `sample_candidates` draws some.
    min_iterations : int, default 1
        What every candidate gets.
    factor : int, default 3
        Of n candidates the best ``floor(n / factor)``, at least one, go on, to `factor` times as many iterations in
        all; the last ones to `model.iterations`.

    Returns
    -------
    SearchResult
        The scores of those that were given up are those they had then.

    Raises
    ------
    ValueError, TypeError
        As in `grid_search`; `iterations` among the parameters.

    Notes
    -----
    A fit is gone on with, not begun again; the factors of all candidates in the race are held at once.
    Jamieson & Talwalkar 2016.
    """
    options = {
        "min_iterations": check_integer("min_iterations", min_iterations, 1),
        "factor": check_integer("factor", factor, 2),
    }
    most = check_integer("model.iterations", model.iterations, 1)
    search = _Search(model, _candidates(candidates), splits, metric, n_jobs, refit, journal, options)
    if any("iterations" in trial.parameters for trial in search.trials):
        raise ValueError("candidates sets iterations, which halving shares out: set them in model")
    racing = list(search.trials)
    budget = most if len(racing) == 1 else min(min_iterations, most)
    rungs: list[int] = []
    search.pauses = lambda until: [*(rung for rung in rungs if rung < until), until]
    with search.reporting(len(racing), progress) as report:
        while True:
            for _ in search.run(racing, partial(search.advance, until=budget), budget):
                if not rungs:
                    report(search.sign * max(trial.rank for trial in racing))
            rungs.append(budget)
            racing = sorted((trial for trial in racing if not trial.error), key=lambda trial: -trial.rank)
            if budget == most or not racing:
                break
            going_on = max(1, len(racing) // factor)
            for trial in racing[going_on:]:
                trial.states = []
            racing = racing[:going_on]
            budget = most if going_on == 1 else min(budget * factor, most)
        for trial in racing or search.trials:
            search.keep_best(trial)
    return search.result()


def sample_candidates(
    distributions: Mapping[str, Any], n_candidates: int = 20, random_state: int | np.random.Generator | None = None
) -> list[Parameters]:
    """Draw combinations of parameters.

    Parameters
    ----------
    distributions : dict of str to sequence, scipy.stats distribution, or callable
        For each parameter: values, any of them as likely; an object with `rvs(random_state=)` such as
        ``scipy.stats.loguniform(1e-4, 1e-1)``; or a function that takes a numpy.random.Generator.
    n_candidates : int, default 20
        How many.
    random_state : int, numpy.random.Generator or None
        The seed.

    Returns
    -------
    list of dict
        No combination twice: where the distributions have fewer, all that were found.

    Raises
    ------
    TypeError
        What stands for a parameter cannot be drawn from.
    """
    n_candidates = check_integer("n_candidates", n_candidates, 1)
    rng = np.random.default_rng(random_state)
    found: dict[str, Parameters] = {}
    for _ in range(20 * n_candidates):  # tries: of combinations that are there, 19 of 20 are met by then
        drawn = {name: _draw(name, distribution, rng) for name, distribution in distributions.items()}
        found.setdefault(_canonical(drawn), drawn)
        if len(found) == n_candidates:
            break
    return list(found.values())


def _draw(name: str, distribution: Any, rng: np.random.Generator) -> Any:
    if hasattr(distribution, "rvs"):
        drawn = distribution.rvs(random_state=rng)
    elif callable(distribution):
        drawn = distribution(rng)
    elif isinstance(distribution, (Sequence, np.ndarray)) and not isinstance(distribution, str) and len(distribution):
        drawn = distribution[int(rng.integers(len(distribution)))]
    else:
        raise TypeError(
            f"distributions[{name!r}] must be values, a scipy.stats distribution or a function of a Generator, "
            f"got {distribution!r}"
        )
    return drawn.item() if isinstance(drawn, (np.generic, np.ndarray)) and np.ndim(drawn) == 0 else drawn


def _candidates(grid: Grid) -> list[Parameters]:
    if isinstance(grid, Mapping):
        for name, values in grid.items():
            if isinstance(values, str) or not isinstance(values, (Sequence, np.ndarray)):
                raise TypeError(f"grid[{name!r}] must be a sequence of values, got {values!r}: write [{values!r}]")
        found = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    elif isinstance(grid, Sequence) and all(isinstance(candidate, Mapping) for candidate in grid):
        found = [dict(candidate) for candidate in grid]
    else:
        raise TypeError(f"candidates must be a dict of sequences or a sequence of dicts, got {grid!r}")
    if not found:
        raise ValueError("there is no candidate: give each parameter at least one value")
    return found


def _canonical(parameters: Mapping[str, Any]) -> str:
    return json.dumps(dict(parameters), sort_keys=True, default=repr)


# --- the search ------------------------------------------------------------------------------------------------------


class _State(NamedTuple):
    """How far the fit of a candidate to a split has come."""

    model: Any
    n_iter: int  # over all its parts


@dataclass
class _Trial:
    """A candidate and what is known of it."""

    parameters: Parameters
    score: float = math.nan
    rank: float = -math.inf  # the score, turned so that higher is better
    n_iter: int = 0
    seconds: float = 0.0
    error: str = ""
    states: list[_State] = field(default_factory=list)  # one a split; none where the score is from the journal


class _Split(NamedTuple):
    """Training cells for each dtype, and the score of a model on the validation cells."""

    train: Callable[[np.dtype], Interactions]
    score: Callable[[Any], float]
    validation: Interactions


class _Search:
    """Candidates, data and results of one search."""

    def __init__(
        self,
        model: Any,
        candidates: list[Parameters],
        splits: Any,
        metric: Metric,
        n_jobs: int,
        refit: bool,
        journal: str | Path | None,
        options: Parameters,
    ):
        self.pauses: Callable[[int], Sequence[int]] = lambda most: [most]  # where a fit of so many iterations is scored
        if not isinstance(model, (ImplicitALS, ExplicitALS, WeightedALS)):
            raise TypeError(f"model must be an ImplicitALS, ExplicitALS or WeightedALS, got {type(model).__name__}")
        self._prototype, self._refit = type(model)(**model.get_params()), check_flag("refit", refit)
        self._n_jobs, self._at_once = check_integer("n_jobs", n_jobs, 1), 1
        for parameters in candidates:
            copy.copy(self._prototype).set_params(**parameters)  # refuses unknown names
        self.trials = [_Trial(parameters) for parameters in candidates]
        name, cutoff = _check_metric(metric)
        self.sign = -1.0 if name in LOWER_IS_BETTER else 1.0
        pairs = splits if isinstance(splits, list) else [splits]
        self._splits = [_prepare(model, pair, metric, name, cutoff) for pair in pairs]
        if not self._splits:
            raise ValueError("splits is an empty list: at least one (train, validation) is wanted")
        if refit and self._splits[0].train(check_dtype("dtype", model.dtype)).weights is not None:
            raise ValueError("train has weights, which validation has not, so they cannot be joined: pass refit=False")
        self._best: _Trial | None = None
        self._journal = None
        if journal is not None:
            header = {
                "search": type(model).__name__,
                "metric": metric if isinstance(metric, str) else getattr(metric, "__qualname__", repr(metric)),
                "parameters": json.loads(_canonical(model.get_params())),
                "options": options,
                "data": _digest(self._splits, check_dtype("dtype", model.dtype)),
            }
            self._journal = _Journal(Path(journal), header)

    @contextmanager
    def reporting(self, n: int, progress: bool) -> Iterator[Callable[[float], None]]:
        """Give what is to be called with the best score after each of `n` candidates."""
        bar, done = Progress(n, "candidate", "best") if check_flag("progress", progress) else None, itertools.count()
        try:
            yield lambda best_score: bar(next(done), best_score) if bar is not None else None
        finally:
            if bar is not None:
                bar.close()

    @property
    def best_score(self) -> float:
        return math.nan if self._best is None else self._best.score

    def iterations(self, trial: _Trial) -> int:
        """Return the iterations of a whole fit."""
        return self.model(trial).iterations

    def run(self, trials: list[_Trial], work: Callable[[_Trial], None], budget: int | None = None) -> Iterator[_Trial]:
        """Work on candidates, `n_jobs` at once, up to so many iterations, and give each when all before it are done."""
        self._at_once = min(self._n_jobs, len(trials))
        attempt = partial(self._attempt, work, budget)
        if self._at_once == 1:
            yield from map(attempt, trials)
            return
        with ThreadPoolExecutor(self._at_once) as pool:
            yield from pool.map(attempt, trials)
        self._at_once = 1

    def _attempt(self, work: Callable[[_Trial], None], budget: int | None, trial: _Trial) -> _Trial:
        """Do some work on a candidate, or take its result from the journal; a failure is the candidate's."""
        key = f"{budget or self.model(trial).iterations} {_canonical(trial.parameters)}"
        if self._journal is not None and (known := self._journal.results.get(key)):
            trial.score, trial.n_iter, trial.seconds, trial.error = (known[name] for name in _RESULTS)
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
                self._journal.add(key, trial)
        trial.rank = -math.inf if trial.error else self.sign * trial.score
        return trial

    def advance(self, trial: _Trial, until: int) -> None:
        """Go on with the fits of a candidate up to so many iterations, and score them."""
        for pause in self.pauses(until):
            self._go_on(trial, pause)
        self._score(trial)

    def train(self, trial: _Trial, patience: int, start: list[Any] | None) -> None:
        """Fit a candidate and score it, at the end or at each pause until it gets worse; its best state is kept."""
        best: _Trial | None = None
        without_gain = 0
        for pause in self.pauses(self.iterations(trial)):
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

    def _go_on(self, trial: _Trial, until: int, start: list[Any] | None = None) -> None:
        """Take the fits of a candidate from their states, or from the start, to so many iterations."""
        begun = trial.states or [_State(model, 0) for model in start or [None] * len(self._splits)]
        trial.states = [
            self._fitted(trial, split, state, until) for split, state in zip(self._splits, begun, strict=True)
        ]

    def _fitted(self, trial: _Trial, split: _Split, state: _State, until: int) -> _State:
        if state.n_iter and (until <= state.n_iter or state.model.n_iter_ < state.model.iterations):
            return state  # it is there, or has ended by itself
        model = self.model(trial).set_params(iterations=until - state.n_iter if state.n_iter else until)
        if self._at_once > 1:
            model.set_params(n_threads=max(1, model._threads // self._at_once))
        model.fit(split.train(check_dtype("dtype", model.dtype)), start=state.model)
        return _State(model, state.n_iter + model.n_iter_)

    def _score(self, trial: _Trial) -> None:
        trial.n_iter = max(state.n_iter for state in trial.states)
        scores = [split.score(state.model) for split, state in zip(self._splits, trial.states, strict=True)]
        trial.score = float(np.mean(scores))

    def keep_best(self, trial: _Trial) -> None:
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
            split, model = self._splits[0], self.model(best).set_params(**parameters)
            model.fit(_together(split.train(check_dtype("dtype", model.dtype)), split.validation))
        else:
            for pause in self.pauses(best.n_iter):
                self._go_on(best, pause)
            model = best.states[0].model.set_params(**{"n_threads": self.model(best).n_threads} | parameters)
        names = dict.fromkeys(name for trial in self.trials for name in trial.parameters)
        table = {name: _column([trial.parameters.get(name) for trial in self.trials]) for name in names}
        table |= {name: np.array([getattr(trial, name) for trial in self.trials]) for name in _RESULTS}
        return SearchResult(table, parameters, best.score, model)

    def model(self, trial: _Trial) -> Any:
        """Return the candidate's estimator, not fitted."""
        return type(self._prototype)(**self._prototype.get_params() | trial.parameters)


_RESULTS = ("score", "n_iter", "seconds", "error")


def _check_metric(metric: Metric) -> tuple[str, int]:
    """Return the name and the cutoff of a metric, "" and 0 of a function."""
    if callable(metric):
        return "", 0
    if not isinstance(metric, str):
        raise TypeError(f"metric must be a name or a function (model, validation) -> float, got {metric!r}")
    name, _, cutoff = metric.partition("@")
    if name in RATING_METRICS and not cutoff:
        return name, 0
    if name in RANKING_METRICS and cutoff.isdecimal() and int(cutoff) > 0:
        return name, int(cutoff)
    raise ValueError(
        f"metric {metric!r} is unknown: choose from {', '.join(f'{known}@K' for known in RANKING_METRICS)} with K of "
        f"at least 1, or from {', '.join(RATING_METRICS)}"
    )


def _prepare(model: Any, pair: Any, metric: Metric, name: str, cutoff: int) -> _Split:
    """Bring a pair of matrices into the form that all candidates share."""
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise TypeError(f"splits must be a tuple (train, validation) or a list of such, got {type(pair).__name__}")
    prepared: dict[np.dtype, Interactions] = {}
    preparing = threading.Lock()

    def train(dtype: np.dtype) -> Interactions:
        with preparing:
            if dtype not in prepared:
                prepared[dtype] = model.interactions(pair[0], dtype)
            return prepared[dtype]

    cells = train(check_dtype("dtype", model.dtype))
    validation = model.interactions(pair[1], np.float64)
    validation = renumbered("validation", validation, cells.user_ids, cells.item_ids, "train")
    if validation.shape != cells.shape:
        raise ValueError(f"train has shape {cells.shape} and validation {validation.shape}: one shape is wanted")
    if not validation.nnz:
        raise ValueError("validation has no cell: at least one is wanted to tell candidates apart")
    if name in RANKING_METRICS:
        evaluator = Evaluator(validation, cutoff, [name], cells if name == "auc" else None)

        def score(fitted: Any) -> float:
            plain, *_ = without_ids(fitted)
            return evaluator.run(lambda users, n: plain.recommend(users, n)[0]).overall[f"{name}@{cutoff}"]
    elif name:

        def score(fitted: Any) -> float:
            return evaluate_ratings(fitted, validation, [name])[name]
    else:
        assert callable(metric)

        def score(fitted: Any) -> float:
            return float(metric(fitted, validation))

    return _Split(train, score, validation)


def _together(train: Interactions, validation: Interactions) -> Interactions:
    """Cells of both, stored zeros too, with the ids of train; those in both are summed."""
    parts = [part.csr.tocoo() for part in (train, validation)]
    data, rows, columns = (np.concatenate([getattr(part, name) for part in parts]) for name in ("data", "row", "col"))
    cells = sparse.coo_array((data, (rows, columns)), shape=train.shape)
    return Interactions(cells, train.dtype, user_ids=train.user_ids, item_ids=train.item_ids)


def _column(values: list[Any]) -> np.ndarray:
    """Numbers, words and flags as their own dtype, anything else as objects."""
    if any(all(isinstance(value, kind) for value in values) for kind in (bool, int, str)) or all(
        isinstance(value, (int, float)) and not isinstance(value, bool) for value in values
    ):
        return np.array(values)
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _family(search: _Search, trial: _Trial, of_half: bool = False) -> str:
    """Name those candidates that may begin where another of them ended: equal but for regularization."""
    params = search.model(trial).get_params()
    params["regularization"] = None
    if of_half and isinstance(params["factors"], int):
        params["factors"] = params["factors"] // 2 if params["factors"] % 2 == 0 else None
    return _canonical(params)


def _path(search: _Search) -> list[_Trial]:
    """Few factors before many, strong regularization before weak; otherwise in the order given."""

    def key(trial: _Trial) -> tuple[float, float]:
        model = search.model(trial)
        try:
            return float(model.factors), -float(np.sum(model.regularization))
        except (TypeError, ValueError):  # its fit will say what is wrong
            return math.inf, 0.0

    return sorted(search.trials, key=key)


# --- the journal -----------------------------------------------------------------------------------------------------


def _digest(splits: list[_Split], dtype: np.dtype) -> str:
    """Tell other data from these."""
    digest = hashlib.sha256()
    for split in splits:
        for cells in (split.train(dtype), split.validation):
            digest.update(repr(cells.shape).encode())
            for array in cells.by_user:
                digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


class _Journal:
    """Results as lines of JSON: the first says of which search, each other holds one score."""

    def __init__(self, path: Path, header: Parameters):
        self._path, self._writing = path, threading.Lock()
        self.results: dict[str, Parameters] = {}
        lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
        if not lines or lines == [""]:
            path.write_text(json.dumps(header) + "\n", encoding="utf-8")
            return
        unfinished = lines.pop()  # empty, or what an interrupted write left
        try:
            found, *entries = [json.loads(line) for line in lines]
        except ValueError as error:
            raise ValueError(f"journal {path} is not one of a search ({error}): name another file") from error
        if found != json.loads(json.dumps(header)):
            other = [name for name in header if not isinstance(found, dict) or found.get(name) != header[name]]
            raise ValueError(
                f"journal {path} is of another search ({', '.join(other)} differ): name another file, or delete it"
            )
        self.results = {entry["key"]: entry for entry in entries}
        if unfinished:
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def add(self, key: str, trial: _Trial) -> None:
        """Write a result down."""
        entry = {"key": key, "parameters": json.loads(_canonical(trial.parameters))}
        entry |= {name: getattr(trial, name) for name in _RESULTS}
        if math.isnan(trial.score):
            entry["score"] = None
        with self._writing, self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")
