"""One adapter a library for answers instead of training: all have the same factors, so all must give the same ids."""

import resource
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.machine import THREADS, peak_memory, reset_peak_memory, resident_memory
from bench.problems import CACHE, Problem, load

N = 10
REQUESTS = 300  # single users, one after the other: the median is the latency
WARM_USERS = 64
IRSPACK_BLOCK = 1024  # its scores are dense: users at once
BLOCK = 4096  # users at once, where no answer is kept


def model_file(problem: str, factors: int) -> Path:
    """Return a trained model of this problem, trained if it is not there; run in a process that measures nothing."""
    file = CACHE / f"model-{problem}-k{factors}.npz"
    if not file.exists():
        from fastals import ImplicitALS

        data = load(problem)
        settings: dict[str, Any] = {"regularization": data.regularization, "alpha": data.alpha, "random_state": 0}
        ImplicitALS(factors=factors, iterations=2, n_threads=THREADS, **settings).fit(data.R).save(file)
    return file


class Server(ABC):
    """A library that answers with given factors."""

    library: ClassVar[str]

    @abstractmethod
    def __init__(self, problem: Problem, file: Path) -> None:
        """Import the library and take the factors."""

    @abstractmethod
    def many(self, users: np.ndarray) -> np.ndarray:
        """Return the best N items of each user, the seen ones left out."""

    def blocks(self, users: np.ndarray) -> None:
        """Make the same block after block, and keep none."""
        for start in range(0, len(users), BLOCK):
            self.many(users[start : start + BLOCK])

    @abstractmethod
    def one(self, user: int) -> np.ndarray:
        """Return the same for one user, from the stored factors."""

    @abstractmethod
    def new(self, user: int) -> np.ndarray:
        """Return the same for one user whose factors are solved first from the user's row."""


class FastalsServer(Server):
    library = "fastals"

    def __init__(self, problem: Problem, file: Path) -> None:
        import fastals

        self._model = fastals.load(file).set_params(n_threads=THREADS)
        self._rows = [problem.R[user] for user in range(REQUESTS)]

    def many(self, users: np.ndarray) -> np.ndarray:
        return self._model.recommend(users, N)[0]

    def blocks(self, users: np.ndarray) -> None:
        for _ in self._model.recommend_blocks(users, N, BLOCK):
            pass

    def one(self, user: int) -> np.ndarray:
        return self._model.recommend(user, N)[0]

    def new(self, user: int) -> np.ndarray:
        return self._model.recommend(self._rows[user], N, fold_in=True)[0][0]


class ImplicitServer(Server):
    library = "implicit"

    def __init__(self, problem: Problem, file: Path) -> None:
        from implicit.cpu.als import AlternatingLeastSquares

        self._confidence = problem.R.copy()
        self._confidence.data = 1.0 + np.float32(problem.alpha) * problem.R.data
        with np.load(file) as arrays:
            X, Y = arrays["user_factors_"], arrays["item_factors_"]
        self._model = AlternatingLeastSquares(
            factors=X.shape[1], regularization=problem.regularization, alpha=1.0, num_threads=THREADS
        )
        self._model.user_factors, self._model.item_factors = X, Y
        self._rows = [self._confidence[user] for user in range(REQUESTS)]

    def many(self, users: np.ndarray) -> np.ndarray:
        # A slice is a copy of all cells, which whoever asks for all users would not make.
        everybody = len(users) == self._confidence.shape[0]
        return self._model.recommend(users, self._confidence if everybody else self._confidence[users], N)[0]

    def one(self, user: int) -> np.ndarray:
        return self._model.recommend(user, self._rows[user], N)[0]

    def new(self, user: int) -> np.ndarray:
        return self._model.recommend(user, self._rows[user], N, recalculate_user=True)[0]


class IrspackServer(Server):
    library = "irspack"

    def __init__(self, problem: Problem, file: Path) -> None:
        from irspack import IALSRecommender
        from irspack.utils.id_mapping import retrieve_recommend_from_score

        with np.load(file) as arrays:
            X, Y = arrays["user_factors_"], arrays["item_factors_"]
        self._recommender = IALSRecommender(
            problem.R * np.float32(problem.alpha),
            n_components=X.shape[1],
            loss_type="ORIGINAL",
            alpha0=1.0,
            nu=0.0,
            reg=problem.regularization,
            n_threads=THREADS,
        )
        self._recommender.start_learning()
        core = self._recommender.trainer_as_ials.core_trainer
        core.user, core.item = X, Y
        self._select = retrieve_recommend_from_score
        self._rows = [problem.R[user] * np.float32(problem.alpha) for user in range(REQUESTS)]

    def _best(self, scores: np.ndarray) -> np.ndarray:
        best = self._select(scores, [], N, THREADS)
        return np.array([[item for item, _ in row] + [-1] * (N - len(row)) for row in best])

    def many(self, users: np.ndarray) -> np.ndarray:
        parts = np.array_split(users, -(-len(users) // IRSPACK_BLOCK))
        return np.concatenate([self._best(self._recommender.get_score_remove_seen(part)) for part in parts])

    def one(self, user: int) -> np.ndarray:
        return self._best(self._recommender.get_score_remove_seen(np.array([user])))[0]

    def new(self, user: int) -> np.ndarray:
        return self._best(self._recommender.get_score_cold_user_remove_seen(self._rows[user]))[0]


SERVERS: dict[str, type[Server]] = {
    "fastals": FastalsServer,
    "implicit": ImplicitServer,
    "irspack": IrspackServer,
}


class Counter:
    """What a process of its own does with a server; see `bench.arena.Worker`."""

    def __init__(self, server: str, problem: str, factors: int) -> None:
        from threadpoolctl import threadpool_limits

        data = load(problem)
        self._n_users = data.R.shape[0]
        self._server = SERVERS[server](data, model_file(problem, factors))
        threadpool_limits(limits=1, user_api="blas")
        self._server.many(np.arange(WARM_USERS))  # compiles, starts threads
        self._server.one(0)
        self._server.new(0)

    def all(self) -> tuple[float, int]:
        """Return the seconds that all users take, and the memory beyond what was held before, their answer included."""
        return self._measured(self._server.many)

    def blocks(self) -> tuple[float, int]:
        """Return the same of all users in blocks, no answer kept."""
        return self._measured(self._server.blocks)

    def _measured(self, serve: Callable[[np.ndarray], object]) -> tuple[float, int]:
        reset_peak_memory()
        held = resident_memory()
        users = np.arange(self._n_users)
        seconds = _seconds(lambda: serve(users))
        # What fits into memory that was free before takes none: a page stands for it.
        return seconds, max(peak_memory() - held, resource.getpagesize())

    def one(self) -> float:
        """Return the median seconds of a request for one user."""
        return statistics.median(_seconds(lambda user=user: self._server.one(user)) for user in range(REQUESTS))

    def new(self) -> float:
        """Return the median seconds of a request for one user with factors to be solved."""
        return statistics.median(_seconds(lambda user=user: self._server.new(user)) for user in range(REQUESTS))

    def ids(self) -> np.ndarray:
        """Return the answers for the first users."""
        return self._server.many(np.arange(REQUESTS))


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
