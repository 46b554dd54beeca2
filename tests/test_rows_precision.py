"""Which rows a dtype holds: every row that is not told of is within 1%, at any confidences, weights and ridge."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastals
from fastals.errors import ImpreciseRowsWarning, SingularRowsWarning
from tests.fuzz.outcome import RIGHT
from tests.fuzz.problems import Problem, judged
from tests.helpers import CLASSIC, example, same_bits, same_model, sides, stored, weights_of
from tests.reference import Explicit, Implicit, Weighted

PROMISED = 0.01


def precise(A, r):
    """Solve in extended precision, by elimination with pivots on the diagonal."""
    A, r = A.copy(), r.copy()
    k = len(r)
    for i in range(k):
        for j in range(i + 1, k):
            factor = A[j, i] / A[i, i]
            A[j, i:] -= factor * A[i, i:]
            r[j] -= factor * r[i]
    for i in reversed(range(k)):
        r[i] = (r[i] - A[i, i + 1 :] @ r[i + 1 :]) / A[i, i]
    return r


def check_users(model, reference, R, told):
    """Each user solves the equations; where there is a ridge, and no warning, within what is promised."""
    X, fixed = sides(model)
    C, T = reference.cells(R)
    unobserved = reference.cells(np.full_like(R, np.nan), training=R)[0]
    Y, known = reference.regressors(fixed)
    ridges = reference.ridges(R)[0]
    wide = Y.astype(np.longdouble)
    tolerance = 3e-5 if model.dtype == "float32" else 1e-12
    for u in np.flatnonzero(reference.observed(R).any(axis=1)):
        ridge = np.longdouble(ridges[u]) * np.eye(Y.shape[1])
        A, r = (wide.T * C[u]) @ wide + ridge, wide.T @ (C[u] * (T[u] - reference.mean(R) - known))
        D = (wide.T * unobserved[u]) @ wide + ridge
        largest = np.abs(np.diag(A)).max() + np.diag(D).max()
        size = (
            largest * np.linalg.norm(X[u])
            + np.abs(wide).T.max(axis=1) @ np.ones(Y.shape[1]) * np.abs(C[u] * T[u]).sum()
        )
        assert np.linalg.norm((A @ X[u] - r).astype(float)) <= tolerance * len(Y) * size
        if ridges[u] > 1e-30 and not told:
            error, exact = X[u] - precise(A, r), precise(A, r)
            assert error @ D @ error <= PROMISED**2 * (exact @ D @ exact) + 1e-60


@st.composite
def extremes(draw):
    """A model, its reference, R, and what `fit` takes beside it."""
    seed = draw(st.integers(0, 2**16))
    R = np.abs(
        example(seed, (draw(st.integers(2, 14)), draw(st.integers(2, 12))), draw(st.sampled_from([0.3, 0.6, 0.95])))
    )
    ridge = draw(st.sampled_from([0.0, 1e-12, 1e-8, 1e-4, 0.1, 1.0, 1e3]))
    confidence = 10.0 ** draw(st.integers(-6, 12))
    weight = draw(st.sampled_from([0.0, 1e-4, 1.0, 10.0, 1e3, 1e6]))
    kind = draw(st.sampled_from(["implicit", "implicit, biases", "explicit", "explicit, biases", "weighted"]))
    settings = {"regularization": ridge}
    if "implicit" in kind:
        settings = CLASSIC[fastals.ImplicitALS] | settings | {"alpha": confidence, "unobserved_weight": weight}
        settings |= {"biases": "biases" in kind}
        return fastals.ImplicitALS, Implicit(**settings), settings, R, {}
    if kind == "weighted":
        weights = confidence * np.random.default_rng(seed).choice([0.1, 1.0, 3.0], R.shape)
        settings |= {"unobserved_weight": weight}
        given_too = {"weights": weights_of(R, weights)}
        return fastals.WeightedALS, Weighted(weights=weights, **settings), settings, R, given_too
    settings |= {"biases": "biases" in kind}
    return fastals.ExplicitALS, Explicit(**settings), settings, R, {}


@settings(max_examples=120, deadline=None)
@given(
    case=extremes(),
    factors=st.integers(1, 7),
    dtype=st.sampled_from(["float32", "float64"]),
    solver=st.sampled_from(["auto", "cholesky", "cg", "plain"]),
)
def test_every_fit_ends_with_rows_that_solve_their_equations(case, factors, dtype, solver):
    kind, reference, params, R, beside = case
    fits = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n_threads in (1, 3):
            model = kind(
                factors, iterations=3, dtype=dtype, solver=solver, random_state=0, n_threads=n_threads, **params
            )
            fits.append(model.fit(stored(R, dtype), **beside))
    told = {warning.category for warning in caught}
    assert told <= {ImpreciseRowsWarning, SingularRowsWarning}
    assert same_model(*fits)
    assert min(model.loss_history_) >= 0
    check_users(model, reference, R.astype(dtype).astype(float), bool(told))
    if not beside:
        folded = model.fold_in_users(stored(R, dtype))
        k = model.user_factors_.shape[1]
        assert same_bits(np.ascontiguousarray(folded[:, :k]), np.ascontiguousarray(model.user_factors_))
        for u in range(len(R)):
            assert same_bits(model.fold_in_users(stored(R[[u]], dtype)), folded[[u]])


@pytest.mark.parametrize("solver", ["auto", "cholesky", "cg", "plain"])
@pytest.mark.parametrize("alpha", [4e6, 1e9])
def test_high_confidences_in_float32(solver, alpha):
    R = np.abs(example(2, (60, 40), 0.3))
    model = fastals.ImplicitALS(
        16, **CLASSIC[fastals.ImplicitALS] | {"alpha": alpha}, solver=solver, random_state=0
    ).fit(stored(R, "float32"))
    check_users(model, Implicit(alpha=alpha), R, False)
    # Rounding the users' factors to float32 counts, also in what is told.
    assert model.loss_history_[-1] == pytest.approx(Implicit(alpha=alpha).loss(R, *sides(model)), rel=1e-3)


def test_an_unobserved_weight_far_above_the_confidences():
    R = np.abs(example(2, (60, 40), 0.97))
    params = {"alpha": 1.0, "unobserved_weight": 1e5}
    model = fastals.ImplicitALS(8, random_state=0, **CLASSIC[fastals.ImplicitALS] | params).fit(stored(R, "float32"))
    check_users(model, Implicit(**params), R, False)


@pytest.mark.parametrize("solver", ["auto", "cholesky", "plain"])
def test_a_ridge_that_float32_loses(solver):
    R = example(4, (80, 60), 0.4)
    R[R < 0] = np.nan
    model = fastals.WeightedALS(8, regularization=1e-12, solver=solver, random_state=0).fit(stored(R, "float32"))
    check_users(model, Weighted(regularization=1e-12), R, False)
    assert model.loss_history_[-1] == pytest.approx(model.loss(stored(R, "float32")), rel=1e-3)


def test_what_float64_does_not_hold_either_is_told():
    R = np.abs(example(2, (40, 60), 0.2))
    model = fastals.ImplicitALS(24, **CLASSIC[fastals.ImplicitALS] | {"alpha": 1e36}, dtype="float64", random_state=0)
    sentence = r"^the factors of \d+ users and \d+ items may be off by more than 1%: even float64 does not hold"
    with pytest.warns(ImpreciseRowsWarning, match=sentence) as told:
        model.fit(stored(R))
    assert [warning.filename for warning in told] == [__file__]
    assert np.isfinite(model.user_factors_).all()


def inverse_root(counts):
    return 1.0 / np.sqrt(1.0 + counts)


def drawn(shape, values):
    return np.random.default_rng(0).choice([*values, np.nan], shape)


SMALL = {"regularization": (1e-6, 1e6), "regularization_exponent": 2.0, "unobserved_weight": 1e5}
LARGE = np.array([[5e12, np.nan, np.nan, 5e11], [1.0, 1.0, np.nan, -2e12], [np.nan, 3e12, 5e12, np.nan]])
# What the fault suite has found: a background whose squares are 0 in float32, a row with a ridge of nothing that was
# worse than 0, rows determined by their confidences, losses beyond the dtype, and losses that were the small difference
# of large sums.
FOUND = {
    "a far background": ("weighted", SMALL | {"item_weights": inverse_root}, np.array([[1.0, 0.0]])),
    "the same, with hardly a ridge": (
        "weighted",
        SMALL | {"item_weights": inverse_root, "regularization": 1e-30},
        np.array([[1.0, 0.0]]),
    ),
    "ridges far apart, biases": (
        "explicit",
        {"regularization": (1e6, 1e-12), "regularization_exponent": 2.0},
        np.array([[500.0], [np.nan], [1.0]]),
    ),
    "ridges far apart, ratings": (
        "explicit",
        {"regularization": (1e-6, 1e6), "regularization_exponent": 0.5},
        drawn((8, 5), [0.5, 1.0, 3.0, 5.0]),
    ),
    "high confidences without a background": (
        "implicit",
        {"regularization": 1e-12, "alpha": 0.1, "unobserved_weight": 0.0, "popularity_exponent": 0.5},
        np.array([[1.0, 3e6, 3.0], [1.0, 1.0, 0.5], [0.5, 0.5, 0.5]]),
    ),
    "squares beyond float32": ("weighted", {"regularization": 1e6, "unobserved_weight": 10.0}, LARGE * 1e8),
    "high values, hardly a ridge": ("weighted", {"regularization": 1e-30, "regularization_exponent": 2.0}, LARGE),
}
KINDS = {
    "weighted": (fastals.WeightedALS, Weighted),
    "explicit": (fastals.ExplicitALS, Explicit),
    "implicit": (fastals.ImplicitALS, Implicit),
}


@pytest.mark.filterwarnings("ignore:the (factors|equations) of")
@pytest.mark.parametrize("solver", ["auto", "cholesky", "cg", "plain"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("found", FOUND)
def test_rows_and_losses_that_were_wrong(found, dtype, solver):
    name, params, R = FOUND[found]
    kind, reference = KINDS[name]
    R = R.astype(dtype).astype(float)
    for factors, iterations in ((2, 4), (16, 1), (5, 0)):
        model = kind(
            factors,
            iterations=iterations,
            dtype=dtype,
            solver=solver,
            random_state=0,
            **CLASSIC.get(kind, {}) | params,
        )
        assert judged(Problem(model, reference(**params), R, stored(R, dtype), None, True)) == RIGHT


@pytest.mark.filterwarnings("ignore:the equations of")
@pytest.mark.parametrize("solver", ["auto", "cholesky", "cg", "plain"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ridge", [0.0, 1e-30, 1.0])
def test_a_background_and_no_entry_with_a_confidence(ridge, dtype, solver):
    model = fastals.WeightedALS(2, regularization=ridge, unobserved_weight=1, dtype=dtype, solver=solver)
    model.fit([[1, np.nan]], weights=np.array([[0.0, 1.0]]))
    assert not model.user_factors_.any()
    assert not model.item_factors_.any()
    assert model.loss_history_[-1] == 0


@pytest.mark.parametrize("alpha", [1.0, 4e6])
def test_a_loss_computed_anew_takes_confidences_in_float64(alpha):
    R = np.abs(example(2, (60, 40), 0.3))
    params = CLASSIC[fastals.ImplicitALS] | {"alpha": alpha, "regularization": 0.125}
    model = fastals.ImplicitALS(16, random_state=0, **params).fit(stored(R, "float32"))
    X, Y = sides(model)
    reference = Implicit(alpha=alpha, regularization=0.125)
    C, T = reference.cells(R)
    summed = np.sum(C * (np.abs(T) + np.abs(X) @ np.abs(Y).T) ** 2)
    wanted = reference.loss(R, X, Y)
    assert abs(model.loss(stored(R, "float32")) - wanted) <= R.size * np.finfo(float).eps * summed
