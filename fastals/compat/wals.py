"""The functions of the NumPy loop for weighted ALS that circulates in notebooks, on this library's engine.

Same names, arguments, defaults, random start and return values; the factors are those of the loop within rounding,
after any number of iterations. What differs: `R` may be sparse and is then never expanded, and a NaN where zeros mark
missing cells is refused, where the loop turns every factor into NaN.

Two traps of the original are kept, since the numbers would not be the same without them:

- With `zero_means_missing` the mask is `R > 0`, so negative cells are dropped: a matrix of +1 and -1 is trained on its
  +1 alone, and predicts +1 everywhere. To keep them, mark missing cells with NaN and pass `zero_means_missing=False`
  (sparse `R`: every stored cell is then observed), or use `fastals.WeightedALS`.
- `linear_weight_fn` gives an item without observed cells a weight of 1e8. It does no harm in training, where such an
  item has no cell, but in `weighted_rmse` on other cells these items outweigh all others together. Pass
  `fastals.LinearWeights(w0, wk)` as `weight_fn`: the same weights, save that such an item weighs as one with a single
  cell. `fastals.ExponentialWeights(w0, e)` does so for `exponential_weight_fn`, whose weight is 7.3 there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse

from ..data.interactions import Interactions, MatrixLike, as_interactions
from ..engine.threads import available
from ..objectives import Objective
from ..validation import check_dtype, check_flag, check_integer, check_number, check_random_state
from .textbook import HalfStep, writable_panel

__all__ = [
    "als_with_regularization",
    "exponential_weight_fn",
    "item_weights_from_mask",
    "linear_weight_fn",
    "make_mask",
    "observed_rmse",
    "weighted_als",
    "weighted_rmse",
]

WeightFunction: TypeAlias = Callable[[np.ndarray], np.ndarray]
Factors: TypeAlias = tuple[np.ndarray, np.ndarray]


def linear_weight_fn(c_n: Any, w0: float = 0.1, wk: float = 1.0) -> Any:
    """Return `w0 + wk / (c_n + 1e-8)`: the more cells an item has, the less each weighs.

    Parameters
    ----------
    c_n : float or ndarray
        Observed cells of an item. None at all make a weight of 1e8.
    w0, wk : float, default 0.1 and 1.0
    """
    return w0 + wk / (c_n + 1e-8)


def exponential_weight_fn(c_n: Any, w0: float = 1.0, e: float = 0.1) -> Any:
    """Return `w0 + (1 / (c_n + 1e-8))^e`: softer than `linear_weight_fn`.

    Parameters
    ----------
    c_n : float or ndarray
        Observed cells of an item.
    w0, e : float, default 1.0 and 0.1
    """
    return w0 + np.power(1.0 / (c_n + 1e-8), e)


def make_mask(R: MatrixLike, zero_means_missing: bool = True) -> Any:
    """Return 1.0 for each observed cell of `R`.

    Parameters
    ----------
    R : ndarray or sparse matrix, shape (n_users, n_items)
    zero_means_missing : bool, default True
        Observed are the cells above 0. False: those that are not NaN; of a sparse matrix those that are stored.

    Returns
    -------
    ndarray of float64, or csr_array of float64 where R is sparse, shape (n_users, n_items)
    """
    if not sparse.issparse(R):
        R = np.asarray(R)
        return (R > 0 if check_flag("zero_means_missing", zero_means_missing) else ~np.isnan(R)).astype(np.float64)
    mask = _observed(R, zero_means_missing, np.dtype(np.float64)).csr
    mask.data = np.ones(mask.nnz)
    return mask


def item_weights_from_mask(M: Any, weight_fn: WeightFunction = linear_weight_fn) -> np.ndarray:
    """Return one weight for each item, shape (n_items,).

    Parameters
    ----------
    M : ndarray or sparse matrix, shape (n_users, n_items)
        What `make_mask` gives.
    weight_fn : callable counts -> weights, default linear_weight_fn
        Its argument is the column sums of the mask.
    """
    return weight_fn(np.asarray(M.sum(axis=0)).ravel())


def observed_rmse(R_true: MatrixLike, R_pred: np.ndarray | Factors, M: Any) -> float:
    """Return the root mean squared error over the cells of a mask.

    Parameters
    ----------
    R_true : ndarray or sparse matrix, shape (n_users, n_items)
    R_pred : ndarray of the same shape, or (U, V)
        Predictions, or the factors that they are the products of: only the cells of the mask are then computed.
    M : ndarray or sparse matrix of the same shape
        What `make_mask` gives.

    Returns
    -------
    float
        `sqrt(sum(M (R_true - R_pred)^2) / max(sum(M), 1))`.
    """
    return weighted_rmse(R_true, R_pred, np.ones(M.shape[1]), M)


def weighted_rmse(R_true: MatrixLike, R_pred: np.ndarray | Factors, w_item: np.ndarray, M: Any) -> float:
    """Return the root mean squared error over the cells of a mask, weighted by item.

    Parameters
    ----------
    R_true, R_pred, M
        As in `observed_rmse`.
    w_item : ndarray, shape (n_items,)
        Weights of the items. Mind those without a training cell: see the top of this module.

    Returns
    -------
    float
        `sqrt(sum(W (R_true - R_pred)^2) / max(sum(W), 1))` with `W = M w_item`; too small where the weights add up to
        less than 1, as in the original.
    """
    mask = sparse.coo_array(M)
    users, items = mask.row, mask.col
    weights = mask.data * np.asarray(w_item)[items]
    if isinstance(R_pred, tuple):
        U, V = R_pred
        predicted = np.einsum("nk,nk->n", U[users], V[items])
    else:
        predicted = np.asarray(R_pred)[users, items]
    # Of a sparse *matrix*, since what an array gives has changed its shape between versions of SciPy.
    truth = (sparse.csr_matrix(R_true) if sparse.issparse(R_true) else np.asarray(R_true))[users, items]
    truth = np.asarray(truth).ravel()
    return float(np.sqrt(weights @ (truth - predicted) ** 2 / max(weights.sum(), 1)))


def als_with_regularization(
    R: MatrixLike,
    rank: int = 10,
    iters: int = 100,
    reg: float = 0.1,
    *,
    zero_means_missing: bool = True,
    seed: int | None = 42,
    dtype: Any = np.float32,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Any]:
    """Factorise the full matrix: zeros are data, and so are negative cells.

    Parameters
    ----------
    R : ndarray or sparse matrix, shape (n_users, n_items)
    rank : int, default 10
    iters : int, default 100
        Each solves the users, then the items.
    reg : float, default 0.1
        The plain ridge of every row.
    zero_means_missing : bool, default True
        For the mask only, see `make_mask`.
    seed : int or None, default 42
        Of the standard normal start.
    dtype : {float32, float64}, default float32
        Of the factors and of the arithmetic.

    Returns
    -------
    U, V : ndarray of `dtype`, shapes (n_users, rank), (n_items, rank)
        V is optimal for U. U is not for V: it was solved for the items before.
    w_item : ndarray of float64, shape (n_items,)
        Ones.
    M : as from `make_mask`

    Raises
    ------
    TypeError, ValueError
        An argument is not as wanted.
    numpy.linalg.LinAlgError
        A row's equations have no solution; the message names row and remedy.
    """
    M = make_mask(R, zero_means_missing)
    cells = as_interactions(R, dtype)
    objective = Objective(
        constant=1.0,
        slope=0.0,
        sign_target=0.0,
        value_target=1.0,
        regularization=(check_number("reg", reg, 0.0),) * 2,
        unobserved_weight=1.0,
    )
    U, V = _alternate(objective, cells, rank, iters, seed)
    return U, V, np.ones(cells.shape[1]), M


def weighted_als(
    R: MatrixLike,
    rank: int = 10,
    iters: int = 100,
    reg: float = 0.1,
    *,
    weight_fn: WeightFunction = linear_weight_fn,
    zero_means_missing: bool = True,
    seed: int | None = 42,
    dtype: Any = np.float32,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Any]:
    """Factorise the observed cells, each weighted by its item.

    Parameters
    ----------
    R, rank, iters, reg, seed, dtype
        As in `als_with_regularization`.
    weight_fn : callable counts -> weights, default linear_weight_fn
        From the items' observed cells, float64 of shape (n_items,), to their weights, at least 0.
    zero_means_missing : bool, default True
        What is observed, see `make_mask`. Negative cells are not, unless it is False.

    Returns
    -------
    U, V, M
        As from `als_with_regularization`.
    w_item : ndarray of float64, shape (n_items,)
        What `weight_fn` gave.

    Raises
    ------
    TypeError, ValueError, numpy.linalg.LinAlgError
        As from `als_with_regularization`.
    """
    M = make_mask(R, zero_means_missing)
    w_item = item_weights_from_mask(M, weight_fn)
    objective = Objective(
        constant=1.0,
        slope=0.0,
        sign_target=0.0,
        value_target=1.0,
        regularization=(check_number("reg", reg, 0.0),) * 2,
        item_weights=np.asarray(w_item),
    )
    U, V = _alternate(objective, _observed(R, zero_means_missing, check_dtype("dtype", dtype)), rank, iters, seed)
    return U, V, w_item, M


def _observed(R: MatrixLike, zero_means_missing: bool, dtype: np.dtype) -> Interactions:
    """Return the cells that `make_mask` marks."""
    if not check_flag("zero_means_missing", zero_means_missing):
        return as_interactions(R, dtype, missing="nan")
    positive = as_interactions(R, dtype).csr.copy()
    positive.data = np.maximum(positive.data, 0)
    positive.eliminate_zeros()
    return Interactions(positive, dtype)


def _alternate(objective: Objective, cells: Interactions, rank: int, iters: int, seed: int | None) -> Factors:
    """Solve users and items in turn from the loop's start.

    Each half-step is a fold-in, which leaves the fixed side as it is, where `fastals.engine.alternation` may rotate
    both and ends with the users: the loop's own factors are wanted here, not just its model.
    """
    rank = check_integer("rank", rank, 1)
    iters = check_integer("iters", iters, 0)
    rng = check_random_state("seed", seed)
    n_users, n_items = cells.shape
    U = rng.normal(0.0, 1.0, (n_users, rank)).astype(cells.dtype)
    V = rng.normal(0.0, 1.0, (n_items, rank)).astype(cells.dtype)
    statistics, n_threads = objective.learn(cells), available()
    # One weight for each cell is read faster than the weight of its item is found: 5% of an iteration.
    cells = Interactions(cells, cells.dtype, weights=statistics.weight[cells.by_user.indices])
    statistics = replace(statistics, weight=np.ones(cells.shape[1]))
    users = HalfStep(objective.user_problem(cells.by_user, statistics), "user", rank, n_threads)
    items = HalfStep(objective.item_problem(cells.by_item, statistics, n_users), "item", rank, n_threads)
    X, Y = writable_panel(U), writable_panel(V)
    for _ in range(iters):
        users(X, Y)
        items(Y, X)
    return X[:, :rank].copy(), Y[:, :rank].copy()
