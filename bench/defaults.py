"""Whether the rules of `fastals.defaults` hold: each set of data is judged by numbers chosen on the others.

python -m bench.defaults [--factors 64] [--sets lastfm-2k ml-100k ...]
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from bench.bench_quality import DATA
from fastals import ImplicitALS, datasets, defaults
from fastals.evaluation import evaluate

GRID = list(itertools.product((5.0, 10.0, 20.0), (0.6, 0.9, 1.3), (-0.5, -0.4, -0.3), (0.0, 0.25, 0.5)))
RULE = (defaults.UNOBSERVED, defaults.IMPLICIT, defaults.POWER, 0.25)


def _split(R: sp.csr_matrix) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Hold a fifth of the entries out."""
    cells = sp.coo_matrix(R)
    test = np.random.default_rng(0).random(cells.nnz) < 0.2
    train, held = (
        sp.csr_matrix((np.ones(mask.sum(), np.float32), (cells.row[mask], cells.col[mask])), shape=cells.shape)
        for mask in (~test, test)
    )
    return train, held


def _liked(path: Path) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    R = sp.csr_matrix(datasets.read_ratings(path).csr)
    R.data = (R.data >= 4).astype(np.float32)
    R.eliminate_zeros()
    return _split(R)


def _beauty() -> tuple[sp.csr_matrix, sp.csr_matrix]:
    parts = [np.loadtxt(DATA / "amazon-beauty" / f"{name}.txt", np.int64) for name in ("train", "valid", "test")]
    shape = tuple(max(part[:, side].max() for part in parts) + 1 for side in (0, 1))
    train, test = (
        sp.csr_matrix((np.ones(len(part), np.float32), (part[:, 0], part[:, 1])), shape=shape)
        for part in (np.concatenate(parts[:2]), parts[2])
    )
    return train, test


SETS = {
    "lastfm-2k": lambda: _split(datasets.read_ratings(DATA / "lastfm-2k" / "user_artists.dat").csr),
    "ml-100k": lambda: _liked(DATA / "ml-100k" / "u.data"),
    "ml-1m": lambda: _liked(DATA / "ml-1m" / "ratings.txt"),
    "amazon-beauty": _beauty,
}


def score(train: sp.csr_matrix, test: sp.csr_matrix, factors: int, numbers: tuple[float, float, float, float]) -> float:
    """Return NDCG@20 of a model with the numbers that a rule with these factors gives."""
    unobserved, strength, power, exponent = numbers
    users, items = np.diff(train.indptr), np.bincount(train.indices, minlength=train.shape[1])
    users, items = users[users > 0], items[items > 0]
    weight = unobserved * train.nnz / (len(users) * train.shape[1])
    share = strength * np.sqrt(users.mean() * items.mean()) ** power
    ridges = [
        float(share * own.mean() / (own + weight * others).mean())
        for own, others in zip((users, items), train.shape[::-1], strict=True)
    ]
    model = ImplicitALS(
        factors,
        regularization=(ridges[0], ridges[1]),
        unobserved_weight=weight,
        popularity_exponent=exponent,
        iterations=10,
        random_state=0,
    )
    return evaluate(model.fit(train), test, train=train, k=20, metrics=["ndcg"]).overall["ndcg@20"]


def main() -> None:
    """Print a row for each set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    options = parser.parse_args()
    found: dict[str, dict[tuple[float, float, float, float], float]] = {}
    for name in options.sets:
        train, test = SETS[name]()
        found[name] = {numbers: score(train, test, options.factors, numbers) for numbers in GRID}
        found[name][RULE] = score(train, test, options.factors, RULE)
    print("| set | best of the grid | chosen on the other sets | share | the rule | share |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, scores in found.items():
        best = max(scores.values())
        others = [of for other, of in found.items() if other != name] or [scores]
        chosen = max(GRID, key=lambda numbers: min(of[numbers] / max(of.values()) for of in others))
        cells = (best, scores[chosen], scores[chosen] / best, scores[RULE], scores[RULE] / best)
        print(f"| {name} | " + " | ".join(f"{cell:.4f}" for cell in cells) + " |")


if __name__ == "__main__":
    main()
