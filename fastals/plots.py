"""Pictures of models, data and searches. They need matplotlib (`pip install 'fastals[plots]'`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from .data.interactions import MatrixLike, as_interactions
from .data.types import Columns
from .evaluation import RANKING_METRICS, Evaluation
from .evaluation.held_out import LOWER_IS_BETTER
from .evaluation.protocols import Numbered
from .models import ExplicitALS, ImplicitALS, WeightedALS
from .tuning import SearchResult
from .validation import check_integer, check_option

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from typing_extensions import Unpack

__all__ = ["convergence", "cutoffs", "degrees", "embedding", "heat_map"]


LABEL_SIZE = 8.0  # points
LONGEST_NAME = 32
WORDS = {"ndcg": "NDCG", "map": "MAP", "mrr": "MRR", "auc": "AUC", "rmse": "RMSE", "mae": "MAE"}

Model: TypeAlias = ImplicitALS | ExplicitALS | WeightedALS
History: TypeAlias = Model | Sequence[float] | npt.NDArray[np.floating]


def convergence(*models: History, labels: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """Draw how far the loss of each model is above the lowest one, over the iterations.

    Parameters
    ----------
    *models : fitted models, or lists of numbers
        A list of numbers is drawn as a loss history. Several models should have one objective.
    labels : list of str, optional
        One for each model. By default "model 1" and so on if there are several.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The height is (loss - lowest) / lowest, on a logarithmic scale, with the lowest loss of all models. Where it is
        0, nothing is drawn.

    Raises
    ------
    ValueError
        No model, a model without a loss, or a number of labels other than that of the models.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from fastals.plots import convergence
    >>> ax = convergence([3.0, 2.5, 2.0], ax=Figure().subplots())
    >>> ax.get_lines()[0].get_ydata()
    array([0.5 , 0.25])
    """
    histories = [np.asarray(_history(model), dtype=float) for model in models]
    for number, history in enumerate(histories, start=1):
        if history.ndim != 1 or not history.size:
            raise ValueError(f"model {number} has no loss to draw: fit it for at least one iteration")
    names = _series(models, labels)
    lowest = min(history.min() for history in histories)
    ax = _quiet(_axes(ax))
    longest = max(history.size for history in histories)
    for history, name in zip(histories, names, strict=True):
        excess = (history - lowest) / (abs(lowest) or 1.0)
        drawn = np.flatnonzero(excess > 0)
        ax.plot(drawn + 1, excess[drawn], marker=".", label=name)
    if any(np.size(line.get_xdata()) for line in ax.get_lines()):
        ax.set_yscale("log")
    ax.set(
        xlabel="iteration",
        ylabel="loss above the lowest, relative",
        title=f"Convergence to a loss of {lowest:,.6g}",
        xlim=(0.5, longest + 0.5),
    )
    locator: Any = ax.xaxis.get_major_locator()
    locator.set_params(integer=True)
    if len(models) > 1 or labels is not None:
        ax.legend()
    return ax


def _history(model: Any) -> Any:
    """Return the losses of a model, which says so if it is not fitted, or what was given in its place."""
    return model.loss_history_ if hasattr(type(model), "loss_history_") else getattr(model, "loss_history_", model)


def _series(series: Sequence[Any], labels: Sequence[str] | None, what: str = "model") -> Sequence[str]:
    """Return a name for each of several curves."""
    names = [f"{what} {number}" for number in range(1, len(series) + 1)] if labels is None else labels
    if not series or len(names) != len(series):
        raise ValueError(
            f"got {len(series)} {what}s and {len(names)} labels: pass at least one {what}, and a label each"
        )
    return names


def embedding(
    model: Model,
    R: MatrixLike | None = None,
    *,
    side: Literal["item", "user"] = "item",
    n_labels: int = 0,
    names: Sequence[Any] | Mapping[Any, Any] | None = None,
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
        Number of points whose names are written, those with the most interactions; needs `R`. A name is joined to its
        point by a line. Names do not overlap; one for which there is no room is left out.
    names : mapping or sequence, optional
        Names by id, or by number where the model has no ids; an id that is not there is its own name. Or one name for
        each row of the factors, in their order. By default the ids of the model. More than 32 characters are cut.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default on a new figure.
    **columns
        Names of columns, such as ``user="customer", item="article"``, if `R` is a frame.

    Raises
    ------
    ValueError
        Fewer than two factors, shapes that do not fit, `n_labels` without `R` or without names, or `names` of other
        ids or of another length.

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
    known = range(len(factors)) if ids is None else ids.values.tolist()
    if n_labels and (counts is None or (names is None and ids is None)):
        raise ValueError("n_labels needs R, which says whose names are written, and names, as the model has no ids")
    names = known if names is None else _names(names, known, side)
    places, shares = _principal_plane(np.asarray(factors[shown], np.float64), side)
    ax = _quiet(_axes(ax))
    style: dict[str, Any] = {} if counts is None else {"c": counts, "norm": "log", "cmap": "viridis_r"}
    points = ax.scatter(places[:, 0], places[:, 1], s=9, linewidths=0, alpha=0.8, **style)
    if counts is not None:
        bar = ax.figure.colorbar(points, ax=ax, label=f"interactions of the {side}")
        _whole_numbers(bar.ax.yaxis, counts.max() / counts.min())
    ax.set(
        xlabel=f"first component ({shares[0]:.1%} of the variance)",
        ylabel=f"second component ({shares[1]:.1%})",
        title=f"{side.capitalize()} factors",
    )
    if n_labels and counts is not None:
        chosen = np.argsort(-counts, kind="stable")[:n_labels]
        _label(ax, places[chosen], [_short(names[shown[place]]) for place in chosen])
    return ax


def _names(given: Sequence[Any] | Mapping[Any, Any], known: Sequence[Any], side: str) -> Sequence[Any]:
    """Return the name of each row."""
    if isinstance(given, Mapping):
        if known and not any(key in given for key in known):
            raise ValueError(
                f"names has none of the {side}s of the model, such as {known[0]!r}: its keys must be their ids"
            )
        return [given.get(key, key) for key in known]
    if len(given) != len(known):
        raise ValueError(
            f"names has {len(given)} entries for {len(known)} {side}s of the model: pass one for each, in the order of "
            f"{side}_factors_, or a mapping from ids to names"
        )
    return given


def _short(name: Any) -> str:
    text = str(name)
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1].rstrip() + "…"


def _label(ax: Axes, places: np.ndarray, names: list[str]) -> None:
    """Write names near points, each at the nearest free place, and join them by lines."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.patheffects import withStroke
    from matplotlib.textpath import TextToPath

    figure: Any = cast(Any, ax.figure).figure  # of a subfigure the whole one
    figure.draw_without_rendering()  # only now the axes have their size
    points = ax.transData.transform(places) * 72.0 / figure.dpi
    (left, bottom), (right, top) = ax.transAxes.transform([(0, 0), (1, 1)]) * 72.0 / figure.dpi
    font = FontProperties(size=LABEL_SIZE)
    # Rows of left, bottom, right, top: what a name must not cover.
    marks, written, lines = np.hstack([points - 3.0, points + 3.0]), np.empty((0, 4)), np.empty((0, 4))
    for row, (place, point, name) in enumerate(zip(places, points, names, strict=True)):
        width = TextToPath().get_text_width_height_descent(name, font, ismath=False)[0] + 4.0
        half = np.array([width, 1.4 * LABEL_SIZE]) / 2
        crossed = np.vstack([written, np.delete(marks, row, axis=0)])
        middle = _free(point, half, np.vstack([marks, written, lines]), crossed, (left, bottom, right, top))
        if middle is None:  # then a line may cross another, before a name is left out
            middle = _free(point, half, np.vstack([marks, written]), written[:0], (left, bottom, right, top))
        if middle is None:
            continue
        written = np.vstack([written, [*(middle - half), *(middle + half)]])
        lines = np.vstack([lines, _line(point, middle)])
        ax.annotate(
            name,
            place,
            xytext=middle - point,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=LABEL_SIZE,
            parse_math=False,
            in_layout=False,  # it lies within the axes, whose size must stay
            arrowprops={"arrowstyle": "-", "linewidth": 0.6, "color": "0.3", "shrinkA": 0, "shrinkB": 1.5},
            path_effects=[withStroke(linewidth=2.0, foreground="white")],
        )


def _free(
    point: np.ndarray,
    half: np.ndarray,
    taken: np.ndarray,
    crossed: np.ndarray,
    frame: tuple[float, float, float, float],
) -> np.ndarray | None:
    """Return the middle of the nearest place for a box of this size, None if there is none.

    The box covers nothing that is `taken`, and its line to the point meets none of `crossed`.
    """
    angles = np.arange(24) * np.pi / 12
    directions = np.column_stack([np.cos(angles), np.sin(angles)])
    for distance in np.arange(10.0, np.hypot(frame[2] - frame[0], frame[3] - frame[1]), 6.0):
        for direction in directions:
            middle = point + direction * (distance + half * np.abs(direction))
            box = np.concatenate([middle - half, middle + half])
            inside = (box[:2] >= frame[:2]).all() and (box[2:] <= frame[2:]).all()
            if inside and not _meet(box[None], taken) and not _meet(_line(point, middle), crossed):
                return middle
    return None


def _meet(boxes: np.ndarray, others: np.ndarray) -> bool:
    one, other = boxes[:, None], others[None]
    return bool(((one[..., :2] < other[..., 2:]) & (one[..., 2:] > other[..., :2])).all(axis=2).any())


def _line(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return a line as boxes without a size, about four points apart."""
    pieces = np.linspace(start, end, 2 + int(np.hypot(*(end - start)) / 4))
    return np.hstack([pieces, pieces])


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


def degrees(R: MatrixLike, *, axes: Sequence[Axes] | None = None, **columns: Unpack[Columns]) -> tuple[Axes, Axes]:
    """Draw how many users, and how many items, have at least so many interactions.

    Parameters
    ----------
    R : (n_users, n_items) matrix, Interactions or frame
    axes : two matplotlib.axes.Axes, optional
        Where to draw users and items; by default side by side on a new figure.
    **columns
        Names of columns, such as ``user="customer", item="article"``, if `R` is a frame.

    Returns
    -------
    users, items : matplotlib.axes.Axes
        Both scales are logarithmic: a straight line is a power law. Users and items without interactions are not drawn.

    Raises
    ------
    ValueError
        `R` has no interactions, or `axes` are not two.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from fastals.plots import degrees
    >>> users, items = degrees([[1, 1], [1, 0]], axes=Figure().subplots(1, 2))
    >>> users.get_lines()[0].get_xdata()  # interactions of the users
    array([1, 2])
    """
    interactions = as_interactions(R, **columns)
    if not interactions.nnz:
        raise ValueError(f"R of shape {interactions.shape} has no interactions to count")
    if axes is not None and len(axes) != 2:
        raise ValueError(f"axes must be two, one for users and one for items, got {len(axes)}")
    of_users, of_items = _new_axes(2) if axes is None else axes
    for ax, cells, name in ((of_users, interactions.by_user, "user"), (of_items, interactions.by_item, "item")):
        counts = np.sort(cells.counts[cells.counts > 0])
        ax.plot(counts, np.arange(len(counts), 0, -1), drawstyle="steps-pre")
        _quiet(ax).set(
            xscale="log",
            yscale="log",
            xlabel=f"interactions of the {name}",
            ylabel=f"{name}s with at least as many",
            title=f"{len(counts):,} {name}s, median {np.median(counts):,.6g}",
        )
        _whole_numbers(ax.xaxis, counts[-1] / counts[0])
        _whole_numbers(ax.yaxis, len(counts))
    return of_users, of_items


def _whole_numbers(axis: Any, span: float) -> None:
    """Write 1, 10, 100 at a logarithmic axis, and 2 and 5 between where it is short, or even steps."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    places = LogLocator(subs=(1, 2, 5) if span < 1000 else (1,))
    axis.set_major_locator(MaxNLocator(5, integer=True) if span < 3 else places)
    axis.set_major_formatter("{x:,.0f}")
    axis.set_minor_formatter(NullFormatter())


def cutoffs(
    *evaluations: Evaluation,
    metric: str | None = None,
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a ranking metric against the length k of the lists, with its 95% interval.

    Parameters
    ----------
    *evaluations : Evaluation
        Results of `evaluate` or a function like it with several `k`.
    metric : str, optional
        Which metric of `RANKING_METRICS` to draw; by default the first that all have.
    labels : list of str, optional
        One for each evaluation. By default "evaluation 1" and so on if there are several.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Lines are averages over users; bands are their bootstrap intervals.

    Raises
    ------
    ValueError
        No evaluation, a metric that one does not have, or a number of labels other than that of the evaluations.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from fastals.evaluation import Popularity, evaluate
    >>> from fastals.plots import cutoffs
    >>> train, test = [[1, 0, 0], [1, 1, 0], [0, 0, 1]], [[0, 1, 0], [0, 0, 1], [0, 1, 0]]
    >>> found = evaluate(Popularity().fit(train), test, k=[1, 2], metrics=["recall"])
    >>> ax = cutoffs(found, ax=Figure().subplots())
    >>> ax.get_lines()[0].get_xdata().tolist(), ax.get_ylabel()
    ([1, 2], 'recall')
    """
    names = _series(evaluations, labels, "evaluation")
    lengths: list[dict[str, list[int]]] = [{} for _ in evaluations]
    for found, of_metric in zip(evaluations, lengths, strict=True):
        for key in found.per_user:
            name, _, k = key.partition("@")
            of_metric.setdefault(name, []).append(int(k))
    common = [name for name in RANKING_METRICS if all(name in of_metric for of_metric in lengths)]
    if metric is None and common:
        metric = common[0]
    if metric not in common:
        raise ValueError(f"not all evaluations have the metric {metric!r}: choose from {', '.join(common) or 'none'}")
    ax = _quiet(_axes(ax))
    for found, of_metric, label in zip(evaluations, lengths, names, strict=True):
        ks = sorted(of_metric[metric])
        keys = [f"{metric}@{k}" for k in ks]
        (line,) = ax.plot(ks, [found.overall[key] for key in keys], marker=".", label=label)
        bounds = np.array([found.interval(key) for key in keys])
        ax.fill_between(ks, bounds[:, 0], bounds[:, 1], color=line.get_color(), alpha=0.2, linewidth=0)
    ks = sorted({k for of_metric in lengths for k in of_metric[metric]})
    ax.set_xscale("log")
    ax.set_xticks(ks, [str(k) for k in ks])
    ax.set_xticks([], minor=True)
    word = _word(metric)
    title = f"{word[0].upper()}{word[1:]} by length of list, with 95% intervals"
    ax.set(xlabel="length k of the list", ylabel=word, title=title)
    if len(evaluations) > 1 or labels is not None:
        ax.legend()
    return ax


def _word(metric: str) -> str:
    """Return a metric's name as people write it: "ndcg@10" is "NDCG@10"."""
    name, at, cutoff = metric.partition("@")
    return WORDS.get(name, name.replace("_", " ")) + at + cutoff


def heat_map(
    search: SearchResult | Mapping[str, Sequence[Any] | np.ndarray],
    x: str,
    y: str,
    value: str = "score",
    *,
    best: Literal["max", "min"] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the result of a search as a map of two parameters, with the best cell in a frame.

    Parameters
    ----------
    search : SearchResult, or dict of str to array
        What a search found, or a table like its `table`.
    x, y : str
        Columns of the two parameters.
    value : str, default "score"
        The column that is coloured and written. The score has the name of the metric.
    best : {"max", "min"}, optional
        Which candidate to show of those that agree in `x` and `y` and differ in other parameters, and which cell to
        mark. By default "min" for the metrics of which lower is better, and else "max".
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default on a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Pairs without a score stay blank.

    Raises
    ------
    ValueError
        The table does not have a column.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from fastals.plots import heat_map
    >>> table = {"factors": [16, 32], "alpha": [1.0, 1.0], "score": [0.25, 0.5]}
    >>> [text.get_text() for text in heat_map(table, "factors", "alpha", ax=Figure().subplots()).texts]
    ['0.25', '0.5']
    """
    label, usual = value, "max"
    if isinstance(search, SearchResult):
        table: Mapping[str, Any] = search.table
        if value == "score":
            label, usual = _word(search.metric), "min" if search.metric in LOWER_IS_BETTER else "max"
    else:
        table = search
    highest = check_option("best", best or usual, ("max", "min")) == "max"
    for name in (x, y, value):
        if name not in table:
            raise ValueError(f"the table has no column {name!r}: choose from {', '.join(table)}")
    take = np.fmax if highest else np.fmin
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
    ax.set(xlabel=x, ylabel=y, title=label)
    if np.isfinite(cells).any():
        place = int(np.nanargmax(cells) if highest else np.nanargmin(cells))
        _frame(ax, *divmod(place, len(columns)))
        ax.set_title(f"{label}, {'highest' if highest else 'lowest'} in the frame")
    ax.figure.colorbar(image, ax=ax, label=label)
    return ax


def _frame(ax: Axes, row: int, column: int) -> None:
    """Draw a frame around a cell of a heat map, visible on light and dark."""
    from matplotlib.patches import Rectangle

    for width, colour in ((4.0, "white"), (2.0, "crimson")):
        ax.add_patch(
            Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=colour, linewidth=width, clip_on=False)
        )


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
    return _new_axes(1)[0] if ax is None else ax


def _new_axes(n: int) -> np.ndarray:
    """Return axes side by side on a new figure."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("fastals.plots needs matplotlib: pip install 'fastals[plots]'") from error
    width, height = plt.rcParams["figure.figsize"]
    return plt.subplots(1, n, layout="constrained", squeeze=False, figsize=(width * (1 + n) / 2, height))[1][0]
