"""New users and items for the factors of a fitted model, and the objective of these factors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .base import SOLVERS, Base
from .data.features import no_features
from .data.interactions import Interactions
from .data.matrix import canonical_row
from .data.types import Columns, MatrixLike, is_frame
from .engine import alternation as engine
from .engine import plain_answers
from .engine.model import Model
from .engine.panel import aligned_copy
from .engine.problem import Cells, RowProblem, first_failure
from .engine.shifts import on_panel, take_off
from .errors import solve_error
from .features import SIDES, check_given, drawn
from .fitted import Fitted, SideName
from .validation import Unknown, check_option, check_unknown

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["FoldingIn"]


class FoldingIn(Base):
    """The part of a model that solves new users and items for what it has learned."""

    def _with_items_of(
        self, fitted: Fitted, R: MatrixLike, name: str, unknown: str | None, columns: Columns
    ) -> Interactions:
        """Return interactions of new users with the items of the model; messages call them `name`."""
        known = {"n_items": len(fitted.items), "item_ids": fitted.items.ids}
        return self._interactions(R, fitted.dtype, **known, unknown=unknown, name=name, **columns)

    def _new_users(
        self, fitted: Fitted, R_new: MatrixLike, columns: Columns, unknown: str | None = None, name: str = "R_new"
    ) -> Cells:
        """Return the interactions of new users; messages call them `name`."""
        row = canonical_row(R_new, len(fitted.items), fitted.dtype)
        return self._with_items_of(fitted, R_new, name, unknown, columns).by_user if row is None else row

    def _solve_users(self, fitted: Fitted, cells: Cells, features: Cells | None = None) -> np.ndarray:
        """Return the factors of new users, with the bias as the last column where there is one."""
        problem = fitted.objective.user_problem(cells, fitted.statistics, room=False)
        if fitted.objective.offsets:
            problem = problem._replace(columns=fitted.columns_with_offsets())
        return self._fold_in(fitted, problem, "user", features)

    def _fold_in(
        self, fitted: Fitted, problem: RowProblem, name: SideName, features: Cells | None = None
    ) -> np.ndarray:
        """Solve new rows of one side for the factors of the other."""
        problem = drawn(fitted, name, problem, features, self._plain, self._threads)
        other = fitted.items if name == "user" else fitted.users
        solver = check_option("solver", self.solver, SOLVERS)
        half_step = self._half_step(fitted.objective, other.width)
        shifted = other.biased and not fitted.objective.offsets
        # The items' are taken off already, and `fixed` has the shifts of the other engine.
        if other.biased and (half_step is not None if shifted else name == "item"):
            take_off(problem, other.panel[:, other.k])
        if half_step is not None:
            X, Y = np.zeros((problem.cells.n_rows, other.base.shape[1]), fitted.dtype), other.regressors
            status = half_step(on_panel(problem, Y), Y, X).status
        else:
            fixed = other.fixed(problem.columns, self._threads, shifted)
            X, status = engine.fold_in(problem, fixed, other.width, solver, self._threads)
        failure = first_failure(name, status)
        if failure is not None:
            raise solve_error(name, failure.row, problem.cells.counts[failure.row], X.dtype)
        return X[:, : other.width]

    def fold_in_users(
        self,
        R_new: MatrixLike | None = None,
        *,
        user_features: Any = None,
        unknown: Unknown = "raise",
        **columns: Unpack[Columns],
    ) -> np.ndarray:
        """Return the factors of users that were not in the training set, for the stored item factors.

        The same half-step as the last one of `fit`: a training user folded in with the same interactions gets the same
        bits.

        Parameters
        ----------
        R_new : as in `fit`, shape (n_new, n_items), optional
            The new users' interactions. A user without any gets what the features say, zeros without features.
        user_features : as in `fit`, optional
            The new users' features, with the columns of the fit. None counts as zeros. They will do without `R_new`.
        unknown : {'raise', 'ignore'}, default 'raise'
            What to do with ids of items that the model does not have: raise, or leave their interactions out.
        **columns
            As in `fit`.

        Returns
        -------
        ndarray, shape (n_new, factors)
            With biases, their biases as a last column: shape (n_new, factors + 1).

        Examples
        --------
        >>> import fastals
        >>> model = fastals.ImplicitALS(2, random_state=0).fit([(0, 0, 1), (0, 1, 1), (1, 1, 1)])
        >>> model.fold_in_users([[1, 0]]).shape
        (1, 2)
        """
        fitted = self._state
        cells, features = self._new_users_and_features(fitted, R_new, user_features, unknown, columns)
        return self._solve_users(fitted, cells, features)

    def _new_users_and_features(
        self, fitted: Fitted, R_new: Any, user_features: Any, unknown: Any, columns: Columns, name: str = "R_new"
    ) -> tuple[Cells, Cells | None]:
        """Return the interactions, which messages call `name`, and the features of new users; one may be left out."""
        check_unknown(unknown)
        if R_new is None and user_features is not None:
            features = check_given(fitted, "user", user_features, None)
            assert features is not None
            return no_features(features.n_rows, fitted.dtype), features
        if is_frame(user_features):
            R = self._with_items_of(fitted, R_new, name, unknown, columns)
            return R.by_user, check_given(fitted, "user", user_features, R.shape[0], R.user_ids)
        cells = self._new_users(fitted, R_new, columns, unknown, name)
        return cells, check_given(fitted, "user", user_features, cells.n_rows)

    def fold_in_items(
        self,
        R_new: MatrixLike | None = None,
        *,
        item_features: Any = None,
        unknown: Unknown = "raise",
        **columns: Unpack[Columns],
    ) -> np.ndarray:
        """Return the factors of items that were not in the training set, for the stored user factors.

        Parameters
        ----------
        R_new : as in `fit`, shape (n_users, n_new), optional
            The new items' interactions: users are rows here too.
        item_features : as in `fit`, shape (n_new, d), optional
            As `user_features` of `fold_in_users`: items are rows here.
        unknown : {'raise', 'ignore'}, default 'raise'
            What to do with ids of users that the model does not have: raise, or leave their interactions out.
        **columns
            As in `fit`.

        Returns
        -------
        ndarray, shape (n_new, factors), or (n_new, factors + 1) with biases.

        Examples
        --------
        >>> import fastals
        >>> model = fastals.ImplicitALS(2, random_state=0).fit([(0, 0, 1), (0, 1, 1), (1, 1, 1)])
        >>> model.fold_in_items([[1], [1]]).shape
        (1, 2)
        """
        fitted = self._state
        n_users = len(fitted.users)
        check_unknown(unknown)
        if R_new is None and item_features is not None:
            features = check_given(fitted, "item", item_features, None)
            assert features is not None
            cells = no_features(features.n_rows, fitted.dtype)
        else:
            known = {"n_users": n_users, "user_ids": fitted.users.ids, "unknown": unknown, "name": "R_new"}
            R = self._interactions(R_new, fitted.dtype, **known, **columns)  # type: ignore[arg-type]
            cells, features = R.by_item, check_given(fitted, "item", item_features, R.shape[1], R.item_ids)
        problem = fitted.objective.item_problem(cells, fitted.statistics, n_users, new_items=True)
        return self._fold_in(fitted, problem, "item", features)

    def loss(self, R: MatrixLike, weights: MatrixLike | None = None, **columns: Unpack[Columns]) -> float:
        """Return the objective of the stored factors on `R`, in float64.

        Parameters
        ----------
        R, weights, **columns
            As in `fit`, of the training shape: usually the training interactions, whose counts scale the
            regularization. Item statistics (popularity, item weights, mean) stay those of the training set.

        Returns
        -------
        float

        Examples
        --------
        >>> import fastals
        >>> R = [(0, 0, 1), (0, 1, 1), (1, 1, 1)]
        >>> 0 < fastals.ImplicitALS(2, regularization=0.01, random_state=0).fit(R).loss(R) < 1
        True
        """
        fitted = self._whole_state
        users, items, objective = fitted.users, fitted.items, fitted.objective
        cells = self._interactions(
            R,
            fitted.dtype,
            weights=weights,
            n_users=len(users),
            n_items=len(items),
            user_ids=users.ids,
            item_ids=items.ids,
            **columns,
        )
        problems = [
            objective.user_problem(cells.by_user, fitted.statistics),
            objective.item_problem(cells.by_item, fitted.statistics, len(users)),
        ]
        penalty = 0.0
        for axis, side in enumerate((users, items)):
            if side.features is not None:
                own = side.features.cells(len(side))
                problems[axis] = drawn(fitted, SIDES[axis], problems[axis], own, self._plain, self._threads)
                penalty += side.features.penalty
        model = Model(
            problems[0],
            problems[1],
            # Copies where there are biases: their columns are 1 while the loss is computed.
            aligned_copy(users.panel) if users.biased else users.panel,
            aligned_copy(items.panel) if items.biased else items.panel,
            users.width,
            users.k if users.biased else -1,
        )
        return penalty + (plain_answers.loss(model) if self._plain else engine.loss(model, self._threads))
