"""Fits that watch held-out interactions: scores, the best state, patience, and what is refused."""

import numpy as np
import pytest

from fastals import ExplicitALS, ImplicitALS, Interactions
from fastals.data import split_random, synthetic
from fastals.evaluation import evaluate, evaluate_ratings

TRAIN, TEST = split_random(synthetic(120, 60, 2500, random_state=1), random_state=0)


def model(**params):
    return ImplicitALS(4, iterations=8, random_state=0).set_params(**params)


def test_scores_are_those_of_shorter_fits_and_the_best_state_is_kept():
    # The plain engine: in the fast one the last half-step of a fit differs from those before.
    plain = {"solver": "plain"}
    watched = model(**plain).fit(TRAIN, validation=TEST, metric="ndcg@5", patience=8)
    fits = [model(**plain, iterations=n).fit(TRAIN) for n in range(1, 9)]
    wanted = [evaluate(fit, TEST, 5, ["ndcg"]).overall["ndcg@5"] for fit in fits]
    assert watched.validation_history_ == wanted
    assert watched.n_iter_ == int(np.argmax(wanted)) + 1
    np.testing.assert_array_equal(watched.user_factors_, fits[watched.n_iter_ - 1].user_factors_)


def test_the_model_has_its_best_score():
    watched = model().fit(TRAIN, validation=TEST, metric="ndcg@5", patience=8)
    assert evaluate(watched, TEST, 5, ["ndcg"]).overall["ndcg@5"] == max(watched.validation_history_)
    assert watched.n_iter_ == int(np.argmax(watched.validation_history_)) + 1


def test_patience_ends_a_fit_and_the_callback_is_called():
    scores, seen = iter([1.0, 3.0, 2.0, 2.5, 9.0]), []
    watched = model().fit(
        TRAIN, validation=TEST, metric=lambda m, v: next(scores), callback=lambda i, m: seen.append(m.n_iter_)
    )
    assert watched.validation_history_ == [1.0, 3.0, 2.0, 2.5]
    assert watched.n_iter_ == 2 and seen == [1, 2, 3, 4]
    assert not hasattr(model().fit(TRAIN), "validation_history_")


def test_errors_are_lower_where_better():
    explicit = ExplicitALS(3, iterations=6, random_state=0).fit(TRAIN, validation=TEST, metric="rmse", patience=6)
    assert explicit.n_iter_ == int(np.argmin(explicit.validation_history_)) + 1
    assert evaluate_ratings(explicit, TEST)["rmse"] == pytest.approx(min(explicit.validation_history_), rel=1e-12)


def test_a_share_is_drawn_by_the_seed():
    drawn = model().fit(TRAIN, validation=0.2, patience=1)
    train, held_out = split_random(TRAIN, 0.2, 0)
    same = model().fit(train, validation=held_out, patience=1)
    assert drawn.validation_history_ == same.validation_history_
    np.testing.assert_array_equal(drawn.item_factors_, same.item_factors_)


def test_held_out_interactions_that_are_fitted_are_told_to_whoever_calls():
    both = TRAIN.matrix() + TEST.matrix()
    fitted = model().fit(TRAIN)
    for fit in (model().fit, fitted.refit):
        with pytest.warns(UserWarning, match=rf"^{TRAIN.nnz} of the \d+ interactions of validation are in R") as told:
            fit(TRAIN, validation=Interactions(both, user_ids=TRAIN.user_ids, item_ids=TRAIN.item_ids))
        assert [warning.filename for warning in told] == [__file__]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": TEST, "checkpoint": "x"}, "^checkpoint and validation are both given"),
        ({"validation": 1.5}, "^validation must lie between 0 and 1, got 1.5$"),
        ({"validation": TEST, "metric": "ndcg"}, "^metric 'ndcg' is unknown"),
        ({"validation": TEST, "patience": 0}, "^patience must be at least 1, got 0$"),
        ({"validation": np.eye(3)}, r"^R has shape \(120, 60\) and validation \(3, 3\): both must have one shape"),
        ({"validation": TEST, "metric": lambda m, v: float("nan")}, "^metric <function .* is not a number after"),
        (
            {"validation": 0.1, "weights": np.ones(TRAIN.nnz)},
            "^validation is a share, which weights cannot be split",
        ),
    ],
)
def test_what_cannot_be_watched_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        model().fit(TRAIN.matrix() if "weights" in options else TRAIN, **options)
