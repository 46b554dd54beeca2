"""The primal way: rows of many chunks, and matrices that are not positive definite."""

import numpy as np
import pytest

from fastals.engine.problem import MINIMUM_NORM
from fastals.engine.rows.workspace import CHUNK
from fastals.engine.simd.kernels import FOLDED
from tests.helpers import one_row, plan, solve
from tests.test_rows_solve import solves


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("m", "k"), [(CHUNK + 1, 60), (3 * CHUNK + 1, 70), (CHUNK, 130)])
def test_rows_of_many_chunks(m, k, dtype):
    assert CHUNK <= FOLDED  # as `gather_panel` requires
    solves("primal", m, k, dtype, 0)


@pytest.mark.parametrize("m", [3, 5])
def test_a_matrix_that_is_not_positive_has_the_smallest_solution(m):
    problem, Y, _, _, _, _ = one_row(m, 5, np.float64)
    Y[problem.cells.indices[2:]] = Y[problem.cells.indices[2]]  # so that rank is 3, also of 5 entries
    problem = problem._replace(rows=np.array([[1.0, 0.0, 0.0]]))
    x, outcome = solve(problem, Y, np.zeros_like(Y[0]), 5, plan("primal", np.float64))
    assert outcome.status[0] == MINIMUM_NORM
    assert outcome.unusual.singular == 1
    weights, columns = problem.cells.weights, Y[problem.cells.indices, :5]
    root = np.sqrt(weights)
    wanted = np.linalg.lstsq(columns * root[:, None], problem.cells.values * root, rcond=None)[0]
    np.testing.assert_allclose(x[:5], wanted, rtol=1e-10, atol=1e-12)
    off = problem.cells.values - columns @ wanted
    assert outcome.loss == pytest.approx(weights @ off**2, abs=1e-12)
