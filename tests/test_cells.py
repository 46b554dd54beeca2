"""The weights of a row's entries, against their formula, for each way in which values and weights may be stored."""

import numpy as np
import pytest

from fastals.engine import cells
from fastals.engine.jit import kernel
from fastals.engine.problem import CellRule, Cells, RowProblem, no_shifts
from tests.helpers import rounding


@kernel
def gather_cells(problem, u, begin, m, w, b, s):
    return cells.gather_cells(problem, u, begin, m, w, b, s)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns_alike", [False, True])
@pytest.mark.parametrize("weights_alike", [False, True])
@pytest.mark.parametrize("values_alike", [False, True])
def test_weights_are_their_formula(values_alike, weights_alike, columns_alike, dtype, shifted):
    rng = np.random.default_rng(0)
    n, m, u = 30, 21, 1
    indices = np.concatenate([np.sort(rng.choice(n, m, replace=False)) for _ in range(2)]).astype(np.int32)
    values = rng.standard_normal(1 if values_alike else 2 * m).astype(dtype)
    weights = (0.5 + rng.random(1 if weights_alike else 2 * m)).astype(dtype)
    columns = rng.random((1 if columns_alike else n, 3)).astype(dtype)
    rows = rng.random((2, 3)).astype(dtype)
    rule = CellRule(*(dtype(number) for number in (1, 2, 0.3, 0.7, 0.1)))
    entries = Cells(np.array([0, m, 2 * m]), indices, values, weights)
    w, b, own = np.empty((3, m), dtype)
    shifts = no_shifts(np.dtype(dtype))
    if shifted:
        shifts = shifts._replace(columns=rng.standard_normal(n).astype(dtype))
    constant, total, negative, zero = gather_cells(RowProblem(entries, rule, rows, columns, shifts), u, m, m, w, b, own)

    v, own = (array[m:].astype(float) for array in (entries.all_values, entries.all_weights))
    column = columns[0 if columns_alike else indices[m:]].astype(float).T[:, None if columns_alike else slice(None)]
    confidence = (1 + 2 * np.abs(v)) * own * column[0] * rows[u, 0]
    target = 0.3 * (v > 0) + 0.7 * (v - 0.1 - column[2])
    unobserved = float(rows[u, 1]) * column[1]
    expected = confidence - unobserved
    s = shifts.columns[indices[m:]].astype(float) if shifted else np.zeros(m)
    # What an observed entry adds, less what it would add unobserved.
    right = confidence * (target + s) - unobserved * s
    squares = (confidence * (target + s) ** 2 - unobserved * s**2).sum()
    size = np.abs(confidence).max() * (1 + np.abs(v).max() + np.abs(column[2]).max() + np.abs(s).max()) ** 2
    np.testing.assert_allclose(w, expected, rtol=0, atol=rounding(dtype, 9, size))
    np.testing.assert_allclose(b, right, rtol=0, atol=rounding(dtype, 9, size))
    np.testing.assert_allclose(constant, squares, rtol=0, atol=rounding(dtype, 9 + m, m * size))
    np.testing.assert_allclose(total, w.astype(float).sum(), rtol=0, atol=rounding(dtype, m, m * size))
    assert (negative, zero) == (np.count_nonzero(w < 0), np.count_nonzero(w == 0))
