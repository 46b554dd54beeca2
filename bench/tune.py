"""Find the tuned parameters of fastals/demo.py: `python -m bench.tune {ranking,ratings,signs}`.

Models are compared on validation parts of the training data, split off as the test part was: the last positive of each
user once more, under four rules for ties; the latest fifth once more, and of the rest once more still. The test cells
are not looked at.
"""

import argparse
import itertools

import numpy as np

from fastals import ImplicitALS
from fastals.demo import TIES, explicit_models, find_data, leave_last_positive_out, ranking_scores, signs, temporal
from fastals.evaluation import rmse, sign_accuracy

SEEDS = (0, 1)
BEST_SHOWN = 8


def grid(**values):
    """Every combination, as keyword arguments."""
    return [dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())]


def tune_ranking(data):
    """NDCG@10."""
    splits = [leave_last_positive_out(data.held_out[ties][0], ties) for ties in TIES]
    for parameters in grid(
        factors=(16, 32, 64, 96, 128),
        alpha=(0.0, 4.0),
        unobserved_weight=(0.1, 0.3),
        regularization=(0.003, 0.006, 0.012, 0.024),
        popularity_exponent=(0.0, 0.4),
        regularization_exponent=(1.0,),
        iterations=(15,),
    ):

        def make(seed, parameters=parameters):
            return ImplicitALS(**parameters, random_state=seed)

        yield float(np.mean([ranking_scores(make, *split, seeds=SEEDS[:1])[1] for split in splits])), parameters


def tune_explicit(data, target, score):
    """The score of predictions on two windows."""
    last = temporal(data.temporal.train)
    windows = (last, temporal(last.train))
    regularizations = [(0.0, user, item) for user in (2.0, 4.0, 8.0, 16.0) for item in (1.0, 2.0, 4.0)]
    regularizations += [(0.5, user, item) for user in (1.0, 2.0, 4.0) for item in (0.25, 0.5, 1.0)]
    regularizations += [(1.0, user, item) for user in (0.1, 0.2) for item in (0.05, 0.1, 0.2)]
    for factors, (exponent, user, item) in itertools.product((1, 2, 4, 8, 16, 32, 64), regularizations):
        parameters = {
            "factors": factors,
            "regularization": (user, item),
            "regularization_exponent": exponent,
            "iterations": 15,
        }
        scores = [
            score(target(test.values), model.predict(test.users, test.items))
            for train, _, test in windows
            for model in explicit_models(parameters, train.matrix(target(train.values)), SEEDS)
        ]
        yield float(np.mean(scores)), parameters


SEARCHES = {
    "ranking": tune_ranking,
    "ratings": lambda data: tune_explicit(data, lambda values: values, lambda *pairs: -rmse(*pairs)),
    "signs": lambda data: tune_explicit(data, signs, sign_accuracy),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("search", choices=SEARCHES)
    data = find_data()
    print(data.source)
    found = sorted(SEARCHES[parser.parse_args().search](data), key=lambda pair: -pair[0])
    for score, parameters in found[:BEST_SHOWN]:
        print(f"{score:.4f}", parameters)


if __name__ == "__main__":
    main()
