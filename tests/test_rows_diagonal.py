"""Rows whose matrix is a diagonal, and the rows of a sketch."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastals.engine.simd.kernels import FEW
from tests.helpers import dtypes, one_row, plan, rounding, solve


def test_weights_of_zero_are_a_diagonal():
    problem, Y, g, *_ = one_row(FEW + 3, 5, np.float64)
    problem = problem._replace(cells=problem.cells._replace(weights=np.full(1, 2.0)))
    x, _ = solve(problem, Y, g, 5, plan("cheapest", np.float64))
    r = Y[problem.cells.indices, :5].T @ (2 * problem.cells.values)
    np.testing.assert_allclose(x[:5], r / (g[:5] + 0.5), rtol=rounding(np.float64, FEW + 3, 1.0))


@given(
    m=st.integers(0, 70),
    k=st.integers(1, 40),
    dtype=dtypes,
    lowest=st.sampled_from([0.1, -1.9]),
    background=st.sampled_from([3, 0]),
)
def test_a_sketch_is_the_right_hand_side_over_a_rough_diagonal(m, k, dtype, lowest, background):
    problem, Y, g, _, r, _ = one_row(m, k, np.dtype(dtype).type, lowest=lowest)
    x, outcome = solve(problem, Y, np.full_like(g, background), k, plan("cheapest", dtype, sketch=True))
    cells = problem.cells
    size = np.abs(cells.weights[:m] * cells.values) @ np.abs(Y[cells.indices, :k])
    weight = cells.weights[:m].astype(np.float64).sum() - 2 * m
    diagonal = background + 0.5 + 2 * max(weight, 0) / k if background else 1
    assert np.all(np.abs(x[:k] - r / diagonal) <= rounding(dtype, m, size / diagonal))
    np.testing.assert_allclose(outcome.loss, np.linalg.norm(x.astype(np.float64)) ** 2, rtol=rounding(dtype, k, 1))
