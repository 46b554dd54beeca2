"""Events a second, one by one, beside a full refit: what a model costs that follows its users.

python -m pytest bench/bench_update.py --problems ml-1m --factors 64
"""

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import fastals
from bench.machine import THREADS
from bench.problems import Problem, UnavailableError, load

EVENTS = 200  # a round


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    option = metafunc.config.getoption
    metafunc.parametrize("name", option("problems") or ["lastfm-2k", "ml-1m"])
    metafunc.parametrize("factors", option("factors"))


def _fitted(name: str, factors: int) -> tuple[Problem, fastals.ImplicitALS]:
    try:
        problem = load(name)
    except UnavailableError as reason:
        pytest.skip(str(reason))
    model = fastals.ImplicitALS(
        factors,
        regularization=problem.regularization,
        alpha=problem.alpha,
        n_threads=THREADS,
        random_state=0,
    )
    return problem, model.fit(problem.R)


def test_events(name: str, factors: int, benchmark: BenchmarkFixture) -> None:
    """Time `update` for cells drawn as the data have them: busy users and popular items come often."""
    problem, model = _fitted(name, factors)
    cells, rng = problem.R.tocoo(), np.random.default_rng(0)
    model.update(int(cells.row[0]), int(cells.col[0]))  # the first one transposes the cells

    def draw() -> tuple[tuple[list[tuple[int, int]]], dict]:
        pairs = zip(rng.choice(cells.row, EVENTS).tolist(), rng.choice(cells.col, EVENTS).tolist(), strict=True)
        return (list(pairs),), {}

    def follow(pairs: list[tuple[int, int]]) -> None:
        for user, item in pairs:
            model.update(user, item)

    benchmark.pedantic(follow, setup=draw, rounds=10)
    benchmark.extra_info.update(events_a_second=EVENTS / benchmark.stats.stats.median)


def test_refit(name: str, factors: int, benchmark: BenchmarkFixture) -> None:
    """Time one iteration from the stored factors: the least that a refit takes, for any number of events."""
    problem, model = _fitted(name, factors)
    model.iterations = 1
    benchmark.pedantic(lambda: model.refit(problem.R), rounds=5)
