"""One iteration on short rows as a function of k: exact solutions should cost in proportion to k, not to its cube."""

import numpy as np
import pytest
import scipy.sparse as sp
from pytest_benchmark.fixture import BenchmarkFixture

from bench.machine import THREADS, cpu_model, versions
from bench.peers import CONTENDERS, Contender
from bench.problems import Problem

ROWS, COLUMNS = 30_000, 40_000  # as Gowalla has them
MEDIAN, SPREAD = 15, 1.0  # cells of a row: log-normal, the spread of the logarithm
FACTORS = (16, 32, 64, 128, 256, 512, 1024)
ITERATIONS = 4
SOLVERS = ("fastals-auto", "fastals-cholesky")


def short_rows() -> Problem:
    """Return users of 15 cells in the median, in items drawn by an equally uneven popularity."""
    rng = np.random.default_rng(0)
    counts = np.clip(MEDIAN * np.exp(SPREAD * rng.standard_normal(ROWS)), 1, COLUMNS // 4).astype(int)
    popularity = np.exp(SPREAD * rng.standard_normal(COLUMNS))
    columns = rng.choice(COLUMNS, counts.sum(), p=popularity / popularity.sum())
    R = sp.csr_matrix(
        (np.ones(len(columns), np.float32), (np.repeat(np.arange(ROWS), counts), columns)), (ROWS, COLUMNS)
    )
    R.sum_duplicates()
    R.data[:] = 1
    return Problem("short rows", R)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return short_rows()


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("factors", FACTORS)
def test_iteration(problem: Problem, factors: int, name: str, benchmark: BenchmarkFixture) -> None:
    contender: Contender = CONTENDERS[name](problem, factors)
    contender.train(1)
    trained = benchmark.pedantic(contender.train, (ITERATIONS,), rounds=1)
    benchmark.extra_info.update(
        short_rows=True,
        contender=name,
        factors=factors,
        iteration_seconds=trained.iteration_seconds,
        threads=THREADS,
        cpu=cpu_model(),
        versions=versions(),
    )
