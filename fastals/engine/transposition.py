"""Compressed rows to compressed columns, on all threads.

Each thread counts and then places the entries of some rows, a contiguous range. Where a range writes in a column begins
after what the ranges before it write there. So the entries of a column stand in the order of their rows, whatever the
ranges are.
"""

from __future__ import annotations

import numpy as np

from .jit import kernel, next_block
from .problem import Cells
from .threads import spread

# Entries that are worth a thread: 0.1 ms of work, as long as it takes to wake one.
SHARE = 2**16


def transposed(cells: Cells, n_columns: int, n_threads: int) -> Cells:
    """Return the entries column by column, those of a column in the order of their rows.

    Parameters
    ----------
    cells : Cells
        Every index is from 0 to `n_columns` - 1.
    n_columns : int
    n_threads : int

    Returns
    -------
    Cells
        A single value or weight for all entries stays one.
    """
    n_entries = len(cells.indices)
    # Each range has a counter for each column: no more ranges than keep these below the number of entries.
    parts = max(1, min(n_threads, n_entries // SHARE, n_entries // n_columns))
    bounds = np.searchsorted(cells.indptr, n_entries * np.arange(parts + 1) // parts)
    bounds[-1] = cells.n_rows
    places = np.zeros((parts, n_columns), np.int64)
    spread(lambda counter: _count(counter, bounds, cells.indptr, cells.indices, places), parts)
    indptr = np.zeros(n_columns + 1, np.int64)
    np.cumsum(places.sum(axis=0), out=indptr[1:])
    before = indptr[:-1].copy()
    for part in places:  # from how many entries to where the next one goes
        part[:], before = before, before + part
    values, weights = (
        one if len(one) == 1 and n_entries != 1 else np.empty(n_entries, one.dtype)
        for one in (cells.values, cells.weights)
    )
    turned = Cells(indptr, np.empty(n_entries, np.int32), values, weights)
    spread(lambda counter: _place(counter, bounds, cells, places, turned), parts)
    return turned


@kernel
def _count(
    counter,  # inout int64 (1,)
    bounds,  # in    int64 (parts + 1,)         rows of each range
    indptr,  # in    int64 (n_rows + 1,)
    indices,  # in    int32 (n_entries,)
    counts,  # inout int64 (parts, n_columns)    in: zeros; out: the entries of each range, by column
):
    """Count the entries of each range of rows, until none is left."""
    while True:
        part = next_block(counter)
        if part >= len(bounds) - 1:
            return
        own = counts[part]
        for e in range(indptr[bounds[part]], indptr[bounds[part + 1]]):
            own[indices[e]] += 1


@kernel
def _place(
    counter,  # inout int64 (1,)
    bounds,  # in    int64 (parts + 1,)         rows of each range
    cells,  # in    Cells
    places,  # inout int64 (parts, n_columns)    in: where the first entry of each range goes, by column
    turned,  # out   Cells                       but for indptr; single values and weights stay as they are
):
    """Put the entries of each range of rows where they belong, until none is left."""
    indptr, indices, values, weights = cells
    _, rows, turned_values, turned_weights = turned
    valued, weighted = len(turned_values) == len(rows), len(turned_weights) == len(rows)
    while True:
        part = next_block(counter)
        if part >= len(bounds) - 1:
            return
        own = places[part]
        for row in range(bounds[part], bounds[part + 1]):
            for e in range(indptr[row], indptr[row + 1]):
                column = indices[e]
                place = own[column]
                own[column] = place + 1
                rows[place] = row
                if valued:
                    turned_values[place] = values[e]
                if weighted:
                    turned_weights[place] = weights[e]
