"""One number for how good a model is: what scikit-learn's searches ask of an estimator."""

from __future__ import annotations

import math
import numbers
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .base import Call
from .data.interactions import MatrixLike, as_interactions
from .data.splits import check_share, split_random
from .data.types import Columns
from .ranking import Ranking
from .validation import Unknown, check_dtype, check_integer, check_no_target, check_unknown, shown

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Scoring"]


Self = TypeVar("Self", bound="Scoring")


class Scoring(Ranking):
    """The part of a model that scores itself."""

    validation_history_: list[float]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self._missing == "nan"
        return tags

    def _fit_watched(self: Self, call: Call, validation: Any, metric: Any, patience: int) -> Self:
        """Fit, score after each iteration, and keep the best state; the arguments are those of `fit`."""
        from .evaluation.held_out import LOWER_IS_BETTER, check_metric, scorer

        sign = -1 if check_metric(metric)[0] in LOWER_IS_BETTER else 1
        check_integer("patience", patience, 1)
        dtype = check_dtype("dtype", self.dtype)
        train = self._interactions(call.R, dtype, weights=call.weights, **call.columns)
        if isinstance(validation, numbers.Real) and not isinstance(validation, bool):
            if call.weights is not None:
                raise ValueError(
                    "validation is a share, which weights cannot be split by: pass the held-out part itself"
                )
            check_share("validation", cast(float, validation))
            train, held_out = split_random(train, cast(float, validation), self.random_state)
        else:
            held_out = as_interactions(validation, "float64", missing=self._missing, name="validation", **call.columns)
        _, score = scorer(metric, held_out, train, "R")
        history: list[float] = []
        best: list[tuple[float, int, Self]] = []  # score, iteration and model

        def after(iteration: int, model: Self) -> bool:
            history.append(score(model))
            if math.isnan(history[-1]):
                raise ValueError(f"metric {shown(metric)} is not a number after iteration {iteration}")
            if not best or sign * history[-1] > sign * best[0][0]:
                best[:] = [(history[-1], iteration, model)]
            model.validation_history_ = list(history)
            stop = False if call.callback is None else bool(call.callback(iteration, model))
            return stop or iteration - best[0][1] >= patience

        self._fit(call._replace(R=train, weights=None, columns={}, callback=after))
        if best:
            self._put(best[0][2]._state)
        self.validation_history_ = history
        return self

    def score(self, R: MatrixLike, y: None = None, *, unknown: Unknown = "raise", **columns: Unpack[Columns]) -> float:
        """Return how good the model is on held-out interactions: higher is better.

        Parameters
        ----------
        R : as in `fit`
            Interactions that were not fitted.
        y : None
            Not used; here for scikit-learn, which passes it.
        unknown : {'raise', 'ignore'}, default 'raise'
            What to do with ids that the model does not have: raise, or leave their interactions out.
        **columns
            As in `fit`.

        Returns
        -------
        float
            `ImplicitALS`: ndcg@10, as of `fastals.evaluation.evaluate`. `ExplicitALS` and `WeightedALS`: the root mean
            squared error with a minus, as of `evaluate_ratings`.

        Examples
        --------
        >>> import fastals
        >>> model = fastals.ImplicitALS(2, random_state=0).fit([(0, 0, 1), (0, 1, 1), (1, 1, 1)])
        >>> model.score([(1, 0, 1), (0, 1, 0)])
        1.0
        """
        check_no_target(y)
        check_unknown(unknown)
        # Not at the top: `import fastals` need not wait for what few of its users score with.
        from .evaluation import evaluate, evaluate_ratings
        from .evaluation.protocols import Numbered

        self._state  # noqa: B018 - raises before any work where the model is not fitted
        self._check_table("R", R, columns)
        numbered = Numbered(self, "predict")
        held_out = numbered.read("R", R, "float64", missing=self._missing, unknown=unknown, **columns)
        numbered.check_shape("R", held_out)
        if self._missing == "zero":
            return evaluate(self, held_out, 10, ["ndcg"], unknown=unknown).overall["ndcg@10"]
        return -evaluate_ratings(self, held_out, ["rmse"], unknown=unknown)["rmse"]
