"""The result of an evaluation, and how far its averages can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..html import facts
from ..validation import RandomState, check_integer, check_number, check_random_state
from .metrics import Floats


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation: `overall["ndcg@10"]` is the average of `per_user["ndcg@10"]`.

    Parameters
    ----------
    users : (n,) array
        The evaluated users: their ids where the model has ids, else their row numbers.
    per_user : dict of str to (n,) float64 array
        One number for each of `users`, by metric and cutoff; NaN where a metric is not defined.
    overall : dict of str to float
        Averages of `per_user`, and the metrics of all lists together: "coverage" and "gini".

    Examples
    --------
    >>> from fastals.evaluation import Popularity, evaluate
    >>> train, test = [[1, 0, 0], [1, 1, 0], [0, 0, 1]], [[0, 1, 0], [0, 0, 1], [0, 1, 0]]
    >>> found = evaluate(Popularity().fit(train), test, k=1, metrics=["recall"])
    >>> found.per_user["recall@1"]
    array([1., 1., 0.])
    """

    users: npt.NDArray[Any]
    per_user: dict[str, Floats]
    overall: dict[str, float]

    def __repr__(self) -> str:
        averages = ", ".join(f"{name} {average:.4g}" for name, average in self.overall.items())
        return f"Evaluation({len(self.users)} users: {averages})"

    def _repr_html_(self) -> str:
        return facts(f"Evaluation, {len(self.users):,} users", self.overall.items())

    def interval(
        self, name: str, level: float = 0.95, n_resamples: int = 1000, random_state: RandomState = 0
    ) -> tuple[float, float]:
        """Return the bootstrap interval over users of one of the averages.

        Parameters
        ----------
        name : str
            A key of `per_user`.
        level, n_resamples, random_state
            As in `bootstrap_interval`.

        Examples
        --------
        >>> import numpy as np
        >>> from fastals.evaluation import Evaluation
        >>> hits = np.array([0.0, 1.0, 1.0, 1.0])
        >>> Evaluation(np.arange(4), {"recall@5": hits}, {"recall@5": 0.75}).interval("recall@5")
        (0.25, 1.0)
        """
        if name not in self.per_user:
            raise ValueError(f"name is {name!r}, which has no value per user: choose from {', '.join(self.per_user)}")
        return bootstrap_interval(self.per_user[name], level, n_resamples, random_state)


def bootstrap_interval(
    values: npt.ArrayLike, level: float = 0.95, n_resamples: int = 1000, random_state: RandomState = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the average of `values`.

    Parameters
    ----------
    values : (n,) array
        One number for each user; NaN are left out.
    level : float, default 0.95
        Share of such intervals that hold the average of the population, between 0 and 1.
    n_resamples : int, default 1000
        Number of averages of n users drawn with replacement. The interval's ends are quantiles of these averages.
    random_state : int, numpy.random.Generator, RandomState, SeedSequence or None, default 0

    Returns
    -------
    low, high : float
        In the unit of the values.

    Raises
    ------
    ValueError
        No value is a number; `level` does not lie between 0 and 1; `n_resamples` is below 1.

    Notes
    -----
    The interval is about other users of the same kind, with this split and this model. It says nothing about other
    splits or other random starts of the model.

    References
    ----------
    Efron: Bootstrap methods: another look at the jackknife. Annals of Statistics 1979.

    Examples
    --------
    >>> from fastals.evaluation import bootstrap_interval
    >>> bootstrap_interval([0.0, 1.0, 1.0, 1.0])
    (0.25, 1.0)
    """
    share = check_level(level)
    n_resamples = check_integer("n_resamples", n_resamples, 1)
    rng = check_random_state("random_state", random_state)
    numbers = np.asarray(values, dtype=np.float64).ravel()
    numbers = numbers[~np.isnan(numbers)]
    if not numbers.size:
        raise ValueError("values has no number: pass the values of at least one user")
    averages = [numbers[rng.integers(0, numbers.size, numbers.size)].mean() for _ in range(n_resamples)]
    low, high = np.quantile(averages, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def check_level(level: float) -> float:
    """Return the level of an interval; it must lie between 0 and 1."""
    share = check_number("level", level, 0.0)
    if not 0 < share < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level!r}")
    return share
