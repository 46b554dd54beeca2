"""Panels in a file that no folder shows: factors of a fit that do not fit into memory.

The system writes to the disk what it has no room for, and reads it back where it is asked for. The file is gone with
the last array over it.
"""

from __future__ import annotations

import math
import os
import tempfile
from mmap import mmap
from typing import Any

import numpy as np

BLOCK = bytes(2**20)  # written at a time where the system cannot reserve a file at once


class Spilled(mmap):
    """The memory of such a file."""

    folder: str


def folder_of(array: Any) -> str | None:
    """Return the folder of the file in which an array lies; None if it lies elsewhere."""
    while isinstance(array, np.ndarray):
        array = array.base
    return array.folder if isinstance(array, Spilled) else None


def spilled_zeros(shape: tuple[int, ...], dtype: np.dtype, folder: str) -> np.ndarray:
    """Return an array of zeros in a file of its own in a folder, where its whole size is reserved.

    Raises
    ------
    OSError
        There is no room, or no right to write.
    """
    size = max(1, math.prod(shape) * dtype.itemsize)
    try:
        with tempfile.TemporaryFile(prefix="fastals-", dir=folder) as file:
            _reserve(file, size)
            memory = Spilled(file.fileno(), size)
    except OSError as error:
        text = f"factors of {size / 1e9:.3g} GB have no room in memory, nor in a file there: {error.strerror or error}"
        raise OSError(error.errno, text, folder) from error
    memory.folder = folder
    return np.ndarray(shape, dtype, buffer=memory)


def _reserve(file: Any, size: int) -> None:
    """Give a file its size. A file with holes would end the process where the disk gets full."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    for begin in range(0, size, len(BLOCK)):
        file.write(BLOCK[: size - begin])
    file.flush()
