"""Saved models that say something else: the files are sound, and what is wrong is what they mean."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

import fastals
from fastals import ExplicitALS, ImplicitALS, Interactions, WeightedALS, storage
from tests.helpers import SMALL, example, square_root_weights, stored, weights_of

from .outcome import REFUSED, RIGHT, refusal, scratch

NESTED: Any = [1.0]
for _ in range(400):
    NESTED = [NESTED]
VALUES = (
    None, True, False, 0, 1, -1, 2, 3, 0.5, -0.5, -0.0, 1e-300, 1e38, 1e300, 2**31, 2**63, 10**400, "", "0", "text",
    "float32", "float64", "cg", "item_weight", "params_item_weights", [], [1], [0.1, 0.2], [1, 2, 3], ["a"], NESTED, {},
    {"a": 1}, {"weights": "LinearWeights"}, {"weights": "ExponentialWeights", "w0": 1, "e": -1e300},
    {"weights": "LinearWeights", "w0": -5.0}, {"weights": "LinearWeights", "w0": "a"}, {"weights": ["LinearWeights"]},
    {"weights": "Objective"}, {"array": [1.0, 2.0]}, {"array": [0.5] * 20}, {"array": [-1] * 20}, {"array": NESTED},
    {"array": [10**400] * 20}, {"array": "item_weight"}, {"array": "item_counts"}, {"array": None},
)  # fmt: skip
NUMBERS = (np.nan, np.inf, -np.inf, -1, 0, 1, 7, 1e-38, 3e38, -3e38, 2**31 - 1, -(2**31), 2**62, -(2**63))
TYPES = ("?", "i1", "i4", "i8", "u4", "u8", "f2", "f4", "f8", ">f4", ">i8", "U3")


def models() -> dict[str, Any]:
    """Return fitted models of every kind."""
    R = example()
    names = {"user_ids": [f"u{u}" for u in range(30)], "item_ids": np.arange(20) * 7}
    weights = weights_of(R, np.random.default_rng(0).choice([0.5, 2.0], R.shape))
    fits = {
        "implicit": ImplicitALS(**SMALL).fit(stored(R)).update(30, 20),
        "implicit, ids": ImplicitALS(**(SMALL | {"dtype": "float32"})).fit(Interactions(stored(R), **names)),
        "implicit, observed only": ImplicitALS(**SMALL, unobserved_weight=0.0).fit(stored(R)),
        "explicit": ExplicitALS(**(SMALL | {"dtype": "float32"})).fit(stored(R)),
        "explicit, no biases": ExplicitALS(**SMALL, biases=False).fit(Interactions(stored(R), **names)),
        "weighted": WeightedALS(**SMALL, item_weights=fastals.LinearWeights(), unobserved_weight=0.5).fit(stored(R)),
        "weighted, array": WeightedALS(**SMALL, item_weights=np.linspace(0, 2, 20)).fit(stored(R), weights=weights),
        "weighted, function": WeightedALS(**SMALL, item_weights=square_root_weights).fit(stored(R)),
    }
    return {name: model.set_params(n_threads=1) for name, model in fits.items()}


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return all containers of a header with the keys that lead to their entries."""
    keys = value if isinstance(value, dict) else range(len(value))
    found = [(value, key) for key in keys]
    for key in keys:
        if isinstance(value[key], (dict, list)):
            found += places(value[key])
    return found


def header_value(header: dict[str, Any], arrays: dict[str, np.ndarray], chance: random.Random) -> None:
    """Another value stands in the header."""
    container, key = chance.choice(places(header))
    container[key] = chance.choice(VALUES)


def header_name(header: dict[str, Any], arrays: dict[str, np.ndarray], chance: random.Random) -> None:
    """A name of the header is gone, is another one, or has come."""
    container, key = chance.choice([place for place in places(header) if isinstance(place[0], dict)])
    value = container[key]
    if chance.randrange(3):
        del container[key]
    if chance.randrange(3):
        container[chance.choice(("new", "", "alpha", "biases", "item_weights", "__class__", "factors"))] = value


def numbers(header: dict[str, Any], arrays: dict[str, np.ndarray], chance: random.Random) -> None:
    """Some entries of an array are other numbers."""
    name = chance.choice([name for name, array in arrays.items() if array.dtype.kind in "iuf"])
    array = arrays[name]
    new = chance.choice(NUMBERS)
    if array.dtype.kind != "f":
        limits = np.iinfo(array.dtype)
        new = 0 if new != new else int(min(max(new, limits.min), limits.max))
    array.flat[[chance.randrange(array.size) for _ in range(chance.choice((1, 3, array.size)))]] = new


def kind(header: dict[str, Any], arrays: dict[str, np.ndarray], chance: random.Random) -> None:
    """An array has another type."""
    name = chance.choice(list(arrays))
    try:
        arrays[name] = arrays[name].astype(chance.choice(TYPES))
    except ValueError:
        arrays[name] = np.zeros(arrays[name].shape)


def shape(header: dict[str, Any], arrays: dict[str, np.ndarray], chance: random.Random) -> None:
    """An array is shorter, longer, of another number of dimensions, or in another order."""
    name = chance.choice(list(arrays))
    array = arrays[name]
    change: Callable[[], np.ndarray] = chance.choice(
        (
            lambda: array[:-1],
            lambda: array[:0],
            lambda: array[:1],
            lambda: np.concatenate([array, array]),
            lambda: np.concatenate([array, array[-1:]]),
            lambda: array[None],
            lambda: array[..., None],
            lambda: array.reshape(-1)[0:1].reshape(()),
            lambda: np.asfortranarray(array),
            lambda: array.T,
            lambda: array[:, :-1] if array.ndim == 2 else array[1:],
            lambda: array[:, :0] if array.ndim == 2 else array[::2],
            lambda: array[::-1],
        )
    )
    arrays[name] = change()


def exchanged(header: dict[str, Any], arrays: dict[str, np.ndarray], chance: random.Random) -> None:
    """Arrays stand under each other's names, are gone, or there is one more."""
    one, other = chance.sample(list(arrays), 2)
    way = chance.randrange(4)
    if way == 0:
        arrays[one], arrays[other] = arrays[other], arrays[one]
    elif way == 1:
        arrays[one] = arrays[other]
    elif way == 2:
        del arrays[one]
    else:
        new = "new", "user_ids", "item_ids", "user_biases_", "seen_indptr", "params_item_weights"
        arrays[chance.choice(new)] = arrays[one]


def interactions(header: dict[str, Any], arrays: dict[str, np.ndarray], chance: random.Random) -> None:
    """What users have is not in compressed rows: the ends fall or lie outside, columns are twice or not in order."""
    indptr, indices = arrays["seen_indptr"], arrays["seen_indices"]
    draw = np.random.default_rng(chance.randrange(2**32))
    way = chance.randrange(8)
    if way == 0:
        draw.shuffle(indptr)
    elif way == 1:
        indptr += chance.choice((1, -1, 10**6, -(2**62)))
    elif way == 2:
        indptr[1:-1] = chance.choice((0, len(indices), -5, 2**40))
    elif way == 3:
        indptr[-1] = chance.choice((0, len(indices) - 1, len(indices) + 1, 2**33))
    elif way == 4:
        draw.shuffle(indices)
    elif way == 5:
        indices[1::2] = indices[: len(indices) // 2 * 2 : 2]
    elif way == 6:
        indices += np.int32(chance.choice((1, -1, 1000, 2**30)))
    else:
        begin = chance.randrange(len(indices))
        indices[begin : begin + 3] = np.sort(indices[begin : begin + 3])[::-1]


def together(header: dict[str, Any], arrays: dict[str, np.ndarray], chance: random.Random) -> None:
    """Several arrays change alike: no factors, no users, fewer items, and all of them in another dtype."""
    way = chance.randrange(6)
    for name in list(arrays):
        side = "item" if name.startswith("item") else "user"
        if way == 0 and "factors" in name:
            arrays[name] = arrays[name][:, :0]
        elif way == 1 and (name.startswith("user") or name == "seen_indptr"):
            arrays[name] = arrays[name][: 1 if name == "seen_indptr" else 0]
        elif way == 2 and name.startswith("item"):
            arrays[name] = arrays[name][:-1]
        elif way == 3 and name.startswith("item"):
            arrays[name] = arrays[name][:0]
        elif way == 4 and arrays[name].dtype.kind == "f":
            arrays[name] = arrays[name].astype(chance.choice(("f4", "f8", "f8")))
        elif way == 5 and ("factors" in name or "biases" in name):
            arrays[name] = arrays[name] * chance.choice((0, 1e18, 1e30, 1e-30)) if side == "item" else arrays[name]


def ids(header: dict[str, Any], arrays: dict[str, np.ndarray], chance: random.Random) -> None:
    """Ids come, are twice, too many, or of another kind."""
    name = chance.choice(("user", "item"))
    n = len(arrays[f"{name}_factors_"])
    n = chance.choice((n, n, n, n - 1, n + 1))
    arrays[f"{name}_ids"] = chance.choice(
        (
            np.arange(n),
            np.arange(n) // 2,
            np.arange(n, dtype=np.uint64) + np.uint64(2**63),
            np.arange(n, dtype=np.int32),
            np.arange(n, dtype=np.float64),
            np.arange(n).astype("U4"),
            np.zeros(n, "U4"),
            np.arange(2 * n).reshape(n, 2),
            np.array(["\0a", "\ud800", *map(str, range(n - 2))]),
        )
    )


CHANGES = (
    header_value,
    header_value,
    header_name,
    numbers,
    numbers,
    kind,
    shape,
    exchanged,
    interactions,
    together,
    ids,
)


def calls(model: Any, folder: Path) -> dict[str, Callable[[], Any]]:
    """Return what a loaded model must answer, or refuse in a sentence of its own."""
    users, items = model.user_ids_, model.item_ids_
    n_users, n_items = len(model.user_factors_), len(model.item_factors_)
    users, items = (range(n) if ids is None else ids for ids, n in ((users, n_users), (items, n_items)))
    user, item = users[n_users - 1], items[n_items - 1]
    row, column = np.ones((1, n_items)), np.ones((n_users, 1))

    def again() -> None:
        model.save(folder / "again")
        try:
            same = fastals.load(folder / "again")
        except Exception as error:
            raise AssertionError(f"saved, and not read: {error}") from error
        assert np.array_equal(same.predict(users, [item]), model.predict(users, [item]), equal_nan=True)

    return {
        "recommend": lambda: model.recommend(n=3, exclude_seen=model._state.by_user is not None),
        "recommend one": lambda: model.recommend(user, 3, exclude=[item]),
        "predict": lambda: model.predict(users, [item]),
        "similar items": lambda: model.similar_items(item, 3),
        "similar users": lambda: model.similar_users(users[:3], 3),
        "fold in users": lambda: model.fold_in_users(row),
        "fold in items": lambda: model.fold_in_items(column),
        "recommend to new": lambda: model.recommend(row, 3, fold_in=True),
        "explain": lambda: model.explain(user, item),
        "interactions": lambda: model.interactions_of(user),
        "loss": lambda: model.loss(np.ones((n_users, n_items))),
        "save": again,
        "update": lambda: model.update(user, item, 2.0),
        "update new": lambda: model.update(n_users, n_items),
        "partial fit": lambda: model.partial_fit_items([item], column),
        "recommend again": lambda: model.recommend(n=3, exclude_seen=model._state.by_user is not None),
        "save again": again,
    }


def outcome_of(path: Path) -> tuple[str, set[str]]:
    """Load a file and use the model in every way; return what came of it, and the calls that were refused."""
    try:
        model = fastals.load(path)
    except Exception as error:
        return refusal(error, path), set()
    refused = set()
    for name, call in calls(model, path.parent).items():
        try:
            call()
        except Exception as error:
            outcome = refusal(error)
            if outcome != REFUSED:
                return f"{name}: {outcome}", refused
            refused.add(name)
    return RIGHT, refused


def tries(seed: int, first: int) -> Iterator[str]:
    """Load changed models: each answers as many calls as before, or is refused by `load` or by a call."""
    warnings.simplefilter("ignore")
    with scratch() as folder:
        path = Path(folder, "model.npz")
        usual = {}  # calls that the model as it was saved refuses: new items where it has ids
        for name, model in models().items():
            good = Path(folder, f"{name}.npz")
            model.save(good)
            outcome, usual[good] = outcome_of(good)
            assert outcome == RIGHT, outcome
        for turn in count(first):
            chance = random.Random(f"{seed} {turn}")
            good = chance.choice(list(usual))
            header, arrays = storage.read(good)
            CHANGES[turn % len(CHANGES)](header, arrays, chance)
            storage.write(path, header, arrays)
            outcome, refused = outcome_of(path)
            yield outcome if refused <= usual[good] or outcome != RIGHT else REFUSED
