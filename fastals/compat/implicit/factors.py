"""The two factor matrices of an `implicit` model, which anybody may set, checked at each use."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from scipy import sparse

from ...data.interactions import Interactions, MatrixLike
from ...engine.threads import available
from ...validation import NotFittedError, Params, check_integer
from .utils import as_confidences

__all__ = ["FactorModel", "check_columns", "lengths"]

TINY = 1e-10  # stands for a length of 0, so that nothing is divided by 0


class FactorModel(Params):
    """User and item factors, their lengths and Gram matrices."""

    dtype: np.dtype
    num_threads: int
    user_factors: np.ndarray | None
    item_factors: np.ndarray | None
    _kept: dict[str, tuple[np.ndarray, np.ndarray]]  # for each side: its factors, and these divided by their lengths

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": {}}

    @abstractmethod
    def _fold_in(self, rows: Interactions, side: str) -> np.ndarray:
        """Return exact factors of `rows`, which are users or items, for the stored factors of the other side."""

    @property
    def user_norms(self) -> np.ndarray:
        """Lengths of the user factors, 1e-10 in place of 0, shape (n_users,)."""
        return lengths(self._factors("user"))

    @property
    def item_norms(self) -> np.ndarray:
        """Lengths of the item factors, 1e-10 in place of 0, shape (n_items,)."""
        return lengths(self._factors("item"))

    @property
    def YtY(self) -> np.ndarray:  # noqa: N802 - its name in `implicit`
        """Gram matrix of the item factors, shape (factors, factors)."""
        Y = self._factors("item")
        return Y.T @ Y

    @property
    def XtX(self) -> np.ndarray:  # noqa: N802 - its name in `implicit`
        """Gram matrix of the user factors, shape (factors, factors)."""
        X = self._factors("user")
        return X.T @ X

    @property
    def _threads(self) -> int:
        return check_integer("num_threads", self.num_threads, 0) or available()

    def _factors(self, side: str) -> np.ndarray:
        factors: np.ndarray | None = getattr(self, f"{side}_factors")
        if factors is None:
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet: call fit(user_items) first")
        return self._as_factors(side, factors)

    def _as_factors(self, side: str, given: Any) -> np.ndarray:
        """Return factors as an array of the model's dtype."""
        array = np.asarray(given)
        if array.ndim != 2 or array.dtype.kind not in "iuf":
            raise ValueError(f"{side}_factors must be numbers of shape (n, factors), got {array.dtype} {array.shape}")
        return np.ascontiguousarray(array, self.dtype)

    def _both_factors(self) -> tuple[np.ndarray, np.ndarray]:
        X, Y = self._factors("user"), self._factors("item")
        if X.shape[1] != Y.shape[1]:
            raise ValueError(
                f"user_factors have shape {X.shape} and item_factors {Y.shape}: one number of columns is wanted"
            )
        return X, Y

    def _directions(self, side: str) -> np.ndarray:
        """Return the factors divided by their lengths, computed once for each array of factors."""
        factors = self._factors(side)
        kept = self._kept.get(side)
        if kept is None or kept[0] is not factors:
            kept = self._kept[side] = factors, factors / lengths(factors)[:, None]
        return kept[1]

    def _rows(self, name: str, given: MatrixLike, n_rows: int, columns: str, stacklevel: int = 4) -> Interactions:
        """Return a matrix that must have one row for each id that was asked for."""
        size = len(self._factors(columns[:-1]))
        if n_rows == 0:
            return Interactions(sparse.csr_array((1, size), dtype=self.dtype), self.dtype)
        rows = as_confidences(name, given, self.dtype, stacklevel)
        if rows.shape[0] != n_rows:
            asked = "users" if columns == "items" else "items"
            raise ValueError(
                f"{name} must contain 1 row for each of the {n_rows} {asked} asked for, got shape {rows.shape}: "
                f"pass {name}[ids]"
            )
        check_columns(name, rows, size, columns)
        return rows


def check_columns(name: str, rows: Interactions, size: int, columns: str) -> None:
    """Refuse a matrix with more columns than a model knows.

    Parameters
    ----------
    name : str
        The argument, for the message.
    rows : Interactions
    size : int
        Number of columns that the model knows. Fewer are valid: partial_fit may have added some since.
    columns : {'items', 'users'}

    Raises
    ------
    ValueError
        There are more.
    """
    if rows.shape[1] > size:
        raise ValueError(
            f"{name} has shape {rows.shape}: columns are {columns} and the model has {size} of them; "
            "is it transposed, or were they added after the fit?"
        )


def lengths(factors: np.ndarray) -> np.ndarray:
    """Return the Euclidean length of each row, 1e-10 in place of 0."""
    norms = np.linalg.norm(factors, axis=1)
    norms[norms == 0] = TINY
    return norms
