"""Fit the constants of the cost model in `fastals.engine.plan`: `python -m bench.cost_model`.

Rows of one length are solved by each way in turn; the predicted time is a sum of terms, fitted by non-negative least
squares of the relative error. Prints the constants, in nanoseconds, and how far the prediction is off.
"""

import time

import numpy as np
from scipy.optimize import nnls

from fastals.engine import plan as plans
from fastals.engine import sweep
from fastals.engine.panel import as_panel
from fastals.engine.problem import CellRule, Cells, RowProblem, no_shifts

TURNS = 6  # over all cases, of which the shortest time counts: a shared machine has slow minutes
LENGTHS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024)
FACTORS = (16, 32, 64, 128, 256)
TERMS = {
    "primal": lambda m, k, steps: [1, k * k, k**3, m * k, m * k * k],
    "dual": lambda m, k, steps: [1, k, padded(m) * k, padded(m) ** 2, padded(m) ** 2 * k, padded(m) ** 3],
    "cg": lambda m, k, steps: [1, (steps + 1) * k, m * k, (steps + 1) * m, (steps + 1) * m * k],
}


def padded(m: float) -> float:
    """Return `m` rounded up to whole vectors of AVX-512 in float32, as `plan.dual_cost` does."""
    return -(-m // 16) * 16


def problem(m: int, n_rows: int, n_columns: int) -> RowProblem:
    """`n_rows` rows of `m` cells each, in random columns."""
    rng = np.random.default_rng(m)
    indices = np.concatenate([np.sort(rng.choice(n_columns, m, replace=False)) for _ in range(n_rows)])
    one = np.ones(1, np.float32)
    cells = Cells(np.arange(n_rows + 1, dtype=np.int64) * m, indices.astype(np.int32), one, one)
    rule = CellRule(*(np.float32(number) for number in (1, 10, 1, 0, 0)))
    numbers = np.ones((n_rows, 3), np.float32)
    return RowProblem(cells, rule, numbers, np.array([[1, 1, 0]], np.float32), no_shifts(np.dtype(np.float32)))


def seconds_a_row(way: str, m: int, k: int, steps: int) -> float:
    """Shortest of several runs over rows of `m` cells, one thread."""
    n_rows = max(16, min(20_000, int(5e6 / (m * k))))
    Y = as_panel((np.random.default_rng(k).standard_normal((4000, k)) / np.sqrt(k)).astype(np.float32))
    cells, X = problem(m, n_rows, len(Y)), np.zeros((n_rows, k), np.float32)
    only = {"primal": plans.PRIMAL, "dual": plans.DUAL, "cg": plans.CG}[way]
    plan = plans.Plan(False, True, True, True, steps, steps, np.float32(0), only, False, np.float32(0))
    best = np.inf
    for _ in range(3):
        start = time.perf_counter()
        sweep.half_step(cells, Y, np.full(k, 10, np.float32), k, X, plan, 1)
        best = min(best, (time.perf_counter() - start) / n_rows)
    return best


def cases(way: str) -> list[tuple[int, int, int]]:
    """Cells, factors and steps of the rows that a way is measured on."""
    found = [(m, k, steps) for m in LENGTHS for k in FACTORS for steps in ((2, 8) if way == "cg" else (0,))]
    return [case for case in found if way != "dual" or case[0] < case[1]]


def main() -> None:
    """Measure, fit, print."""
    turns = [[[seconds_a_row(way, *case) for case in cases(way)] for way in TERMS] for _ in range(TURNS)]
    for way, terms, *times in zip(TERMS, TERMS.values(), *turns, strict=True):
        measured = np.min(times, axis=0) * 1e9
        matrix = np.array([terms(*map(float, case)) for case in cases(way)])
        constants, _ = nnls(matrix / measured[:, None], np.ones(len(measured)))
        off = matrix @ constants / measured - 1
        print(way, [float(f"{constant:.3g}") for constant in constants])
        print(f"  off by {np.median(np.abs(off)):.0%} in the median, {off.min():+.0%} to {off.max():+.0%}")


if __name__ == "__main__":
    main()
