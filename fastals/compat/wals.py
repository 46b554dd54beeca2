"""The functions of a NumPy implementation of weighted ALS, on the fastals engine.

The functions are those of the notebook "Terse Alternating Least Squares Implementation" (2022), called the NumPy WALS
loop (2022) below: the same names, arguments, defaults, random start and return values. The factors are equal to those
of the NumPy WALS loop (2022) within rounding, after any number of iterations. Two things differ: `R` may be sparse or
`fastals.Interactions` and is then never converted to a dense array, and a NaN is refused where zeros mark missing
entries. The NumPy WALS loop (2022) then turns every factor into NaN.

Two traps of the NumPy WALS loop (2022) are kept, because other numbers would come out without them:

- With `zero_means_missing` the mask is `R > 0`, so negative entries are dropped: a matrix of +1 and -1 is trained on
  its +1 alone and predicts +1 everywhere. To keep negative entries, mark missing ones with NaN and pass
  `zero_means_missing=False`, or use `fastals.WeightedALS`. In sparse `R` every stored entry is then observed.
- `linear_weight_fn` gives an item without observed entries a weight of 1e8. Training ignores this weight, but in
  `weighted_rmse` on held-out entries such items outweigh all others. Pass `fastals.LinearWeights(w0, wk)` as
  `weight_fn`: its weights are the same, except that an item without observed entries weighs as one with a single
  entry. `fastals.ExponentialWeights(w0, e)` replaces `exponential_weight_fn` likewise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse

from ..data.interactions import Interactions, MatrixLike, as_interactions
from ..data.matrix import is_triplets
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
    """Return the weight of an item, `w0 + wk / (c_n + 1e-8)`: popular items weigh less.

    Parameters
    ----------
    c_n : float or ndarray
        Number of observed entries of an item. 0 gives a weight of 1e8.
    w0, wk : float, default 0.1 and 1.0

    Returns
    -------
    float or ndarray

    Examples
    --------
    >>> round(linear_weight_fn(4), 6)
    0.35
    """
    return w0 + wk / (c_n + 1e-8)


def exponential_weight_fn(c_n: Any, w0: float = 1.0, e: float = 0.1) -> Any:
    """Return the weight of an item, `w0 + (1 / (c_n + 1e-8))^e`: it varies less than that of `linear_weight_fn`.

    Parameters
    ----------
    c_n : float or ndarray
        Number of observed entries of an item.
    w0, e : float, default 1.0 and 0.1

    Returns
    -------
    float or ndarray

    Examples
    --------
    >>> float(round(exponential_weight_fn(1024), 6))
    1.5
    """
    return w0 + np.power(1.0 / (c_n + 1e-8), e)


def make_mask(R: MatrixLike, zero_means_missing: bool = True) -> Any:
    """Return 1.0 for each observed entry of `R`.

    Parameters
    ----------
    R : ndarray, sparse matrix or Interactions, shape (n_users, n_items)
    zero_means_missing : bool, default True
        Entries above 0 are observed. False: entries that are not NaN; of sparse data those that are stored.

    Returns
    -------
    ndarray of float64, or csr_array of float64 where R is not dense, shape (n_users, n_items)

    Examples
    --------
    >>> make_mask([[5.0, 0.0], [-1.0, 2.0]])
    array([[1., 0.],
           [0., 1.]])
    """
    if _is_dense(R):
        dense = np.asarray(R)
        observed = dense > 0 if check_flag("zero_means_missing", zero_means_missing) else ~np.isnan(dense)
        return observed.astype(np.float64)
    mask = _observed(R, zero_means_missing, np.dtype(np.float64)).csr
    mask.data = np.ones(mask.nnz)
    return mask


def item_weights_from_mask(M: Any, weight_fn: WeightFunction = linear_weight_fn) -> np.ndarray:
    """Return one weight for each item, shape (n_items,).

    Parameters
    ----------
    M : ndarray or sparse matrix, shape (n_users, n_items)
        The mask that `make_mask` returns.
    weight_fn : callable counts -> weights, default linear_weight_fn
        Called with the column sums of the mask.

    Returns
    -------
    ndarray of float64, shape (n_items,)

    Examples
    --------
    >>> item_weights_from_mask(make_mask([[5.0, 1.0], [3.0, 0.0]])).round(6)
    array([0.6, 1.1])
    """
    return weight_fn(np.asarray(M.sum(axis=0)).ravel())


def observed_rmse(R_true: MatrixLike, R_pred: np.ndarray | Factors, M: Any) -> float:
    """Return the root mean squared error over the observed entries of a mask.

    Parameters
    ----------
    R_true : ndarray, sparse matrix or Interactions, shape (n_users, n_items)
    R_pred : ndarray of the same shape, or (U, V)
        Predictions, or the factors. With factors only the predictions for the observed entries are computed.
    M : ndarray or sparse matrix of the same shape
        The mask that `make_mask` returns.

    Returns
    -------
    float
        `sqrt(sum(M (R_true - R_pred)^2) / max(sum(M), 1))`.

    Examples
    --------
    >>> R = [[5.0, 0.0], [0.0, 1.0]]
    >>> observed_rmse(R, [[4.0, 9.0], [9.0, 2.0]], make_mask(R))
    1.0
    """
    return weighted_rmse(R_true, R_pred, np.ones(M.shape[1]), M)


def weighted_rmse(R_true: MatrixLike, R_pred: np.ndarray | Factors, w_item: np.ndarray, M: Any) -> float:
    """Return the root mean squared error over the observed entries of a mask, weighted by item.

    Parameters
    ----------
    R_true, R_pred, M
        As in `observed_rmse`.
    w_item : ndarray, shape (n_items,)
        Weights of the items. The top of this module warns of items without training entries.

    Returns
    -------
    float
        `sqrt(sum(W (R_true - R_pred)^2) / max(sum(W), 1))` with `W = M w_item`. This is too small where the weights sum
        to less than 1, as in the NumPy WALS loop (2022).

    Examples
    --------
    >>> R = [[5.0, 0.0], [0.0, 1.0]]
    >>> weighted_rmse(R, [[4.0, 9.0], [9.0, 1.0]], [1.0, 3.0], make_mask(R))
    0.5
    """
    mask = sparse.coo_array(M)
    users, items = mask.row, mask.col
    weights = mask.data * np.asarray(w_item)[items]
    if isinstance(R_pred, tuple):
        U, V = R_pred
        predicted = np.einsum("nk,nk->n", U[users], V[items])
    else:
        predicted = np.asarray(R_pred)[users, items]
    # Index a sparse *matrix*: the shape that a sparse array returns differs between versions of SciPy.
    if _is_dense(R_true, "R_true"):
        entries = np.asarray(R_true)
    else:
        entries = sparse.csr_matrix(as_interactions(R_true, np.float64, name="R_true").csr)
    truth = np.asarray(entries[users, items]).ravel()
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
    """Factorise the full matrix: zeros and negative entries are data.

    Parameters
    ----------
    R : ndarray, sparse matrix or Interactions, shape (n_users, n_items)
    rank : int, default 10
        Number of factors.
    iters : int, default 100
        Number of iterations; each solves the users, then the items.
    reg : float, default 0.1
        Ridge of every user and every item.
    zero_means_missing : bool, default True
        Affects the returned mask only, see `make_mask`.
    seed : int or None, default 42
        Seed of the standard normal start.
    dtype : {float32, float64}, default float32
        Of the factors and of the arithmetic.

    Returns
    -------
    U, V : ndarray of `dtype`, shapes (n_users, rank), (n_items, rank)
        V is the solution for U. U is the solution for the items of the previous iteration.
    w_item : ndarray of float64, shape (n_items,)
        Ones.
    M : ndarray or csr_array
        As from `make_mask`.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.
    numpy.linalg.LinAlgError
        A row's solution is not finite in the dtype; the message names the row and the remedy.

    Examples
    --------
    >>> U, V, w_item, M = als_with_regularization([[1.0, 0.0], [0.0, 1.0]], rank=2, reg=1e-6)
    >>> (U @ V.T).round(3) + 0.0
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    M = make_mask(R, zero_means_missing)
    cells = _without_weights(as_interactions(R, dtype))
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
    """Factorise the observed entries, each weighted by its item.

    Parameters
    ----------
    R, rank, iters, reg, seed, dtype
        As in `als_with_regularization`.
    weight_fn : callable counts -> weights, default linear_weight_fn
        From the number of observed entries of each item, float64 of shape (n_items,), to weights of at least 0.
    zero_means_missing : bool, default True
        Which entries are observed, see `make_mask`. Negative entries are observed only with False.

    Returns
    -------
    U, V, M
        As from `als_with_regularization`.
    w_item : ndarray of float64, shape (n_items,)
        The weights from `weight_fn`.

    Raises
    ------
    TypeError, ValueError, numpy.linalg.LinAlgError
        As from `als_with_regularization`.

    Examples
    --------
    >>> U, V, w_item, M = weighted_als([[5.0, 0.0], [4.0, 1.0]], rank=2, reg=1e-6)
    >>> w_item.round(6)
    array([0.6, 1.1])
    >>> round(observed_rmse([[5.0, 0.0], [4.0, 1.0]], (U, V), M), 3)
    0.0
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


def _is_dense(R: Any, name: str = "R") -> bool:
    if sparse.issparse(R) or isinstance(R, Interactions) or is_triplets(R):
        return False
    if np.ndim(R) != 2:
        raise ValueError(f"{name} must have 2 dimensions, users x items, got {type(R).__name__} of shape {np.shape(R)}")
    return True


def _without_weights(cells: Interactions) -> Interactions:
    if (cells.by_user.weights != 1).any():
        raise ValueError("R has weights of its own, which these functions do not use: use fastals.WeightedALS")
    return cells


def _observed(R: MatrixLike, zero_means_missing: bool, dtype: np.dtype) -> Interactions:
    """Return the entries that `make_mask` marks."""
    if not check_flag("zero_means_missing", zero_means_missing):
        return _without_weights(as_interactions(R, dtype, missing="nan"))
    positive = _without_weights(as_interactions(R, dtype)).csr.copy()
    positive.data = np.maximum(positive.data, 0)
    positive.eliminate_zeros()
    return Interactions(positive, dtype)


def _alternate(objective: Objective, cells: Interactions, rank: int, iters: int, seed: int | None) -> Factors:
    """Solve users and items in turn from the start of the NumPy WALS loop (2022)."""
    rank = check_integer("rank", rank, 1)
    iters = check_integer("iters", iters, 0)
    rng = check_random_state("seed", seed)
    n_users, n_items = cells.shape
    U = rng.normal(0.0, 1.0, (n_users, rank)).astype(cells.dtype)
    V = rng.normal(0.0, 1.0, (n_items, rank)).astype(cells.dtype)
    statistics, n_threads = objective.learn(cells), available()
    # Reading one weight for each entry is faster than looking up the weight of its item: 5% of an iteration.
    cells = Interactions(cells, cells.dtype, weights=statistics.weight[cells.by_user.indices])
    statistics = replace(statistics, weight=np.ones(cells.shape[1]))
    users = HalfStep(objective.user_problem(cells.by_user, statistics), "user", rank, n_threads)
    items = HalfStep(objective.item_problem(cells.by_item, statistics, n_users), "item", rank, n_threads)
    X, Y = writable_panel(U), writable_panel(V)
    for _ in range(iters):
        users(X, Y)
        items(Y, X)
    return X[:, :rank].copy(), Y[:, :rank].copy()
