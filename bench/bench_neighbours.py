"""EASE beside its three lines of NumPy, item-kNN beside `implicit`'s: seconds to fit and to recommend, in pairs.

python -m bench.bench_neighbours [--repeats 5]

Needs FASTALS_DATA with ml-1m-implicit; without `implicit` its part is left out.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import scipy.sparse as sp

from bench.machine import THREADS
from bench.problems import load
from fastals.evaluation import EASE, ItemKNN

N = 20


def three_lines(X: sp.csr_matrix, ridge: float) -> np.ndarray:
    """EASE as it is usually written."""
    P = np.linalg.inv((X.T @ X).toarray() + ridge * np.eye(X.shape[1], dtype=X.dtype))
    B = P / -np.diag(P)
    np.fill_diagonal(B, 0)
    return B


def paired(repeats: int, **contenders: Callable[[], object]) -> None:
    """Print the median wall and CPU seconds of functions that take turns; the first round is for warming up."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(repeats + 1):
        for name, run in contenders.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    for name, seconds in taken.items():
        wall, cpu = (statistics.median(column) for column in zip(*seconds[1:], strict=True))
        print(f"{name:32} {wall:8.3f} s {cpu:8.3f} s of CPU")


def main() -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    R = load("ml-1m").R
    print(f"ml-1m-implicit, {R.shape[0]} users, {R.shape[1]} items, {R.nnz} interactions, {THREADS} threads")
    for dtype in ("float32", "float64"):
        ours = partial(EASE(dtype=dtype).fit, R)
        paired(repeats, **{f"EASE {dtype}": ours, f"three lines {dtype}": partial(three_lines, R.astype(dtype), 500.0)})
    try:
        from implicit import nearest_neighbours as peers  # type: ignore
    except ImportError:
        print("implicit is not installed")
        return
    R = R.astype(np.float64)
    names = {"cosine": "CosineRecommender", "tfidf": "TFIDFRecommender", "bm25": "BM25Recommender"}
    for weighting, name in names.items():
        ours, theirs = ItemKNN(N, weighting), getattr(peers, name)(K=N + 1)  # type: ignore[arg-type]
        runs = {
            f"fit {weighting}": partial(ours.fit, R),
            f"fit {weighting}, implicit": partial(theirs.fit, R, show_progress=False),
            f"recommend {weighting}": partial(ours.recommend, n=N),
            f"recommend {weighting}, implicit": partial(theirs.recommend, np.arange(R.shape[0]), R, N=N),
        }
        paired(repeats, **runs)


if __name__ == "__main__":
    main()
