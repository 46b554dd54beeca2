"""One thread's memory."""

import numpy as np
import pytest

from fastals.engine.rows.workspace import workspace
from fastals.engine.simd.target import lanes, padded


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_parts_are_whole_vectors_and_apart(dtype):
    """Each part is aligned to a vector, has room for a padded row, and shares no memory with another part."""
    kp, longest = padded(40, dtype), 21
    ws = workspace(kp, longest, np.dtype(dtype))
    for i, part in enumerate(ws):
        part[:] = i
    size = lanes(dtype) * np.dtype(dtype).itemsize
    assert all(part.dtype == dtype and part.ctypes.data % size == 0 for part in ws)
    assert all((part == i).all() for i, part in enumerate(ws))
    assert len(ws.w) == len(ws.b) == len(ws.s) == padded(longest, dtype)
    assert len(ws.d) == len(ws.inv) == kp
    assert len(ws.A) == kp * kp
