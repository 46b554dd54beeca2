"""Express every objective as the same row problem with different numbers.

For one row `u` with observed columns `S` and the other side `Y` fixed,

    minimise  sum_{j in S} [ w_j (x.y_j)^2 - 2 b_j (x.y_j) ]  +  c_u x'Gx  +  ridge_u |x|^2 ,   G = sum_j q_j y_j y_j'

where `w_j = confidence - c_u q_j` is the weight above the background and `b_j = confidence * target`. The background is
the weight `a0 p_i` of an unobserved entry, whose target is 0. `p_i` is 1, or grows with the item's popularity:

    p_i = n_items f_i^e / sum_j f_j^e        f_i observed entries of item i, e = popularity_exponent  (mean 1)

| objective                        | confidence          | target                     | a0                  |
|----------------------------------|---------------------|----------------------------|---------------------|
| implicit (Hu, Koren, Volinsky)   | 1 + alpha abs(r)    | 1 if r > 0, 0 if r < 0     | unobserved_weight   |
| explicit                         | 1                   | r - mean - the other bias  | 0                   |
| weighted (WALS)                  | item x entry weight | r                          | unobserved_weight   |
| weighted, weight 1, a0 = 1       | 1                   | r                          | 1: zeros are data   |

The ridge is `ridge_u = regularization (n_u + a0 N)^regularization_exponent` with `n_u` observed entries of the row and
`N` rows of `Y`; without the `a0 N` where `regularization_counts` is 'observed'.

With biases and a0 > 0 the targets of unobserved entries are those of observed ones for r = 0, less the other bias: see
`engine.shifts`. There is no mean then: an item without interactions has the bias 0, and is to be predicted as 0.

On a side that has features the ridge lies on x - A'f, see `engine.features`. There a row without interactions has no
unobserved entries either, as nobody has shown it anything: it is its prior mean A'f.

References
----------
Hu, Koren, Volinsky: Collaborative filtering for implicit feedback datasets. ICDM 2008.
Zhou, Wilkinson, Schreiber, Pan: Large-scale parallel collaborative filtering for the Netflix Prize. AAIM 2008.
He, Zhang, Kan, Chua: Fast matrix factorization for online recommendation with implicit feedback. SIGIR 2016 (p_i).
Rendle, Krichene, Zhang, Koren: Revisiting the performance of iALS on item recommendation benchmarks. RecSys 2022.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np

from .data.ids import derived
from .data.interactions import Interactions
from .engine.mapped import row_blocks
from .engine.problem import BACKGROUND, OFFSET, RIDGE, WEIGHT, CellRule, Cells, RowProblem, no_shifts
from .validation import check_number

__all__ = ["ExponentialWeights", "ItemWeights", "LinearWeights", "Objective", "Statistics"]


@dataclass(frozen=True)
class LinearWeights:
    """Weight the interactions of an item by `w0 + wk / count`: popular items weigh less.

    An item without interactions weighs as one with a single interaction.

    Parameters
    ----------
    w0, wk : float, default 0.1 and 1.0
        Offset and slope.

    References
    ----------
    Terse Alternating Least Squares Implementation. Notebook, 2022 (the weights and their defaults).

    Examples
    --------
    >>> import fastals, numpy as np
    >>> fastals.LinearWeights(w0=0.1, wk=1.0)(np.array([1, 4, 100]))
    array([1.1 , 0.35, 0.11])
    >>> model = fastals.WeightedALS(2, item_weights=fastals.LinearWeights())
    """

    w0: float = 0.1
    wk: float = 1.0

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return the weights of items with so many interactions, float64 of the same shape."""
        return self.w0 + self.wk / np.maximum(counts, 1)


@dataclass(frozen=True)
class ExponentialWeights:
    """Weight the interactions of an item by `w0 + (1 / count)^e`: varies less than `LinearWeights`.

    An item without interactions weighs as one with a single interaction.

    Parameters
    ----------
    w0, e : float, default 1.0 and 0.1
        Offset and exponent.

    Examples
    --------
    >>> import fastals, numpy as np
    >>> fastals.ExponentialWeights(w0=1.0, e=0.5)(np.array([1, 4, 100]))
    array([2. , 1.5, 1.1])
    >>> model = fastals.WeightedALS(2, item_weights=fastals.ExponentialWeights())
    """

    w0: float = 1.0
    e: float = 0.1

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return the weights of items with so many interactions, float64 of the same shape."""
        return self.w0 + (1 / np.maximum(counts, 1)) ** self.e


# The ridge of features, in mean ridges of a user or item, where `feature_regularization` is 1. On MovieLens 1M, with
# ten in the place of a hundred, features cost known users up to 1.5% of NDCG@20 and make errors of ratings larger than
# without; new items get lists that are better by 1%. Implicit features, of which each user has many, are better off
# with ten: an error of ratings of .844 against .847.
FEATURES, IMPLICIT_FEATURES = 100.0, 10.0

RegularizationCounts: TypeAlias = Literal["all", "observed"]
ItemWeights: TypeAlias = Callable[[np.ndarray], np.ndarray] | np.ndarray | None
"""A function counts -> weights, an array with one weight for each item, or None: every item weighs 1."""


@dataclass(frozen=True)
class Statistics:
    """What an objective learns from the training data and needs again for fold-in.

    Attributes
    ----------
    mean : float
        Mean of the observed values; 0 where the objective does not subtract it.
    weight, background : ndarray of float64, shape (n_items,)
        Factor of the confidence of each item; weight `a0 p_i` of its unobserved entries.
    popularity_scale : float
        The s in `p_i = s f_i^e`.
    user_background : ndarray of float64, shape (n_users,) or (1,)
        1 for each user whose unobserved entries count, else 0; one number stands for all.
    """

    mean: float
    weight: np.ndarray
    background: np.ndarray
    popularity_scale: float
    user_background: np.ndarray = field(default_factory=lambda: np.ones(1))

    @derived
    def alike(self) -> bool:
        """Whether all items have the same weight and background."""
        return all((numbers == numbers[0]).all() for numbers in (self.weight, self.background))

    @derived
    def _of_columns(self) -> dict[np.dtype, np.ndarray]:
        return {}

    def columns(self, dtype: np.dtype) -> np.ndarray:
        """Return the items as columns of the users' problem, without offsets, shape (n_items, 3) or, if alike, (1, 3).

        Made once for each dtype, as one user folded in takes as long as a copy of some thousand items. Nobody may write
        to it.
        """
        kept = self._of_columns.get(dtype)
        if kept is None:
            columns = np.zeros((1 if self.alike else len(self.weight), 3))
            columns[:, WEIGHT] = self.weight[: len(columns)]
            columns[:, BACKGROUND] = self.background[: len(columns)]
            with np.errstate(over="ignore"):
                columns = columns.astype(dtype)
            if not np.isfinite(columns).all():
                raise _too_large(dtype)
            kept = self._of_columns.setdefault(dtype, columns)
        return kept


@dataclass(frozen=True)
class Objective:
    """Hold the numbers of one objective; the table at the top of the module explains them.

    Parameters
    ----------
    constant, slope : float
        Confidence of an entry with value r before item and entry weights: `constant + slope |r|`.
    sign_target, value_target : float
        Target: `sign_target [r > 0] + value_target (r - mean)`, less the other bias.
    unobserved_weight : float
        The weight a0 of unobserved entries.
    popularity_exponent, regularization_exponent : float
        The exponents e and nu.
    regularization : (float, float)
        For users and for items.
    item_weights : callable, ndarray or None
        See `ItemWeights`.
    biases : bool
        Whether mean and biases are part of the model.
    nonnegative : bool
        Whether factors must not be negative.
    regularization_counts : {'all', 'observed'}
        Whether the weights of unobserved entries count in the ridge.
    feature_regularization : (float, float)
        For users and for items: mu is so many times `FEATURES`, or `IMPLICIT_FEATURES`, mean ridges of a row.
    featured : (bool, bool)
        Whether users, and items, have features.
    implicit_features : bool
        Whether the users' features are the items that each of them has.
    """

    constant: float
    slope: float
    sign_target: float
    value_target: float
    regularization: tuple[float, float]
    unobserved_weight: float = 0.0
    popularity_exponent: float = 0.0
    regularization_exponent: float = 0.0
    item_weights: ItemWeights = None
    biases: bool = False
    nonnegative: bool = False
    regularization_counts: RegularizationCounts = "all"
    feature_regularization: tuple[float, float] = (1.0, 1.0)
    featured: tuple[bool, bool] = (False, False)
    implicit_features: bool = False

    @property
    def offsets(self) -> bool:
        """Whether biases are offsets of the values, as only observed entries count; else `Shifts` of all targets."""
        return self.biases and self.value_target != 0 and self.unobserved_weight == 0

    def learn(self, R: Interactions) -> Statistics:
        """Return what the row problems need from the training data besides the entries."""
        counts = R.by_item.counts
        powers = self._powers(counts)
        total = powers.sum()
        scale = len(counts) / total if total > 0 else 0.0
        return Statistics(
            mean=_mean(R) if self.offsets else 0.0,
            weight=self._item_weights(counts),
            background=self._exposed(self.unobserved_weight * scale * powers, counts, 1),
            popularity_scale=scale,
            user_background=self._user_background(R.by_user.counts),
        )

    def user_problem(self, cells: Cells, statistics: Statistics, *, room: bool = True) -> RowProblem:
        """Return the problem whose rows are users, old or new, and whose columns are the training items.

        With `room` each column has a place for its offset, if there are offsets; without, columns may be those that
        `statistics` keeps.
        """
        n_items, columns = len(statistics.weight), statistics.columns(cells.values.dtype)
        if self.offsets and room:
            columns = np.array(np.broadcast_to(columns, (n_items, 3)))
        rows = np.ones((cells.n_rows, 3))
        rows[:, BACKGROUND] = self._exposed(rows[:, BACKGROUND], cells.counts, 0)
        return self._problem(cells, statistics, rows, columns, 0, n_items)

    def item_problem(
        self, cells: Cells, statistics: Statistics, n_users: int, *, new_items: bool = False, room: bool = True
    ) -> RowProblem:
        """Return the problem whose rows are items and whose columns are users; `room` as in `user_problem`.

        With `new_items` the rows are not the training items, and their weights follow from their own counts.
        """
        weight, background = statistics.weight, statistics.background
        if new_items:
            weight, background = self._of_new_items(statistics, cells.counts)
        exposed = statistics.user_background
        columns = np.ones((n_users if (self.offsets and room) or len(exposed) > 1 else 1, 3))
        # Without a background the users are not rotated: a rotation would mix their biases into their factors.
        columns[:, BACKGROUND] = exposed if self.unobserved_weight > 0 else 0
        columns[:, OFFSET] = 0
        rows = np.empty((cells.n_rows, 3))
        rows[:, WEIGHT] = weight
        rows[:, BACKGROUND] = background
        return self._problem(cells, statistics, rows, columns, 1, n_users)

    def liked(self, cells: Cells) -> np.ndarray:
        """Return how many interactions of each row speak for it: all, but for those with a dislike (r < 0).

        Parameters
        ----------
        cells : Cells

        Returns
        -------
        ndarray of int64, shape (n_rows,)
        """
        values = cells.values
        if self.sign_target == 0 or values.min(initial=1) > 0:
            return cells.counts
        liked = np.empty(cells.n_rows, np.int64)
        for begin, end in row_blocks(cells):
            part = cells.part(begin, end)
            total = np.concatenate([[0], np.cumsum(part.all_values > 0, dtype=np.int64)])
            liked[begin:end] = total[part.indptr[1:]] - total[part.indptr[:-1]]
        return liked

    def with_items(self, statistics: Statistics, items: np.ndarray, counts: np.ndarray) -> Statistics:
        """Return the statistics with those of `items`, old or new, replaced by those for their current `counts`."""
        added = max(0, int(items.max()) + 1 - len(statistics.weight))
        weight, background = (np.append(old, np.zeros(added)) for old in (statistics.weight, statistics.background))
        weight[items], background[items] = self._of_new_items(statistics, counts)
        return replace(statistics, weight=weight, background=background)

    def with_users(self, statistics: Statistics, users: np.ndarray, counts: np.ndarray, n_users: int) -> Statistics:
        """Return the statistics after `users`, old or new, have got so many interactions; `n_users` were there."""
        new = self._user_background(counts)
        if len(statistics.user_background) == 1 and new.all():
            return statistics
        background = np.ones(max(n_users, int(users.max()) + 1))
        background[:n_users] = statistics.user_background
        background[users] = new
        return replace(statistics, user_background=background)

    def with_exposed(self, statistics: Statistics, item: int, count: int) -> Statistics:
        """Return the statistics after an item of a model with features has got so many interactions.

        Its weights stay, but whether its unobserved entries count may change.
        """
        if self.featured[1] and self.unobserved_weight > 0 and (count > 0) != (statistics.background[item] > 0):
            background = statistics.background.copy()
            background[item] = self._background_of(statistics, np.array([count]))[0]
            statistics = replace(statistics, background=background)
        return statistics

    def mu(self, axis: int, problem: RowProblem) -> float:
        """Return the ridge of A of users (axis 0) or items, from all rows of the side."""
        ridges = problem.rows[problem.cells.counts > 0, RIDGE]
        unit = IMPLICIT_FEATURES if self.implicit_features and axis == 0 else FEATURES
        return unit * self.feature_regularization[axis] * float(ridges.mean(dtype=np.float64))

    def _exposed(self, weights: np.ndarray, counts: np.ndarray, axis: int) -> np.ndarray:
        """Return weights of unobserved entries, 0 for rows of a side with features that have no interactions."""
        return np.where(counts > 0, weights, 0.0) if self.featured[axis] else weights

    def _user_background(self, counts: np.ndarray) -> np.ndarray:
        exposed = self._exposed(np.ones(len(counts)), counts, 0)
        return np.ones(1) if exposed.all() else exposed

    def _of_new_items(self, statistics: Statistics, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return weights and background of items outside the training data with so many interactions."""
        if isinstance(self.item_weights, np.ndarray):
            raise ValueError(
                "item_weights is an array with the weights of the training items, so the weights of new items are "
                "unknown: fit with a function counts -> weights to add or fold in items"
            )
        return self._item_weights(counts), self._background_of(statistics, counts)

    def _background_of(self, statistics: Statistics, counts: np.ndarray) -> np.ndarray:
        background = self.unobserved_weight * statistics.popularity_scale * self._powers(counts)
        return self._exposed(background, counts, 1)

    def _problem(
        self,
        cells: Cells,
        statistics: Statistics,
        rows: np.ndarray,
        columns: np.ndarray,
        axis: int,
        n_columns: int,
    ) -> RowProblem:
        dtype = cells.values.dtype
        unobserved = self.unobserved_weight * n_columns if self.regularization_counts == "all" else 0.0
        scale = cells.counts + unobserved
        numbers = self.constant, self.slope, self.sign_target, self.value_target, statistics.mean
        with np.errstate(over="ignore"):
            rows[:, RIDGE] = self.regularization[axis] * scale**self.regularization_exponent
            rows[:, RIDGE] = self._exposed(rows[:, RIDGE], cells.counts, axis)
            rows, columns = rows.astype(dtype), columns.astype(dtype, copy=False)
            rule = CellRule(*map(dtype.type, numbers))
        if not (all(map(math.isfinite, rule)) and np.isfinite(rows).all()):
            raise _too_large(dtype)
        shifts = no_shifts(dtype)
        if self.biases and not self.offsets:
            shifts = shifts._replace(columns=np.zeros(n_columns, dtype))
        return RowProblem(cells, rule, rows, columns, shifts)

    def _powers(self, counts: np.ndarray) -> np.ndarray:
        """Return f_i^e, which is 0 for an item without interactions where e > 0."""
        return counts.astype(np.float64) ** self.popularity_exponent

    def _item_weights(self, counts: np.ndarray) -> np.ndarray:
        if self.item_weights is None:
            return np.ones(len(counts))
        given = self.item_weights(counts) if callable(self.item_weights) else self.item_weights
        weights = np.asarray(given)
        if weights.shape != counts.shape:
            raise ValueError(
                f"item_weights must give one weight for each of the {len(counts)} items, shape {counts.shape}, "
                f"got shape {weights.shape}"
            )
        if weights.dtype.kind not in "biuf":
            raise TypeError(f"item_weights must be numbers, got dtype {weights.dtype}")
        bad = ~(np.isfinite(weights) & (weights >= 0))
        if bad.any():
            first = int(np.argmax(bad))
            raise ValueError(
                f"item_weights must be finite and at least 0: item {first} with {counts[first]} interactions "
                f"got {weights[first].item()!r}"
            )
        return weights.astype(np.float64)


def _too_large(dtype: np.dtype) -> ValueError:
    remedy = "use smaller ones" if dtype == np.float64 else "use smaller ones or dtype='float64'"
    return ValueError(f"alpha, regularization or a weight is too large for {dtype}; {remedy}")


def _mean(R: Interactions) -> float:
    return float(R.by_user.values.mean(dtype=np.float64))


def check_regularization(value: object, name: str = "regularization") -> tuple[float, float]:
    """Return `regularization`, or another pair of such numbers, as (user, item); one number stands for both."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(f"{name} must be a number or (user, item), got {len(value)} numbers: {value!r}")
        user, item = value
        return check_number(f"{name}[0]", user, 0.0), check_number(f"{name}[1]", item, 0.0)
    number = check_number(name, value, 0.0)
    return number, number


def check_feature_regularization(value: object) -> tuple[float, float]:
    """Return `feature_regularization` as (user, item)."""
    numbers = check_regularization(value, "feature_regularization")
    if min(numbers) == 0:
        raise ValueError(
            f"feature_regularization must be above 0, got {value!r}: features that follow from each other, as the "
            "columns of a category do, have many factors without it"
        )
    return numbers
