"""What the engine is given: no number that kernels compute from the largest sizes overflows."""

import operator

import numpy as np
import pytest
from numba import types
from numba.core.typing.context import Context

import fastals
from fastals.engine import basis, loss, threads, topk
from fastals.engine.problem import MOST_FACTORS, MOST_ROWS
from fastals.engine.rows import long_rows
from fastals.engine.simd.target import in_strips, padded
from tests.helpers import refused


@pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.float64)])
def test_products_of_the_largest_sizes_fit_into_64_bits(dtype):
    kp = padded(MOST_FACTORS + 1, dtype)
    beyond = threads.UNLIMITED + 1024  # what a counter may reach after Ctrl-C
    groups = -(-MOST_ROWS // basis.PIECE)
    numbers = {
        "the end of a panel, in bytes": MOST_ROWS * kp * dtype.itemsize,
        "rotate: the row after the last block": beyond * basis.ROWS * kp,
        "gram: the end of the groups": basis.TASKS * kp * kp,
        "gram: the row after the last piece": (groups + basis.TASKS) * basis.PIECE,
        "long rows: the end of the parts": long_rows.PARTS * kp * kp,
        "loss: the row after the last block": beyond * loss.BLOCK,
        "top n: the row after the last tile": beyond * topk.ROWS,
        "a matrix in strips": in_strips(kp, dtype) * kp,
    }
    assert {name: number for name, number in numbers.items() if number >= 2**63} == {}
    assert np.iinfo(np.int32).max >= MOST_ROWS


def test_row_numbers_are_multiplied_as_64_bits():
    """In compiled code `order[i] * kp` and `indices[i] * kp`, with int32 numbers, are int64."""
    context = Context()
    context.refresh()
    for other in (types.int32, types.intp):
        assert context.resolve_function_type(operator.mul, (types.int32, other), {}).return_type == types.int64


def test_more_factors_than_can_be_counted_are_refused():
    model = fastals.ImplicitALS(MOST_FACTORS + 1)
    refused("factors must be at most 1048576, got 1048577", ValueError, model, [(0, 0, 1)])
