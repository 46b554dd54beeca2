"""What biases of implicit feedback cost, and what they do for lists: `python -m bench.bench_biases`.

Time: a fit on ml-1m with and without biases, in turns; CPU time, medians of ratios. Quality: NDCG@20 of a fifth of the
interactions, held out at random; with default parameters, and with those that do best on a fifth of the training part.
It rewrites the table of biases in docs/benchmarks.md, unless `--quick`.
"""

from __future__ import annotations

import argparse
import itertools
import time

import numpy as np
from scipy import sparse

import fastals
from bench.report import _table, fill
from bench.same_bits import problems
from fastals.data.splits import split_random
from fastals.evaluation import evaluate

FACTORS = 64
DRAWS = {"ml-100k": 3, "lastfm-2k": 3, "ml-1m": 2}
# Of what the defaults make of the data: regularization, unobserved_weight; then popularity_exponent.
SPACE = tuple(itertools.product((1 / 3, 1, 3), (0.1, 0.3, 1), (0.25, 0.5, 0.75)))


def cost(R: sparse.csr_array, factors: int, biases: bool, usual: int, rounds: int) -> str:
    """Return how much longer a fit takes than one with so many factors and no biases, on one thread."""

    def seconds(factors: int, biases: bool) -> float:
        begin = time.process_time()
        fastals.ImplicitALS(factors, biases=biases, random_state=0, n_threads=1).fit(cells)
        return time.process_time() - begin

    cells = fastals.ImplicitALS().interactions(R)
    seconds(factors, biases), seconds(usual, False)
    pairs = [(seconds(usual, False), seconds(factors, biases)) for _ in range(rounds)]
    ratio = np.median([new / old for old, new in pairs])
    return f"{factors} factors{', biases' if biases else ''}: CPU time x {ratio:.2f} of {usual} factors without"


def per_user(model: fastals.ImplicitALS, test: fastals.Interactions) -> np.ndarray:
    """Return NDCG@20 of each user."""
    return evaluate(model, test, k=20, metrics=["ndcg"]).per_user["ndcg@20"]


def fitted(train: fastals.Interactions, biases: bool, point: tuple[float, float, float]) -> fastals.ImplicitALS:
    """Return a model at a point of the space."""
    ridge, weight, exponent = point
    usual = fastals.ImplicitALS(FACTORS, iterations=0, random_state=0).fit(train)
    return fastals.ImplicitALS(
        FACTORS,
        regularization=tuple(ridge * number for number in usual.regularization_),
        unobserved_weight=weight * usual.unobserved_weight_,
        popularity_exponent=exponent,
        biases=biases,
        random_state=0,
    ).fit(train)


def quality(name: str, R: sparse.csr_array, draws: int) -> list[list[str]]:
    """Return the rows of the table for one data set."""
    found: dict[tuple[str, bool], list[np.ndarray]] = {}
    for seed, biases in itertools.product(range(draws), (False, True)):
        train, test = split_random(R, 0.2, random_state=seed)
        inner, validation = split_random(train, 0.2, random_state=seed)
        best = max(SPACE, key=lambda point: per_user(fitted(inner, biases, point), validation).mean())
        for how, model in (
            ("defaults", fastals.ImplicitALS(FACTORS, biases=biases, random_state=0).fit(train)),
            ("searched", fitted(train, biases, best)),
        ):
            found.setdefault((how, biases), []).append(per_user(model, test))
        print(
            name, seed, biases, best, {how: f"{found[how, biases][-1].mean():.4f}" for how in ("defaults", "searched")}
        )
    rows = []
    for how in ("defaults", "searched"):
        without, those = (np.concatenate(found[how, biases]) for biases in (False, True))
        gain = those - without
        margin = 1.96 * gain.std() / np.sqrt(len(gain))
        rows.append([name, how, f"{without.mean():.4f}", f"{those.mean():.4f}", f"{gain.mean():+.4f} ± {margin:.4f}"])
    return rows


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=("time", "quality"))
    parser.add_argument("--quick", action="store_true", help="ml-100k alone, and leave docs/benchmarks.md as it is")
    options = parser.parse_args()
    matrices = {name: sparse.csr_array(R) for name, R in problems() if name in DRAWS}
    for R in matrices.values():
        R.data[:] = 1  # what somebody has seen or heard, whatever the rating
    if options.only != "quality":
        for factors, biases in ((FACTORS, True), (FACTORS - 1, True), (FACTORS + 1, False)):
            print(cost(matrices["ml-1m"], factors, biases, FACTORS, options.rounds), flush=True)
    if options.only != "time":
        rows = [
            row
            for name, R in matrices.items()
            if not options.quick or name == "ml-100k"
            for row in quality(name, R, DRAWS[name])
        ]
        table = _table(["data", "parameters", "without biases", "with biases", "difference, 95% interval"], rows)
        print(table)
        if not options.quick:
            fill({"quality-biases": table})


if __name__ == "__main__":
    main()
