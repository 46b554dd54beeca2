"""Searches against fits made one by one; candidates that fail; early stops, warm starts and ids."""

import logging
import math

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import loguniform

from fastals import ExplicitALS, ImplicitALS, Interactions, WeightedALS
from fastals.evaluation import evaluate, evaluate_ratings
from fastals.tuning import grid_search, random_search, sample_candidates, successive_halving
from fastals.tuning import search as engine
from tests.helpers import split_of_liked

GRID = {"factors": [2, 4], "regularization": [0.1, 10.0, 1.0]}

MODEL = ImplicitALS(iterations=6, random_state=0)


@pytest.fixture(scope="module")
def split() -> tuple[sp.csr_array, sp.csr_array]:
    return split_of_liked()


def alone(split, n_iter=6, **parameters) -> float:
    """The score of a candidate that is fitted as anybody would."""
    train, validation = split
    model = ImplicitALS(**{"iterations": n_iter, "random_state": 0} | parameters).fit(train)
    return evaluate(model, validation, 5, ["ndcg"]).overall["ndcg@5"]


def test_grid_scores_are_those_of_fits_made_one_by_one(split):
    found = grid_search(MODEL, GRID, split, "ndcg@5")
    pairs = [(k, ridge) for k in (2, 4) for ridge in (0.1, 10.0, 1.0)]
    assert found.table["factors"].tolist() == [k for k, _ in pairs]
    assert found.table["regularization"].tolist() == [ridge for _, ridge in pairs]
    assert found.table["score"].tolist() == [alone(split, factors=k, regularization=ridge) for k, ridge in pairs]
    assert found.table["n_iter"].tolist() == [6] * 6
    assert found.table["error"].tolist() == [""] * 6
    best = int(np.argmax(found.table["score"]))
    assert found.best_score == found.table["score"][best]
    assert found.best_parameters == {"factors": pairs[best][0], "regularization": pairs[best][1], "iterations": 6}
    whole = ImplicitALS(random_state=0, **found.best_parameters).fit(split[0] + split[1])
    np.testing.assert_array_equal(found.model.item_factors_, whole.item_factors_)
    assert not hasattr(MODEL, "item_factors_")


def test_without_refit_the_model_is_the_one_that_was_scored(split):
    fitted = []

    def keep(model, validation):
        fitted.append(model)
        return float(model.factors)

    assert grid_search(MODEL, {"factors": [2, 4, 3]}, split, keep, refit=False).model is fitted[1]
    found = grid_search(MODEL, GRID, split, "ndcg@5", refit=False)
    assert evaluate(found.model, split[1], 5, ["ndcg"]).overall["ndcg@5"] == found.best_score


def test_folds_are_averaged(split):
    folds = [split, (split[1], split[0])]
    found = grid_search(MODEL, {"factors": [3]}, folds, "recall@5")
    one_by_one = [grid_search(MODEL, {"factors": [3]}, fold, "recall@5").best_score for fold in folds]
    assert found.best_score == np.mean(one_by_one)


def test_of_errors_the_lowest_is_the_best_and_stored_zeros_are_ratings(split):
    rng = np.random.default_rng(0)
    cells = sp.random(30, 20, density=0.5, random_state=1, data_rvs=lambda size: rng.integers(0, 3, size))
    chosen = rng.random(cells.nnz) < 0.7
    train, validation = (
        sp.coo_array((cells.data[rows] * 1.0, (cells.row[rows], cells.col[rows])), shape=(30, 20)).tocsr()
        for rows in (chosen, ~chosen)
    )
    prototype = ExplicitALS(factors=2, iterations=5, random_state=0)
    found = grid_search(prototype, {"regularization": [1e-3, 0.3, (0.3, 0.2)]}, (train, validation), "rmse")
    fits = [prototype.set_params(regularization=value).fit(train) for value in (1e-3,)]
    assert found.table["score"][0] == evaluate_ratings(fits[0], validation)["rmse"]
    assert found.best_score == found.table["score"].min()
    assert found.table["regularization"].dtype == object
    whole = ExplicitALS(**prototype.get_params() | found.best_parameters).fit(cells.tocsr())
    np.testing.assert_array_equal(found.model.item_factors_, whole.item_factors_)


def test_a_metric_of_ones_own(split):
    seen = []

    def even(model, validation):
        seen.append((model.factors, validation.shape))
        return float(model.factors == 4)

    found = grid_search(MODEL, {"factors": [2, 4, 6]}, split, even)
    assert found.best_parameters["factors"] == 4
    assert seen == [(2, (60, 40)), (4, (60, 40)), (6, (60, 40))]


def test_data_are_prepared_once(split, monkeypatch):
    made, fitted = [], []
    read, fit = ImplicitALS.interactions, ImplicitALS.fit
    monkeypatch.setattr(ImplicitALS, "interactions", lambda *given: made.append(read(*given)) or made[-1])
    monkeypatch.setattr(ImplicitALS, "fit", lambda self, R, **given: fitted.append(R) or fit(self, R, **given))
    grid_search(MODEL, {"factors": [2, 3, 4, 5]}, split, "ndcg@5", refit=False)
    assert len(made) == 2
    assert len(fitted) == 4
    assert all(R is made[0] for R in fitted)


# Early stopping.


def test_the_best_state_on_the_way_is_kept(split):
    scores, model = [], None
    for _ in range(6):
        model = ImplicitALS(factors=4, regularization=0.1, iterations=1, random_state=0).fit(split[0], start=model)
        scores.append(evaluate(model, split[1], 5, ["ndcg"]).overall["ndcg@5"])
    found = grid_search(
        MODEL, {"factors": [4], "regularization": [0.1]}, split, "ndcg@5", every=1, patience=6, refit=False
    )
    assert found.best_parameters["iterations"] == found.model.iterations == 1 + int(np.argmax(scores))
    assert found.best_score == max(scores)
    assert evaluate(found.model, split[1], 5, ["ndcg"]).overall["ndcg@5"] == found.best_score


@pytest.mark.parametrize(("patience", "n_scores", "best"), [(1, 3, 4), (2, 6, 8), (3, 7, 8)])
def test_patience_counts_scores_without_a_gain(split, patience, n_scores, best):
    script = iter([1.0, 2.0, 1.5, 3.0, 2.9, 2.8, 2.7])
    calls = []

    def scripted(model, validation):
        calls.append(model.n_iter_)
        return next(script)

    prototype = ImplicitALS(factors=2, iterations=20, random_state=0)
    found = grid_search(prototype, {"factors": [2]}, split, scripted, every=2, patience=patience, refit=False)
    assert calls == [2] * n_scores
    assert found.best_parameters["iterations"] == found.model.iterations == best


# Warm starts.


def test_a_warm_start_goes_on_from_a_stronger_ridge_or_half_the_factors(split):
    found = grid_search(MODEL, {"factors": [2, 4], "regularization": [0.1, 1.0]}, split, "ndcg@5", warm_start=True)
    path: dict[tuple[int, float], ImplicitALS] = {}
    for k, ridge, before in ((2, 1.0, None), (2, 0.1, (2, 1.0)), (4, 1.0, (2, 0.1)), (4, 0.1, (4, 1.0))):
        model = ImplicitALS(factors=k, regularization=ridge, iterations=6, random_state=0)
        path[k, ridge] = model.fit(split[0], start=path.get(before))
    scores = [
        evaluate(path[pair], split[1], 5, ["ndcg"]).overall["ndcg@5"]
        for pair in ((2, 0.1), (2, 1.0), (4, 0.1), (4, 1.0))
    ]
    assert found.table["score"].tolist() == scores


def test_a_path_goes_from_few_factors_and_strong_regularization(split):
    order = []

    def note(model, validation):
        order.append((model.factors, model.regularization))
        return 0.0

    found = grid_search(MODEL, GRID, split, note, warm_start=True)
    assert order == [(k, ridge) for k in (2, 4) for ridge in (10.0, 1.0, 0.1)]
    assert found.table["regularization"].tolist() == [0.1, 10.0, 1.0] * 2  # the table is as the grid


# Random search and halving.


def test_random_search_is_a_grid_of_samples(split):
    space = {"factors": [2, 3, 4], "regularization": loguniform(1e-2, 1.0), "alpha": lambda rng: rng.random()}
    samples = sample_candidates(space, 5, 1)
    found = random_search(MODEL, space, split, "ndcg@5", n_candidates=5, random_state=1, refit=False)
    for name in space:
        assert found.table[name].tolist() == [sample[name] for sample in samples]
    assert found.table["score"].tolist() == grid_search(MODEL, samples, split, "ndcg@5").table["score"].tolist()


def test_halving_gives_the_best_more(split):
    budgets = {}

    def score(model, validation):
        budgets.setdefault(model.factors, []).append(model.n_iter_)
        return float(model.factors)

    prototype = ImplicitALS(iterations=12, random_state=0)
    found = successive_halving(
        prototype, {"factors": list(range(1, 11))}, split, score, min_iterations=2, factor=3, refit=False
    )
    assert budgets[10] == [2, 4, 6]  # of each part: 12 in all
    assert [budgets[k] for k in (9, 8)] == [[2, 4], [2, 4]]
    assert all(budgets[k] == [2] for k in range(1, 8))
    assert found.table["n_iter"].tolist() == [2] * 7 + [6, 6, 12]
    alone = ImplicitALS(factors=10, iterations=12, random_state=0).fit(split[0])
    assert found.model.iterations == 12
    assert found.model.loss(split[0]) == pytest.approx(alone.loss(split[0]), rel=1e-3)  # pauses cost nothing


@pytest.mark.parametrize("search", [grid_search, successive_halving])
def test_side_by_side_changes_no_score(split, tmp_path, search, caplog):
    prototype = ImplicitALS(iterations=6, random_state=0, n_threads=3)
    candidates = {"factors": [2, 3, -1, 4, 5, 6, 7], "dtype": ["float32", "float64"]}
    alone = search(prototype, candidates, split, "ndcg@5", refit=False, n_jobs=1)
    together = search(prototype, candidates, split, "ndcg@5", refit=False, n_jobs=2, journal=tmp_path / "j")
    for name in ("score", "n_iter", "error"):
        np.testing.assert_array_equal(together.table[name], alone.table[name])
    assert together.best_parameters == alone.best_parameters
    np.testing.assert_array_equal(together.model.item_factors_, alone.model.item_factors_)
    assert together.model.n_threads == 3
    again = search(prototype, candidates, split, "ndcg@5", refit=False, n_jobs=2, journal=tmp_path / "j")
    np.testing.assert_array_equal(again.table["seconds"], together.table["seconds"])  # all taken from the journal


def test_candidates_side_by_side_share_the_threads(split):
    threads = []
    metric = lambda model, _: threads.append(model.n_threads) or float(model.factors)  # noqa: E731
    prototype = ImplicitALS(iterations=2, random_state=0, n_threads=5)
    grid_search(prototype, {"factors": [2, 3, 4]}, split, metric, n_jobs=2, refit=False)
    assert threads == [2, 2, 2]
    threads.clear()
    grid_search(prototype, {"factors": [2]}, split, metric, n_jobs=2, refit=False)
    assert threads == [5]
    assert successive_halving(prototype, {"factors": [2, 0]}, split, metric, n_jobs=2).table["error"][1]


def test_halving_of_one_candidate_is_a_fit(split):
    found = successive_halving(MODEL, {"factors": [3]}, split, "ndcg@5")
    assert found.best_score == alone(split, factors=3)


def test_a_fit_that_ends_early_by_itself_is_taken_as_it_is(split):
    prototype = ImplicitALS(factors=3, iterations=50, tol=0.5, random_state=0)
    found = successive_halving(prototype, {"factors": [2, 3]}, split, "ndcg@5", min_iterations=1, factor=2)
    assert found.best_parameters["iterations"] < 10


# Failures.


def test_a_candidate_that_fails_is_named_and_the_search_goes_on(split, caplog):
    caplog.set_level(logging.WARNING, "fastals")
    for search in (grid_search, successive_halving):
        found = search(MODEL, {"factors": [2, -1, 3]}, split, "ndcg@5")
        assert "candidate {'factors': -1} failed: ValueError: factors must be at least 1" in caplog.text
        assert found.table["error"][1] == "ValueError: factors must be at least 1, got -1"
        assert math.isnan(found.table["score"][1])
        assert not np.isnan(found.table["score"][[0, 2]]).any()
        caplog.clear()


def test_values_of_the_wrong_kind_fail_alone(split, caplog):
    grid = {"factors": [2, "many"], "regularization": [0.1, None], "dtype": ["float32", "int8"]}
    for options in ({"warm_start": True}, {"every": 2}):
        found = grid_search(MODEL, grid, split, "ndcg@5", **options)
        assert np.count_nonzero(found.table["error"] == "") == 1


def test_a_score_that_is_no_number_is_a_failure(split, caplog):
    found = grid_search(MODEL, {"factors": [2, 3]}, split, lambda m, _: math.nan if m.factors == 2 else 1.0)
    assert found.table["error"].tolist() == ["ValueError: its score is not a number", ""]


def test_if_all_fail_the_first_reason_is_given(split, caplog):
    with pytest.raises(ValueError, match=r"all 2 candidates failed, the first, \{'factors': 0\}: ValueError: factors"):
        grid_search(MODEL, {"factors": [0, -1]}, split)


def test_an_interrupt_leaves_no_fit_waiting(split):
    def interrupt(model, validation):
        raise KeyboardInterrupt

    for search in (grid_search, successive_halving):
        for n_jobs in (1, 2):
            with pytest.raises(KeyboardInterrupt):
                search(MODEL, {"factors": [2, 3]}, split, interrupt, n_jobs=n_jobs)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"grid": {"factor": [2]}}, ValueError, "ImplicitALS has no parameter 'factor'; it has factors, "),
        ({"grid": {}}, None, None),
        ({"grid": []}, ValueError, "grid has no candidate"),
        ({"grid": {"factors": []}}, ValueError, "grid has no candidate"),
        ({"grid": {"factors": 3}}, TypeError, r"grid\['factors'\] must be a sequence of values, got 3: write \[3\]"),
        ({"metric": "ndgc@10"}, ValueError, "'ndgc@10' is unknown: choose from recall@K, .*, graded_ndcg@K .*mae"),
        ({"metric": "ndcg"}, ValueError, "metric 'ndcg' is unknown: .* with K of at least 1"),
        ({"metric": "ndcg@0"}, ValueError, "metric 'ndcg@0' is unknown: .* with K of at least 1"),
        ({"metric": 5}, TypeError, "metric must be a name or a function"),
        ({"splits": (np.eye(3), np.eye(4))}, ValueError, r"train has shape \(3, 3\) and validation \(4, 4\)"),
        ({"splits": (np.eye(3), np.zeros((3, 3)))}, ValueError, "validation has no interaction"),
        ({"splits": np.eye(3)}, TypeError, r"splits must be a tuple \(train, validation\)"),
        ({"splits": []}, ValueError, "splits is an empty list"),
        ({"grid": None}, TypeError, "^grid must be a dict with a sequence of values .*, or a sequence of dicts, got N"),
        ({"grid": ["factors"]}, TypeError, "^grid must be a dict with a sequence .* got \\['factors'\\]"),
        ({"every": -1}, ValueError, "every must be at least 0"),
        ({"patience": 0}, ValueError, "patience must be at least 1"),
        ({"n_jobs": 0}, ValueError, "n_jobs must be at least 1"),
        ({"n_jobs": 2, "warm_start": True}, ValueError, "n_jobs is 2, but with warm_start candidates wait"),
        ({"refit": 1}, TypeError, "refit must be True or False"),
    ],
)
def test_refused_before_any_fit(split, monkeypatch, change, error, message):
    arguments = {"grid": GRID, "splits": split, "metric": "ndcg@5"} | change
    if error is None:  # a grid without parameters has one candidate: the model as it is
        assert grid_search(MODEL, **arguments).best_parameters == {"iterations": 6}
        return
    monkeypatch.setattr(ImplicitALS, "fit", lambda *_: pytest.fail("a fit was begun"))
    with pytest.raises(error, match=message):
        grid_search(MODEL, **arguments)


def test_validation_that_is_in_train_is_refused_or_told(split):
    train, validation = split
    with pytest.raises(ValueError, match=r"^all \d+ interactions of validation are in train too"):
        grid_search(MODEL, GRID, (train + validation, validation))
    some = rf"^{train.nnz} of the \d+ interactions of validation are in train too"
    for search in (
        grid_search,
        successive_halving,
        lambda *arguments: random_search(*arguments, n_candidates=1, random_state=0),
    ):
        with pytest.warns(UserWarning, match=some) as told:
            search(MODEL, {"factors": [2]}, (train, train + validation))
        assert [warning.filename for warning in told] == [__file__]
    grid_search(MODEL, {"factors": [2]}, (train, train), "rmse")  # errors of a fit are a fair question


def test_only_models_are_searched(split):
    for model in ("ImplicitALS", ImplicitALS):
        with pytest.raises(TypeError, match="model must be an ImplicitALS, ExplicitALS or WeightedALS, got "):
            grid_search(model, GRID, split)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_iterations": 0}, "min_iterations must be at least 1"),
        ({"factor": 1}, "factor must be at least 2"),
        ({"candidates": {"iterations": [1, 2]}}, "candidates sets iterations, which halving shares out"),
    ],
)
def test_halving_refuses(split, change, message):
    with pytest.raises(ValueError, match=message):
        successive_halving(MODEL, **{"candidates": GRID, "splits": split} | change)


def test_weights_cannot_be_joined(split):
    weighted = Interactions(split[0], weights=np.full(split[0].nnz, 2.0))
    model = WeightedALS(factors=2, iterations=2, random_state=0)
    with pytest.raises(ValueError, match=r"train has weights.*refit=False"):
        grid_search(model, {"factors": [2]}, (weighted, split[1]), "ndcg@5")
    found = grid_search(model, {"factors": [2]}, (weighted, split[1]), "ndcg@5", refit=False)
    alone = model.fit(split[0], weights=np.full(split[0].nnz, 2.0))
    np.testing.assert_array_equal(found.model.item_factors_, alone.item_factors_)


# Ids.


@pytest.fixture(params=["permuted", "strings"])
def by_ids(request, split) -> tuple[Interactions, Interactions]:
    """The split with ids, the validation part in another order and without the items that nobody has there."""
    train, validation = split
    users, items = np.random.default_rng(7).permutation(60), np.random.default_rng(8).permutation(40)
    if request.param == "strings":
        users, items = (np.array([f"{number}" for number in numbers]) for numbers in (users, items))
    rows, columns = np.arange(60)[::-1], np.flatnonzero(np.diff(validation.tocsc().indptr))[::-1]
    shuffled = Interactions(validation[rows][:, columns], user_ids=users[rows], item_ids=items[columns])
    return Interactions(train, user_ids=users, item_ids=items), shuffled


@pytest.mark.parametrize("metric", ["ndcg@5", "auc@5", "rmse"])
def test_splits_with_ids_score_as_those_without(split, by_ids, metric):
    want, got = (grid_search(MODEL, GRID, parts, metric) for parts in (split, by_ids))
    np.testing.assert_array_equal(got.table["score"], want.table["score"])
    assert got.best_parameters == want.best_parameters
    np.testing.assert_array_equal(got.model.item_factors_, want.model.item_factors_)


@pytest.mark.parametrize("refit", [True, False])
def test_the_model_has_the_ids_of_train(by_ids, refit):
    found = grid_search(MODEL, {"factors": [2]}, by_ids, "ndcg@5", refit=refit)
    np.testing.assert_array_equal(found.model.user_ids_, by_ids[0].user_ids.values)
    np.testing.assert_array_equal(found.model.item_ids_, by_ids[0].item_ids.values)


def test_a_metric_of_ones_own_gets_validation_in_the_order_of_train(split, by_ids):
    scores = {}

    def ndcg(model, validation):
        scores[model.factors] = evaluate(model, validation, 5, ["ndcg"]).overall["ndcg@5"]
        np.testing.assert_array_equal(validation.csr.toarray(), split[1].toarray())
        return scores[model.factors]

    found = grid_search(MODEL, {"factors": [2, 3]}, by_ids, ndcg)
    assert found.table["score"].tolist() == [alone(split, factors=2), alone(split, factors=3)] == [*scores.values()]


def test_ids_that_train_lacks_are_refused(by_ids):
    train, validation = by_ids
    kept = Interactions(train.csr[1:], user_ids=train.user_ids.values[1:], item_ids=train.item_ids)
    with pytest.raises(ValueError, match=r"^validation.user_ids\[59\] is .* the 59 ids of train .*; leave such rows"):
        grid_search(MODEL, GRID, (kept, validation))


def test_progress_tells_the_best_score_so_far(split, monkeypatch):
    reports = []

    class Recorder:
        def __init__(self, *what):
            reports.append(what)

        def __call__(self, done, value):
            reports.append((done, value))

        def close(self):
            reports.append("closed")

    monkeypatch.setattr(engine, "Progress", Recorder)
    for search in (grid_search, successive_halving):
        reports.clear()
        scores = search(MODEL, {"factors": [2, 3]}, split, lambda m, _: -m.factors, progress=True).table["score"]
        assert reports == [(2, "candidate", "best"), (0, -2.0), (1, -2.0), "closed"]
        assert scores.tolist() == [-2.0, -3.0]


def test_names_of_scikit_learn_and_as_many_jobs_as_threads():
    R = np.kron(np.eye(2), np.ones((4, 4)))
    validation = np.tile(np.eye(4), (2, 2)) * R
    model = ImplicitALS(iterations=2, random_state=0)
    pair = R - validation, validation
    found = grid_search(model, {"factors": [1, 2]}, pair, "recall@1", n_jobs=-1)
    assert found.best_params_ == found.best_parameters == {"factors": 2, "iterations": 2}
    assert found.best_score_ == found.best_score and found.best_estimator_ is found.model
    assert list(found.results_.columns) == list(found.table)
    with pytest.raises(ValueError, match=r"^n_jobs must be at least 1, or -1 for as many as there are threads, got 0"):
        grid_search(model, {"factors": [1]}, pair, n_jobs=0)
