"""Panels: factor matrices whose rows are padded with zeros to whole vectors and aligned to cache lines."""

from __future__ import annotations

import numpy as np

from .simd.target import CACHE_LINE, aligned_empty, padded
from .spilled import folder_of, spilled_zeros
from .threads import in_parts


def aligned_zeros(shape: int | tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an array of zeros that starts at a cache line.

    Of a large one the system makes each page when it is first written, which several threads do.
    """
    return aligned_empty(shape, dtype, np.zeros)


def aligned_like(array: np.ndarray) -> np.ndarray:
    """Return an array like another one, with any numbers: in memory, or in a file if the other lies in one."""
    folder = folder_of(array)
    if folder is None:
        return aligned_empty(array.shape, array.dtype)
    return spilled_zeros(array.shape, array.dtype, folder)


def aligned_copy(array: np.ndarray) -> np.ndarray:
    """Return a copy that starts at a cache line, where `aligned_like` has it."""
    copy = aligned_like(array)
    copy[...] = array
    return copy


def as_panel(factors: np.ndarray, extra: np.ndarray | None = None) -> np.ndarray:
    """Return `factors` as a panel, with `extra` as one more column.

    Parameters
    ----------
    factors : ndarray, shape (n, k)
    extra : ndarray, shape (n,), optional

    Returns
    -------
    ndarray, shape (n, padded(k)) or (n, padded(k + 1))
        Aligned, and zero beyond the given columns. `factors` itself if it is a panel already.
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


def largest_square(panel: np.ndarray, n_threads: int = 1) -> np.floating:
    """Return the largest squared length of a row, in the dtype of the panel."""
    squares = np.empty(len(panel), panel.dtype)
    in_parts(lambda rows: np.einsum("nk,nk->n", panel[rows], panel[rows], out=squares[rows]), *panel.shape, n_threads)
    largest: np.floating = squares.max()
    return largest


def with_gaps(factors: np.ndarray) -> np.ndarray:
    """Return a C-contiguous array whose first columns are `factors`, without a copy where possible.

    Rows that lie apart, such as those of a panel without its padding, come with the numbers between them. Do not read
    these: after the last row there may be none.
    """
    if factors.flags.c_contiguous:
        return factors
    apart, along = factors.strides
    if along != factors.itemsize or apart % along or apart < along * factors.shape[1]:
        return np.ascontiguousarray(factors)
    return np.lib.stride_tricks.as_strided(factors, (len(factors), apart // along))
