"""One half-step: all rows of one side, spread over threads in blocks of about equal predicted cost."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .jit import kernel, next_block
from .plan import Plan, predicted_cost
from .problem import OK, RowProblem
from .rows.blocked_rows import (
    Batch,
    batch_memory,
    columns_of_block,
    most_cells_of_others,
    rows_of_batch,
    serves,
    solve_batches,
)
from .rows.long_rows import LONG, solve_long_row
from .rows.solve import solve_row
from .rows.workspace import Workspace, workspace
from .simd.kernels import AHEAD, prefetch_rows
from .threads import spread

# Of rows that are solved together. They are alike in cost; with more of them a block of columns serves fewer rows.
BATCHES_PER_THREAD = 2

# Small enough that the last block to finish does not keep others waiting (1 / 16 of a thread's share, down to one
# row), large enough that drawing a block does not count.
BLOCKS_PER_THREAD = 16


class Schedule(NamedTuple):
    """In which order rows are solved, and what a thread takes at a time."""

    order: np.ndarray
    """int32: the rows that are not too long, by falling length."""
    blocks: np.ndarray
    """int64 (n_blocks + 1,): block `i` is `order[blocks[i]:blocks[i + 1]]`."""
    longest: int
    """Cells of the longest of these rows."""
    batches: np.ndarray
    """int64 (n_batches + 1,): as `blocks`, of the first rows alone, which may be solved together."""
    too_long: np.ndarray
    """int32: rows that are not among these, as all threads solve each together."""


class Outcome(NamedTuple):
    """What a half-step reports."""

    losses: np.ndarray
    """float64 (n_rows,): each row's objective: cells, background and its own ridge; of a sketch |x|^2."""
    status: np.ndarray
    """int8 (n_rows,), see `fastals.engine.problem`."""

    @property
    def loss(self) -> float:
        """Sum of the rows' objectives: the ridge of the columns is not part of it."""
        return float(self.losses.sum())


def half_step(
    problem: RowProblem,
    Y: np.ndarray,
    g: np.ndarray,
    width: int,
    X: np.ndarray,
    plan: Plan,
    n_threads: int,
    schedule: Schedule | None = None,
) -> Outcome:
    """Solve every row of `problem` for the fixed panel `Y` into the panel `X`.

    Parameters
    ----------
    problem : RowProblem
    Y : ndarray, shape (n_columns, kp)
        Fixed panel, in the eigenbasis of its background.
    g : ndarray, shape (kp,)
        Eigenvalues of the background.
    width : int
        Columns of the panels in use.
    X : ndarray, shape (n_rows, kp)
        Where each row starts if the plan is warm; the solutions. A row that failed is 0.
    plan : Plan
    n_threads : int
    schedule : Schedule, optional
        Of these rows, from an earlier half-step.

    Returns
    -------
    Outcome
    """
    if schedule is None:
        schedule = make_schedule(problem.cells.counts, Y, plan, n_threads)
    order, blocks, longest, batches, too_long = schedule
    kp, losses = Y.shape[1], np.zeros(len(X))
    status = np.zeros(len(X), np.int8)
    for u in too_long:
        status[u], losses[u] = solve_long_row(problem, u, Y, g, width, X[u], plan, n_threads)
    lowest = g[:width].min()  # here, since a minimum is not a vector loop: 100 ns a row at k = 64
    together = len(batches) > 1 and serves(problem.rows[order[: batches[-1]]], lowest, kp, plan)
    # Made before the threads start: as long as one makes its own, the others wait for the GIL.
    workers = max(1, min(n_threads, len(blocks) - 1))
    free: list[Workspace] = [workspace(kp, longest, Y.dtype) for _ in range(workers)]
    free_batches: list[Batch] = [batch_memory(kp, Y.dtype) for _ in range(together * workers)]
    next_batch, columns = np.zeros(1, np.int64), columns_of_block(kp, Y.dtype)
    if together:
        blocks = blocks[np.searchsorted(blocks, batches[-1]) :]

    def work(counter: np.ndarray) -> None:
        results = X.reshape(-1), plan, losses, status, free.pop()
        if together:
            solve_batches(next_batch, order, batches, columns, problem, Y, g, width, *results, free_batches.pop())
        _solve_blocks(counter, order, blocks, problem, Y, g, lowest, width, *results)

    spread(work, workers)
    return Outcome(losses, status)


def make_schedule(counts: np.ndarray, Y: np.ndarray, plan: Plan, n_threads: int) -> Schedule:
    """Order rows by length, longest first, and cut them into blocks of about equal predicted cost.

    The first of them, if there are such that `blocked_rows` is for, are cut into batches as well. Of the fixed panel
    `Y` only shape and dtype count.
    """
    n_columns, width = Y.shape
    longest, none = int(counts.max()), np.zeros(1, np.int64)
    if len(counts) == 1 and longest <= LONG:
        # A user folded in: a third of the time would go into a prediction that decides nothing.
        return Schedule(np.zeros(1, np.int32), np.array([0, 1]), longest, none, np.zeros(0, np.int32))
    # Numbers of 16 bits are sorted by radix, in a fifth of the time.
    order = np.argsort(-counts.astype(np.int16 if longest < 2**15 else np.int64), kind="stable").astype(np.int32)
    too_long, order = np.split(order, [np.count_nonzero(counts > LONG)])
    if len(order) == 0:
        return Schedule(order, none, 0, none, too_long)
    lengths = counts[order]
    longest = int(lengths[0])
    if longest < len(counts):  # most lengths are many rows' length: predict each once
        cost = predicted_cost(np.arange(longest + 1), width, plan)[lengths]
    else:
        cost = predicted_cost(lengths, width, plan)
    blocks, batches = _cut(cost, BLOCKS_PER_THREAD * n_threads), none
    few = most_cells_of_others(n_columns, width, Y.dtype)
    if longest > few:
        long = lengths[: np.count_nonzero(lengths > few)]
        most = np.arange(0, len(long), rows_of_batch(width, Y.dtype))
        batches = np.union1d(_cut(long, BATCHES_PER_THREAD * n_threads), most)
        blocks = np.union1d(blocks, len(long))
    return Schedule(order, blocks, longest, batches, too_long)


def _cut(cost: np.ndarray, n_parts: int) -> np.ndarray:
    """Return where about as many parts of about equal cost begin, and where the last one ends."""
    total = np.cumsum(cost)
    n_parts = min(len(cost), n_parts)
    ends = np.searchsorted(total, total[-1] * np.arange(1, n_parts + 1) / n_parts, side="left") + 1
    return np.unique(np.concatenate(([0], np.minimum(ends, len(cost)))))


@kernel
def _solve_blocks(
    counter,  # inout int64 (1,)           next block, shared by all threads
    order,  # in    int32                  rows, each once
    blocks,  # in    int64 (n_blocks + 1,)
    problem,  # in    RowProblem
    Y,  # in    T (n_columns, kp)
    g,  # in    T (kp,)
    lowest,  # in    T
    width,  # in    intp
    x,  # inout T (n_rows * kp,)
    plan,  # in    Plan
    losses,  # out   float64 (n_rows,)
    status,  # out   int8 (n_rows,)
    ws,  # work  Workspace
):
    """Draw blocks until none is left."""
    indptr, indices = problem.cells.indptr, problem.cells.indices
    while True:
        block = next_block(counter)
        if block >= len(blocks) - 1:
            return
        for position in range(blocks[block], blocks[block + 1]):
            u = order[position]
            soon = order[min(position + 1, len(order) - 1)]
            # The cells that no kernel fetches on its way: a fit takes 4% longer with 64, 2% with none.
            prefetch_rows(Y, Y.shape[1], indices, indptr[soon], min(indptr[soon + 1] - indptr[soon], AHEAD))
            status[u], losses[u] = solve_row(problem, u, Y, g, lowest, width, x, plan, ws)
            if status[u] != OK:
                for i in range(u * Y.shape[1], (u + 1) * Y.shape[1]):
                    x[i] = 0
