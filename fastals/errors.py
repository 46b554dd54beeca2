"""Sentences for what the engine reports as a status."""

from __future__ import annotations

import numpy as np

from .engine.problem import NOT_POSITIVE, Cells, Failure

__all__ = ["solve_error"]


def solve_error(failure: Failure, cells: Cells, dtype: np.dtype) -> np.linalg.LinAlgError:
    """Return the error that says which row could not be solved, why, and what may help.

    Parameters
    ----------
    failure : Failure
    cells : Cells
        Of the side that the row is on.
    dtype : numpy.dtype
        In which it was tried.
    """
    begin, end = cells.indptr[failure.row], cells.indptr[failure.row + 1]
    cause = (
        "its equations are not positive definite" if failure.status == NOT_POSITIVE else "its solution is not finite"
    )
    precision = "" if dtype == np.float64 else ", or use dtype='float64'"
    return np.linalg.LinAlgError(
        f"{failure.side} {failure.row} with {end - begin} interactions cannot be solved in {dtype}: {cause}; "
        f"raise regularization, or rescale the values{precision}"
    )
