"""Users and items that nobody has seen, by their features, beside others: `python -m bench.bench_cold`.

MovieLens 1M, every rating an interaction. Features of users: gender, age, occupation and the first digit of the zip
code; of films: genres and decade. A tenth of the items, or of the users, is held out whole: cold items are ranked among
each other for all users who have some of them, cold users are recommended all items. Every contender's parameters are
searched by the same protocol within the training part, and tested once. Last, the same model with and without features
on a fifth of everybody's items, with a paired interval. Contenders that are not installed are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import os
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

import fastals
from bench.bench_features import lists_of, quality
from bench.report import _table
from fastals.datasets import split_random
from fastals.evaluation import bootstrap_interval, evaluate

FACTORS = 64
SHARE = 10  # one of so many is held out


class Data(NamedTuple):
    """Interactions (users x items) and features of both sides, all sparse."""

    R: sparse.csr_array
    users: sparse.csr_array
    items: sparse.csr_array


def movielens(home: Path) -> Data:
    """Read MovieLens 1M: users and films with ratings, in the order of their ids."""
    who, what, _ = np.loadtxt(home / "ratings.txt", dtype=np.int64).T
    user_ids, users = np.unique(who, return_inverse=True)
    item_ids, items = np.unique(what, return_inverse=True)

    def fields(name: str) -> dict[int, list[str]]:
        lines = (home / name).read_text(encoding="latin-1").splitlines()
        return {int(line.split("::")[0]): line.split("::") for line in lines}

    people, films = fields("users.dat"), fields("movies.dat")
    found = [people[user] for user in user_ids.tolist()]
    columns = {name: [line[at] for line in found] for name, at in (("gender", 1), ("age", 2), ("occupation", 3))}
    of_users = fastals.FeatureEncoder().fit_transform(columns | {"region": [line[4][0] for line in found]})
    found = [films[item] for item in item_ids.tolist()]
    columns = {"genres": [line[2].split("|") for line in found], "decade": [line[1][-5:-2] for line in found]}
    of_items = fastals.FeatureEncoder().fit_transform(columns)
    R = sparse.csr_array((np.ones(len(users), np.float32), (users, items)))
    return Data(R, of_users.astype(np.float32), of_items.astype(np.float32))


# A contender takes the interactions of the warm users and items, features of warm rows and of cold ones, and
# parameters, and returns scores. Cold items: (n_users, n_cold). Cold users: (n_cold, n_items).
Contender = Callable[..., np.ndarray]


def popular(R: sparse.csr_array, warm: sparse.csr_array, cold: sparse.csr_array, of_items: bool) -> np.ndarray:
    """Popularity; of cold items, as their features let expect it."""
    counts = np.asarray(R.sum(axis=0)).ravel()
    if not of_items:
        return np.tile(counts, (cold.shape[0], 1))
    return np.tile(cold @ np.linalg.lstsq(warm.toarray(), counts, rcond=None)[0], (R.shape[0], 1))


def neighbours(
    R: sparse.csr_array, warm: sparse.csr_array, cold: sparse.csr_array, of_items: bool, n: int
) -> np.ndarray:
    """Cosine between features: a cold row is the weighted sum of its n nearest."""
    unit_warm, unit_cold = (F.toarray() / np.sqrt((F.toarray() ** 2).sum(axis=1, keepdims=True)) for F in (warm, cold))
    near = unit_cold @ unit_warm.T
    if n < near.shape[1]:
        near[near < -np.partition(-near, n - 1, axis=1)[:, n - 1 : n]] = 0
    return R @ near.T if of_items else np.asarray((R.T @ near.T).T)


def ours(
    R: sparse.csr_array, warm: sparse.csr_array, cold: sparse.csr_array, of_items: bool, **parameters: Any
) -> np.ndarray:
    """ImplicitALS with features."""
    side = "item" if of_items else "user"
    model = fastals.ImplicitALS(FACTORS, random_state=0, **parameters).fit(R, **{f"{side}_features": warm})
    if of_items:
        return model.user_factors_ @ model.fold_in_items(item_features=cold).T
    return model.fold_in_users(user_features=cold) @ model.item_factors_.T


def irspack(
    R: sparse.csr_array, warm: sparse.csr_array, cold: sparse.csr_array, of_items: bool, mu: float, **parameters: Any
) -> np.ndarray:
    """The feature-aware iALS of irspack."""
    from irspack import IALSRecommender

    side = "item" if of_items else "user"
    given = {f"{side}_features": sparse.csr_matrix(warm), f"lambda_{side}_feature": mu}
    with redirect_stdout(StringIO()):  # its bar
        model = IALSRecommender(sparse.csr_matrix(R), n_components=FACTORS, **parameters, **given).learn()
    if of_items:
        return model.get_user_embedding() @ model.compute_item_embedding_from_features(sparse.csr_matrix(cold)).T
    return model.compute_user_embedding_from_features(sparse.csr_matrix(cold)) @ model.get_item_embedding().T


def cmfrec(
    R: sparse.csr_array, warm: sparse.csr_array, cold: sparse.csr_array, of_items: bool, **parameters: Any
) -> np.ndarray:
    """OMF_implicit of cmfrec."""
    from cmfrec import OMF_implicit

    model = OMF_implicit(k=FACTORS, use_float=True, **parameters)
    given = {"I" if of_items else "U": warm.toarray()}
    model.fit(sparse.coo_matrix(R), **given)
    means, intercepts, fixed = (model.D_, model.D_bias_, model.A_) if of_items else (model.C_, model.C_bias_, model.B_)
    found = cold @ means + (intercepts if len(intercepts) else 0)
    return fixed @ found.T if of_items else found @ fixed.T


def grid(**values: Any) -> list[dict[str, Any]]:
    """Every combination."""
    return [dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())]


CONTENDERS: dict[str, tuple[str, Contender, list[dict[str, Any]]]] = {
    "popularity": ("numpy", popular, [{}]),
    "content neighbours": ("numpy", neighbours, grid(n=[10, 50, 200, 1000, 10**6])),
    "cmfrec, OMF_implicit": ("cmfrec", cmfrec, grid(alpha=[1.0, 10.0], lambda_=[1.0, 10.0, 100.0])),
    "irspack, iALS with features": (
        "irspack",
        irspack,
        grid(mu=[1.0, 100.0, 10_000.0], alpha0=[0.1, 0.3], reg=[0.01, 0.03, 0.1]),
    ),
    "fastals, no parameter given": ("fastals", ours, [{}]),
    "fastals, searched": (
        "fastals",
        ours,
        grid(feature_regularization=[0.1, 1.0, 10.0], unobserved_weight=["auto", 0.03, 0.3]),
    ),
}


def held_out(data: Data, of_items: bool, rng: np.random.Generator) -> tuple[Data, Any, Any]:
    """Hold a tenth of the items, or users, out; return what is left, the features of the cold, and what they have."""
    n, F = (data.R.shape[1], data.items) if of_items else (data.R.shape[0], data.users)
    cold = np.sort(rng.choice(n, n // SHARE, replace=False))
    warm = np.setdiff1d(np.arange(n), cold)
    left = data.R[:, warm] if of_items else data.R[warm]
    rest = Data(left, data.users, F[warm]) if of_items else Data(left, F[warm], data.items)
    wanted = sparse.csr_array(data.R[:, cold] if of_items else data.R[cold])
    return rest, F[cold], wanted


def measured(contender: Contender, rest: Data, cold: Any, wanted: Any, of_items: bool, **parameters: Any) -> Any:
    """Return Recall@20 and NDCG@20 of one contender."""
    warm = rest.items if of_items else rest.users
    scores = contender(rest.R, warm, cold, of_items, **parameters)
    return quality(lists_of(np.asarray(scores)), wanted)


def searched(*arguments: Any, **parameters: Any) -> float:
    """Return NDCG@20 of a candidate; one that fails, as others do where rounding is too large, is not chosen."""
    try:
        return measured(*arguments, **parameters)[1]
    except Exception as error:
        print(f"{parameters} failed: {error}", flush=True)
        return -1.0


def cold_rows(data: Data, of_items: bool, seeds: int, names: list[str]) -> None:
    """Print the table of cold items, or of cold users."""
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        rest, cold, wanted = held_out(data, of_items, rng)
        inner = held_out(rest, of_items, rng)
        for name in names:
            package, contender, candidates = CONTENDERS[name]
            if importlib.util.find_spec(package) is None:
                continue
            begun, best = time.perf_counter(), candidates[0]
            if len(candidates) > 1:
                scores = [searched(contender, *inner, of_items, **candidate) for candidate in candidates]
                best = candidates[int(np.argmax(scores))]
            found.setdefault(name, []).append(measured(contender, rest, cold, wanted, of_items, **best))
            print(seed, name, best, found[name][-1], f"{time.perf_counter() - begun:.0f} s", flush=True)
    rows = [[name, *(f"{number:.4f}" for number in np.mean(pairs, axis=0))] for name, pairs in found.items()]
    print(_table(["cold items" if of_items else "cold users", "Recall@20", "NDCG@20"], rows), flush=True)


def warm_users(data: Data) -> None:
    """Print NDCG@20 of everybody with and without features, and the interval of the difference."""
    train, test = split_random(fastals.Interactions(data.R), 0.2, random_state=0)
    found = {}
    for name, given in (
        ("without", {}),
        ("items", {"item_features": data.items}),
        ("users", {"user_features": data.users}),
        ("both", {"user_features": data.users, "item_features": data.items}),
    ):
        model = fastals.ImplicitALS(FACTORS, random_state=0).fit(train, **given)
        found[name] = evaluate(model, test, 20, ["ndcg"]).per_user["ndcg@20"]
        gained = found[name] - found["without"]
        low, high = bootstrap_interval(gained)
        text = f"{found[name].mean():.4f}, less that without {gained.mean():+.4f} (95%: {low:+.4f} to {high:+.4f})"
        print(f"warm users, features of {name}: NDCG@20 {text}", flush=True)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=("items", "users", "warm"), default=("items", "users", "warm"))
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    options = parser.parse_args()
    data = movielens(Path(os.environ["FASTALS_DATA"]) / "ml-1m")
    for side in ("items", "users"):
        if side in options.only:
            cold_rows(data, side == "items", options.seeds, options.contenders)
    if "warm" in options.only:
        warm_users(data)


if __name__ == "__main__":
    main()
