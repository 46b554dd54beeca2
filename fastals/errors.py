"""Sentences for what the engine reports as a status."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from .data.interactions import Interactions
from .engine.problem import Cells, Failure, Unusual
from .validation import level_of_caller

__all__ = ["ImpreciseRowsWarning", "SingularRowsWarning", "SummedRatingsWarning", "solve_error", "tell", "tell_of_sums"]


class SingularRowsWarning(UserWarning):
    """Users or items of a fit have many solutions, and got the smallest."""


class ImpreciseRowsWarning(UserWarning):
    """Users or items of a fit may be off by more than 1%, because float64 does not hold their equations."""


class SummedRatingsWarning(UserWarning):
    """A user has rated an item several times, and the ratings are summed."""


def tell(failure: Failure | None, cells: Mapping[str, Cells], unusual: Mapping[str, Unusual], dtype: np.dtype) -> None:
    """Raise where a fit has failed; warn of users and items whose equations have many solutions, or are not held.

    Parameters
    ----------
    failure : Failure or None
    cells : mapping from "user" and "item" to Cells
    unusual : mapping from "user" and "item" to Unusual
    dtype : numpy.dtype
        Of the fit.
    """
    if failure is not None:
        raise solve_error(failure.side, failure.row, cells[failure.side].counts[failure.row], dtype)
    told = _listed({side: rows.singular for side, rows in unusual.items()})
    if told:
        warnings.warn(
            f"the equations of {told} have more than one solution in {dtype}: each got the smallest one; "
            "raise regularization, or take fewer factors",
            SingularRowsWarning,
            stacklevel=level_of_caller(),
        )
    told = _listed({side: rows.imprecise for side, rows in unusual.items()})
    if told:
        warnings.warn(
            f"the factors of {told} may be off by more than 1%: even float64 does not hold their equations, in which "
            "the largest confidences are some 1e14 times the unobserved weight or the regularization; lower alpha or "
            "the weights, or raise regularization",
            ImpreciseRowsWarning,
            stacklevel=level_of_caller(),
        )


def tell_of_sums(R: Interactions) -> None:
    """Warn where several ratings of one user and item are summed, which is right for events but not for ratings."""
    more = len(R) - R.nnz
    if more:
        warnings.warn(
            f"{more:,} of {len(R):,} ratings are of a user and an item that have another one, and are added to it: 4 "
            "and 5 make 9. Keep the latest of each: fastals.read_table(..., duplicates='last'), for tables too",
            SummedRatingsWarning,
            stacklevel=level_of_caller(),
        )


def _listed(counts: Mapping[str, int]) -> str:
    """Return how many users and how many items, in words; nothing where there are none."""
    return " and ".join(f"{count} {side}{'s' * (count > 1)}" for side, count in counts.items() if count)


def solve_error(side: str, row: int, n_interactions: int, dtype: np.dtype) -> np.linalg.LinAlgError:
    """Return the error that says which row could not be solved, why, and what may help.

    Parameters
    ----------
    side : str
        What the row is: "user", say.
    row : int
        Its number.
    n_interactions : int
    dtype : numpy.dtype
        In which it was tried.
    """
    precision = "" if dtype == np.float64 else ", or use dtype='float64'"
    return np.linalg.LinAlgError(
        f"{side} {row} with {n_interactions} interactions cannot be solved in {dtype}: its solution is not finite; "
        f"raise regularization, or rescale the values{precision}"
    )
