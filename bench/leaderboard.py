"""Published protocols, each with the data, the split and the metrics as published: what is known, and what we get.

python -m bench.leaderboard [--only BOARD ...] [--data FOLDER] [--quick]

A board is run where its files are in FOLDER (default: FASTALS_DATA); the others are named with the files they want.
What is searched stands in `bench.spaces`. A search sees training data alone, of which it holds out a part as the test
part was held out; the test part is looked at once, for the parameters that the search has settled on and for the
defaults. Every figure of ours is the average over five seeds. The tables go into docs/benchmarks.md, unless `--quick`,
which thins the candidates out.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from bench.bench_quality import clipped_rmse
from bench.problems import ROOT
from bench.report import _table, fill
from bench.spaces import (
    IALS,
    ITERATIONS,
    RATING_ITERATIONS,
    implicit_candidates,
    rating_candidates,
    with_implicit_features,
)
from fastals import ExplicitALS, ImplicitALS
from fastals.datasets import Interactions, read_ratings, read_split, split_new_users, split_random
from fastals.evaluation import EASE, ItemKNN, Popularity, evaluate, evaluate_new_users, evaluate_sampled
from fastals.tuning import grid_search, successive_halving

SEEDS = range(5)
N_DRAWN = 60
FINALISTS = 4  # that go on to the greatest number of factors, and to the best number of iterations
QUICK = 16  # one candidate of so many
N_ITEMS_EASE = 15_000  # beyond, its dense matrix of items takes more than 2 GB

Scores = dict[str, float]


class Published(NamedTuple):
    """A figure of somebody else; None where a metric is not known."""

    model: str
    figures: tuple[float | None, ...]
    source: str


class Part(NamedTuple):
    """What to learn from, and how good a fitted model is on the rest."""

    train: sp.csr_array
    score: Callable[[Any], Scores]
    validation: sp.csr_array  # any entry of each user that is scored; searches want one


class Board(NamedTuple):
    """A protocol of ranking."""

    title: str
    metrics: tuple[str, ...]  # the first is searched for
    factors: tuple[int, ...]  # searched with the first, fitted with each
    published: tuple[Published, ...]
    given: dict[str, Any]  # parameters that somebody published for this protocol; none: empty
    parts: Callable[[Path], tuple[Part, Part]]  # the search's, and the test's
    baselines: bool = True


def average(found: list[Scores]) -> Scores:
    """Average over models."""
    return {metric: float(np.mean([scores[metric] for scores in found])) for metric in found[0]}


def _best_of(table: dict[str, np.ndarray]) -> list[int]:
    """Return the candidates of a halving by falling score, first those that had all iterations."""
    given_up = table["n_iter"] < table["n_iter"].max()
    return np.argsort(1e3 * given_up - table["score"]).tolist()


def settle(board: Board, part: Part, every: int) -> dict[str, Any]:
    """Return the best parameters: by halving, then the finalists with more factors, scored after each iteration."""

    def metric(model: Any, _: Any) -> float:
        return part.score(model)[board.metrics[0]]

    base = ImplicitALS(board.factors[0], alpha=0.0, iterations=ITERATIONS, popularity_exponent=0.0, random_state=0)
    candidates = [*IALS, *implicit_candidates(N_DRAWN, part.train)][::every]
    splits = part.train, part.validation
    first = successive_halving(base, candidates, splits, metric, factor=4, refit=False)
    best = _best_of(first.table)[:FINALISTS]
    finalists = [candidates[place] | {"factors": k} for place in best for k in board.factors]
    found = grid_search(base, finalists, splits, metric, every=1, patience=4, refit=False)
    print(board.title, found.best_parameters, f"{found.best_score:.4f} on validation", flush=True)
    return base.get_params() | found.best_parameters


def ranking_board(board: Board, folder: Path, every: int) -> str:
    """Return the table of a board."""
    begun = time.perf_counter()
    search, test = board.parts(folder)
    print(f"{board.title}: read in {time.perf_counter() - begun:.0f} s", flush=True)
    rows: list[tuple[str, list[float | None], str, str]] = [
        (known.model, list(known.figures), "", known.source) for known in board.published
    ]

    def ours(name: str, make: Callable[[int], Any], seeds: range, how: str) -> None:
        seconds, found = [], []
        for seed in seeds:
            model = make(seed)
            begun = time.perf_counter()
            model.fit(test.train)
            seconds.append(time.perf_counter() - begun)
            found.append(test.score(model))
        scores = average(found)
        print(board.title, name, scores, flush=True)
        rows.append((name, [scores[metric] for metric in board.metrics], f"{np.median(seconds):.2f}", how))

    if board.baselines:
        ours("Popularity", lambda _: Popularity(), range(1), "here")
        if test.train.shape[1] <= N_ITEMS_EASE:
            ours("EASE, default", lambda _: EASE(), range(1), "here")
        ours("ItemKNN, default", lambda _: ItemKNN(), range(1), "here")
    ours("ImplicitALS, no parameter given", lambda seed: ImplicitALS(random_state=seed), SEEDS, "here")
    if board.given:
        ours(
            "ImplicitALS, published parameters",
            lambda seed: ImplicitALS(random_state=seed, **board.given),
            SEEDS,
            "here",
        )
    begun = time.perf_counter()
    parameters = settle(board, search, every)
    seconds = time.perf_counter() - begun
    shown = ", ".join(
        f"{name} {np.round(value, 4) if isinstance(value, float) else value}"
        for name, value in parameters.items()
        if name in ("factors", "iterations", "unobserved_weight", "popularity_exponent")
    )
    ours(
        "ImplicitALS, searched",
        lambda seed: ImplicitALS(**parameters | {"random_state": seed}),
        SEEDS,
        f"here; search {seconds:.0f} s: {shown}",
    )
    rows.sort(key=lambda row: -(row[1][0] or 0.0))
    return _table(
        ["", *board.metrics, "seconds a fit", "source"],
        [[name, *("" if x is None else f"{x:.4f}" for x in figures), *rest] for name, figures, *rest in rows],
    )


# --- leave one out among given negatives (He et al. 2017) ------------------------------------------------------------


def ncf(folder: Path) -> tuple[Part, Part]:
    """Read the training ratings, the held-out item of each user and 99 drawn ones; validate in the same way."""
    home = folder / "ml-1m"
    ratings = np.loadtxt(home / "ratings.txt", usecols=(0, 1), dtype=np.int64)
    # Items are numbered by their first appearance.
    _, first, items = np.unique(ratings[:, 1], return_index=True, return_inverse=True)
    items = np.argsort(np.argsort(first))[items]
    R = sp.csr_array((np.ones(len(items)), (ratings[:, 0] - 1, items)))
    lines = (home / "ml-1m.test.negative").read_text().splitlines()
    numbers = np.array([list(map(int, re.findall(r"\d+", line))) for line in lines])
    users, held_out, negatives = numbers[:, 0], numbers[:, 1], numbers[:, 2:]
    train = R.tolil()
    train[users, held_out] = 0
    train = sp.csr_array(train.tocsr())
    train.eliminate_zeros()
    assert train.nnz == R.nnz - len(users), "the held-out items are not all among the ratings"
    rng = np.random.default_rng(0)
    validation = np.array([rng.choice(train.indices[slice(*train.indptr[u : u + 2])]) for u in users])
    others = np.array(
        [rng.choice(np.setdiff1d(np.arange(R.shape[1]), R.indices[slice(*R.indptr[u : u + 2])]), 99) for u in users]
    )
    inner = train.tolil()
    inner[users, validation] = 0
    inner = sp.csr_array(inner.tocsr())
    inner.eliminate_zeros()
    return _sampled(inner, users, validation, others), _sampled(train, users, held_out, negatives)


def _sampled(train: sp.csr_array, users: np.ndarray, held_out: np.ndarray, negatives: np.ndarray) -> Part:
    # In the published file 156 users have their held-out item among the others too. He et al. count it once.
    twice = (negatives == held_out[:, None]).any(axis=1)
    groups = [(~twice, negatives[~twice])]
    if twice.any():
        others = negatives[twice]
        groups.append((twice, others[others != held_out[twice, None]].reshape(len(others), -1)))

    def score(model: Any) -> Scores:
        found = [evaluate_sampled(model, users[which], held_out[which], others, 10).overall for which, others in groups]
        shares = [which.mean() for which, _ in groups]
        return {name: float(np.dot(shares, [scores[name] for scores in found])) for name in found[0]}

    return Part(train, score, sp.csr_array((np.ones(len(users)), (users, held_out)), train.shape))


# --- users who were not in the training data (Liang et al. 2018) -----------------------------------------------------

CUTOFFS = (20, 50, 100)


def new_users(folder: Path) -> tuple[Part, Part]:
    """MovieLens 1M: a fifth of the users is held out whole; four fifths of the items of each are given."""
    both = read_split(folder / "ml-1m-implicit" / "train.txt", folder / "ml-1m-implicit" / "test.txt", "adjacency")
    users, items = (np.concatenate([getattr(part, side) for part in both]) for side in ("users", "items"))
    whole = Interactions.from_triplets(users, items)
    parts = split_new_users(whole, test_share=0.2, random_state=0)
    inner = split_new_users(parts.train, test_share=0.2, random_state=1)
    return tuple(_new_users(*map(_ones, (part.train, part.given, part.test))) for part in (inner, parts))  # type: ignore[return-value]


def liang(folder: Path) -> tuple[Part, Part]:
    """Files as the notebook of Liang et al. writes them: train.csv, and pairs of tr and te for validation and test."""
    home = folder / "ml-20m-liang"
    n_items = len((home / "unique_sid.txt").read_text().split())

    def matrix(name: str, start: int | None = None) -> sp.csr_array:
        with (home / f"{name}.csv").open(newline="") as file:
            users, items = np.array([row[:2] for row in csv.reader(file)][1:], np.int64).T
        users = users - (users.min() if start is None else start)
        return sp.csr_array((np.ones(len(users)), (users, items)), (users.max() + 1, n_items))

    train = matrix("train")
    parts = []
    for name in ("validation", "test"):
        given, held_out = matrix(f"{name}_tr"), matrix(f"{name}_te")
        shape = max(given.shape[0], held_out.shape[0]), n_items
        given.resize(shape)
        held_out.resize(shape)
        parts.append(_new_users(train, given, held_out))
    return parts[0], parts[1]


def _new_users(train: sp.csr_array, given: sp.csr_array, held_out: sp.csr_array) -> Part:
    def score(model: Any) -> Scores:
        return evaluate_new_users(model, given, held_out, CUTOFFS).overall

    # A search wants validation entries of the shape of the training data; the score does not look at them.
    return Part(train, score, sp.csr_array(([1.0], ([0], [0])), train.shape))


# --- given training and test lists -----------------------------------------------------------------------------------


def given_split(name: str, layout: str = "adjacency") -> Callable[[Path], tuple[Part, Part]]:
    """Return a reader of train.txt and test.txt; where there is a valid.txt, it is the search's."""

    def read(folder: Path) -> tuple[Part, Part]:
        home = folder / name
        if (home / "valid.txt").is_file():
            train, valid, test = (_listed(home / f"{part}.txt") for part in ("train", "valid", "test"))
            shape = tuple(max(part.shape[axis] for part in (train, valid, test)) for axis in (0, 1))
            for part in (train, valid, test):
                part.resize(shape)
            return _ranked(train, valid), _ranked(sp.csr_array(train + valid), test)
        parts = read_split(home / "train.txt", home / "test.txt", layout)
        inner = split_random(parts[0], 0.2, random_state=1)
        return _ranked(*map(_ones, inner)), _ranked(*map(_ones, parts))

    return read


def plays(folder: Path) -> tuple[Part, Part]:
    """Last.fm 2K: a fifth of each listener's artists, at random."""
    parts = split_random(read_ratings(folder / "lastfm-2k" / "user_artists.dat"), 0.2, random_state=0)
    inner = split_random(parts[0], 0.2, random_state=1)
    return _ranked(*map(_ones, inner)), _ranked(*map(_ones, parts))


def _listed(path: Path) -> sp.csr_array:
    """Read lines of `user item 1`."""
    users, items = np.loadtxt(path, dtype=np.int64, usecols=(0, 1), ndmin=2).T
    return sp.csr_array((np.ones(len(users)), (users, items)))


def _ones(part: Interactions) -> sp.csr_array:
    return part.matrix(np.ones(len(part)))


def _ranked(train: sp.csr_array, test: sp.csr_array) -> Part:
    def score(model: Any) -> Scores:
        return evaluate(model, test, 20).overall

    return Part(train, score, test)


# --- rating errors, Surprise's folds ---------------------------------------------------------------------------------

RATING_CANDIDATES = 40


def ratings_100k(folder: Path) -> Interactions:
    """MovieLens 100K, in the order of its file."""
    return read_ratings(folder / "ml-100k" / "u.data", "u.data")


def ratings_1m(folder: Path) -> Interactions:
    """MovieLens 1M, in the order of its file."""
    users, items, values = np.loadtxt(folder / "ml-1m" / "ratings.txt", dtype=np.int64).T
    return Interactions.from_triplets(users, items, values)


def rating_board(
    read: Callable[[Path], Interactions], factors: tuple[int, ...], published: tuple[Published, ...], implicit: bool
) -> Callable[[Path, int], str]:
    """Return a board of RMSE over the five folds of Surprise's `KFold(n_splits=5, random_state=0)`.

    `implicit`: of models with implicit features, as SVD++ has them.
    """

    def board(folder: Path, every: int) -> str:
        ratings = read(folder)
        order = np.arange(len(ratings))
        np.random.RandomState(0).shuffle(order)  # as Surprise does
        given = {"implicit_features": True} if implicit else {}
        with_what, other = ("implicit features, ", "other ") if implicit else ("", "")
        names = f"{with_what}no {other}parameter given", f"{with_what}searched on the training part"
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
        for fold in np.array_split(order, 5)[:: 5 if every > 1 else 1]:
            train, test = ratings.select(np.setdiff1d(order, fold)), ratings.select(fold)
            settled = _settle_ratings(train, factors, every, implicit)
            R = train.matrix()
            for name, parameters in zip(found, (given, settled), strict=True):
                errors, seconds = [], []
                for seed in SEEDS:
                    begun = time.perf_counter()
                    model = ExplicitALS(**parameters | {"random_state": seed}).fit(R)
                    seconds.append(time.perf_counter() - begun)
                    errors.append(-clipped_rmse(model, test.matrix()))
                found[name].append((float(np.mean(errors)), float(np.median(seconds))))
                print(name, found[name][-1], flush=True)
        rows = [(known.model, known.figures[0] or np.nan, "", known.source) for known in published]
        for name, results in found.items():
            error, seconds = np.mean(results, axis=0)
            rows.append((f"ExplicitALS, {name}", float(error), f"{seconds:.2f}", "here"))
        rows.sort(key=lambda row: row[1])
        return _table(["", "RMSE", "seconds a fit", "source"], [[a, f"{b:.4f}", c, d] for a, b, c, d in rows])

    return board


def _settle_ratings(train: Interactions, factors: tuple[int, ...], every: int, implicit: bool) -> dict[str, Any]:
    inner, validation = split_random(train, 0.1, random_state=0)
    splits = inner.matrix(), validation.matrix()
    model = ExplicitALS(iterations=RATING_ITERATIONS, random_state=0)
    if implicit:  # one number more to search: twice as many candidates, the best of which get more factors
        drawn = with_implicit_features(rating_candidates(2 * RATING_CANDIDATES, splits[0]))[::every]
        few = [candidate | {"factors": factors[0]} for candidate in drawn]
        first = successive_halving(model, few, splits, clipped_rmse, min_iterations=3, n_jobs=-1, refit=False)
        best = _best_of(first.table)[:FINALISTS]
        finalists = [few[place] | {"factors": k} for place in best for k in factors]
        found = grid_search(model, finalists, splits, clipped_rmse, n_jobs=-1, refit=False)
    else:
        candidates = [
            candidate | {"factors": factors[place % len(factors)]}
            for place, candidate in enumerate(rating_candidates(RATING_CANDIDATES, splits[0]))
        ][::every]
        found = successive_halving(model, candidates, splits, clipped_rmse, min_iterations=3, refit=False)
    print(found.best_parameters, f"{-found.best_score:.4f} on validation", flush=True)
    return found.best_parameters


# --- the boards ------------------------------------------------------------------------------------------------------

RENDLE_2020 = "Rendle et al., Neural collaborative filtering vs. matrix factorization revisited, 2020"
RENDLE_2022 = "Rendle et al., Revisiting the performance of iALS, 2022"
BARS = "BARS, openbenchmark.github.io"
SURPRISE = "README of Surprise"


def _light(name: str, figures: dict[str, tuple[float, float]]) -> Board:
    known = tuple(Published(model, both, BARS) for model, both in figures.items())
    return Board(f"{name}, given lists", ("recall@20", "ndcg@20"), (64, 256), known, {}, given_split(name))


BOARDS: dict[str, tuple[tuple[str, ...], Callable[[Path, int], str]]] = {}


def _ranking(name: str, files: tuple[str, ...], board: Board) -> None:
    BOARDS[name] = files, lambda folder, every: ranking_board(board, folder, every)


_ranking(
    "ncf",
    ("ml-1m/ratings.txt", "ml-1m/ml-1m.test.negative"),
    Board(
        "MovieLens 1M, last item among 99 others",
        ("hit_rate@10", "ndcg@10"),
        (64, 192),
        (
            Published("iALS, k = 192", (0.7310, 0.4521), "irspack, examples"),
            Published("iALS, k = 64", (0.722, 0.445), RENDLE_2022),
            Published("matrix factorization by SGD, k = 192", (0.7294, 0.4523), RENDLE_2020),
            Published("SLIM", (0.7162, 0.4468), RENDLE_2020),
            Published("NeuMF", (0.7093, 0.4349), RENDLE_2020),
            Published("Popularity", (0.4535, 0.2543), RENDLE_2020),
        ),
        {
            "factors": 192,
            "alpha": 0.0,
            "unobserved_weight": 0.3,
            "regularization": 0.007,
            "popularity_exponent": 0.0,
            "iterations": 12,
        },
        ncf,
    ),
)
_ranking(
    "new-users",
    ("ml-1m-implicit/train.txt", "ml-1m-implicit/test.txt"),
    Board(
        "MovieLens 1M, new users",
        ("ndcg@100", "capped_recall@20", "capped_recall@50"),
        (64, 256),
        (),
        {},
        new_users,
        baselines=False,
    ),
)
_ranking(
    "liang-20m",
    tuple(f"ml-20m-liang/{name}" for name in ("train.csv", "test_tr.csv", "test_te.csv", "unique_sid.txt")),
    Board(
        "MovieLens 20M, new users",
        ("ndcg@100", "capped_recall@20", "capped_recall@50"),
        (256, 1024),
        (
            Published("EASE", (0.420, 0.391, 0.521), "VASP, 2021"),
            Published("Mult-VAE", (0.426, 0.395, 0.537), "VASP, 2021"),
            Published("RecVAE", (0.442, 0.414, 0.553), "VASP, 2021"),
        ),
        {},
        liang,
        baselines=False,
    ),
)
_ranking(
    "lastfm",
    ("lastfm-2k/user_artists.dat",),
    Board("Last.fm 2K, a fifth at random", ("ndcg@20", "recall@20"), (64, 128), (), {}, plays),
)
_ranking(
    "ml-1m",
    ("ml-1m-implicit/train.txt", "ml-1m-implicit/test.txt"),
    Board(
        "MovieLens 1M, given lists",
        ("ndcg@20", "recall@20"),
        (64, 128),
        (),
        {},
        given_split("ml-1m-implicit"),
    ),
)
_ranking(
    "beauty",
    ("amazon-beauty/train.txt", "amazon-beauty/valid.txt", "amazon-beauty/test.txt"),
    Board("Amazon Beauty, given lists", ("ndcg@20", "recall@20"), (64, 256), (), {}, given_split("amazon-beauty")),
)
LIGHTGCN = {
    "gowalla": {
        "MF-BPR": (0.1627, 0.1378),
        "EASE": (0.1765, 0.1467),
        "LightGCN": (0.1820, 0.1547),
        "SimpleX": (0.1872, 0.1557),
    },
    "yelp2018": {
        "MF-BPR": (0.0576, 0.0468),
        "EASE": (0.0657, 0.0552),
        "LightGCN": (0.0653, 0.0532),
        "SimpleX": (0.0701, 0.0575),
    },
    "amazon-book": {
        "MF-BPR": (0.0338, 0.0261),
        "SLIM": (0.0755, 0.0602),
        "EASE": (0.0710, 0.0567),
        "LightGCN": (0.0411, 0.0318),
    },
}
for name, figures in LIGHTGCN.items():
    _ranking(name, (f"{name}/train.txt", f"{name}/test.txt"), _light(name, figures))
SURPRISE_100K = tuple(
    Published(n, (x,), SURPRISE) for n, x in (("SVD++", 0.919), ("KNNBaseline", 0.931), ("SVD", 0.934))
)
SURPRISE_1M = tuple(Published(n, (x,), SURPRISE) for n, x in (("SVD++", 0.862), ("SVD", 0.873), ("KNNBaseline", 0.895)))
for name, file, read, numbers, known in (
    ("rmse-100k", "ml-100k/u.data", ratings_100k, (10, 20, 50, 100), SURPRISE_100K),
    ("rmse-1m", "ml-1m/ratings.txt", ratings_1m, (20, 50, 100, 256), SURPRISE_1M),
):
    BOARDS[name] = (file,), rating_board(read, numbers, known, implicit=False)
    BOARDS[f"{name}-implicit"] = (file,), rating_board(read, numbers[:3], known, implicit=True)


def runnable(folder: Path, names: list[str]) -> Iterator[str]:
    """Yield the boards whose files are there; say of the others what they want."""
    for name in names:
        missing = [file for file in BOARDS[name][0] if not (folder / file).is_file()]
        if missing:
            print(f"{name}: left out, as {folder} has no {', '.join(missing)}", flush=True)
        else:
            yield name


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.leaderboard", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=BOARDS, default=list(BOARDS), metavar="BOARD")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("FASTALS_DATA", ROOT)), metavar="FOLDER")
    parser.add_argument("--quick", action="store_true", help=f"one candidate of {QUICK}; prints only")
    arguments = parser.parse_args()
    for name in runnable(arguments.data, arguments.only):
        begun = time.perf_counter()
        table = BOARDS[name][1](arguments.data, QUICK if arguments.quick else 1)
        print(f"\n{name}, {time.perf_counter() - begun:.0f} s\n{table}\n", flush=True)
        if not arguments.quick:
            fill({f"leaderboard-{name}": table})


if __name__ == "__main__":
    main()
