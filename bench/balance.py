"""How evenly the rows of a half-step spread over many threads, by simulation: `python -m bench.balance [problem ...]`.

Blocks are drawn as `fastals.engine.sweep` lays them out, each by the thread that is free first, and take their
predicted time. Printed is the share of the threads' time that is work: 100% is perfect balance.
"""

import heapq
import sys
from itertools import pairwise

import numpy as np

from bench import problems
from fastals.data.interactions import Interactions
from fastals.engine import plan as plans
from fastals.engine import sweep
from fastals.engine.rows import blocked_rows

THREADS = (2, 4, 8, 16, 32, 64, 128)


def share_of_work(counts: np.ndarray, fixed: np.ndarray, plan: plans.Plan, n_threads: int) -> float:
    """Work over threads times the time of the last to finish; of the fixed panel only the shape counts."""
    order, blocks, _, batches, _ = sweep.make_schedule(counts, fixed, plan, n_threads)
    cost = plans.predicted_cost(counts[order], fixed.shape[1], plan)
    if blocked_rows.cheaper(fixed.shape[1], plan):
        cost[: batches[-1]] = blocked_rows.cost(counts[order[: batches[-1]]], fixed.shape[1], plan.steps)
        blocks = np.concatenate((batches, blocks[blocks > batches[-1]]))
    free = [0.0] * n_threads
    for begin, end in pairwise(blocks):
        heapq.heapreplace(free, free[0] + float(cost[begin:end].sum()))
    return float(cost.sum()) / (n_threads * max(free))


def main(names: list[str]) -> None:
    """Print a line for each problem, side, solver and number of factors."""
    print(f"{'':44s}" + "".join(f"{n:>7d}" for n in THREADS))
    for name in names:
        cells = Interactions(problems.load(name).R)
        users, items = cells.by_user.counts, cells.by_item.counts
        for side, counts, n_columns in (("users", users, len(items)), ("items", items, len(users))):
            for factors in (64, 128):
                for solver in ("auto", "cholesky"):
                    plan = plans.plan_for(solver, cells.dtype, True, warm=True, last=False)
                    shares = (
                        share_of_work(counts, np.empty((n_columns, factors), cells.dtype), plan, n_threads)
                        for n_threads in THREADS
                    )
                    label = f"{name}, {side}, k = {factors}, {solver}"
                    print(f"{label:44s}" + "".join(f"{share:7.1%}" for share in shares), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or ["ml-1m", "lastfm-2k", "synthetic-20m"])
