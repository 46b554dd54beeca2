"""Models as files: `save`, and what `load` reads. Arrays and JSON; nothing in such a file can run code."""

from __future__ import annotations

import numbers
import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from . import storage
from .base import Base
from .data.encoder import KINDS, NUMBER, FeatureEncoder
from .data.ids import Ids
from .engine.panel import as_panel
from .engine.problem import Cells
from .fitted import Counts, Features, Fitted, Rows, Side
from .objectives import ExponentialWeights, LinearWeights, Objective, Statistics
from .validation import check_flag, check_number, shown

__all__ = ["Saving", "read_model"]

WEIGHTS = {weights.__name__: weights for weights in (LinearWeights, ExponentialWeights)}

HEADER = ("model", "params", "loss_history", "mean", "popularity_scale")
ALWAYS = ("user_factors_", "item_factors_", "item_weight", "item_background", "item_counts")
BIASES = ("user_biases_", "item_biases_")
SEEN = tuple(f"seen_{name}" for name in Cells._fields)
FEATURED = {"feature_regularization": 1.0, "featured": [False, False]}  # of an objective, where there are features
IMPLICIT = {"implicit_features": False}  # where they are those that follow from the interactions
# Of an objective: files of earlier versions lack it.
LATER = {"nonnegative", "regularization_counts", *FEATURED, *IMPLICIT}
WEIGHT_ARRAYS = ("item_weight", "params_item_weights", "objective_item_weights")
FEATURES = ("factors", "indptr", "indices", "values")
ENCODER = ("key", "labels", "kinds", "counts", "values")
ENCODER_ARRAYS = tuple(f"{side}_encoder_{part}" for side in ("user", "item") for part in ENCODER)
FEATURE_ARRAYS = tuple(f"{side}_features_{part}" for side in ("user", "item") for part in (*FEATURES, "biases"))
SOMETIMES = ("user_ids", "item_ids", "user_background", *FEATURE_ARRAYS, *ENCODER_ARRAYS, *WEIGHT_ARRAYS[1:])

Model = TypeVar("Model", bound=Base)


class Saving(Base):
    """The part of a model that writes itself to a file."""

    def save(self, path: str | os.PathLike[str], include_cells: bool = True) -> None:
        """Write the model to one `.npz` file, which `fastals.load` reads.

        Parameters
        ----------
        path : str or path
            `.npz` is appended where it is missing.
        include_cells : bool, default True
            Keep the training interactions, so that `recommend` can leave them out, `explain` name them and `update`
            solve rows again: 4 bytes an interaction, and 4 or 8 more where their values differ.

        Notes
        -----
        Arrays and JSON, no pickle. What JSON cannot hold is replaced: a `random_state` that is not an int by None, an
        `item_weights` that is a function of the user's own by the array of weights that the fit had, a subclass by the
        model it derives from.

        Parameters set since the fit are kept as such: the file has the objective that was fitted beside them.

        Raises
        ------
        OSError
            The file cannot be written. An old file of that name is as it was.
        TypeError, ValueError
            A parameter is not as wanted; the message names it. No file is written.

        Examples
        --------
        >>> import fastals, os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "model.npz")
        >>> fastals.ImplicitALS(2, random_state=0).fit([(0, 0, 1), (1, 1, 1)]).save(path)
        >>> fastals.load(path).factors
        2
        """
        fitted, include_cells = self._whole_state, check_flag("include_cells", include_cells)
        known: type[Base] = next(kind for kind in type(self).__mro__ if kind.__module__ == "fastals.models")
        statistics = fitted.statistics
        arrays = {"item_weight": statistics.weight, "item_background": statistics.background}
        for name, side in (("user", fitted.users), ("item", fitted.items)):
            arrays[f"{name}_factors_"] = np.ascontiguousarray(side.factors)
            if side.biases is not None:
                arrays[f"{name}_biases_"] = np.ascontiguousarray(side.biases)
            if side.ids is not None:
                arrays[f"{name}_ids"] = side.ids.values
            if side.features is not None:
                arrays |= _features_to_arrays(name, side.features, side)
        if len(statistics.user_background) > 1:
            arrays["user_background"] = statistics.user_background
        featured = any(fitted.objective.featured)
        arrays["item_counts"] = fitted.item_counts
        if include_cells and fitted.by_user is not None:
            arrays |= dict(zip(SEEN, fitted.by_user.cells, strict=True))
        params = {name: getattr(self, name) for name in known._param_names()}
        fields = dict(vars(fitted.objective))
        later = featured or (known.__name__ != "ExplicitALS" and params["biases"])
        if not featured:
            # An older fastals reads it then.
            params = {name: value for name, value in params.items() if name not in FEATURED or value != FEATURED[name]}
            fields = {name: value for name, value in fields.items() if name not in FEATURED}
        if not later and known.__name__ != "ExplicitALS":
            del params["biases"]
        params, fields = (
            {name: value for name, value in part.items() if name not in IMPLICIT or value} for part in (params, fields)
        )
        header = {
            "model": known.__name__,
            "params": _to_json("params", params, arrays),
            "objective": _to_json("objective", fields, arrays),
            "loss_history": list(fitted.history),
            "mean": statistics.mean,
            "popularity_scale": statistics.popularity_scale,
        }
        if featured:
            sides = fitted.users.features, fitted.items.features
            header["feature_ridges"] = [None if of is None else of.mu for of in sides]
        _model(known, header["params"], arrays)  # refuses parameters that could not be read again
        storage.write(path, header, arrays, version=3 if later else 2)


def read_model(path: str | os.PathLike[str], models: Mapping[str, type[Model]]) -> Model:
    """Read a model that `save` wrote; `models` are the classes it may be of, by name.

    All that a method of the model relies on is checked: a file that another program wrote, or changed, is refused, or
    gives a model that can be used like any other.
    """
    header, arrays = storage.read(path, {*ALWAYS, *BIASES, *SEEN, *SOMETIMES})
    with storage.explained(path):
        _check_names("its header", header, HEADER, ("objective", "feature_ridges"))
        if header["model"] not in list(models):
            raise ValueError(f"its model is {shown(header['model'])}, wanted is one of {', '.join(models)}")
        kind = models[header["model"]]
        model = _model(kind, header["params"], arrays)
        # The first files had the parameters only.
        given = header.get("objective")
        objective = model._objective() if given is None else _objective(kind, given, arrays)
        _check_arrays(arrays, objective)
        statistics = _statistics(header, arrays, objective)
        if not isinstance(header["loss_history"], list):
            raise ValueError(f"loss_history is {shown(header['loss_history'])}, not a list")
        history = tuple(check_number("loss_history", loss) for loss in header["loss_history"])
        seen = Rows(Cells(*(arrays[name] for name in SEEN))) if SEEN[0] in arrays else None
        ridges = _feature_ridges(header, objective)
        users, items = (_side(name, arrays, objective.biases, mu) for name, mu in ridges.items())
        return model._put(Fitted(users, items, objective, statistics, Counts(arrays["item_counts"]), history, seen))


def _model(kind: type[Model], given: Any, arrays: dict[str, np.ndarray]) -> Model:
    """Return a model that is not fitted, with parameters from a header; the first wrong one raises."""
    _check_names("params", given, (), kind._param_names())
    model = kind(**{name: _from_json(name, value, arrays) for name, value in given.items()})
    model._check()
    return model


def _objective(kind: type[Base], given: Any, arrays: dict[str, np.ndarray]) -> Objective:
    """Return an objective from a header: the one of a model of this kind that has the numbers as parameters."""
    _check_names("objective", given, Objective.__dataclass_fields__.keys() - LATER, LATER)
    given = dict(given)
    featured = given.pop("featured", [False, False])
    if not (isinstance(featured, list) and len(featured) == 2 and all(type(side) is bool for side in featured)):
        raise ValueError(f"featured of its objective is {shown(featured)}, wanted are two of true and false")
    names = {name: "alpha" if name == "slope" else name for name in given}
    params = {names[name]: _from_json(name, value, arrays) for name, value in given.items()}
    fitted = kind(**{name: value for name, value in params.items() if name in kind._param_names()})._objective()
    for name, parameter in names.items():
        wanted = getattr(fitted, name)
        if parameter not in kind._param_names() and given[name] != wanted:
            raise ValueError(f"{name} of its objective is {shown(given[name])}, {kind.__name__} has {wanted}")
    if fitted.implicit_features and not featured[0]:
        raise ValueError("its objective has implicit_features, and no features of users")
    return replace(fitted, featured=tuple(featured))


def _statistics(header: dict[str, Any], arrays: dict[str, np.ndarray], objective: Objective) -> Statistics:
    mean, background = check_number("mean", header["mean"]), arrays["item_background"]
    limit = float(np.finfo(arrays["item_factors_"].dtype).max) if objective.offsets else 0.0
    if abs(mean) > limit:
        raise ValueError(f"mean is {mean}, wanted are {-limit} to {limit}")
    if objective.unobserved_weight == 0 and background.any():
        raise ValueError("item_background is not 0, and unobserved_weight is")
    scale = check_number("popularity_scale", header["popularity_scale"], 0.0)
    exposed = arrays.get("user_background", np.ones(1))
    return Statistics(mean, arrays["item_weight"], background, scale, exposed)


def _features_to_arrays(name: str, features: Features, side: Side) -> dict[str, np.ndarray]:
    """Return what is known of the features of a side as the arrays of a file."""
    arrays = {f"{name}_features_factors": np.ascontiguousarray(features.panel[:, : side.k])}
    cells = features.cells(len(side))
    if cells is not None:
        arrays[f"{name}_features_indptr"] = cells.indptr
        arrays[f"{name}_features_indices"] = cells.indices
        arrays[f"{name}_features_values"] = cells.values
    if features.encoder is not None:
        arrays |= {f"{name}_encoder_{part}": array for part, array in features.encoder._to_arrays().items()}
    if side.biased:
        arrays[f"{name}_features_biases"] = np.ascontiguousarray(features.panel[:, side.k])
    return arrays


def _feature_ridges(header: dict[str, Any], objective: Objective) -> dict[str, float | None]:
    """Return the ridge of the features of each side, None where it has none."""
    given = header.get("feature_ridges", [None, None])
    if not (isinstance(given, list) and [number is not None for number in given] == list(objective.featured)):
        raise ValueError(f"feature_ridges is {shown(given)}, its objective has {list(objective.featured)} as featured")
    return {
        name: None if number is None else check_number("feature_ridges", number, 0.0)
        for name, number in zip(("user", "item"), given, strict=True)
    }


def _side(name: str, arrays: dict[str, np.ndarray], biased: bool, mu: float | None) -> Side:
    ids = Ids(f"{name}_ids", arrays[f"{name}_ids"]) if f"{name}_ids" in arrays else None
    factors, biases = arrays[f"{name}_factors_"], arrays.get(f"{name}_biases_")
    features, k = None, factors.shape[1]
    if mu is not None:
        parts = {part: arrays.get(f"{name}_features_{part}") for part in (*FEATURES, "biases")}
        rows, encoder = None, None
        if parts["indptr"] is not None:
            one = np.ones(1, factors.dtype)
            rows = Rows(Cells(parts["indptr"], parts["indices"], parts["values"], one))  # type: ignore[arg-type]
        if f"{name}_encoder_key" in arrays:
            encoder = FeatureEncoder._from_arrays({part: arrays[f"{name}_encoder_{part}"] for part in ENCODER})
        features = Features(as_panel(parts["factors"], parts["biases"]), k + biased, mu, rows, encoder)  # type: ignore[arg-type]
    return Side(as_panel(factors, biases), k, biased, ids, features=features)


def _check_names(what: str, given: Any, required: Collection[str], optional: Collection[str] = ()) -> None:
    """Refuse a JSON object, or the arrays of a file, that lacks a name or has another one."""
    if not isinstance(given, dict):
        raise ValueError(f"{what} is {shown(given)}, not a JSON object")
    for name in required:
        if name not in given:
            raise ValueError(f"{what} lacks {name}")
    for name in given:
        if name not in required and name not in optional:
            raise ValueError(f"{what} has {shown(name)}, which is no part of one")


def _check_arrays(arrays: dict[str, np.ndarray], objective: Objective) -> None:
    """Refuse arrays that do not fit together: kernels trust types, shapes, places and finite numbers."""
    seen = SEEN if not arrays.keys().isdisjoint(SEEN) else ()
    given = objective.featured[0] and not objective.implicit_features, objective.featured[1]
    wanted = [
        f"{name}_features_{part}"
        for name, there, has_rows in zip(("user", "item"), objective.featured, given, strict=True)
        for part in (*(FEATURES if has_rows else FEATURES[:1]), *(("biases",) if objective.biases else ()))
        if there
    ]
    others = [name for name in SOMETIMES if name not in FEATURE_ARRAYS]
    _check_names("it", arrays, (*ALWAYS, *(BIASES if objective.biases else ()), *seen, *wanted), others)
    dtype, shape = arrays["item_factors_"].dtype, arrays["item_factors_"].shape
    if dtype not in (np.dtype(np.float32), np.dtype(np.float64)) or len(shape) != 2 or 0 in shape:
        raise ValueError(f"item_factors_ is {dtype} of shape {shape}, wanted is float32 or float64, (items, factors)")
    n_items, k = shape
    n_users = max(1, arrays["user_factors_"].size // k)
    for name, n in (("user", n_users), ("item", n_items)):
        _check_array(f"{name}_factors_", arrays[f"{name}_factors_"], dtype, (n, k))
        if objective.biases:
            _check_array(f"{name}_biases_", arrays[f"{name}_biases_"], dtype, (n,))
        if f"{name}_ids" in arrays:
            ids = arrays[f"{name}_ids"]
            own = ids.dtype.kind == "U" or ids.dtype == np.uint64
            _check_array(f"{name}_ids", ids, ids.dtype if own else np.int64, (n,))
    for name in ("item_weight", "item_background"):
        _check_array(name, arrays[name], np.float64, (n_items,), 0)
    if isinstance(objective.item_weights, np.ndarray) and objective.item_weights.shape != (n_items,):
        raise ValueError(f"item_weights of its objective are {len(objective.item_weights)}, wanted are {n_items}")
    _check_array("item_counts", arrays["item_counts"], np.int64, (n_items,), 0, n_users)
    if "user_background" in arrays:
        _check_array("user_background", arrays["user_background"], np.float64, (n_users,), 0, 1)
    for name, there, n in zip(("user", "item"), objective.featured, (n_users, n_items), strict=True):
        if there:
            n_features = max(1, arrays[f"{name}_features_factors"].size // k)
            _check_array(f"{name}_features_factors", arrays[f"{name}_features_factors"], dtype, (n_features, k))
            if objective.biases:
                _check_array(f"{name}_features_biases", arrays[f"{name}_features_biases"], dtype, (n_features,))
            if f"{name}_features_indptr" in arrays:
                _check_rows(f"{name}_features", arrays, dtype, n, n_features, {"values": None})
            if f"{name}_encoder_key" in arrays:
                _check_encoder(name, arrays, n_features)
    if seen:
        _check_rows("seen", arrays, dtype, n_users, n_items, {"values": None, "weights": 0})


def _check_encoder(name: str, arrays: dict[str, np.ndarray], n_features: int) -> None:
    """Refuse the arrays of an encoder that do not fit together, or not the features."""
    parts = {part: arrays.get(f"{name}_encoder_{part}") for part in ENCODER}
    key, labels, kinds, counts, values = parts.values()
    if any(part is None or part.ndim != 1 for part in parts.values()):
        raise ValueError(f"{name}_encoder lacks a part")
    assert key is not None and labels is not None and kinds is not None and counts is not None and values is not None
    text = all(part.dtype.kind == "U" for part in (key, labels, kinds, values)) and counts.dtype.kind == "i"
    fits = len(key) == 1 and len(labels) == len(kinds) == len(counts) and text and (counts >= 0).all()
    if fits:
        numbers = kinds == NUMBER
        fits = np.isin(kinds, KINDS).all() and not counts[numbers].any() and counts.sum() == len(values)
        fits = fits and len(values) + np.count_nonzero(numbers) == n_features
    if not fits:
        raise ValueError(f"{name}_encoder_* are not those of an encoder of {n_features} features")


def _check_rows(
    name: str, arrays: dict[str, np.ndarray], dtype: Any, n_rows: int, n_columns: int, parts: dict[str, int | None]
) -> None:
    """Refuse compressed rows that do not fit together; `parts` are the numbers of an entry and the least of each."""
    indptr, indices = arrays[f"{name}_indptr"], arrays[f"{name}_indices"]
    _check_array(f"{name}_indptr", indptr, np.int64, (n_rows + 1,))
    _check_array(f"{name}_indices", indices, np.int32, (indices.size,), 0, n_columns - 1)
    if indptr[0] != 0 or indptr[-1] != len(indices) or (indptr[1:] < indptr[:-1]).any():
        raise ValueError(f"{name}_indptr does not go up from 0 to {len(indices)}, the length of {name}_indices")
    begins = np.flatnonzero(indices[1:] <= indices[:-1]) + 1  # all of them where a row begins
    if (indptr[np.searchsorted(indptr, begins)] != begins).any():
        raise ValueError(f"{name}_indices of a {'user' if name == 'seen' else 'row'} are not in rising order")
    for part, low in parts.items():
        array = arrays[f"{name}_{part}"]
        _check_array(f"{name}_{part}", array, dtype, (1,) if array.size == 1 else (len(indices),), low)


def _check_array(
    name: str, array: np.ndarray, dtype: Any, shape: tuple[int, ...], low: int | None = None, high: int | None = None
) -> None:
    """Refuse an array of another type or shape, or with a number below `low`, above `high`, or not finite."""
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(
            f"{name} is {array.dtype} of shape {array.shape}, wanted is {np.dtype(dtype)} of shape {shape}"
        )
    if array.size == 0 or array.dtype.kind == "U":
        return
    limits: Any = np.finfo(dtype) if array.dtype.kind == "f" else np.iinfo(dtype)
    least, most = (limit if own is None else own for own, limit in ((low, limits.min), (high, limits.max)))
    with np.errstate(invalid="ignore"):
        lowest, highest = array.min().item(), array.max().item()
    if not (least <= lowest and highest <= most):
        raise ValueError(f"{name} has numbers from {lowest} to {highest}, wanted are {least} to {most}")


def _to_json(where: str, values: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return params, or an objective, as JSON has them; see `Saving.save` for what has to be replaced."""
    return {name: _one_to_json(where, name, value, arrays) for name, value in values.items()}


def _one_to_json(where: str, name: str, value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if name == "item_weights" and value is not None:
        return _weights_to_json(where, value, arrays)
    if isinstance(value, (type, np.dtype)):
        return np.dtype(value).name
    if isinstance(value, (list, tuple)):
        return [_one_to_json(where, f"{name}[{place}]", entry, arrays) for place, entry in enumerate(value)]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return check_number(name, value)
    if isinstance(value, (np.random.Generator, np.random.RandomState, np.random.SeedSequence)):
        return None
    return value


def _weights_to_json(where: str, value: Any, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return item weights as JSON: a function's name and numbers, or the name of the array that has them."""
    if type(value) in WEIGHTS.values():
        fields = {name: check_number(f"item_weights.{name}", number) for name, number in vars(value).items()}
        return {"weights": type(value).__name__, **fields}
    if callable(value):
        return {"array": "item_weight"}
    weights = np.asarray(value)
    if weights.dtype.kind not in "biuf":
        raise TypeError(f"item_weights must be numbers, got dtype {weights.dtype}")
    weights = weights.astype(np.float64)
    if np.array_equal(weights, arrays["item_weight"]):
        return {"array": "item_weight"}
    arrays[f"{where}_item_weights"] = weights
    return {"array": f"{where}_item_weights"}


def _from_json(name: str, value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Return what was given to `_to_json`, where a tuple has become a list; other values are checked by the model."""
    if name == "item_weights" and value is not None:
        return _weights_from_json(value, arrays)
    return tuple(value) if isinstance(value, list) else value


def _weights_from_json(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    given = value.get("array") if isinstance(value, dict) else value
    if isinstance(given, str) and given in WEIGHT_ARRAYS and given in arrays:
        weights = arrays[given].copy()
    elif isinstance(given, list) and all(type(number) in (bool, int, float) for number in given):
        weights = np.array(given, np.float64)  # as earlier versions wrote them
    elif isinstance(value, dict) and value.get("weights") in list(WEIGHTS):
        kind = WEIGHTS[value["weights"]]
        fields = {name: number for name, number in value.items() if name != "weights"}
        _check_names("item_weights", fields, (), kind.__dataclass_fields__)
        return kind(**{name: check_number(f"item_weights.{name}", number) for name, number in fields.items()})
    else:
        raise ValueError(f"item_weights is {shown(value)}: no numbers, and no name of an array or a function")
    _check_array("item_weights", weights, np.float64, (weights.size,), 0)
    return weights
