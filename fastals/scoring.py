"""One number for how good a model is: what scikit-learn's searches ask of an estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .data.interactions import MatrixLike
from .data.types import Columns
from .ranking import Ranking
from .validation import Unknown, check_no_target, check_unknown

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Scoring"]


class Scoring(Ranking):
    """The part of a model that scores itself."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self._missing == "nan"
        return tags

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

        self._state  # noqa: B018 - raises before any work where the model is not fitted
        if self._missing == "zero":
            return evaluate(self, R, 10, ["ndcg"], unknown=unknown, **columns).overall["ndcg@10"]
        return -evaluate_ratings(self, R, ["rmse"], unknown=unknown, **columns)["rmse"]
