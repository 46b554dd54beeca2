"""What all translations share: the result, and checks of parameters and entries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ...data.interactions import Interactions, MatrixLike, as_interactions

__all__ = ["Transform", "Translation", "as_given", "both_sides", "check_positive"]

Transform = Callable[[np.ndarray], np.ndarray]
"""From the values of stored entries to other numbers for the same entries."""


class Translation(NamedTuple):
    """A model in the terms of another library.

    Examples
    --------
    >>> from fastals.compat.translate import from_implicit
    >>> translation = from_implicit(factors=64, alpha=40.0)
    >>> translation.model, translation.params["factors"]
    ('WeightedALS', 64)
    """

    model: str
    """Name of the class to construct."""
    params: dict[str, Any]
    """Arguments of its constructor."""
    cells: Callable[[MatrixLike], Any]
    """From the matrix that the original was fitted on to the data to fit the class on: Interactions, or csr_matrix."""


def as_given(R: MatrixLike) -> Interactions:
    """Return data as Interactions: float32 stays float32, all else becomes float64."""
    single = isinstance(R, Interactions) or getattr(R, "dtype", None) == np.float32
    return as_interactions(R, np.dtype(np.float32 if single else np.float64))


def both_sides(name: str, given: Any) -> tuple[Any, Any]:
    """Return one number, a pair or LensKit's mapping as (user, item).

    Parameters
    ----------
    name : str
        The argument, for the message.
    given : float, (float, float), or mapping with "user" and "item"

    Returns
    -------
    tuple

    Raises
    ------
    ValueError
        It is something else.
    """
    if isinstance(given, Mapping):
        given = tuple(given.get(side) for side in ("user", "item"))
    pair = given if np.ndim(given) else (given, given)
    if len(pair) != 2 or None in pair:
        raise ValueError(f'{name} must be one number, (user, item), or a mapping with "user" and "item", got {given!r}')
    return pair


def check_positive(r: np.ndarray, peer: str, *, zero: bool) -> None:
    """Refuse values that a library does not accept.

    Parameters
    ----------
    r : ndarray
        Values of the stored entries.
    peer : str
        Name of the library.
    zero : bool
        Whether it accepts 0.

    Raises
    ------
    ValueError
        A value is negative, or 0 where that is not accepted.
    """
    bad = r < 0 if zero else r <= 0
    if bad.any():
        wanted = "at least 0" if zero else "above 0"
        raise ValueError(
            f"{peer} accepts values {wanted}, and {int(bad.sum())} of {len(r)} stored entries are not: remove them"
        )
