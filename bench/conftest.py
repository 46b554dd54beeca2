"""Options of the suites, and the environment that has to be set before any library is imported."""

import os

import pytest

from bench.machine import limit_blas
from tests.conftest import engine_cache_dir

limit_blas()
os.environ.setdefault("NUMBA_CACHE_DIR", engine_cache_dir())


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fastals")
    group.addoption("--problems", nargs="+", help="problems to run; default: all whose data is here")
    group.addoption("--contenders", nargs="+", help="contenders to run; default: all")
    group.addoption("--factors", nargs="+", type=int, default=[32, 64, 128, 256], help="numbers of factors")
    group.addoption("--repeats", type=int, default=5, help="how often each contender is timed")
