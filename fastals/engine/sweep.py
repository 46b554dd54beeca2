"""One half-step: solve all rows of one side, spread over threads in blocks of about equal predicted cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from .basis import fix, rotate
from .jit import kernel, next_block
from .loss import of_rows
from .mapped import in_turn, row_blocks
from .panel import aligned_copy, as_panel
from .plan import Plan, plan_for, predicted_cost
from .problem import (
    BACKGROUND,
    MINIMUM_NORM,
    NOT_FINITE,
    NOT_POSITIVE,
    OK,
    PRIOR,
    UNSURE,
    Cells,
    Extent,
    Outcome,
    RowProblem,
    drawn_to,
    in_float64,
)
from .rows.blocked_rows import (
    Batch,
    batch_memory,
    columns_of_block,
    longest_alone,
    rows_of_batch,
    serves,
    solve_batches,
)
from .rows.long_rows import LONG, solve_long_row
from .rows.precision import bounds_for, extent_of
from .rows.solve import solve_row
from .rows.workspace import Workspace, borrow, give_back, workspace
from .shifts import on_panel
from .simd.kernels import AHEAD, prefetch_rows
from .smallest import almost_free, solve_again, weak_directions
from .threads import spread

# Batches of rows that are solved together. With more batches a block of columns serves fewer rows.
BATCHES_PER_THREAD = 2

# Many enough that threads end at about the same time, few enough that the time to draw a block does not count.
BLOCKS_PER_THREAD = 16

# Bytes of a thread's largest array up to which its memory is kept. To make it for 16 threads takes 0.4 ms of one.
KEPT = 2**18


class Schedule(NamedTuple):
    """The order in which rows are solved, and what a thread takes at a time."""

    order: np.ndarray
    """int32: the rows that one thread solves, longest first."""
    blocks: np.ndarray
    """int64 (n_blocks + 1,): block `i` is `order[blocks[i] : blocks[i + 1]]`."""
    longest: int
    """Number of entries of the longest of these rows."""
    batches: np.ndarray
    """int64 (n_batches + 1,): like `blocks`, for the first rows only, which `rows.blocked_rows` may solve."""
    too_long: np.ndarray
    """int32: the rows that are not in `order`, because all threads solve each of them together."""


class Section(NamedTuple):
    """Rows that are solved before others are looked at: all of them, or one block of `mapped.row_blocks`."""

    begin: int
    end: int
    """The row after the last."""
    schedule: Schedule
    """Counts rows from `begin`."""


class Kept(NamedTuple):
    """Memory of threads, from one half-step over some rows to the next; empty before the first one."""

    workspaces: list[Workspace]
    batches: list[Batch]
    """As large as the largest batch, so all together have about four times as many numbers as the long rows of X."""


# Solves every row by the kernels, as `solve_rows`: (problem, Y, g, width, X, plan) -> Outcome.
Solve = Callable[[RowProblem, np.ndarray, np.ndarray, int, np.ndarray, Plan], Outcome]


class _ToSolve(NamedTuple):
    """A half-step to solve, or a section of its rows; the fields are parameters of `half_step`."""

    problem: RowProblem
    Y: np.ndarray
    g: np.ndarray
    width: int
    X: np.ndarray
    plan: Plan
    n_threads: int


def half_step(
    problem: RowProblem,
    Y: np.ndarray,
    g: np.ndarray,
    width: int,
    X: np.ndarray,
    plan: Plan,
    n_threads: int,
    solve: Solve | None = None,
    extent: Extent | None = None,
    eps: float | None = None,
    mend: bool = True,
) -> Outcome:
    """Solve every row of `problem` for the fixed panel `Y` into the panel `X`; of many solutions the smallest.

    Rows that float32 does not hold are solved in float64. What float64 does not hold either is told in their status.

    Parameters
    ----------
    problem : RowProblem
        With what its shifts make of the fixed panel.
    Y : ndarray, shape (n_columns, kp)
        The fixed panel, in the eigenbasis of its background.
    g : ndarray, shape (kp,)
        Eigenvalues of the background.
    width : int
        Columns of the panels in use.
    X : ndarray, shape (n_rows, kp)
        In: the previous rows, which a warm plan starts from. Out: the solutions; rows that failed are 0.
    plan : Plan
    n_threads : int
    solve : callable, optional
        As `solver_here` returned it for an earlier half-step over the same rows, or one that solves them elsewhere.
    extent : Extent, optional
        That of the columns and `Y`, where it is known.
    eps : float, optional
        Of the dtype in which problem and panel came, if that was another one.
    mend : bool
        False: rows that the kernels cannot solve stay so, as their status says. `Y` may then be in any basis in which
        the background is diagonal, with any numbers g.

    Returns
    -------
    Outcome
    """
    if solve is None:
        solve = _solver_once(problem.cells, Y, plan, n_threads)
    if plan.sketch:
        return solve(problem, Y, g, width, X, plan)
    extent = extent_of(problem.columns, Y, n_threads) if extent is None else extent
    plan = plan._replace(bounds=bounds_for(problem, extent))
    if not mend:
        return solve(problem, Y, g, width, X, plan)
    step, mended = _ToSolve(problem, Y, g, width, X, plan, n_threads), partial(_solve_and_mend, solve, extent.longest)
    directions, free = weak_directions(problem, Y, g, width, eps)
    if directions is None:
        outcome = mended(step)
    elif directions.decide and Y.dtype != np.float64:
        outcome = mended(step, free)
    else:
        outcome = _solve_in_range(mended, step, directions.null, free)
        if directions.decide:
            outcome.status[free] = NOT_POSITIVE  # the kernels cannot tell
    solve_again(problem, Y, g[:width], width, X, outcome, extent.longest, eps)
    return outcome


def _solve_in_range(mended: Callable[..., Outcome], step: _ToSolve, null: np.ndarray, free: np.ndarray) -> Outcome:
    """Solve every row as `mended` does, the `free` ones without the directions in which background and panel are 0."""
    # With nothing in these columns their g does not count: it only has to be positive.
    reduced, x, g = aligned_copy(step.Y), aligned_copy(step.X), np.where(null, step.g.max(), step.g)
    reduced[:, null] = x[:, null] = 0
    outcome = mended(step._replace(problem=on_panel(step.problem, reduced), Y=reduced, g=g, X=x))
    outcome.status[(outcome.status == OK) & free] = MINIMUM_NORM
    if not free.all():
        others = mended(step)
        outcome = Outcome(*(np.where(free, *both) for both in zip(outcome, others, strict=True)))
    step.X[free] = x[free]
    return outcome


def _solve_and_mend(
    solve: Solve, longest: np.floating | None, step: _ToSolve, doubtful: np.ndarray | None = None
) -> Outcome:
    """Solve every row by `solve`, and the doubtful ones and those that float32 does not hold again in float64.

    `longest` is that of `Extent`.
    """
    problem, Y, g, width, X, plan, _ = step
    outcome = solve(problem, Y, g, width, X, plan)
    if Y.dtype == np.float64 or not (outcome.status.any() or doubtful is not None):
        return outcome
    again = outcome.status != OK if doubtful is None else (outcome.status != OK) | doubtful
    if longest is not None and not problem.columns[:, BACKGROUND].any():
        again &= ~almost_free(problem, longest)  # `solve_again` has them
    rows = np.flatnonzero(again)
    if len(rows):
        _solve_in_float64(step, rows, outcome)
    return outcome


def _solve_in_float64(step: _ToSolve, rows: np.ndarray, outcome: Outcome) -> None:
    """Solve some rows exactly, in float64 throughout: a Gram matrix in float32 would be as wrong as they were.

    They do not go beyond their solution. Their loss is that of the rounded factors: rounding may raise it by far more
    than float64 tells.
    """
    problem, Y, _, width, X, plan, n_threads = step
    wide = in_float64(problem, rows)
    used = np.flatnonzero(Y[:, :width].any(axis=0))  # columns of 0 have been left out as null directions
    if len(used) == 0:
        return
    panel = as_panel(Y[:, used].astype(np.float64))
    fixed = fix(panel, wide.columns[:, BACKGROUND], len(used), n_threads)
    x = np.zeros((len(rows), panel.shape[1]))
    if wide.rows.shape[1] > PRIOR:
        means = aligned_copy(x)
        means[:, : len(used)] = wide.rows[:, PRIOR + used]
        rotate(means, fixed.rotation, n_threads)
        wide = drawn_to(wide, means)
    wide = on_panel(wide, fixed.panel)
    exact = plan_for("cholesky", x.dtype, bool(fixed.g.any()), warm=False, last=plan.finish)
    found = half_step(wide, fixed.panel, fixed.g, len(used), x, exact, n_threads, eps=float(np.finfo(Y.dtype).eps))
    back = None if fixed.rotation is None else fixed.rotation.T
    rotate(x, back, n_threads)
    X[rows] = 0
    with np.errstate(over="ignore"):
        X[rows[:, None], used] = x[:, : len(used)]
        x[:, : len(used)] = X[rows[:, None], used]
        rotate(x, fixed.rotation, n_threads)
        losses = of_rows(wide, x, fixed.panel, fixed.g, np.arange(len(x)), n_threads)
    failed = (found.status <= OK) & ~np.isfinite(losses)
    outcome.losses[rows] = np.where(failed | (found.status > OK), 0, losses)
    outcome.status[rows] = np.where(failed, NOT_FINITE, found.status)
    X[rows[failed]] = 0


def solver_here(cells: Cells, Y: np.ndarray, plan: Plan, n_threads: int) -> Solve:
    """Return what solves the rows in this process. Only the shape and the dtype of the fixed panel `Y` count."""
    return partial(_solver_once(cells, Y, plan, n_threads), kept=Kept([], []))


def _solver_once(cells: Cells, Y: np.ndarray, plan: Plan, n_threads: int) -> Solve:
    """Return the same for one half-step alone, which borrows its memory."""
    return partial(solve_rows, n_threads=n_threads, sections=make_sections(cells, Y, plan, n_threads))


def solve_rows(
    problem: RowProblem,
    Y: np.ndarray,
    g: np.ndarray,
    width: int,
    X: np.ndarray,
    plan: Plan,
    n_threads: int,
    sections: Sequence[Section],
    together: bool | None = None,
    kept: Kept | None = None,
) -> Outcome:
    """Solve every row by the kernels.

    `together` is what `in_batches` says of all rows of the half-step; None where `problem` has all of them. `kept` is
    the threads' memory, from one half-step over these rows to the next; without it, memory is borrowed.
    """
    kp, losses, status = Y.shape[1], np.zeros(len(X)), np.zeros(len(X), np.int8)
    lowest = g[:width].min()  # once: a compiled minimum is not a vector loop, and would cost each row 100 ns
    schedules = [section.schedule for section in sections]
    if together is None:
        together = in_batches(problem, lowest, kp, plan, sections)
    # Allocated before the threads start: a thread that allocates holds the GIL, and the others wait.
    workers = max(1, min(n_threads, max(len(schedule.blocks) for schedule in schedules) - 1))
    longest = max(schedule.longest for schedule in schedules)
    make, (workspaces, batches) = (borrow, Kept([], [])) if kept is None else (workspace, kept)
    workspaces = workspaces or [make(kp, longest, Y.dtype) for _ in range(workers)]
    if together and not batches:
        most = max(int(np.diff(schedule.batches).max(initial=0)) for schedule in schedules)
        batches += batch_memory(most, kp, Y.dtype, workers)
    if kept is not None and workspaces[0].panel.nbytes <= KEPT:
        kept.workspaces[:] = workspaces
    memory = list(zip(workspaces, batches if together else workers * [None], strict=True))
    cells_of_sections = in_turn(problem.cells, [(begin, end) for begin, end, _ in sections])
    for (begin, end, schedule), cells in zip(sections, cells_of_sections, strict=True):
        part, rows = problem._replace(cells=cells, rows=problem.rows[begin:end]), slice(begin, end)
        section = _ToSolve(part, Y, g, width, X[rows], plan, n_threads)
        _solve_section(section, lowest, schedule, memory, Outcome(losses[rows], status[rows]))
    if kept is None:
        for ws in workspaces:
            give_back(ws)
    if status.any():
        unsure = np.flatnonzero(status < MINIMUM_NORM)
        if len(unsure):
            losses[unsure] = of_rows(problem, X, Y, g, unsure, n_threads)
            status[status == UNSURE] = OK
    return Outcome(losses, status)


def in_batches(problem: RowProblem, lowest: float, kp: int, plan: Plan, sections: Sequence[Section]) -> bool:
    """Tell whether the long rows of a half-step are solved in batches; `lowest` is the least number of g.

    For all sections alike, so that the bits of a row do not depend on what section it is in.
    """
    long = [begin + of.order[: of.batches[-1]] for begin, _, of in sections if len(of.batches) > 1]
    return bool(long) and serves(problem.rows[np.concatenate(long)], lowest, kp, plan)


def _solve_section(
    section: _ToSolve,
    lowest: np.floating,
    schedule: Schedule,
    memory: Sequence[tuple[Workspace, Batch | None]],
    outcome: Outcome,
) -> None:
    """Solve the rows of a section, in batches where there is memory for them; `outcome` is that of these rows only."""
    problem, Y, g, width, X, plan, n_threads = section
    (order, blocks, _, batches, too_long), (losses, status) = schedule, outcome
    for u in too_long:
        status[u], losses[u] = solve_long_row(problem, u, Y, g, width, X[u], plan, n_threads)
    free, next_batch, columns = list(memory), np.zeros(1, np.int64), columns_of_block(Y.shape[1], Y.dtype)
    if memory[0][1] is not None:
        blocks = blocks[np.searchsorted(blocks, batches[-1]) :]

    def work(counter: np.ndarray) -> None:
        ws, batch = free.pop()
        results = X.reshape(-1), plan, losses, status, ws
        if batch is not None:
            solve_batches(next_batch, order, batches, columns, problem, Y, g, width, *results, batch)
        _solve_blocks(counter, order, blocks, problem, Y, g, lowest, width, *results)

    spread(work, len(memory))


def make_sections(cells: Cells, Y: np.ndarray, plan: Plan, n_threads: int) -> list[Section]:
    """Return the rows in sections, each with its schedule. Only the shape and the dtype of the fixed panel `Y` count.

    There is one section, unless the entries lie in mapped files.
    """
    longest = len(cells.indices)
    if cells.n_rows == 1 and longest <= LONG:
        # One row to fold in: predicting its cost would take a third of the time.
        alone = Schedule(np.zeros(1, np.int32), np.array([0, 1]), longest, np.zeros(1, np.int64), np.zeros(0, np.int32))
        return [Section(0, 1, alone)]
    return cut_sections(cells, Y, plan, n_threads)


def cut_sections(cells: Cells, Y: np.ndarray, plan: Plan, n_threads: int) -> list[Section]:
    """Return the rows in sections, as `make_sections` does, for rows that may be a part of a side."""
    indptr = cells.indptr
    return [
        Section(begin, end, make_schedule(indptr[begin + 1 : end + 1] - indptr[begin:end], Y, plan, n_threads))
        for begin, end in row_blocks(cells)
    ]


def make_schedule(counts: np.ndarray, Y: np.ndarray, plan: Plan, n_threads: int) -> Schedule:
    """Order rows by length, longest first, and cut them into blocks of about equal predicted cost.

    The first rows, if they are long enough for `rows.blocked_rows`, are cut into batches as well. Only the shape and
    the dtype of the fixed panel `Y` count.
    """
    n_columns, width = Y.shape
    longest, none = int(counts.max()), np.zeros(1, np.int64)
    # NumPy sorts numbers of 16 bits by radix, in a fifth of the time.
    order = np.argsort(-counts.astype(np.int16 if longest < 2**15 else np.int64), kind="stable").astype(np.int32)
    too_long, order = np.split(order, [np.count_nonzero(counts > LONG)])
    if len(order) == 0:
        return Schedule(order, none, 0, none, too_long)
    lengths = counts[order]
    longest = int(lengths[0])
    if longest < len(counts):  # fewer lengths than rows: predict each length once
        cost = predicted_cost(np.arange(longest + 1), width, plan)[lengths]
    else:
        cost = predicted_cost(lengths, width, plan)
    blocks, batches = _cut(cost, BLOCKS_PER_THREAD * n_threads), none
    few = longest_alone(n_columns, width, Y.dtype)
    if longest > few:
        long = lengths[: np.count_nonzero(lengths > few)]
        most = np.arange(0, len(long), rows_of_batch(width, Y.dtype))
        batches = np.union1d(_cut(long, BATCHES_PER_THREAD * n_threads), most)
        blocks = np.union1d(blocks, len(long))
    return Schedule(order, blocks, longest, batches, too_long)


def _cut(cost: np.ndarray, n_parts: int) -> np.ndarray:
    """Return the bounds of about `n_parts` parts of about equal cost."""
    total = np.cumsum(cost)
    n_parts = min(len(cost), n_parts)
    ends = np.searchsorted(total, total[-1] * np.arange(1, n_parts + 1) / n_parts, side="left") + 1
    return np.unique(np.concatenate(([0], np.minimum(ends, len(cost)))))


@kernel
def _solve_blocks(
    counter,  # inout int64 (1,)           next block, shared by all threads
    order,  # in    int32                  rows
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
    """Solve blocks of rows until none is left."""
    indptr, indices = problem.cells.indptr, problem.cells.indices
    while True:
        block = next_block(counter)
        if block >= len(blocks) - 1:
            return
        for position in range(blocks[block], blocks[block + 1]):
            u = order[position]
            soon = order[min(position + 1, len(order) - 1)]
            # The kernels prefetch columns that are AHEAD of those they use. Here the first AHEAD of the next row.
            prefetch_rows(Y, Y.shape[1], indices, indptr[soon], min(indptr[soon + 1] - indptr[soon], AHEAD))
            status[u], losses[u] = solve_row(problem, u, Y, g, lowest, width, x, plan, ws)
            if status[u] > OK:
                for i in range(u * Y.shape[1], (u + 1) * Y.shape[1]):
                    x[i] = 0
