"""Factor matrices as the kernels want them: rows padded with zeros to whole vectors, aligned to cache lines."""

from __future__ import annotations

import numpy as np

from .simd.target import CACHE_LINE, aligned_empty, padded


def aligned_zeros(shape: int | tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return zeros that start at a cache line."""
    array = aligned_empty(shape, dtype)
    array[...] = 0
    return array


def as_panel(factors: np.ndarray, extra: np.ndarray | None = None) -> np.ndarray:
    """Return `factors`, and `extra` as one more column, as a panel.

    Parameters
    ----------
    factors : ndarray, shape (n, k)
    extra : ndarray, shape (n,), optional

    Returns
    -------
    ndarray, shape (n, padded(k + 1 or k)), aligned, zero beyond the columns given.
        `factors` itself where it is all of that already.
    """
    n, width = factors.shape
    if (
        extra is None
        and width == padded(width, factors.dtype)
        and factors.flags.c_contiguous
        and factors.ctypes.data % CACHE_LINE == 0
    ):
        return factors
    panel = aligned_zeros((n, padded(width + (extra is not None), factors.dtype)), factors.dtype)
    panel[:, :width] = factors
    if extra is not None:
        panel[:, width] = extra
    return panel


def with_gaps(factors: np.ndarray) -> np.ndarray:
    """Return rows that lie apart, as those of a panel without its padding do, with what stands between them.

    A C-contiguous array without a copy: its first columns are `factors`, the others are not to be looked at, as those
    of the last row may not be there.
    """
    if factors.flags.c_contiguous:
        return factors
    apart, along = factors.strides
    if along != factors.itemsize or apart % along or apart < along * factors.shape[1]:
        return np.ascontiguousarray(factors)
    return np.lib.stride_tricks.as_strided(factors, (len(factors), apart // along))
