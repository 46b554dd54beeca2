"""The memory in which one thread solves rows."""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

import numpy as np

from ..jit import inlined, inner
from ..simd.target import aligned_empty, in_strips, padded

# Entries gathered at a time. Their panel stays in the second-level cache, and the product that follows reads and writes
# each tile of A once for all of them. With half or twice as many exact rows take 1 to 4% longer.
CHUNK = 128


class Workspace(NamedTuple):
    """One thread's memory. Every function may overwrite it, except where its table of arrays says otherwise."""

    w: np.ndarray  # T (m,)   weights on top of the background's
    b: np.ndarray  # T (m,)   right-hand coefficients
    s: np.ndarray  # T (m,)   scales or predictions of the entries
    d: np.ndarray  # T (kp,)  diagonal
    e: np.ndarray  # T (kp,)  1 / d, or 1 / sqrt(d)
    r: np.ndarray  # T (kp,)  right-hand side, residual
    p: np.ndarray  # T (kp,)  direction
    q: np.ndarray  # T (kp,)  -A p
    inv: np.ndarray  # T (kp,)  reciprocals of the factor's diagonal
    before: np.ndarray  # T (kp,)  previous x; then the step from it
    linear: np.ndarray  # T (kp,)  linear term, where rows have one
    A: np.ndarray  # T (kp * kp,)
    panel: np.ndarray  # T (kp in whole strips * max(kp, CHUNK),)


def workspace(kp: int, longest: int, dtype: np.dtype) -> Workspace:
    """Return memory for rows of up to `longest` entries and `kp` padded factors."""
    m = padded(longest, dtype)
    sizes = 3 * [m] + 8 * [kp] + [kp * kp, in_strips(kp, dtype) * max(kp, CHUNK)]
    # One allocation: thirteen take as long as 200 short rows. Each part is a multiple of W long, hence aligned.
    memory = aligned_empty(sum(sizes), dtype)
    ends = list(accumulate(sizes))
    return Workspace(*map(memory.__getitem__, map(slice, [0, *ends], ends)))


# Memory of one-off calls, from one to the next: for a single row, making it takes as long as solving it.
_spare: list[Workspace] = []
SPARE = 2**21  # bytes of the largest array of memory that is kept
MOST = 4  # as many threads as rarely fold in rows at the same moment


def borrow(kp: int, longest: int, dtype: np.dtype) -> Workspace:
    """Return memory as `workspace` does, which may be that of an earlier call; `give_back` it."""
    try:
        found = _spare.pop()
    except IndexError:
        found = None
    if found is not None and len(found.r) == kp and found.r.dtype == dtype and len(found.w) >= longest:
        return found
    return workspace(kp, max(longest, CHUNK), dtype)


def give_back(memory: Workspace) -> None:
    """Keep memory for a later call, unless there is much of it."""
    if max(memory.panel.nbytes, memory.w.nbytes) <= SPARE and len(_spare) < MOST:
        _spare.append(memory)


@inner
def clear(array, start, count):
    """array[start : start + count] = 0.

    Not a call of ``cells.fill``: LLVM turns this loop into a ``memset``, which makes short rows up to 5% faster.
    """
    for i in range(start, start + count):
        array[i] = 0


@inlined
def is_finite(number):
    """Tell whether a number is finite, by a comparison.

    ``np.isfinite`` subtracts the number from itself. With ``reassoc`` the LLVM of Numba 0.61 replaces that by 0.
    """
    return abs(number) < np.inf
