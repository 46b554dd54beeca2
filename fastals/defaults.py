"""Parameters that follow from the data where "auto" is given: the ridge, and the weight of unobserved entries.

Rules, not searches: sizes and counts decide. With U users and I items that have interactions, and n of these in all,
g = n / sqrt(U I) is the geometric mean of the interactions of a user and of an item. Then

    sum of the weights of unobserved entries  =  10 x the sum of the confidences of the stored ones
    mean ridge of the users with interactions =  a g^-0.4 x the mean sum of their confidences

and for items alike, with a = 0.9 for implicit feedback, and 0.55 x the standard deviation of the values for ratings.
The more there is of each user and item, the less a ridge is needed. It is the mean ridge that is set, and the sum of
the weights, so catalogues with items that nobody has bought, or other exponents, get no stronger or weaker ridge by
accident. `bench/defaults.py` judges the rules on each set of data by factors chosen on the others.
"""

from __future__ import annotations

import numpy as np

from .data.interactions import Interactions

UNOBSERVED = 10.0
IMPLICIT, RATINGS, POWER = 0.9, 0.55, -0.4
DIGITS = 3  # the numbers are rounded, so that they do not depend on the order of the data
PART = 2**14  # values that are copied at a time


def unobserved_weight(R: Interactions, alpha: float) -> float:
    """Return the weight of an unobserved entry of implicit feedback, on average over the items.

    Parameters
    ----------
    R : Interactions
    alpha : float
        A stored entry has the confidence 1 + alpha |r|.
    """
    users = np.count_nonzero(R.by_user.counts)
    return _rounded(UNOBSERVED * _confidence(R, alpha) * R.nnz / (users * R.shape[1]))


def of_implicit(R: Interactions, alpha: float, unobserved: float, exponent: float) -> tuple[float, float]:
    """Return the regularization of implicit feedback for users and items.

    Parameters
    ----------
    R : Interactions
    alpha : float
        A stored entry has the confidence 1 + alpha |r|.
    unobserved : float
        The weight of an unobserved entry.
    exponent : float
        `regularization_exponent`.
    """
    return _of(R, IMPLICIT * _confidence(R, alpha), unobserved, exponent)


def of_ratings(R: Interactions, exponent: float) -> tuple[float, float]:
    """Return the regularization of ratings for users and items.

    Parameters
    ----------
    R : Interactions
    exponent : float
        `regularization_exponent`.
    """
    mean = _sum(R.by_user.values, np.asarray) / len(R.by_user.values)
    spread = (_sum(R.by_user.values, lambda r: (r - mean) ** 2) / len(R.by_user.values)) ** 0.5
    return _of(R, RATINGS * (spread or abs(mean) or 1.0), 0.0, exponent)


def _of(R: Interactions, strength: float, unobserved: float, exponent: float) -> tuple[float, float]:
    counts = [side.counts[side.counts > 0].astype(np.float64) for side in (R.by_user, R.by_item)]
    share = strength * np.sqrt(counts[0].mean() * counts[1].mean()) ** POWER
    ridges = (
        share * own.mean() / np.mean((own + unobserved * others) ** exponent)
        for own, others in zip(counts, R.shape[::-1], strict=True)
    )
    user, item = map(_rounded, ridges)
    return user, item


def _confidence(R: Interactions, alpha: float) -> float:
    """Return the mean confidence of a stored entry."""
    return 1 + alpha * _sum(R.by_user.values, np.abs) / len(R.by_user.values) if alpha else 1.0


def _sum(values: np.ndarray, of: object) -> float:
    """Sum a function of the values in float64, without a copy of all of them."""
    parts = (values[begin : begin + PART].astype(np.float64) for begin in range(0, len(values), PART))
    return float(sum(of(part).sum() for part in parts))  # type: ignore[operator]


def _rounded(number: float) -> float:
    return float(f"{number:.{DIGITS - 1}e}")
