"""The workers of a Dask cluster: which are there, whether they are of use, and what becomes of what they are asked."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, NamedTuple

from . import tasks

PATIENCE = 0.5  # seconds after which to look whether a worker that has not answered is still there
REACHED_WITHIN = 2.0  # seconds
ATTEMPTS = 5  # at the same work, whose workers may be lost


class Place(NamedTuple):
    """Rows of a side, and the worker that solves them."""

    worker: str
    threads: int
    begin: int
    end: int

    def lost(self) -> RuntimeError:
        """Return the error of the last attempt."""
        return RuntimeError(
            f"{ATTEMPTS} workers in turn were lost at the same work, the last one {self.worker}: see their logs, they "
            "may not have enough memory"
        )


class Workers:
    """The workers of a client, for the time of one fit.

    Parameters
    ----------
    client : distributed.Client or None
        None takes the one that was made last in this process.

    Raises
    ------
    ImportError, TypeError, ValueError, OSError
        Dask is missing; it is no client, or there is none; workers are of other versions; no scheduler answers.
    """

    def __init__(self, client: Any) -> None:
        self._distributed = _imported()
        self._client = self._checked(client)
        self._greeted: set[str] = set()
        self._direct: bool | None = self._client.direct_to_workers
        self._open: dict[Any, str] = {}
        # A thread a worker, which sends, waits and receives.
        self._pool = ThreadPoolExecutor(1024, thread_name_prefix="fastals-cluster")
        self.there()

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _checked(self, client: Any) -> Any:
        if client is None:
            try:
                client = self._distributed.default_client()
            except ValueError as error:
                raise ValueError(
                    "client is None and no Dask client is running: give client=distributed.Client('tcp://host:8786')"
                ) from error
        if not isinstance(client, self._distributed.Client):
            raise TypeError(f"client must be a distributed.Client, got {type(client).__name__}")
        if client.asynchronous:
            raise ValueError("client is asynchronous: give one that was made without asynchronous=True")
        return client

    def there(self) -> dict[str, int]:
        """Return the threads of each worker that is there now, by address; wait for one if there is none.

        Raises
        ------
        OSError
            No scheduler answers, or it has no workers.
        ValueError
            A worker would give other bits.
        """
        until = time.monotonic() + self._client._timeout
        while not (found := self._threads()):
            if time.monotonic() > until:
                raise OSError(f"the Dask scheduler at {self._address} has no workers: start some with `dask worker`")
            time.sleep(0.1)
        self._greet(sorted(found.keys() - self._greeted))
        return dict(sorted(found.items()))

    @property
    def _address(self) -> str:
        return str(getattr(self._client.scheduler, "address", "an unknown address"))

    def _threads(self) -> dict[str, int]:
        """Return the threads of each worker that the scheduler knows."""
        if self._client.status != "running":
            raise OSError(f"client is {self._client.status}, and no Dask scheduler answers it: make a new one")
        try:
            return dict(self._client.nthreads(callback_timeout=self._client._timeout))
        except (OSError, TimeoutError, asyncio.TimeoutError) as error:
            raise OSError(
                f"no Dask scheduler answers at {self._address} ({type(error).__name__}): check that it runs and can be "
                "reached from here, and make a new client"
            ) from error

    def _greet(self, new: Sequence[str]) -> None:
        """Refuse workers that would give other bits."""
        if not new:
            return
        wanted = tasks.greeting()
        for worker, said in self.run(tasks.greeting, workers=new).items():
            if isinstance(said, ImportError):
                raise ValueError(
                    f"worker {worker} cannot import fastals ({said}): install fastals {wanted['fastals']} there"
                )
            if isinstance(said, OSError):
                continue  # it has gone meanwhile
            if isinstance(said, BaseException):
                raise said
            for name in wanted:
                if said[name] != wanted[name]:
                    raise ValueError(
                        f"worker {worker} has {name} {said[name]}, this process {wanted[name]}: its factors would "
                        "have other bits: use workers of the same versions and the same kind of CPU"
                    )
            self._greeted.add(worker)
        if self._direct is None:
            self._direct = all(_reachable(worker) for worker in new)

    def computed(self, data: Any) -> Any:
        """Return what a Dask collection stands for, as an object of this process; anything else as it is."""
        return self._client.compute(data).result() if hasattr(data, "__dask_graph__") else data

    def run(self, function: Callable[..., Any], *arguments: Any, workers: Sequence[str]) -> dict[str, Any]:
        """Call a quick function on some workers; what was raised there is returned."""
        return dict(self._client.run(function, *arguments, workers=list(workers), on_error="return"))

    def send(self, worker: str, data: Any) -> Any:
        """Send an object to a worker; return its future."""
        # In a list, because a tuple would become a future for each of its members.
        [future] = self._client.scatter([data], workers=[worker], direct=self._direct, hash=False)
        return future

    def ask(self, worker: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function on a worker; return the future of its result, which stays there."""
        return self._client.submit(function, *arguments, workers=[worker], pure=False)

    def answer(self, worker: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function on a worker and wait for what it returns. If the worker is lost meanwhile, this raises."""
        future = self.ask(worker, function, *arguments)
        self._open[future] = worker
        try:
            return self._client.gather(future, direct=self._direct)
        finally:
            del self._open[future]

    def each(self, work: Callable[[Place], Any], places: Sequence[Place]) -> Iterator[tuple[Place, Any, Any]]:
        """Call `work` for all places at once. Yield place, result, error as they end; the error is that of a loss.

        Any other error is raised.
        """
        jobs = {self._pool.submit(work, place): place for place in places}
        try:
            while jobs:
                ended, _ = wait(jobs, PATIENCE, FIRST_COMPLETED)
                if not ended:
                    self._give_up_lost()
                for job in ended:
                    place, error = jobs.pop(job), job.exception()
                    if error is None:
                        yield place, job.result(), None
                    elif self._is_loss(error, place.worker):
                        yield place, None, error
                    else:
                        raise error
        finally:  # also where the caller is interrupted
            for job in jobs:
                job.cancel()
            if jobs:
                self._give_up(list(self._open))

    def _give_up_lost(self) -> None:
        """Stop waiting for what workers were asked that are no longer there: it would never end."""
        there = self._threads()
        self._give_up(
            [future for future, worker in list(self._open.items()) if worker not in there or future.status == "lost"]
        )

    def _give_up(self, futures: Sequence[Any]) -> None:
        for future in futures:
            future.cancel()

    def _is_loss(self, error: BaseException, worker: str) -> bool:
        """Tell whether an error comes from a worker that has gone, or from the way to it."""
        ways = OSError, TimeoutError, asyncio.TimeoutError, CancelledError, self._distributed.KilledWorker
        return isinstance(error, ways) or worker not in self._threads()


def _imported() -> Any:
    """Return the module `distributed`."""
    try:
        import distributed
    except ImportError as error:
        raise ImportError("fastals.cluster needs Dask: pip install 'fastals[dask]'") from error
    return distributed


def _reachable(address: str) -> bool:
    """Tell whether a worker can be reached from here, or only by the scheduler."""
    host, _, port = address.partition("://")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACHED_WITHIN).close()
    except (OSError, ValueError):
        return False
    return True
