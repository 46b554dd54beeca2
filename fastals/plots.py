"""Pictures of models and data; matplotlib is needed here only (`pip install fastals[plots]`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .data.interactions import as_interactions
from .validation import check_integer, check_option

__all__ = ["convergence", "degrees", "embedding", "heat_map"]


def convergence(*models: Any, labels: list[str] | None = None, ax: Any = None) -> Any:
    """Draw the loss of each model over its iterations.

    Parameters
    ----------
    *models : fitted models, or lists of numbers
        A list stands for a loss history of one's own.
    labels : list of str, optional
        One for each model; "model 1" and so on by default where there are several.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure's by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        No model, a model without a loss, or another number of labels.
    """
    histories = [np.asarray(getattr(model, "loss_history_", model), dtype=float) for model in models]
    for number, history in enumerate(histories, start=1):
        if history.ndim != 1 or not history.size:
            raise ValueError(f"model {number} has no loss to draw: fit it for at least one iteration")
    names = [f"model {number}" for number in range(1, len(models) + 1)] if labels is None else labels
    if not models or len(names) != len(models):
        raise ValueError(f"got {len(models)} models and {len(names)} labels: one label for each of at least one model")
    ax = _axes(ax)
    for history, name in zip(histories, names, strict=True):
        ax.plot(np.arange(1, len(history) + 1), history, marker=".", label=name)
    _quiet(ax).set(xlabel="iteration", ylabel="loss", title="Convergence")
    ax.yaxis.set_major_formatter("{x:,.6g}")
    ax.xaxis.get_major_locator().set_params(integer=True)
    if len(models) > 1 or labels is not None:
        ax.legend()
    return ax


def embedding(
    model: Any, R: Any = None, *, side: str = "item", n_labels: int = 0, names: Any = None, ax: Any = None
) -> Any:
    """Draw the factors of items or users in the plane of their two principal components.

    Parameters
    ----------
    model : fitted ImplicitALS, ExplicitALS or WeightedALS
    R : (n_users, n_items) matrix, optional
        The colour of a point is the number of its cells in `R`, on a logarithmic scale; without `R` all are alike.
        Rows without cells have no factors and are left out.
    side : {"item", "user"}, default "item"
    n_labels : int, default 0
        Write the names of so many points, those with the most cells; needs `R` and `names`.
    names : sequence or dict of str, optional
        The name of each item or user, by its number.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure's by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        Fewer than two factors, or shapes that do not fit.

    Notes
    -----
    The components are the right singular vectors of the centred factors; the axes show the share of the variance that
    each explains, its squared singular value over the sum of all.
    """
    side = check_option("side", side, ("item", "user"))
    n_labels = check_integer("n_labels", n_labels, 0)
    factors = np.asarray(getattr(model, f"{side}_factors_"), dtype=np.float64)
    shown = np.arange(len(factors))
    counts = None
    if R is not None:
        cells = as_interactions(R, n_users=len(model.user_factors_), n_items=len(model.item_factors_))
        counts = (cells.by_item if side == "item" else cells.by_user).counts
        shown = np.flatnonzero(counts)
        counts = counts[shown]
    if n_labels and (counts is None or names is None):
        raise ValueError("n_labels needs R, which says whose names are written, and names")
    places, shares = _principal_plane(factors[shown], f"{side}_factors_")
    ax = _quiet(_axes(ax))
    style: dict[str, Any] = {} if counts is None else {"c": counts, "norm": "log", "cmap": "viridis_r"}
    points = ax.scatter(*places.T, s=9, linewidths=0, alpha=0.8, **style)
    if counts is not None:
        ax.figure.colorbar(points, ax=ax, label=f"cells of the {side}")
        chosen = np.argsort(-counts, kind="stable")[:n_labels]
        _label(ax, places[chosen], [names[shown[place]] for place in chosen])
    ax.set(
        xlabel=f"first component ({shares[0]:.1%} of the variance)",
        ylabel=f"second component ({shares[1]:.1%})",
        title=f"{side.capitalize()} factors",
    )
    return ax


def _label(ax: Any, places: np.ndarray, names: list[str]) -> None:
    """Write names beside points: towards the middle, and of two neighbours in height one above and one below."""
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


def _principal_plane(factors: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates (n, 2) and the two shares of the variance."""
    if min(factors.shape) < 2:
        raise ValueError(
            f"{name} has shape {factors.shape}: a plane needs at least two rows with cells and two factors"
        )
    centred = factors - factors.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    total = float(np.sum(sizes**2))
    shares = sizes[:2] ** 2 / total if total else np.zeros(2)
    # The sign of a component is arbitrary: most of its points' weight to the right and up, so that pictures agree.
    places = left[:, :2] * sizes[:2]
    return places * np.where(np.sum(places**3, axis=0) < 0, -1.0, 1.0), shares


def degrees(R: Any, *, ax: Any = None) -> Any:
    """Draw how many users, and how many items, have at least so many cells.

    Parameters
    ----------
    R : (n_users, n_items) matrix
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure's by default.

    Returns
    -------
    matplotlib.axes.Axes
        Both scales are logarithmic: a straight line is a power law. Those without cells are not drawn.

    Raises
    ------
    ValueError
        `R` has no cells.
    """
    cells = as_interactions(R)
    if not cells.nnz:
        raise ValueError(f"R of shape {cells.shape} has no cells to count")
    ax = _quiet(_axes(ax))
    for side, name in ((cells.by_user, "users"), (cells.by_item, "items")):
        counts = np.sort(side.counts[side.counts > 0])
        ax.plot(counts, np.arange(len(counts), 0, -1), drawstyle="steps-pre", label=name)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="cells of a user, or of an item",
        ylabel="how many have at least as many",
        title="Degree distributions",
    )
    ax.legend()
    return ax


def heat_map(
    table: Mapping[str, Any], x: str, y: str, value: str = "score", *, best: str = "max", ax: Any = None
) -> Any:
    """Draw what a search found as a map of two parameters.

    Parameters
    ----------
    table : dict of str to array
        `SearchResult.table`.
    x, y : str
        Columns of the two parameters.
    value : str, default "score"
        The column that is coloured and written.
    best : {"max", "min"}, default "max"
        Which candidate stands for those that agree in `x` and `y` and differ in other parameters.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure's by default.

    Returns
    -------
    matplotlib.axes.Axes
        Pairs without a score stay blank.

    Raises
    ------
    ValueError
        A column is not there.
    """
    for name in (x, y, value):
        if name not in table:
            raise ValueError(f"table has no column {name!r}: choose from {', '.join(table)}")
    take = {"max": np.fmax, "min": np.fmin}[check_option("best", best, ("max", "min"))]
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


def _levels(values: Any) -> tuple[list[str], list[int]]:
    """Return the distinct values in ascending order as text, and which of them each value is."""
    distinct = list(dict.fromkeys(values))
    if all(isinstance(value, (int, float, np.number)) for value in distinct):
        distinct.sort()
    text = [f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value) for value in distinct]
    return text, [distinct.index(value) for value in values]


def _quiet(ax: Any) -> Any:
    """Leave of the frame what is read, and add faint lines to read it by."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25, linewidth=0.5)
    ax.set_axisbelow(True)
    return ax


def _axes(ax: Any) -> Any:
    """Return `ax`, or the axes of a new figure."""
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("fastals.plots needs matplotlib: pip install 'fastals[plots]'") from error
    return plt.subplots(layout="constrained")[1]
