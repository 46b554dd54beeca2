"""Whatever takes a matrix calls it in its messages what the caller has called it."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastals
from fastals import datasets, evaluation
from fastals.compat import wals
from tests.helpers import GOOD, MODELS, fitted

MODEL = fitted()
GIVEN = {
    **dict.fromkeys(("R", "ratings", "train", "test", "given", "R_rows", "R_columns", "R_true"), GOOD),
    **dict.fromkeys(("user", "item"), 0),
    **dict.fromkeys(("ids", "baseline_ids"), np.zeros((GOOD.shape[0], 2), np.int32)),
    "users": [0],
    "items": [0],
    "model": MODEL,
    "models": {"a model": MODEL},
    "R_pred": GOOD.toarray(),
    "M": GOOD,
    "w_item": np.ones(GOOD.shape[1]),
    "categories": np.ones((GOOD.shape[1], 1)),
    "when": 0,
}


def callables() -> dict[str, Callable[..., Any]]:
    """Return every public method of a model, and every public function about data, evaluation and WALS."""
    found = {}
    for kind in (*MODELS, evaluation.ItemKNN, evaluation.EASE):
        model = fitted(kind) if kind in MODELS else kind().fit(GOOD)
        found |= {f"{kind.__name__}.{name}": method for name, method in inspect.getmembers(model, inspect.ismethod)}
    for module in (datasets, evaluation, wals):
        found |= {name: getattr(module, name) for name in module.__all__ if inspect.isfunction(getattr(module, name))}
    return {name: found[name] for name in sorted(found) if not name.rpartition(".")[2].startswith("_")}


def matrices(call: Callable[..., Any]) -> list[str]:
    """Return the parameters that take a matrix."""
    return [p.name for p in inspect.signature(call).parameters.values() if "MatrixLike" in str(p.annotation)]


CALLS = callables()
WHERE = [(name, argument) for name, call in CALLS.items() for argument in matrices(call)]
WHERE += [(f"{kind.__name__}.{name}", "users") for kind in MODELS for name in ("recommend", "recommend_frame")]


def message(name: str, argument: str, value: Any) -> str:
    """Return what a call says of a value in the place of a matrix."""
    call = CALLS[name]
    wanted = [p.name for p in inspect.signature(call).parameters.values() if p.default is p.empty and p.kind < 4]
    options = {key: GIVEN[key] for key in wanted if key in GIVEN} | {argument: value}
    if argument == "users":
        options["fold_in"] = True
    with pytest.raises((TypeError, ValueError)) as caught:
        call(**options)
    return str(caught.value)


@pytest.mark.parametrize(("name", "argument"), WHERE)
def test_a_bad_matrix_is_called_by_its_name(name, argument):
    said = message(name, argument, object())
    assert said.removeprefix("models['a model']: ").startswith(f"{argument} ")


def test_all_of_them_are_looked_at():
    names = {name.rpartition(".")[2] for name, _ in WHERE}
    assert {"fit", "refit", "loss", "score", "explain", "interactions", "recommend", "recommend_frame"} < names
    assert {"fold_in_users", "fold_in_items", "partial_fit_users", "partial_fit_items"} < names
    assert {"evaluate", "split_random", "observed_rmse"} < names
    assert len(WHERE) > 60
    assert isinstance(MODEL, fastals.ImplicitALS)


@pytest.mark.parametrize("name", ["recommend", "fold_in_users", "fold_in_items", "explain"])
def test_so_is_one_that_is_not_finite_or_of_another_shape(name):
    argument = "users" if name == "recommend" else "R_new"
    for value in (np.full(GOOD.shape, np.inf), np.ones((3, 5))):
        said = message(f"ImplicitALS.{name}", argument, value)
        assert said.startswith((f"{argument} is not finite", f"{argument} has shape (3, 5)"))
