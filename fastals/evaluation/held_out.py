"""One number for a model on held-out interactions, by the name of a metric: for searches and for fits that watch it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, cast

from ..data.interactions import Interactions
from ..validation import shown
from .evaluate import evaluate_ratings
from .lists import MORE_IS_BETTER, Evaluator, check_disjoint, in_order
from .metrics import RATING_METRICS, RatingMetric
from .protocols import Numbered

Metric: TypeAlias = str | Callable[[Any, Interactions], float]

LOWER_IS_BETTER = ("rmse", "mae")


def check_metric(metric: Metric) -> tuple[str, int]:
    """Return the name and the cutoff of a metric, "" and 0 of a function."""
    if callable(metric):
        return "", 0
    if not isinstance(metric, str):
        raise TypeError(f"metric must be a name or a function (model, validation) -> float, got {shown(metric)}")
    name, _, cutoff = metric.partition("@")
    if name in RATING_METRICS and not cutoff:
        return name, 0
    if name in MORE_IS_BETTER and cutoff.isascii() and cutoff.isdecimal() and int(cutoff) > 0:
        return name, int(cutoff)
    raise ValueError(
        f"metric {metric!r} is unknown: choose from {', '.join(f'{known}@K' for known in MORE_IS_BETTER)} with K of "
        f"at least 1, or from {', '.join(RATING_METRICS)}"
    )


def scorer(
    metric: Metric, validation: Interactions, train: Interactions, of: str = "train"
) -> tuple[Interactions, Callable[[Any], float]]:
    """Return the validation part in the order of train, and the function that scores a model on it.

    Parameters
    ----------
    metric : str or callable (model, validation) -> float
    validation, train : Interactions
        An id of `validation` that `train` does not have is refused.
    of : str, default "train"
        What a message calls `train`.
    """
    name, cutoff = check_metric(metric)
    validation = in_order("validation", validation, "float64", like=(train.user_ids, train.item_ids), of=of)
    if validation.shape != train.shape:
        raise ValueError(f"{of} has shape {train.shape} and validation {validation.shape}: both must have one shape")
    if not validation.nnz:
        raise ValueError("validation has no interaction: pass at least one, to tell candidates apart")
    if name in MORE_IS_BETTER:
        evaluator = Evaluator(validation, cutoff, [cast(Any, name)], train if name == "auc" else None)
        check_disjoint("validation", validation, of, train)
        return validation, lambda model: evaluator.run(Numbered(model).recommend).overall[f"{name}@{cutoff}"]
    if name:
        return validation, lambda model: evaluate_ratings(model, validation, [cast(RatingMetric, name)])[name]
    assert callable(metric)
    return validation, lambda model: float(metric(model, validation))
