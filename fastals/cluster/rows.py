"""The rows of one side, solved by workers: what `engine.sweep.solver_here` does in one process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..engine import sweep
from ..engine.mapped import file_of
from ..engine.plan import Plan, predicted_cost
from ..engine.problem import PRIOR, Cells, Outcome, RowProblem
from . import tasks
from .workers import ATTEMPTS, Place, Workers

# Share of the columns up to which a worker is sent only those rows of the panel whose columns its block touches.
FEW = 0.8


class Rows:
    """Solves the rows of one side on workers, each with one range of them.

    A worker keeps its rows from one half-step to the next. The rows are cut anew where workers have come or gone.

    Parameters
    ----------
    workers : Workers
    cells : Cells
        Of the whole side.
    Y : ndarray
        The fixed panel, of which only shape and dtype count.
    typical : Plan
        By which the cost of rows is predicted.
    n_threads : int
        Of this process; workers use their own.
    """

    def __init__(self, workers: Workers, cells: Cells, Y: np.ndarray, typical: Plan, n_threads: int) -> None:
        self._workers, self._cells, self._typical = workers, cells, typical
        self._sections = sweep.make_sections(cells, Y, typical, n_threads)
        self._cost = np.concatenate([[0.0], np.cumsum(predicted_cost(cells.counts, Y.shape[1], typical))])
        self._blocks: dict[Place, tuple[Any, np.ndarray | None]] = {}  # futures, and the columns that they touch
        self._files = [file_of(array) for array in (cells.indices, cells.values, cells.weights)]
        self._stamps = tasks.stamps([path for path, _ in filter(None, self._files)])
        self._same_files: dict[str, bool] = {}

    def __call__(
        self, problem: RowProblem, Y: np.ndarray, g: np.ndarray, width: int, X: np.ndarray, plan: Plan
    ) -> Outcome:
        """Solve every row, as `sweep.solve_rows` does."""
        together = sweep.in_batches(problem, g[:width].min(), Y.shape[1], plan, self._sections)
        asked = tasks.Asked(
            Y, None, len(Y), problem.columns, problem.shifts, g, width, None, None, plan, self._typical, together
        )
        losses, status = np.zeros(len(X)), np.zeros(len(X), np.int8)
        missing = [(0, len(X))]
        for attempt in range(ATTEMPTS):
            there = self._workers.there()
            self._look_at_files(there)
            places = [place for rows in missing for place in self._cut(*rows, there)]
            self._blocks = {place: self._blocks[place] for place in places if place in self._blocks}
            missing = []
            for place, answer, error in self._workers.each(lambda place: self._solve(place, problem, X, asked), places):
                rows = slice(place.begin, place.end)
                if error is None:
                    X[rows], losses[rows], status[rows] = answer
                    continue
                self._blocks.pop(place, None)
                missing.append((place.begin, place.end))
                if attempt == ATTEMPTS - 1:
                    raise place.lost() from error
            if not missing:
                break
        return Outcome(losses, status)

    def _cut(self, begin: int, end: int, there: dict[str, int]) -> list[Place]:
        """Cut rows into a part for each worker, of about equal predicted cost a thread."""
        shares = np.cumsum([0, *there.values()]) / sum(there.values())
        wanted = self._cost[begin] + shares * (self._cost[end] - self._cost[begin])
        ends = np.clip(np.searchsorted(self._cost, wanted), begin, end)
        ends[0], ends[-1] = begin, end
        parts = zip(there.items(), pairwise(ends.tolist()), strict=True)
        return [Place(*worker, *rows) for worker, rows in parts if rows[0] < rows[1]]

    def _solve(self, place: Place, problem: RowProblem, X: np.ndarray, asked: tasks.Asked) -> Any:
        """Solve the rows of a place and wait for them."""
        block, touched = self._block(place, problem, len(asked.Y))
        if touched is not None:
            asked = asked._replace(Y=asked.Y[touched], touched=touched)
        if asked.plan.reads_start and not asked.plan.sketch:
            asked = asked._replace(X=X[place.begin : place.end])
        if problem.rows.shape[1] > PRIOR:
            asked = asked._replace(means=problem.rows[place.begin : place.end, PRIOR:])
        sent = self._workers.send(place.worker, asked)
        return self._workers.answer(place.worker, tasks.solve, block, sent, place.threads)

    def _block(self, place: Place, problem: RowProblem, n_columns: int) -> tuple[Any, np.ndarray | None]:
        """Return the rows of a place on their worker, and the columns that they touch if these are few."""
        worker, _, begin, end = place
        found = self._blocks.get(place)
        if found is None or found[0].status not in ("pending", "finished"):
            sent = tasks.Sent(self._arrays(place), problem.rule, problem.rows[begin:end, :PRIOR])
            block = self._workers.ask(worker, tasks.Block, self._workers.send(worker, sent))
            bits = self._workers.answer(worker, tasks.touched, block, n_columns)
            touched = np.flatnonzero(np.unpackbits(bits, count=n_columns))
            found = self._blocks[place] = block, touched if len(touched) < FEW * n_columns else None
        return found

    def _arrays(self, place: Place) -> Sequence[np.ndarray | tasks.File]:
        """Return the arrays of a block's cells: those of files as such, if the worker sees the same files."""
        part = self._cells.part(place.begin, place.end)
        arrays: list[np.ndarray | tasks.File] = [part.indptr]
        for array in part[1:]:
            found = file_of(array) if len(array) and self._same_files[place.worker] else None
            arrays.append(array if found is None else tasks.File(*found, len(array), array.dtype))
        return arrays

    def _look_at_files(self, there: Iterable[str]) -> None:
        """Ask new workers whether they see the files of the cells."""
        new = [worker for worker in there if worker not in self._same_files]
        paths = [path for path, _ in filter(None, self._files)]
        if new and paths:
            found = self._workers.run(tasks.stamps, paths, workers=new)
            self._same_files.update((worker, said == self._stamps) for worker, said in found.items())
        self._same_files.update((worker, False) for worker in new if worker not in self._same_files)
