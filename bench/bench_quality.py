"""How good the models are, beside other libraries: run, print, rewrite README's tables of quality.

python -m bench.bench_quality [--only EXPERIMENT ...]

Needs FASTALS_DATA with ml-100k, ml-1m-implicit and lastfm-2k. Parameters are searched on validation parts of the
training data, by every library with as many candidates; the test cells are looked at once.
"""

import argparse
import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.stats import loguniform

from bench.machine import THREADS
from bench.problems import ROOT
from bench.report import README, _table, rewrite
from fastals import ExplicitALS, ImplicitALS
from fastals.baselines import Popularity
from fastals.datasets import Ratings, fetch_movielens, read_ratings, read_split, split_leave_last_out, split_random
from fastals.engine.problem import Cells
from fastals.engine.topk import pack
from fastals.evaluation import bootstrap_interval, evaluate, rmse
from fastals.interactions import as_interactions
from fastals.recommend import Choice, Scores, best
from fastals.tuning import grid_search, random_search, sample_candidates, successive_halving

DATA = Path(os.environ.get("FASTALS_DATA", ROOT))
TIES = ("file", "first", "item", "item_descending")
STARTS = range(5)
POSITIVE = 4.0


def ones(ratings: Ratings) -> sp.csr_array:
    """Return the matrix that stores 1 for each rating."""
    return ratings.matrix(np.ones(len(ratings)))


def movielens() -> Ratings:
    """MovieLens 100K."""
    return fetch_movielens("100k", download=False)


# --- the first text's protocol ---------------------------------------------------------------------------------------

IMPLICIT_SPACE = {
    "factors": [32, 64, 128],
    "alpha": [0.0, 1.0, 4.0],
    "unobserved_weight": loguniform(0.03, 1.0),
    "regularization": loguniform(2e-3, 5e-2),
    "popularity_exponent": [0.0, 0.4],
}
TEXT = {"factors": 64, "alpha": 10.0, "regularization": 0.001, "iterations": 20}  # what the text trains ALS with


def ties_table() -> str:
    """Leave the last positive out, for four rules of which of equal times is the last."""
    ratings = movielens()
    positive = ratings.select(ratings.values >= POSITIVE)
    splits = [split_leave_last_out(positive, ties=rule) for rule in TIES]
    again = [split_leave_last_out(train, ties=rule) for (train, _), rule in zip(splits, TIES, strict=True)]
    prototype = ImplicitALS(regularization_exponent=1.0, random_state=0)
    found = random_search(
        prototype,
        IMPLICIT_SPACE,
        [(ones(train), ones(validation)) for train, validation in again],
        "ndcg@10",
        n_candidates=30,
        random_state=0,
        refit=False,
    )
    print(f"tuned on validation: {found.best_parameters}, NDCG@10 {found.best_score:.4f}")
    tuned = prototype.get_params() | found.best_parameters
    contenders: list[tuple[str, list[Any]]] = [
        ("Popularity", [Popularity()]),
        ("ImplicitALS, the text's parameters", [ImplicitALS(**TEXT, random_state=seed) for seed in STARTS]),
        ("ImplicitALS, tuned", [ImplicitALS(**tuned | {"random_state": seed}) for seed in STARTS]),
    ]
    rows = [["the text's ALS", "0.1316", "", "", "0.0675", "", ""]]
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

EXPLICIT_SPACE = {
    "factors": [3, 5, 8, 12, 20, 40],
    "regularization": lambda rng: (float(np.exp(rng.uniform(-0.5, 1.6))), float(np.exp(rng.uniform(-0.8, 1.2)))),
    "regularization_exponent": [0.3, 0.5],
    "iterations": [10, 20],
}


class Part(NamedTuple):
    """Rows to learn from and rows to predict."""

    name: str
    train: Ratings
    test: Ratings


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


def our_ratings(part: Part, later: bool) -> tuple[float, float]:
    """Return the error on the test rows, parameters found within the train rows, and the seconds of the fit."""
    if later:  # validate as it will be tested
        cut = round(0.8 * len(part.train))
        inner = part.train.select(np.arange(cut)), part.train.select(np.arange(cut, len(part.train)))
        users, items = (
            np.bincount(column, minlength=n)
            for column, n in zip((inner[0].users, inner[0].items), part.train.shape, strict=True)
        )
        inner = inner[0], inner[1].select((users[inner[1].users] >= 10) & (items[inner[1].items] > 0))
    else:
        inner = split_random(part.train, 0.2, random_state=0)
    matrices = inner[0].matrix(), inner[1].matrix()
    found = random_search(
        ExplicitALS(random_state=0),
        EXPLICIT_SPACE,
        matrices,
        clipped_rmse,
        n_candidates=40,
        random_state=0,
        refit=False,
    )
    model, R = ExplicitALS(random_state=0, **found.best_parameters), part.train.matrix()
    begun = time.perf_counter()
    model.fit(R)
    seconds = time.perf_counter() - begun
    print(part.name, found.best_parameters, f"validation {-found.best_score:.4f}")
    return -clipped_rmse(model, part.test.matrix()), seconds


def surprise_ratings(name: str, part: Part) -> tuple[float, float]:
    """Return the error and the seconds of the fit of one of Surprise's models with its defaults."""
    import surprise

    def rows(ratings: Ratings) -> list[tuple[Any, ...]]:
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


def ratings_table() -> str:
    """RMSE of predicted ratings, and seconds a fit."""
    contenders: dict[str, Callable[[Part, bool], tuple[float, float]]] = {
        "Surprise SVD": lambda part, _: surprise_ratings("SVD", part),
        "Surprise SVD++": lambda part, _: surprise_ratings("SVDpp", part),
        "ExplicitALS, biases": our_ratings,
    }
    our_ratings(next(rating_parts())[0], False)  # compiles
    rows = {name: [name] for name in contenders}
    for later, parts in enumerate(rating_parts()):
        for name, measure in contenders.items():
            errors, seconds = zip(*(measure(part, bool(later)) for part in parts), strict=True)
            rows[name] += [f"{np.mean(errors):.4f}", f"{np.median(seconds):.3g}"]
            print(name, errors, seconds, flush=True)
    return _table(["", "RMSE, 5 folds", "seconds a fit", "RMSE, latest fifth", "seconds a fit"], list(rows.values()))


# --- ranking beside implicit and irspack -----------------------------------------------------------------------------

CANDIDATES, ITERATIONS, K = 16, 15, 20
# By halving, 64 candidates take 64 + 16 * 3 + 4 * 11 = 156 iterations and 64 starts, less than 16 in full.
HALVED = {"n": 64, "factor": 4}
FACTORS = [32, 64, 128]


class Factors:
    """Somebody's factors, ranked by the same code as ours."""

    def __init__(self, X: np.ndarray, Y: np.ndarray, train: sp.csr_array) -> None:
        self._scores = Scores(np.asarray(X, np.float32), np.asarray(Y, np.float32), None, None, 0.0)
        self._columns = pack(self._scores.item_factors)
        one = np.ones(1, np.float32)
        self._seen = Cells(train.indptr.astype(np.int64), train.indices.astype(np.int32), one, one)

    def recommend(self, users: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        return best(self._scores, self._columns, users, self._seen, Choice(), n, THREADS)


OURS = ImplicitALS(alpha=0.0, regularization_exponent=1.0, iterations=ITERATIONS, random_state=0)


def fit_fastals(train: sp.csr_array, parameters: dict[str, Any]) -> Any:
    return ImplicitALS(**OURS.get_params() | parameters).fit(train)


def fit_implicit(train: sp.csr_array, parameters: dict[str, Any]) -> Any:
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(**parameters, iterations=ITERATIONS, random_state=0, num_threads=THREADS)
    model.fit(sp.csr_matrix(train), show_progress=False)
    return Factors(model.user_factors, model.item_factors, train)


def fit_irspack(train: sp.csr_array, parameters: dict[str, Any]) -> Any:
    from irspack import IALSRecommender

    model = IALSRecommender(sp.csr_matrix(train), **parameters, train_epochs=ITERATIONS, n_threads=THREADS)
    with redirect_stdout(io.StringIO()):  # its bar cannot be turned off
        model.learn()
    core = model.trainer_as_ials.core_trainer
    return Factors(core.user, core.item, train)


RIVALS: dict[str, tuple[Callable[[sp.csr_array, dict[str, Any]], Any], dict[str, Any]]] = {
    "fastals": (
        fit_fastals,
        {"factors": FACTORS, "unobserved_weight": loguniform(3e-3, 1.0), "regularization": loguniform(1e-4, 1e-1)},
    ),
    "implicit": (
        fit_implicit,
        {"factors": FACTORS, "alpha": loguniform(1.0, 100.0), "regularization": loguniform(1e-2, 100.0)},
    ),
    "irspack": (
        fit_irspack,
        {"n_components": FACTORS, "alpha0": loguniform(3e-3, 1.0), "reg": loguniform(1e-4, 1e-1)},
    ),
}


def ranking_data() -> Iterator[tuple[str, Ratings, Ratings]]:
    """Name, train and test."""
    listened = read_ratings(DATA / "lastfm-2k" / "user_artists.dat")
    yield ("lastfm-2k", *split_random(listened, 0.2, random_state=0))
    folder = DATA / "ml-1m-implicit"
    yield ("ml-1m-implicit", *read_split(folder / "train.txt", folder / "test.txt", "adjacency"))


def best_in_full(fit: Callable[..., Any], space: dict[str, Any], kept: Any, validation: Any) -> dict[str, Any]:
    """Return the best of 16 candidates, each fitted to the end."""
    candidates = sample_candidates(space, CANDIDATES, 0)
    scores = [evaluate(fit(kept, candidate), validation, K, ["ndcg"]).overall[f"ndcg@{K}"] for candidate in candidates]
    return candidates[int(np.argmax(scores))]


# Narrower than the space of the full fits, with an exponent that the others do not have. What Rendle et al. 2022 found
# by tuning for MovieLens and the Million Song Dataset lies within.
HALVED_SPACE = {
    "factors": FACTORS,
    "unobserved_weight": loguniform(1e-2, 1.0),
    "regularization": loguniform(1e-3, 1e-1),
    "popularity_exponent": [0.0, 0.4],
}


def best_by_halving(kept: Any, validation: Any) -> dict[str, Any]:
    """Return the best of 64 candidates, most of which are given up early."""
    candidates = sample_candidates(HALVED_SPACE, HALVED["n"], 0)
    found = successive_halving(OURS, candidates, (kept, validation), f"ndcg@{K}", factor=HALVED["factor"], refit=False)
    return found.best_parameters


def ranking_table() -> str:
    """Recall@20 and NDCG@20 of each library with the parameters that its own search found."""
    rows = []
    for name, train, test in ranking_data():
        kept, validation = (ones(part) for part in split_random(train, 0.2, random_state=1))
        R, held_out = ones(train), ones(test)
        for library, (fit, space) in RIVALS.items():
            searches = {library: best_in_full(fit, space, kept, validation)}
            if fit is fit_fastals:
                searches["fastals, by halving"] = best_by_halving(kept, validation)
            for row_name, parameters in searches.items():
                result = evaluate(fit(R, parameters), held_out, K)
                row = [name, row_name]
                for metric in (f"recall@{K}", f"ndcg@{K}"):
                    low, high = result.interval(metric)
                    row += [f"{result.overall[metric]:.4f}", f"{low:.4f} - {high:.4f}"]
                rows.append(row)
                print(row, best, flush=True)
    return _table(["", "", f"Recall@{K}", "95% over users", f"NDCG@{K}", "95% over users"], rows)


# --- halving ---------------------------------------------------------------------------------------------------------


def halving_table() -> str:
    """Forty candidates in full, and the same by successive halving."""
    ratings = movielens()
    train, validation = split_random(ratings.select(ratings.values >= POSITIVE), 0.2, random_state=0)
    splits = ones(train), ones(validation)
    space = {
        "factors": [16, 32, 64, 128],
        "alpha": [0.0, 1.0, 4.0],
        "unobserved_weight": loguniform(0.01, 1.0),
        "regularization": loguniform(1e-3, 1e-1),
    }
    candidates = sample_candidates(space, 40, 0)
    model = ImplicitALS(regularization_exponent=1.0, iterations=20, random_state=0)
    model.fit(splits[0])  # compiles
    rows = []
    for name, search, options in (
        ("40 full fits", grid_search, {}),
        ("successive halving", successive_halving, {"min_iterations": 1, "factor": 4}),
    ):
        runs = []
        for _ in range(3):
            begun = time.perf_counter()
            found = search(model, candidates, splits, "ndcg@20", refit=False, **options)
            runs.append(time.perf_counter() - begun)
        parameters = ", ".join(f"{name} {value:.3g}" for name, value in found.best_parameters.items() if name in space)
        rows.append([name, f"{np.median(runs):.2f}", f"{found.best_score:.4f}", parameters])
        print(rows[-1], runs, flush=True)
    return _table(["20 iterations each", "seconds", "NDCG@20 on validation", "winner"], rows)


EXPERIMENTS: dict[str, Callable[[], str]] = {
    "quality-ties": ties_table,
    "quality-ratings": ratings_table,
    "quality-ranking": ranking_table,
    "quality-halving": halving_table,
}


def main() -> None:
    from threadpoolctl import threadpool_limits

    parser = argparse.ArgumentParser(prog="python -m bench.bench_quality", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS), metavar="EXPERIMENT")
    for name in parser.parse_args().only:
        with threadpool_limits(1):  # BLAS: implicit calls it from threads of its own
            table = EXPERIMENTS[name]()
        print(f"\n{name}\n{table}\n", flush=True)
        README.write_text(rewrite(README.read_text(), name, table))


if __name__ == "__main__":
    main()
