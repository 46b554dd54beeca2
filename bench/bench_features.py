"""What features cost, and what they do for items that nobody has seen: `python -m bench.bench_features`.

Time: a fit on ml-1m with and without 100 feature columns on both sides, in turns; wall and CPU time, medians of ratios.
Quality: ml-100k with a tenth of the items held out whole; the genres of `u.item` are the features.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import sparse

import fastals


def ratings(path: Path) -> sparse.csr_array:
    """Return a file of user, item and rating as a matrix; row u is user u + 1."""
    users, items, values = np.loadtxt(path, usecols=(0, 1, 2), dtype=np.int64).T
    return sparse.coo_array((values.astype(np.float32), (users - 1, items - 1))).tocsr()


def seconds(run: Callable[[], object]) -> tuple[float, float]:
    """Return wall and CPU time of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def cost(R: sparse.csr_array, columns: int, factors: int, rounds: int, n_threads: int | None) -> None:
    """Print how much longer a fit takes with features."""
    rng = np.random.default_rng(0)
    dense = [rng.standard_normal((n, columns)).astype(np.float32) for n in R.shape]
    # A category of 20 values and 9 more yes or no out of `columns`, as one-hot columns are.
    sparse_ones = [sparse.csr_array(np.eye(columns, dtype=np.float32)[rng.integers(0, 20, n)]) for n in R.shape]
    few = [
        one + sparse.random_array((n, columns), density=9 / columns, rng=rng, dtype=np.float32)
        for one, n in zip(sparse_ones, R.shape, strict=True)
    ]
    cells = fastals.ImplicitALS().interactions(R)
    cells.by_item  # noqa: B018 - made once, as for the other fits

    def fit(features: list | None) -> object:
        users, items = features or (None, None)
        model = fastals.ImplicitALS(factors, n_threads=n_threads, random_state=0)
        return model.fit(cells, user_features=users, item_features=items)

    for name, features in (("dense", dense), ("10 of them in a row", few)):
        fit(None), fit(features)
        pairs = [(seconds(lambda: fit(None)), seconds(lambda f=features: fit(f))) for _ in range(rounds)]
        walls, cpus = (np.median([new[at] / old[at] for old, new in pairs]) for at in (0, 1))
        usual = np.median([old[1] for old, _ in pairs])
        print(f"{columns} columns, {name}: wall x {walls:.3f}, CPU x {cpus:.3f} of {usual:.3f} s", flush=True)


def genres(path: Path) -> np.ndarray:
    """Return the genres of `u.item`: item i is row i - 1."""
    lines = path.read_text(encoding="latin-1").splitlines()
    return np.array([line.split("|")[-19:] for line in lines], dtype=np.float32)


def lists_of(scores: np.ndarray, n: int = 20) -> np.ndarray:
    """Return the n best columns of each row."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :n]


def quality(lists: np.ndarray, wanted: sparse.csr_array) -> tuple[float, float]:
    """Return Recall@n and NDCG@n, means over the users who want something."""
    recalls, gains = [], []
    discounts = 1 / np.log2(np.arange(lists.shape[1]) + 2)
    for user in np.flatnonzero(np.diff(wanted.indptr)):
        mine = wanted.indices[wanted.indptr[user] : wanted.indptr[user + 1]]
        hits, best = np.isin(lists[user], mine), min(len(mine), lists.shape[1])
        recalls.append(hits.sum() / best)
        gains.append((hits * discounts).sum() / discounts[:best].sum())
    return float(np.mean(recalls)), float(np.mean(gains))


def cold_items(R: sparse.csr_array, H: np.ndarray, seeds: int, factors: int) -> None:
    """Print how well items that nobody has seen are ranked for users who liked some of them, among these items."""
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        cold = np.sort(rng.choice(R.shape[1], R.shape[1] // 10, replace=False))
        train = R.tolil()
        train[:, cold] = 0
        train, wanted = train.tocsr(), sparse.csr_array(R[:, cold])
        train.eliminate_zeros()
        warm = np.setdiff1d(np.arange(R.shape[1]), cold)
        model = fastals.ImplicitALS(factors, random_state=0).fit(train, item_features=H)
        # The best that popularity can do without the items' own: how popular items of their genres are.
        counts = np.asarray((train > 0).sum(axis=0)).ravel()
        weights = np.linalg.lstsq(H[warm], counts[warm], rcond=None)[0]
        profile = (train[:, warm] > 0).astype(np.float32) @ (H / np.maximum(np.linalg.norm(H, axis=1), 1)[:, None])[
            warm
        ]
        scores = {
            "features": model.user_factors_ @ model.item_factors_[cold].T,
            "popularity of the genres": np.tile(H[cold] @ weights, (R.shape[0], 1)),
            "genres of what the user has": profile @ (H / np.maximum(np.linalg.norm(H, axis=1), 1)[:, None])[cold].T,
            "by chance": rng.random((R.shape[0], len(cold))),
        }
        for name, given in scores.items():
            found.setdefault(name, []).append(quality(lists_of(given), wanted))
    for name, values in found.items():
        recall, ndcg = np.mean(values, axis=0)
        print(f"cold items, {name}: Recall@20 {recall:.4f}, NDCG@20 {ndcg:.4f}", flush=True)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--only", choices=("time", "quality"))
    options = parser.parse_args()
    home = Path(os.environ["FASTALS_DATA"])
    if options.only != "quality":
        R = ratings(home / "ml-1m" / "ratings.txt")
        cost(R, options.columns, options.factors, options.rounds, options.threads)
    if options.only != "time":
        R = ratings(home / "ml-100k" / "u.data")
        cold_items(R, genres(home / "ml-100k" / "u.item"), 5, 32)


if __name__ == "__main__":
    main()
