"""One thread's memory for solving rows."""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

import numpy as np

from ..jit import inlined, inner
from ..simd.target import aligned_empty, in_strips, padded

# Rows gathered at once: 128 x 128 floats are 64 KiB, well inside the second-level cache, and the product that follows
# reads and writes each tile of A once for 128 cells. Rows of 4 k cells take 1% longer with 64 at k = 128, and 4% with
# 256 at k = 64.
CHUNK = 128


class Workspace(NamedTuple):
    """One thread's memory; contents are undefined on entry and exit of everything here."""

    w: np.ndarray  # T (m,)   weights on top of the background
    b: np.ndarray  # T (m,)   right-hand coefficients
    s: np.ndarray  # T (m,)   scales of the gathered rows
    d: np.ndarray  # T (kp,)  diagonal
    e: np.ndarray  # T (kp,)  1 / d, or 1 / sqrt(d)
    r: np.ndarray  # T (kp,)  right-hand side, residual
    p: np.ndarray  # T (kp,)  direction
    q: np.ndarray  # T (kp,)  -A p
    inv: np.ndarray  # T (kp,)  reciprocals of the factor's diagonal
    before: np.ndarray  # T (kp,)  what X held; the way from there
    A: np.ndarray  # T (kp * kp,)
    panel: np.ndarray  # T (kp in whole strips * max(kp, CHUNK),)


def workspace(kp: int, longest: int, dtype: np.dtype) -> Workspace:
    """Return memory for rows of up to `longest` cells and `kp` factors."""
    m = padded(longest, dtype)
    sizes = 3 * [m] + 7 * [kp] + [kp * kp, in_strips(kp, dtype) * max(kp, CHUNK)]
    # One allocation, since twelve take 0.1 ms: as much as 200 short rows. Each part is whole vectors, hence aligned.
    memory = aligned_empty(sum(sizes), dtype)
    ends = list(accumulate(sizes))
    return Workspace(*map(memory.__getitem__, map(slice, [0, *ends], ends)))


@inner
def clear(array, start, count):
    """array[start : start + count] = 0.

    Beside ``fill``, as LLVM makes a ``memset`` of it: with one function for both a row of 128 cells takes 5% longer at
    32 floats.
    """
    for i in range(start, start + count):
        array[i] = 0


@inlined
def is_finite(number):
    """Return whether a number is finite, by a comparison.

    ``np.isfinite`` would subtract it from itself, and the LLVM of Numba 0.61 makes a plain 0 of that where sums may be
    taken in another order.
    """
    return abs(number) < np.inf
