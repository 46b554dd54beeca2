"""Features mean what the offsets model of cmfrec means by them: both find the same minimum of the same objective.

Its `OMF_implicit` has no such objective: it fits without attributes, and describes what it got by them afterwards.
"""

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp

import fastals
from fastals.objectives import FEATURES

RIDGE = 2.0

Array = npt.NDArray[np.float64]


def ratings() -> tuple[sp.csr_array, Array, Array]:
    """Return ratings that follow from features, and the features of users and items."""
    rng = np.random.default_rng(0)
    F, H = rng.standard_normal((50, 3)), rng.standard_normal((35, 2))
    X, Y = F @ rng.standard_normal((3, 3)), H @ rng.standard_normal((2, 3)) + rng.standard_normal((35, 3))
    return sp.csr_array(np.where(rng.random((50, 35)) < 0.4, X @ Y.T, 0)), F, H


def objective(R: sp.csr_array, X: Array, Y: Array, F: Array, H: Array, A: Array, B: Array) -> float:
    """Return sum (r - x.y)^2 + ridge (|X - FA|^2 + |Y - HB|^2 + 100 |A|^2 + 100 |B|^2)."""
    cells = R.tocoo()
    errors = cells.data - (X[cells.row] * Y[cells.col]).sum(axis=1)
    free = np.sum((X - F @ A) ** 2) + np.sum((Y - H @ B) ** 2)
    return float(np.sum(errors**2) + RIDGE * (free + FEATURES * (np.sum(A**2) + np.sum(B**2))))


@pytest.mark.filterwarnings("default")  # cmfrec's deprecations are its own
def test_features_of_ratings_are_the_attributes_of_cmfrec() -> None:
    cmfrec = pytest.importorskip("cmfrec")
    R, F, H = ratings()

    ours = fastals.ExplicitALS(
        3,
        regularization=RIDGE,
        regularization_exponent=0.0,
        biases=False,
        iterations=2000,
        dtype="float64",
        random_state=0,
    ).fit(R, user_features=F, item_features=H)
    ridges = np.array([0.0, 0.0, RIDGE, RIDGE, FEATURES * RIDGE, FEATURES * RIDGE])
    options = {"user_bias": False, "item_bias": False, "center": False, "add_intercepts": False}
    theirs = cmfrec.OMF_explicit(k=3, lambda_=ridges, use_float=False, nthreads=1, **options)
    theirs.fit(sp.coo_matrix(R), U=F, I=H)

    A, B = ours.user_feature_factors_, ours.item_feature_factors_
    of_ours = objective(R, ours.user_factors_, ours.item_factors_, F, H, A, B)
    # Its A_ and B_ are what features leave.
    X, Y = theirs.A_ + F @ theirs.C_, theirs.B_ + H @ theirs.D_
    of_theirs = objective(R, X, Y, F, H, theirs.C_, theirs.D_)
    assert of_ours < 0.1 * objective(R, 0 * X, 0 * Y, F, H, 0 * A, 0 * B)
    assert of_ours == pytest.approx(of_theirs, rel=1e-4)
    assert of_ours == pytest.approx(ours.loss_history_[-1], rel=1e-9)
