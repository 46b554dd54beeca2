"""Whether two checkouts fit the same bits: `python -m bench.same_bits --against OTHER_CHECKOUT`.

Both run the same fits, fold-ins, updates and recommendations on the real data that is there and on generated data, each
in its own process, and print a digest of each result. What differs is listed; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def digest(*arrays: object) -> str:
    """Return a short digest of the bytes, the dtype and the shape of some arrays."""
    import numpy as np

    summed = hashlib.sha256()
    for array in map(np.ascontiguousarray, arrays):
        summed.update(f"{array.dtype} {array.shape}".encode())
        summed.update(array.reshape(-1).view(np.uint8).data)
    return summed.hexdigest()[:16]


def problems() -> Iterator[tuple[str, object]]:
    """Yield names and matrices: generated ones, and the real ones in `$FASTALS_DATA`."""
    import numpy as np
    from scipy import sparse

    def matrix(rows: np.ndarray) -> sparse.csr_array:
        users, items, values = rows.T
        _, users = np.unique(users, return_inverse=True)
        _, items = np.unique(items, return_inverse=True)
        return sparse.coo_array((values.astype(float), (users, items))).tocsr()

    rng = np.random.default_rng(0)
    yield "generated", matrix(np.unique(rng.integers(0, (400, 150, 5), (6000, 3)), axis=0) + 1)
    home = Path(os.environ.get("FASTALS_DATA", "/nowhere"))
    for name, path, options in (
        ("ml-100k", "ml-100k/u.data", {}),
        ("lastfm-2k", "lastfm-2k/user_artists.dat", {"skiprows": 2}),
        ("ml-1m", "ml-1m/ratings.txt", {}),
    ):
        if (home / path).is_file():
            yield name, matrix(np.loadtxt(home / path, usecols=(0, 1, 2), dtype=np.int64, **options))


def results() -> Iterator[tuple[str, str]]:
    """Yield the name and the digest of each result."""
    import numpy as np

    import fastals

    models = {
        "implicit": (fastals.ImplicitALS, {"alpha": 10.0}),
        "popularity": (fastals.ImplicitALS, {"unobserved_weight": 0.1, "popularity_exponent": 0.5}),
        "explicit": (fastals.ExplicitALS, {}),
        "weighted": (fastals.WeightedALS, {"unobserved_weight": 0.1, "item_weights": fastals.LinearWeights()}),
    }
    for data, R in problems():
        for label, (kind, params) in models.items():
            for dtype in ("float32", "float64"):
                for solver in ("auto", "cholesky", "cg"):
                    model = kind(24, iterations=4, dtype=dtype, solver=solver, random_state=0, **params)
                    name = f"{data} {label} {dtype} {solver}"
                    try:
                        yield from ((f"{name} {what}", found) for what, found in answers(model, R))
                    except np.linalg.LinAlgError as error:  # a row may have no solution in float32
                        yield f"{name} refused", digest(str(error).split(" with ")[0])


def answers(model: object, R: object) -> Iterator[tuple[str, str]]:
    """Yield what one model gives, with the digest of each."""
    import numpy as np

    model.fit(R)
    yield "fit", digest(model.user_factors_, model.item_factors_, model.loss_history_)
    yield "fold-in", digest(model.fold_in_users(R[:50]), model.fold_in_items(R[:, :20]))
    yield "recommend", digest(*model.recommend(np.arange(100), n=10))
    yield "similar", digest(*model.similar_items(np.arange(20), n=5))
    yield "loss", digest(model.loss(R))
    if model.solver == "auto":
        for event in range(20):
            model.update(event, 2 * event, 1.0 + event % 5)
        yield "update", digest(model.user_factors_, model.item_factors_)
        model.partial_fit_users([3, 5], R[:2]).partial_fit_items([4], R[:, [7]])
        yield "partial_fit", digest(model.user_factors_, model.item_factors_)
        wider = type(model)(**model.get_params() | {"factors": 28, "iterations": 2})
        yield "refit", digest(wider.fit(R, start=model).item_factors_)


def measured(checkout: Path) -> dict[str, str]:
    """Return the results of a checkout, computed in a process of its own."""
    cache = checkout / ".cache" / "numba" / "same_bits"
    environment = os.environ | {"PYTHONPATH": str(checkout), "NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, str(Path(__file__).resolve()), "--print"]
    done = subprocess.run(command, cwd=checkout, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main() -> int:
    """Print the digests of this checkout, or compare them with another's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, help="another checkout of fastals")
    parser.add_argument("--print", action="store_true", help="print the digests of the fastals that is imported")
    options = parser.parse_args()
    if options.print or not options.against:
        json.dump(dict(results()), sys.stdout, indent=1)
        return 0
    ours, theirs = measured(ROOT), measured(options.against.resolve())
    names = ours.keys() | theirs.keys()
    different = sorted(name for name in names if ours.get(name) != theirs.get(name))
    print(f"{len(names) - len(different)} of {len(names)} results have the same bits")
    print("\n".join(different))
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
