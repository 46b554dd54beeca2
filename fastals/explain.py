"""Why a score is what it is: what each of a user's items adds to a prediction."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .data.interactions import MatrixLike
from .engine import equations
from .features import check_given, drawn
from .foldin import FoldingIn

__all__ = ["Explaining", "Explanation"]


class Explanation(NamedTuple):
    """Why a user's prediction for an item is what it is: `score = baseline + features + contributions.sum()`."""

    score: float
    """Prediction of the user as folded in, in float64."""
    baseline: float
    """Mean and item bias, and what the biases of unobserved entries take off; 0 without biases."""
    items: np.ndarray
    """The user's items, by falling contribution; shape (n_entries,)."""
    contributions: np.ndarray
    """What each of them adds, float64, shape (n_entries,)."""
    features: float = 0.0
    """What the user's features add, 0 for a model without."""


class Explaining(FoldingIn):
    """The part of a model that explains."""

    def explain(
        self, user: Any, item: Any, R_new: MatrixLike | None = None, *, user_features: Any = None
    ) -> Explanation:
        """Return what each of a user's items adds to the prediction for an item.

        Parameters
        ----------
        user : id
            Not looked at where `R_new` is given.
        item : id
        R_new : as in `fold_in_users`, shape (1, n_items), optional
            The user's interactions; None: the training interactions.
        user_features : as in `fit`, shape (1, d), optional
            The user's features, where `R_new` is given.

        Returns
        -------
        Explanation
            NamedTuple (score, baseline, items, contributions, features). The score is that of the user folded in, which
            differs from the stored one by rounding only.

        Notes
        -----
        A user's factors are x = A^-1 sum_j b_j y_j over the user's interactions. So the prediction x.y_i is the sum of
        b_j y_j' A^-1 y_i (Hu, Koren, Volinsky: Collaborative filtering for implicit feedback datasets. ICDM 2008,
        section 5). With features the right-hand side has one term more: the ridge times the user's prior mean. In
        float64.

        Examples
        --------
        >>> import fastals
        >>> model = fastals.ImplicitALS(2, random_state=0).fit([(0, 0, 1), (0, 1, 1), (1, 1, 1)])
        >>> model.explain(1, 0).items.tolist()
        [1]
        """
        fitted = self._whole_state
        items = fitted.items
        target = items.one("item", item)
        if R_new is None:
            seen = fitted.seen("pass the user's interactions as R_new")
            number = fitted.users.one("user", user)
            cells = seen[number].cells
            if user_features is not None:
                raise ValueError("user_features are those of a new user: pass the user's interactions as R_new too")
            own = fitted.users.features
            features = None if own is None else own.of_rows(np.array([number]))
        else:
            cells = self._new_users(fitted, R_new, {})
            features = check_given(fitted, "user", user_features, cells.n_rows)
            if cells.n_rows != 1:
                shape = cells.n_rows, len(items)
                raise ValueError(f"R_new must be the interactions of one user, shape (1, n_items), got shape {shape}")
        problem = fitted.objective.user_problem(cells, fitted.statistics)
        problem = drawn(fitted, "user", problem, features, self._plain, 1)
        rows, y = items.rows(cells.indices), items.rows(np.array([target]))[0].astype(np.float64)
        baseline, biases = 0.0, None
        if items.biased:
            baseline, biases = fitted.mean + float(y[items.k]), rows[:, items.k]
            y[items.k] = 1
        problem, gram = items.shifted(problem, fitted.explaining_gram())
        found = equations.row_equations(problem, rows[:, : items.k], biases, gram)
        y = y[: items.width]
        if fitted.objective.nonnegative:
            # The factors that are not 0 solve the equations without the others.
            x = self._solve_users(fitted, cells)[0]
            used = np.flatnonzero((x > 0) | (np.arange(len(x)) == (items.k if items.biased else -1)))
            found, y = found.only(used), y[used]
        contributions = equations.contributions(found, y)
        prior = equations.of_mean(found, y) if found.mean.any() else 0.0
        if found.unobserved.any():
            baseline += equations.of_unobserved(found, y)
        if not np.isfinite(contributions).all():
            raise np.linalg.LinAlgError(
                f"the prediction for item {item!r} cannot be explained: the equations of the user, who has "
                f"{len(cells.indices)} interactions, have no finite solution; rescale the values and fit again"
            )
        order = np.argsort(-contributions, kind="stable")
        ranked = contributions[order]
        names = items.names(cells.indices[order].astype(np.intp))
        return Explanation(baseline + prior + float(ranked.sum()), baseline, names, ranked, prior)
