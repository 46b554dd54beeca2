"""Scores of models against the evaluations they stand for, and scikit-learn's own checks."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator

from fastals import ExplicitALS, ImplicitALS, NotFittedError, WeightedALS
from fastals.compat.sklearn import InteractionsEncoder
from fastals.data import split_random, synthetic
from fastals.evaluation import UserFolds, evaluate, evaluate_ratings

SMALL = {"factors": 2, "iterations": 2, "random_state": 0}
MODELS = (ImplicitALS, ExplicitALS, WeightedALS)
every_model = pytest.mark.parametrize("cls", MODELS)
TRAIN, TEST = split_random(synthetic(60, 30, 900), random_state=0)


def events() -> pd.DataFrame:
    ratings = synthetic(60, 30, 900)
    names = [f"u{user}" for user in ratings.users]
    return pd.DataFrame({"user": names, "item": ratings.items + 100, "value": ratings.values})


def test_scores_are_those_of_the_evaluations():
    model = ImplicitALS(**SMALL).fit(TRAIN)
    assert model.score(TEST) == evaluate(model, TEST, 10, ["ndcg"]).overall["ndcg@10"]
    assert model.score(TEST, None) == model.score(TEST)
    for cls in (ExplicitALS, WeightedALS):
        model = cls(**SMALL).fit(TRAIN)
        assert model.score(TEST) == -evaluate_ratings(model, TEST, ["rmse"])["rmse"]


def test_scores_of_tables_with_unknown_ids():
    table = events()
    columns = {"user": "user", "item": "item", "value": "value"}
    model = ExplicitALS(**SMALL).fit(table[:800], **columns)
    other = pd.concat([table[800:], pd.DataFrame({"user": ["new"], "item": [101], "value": [5.0]})])
    assert model.score(other, unknown="ignore", **columns) == model.score(table[800:], **columns)
    with pytest.raises(ValueError, match="'new', which is not among the 60 ids"):
        model.score(other, **columns)
    with pytest.raises(ValueError, match="unknown must be one of 'raise', 'ignore', got 'mean'"):
        model.score(other, unknown="mean", **columns)


@every_model
def test_wrong_scores(cls):
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        cls().score(TEST)
    with pytest.raises(TypeError, match=r"^y must be None, got ndarray: R holds all"):
        cls(**SMALL).fit(TRAIN).score(TEST, np.ones(3))


# scikit-learn.


@every_model
def test_tags(cls):
    tags = get_tags(cls())
    assert tags.input_tags.sparse
    assert tags.input_tags.allow_nan == (cls is not ImplicitALS)
    assert not tags.target_tags.required


@pytest.mark.parametrize("cls", [ImplicitALS, ExplicitALS])
def test_a_grid_search_over_a_pipeline(cls):
    value = "value" if cls is ExplicitALS else None
    pipeline = Pipeline([("ids", InteractionsEncoder(value=value)), ("als", cls(**SMALL))])
    folds = UserFolds(3, random_state=0)
    grid = {"als__factors": [1, 3], "als__regularization": [0.01, 1.0]}
    search = GridSearchCV(pipeline, grid, cv=folds).fit(events())
    table, scores = events(), []
    for train, test in folds.split(table):
        encoder = InteractionsEncoder(value=value).fit(table.iloc[train])
        model = cls(**SMALL).set_params(factors=3, regularization=1.0).fit(encoder.transform(table.iloc[train]))
        scores.append(model.score(encoder.transform(table.iloc[test])))
    assert search.cv_results_["mean_test_score"][3] == pytest.approx(np.mean(scores), rel=1e-6)
    assert search.best_estimator_.named_steps["als"].recommend("u3", 2)[0].dtype == np.int64
    assert clone(search.best_estimator_).get_params()["als__factors"] == search.best_params_["als__factors"]
    assert cross_val_score(make_pipeline(InteractionsEncoder(value=value), cls(**SMALL)), table, cv=folds).shape == (3,)


class WithoutTarget(ImplicitALS):
    """What the checks find where `fit` takes the y that all of them pass."""

    def fit(self, X, y=None):
        return super().fit(X)


TARGET = "fit and score refuse an array y: labels that nobody reads would be a mistake of the caller"
PAIRS = "predict takes pairs of a user and an item: a recommender has no prediction for a row of a matrix alone"
SHAPE = "the columns are items, whose number item_factors_ tells; a model has no features to count or to name"
WORDS = "the message is in our own words and names the user and the item"
REASONS = {
    PAIRS: (
        "check_estimators_unfitted check_estimators_dtypes check_estimator_sparse_array check_estimator_sparse_matrix "
        "check_estimators_pickle check_f_contiguous_array_estimator check_methods_sample_order_invariance "
        "check_methods_subset_invariance check_dict_unchanged check_fit_idempotent check_fit2d_predict1d"
    ),
    TARGET: "check_fit_score_takes_y check_pipeline_consistency",
    SHAPE: "check_n_features_in check_n_features_in_after_fitting",
    WORDS: "check_complex_data check_dtype_object check_estimators_empty_data_messages check_estimators_nan_inf",
}
CANNOT = {name: reason for reason, names in REASONS.items() for name in names.split()}


def failures(model) -> dict[str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(model, on_skip=None, on_fail=None)
    assert len(results) > 30
    return {result["check_name"]: str(result["exception"]) for result in results if result["status"] == "failed"}


def test_what_scikit_learns_checks_find():
    """Each check that does not pass has its reason above; which checks there are depends on scikit-learn's version."""
    assert failures(WithoutTarget(**SMALL, n_threads=1)).keys() <= CANNOT.keys()
    found = failures(ImplicitALS(**SMALL, n_threads=1))
    others = {name for name, message in found.items() if "y must be None" not in message}
    # These pass a y as well, and hide the refusal behind a message of their own.
    assert others <= {*CANNOT, "check_positive_only_tag_during_fit", "check_estimator_sparse_tag"}, TARGET
