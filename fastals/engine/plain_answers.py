"""Losses and rankings in plain NumPy: what answers where the plain engine serves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .blas import one_blas_thread
from .equations import BLOCK, entries, gram
from .loss import of_shifts, ridge
from .model import Model
from .problem import BACKGROUND, widened
from .shifts import biases_as_offsets, on_panel
from .topk import Lists


def loss(model: Model) -> float:
    """Return the objective of the panels, in float64: that of each observed entry, the background, both ridges."""
    problem, X, Y = model.users, model.X[:, : model.width], model.Y[:, : model.width]
    total = ridge(problem, X) + ridge(model.items, Y)
    with biases_as_offsets(problem, model.Y, model.bias):
        for start in range(0, len(X), BLOCK):
            end = min(start + BLOCK, len(X))
            part = problem._replace(cells=problem.cells.part(start, end), rows=problem.rows[start:end])
            found = entries(part)
            x, y = np.repeat(X[start:end], part.cells.counts, axis=0), Y[part.cells.indices]
            predicted = np.einsum("nk,nk->n", x, y, dtype=np.float64)
            total += (found.constant + (found.w * predicted - 2 * found.b) * predicted).sum()
        background = gram(X, problem.rows[:, BACKGROUND]) * gram(Y, problem.columns[:, BACKGROUND])
        total += of_shifts(on_panel(widened(problem), Y), X)
    return float(total + background.sum())


class Columns(NamedTuple):
    """What `top_n` ranks: the product with a row's factors, plus an offset, -inf for what is left out for all."""

    factors: np.ndarray  # T (n, k)
    offsets: np.ndarray  # T (n,)

    @property
    def shape(self) -> tuple[int, int]:
        """Columns and factors."""
        n, k = self.factors.shape
        return n, k

    def less(self, barred: np.ndarray) -> Columns:
        """Return them without those that are True in `barred`, shape (n,)."""
        return self._replace(offsets=np.where(barred, -np.inf, self.offsets).astype(self.offsets.dtype))


def top_n(
    X: np.ndarray,
    columns: Columns,
    n: int,
    rows: np.ndarray,
    row_offsets: np.ndarray | None,
    excluded: tuple[Lists, ...],
    allowed: Lists | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and scores of the `n` best columns of each row, as `topk.top_n`.

    A row's scores are one product of a matrix and a vector: its ids and bits do not depend on which others are asked.
    """
    ids, scores = np.full((len(rows), n), -1, np.int32), np.full((len(rows), n), -np.inf, X.dtype)
    for place, u in enumerate(rows):
        with one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
            offsets = columns.offsets if row_offsets is None else row_offsets[place] + columns.offsets
            found = np.fmax(columns.factors @ X[u] + offsets, X.dtype.type(-np.inf))  # what is not a number is no score
        for lists in excluded:
            found[_listed(lists, place)] = -np.inf
        if allowed is not None:
            found[np.setdiff1d(np.arange(len(found)), _listed(allowed, place))] = -np.inf
        least = np.partition(found, -n)[-n] if n < len(found) else -np.inf
        best = np.flatnonzero((found >= least) & (found > -np.inf))
        best = best[np.argsort(-found[best], kind="stable")][:n]
        ids[place, : len(best)], scores[place, : len(best)] = best, found[best]
    return ids, scores


def _listed(lists: Lists, place: int) -> np.ndarray:
    row = lists.rows[place if len(lists.rows) > 1 else 0]
    return lists.indices[lists.indptr[row] : lists.indptr[row + 1]]
