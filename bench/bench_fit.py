"""Time an iteration, time to the target loss, peak memory: problem x factors x contender.

The contenders take turns (A B C A B C ...), since the machine drifts; the report takes medians over the turns.
"""

from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.arena import SLOW_SECONDS, Arena
from bench.machine import THREADS, cpu_model, versions
from bench.peers import CONTENDERS
from bench.problems import READERS, UnavailableError


class Clock:
    """The seconds that contenders say they trained: a timer for pytest-benchmark that leaves conversions out."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


CLOCK = Clock()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    option = metafunc.config.getoption
    cells = [(name, factors) for name in option("problems") or READERS for factors in option("factors")]
    metafunc.parametrize("arena", cells, indirect=True, scope="module", ids=[f"{name}-k{k}" for name, k in cells])
    metafunc.parametrize("turn", range(option("repeats")))
    metafunc.parametrize("contender", option("contenders") or list(CONTENDERS))


@pytest.fixture(scope="module")
def arena(request: pytest.FixtureRequest) -> Iterator[Arena]:
    try:
        arena = Arena(*request.param)
    except UnavailableError as reason:
        pytest.skip(str(reason))
    with arena:
        yield arena


@pytest.mark.benchmark(timer=CLOCK)
def test_fit(arena: Arena, turn: int, contender: str, request: pytest.FixtureRequest) -> None:
    entry = arena.entry(contender)
    if entry.slow:
        pytest.skip(f"{contender} took more than {SLOW_SECONDS:.0f} s")
    # Only now: pytest-benchmark objects to a fixture that a skipped test leaves unused.
    benchmark: BenchmarkFixture = request.getfixturevalue("benchmark")

    def fit() -> list[float]:
        timing = entry.time()
        CLOCK.seconds += timing.seconds
        return timing.iteration_seconds

    iteration_seconds = benchmark.pedantic(fit, rounds=1)
    benchmark.extra_info.update(
        problem=arena.problem,
        factors=arena.factors,
        contender=contender,
        iteration_seconds=iteration_seconds,
        iterations_to_target=entry.iterations_to_target,
        target=arena.target(),
        memory=entry.memory,
        threads=THREADS,
        cpu=cpu_model(),
        versions=versions(),
    )
