"""Hyper-parameters of other libraries in this one's terms, and back: the same objective, not the same start or steps.

    translation = from_implicit(factors=64, alpha=40.0)
    model = fastals.WeightedALS(**translation.params).fit(translation.cells(R))

Every implicit-feedback objective here is, over all cells of the users x items matrix and up to a common factor,

    sum_{stored} c (t - x_u.y_i)^2 + sum_{others} w (x_u.y_i)^2 + sum_u ridge_u |x_u|^2 + sum_i ridge_i |y_i|^2

| model                | c                | t              | w      | ridge: n cells, N other side |
|----------------------|------------------|----------------|--------|------------------------------|
| fastals.ImplicitALS  | 1 + alpha abs(r) | 1 if r > 0     | a0 p_i | regularization (n + a0 N)^nu |
| fastals.WeightedALS  | weight           | r              | a0 p_i | regularization (n + a0 N)^nu |
| implicit             | alpha abs(r)     | 1 if r > 0     | 1      | regularization               |
| irspack, "IALSPP"    | x + alpha0       | x / (x+alpha0) | alpha0 | reg (n + alpha0 N)^nu        |
| irspack, "ORIGINAL"  | x + alpha0       | 1              | alpha0 | reg (n + alpha0 N)^nu        |
| cmfrec CMF_implicit  | 1 + alpha x      | 1              | 1      | lambda_                      |
| LensKit ImplicitMF   | 1 + weight (r)   | 1              | 1      | regularization               |
| Spark, implicitPrefs | 1 + alpha abs(r) | 1 if r > 0     | 1      | regParam (cells above 0)     |

so whatever comes from there fits into `WeightedALS`, whose cells have a target and a weight each. What has no
counterpart is refused with a reason: a model that is nearly the same is not the same.

Ratings, where c = 1 and w = 0:

| model                | t                      | ridge: n cells     |
|----------------------|------------------------|--------------------|
| fastals.ExplicitALS  | r, or r - mean, biases | regularization n^v |
| cmfrec CMF           | r, or r - mean, biases | lambda_ (n)        |
| LensKit BiasedMF     | r - damped means       | regularization n   |
| Spark                | r                      | regParam n         |

Biases are learned with the factors; damped means (`damped_means`) are taken off the ratings beforehand.

Not translated: side information; L1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from ..data.interactions import Interactions, MatrixLike, as_interactions
from ..models import ExplicitALS, ImplicitALS
from ..objectives import check_regularization
from ..validation import check_flag, check_number, check_option

__all__ = [
    "DampedMeans",
    "Translation",
    "damped_means",
    "from_cmfrec_explicit",
    "from_cmfrec_implicit",
    "from_implicit",
    "from_irspack",
    "from_lenskit",
    "from_lenskit_biased",
    "from_spark",
    "to_cmfrec",
    "to_implicit",
    "to_irspack",
    "to_lenskit",
    "to_lenskit_biased",
    "to_spark",
]

Cell = Callable[[np.ndarray], np.ndarray]


class Translation(NamedTuple):
    """A model in another library's terms."""

    model: str
    """Name of the class to construct."""
    params: dict[str, Any]
    """For its constructor."""
    cells: Callable[[MatrixLike], Any]
    """From a matrix of cells as it was, to what the class is to be fitted on: Interactions here, csr_matrix there."""


# From there.


def from_implicit(
    factors: int = 100, regularization: float = 0.01, alpha: float = 1.0, iterations: int = 15
) -> Translation:
    """Translate `implicit.als.AlternatingLeastSquares`.

    Parameters
    ----------
    factors, regularization, alpha, iterations
        As there.

    Returns
    -------
    Translation
        To `WeightedALS`. A stored 0 has weight 0, a negative cell target 0.
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
        As there.

    Returns
    -------
    Translation
        To `WeightedALS`. Negative cells are refused, as there.
    """
    alpha0 = check_number("alpha0", alpha0, 0.0)
    epsilon = check_number("epsilon", epsilon)
    shrunken = check_option("loss_type", loss_type, ("IALSPP", "ORIGINAL")) == "IALSPP"
    logarithm = check_option("confidence_scaling", confidence_scaling, ("none", "log")) == "log"

    def scaled(r: np.ndarray) -> np.ndarray:
        _demand_positive(r, "irspack", zero=True)
        return np.log1p(r / epsilon) if logarithm else r

    def target(r: np.ndarray) -> np.ndarray:
        x = scaled(r)
        # A stored 0 is like any cell that is not stored, save that it counts in the ridge.
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
    k: int = 50, lambda_: Any = 1.0, alpha: float = 1.0, niter: int = 10, apply_log_transf: bool = False
) -> Translation:
    """Translate `cmfrec.CMF_implicit`.

    Parameters
    ----------
    k, alpha, niter, apply_log_transf
        As there.
    lambda_ : float, or six numbers
        Of all, or of: user biases, item biases, users, items, user attributes, item attributes.

    Returns
    -------
    Translation
        To `WeightedALS`. Every stored cell has target 1, as there, whatever its value.
    """
    alpha = check_number("alpha", alpha, 0.0)
    logarithm = check_flag("apply_log_transf", apply_log_transf)

    def weight(r: np.ndarray) -> np.ndarray:
        if logarithm:
            _demand_positive(r, "cmfrec with apply_log_transf", zero=False)
        return 1 + alpha * (np.log(r) if logarithm else r)

    params = {"factors": k, "regularization": _of_sides(lambda_), "iterations": niter, "unobserved_weight": 1.0}
    return _weighted(params, np.ones_like, weight)


def from_cmfrec_explicit(
    k: int = 40,
    lambda_: Any = 10.0,
    user_bias: bool = True,
    item_bias: bool = True,
    center: bool = True,
    scale_lam: bool = False,
    niter: int = 10,
) -> Translation:
    """Translate `cmfrec.CMF` without side information.

    Parameters
    ----------
    k, lambda_, user_bias, item_bias, center, scale_lam, niter
        As there; the three about biases must be all True or all False, and `lambda_` one number where they are True.

    Returns
    -------
    Translation
        To `ExplicitALS`.
    """
    biases = [check_flag(n, v) for n, v in (("user_bias", user_bias), ("item_bias", item_bias), ("center", center))]
    if any(biases) != all(biases):
        raise ValueError("user_bias, item_bias and center must be all True or all False: ExplicitALS has all or none")
    if biases[0] and np.ndim(lambda_):
        raise ValueError("lambda_ is six numbers: ExplicitALS has one ridge for the factors of a row and its bias")
    params = {
        "factors": k,
        "regularization": _of_sides(lambda_),
        "biases": biases[0],
        "regularization_exponent": float(check_flag("scale_lam", scale_lam)),
        "iterations": niter,
    }
    return Translation("ExplicitALS", params, _as_they_are)


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
        As there.
    regularization : float, (float, float), or mapping with "user" and "item"

    Returns
    -------
    Translation
        To `WeightedALS`.
    """
    weight = check_number("weight", weight, 0.0)
    rated = check_flag("use_ratings", use_ratings)
    params = {
        "factors": embedding_size,
        "regularization": _of_both("regularization", regularization),
        "iterations": epochs,
        "unobserved_weight": 1.0,
    }
    return _weighted(params, np.ones_like, lambda r: 1 + weight * (r if rated else np.ones_like(r)))


class DampedMeans(NamedTuple):
    """What of a rating is known without factors."""

    mean: float
    """Of all ratings."""
    user: np.ndarray
    """float64 (n_users,)."""
    item: np.ndarray
    """float64 (n_items,)."""


def damped_means(R: MatrixLike, damping: Any = 5.0) -> DampedMeans:
    """Return what LensKit's BiasedMF takes off ratings before it factorises them.

    Parameters
    ----------
    R : sparse matrix or array, shape (n_users, n_items)
        Stored cells are ratings, zeros too.
    damping : float, (float, float), or mapping with "user" and "item", default 5.0
        As many imagined ratings of each user, of each item, that are what is expected without it.

    Returns
    -------
    DampedMeans

    Notes
    -----
    With mean m: item_i = sum (r - m) / (n_i + damping), then user_u = sum (r - m - item_i) / (n_u + damping); 0 for
    those without ratings.
    """
    of_user, of_item = (check_number("damping", part, 0.0) for part in _of_both("damping", damping))
    cells = _as_they_are(R).csr.tocoo()
    if cells.nnz == 0:
        raise ValueError("R has no stored cells: at least one rating is wanted")
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
        As there.
    regularization, damping : float, (float, float), or mapping with "user" and "item"

    Returns
    -------
    Translation
        To `ExplicitALS`, fitted on what the damped means of a matrix leave of its ratings. A rating is predicted by
        `mean + user[u] + item[i]` of `damped_means`, plus what the model predicts.
    """
    params = {
        "factors": embedding_size,
        "regularization": _of_both("regularization", regularization),
        "biases": False,
        "regularization_exponent": 1.0,
        "iterations": epochs,
    }

    def cells(R: MatrixLike) -> Interactions:
        means, kept = damped_means(R, damping), _as_they_are(R)
        matrix = kept.csr.astype(np.float64)
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        matrix.data -= means.mean + means.user[rows] + means.item[matrix.indices]
        return Interactions(matrix, kept.dtype)

    return Translation("ExplicitALS", params, cells)


def from_spark(
    rank: int = 10, maxIter: int = 10, regParam: float = 0.1, implicitPrefs: bool = False, alpha: float = 1.0
) -> Translation:
    """Translate `pyspark.ml.recommendation.ALS`.

    Parameters
    ----------
    rank, maxIter, regParam, implicitPrefs, alpha
        As there.

    Returns
    -------
    Translation
        To `ExplicitALS`, or with `implicitPrefs` to `ImplicitALS`.

    Raises
    ------
    ValueError
        `implicitPrefs` with a `regParam`: its ridge grows with the row's cells while unobserved cells weigh 1, and here
        those count in the ridge as well.
    """
    if not check_flag("implicitPrefs", implicitPrefs):
        params = {"factors": rank, "regularization": regParam, "iterations": maxIter}
        return Translation("ExplicitALS", params | {"biases": False, "regularization_exponent": 1.0}, _as_they_are)
    if check_number("regParam", regParam, 0.0) > 0:
        raise ValueError(
            f"regParam is {regParam!r} with implicitPrefs: Spark's ridge is regParam times the row's cells above 0, "
            "and there is none such here where unobserved cells weigh 1; search regularization anew"
        )
    return Translation(
        "ImplicitALS", {"factors": rank, "regularization": 0.0, "alpha": alpha, "iterations": maxIter}, _as_they_are
    )


# To there.


def to_implicit(model: ImplicitALS) -> Translation:
    """Translate to `implicit.als.AlternatingLeastSquares`.

    Parameters
    ----------
    model : ImplicitALS
        Of one `regularization` for both sides, without exponents.

    Returns
    -------
    Translation
    """
    user, confidence = _hu_koren(model, "implicit", one_ridge=True)[0], _confidence(model)
    params = {"factors": model.factors, "regularization": user, "alpha": 1.0, "iterations": model.iterations}
    return Translation("AlternatingLeastSquares", params, _matrix(lambda r: np.sign(r) * confidence(r)))


def to_irspack(model: ImplicitALS) -> Translation:
    """Translate to `irspack.IALSRecommender`.

    Parameters
    ----------
    model : ImplicitALS
        Of one `regularization` for both sides, without a `popularity_exponent`.

    Returns
    -------
    Translation
        With `loss_type="ORIGINAL"`. Its matrix is refused where a cell is negative, or weighs less than one not stored.
    """
    a0 = model._objective().unobserved_weight
    user, item = check_regularization(model.regularization)
    _demand(user == item, "irspack", f"regularization {(user, item)}: one for both sides")
    _demand(model.popularity_exponent == 0, "irspack", "popularity_exponent")

    def value(r: np.ndarray) -> np.ndarray:
        _demand_positive(r, "irspack", zero=False)
        x = 1 + model.alpha * r - a0
        _demand(bool((x >= 0).all()), "irspack", "a cell of less confidence than unobserved_weight")
        return x

    params = {
        "n_components": model.factors,
        "alpha0": a0,
        "reg": user,
        "nu": float(model.regularization_exponent),
        "loss_type": "ORIGINAL",
        "train_epochs": model.iterations,
    }
    return Translation("IALSRecommender", params, _matrix(value))


def to_cmfrec(model: ImplicitALS | ExplicitALS) -> Translation:
    """Translate to `cmfrec.CMF_implicit` or `cmfrec.CMF`.

    Parameters
    ----------
    model : ImplicitALS or ExplicitALS
        Implicit: without exponents. Explicit: of `regularization_exponent` 0 or 1; with biases of one `regularization`.

    Returns
    -------
    Translation
        With `use_cg=False`: the conjugate gradients of `CMF_implicit` (3.5.1) end at another solution.
    """
    common = {"k": model.factors, "niter": model.iterations, "use_cg": False}
    if isinstance(model, ImplicitALS):
        user, item = _hu_koren(model, "cmfrec", one_ridge=False)
        params = common | {"lambda_": [0.0, 0.0, user, item, 0.0, 0.0], "alpha": 1.0}
        return Translation("CMF_implicit", params, _matrix(_excess(model, "cmfrec")))
    user, item = check_regularization(model.regularization)
    exponent = model.regularization_exponent
    _demand(exponent in (0, 1), "cmfrec", f"regularization_exponent {exponent!r}: 0 or 1")
    _demand(not model.biases or user == item, "cmfrec", "a regularization for each side, and biases: one or the other")
    ridges = user if user == item else [0.0, 0.0, user, item, 0.0, 0.0]
    biases = dict.fromkeys(("user_bias", "item_bias", "center"), bool(model.biases))
    return Translation("CMF", common | biases | {"lambda_": ridges, "scale_lam": exponent == 1}, _matrix(None))


def to_lenskit(model: ImplicitALS) -> Translation:
    """Translate to LensKit's `ImplicitMFScorer`.

    Parameters
    ----------
    model : ImplicitALS
        Without exponents.

    Returns
    -------
    Translation
        With `use_ratings=True`; its matrix holds the ratings.
    """
    user, item = _hu_koren(model, "LensKit", one_ridge=False)
    params = {
        "embedding_size": model.factors,
        "regularization": {"user": user, "item": item},
        "weight": 1.0,
        "use_ratings": True,
        "epochs": model.iterations,
    }
    return Translation("ImplicitMFScorer", params, _matrix(_excess(model, "LensKit")))


def to_lenskit_biased(model: ExplicitALS, damping: Any = 5.0) -> Translation:
    """Translate to LensKit's `BiasedMFScorer`.

    Parameters
    ----------
    model : ExplicitALS
        Without biases, of `regularization_exponent` 1; one for what damped means leave of ratings, see
        `from_lenskit_biased`.
    damping : float, (float, float), or mapping with "user" and "item", default 5.0
        Of these means.

    Returns
    -------
    Translation
        Its matrix holds the ratings: the means are taken off there.
    """
    _demand(isinstance(model, ExplicitALS), "LensKit's BiasedMF", type(model).__name__)
    _demand(not model.biases, "LensKit's BiasedMF", "biases that are learned")
    _demand(model.regularization_exponent == 1, "LensKit's BiasedMF", "regularization_exponent but 1")
    sides = {
        name: dict(zip(("user", "item"), check_regularization(_of_both(name, value)), strict=True))
        for name, value in (("regularization", model.regularization), ("damping", damping))
    }
    return Translation(
        "BiasedMFScorer", {"embedding_size": model.factors, "epochs": model.iterations} | sides, _matrix(None)
    )


def to_spark(model: ExplicitALS) -> Translation:
    """Translate to `pyspark.ml.recommendation.ALS`.

    Parameters
    ----------
    model : ExplicitALS
        Without biases, of `regularization_exponent` 1 and one `regularization`.

    Returns
    -------
    Translation
    """
    _demand(isinstance(model, ExplicitALS), "Spark", f"{type(model).__name__} whose ridge would be the same")
    user, item = check_regularization(model.regularization)
    _demand(not model.biases, "Spark", "biases")
    _demand(model.regularization_exponent == 1, "Spark", "regularization_exponent but 1")
    _demand(user == item, "Spark", f"regularization {(user, item)}: one for both sides")
    params = {"rank": model.factors, "maxIter": model.iterations, "regParam": user, "implicitPrefs": False}
    return Translation("ALS", params, _matrix(None))


# What they share.


def _weighted(params: dict[str, Any], target: Cell, weight: Cell) -> Translation:
    def cells(R: MatrixLike) -> Interactions:
        matrix = _as_they_are(R).csr
        r = matrix.data.astype(np.float64)
        values = sparse.csr_array((target(r), matrix.indices, matrix.indptr), shape=matrix.shape)
        return Interactions(values, matrix.dtype, weights=weight(r))

    return Translation("WeightedALS", params, cells)


def _as_they_are(R: MatrixLike) -> Interactions:
    single = isinstance(R, Interactions) or getattr(R, "dtype", None) == np.float32
    return as_interactions(R, np.dtype(np.float32 if single else np.float64))


def _matrix(value: Cell | None) -> Callable[[MatrixLike], sparse.csr_matrix]:
    """Return the transformation of a matrix, cell by cell; for implicit data a stored 0 is not a cell."""

    def matrix(R: MatrixLike) -> sparse.csr_matrix:
        cells = _as_they_are(R) if value is None else _as_they_are(R).without_zeros()
        changed = sparse.csr_matrix(cells.csr)
        if value is not None:
            changed.data = value(changed.data.astype(np.float64)).astype(changed.dtype)
        return changed

    return matrix


def _hu_koren(model: ImplicitALS, peer: str, *, one_ridge: bool) -> tuple[float, float]:
    """Return the ridges of a model divided by its unobserved weight, so that this is 1."""
    _demand(isinstance(model, ImplicitALS), peer, type(model).__name__)
    objective = model._objective()
    user, item = objective.regularization
    _demand(objective.unobserved_weight > 0, peer, "unobserved_weight 0")
    _demand(objective.popularity_exponent == 0, peer, "popularity_exponent")
    _demand(objective.regularization_exponent == 0, peer, "regularization_exponent")
    _demand(user == item or not one_ridge, peer, f"regularization {(user, item)}: one for both sides")
    return user / objective.unobserved_weight, item / objective.unobserved_weight


def _confidence(model: ImplicitALS) -> Cell:
    return lambda r: (1 + model.alpha * np.abs(r)) / model.unobserved_weight


def _excess(model: ImplicitALS, peer: str) -> Cell:
    """Return the confidence on top of 1 for peers that add the 1 themselves and know no disliked cells."""
    confidence = _confidence(model)

    def value(r: np.ndarray) -> np.ndarray:
        _demand_positive(r, peer, zero=False)
        return confidence(r) - 1

    return value


def _of_both(name: str, given: Any) -> tuple[Any, Any]:
    """Return (user, item) of a number, a pair, or LensKit's mapping."""
    if isinstance(given, Mapping):
        given = tuple(given.get(side) for side in ("user", "item"))
    pair = given if np.ndim(given) else (given, given)
    if len(pair) != 2 or None in pair:
        raise ValueError(f'{name} must be one number, (user, item), or a mapping with "user" and "item", got {given!r}')
    return pair


def _of_sides(lambda_: Any) -> float | tuple[float, float]:
    """Return the ridges of users and items of cmfrec's six numbers, or its one."""
    if np.ndim(lambda_) == 0:
        return check_number("lambda_", lambda_, 0.0)
    if np.shape(lambda_) != (6,):
        raise ValueError(f"lambda_ must be one number or six, got shape {np.shape(lambda_)}")
    return float(lambda_[2]), float(lambda_[3])


def _demand(possible: bool, peer: str, what: str) -> None:
    if not possible:
        raise ValueError(f"{peer} has no {what}")


def _demand_positive(r: np.ndarray, peer: str, *, zero: bool) -> None:
    bad = r < 0 if zero else r <= 0
    if bad.any():
        wanted = "at least 0" if zero else "above 0"
        raise ValueError(f"{peer} wants cells {wanted}, and {int(bad.sum())} of {len(r)} are not")
