"""Each contender in a process of its own: its own peak of memory, its own thread pools, one at work at a time."""

import multiprocessing
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, NamedTuple

from bench import problems
from bench.machine import limit_blas, peak_memory

# The target of a problem: the loss of exact ALS after so many iterations from a normal start, 0.1 / sqrt(factors) an
# entry. irspack's Cholesky is exact and starts there, and is nobody's favourite here. With 1024 factors it had not got
# there after 11 minutes (lastfm): of more than 128 our own exact rows say it, from another draw of that start.
TARGET_ITERATIONS = 5
MOST_FACTORS_OF_IRSPACK = 128
# A contender that repeats the target's own training may differ in the order of float32 sums.
TARGET_SLACK = 1e-6

MOST_ITERATIONS = 40
MOST_SECONDS = 120.0
SLOW_SECONDS = 60.0  # a training that takes longer is timed once
ITERATIONS_WITHOUT_TARGET = 4  # enough for a median, where the target is out of reach


class Timing(NamedTuple):
    """One timed training."""

    seconds: float
    iteration_seconds: list[float]


class _Booth:
    """The far side: holds the problem and the trained library, answers calls."""

    def __init__(self, contender: str, problem: str, factors: int) -> None:
        from threadpoolctl import threadpool_limits

        from bench.peers import CONTENDERS, YARDSTICKS

        kind = (CONTENDERS | YARDSTICKS)[contender]
        __import__(kind.library)
        self._problem = problems.load(problem)
        before = peak_memory()
        self._contender = kind(self._problem, factors)
        # Some load a BLAS only with their own module; the environment has limited those that were loaded before.
        threadpool_limits(limits=1, user_api="blas")
        self._contender.train(1)  # compiles, starts threads, touches pages
        self._memory = peak_memory() - before

    def memory(self) -> int:
        return self._memory

    def time(self, iterations: int) -> Timing:
        trained = self._contender.train(iterations)
        return Timing(trained.seconds, trained.iteration_seconds)

    def loss_after(self, iterations: int) -> float:
        from bench.objective import loss

        trained = self._contender.train(iterations)
        return loss(self._problem, trained.user_factors, trained.item_factors)

    def iterations_to(self, target: float) -> int | None:
        from bench.objective import loss

        def reached(X: Any, Y: Any) -> bool:
            return loss(self._problem, X, Y) <= target * (1 + TARGET_SLACK)

        return self._contender.iterations_to(reached, MOST_ITERATIONS, MOST_SECONDS)


def _serve(pipe: Connection, booth_class: Callable[[str, str, int], Any], *cell: Any) -> None:
    try:
        booth = booth_class(*cell)
        while True:
            method, arguments = pipe.recv()
            pipe.send((getattr(booth, method)(*arguments), None))
    except EOFError:
        return
    except Exception:
        pipe.send((None, traceback.format_exc()))


class Worker:
    """A contender at work on one problem in a process of its own."""

    def __init__(
        self, contender: str, problem: str, factors: int, booth: Callable[[str, str, int], Any] = _Booth
    ) -> None:
        limit_blas()
        context = multiprocessing.get_context("spawn")  # a fork would inherit loaded libraries and their threads
        self._name = f"{contender} on {problem} with {factors} factors"
        self._pipe, far_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(far_end, booth, contender, problem, factors), daemon=True)
        self._process.start()
        far_end.close()

    def memory(self) -> int:
        """Return the bytes that one iteration takes at its peak, beyond the loaded problem and library."""
        return self.call("memory")

    def time(self, iterations: int) -> Timing:
        """Train from the start and return the contender's clock."""
        return self.call("time", iterations)

    def loss_after(self, iterations: int) -> float:
        """Return the common loss after so many iterations."""
        return self.call("loss_after", iterations)

    def iterations_to(self, target: float) -> int | None:
        """Return how many iterations it takes to the target; None if not within the limits."""
        return self.call("iterations_to", target)

    def call(self, method: str, *arguments: object) -> Any:
        """Call a method of the far side."""
        try:
            self._pipe.send((method, arguments))
            answer, error = self._pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as gone:
            self._process.join()
            raise RuntimeError(f"{self._name} died with exit code {self._process.exitcode}") from gone
        if error:
            raise RuntimeError(f"{self._name} failed:\n{error}")
        return answer

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join()


@dataclass
class Entry:
    """A contender that is warm and knows its number of iterations."""

    worker: Worker
    iterations_to_target: int | None
    memory: int
    timed: list[Timing] = field(default_factory=list)

    def time(self) -> Timing:
        """Train to the target, or a few iterations where it is out of reach.

        Where the target takes too few iterations to time one, a training of a few more is timed for that.
        """
        timing = self.worker.time(self.iterations_to_target or ITERATIONS_WITHOUT_TARGET)
        if (self.iterations_to_target or ITERATIONS_WITHOUT_TARGET) < ITERATIONS_WITHOUT_TARGET:
            timing = timing._replace(iteration_seconds=self.worker.time(ITERATIONS_WITHOUT_TARGET).iteration_seconds)
        self.timed.append(timing)
        return timing

    @property
    def slow(self) -> bool:
        """Whether it has been timed and one time is all that can be afforded."""
        return any(timing.seconds > SLOW_SECONDS for timing in self.timed)


class Arena:
    """All contenders for one problem and one number of factors; workers start when they are first asked for."""

    def __init__(self, problem: str, factors: int) -> None:
        problems.prepare(problem)
        self.problem = problem
        self.factors = factors
        self._processes = ExitStack()
        self._workers: dict[str, Worker] = {}
        self._entries: dict[str, Entry] = {}
        self._target: float | None = None

    def __enter__(self) -> "Arena":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._processes.close()

    def target(self) -> float:
        """Return the loss that all are to reach."""
        if self._target is None:
            yardstick = "irspack-cholesky" if self.factors <= MOST_FACTORS_OF_IRSPACK else "textbook"
            self._target = self._worker(yardstick).loss_after(TARGET_ITERATIONS)
        return self._target

    def entry(self, contender: str) -> Entry:
        """Return the contender, warm; the first call finds out how many iterations it needs."""
        if contender not in self._entries:
            target = self.target()
            worker = self._worker(contender)
            self._entries[contender] = Entry(worker, worker.iterations_to(target), worker.memory())
        return self._entries[contender]

    def _worker(self, contender: str) -> Worker:
        if contender not in self._workers:
            worker = Worker(contender, self.problem, self.factors)
            self._processes.callback(worker.close)
            self._workers[contender] = worker
        return self._workers[contender]
