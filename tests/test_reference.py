"""The reference itself: its loss against a loop, its rows against its loss, its objectives against the papers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import (
    Explicit,
    Implicit,
    Objective,
    Weighted,
    exponential_weights,
    frequency_scaled_ridges,
    linear_weights,
    popularity,
    text_als,
    text_start,
    text_wals,
)

N_USERS, N_ITEMS, FACTORS = 5, 4, 2
NAN = np.nan

# All sums here are of a few dozen terms, and with a ridge of at least 0.1 the systems have condition numbers below 1e5:
# float64 keeps 16 - 5 digits of what is compared, and this asks for 9.
DIGITS = 1e-9

OBJECTIVES: dict[str, Objective] = {
    "implicit": Implicit(alpha=2.0, regularization=0.1),
    "implicit, all knobs": Implicit(
        alpha=2.0,
        regularization=(0.1, 0.3),
        regularization_exponent=0.5,
        unobserved_weight=0.2,
        popularity_exponent=0.7,
    ),
    "explicit": Explicit(biases=False),
    "explicit, biases": Explicit(regularization=(0.1, 0.2)),
    "weighted, array": Weighted(item_weights=np.arange(1.0, N_ITEMS + 1.0)),
    "weighted, linear": Weighted(item_weights=linear_weights),
    "weighted, all knobs": Weighted(
        item_weights=exponential_weights,
        weights=np.linspace(0.0, 2.0, N_USERS * N_ITEMS).reshape(N_USERS, N_ITEMS),
        regularization=(0.2, 0.1),
        regularization_exponent=1.0,
        unobserved_weight=0.3,
        popularity_exponent=0.5,
    ),
    "plain": Weighted(unobserved_weight=1.0),
    "implicit, biases": Implicit(
        biases=True, alpha=2.0, regularization=(0.1, 0.3), unobserved_weight=0.2, popularity_exponent=0.7
    ),
    "weighted, biases": Weighted(biases=True, item_weights=linear_weights, unobserved_weight=0.3, regularization=0.2),
}
# Each example of these is 30 to 60 losses of each of 10 objectives.
few = settings(max_examples=15)
every_objective = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES.keys())
cells = st.sampled_from([NAN, NAN, NAN, -2.0, 0.0, 0.5, 1.0, 3.0])
matrices = st.lists(cells, min_size=N_USERS * N_ITEMS, max_size=N_USERS * N_ITEMS).map(
    lambda values: np.array(values).reshape(N_USERS, N_ITEMS)
)
seeds = st.integers(0, 2**32 - 1)


def random_factors(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N_USERS, FACTORS)), rng.normal(size=(N_ITEMS, FACTORS))


def slope(function, at: np.ndarray) -> np.ndarray:
    """Central differences; of a quadratic they are exact at any step, so the step is 1, where rounding is least."""
    slopes = np.zeros(at.shape)
    for where in np.ndindex(at.shape):
        step = np.zeros(at.shape)
        step[where] = 1.0
        slopes[where] = (function(at + step) - function(at - step)) / 2.0
    return slopes


# Generic: whatever the objective.


@every_objective
@few
@given(R=matrices, seed=seeds)
def test_gradient_is_the_slope_of_the_loss(objective, R, seed):
    X, Y = random_factors(seed)
    scale = DIGITS * objective.loss(R, X, Y)
    np.testing.assert_allclose(
        objective.gradient_users(R, X, Y), slope(lambda X: objective.loss(R, X, Y), X), rtol=DIGITS, atol=scale
    )
    np.testing.assert_allclose(
        objective.gradient_items(R, X, Y), slope(lambda Y: objective.loss(R, X, Y), Y), rtol=DIGITS, atol=scale
    )


@every_objective
@few
@given(R=matrices, seed=seeds)
def test_solved_rows_lie_at_the_bottom_of_the_loss(objective, R, seed):
    start, Y = random_factors(seed)
    X = objective.solve_users(R, Y)
    slopes = slope(lambda X: objective.loss(R, X, Y), X)[objective.observed(R).any(axis=1)]
    np.testing.assert_allclose(slopes, 0.0, atol=DIGITS * objective.loss(R, start, Y))

    Y = objective.solve_items(R, start)
    slopes = slope(lambda Y: objective.loss(R, start, Y), Y)[objective.observed(R).any(axis=0)]
    np.testing.assert_allclose(slopes, 0.0, atol=DIGITS * objective.loss(R, start, Y))


@every_objective
@few
@given(R=matrices, seed=seeds)
def test_loss_never_rises(objective, R, seed):
    X, Y = random_factors(seed)
    X[~objective.observed(R).any(axis=1)] = 0.0
    Y[~objective.observed(R).any(axis=0)] = 0.0
    before = objective.loss(R, X, Y)
    for _ in range(3):
        X = objective.solve_users(R, Y)
        after = objective.loss(R, X, Y)
        assert after <= before * (1.0 + DIGITS)
        Y = objective.solve_items(R, X)
        before = objective.loss(R, X, Y)
        assert before <= after * (1.0 + DIGITS)


@every_objective
def test_rows_without_observations_are_zero(objective):
    R = np.full((N_USERS, N_ITEMS), NAN)
    R[1, 2] = 3.0
    X, Y = random_factors(0)
    assert not np.delete(objective.solve_users(R, Y), 1, axis=0).any()
    assert not np.delete(objective.solve_items(R, X), 2, axis=0).any()
    assert objective.solve_users(R, Y)[1].all()
    assert objective.solve_items(R, X)[2].all()


@every_objective
@few
@given(R=matrices, seed=seeds)
def test_users_alone_are_solved_as_among_the_others(objective, R, seed):
    _, Y = random_factors(seed)
    together = objective.solve_users(R, Y)
    for u in range(N_USERS):
        alone = objective
        if isinstance(objective, Weighted) and np.ndim(objective.weights) == 2:
            alone = replace(objective, weights=objective.weights[u : u + 1])
        np.testing.assert_array_equal(alone.solve_users(R[u : u + 1], Y, training=R), together[u : u + 1])


@given(R=matrices, seed=seeds)
def test_loss_is_the_sum_over_all_cells(R, seed):
    objective = OBJECTIVES["explicit, biases"]
    X, Y = random_factors(seed)
    observed = [(u, i) for u in range(N_USERS) for i in range(N_ITEMS) if R[u, i] == R[u, i]]
    mean = sum(R[cell] for cell in observed) / max(len(observed), 1)
    total = 0.0
    for u, i in observed:
        x, user_bias, y, item_bias = X[u, :-1], X[u, -1], Y[i, :-1], Y[i, -1]
        total += (R[u, i] - (mean + user_bias + item_bias + x @ y)) ** 2
        # regularization_exponent = 1: one ridge per observed cell, on the bias as well.
        total += 0.1 * (x @ x + user_bias**2) + 0.2 * (y @ y + item_bias**2)
    assert objective.loss(R, X, Y) == pytest.approx(total, rel=DIGITS)


# The papers' formulas.


@given(R=matrices, seed=seeds, alpha=st.sampled_from([0.0, 1.0, 40.0]))
def test_implicit_is_hu_koren(R, seed, alpha):
    """x_u = (Y'C^u Y + lambda I)^-1 Y'C^u p(u), with Y'C^u Y = Y'Y + Y'(C^u - I)Y as in the paper."""
    R = np.abs(np.nan_to_num(R))
    _, Y = random_factors(seed)
    X = Implicit(alpha=alpha, regularization=0.1).solve_users(R, Y)
    for u in range(N_USERS):
        C, p = np.diag(1.0 + alpha * R[u]), (R[u] > 0.0).astype(float)
        inverse = np.linalg.inv(Y.T @ Y + Y.T @ (C - np.eye(N_ITEMS)) @ Y + 0.1 * np.eye(FACTORS))
        np.testing.assert_allclose(X[u], inverse @ Y.T @ C @ p, rtol=DIGITS, atol=DIGITS)


def test_implicit_cells():
    R = np.array([[2.0, -3.0, 0.0], [NAN, 1.0, NAN]])
    C, T = Implicit(alpha=10.0, unobserved_weight=0.5).cells(R)
    np.testing.assert_array_equal(C, [[21.0, 31.0, 0.5], [0.5, 11.0, 0.5]])
    np.testing.assert_array_equal(T, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def test_popular_items_missing_weigh_more():
    R = np.array([[2.0, -3.0, 0.0], [NAN, 1.0, NAN]])
    C, _ = Implicit(alpha=10.0, unobserved_weight=0.5, popularity_exponent=1.0).cells(R)
    # Counts 1, 2, 0: p = 3 * [1, 2, 0] / 3.
    np.testing.assert_array_equal(C, [[21.0, 31.0, 0.0], [0.5, 11.0, 0.0]])


def test_popularity():
    counts = np.array([4, 1, 0, 16])
    np.testing.assert_array_equal(popularity(counts, 0.0), [1.0, 1.0, 1.0, 1.0])
    np.testing.assert_array_equal(popularity(counts, 0.5), 4.0 * np.array([2.0, 1.0, 0.0, 4.0]) / 7.0)
    np.testing.assert_array_equal(popularity(np.zeros(2), 0.5), [0.0, 0.0])


def test_explicit_cells_keep_zero_ratings():
    C, T = Explicit().cells(np.array([[0.0, NAN], [-1.0, 4.0]]))
    np.testing.assert_array_equal(C, [[1.0, 0.0], [1.0, 1.0]])
    np.testing.assert_array_equal(T, [[0.0, 0.0], [-1.0, 4.0]])


def test_weighted_cells():
    R = np.array([[5.0, NAN, 0.0, NAN], [1.0, NAN, NAN, 2.0]])
    objective = Weighted(
        item_weights=linear_weights, weights=np.array([[1.0, 1.0, 3.0, 1.0]] * 2), unobserved_weight=0.25
    )
    C, T = objective.cells(R)
    # Counts 2, 0, 1, 1: weights 0.1 + 1 / count, none for the item without cells.
    np.testing.assert_array_equal(C, [[0.6, 0.25, 1.1 * 3.0, 0.25], [0.6, 0.25, 0.25, 1.1]])
    np.testing.assert_array_equal(T, [[5.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 2.0]])


def test_item_weights_by_count():
    counts = np.array([1, 4, 0])
    np.testing.assert_array_equal(linear_weights(counts, w0=0.5, wk=2.0), [2.5, 1.0, 2.5])
    np.testing.assert_array_equal(exponential_weights(counts, w0=0.5, e=0.5), [1.5, 1.0, 1.5])


def test_ridges():
    observed = np.array([[True, True, False], [False, False, False]])
    users, items = frequency_scaled_ridges(observed, (2.0, 3.0), 1.0, 0.5)
    np.testing.assert_array_equal(users, [2.0 * 3.5, 2.0 * 1.5])
    np.testing.assert_array_equal(items, [3.0 * 2.0, 3.0 * 2.0, 3.0 * 1.0])
    users, items = frequency_scaled_ridges(observed, 2.0, 0.0, 0.0)
    np.testing.assert_array_equal(users, [2.0, 2.0])
    np.testing.assert_array_equal(items, [2.0, 2.0, 2.0])


def test_dislikes_and_stored_zeros_count_as_each_objective_says():
    R = np.array([[-1.0, 0.0, 2.0, NAN]])
    assert Implicit(regularization=1.0, regularization_exponent=1.0, unobserved_weight=0.0).ridges(R)[0] == 2.0
    assert Explicit(regularization=1.0).ridges(R)[0] == 3.0
    assert Weighted(regularization=1.0, regularization_exponent=1.0).ridges(R)[0] == 3.0


# One objective as another.


@given(R=matrices, seed=seeds)
def test_plain_on_a_full_matrix_is_wals_with_all_weights_one(R, seed):
    _, Y = random_factors(seed)
    full = np.nan_to_num(R)
    plain = Weighted(unobserved_weight=1.0).solve_users(full, Y)
    np.testing.assert_array_equal(plain, Weighted(weights=np.ones(R.shape)).solve_users(full, Y))
    together = np.linalg.solve(Y.T @ Y + 0.1 * np.eye(FACTORS), Y.T @ full.T).T
    np.testing.assert_allclose(plain, together, rtol=DIGITS, atol=DIGITS)


@given(R=matrices, seed=seeds)
def test_explicit_without_biases_is_wals_with_all_weights_one(R, seed):
    _, Y = random_factors(seed)
    explicit = Explicit(biases=False, regularization=0.1)
    weighted = Weighted(regularization=0.1, regularization_exponent=1.0)
    np.testing.assert_array_equal(explicit.solve_users(R, Y), weighted.solve_users(R, Y))


# The texts' loops.


def text_demo() -> np.ndarray:
    return np.random.default_rng(42).choice([0, 1], size=(50, 30), p=[0.9, 0.1])


def observed_rmse(R: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> float:
    return float(np.sqrt(np.sum(weights * (R - predicted) ** 2) / np.sum(weights)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_text_als_prints_what_the_text_prints(dtype):
    R = text_demo()
    U, V, item_weights, mask = text_als(R, dtype=dtype)
    assert U.dtype == V.dtype == dtype
    assert f"{observed_rmse(R, U @ V.T, mask):.4f}" == "0.4026"
    assert f"{observed_rmse(R, U @ V.T, mask * item_weights):.4f}" == "0.4026"
    assert f"{np.linalg.norm(R - U @ V.T):.4f}" == "6.9064"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_text_wals_prints_what_the_text_prints(dtype):
    R = text_demo()
    U, V, item_weights, mask = text_wals(R, dtype=dtype)
    assert U.dtype == V.dtype == dtype
    assert f"{observed_rmse(R, U @ V.T, mask):.4f}" == "0.0925"
    assert f"{observed_rmse(R, U @ V.T, mask * item_weights):.4f}" == "0.0931"
    assert f"{np.linalg.norm(R - U @ V.T):.4f}" == "31.8075"


def test_weighted_is_the_text_wals_loop():
    R = text_demo() * np.random.default_rng(0).integers(1, 6, size=(50, 30))
    objective = Weighted(item_weights=linear_weights, regularization=0.5)
    stored = np.where(R > 0, R, NAN)
    _, V = text_start(R.shape, 4, 7, np.float64)
    for _ in range(3):
        U = objective.solve_users(stored, V)
        V = objective.solve_items(stored, U)
    text_U, text_V, _, _ = text_wals(R, 4, 3, 0.5, weight_fn=linear_weights, seed=7, dtype=np.float64)
    np.testing.assert_allclose(U, text_U, rtol=DIGITS, atol=DIGITS)
    np.testing.assert_allclose(V, text_V, rtol=DIGITS, atol=DIGITS)


def test_plain_is_the_text_als_loop():
    R = text_demo().astype(float)
    objective = Weighted(unobserved_weight=1.0, regularization=0.5)
    stored = np.where(R > 0.0, R, NAN)
    _, V = text_start(R.shape, 4, 7, np.float64)
    for _ in range(3):
        U = objective.solve_users(stored, V)
        V = objective.solve_items(stored, U)
    text_U, text_V, _, _ = text_als(R, 4, 3, 0.5, seed=7, dtype=np.float64)
    np.testing.assert_allclose(U, text_U, rtol=DIGITS, atol=DIGITS)
    np.testing.assert_allclose(V, text_V, rtol=DIGITS, atol=DIGITS)


def test_every_cell_that_is_not_nan_is_data_where_zeros_are():
    R = np.array([[0.0, 2.0], [NAN, -1.0]])
    *_, mask = text_als(R, rank=1, iters=0, zero_means_missing=False)
    np.testing.assert_array_equal(mask, [[1.0, 1.0], [0.0, 1.0]])
