"""Models as files: `save`, and what `load` reads. Arrays and JSON; nothing in such a file can run code."""

from __future__ import annotations

import numbers
import os
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from . import storage
from .base import Base
from .data.ids import Ids
from .engine.panel import as_panel
from .engine.problem import Cells
from .fitted import Fitted, Rows, Side
from .objectives import ExponentialWeights, LinearWeights, Objective, Statistics
from .validation import Params, check_flag

__all__ = ["Saving", "read_model"]

WEIGHTS = {weights.__name__: weights for weights in (LinearWeights, ExponentialWeights)}

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

        Examples
        --------
        >>> import fastals, os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "model.npz")
        >>> fastals.ImplicitALS(2, random_state=0).fit([(0, 0, 1), (1, 1, 1)]).save(path)
        >>> fastals.load(path).factors
        2
        """
        fitted, include_cells = self._state, check_flag("include_cells", include_cells)
        known: type[Params] = next(kind for kind in type(self).__mro__ if kind.__module__ == "fastals.models")
        params = {name: getattr(self, name) for name in known._param_names()}
        statistics = fitted.statistics
        arrays = {"item_weight": statistics.weight, "item_background": statistics.background}
        for name, side in (("user", fitted.users), ("item", fitted.items)):
            arrays[f"{name}_factors_"] = np.ascontiguousarray(side.factors)
            if side.biases is not None:
                arrays[f"{name}_biases_"] = np.ascontiguousarray(side.biases)
            if side.ids is not None:
                arrays[f"{name}_ids"] = side.ids.values
        arrays["item_counts"] = fitted.item_counts
        if include_cells and fitted.by_user is not None:
            arrays |= {f"seen_{name}": array for name, array in fitted.by_user.cells._asdict().items()}
        header = {
            "model": known.__name__,
            "params": _all_to_json(params, statistics),
            "objective": _all_to_json(vars(fitted.objective), statistics),
            "loss_history": list(fitted.history),
            "mean": statistics.mean,
            "popularity_scale": statistics.popularity_scale,
        }
        storage.write(path, header, arrays)


def read_model(path: str | os.PathLike[str], models: Mapping[str, type[Model]]) -> Model:
    """Read a model that `save` wrote; `models` are the classes it may be of, by name."""
    header, arrays = storage.read(path)
    try:
        model = models[header["model"]](**_all_from_json(header["params"]))
        # The first files had the parameters only.
        objective = Objective(**_all_from_json(header["objective"])) if "objective" in header else model._objective()
        _check_saved(path, arrays, check_flag("biases", objective.biases))
        statistics = Statistics(
            header["mean"], arrays["item_weight"], arrays["item_background"], header["popularity_scale"]
        )
        seen = None
        if "seen_indptr" in arrays:
            seen = Rows(Cells(*(arrays[f"seen_{name}"] for name in Cells._fields)))
        users, items = (_side(name, arrays, objective.biases) for name in ("user", "item"))
        history = tuple(map(float, header["loss_history"]))
        model._put(Fitted(users, items, objective, statistics, arrays["item_counts"], history, seen))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} lacks a part of a fastals model ({error!r}); save the model again") from error
    return model


def _side(name: str, arrays: dict[str, np.ndarray], biased: bool) -> Side:
    ids = Ids(f"{name}_ids", arrays[f"{name}_ids"]) if f"{name}_ids" in arrays else None
    factors, biases = arrays[f"{name}_factors_"], arrays.get(f"{name}_biases_")
    return Side(as_panel(factors, biases), factors.shape[1], biased, ids)


def _check_saved(path: str | os.PathLike[str], arrays: dict[str, np.ndarray], biases: bool) -> None:
    """Refuse arrays that do not fit together: kernels trust shapes and ids."""
    factors = arrays["item_factors_"]
    dtype = factors.dtype if factors.dtype == np.float32 else np.dtype(np.float64)
    n_items, k = factors.shape if factors.ndim == 2 else (0, 0)
    n_users = len(arrays["user_factors_"])
    wanted: dict[str, tuple[tuple[int, ...], Any]] = {
        "item_factors_": ((n_items, k), dtype),
        "user_factors_": ((n_users, k), dtype),
        "item_weight": ((n_items,), np.float64),
        "item_background": ((n_items,), np.float64),
        "item_counts": ((n_items,), np.int64),
    }
    for name, n in (("user_ids", n_users), ("item_ids", n_items)):
        if name in arrays:
            wanted[name] = (n,), arrays[name].dtype
    if biases:
        wanted |= {"user_biases_": ((n_users,), dtype), "item_biases_": ((n_items,), dtype)}
    if "seen_indptr" in arrays:
        indptr, indices = arrays["seen_indptr"], arrays["seen_indices"]
        wanted |= {"seen_indptr": ((n_users + 1,), np.int64), "seen_indices": ((indices.size,), np.int32)}
    _check_arrays(path, arrays, wanted)
    if "seen_indptr" not in arrays:
        return
    if indptr[0] != 0 or indptr[-1] != len(indices) or np.any(np.diff(indptr) < 0):
        raise ValueError(f"{path} is damaged: seen_indptr does not fit seen_indices; save the model again")
    if len(indices) and not 0 <= indices.min() <= indices.max() < n_items:
        raise ValueError(
            f"{path} is damaged: seen_indices has items beyond the model's {n_items}; save the model again"
        )
    names = "seen_values", "seen_weights"
    _check_arrays(path, arrays, {n: ((1 if arrays[n].size == 1 else len(indices),), dtype) for n in names})


def _check_arrays(
    path: str | os.PathLike[str], arrays: dict[str, np.ndarray], wanted: dict[str, tuple[tuple[int, ...], Any]]
) -> None:
    for name, (shape, kind) in wanted.items():
        if arrays[name].shape != shape or arrays[name].dtype != kind:
            raise ValueError(
                f"{path} is damaged: {name} is {arrays[name].dtype} of shape {arrays[name].shape}, "
                f"wanted is {np.dtype(kind)} of shape {shape}; save the model again"
            )


def _all_to_json(values: dict[str, Any], statistics: Statistics) -> dict[str, Any]:
    return {name: _to_json(value, statistics) for name, value in values.items()}


def _to_json(value: Any, statistics: Statistics) -> Any:
    """Return a parameter as JSON has it; see `_ALS.save` for what has to be replaced."""
    if type(value) in WEIGHTS.values():
        return {"weights": type(value).__name__, **_all_to_json(vars(value), statistics)}
    if isinstance(value, (type, np.dtype)):
        return np.dtype(value).name
    if callable(value):
        value = statistics.weight
    if isinstance(value, np.ndarray):
        return {"array": _to_json(value.tolist(), statistics)}
    if isinstance(value, (list, tuple)):
        return [_to_json(entry, statistics) for entry in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, (np.random.Generator, np.random.RandomState, np.random.SeedSequence)):
        return None
    return value


def _all_from_json(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _from_json(value) for name, value in values.items()}


def _from_json(value: Any) -> Any:
    """Return what `_to_json` was given; a tuple has become a list in the file."""
    if isinstance(value, dict):
        return np.array(value["array"]) if "array" in value else WEIGHTS[value.pop("weights")](**_all_from_json(value))
    return tuple(value) if isinstance(value, list) else value
