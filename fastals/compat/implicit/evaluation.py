"""`implicit.evaluation`: its splits and its ranking metrics, by the same names.

The metrics keep their definitions, some of which have other names elsewhere:

- "precision" is hits / sum over users of min(K, relevant items): what `fastals.evaluation` calls "capped_recall", but
  summed over users before dividing. Textbooks divide by K.
- "auc" counts every item that is not relevant as irrelevant, those of the training set too.

`fastals.evaluation.ranking_metrics` has the others.

Differences, and why:

- Items that are left out (seen in training) and places beyond the last item count as empty. There they are misses, and
  a `K` above the number of items gives a precision above 1.
- A test cell of 0 or below is not relevant; there every stored cell is.
- "auc" leaves out users without an irrelevant item, for whom it is 0 / 0.
- `leave_k_out_split` takes exactly K cells of each user that it takes from, with their values, whatever the order of
  the cells, and the same ones for the same `random_state`. There cells not in the order of users get lost or added up,
  and the seed does not reach all of the draw.
- Matrices may have 64-bit indices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from ...data.interactions import MatrixLike, as_named_interactions
from ...evaluation import user_ranking_metrics
from ...progress import Progress
from ...validation import check_flag, check_integer, check_number, check_random_state

__all__ = [
    "AUC_at_k",
    "leave_k_out_split",
    "mean_average_precision_at_k",
    "ndcg_at_k",
    "precision_at_k",
    "ranking_metrics_at_k",
    "train_test_split",
]

BATCH = 1000  # users recommended for at once


def train_test_split(
    ratings: Any, train_percentage: float = 0.8, random_state: Any = None
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Split cells at random, each by a draw of its own; the split of `implicit` for the same seed.

    Parameters
    ----------
    ratings : sparse matrix
    train_percentage : float, default 0.8
        Share, from 0 to 1, of the cells for training.
    random_state : int, numpy.random.Generator, RandomState, SeedSequence or None

    Returns
    -------
    train, test : csr_matrix, of the shape and dtype of `ratings`
        Test cells of 0 or below are left out.
    """
    share = check_number("train_percentage", train_percentage, 0.0)
    if share > 1:
        raise ValueError(f"train_percentage is a share from 0 to 1, got {train_percentage!r}")
    cells = _as_coo(ratings)
    train = check_random_state("random_state", random_state).random(cells.nnz) < share
    return _pick(cells, train), _pick(cells, ~train & (cells.data > 0))


def leave_k_out_split(
    ratings: Any, K: int = 1, train_only_size: float = 0.0, random_state: Any = None
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Hold out `K` random cells of each user with more than K + 1 of them.

    Parameters
    ----------
    ratings : sparse matrix
    K : int, default 1
    train_only_size : float, default 0.0
        Share, below 1, of the users that have a cell who keep all of theirs for training.
    random_state : int, numpy.random.Generator, RandomState, SeedSequence or None

    Returns
    -------
    train, test : csr_matrix, of the shape and dtype of `ratings`
    """
    K = check_integer("K", K, 1)
    share = check_number("train_only_size", train_only_size, 0.0)
    if share >= 1:
        raise ValueError(f"train_only_size is a share from 0 to below 1, got {train_only_size!r}")
    cells, rng = _as_coo(ratings), check_random_state("random_state", random_state)
    counts = np.bincount(cells.row, minlength=cells.shape[0])
    if share > 0:
        users = np.flatnonzero(counts)
        counts[rng.choice(users, max(1, int(len(users) * share)), replace=False)] = 0
    # Cells of each user in random order; the place of a cell in it.
    order = np.lexsort((rng.random(cells.nnz), cells.row))
    place = np.empty(cells.nnz, np.intp)
    place[order] = np.arange(cells.nnz) - np.searchsorted(cells.row[order], cells.row[order])
    test = (counts[cells.row] > K + 1) & (place < K)
    return _pick(cells, ~test), _pick(cells, test)


def ranking_metrics_at_k(
    model: Any,
    train_user_items: Any,
    test_user_items: MatrixLike,
    K: int = 10,
    show_progress: bool = True,
    num_threads: int = 1,
) -> dict[str, float]:
    """Return precision, MAP, NDCG and AUC of the first `K` recommendations, averaged over the users with test items.

    Parameters
    ----------
    model : object with `recommend` as `implicit` has it
    train_user_items : csr_matrix, shape (n_users, n_items)
        Left out of the recommendations.
    test_user_items : sparse matrix, shape (n_users, n_items)
        Cells above 0 are relevant.
    K : int, default 10
    show_progress : bool, default True
        Show a bar (tqdm, where installed), or log lines at level INFO to the logger "fastals".
    num_threads : int, default 1
        Changes nothing: `recommend` uses the model's own, and the rest takes no time.

    Returns
    -------
    dict of str -> float
        "precision", "map", "ndcg", "auc"; see the top of this module for what they are.
    """
    K = check_integer("K", K, 1)
    check_integer("num_threads", num_threads, 0)
    if not callable(getattr(model, "recommend", None)):
        raise TypeError(f"model must have a method recommend, got {type(model).__name__}")
    train = sparse.csr_matrix(as_named_interactions("train_user_items", train_user_items).csr)
    relevant = as_named_interactions("test_user_items", test_user_items).csr.copy()
    if relevant.shape != train.shape:
        raise ValueError(
            f"train_user_items has shape {train.shape} and test_user_items {relevant.shape}: one is wanted"
        )
    relevant.data = np.maximum(relevant.data, 0)
    relevant.eliminate_zeros()
    counts = np.diff(relevant.indptr)
    users = np.flatnonzero(counts)
    ids = np.full((relevant.shape[0], K), -1)
    n = min(K, relevant.shape[1])
    starts = range(0, len(users), BATCH)
    bar = Progress(len(starts), "batch") if check_flag("show_progress", show_progress) else None
    for number, start in enumerate(starts):
        batch = users[start : start + BATCH]
        found, scores = model.recommend(batch, train[batch], N=n)
        ids[batch, :n] = np.where(scores > np.finfo(np.float32).min, found, -1)
        if bar is not None:
            bar(number)
    if bar is not None:
        bar.close()
    metrics = user_ranking_metrics(ids, relevant, metrics=("capped_recall", "map", "ndcg", "auc"))
    most = np.minimum(counts[users], K)
    return {
        "precision": float(metrics["capped_recall"][users] @ most / most.sum()),
        "map": float(metrics["map"][users].mean()),
        "ndcg": float(metrics["ndcg"][users].mean()),
        "auc": _mean_where_defined(metrics["auc"][users]),
    }


def precision_at_k(
    model: Any,
    train_user_items: Any,
    test_user_items: MatrixLike,
    K: int = 10,
    show_progress: bool = True,
    num_threads: int = 1,
) -> float:
    """Return "precision" of `ranking_metrics_at_k`.

    Parameters
    ----------
    model, train_user_items, test_user_items, K, show_progress, num_threads
        As there.
    """
    return ranking_metrics_at_k(model, train_user_items, test_user_items, K, show_progress, num_threads)["precision"]


def mean_average_precision_at_k(
    model: Any,
    train_user_items: Any,
    test_user_items: MatrixLike,
    K: int = 10,
    show_progress: bool = True,
    num_threads: int = 1,
) -> float:
    """Return "map" of `ranking_metrics_at_k`.

    Parameters
    ----------
    model, train_user_items, test_user_items, K, show_progress, num_threads
        As there.
    """
    return ranking_metrics_at_k(model, train_user_items, test_user_items, K, show_progress, num_threads)["map"]


def ndcg_at_k(
    model: Any,
    train_user_items: Any,
    test_user_items: MatrixLike,
    K: int = 10,
    show_progress: bool = True,
    num_threads: int = 1,
) -> float:
    """Return "ndcg" of `ranking_metrics_at_k`.

    Parameters
    ----------
    model, train_user_items, test_user_items, K, show_progress, num_threads
        As there.
    """
    return ranking_metrics_at_k(model, train_user_items, test_user_items, K, show_progress, num_threads)["ndcg"]


def AUC_at_k(  # noqa: N802 - its name there
    model: Any,
    train_user_items: Any,
    test_user_items: MatrixLike,
    K: int = 10,
    show_progress: bool = True,
    num_threads: int = 1,
) -> float:
    """Return "auc" of `ranking_metrics_at_k`.

    Parameters
    ----------
    model, train_user_items, test_user_items, K, show_progress, num_threads
        As there.
    """
    return ranking_metrics_at_k(model, train_user_items, test_user_items, K, show_progress, num_threads)["auc"]


def _as_coo(ratings: Any) -> sparse.coo_matrix:
    if not sparse.issparse(ratings):
        raise TypeError(f"ratings must be a SciPy sparse matrix, got {type(ratings).__name__}")
    return sparse.coo_matrix(ratings)


def _pick(cells: sparse.coo_matrix, chosen: np.ndarray) -> sparse.csr_matrix:
    places = cells.row[chosen], cells.col[chosen]
    return sparse.csr_matrix((cells.data[chosen], places), shape=cells.shape, dtype=cells.dtype)


def _mean_where_defined(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
