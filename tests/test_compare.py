"""Comparisons: the numbers of `evaluate`, paired intervals with right coverage, and what is called real."""

import numpy as np
import pandas as pd
import pytest

from fastals import ImplicitALS, Interactions
from fastals.data import split_random, synthetic
from fastals.evaluation import EASE, ItemKNN, Popularity, Random, compare, evaluate
from fastals.evaluation.compare import _resampled

TRAIN, TEST = split_random(synthetic(300, 80, 6000, random_state=1), random_state=0)
MODELS = {"random": Random(0).fit(TRAIN), "als": ImplicitALS(8, random_state=0).fit(TRAIN), "ease": EASE(50).fit(TRAIN)}


class Twin:
    """Any object with `recommend`: what EASE lists, without its ids' attributes' names."""

    user_ids_, item_ids_ = MODELS["ease"].user_ids_, MODELS["ease"].item_ids_

    def recommend(self, users, n):
        """List what EASE lists."""
        return MODELS["ease"].recommend(users, n)


FOUND = compare({**MODELS, "twin": Twin()}, TEST, [5, 10], ["ndcg", "coverage"], train=TRAIN)


def test_numbers_are_those_of_evaluate_and_the_best_comes_first():
    averages = FOUND.table["ndcg@5"]
    assert averages == sorted(averages, reverse=True)
    for place, name in enumerate(FOUND.table["model"]):
        alone = evaluate({**MODELS, "twin": Twin()}[name], TEST, [5, 10], ["ndcg", "coverage"], train=TRAIN).overall
        assert {metric: FOUND.table[metric][place] for metric in alone} == alone
    frame = pd.DataFrame(FOUND.table)
    assert ((frame["ndcg@5 low"] <= frame["ndcg@5"]) & (frame["ndcg@5"] <= frame["ndcg@5 high"])).all()
    assert "coverage@5 low" not in frame


def test_test_interactions_in_train_are_told_to_whoever_calls():
    both = TRAIN.matrix() + TEST.matrix()
    test = Interactions(both, user_ids=TRAIN.user_ids, item_ids=TRAIN.item_ids)
    with pytest.warns(UserWarning, match=rf"^{TRAIN.nnz} of the \d+ interactions of test are in train too") as told:
        compare(MODELS, test, 5, ["ndcg"], train=TRAIN)
    assert {warning.filename for warning in told} == {__file__}


def test_a_model_without_ids_is_asked_for_row_numbers():
    """Its users are named as those of models with ids are, so that the two can be compared."""
    names = [[f"{kind}{number}" for number in range(size)] for kind, size in zip("ui", TRAIN.shape, strict=True)]
    train, test = (Interactions(part.matrix(), user_ids=names[0], item_ids=names[1]) for part in (TRAIN, TEST))

    class Plain:
        def recommend(self, users, n):
            return ease.recommend(users, n)

    ease = EASE(50).fit(TRAIN.matrix())
    found = compare({"ids": EASE(50).fit(train), "plain": Plain()}, test, 5, ["ndcg"], train=train)
    assert found.differences["ndcg@5", "ids", "plain"] == (0.0, 0.0, 0.0, False)


def test_equal_models_differ_by_nothing_and_random_is_really_below():
    same = FOUND.differences["ndcg@5", "ease", "twin"]
    assert same == (0.0, 0.0, 0.0, False)
    there, back = FOUND.differences["ndcg@10", "ease", "random"], FOUND.differences["ndcg@10", "random", "ease"]
    assert there.real and there.low > 0
    np.testing.assert_allclose(there[:3], [-back.value, -back.high, -back.low], rtol=1e-12)
    place = FOUND.table["model"].index("random")
    assert "ease" in FOUND.table["ndcg@10 below"][place].split(", ")
    assert FOUND.table["ndcg@10 below"][0] == ""


def test_resampled_averages_are_those_of_drawn_users():
    values = np.random.default_rng(0).random((50, 3))
    values[::7, 1] = np.nan
    averages = _resampled(values, 400, np.random.default_rng(1))
    assert averages.shape == (400, 3)
    # Standard error of the mean of 400 averages: spread / sqrt(50 * 400) = 0.002.
    np.testing.assert_allclose(averages.mean(axis=0), np.nanmean(values, axis=0), atol=0.01)
    counts = np.sum(~np.isnan(values), axis=0)
    np.testing.assert_allclose(averages.std(axis=0), np.nanstd(values, axis=0) / np.sqrt(counts), rtol=0.2)
    again = np.random.default_rng(1).integers(0, 50, (64, 50))
    np.testing.assert_allclose(averages[:64, 0], values[again, 0].mean(axis=1), rtol=1e-12)


def test_it_shows_as_a_table():
    lines = repr(FOUND).splitlines()
    assert lines[0].split() == ["model", "ndcg@5", "coverage@5", "ndcg@10", "coverage@10"] or "ndcg@5" in lines[0]
    assert len(lines) == 6 and lines[-1] == "[95% interval]; *: no other model is better by more than chance"
    assert "*" in lines[1] and "*" not in next(line for line in lines if line.startswith("random"))
    assert FOUND._repr_html_().count("<tr>") == 5


def test_models_with_ids_in_any_order_are_compared_user_by_user():
    turned = TRAIN.select(np.arange(len(TRAIN))[::-1])
    other = ItemKNN().fit(Interactions.from_triplets(*(np.asarray(of)[::-1] for of in _ids(turned))))
    found = compare({"knn": ItemKNN().fit(_named(TRAIN)), "other": other}, _named(TEST), unknown="ignore")
    np.testing.assert_array_equal(*(of.users for of in found.evaluations.values()))


def _ids(events):
    return [f"u{u:03d}" for u in events.users], [f"i{i:02d}" for i in events.items], events.values


def _named(events):
    return Interactions.from_triplets(*_ids(events))


def test_bad_input_is_a_sentence():
    with pytest.raises(TypeError, match=r"^models must be a dict with at least one fitted model by name, got list"):
        compare([MODELS["als"]], TEST)
    with pytest.raises(TypeError, match=r"got dict without any"):
        compare({}, TEST)
    with pytest.raises(ValueError, match=r"^level must lie between 0 and 1, got 95"):
        compare(MODELS, TEST, level=95)
    with pytest.raises(TypeError, match=r"^models\['x'\]: model must be a fitted model"):
        compare({"x": 3}, TEST)
    with pytest.raises(ValueError, match=r"^models\['new'\]: this Popularity is not fitted yet"):
        compare({"new": Popularity()}, TEST)
