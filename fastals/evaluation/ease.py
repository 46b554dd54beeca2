"""EASE: the linear model of items by items in closed form."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from ..data.interactions import Interactions
from ..data.matrix import transpose
from ..engine.products import lower_gram, with_values
from ..validation import check_dtype, check_integer, check_number
from .baselines import Array
from .neighbours import ItemBased

TILE = 256  # rows and columns that are mirrored at once: both tiles stay in the second-level cache


class EASE(ItemBased):
    """Predict each item from all others by ridge regression, with weights in closed form.

    ``B = I - P diag(1 / P_ii)`` with ``P = (X.T X + regularization I)^-1``; a user's scores are ``x @ B``, where x has
    the values of the user's interactions.

    Parameters
    ----------
    regularization : float, default 500.0
        Ridge, above 0. Data with fewer interactions need less.
    dtype : {'float32', 'float64'}, default 'float32'
        Of the weights and of the computation.
    max_items : int, default 30_000
        Refuse data with more items: memory grows with the square of their number and time with the cube.

    Attributes
    ----------
    item_weights_ : (n_items, n_items) array
        B. Its diagonal is 0.

    References
    ----------
    Steck: Embarrassingly shallow autoencoders for sparse data. WWW 2019.

    Examples
    --------
    >>> from fastals.evaluation import EASE
    >>> model = EASE(regularization=1.0).fit([[1, 1, 0], [1, 1, 1], [0, 1, 1]])
    >>> model.item_weights_.round(3)
    array([[0. , 0.5, 0. ],
           [0.5, 0. , 0.5],
           [0. , 0.5, 0. ]], dtype=float32)
    """

    def __init__(self, regularization: float = 500.0, dtype: str = "float32", max_items: int = 30_000) -> None:
        self.regularization = regularization
        self.dtype = dtype
        self.max_items = max_items

    def _learn(self, interactions: Interactions) -> None:
        ridge = check_number("regularization", self.regularization, 0.0)
        if ridge == 0:
            raise ValueError("regularization must be above 0, got 0: without a ridge X.T X has no inverse in general")
        dtype, most = check_dtype("dtype", self.dtype), check_integer("max_items", self.max_items, 1)
        n_items = interactions.shape[1]
        if n_items > most:
            raise ValueError(
                f"R has {n_items:,} items, above max_items = {most:,}: EASE keeps a matrix of items by items, here "
                f"{n_items**2 * dtype.itemsize / 1e9:.3g} GB. Leave rare items out, raise max_items if the memory is "
                "there, or use ItemKNN or ImplicitALS"
            )
        by_user = interactions.without_zeros().by_user
        rows = with_values(by_user, dtype)
        lower = np.zeros((n_items, n_items), dtype)
        lower_gram(rows, with_values(transpose(by_user, interactions.shape), dtype), lower)
        lower.flat[:: n_items + 1] += dtype.type(ridge)
        self._right = _weights(lower, float(ridge))
        self._left = rows

    @property
    def item_weights_(self) -> Array:
        """B: the weight of item i in the score of item j, with a diagonal of 0."""
        self._fitted()
        assert isinstance(self._right, np.ndarray)
        return self._right


def _weights(lower: Array, ridge: float) -> Array:
    """Turn the lower triangle of a positive definite matrix into B, in the same memory.

    The inverse by Cholesky (potrf, potri) takes a third of the operations of a general one. LAPACK reads arrays column
    by column, so the lower triangle is its upper one.
    """
    potrf, potri = linalg.get_lapack_funcs(("potrf", "potri"), (lower,))
    factor, failed = potrf(lower.T, lower=False, overwrite_a=True, clean=False)
    if not failed:
        inverse, failed = potri(factor, lower=False, overwrite_c=True)
    if failed:
        raise ValueError(
            f"X.T X + regularization I is singular in {lower.dtype} with regularization = {ridge:g}: raise "
            "regularization, or use dtype='float64'"
        )
    P = inverse.T
    n = len(P)
    for start in range(0, n, TILE):
        rows = slice(start, start + TILE)
        for left in range(0, start, TILE):
            P[left : left + TILE, rows] = P[rows, left : left + TILE].T
        tile = P[rows, rows]
        tile[:] = np.tril(tile) + np.tril(tile, -1).T
    P /= -P.diagonal().copy()
    np.fill_diagonal(P, 0)
    return P
