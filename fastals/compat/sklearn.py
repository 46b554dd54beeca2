"""A transformer for scikit-learn's pipelines: from a table of events to `Interactions` with fixed ids.

scikit-learn itself is not imported: the classes have what it asks of an estimator.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, TypeVar

import numpy as np

from ..data.interactions import Interactions, as_interactions
from ..data.types import FloatType, is_frame
from ..validation import NotFittedError, Params, Unknown, check_no_target, check_unknown

__all__ = ["InteractionsEncoder"]

Self = TypeVar("Self", bound="InteractionsEncoder")


class InteractionsEncoder(Params):
    """Turn events into `Interactions`, with users and items numbered as they were at the fit.

    Parameters
    ----------
    user, item : name of a column, default "user" and "item"
    value, time : name of a column, optional
        As in `Interactions.from_frame`.
    unknown : {'ignore', 'raise'}, default 'ignore'
        What `transform` does with users and items that were not there at the fit: leave their events out, as a model
        knows nothing of them, or raise.
    dtype : {'float32', 'float64'}, default 'float32'
        Of the values.

    Attributes
    ----------
    user_ids_, item_ids_ : Ids
        What users and items are called, by number.

    Examples
    --------
    >>> from fastals.compat.sklearn import InteractionsEncoder
    >>> events = {"user": ["ann", "ann", "bob"], "item": ["tea", "cup", "cup"]}
    >>> encoder = InteractionsEncoder().fit(events)
    >>> encoder.transform({"user": ["bob", "eve"], "item": ["tea", "tea"]})
    Interactions(2 users x 2 items, 1 events, float32)
    """

    def __init__(
        self,
        user: Hashable = "user",
        item: Hashable = "item",
        value: Hashable | None = None,
        time: Hashable | None = None,
        unknown: Unknown = "ignore",
        dtype: FloatType = "float32",
    ):
        self.user = user
        self.item = item
        self.value = value
        self.time = time
        self.unknown = unknown
        self.dtype = dtype

    def fit(self: Self, X: Any, y: None = None) -> Self:
        """Learn the ids of users and items.

        Parameters
        ----------
        X : table, Interactions with ids, or rows (user, item) or (user, item, value)
            Events. Of rows the columns are taken by place.
        y : None
            Not used; scikit-learn passes it.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            There is no such column, or an id is missing.

        Examples
        --------
        >>> from fastals.compat.sklearn import InteractionsEncoder
        >>> InteractionsEncoder().fit([("ann", "tea"), ("bob", "cup")]).item_ids_
        Ids(2 strings: 'cup', 'tea')
        """
        self.fit_transform(X, y)
        return self

    def fit_transform(self, X: Any, y: None = None) -> Interactions:
        """Learn the ids of users and items, and return the events as Interactions.

        Parameters
        ----------
        X, y
            As in `fit`, which also says what is raised.

        Returns
        -------
        Interactions

        Examples
        --------
        >>> from fastals.compat.sklearn import InteractionsEncoder
        >>> InteractionsEncoder().fit_transform([("ann", "tea", 2), ("bob", "cup", 3)]).values
        array([2., 3.], dtype=float32)
        """
        check_no_target(y)
        check_unknown(self.unknown)
        found = self._read(X)
        self.user_ids_, self.item_ids_ = found.user_ids, found.item_ids
        return found

    def transform(self, X: Any) -> Interactions:
        """Return events as Interactions with the users and items of the fit.

        Parameters
        ----------
        X : as in `fit`

        Returns
        -------
        Interactions
            Of the shape that the fit had.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As in `fit`, or `fit` has not run, or an id is unknown and `unknown="raise"`.

        Examples
        --------
        >>> from fastals.compat.sklearn import InteractionsEncoder
        >>> InteractionsEncoder().fit([("ann", "tea"), ("bob", "cup")]).transform([("bob", "tea")]).users
        array([1], dtype=int32)
        """
        if not self.__sklearn_is_fitted__():
            raise NotFittedError("this InteractionsEncoder is not fitted yet: call fit(X) first")
        return self._read(X).renumbered(
            self.user_ids_, self.item_ids_, of="the fit", unknown=check_unknown(self.unknown)
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "item_ids_")

    def _read(self, X: Any) -> Interactions:
        if is_frame(X) and not isinstance(X, Interactions):
            columns: Any = {"user": self.user, "item": self.item, "value": self.value, "time": self.time}
            return as_interactions(X, self.dtype, name="X", **columns)
        if isinstance(X, Interactions):
            if X.user_ids is None or X.item_ids is None:
                raise ValueError("X has no ids of users and items: fit the model on it as it is, without an encoder")
            return X.astype(self.dtype)
        rows = np.asarray(X, None if isinstance(X, np.ndarray) else object)
        if rows.ndim != 2 or rows.shape[1] not in (2, 3):
            raise ValueError(f"X has shape {rows.shape}: pass a table, or rows (user, item) or (user, item, value)")
        parts = [np.array(column.tolist(), None if place == 2 else object) for place, column in enumerate(rows.T)]
        return Interactions.from_triplets(*parts, dtype=self.dtype)
