"""`fastals.compat.implicit` beside `implicit`: the same start, the same factors, the same answers."""

import numpy as np
import pytest
import scipy.sparse as sp

from bench.problems import UnavailableError, load
from fastals.compat.implicit import evaluation as our_evaluation
from fastals.compat.implicit import nearest_neighbours as our_weights
from fastals.compat.implicit.als import AlternatingLeastSquares as Ours

als = pytest.importorskip("implicit.cpu.als")
evaluation = pytest.importorskip("implicit.evaluation")
weights = pytest.importorskip("implicit.nearest_neighbours")
Theirs = als.AlternatingLeastSquares

# The peer's deprecations and its warnings about BLAS are its own.
pytestmark = pytest.mark.filterwarnings("default")

PARAMS = {"factors": 8, "regularization": 0.5, "alpha": 2.0, "iterations": 3, "use_cg": False, "random_state": 5}


def confidences() -> sp.csr_matrix:
    rng = np.random.default_rng(0)
    R = sp.random(60, 40, 0.2, "csr", np.float32, rng, lambda n: rng.choice([-2.0, 0.25, 0.5, 1.0, 4.0], n))
    R.data[::11] = 0
    return R


@pytest.fixture(scope="module", name="R")
def cells() -> sp.csr_matrix:
    return confidences()


@pytest.fixture(scope="module")
def pair(R):
    models = Ours(**PARAMS), Theirs(**PARAMS)
    for model in models:
        model.fit(R, show_progress=False)
    return models


def both(pair, call):
    return tuple(call(model) for model in pair)


def close(ours, theirs, atol=1e-5):
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=0, atol=atol)


@pytest.mark.parametrize("name", ["ml-1m", "lastfm-2k"])
def test_same_recommendations_on_real_data(name):
    """99% of the top 10 in the same place, and the same loss, after five iterations from the same start."""
    try:
        R = load(name).R
    except UnavailableError as reason:
        pytest.skip(str(reason))
    lists, losses = [], []
    for cls in (Ours, Theirs):
        model = cls(32, 0.01, 10.0, use_cg=False, iterations=5, random_state=0, calculate_training_loss=True)
        model.fit(R, show_progress=False, callback=lambda iteration, seconds, loss: losses.append(loss))
        lists.append(model.recommend(np.arange(R.shape[0]), R)[0])
    assert (lists[0] == lists[1]).mean() >= 0.99
    np.testing.assert_allclose(losses[:5], losses[5:], rtol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("alpha", [1.0, 3.0])
def test_same_factors(R, dtype, alpha):
    losses: list[float] = []
    models = []
    for cls in (Ours, Theirs):
        model = cls(**PARAMS | {"dtype": dtype, "alpha": alpha, "calculate_training_loss": True})
        model.fit(R, show_progress=False, callback=lambda iteration, seconds, loss: losses.append(loss))
        model.fit(R, show_progress=False, callback=lambda iteration, seconds, loss: None)  # goes on from there
        models.append(model)
    close(models[0].user_factors, models[1].user_factors)
    close(models[0].item_factors, models[1].item_factors)
    # Theirs adds the confidence of disliked cells, a constant.
    disliked = alpha * np.abs(R.data[R.data < 0]).sum() / (alpha * np.abs(R.data).sum() + 60 * 40 - R.nnz)
    np.testing.assert_allclose(np.array(losses[:3]) + disliked, losses[3:6], rtol=1e-5)


def test_same_start(R):
    params = PARAMS | {"iterations": 0}
    ours, theirs = Ours(**params), Theirs(**params)
    for model in (ours, theirs):
        model.fit(R, show_progress=False)
    np.testing.assert_array_equal(ours.user_factors, theirs.user_factors)
    np.testing.assert_array_equal(ours.item_factors, theirs.item_factors)


def test_conjugate_gradients_are_nearer_to_the_minimum(R):
    """Ours take other steps: the loss after each iteration is no higher than theirs."""
    losses: list[float] = []
    for cls in (Ours, Theirs):
        model = cls(**PARAMS | {"use_cg": True, "iterations": 10, "calculate_training_loss": True})
        model.fit(R, show_progress=False, callback=lambda iteration, seconds, loss: losses.append(loss))
    assert losses[9] <= losses[19] * (1 + 1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_half_steps(R, dtype):
    """The solver that clients call epoch by epoch, with more factors than the model has."""
    rng, sides = np.random.default_rng(0), []
    start = [rng.normal(size=(n, 12)).astype(dtype) for n in R.shape]
    for cls in (Ours, Theirs):
        model, (X, Y) = cls(**PARAMS | {"dtype": dtype}), [side.copy() for side in start]
        for _ in range(3):
            model.solver(R, X, Y, 0.5, num_threads=1)
            model.solver(R.T.tocsr(), Y, X, 0.5, 2)
        sides.append((X, Y))
    close(sides[0][0], sides[1][0])
    close(sides[0][1], sides[1][1])


def test_same_public_names():
    ours, theirs = ({name for name in dir(cls()) if not name.startswith("_")} for cls in (Ours, Theirs))
    assert theirs - ours == set()
    assert ours - theirs == {"get_params", "set_params"}


@pytest.mark.parametrize(
    "call",
    [
        lambda model, R: model.recommend(60, R[0]),
        lambda model, R: model.recommend(0, R[0], items=[1, 40]),
        lambda model, R: model.recommend(0, R[0], items=[1, -1]),
        lambda model, R: model.recommend(0, R[0], filter_items=[40]),
        lambda model, R: model.similar_items(40),
        lambda model, R: model.similar_users(0, users=[60]),
        lambda model, R: model.explain(0, R, 40),
    ],
)
def test_unknown_ids_are_index_errors_in_both(pair, R, call):
    for model in pair:
        with pytest.raises(IndexError):
            call(model, R)


def test_matrices_of_other_formats_warn_in_both(pair, R):
    for model in pair:
        with pytest.warns(Warning) as caught:
            model.recalculate_user(0, R[0].tocoo())
        assert [warning.category.__name__ for warning in caught] == ["ParameterWarning"]


@pytest.mark.parametrize(
    "call",
    [
        lambda model, R: model.recommend(0, R[0]),
        lambda model, R: model.recommend(np.arange(60), R, N=40),
        lambda model, R: model.recommend(7, R[7], N=5, items=[9, 3, 13, 12]),
        lambda model, R: model.recommend([1, 2], R[[1, 2]], N=40, filter_items=[0, 39]),
        lambda model, R: model.recommend(1, None, filter_already_liked_items=False),
        lambda model, R: model.recommend([1, 2], R[[1, 2]], recalculate_user=True),
        lambda model, R: model.similar_items(3),
        lambda model, R: model.similar_items([3, 5], N=4, filter_items=[3]),
        lambda model, R: model.similar_items(3, N=2, items=[8, 1, 2]),
        lambda model, R: model.similar_items(3, N=2, recalculate_item=True, item_users=R.T.tocsr()[3]),
        lambda model, R: model.similar_users([0, 59], N=7),
        lambda model, R: model.rank_items(4, R[4], [1, 2, 3]),
    ],
)
def test_same_lists(pair, R, call):
    (ids, scores), (their_ids, their_scores) = both(pair, lambda model: call(model, R))
    np.testing.assert_array_equal(ids, their_ids)
    assert ids.dtype == their_ids.dtype
    assert scores.dtype == their_scores.dtype
    lowest = np.finfo(np.float32).min
    np.testing.assert_array_equal(scores == lowest, their_scores == lowest)
    close(scores[scores > lowest], their_scores[their_scores > lowest])


def test_ties_go_to_the_higher_id():
    rng = np.random.default_rng(0)
    X, Y = (rng.integers(-1, 2, (n, 3)).astype(np.float32) for n in (20, 30))
    models = Ours(3), Theirs(3)
    for model in models:
        model.user_factors, model.item_factors = X, Y
    ours, theirs = both(models, lambda model: model.recommend(np.arange(20), None, 30, False))
    np.testing.assert_array_equal(ours[0], theirs[0])
    short, their_short = both(models, lambda model: model.recommend(np.arange(20), None, 8, False)[0])
    np.testing.assert_array_equal(short, ours[0][:, :8])
    assert (their_short != theirs[0][:, :8]).any()  # there a shorter list is not the beginning of a longer one


def test_same_fold_in_and_partial_fit(pair, R):
    columns = R.T.tocsr()
    close(*both(pair, lambda model: model.recalculate_user(2, R[2])))
    close(*both(pair, lambda model: model.recalculate_item([2, 3], columns[[2, 3]])))
    grown = []
    for cls, fitted in zip((Ours, Theirs), pair, strict=True):
        model = cls(**PARAMS)
        model.user_factors, model.item_factors = fitted.user_factors.copy(), fitted.item_factors.copy()
        model.partial_fit_users([1, 63], R[[1, 2]])
        model.partial_fit_items([41], columns[[5]])
        grown.append(model)
    close(grown[0].user_factors, grown[1].user_factors)
    close(grown[0].item_factors, grown[1].item_factors)
    close(grown[0].item_norms, grown[1].item_norms)
    close(grown[0].YtY, grown[1].YtY, atol=1e-4)


def test_same_explanation(pair, R):
    (total, parts, _), (their_total, their_parts, _) = both(pair, lambda model: model.explain(3, R, 8, N=4))
    assert total == pytest.approx(their_total, abs=1e-5)
    assert [item for item, _ in parts] == [item for item, _ in their_parts]
    close([score for _, score in parts], [score for _, score in their_parts])


def test_files_go_both_ways(pair, tmp_path):
    for writer, reader in ((pair[0], Theirs), (pair[1], Ours)):
        writer.save(str(tmp_path / "model"))
        model = reader.load(str(tmp_path / "model"))
        np.testing.assert_array_equal(model.item_factors, writer.item_factors)
        assert (model.alpha, model.factors, model.use_cg, model.dtype) == (2.0, 8, False, np.float32)


def test_same_split_and_metrics(pair, R):
    liked = R.copy()
    liked.data = np.abs(liked.data) + 1
    ours, theirs = (module.train_test_split(liked, random_state=1) for module in (our_evaluation, evaluation))
    for a, b in zip(ours, theirs, strict=True):
        assert (a != b).nnz == 0
    train, test = ours
    ours, theirs = (
        module.ranking_metrics_at_k(model, train, test, K=10, show_progress=False)
        for module, model in zip((our_evaluation, evaluation), pair, strict=True)
    )
    assert ours == pytest.approx(theirs)


def test_same_weights(R):
    positive = abs(R).tocsr()
    positive.eliminate_zeros()
    for name in ("tfidf_weight", "bm25_weight", "normalize"):
        ours, theirs = (getattr(module, name)(positive.copy()) for module in (our_weights, weights))
        np.testing.assert_allclose(ours.toarray(), theirs.toarray(), rtol=1e-5)


# Where theirs are mended: the day one of these fails, the list of differences gets shorter.


def test_what_they_answer_with_garbage(pair, R):
    theirs = pair[1]
    assert theirs.recommend(0, R[0], N=43)[0][-3:].tolist() == [0, 0, 0]
    assert theirs.recommend(-1, R[0])[0].shape == (10,)
    assert theirs.recommend(0, None, 5, False, items=[3, 3])[0].tolist() == [3, 3]
    with pytest.raises(AttributeError):
        Theirs(random_state=np.random.RandomState(0)).fit(R, show_progress=False)
    with pytest.raises(IndexError):
        theirs.recommend(0, R[0], N=0)
    shuffled = R.tocoo()
    order = np.random.default_rng(0).permutation(shuffled.nnz)
    shuffled = sp.coo_matrix((np.arange(1, shuffled.nnz + 1), (shuffled.row[order], shuffled.col[order])), R.shape)
    test = evaluation.leave_k_out_split(shuffled, 1, random_state=0)[1]
    again = evaluation.leave_k_out_split(shuffled, 1, random_state=0)[1]
    assert (again != test).nnz > 0
