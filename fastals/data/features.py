"""Features of users or items as they are given: checked, and brought into compressed rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from ..engine.features import Entries
from ..engine.problem import Cells
from .matrix import read_matrix

__all__ = ["implicit_features", "no_features", "read_features"]


def read_features(name: str, given: Any, n_rows: int, dtype: np.dtype, n_features: int | None = None) -> Cells:
    """Return a matrix of features as compressed rows of `dtype`.

    Parameters
    ----------
    name : str
        The argument, for messages.
    given : sparse matrix or array_like, shape (n_rows, n_features)
    n_rows : int
        Users or items that there are.
    dtype : dtype
    n_features : int, optional
        Columns that are wanted, where a model has been fitted.

    Raises
    ------
    TypeError, ValueError
        It is no matrix of finite numbers, or of another shape.
    """
    side = name.partition("_")[0]
    if isinstance(given, list):
        given = np.asarray(given)
    if not (sparse.issparse(given) or isinstance(given, np.ndarray)):
        raise TypeError(
            f"{name} must be a SciPy sparse matrix or a 2-D array with a row for each {side}, got "
            f"{type(given).__name__}"
        )
    if given.dtype.kind in "OUST":
        raise TypeError(
            f"{name} must be numbers, got dtype {given.dtype}: make a column of 0 and 1 of each category first"
        )
    if given.ndim != 2 or given.shape[0] != n_rows or 0 in given.shape:
        raise ValueError(f"{name} must have one row for each of the {n_rows} {side}s, got shape {given.shape}")
    if n_features is not None and given.shape[1] != n_features:
        raise ValueError(
            f"{name} has {given.shape[1]} columns, and the model was fitted with {n_features}: give the same ones in "
            "the same order"
        )
    return read_matrix(name, given, dtype)[0]


def no_features(n_rows: int, dtype: np.dtype) -> Cells:
    """Return rows without any feature."""
    return Cells(np.zeros(n_rows + 1, np.int64), np.zeros(0, np.int32), np.ones(1, dtype), np.ones(1, dtype))


def implicit_features(cells: Cells, n_features: int) -> Entries:
    """Return which columns each row has an entry in, as features: 1 / sqrt(number of its entries) for each.

    Columns from `n_features` on were not there at the fit, which has learned nothing of them: they are left out.
    """
    each = (1 / np.sqrt(np.maximum(cells.counts, 1))).astype(cells.values.dtype)
    return Entries(cells, n_features, of_rows=each)
