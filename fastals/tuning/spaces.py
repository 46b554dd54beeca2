"""Where to search: values, and multiples of what the defaults make of the data. For grids, and for trials of Optuna."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..data.interactions import Interactions, MatrixLike
from ..data.types import Columns
from ..models import ExplicitALS, ImplicitALS, WeightedALS
from ..validation import check_dtype
from .candidates import Parameters
from .search import Model, check_model

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Space(NamedTuple):
    """Values to try of some parameters, and multiples of what the model has, or its defaults make of the data."""

    values: dict[str, list[Any]]
    multiples: dict[str, list[float]]


SPACES: dict[type[Model], Space] = {
    ImplicitALS: Space({}, {"unobserved_weight": [0.1, 0.3, 1.0, 3.0], "regularization": [0.3, 1.0, 3.0]}),
    ExplicitALS: Space({"factors": [8, 16, 32, 64]}, {"regularization": [0.5, 1.0, 2.0]}),
    WeightedALS: Space({"factors": [8, 16, 32, 64], "regularization": [0.3, 1.0, 3.0, 10.0]}, {}),
}


def space_of(model: Model) -> Space:
    """Return where to search the parameters of a model.

    Parameters
    ----------
    model : ImplicitALS, ExplicitALS or WeightedALS

    Examples
    --------
    >>> from fastals import ExplicitALS
    >>> space_of(ExplicitALS()).multiples
    {'regularization': [0.5, 1.0, 2.0]}
    """
    check_model(model)
    return next(space for kind, space in SPACES.items() if isinstance(model, kind))


def default_grid(model: Model, train: Interactions) -> dict[str, list[Any]]:
    """Return the values of each parameter to try on these data.

    Parameters
    ----------
    model : ImplicitALS, ExplicitALS or WeightedALS
        Of its own parameters, those that are searched are multiplied.
    train : Interactions
        Where a parameter of the model follows from the data, from these.

    Examples
    --------
    >>> from fastals import ExplicitALS
    >>> from fastals.data import synthetic
    >>> default_grid(ExplicitALS(regularization=0.1), synthetic(6, 4, 9))
    {'factors': [8, 16, 32, 64], 'regularization': [(0.05, 0.05), (0.1, 0.1), (0.2, 0.2)]}
    """
    space, numbers = space_of(model), model._objective(train)
    return space.values | {
        name: [_times(getattr(numbers, name), by) for by in multiples] for name, multiples in space.multiples.items()
    }


def optuna_space(trial: Any, model: Model, train: MatrixLike, **columns: Unpack[Columns]) -> Parameters:
    """Let a trial of Optuna choose the parameters that matter, in ranges that fit the model and the data.

    The ranges are those between the ends of what `fastals tune` tries, on a logarithmic scale. Where the model's
    defaults follow from the data, the trial chooses a multiple of what they make of `train`.

    Parameters
    ----------
    trial : optuna.Trial
        ``study.best_trial`` gives the parameters of this trial.
    model : ImplicitALS, ExplicitALS or WeightedALS
        It is not changed, and need not be fitted.
    train : as in `fit`
        The interactions that the trial is fitted on.
    **columns
        Names of columns, such as ``user="customer", item="article"``, if `train` is a table.

    Returns
    -------
    dict
        For `model.set_params`. The trial has the multiples under names such as "regularization_multiple".

    References
    ----------
    Akiba, Sano, Yanase, Ohta, Koyama: Optuna: a next-generation hyperparameter optimization framework. KDD 2019.

    Examples
    --------
    >>> import fastals
    >>> from fastals.tuning import optuna_space
    >>> class Trial:  # as optuna.Trial; here always the middle of a range
    ...     def suggest_float(self, name, low, high, log):
    ...         return (low * high) ** 0.5
    >>> sorted(optuna_space(Trial(), fastals.ImplicitALS(), [(0, 0, 1), (0, 1, 1), (1, 1, 1)]))
    ['regularization', 'unobserved_weight']
    """
    space, chosen = space_of(model), Parameters()
    for name, values in space.values.items():
        suggest = trial.suggest_int if isinstance(values[0], int) else trial.suggest_float
        chosen[name] = suggest(name, min(values), max(values), log=True)
    if space.multiples:
        cells = model._interactions(train, check_dtype("dtype", model.dtype), name="train", **columns)
        numbers = model._objective(cells)
        for name, multiples in space.multiples.items():
            by = trial.suggest_float(f"{name}_multiple", min(multiples), max(multiples), log=True)
            chosen[name] = _times(getattr(numbers, name), by)
    return chosen


def _times(number: Any, by: float) -> Any:
    """Return one number, or each of two, times another, in three digits."""
    return tuple(_times(one, by) for one in number) if isinstance(number, tuple) else float(f"{number * by:.3g}")
