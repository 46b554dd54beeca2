"""How good the models are, beside other libraries: run, print, rewrite the tables of quality in docs/benchmarks.md.

python -m bench.bench_quality [--only EXPERIMENT ...] [--quick]

Needs FASTALS_DATA with ml-100k, ml-1m-implicit and lastfm-2k. What is searched stands in `bench.spaces`. Searches are
functions of the training data alone, which they split once more; the test cells are looked at once, for what a search
has settled on. `--quick` thins the candidates out and leaves docs/benchmarks.md as it is.
"""

import argparse
import io
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from bench.machine import THREADS
from bench.problems import ROOT
from bench.report import _table, fill
from bench.spaces import (
    FACTORS,
    IALS,
    ITERATIONS,
    RATING_ITERATIONS,
    TUNING_FACTORS,
    implicit_candidates,
    rating_candidates,
)
from fastals import ExplicitALS, ImplicitALS
from fastals.data.interactions import as_interactions
from fastals.datasets import (
    Interactions,
    fetch_movielens,
    read_ratings,
    read_split,
    split_leave_last_out,
    split_new_users,
    split_random,
)
from fastals.engine.topk import pack, top_n
from fastals.evaluation import (
    Evaluation,
    Popularity,
    bootstrap_interval,
    evaluate,
    evaluate_new_users,
    evaluate_sampled,
    rmse,
)
from fastals.filters import lists_of
from fastals.published import (
    POSITIVE,
    PUBLISHED_IMPLICIT,
    STARTS,
    TIES,
    TUNED_IMPLICIT,
    leave_last_positive_out,
    ones,
)
from fastals.tuning import SearchResult, grid_search, successive_halving

DATA = Path(os.environ.get("FASTALS_DATA", ROOT))
QUICK = 11  # one candidate of so many
K = 20


def movielens() -> Interactions:
    """MovieLens 100K."""
    return fetch_movielens("100k", download=False)


def movielens_1m() -> tuple[Interactions, Interactions]:
    """Train and test of MovieLens 1M as it is handed around."""
    folder = DATA / "ml-1m-implicit"
    return read_split(folder / "train.txt", folder / "test.txt", "adjacency")


def shown(evaluation: Evaluation, *metrics: str) -> list[str]:
    """Each metric with its interval."""
    cells = []
    for metric in metrics:
        low, high = evaluation.interval(metric)
        cells += [f"{evaluation.overall[metric]:.4f}", f"{low:.4f} - {high:.4f}"]
    return cells


# --- the protocol of the ALS notes -----------------------------------------------------------------------------------


def ties_table(every: int) -> str:
    """Leave the last positive out, for four rules of which of equal times is the last."""
    splits = [leave_last_positive_out(movielens(), rule) for rule in TIES]
    starts = STARTS[::every]
    contenders: list[tuple[str, list[Any]]] = [
        ("Popularity", [Popularity()]),
        ("ImplicitALS, as in the ALS notes", [ImplicitALS(**PUBLISHED_IMPLICIT, random_state=seed) for seed in starts]),
        ("ImplicitALS, tuned", [ImplicitALS(**TUNED_IMPLICIT, random_state=seed) for seed in starts]),
    ]
    rows = [["ALS notes (2024), published", "0.1316", "", "", "0.0675", "", ""]]
    for name, models in contenders:
        row = [name]
        by_rule: dict[str, list[np.ndarray]] = {"recall@10": [], "ndcg@10": []}
        for train, test in splits:
            R, held_out = ones(train), ones(test)
            evaluations = [evaluate(model.fit(R), held_out, 10) for model in models]
            for metric, values in by_rule.items():
                values.append(np.mean([evaluation.per_user[metric] for evaluation in evaluations], axis=0))
        for values in by_rule.values():
            averages = [float(value.mean()) for value in values]
            low, high = bootstrap_interval(np.mean(values, axis=0))
            row += [f"{np.mean(averages):.4f}", f"{low:.4f} - {high:.4f}", f"{min(averages):.4f} - {max(averages):.4f}"]
        rows.append(row)
    return _table(["", "Recall@10", "95% over users", "over ties", "NDCG@10", "95% over users", "over ties"], rows)


# --- ratings beside Surprise -----------------------------------------------------------------------------------------

RATING_CANDIDATES = 40


class Part(NamedTuple):
    """Rows to learn from and rows to predict."""

    name: str
    train: Interactions
    test: Interactions


def rating_parts() -> Iterator[list[Part]]:
    """Surprise's five folds; then the latest fifth, of users and items that are known by then."""
    ratings = movielens()
    rows = np.arange(len(ratings))
    np.random.RandomState(0).shuffle(rows)  # as KFold(n_splits=5, random_state=0) does
    folds = np.split(rows, 5)
    yield [Part("5 folds", ratings.select(np.setdiff1d(rows, fold)), ratings.select(fold)) for fold in folds]
    order = np.argsort(ratings.times, kind="stable")
    train, test = ratings.select(order[:80_000]), ratings.select(order[80_000:])
    known_users = np.bincount(train.users, minlength=ratings.shape[0])[test.users] >= 10
    known_items = np.bincount(train.items, minlength=ratings.shape[1])[test.items] > 0
    yield [Part("latest fifth", train, test.select(known_users & known_items))]


def clipped_rmse(model: Any, test: Any) -> float:
    """Negative error of predictions within the scale, as Surprise makes them."""
    cells = as_interactions(test, "float64").csr.tocoo()
    return -rmse(cells.data, np.clip(model.predict(cells.row, cells.col), 1, 5))


def settle_ratings(train: Interactions, later: bool, every: int) -> dict[str, Any]:
    """Return the best parameters, found within the rows to learn from."""
    if later:  # validate as it will be tested
        cut = round(0.8 * len(train))
        inner, validation = train.select(np.arange(cut)), train.select(np.arange(cut, len(train)))
        users, items = (
            np.bincount(column, minlength=n) for column, n in zip((inner.users, inner.items), train.shape, strict=True)
        )
        validation = validation.select((users[validation.users] >= 10) & (items[validation.items] > 0))
    else:
        inner, validation = split_random(train, 0.2, random_state=0)
    splits = inner.matrix(), validation.matrix()
    candidates = rating_candidates(RATING_CANDIDATES, splits[0])[::every]
    model = ExplicitALS(iterations=RATING_ITERATIONS, random_state=0)
    found = grid_search(model, candidates, splits, clipped_rmse, every=5, refit=False)
    print(found.best_parameters, f"validation {-found.best_score:.4f}")
    return found.best_parameters


def our_ratings(part: Part, later: bool, every: int) -> tuple[float, float]:
    """Return the error on the test rows and the seconds of the fit."""
    model, R = ExplicitALS(random_state=0, **settle_ratings(part.train, later, every)), part.train.matrix()
    begun = time.perf_counter()
    model.fit(R)
    seconds = time.perf_counter() - begun
    return -clipped_rmse(model, part.test.matrix()), seconds


def surprise_ratings(name: str, part: Part) -> tuple[float, float]:
    """Return the error and the seconds of the fit of one of Surprise's models with its defaults."""
    import surprise

    def rows(ratings: Interactions) -> list[tuple[Any, ...]]:
        users, items = ratings.user_ids[ratings.users].tolist(), ratings.item_ids[ratings.items].tolist()
        return list(zip(map(str, users), map(str, items), map(float, ratings.values), strict=True))

    data = surprise.Dataset(surprise.Reader())
    model = getattr(surprise, name)(random_state=0)
    train = data.construct_trainset([(*row, None) for row in rows(part.train)])
    begun = time.perf_counter()
    model.fit(train)
    seconds = time.perf_counter() - begun
    predictions = model.test(rows(part.test))
    return rmse(
        [prediction.r_ui for prediction in predictions], [prediction.est for prediction in predictions]
    ), seconds


def ratings_table(every: int) -> str:
    """RMSE of predicted ratings, and seconds a fit."""
    contenders: dict[str, Callable[[Part, bool], tuple[float, float]]] = {
        "Surprise SVD": lambda part, _: surprise_ratings("SVD", part),
        "Surprise SVD++": lambda part, _: surprise_ratings("SVDpp", part),
        "ExplicitALS, biases": lambda part, later: our_ratings(part, later, every),
    }
    ExplicitALS(factors=2, iterations=1).fit(movielens().matrix())  # compiles
    rows = {name: [name] for name in contenders}
    for later, parts in enumerate(rating_parts()):
        parts = parts[::every]
        for name, measure in contenders.items():
            errors, seconds = zip(*(measure(part, bool(later)) for part in parts), strict=True)
            rows[name] += [f"{np.mean(errors):.4f}", f"{np.median(seconds):.3g}"]
            print(name, errors, seconds, flush=True)
    return _table(["", "RMSE, 5 folds", "seconds a fit", "RMSE, latest fifth", "seconds a fit"], list(rows.values()))


# --- ranking beside implicit and irspack -----------------------------------------------------------------------------


class Factors:
    """Somebody's factors, ranked by the same code as ours."""

    def __init__(self, X: np.ndarray, Y: np.ndarray, train: sp.csr_array) -> None:
        self._X, self._columns = np.asarray(X, np.float32), pack(np.asarray(Y, np.float32))
        self._seen = lists_of(train.indptr, train.indices)

    def recommend(self, users: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        return top_n(self._X, self._columns, n, THREADS, rows=users, excluded=(self._seen._replace(rows=users),))


OURS = ImplicitALS(alpha=0.0, popularity_exponent=0.0, iterations=ITERATIONS, random_state=0)
METRICS = (f"recall@{K}", f"ndcg@{K}")
SEEDS = (0, 1, 2)  # of the models that are tested: NDCG@20 on validation cells differs by 0.002 between them (lastfm)
N_DRAWN = 60  # by halving: with the grid, and for both metrics, about the seconds of the slowest peer's grid
Parameters = dict[str, Any]
Fit = Callable[[sp.csr_array, Parameters, int, int], Any]  # matrix, candidate, factors, seed


def fit_fastals(train: sp.csr_array, candidate: Parameters, factors: int, seed: int) -> Any:
    return ImplicitALS(**OURS.get_params() | {"factors": factors, "random_state": seed} | candidate).fit(train)


def fit_implicit(train: sp.csr_array, candidate: Parameters, factors: int, seed: int) -> Any:
    """Its unobserved cells weigh 1 and its ridge is plain: all is divided by the weight, the ridge is the average."""
    from implicit.cpu.als import AlternatingLeastSquares

    weight, ridge = candidate["unobserved_weight"], candidate["regularization"]
    n_users, n_items = train.shape
    rows = 2 * train.nnz + 2 * weight * n_users * n_items  # n_u + weight * n_items over users, likewise over items
    model = AlternatingLeastSquares(
        factors=factors,
        alpha=1.0 / weight,
        regularization=ridge * rows / (n_users + n_items) / weight,
        iterations=ITERATIONS,
        random_state=seed,
        num_threads=THREADS,
    )
    model.fit(sp.csr_matrix(train), show_progress=False)
    return Factors(model.user_factors, model.item_factors, train)


def fit_irspack(train: sp.csr_array, candidate: Parameters, factors: int, seed: int) -> Any:
    from irspack import IALSRecommender

    model = IALSRecommender(
        sp.csr_matrix(train),
        n_components=factors,
        alpha0=candidate["unobserved_weight"],
        reg=candidate["regularization"],
        train_epochs=ITERATIONS,
        random_seed=seed,
        n_threads=THREADS,
    )
    with redirect_stdout(io.StringIO()):  # its bar cannot be turned off
        model.learn()
    core = model.trainer_as_ials.core_trainer
    return Factors(core.user, core.item, train)


def settle_in_full(fit: Fit, kept: sp.csr_array, validation: sp.csr_array, every: int) -> dict[str, Parameters]:
    """Return the best of the 36 candidates by each metric, each fitted to the end: 576 iterations."""
    candidates = IALS[::every]
    scores = [evaluate(fit(kept, candidate, TUNING_FACTORS, 0), validation, K).overall for candidate in candidates]
    return {metric: candidates[int(np.argmax([score[metric] for score in scores]))] for metric in METRICS}


def settle_by_halving(kept: sp.csr_array, validation: sp.csr_array, every: int) -> dict[str, Parameters]:
    """Return the best by each metric of the grid and of draws that set all parameters, at the size that is tested."""
    candidates = [*IALS, *implicit_candidates(N_DRAWN, kept)][::every]
    model = ImplicitALS(**OURS.get_params() | {"factors": FACTORS})
    search = partial(successive_halving, model, candidates, (kept, validation), n_jobs=THREADS, refit=False)
    return {metric: search(metric).best_parameters for metric in METRICS}


HALVING = "fastals, by halving"
RIVALS: dict[str, tuple[Fit, Callable[[sp.csr_array, sp.csr_array, int], dict[str, Parameters]]]] = {
    name: (fit, lambda *data, fit=fit: settle_in_full(fit, *data))
    for name, fit in (("fastals", fit_fastals), ("implicit", fit_implicit), ("irspack", fit_irspack))
} | {HALVING: (fit_fastals, settle_by_halving)}


def ranking_data() -> Iterator[tuple[str, Interactions, Interactions]]:
    """Name, train and test."""
    listened = read_ratings(DATA / "lastfm-2k" / "user_artists.dat")
    yield ("lastfm-2k", *split_random(listened, 0.2, random_state=0))
    yield ("ml-1m-implicit", *movielens_1m())


def by_user(fit: Fit, settled: dict[str, Parameters], train: sp.csr_array, test: sp.csr_array) -> dict[str, np.ndarray]:
    """Each metric of each user, of the parameters that were settled on for it: averages over the seeds."""
    return {
        metric: np.mean(
            [evaluate(fit(train, parameters, FACTORS, seed), test, K).per_user[metric] for seed in SEEDS], axis=0
        )
        for metric, parameters in settled.items()
    }


def ranking_table(every: int) -> str:
    """Recall@20 and NDCG@20 of each library with what its own search found for each; what ours is ahead by."""
    rows, ahead = [], []
    for name, train, test in ranking_data():
        parts = [ones(part) for part in split_random(train, 0.2, random_state=1)]
        settled = {}
        for library, (fit, settle) in RIVALS.items():
            evaluate(fit(parts[0], IALS[0], 2, 0), parts[1], K)  # compiles
            begun = time.perf_counter()
            settled[library] = settle(*parts, every), time.perf_counter() - begun
            print(name, library, settled[library], flush=True)
        found = {
            library: by_user(RIVALS[library][0], settled[library][0], ones(train), ones(test)) for library in RIVALS
        }
        for library, users in found.items():
            row = [name, library, f"{settled[library][1]:.0f}"]
            rows.append(row + [cell for metric in METRICS for cell in _with_interval(users[metric], "{:.4f}")])
        for ours, peer in itertools.product(("fastals", HALVING), ("implicit", "irspack")):
            gains = (_with_interval(found[ours][metric] - found[peer][metric], "{:+.4f}") for metric in METRICS)
            ahead.append([name, f"{ours} - {peer}", *(cell for gain in gains for cell in gain)])
    columns = f"Recall@{K}", "95% over users", f"NDCG@{K}", "95% over users"
    return _table(["", "", "search, s", *columns], rows) + "\n\n" + _table(["", "difference", *columns], ahead)


def _with_interval(values: np.ndarray, form: str) -> list[str]:
    """Average and bootstrap interval."""
    low, high = bootstrap_interval(values)
    return [form.format(values.mean()), f"{form.format(low)} to {form.format(high)}"]


# --- other protocols -------------------------------------------------------------------------------------------------


# What Rendle et al. 2022 trained with in these two protocols, on MovieLens 1M and 20M. Nothing is searched here.
GIVEN_NEGATIVES = {"unobserved_weight": 0.3, "regularization": 0.007, "factors": 192, "iterations": 12}
NEW_USERS = {"unobserved_weight": 0.1, "regularization": 0.003, "factors": 256, "iterations": 16}
N_NEGATIVES = 100


class PopularityOfNewUsers:
    """The most popular items that new users do not have."""

    def __init__(self, train: sp.csr_array) -> None:
        self._counts = np.bincount(train.indices, minlength=train.shape[1])

    def recommend(self, given: sp.csr_array, n: int, fold_in: bool) -> tuple[np.ndarray, np.ndarray]:
        counts = np.where(given.toarray() != 0, -1, self._counts)
        ids = np.argsort(-counts, axis=1, kind="stable")[:, :n]
        return ids, np.take_along_axis(counts, ids, axis=1)


def draw_negatives(ratings: Interactions, users: np.ndarray, n: int, random_state: int) -> np.ndarray:
    """Items that each user does not have, none twice."""
    rng = np.random.default_rng(random_state)
    has = ones(ratings).toarray() != 0
    return np.array([rng.choice(np.flatnonzero(~has[user]), n, replace=False) for user in users])


def protocols_table(every: int) -> str:
    """The last rating of a user among 100 that it does not have (He et al.); users not seen before (Liang et al.)."""
    rows = []
    ratings = movielens()
    train, test = split_leave_last_out(ratings)
    negatives = draw_negatives(ratings, test.users, N_NEGATIVES, 0)
    for name, model in (
        ("Popularity", Popularity()),
        ("ImplicitALS", ImplicitALS(**OURS.get_params() | GIVEN_NEGATIVES)),
    ):
        result = evaluate_sampled(model.fit(ones(train)), test.users, test.items, negatives, 10)
        for metric, label in (("hit_rate@10", "HR@10"), ("ndcg@10", "NDCG@10")):
            rows.append(["ml-100k, He et al.", name, label, *shown(result, metric)])
    both = movielens_1m()
    users, items = (np.concatenate([getattr(part, side) for part in both]) for side in ("users", "items"))
    whole = Interactions.from_triplets(both[0].user_ids[users], both[0].item_ids[items])
    parts = split_new_users(whole, test_share=0.2, random_state=0)
    R = ones(parts.train)
    for name, model in (
        ("Popularity", PopularityOfNewUsers(R)),
        ("ImplicitALS", ImplicitALS(**OURS.get_params() | NEW_USERS | {"iterations": -(-16 // every)}).fit(R)),
    ):
        given, held_out = ones(parts.given), ones(parts.test)
        result = evaluate_new_users(model, given, held_out, (20, 50, 100))
        for metric, label in (
            ("capped_recall@20", "Recall@20"),
            ("capped_recall@50", "Recall@50"),
            ("ndcg@100", "NDCG@100"),
        ):
            rows.append(["ml-1m, Liang et al.", name, label, *shown(result, metric)])
    return _table(["", "", "", "", "95% over users"], rows)


# --- halving ---------------------------------------------------------------------------------------------------------


def halving_table(every: int) -> str:
    """Forty candidates in full, and the same by successive halving, each one by one and side by side; all in turns."""
    ratings = movielens()
    splits = tuple(map(ones, split_random(ratings.select(ratings.values >= POSITIVE), 0.2, random_state=0)))
    rng = np.random.default_rng(0)
    candidates = [
        {"factors": int(rng.choice((16, 32, 64, 128)))} | IALS[place]
        for place in rng.choice(len(IALS) * 2, 40, replace=False) % len(IALS)
    ][::every]
    model = ImplicitALS(alpha=0.0, popularity_exponent=0.0, iterations=20, random_state=0)
    model.fit(splits[0])  # compiles
    searches: dict[str, Callable[..., Any]] = {
        f"{len(candidates)} full fits": grid_search,
        "successive halving": successive_halving,
    }
    contenders = {
        f"{name}, n_jobs={n_jobs}": partial(search, model, candidates, splits, METRICS[1], n_jobs=n_jobs, refit=False)
        for name, search in searches.items()
        for n_jobs in (1, THREADS)
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    found: dict[str, SearchResult] = {}
    for _ in range(5):
        for name, search in contenders.items():
            begun = time.perf_counter()
            found[name] = search()
            seconds[name].append(time.perf_counter() - begun)
    print(seconds)
    rows = [
        [
            name,
            f"{np.median(seconds[name]):.2f}",
            f"{result.best_score:.4f}",
            ", ".join(f"{key} {result.best_parameters[key]:.3g}" for key in candidates[0]),
        ]
        for name, result in found.items()
    ]
    return _table(["20 iterations each", "seconds", f"NDCG@{K} on validation", "winner"], rows)


EXPERIMENTS: dict[str, Callable[[int], str]] = {
    "quality-ties": ties_table,
    "quality-ratings": ratings_table,
    "quality-ranking": ranking_table,
    "quality-protocols": protocols_table,
    "quality-halving": halving_table,
}


def main() -> None:
    from threadpoolctl import threadpool_limits

    parser = argparse.ArgumentParser(prog="python -m bench.bench_quality", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS), metavar="EXPERIMENT")
    parser.add_argument(
        "--quick", action="store_true", help=f"one candidate of {QUICK}; docs/benchmarks.md stays as it is"
    )
    arguments = parser.parse_args()
    subprocess.run([sys.executable, "-m", "pytest", "bench/test_quality.py"], cwd=ROOT, check=True)  # the metrics first
    for name in arguments.only:
        begun = time.perf_counter()
        with threadpool_limits(1):  # BLAS: implicit calls it from threads of its own
            table = EXPERIMENTS[name](QUICK if arguments.quick else 1)
        print(f"\n{name}, {time.perf_counter() - begun:.0f} s\n{table}\n", flush=True)
        if not arguments.quick:
            fill({name: table})


if __name__ == "__main__":
    main()
