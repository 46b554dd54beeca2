"""One thread's memory."""

import numpy as np
import pytest

from fastals.engine.rows import workspace as module
from fastals.engine.rows.workspace import borrow, give_back, workspace
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


FLOAT32 = np.dtype(np.float32)


@pytest.fixture
def nothing_kept(monkeypatch):
    monkeypatch.setattr(module, "_spare", [])


@pytest.mark.usefixtures("nothing_kept")
def test_memory_is_lent_to_one_at_a_time_and_again_if_it_fits():
    one, other = borrow(8, 20, FLOAT32), borrow(8, 20, FLOAT32)
    assert not any(np.shares_memory(mine, its) for mine, its in zip(one, other, strict=True))
    give_back(one)
    assert borrow(8, 20, FLOAT32) is one
    longer = len(one.w) + 1
    for kp, longest, dtype in ((16, 20, FLOAT32), (8, longer, FLOAT32), (8, 20, np.dtype(np.float64))):
        give_back(one)
        found = borrow(kp, longest, dtype)
        assert (len(found.r), found.A.dtype) == (kp, dtype)
        assert len(found.w) >= longest


@pytest.mark.usefixtures("nothing_kept")
def test_little_memory_is_kept():
    for _ in range(2 * module.MOST):
        give_back(workspace(8, 20, FLOAT32))
    assert len(module._spare) == module.MOST
    module._spare.clear()
    give_back(workspace(1024, 20, FLOAT32))
    give_back(workspace(8, 10**6, FLOAT32))
    assert module._spare == []
