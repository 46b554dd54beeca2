"""Features of users and items on their way into a fit, and out of it into the fitted record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from .data.encoder import FeatureEncoder
from .data.features import implicit_features, read_features
from .data.ids import Ids
from .data.interactions import Interactions
from .data.types import Columns, column_names, is_frame
from .engine.features import Entries, Prior
from .engine.model import Model
from .engine.problem import Cells, RowProblem, drawn_to
from .fitted import Features, Fitted, Rows, Side, SideName
from .objectives import Objective

__all__ = ["SIDES", "Given", "check_given", "drawn", "encoded", "given_to_fit", "priors_of", "side_of"]

SIDES: tuple[SideName, SideName] = ("user", "item")


class Encoded(NamedTuple):
    """What a table of features has become: `fit` takes it in the table's place."""

    matrix: sparse.csr_array
    encoder: FeatureEncoder


class Given(NamedTuple):
    """The features of one side, as they were given to a fit."""

    entries: Entries
    encoder: FeatureEncoder | None = None
    by_item: Cells | None = None  # the interactions, where the features are what each user has interactions with

    @property
    def implicit(self) -> bool:
        """Whether the features are what each user has interactions with."""
        return self.by_item is not None


def given_to_fit(
    features: tuple[Any, Any], R: Interactions, dtype: np.dtype, columns: Columns, implicit: bool
) -> dict[SideName, Given]:
    """Return the features of each side that has some, checked.

    `features` are those of users and of items, `columns` the names of columns that the fit was given for R. If
    `implicit`, the users' features are the items that each of them has.
    """
    found: dict[SideName, Given] = {}
    if implicit:
        found["user"] = _implicit(features[0], R)
    for side, given, n_rows, ids in zip(SIDES, features, R.shape, (R.user_ids, R.item_ids), strict=True):
        if given is None:
            continue
        encoder = None
        if is_frame(given):
            given = encoded(side, given, n_rows, ids, columns)
        if isinstance(given, Encoded):
            given, encoder = given
        cells = read_features(f"{side}_features", given, n_rows, dtype)
        found[side] = Given(Entries(cells, np.shape(given)[1]), encoder)
    return found


def encoded(side: SideName, frame: Any, n_rows: int, ids: Ids | None, columns: Columns) -> Encoded:
    """Return a table of features as a matrix with a row for each user, or item, of the interactions."""
    names = [str(name) for name in column_names(frame) or []]
    called = columns.get(side) or side
    key = next((str(name) for name in (called, side) if str(name) in names), None)
    if key is None and ids is not None:
        raise ValueError(
            f"{side}_features has no column with the ids of the {side}s: name it {str(called)!r}; "
            f"it has {', '.join(map(repr, names))}"
        )
    encoder = FeatureEncoder(key).fit(frame)
    matrix = encoder.transform(frame, None if key is None else np.arange(n_rows) if ids is None else ids.values)
    return Encoded(matrix, encoder)


def _implicit(user_features: Any, R: Interactions) -> Given:
    if user_features is not None:
        raise ValueError(
            "implicit_features=True makes features of the items that each user has, and user_features are given too: "
            "leave out one of them"
        )
    return Given(implicit_features(R.by_user, R.shape[1]), by_item=R.by_item)


def priors_of(
    given: Mapping[SideName, Given], objective: Objective, model: Model, plain: bool, n_threads: int
) -> dict[str, Prior]:
    """Return what a fit learns of the features of each side."""
    if given and objective.nonnegative:
        raise ValueError(
            "features and nonnegative=True do not go together, as what features say may be negative: leave out one of "
            "them"
        )
    priors: dict[str, Prior] = {}
    for side, (entries, _, by_item) in given.items():
        axis = SIDES.index(side)
        problem = (model.users, model.items)[axis]
        mu = objective.mu(axis, problem)
        if not 0 < mu < np.inf:
            raise ValueError(
                f"{side}_features count through the regularization of the {side}s, which draws them to what their "
                f"features say: it must be above 0, got {objective.regularization[axis]}"
            )
        priors[side] = Prior(entries, by_item, problem, mu, model.width, plain, n_threads)
    return priors


def side_of(
    model: Model,
    name: SideName,
    panel: np.ndarray,
    ids: Ids | None,
    given: Mapping[SideName, Given],
    plain: bool,
    n_threads: int,
) -> Side:
    """Return a side of a fit, whose panel this is, for the fitted record.

    Rows without interactions become their prior means: what the features say has changed since they were solved.
    """
    prior, biased, features = model.priors.get(name), model.bias >= 0, None
    if prior is not None:
        rows = None if given[name].implicit else Rows(prior.features.cells)
        features = Features(prior.panel, model.width, prior.mu, rows, given[name].encoder)
        problem = model.users if name == "user" else model.items
        cold = np.flatnonzero(problem.cells.counts == 0)
        if len(cold):
            panel[cold] = features.means(prior.features.cells.only(cold), plain, n_threads)
    return Side(panel, model.width - biased, biased, ids, features=features)


def check_given(fitted: Fitted, name: SideName, given: Any, n_rows: int | None, ids: Any = None) -> Cells | None:
    """Return the features of new rows of a side, checked.

    `n_rows` is None where there are as many as features. `ids` are those of the rows, by which a table is ordered if it
    has a column of them.
    """
    if given is None:
        return None
    own, argument = fitted.side(name).features, f"{name}_features"
    if own is None:
        raise ValueError(f"{argument} are given, and the model was fitted without: fit it with {argument}= first")
    if own.implicit:
        raise ValueError(
            f"{argument} are given, and the model was fitted with implicit_features=True: they follow from the "
            f"interactions of each {name}, so leave them out"
        )
    if is_frame(given):
        if own.encoder is None:
            raise TypeError(
                f"{argument} is a {type(given).__name__}, and the model was fitted with a matrix of features: give one "
                "with the same columns"
            )
        named = own.encoder.key in [str(name) for name in column_names(given) or []]
        given = own.encoder.transform(given, ids if named else None)
    if n_rows is None:
        n_rows = np.shape(given)[0] if np.ndim(given) else 0
    return read_features(argument, given, n_rows, fitted.dtype, len(own.panel))


def drawn(
    fitted: Fitted, name: SideName, problem: RowProblem, features: Cells | None, plain: bool, n_threads: int
) -> RowProblem:
    """Return the problem of rows with these features; without any their prior mean is 0.

    Implicit features follow from the interactions in the problem.
    """
    own = fitted.side(name).features
    if own is not None and own.implicit:
        features = problem.cells
    if own is None or features is None:
        return problem
    return drawn_to(problem, own.means(features, plain, n_threads))
