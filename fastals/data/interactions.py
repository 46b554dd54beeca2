"""Any users x items data as Interactions, in the numbering of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..engine.problem import Cells
from ..validation import check_dtype
from .container import Interactions
from .frames import is_frame, refuse_unnamed
from .ids import Ids
from .matrix import check_indices, transpose, unlocked
from .types import Columns, MatrixLike

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "Interactions",
    "MatrixLike",
    "as_interactions",
    "as_named_interactions",
    "canonical_row",
    "check_indices",
    "transpose",
]


def as_interactions(
    R: MatrixLike,
    dtype: Any = "float32",
    *,
    missing: str = "zero",
    weights: MatrixLike | None = None,
    n_users: int | None = None,
    n_items: int | None = None,
    user_ids: Ids | None = None,
    item_ids: Ids | None = None,
    name: str = "R",
    **columns: Unpack[Columns],
) -> Interactions:
    """Return any users x items data as Interactions, numbered as the users and items that a model was fitted on.

    Parameters
    ----------
    R, dtype, missing, weights
        As in `Interactions`; or a table, with the names of its columns.
    n_users, n_items : int, optional
        How many there must be. A table then holds numbers below these, where no ids are given.
    user_ids, item_ids : Ids, optional
        How users and items are numbered; data with other ids are refused.
    name : str, default "R"
        The argument, for messages.
    **columns
        See `Columns`.

    Returns
    -------
    Interactions
        `R` itself where it is what is wanted.

    Raises
    ------
    TypeError, ValueError
        It is no such data; a column is missing or not named; an id is unknown; the shape is another one.

    Examples
    --------
    >>> as_interactions({"who": [7, 9], "what": ["tea", "pot"]}, user="who", item="what").shape
    (2, 2)
    """
    wanted = check_dtype("dtype", dtype)
    given: Columns = {key: value for key, value in columns.items() if value is not None}  # type: ignore[assignment]
    if is_frame(R) and {"user", "item"} <= set(given):
        if weights is not None:
            raise TypeError(
                f"weights go with the entries of a matrix, and {name} is a table; name a column with value=..., or "
                "pass a SciPy sparse matrix"
            )
        made = _numbered_frame(R, given, wanted, (n_users, n_items), (user_ids, item_ids))
    elif is_frame(R):
        refuse_unnamed(name, R)
    elif given:
        raise TypeError(f"{next(iter(given))}= is for tables, and {name} is a {type(R).__name__}; leave it out")
    else:
        made = Interactions._of_matrix(name, R, wanted, missing, weights, (n_users, n_items))
    made = made.renumbered(user_ids, item_ids)
    for axis, (size, what) in enumerate(((n_users, "users"), (n_items, "items"))):
        if size is not None and made.shape[axis] != size:
            turned = " (is it transposed?)" if made.shape[1 - axis] == size else ""
            side = "rows" if axis == 0 else "columns"
            raise ValueError(
                f"{name} has shape {made.shape}: {side} are {what} and the model has {size} of them, "
                f"got {made.shape[axis]}{turned}; pass the matrix with the {what} it was fitted on"
            )
    return made


def _numbered_frame(
    frame: Any,
    columns: Columns,
    dtype: np.dtype,
    sizes: tuple[int | None, int | None],
    ids: tuple[Ids | None, Ids | None],
) -> Interactions:
    """Read a table with the ids of a model, or with numbers where the model has no ids."""
    numbered = [
        Ids(f"{side}s", np.arange(size)) if own is None and size is not None else own
        for side, size, own in zip(("user", "item"), sizes, ids, strict=True)
    ]
    made = Interactions._of_frame(frame, columns, dtype, (numbered[0], numbered[1]))
    kept = (
        None if own is None and size is not None else found
        for size, own, found in zip(sizes, ids, (made.user_ids, made.item_ids), strict=True)
    )
    return Interactions._make(made.shape, dtype, *kept, events=made._given)


def as_named_interactions(name: str, R: MatrixLike, dtype: Any = "float32") -> Interactions:
    """Return `R` as Interactions; messages call it what the caller calls it."""
    return as_interactions(R, dtype, name=name)


def canonical_row(R: Any, n_items: int, dtype: np.dtype) -> Cells | None:
    """Return `R` as cells if it is one CSR row that `as_interactions` would take as it is, else None.

    A web service has one such row a request. To look at any matrix for all that may be wrong or has to be mended takes
    four times as long, and a quarter of the request.
    """
    if not (sparse.issparse(R) and R.format == "csr" and R.shape == (1, n_items) and R.dtype == dtype):
        return None
    indptr, indices, values = R.indptr, R.indices, R.data
    if not (len(indptr) == 2 and indptr[0] == 0 and 0 < indptr[1] == len(indices) == len(values)):
        return None
    rising = (indices[1:] > indices[:-1]).all() and indices[0] >= 0 and indices[-1] < n_items
    # A stored 0 is for the model to keep or to drop.
    if not (rising and np.isfinite(values).all() and values.all()):
        return None
    indices, values = unlocked(np.ascontiguousarray(indices, np.int32)), unlocked(np.ascontiguousarray(values))
    return Cells(indptr.astype(np.int64), indices, values, np.ones(1, dtype))
