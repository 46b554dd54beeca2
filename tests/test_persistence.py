"""Saved and loaded models; the file itself is the matter of test_storage."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from scipy import sparse

import fastals
from fastals import ExplicitALS, ImplicitALS, Interactions, WeightedALS, storage
from tests.helpers import (
    GOOD,
    SMALL,
    Case,
    every_case,
    example,
    fitted,
    refused,
    same_bits,
    same_model,
    stored,
)


@every_case
def test_a_loaded_model_has_the_same_bits(case: Case, tmp_path):
    R = example()
    model, _, extra = case.build(R, **SMALL)
    cells = stored(R)
    model.fit(cells, **extra)
    model.save(tmp_path / "model")
    loaded = fastals.load(tmp_path / "model.npz")
    assert type(loaded) is type(model)
    assert same_model(loaded, model)
    assert loaded.loss(cells, **extra) == model.loss(cells, **extra)
    assert same_bits(loaded.fold_in_users(cells), model.fold_in_users(cells))
    assert same_bits(loaded.predict(range(20), range(20)), model.predict(range(20), range(20)))
    for ours, theirs in zip(loaded.recommend(range(30)), model.recommend(range(30)), strict=True):
        assert same_bits(ours, theirs)
    if not callable(model.get_params().get("item_weights")) or hasattr(model.item_weights, "__dataclass_fields__"):
        same = {name: np.array_equal(value, getattr(loaded, name)) for name, value in model.get_params().items()}
        assert all(same.values()), same


def test_every_dtype_and_random_state_can_be_saved(tmp_path):
    for dtype in ("float32", np.float32, np.dtype("float64"), float):
        fitted(dtype=dtype, random_state=np.random.default_rng(0)).save(tmp_path / "model.npz")
        loaded = fastals.load(tmp_path / "model.npz")
        assert np.dtype(loaded.dtype) == np.dtype(dtype)
        assert loaded.random_state is None
        assert loaded.fit(GOOD).item_factors_.dtype == np.dtype(dtype)


def saved_and_loaded(model, tmp_path):
    model.save(tmp_path / "model")
    return fastals.load(tmp_path / "model.npz")


PARAMETERS_SET_SINCE = [
    (ImplicitALS, {"regularization": (100.0, 20.0), "alpha": 20.0, "unobserved_weight": 0.1}),
    (ExplicitALS, {"regularization": 100.0, "biases": False}),
    (WeightedALS, {"regularization": 100.0, "item_weights": np.full(20, 3.0), "unobserved_weight": 1.0}),
]


@pytest.mark.parametrize(("cls", "since"), PARAMETERS_SET_SINCE)
def test_a_loaded_model_is_what_was_fitted_and_has_the_parameters_set_since(cls, since, tmp_path):
    model = fitted(cls)
    model.set_params(**since)
    loaded = saved_and_loaded(model, tmp_path)
    assert all(np.array_equal(getattr(loaded, name), value) for name, value in since.items())
    assert same_bits(loaded.fold_in_users(GOOD), model.fold_in_users(GOOD))
    assert same_bits(loaded.fold_in_items(GOOD), model.fold_in_items(GOOD))
    assert same_bits(loaded.predict([0, 1], [1, 2]), model.predict([0, 1], [1, 2]))
    assert loaded.loss(GOOD) == model.loss(GOOD)
    assert same_bits(loaded.fit(GOOD).item_factors_, model.fit(GOOD).item_factors_)


def with_header(path, change) -> None:
    """Write a model's file again with another header."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(arrays["header"].tobytes())
    change(header)
    np.savez(path, **(arrays | {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}))


@every_case
def test_files_that_hold_parameters_only_are_read(case: Case, tmp_path):
    model, _, extra = case.build(example(), **SMALL)
    model.fit(GOOD, **extra).save(tmp_path / "model")
    with_header(tmp_path / "model.npz", lambda header: header.pop("objective"))
    assert same_bits(fastals.load(tmp_path / "model.npz").fold_in_users(GOOD), model.fold_in_users(GOOD))


def test_a_damaged_objective_is_refused(tmp_path):
    # Shapes depend on it: with True for 5, kernels would read past the panels.
    for name, value in {"biases": 5, "unknown": 1.0}.items():
        fitted(ExplicitALS).save(tmp_path / "model")
        with_header(
            tmp_path / "model.npz", lambda header, name=name, value=value: header["objective"].update({name: value})
        )
        with pytest.raises(ValueError, match=rf"lacks a part of a fastals model .*{name}"):
            fastals.load(tmp_path / "model.npz")


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (ImplicitALS, {"regularization": (np.float32(0.1), np.longdouble(0.1)), "alpha": Fraction(1, 2)}),
        (ExplicitALS, {"factors": np.int64(2), "random_state": np.uint8(1), "biases": np.bool_(False)}),
        (WeightedALS, {"item_weights": fastals.LinearWeights(np.float32(0.1), np.int64(1)), "tol": np.float64(0.0)}),
        (WeightedALS, {"item_weights": [np.float32(0.1)] * 20}),
    ],
)
def test_every_kind_of_number_can_be_saved(cls, params, tmp_path):
    model = fitted(cls, **params)
    loaded = saved_and_loaded(model, tmp_path)
    assert same_bits(loaded.fold_in_users(GOOD), model.fold_in_users(GOOD))
    assert same_model(loaded.fit(GOOD), model)


class HalfWeights(fastals.LinearWeights):
    def __call__(self, counts):
        return super().__call__(counts) / 2


class Mine(ImplicitALS):
    """A subclass with parameters of its own."""

    def __init__(self, strength: float = 20.0):
        super().__init__(factors=3, alpha=strength, iterations=2, random_state=0)


def test_a_subclass_is_loaded_as_the_model_it_derives_from(tmp_path):
    model = Mine().fit(GOOD)
    loaded = saved_and_loaded(model, tmp_path)
    assert type(loaded) is ImplicitALS
    assert loaded.get_params() == ImplicitALS(factors=3, alpha=20.0, iterations=2, random_state=0).get_params()
    assert same_bits(loaded.fold_in_users(GOOD), model.fold_in_users(GOOD))
    weighted = fitted(WeightedALS, item_weights=HalfWeights())
    loaded = saved_and_loaded(weighted, tmp_path)
    assert np.array_equal(loaded.item_weights, weighted._fitted.statistics.weight)
    assert same_bits(loaded.fold_in_users(GOOD), weighted.fold_in_users(GOOD))


def test_a_model_saved_without_its_cells_says_so(tmp_path):
    model = fitted()
    model.save(tmp_path / "model", include_cells=False)
    loaded = fastals.load(tmp_path / "model.npz")
    sentence = (
        "this model was saved without its training interactions, so it does not know what users have: "
        "save it with include_cells=True, or pass exclude=R_rows, a sparse matrix with a row for each user asked for, "
        "or exclude_seen=False"
    )
    refused(sentence, ValueError, loaded, 0, method="recommend")
    rows = sparse.csr_array(np.nan_to_num(example()))
    lists = [row.indices.tolist() for row in rows]
    for exclude in (rows, lists, Interactions(rows)):
        assert same_bits(loaded.recommend(exclude=exclude)[1], model.recommend()[1])
    assert loaded.recommend(exclude_seen=False)[0].shape == model.recommend()[0].shape
    refused(sentence, ValueError, loaded, 0, method="recommend", exclude=[1])
    assert same_bits(loaded.predict(0, 1), model.predict(0, 1))


def test_damaged_arrays_are_refused_before_they_reach_a_kernel(tmp_path):
    fitted(ExplicitALS).save(tmp_path / "model")
    header, good = storage.read(tmp_path / "model.npz")
    for name, damaged in {
        "item_factors_": good["item_factors_"][:, :-1],
        "user_factors_": good["user_factors_"][0],
        "user_biases_": good["user_biases_"][:-1],
        "item_weight": good["item_weight"][:-1],
        "item_background": good["item_background"].astype(np.float32)[:-1],
        "seen_indptr": good["seen_indptr"] + 10**9,
        "seen_indices": good["seen_indices"][:-1],
        "seen_values": good["seen_values"][:-1],
        "seen_weights": good["seen_weights"].astype(np.int64),
    }.items():
        storage.write(tmp_path / "damaged.npz", header, good | {name: damaged})
        with pytest.raises(ValueError, match=f"damaged.npz is damaged: .*{name[5:]}.*; save the model again$"):
            fastals.load(tmp_path / "damaged.npz")
    beyond = good | {"seen_indices": good["seen_indices"] + np.int32(1)}
    storage.write(tmp_path / "damaged.npz", header, beyond)
    with pytest.raises(ValueError, match=r"damaged.npz is damaged: seen_indices has items beyond the model's 20"):
        fastals.load(tmp_path / "damaged.npz")
    del header["mean"]
    storage.write(tmp_path / "damaged.npz", header, good)
    with pytest.raises(ValueError, match=r"damaged.npz lacks a part of a fastals model \(KeyError\('mean'\)\)"):
        fastals.load(tmp_path / "damaged.npz")
