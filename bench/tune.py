"""Find the tuned parameters of fastals/published.py.

python -m bench.tune [--quick] [ranking] [ratings] [signs]

Prints the constants as they stand there. Candidates are those of `bench.spaces`, compared on validation parts of the
training data, split off as the test part was: the last positive of each user once more, under four rules for ties; the
latest fifth once more, and of the rest once more still. The test cells are dropped before a search begins.
"""

import argparse
import pprint
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.spaces import (
    IALS,
    ITERATIONS,
    POPULARITY_EXPONENTS,
    RATING_ITERATIONS,
    grid,
    rating_candidates,
)
from fastals import ExplicitALS, ImplicitALS
from fastals.datasets import Interactions
from fastals.published import TIES, leave_last_positive_out, load, ones, signs, temporal
from fastals.tuning import SearchResult, grid_search, successive_halving

QUICK = 19  # one candidate of so many
RATING_CANDIDATES = 100


def tune_ranking(trains: dict[str, Interactions], every: int) -> SearchResult:
    """NDCG@10, the mean over the rules for ties."""
    splits = [leave_last_positive_out(train, ties) for ties, train in trains.items()]
    candidates = [
        sizes | weights | {"popularity_exponent": exponent}
        for sizes in grid(factors=(32, 64, 128))
        for exponent in POPULARITY_EXPONENTS
        for weights in IALS
    ]
    model = ImplicitALS(alpha=0.0, regularization_exponent=1.0, iterations=ITERATIONS, random_state=0)
    return successive_halving(
        model,
        candidates[::every],
        [(ones(train), ones(validation)) for train, validation in splits],
        "ndcg@10",
        factor=4,
        refit=False,
        progress=True,
    )


def tune_ratings(
    train: Interactions, target: Callable[[np.ndarray], np.ndarray], metric: str, every: int
) -> SearchResult:
    """The mean of a metric over two windows."""
    last = temporal(train)
    splits = [
        tuple(part.matrix(target(part.values)) for part in (window.train, window.test))
        for window in (last, temporal(last.train))
    ]
    candidates = rating_candidates(RATING_CANDIDATES, splits[0][0])
    model = ExplicitALS(iterations=RATING_ITERATIONS, random_state=0)
    return grid_search(model, candidates[::every], splits, metric, every=5, refit=False, progress=True)


def main() -> None:
    data = load()
    # All that the searches get: what the test cells were split off from is out of reach.
    positives = {ties: data.held_out[ties][0] for ties in TIES}
    earlier = data.temporal.train
    searches: dict[str, tuple[str, Callable[[int], SearchResult], dict[str, Any]]] = {
        "ranking": (
            "TUNED_IMPLICIT",
            lambda every: tune_ranking(positives, every),
            {"alpha": 0.0, "regularization_exponent": 1.0},
        ),
        "ratings": ("TUNED_RATINGS", lambda every: tune_ratings(earlier, lambda values: values, "rmse", every), {}),
        "signs": ("TUNED_SIGNS", lambda every: tune_ratings(earlier, signs, "sign_accuracy", every), {}),
    }
    parser = argparse.ArgumentParser(prog="python -m bench.tune", description=__doc__.splitlines()[0])
    parser.add_argument("searches", nargs="*", help=f"of {', '.join(searches)}; default: all")
    parser.add_argument("--quick", action="store_true", help=f"one candidate of {QUICK}, to see that it works")
    arguments = parser.parse_args()
    if unknown := set(arguments.searches) - set(searches):
        parser.error(f"{', '.join(sorted(unknown))}: choose from {', '.join(searches)}")
    for name in arguments.searches or searches:
        constant, search, fixed = searches[name]
        found = search(QUICK if arguments.quick else 1)
        print(f"# {name}: {found.best_score:.4f} on validation, best of {len(found.table['score'])} candidates")
        print(f"{constant}: dict[str, Any] = {pprint.pformat(fixed | found.best_parameters, sort_dicts=False)}")


if __name__ == "__main__":
    main()
