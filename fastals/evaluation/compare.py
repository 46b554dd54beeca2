"""Several models on one test set: a table with paired intervals, and which differences are real."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from ..data.ids import Ids
from ..data.interactions import Interactions, MatrixLike, as_interactions
from ..data.types import Columns
from ..html import table
from ..validation import RandomState, Unknown, check_integer, check_random_state
from .bootstrap import Evaluation, check_level
from .evaluate import evaluate
from .lists import ListMetric
from .metrics import Floats
from .protocols import Numbered, Recommender, named

if TYPE_CHECKING:
    from typing_extensions import Unpack

BLOCK = 64  # resamples that are averaged at once


class Difference(NamedTuple):
    """By how much one model is above another in a metric.

    Attributes
    ----------
    value : float
        The average over users of the first model less that of the second.
    low, high : float
        Its paired bootstrap interval. The intervals of all pairs of models hold together at the stated level, because
        each is taken at a higher one (Bonferroni).
    real : bool
        Whether 0 lies outside the interval.

    Examples
    --------
    >>> from fastals.evaluation.compare import Difference
    >>> Difference(0.02, 0.01, 0.03, True).real
    True
    """

    value: float
    low: float
    high: float
    real: bool


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Parameters
    ----------
    evaluations : dict of str to Evaluation
        By the name of the model, the best in the first metric first.
    table : dict of str to list
        Columns, with an entry for each model in this order: "model"; and for each metric such as "ndcg@10" its average,
        "ndcg@10 low" and "ndcg@10 high" (the interval) and "ndcg@10 below" (names of the models that are really above
        this one). ``pandas.DataFrame(found.table)`` makes a frame of it. "coverage" and "gini" have the number only.
    differences : dict of (str, str, str) to Difference
        By metric, first model and second model: every pair, both ways.
    level : float
        Of the intervals.

    Examples
    --------
    >>> from fastals.evaluation import ItemKNN, Popularity, compare
    >>> train, test = [[1, 1, 0], [1, 1, 0], [0, 1, 0]], [[0, 0, 1], [0, 0, 1], [1, 0, 0]]
    >>> models = {"popular": Popularity().fit(train), "alike": ItemKNN().fit(train)}
    >>> found = compare(models, test, k=1, metrics=["recall"])
    >>> found.table["model"], found.table["recall@1"]
    (['popular', 'alike'], [1.0, 0.3333333333333333])
    """

    evaluations: dict[str, Evaluation]
    table: dict[str, list[object]]
    differences: dict[tuple[str, str, str], Difference]
    level: float

    def __repr__(self) -> str:
        names, rows = self._cells()
        widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in [names, *rows])
        return "\n".join([*lines, self._legend()])

    def _repr_html_(self) -> str:
        return table(f"{len(self.evaluations)} models. {self._legend()}", *self._cells())

    def _legend(self) -> str:
        return f"[{self.level:.0%} interval]; *: no other model is better by more than chance"

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        """Return names of columns, and for each model its line."""
        metrics = [name for name in self.table if not name.endswith((" low", " high", " below")) and name != "model"]
        rows = []
        for place, model in enumerate(self.evaluations):
            row = [model]
            for metric in metrics:
                value, *rest = (self.table[f"{metric}{end}"][place] for end in _ends(metric, self.table))
                interval = f" [{rest[0]:.4f}, {rest[1]:.4f}]{'' if rest[2] else ' *'}" if rest else ""
                row.append(f"{value:.4f}{interval}")
            rows.append(row)
        return ["model", *metrics], rows


def compare(
    models: Mapping[str, Recommender],
    test: MatrixLike,
    k: int | Iterable[int] = 10,
    metrics: Iterable[ListMetric] = ("ndcg", "recall"),
    *,
    train: MatrixLike | None = None,
    users: npt.ArrayLike | None = None,
    level: float = 0.95,
    n_resamples: int = 2000,
    random_state: RandomState = 0,
    unknown: Unknown = "raise",
    **columns: Unpack[Columns],
) -> Comparison:
    """Evaluate several models on the same users, and tell which differences are real.

    Parameters
    ----------
    models : dict of str to fitted model, baseline or any `Recommender`
        By the names that the table shows. A model without `user_ids_` and `item_ids_` is asked for row numbers of
        `test`, and gives column numbers.
    test, k, metrics, train, users, unknown, **columns
        As in `evaluate`. The models are ordered by the first metric at the first cutoff.
    level : float, default 0.95
        Of the intervals, between 0 and 1.
    n_resamples : int, default 2000
        Number of samples of the users, drawn with replacement. Every model is averaged over the same samples, so what
        makes some users easy for all models cancels in the differences.
    random_state : int, numpy.random.Generator, RandomState, SeedSequence or None, default 0

    Returns
    -------
    Comparison
        It prints as a table, and a notebook shows it as one.

    Raises
    ------
    TypeError, ValueError
        `models` is not a dict of models, models evaluate different users, or as in `evaluate`.

    Notes
    -----
    The intervals are about other users of the same kind, with this split and these fits. They say nothing about other
    splits or other random starts.

    References
    ----------
    Efron & Tibshirani: An introduction to the bootstrap. 1993.

    Examples
    --------
    >>> from fastals.evaluation import ItemKNN, Popularity, compare
    >>> train, test = [[1, 1, 0], [1, 1, 0], [0, 1, 0]], [[0, 0, 1], [0, 0, 1], [1, 0, 0]]
    >>> models = {"popular": Popularity().fit(train), "alike": ItemKNN().fit(train)}
    >>> compare(models, test, k=1, metrics=["recall"])
    model    recall@1
    popular  1.0000 [1.0000, 1.0000] *
    alike    0.3333 [0.0000, 1.0000] *
    [95% interval]; *: no other model is better by more than chance
    """
    if not isinstance(models, Mapping) or not models:
        raise TypeError(
            f"models must be a dict with at least one fitted model by name, got {type(models).__name__}"
            + (" without any" if isinstance(models, Mapping) else ": write {'als': model, 'popular': baseline}")
        )
    share, n_resamples = check_level(level), check_integer("n_resamples", n_resamples, 1)
    rng = check_random_state("random_state", random_state)
    cutoffs, names = [k] if isinstance(k, int) else k if not isinstance(k, Iterable) else list(k), list(metrics)
    if columns:
        test = as_interactions(test, "float32", name="test", **columns)
        train = None if train is None else as_interactions(train, "float32", name="train", **columns)
    found, user_ids = {}, test.user_ids if isinstance(test, Interactions) else None
    for name, model in models.items():
        try:
            evaluation = evaluate(model, test, cutoffs, names, train=train, users=users, unknown=unknown)
        except (TypeError, ValueError) as error:
            raise type(error)(f"models[{name!r}]: {error}") from error
        found[str(name)] = _by_user(evaluation, user_ids if Numbered(model).ids[0] is None else None)
    first, *others = found.items()
    for name, evaluation in others:
        if not np.array_equal(evaluation.users, first[1].users):
            raise ValueError(
                f"models[{first[0]!r}] and models[{name!r}] know different users, {len(first[1].users)} and "
                f"{len(evaluation.users)} with relevant items: fit them on the same data, or choose users="
            )
    order = list(first[1].overall)
    found = dict(sorted(found.items(), key=lambda pair: -np.nan_to_num(pair[1].overall[order[0]], nan=-np.inf)))
    return _table(found, order, share, n_resamples, rng)


def _by_user(found: Evaluation, ids: Ids | None) -> Evaluation:
    """Return an evaluation whose users ascend; `ids` are those of the users where they are row numbers."""
    users = named(ids, found.users)
    order = np.argsort(users, kind="stable")
    return Evaluation(users[order], {name: of[order] for name, of in found.per_user.items()}, found.overall)


def _table(
    found: dict[str, Evaluation], metrics: list[str], level: float, n_resamples: int, rng: np.random.Generator
) -> Comparison:
    """Resample all metrics of all models at once and make the table."""
    per_user = [metric for metric in metrics if metric in next(iter(found.values())).per_user]
    values = np.stack([np.stack([of.per_user[name] for name in per_user], 1) for of in found.values()], 1)
    averages = _resampled(values.reshape(len(values), -1), n_resamples, rng).reshape(-1, len(found), len(per_user))
    tail, n_pairs = (1 - level) / 2, max(1, len(found) * (len(found) - 1) // 2)
    shown: dict[str, list[object]] = {"model": list(found)}
    differences: dict[tuple[str, str, str], Difference] = {}
    for metric in metrics:
        of_metric = [evaluation.overall[metric] for evaluation in found.values()]
        shown[metric] = list(of_metric)
        if metric not in per_user:
            continue
        drawn = averages[:, :, per_user.index(metric)]
        low, high = np.nanquantile(drawn, [tail, 1 - tail], axis=0)
        below: list[list[str]] = [[] for _ in found]
        for one, first in enumerate(found):
            for two, second in enumerate(found):
                if one == two:
                    continue
                ends = np.nanquantile(drawn[:, one] - drawn[:, two], [tail / n_pairs, 1 - tail / n_pairs])
                real = bool(ends[0] > 0 or ends[1] < 0)
                difference = Difference(of_metric[one] - of_metric[two], float(ends[0]), float(ends[1]), real)
                differences[metric, first, second] = difference
                if real and difference.value > 0:
                    below[two].append(first)
        shown |= {f"{metric} low": low.tolist(), f"{metric} high": high.tolist()}
        shown[f"{metric} below"] = [", ".join(names) for names in below]
    return Comparison(found, shown, differences, level)


def _resampled(values: Floats, n_resamples: int, rng: np.random.Generator) -> Floats:
    """Return the averages of columns, without NaN, over users drawn with replacement: (n_resamples, n_columns)."""
    n = len(values)
    defined = ~np.isnan(values)
    both = np.concatenate([np.where(defined, values, 0.0), defined], axis=1)
    averages = []
    for start in range(0, n_resamples, BLOCK):
        size = min(BLOCK, n_resamples - start)
        drawn = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)
        total, count = np.split(times @ both, 2, axis=1)
        averages.append(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))
    return np.concatenate(averages)


def _ends(metric: str, columns: Mapping[str, object]) -> tuple[str, ...]:
    return ("", " low", " high", " below") if f"{metric} low" in columns else ("",)
