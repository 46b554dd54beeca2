"""The main job: what is in a file of interactions, how good the models are on it, and ten recommendations.

The functions here return tables as data and print nothing; `python -m fastals` prints them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .datasets import Interactions, split_leave_last_out, split_random
from .demo_data import Data, are_ratings
from .evaluation import Evaluation, GlobalMean, ItemBias, Popularity, Random, evaluate
from .models import ExplicitALS, ImplicitALS
from .report import Cell, Table

TEST_SHARE = 0.2
CUTOFFS = (1, 2, 3, 5, 7, 10, 15, 20)  # of the picture; the table has 10


def tables(data: Data) -> Iterator[Table]:
    """Describe the data and measure the models, table by table."""
    yield overview(data)
    yield ranking(data, evaluations(data))
    if are_ratings(data.ratings):
        yield rating_errors(data, errors(data))


def overview(data: Data) -> Table:
    """Count what is in the file."""
    liked, (n_users, n_items) = data.liked, data.ratings.shape
    of_user, of_item = (np.sort(np.bincount(numbers)) for numbers in (liked.users, liked.items))
    top = of_item[-max(1, n_items // 10) :].sum() / len(liked)
    rows: list[tuple[Cell, ...]] = [
        ("users", f"{n_users:,}"),
        ("items", f"{n_items:,}"),
        ("observed entries", f"{len(data.ratings):,} of {n_users * n_items:,}"),
        ("of these liked", f"{len(liked):,}"),
        ("liked items of a user, median", f"{np.median(of_user[of_user > 0]):g}"),
        ("share of the 10% most liked items", f"{top:.0%}"),
    ]
    note = data.rule + ("" if data.liked.times is not None else " There are no times, so tests are drawn at random.")
    if not are_ratings(data.ratings):
        why = "are amounts, not ratings" if data.ratings.values.min() < data.ratings.values.max() else "are all alike"
        note += f" There is no table of rating errors: the values {why}."
    return Table("data", "What is in the data?", ("", "number"), rows, note)


def evaluations(data: Data) -> dict[str, Evaluation]:
    """Measure recommendations on held-out items, beside those of popularity and of chance."""
    R, held_out = map(ones, split(data))
    models: dict[str, Any] = {
        "Random": Random(random_state=0),
        "Popularity": Popularity(),
        "ImplicitALS": ImplicitALS(random_state=0),
    }
    return {name: evaluate(model.fit(R), held_out, CUTOFFS) for name, model in models.items()}


def ranking(data: Data, found: dict[str, Evaluation]) -> Table:
    """List what `evaluations` found, with standard errors of the averages."""
    how = (
        f"One of every {round(1 / TEST_SHARE)} liked interactions was held out, drawn at random"
        if data.liked.times is None
        else "The last liked item of each user was held out"
    )
    rows: list[tuple[Cell, ...]] = []
    for name, evaluation in found.items():
        row: list[Cell] = [name]
        for metric in ("recall@10", "ndcg@10"):
            row += _average(evaluation.per_user[metric])
        rows.append(tuple(row))
    return Table(
        "ranking",
        "Do ten recommendations contain what users went on to like?",
        ("model", "Recall@10", "+-", "NDCG@10", "+-"),
        rows,
        f"{how}, and the models learned from the rest. Recall@10 is the share of the held-out items among a user's ten "
        f"recommendations; NDCG@10 counts those near the top for more. Averages over "
        f"{len(found['Random'].users):,} users; +- is the standard error of the average.",
    )


def split(data: Data) -> tuple[Interactions, Interactions]:
    """Hold out the last liked item of each user, or a share at random where there are no times."""
    if data.liked.times is None:
        return split_random(data.liked, TEST_SHARE, random_state=0)
    return split_leave_last_out(data.liked)


def errors(data: Data) -> dict[str, np.ndarray]:
    """Return the errors of predicted ratings that were held out: those of two simple baselines, and of a model."""
    train, test = split_random(data.ratings, TEST_SHARE, random_state=0)
    models: dict[str, Any] = {
        "Mean of all ratings": GlobalMean(),
        "Mean of each item": ItemBias(),
        "ExplicitALS": ExplicitALS(random_state=0),
    }
    pairs = data.user_ids[test.users], data.item_ids[test.items]
    return {name: np.float64(model.fit(train).predict(*pairs)) - test.values for name, model in models.items()}


def rating_errors(data: Data, found: dict[str, np.ndarray]) -> Table:
    """List what `errors` found, with standard errors of the averages."""
    rows: list[tuple[Cell, ...]] = []
    for name, missed in found.items():
        rows.append((name, *root_mean_square(missed), *_average(np.abs(missed))))
    values, n_test = data.ratings.values, len(found["ExplicitALS"])
    return Table(
        "ratings",
        "How far are predicted ratings from the true ones?",
        ("model", "RMSE", "+-", "MAE", "+-"),
        rows,
        f"{n_test:,} ratings drawn at random were held out, and the models learned from the other "
        f"{len(values) - n_test:,}. RMSE is the root of the mean squared error and MAE the mean absolute error, on "
        f"ratings from {values.min():g} to {values.max():g}; smaller is better. +- is the standard error.",
    )


def root_mean_square(errors: np.ndarray) -> tuple[float, float]:
    """Return the root of the mean square, and its standard error."""
    square, of_square = _average(errors**2)
    root = float(np.sqrt(square))
    return root, of_square / (2 * root) if root else 0.0


def _average(values: np.ndarray) -> tuple[float, float]:
    """Return the average and its standard error."""
    return float(values.mean()), float(values.std() / np.sqrt(len(values)))


def recommender(data: Data) -> ImplicitALS:
    """Return a model fitted on all liked interactions, with the ids of the file."""
    return ImplicitALS(random_state=0).fit(ones(data.liked))


def ones(ratings: Interactions) -> Interactions:
    """Return interactions with ids that store 1 for each rating."""
    matrix = ratings.matrix(np.ones(len(ratings)))
    return Interactions(matrix, user_ids=ratings.user_ids, item_ids=ratings.item_ids)


def recommendations(data: Data, model: ImplicitALS, user: Any = None) -> Table:
    """List ten items for one user, named by the id in the file; by default for `first_user`."""
    liked = data.liked
    user = first_user(data) if user is None else user
    ids, scores = model.recommend(user, 10)
    known = np.isfinite(scores)
    rows: list[tuple[Cell, ...]] = [
        (rank, title(data, item), float(score))
        for rank, (item, score) in enumerate(zip(ids[known], scores[known], strict=True), start=1)
    ]
    has = liked.items[data.user_ids[liked.users] == user]
    some = "; ".join(title(data, item) for item in data.item_ids[has[-5:]])
    return Table(
        "recommendations",
        f"Ten recommendations for user {user}",
        ("", "item", "score"),
        rows,
        f"This user liked {len(has)} items, for example: {some}."
        + (
            ""
            if data.titles
            else " Titles are shown where a file u.item, movies.dat or movies.csv lies beside the data."
        ),
    )


def first_user(data: Data) -> Any:
    """Return the id of the first user who liked something."""
    return data.user_ids[int(data.liked.users.min())]


def title(data: Data, item: Any) -> str:
    """Return the title of an item, named by its id in the file, or the id where there is none."""
    return data.titles.get(item) or f"item {item}"
