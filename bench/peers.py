"""One adapter a library: the objective of `Problem` in its own terms, its own start, its own solvers.

All get float32, `THREADS` threads and BLAS on one thread. Each clock leaves out the conversion of the data and what a
visitor does between iterations. Drawing the start is left out too where a peer does it beside the conversion, which
flatters the peers; for fastals everything from the call of `fit` to its return is counted.
"""

import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, NamedTuple
from unittest import mock

import numpy as np
import scipy.sparse as sp

from bench.machine import THREADS
from bench.objective import Factors
from bench.problems import Problem

SEED = 0
CG_STEPS = 3  # the default of every peer that has conjugate gradients

Visit = Callable[[float, Factors, Factors], None]  # seconds so far, user factors, item factors


class Trained(NamedTuple):
    """What came out of a training."""

    seconds: float  # all of it
    iteration_seconds: list[float]
    user_factors: Factors
    item_factors: Factors


class _Enough(Exception):  # noqa: N818 - nothing went wrong
    """Leaves a library's own loop from its callback."""


class Contender(ABC):
    """A library with one of its solvers, ready to train on one problem."""

    library: ClassVar[str]

    @abstractmethod
    def __init__(self, problem: Problem, factors: int) -> None:
        """Import the library and convert the data."""

    @abstractmethod
    def train(self, iterations: int, visit: Visit | None = None) -> Trained:
        """Train from the start; `visit` is called after every iteration, off the clock."""

    def iterations_to(self, reached: Callable[[Factors, Factors], bool], iterations: int, seconds: float) -> int | None:
        """Return how many iterations it takes until `reached`; None where `iterations` or `seconds` are used up."""
        taken = 0
        arrived = False

        def visit(seconds_so_far: float, X: Factors, Y: Factors) -> bool:
            nonlocal taken, arrived
            taken += 1
            arrived = reached(X, Y)
            if arrived or seconds_so_far > seconds:
                raise _Enough

        with suppress(_Enough):
            self.train(iterations, visit)
        return taken if arrived else None


class _Implicit(Contender):
    library = "implicit"
    use_cg: ClassVar[bool]

    def __init__(self, problem: Problem, factors: int) -> None:
        algorithm = self._algorithm()

        def model(iterations: int) -> Any:
            model = algorithm(
                factors=factors,
                regularization=problem.regularization,
                alpha=1.0,
                use_cg=self.use_cg,
                iterations=iterations,
                num_threads=THREADS,
                random_state=SEED,
            )
            model.cg_steps = CG_STEPS
            return model

        self._model = model
        # implicit takes the stored value as the whole confidence.
        self._confidence = problem.R.copy()
        self._confidence.data = 1.0 + np.float32(problem.alpha) * problem.R.data

    @staticmethod
    def _algorithm() -> Any:
        from implicit.cpu.als import AlternatingLeastSquares

        return AlternatingLeastSquares

    def train(self, iterations: int, visit: Visit | None = None) -> Trained:
        model = self._model(iterations)
        clock: list[float] = []

        def callback(iteration: int, seconds: float, loss: float | None) -> None:
            clock.append(seconds)
            if visit:
                visit(sum(clock), model.user_factors, model.item_factors)

        model.fit(self._confidence, show_progress=False, callback=callback)
        return Trained(sum(clock), clock, model.user_factors, model.item_factors)


class ImplicitCholesky(_Implicit):
    use_cg = False


class ImplicitCG(_Implicit):
    use_cg = True


class Textbook(ImplicitCholesky):
    """Exact ALS from a normal start with 0.1 / sqrt(factors) an entry, by our rows: a yardstick, in no table."""

    library = "fastals"

    def __init__(self, problem: Problem, factors: int) -> None:
        super().__init__(problem, factors)
        plain, (n_users, n_items) = self._model, problem.R.shape
        normal = np.random.default_rng(SEED).standard_normal((n_items, factors), dtype=np.float32)
        self.start = normal * np.float32(0.1 / np.sqrt(factors))

        def model(iterations: int) -> Any:
            model = plain(iterations)
            model.user_factors, model.item_factors = np.zeros((n_users, factors), np.float32), self.start
            return model

        self._model = model

    @staticmethod
    def _algorithm() -> Any:
        from fastals.compat.implicit import AlternatingLeastSquares

        return AlternatingLeastSquares


class _Irspack(Contender):
    library = "irspack"
    solver: ClassVar[str]

    def __init__(self, problem: Problem, factors: int) -> None:
        from irspack import IALSRecommender

        self._recommender = IALSRecommender(
            problem.R * np.float32(problem.alpha),
            n_components=factors,
            loss_type="ORIGINAL",
            alpha0=1.0,
            nu=0.0,
            reg=problem.regularization,
            init_std=0.1,  # of a whole row: normal with 0.1 / sqrt(factors) an entry
            solver_type=self.solver,
            max_cg_steps=CG_STEPS,
            random_seed=SEED,
            n_threads=THREADS,
        )

    def train(self, iterations: int, visit: Visit | None = None) -> Trained:
        self._recommender.start_learning()
        core = self._recommender.trainer_as_ials.core_trainer
        clock: list[float] = []
        for _ in range(iterations):
            started = time.perf_counter()
            self._recommender.run_epoch()
            clock.append(time.perf_counter() - started)
            if visit:
                visit(sum(clock), core.user, core.item)
        return Trained(sum(clock), clock, core.user, core.item)


class IrspackCholesky(_Irspack):
    solver = "CHOLESKY"


class IrspackCG(_Irspack):
    solver = "CG"


class IrspackIALSPP(_Irspack):
    solver = "IALSPP"


class _Refitted(Contender):
    """A library without a callback and a warm start; the same seed gives the same factors: iteration n is a fit of n.

    A fit of no iterations converts the data and draws the start; that is left out of the seconds.
    """

    _conversion = 0.0

    @abstractmethod
    def _fitted(self, iterations: int) -> tuple[float, Factors, Factors]:
        """Return the seconds and the factors of a fit."""

    def _without_conversion(self) -> None:
        self._conversion = statistics.median(self._fitted(0)[0] for _ in range(3))

    def _fit(self, iterations: int) -> tuple[float, Factors, Factors]:
        seconds, X, Y = self._fitted(iterations)
        return seconds - self._conversion, X, Y

    def train(self, iterations: int, visit: Visit | None = None) -> Trained:
        for count in range(1 if visit else iterations, iterations + 1):
            seconds, X, Y = self._fit(count)
            if visit:
                visit(seconds, X, Y)
        return Trained(seconds, [seconds / iterations] * iterations, X, Y)

    def iterations_to(self, reached: Callable[[Factors, Factors], bool], iterations: int, seconds: float) -> int | None:
        """Double the number of iterations until `reached`, then bisect: visiting each in turn costs their square."""
        missed, tried = 0, 1
        while True:
            taken, X, Y = self._fit(tried)
            if reached(X, Y):
                break
            missed = tried
            if tried == iterations or taken > seconds:
                return None
            tried = min(2 * tried, iterations)
        arrived = tried
        while arrived - missed > 1:
            tried = (missed + arrived) // 2
            _, X, Y = self._fit(tried)
            if reached(X, Y):
                arrived = tried
            else:
                missed = tried
        return arrived


class _Cmfrec(_Refitted):
    library = "cmfrec"
    use_cg: ClassVar[bool]
    finalize_chol: ClassVar[bool] = False

    def __init__(self, problem: Problem, factors: int) -> None:
        from cmfrec import CMF_implicit

        def model(iterations: int) -> CMF_implicit:
            return CMF_implicit(
                k=factors,
                lambda_=problem.regularization,
                alpha=problem.alpha,
                niter=iterations,
                use_cg=self.use_cg,
                max_cg_steps=CG_STEPS,
                finalize_chol=self.finalize_chol,
                use_float=True,
                precompute_for_predictions=False,
                produce_dicts=False,
                random_state=SEED,
                nthreads=THREADS,
            )

        self._model = model
        self._cells = sp.coo_matrix(problem.R)
        self._without_conversion()

    def _fitted(self, iterations: int) -> tuple[float, Factors, Factors]:
        model = self._model(iterations)
        started = time.perf_counter()
        model.fit(self._cells)
        return time.perf_counter() - started, model.A_, model.B_


class CmfrecCholesky(_Cmfrec):
    use_cg = False


class CmfrecCG(_Cmfrec):
    """Its conjugate gradients start from the residual of another system (3.5.1, `factors_implicit_cg`).

    With w = alpha r they converge to the x of (Y'Y + lambda I + sum (1 + w) y y') x = sum w y, where the objective and
    its own Cholesky have sum w y y' on the left and sum (1 + w) y on the right.
    """

    use_cg = True


class CmfrecCGFinal(_Cmfrec):
    """The same with a last iteration by Cholesky, which repairs most of it: the quickest way of cmfrec to low loss."""

    use_cg = True
    finalize_chol = True


class _Rusket(_Refitted):
    """rusket takes its number of threads from RAYON_NUM_THREADS, by default that of the CPUs."""

    library = "rusket"
    settings: ClassVar[dict[str, Any]]

    def __init__(self, problem: Problem, factors: int) -> None:
        from rusket import ALS

        def model(iterations: int) -> ALS:
            return ALS(
                factors=factors,
                regularization=problem.regularization,
                alpha=problem.alpha,
                iterations=iterations,
                seed=SEED,
                **self.settings,
            )

        self._model = model
        self._R = problem.R
        self._without_conversion()

    def _fitted(self, iterations: int) -> tuple[float, Factors, Factors]:
        model = self._model(iterations)
        started = time.perf_counter()
        model.fit(self._R)
        return time.perf_counter() - started, model.user_factors, model.item_factors


class RusketCholesky(_Rusket):
    settings: ClassVar = {"use_cholesky": True}


class RusketCG(_Rusket):
    settings: ClassVar = {"cg_iters": CG_STEPS}


class RusketAnderson(_Rusket):
    """Conjugate gradients with what its documentation recommends for the acceleration of the outer loop."""

    settings: ClassVar = {"cg_iters": CG_STEPS, "anderson_m": 5}


class RusketEALS(_Rusket):
    settings: ClassVar = {"use_eals": True}


class _Fastals(Contender):
    library = "fastals"
    solver: ClassVar[str]

    def __init__(self, problem: Problem, factors: int) -> None:
        from fastals import ImplicitALS
        from fastals.data.interactions import Interactions

        def model(iterations: int) -> ImplicitALS:
            return ImplicitALS(
                factors=factors,
                regularization=problem.regularization,
                alpha=problem.alpha,
                unobserved_weight=1.0,
                popularity_exponent=0.0,
                regularization_exponent=0.0,
                iterations=iterations,
                solver=self.solver,
                n_threads=THREADS,
                random_state=SEED,
            )

        self._model = model
        self._interactions = Interactions(problem.R)

    def train(self, iterations: int, visit: Visit | None = None) -> Trained:
        from fastals import base

        model = self._model(iterations)
        marks: list[float] = []
        visiting = 0.0

        class Clock:
            """Takes the time where a fit would report its progress: a callback costs a copy of the factors."""

            def __init__(self, *args: object, **kwargs: object) -> None: ...

            def __call__(self, iteration: int, loss: float) -> None:
                marks.append(time.perf_counter() - started - visiting)

            def close(self) -> None: ...

        def callback(iteration: int, model: Any) -> None:
            nonlocal visiting
            entered = time.perf_counter()
            if visit:
                visit(marks[-1], model.user_factors_, model.item_factors_)
            visiting += time.perf_counter() - entered

        with mock.patch.object(base, "Progress", Clock):
            started = time.perf_counter()
            model.fit(self._interactions, callback=callback if visit else None, progress=True)
            seconds = time.perf_counter() - started - visiting
        # The first iteration holds the start, the last one the users' last half-step: neither is an iteration.
        return Trained(seconds, np.diff(marks)[:-1].tolist(), model.user_factors_, model.item_factors_)

    def iterations_to(self, reached: Callable[[Factors, Factors], bool], iterations: int, seconds: float) -> int | None:
        """Fit anew with one iteration more each time: what a fit returns is better than what a callback sees."""
        for count in range(1, iterations + 1):
            trained = self.train(count)
            if reached(trained.user_factors, trained.item_factors):
                return count
            if trained.seconds > seconds:
                break
        return None


class FastalsAuto(_Fastals):
    solver = "auto"


class FastalsCholesky(_Fastals):
    solver = "cholesky"


class FastalsCG(_Fastals):
    solver = "cg"


class FastalsPlain(_Fastals):
    """The textbook's loop: what all the rest of the engine gains."""

    solver = "plain"


CONTENDERS: dict[str, type[Contender]] = {
    "fastals-auto": FastalsAuto,
    "fastals-cg": FastalsCG,
    "fastals-cholesky": FastalsCholesky,
    "fastals-plain": FastalsPlain,
    "implicit-cg": ImplicitCG,
    "implicit-cholesky": ImplicitCholesky,
    "irspack-cg": IrspackCG,
    "irspack-cholesky": IrspackCholesky,
    "irspack-ialspp": IrspackIALSPP,
    "cmfrec-cg": CmfrecCG,
    "cmfrec-cg+cholesky": CmfrecCGFinal,
    "cmfrec-cholesky": CmfrecCholesky,
    "rusket-cg": RusketCG,
    "rusket-anderson": RusketAnderson,
    "rusket-eals": RusketEALS,
    "rusket-cholesky": RusketCholesky,
}
PEERS = [name for name, contender in CONTENDERS.items() if contender.library != "fastals"]
YARDSTICKS: dict[str, type[Contender]] = {"textbook": Textbook}
