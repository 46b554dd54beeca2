"""Numbers beyond 32 bits in kernels: on files with holes, of which only what a kernel needs is ever touched."""

import numpy as np
import pytest

from fastals.engine import basis, coded
from fastals.engine.simd.target import aligned_empty, padded
from fastals.engine.turned import turn
from tests.helpers import holes_are_free, in_file, same_bits

FLOAT32 = np.dtype(np.float32)


@pytest.fixture
def hole(tmp_path):
    """A function that makes an array of zeros that takes no room."""
    if not holes_are_free(tmp_path / "hole"):
        pytest.skip("files with holes take room here")
    return lambda name, n, dtype: np.asarray(in_file(tmp_path / name, n, dtype))


def test_entries_of_the_last_users_are_turned(hole):
    """Of the last but one of 2^31 - 1 users, and of the last, with 2^31 + 5 entries before them."""
    n, first = 2**31 - 1, 2**31 + 5
    indptr = hole("indptr", n + 1, np.int64)
    indptr[-3:] = first, first + 2, first + 5
    items, values = np.array([4, 9, 4, 5, 8], np.int32), np.arange(5, dtype=np.float32)
    users, moved = np.empty(4, np.int32), np.empty(4, np.float32)
    places = np.array([0, 2, 3, 3, 3])  # of items 4 to 8
    turn(items, values, first, n - 2, indptr, 4, places, users, moved)
    assert users.tolist() == [n - 2, n - 1, n - 1, n - 1]
    assert moved.tolist() == [0, 2, 3, 4]
    assert places.tolist() == [2, 3, 3, 3, 4]


def test_ids_beyond_2_to_31_characters(hole):
    """Both among the ids that are known and in the batch that comes."""
    begin = 2**31 + 7
    characters, given = hole("known", begin + 100, np.uint8), hole("given", begin + 100, np.uint8)
    given[begin : begin + 12] = np.frombuffer(b"annbobannann", np.uint8)
    offsets, numbers = begin + np.arange(0, 13, 3), np.empty(4, np.int32)
    slots, ends, known = np.zeros(16, np.uint64), np.full(9, begin), np.array([1])
    row = coded.number(0, given, offsets, slots, characters, ends, known, np.empty(4, np.uint64), numbers)
    assert (row, numbers.tolist(), known.tolist()) == (4, [1, 2, 1, 1], [3])
    assert ends[:4].tolist() == [begin, begin, begin + 3, begin + 6]
    assert characters[begin : begin + 6].tobytes() == b"annbob"


def test_the_last_rows_of_a_panel_are_rotated(hole):
    """Of one with more than 2^31 numbers."""
    kp, rows = padded(4, FLOAT32), 5
    n = (2**31 // kp // basis.ROWS + 1) * basis.ROWS + rows
    panel, rng = hole("panel", n * kp, np.float32), np.random.default_rng(0)
    last = rng.standard_normal((rows, kp)).astype(np.float32)
    panel[-rows * kp :] = last.ravel()
    strip = basis.target().strip(4)
    rotation = rng.standard_normal(basis.in_strips(kp, FLOAT32) * kp).astype(np.float32)
    block = aligned_empty(basis.ROWS * kp, FLOAT32)
    alone = aligned_empty(rows * kp, FLOAT32)
    alone[...] = last.ravel()
    basis._rotate_blocks(np.zeros(1, np.int64), alone, alone, kp, rotation, basis.FULL, block)
    basis._rotate_blocks(np.array([n // basis.ROWS]), panel, panel, kp, rotation, basis.FULL, block)
    assert same_bits(np.array(panel[-rows * kp :]), alone)
    whole = rotation.reshape(-1, kp, strip).swapaxes(0, 1).reshape(kp, -1)[:, :kp]
    # Sums of kp products of numbers around 1.
    np.testing.assert_allclose(alone.reshape(rows, kp), last @ whole, rtol=0, atol=kp * 1e-6)
