"""What users write, with every result in a variable of its type: `test_types` checks it with mypy and pyright."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
from scipy import sparse

import fastals
from fastals import ExplicitALS, ImplicitALS, Interactions, WeightedALS
from fastals.compat.sklearn import InteractionsEncoder
from fastals.data import split_random, synthetic
from fastals.datasets import NewUsers, split_by_time, split_leave_last_out, split_new_users
from fastals.evaluation import (
    EASE,
    Comparison,
    Evaluation,
    ItemKNN,
    Popularity,
    UserFolds,
    compare,
    evaluate,
    evaluate_new_users,
    evaluate_ratings,
)
from fastals.filters import ItemFilter
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


def results(model: ImplicitALS) -> dict[str, int]:
    """Ask for tables, for baskets and filters, and let new ids in."""
    stock: ItemFilter = model.item_filter(["tea", "nothing"], unknown="ignore")
    ids, scores = model.recommend(basket={"tea": 1.0}, n=2, allow=stock, unknown="ignore")
    users, _ = model.recommend_users("tea", 2, exclude=["ann"], exclude_seen=False)
    frame: pd.DataFrame = model.recommend_frame(["ann"], n=1, frame="pandas")
    alike: pl.DataFrame = model.similar_items_frame("tea", frame="polars")
    rated: npt.NDArray[np.generic] = model.predict(["ann", "new"], "tea", unknown="mean", clip=(0, 1))
    grown: ImplicitALS = model.add_items(["vase"]).update("new", "vase")
    folded = grown.fold_in_users({"who": ["zoe"], "what": ["tea"]}, user="who", item="what", unknown="ignore")
    quality: float = grown.score(Interactions.from_triplets(["ann"], ["vase"]), unknown="raise")
    encoder = InteractionsEncoder("who", "what", unknown="raise").fit({"who": WHO, "what": WHAT})
    parts: list[Interactions] = [
        encoder.transform({"who": WHO, "what": WHAT}).select(test)
        for _, test in UserFolds(2, "who").split({"who": WHO, "what": WHAT})
    ]
    assert quality >= 0 and len(ids) == len(scores) == 2 and rated.shape == (2,)
    return {"rows": len(frame) + len(alike) + len(users) + len(folded), "parts": len(parts)}


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
    rivals: Comparison = compare(
        {"ease": EASE(50.0).fit(train), "knn": ItemKNN(5, "bm25").fit(train)}, test, train=train
    )
    scores: list[float] = model.fit(train, validation=0.1, metric="ndcg@5", patience=1).validation_history_
    assert len(rivals.table["model"]) == 2 and scores
    held_out = split_random(ratings, random_state=0)[1]
    errors: dict[str, float] = evaluate_ratings(explicit, held_out, ["rmse"], unknown="mean", clip=(1, 5))
    grid: SearchResult = grid_search(model, {"factors": [1, 2]}, (kept, validation), "recall@5")
    random_search(WeightedALS(2, iterations=1), {"factors": [1, 2]}, [(kept, validation)], "rmse", n_candidates=1)
    best: float = successive_halving(model, [{"factors": 1}], (kept, validation)).best_score
    return {**found.overall, **new.overall, **errors, "grid": grid.best_score, "halving": best}
