"""The top 10 of all users from vector indexes, seen items not left out: recall against the exact answer, and time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import fastals
from bench import problems
from bench.bench_serve import FACTORS, PROBLEMS
from bench.machine import THREADS, cpu_model, versions
from bench.servers import N, model_file

Search = Callable[[np.ndarray], np.ndarray]  # user vectors -> ids, shape (n_users, N)

LINKS, BUILD, SEARCH = 16, 200, 64  # of an HNSW graph: neighbours of a node, candidates when it is made and asked


def faiss_flat(items: np.ndarray) -> Search:
    faiss = pytest.importorskip("faiss")
    faiss.omp_set_num_threads(THREADS)
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    return lambda users: index.search(users, N)[1]


def faiss_hnsw(items: np.ndarray) -> Search:
    faiss = pytest.importorskip("faiss")
    faiss.omp_set_num_threads(THREADS)
    index = faiss.IndexHNSWFlat(items.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = BUILD, SEARCH
    index.add(items)
    return lambda users: index.search(users, N)[1]


def hnswlib_cosine(items: np.ndarray) -> Search:
    hnswlib = pytest.importorskip("hnswlib")
    index = hnswlib.Index("cosine", items.shape[1])
    index.init_index(len(items), ef_construction=BUILD, M=LINKS, random_seed=0)
    index.add_items(items, num_threads=THREADS)
    index.set_ef(SEARCH)
    return lambda users: index.knn_query(users, N, num_threads=THREADS)[0].astype(np.int64)


INDEXES: dict[str, Callable[[np.ndarray], Search]] = {
    "faiss IndexFlatIP": faiss_flat,
    "faiss IndexHNSWFlat": faiss_hnsw,
    "hnswlib cosine": hnswlib_cosine,
}
EXACT = "fastals recommend"


def recall(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return the share of the wanted ids that was found, over all rows."""
    return float((found[:, :, None] == wanted[:, None, :]).any(axis=1).mean())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    option = metafunc.config.getoption
    metafunc.parametrize("problem", [name for name in option("problems") or PROBLEMS if name in PROBLEMS])
    metafunc.parametrize("factors", [factors for factors in option("factors") if factors in FACTORS])
    metafunc.parametrize("index", [EXACT, *INDEXES])


def test_index(problem: str, factors: int, index: str, benchmark: BenchmarkFixture, request: Any) -> None:
    try:
        problems.prepare(problem)
    except problems.UnavailableError as reason:
        pytest.skip(str(reason))
    model = fastals.load(model_file(problem, factors)).set_params(n_threads=THREADS)
    items, users = model.to_index_vectors()
    search = INDEXES[index](items) if index in INDEXES else lambda _: model.recommend(n=N, exclude_seen=False)[0]
    found = benchmark.pedantic(search, (users,), rounds=request.config.getoption("repeats"), warmup_rounds=1)
    wanted = model.recommend(n=N, exclude_seen=False)[0]
    benchmark.extra_info.update(
        problem=problem,
        factors=factors,
        index=index,
        recall=recall(found, wanted),
        users=len(users),
        threads=THREADS,
        cpu=cpu_model(),
        versions=versions(),
    )
