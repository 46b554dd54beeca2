"""`implicit.evaluation`: its splits and its ranking metrics, by the same names.

The metrics have the definitions of `implicit`. Two of them differ from what their names usually mean:

- "precision" is the number of hits divided by the sum over users of min(K, relevant items). Textbooks divide by K.
  `fastals.evaluation` has the same ratio for one user as "capped_recall".
- "auc" counts every item that is not relevant as irrelevant, also the items of the training set.

`fastals.evaluation.ranking_metrics` has the usual definitions.

How this module differs from `implicit`:

- Items that are left out (observed in training) and places after the last item count as empty. In `implicit` they
  count as misses, and a `K` above the number of items gives a precision above 1.
- A test entry of 0 or below is not relevant. In `implicit` every stored entry is relevant.
- "auc" leaves out users without an irrelevant item, for whom it is 0 / 0.
- `leave_k_out_split` takes exactly K entries of each user that it takes from, with their values, in any order of the
  entries. The same `random_state` takes the same entries. In `implicit` entries that are not sorted by user get lost
  or summed, and a part of the draw ignores the seed.
- Matrices may have 64-bit indices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from ...data.interactions import MatrixLike, as_interactions
from ...evaluation import user_ranking_metrics
from ...evaluation.lists import mean
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
    """Split entries at random into training and test, as `implicit` does for the same seed.

    Parameters
    ----------
    ratings : sparse matrix, shape (n_users, n_items)
    train_percentage : float, default 0.8
        Probability of an entry to be used for training, from 0 to 1.
    random_state : int, numpy.random.Generator, RandomState, SeedSequence or None

    Returns
    -------
    train, test : csr_matrix, of the shape and dtype of `ratings`
        Test entries of 0 or below are left out.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> train, test = train_test_split(csr_matrix([[1, 2], [3, 4]]), 0.5, random_state=0)
    >>> train.nnz + test.nnz
    4
    """
    share = check_number("train_percentage", train_percentage, 0.0)
    if share > 1:
        raise ValueError(f"train_percentage is a share from 0 to 1, got {train_percentage!r}")
    entries = _as_coo(ratings)
    train = check_random_state("random_state", random_state).random(entries.nnz) < share
    return _pick(entries, train), _pick(entries, ~train & (entries.data > 0))


def leave_k_out_split(
    ratings: Any, K: int = 1, train_only_size: float = 0.0, random_state: Any = None
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Hold out `K` random entries of each user with more than K + 1 entries.

    Parameters
    ----------
    ratings : sparse matrix, shape (n_users, n_items)
    K : int, default 1
    train_only_size : float, default 0.0
        Share of the users with entries of whom nothing is held out, from 0 to below 1.
    random_state : int, numpy.random.Generator, RandomState, SeedSequence or None

    Returns
    -------
    train, test : csr_matrix, of the shape and dtype of `ratings`

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> train, test = leave_k_out_split(csr_matrix([[1, 2, 3], [0, 4, 0]]), K=1, random_state=0)
    >>> train.getnnz(axis=1).tolist(), test.getnnz(axis=1).tolist()
    ([2, 1], [1, 0])
    """
    K = check_integer("K", K, 1)
    share = check_number("train_only_size", train_only_size, 0.0)
    if share >= 1:
        raise ValueError(f"train_only_size is a share from 0 to below 1, got {train_only_size!r}")
    entries, rng = _as_coo(ratings), check_random_state("random_state", random_state)
    counts = np.bincount(entries.row, minlength=entries.shape[0])
    if share > 0:
        users = np.flatnonzero(counts)
        counts[rng.choice(users, max(1, int(len(users) * share)), replace=False)] = 0
    # Order the entries of each user at random; `place` is the position of an entry among those of its user.
    order = np.lexsort((rng.random(entries.nnz), entries.row))
    place = np.empty(entries.nnz, np.intp)
    place[order] = np.arange(entries.nnz) - np.searchsorted(entries.row[order], entries.row[order])
    test = (counts[entries.row] > K + 1) & (place < K)
    return _pick(entries, ~test), _pick(entries, test)


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
        Items that are not recommended.
    test_user_items : sparse matrix, shape (n_users, n_items)
        Entries above 0 are relevant.
    K : int, default 10
    show_progress : bool, default True
        Show a progress bar where tqdm is installed, else log lines to the logger "fastals".
    num_threads : int, default 1
        Has no effect: `recommend` uses the threads of the model.

    Returns
    -------
    dict of str -> float
        "precision", "map", "ndcg" and "auc"; the top of this module defines them.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> from fastals.compat.implicit.als import AlternatingLeastSquares
    >>> train = csr_matrix([[1, 1, 0, 0], [1, 0, 0, 1], [1, 1, 1, 0]])
    >>> test = csr_matrix([[0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    >>> model = AlternatingLeastSquares(2, random_state=0)
    >>> model.fit(train, show_progress=False)
    >>> sorted(ranking_metrics_at_k(model, train, test, K=2, show_progress=False))
    ['auc', 'map', 'ndcg', 'precision']
    """
    K = check_integer("K", K, 1)
    check_integer("num_threads", num_threads, 0)
    if not callable(getattr(model, "recommend", None)):
        raise TypeError(f"model must have a method recommend, got {type(model).__name__}")
    train = sparse.csr_matrix(as_interactions(train_user_items, name="train_user_items").csr)
    relevant = as_interactions(test_user_items, name="test_user_items").csr.copy()
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
        "auc": mean(metrics["auc"][users]),
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
        As in `ranking_metrics_at_k`.

    Returns
    -------
    float

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> from fastals.compat.implicit.als import AlternatingLeastSquares
    >>> train, test = csr_matrix([[1, 1, 0], [1, 0, 1]]), csr_matrix([[0, 0, 1], [0, 1, 0]])
    >>> model = AlternatingLeastSquares(2, random_state=0)
    >>> model.fit(train, show_progress=False)
    >>> precision_at_k(model, train, test, K=1, show_progress=False)
    1.0
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
        As in `ranking_metrics_at_k`.

    Returns
    -------
    float

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> from fastals.compat.implicit.als import AlternatingLeastSquares
    >>> train, test = csr_matrix([[1, 1, 0], [1, 0, 1]]), csr_matrix([[0, 0, 1], [0, 1, 0]])
    >>> model = AlternatingLeastSquares(2, random_state=0)
    >>> model.fit(train, show_progress=False)
    >>> mean_average_precision_at_k(model, train, test, K=1, show_progress=False)
    1.0
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
        As in `ranking_metrics_at_k`.

    Returns
    -------
    float

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> from fastals.compat.implicit.als import AlternatingLeastSquares
    >>> train, test = csr_matrix([[1, 1, 0], [1, 0, 1]]), csr_matrix([[0, 0, 1], [0, 1, 0]])
    >>> model = AlternatingLeastSquares(2, random_state=0)
    >>> model.fit(train, show_progress=False)
    >>> ndcg_at_k(model, train, test, K=1, show_progress=False)
    1.0
    """
    return ranking_metrics_at_k(model, train_user_items, test_user_items, K, show_progress, num_threads)["ndcg"]


def AUC_at_k(  # noqa: N802 - its name in `implicit`
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
        As in `ranking_metrics_at_k`.

    Returns
    -------
    float

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> from fastals.compat.implicit.als import AlternatingLeastSquares
    >>> train, test = csr_matrix([[1, 1, 0], [1, 0, 1]]), csr_matrix([[0, 0, 1], [0, 1, 0]])
    >>> model = AlternatingLeastSquares(2, random_state=0)
    >>> model.fit(train, show_progress=False)
    >>> AUC_at_k(model, train, test, K=1, show_progress=False)
    1.0
    """
    return ranking_metrics_at_k(model, train_user_items, test_user_items, K, show_progress, num_threads)["auc"]


def _as_coo(ratings: Any) -> sparse.coo_matrix:
    if not sparse.issparse(ratings):
        raise TypeError(f"ratings must be a SciPy sparse matrix, got {type(ratings).__name__}")
    return sparse.coo_matrix(ratings)


def _pick(entries: sparse.coo_matrix, chosen: np.ndarray) -> sparse.csr_matrix:
    places = entries.row[chosen], entries.col[chosen]
    return sparse.csr_matrix((entries.data[chosen], places), shape=entries.shape, dtype=entries.dtype)
