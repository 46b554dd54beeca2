"""From factors to answers: scores of pairs, and the best items of each user."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .engine import topk
from .engine.panel import as_panel
from .engine.problem import Cells

__all__ = ["Scores", "pair_scores", "top_n"]

PAIRS = 65_536  # pairs at once: keeps the two gathered blocks within the cache


class Scores(NamedTuple):
    """What makes a prediction: `mean + user_biases[u] + item_biases[i] + user_factors[u].item_factors[i]`."""

    user_factors: np.ndarray  # T (n_users, k)
    item_factors: np.ndarray  # T (n_items, k)
    user_biases: np.ndarray | None  # T (n_users,)
    item_biases: np.ndarray | None  # T (n_items,)
    mean: float


def pair_scores(scores: Scores, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return the prediction of each pair (users[i], items[i]), shape (n_pairs,)."""
    out = np.empty(len(users), scores.item_factors.dtype)
    for start in range(0, len(users), PAIRS):
        pairs = slice(start, start + PAIRS)
        u, i = users[pairs], items[pairs]
        out[pairs] = np.einsum("nk,nk->n", scores.user_factors[u], scores.item_factors[i])
        if scores.item_biases is not None and scores.user_biases is not None:
            out[pairs] += scores.user_biases[u] + scores.item_biases[i] + scores.mean
    return out


def top_n(scores: Scores, users: np.ndarray, seen: Cells, n: int, n_threads: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and scores of the `n` best items of each user that are not among the user's `seen` cells.

    Returns
    -------
    ids : ndarray of int32, shape (len(users), n)
        By falling score, ties by lower id; -1 where fewer remain.
    scores : ndarray, same shape
        -inf beside -1.
    """
    # A bias is one more factor against a column of ones; the user's own bias shifts all scores alike.
    X, Y = scores.user_factors[users], scores.item_factors
    if scores.item_biases is not None and scores.user_biases is not None:
        X, Y = as_panel(X, np.ones(len(users))), as_panel(Y, scores.item_biases)
    ids, best = topk.top_n(X, Y, seen.indptr, seen.indices, users, n, n_threads)
    if scores.user_biases is not None:
        best += (scores.user_biases[users] + best.dtype.type(scores.mean))[:, None]
    return ids, best
