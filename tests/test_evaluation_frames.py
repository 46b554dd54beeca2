"""Frames where a matrix is taken: the same numbers as the interactions that they hold, for every kind of frame."""

import math

import numpy as np
import pytest
import scipy.sparse as sp

from fastals import ExplicitALS, ImplicitALS, Interactions, plots
from fastals.evaluation import (
    GlobalMean,
    Popularity,
    Random,
    evaluate,
    evaluate_new_users,
    evaluate_ratings,
    ranking_metrics,
)
from fastals.tuning import grid_search, random_search, successive_halving

NAMES = {"user": "who", "item": "what", "value": "much"}


def pandas(table):
    return pytest.importorskip("pandas").DataFrame(table)


def polars(table):
    return pytest.importorskip("polars").DataFrame(table)


def lazy(table):
    return polars(table).lazy()


def arrow(table):
    return pytest.importorskip("pyarrow").table(table)


KINDS = [dict, pandas, polars, lazy, arrow]


@pytest.fixture(scope="module")
def parts() -> tuple[sp.csr_array, sp.csr_array]:
    """Train and test of 30 users and 20 items, everybody in both."""
    rng = np.random.default_rng(4)
    draws = rng.random((30, 20))
    draws[np.arange(30), np.arange(30) % 20], draws[np.arange(30), (np.arange(30) + 3) % 20] = 0.0, 0.4
    values = rng.integers(1, 6, draws.shape).astype(np.float64)
    return sp.csr_array(values * (draws < 0.3)), sp.csr_array(values * ((draws >= 0.3) & (draws < 0.5)))


def table(R, ids=True) -> dict[str, np.ndarray]:
    """One row an entry, in no order; with ids or with numbers."""
    entries = R.tocoo()
    order = np.random.default_rng(0).permutation(entries.nnz)
    users, items = entries.row[order].astype(np.int64), entries.col[order].astype(np.int64)
    if ids:
        users, items = users * 7 + 100, np.array([f"item {item:02d}" for item in items])
    return {"who": users, "what": items, "much": entries.data[order]}


@pytest.mark.parametrize("kind", KINDS)
def test_evaluations_of_frames_are_those_of_the_matrices(parts, kind):
    train, test = parts
    given, held_out = (kind(table(part)) for part in parts)
    of_matrix = ImplicitALS(factors=3, iterations=2, random_state=0).fit(train)
    ids = np.arange(30) * 7 + 100, [f"item {item:02d}" for item in range(20)]
    by_ids = ImplicitALS(factors=3, iterations=2, random_state=0).fit(
        Interactions(train, user_ids=ids[0], item_ids=ids[1])
    )
    metrics = ["recall", "ndcg", "novelty", "auc"]
    want = evaluate(of_matrix, test, 5, metrics, train=train)
    got = evaluate(by_ids, held_out, 5, metrics, train=given, **NAMES)
    assert got.overall == want.overall
    assert got.users.tolist() == ids[0].tolist()
    new = evaluate_new_users(by_ids, given, held_out, 5, **NAMES)
    assert new.overall == evaluate_new_users(of_matrix, train, test, 5).overall
    lists, _ = of_matrix.recommend(n=5)
    assert ranking_metrics(lists, held_out, train=given, **NAMES) == ranking_metrics(lists, test, train=train)
    for make in (Popularity, lambda: Random(random_state=0)):
        baseline = make().fit(given, **NAMES)
        assert baseline.item_ids_.tolist() == ids[1]
        want = evaluate(make().fit(train), test, 3).overall
        assert evaluate(baseline, held_out, 3, **NAMES).overall == want


def test_a_frame_of_numbers_is_by_the_rows_of_a_model_without_ids(parts):
    train, test = parts
    some = test.tolil()
    some[:12], some[:, 15:] = 0, 0  # users and items that the frame does not have
    some = some.tocsr()
    some.eliminate_zeros()
    model = ImplicitALS(factors=3, iterations=2, random_state=0).fit(train)
    frames = [table(part, ids=False) for part in (some, train)]
    got = evaluate(model, frames[0], 5, ["recall", "auc"], train=frames[1], **NAMES)
    want = evaluate(model, some, 5, ["recall", "auc"], train=train)
    assert got.overall == want.overall
    np.testing.assert_array_equal(got.users, want.users)
    ratings = ExplicitALS(factors=3, iterations=2, random_state=0).fit(train)
    want = evaluate_ratings(ratings, some)
    assert evaluate_ratings(ratings, frames[0], **NAMES) == pytest.approx(want, rel=1e-14)  # summed in another order
    assert evaluate_ratings(GlobalMean().fit(train), frames[0], **NAMES)["rmse"] == pytest.approx(
        math.sqrt(np.mean((some.data - train.data.mean()) ** 2)), rel=1e-14
    )
    known = evaluate_new_users(model, frames[1], table(test, ids=False), 5, **NAMES)
    assert known.overall == evaluate_new_users(model, train, test, 5).overall
    with pytest.raises(ValueError, match=r"^column 'what', row 0 is 20, which is not among the 20 ids of the model"):
        evaluate(model, {"who": [0], "what": [20], "much": [1.0]}, **NAMES)


@pytest.mark.parametrize("search", [grid_search, successive_halving])
def test_searches_of_frames_are_those_of_the_matrices(parts, search):
    model, space = ImplicitALS(iterations=2, random_state=0), {"factors": [2, 3], "alpha": [0.5, 2.0]}
    want = search(model, space, parts, "ndcg@5")
    got = search(model, space, tuple(table(part) for part in parts), "ndcg@5", **NAMES)
    np.testing.assert_array_equal(got.table["score"], want.table["score"])
    np.testing.assert_array_equal(got.model.item_factors_, want.model.item_factors_)
    assert got.model.item_ids_.tolist() == [f"item {item:02d}" for item in range(20)]
    drawn = random_search(model, space, [tuple(table(part) for part in parts)], n_candidates=2, random_state=0, **NAMES)
    assert len(drawn.table["score"]) == 2


def test_plots_take_frames(parts):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    frame = table(parts[0])
    ids = np.arange(30) * 7 + 100, [f"item {item:02d}" for item in range(20)]
    by_ids = ImplicitALS(factors=3, iterations=2, random_state=0).fit(
        Interactions(parts[0], user_ids=ids[0], item_ids=ids[1])
    )
    got, want = plots.degrees(frame, **NAMES), plots.degrees(parts[0])
    for panel, wanted in zip(got, want, strict=True):
        for ours, theirs in zip(panel.get_lines(), wanted.get_lines(), strict=True):
            np.testing.assert_array_equal(ours.get_data(), theirs.get_data())
    points = plots.embedding(by_ids, frame, **NAMES).collections[0]
    np.testing.assert_array_equal(points.get_array(), plots.embedding(by_ids, parts[0]).collections[0].get_array())


def test_frames_are_refused_in_the_callers_terms(parts):
    model, frame = Popularity().fit(parts[0]), table(parts[1], ids=False)
    with pytest.raises(TypeError, match=r"^test is a dict with the columns 'who', 'what', 'much': name those of"):
        evaluate(model, frame)
    with pytest.raises(ValueError, match=r"user='whom' is not a column of the dict; it has 'who', 'what', 'much'"):
        evaluate(model, frame, user="whom", item="what")
    with pytest.raises(TypeError, match=r"^R is a dict with the columns"):
        Popularity().fit(frame)
    with pytest.raises(TypeError, match=r"^user= is for tables, and train is a csr_array; leave it out"):
        grid_search(ImplicitALS(), {"factors": [2]}, parts, **NAMES)
