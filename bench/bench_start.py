"""Imports and first calls in fresh processes, with an empty cache of compiled functions and with a warm one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.bench_fit import CLOCK
from bench.machine import cpu_model, versions
from bench.problems import ROOT
from bench.start import TASKS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    turns = [(turn, task) for turn in range(metafunc.config.getoption("repeats")) for task in TASKS]
    # Turn -1 finds the caches empty and fills them, those of bytecode too.
    metafunc.parametrize(("turn", "task"), [(-1, "first_call"), (-1, "first_fit"), *turns])


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("caches")


def in_fresh_process(task: str, caches: Path) -> dict[str, Any]:
    """Run a task with the sources compiled to bytecode, as an installation has them."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"NUMBA_CACHE_DIR": str(caches / "numba"), "PYTHONPYCACHEPREFIX": str(caches / "bytecode")}
    command = [sys.executable, "-m", "bench.start", task]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.benchmark(timer=CLOCK)
def test_start(turn: int, task: str, caches: Path, benchmark: BenchmarkFixture) -> None:
    found: dict[str, Any] = {}

    def start() -> None:
        found.update(in_fresh_process(task, caches))
        CLOCK.seconds += found["seconds"]

    benchmark.pedantic(start, rounds=1)
    benchmark.extra_info.update(
        start=task,
        turn=turn,
        memory=found["memory"],
        functions=found.get("functions"),
        cpu=cpu_model(),
        versions=versions(),
    )
