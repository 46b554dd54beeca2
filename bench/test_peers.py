"""Every contender minimises the objective of `Problem`, and its clock and steps are what they are said to be."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import fastals
from bench.objective import Factors, gradient, loss
from bench.peers import CONTENDERS, PEERS, Contender, IrspackCholesky, Textbook
from bench.problems import Problem

# The peers' deprecations are theirs.
pytestmark = pytest.mark.filterwarnings("default")

FACTORS = 4


@pytest.fixture(scope="module")
def problem() -> Problem:
    rng = np.random.default_rng(1)
    R = sp.random(60, 40, 0.2, "csr", np.float32, rng, lambda n: rng.integers(1, 6, n))
    return Problem("small", R, alpha=3.0, regularization=20.0)


def _distance(problem: Problem, X: Factors, Y: Factors) -> float:
    """How far from a stationary point, relative to what the gradient is made of."""
    R = problem.R.astype(np.float64)
    targets = R.copy()
    targets.data = 1.0 + problem.alpha * R.data
    of_users, of_items = gradient(problem, X, Y)
    size = np.linalg.norm(targets @ Y) + np.linalg.norm(targets.T @ X)
    return float((np.linalg.norm(of_users) + np.linalg.norm(of_items)) / size)


EXACT_TO_THE_END = [name for name in CONTENDERS if not name.startswith("cmfrec-cg")]


@pytest.mark.parametrize("name", EXACT_TO_THE_END)
def test_objective(problem: Problem, name: str) -> None:
    """Trained to the end, the gradient of this objective vanishes, and of its neighbours' it does not."""
    trained = CONTENDERS[name](problem, FACTORS).train(200)
    here = _distance(problem, trained.user_factors, trained.item_factors)
    neighbours = [
        Problem("more alpha", problem.R, problem.alpha * 1.01, problem.regularization),
        Problem("more ridge", problem.R, problem.alpha, problem.regularization * 1.01),
    ]
    for neighbour in neighbours:
        assert here < 0.1 * _distance(neighbour, trained.user_factors, trained.item_factors)


def test_cg_of_cmfrec_solves_another_system(problem: Problem) -> None:
    """As its adapter says: the day this fails, cmfrec is mended and joins the others in `test_objective`."""
    trained = CONTENDERS["cmfrec-cg"](problem, FACTORS).train(200)
    X, Y = trained.user_factors.astype(np.float64), trained.item_factors.astype(np.float64)
    w = problem.R.astype(np.float64) * problem.alpha
    heavier = w.copy()
    heavier.data += 1.0
    scores = sp.csr_matrix(heavier.multiply(X @ Y.T))
    left = scores @ Y + X @ (Y.T @ Y) + problem.regularization * X
    right = w @ Y
    assert np.linalg.norm(left - right) < 1e-4 * np.linalg.norm(right)  # it stops a row at a residual of 1e-4
    assert _distance(problem, X, Y) > 0.1


def test_biases_with_zeros_as_data_are_those_of_cmfrec() -> None:
    cmfrec = pytest.importorskip("cmfrec")
    rng = np.random.default_rng(0)
    R = rng.random((60, 2)) @ rng.random((2, 40)) * 5 * (rng.random((60, 40)) < 0.4)
    model = fastals.WeightedALS(
        3, regularization=2.0, unobserved_weight=1.0, biases=True, iterations=300, dtype="float64", random_state=0
    ).fit(sp.csr_matrix(R))
    options = {"user_bias": True, "item_bias": True, "center": False, "NA_as_zero": True, "scale_lam": False}
    options |= {"method": "als", "use_cg": False, "use_float": False, "verbose": False, "nthreads": 1}
    theirs = cmfrec.CMF(k=3, lambda_=2.0, niter=300, **options).fit(sp.coo_matrix(R))
    ours = model.user_factors_, model.item_factors_, model.user_biases_, model.item_biases_

    def objective(X: Any, Y: Any, users: Any, items: Any) -> float:
        errors = R - X @ Y.T - users[:, None] - items
        return float((errors**2).sum() + 2 * sum((part**2).sum() for part in (X, Y, users, items)))

    assert objective(*ours) == pytest.approx(
        objective(theirs.A_, theirs.B_, theirs.user_bias_, theirs.item_bias_), rel=1e-9
    )


def test_final_cholesky_of_cmfrec_solves_the_users(problem: Problem) -> None:
    trained = CONTENDERS["cmfrec-cg+cholesky"](problem, FACTORS).train(10)
    X = _exact(problem.R, trained.item_factors.astype(np.float64), problem)
    np.testing.assert_allclose(trained.user_factors, X, rtol=0, atol=1e-5 * np.abs(X).max())


@pytest.mark.parametrize("name", CONTENDERS)
def test_precision_and_start(problem: Problem, name: str) -> None:
    contender = CONTENDERS[name](problem, FACTORS)
    first, again = contender.train(3), contender.train(3)
    assert first.user_factors.dtype == first.item_factors.dtype == np.float32
    # irspack's iALS++ may sum in another order on every run; ours has the same bits.
    rtol = 0 if name.startswith("fastals") else 1e-5
    for one, other in zip(first[2:], again[2:], strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=rtol * np.abs(one).max())


@pytest.mark.parametrize("name", PEERS)
def test_visiting_changes_nothing(problem: Problem, name: str) -> None:
    contender = CONTENDERS[name](problem, FACTORS)
    visited: list[tuple[float, float]] = []
    trained = contender.train(4, lambda seconds, X, Y: visited.append((seconds, loss(problem, X, Y))))
    for iterations, (_, seen) in enumerate(visited, 1):
        alone = contender.train(iterations)
        again = loss(problem, alone.user_factors, alone.item_factors)
        # Ours to the bit; a peer's bits may depend on which of its threads comes first, as irspack's CG's do.
        assert again == seen if name.startswith("fastals") else again == pytest.approx(seen, rel=1e-6)
    assert len(visited) == 4
    assert len(trained.iteration_seconds) == 4
    assert trained.seconds == pytest.approx(sum(trained.iteration_seconds))


def _first_of(contender: Contender, reached: Callable[[Factors, Factors], bool], most: int) -> int | None:
    for iterations in range(1, most + 1):
        trained = contender.train(iterations)
        if reached(trained.user_factors, trained.item_factors):
            return iterations
    return None


@pytest.mark.parametrize("name", CONTENDERS)
def test_iterations_to(problem: Problem, name: str) -> None:
    contender = CONTENDERS[name](problem, FACTORS)
    # Between two iterations: a peer whose bits change from run to run may miss its own fifth.
    trained = [contender.train(iterations) for iterations in (4, 5)]
    target = np.mean([loss(problem, one.user_factors, one.item_factors) for one in trained])

    def reached(X: Factors, Y: Factors) -> bool:
        return loss(problem, X, Y) <= target

    assert contender.iterations_to(reached, iterations=7, seconds=60.0) == _first_of(contender, reached, 7)
    assert contender.iterations_to(lambda X, Y: False, iterations=3, seconds=60.0) is None
    assert contender.iterations_to(lambda X, Y: False, iterations=10**6, seconds=0.0) is None


def _start_of_irspack(contender: IrspackCholesky) -> Factors:
    contender._recommender.start_learning()
    return contender._recommender.trainer_as_ials.core_trainer.item


@pytest.mark.parametrize(
    ("yardstick", "start"), [(IrspackCholesky, _start_of_irspack), (Textbook, lambda textbook: textbook.start)]
)
def test_target_is_exact_als_from_a_normal_start(problem: Problem, yardstick: Any, start: Any) -> None:
    """A yardstick starts normal with 0.1 / sqrt(factors), solves all users, then all items."""
    contender = yardstick(problem, FACTORS)
    Y = start(contender).astype(np.float64)
    assert np.std(Y) == pytest.approx(0.1 / np.sqrt(FACTORS), rel=0.3)  # 160 draws: 5 standard errors
    for _ in range(5):
        X = _exact(problem.R, Y, problem)
        Y = _exact(problem.R.T.tocsr(), X, problem)
    trained = contender.train(5)
    assert loss(problem, trained.user_factors, trained.item_factors) == pytest.approx(loss(problem, X, Y), rel=1e-5)


def _exact(R: sp.csr_matrix, Y: np.ndarray, problem: Problem) -> np.ndarray:
    X = np.empty((R.shape[0], Y.shape[1]))
    for u in range(len(X)):
        row = R[u]
        y, extra = Y[row.indices], problem.alpha * row.data.astype(np.float64)
        A = Y.T @ Y + problem.regularization * np.eye(Y.shape[1]) + (y.T * extra) @ y
        X[u] = np.linalg.solve(A, y.T @ (1.0 + extra))
    return X
