"""Where a fit begins: a sketch of the data, or the factors of another model."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from .data.interactions import Interactions
from .engine import basis
from .engine.alternation import Begin
from .engine.limits import free_memory
from .engine.mapped import file_of
from .engine.model import Model
from .engine.panel import aligned_zeros
from .engine.simd.target import padded
from .engine.spilled import spilled_zeros
from .fitted import Fitted
from .objectives import Objective, Statistics
from .progress import logger

__all__ = ["begin", "empty"]


def empty(factors: int, cells: Interactions, objective: Objective, statistics: Statistics) -> Model:
    """Return the row problems of both sides, with panels of zeros.

    Parameters
    ----------
    factors : int
    cells : Interactions
    objective : Objective
    statistics : Statistics
        What the objective has learned from `cells`.
    """
    (n_users, n_items), width, dtype = cells.shape, factors + objective.biases, cells.dtype
    kp = padded(width, dtype)
    # Both panels, and the copy that the last half-step may make of the larger one.
    folder = _folder_for(cells, (n_users + n_items + max(cells.shape)) * kp * dtype.itemsize)
    zeros = aligned_zeros if folder is None else partial(spilled_zeros, folder=folder)
    return Model(
        users=objective.user_problem(cells.by_user, statistics),
        items=objective.item_problem(cells.by_item, statistics, n_users),
        X=zeros((n_users, kp), dtype),
        Y=zeros((n_items, kp), dtype),
        width=width,
        bias=factors if objective.biases else -1,
    )


def _folder_for(cells: Interactions, needed: int) -> str | None:
    """Return the folder for factors of so many bytes; None if memory has room, or has the entries themselves."""
    file = file_of(cells.by_user.indices)
    free = None if file is None else free_memory()  # which reads files of the system
    if file is None or free is None or needed <= free:
        return None
    folder = os.path.dirname(os.path.abspath(file[0]))  # where there is room, unless nobody may write there
    folder = folder if os.access(folder, os.W_OK) else tempfile.gettempdir()
    logger.info("factors of %.3g GB and %.3g GB of free memory: they are kept in %s", needed / 1e9, free / 1e9, folder)
    return folder


def begin(
    model: Model,
    draw: Callable[[], Begin],
    start: Fitted | None,
    objective: Objective,
    cells: Interactions,
) -> Begin:
    """Fill the panels of a fit that is about to begin.

    Parameters
    ----------
    model : Model
    draw : callable () -> Begin
        Puts a start of its own into the panels, as `sketch` does.
    start : Fitted, optional
        Where to go on from; None: what `draw` draws.
    objective : Objective
    cells : Interactions
        What is to be fitted.

    Returns
    -------
    Begin
        What the panels hold.

    Raises
    ------
    ValueError
        `cells` lack users or items of the start, or the start has more factors than are wanted.
    """
    factors = model.width - (model.bias >= 0)
    if start is None:
        return draw()
    if start.items.k > factors:
        raise ValueError(
            f"factors is {factors} and the model to start from has {start.items.k}: at least as many are wanted"
        )
    places = _places(start, cells)
    more = factors > start.items.k
    if more:
        draw()
    _go_on_from(start, places, model, factors)
    if objective.nonnegative:
        for panel in (model.X[:, :factors], model.Y[:, :factors]):
            np.maximum(panel, 0, out=panel)
    if more:
        return Begin("absent")
    return Begin("solved" if _is_solved(start, objective, cells) else "absent", len(start.history))


def _places(start: Fitted, cells: Interactions) -> list[np.ndarray]:
    """Return where the users, and the items, of a start are in the matrix to be fitted."""
    places = []
    for name, side, size, new in (
        ("user", start.users, cells.shape[0], cells.user_ids),
        ("item", start.items, cells.shape[1], cells.item_ids),
    ):
        if side.ids is not None and new is not None:
            gone = np.flatnonzero(~np.isin(side.ids.values, new.values))
            if len(gone):
                raise ValueError(
                    f"R lacks {name} {side.ids.values[gone[0]].item()!r}, which the model to start from has: refit and "
                    f"start= keep all of its {name}s; pass Interactions with the ids of all, which "
                    f"from_triplets takes as {name}_ids=, or begin anew with fit(R)"
                )
            places.append(new.positions(f"{name}_ids", side.ids.values))
        elif size < len(side):
            raise ValueError(
                f"R has {size} {name}s and the model to start from {len(side)}: they keep their numbers and their "
                "rows, empty ones too; use fit without start for another set"
            )
        else:
            places.append(np.arange(len(side)))
    return places


def _is_solved(start: Fitted, objective: Objective, cells: Interactions) -> bool:
    """Whether a start was fitted to the same interactions by the same objective, so that its users are exact."""
    before, seen = start.objective, start.by_user
    same_data = seen is not None and not seen.changed and seen.base is cells.by_user
    if any(objective.featured):  # the features may be other ones
        return False
    alike = before.item_weights is objective.item_weights
    return same_data and alike and replace(before, item_weights=objective.item_weights) == objective


def _go_on_from(start: Fitted, places: list[np.ndarray], model: Model, factors: int) -> None:
    """Put the factors of a start into the panels; new users and items stay 0.

    More factors than the start has come from what was drawn into the panels before: what of it lies outside the span of
    the start's factors, along its principal axes.
    """
    k = start.items.k
    more = basis.outside(model.Y[:, :factors], start.items.factors, places[1], factors - k)
    for side, panel, rows in ((start.users, model.X, places[0]), (start.items, model.Y, places[1])):
        panel[:] = 0
        panel[rows, :k] = side.factors
        if model.bias >= 0 and side.biases is not None:
            panel[rows, model.bias] = side.biases
    model.Y[:, k : k + more.shape[1]] = more
