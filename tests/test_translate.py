"""The loss of a translated model against the peer's formula, cell by cell; the peers themselves are in bench."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from scipy import sparse

import fastals
from fastals import ExplicitALS, ImplicitALS, WeightedALS
from fastals.compat import translate
from tests.helpers import CLASSIC

SHAPE = (9, 7)
K = 3


def data(low: float = 0.5) -> sparse.csr_matrix:
    """Positive cells; with `low` below 0 also negative ones and stored zeros."""
    rng = np.random.default_rng(0)
    matrix = sparse.random(*SHAPE, 0.4, "csr", np.float64, rng, lambda n: rng.uniform(0.5, 4.0, n))
    if low < 0:
        matrix.data[::3] *= -1
        matrix.data[1::5] = 0
    return matrix


def factors():
    rng = np.random.default_rng(1)
    return rng.normal(size=(SHAPE[0], K)), rng.normal(size=(SHAPE[1], K))


def formula(R, confidence, target, other, ridge):
    """Sum of the objective at the top of the module; `ridge` gets the counts of both sides."""
    X, Y = factors()
    C, T = np.full(R.shape, float(other)), np.zeros(R.shape)
    cells = R.tocoo()
    C[cells.row, cells.col], T[cells.row, cells.col] = confidence(cells.data), target(cells.data)
    users, items = (ridge(np.diff(side.indptr), n) for side, n in ((R, SHAPE[1]), (R.T.tocsr(), SHAPE[0])))
    return np.sum(C * (T - X @ Y.T) ** 2) + users @ np.sum(X**2, 1) + items @ np.sum(Y**2, 1)


def flat(ridge):
    return lambda counts, n: np.full(len(counts), ridge)


def ours(translation, R):
    """Loss of the translated model at the given factors."""
    params = translation.params | {"dtype": "float64", "iterations": 0, "random_state": 0}
    model = getattr(fastals, translation.model)(**params)
    model.fit(translation.cells(R))
    model.user_factors_, model.item_factors_ = factors()
    for side in ("user", "item"):
        if hasattr(model, f"{side}_biases_"):
            setattr(model, f"{side}_biases_", np.zeros(SHAPE[side == "item"]))
    return model.loss(translation.cells(R))


def loss(model, R):
    model.set_params(dtype="float64", iterations=0, random_state=0).fit(R)
    model.user_factors_, model.item_factors_ = factors()
    return model.loss(R)


def sign(r):
    return (r > 0).astype(float)


@pytest.mark.parametrize("alpha", [0.5, 2.0])
def test_from_implicit(alpha):
    R = data(-1)
    translation = translate.from_implicit(factors=K, regularization=0.3, alpha=alpha)
    wanted = formula(R, lambda r: alpha * np.abs(r), sign, 1, flat(0.3))
    assert ours(translation, R) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("scaling", ["none", "log"])
@pytest.mark.parametrize("kind", ["IALSPP", "ORIGINAL"])
def test_from_irspack(kind, scaling):
    R, a0 = data(), 0.2
    translation = translate.from_irspack(
        K, alpha0=a0, reg=0.3, nu=0.7, loss_type=kind, confidence_scaling=scaling, epsilon=2.0
    )

    def x(r):
        return np.log1p(r / 2.0) if scaling == "log" else r

    wanted = formula(
        R,
        lambda r: x(r) + a0,
        lambda r: x(r) / (x(r) + a0) if kind == "IALSPP" else np.ones_like(r),
        a0,
        lambda counts, n: 0.3 * (counts + a0 * n) ** 0.7,
    )
    assert ours(translation, R) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("logarithm", [False, True])
def test_from_cmfrec_implicit(logarithm):
    R = data()
    R.data = np.maximum(R.data, 1.0)
    translation = translate.from_cmfrec_implicit(K, 0.3, 2.0, apply_log_transf=logarithm)
    wanted = formula(R, lambda r: 1 + 2 * (np.log(r) if logarithm else r), np.ones_like, 1, flat(0.3))
    assert ours(translation, R) == pytest.approx(wanted, rel=1e-12)
    six = translate.from_cmfrec_implicit(K, [9, 9, 0.1, 0.2, 9, 9])
    assert six.params["regularization"] == (0.1, 0.2)


@pytest.mark.parametrize("rated", [False, True])
def test_from_lenskit(rated):
    R = data()
    translation = translate.from_lenskit(K, 0.3, weight=5.0, use_ratings=rated)
    wanted = formula(R, lambda r: 1 + 5 * (r if rated else np.ones_like(r)), np.ones_like, 1, flat(0.3))
    assert ours(translation, R) == pytest.approx(wanted, rel=1e-12)
    both = translate.from_lenskit(K, {"user": 0.1, "item": 0.2})
    assert both.params["regularization"] == (0.1, 0.2)


def test_damped_means():
    R = sparse.csr_matrix(np.array([[5.0, 3.0, 0.0, 0.0], [4.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    means = translate.damped_means(R, {"user": 1.0, "item": 2.0})
    assert means.mean == 4
    item = np.array([1 / (2 + 2), -1 / (1 + 2), 0, 0])
    np.testing.assert_allclose(means.item, item, rtol=1e-15)
    user = [(1 - item[0] - 1 - item[1]) / (2 + 1), (0 - item[0]) / (1 + 1), 0]
    np.testing.assert_allclose(means.user, user, rtol=1e-15)
    plain = translate.damped_means(R, 0.0)
    assert plain.item.tolist() == [0.5, -1, 0, 0]
    assert plain.user[2] == 0


@pytest.mark.parametrize("damping", [0.0, (1.0, 5.0)])
def test_from_lenskit_biased(damping):
    R = data(-1)
    translation = translate.from_lenskit_biased(K, {"user": 0.3, "item": 0.6}, damping)
    means = translate.damped_means(R, damping)
    cells = R.tocoo()
    left = R.copy()
    left.data = cells.data - means.mean - means.user[cells.row] - means.item[cells.col]
    X, Y = factors()
    ridge = 0.3 * np.diff(R.indptr) @ np.sum(X**2, 1) + 0.6 * np.bincount(R.indices, minlength=7) @ np.sum(Y**2, 1)
    wanted = formula(left, np.ones_like, lambda r: r, 0, flat(0.0)) + ridge
    assert ours(translation, R) == pytest.approx(wanted, rel=1e-12)
    assert translation.cells(R).nnz == R.nnz


def test_a_rating_that_the_means_explain_stays_a_cell():
    cells = translate.from_lenskit_biased(K).cells(np.full((2, 3), 4.0))
    assert cells.nnz == 6
    assert (cells.by_user.all_values == 0).all()


def test_ratings_to_lenskit_and_back():
    model = ExplicitALS(4, (0.3, 0.6), biases=False, iterations=7)
    there = translate.to_lenskit_biased(model, damping=(1.0, 2.0))
    assert there.params["damping"] == {"user": 1.0, "item": 2.0}
    back = translate.from_lenskit_biased(**there.params)
    assert ExplicitALS(**back.params).get_params() == model.get_params()
    R = data(-1)
    assert there.cells(R).nnz == R.nnz
    np.testing.assert_array_equal(there.cells(R).toarray(), R.toarray())


def test_from_spark():
    R = data(-1)
    explicit = translate.from_spark(K, regParam=0.3)
    wanted = formula(R, np.ones_like, lambda r: r, 0, lambda counts, n: 0.3 * counts)
    assert ours(explicit, R) == pytest.approx(wanted, rel=1e-12)
    R = data()
    implicit = translate.from_spark(K, regParam=0.3, implicitPrefs=True, alpha=2.0, nonnegative=True)
    wanted = formula(R, lambda r: 1 + 2 * np.abs(r), sign, 1, lambda counts, n: 0.3 * counts)
    assert ours(implicit, R) == pytest.approx(wanted, rel=1e-12)
    assert implicit.params["nonnegative"] is True


@pytest.mark.parametrize("scale", [False, True])
def test_from_cmfrec_explicit(scale):
    R = data(-1)
    translation = translate.from_cmfrec_explicit(K, 0.3, False, False, False, scale)
    wanted = formula(R, np.ones_like, lambda r: r, 0, lambda counts, n: 0.3 * counts ** float(scale))
    assert ours(translation, R) == pytest.approx(wanted, rel=1e-12)
    with_biases = translate.from_cmfrec_explicit(K, 0.3)
    mean = R.data.mean()
    wanted = formula(R, np.ones_like, lambda r: r - mean, 0, flat(0.3))
    assert ours(with_biases, R) == pytest.approx(wanted, rel=1e-12)


HU_KOREN = CLASSIC[ImplicitALS] | {"factors": K, "regularization": 0.3, "alpha": 2.0, "unobserved_weight": 0.5}


def test_to_implicit():
    R, model = data(-1), ImplicitALS(**HU_KOREN)
    translation = translate.to_implicit(model)
    theirs, params = translation.cells(R), translation.params
    assert theirs.nnz < R.nnz  # stored zeros are not cells
    wanted = formula(theirs, lambda r: params["alpha"] * np.abs(r), sign, 1, flat(params["regularization"]))
    assert loss(model, R) == pytest.approx(0.5 * wanted, rel=1e-12)
    there_and_back = translate.from_implicit(**params)
    assert ours(there_and_back, theirs) == pytest.approx(wanted, rel=1e-12)


def test_to_irspack():
    R, model = data(), ImplicitALS(**HU_KOREN | {"regularization_exponent": 0.7})
    translation = translate.to_irspack(model)
    assert translation.params["loss_type"] == "ORIGINAL"
    back = translate.from_irspack(**translation.params)
    assert ours(back, translation.cells(R)) == pytest.approx(loss(model, R), rel=1e-12)


@pytest.mark.parametrize(
    ("there", "back"),
    [(translate.to_cmfrec, translate.from_cmfrec_implicit), (translate.to_lenskit, translate.from_lenskit)],
)
def test_to_peers_that_add_the_one(there, back):
    R, model = data(), ImplicitALS(**HU_KOREN | {"regularization": (0.3, 0.6)})
    translation = there(model)
    params = {name: value for name, value in translation.params.items() if name in inspect.signature(back).parameters}
    assert ours(back(**params), translation.cells(R)) == pytest.approx(loss(model, R) / 0.5, rel=1e-12)


@pytest.mark.parametrize("params", [{"regularization_exponent": 0.0}, {"biases": False, "regularization": (0.1, 0.2)}])
def test_ratings_to_cmfrec_and_back(params):
    model = ExplicitALS(**{"factors": 4, "regularization": 0.3, "iterations": 7} | params)
    there = translate.to_cmfrec(model).params
    del there["use_cg"]
    assert ExplicitALS(**translate.from_cmfrec_explicit(**there).params).get_params() == model.get_params()


def test_ratings_to_spark_and_back():
    model = ExplicitALS(4, 0.3, biases=False, iterations=7)
    there = translate.to_spark(model)
    assert ExplicitALS(**translate.from_spark(**there.params).params).get_params() == model.get_params()
    R = data(-1)
    np.testing.assert_array_equal(there.cells(R).toarray(), R.toarray())
    assert there.cells(R).nnz == R.nnz  # a stored 0 is a rating


@pytest.mark.parametrize("nonnegative", [False, True])
def test_implicit_feedback_to_spark_and_back(nonnegative):
    model = classic(
        factors=4,
        regularization=0.3,
        regularization_exponent=1.0,
        regularization_counts="observed",
        alpha=2.0,
        nonnegative=nonnegative,
    )
    there = translate.to_spark(model)
    back = ImplicitALS(**translate.from_spark(**there.params).params)
    assert back.get_params() == model.get_params()
    with pytest.raises(ValueError, match="Spark accepts values above 0"):
        there.cells(data(-1))
    np.testing.assert_array_equal(there.cells(data()).toarray(), data().toarray())


def classic(**params):
    return ImplicitALS(**CLASSIC[ImplicitALS] | params)


def test_sizes_are_translated():
    assert translate.from_implicit(7, iterations=3).params["factors"] == 7
    assert translate.from_irspack(7, train_epochs=3).params["iterations"] == 3
    assert translate.to_irspack(classic(factors=7, iterations=3)).params["train_epochs"] == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: translate.from_implicit(alpha=-1.0), "alpha must be at least 0"),
        (lambda: translate.from_irspack(loss_type="x"), "loss_type must be one of"),
        (lambda: translate.from_irspack().cells(data(-1)), "irspack accepts values at least 0, and"),
        (lambda: translate.from_cmfrec_implicit(apply_log_transf=True).cells(data(-1)), "accepts values above 0"),
        (lambda: translate.from_cmfrec_implicit(lambda_=[1, 2]), "lambda_ must be one number or six"),
        (lambda: translate.from_cmfrec_explicit(user_bias=False), "all True or all False"),
        (lambda: translate.from_cmfrec_explicit(lambda_=[1.0] * 6), "one ridge for factors and biases"),
        (lambda: translate.from_spark(implicitPrefs=True).cells(data(-1)), "Spark with implicitPrefs, as translated"),
        (lambda: translate.to_irspack(classic(nonnegative=True)), "irspack cannot express nonnegative=True"),
        (lambda: translate.to_cmfrec(classic(biases=True)), "cmfrec cannot express biases=True: set it to False"),
        (lambda: translate.to_implicit(classic(regularization_counts="observed")), "regularization_counts='observed'"),
        (lambda: translate.to_spark(classic()), "Spark cannot express regularization_exponent=0.0: set it to 1"),
        (
            lambda: translate.to_implicit(classic(regularization=(1, 2))),
            r"implicit has one regularization for users and items, and this model has \(1.0, 2.0\)",
        ),
        (
            lambda: translate.to_implicit(classic(regularization_exponent=1.0)),
            "cannot express regularization_exponent=1.0: set it to 0",
        ),
        (
            lambda: translate.to_implicit(classic(popularity_exponent=1.0)),
            "cannot express popularity_exponent=1.0: set it to 0",
        ),
        (lambda: translate.to_implicit(classic(unobserved_weight=0.0)), "unobserved_weight=0"),
        (lambda: translate.to_implicit(ExplicitALS()), "implicit can express an ImplicitALS, got ExplicitALS"),
        (
            lambda: translate.to_irspack(classic(popularity_exponent=1.0)),
            "irspack cannot express popularity_exponent=1.0: set it to 0",
        ),
        (
            lambda: translate.to_irspack(classic(alpha=0.1, unobserved_weight=4.0)).cells(data()),
            "cannot weight an observed entry less than an unobserved one",
        ),
        (lambda: translate.to_cmfrec(classic()).cells(data(-1)), "cmfrec accepts values above 0"),
        (
            lambda: translate.to_cmfrec(ExplicitALS(regularization=0.1, regularization_exponent=0.5)),
            "regularization_exponent=0.5: set it to 0 or 1",
        ),
        (
            lambda: translate.to_cmfrec(ExplicitALS(regularization=(1, 2))),
            "set regularization to one number or biases to False",
        ),
        (
            lambda: translate.to_lenskit_biased(ExplicitALS(regularization=0.1)),
            "LensKit's BiasedMF cannot express biases=True: set it to False",
        ),
        (
            lambda: translate.to_lenskit_biased(ImplicitALS()),
            "LensKit's BiasedMF can express an ExplicitALS, got ImplicitALS",
        ),
        (
            lambda: translate.to_lenskit_biased(ExplicitALS(4, 0.1, biases=False, regularization_exponent=0.0)),
            "LensKit's BiasedMF cannot express regularization_exponent=0.0: set it to 1",
        ),
        (lambda: translate.damped_means(data(), -1.0), "damping must be at least 0"),
        (lambda: translate.damped_means(data(), (1.0, 2.0, 3.0)), "damping must be one number, .user, item."),
        (lambda: translate.from_lenskit_biased(regularization={"user": 1.0}), "regularization must be one number"),
        (lambda: translate.damped_means(sparse.csr_matrix((2, 3))), "no stored entries"),
        (
            lambda: translate.to_spark(ExplicitALS(regularization=0.1)),
            "Spark cannot express biases=True: set it to False",
        ),
        (lambda: translate.to_spark(WeightedALS()), "Spark can express an ExplicitALS or ImplicitALS, got WeightedALS"),
    ],
)
def test_what_has_no_counterpart_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
