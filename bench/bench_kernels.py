"""Kernels and the machine's peak, taking turns on one thread."""

import math
import time
from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.kernels import Kernel, kernels, peak
from bench.machine import cpu_model, versions

SECONDS_PER_TURN = 0.05  # long against the clock's resolution and a single interrupt

_prepared: dict[Kernel, Callable[[], object]] = {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    option = metafunc.config.getoption
    all_kernels = [peak(), *(kernel for factors in option("factors") for kernel in kernels(factors))]
    metafunc.parametrize("turn", range(option("repeats")))
    ids = [kernel.name if kernel.factors is None else f"{kernel.name} k{kernel.factors}" for kernel in all_kernels]
    metafunc.parametrize("kernel", all_kernels, ids=ids)


def test_kernel(turn: int, kernel: Kernel, benchmark: BenchmarkFixture) -> None:
    if kernel not in _prepared:
        _prepared[kernel] = kernel.prepare()
    work = _prepared[kernel]
    work()
    started = time.perf_counter()
    work()
    iterations = math.ceil(SECONDS_PER_TURN / (time.perf_counter() - started))
    benchmark.pedantic(work, rounds=1, iterations=iterations)
    benchmark.extra_info.update(
        kernel=kernel.name, factors=kernel.factors, flops=kernel.flops, turn=turn, cpu=cpu_model(), versions=versions()
    )
