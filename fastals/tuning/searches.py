"""Grid search, random search and successive halving."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.types import Columns
from ..evaluation.held_out import Metric
from ..validation import RandomState, check_flag, check_integer
from .candidates import Distribution, Grid, candidates_of, sample_candidates
from .search import Model, Search, SearchResult, Splits, Trial, check_jobs

if TYPE_CHECKING:
    from typing_extensions import Unpack


def grid_search(
    model: Model,
    grid: Grid,
    splits: Splits,
    metric: Metric = "ndcg@10",
    *,
    every: int = 0,
    patience: int = 2,
    warm_start: bool = False,
    n_jobs: int = 1,
    refit: bool = True,
    journal: str | Path | None = None,
    progress: bool = False,
    user_features: Any = None,
    item_features: Any = None,
    **columns: Unpack[Columns],
) -> SearchResult:
    """Try every combination of parameters.

    Parameters
    ----------
    model : ImplicitALS, ExplicitALS or WeightedALS
        Every candidate has its parameters, except those that the grid sets. It is not changed.
    grid : dict of str to sequence, or sequence of dict
        The values of each parameter, all of whose combinations are candidates; or the candidates themselves.
    splits : (train, validation), or list of such pairs
        Users x items matrices of one shape, Interactions or frames, as `fit` takes them. Scores are averages over the
        pairs. If both have ids, those of validation may come in any order, and need not be complete; an id that train
        does not have is refused.
    metric : str or callable (model, validation) -> float, default "ndcg@10"
        A name of `evaluation.RANKING_METRICS` or "graded_ndcg" with a cutoff, or a name of `evaluation.RATING_METRICS`:
        "rmse", "mae" (lower is better), "sign_accuracy". Of a function a higher number is better; it gets Interactions
        with rows and columns as in train.
    every : int, default 0
        Score a candidate after every so many iterations, and keep its best state; 0: after the last one only.
    patience : int, default 2
        Stop a candidate after so many scores in a row that are not better than its best one.
    warm_start : bool, default False
        Start a candidate from a fitted one that differs in regularization only (from strong to weak), or that has half
        its factors. So few iterations go further. Scores then depend on the order, which begins anew if an interrupted
        search goes on. Needs `n_jobs` of 1.
    n_jobs : int, default 1
        Candidates at once, -1: as many as there are threads. They share the threads of a fit; scores stay the same.
        Much faster on small data, where a fit gains little from several threads (MovieLens 100K on 2 CPUs: 1.6 times).
        It takes the memory of so many fits. A metric that is a function is called from several threads.
    refit : bool, default True
        Fit the best parameters on train and validation together (of the first split), with the ids of train. False:
        the returned model is the one that was fitted on the first train. If it was fitted in parts, `loss_history_` and
        `n_iter_` are those of the last part.
    journal : str or path, optional
        A file to which each score is appended as a line of JSON. A search that finds its own journal takes the scores
        from there, so an interrupted search goes on. Parameters that JSON cannot hold are told apart by their `repr`.
    progress : bool, default False
        Show a bar of candidates with the best score.
    user_features, item_features : as in `fit`, optional
        Features of the users and items of train, for all candidates. With several splits, matrices have the rows of
        each of them; tables with ids go by these.
    **columns
        Names of columns, such as ``user="customer", item="article"``, if the parts of `splits` are frames.

    Raises
    ------
    ValueError, TypeError
        Before any fit: an unknown parameter or metric, no candidates, shapes that differ, an empty validation part or
        one that is contained in train, a journal of another search. At the end: no candidate could be fitted.

    Notes
    -----
    A candidate that fails is named in a warning to the logger "fastals" and in the table, and the search goes on.

    Examples
    --------
    >>> import numpy as np
    >>> from fastals import ImplicitALS
    >>> from fastals.tuning import grid_search
    >>> R = np.kron(np.eye(2), np.ones((4, 4)))
    >>> validation = np.tile(np.eye(4), (2, 2)) * R
    >>> model = ImplicitALS(iterations=2, random_state=0)
    >>> found = grid_search(model, {"factors": [1, 2]}, (R - validation, validation), "recall@1")
    >>> found.best_parameters
    {'factors': 2, 'iterations': 2}
    """
    every, patience = check_integer("every", every, 0), check_integer("patience", patience, 1)
    options = {"every": every, "patience": patience, "warm_start": check_flag("warm_start", warm_start)}
    if warm_start and check_jobs(n_jobs) > 1:
        raise ValueError(f"n_jobs is {n_jobs}, but with warm_start candidates wait for each other: use n_jobs=1")
    features = {"user_features": user_features, "item_features": item_features}
    found = candidates_of("grid", grid)
    search = Search(model, found, splits, metric, n_jobs, refit, journal, options, columns, features)
    search.pauses = lambda most: [*range(every, most, every), most] if every else [most]
    order = search.path() if warm_start else list(search.trials)
    starts: dict[str, list[Any]] = {}

    def train(trial: Trial) -> None:
        start = starts.get(search.family(trial), starts.get(search.family(trial, of_half=True)))
        search.train(trial, patience, start)

    with search.reporting(len(order), progress) as report:
        for trial in search.run(order, train):
            if warm_start and trial.states:
                starts[search.family(trial)] = [state.model for state in trial.states]
            search.keep_best(trial)
            report(search.best_score)
    return search.result()


def random_search(
    model: Model,
    distributions: Mapping[str, Distribution],
    splits: Splits,
    metric: Metric = "ndcg@10",
    *,
    n_candidates: int = 20,
    random_state: RandomState = None,
    **options: Any,
) -> SearchResult:
    """Try combinations of parameters that are drawn at random.

    Parameters
    ----------
    model, splits, metric
        As in `grid_search`.
    distributions, n_candidates, random_state
        As in `sample_candidates`. An interrupted search goes on only with a seed, which gives the same candidates.
    **options
        `every`, `patience`, `warm_start`, `n_jobs`, `refit`, `journal`, `progress`, features and names of columns, as
        in `grid_search`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastals import ImplicitALS
    >>> from fastals.tuning import random_search
    >>> R = np.kron(np.eye(2), np.ones((4, 4)))
    >>> validation = np.tile(np.eye(4), (2, 2)) * R
    >>> space = {"alpha": lambda rng: rng.uniform(0, 10)}
    >>> model = ImplicitALS(factors=2, iterations=2, random_state=0)
    >>> found = random_search(model, space, (R - validation, validation), n_candidates=3, random_state=0)
    >>> len(found.table["alpha"])
    3
    """
    return grid_search(model, sample_candidates(distributions, n_candidates, random_state), splits, metric, **options)


def successive_halving(
    model: Model,
    candidates: Grid,
    splits: Splits,
    metric: Metric = "ndcg@10",
    *,
    min_iterations: int = 1,
    factor: int = 3,
    n_jobs: int = 1,
    refit: bool = True,
    journal: str | Path | None = None,
    progress: bool = False,
    user_features: Any = None,
    item_features: Any = None,
    **columns: Unpack[Columns],
) -> SearchResult:
    """Give all candidates a few iterations, and more to the best of them only.

    Parameters
    ----------
    model, splits, metric, n_jobs, refit, journal, progress, user_features, item_features, **columns
        As in `grid_search`.
    candidates : dict of str to sequence, or sequence of dict
        As `grid` in `grid_search`; `sample_candidates` draws some.
    min_iterations : int, default 1
        Iterations of every candidate.
    factor : int, default 3
        Of n candidates the best ``floor(n / factor)``, at least one, go on to `factor` times as many iterations; the
        last ones to `model.iterations`.

    Returns
    -------
    SearchResult
        A candidate that was given up has the score that it had then.

    Raises
    ------
    ValueError, TypeError
        As in `grid_search`; or `iterations` is among the parameters.

    Notes
    -----
    A fit goes on where it paused. The factors of all candidates that are still in the race are held at once.

    References
    ----------
    Jamieson & Talwalkar: Non-stochastic best arm identification and hyperparameter optimization. AISTATS 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from fastals import ImplicitALS
    >>> from fastals.tuning import successive_halving
    >>> R = np.kron(np.eye(2), np.ones((4, 4)))
    >>> validation = np.tile(np.eye(4), (2, 2)) * R
    >>> model = ImplicitALS(iterations=4, random_state=0)
    >>> found = successive_halving(model, {"factors": [1, 2, 3]}, (R - validation, validation), "recall@1")
    >>> found.table["n_iter"].tolist()
    [1, 4, 1]
    """
    options = {
        "min_iterations": check_integer("min_iterations", min_iterations, 1),
        "factor": check_integer("factor", factor, 2),
    }
    found = candidates_of("candidates", candidates)
    features = {"user_features": user_features, "item_features": item_features}
    search = Search(model, found, splits, metric, n_jobs, refit, journal, options, columns, features)
    most = check_integer("model.iterations", model.iterations, 1)
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
