"""Saved and loaded models; the file itself is the matter of test_storage."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

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

ROOT = Path(__file__).parent.parent


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
        with pytest.raises(
            ValueError, match=rf"model.npz is not a fastals model, or is damaged \(.*{name}.*\); save the"
        ):
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
        with pytest.raises(
            ValueError, match=rf"damaged.npz is not a fastals model, or is damaged \(.*{name[5:]}.*\); save"
        ):
            fastals.load(tmp_path / "damaged.npz")
    beyond = good | {"seen_indices": good["seen_indices"] + np.int32(1)}
    storage.write(tmp_path / "damaged.npz", header, beyond)
    with pytest.raises(ValueError, match=r"\(seen_indices has numbers from 1 to 20, wanted are 0 to 19\)"):
        fastals.load(tmp_path / "damaged.npz")
    del header["mean"]
    storage.write(tmp_path / "damaged.npz", header, good)
    with pytest.raises(ValueError, match=r"\(its header lacks mean\); save the model again$"):
        fastals.load(tmp_path / "damaged.npz")


# What is written.


def content(path) -> tuple[dict, dict]:
    """Return a file's header as JSON has it, and its arrays."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads(arrays.pop("header").tobytes()), arrays


def test_item_weights_are_arrays_of_the_file(tmp_path):
    fit, later = np.linspace(0, 2, 20), np.arange(20)
    model = fitted(WeightedALS, item_weights=fit)
    loaded = saved_and_loaded(model, tmp_path)
    header, arrays = content(tmp_path / "model.npz")
    assert header["params"]["item_weights"] == header["objective"]["item_weights"] == {"array": "item_weight"}
    assert "params_item_weights" not in arrays
    assert same_bits(loaded.item_weights, fit)
    loaded.item_weights[:] = 0  # the user's own: the fitted model does not change with it
    assert same_bits(loaded.fold_in_users(GOOD), model.fold_in_users(GOOD))
    loaded = saved_and_loaded(model.set_params(item_weights=later), tmp_path)
    header, arrays = content(tmp_path / "model.npz")
    assert header["params"]["item_weights"] == {"array": "params_item_weights"}
    assert header["objective"]["item_weights"] == {"array": "item_weight"}
    assert same_bits(arrays["params_item_weights"], later.astype(float))
    assert same_bits(loaded.item_weights, later.astype(float))
    assert same_bits(loaded.fold_in_users(GOOD), model.fold_in_users(GOOD))


@pytest.mark.parametrize("as_list", [True, False])
def test_item_weights_that_earlier_versions_wrote_as_json_are_read(as_list, tmp_path):
    model = fitted(WeightedALS, item_weights=np.linspace(0, 2, 20))
    model.save(tmp_path / "model")
    written = model.item_weights.tolist()

    def change(header):
        header["params"]["item_weights"] = written if as_list else {"array": written}
        header["objective"]["item_weights"] = {"array": written}

    with_header(tmp_path / "model.npz", change)
    loaded = fastals.load(tmp_path / "model")
    assert same_bits(loaded.item_weights, model.item_weights)
    assert same_bits(loaded.fold_in_users(GOOD), model.fold_in_users(GOOD))
    with pytest.raises(ValueError, match="item_weights is an array"):
        loaded.fold_in_items(GOOD)


def test_item_weights_for_another_set_of_items_can_be_set_before_saving(tmp_path):
    loaded = saved_and_loaded(fitted(WeightedALS).set_params(item_weights=np.ones(25)), tmp_path)
    assert loaded.item_weights.shape == (25,)


@pytest.mark.parametrize(
    ("cls", "params", "error", "sentence"),
    [
        (ImplicitALS, {"alpha": np.nan}, ValueError, "alpha must be finite, got nan"),
        (ImplicitALS, {"regularization": (0.1, np.inf)}, ValueError, r"regularization\[1\] must be finite, got inf"),
        (ImplicitALS, {"tol": np.float32(np.nan)}, ValueError, "tol must be finite, got .*nan.*"),
        (ImplicitALS, {"factors": "8"}, TypeError, "factors must be an integer, got '8' of type str"),
        (ImplicitALS, {"solver": "lu"}, ValueError, "solver must be one of .*, got 'lu'"),
        (ImplicitALS, {"dtype": int}, ValueError, "dtype must be 'float32' or 'float64', got 'int64'"),
        (ImplicitALS, {"random_state": object()}, TypeError, "random_state must be an int, .* of type object"),
        (ExplicitALS, {"biases": 1}, TypeError, "biases must be True or False, got 1 of type int"),
        (
            WeightedALS,
            {"item_weights": fastals.LinearWeights(1.0, np.nan)},
            ValueError,
            r"item_weights\.wk must be finite, got nan",
        ),
        (
            WeightedALS,
            {"item_weights": np.where(np.arange(20) == 4, np.nan, 1)},
            ValueError,
            "item_weights has numbers from nan to nan, wanted are 0 to 1.79.*",
        ),
        (WeightedALS, {"item_weights": ["a"] * 20}, TypeError, "item_weights must be numbers, got dtype <U1"),
    ],
)
def test_parameters_that_could_not_be_read_are_not_written(cls, params, error, sentence, tmp_path):
    model = fitted(cls)
    model.save(tmp_path / "model")
    before = (tmp_path / "model.npz").read_bytes()
    refused(sentence, error, model.set_params(**params), tmp_path / "model", method="save")
    assert (tmp_path / "model.npz").read_bytes() == before


def test_factors_of_two_lengths_are_not_written(tmp_path):
    model = fitted()
    model.user_factors_ = np.ones((30, 5))
    sentence = "user_factors_ has 5 columns and item_factors_ 3: assign factors of one length to both"
    refused(sentence, ValueError, model, tmp_path / "model", method="save")


def test_a_model_whose_last_interaction_is_gone(tmp_path):
    model = ImplicitALS(**SMALL).fit(np.eye(2, 3, dtype=np.float32)[:1]).update(0, 0, 0)
    loaded = saved_and_loaded(model, tmp_path)
    assert loaded.interactions_of(0)[0].tolist() == []
    assert loaded.recommend(0, n=3)[0].tolist() == model.recommend(0, n=3)[0].tolist()


# What is read.

DAMAGED = r"\.npz is not a fastals model, or is damaged \({}\); save the model again"
NESTED = json.loads("[" * 300 + "]" * 300)


def put(**entries):
    """Return a change that puts entries into a header, or into its params or objective."""

    def change(header):
        for name, value in entries.items():
            where, _, key = name.partition("__")
            if key:
                header[where][key] = value
            else:
                header[where] = value

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (put(mean="1"), "mean must be a number, got '1' of type str"),
        (put(mean=True), "mean must be a number, got True of type bool"),
        (put(mean=10**400), "mean must be finite and of float64's range, below 1.8e308, got 1000.*"),
        (put(mean=0.5), "mean is 0.5, wanted are -0.0 to 0.0"),
        (put(popularity_scale=-1), "popularity_scale must be at least 0, got -1"),
        (put(popularity_scale=[1]), r"popularity_scale must be a number, got \[1\] of type list"),
        (put(loss_history={"0": 1.0}), r"loss_history is {'0': 1.0}, not a list"),
        (put(loss_history=[1.0, "2"]), "loss_history must be a number, got '2' of type str"),
        (put(loss_history=[NESTED]), "loss_history must be a number, got .* of type list"),
        (put(model="Base"), "its model is 'Base', wanted is one of ImplicitALS, ExplicitALS, WeightedALS"),
        (put(model=["WeightedALS"]), r"its model is \['WeightedALS'\], wanted is one of .*"),
        (put(params=[1]), r"params is \[1\], not a JSON object"),
        (put(params__depth=3), "params has 'depth', which is no part of one"),
        (put(params__factors=0), "factors must be at least 1, got 0"),
        (put(params__factors=True), "factors must be an integer, got True of type bool"),
        (put(params__factors=2**64), "factors must be at most 1048576, got 18446744073709551616"),
        (put(params__regularization=[1, 2, 3]), r"regularization must be a number or \(user, item\), got 3 numbers.*"),
        (put(params__regularization=NESTED), ".*regularization.*"),
        (put(params__alpha=NESTED), "alpha must be a number, got .* of type tuple|params has 'alpha'.*"),
        (put(params__random_state={}), "random_state must be an int, .* of type dict"),
        (put(params__dtype=["f4", 2]), r"dtype must be 'float32' or 'float64', got \('f4', 2\)"),
        (put(objective=3), "objective is 3, not a JSON object"),
        (put(objective__constant=2.0), "constant of its objective is 2.0, WeightedALS has 1.0"),
        (put(objective__slope=1.0), "slope of its objective is 1.0, WeightedALS has 0.0"),
        (put(objective__biases=True), "it lacks user_biases_"),
        (put(objective__unobserved_weight=-1), "unobserved_weight must be at least 0, got -1"),
        (put(objective__unobserved_weight=0.0), "item_background is not 0, and unobserved_weight is"),
        (put(objective__item_weights=[1.0] * 19), "item_weights of its objective are 19, wanted are 20"),
        (put(objective__item_weights=[-1.0] * 20), "item_weights has numbers from -1.0 to -1.0, wanted are 0 to .*"),
        (put(objective__item_weights=[True, "a"]), r"item_weights is \[True, 'a'\]: no numbers, and no name of .*"),
        (put(objective__item_weights={"array": NESTED}), "item_weights is .*: no numbers, and no name of an array .*"),
        (put(objective__item_weights={"array": [10**400]}), "int too large to convert to float"),
        (put(objective__item_weights={"array": "item_counts"}), "item_weights is {'array': 'item_counts'}: no .*"),
        (put(objective__item_weights={"weights": "Half"}), "item_weights is {'weights': 'Half'}: no numbers, .*"),
        (put(objective__item_weights={"weights": "LinearWeights", "e": 1}), "item_weights has 'e', which is no .*"),
        (put(objective__item_weights={"weights": "LinearWeights", "w0": None}), "item_weights.w0 must be a number.*"),
        (put(author="me"), "its header has 'author', which is no part of one"),
        (lambda header: header["objective"].pop("slope"), "objective lacks slope"),
        (lambda header: header.pop("loss_history"), "its header lacks loss_history"),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_headers_that_are_no_models(change, sentence, version, tmp_path):
    fitted(WeightedALS, item_weights=fastals.LinearWeights(), unobserved_weight=0.5).save(tmp_path / "model")

    def of_version(header):
        header["format"] = version
        change(header)
        if version == 1:
            del header["checksums"]

    with_header(tmp_path / "model.npz", of_version)
    with pytest.raises(ValueError, match=f"^{tmp_path / 'model'}{DAMAGED.format(sentence)}$"):
        fastals.load(tmp_path / "model.npz")


def entry(place, value):
    """Return a change that puts a number into an array."""

    def change(array):
        array = array.copy()
        array.flat[place] = value
        return array

    return change


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("user_factors_", entry(3, np.nan), "user_factors_ has numbers from nan to nan, wanted are .*"),
        ("item_factors_", entry(3, np.inf), "item_factors_ has numbers from .* to inf, wanted are .*"),
        ("item_factors_", lambda a: a[:, :0], r"item_factors_ is float64 of shape \(20, 0\), wanted is float32 .*"),
        ("item_factors_", lambda a: a[:0], r"item_factors_ is float64 of shape \(0, 3\), wanted is float32 .*"),
        ("item_factors_", lambda a: a[0, 0], r"item_factors_ is float64 of shape \(\), wanted is float32 .*"),
        ("item_factors_", lambda a: a.astype("f2"), r"item_factors_ is float16 of shape \(20, 3\), wanted is .*"),
        (
            "user_factors_",
            lambda a: a[:0],
            r"user_factors_ is float64 of shape \(0, 3\), wanted is float64 .* \(1, 3\)",
        ),
        ("user_factors_", lambda a: a.astype("f4"), r"user_factors_ is float32 of shape .*, wanted is float64 .*"),
        ("user_factors_", lambda a: a[:, :2], r"user_factors_ is float64 of shape \(30, 2\), wanted is .*"),
        ("user_biases_", entry(0, np.nan), "user_biases_ has numbers from nan to nan, wanted are .*"),
        ("item_biases_", None, "it lacks item_biases_"),
        ("item_weight", entry(0, -1), "item_weight has numbers from -1.0 to 1.0, wanted are 0 to 1.79.*"),
        ("item_background", entry(0, -1), "item_background has numbers from -1.0 to 0.0, wanted are 0 to .*"),
        ("item_background", entry(0, 1), "item_background is not 0, and unobserved_weight is"),
        ("item_counts", entry(0, -1), "item_counts has numbers from -1 to .*, wanted are 0 to 30"),
        ("item_counts", entry(0, 31), "item_counts has numbers from .* to 31, wanted are 0 to 30"),
        ("item_counts", lambda a: a.astype("f8"), r"item_counts is float64 of shape \(20,\), wanted is int64 of .*"),
        ("item_counts", None, "it lacks item_counts"),
        ("seen_indptr", lambda a: a.astype("i4"), r"seen_indptr is int32 of shape \(31,\), wanted is int64 of .*"),
        ("seen_indptr", lambda a: a[:-1], r"seen_indptr is int64 of shape \(30,\), wanted is int64 of shape \(31,\)"),
        ("seen_indptr", entry(0, 1), "seen_indptr does not go up from 0 to .*, the length of seen_indices"),
        ("seen_indptr", entry(1, 2**40), "seen_indptr does not go up from 0 to .*"),
        ("seen_indptr", entry(5, -1), "seen_indptr does not go up from 0 to .*"),
        ("seen_indptr", entry(-1, 2), "seen_indptr does not go up from 0 to .*"),
        ("seen_indices", entry(0, -1), "seen_indices has numbers from -1 to 19, wanted are 0 to 19"),
        ("seen_indices", lambda a: np.zeros_like(a), "seen_indices of a user are not in rising order"),
        ("seen_indices", lambda a: a.astype("i8"), r"seen_indices is int64 of shape .*, wanted is int32 of .*"),
        ("seen_values", entry(0, np.nan), "seen_values has numbers from nan to nan, wanted are .*"),
        ("seen_values", lambda a: a[:2], r"seen_values is float64 of shape \(2,\), wanted is float64 of .*"),
        ("seen_weights", lambda a: -a, "seen_weights has numbers from -1.0 to -1.0, wanted are 0 to .*"),
        ("seen_weights", None, "it lacks seen_weights"),
        ("user_ids", lambda _: np.arange(30) // 2, "user_ids holds 0 more than once"),
        ("user_ids", lambda _: np.arange(29), r"user_ids is int64 of shape \(29,\), wanted is int64 of shape \(30,\)"),
        ("item_ids", lambda _: np.arange(20.0), r"item_ids is float64 of shape \(20,\), wanted is int64 of .*"),
        ("item_ids", lambda _: np.arange(20, dtype="u1"), r"item_ids is uint8 of shape \(20,\), wanted is int64 of .*"),
        ("new", lambda _: np.arange(20), "it has an array 'new', which is no part of one"),
    ],
)
def test_arrays_that_are_no_models(name, change, sentence, tmp_path):
    fitted(ExplicitALS).save(tmp_path / "model")
    header, arrays = storage.read(tmp_path / "model")
    if change is None:
        del arrays[name]
    else:
        arrays[name] = change(arrays.get(name))
    storage.write(tmp_path / "model", header, arrays)
    with pytest.raises(ValueError, match=f"^{tmp_path / 'model'}{DAMAGED.format(sentence)}$"):
        fastals.load(tmp_path / "model.npz")


def test_biases_of_a_model_without_them_are_refused(tmp_path):
    fitted(ExplicitALS, biases=False).save(tmp_path / "model")
    header, arrays = storage.read(tmp_path / "model")
    storage.write(tmp_path / "model", header, arrays | {"user_biases_": np.zeros(30), "item_biases_": np.zeros(20)})
    with pytest.raises(ValueError, match="it has 'user_biases_', which is no part of one"):
        fastals.load(tmp_path / "model")


def test_a_mean_beyond_the_dtype_is_refused(tmp_path):
    fitted(ExplicitALS, dtype="float32").save(tmp_path / "model")
    with_header(tmp_path / "model.npz", put(mean=1e300))
    with pytest.raises(ValueError, match=r"mean is 1e\+300, wanted are -3.40\d*e\+38 to 3.40"):
        fastals.load(tmp_path / "model")
