"""Factor matrices as the kernels want them: rows padded with zeros to whole vectors, aligned to cache lines."""

from __future__ import annotations

import numpy as np

ALIGNMENT = 64  # bytes: a cache line, and the widest vector


def padded_width(width: int, dtype: np.dtype) -> int:
    """Return `width` rounded up to whole cache lines: then rows stay aligned, on every CPU."""
    lanes = ALIGNMENT // np.dtype(dtype).itemsize
    return -(-width // lanes) * lanes


def aligned_zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Zeros that start at a cache line; NumPy's own start 16 bytes into one."""
    dtype = np.dtype(dtype)
    n_bytes = int(np.prod(shape)) * dtype.itemsize
    buffer = np.zeros(n_bytes + ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT
    return buffer[start : start + n_bytes].view(dtype).reshape(shape)


def as_panel(factors: np.ndarray, extra: np.ndarray | None = None) -> np.ndarray:
    """Return `factors`, and `extra` as one more column, as a panel.

    Parameters
    ----------
    factors : ndarray, shape (n, k)
    extra : ndarray, shape (n,), optional

    Returns
    -------
    ndarray, shape (n, padded_width(k + 1 or k)), aligned, zero beyond the columns given.
        `factors` itself where it is all of that already.
    """
    n, width = factors.shape
    if (
        extra is None
        and width == padded_width(width, factors.dtype)
        and factors.flags.c_contiguous
        and factors.ctypes.data % ALIGNMENT == 0
    ):
        return factors
    panel = aligned_zeros((n, padded_width(width + (extra is not None), factors.dtype)), factors.dtype)
    panel[:, :width] = factors
    if extra is not None:
        panel[:, width] = extra
    return panel
