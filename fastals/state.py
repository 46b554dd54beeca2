"""The fitted state of a model: taken once by whoever answers, put in place by whoever learns, shown as attributes."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import numpy as np

from .data.encoder import FeatureEncoder
from .fitted import Fitted, SideName
from .html import facts
from .validation import NotFittedError, Params

__all__ = ["Stateful"]

Self = TypeVar("Self", bound="Stateful")


class Stateful(Params):
    """A model with a fitted state: `_fitted`, one frozen record.

    `_put` and `_write` alone put another in its place; whoever answers takes it once, from `_state`.
    """

    _fitted: Fitted | None = None

    @property
    def _writing(self) -> threading.RLock:
        """The lock of this model's writers. A forked child has its own: nobody would give back one that was held."""
        return vars(self).setdefault(f"_writing_{os.getpid()}", threading.RLock())

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_writing")}

    @property
    def _state(self) -> Fitted:
        fitted = self._fitted
        if fitted is None:
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet: call fit(R) first")
        return fitted

    @property
    def _whole_state(self) -> Fitted:
        """The fitted state, of which both sides go together."""
        fitted = self._state
        if fitted.users.k != fitted.items.k:
            raise ValueError(
                f"user_factors_ has {fitted.users.k} columns and item_factors_ {fitted.items.k}: "
                "assign factors of one length to both"
            )
        return fitted

    # Writers wait for each other. Each does so on one line: an exception that a signal raises between two lines could
    # leave the lock held.

    def _put(self: Self, fitted: Fitted) -> Self:
        """Put a fitted state in place of the one that is there, if any."""
        with self._writing: self._fitted = fitted  # fmt: skip  # noqa: E701
        return self

    def _write(self: Self, change: Callable[[Fitted], Fitted]) -> Self:
        """Put in place what `change` makes of the fitted state."""
        with self._writing: self._fitted = change(self._state)  # fmt: skip  # noqa: E701
        return self

    def _repr_html_(self) -> str:
        """Return parameters, and how large the fit is, for a notebook."""
        rows: list[tuple[str, Any]] = list(self.get_params().items())
        fitted = self._fitted
        if fitted is not None:
            rows += [("users", len(fitted.users)), ("items", len(fitted.items)), ("iterations done", self.n_iter_)]
            rows += [("loss", loss) for loss in fitted.history[-1:]]
        return facts(f"{type(self).__name__}, {'not fitted' if fitted is None else 'fitted'}", rows)

    def __sklearn_is_fitted__(self) -> bool:
        return self._fitted is not None

    @property
    def user_factors_(self) -> np.ndarray:
        """Factors of the users, shape (n_users, factors), read-only; what is assigned is checked and copied."""
        return self._state.users.public("factors")

    @user_factors_.setter
    def user_factors_(self, factors: Any) -> None:
        self._assign("user", "factors", factors)

    @property
    def item_factors_(self) -> np.ndarray:
        """Factors of the items, shape (n_items, factors), read-only; what is assigned is checked and copied."""
        return self._state.items.public("factors")

    @item_factors_.setter
    def item_factors_(self, factors: Any) -> None:
        self._assign("item", "factors", factors)

    @property
    def user_feature_factors_(self) -> np.ndarray:
        """What each feature adds to a user's factors, shape (n_features, factors), read-only."""
        return self._features("user", "factors")

    @property
    def item_feature_factors_(self) -> np.ndarray:
        """What each feature adds to an item's factors, shape (n_features, factors), read-only."""
        return self._features("item", "factors")

    @property
    def user_feature_biases_(self) -> np.ndarray:
        """What each feature adds to a user's bias, shape (n_features,), read-only."""
        return self._features("user", "biases")

    @property
    def item_feature_biases_(self) -> np.ndarray:
        """What each feature adds to an item's bias, shape (n_features,), read-only."""
        return self._features("item", "biases")

    @property
    def user_biases_(self) -> np.ndarray:
        """Biases of the users, shape (n_users,), read-only; what is assigned is checked and copied."""
        return self._biases("user")

    @user_biases_.setter
    def user_biases_(self, biases: Any) -> None:
        self._assign("user", "biases", biases)

    @property
    def item_biases_(self) -> np.ndarray:
        """Biases of the items, shape (n_items,), read-only; what is assigned is checked and copied."""
        return self._biases("item")

    @item_biases_.setter
    def item_biases_(self, biases: Any) -> None:
        self._assign("item", "biases", biases)

    @property
    def global_mean_(self) -> float:
        """Mean of the training values, where the model has biases."""
        self._biases("user")
        return self._state.mean

    @property
    def loss_history_(self) -> list[float]:
        """The objective after each iteration."""
        return list(self._state.history)

    @property
    def n_iter_(self) -> int:
        """Iterations done."""
        return len(self._state.history)

    @property
    def regularization_(self) -> tuple[float, float]:
        """The regularization of users and of items in the fit."""
        return self._state.objective.regularization

    @property
    def user_ids_(self) -> np.ndarray | None:
        """The users' ids in the order of `user_factors_`; None where the model was fitted on row numbers."""
        ids = self._state.users.ids
        return None if ids is None else ids.values

    @property
    def item_ids_(self) -> np.ndarray | None:
        """The items' ids in the order of `item_factors_`; None where the model was fitted on column numbers."""
        ids = self._state.items.ids
        return None if ids is None else ids.values

    def _biases(self, name: SideName) -> np.ndarray:
        side = self._state.side(name)
        if not side.biased:
            raise AttributeError(f"this {type(self).__name__} was fitted without biases")
        return side.public("biases")

    @property
    def user_feature_encoder_(self) -> FeatureEncoder | None:
        """What makes features of a table of users; None where a matrix or nothing was given."""
        features = self._state.users.features
        return None if features is None else features.encoder

    @property
    def item_feature_encoder_(self) -> FeatureEncoder | None:
        """What makes features of a table of items; None where a matrix or nothing was given."""
        features = self._state.items.features
        return None if features is None else features.encoder

    def _features(self, name: SideName, what: Literal["factors", "biases"]) -> np.ndarray:
        side = self._state.side(name)
        if side.features is None:
            raise AttributeError(f"this {type(self).__name__} was fitted without {name}_features")
        if what == "biases" and not side.biased:
            raise AttributeError(f"this {type(self).__name__} was fitted without biases")
        array = side.features.panel[:, : side.k] if what == "factors" else side.features.panel[:, side.k]
        array.setflags(write=False)
        return array

    def _assign(self, name: SideName, what: str, given: Any) -> None:
        """Put other factors, or other biases, of one side in place."""

        def change(fitted: Fitted) -> Fitted:
            side = fitted.side(name)
            array, old = np.asarray(given), getattr(side, what)
            if old is None:
                raise AttributeError(f"this {type(self).__name__} was fitted without biases")
            if array.dtype.kind not in "iuf" or array.ndim != old.ndim or len(array) != len(old) or 0 in array.shape:
                wanted = f"({len(old)}, factors)" if old.ndim == 2 else f"({len(old)},)"
                raise ValueError(
                    f"{name}_{what}_ must be numbers of shape {wanted}, got {array.dtype} of shape {array.shape}; "
                    "call fit for another set of users or items"
                )
            with np.errstate(over="ignore"):
                array = array.astype(fitted.dtype)
            if not np.isfinite(array).all():
                raise ValueError(
                    f"{name}_{what}_ must be finite in {fitted.dtype}, got NaN, infinity or a larger number"
                )
            factors, biases = (array, side.biases) if what == "factors" else (side.factors, array)
            return fitted.with_side(name, side.with_factors(factors, biases))

        self._write(change)

    def _with(self: Self, fitted: Fitted) -> Self:
        """Return a model with these parameters and this fitted state."""
        other = copy.copy(self)
        other._fitted = fitted
        return other

    def interactions_of(self, user: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return what the model knows of a user: the items of the training interactions, and their values.

        Parameters
        ----------
        user : id

        Returns
        -------
        items : ndarray, shape (n,)
            Ids, or column numbers where the model was fitted on numbers, in the order of the columns.
        values : ndarray of the model's dtype, shape (n,)

        Raises
        ------
        ValueError
            The user is unknown, or the model was saved without its interactions.

        Examples
        --------
        >>> import fastals
        >>> orders = fastals.Interactions.from_triplets(["ann", "ann", "bob"], ["tea", "cup", "cup"])
        >>> fastals.ImplicitALS(2, random_state=0).fit(orders).interactions_of("ann")[0].tolist()
        ['cup', 'tea']
        """
        fitted = self._state
        row = fitted.seen("use interactions you keep yourself")[fitted.users.one("user", user)]
        return fitted.items.names(row.columns.astype(np.intp)), row.values.copy()
