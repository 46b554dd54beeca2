"""Numbers that follow from the data."""

import numpy as np
import pytest
from scipy import sparse

import fastals
from fastals import ExplicitALS, ImplicitALS, defaults
from fastals.compat import translate

RNG = np.random.default_rng(0)
R = sparse.csr_array(np.where(RNG.random((30, 20)) < 0.2, RNG.integers(1, 6, (30, 20)), 0).astype(np.float64))
FEW = {"factors": 3, "iterations": 2, "dtype": "float64", "random_state": 0}


def with_empty(matrix, users=7, items=11):
    """The same interactions in a catalogue with users and items that have none."""
    return sparse.csr_array((matrix.data, matrix.indices, np.append(matrix.indptr, [matrix.nnz] * users)),
                            shape=(matrix.shape[0] + users, matrix.shape[1] + items))  # fmt: skip


def parts(model, matrix):
    """Sum of the unobserved weights of a user, and the mean ridges of users and items with interactions."""
    fitted = model._fitted
    background = fitted.statistics.background.sum()
    ridges = []
    for side, counts in enumerate((np.diff(matrix.indptr), np.bincount(matrix.indices, minlength=matrix.shape[1]))):
        others = matrix.shape[1 - side]
        scale = counts[counts > 0] + model.unobserved_weight_ * others
        ridges.append(model.regularization_[side] * np.mean(scale**model.regularization_exponent))
    return background, ridges


@pytest.mark.parametrize("alpha", [0.0, 2.0])
@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_the_rules_for_implicit_feedback(alpha, exponent):
    model = ImplicitALS(**FEW, alpha=alpha, regularization_exponent=exponent).fit(R)
    users, items = np.count_nonzero(np.diff(R.indptr)), len(np.unique(R.indices))
    confidences = (1 + alpha * R.data).sum()
    background, (of_users, of_items) = parts(model, R)
    assert background * users == pytest.approx(10 * confidences, rel=0.01)  # rounded to three digits
    share = 0.9 * (R.nnz / np.sqrt(users * items)) ** -0.4
    assert of_users == pytest.approx(share * confidences / users, rel=0.01)
    assert of_items == pytest.approx(share * confidences / items, rel=0.01)


def test_the_rule_for_ratings():
    model = ExplicitALS(**FEW).fit(R)
    users, items = np.count_nonzero(np.diff(R.indptr)), len(np.unique(R.indices))
    wanted = 0.55 * R.data.std() * (R.nnz / np.sqrt(users * items)) ** -0.4
    np.testing.assert_allclose(model.regularization_, wanted, rtol=0.01)


def test_ratings_on_another_scale_give_the_same_model_on_that_scale():
    """Ratings 10 times as high want 10 times the ridge: factors are then the root of 10 as large."""
    settings = FEW | {"biases": False, "iterations": 200}
    model, other = ExplicitALS(**settings).fit(R), ExplicitALS(**settings).fit(R * 10)
    np.testing.assert_allclose(other.regularization_, 10 * np.array(model.regularization_), rtol=1e-9)
    assert other.loss(R * 10) == pytest.approx(100 * model.loss(R), rel=1e-3)


def test_a_catalogue_with_items_that_nobody_has_gets_the_same_ridge():
    larger = with_empty(R, users=0)
    model, other = ImplicitALS(**FEW).fit(R), ImplicitALS(**FEW).fit(larger)
    for wanted, got in zip(parts(model, R), parts(other, larger), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0.015)


def test_the_order_of_the_data_does_not_count():
    order = RNG.permutation(R.shape[0])
    for cls in (ImplicitALS, ExplicitALS):
        assert cls(**FEW).fit(R).regularization_ == cls(**FEW).fit(R[order]).regularization_


def test_all_ratings_alike():
    alike = sparse.csr_array((np.full(R.nnz, 4.0), R.indices, R.indptr), shape=R.shape)
    assert ExplicitALS(**FEW).fit(alike).regularization_[0] > 0
    assert ExplicitALS(**FEW).fit(alike * 0.0).regularization_[0] > 0  # a stored 0 is a rating


def test_numbers_that_are_given_are_taken():
    model = ImplicitALS(**FEW, regularization=(0.1, 0.2), unobserved_weight=0.5).fit(R)
    assert (model.regularization_, model.unobserved_weight_) == ((0.1, 0.2), 0.5)
    same = ImplicitALS(**FEW).fit(R)
    given = ImplicitALS(**FEW, regularization=same.regularization_, unobserved_weight=same.unobserved_weight_).fit(R)
    np.testing.assert_array_equal(given.user_factors_, same.user_factors_)
    assert ImplicitALS(**FEW, unobserved_weight=0.0).fit(R).unobserved_weight_ == 0


def test_the_numbers_of_the_fit_stay(tmp_path):
    model = ImplicitALS(**FEW).fit(R)
    model.save(tmp_path / "model.npz")
    loaded = fastals.load(tmp_path / "model.npz")
    assert loaded.get_params()["regularization"] == "auto"
    assert loaded.regularization_ == model.regularization_
    np.testing.assert_array_equal(loaded.fold_in_users(R[:2]), model.user_factors_[:2])


def test_values_count_as_they_are_stored():
    """One number may stand for all values, and long data are summed in parts."""
    ones = fastals.Interactions(sparse.csr_array((np.ones(R.nnz), R.indices, R.indptr), shape=R.shape))
    assert defaults.unobserved_weight(ones, 1.0) == pytest.approx(2 * defaults.unobserved_weight(ones, 0.0), rel=0.01)
    values = RNG.random(2 * defaults.PART + 3)
    assert defaults._sum(values, np.abs) == pytest.approx(values.sum(), rel=1e-12)


@pytest.mark.parametrize("name", ["regularization", "unobserved_weight"])
def test_another_text_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be 'auto' or a number, got 'some'"):
        ImplicitALS(**{name: "some"}).fit(R)


def test_other_libraries_get_the_numbers_of_the_fit():
    model = ImplicitALS(**FEW, popularity_exponent=0.0, regularization_exponent=0.0)
    with pytest.raises(ValueError, match="regularization is 'auto', a rule that LensKit does not have: fit the model"):
        translate.to_lenskit(model)
    model.fit(R)
    wanted = np.array(model.regularization_) / model.unobserved_weight_
    np.testing.assert_allclose(list(translate.to_lenskit(model).params["regularization"].values()), wanted)
