"""What may be passed as data: matrices, and tables with the names of their columns."""

from __future__ import annotations

import datetime
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

__all__ = ["Columns", "FrameLike", "InteractionsLike", "MatrixLike", "SparseLike"]


class InteractionsLike(Protocol):
    """`fastals.Interactions`, whose module stands above this one."""

    @property
    def by_user(self) -> Any:
        """Compressed rows."""

    def without_zeros(self) -> Any:
        """Return it less its stored zeros."""


class SparseLike(Protocol):
    """A SciPy sparse array or matrix of any format."""

    @property
    def format(self) -> str:
        """Such as "csr"."""

    def tocsr(self, copy: bool = ...) -> Any:
        """Convert to compressed rows."""


class FrameLike(Protocol):
    """A table: a frame of pandas or polars (eager or lazy), a table or record batch of Arrow."""

    @property
    def columns(self) -> Any:
        """Names of columns, or the columns themselves."""


class Columns(TypedDict, total=False):
    """How to read a table with a row an event.

    Attributes
    ----------
    user, item : name of a column
        Ids: strings or integers.
    value, time, event : name of a column, optional
        How much an event counts (1 where there is none), when it was, and its kind.
    event_weights : mapping from kind to number, optional
        What an event of each kind counts.
    half_life : number, or timedelta where times are datetimes, optional
        An event counts `0.5^(age / half_life)`.
    """

    user: Hashable
    item: Hashable
    value: Hashable | None
    time: Hashable | None
    event: Hashable | None
    event_weights: Mapping[Any, float] | None
    half_life: float | datetime.timedelta | np.timedelta64 | None


Dense: TypeAlias = npt.NDArray[Any] | Sequence[Sequence[float]] | Sequence[npt.NDArray[Any]]
Table: TypeAlias = FrameLike | Mapping[Any, Any]
MatrixLike: TypeAlias = InteractionsLike | SparseLike | Dense | Table
"""Users x items data: Interactions, a SciPy sparse matrix of any format, a dense 2-D array, a list of (user, item,
value) tuples, or a table with the names of its columns (see `Columns`)."""
