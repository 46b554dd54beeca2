"""fastals.compat.wals against the loops it replaces, half-step by half-step."""

import inspect

import numpy as np
import pytest
from scipy import sparse

import fastals
from fastals.compat import wals
from tests.reference import text_als, text_wals

RNG = np.random.default_rng(0)
RATINGS = np.where(RNG.random((30, 20)) < 0.3, RNG.integers(1, 6, (30, 20)), 0).astype(np.float64)
RATINGS[4] = 0  # a user without ratings
RATINGS[:, 7] = 0  # an item without
SIGNED = np.where(RATINGS >= 4, 1.0, np.where(RATINGS > 0, -1.0, 0.0))
WEIGHTS = [wals.linear_weight_fn, wals.exponential_weight_fn, fastals.LinearWeights(w0=0.5, wk=2.0)]

every_iteration = pytest.mark.parametrize("iters", [0, 1, 2, 7, 30])
dense_and_sparse = pytest.mark.parametrize(
    "kind",
    [np.asarray, sparse.csr_array, sparse.coo_matrix, sparse.csc_array, lambda R: fastals.Interactions(R, "float64")],
)


def assert_same(ours, theirs, n_steps):
    """Equal up to the rounding of `n_steps` steps: each may add some hundred eps."""
    for a, b in zip(ours[:2], theirs[:2], strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=200 * n_steps * np.finfo(a.dtype).eps * np.abs(b).max())


def dense(M):
    return M.toarray() if sparse.issparse(M) else M


@every_iteration
@dense_and_sparse
@pytest.mark.parametrize("R", [RATINGS, SIGNED], ids=["ratings", "signed"])
def test_plain_als_is_the_loop(R, kind, iters):
    ours = wals.als_with_regularization(kind(R), 5, iters, 0.3, seed=3, dtype=np.float64)
    theirs = text_als(R, 5, iters, 0.3, seed=3, dtype=np.float64)
    assert_same(ours, theirs, iters + 1)
    np.testing.assert_array_equal(ours[2], theirs[2])
    np.testing.assert_array_equal(dense(ours[3]), theirs[3])


@every_iteration
@dense_and_sparse
@pytest.mark.parametrize("weight_fn", WEIGHTS)
def test_weighted_als_is_the_loop(weight_fn, kind, iters):
    ours = wals.weighted_als(kind(SIGNED), 5, iters, 0.3, weight_fn=weight_fn, seed=3, dtype=np.float64)
    theirs = text_wals(SIGNED, 5, iters, 0.3, weight_fn=weight_fn, seed=3, dtype=np.float64)
    assert_same(ours, theirs, iters + 1)
    np.testing.assert_array_equal(ours[2], theirs[2])
    np.testing.assert_array_equal(dense(ours[3]), theirs[3])


@pytest.mark.parametrize("ours, theirs", [(wals.als_with_regularization, text_als), (wals.weighted_als, text_wals)])
def test_the_defaults_are_the_loops(ours, theirs):
    arguments = {} if theirs is text_als else {"weight_fn": wals.linear_weight_fn}
    assert_same(ours(RATINGS), theirs(RATINGS, **arguments), 100)
    defaults = {name: p.default for name, p in inspect.signature(ours).parameters.items() if name != "weight_fn"}
    assert defaults == {name: p.default for name, p in inspect.signature(theirs).parameters.items() if name in defaults}


def test_the_users_are_those_before_the_last_items():
    _, V, _, _ = wals.weighted_als(RATINGS, 3, 4, dtype=np.float64)
    U, _, _, _ = wals.weighted_als(RATINGS, 3, 5, dtype=np.float64)
    w, R = wals.linear_weight_fn((RATINGS > 0).sum(axis=0)) * (RATINGS[0] > 0), RATINGS[0]
    np.testing.assert_allclose(U[0], np.linalg.solve(V.T @ (V * w[:, None]) + 0.1 * np.eye(3), (R * w) @ V), rtol=1e-11)


@pytest.mark.parametrize("function", [wals.als_with_regularization, wals.weighted_als])
def test_a_seed_gives_the_same_bits_and_none_gives_others(function):
    first, second = function(RATINGS, 3, 2, seed=5), function(RATINGS, 3, 2, seed=5)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert not np.array_equal(function(RATINGS, 3, 2, seed=None)[1], first[1])


def test_the_mask_drops_negative_cells_unless_nan_marks_the_missing_ones():
    with_nan = np.where(SIGNED == 0, np.nan, SIGNED)
    U, V, _, M = wals.weighted_als(SIGNED, 3, 30)
    np.testing.assert_array_equal(M, SIGNED > 0)
    assert ((U @ V.T)[SIGNED < 0] > 0).mean() > 0.5  # the trap: most dislikes are predicted as likes
    U, V, _, M = wals.weighted_als(with_nan, 3, 30, zero_means_missing=False)
    np.testing.assert_array_equal(M, SIGNED != 0)
    assert ((U @ V.T)[SIGNED < 0] > 0).mean() < 0.2
    # Sparse: every stored cell is observed.
    ours = wals.weighted_als(sparse.csr_array(SIGNED), 3, 30, zero_means_missing=False)
    np.testing.assert_array_equal(ours[0], U)
    np.testing.assert_array_equal(ours[1], V)
    np.testing.assert_array_equal(ours[3].toarray(), M)


def test_an_item_without_cells_dominates_the_weighted_error_unless_the_weights_are_ours():
    U, V, w, _ = wals.weighted_als(RATINGS, 3, 10)
    others = np.full(RATINGS.shape, 3.0)
    M = np.ones(RATINGS.shape)
    assert w[7] == pytest.approx(1e8)
    assert wals.weighted_rmse(others, (U, V), w, M) == pytest.approx(3.0, rel=1e-6)  # item 7 alone, predicted as 0
    tame = wals.item_weights_from_mask(RATINGS > 0, fastals.LinearWeights())
    np.testing.assert_allclose(np.delete(tame, 7), np.delete(w, 7), rtol=1e-7)
    assert tame[7] == 0.1 + 1.0
    assert wals.weighted_rmse(others, (U, V), tame, M) < 3.0


@dense_and_sparse
def test_the_errors_are_the_formulas(kind):
    U, V = RNG.normal(size=(30, 2)), RNG.normal(size=(20, 2))
    w = RNG.random(20) + 0.5
    M = (RATINGS > 0).astype(float)
    square = (RATINGS - U @ V.T) ** 2
    R, mask = kind(RATINGS), wals.make_mask(kind(RATINGS))
    for predicted in (U @ V.T, (U, V)):
        observed = wals.observed_rmse(R, predicted, mask)
        assert observed == pytest.approx(np.sqrt((square * M).sum() / M.sum()), rel=1e-12)
        weighted = wals.weighted_rmse(R, predicted, w, mask)
        assert weighted == pytest.approx(np.sqrt((square * M * w).sum() / (M * w).sum()), rel=1e-12)
    assert wals.observed_rmse(R, (U, V), np.zeros(M.shape)) == 0.0
    # A total weight below 1 counts as 1, as in the original.
    assert wals.weighted_rmse(R, (U, V), w / 1e6, mask) == pytest.approx(np.sqrt((square * M * w).sum() / 1e6))


def test_nothing_above_zero_gives_zero_factors():
    U, V, _, M = wals.weighted_als(-np.ones((3, 4)), 2, 2)
    assert not U.any() and not V.any() and not M.any()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"rank": 0}, "rank must be at least 1, got 0"),
        ({"iters": -1}, "iters must be at least 0, got -1"),
        ({"reg": -0.1}, "reg must be at least 0, got -0.1"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"dtype": np.float16}, "dtype must be 'float32' or 'float64'"),
        ({"R": np.array([[1.0, np.nan]])}, "row 0, column 1"),
        ({"R": np.array([1.0, 2.0])}, "2 dimensions"),
    ],
)
@pytest.mark.parametrize("function", [wals.als_with_regularization, wals.weighted_als])
def test_wrong_arguments_are_refused_in_a_sentence(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(**{"R": RATINGS, **arguments})


def test_weights_that_are_not_finite_are_refused_with_their_item():
    with (
        np.errstate(divide="ignore"),
        pytest.raises(ValueError, match="item_weights must be finite and at least 0: item 7 with 0 interactions got"),
    ):
        wals.weighted_als(RATINGS, weight_fn=lambda counts: 1 / counts)


def test_rows_with_many_solutions_have_the_smallest():
    factors = wals.weighted_als(RATINGS, rank=19, reg=0.0)
    assert all(np.isfinite(part).all() for part in factors[:2])


@pytest.mark.parametrize("function", [wals.als_with_regularization, wals.weighted_als])
@pytest.mark.parametrize("as_given", [list, np.asarray])
def test_lists_are_taken(function, as_given):
    """Tuples of user, item and value are a matrix with these entries, an array or nested list is the matrix itself."""
    U, V, w, M = function([(0, 0, 2.0), (1, 2, 3.0)], 2, 3)
    wanted = function(as_given([[2.0, 0.0, 0.0], [0.0, 0.0, 3.0]]), 2, 3)
    for found, expected in zip((U, V, w, M.toarray()), wanted, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("function", [wals.als_with_regularization, wals.weighted_als])
def test_weights_of_the_interactions_are_refused(function):
    weighted = fastals.Interactions(sparse.csr_array(RATINGS), weights=sparse.csr_array(2 * RATINGS))
    with pytest.raises(ValueError, match=r"R has weights of its own, .* use fastals\.WeightedALS"):
        function(weighted, 2, 2)
