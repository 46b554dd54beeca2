"""Top 10 of all users, of one, and of a new one: problem x factors x library, in processes of their own, in turns."""

from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench import problems
from bench.arena import Worker
from bench.bench_fit import CLOCK
from bench.machine import THREADS, cpu_model, versions
from bench.servers import SERVERS, Counter, model_file

TASKS = ("blocks", "all", "one", "new")
PROBLEMS = ("ml-1m", "synthetic-20m")
FACTORS = (64, 128)
SAME_IDS = 0.999  # share of equal ids: neighbours whose scores differ by a rounding may change places


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    option = metafunc.config.getoption
    cells = [
        (name, factors)
        for name in option("problems") or PROBLEMS
        if name in PROBLEMS
        for factors in option("factors")
        if factors in FACTORS
    ]
    metafunc.parametrize("workers", cells, indirect=True, scope="module", ids=[f"{name}-k{k}" for name, k in cells])
    metafunc.parametrize("turn", range(option("repeats")))
    metafunc.parametrize("task", TASKS)
    metafunc.parametrize("server", [name for name in SERVERS if name in (option("contenders") or SERVERS)])


@pytest.fixture(scope="module")
def workers(request: pytest.FixtureRequest) -> Iterator[dict[str, Worker]]:
    problem, factors = request.param
    try:
        problems.prepare(problem)
    except problems.UnavailableError as reason:
        pytest.skip(str(reason))
    model_file(problem, factors)
    with ExitStack() as processes:
        found: dict[str, Worker] = {}
        for name in SERVERS:
            found[name] = Worker(name, problem, factors, Counter)
            processes.callback(found[name].close)
        wanted = found["fastals"].call("ids")
        for name, worker in found.items():
            assert np.mean(worker.call("ids") == wanted) >= SAME_IDS, f"{name} recommends something else"
        yield found


@pytest.mark.benchmark(timer=CLOCK)
def test_serve(workers: dict[str, Worker], turn: int, task: str, server: str, request: pytest.FixtureRequest) -> None:
    benchmark: BenchmarkFixture = request.getfixturevalue("benchmark")
    problem, factors = request.node.callspec.params["workers"]
    memory = None

    def serve() -> None:
        nonlocal memory
        answer = workers[server].call(task)
        seconds, memory = answer if isinstance(answer, tuple) else (answer, None)
        CLOCK.seconds += seconds

    benchmark.pedantic(serve, rounds=1)
    benchmark.extra_info.update(
        problem=problem,
        factors=factors,
        server=server,
        task=task,
        memory=memory,
        threads=THREADS,
        cpu=cpu_model(),
        versions=versions(),
    )
