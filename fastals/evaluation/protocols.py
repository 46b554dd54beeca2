"""What an evaluation asks of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy import sparse

from ..base import Base
from ..data.ids import Ids
from ..data.interactions import Interactions, MatrixLike
from ..data.types import FloatType
from .lists import in_order
from .metrics import Ints

Array = npt.NDArray[Any]


class Recommender(Protocol):
    """Any object that recommends items: a fitted model, a baseline, or your own.

    Optional attributes `user_ids_` and `item_ids_` are arrays with the ids of users and items. If they are there and
    not None, `recommend` takes and gives these ids; else row and column numbers.
    """

    def recommend(self, users: Array, n: int, /) -> tuple[Array, Array]:
        """Return (len(users), n) ids of items that the users do not have, the best first, and their scores.

        Where fewer than n items remain, the id is -1 (among strings "") and the score -inf.
        """


class NewUserRecommender(Protocol):
    """A model that recommends to users whom it has not seen, from their interactions."""

    def recommend(self, users: sparse.csr_array, n: int, /, *, fold_in: bool) -> tuple[Array, Array]:
        """Return ids and scores as `Recommender.recommend` does; row r of the matrix is user r."""


class RatingPredictor(Protocol):
    """Any object that scores pairs; ids as in `Recommender`."""

    def predict(self, users: Array, items: Array, /) -> Array:
        """Return one score for each pair (users[p], items[p])."""


class Numbered:
    """A model with ids, asked by row numbers; it answers with column numbers. It must have `method`."""

    def __init__(self, model: Any, method: str | None = None):
        if isinstance(model, type) or (method is not None and not callable(getattr(model, method, None))):
            given = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
            raise TypeError(f"model must be a fitted model or an object with a method {method}, got {given}")
        self._model = model
        self.ids = _ids(model, "user_ids_"), _ids(model, "item_ids_")

    @property
    def shape(self) -> tuple[int, int] | None:
        """Users and items of the model; None if the model does not tell."""
        users, items = (getattr(self._model, name, None) for name in ("user_factors_", "item_factors_"))
        return getattr(self._model, "shape_", None) if users is None or items is None else (len(users), len(items))

    def known(self) -> Ints | None:
        """Return ``user * n_items + item`` of what the model was fitted on, ascending; None if it does not tell."""
        fitted = self._model._fitted if isinstance(self._model, Base) else None
        if fitted is None or fitted.by_user is None:
            return None
        cells = fitted.by_user.cells
        return np.repeat(np.arange(cells.n_rows), cells.counts) * len(fitted.items) + cells.indices

    def recommend(self, users: Ints, n: int) -> Array:
        """Return column numbers, -1 for an empty place."""
        return self._columns(*self._model.recommend(named(self.ids[0], users), n))

    def recommend_new(self, rows: sparse.csr_array, n: int) -> Array:
        """Return column numbers for users that are folded in."""
        return self._columns(*self._model.recommend(rows, n, fold_in=True))

    def predict(self, users: Ints, items: Ints) -> Array:
        """Return one score a pair."""
        return np.asarray(self._model.predict(named(self.ids[0], users), named(self.ids[1], items)))

    def _columns(self, ids: npt.ArrayLike, scores: npt.ArrayLike) -> Array:
        ids = np.asarray(ids)
        if self.ids[1] is None:
            return ids
        columns = np.full(ids.shape, -1)
        filled = np.asarray(scores) != -np.inf  # -1 may be somebody's id
        columns[filled] = self.ids[1].positions("ids", ids[filled])
        return columns

    def read(
        self, name: str, R: MatrixLike, dtype: FloatType = "float32", *, new_users: bool = False, **options: Any
    ) -> Interactions:
        """Return what a caller passed as Interactions in the model's order; `new_users`: of its items only."""
        sizes: tuple[int | None, int | None] = self.shape or (None, None)
        like = (None, self.ids[1]) if new_users else self.ids
        return in_order(name, R, dtype, like=like, shape=(None, sizes[1]) if new_users else sizes, **options)

    def check_table(self, name: str, R: Any, columns: Mapping[str, Any]) -> None:
        """Refuse a table from which a model of fastals would have values of 1 where it learns from others."""
        if isinstance(self._model, Base):
            self._model._check_table(name, R, columns)

    def check_shape(self, name: str, test: Interactions) -> None:
        """Refuse interactions of another shape than the model's."""
        if self.shape not in (None, test.shape):
            raise ValueError(
                f"{name} has shape {test.shape} and the model was fitted on {self.shape}: pass a matrix with the users "
                "and items of the fit, or Interactions with ids"
            )


def _ids(model: Any, name: str) -> Ids | None:
    values = getattr(model, name, None)
    return None if values is None else Ids(name, values)


def named(ids: Ids | None, numbers: Ints) -> Array:
    """Return the ids of row or column numbers; the numbers if there are no ids."""
    return numbers if ids is None else ids.values[numbers]
