"""What searches try: fixed by what others searched and published, before anything was measured here.

Implicit feedback: Rendle, Krichene, Zhang, Koren, "Revisiting the performance of iALS on item recommendation
benchmarks" (RecSys 2022), tune two numbers with 16 iterations and an exponent of 1 on the grid below, then double the
factors with the same numbers; here 64 are tuned and 128 fitted.
`irspack` draws from the same ranges by default. Where all parameters are drawn, those two are log-uniform over the
ranges of the grid. The exponent of the regularization is uniform from 0 to 1, the two values that the literature has,
and the average row keeps its ridge whatever the exponent, as Rendle et al. do it. The exponent of the popularity is
uniform from 0 to 1, where He, Zhang, Kan, Chua, "Fast matrix factorization for online recommendation with implicit
feedback" (SIGIR 2016), vary it.

Ratings: the ridge of a row grows with its ratings in Zhou et al. (AAIM 2008: 0.03 to 0.065 of 100 ratings are 3 to 6.5)
and is 10 or 15 in Koren's baselines (TKDD 2010, and Surprise's defaults); so 1 to 30 for a row of average length,
whatever the exponent. Factors: from 5 to Surprise's default for SVD. Regularization of implicit features: from a fifth
to five times the default.
"""

import itertools
from typing import Any

import numpy as np
import scipy.sparse as sp

TUNING_FACTORS, FACTORS, ITERATIONS = 64, 128, 16
UNOBSERVED_WEIGHTS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
REGULARIZATIONS = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003)
POPULARITY_EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0)

RATING_FACTORS = (5, 10, 20, 50, 100)
RATING_EXPONENTS = (0.0, 0.5, 1.0)
RIDGE_OF_AVERAGE_ROW = (1.0, 30.0)
RATING_ITERATIONS = 20
FEATURE_REGULARIZATIONS = (0.2, 5.0)


def grid(**values: Any) -> list[dict[str, Any]]:
    """Every combination."""
    return [dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())]


IALS = grid(unobserved_weight=UNOBSERVED_WEIGHTS, regularization=REGULARIZATIONS)


def implicit_candidates(n: int, train: sp.csr_array, random_state: int = 0) -> list[dict[str, Any]]:
    """Draw parameters of ImplicitALS for a matrix to learn from."""
    rng = np.random.default_rng(random_state)
    n_users, n_items = train.shape
    candidates = []
    for _ in range(n):
        weight = _log_uniform(rng, UNOBSERVED_WEIGHTS)
        ridge, exponent = _log_uniform(rng, REGULARIZATIONS), float(rng.uniform())
        scales = train.nnz / n_users + weight * n_items, train.nnz / n_items + weight * n_users
        candidates.append(
            {
                "unobserved_weight": weight,
                "regularization": tuple(float(f"{ridge * scale ** (1 - exponent):.3g}") for scale in scales),
                "regularization_exponent": round(exponent, 3),
                "popularity_exponent": round(float(rng.uniform(POPULARITY_EXPONENTS[0], POPULARITY_EXPONENTS[-1])), 3),
            }
        )
    return candidates


def _log_uniform(rng: np.random.Generator, values: tuple[float, ...]) -> float:
    """Draw from the range of some values."""
    return float(f"{np.exp(rng.uniform(*np.log([min(values), max(values)]))):.3g}")


def rating_candidates(n: int, train: sp.csr_array, random_state: int = 0) -> list[dict[str, Any]]:
    """Draw parameters of ExplicitALS for a matrix to learn from."""
    rng = np.random.default_rng(random_state)
    lengths = [train.nnz / np.count_nonzero(np.bincount(ids)) for ids in train.nonzero()]
    candidates = []
    for _ in range(n):
        exponent = float(rng.choice(RATING_EXPONENTS))
        ridges = np.exp(rng.uniform(*np.log(RIDGE_OF_AVERAGE_ROW), 2))
        candidates.append(
            {
                "factors": int(rng.choice(RATING_FACTORS)),
                "regularization": tuple(
                    float(f"{ridge / length**exponent:.2g}") for ridge, length in zip(ridges, lengths, strict=True)
                ),
                "regularization_exponent": exponent,
            }
        )
    return candidates


def with_implicit_features(candidates: list[dict[str, Any]], random_state: int = 0) -> list[dict[str, Any]]:
    """Give candidates of ExplicitALS implicit features."""
    rng = np.random.default_rng(random_state)
    return [
        candidate | {"implicit_features": True, "feature_regularization": _log_uniform(rng, FEATURE_REGULARIZATIONS)}
        for candidate in candidates
    ]
