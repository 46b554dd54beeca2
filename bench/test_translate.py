"""Every translation beside the peer itself: users that are exact for its items there are so here, and the other way."""

import numpy as np
import pytest
import scipy.sparse as sp

import fastals
from fastals.compat import translate
from tests.helpers import CLASSIC

# The peers' deprecations are theirs.
pytestmark = pytest.mark.filterwarnings("default")

K = 4


@pytest.fixture(scope="module", name="R")
def cells() -> sp.csr_matrix:
    rng = np.random.default_rng(0)
    return sp.random(60, 40, 0.2, "csr", np.float32, rng, lambda n: rng.integers(1, 6, n))


def folded_in(model, cells, X, Y, item_biases=None):
    """Rows of our model for the peer's factors of the other side: users, and items but where there are biases."""
    model.set_params(iterations=0, dtype="float64").fit(cells)
    model.user_factors_, model.item_factors_ = X.astype(np.float64), Y.astype(np.float64)
    if item_biases is not None:
        model.item_biases_ = item_biases.astype(np.float64)
        return model.fold_in_users(cells), None
    return model.fold_in_users(cells), model.fold_in_items(cells)


def translated(translation, R):
    model = getattr(fastals, translation.model)(**translation.params)
    return model, translation.cells(R)


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())


def implicit_rows(params, cells):
    """Return users exact for items, the items, and items exact for these users."""
    als = pytest.importorskip("implicit.cpu.als")
    model = als.AlternatingLeastSquares(**params | {"use_cg": False, "random_state": 0, "iterations": 3})
    model.fit(cells, show_progress=False)
    model.user_factors = model.recalculate_user(np.arange(cells.shape[0]), cells)
    return model.user_factors, model.item_factors, model.recalculate_item(np.arange(cells.shape[1]), cells.T.tocsr())


def irspack_rows(params, cells):
    irspack = pytest.importorskip("irspack")
    model = irspack.IALSRecommender(cells, **params | {"solver_type": "CHOLESKY", "train_epochs": 3}).learn()
    Y = model.trainer_as_ials.core_trainer.item
    X = model.compute_user_embedding(cells)
    model.trainer_as_ials.core_trainer.user = X
    return X, Y, model.compute_item_embedding(cells)


def cmfrec_rows(params, cells):
    """It solves the users last."""
    cmfrec = pytest.importorskip("cmfrec")
    model = cmfrec.CMF_implicit(**params | {"use_cg": False, "niter": 3, "random_state": 0, "nthreads": 1})
    model.fit(sp.coo_matrix(cells))
    return model.A_, model.B_, None


def compare(model, cells, rows):
    X, Y, exact_items = rows
    users, items = folded_in(model, cells, X, Y)
    close(users, X)
    if exact_items is not None:
        close(items, exact_items)


@pytest.mark.parametrize("alpha", [1.0, 3.0])
def test_from_implicit(R, alpha):
    theirs = R.copy()
    theirs.data[::4] *= -1
    theirs.data[1::7] = 0
    params = {"factors": K, "regularization": 0.5, "alpha": alpha}
    compare(*translated(translate.from_implicit(**params), theirs), implicit_rows(params, theirs))


@pytest.mark.parametrize("kind", ["IALSPP", "ORIGINAL"])
@pytest.mark.parametrize("nu", [0.0, 1.0])
@pytest.mark.parametrize("scaling", ["none", "log"])
def test_from_irspack(R, kind, nu, scaling):
    params = {"n_components": K, "alpha0": 0.2, "reg": 0.1, "nu": nu, "loss_type": kind, "confidence_scaling": scaling}
    compare(*translated(translate.from_irspack(**params), R), irspack_rows(params, R))


@pytest.mark.parametrize("logarithm", [False, True])
@pytest.mark.parametrize("lambda_", [0.5, [0.0, 0.0, 0.5, 0.2, 0.0, 0.0]])
def test_from_cmfrec_implicit(R, logarithm, lambda_):
    params = {"k": K, "lambda_": lambda_, "alpha": 2.0, "apply_log_transf": logarithm}
    compare(*translated(translate.from_cmfrec_implicit(**params), R), cmfrec_rows(params, R))


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("scale", [False, True])
def test_cmfrec_explicit_there_and_back(R, biases, scale):
    cmfrec = pytest.importorskip("cmfrec")
    ours = fastals.ExplicitALS(K, 0.5, biases=biases, regularization_exponent=float(scale))
    there = translate.to_cmfrec(ours)
    theirs = cmfrec.CMF(**there.params | {"niter": 3, "use_float": False, "random_state": 0, "nthreads": 1})
    theirs.fit(sp.coo_matrix(there.cells(R)))
    del there.params["use_cg"]
    back = translate.from_cmfrec_explicit(**there.params)
    model, cells = translated(back, R)
    users, _ = folded_in(model, cells, theirs.A_, theirs.B_, theirs.item_bias_ if biases else None)
    close(users, np.column_stack([theirs.A_, theirs.user_bias_]) if biases else theirs.A_)


def classic(**params):
    """The model of Hu, Koren and Volinsky."""
    return fastals.ImplicitALS(K, **CLASSIC[fastals.ImplicitALS] | {"alpha": 2.0} | params)


MODELS = [classic(regularization=0.5), classic(regularization=0.5, unobserved_weight=0.3)]


@pytest.mark.parametrize("model", MODELS, ids=["a0=1", "a0=0.3"])
def test_to_implicit(R, model):
    there = translate.to_implicit(model)
    compare(model, R, implicit_rows(there.params, there.cells(R)))


@pytest.mark.parametrize("model", [*MODELS, classic(regularization=0.1, regularization_exponent=0.5)])
def test_to_irspack(R, model):
    there = translate.to_irspack(model)
    compare(model, R, irspack_rows(there.params, there.cells(R)))


@pytest.mark.parametrize("model", [*MODELS, classic(regularization=(0.5, 0.2))])
def test_to_cmfrec(R, model):
    there = translate.to_cmfrec(model)
    compare(model, R, cmfrec_rows(there.params, there.cells(R)))
