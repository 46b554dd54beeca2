"""Spark and ours minimise the same thing, and the loss that compares them is that thing."""

import shutil
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp

from bench.bench_spark import PARAMS, Ours, Spark, Watch, session

pytest.importorskip("pyspark")
pytestmark = [
    pytest.mark.filterwarnings("default"),  # Spark's deprecations are its own
    pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs a Java"),
]

FACTORS = 3


class Peers(NamedTuple):
    """Both on one matrix."""

    R: sp.csr_matrix
    params: dict[str, Any]
    spark: Spark
    ours: Ours
    converged: tuple[np.ndarray, np.ndarray]  # Spark's users and items


@pytest.fixture(scope="module")
def jvm() -> Iterator[Any]:
    with session("1g") as spark:
        yield spark


@pytest.fixture(scope="module", params=[False, True], ids=["explicit", "implicit"])
def peers(jvm: Any, request: pytest.FixtureRequest) -> Peers:
    rng = np.random.default_rng(1)
    dense = 1 + 4 * rng.random((60, 3)) @ rng.random((3, 40)) / 3
    alike = np.arange(60)[:, None] % 3 == np.arange(40) % 3  # planted, so that there is one minimum
    counts = np.linspace(0.5, 0.9, 40)
    dense[rng.random(dense.shape) > np.where(alike, counts, 0.15)] = 0
    dense[7] = dense[:, 11] = 0  # Spark has no factors for them
    R = sp.csr_matrix(dense.astype(np.float32))
    params = PARAMS[request.param] | {"regParam": 0.2}
    spark = Spark(jvm, R, FACTORS, **params)
    return Peers(R, params, spark, Ours(R, FACTORS, **params), spark.fit(25)[1:])


def formula(R: sp.csr_matrix, X: np.ndarray, Y: np.ndarray, params: dict[str, Any]) -> float:
    """Spark's objective as its equations have it, in dense float64."""
    r, scores = R.toarray().astype(np.float64), X.astype(np.float64) @ Y.T.astype(np.float64)
    if params["implicitPrefs"]:
        errors = np.where(r > 0, (1 + params["alpha"] * np.abs(r)) * (1 - scores) ** 2, scores**2)
    else:
        errors = np.where(r != 0, (r - scores) ** 2, 0)
    ridge = sum(((r != 0).sum(axis) * (side.astype(np.float64) ** 2).sum(1)).sum() for axis, side in ((1, X), (0, Y)))
    return float(errors.sum() + params["regParam"] * ridge)


def test_the_loss_is_that_of_the_formula(peers: Peers) -> None:
    for X, Y in (peers.spark.fit(2)[1:], peers.ours.fit(2)[1:]):
        assert peers.ours.loss(X, Y) == pytest.approx(formula(peers.R, X, Y, peers.params), rel=1e-12)


def distances(ours: Ours, R: sp.csr_matrix, X: np.ndarray, Y: np.ndarray) -> list[float]:
    """How far users and items are from the minimum of an objective for the other side, relative to the largest."""
    judge = ours.judging(X, Y)
    exact = judge.fold_in_users(R), judge.fold_in_items(R)
    return [np.abs(side - given).max() / np.abs(given).max() for side, given in zip(exact, (X, Y), strict=True)]


def test_factors_of_spark_are_exact_for_this_objective(peers: Peers) -> None:
    """Its users for its items, and its items, when it has converged, nearly so; for twice the ridge they are not."""
    users, items = distances(peers.ours, peers.R, *peers.converged)
    assert users < 1e-5
    twice = Ours(peers.R, FACTORS, **peers.params | {"regParam": 2 * peers.params["regParam"]})
    others = distances(twice, peers.R, *peers.converged)
    assert users < 0.001 * others[0]
    assert items < 0.5 * others[1]


def test_both_end_near_the_same_loss(peers: Peers) -> None:
    """Spark's start takes some hundred iterations of implicit feedback for the last percent of its loss."""
    theirs, ours = (peers.ours.loss(*factors) for factors in (peers.converged, peers.ours.fit(50)[1:]))
    assert 0.98 * theirs < ours < (1 + 1e-6) * theirs


def test_fewest_iterations(peers: Peers) -> None:
    target = peers.ours.loss(*peers.spark.fit(5)[1:])
    iterations, reached = peers.ours.iterations_to(target)
    assert reached <= target
    assert iterations == 1 or peers.ours.loss(*peers.ours.fit(iterations - 1)[1:]) > target


def test_work_of_the_jvm_is_not_that_of_others(peers: Peers) -> None:
    """Whatever the machine does: with the JVM, more is counted as own and less for others than without."""
    with_jvm, without = Watch(peers.spark.pid), Watch()
    peers.spark.fit(2)
    outer, inner = without.taken(), with_jvm.taken()
    assert inner.cpu > outer.cpu
    assert inner.others < outer.others
