"""The pictures of the main job: one for each of its tables."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import demo, plots
from ..demo_data import Data
from ..evaluation import Evaluation
from ..models import ImplicitALS

MISSING = "No pictures: matplotlib is not installed (pip install 'fastals[plots]')"


def degrees(data: Data) -> bytes | None:
    """Draw how many items users like, and how many users like an item."""
    return _drawn(lambda figure: plots.degrees(demo.ones(data.liked), axes=figure.subplots(1, 2)), width=8.0)


def ranking(found: dict[str, Evaluation]) -> bytes | None:
    """Draw the recall of each model against the length of the list."""
    return _drawn(
        lambda figure: plots.cutoffs(*found.values(), metric="recall", labels=list(found), ax=figure.subplots())
    )


def ratings(found: dict[str, np.ndarray]) -> bytes | None:
    """Draw the root mean squared error of each model, with its standard error."""

    def paint(figure: Any) -> None:
        ax, average = figure.subplots(), [demo.root_mean_square(missed) for missed in found.values()]
        ax.barh(list(found), [error for error, _ in average], xerr=[of_error for _, of_error in average], height=0.5)
        for place, (error, _) in enumerate(average):
            ax.text(error / 2, place, f"{error:.3f}", ha="center", va="center", color="white")
        ax.invert_yaxis()
        ax.set(xlabel="root mean squared error of held-out ratings", title="Smaller is better")

    return _drawn(paint)


def items(data: Data, model: ImplicitALS) -> bytes | None:
    """Draw the items in the plane of their two main directions."""
    names = [demo.title(data, item) for item in data.item_ids]
    return _drawn(
        lambda figure: plots.embedding(model, demo.ones(data.liked), n_labels=8, names=names, ax=figure.subplots())
    )


def _drawn(paint: Callable[[Any], Any], width: float = 6.0) -> bytes | None:
    """Return a picture as a PNG file, or None without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure, file = Figure(figsize=(width, 4.2), layout="constrained"), io.BytesIO()
    paint(figure)
    figure.savefig(file, format="png", dpi=150)
    return file.getvalue()
