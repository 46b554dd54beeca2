"""From the parameters of fastals models to other libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from ...data.interactions import MatrixLike
from ...models import ExplicitALS, ImplicitALS
from ...objectives import check_regularization
from ...validation import is_auto
from .terms import Transform, Translation, as_given, both_sides, check_positive

__all__ = ["to_cmfrec", "to_implicit", "to_irspack", "to_lenskit", "to_lenskit_biased", "to_spark"]


def to_implicit(model: ImplicitALS) -> Translation:
    """Translate to `implicit.als.AlternatingLeastSquares`.

    Parameters
    ----------
    model : ImplicitALS
        With one `regularization` for both sides and exponents of 0.

    Returns
    -------
    Translation

    Raises
    ------
    ValueError
        `implicit` cannot express the model.

    Examples
    --------
    >>> import fastals
    >>> classic = {"unobserved_weight": 1.0, "popularity_exponent": 0.0, "regularization_exponent": 0.0}
    >>> to_implicit(fastals.ImplicitALS(64, regularization=0.1, **classic)).params["regularization"]
    0.1
    """
    model = _in_numbers(model, ImplicitALS, "implicit")
    user, confidence = _hu_koren(model, "implicit", one_ridge=True)[0], _confidence(model)
    params = {"factors": model.factors, "regularization": user, "alpha": 1.0, "iterations": model.iterations}
    return Translation("AlternatingLeastSquares", params, _matrix(lambda r: np.sign(r) * confidence(r)))


def to_irspack(model: ImplicitALS) -> Translation:
    """Translate to `irspack.IALSRecommender`.

    Parameters
    ----------
    model : ImplicitALS
        With one `regularization` for both sides and a `popularity_exponent` of 0.

    Returns
    -------
    Translation
        With `loss_type="ORIGINAL"`. Its `cells` refuses negative entries, and entries of less confidence than
        unobserved ones.

    Raises
    ------
    ValueError
        irspack cannot express the model.

    Examples
    --------
    >>> import fastals
    >>> model = fastals.ImplicitALS(64, regularization=0.01, unobserved_weight=0.1, popularity_exponent=0.0)
    >>> to_irspack(model).params["alpha0"]
    0.1
    """
    model = _in_numbers(model, ImplicitALS, "irspack")
    a0 = model._objective().unobserved_weight
    user, _ = _one_ridge(model, "irspack")
    _require("irspack", "popularity_exponent", model.popularity_exponent, 0)

    def value(r: np.ndarray) -> np.ndarray:
        check_positive(r, "irspack", zero=False)
        x = 1 + model.alpha * r - a0
        if (x < 0).any():
            raise ValueError(
                f"irspack cannot weight an observed entry less than an unobserved one, and {int((x < 0).sum())} of "
                f"{len(x)} entries have a confidence below unobserved_weight={a0:g}: lower unobserved_weight"
            )
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
        ImplicitALS: with exponents of 0. ExplicitALS: with a `regularization_exponent` of 0 or 1, and with one
        `regularization` for both sides where it has biases.

    Returns
    -------
    Translation
        With `use_cg=False`: the conjugate gradients of `CMF_implicit` (3.5.1) end at another solution.

    Raises
    ------
    ValueError
        cmfrec cannot express the model.

    Examples
    --------
    >>> import fastals
    >>> to_cmfrec(fastals.ExplicitALS(64, regularization=0.1)).params["lambda_"]
    0.1
    """
    model = _in_numbers(model, (ImplicitALS, ExplicitALS), "cmfrec", nonnegative=True)
    common = {"k": model.factors, "niter": model.iterations, "use_cg": False, "nonneg": bool(model.nonnegative)}
    if isinstance(model, ImplicitALS):
        user, item = _hu_koren(model, "cmfrec", one_ridge=False)
        params = common | {"lambda_": [0.0, 0.0, user, item, 0.0, 0.0], "alpha": 1.0}
        return Translation("CMF_implicit", params, _matrix(_excess(model, "cmfrec")))
    user, item = check_regularization(model.regularization)
    exponent = model.regularization_exponent
    _require("cmfrec", "regularization_exponent", exponent, 0, 1)
    if model.biases and user != item:
        raise ValueError(
            f"cmfrec with biases has one regularization for users and items, and this model has {(user, item)}: "
            "set regularization to one number or biases to False"
        )
    ridges = user if user == item else [0.0, 0.0, user, item, 0.0, 0.0]
    biases = dict.fromkeys(("user_bias", "item_bias", "center"), bool(model.biases))
    return Translation("CMF", common | biases | {"lambda_": ridges, "scale_lam": exponent == 1}, _matrix(None))


def to_lenskit(model: ImplicitALS) -> Translation:
    """Translate to LensKit's `ImplicitMFScorer`.

    Parameters
    ----------
    model : ImplicitALS
        With exponents of 0.

    Returns
    -------
    Translation
        With `use_ratings=True`; the entries of its matrix are the ratings.

    Raises
    ------
    ValueError
        LensKit cannot express the model.

    Examples
    --------
    >>> import fastals
    >>> classic = {"unobserved_weight": 1.0, "popularity_exponent": 0.0, "regularization_exponent": 0.0}
    >>> to_lenskit(fastals.ImplicitALS(64, regularization=0.01, **classic)).params["embedding_size"]
    64
    """
    model = _in_numbers(model, ImplicitALS, "LensKit")
    user, item = _hu_koren(model, "LensKit", one_ridge=False)
    params = {
        "embedding_size": model.factors,
        "regularization": {"user": user, "item": item},
        "weight": 1.0,
        "use_ratings": True,
        "epochs": model.iterations,
    }
    return Translation("ImplicitMFScorer", params, _matrix(_excess(model, "LensKit")))


def to_lenskit_biased(model: ExplicitALS, damping: float | tuple[float, float] | dict[str, float] = 5.0) -> Translation:
    """Translate to LensKit's `BiasedMFScorer`.

    Parameters
    ----------
    model : ExplicitALS
        Without biases and with a `regularization_exponent` of 1; it predicts ratings less their damped means, see
        `from_lenskit_biased`.
    damping : float, (float, float), or mapping with "user" and "item", default 5.0
        Damping of these means.

    Returns
    -------
    Translation
        The entries of its matrix are the ratings: LensKit subtracts the means.

    Raises
    ------
    ValueError
        LensKit cannot express the model.

    Examples
    --------
    >>> import fastals
    >>> to_lenskit_biased(fastals.ExplicitALS(64, regularization=0.1, biases=False)).params["damping"]
    {'user': 5.0, 'item': 5.0}
    """
    peer = "LensKit's BiasedMF"
    model = _in_numbers(model, ExplicitALS, peer)
    _require(peer, "biases", model.biases, False)
    _require(peer, "regularization_exponent", model.regularization_exponent, 1)
    sides = {
        name: dict(zip(("user", "item"), check_regularization(both_sides(name, value)), strict=True))
        for name, value in (("regularization", model.regularization), ("damping", damping))
    }
    return Translation(
        "BiasedMFScorer", {"embedding_size": model.factors, "epochs": model.iterations} | sides, _matrix(None)
    )


def to_spark(model: ExplicitALS | ImplicitALS) -> Translation:
    """Translate to `pyspark.ml.recommendation.ALS`.

    Parameters
    ----------
    model : ExplicitALS or ImplicitALS
        With a `regularization_exponent` of 1 and one `regularization` for both sides. ExplicitALS: without biases.
        ImplicitALS: with `unobserved_weight=1`, `popularity_exponent=0` and `regularization_counts="observed"`.

    Returns
    -------
    Translation

    Raises
    ------
    ValueError
        Spark cannot express the model.

    Examples
    --------
    >>> import fastals
    >>> to_spark(fastals.ExplicitALS(64, regularization=0.1, biases=False)).params["regParam"]
    0.1
    """
    model = _in_numbers(model, (ExplicitALS, ImplicitALS), "Spark", nonnegative=True)
    wanted: dict[str, Any] = {"regularization_exponent": 1}
    if isinstance(model, ImplicitALS):
        wanted |= {"unobserved_weight": 1, "popularity_exponent": 0, "regularization_counts": "observed"}
    else:
        wanted |= {"biases": False}
    for name, value in wanted.items():
        _require("Spark", name, getattr(model, name), value)
    user, _ = _one_ridge(model, "Spark")
    params = {"rank": model.factors, "maxIter": model.iterations, "regParam": user, "implicitPrefs": False}
    params["nonnegative"] = bool(model.nonnegative)
    if not isinstance(model, ImplicitALS):
        return Translation("ALS", params, _matrix(None))

    def positive(r: np.ndarray) -> np.ndarray:
        check_positive(r, "Spark", zero=False)
        return r

    return Translation("ALS", params | {"implicitPrefs": True, "alpha": model.alpha}, _matrix(positive))


def _matrix(value: Transform | None) -> Callable[[MatrixLike], sparse.csr_matrix]:
    """Return the transformation of a matrix, entry by entry; for implicit feedback a stored 0 is not an entry."""

    def matrix(R: MatrixLike) -> sparse.csr_matrix:
        given = as_given(R) if value is None else as_given(R).without_zeros()
        changed = sparse.csr_matrix(given.csr)
        if value is not None:
            changed.data = value(changed.data.astype(np.float64)).astype(changed.dtype)
        return changed

    return matrix


def _hu_koren(model: ImplicitALS, peer: str, *, one_ridge: bool) -> tuple[float, float]:
    """Return the ridges of a model divided by its unobserved weight, which thereby becomes 1."""
    objective = model._objective()
    if objective.unobserved_weight == 0:
        raise ValueError(f"{peer} gives unobserved entries a weight, and this model has unobserved_weight=0")
    _require(peer, "popularity_exponent", objective.popularity_exponent, 0)
    _require(peer, "regularization_exponent", objective.regularization_exponent, 0)
    user, item = _one_ridge(model, peer) if one_ridge else objective.regularization
    return user / objective.unobserved_weight, item / objective.unobserved_weight


def _confidence(model: ImplicitALS) -> Transform:
    objective = model._objective()
    return lambda r: (objective.constant + objective.slope * np.abs(r)) / objective.unobserved_weight


def _excess(model: ImplicitALS, peer: str) -> Transform:
    """Return the confidence above 1, for libraries that add the 1 themselves and have no disliked items."""
    confidence = _confidence(model)

    def value(r: np.ndarray) -> np.ndarray:
        check_positive(r, peer, zero=False)
        return confidence(r) - 1

    return value


def _in_numbers(model: Any, wanted: type | tuple[type, ...], peer: str, *, nonnegative: bool = False) -> Any:
    """Return a model of a wanted class with numbers in the place of 'auto': those of its fit."""
    if not isinstance(model, wanted):
        names = " or ".join(cls.__name__ for cls in (wanted if isinstance(wanted, tuple) else (wanted,)))
        raise ValueError(f"{peer} can express an {names}, got {type(model).__name__}")
    own: Any = model
    params = own.get_params()
    if not nonnegative:
        _require(peer, "nonnegative", params["nonnegative"], False)
    if not isinstance(model, ExplicitALS):
        _require(peer, "biases", params["biases"], False)
    if not isinstance(model, ExplicitALS) and peer != "Spark":
        _require(peer, "regularization_counts", params["regularization_counts"], "all")
    left = [name for name in ("regularization", "unobserved_weight") if is_auto(name, params.get(name, 0.0))]
    if not left:
        return model
    if own._fitted is None:
        raise ValueError(f"{left[0]} is 'auto', a rule that {peer} does not have: fit the model first, or set a number")
    return type(own)(**params | {name: getattr(own, f"{name}_") for name in left})


def _require(peer: str, name: str, value: Any, *possible: Any) -> None:
    if value not in possible:
        wanted = " or ".join(map(repr, possible))
        raise ValueError(f"{peer} cannot express {name}={value!r}: set it to {wanted}")


def _one_ridge(model: ImplicitALS | ExplicitALS, peer: str) -> tuple[float, float]:
    user, item = check_regularization(model.regularization)
    if user != item:
        raise ValueError(
            f"{peer} has one regularization for users and items, and this model has {(user, item)}: "
            "set it to one number"
        )
    return user, item
