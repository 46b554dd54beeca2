"""Figures that three texts about ALS publish, and what the models of this library reach on the same splits.

The data are MovieLens 100K. The texts are:

- "Alternating Least Squares (ALS)", notes on implicit feedback with the package `implicit` (2024), here "ALS notes";
- "Terse Alternating Least Squares Implementation" (2022), whose NumPy loop for weighted ALS is widely copied, here "the
  NumPy loop";
- an introduction to ALS with a 4 x 4 matrix to fill in, without figures.

Each experiment is a function that returns a table as data; `fastals demo --published` prints them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from scipy import sparse

from .compat.wals import als_with_regularization, exponential_weight_fn, linear_weight_fn, weighted_als
from .data.splits import Ties
from .datasets import Interactions, fetch_movielens, split_by_time, split_leave_last_out
from .engine.threads import available
from .evaluation import GlobalMean, ItemBias, Popularity, Random, ranking_metrics, rmse, sign_accuracy
from .models import ExplicitALS, ImplicitALS
from .report import Cell, Table

# What the ALS notes train with.
PUBLISHED_IMPLICIT: dict[str, Any] = {
    "factors": 64,
    "alpha": 10.0,
    "regularization": 0.001,
    "unobserved_weight": 1.0,
    "popularity_exponent": 0.0,
    "regularization_exponent": 0.0,
    "iterations": 20,
}
# What `python -m bench.tune` found on validation splits of the training part; the test entries had no part in it.
TUNED_IMPLICIT: dict[str, Any] = {
    "factors": 128,
    "alpha": 0.0,
    "unobserved_weight": 0.1,
    "regularization": 0.03,
    "popularity_exponent": 0.5,
    "regularization_exponent": 1.0,
    "iterations": 16,
}
TUNED_RATINGS: dict[str, Any] = {
    "factors": 20,
    "regularization": (2.5, 0.86),
    "regularization_exponent": 0.5,
    "iterations": 5,
}
TUNED_SIGNS: dict[str, Any] = {
    "factors": 5,
    "regularization": (17.0, 1.3),
    "regularization_exponent": 0.0,
    "iterations": 5,
}
# What the article on the NumPy loop trains with, on ratings and on signs.
PUBLISHED_RATINGS: dict[str, Any] = {"rank": 10, "iters": 100, "reg": 1.5}
PUBLISHED_SIGNS: dict[str, Any] = {"rank": 10, "iters": 100, "reg": 10.0}

POSITIVE = 4.0  # ratings from here on are positive
TIES: tuple[Ties, ...] = ("file", "first", "item", "item_descending")
STARTS = range(5)  # seeds whose results are averaged
TEST_SHARE, FEWEST_TRAIN_RATINGS = 0.2, 10
LOOP_CELLS = 10_000_000  # of the dense matrix that the NumPy loop works on: 40 MB, three times over
OUR_RUNS = 9
EXAMPLE = ((5, 3, None, 1), (4, None, 2, 1), (None, 4, 5, 3), (1, 1, None, 5))

Matrix: TypeAlias = sparse.csr_array
Predict: TypeAlias = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Temporal(NamedTuple):
    """The latest ratings held out, of users with enough earlier ones."""

    train: Interactions
    test: Interactions
    test_known: Interactions  # less the items without a rating in train


class Data(NamedTuple):
    """Interactions and both splits of them."""

    ratings: Interactions
    held_out: dict[str, tuple[Interactions, Interactions]]  # by rule for ties: train and test, positive ratings only
    temporal: Temporal


def load() -> Data:
    """Read MovieLens 100K, downloading it where it is not there, and split it."""
    return prepare(fetch_movielens("100k"))


def prepare(ratings: Interactions) -> Data:
    """Split ratings with times as the published experiments do."""
    return Data(ratings, {ties: leave_last_positive_out(ratings, ties) for ties in TIES}, temporal(ratings))


def leave_last_positive_out(ratings: Interactions, ties: Ties) -> tuple[Interactions, Interactions]:
    """Hold out the last positive rating of each user.

    Parameters
    ----------
    ratings : Interactions
    ties : str
        See `fastals.datasets.split_leave_last_out`.

    Returns
    -------
    train, test : Interactions
        Positive ratings only.
    """
    return split_leave_last_out(ratings.select(ratings.values >= POSITIVE), ties=ties)


def ones(ratings: Interactions) -> Matrix:
    """Return the matrix that stores 1 for each rating."""
    return ratings.matrix(np.ones(len(ratings)))


def temporal(ratings: Interactions) -> Temporal:
    """Hold out the latest fifth of the ratings, of users with at least 10 before."""
    train, test = split_by_time(ratings, TEST_SHARE)
    n_users, n_items = ratings.shape
    test = test.select(np.bincount(train.users, minlength=n_users)[test.users] >= FEWEST_TRAIN_RATINGS)
    known = test.select(np.bincount(train.items, minlength=n_items)[test.items] > 0)
    return Temporal(train, test, known)


def tables(data: Data) -> Iterable[Table]:
    """Run the experiments one after another."""
    yield ranking(data)
    yield rating_errors(data)
    yield sign_accuracies(data)
    yield small_example()
    yield speed(data)


# --- ranking ---------------------------------------------------------------------------------------------------------


PUBLISHED_ALS = (0.1316, 0.0675)


def ranking(data: Data, ties: Sequence[str] = TIES) -> Table:
    """Compare recommenders by the rank of the one positive that each user had held out.

    Parameters
    ----------
    data : Data
    ties : sequence of str
        Rules for which of a user's ratings with the same time is the last: two columns for each.
    """
    models: list[tuple[str, Callable[[int], Any], float, float]] = [
        ("Random", lambda seed: Random(random_state=seed), 0.0096, 0.0036),
        ("Popularity", lambda _: Popularity(), 0.0817, 0.0399),
        ("ImplicitALS, as in the ALS notes", _implicit(PUBLISHED_IMPLICIT), *PUBLISHED_ALS),
        ("ImplicitALS, tuned", _implicit(TUNED_IMPLICIT), *PUBLISHED_ALS),
    ]
    rows: list[tuple[Cell, ...]] = []
    for name, make, *figures in models:
        scores = [ranking_scores(make, *data.held_out[rule]) for rule in ties]
        rows.append((name, *figures, *(number for pair in scores for number in pair)))
    n_test_users = len(data.held_out["file"][1])
    # Recall is 0 or 1 for each user, who has one held-out item.
    recall = rows[-1][3]
    error = np.sqrt(recall * (1 - recall) / n_test_users) if isinstance(recall, float) else np.nan
    return Table(
        "ranking",
        "Implicit feedback: leave the last positive out",
        (
            "model",
            "R published",
            "N published",
            *(f"{metric} {rule.replace('item_descending', 'desc')}" for rule in ties for metric in ("R", "N")),
        ),
        rows,
        f"R is Recall@10, N is NDCG@10 over {n_test_users} users with one held-out item each, all items ranked less "
        f"the user's training positives; mean of {len(STARTS)} starts. Many ratings of a user have the same time, and "
        "a rule says which of these is the last: the last in the file, the first, the one with the highest item id, or "
        "the lowest (desc). The ALS notes, where the published figures are from, do not say which they used. "
        f"The standard error of R in the last row is {error:.3f}.",
    )


def _implicit(parameters: dict[str, Any]) -> Callable[[int], ImplicitALS]:
    return lambda seed: ImplicitALS(**parameters, random_state=seed)


def ranking_scores(
    make: Callable[[int], Any], train: Interactions, test: Interactions, seeds: Iterable[int] = STARTS
) -> tuple[float, float]:
    """Return Recall@10 and NDCG@10, the mean over some starts.

    Parameters
    ----------
    make : callable seed -> model
    train, test : Interactions
        As from `leave_last_positive_out`.
    seeds : iterable of int
    """
    users = np.unique(test.users)
    R, held_out = ones(train), ones(test)[users]
    scores = []
    for seed in seeds:
        ids, _ = make(seed).fit(R).recommend(users, 10)
        metrics = ranking_metrics(ids, held_out, metrics=("recall", "ndcg"), train=R[users])
        scores.append((metrics["recall"], metrics["ndcg"]))
    recall, ndcg = np.mean(scores, axis=0)
    return float(recall), float(ndcg)


# --- ratings ---------------------------------------------------------------------------------------------------------


def rating_errors(data: Data) -> Table:
    """Compare predictions of the latest ratings by their root mean squared error."""
    train = data.temporal.train.matrix()
    published = PUBLISHED_RATINGS
    weaker = {"weight_fn": lambda counts: linear_weight_fn(counts, w0=0.5, wk=0.2)}
    models: list[tuple[str, list[Predict], float | None, float | None]] = [
        ("GlobalMean", [GlobalMean().fit(train).predict], 1.1280, None),
        ("ItemBias", [ItemBias().fit(train).predict], 1.0298, None),
        ("plain ALS, zeros are data", [_loop(als_with_regularization, train, **published)], 3.1226, None),
        ("WALS, linear weights", [_loop(weighted_als, train, **published)], 1.2019, None),
        ("WALS, linear weights w0=0.5 wk=0.2", [_loop(weighted_als, train, **weaker, **published)], 1.1760, None),
        ("Surprise SVD", [], None, 0.9774),
        (
            "ExplicitALS, biases, tuned",
            [model.predict for model in explicit_models(TUNED_RATINGS, train)],
            None,
            0.9774,
        ),
    ]
    return _temporal_table(
        data,
        "ratings",
        "Explicit ratings: the latest fifth held out, RMSE",
        rmse,
        models,
        lambda values: values,
        "WALS: rank 10, 100 iterations, ridge 1.5 and the start of the article, where the published figures are from.",
    )


def sign_accuracies(data: Data) -> Table:
    """Compare predictions of whether the latest ratings are positive."""
    train = data.temporal.train.matrix(signs(data.temporal.train.values))
    exponential = {"weight_fn": exponential_weight_fn}
    models: list[tuple[str, list[Predict], float | None, float | None]] = [
        ("GlobalMean", [GlobalMean().fit(train).predict], 0.5461, None),
        ("ItemBias", [ItemBias().fit(train).predict], 0.6703, None),
        ("plain ALS, zeros are data", [_loop(als_with_regularization, train, **PUBLISHED_SIGNS)], 0.6550, None),
        ("WALS, linear weights", [_loop(weighted_als, train, **PUBLISHED_SIGNS)], 0.5461, None),
        ("WALS, exponential weights", [_loop(weighted_als, train, **exponential, **PUBLISHED_SIGNS)], 0.5461, None),
        (
            "WALS, exponential weights, -1 kept",
            [_loop(weighted_als, train, **exponential, **PUBLISHED_SIGNS, zero_means_missing=False)],
            None,
            None,
        ),
        ("Surprise SVD", [], None, 0.6831),
        ("ExplicitALS, biases, tuned", [model.predict for model in explicit_models(TUNED_SIGNS, train)], None, 0.6831),
    ]
    return _temporal_table(
        data,
        "signs",
        "The same split, ratings as +1 (4 and 5) and -1: share of right signs",
        sign_accuracy,
        models,
        signs,
        "WALS: rank 10, 100 iterations and ridge 10, as in the article, where the published figures are from. The "
        "article's mask `R > 0` drops the ratings of -1, so WALS learns and predicts +1 everywhere; the row with -1 "
        "kept learns from them too.",
    )


def signs(values: np.ndarray) -> np.ndarray:
    """Return +1 for positive ratings and -1 for the others."""
    return np.where(values >= POSITIVE, 1.0, -1.0)


def _loop(function: Callable[..., Any], train: Matrix, **arguments: Any) -> Predict:
    """Return the predictions of a function that takes a matrix and gives factors first."""
    U, V, *_ = function(train, **arguments)
    return lambda users, items: np.einsum("nk,nk->n", U[users], V[items])


def explicit_models(parameters: dict[str, Any], train: Matrix, seeds: Iterable[int] = STARTS) -> list[ExplicitALS]:
    """Return one fitted model for each start.

    Parameters
    ----------
    parameters : dict
        Of ExplicitALS.
    train : csr_array, shape (n_users, n_items)
    seeds : iterable of int
    """
    return [ExplicitALS(**parameters, random_state=seed).fit(train) for seed in seeds]


def _temporal_table(
    data: Data,
    name: str,
    title: str,
    metric: Callable[[np.ndarray, np.ndarray], float],
    models: list[tuple[str, list[Predict], float | None, float | None]],
    target: Callable[[np.ndarray], np.ndarray],
    note: str,
) -> Table:
    """Measure each model on both sets of test rows; several predictions for one model are its starts."""
    tests = data.temporal.test, data.temporal.test_known
    rows: list[tuple[Cell, ...]] = []
    for model, predictions, *figures in models:
        row: list[Cell] = [model]
        for test, figure in zip(tests, figures, strict=True):
            scores = [metric(target(test.values), predict(test.users, test.items)) for predict in predictions]
            row += [float(np.mean(scores)) if scores else None, figure]
        rows.append(tuple(row))
    columns = ("model", *(column for test in tests for column in (f"{len(test):,} rows", "published")))
    return Table(
        name,
        title,
        columns,
        rows,
        f"Trained on the {len(data.temporal.train):,} earliest ratings, tested on later ones of users with at least "
        f"{FEWEST_TRAIN_RATINGS} before: {len(tests[0]):,} rows, or {len(tests[1]):,} without items that have no "
        f"training rating, which is where the SVD was measured. {note} ExplicitALS: mean of {len(STARTS)} starts.",
    )


# --- small and fast --------------------------------------------------------------------------------------------------


def small_example() -> Table:
    """Fill in the missing ratings of the introduction's example."""
    R = np.array(EXAMPLE, dtype=np.float64)  # None becomes NaN, which marks what is not rated
    model = ExplicitALS(
        factors=2,
        regularization=0.1,
        biases=False,
        regularization_exponent=0.0,
        iterations=100,
        dtype="float64",
        random_state=0,
    ).fit(R)
    users, items = np.indices(R.shape).reshape(2, -1)
    predicted = model.predict(users, items).reshape(R.shape)
    rated = ~np.isnan(R)
    rows: list[tuple[Cell, ...]] = [
        (
            f"user {u + 1}",
            *(int(R[u, i]) if rated[u, i] else float(predicted[u, i]) for i in range(R.shape[1])),
        )
        for u in range(R.shape[0])
    ]
    return Table(
        "example",
        "A 4 x 4 matrix filled in",
        ("", *(f"film {i + 1}" for i in range(R.shape[1]))),
        rows,
        "Whole numbers are the ratings of the introduction, the others are filled in: 2 factors, ridge 0.1, no biases. "
        f"On the ratings themselves the RMSE is {rmse(R[rated], predicted[rated]):.4f}.",
    )


def numpy_wals(
    R: np.ndarray, rank: int, iterations: int, ridge: float, seed: int = 42
) -> tuple[np.ndarray, np.ndarray]:
    """Fit weighted ALS as the article does: a NumPy solve for each row over all columns, linear weights, float32.

    Parameters
    ----------
    R : ndarray of float32, shape (n_users, n_items)
        0 marks what is not observed.
    rank, iterations : int
    ridge : float
    seed : int, default 42

    Returns
    -------
    users, items : ndarray of float32, shapes (n_users, rank), (n_items, rank)
    """
    rng = np.random.default_rng(seed)
    users = rng.normal(size=(R.shape[0], rank)).astype(np.float32)
    items = rng.normal(size=(R.shape[1], rank)).astype(np.float32)
    observed = (R > 0).astype(np.float64)
    weights = observed * linear_weight_fn(observed.sum(axis=0))
    diagonal = ridge * np.eye(rank, dtype=np.float32)
    for _ in range(iterations):
        for solved, fixed, ratings, row_weights in ((users, items, R, weights), (items, users, R.T, weights.T)):
            for row, w in enumerate(row_weights):
                A = fixed.T @ (fixed * w[:, None]) + diagonal
                solved[row] = np.linalg.solve(A, (ratings[row] * w) @ fixed)
    return users, items


def speed(data: Data, iterations: int = 50) -> Table:
    """Time weighted ALS against the NumPy loop: same start, same iterations, same answer.

    Parameters
    ----------
    data : Data
    iterations : int, default 50
        Of both; the loop's are all alike.
    """
    n_rows = max(1, LOOP_CELLS // data.ratings.shape[1])
    sparse_train = data.temporal.train.matrix()[:n_rows]
    dense_train = sparse_train.toarray()
    rank, ridge = PUBLISHED_RATINGS["rank"], PUBLISHED_RATINGS["reg"]
    weighted_als(sparse_train, rank, 1, ridge)  # compiles
    theirs, (U, V) = _timed(lambda: numpy_wals(dense_train, rank, iterations, ridge))
    runs = [_timed(lambda: weighted_als(sparse_train, rank, iterations, ridge)) for _ in range(OUR_RUNS)]
    ours = float(np.median([seconds for seconds, _ in runs]))
    our_U, our_V, *_ = runs[0][1]
    difference = max(float(np.abs(a - b).max()) for a, b in ((U, our_U), (V, our_V)))
    n_users, n_items = sparse_train.shape
    return Table(
        "speed",
        "Weighted ALS against the published NumPy loop",
        ("", "seconds", "seconds an iteration", "times as fast"),
        [
            ("NumPy loop, measured here", theirs, theirs / iterations, 1),
            ("fastals.compat.wals.weighted_als", ours, ours / iterations, round(theirs / ours)),
        ],
        f"{n_users:,} x {n_items:,}, {sparse_train.nnz:,} ratings, rank {rank}, {iterations} iterations of both from "
        f"the same start, on {available()} CPUs; compilation is not timed; ours is the median of {OUR_RUNS} runs. "
        f"The factors differ by at most {difference:.1g} (float32, the largest is {np.abs(U).max():.1f}). "
        "The article reports 12.05 s for 100 iterations.",
    )


def _timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result
