"""From the hyper-parameters of other libraries to fastals."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from ...data.interactions import Interactions, MatrixLike
from ...validation import check_flag, check_number, check_option
from .terms import Transform, Translation, as_given, both_sides, check_positive

__all__ = [
    "DampedMeans",
    "damped_means",
    "from_cmfrec_explicit",
    "from_cmfrec_implicit",
    "from_implicit",
    "from_irspack",
    "from_lenskit",
    "from_lenskit_biased",
    "from_spark",
]


def from_implicit(
    factors: int = 100, regularization: float = 0.01, alpha: float = 1.0, iterations: int = 15
) -> Translation:
    """Translate `implicit.als.AlternatingLeastSquares`.

    Parameters
    ----------
    factors, regularization, alpha, iterations
        As in `implicit`.

    Returns
    -------
    Translation
        To `WeightedALS`. A stored 0 has the weight 0. A negative entry has the target 0.

    Examples
    --------
    >>> import fastals
    >>> R = fastals.Interactions([(0, 0, 1), (0, 1, 2), (1, 1, 1)])
    >>> translation = from_implicit(factors=2, alpha=40.0)
    >>> fastals.WeightedALS(**translation.params).fit(translation.cells(R)).user_factors_.shape
    (2, 2)
    """
    alpha = check_number("alpha", alpha, 0.0)
    params = {"factors": factors, "regularization": regularization, "iterations": iterations, "unobserved_weight": 1.0}
    return _weighted(params, lambda r: (r > 0).astype(float), lambda r: alpha * np.abs(r))


def from_irspack(
    n_components: int = 20,
    alpha0: float = 0.0,
    reg: float = 1e-3,
    nu: float = 1.0,
    confidence_scaling: str = "none",
    epsilon: float = 1.0,
    loss_type: str = "IALSPP",
    train_epochs: int = 16,
) -> Translation:
    """Translate `irspack.IALSRecommender`.

    Parameters
    ----------
    n_components, alpha0, reg, nu, confidence_scaling, epsilon, loss_type, train_epochs
        As in irspack.

    Returns
    -------
    Translation
        To `WeightedALS`. Negative entries are refused, as in irspack.

    Examples
    --------
    >>> from_irspack(n_components=64, alpha0=0.1).params["unobserved_weight"]
    0.1
    """
    alpha0 = check_number("alpha0", alpha0, 0.0)
    epsilon = check_number("epsilon", epsilon)
    shrunken = check_option("loss_type", loss_type, ("IALSPP", "ORIGINAL")) == "IALSPP"
    logarithm = check_option("confidence_scaling", confidence_scaling, ("none", "log")) == "log"

    def scaled(r: np.ndarray) -> np.ndarray:
        check_positive(r, "irspack", zero=True)
        return np.log1p(r / epsilon) if logarithm else r

    def target(r: np.ndarray) -> np.ndarray:
        x = scaled(r)
        # A stored 0 is like an unobserved entry, but it counts in the ridge.
        return np.divide(x, x + alpha0, out=np.zeros(len(x)), where=x > 0) if shrunken else (x > 0).astype(float)

    params = {
        "factors": n_components,
        "regularization": reg,
        "iterations": train_epochs,
        "unobserved_weight": alpha0,
        "regularization_exponent": nu,
    }
    return _weighted(params, target, lambda r: scaled(r) + alpha0)


def from_cmfrec_implicit(
    k: int = 50,
    lambda_: Any = 1.0,
    alpha: float = 1.0,
    niter: int = 10,
    apply_log_transf: bool = False,
    nonneg: bool = False,
) -> Translation:
    """Translate `cmfrec.CMF_implicit`.

    Parameters
    ----------
    k, alpha, niter, apply_log_transf, nonneg
        As in cmfrec.
    lambda_ : float, or six numbers
        Ridge of all, or of user biases, item biases, users, items, user attributes and item attributes.

    Returns
    -------
    Translation
        To `WeightedALS`. Every stored entry has the target 1, whatever its value, as in cmfrec.

    Examples
    --------
    >>> from_cmfrec_implicit(k=64, lambda_=5.0).params["regularization"]
    5.0
    """
    alpha = check_number("alpha", alpha, 0.0)
    logarithm = check_flag("apply_log_transf", apply_log_transf)

    def weight(r: np.ndarray) -> np.ndarray:
        if logarithm:
            check_positive(r, "cmfrec with apply_log_transf", zero=False)
        return 1 + alpha * (np.log(r) if logarithm else r)

    params = {
        "factors": k,
        "regularization": _ridges(lambda_),
        "iterations": niter,
        "unobserved_weight": 1.0,
        "nonnegative": check_flag("nonneg", nonneg),
    }
    return _weighted(params, np.ones_like, weight)


def from_cmfrec_explicit(
    k: int = 40,
    lambda_: Any = 10.0,
    user_bias: bool = True,
    item_bias: bool = True,
    center: bool = True,
    scale_lam: bool = False,
    niter: int = 10,
    nonneg: bool = False,
) -> Translation:
    """Translate `cmfrec.CMF` without side information.

    Parameters
    ----------
    k, lambda_, user_bias, item_bias, center, scale_lam, niter, nonneg
        As in cmfrec. `user_bias`, `item_bias` and `center` must be all True or all False. Where they are True,
        `lambda_` must be one number.

    Returns
    -------
    Translation
        To `ExplicitALS`.

    Examples
    --------
    >>> from_cmfrec_explicit(k=64, scale_lam=True).params["regularization_exponent"]
    1.0
    """
    biases = [check_flag(n, v) for n, v in (("user_bias", user_bias), ("item_bias", item_bias), ("center", center))]
    if any(biases) != all(biases):
        raise ValueError("user_bias, item_bias and center must be all True or all False: ExplicitALS has all or none")
    if biases[0] and np.ndim(lambda_):
        raise ValueError("lambda_ must be one number with biases: ExplicitALS has one ridge for factors and biases")
    params = {
        "factors": k,
        "regularization": _ridges(lambda_),
        "biases": biases[0],
        "regularization_exponent": float(check_flag("scale_lam", scale_lam)),
        "iterations": niter,
        "nonnegative": check_flag("nonneg", nonneg),
    }
    return Translation("ExplicitALS", params, as_given)


def from_lenskit(
    embedding_size: int = 50,
    regularization: Any = 0.1,
    weight: float = 40.0,
    use_ratings: bool = False,
    epochs: int = 10,
) -> Translation:
    """Translate LensKit's `ImplicitMFScorer`.

    Parameters
    ----------
    embedding_size, weight, use_ratings, epochs
        As in LensKit.
    regularization : float, (float, float), or mapping with "user" and "item"

    Returns
    -------
    Translation
        To `WeightedALS`.

    Examples
    --------
    >>> from_lenskit(embedding_size=64, regularization=0.2).params["regularization"]
    (0.2, 0.2)
    """
    weight = check_number("weight", weight, 0.0)
    rated = check_flag("use_ratings", use_ratings)
    params = {
        "factors": embedding_size,
        "regularization": both_sides("regularization", regularization),
        "iterations": epochs,
        "unobserved_weight": 1.0,
    }
    return _weighted(params, np.ones_like, lambda r: 1 + weight * (r if rated else np.ones_like(r)))


class DampedMeans(NamedTuple):
    """The part of a rating that does not depend on factors.

    Examples
    --------
    >>> damped_means([(0, 0, 5.0), (1, 0, 3.0)], damping=0.0).mean
    4.0
    """

    mean: float
    """Of all ratings."""
    user: np.ndarray
    """float64 (n_users,)."""
    item: np.ndarray
    """float64 (n_items,)."""


def damped_means(R: MatrixLike, damping: Any = 5.0) -> DampedMeans:
    """Return the means that LensKit's BiasedMF subtracts from ratings before it factorises them.

    Parameters
    ----------
    R : sparse matrix or array, shape (n_users, n_items)
        Stored entries are ratings, zeros too.
    damping : float, (float, float), or mapping with "user" and "item", default 5.0
        Number of imagined ratings of each user or item that equal the expectation without that user or item.

    Returns
    -------
    DampedMeans

    Notes
    -----
    With mean m: item_i = sum (r - m) / (n_i + damping), then user_u = sum (r - m - item_i) / (n_u + damping). Users and
    items without ratings have 0.

    Examples
    --------
    >>> means = damped_means([(0, 0, 5.0), (1, 0, 3.0), (1, 1, 1.0)], damping=0.0)
    >>> means.mean, means.item.tolist(), means.user.tolist()
    (3.0, [1.0, -2.0], [1.0, -0.5])
    """
    of_user, of_item = (check_number("damping", part, 0.0) for part in both_sides("damping", damping))
    cells = as_given(R).csr.tocoo()
    if cells.nnz == 0:
        raise ValueError("R has no stored entries: at least one rating is wanted")
    mean = float(cells.data.mean(dtype=np.float64))

    def means(places: np.ndarray, excess: np.ndarray, n: int, damped_by: float) -> np.ndarray:
        counts = np.bincount(places, minlength=n)
        return np.bincount(places, excess, n) / np.maximum(counts + damped_by, counts == 0)

    excess = cells.data.astype(np.float64) - mean
    item = means(cells.col, excess, cells.shape[1], of_item)
    return DampedMeans(mean, means(cells.row, excess - item[cells.col], cells.shape[0], of_user), item)


def from_lenskit_biased(
    embedding_size: int = 50, regularization: Any = 0.1, damping: Any = 5.0, epochs: int = 10
) -> Translation:
    """Translate LensKit's `BiasedMFScorer`.

    Parameters
    ----------
    embedding_size, epochs
        As in LensKit.
    regularization, damping : float, (float, float), or mapping with "user" and "item"

    Returns
    -------
    Translation
        To `ExplicitALS`, fitted on ratings less their damped means. To predict a rating, add
        `mean + user[u] + item[i]` of `damped_means` to the prediction of the model.

    Examples
    --------
    >>> from_lenskit_biased(embedding_size=64).params["biases"]
    False
    """
    params = {
        "factors": embedding_size,
        "regularization": both_sides("regularization", regularization),
        "biases": False,
        "regularization_exponent": 1.0,
        "iterations": epochs,
    }

    def cells(R: MatrixLike) -> Interactions:
        means, kept = damped_means(R, damping), as_given(R)
        matrix = kept.csr.astype(np.float64)
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        matrix.data -= means.mean + means.user[rows] + means.item[matrix.indices]
        return Interactions(matrix, kept.dtype)

    return Translation("ExplicitALS", params, cells)


def from_spark(
    rank: int = 10,
    maxIter: int = 10,
    regParam: float = 0.1,
    implicitPrefs: bool = False,
    alpha: float = 1.0,
    nonnegative: bool = False,
) -> Translation:
    """Translate `pyspark.ml.recommendation.ALS`.

    Parameters
    ----------
    rank, maxIter, regParam, implicitPrefs, alpha, nonnegative
        As in Spark.

    Returns
    -------
    Translation
        To `ExplicitALS`, or to `ImplicitALS` with `implicitPrefs`.

    Notes
    -----
    With `implicitPrefs` Spark multiplies `regParam` by the number of entries above 0. Its `cells` refuses negative
    entries then, as `ImplicitALS` would count them, too.

    Examples
    --------
    >>> from_spark(rank=64, regParam=0.05).params["regularization"]
    0.05
    """
    params: dict[str, Any] = {"factors": rank, "iterations": maxIter}
    params["nonnegative"] = check_flag("nonnegative", nonnegative)
    if not check_flag("implicitPrefs", implicitPrefs):
        params["regularization"] = regParam
        return Translation("ExplicitALS", params | {"biases": False, "regularization_exponent": 1.0}, as_given)

    def cells(R: MatrixLike) -> Interactions:
        given = as_given(R)
        check_positive(given.csr.data, "Spark with implicitPrefs, as translated,", zero=True)
        return given

    params |= {"regularization": regParam, "alpha": alpha, "unobserved_weight": 1.0, "popularity_exponent": 0.0}
    return Translation(
        "ImplicitALS", params | {"regularization_exponent": 1.0, "regularization_counts": "observed"}, cells
    )


def _weighted(params: dict[str, Any], target: Transform, weight: Transform) -> Translation:
    def cells(R: MatrixLike) -> Interactions:
        matrix = as_given(R).csr
        r = matrix.data.astype(np.float64)
        values = sparse.csr_array((target(r), matrix.indices, matrix.indptr), shape=matrix.shape)
        return Interactions(values, matrix.dtype, weights=weight(r))

    return Translation("WeightedALS", params, cells)


def _ridges(lambda_: Any) -> float | tuple[float, float]:
    """Return the ridges of users and items from cmfrec's six numbers, or its one number."""
    if np.ndim(lambda_) == 0:
        return check_number("lambda_", lambda_, 0.0)
    if np.shape(lambda_) != (6,):
        raise ValueError(f"lambda_ must be one number or six, got shape {np.shape(lambda_)}")
    return float(lambda_[2]), float(lambda_[3])
