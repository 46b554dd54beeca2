"""Searches with features of users and items: every candidate is fitted with them."""

import numpy as np
import pytest

from fastals import ImplicitALS, Interactions
from fastals.evaluation import evaluate
from fastals.tuning import grid_search, random_search, successive_halving
from tests.helpers import same_model, split_of_liked

GRID = {"factors": [2, 3], "feature_regularization": [0.3, 3.0]}
MODEL = ImplicitALS(iterations=4, random_state=0)


def features_of(shape):
    rng = np.random.default_rng(0)
    return {"user_features": rng.random((shape[0], 3)), "item_features": rng.random((shape[1], 4))}


def test_every_candidate_has_the_features():
    split = split_of_liked()
    features = features_of(split[0].shape)
    found = grid_search(MODEL, GRID, split, "ndcg@5", **features)
    scores = []
    for k in GRID["factors"]:
        for mu in GRID["feature_regularization"]:
            model = ImplicitALS(k, iterations=4, random_state=0, feature_regularization=mu).fit(split[0], **features)
            scores.append(evaluate(model, split[1], 5, ["ndcg"]).overall["ndcg@5"])
    assert found.table["score"].tolist() == scores
    whole = ImplicitALS(random_state=0, **found.best_parameters).fit(split[0] + split[1], **features)
    assert same_model(found.model, whole)
    assert found.model.user_feature_factors_.shape[0] == 3
    halved = successive_halving(MODEL, GRID, split, "ndcg@5", factor=2, refit=False, **features)
    assert halved.model.item_feature_factors_.shape[0] == 4
    drawn = random_search(MODEL, {"factors": lambda rng: 2}, split, "ndcg@5", n_candidates=1, **features)
    assert drawn.model.item_feature_factors_.shape[0] == 4


def test_tables_go_by_ids_and_are_kept_with_the_model():
    train, validation = split_of_liked()
    users = [f"u{n}" for n in range(train.shape[0])]
    parts = []
    for R in (train, validation):
        rows, columns = R.nonzero()
        parts.append({"who": [users[u] for u in rows], "what": [f"i{i}" for i in columns]})
    inside = np.isin(parts[1]["what"], parts[0]["what"]) & np.isin(parts[1]["who"], parts[0]["who"])
    parts[1] = {name: np.array(column)[inside] for name, column in parts[1].items()}
    names = sorted(set(parts[0]["who"]), reverse=True)
    frame = {"who": names, "kind": [name[-1] for name in names]}
    found = grid_search(
        MODEL, {"factors": [2]}, tuple(parts), "ndcg@5", refit=False, user_features=frame, user="who", item="what"
    )
    R = Interactions.from_frame(parts[0], user="who", item="what")
    named = {"user": frame["who"], "kind": frame["kind"]}
    wanted = ImplicitALS(2, iterations=4, random_state=0).fit(R, user_features=named)
    assert same_model(found.model, wanted)
    assert found.model.user_feature_encoder_.feature_names_ == [f"kind={digit}" for digit in range(10)]
    assert found.model.fold_in_users(user_features={"kind": ["3"]}).shape == (1, 2)


def test_a_journal_is_of_the_same_features(tmp_path):
    split, journal = split_of_liked(), tmp_path / "scores.jsonl"
    features = features_of(split[0].shape)
    search = {"grid": {"factors": [2]}, "splits": split, "metric": "ndcg@5", "refit": False, "journal": journal}
    first = grid_search(MODEL, **search, **features)
    assert grid_search(MODEL, **search, **features).best_score == first.best_score
    features["user_features"] = features["user_features"] + 1
    with pytest.raises(ValueError, match="journal"):
        grid_search(MODEL, **search, **features)


def test_features_that_do_not_fit_are_refused_before_any_fit():
    split = split_of_liked()
    with pytest.raises(ValueError, match=r"user_features must have one row for each of the \d+ users"):
        grid_search(MODEL, GRID, split, user_features=np.ones((2, 2)))
