"""What users write, with every result in a variable of its type: `test_types` checks it with mypy and pyright."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
from scipy import sparse

import fastals
from fastals import ExplicitALS, ImplicitALS, Interactions, WeightedALS
from fastals.data import split_random, synthetic
from fastals.datasets import NewUsers, split_by_time, split_leave_last_out, split_new_users
from fastals.evaluation import Evaluation, Popularity, evaluate, evaluate_new_users, evaluate_ratings
from fastals.tuning import SearchResult, grid_search, random_search, successive_halving

WHO, WHAT, STARS = ["ann", "ann", "bob", "eve"], ["tea", "pot", "tea", "cup"], [5.0, 3.0, 4.0, 2.0]


def fits() -> list[ImplicitALS]:
    """Fit on all kinds of data."""
    model = ImplicitALS(factors=2, iterations=2, solver="cholesky", dtype=np.float64, random_state=0)
    columns = {"who": WHO, "what": WHAT, "stars": STARS}
    return [
        ImplicitALS(2, (0.1, 0.2)).fit(sparse.csr_matrix(np.eye(3))),
        ImplicitALS(2, dtype="float64").fit(np.eye(3), weights=None),
        ImplicitALS(2, dtype=np.dtype("f4")).fit([(0, 0, 1.0), (1, 1, 2.0)]),
        ImplicitALS(2).fit([[1, 0], [0, 1]]),
        ImplicitALS(2).fit(pd.DataFrame(columns), user="who", item="what", value="stars"),
        ImplicitALS(2).fit(pl.DataFrame(columns), user="who", item="what"),
        ImplicitALS(2).fit(pl.LazyFrame(columns), user="who", item="what"),
        ImplicitALS(2).fit(columns, user="who", item="what"),
        model.fit(Interactions.from_triplets(WHO, WHAT, STARS)),
    ]


def answers(model: ImplicitALS, path: str) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]]:
    """Ask a model, and save and load it."""
    ids, scores = model.recommend(["ann"], 2, exclude_seen=False)
    model.save(path)
    loaded: ImplicitALS | ExplicitALS | WeightedALS = fastals.load(path)
    n_iter: int = loaded.n_iter_
    losses: list[float] = loaded.loss_history_
    factors: npt.NDArray[np.generic] = loaded.item_factors_
    assert n_iter >= 1 and len(losses) >= 1 and factors.shape == (3, 2)
    return ids, scores


def measures() -> dict[str, float]:
    """Split, evaluate and search."""
    ratings: Interactions = synthetic(60, 30, 900)
    train, test = split_leave_last_out(ratings, ties="item")
    kept, validation = split_by_time(train, 0.1)
    found: Evaluation = evaluate(Popularity().fit(train), test, k=[5, 10], metrics=["ndcg", "coverage"], train=train)
    model = ImplicitALS(factors=2, iterations=2, random_state=0)
    parts: NewUsers = split_new_users(ratings, random_state=0)
    new: Evaluation = evaluate_new_users(model.fit(parts.train), parts.given, parts.test)
    explicit = ExplicitALS(2, biases=False).fit(ratings)
    errors: dict[str, float] = evaluate_ratings(explicit, split_random(ratings, random_state=0)[1], ["rmse"])
    grid: SearchResult = grid_search(model, {"factors": [1, 2]}, (kept, validation), "recall@5")
    random_search(WeightedALS(2, iterations=1), {"factors": [1, 2]}, [(kept, validation)], "rmse", n_candidates=1)
    best: float = successive_halving(model, [{"factors": 1}], (kept, validation)).best_score
    return {**found.overall, **new.overall, **errors, "grid": grid.best_score, "halving": best}
