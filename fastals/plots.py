"""Pictures of models, data and searches. They need matplotlib (`pip install 'fastals[plots]'`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from .data.interactions import MatrixLike, as_interactions
from .data.types import Columns
from .evaluation.protocols import Numbered
from .models import ExplicitALS, ImplicitALS, WeightedALS
from .validation import check_integer, check_option

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from typing_extensions import Unpack

__all__ = ["convergence", "degrees", "embedding", "heat_map"]


Model: TypeAlias = ImplicitALS | ExplicitALS | WeightedALS
History: TypeAlias = Model | Sequence[float] | npt.NDArray[np.floating]


def convergence(*models: History, labels: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """Draw the loss of each model over its iterations.

    Parameters
    ----------
    *models : fitted models, or lists of numbers
        A list of numbers is drawn as a loss history.
    labels : list of str, optional
        One for each model. By default "model 1" and so on if there are several.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default on a new figure.

    Raises
    ------
    ValueError
        No model, a model without a loss, or a number of labels other than that of the models.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from fastals.plots import convergence
    >>> ax = convergence([3.0, 2.0, 1.5], ax=Figure().subplots())
    >>> ax.get_title()
    'Convergence'
    """
    histories = [np.asarray(getattr(model, "loss_history_", model), dtype=float) for model in models]
    for number, history in enumerate(histories, start=1):
        if history.ndim != 1 or not history.size:
            raise ValueError(f"model {number} has no loss to draw: fit it for at least one iteration")
    names = [f"model {number}" for number in range(1, len(models) + 1)] if labels is None else labels
    if not models or len(names) != len(models):
        raise ValueError(f"got {len(models)} models and {len(names)} labels: pass at least one model, and a label each")
    ax = _axes(ax)
    for history, name in zip(histories, names, strict=True):
        ax.plot(np.arange(1, len(history) + 1), history, marker=".", label=name)
    _quiet(ax).set(xlabel="iteration", ylabel="loss", title="Convergence")
    ax.yaxis.set_major_formatter("{x:,.6g}")
    locator: Any = ax.xaxis.get_major_locator()
    locator.set_params(integer=True)
    if len(models) > 1 or labels is not None:
        ax.legend()
    return ax


def embedding(
    model: Model,
    R: MatrixLike | None = None,
    *,
    side: Literal["item", "user"] = "item",
    n_labels: int = 0,
    names: Sequence[Any] | Mapping[int, Any] | None = None,
    ax: Axes | None = None,
    **columns: Unpack[Columns],
) -> Axes:
    """Draw the factors of items or users in the plane of their two principal components.

    Parameters
    ----------
    model : fitted ImplicitALS, ExplicitALS or WeightedALS
    R : (n_users, n_items) matrix, Interactions or frame, optional
        A point's colour is the number of its interactions in `R`, on a logarithmic scale; without `R` all are alike.
        Items or users without interactions have no factors and are left out. If it and the model have ids, its rows and
        columns may come in any order.
    side : {"item", "user"}, default "item"
        Whose factors to draw.
    n_labels : int, default 0
        Number of points whose names are written, those with the most interactions; needs `R`.
    names : sequence or dict, optional
        The name of each item or user, by its number; by default the ids of the model.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default on a new figure.
    **columns
        Names of columns, such as ``user="customer", item="article"``, if `R` is a frame.

    Raises
    ------
    ValueError
        Fewer than two factors, shapes that do not fit, or `n_labels` without `R` or without names.

    Notes
    -----
    The components are the right singular vectors of the centred factors. An axis shows the share of the variance that
    its component explains: its squared singular value over the sum of all.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from fastals import ImplicitALS
    >>> from fastals.plots import embedding
    >>> model = ImplicitALS(factors=2, random_state=0).fit(np.eye(3) + 1)
    >>> embedding(model, ax=Figure().subplots()).get_title()
    'Item factors'
    """
    of_items = check_option("side", side, ("item", "user")) == "item"
    n_labels = check_integer("n_labels", n_labels, 0)
    users, items = model.user_factors_, model.item_factors_
    user_ids, item_ids = Numbered(model).ids
    factors, ids = (items, item_ids) if of_items else (users, user_ids)
    shown = np.arange(len(factors))
    counts = None
    if R is not None:
        interactions = as_interactions(
            R, n_users=len(users), n_items=len(items), user_ids=user_ids, item_ids=item_ids, **columns
        )
        counts = (interactions.by_item if of_items else interactions.by_user).counts
        shown = np.flatnonzero(counts)
        counts = counts[shown]
    if names is None and ids is not None:
        names = ids.values.tolist()
    if n_labels and (counts is None or names is None):
        raise ValueError("n_labels needs R, which says whose names are written, and names, as the model has no ids")
    places, shares = _principal_plane(np.asarray(factors[shown], np.float64), side)
    ax = _quiet(_axes(ax))
    style: dict[str, Any] = {} if counts is None else {"c": counts, "norm": "log", "cmap": "viridis_r"}
    points = ax.scatter(places[:, 0], places[:, 1], s=9, linewidths=0, alpha=0.8, **style)
    if counts is not None:
        ax.figure.colorbar(points, ax=ax, label=f"interactions of the {side}")
        if names is not None:
            chosen = np.argsort(-counts, kind="stable")[:n_labels]
            _label(ax, places[chosen], [str(names[shown[place]]) for place in chosen])
    ax.set(
        xlabel=f"first component ({shares[0]:.1%} of the variance)",
        ylabel=f"second component ({shares[1]:.1%})",
        title=f"{side.capitalize()} factors",
    )
    return ax


def _label(ax: Axes, places: np.ndarray, names: list[str]) -> None:
    """Write names beside points, towards the middle; of two neighbours in height one goes above and one below."""
    from matplotlib.patheffects import withStroke

    middle = np.mean(ax.get_xlim())
    nth = np.argsort(np.argsort(places[:, 1], kind="stable"), kind="stable")
    for place, name, above in zip(places, names, nth % 2 == 1, strict=True):
        to_the_left = place[0] > middle
        ax.annotate(
            name,
            place,
            xytext=(-2 if to_the_left else 2, 2 if above else -2),
            textcoords="offset points",
            ha="right" if to_the_left else "left",
            va="bottom" if above else "top",
            fontsize="xx-small",
            path_effects=[withStroke(linewidth=1.5, foreground="white")],
        )


def _principal_plane(factors: np.ndarray, side: str) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates (n, 2) and the two shares of the variance."""
    if min(factors.shape) < 2:
        raise ValueError(
            f"{len(factors)} {side}s with interactions have {factors.shape[1]} factors: a plane needs at least two "
            f"{side}s and two factors"
        )
    centred = factors - factors.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    total = float(np.sum(sizes**2))
    shares = sizes[:2] ** 2 / total if total else np.zeros(2)
    # The sign of a component is arbitrary. Most of the points' weight goes right and up, so that pictures agree.
    places = left[:, :2] * sizes[:2]
    return places * np.where(np.sum(places**3, axis=0) < 0, -1.0, 1.0), shares


def degrees(R: MatrixLike, *, ax: Axes | None = None, **columns: Unpack[Columns]) -> Axes:
    """Draw how many users, and how many items, have at least so many interactions.

    Parameters
    ----------
    R : (n_users, n_items) matrix, Interactions or frame
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default on a new figure.
    **columns
        Names of columns, such as ``user="customer", item="article"``, if `R` is a frame.

    Returns
    -------
    matplotlib.axes.Axes
        Both scales are logarithmic: a straight line is a power law. Users and items without interactions are not drawn.

    Raises
    ------
    ValueError
        `R` has no interactions.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from fastals.plots import degrees
    >>> ax = degrees([[1, 1], [1, 0]], ax=Figure().subplots())
    >>> ax.get_lines()[0].get_xdata()  # interactions of the users
    array([1, 2])
    """
    interactions = as_interactions(R, **columns)
    if not interactions.nnz:
        raise ValueError(f"R of shape {interactions.shape} has no interactions to count")
    ax = _quiet(_axes(ax))
    for side, name in ((interactions.by_user, "users"), (interactions.by_item, "items")):
        counts = np.sort(side.counts[side.counts > 0])
        ax.plot(counts, np.arange(len(counts), 0, -1), drawstyle="steps-pre", label=name)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="interactions of a user, or of an item",
        ylabel="how many have at least as many",
        title="Degree distributions",
    )
    ax.legend()
    return ax


def heat_map(
    table: Mapping[str, Sequence[Any] | np.ndarray],
    x: str,
    y: str,
    value: str = "score",
    *,
    best: Literal["max", "min"] = "max",
    ax: Axes | None = None,
) -> Axes:
    """Draw the result of a search as a map of two parameters.

    Parameters
    ----------
    table : dict of str to array
        `SearchResult.table`.
    x, y : str
        Columns of the two parameters.
    value : str, default "score"
        The column that is coloured and written.
    best : {"max", "min"}, default "max"
        Which candidate to show of those that agree in `x` and `y` and differ in other parameters.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Pairs without a score stay blank.

    Raises
    ------
    ValueError
        `table` does not have a column.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from fastals.plots import heat_map
    >>> table = {"factors": [16, 32], "alpha": [1.0, 1.0], "score": [0.25, 0.5]}
    >>> [text.get_text() for text in heat_map(table, "factors", "alpha", ax=Figure().subplots()).texts]
    ['0.25', '0.5']
    """
    for name in (x, y, value):
        if name not in table:
            raise ValueError(f"table has no column {name!r}: choose from {', '.join(table)}")
    take = np.fmax if check_option("best", best, ("max", "min")) == "max" else np.fmin
    (columns, of_column), (rows, of_row) = (_levels(table[name]) for name in (x, y))
    cells = np.full((len(rows), len(columns)), np.nan)
    for row, column, number in zip(of_row, of_column, table[value], strict=True):
        cells[row, column] = take(cells[row, column], number)
    ax = _axes(ax)
    image = ax.imshow(cells, origin="lower", aspect="auto", cmap="viridis")
    middle = np.nanmean([np.nanmin(cells), np.nanmax(cells)]) if np.isfinite(cells).any() else 0.0
    for (row, column), number in np.ndenumerate(cells):
        if np.isfinite(number):
            colour = "black" if number > middle else "white"
            ax.text(column, row, f"{number:.4g}", ha="center", va="center", color=colour, fontsize="small")
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.set(xlabel=x, ylabel=y, title=f"{best}imum {value}")
    ax.figure.colorbar(image, ax=ax, label=value)
    return ax


def _levels(values: Sequence[Any] | np.ndarray) -> tuple[list[str], list[int]]:
    """Return the distinct values in ascending order as text, and which of them each value is."""
    distinct = list(dict.fromkeys(values))
    if all(isinstance(value, (int, float, np.number)) for value in distinct):
        distinct.sort()
    text = [f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value) for value in distinct]
    return text, [distinct.index(value) for value in values]


def _quiet(ax: Axes) -> Axes:
    """Remove the frame's top and right side and add faint grid lines."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25, linewidth=0.5)
    ax.set_axisbelow(True)
    return ax


def _axes(ax: Axes | None) -> Axes:
    """Return `ax`, or the axes of a new figure."""
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("fastals.plots needs matplotlib: pip install 'fastals[plots]'") from error
    return plt.subplots(layout="constrained")[1]
