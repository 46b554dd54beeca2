"""What searches try: fixed by what others searched and published, before anything was measured here.

Implicit feedback: Rendle, Krichene, Zhang, Koren, "Revisiting the performance of iALS on item recommendation
benchmarks" (RecSys 2022), tune two numbers with 16 iterations and an exponent of 1 on the grid below, then double the
factors with the same numbers; here 64 are tuned and 128 fitted.
`irspack` draws from the same ranges by default. The exponent of the popularity is what He, Zhang, Kan, Chua, "Fast
matrix factorization for online recommendation with implicit feedback" (SIGIR 2016), vary from 0 to 1.

Ratings: the ridge of a row grows with its ratings in Zhou et al. (AAIM 2008: 0.03 to 0.065 of 100 ratings are 3 to 6.5)
and is 10 or 15 in Koren's baselines (TKDD 2010, and Surprise's defaults); so 1 to 30 for a row of average length,
whatever the exponent. Factors: from 5 to Surprise's default for SVD.
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


def grid(**values: Any) -> list[dict[str, Any]]:
    """Every combination."""
    return [dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())]


IALS = grid(unobserved_weight=UNOBSERVED_WEIGHTS, regularization=REGULARIZATIONS)


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
