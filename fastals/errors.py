"""Sentences for what the engine reports as a status."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from .engine.problem import Cells, Failure

__all__ = ["SingularRowsWarning", "solve_error", "tell"]


class SingularRowsWarning(UserWarning):
    """Users or items of a fit have many solutions, and got the smallest."""


def tell(failure: Failure | None, cells: Mapping[str, Cells], singular: Mapping[str, int], dtype: np.dtype) -> None:
    """Raise where a fit has failed; warn of users and items whose equations have many solutions.

    Parameters
    ----------
    failure : Failure or None
    cells : mapping from "user" and "item" to Cells
    singular : mapping from "user" and "item" to int
        How many of each have many solutions.
    dtype : numpy.dtype
        Of the fit.
    """
    if failure is not None:
        raise solve_error(failure, cells[failure.side], dtype)
    told = " and ".join(f"{count} {side}{'s' * (count > 1)}" for side, count in singular.items() if count)
    if told:
        warnings.warn(
            f"the equations of {told} have more than one solution in {dtype}: each got the smallest one; "
            "raise regularization, or take fewer factors",
            SingularRowsWarning,
            stacklevel=4,  # of whoever calls `fit`
        )


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
    precision = "" if dtype == np.float64 else ", or use dtype='float64'"
    return np.linalg.LinAlgError(
        f"{failure.side} {failure.row} with {end - begin} interactions cannot be solved in {dtype}: its "
        f"solution is not finite; raise regularization, or rescale the values{precision}"
    )
