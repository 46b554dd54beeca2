"""The primal way: rows of many chunks, and matrices that are not positive definite."""

import numpy as np
import pytest

from fastals.engine.problem import NOT_POSITIVE
from fastals.engine.rows.workspace import CHUNK
from fastals.engine.simd.kernels import FOLDED
from tests.helpers import one_row, plan, solve
from tests.test_rows_solve import solves


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("m", "k"), [(CHUNK + 1, 60), (3 * CHUNK + 1, 70), (CHUNK, 130)])
def test_rows_of_many_chunks(m, k, dtype):
    assert CHUNK <= FOLDED  # as `gather_panel` requires
    solves("primal", m, k, dtype, 0)


def test_a_matrix_that_is_not_positive_is_reported():
    problem, Y, _, _, _, _ = one_row(3, 5, np.float64)
    problem = problem._replace(rows=np.array([[1.0, 0.0, 0.0]]))
    x, outcome = solve(problem, Y, np.zeros_like(Y[0]), 5, plan("primal", np.float64))
    assert outcome.status[0] == NOT_POSITIVE
    assert not x.any()
