"""Entries in mapped files: one block of rows after another is solved, and the next one is read ahead.

So a fit holds the factors in memory of its own, and of the entries only what the system keeps as a copy of the files.
Rows are solved one by one, so blocks change no bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from mmap import mmap
from threading import Thread
from typing import Any

import numpy as np

from .problem import Cells

# Entries of a block at most, unless one row has more; and rows. 32 MB with values: large enough that threads rarely
# wait for each other at its end, small enough for two blocks to stay in memory.
ENTRIES = 2**22
PAGE = 4096  # bytes, the smallest page of any system


def is_mapped(array: Any) -> bool:
    """Tell whether the numbers of an array lie in a mapped file."""
    while array is not None and not isinstance(array, mmap):
        array = getattr(array, "base", None)
    return array is not None


def file_of(array: np.ndarray) -> tuple[str, int] | None:
    """Return the file in which the numbers of an array lie and how many bytes are before them, if NumPy mapped it."""
    owner: Any = array
    while owner is not None and not isinstance(getattr(owner, "base", None), mmap):
        owner = getattr(owner, "base", None)
    if not isinstance(owner, np.memmap) or owner.filename is None or not array.flags.c_contiguous:
        return None
    return str(owner.filename), owner.offset + array.ctypes.data - owner.ctypes.data


def row_blocks(cells: Cells) -> list[tuple[int, int]]:
    """Return the first row of each block and the row after its last: one block of all rows, unless files are mapped.

    The blocks depend on the data alone, never on the number of threads.
    """
    return blocks_of(cells.indptr) if is_mapped(cells.indices) else [(0, cells.n_rows)]


def blocks_of(indptr: np.ndarray) -> list[tuple[int, int]]:
    """Return the blocks of rows that have so many entries, wherever these are."""
    ends, n_rows = [0], len(indptr) - 1
    while ends[-1] < n_rows:
        begin = ends[-1]
        end = int(np.searchsorted(indptr, indptr[begin] + ENTRIES, side="right")) - 1
        ends.append(min(max(end, begin + 1), begin + ENTRIES))
    return list(pairwise(ends)) if len(ends) > 1 else [(0, n_rows)]


def in_turn(cells: Cells, blocks: Sequence[tuple[int, int]]) -> Iterator[Cells]:
    """Yield the cells of each block once they have been read, while a thread reads the next block."""
    if len(blocks) == 1:
        yield cells
        return
    wait = _begin_to_read(cells, *blocks[0])
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        wait()
        if following is not None:
            wait = _begin_to_read(cells, *following)
        yield cells.part(*block)


def _begin_to_read(cells: Cells, begin: int, end: int) -> Callable[[], None]:
    """Read rows into memory on a thread; return what waits for it. Nothing depends on it but time."""
    reader = Thread(target=_read, args=(cells, begin, end), name="fastals-reader", daemon=True)
    try:
        reader.start()
    except RuntimeError:  # no thread can be started
        return lambda: None
    return reader.join


def _read(cells: Cells, begin: int, end: int) -> None:
    """Touch each page of the entries of some rows."""
    place = slice(cells.indptr[begin], cells.indptr[end])
    for array in (cells.indices, cells.values, cells.weights):
        array[place].view(np.uint8)[::PAGE].max(initial=0)
