"""The one place that touches users' data: any users x items matrix in, canonical cells both ways round out."""

from __future__ import annotations

import copy
import numbers
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse

from ..engine.problem import Cells
from ..validation import check_dtype, check_option
from .events import column, event_values
from .ids import Ids, as_id_array

__all__ = [
    "Interactions",
    "MatrixLike",
    "as_interactions",
    "as_named_interactions",
    "canonical_row",
    "check_indices",
]

MatrixLike: TypeAlias = Any
"""SciPy sparse matrix or array of any format, dense 2-D array, list of (user, item, value) tuples, Interactions."""

_INDEX_LIMIT = 2**31 - 1


class Interactions:
    """Users x items cells in canonical form: sorted, no duplicates, finite, one float dtype.

    Parameters
    ----------
    R : sparse matrix or array, array_like of shape (n_users, n_items), list of (user, item, value), Interactions
        Stored cells are interactions; duplicates are summed. A canonical CSR matrix of the wanted dtype is kept, not
        copied: do not change it in place while these interactions, or a model fitted on them, are used.
    dtype : {'float32', 'float64'}, default 'float32'
        What the values are kept as.
    missing : {'zero', 'nan'}, default 'zero'
        What marks a cell of a *dense* array as not observed. Stored cells of sparse input are observed, zeros too.
    weights : sparse matrix, array_like, optional
        One weight, at least 0, for each stored cell: a matrix with the cells of `R`, or an array in the order of
        `R`'s stored values (dense `R`: an array of its shape).
    user_ids, item_ids : array_like of str or int, optional
        What the rows and columns are called. A model fitted on these interactions takes and gives these ids.

    Attributes
    ----------
    shape : (int, int)
        Users, items.
    nnz : int
        Stored cells.
    dtype : numpy.dtype
        Of the values.
    by_user, by_item : Cells
        Compressed rows of the matrix and of its transpose.
    user_ids, item_ids : Ids or None
        Names of rows and columns.

    Raises
    ------
    TypeError, ValueError
        Not a matrix, no users or items, not numeric, not finite; the message names the first bad row and column.
    """

    def __init__(
        self,
        R: MatrixLike,
        dtype: Any = "float32",
        *,
        missing: str = "zero",
        weights: MatrixLike | None = None,
        user_ids: Any = None,
        item_ids: Any = None,
    ):
        self.dtype = check_dtype("dtype", dtype)
        matrix = _as_csr(R, check_option("missing", missing, ("zero", "nan")), self.dtype, once=weights is not None)
        if weights is not None:
            weights = _as_csr_weights(weights, R, matrix)
        elif isinstance(R, Interactions):
            weights = R.weights
        if not matrix.has_canonical_format:
            if weights is not None:
                matrix, weights = _sort_pair(matrix, weights)
            else:
                matrix = matrix.copy()
                matrix.sum_duplicates()
        self.shape: tuple[int, int] = (int(matrix.shape[0]), int(matrix.shape[1]))
        self.nnz = int(matrix.nnz)
        self.by_user = Cells(
            # Contiguous, as kernels want it: SciPy keeps a column of a table of pairs as it is.
            np.ascontiguousarray(matrix.indptr, np.int64),
            np.ascontiguousarray(matrix.indices, np.int32),
            _compact(_cast_finite(matrix, matrix.data, self.dtype, "R")),
            np.ones(1, self.dtype)
            if weights is None
            else _compact(_cast_finite(matrix, weights, self.dtype, "weights", minimum=0.0)),
        )
        if isinstance(R, Interactions):
            user_ids = R.user_ids if user_ids is None else user_ids
            item_ids = R.item_ids if item_ids is None else item_ids
        self.user_ids: Ids | None = _names("user_ids", user_ids, self.shape[0])
        self.item_ids: Ids | None = _names("item_ids", item_ids, self.shape[1])

    @classmethod
    def from_triplets(
        cls,
        users: Any,
        items: Any,
        values: Any = None,
        times: Any = None,
        *,
        events: Any = None,
        weights: Mapping[Any, float] | None = None,
        half_life: Any = None,
        dtype: Any = "float32",
    ) -> Interactions:
        """Make interactions of events: who, what, and how much.

        Parameters
        ----------
        users, items : array_like of str or int, shape (n_events,)
            Ids of any range; rows and columns are numbered in their sorted order.
        values : array_like of float, shape (n_events,), optional
            None: 1 an event. Events of the same user and item are summed.
        times : array_like of datetime64 or number, shape (n_events,), optional
            With `half_life`: an event counts `0.5^(age / half_life)`, its age being that before the latest one.
        events : array_like, shape (n_events,), optional
            The kind of each event, with `weights`.
        weights : mapping, optional
            What an event of each kind counts, for example `{"view": 1, "buy": 5}`.
        half_life : number, or datetime.timedelta or numpy.timedelta64 where times are datetimes, optional
        dtype : {'float32', 'float64'}, default 'float32'

        Returns
        -------
        Interactions
            With `user_ids` and `item_ids`.
        """
        encoded = []
        for name, names in (("users", users), ("items", items)):
            encoded.append(np.unique(as_id_array(name, names), return_inverse=True))
        (user_ids, rows), (item_ids, columns) = encoded
        rows, columns = rows.ravel(), columns.ravel()
        if len(rows) != len(columns):
            raise ValueError(f"users and items must be of equal length, got {len(rows)} and {len(columns)}")
        if len(rows) == 0:
            raise ValueError("there are no events: at least one is wanted")
        numbers = event_values(len(rows), values, times, events, weights, half_life)
        matrix = sparse.coo_array((numbers, (rows, columns)), shape=(len(user_ids), len(item_ids)))
        return cls(matrix, dtype, user_ids=user_ids, item_ids=item_ids)

    @classmethod
    def from_frame(
        cls,
        df: Any,
        user: Any,
        item: Any,
        value: Any = None,
        time: Any = None,
        *,
        event: Any = None,
        weights: Mapping[Any, float] | None = None,
        half_life: Any = None,
        dtype: Any = "float32",
    ) -> Interactions:
        """Make interactions of a table with a row an event.

        Parameters
        ----------
        df : table of pandas, polars or Arrow, or dict of arrays
            Its columns are taken by name and converted by NumPy.
        user, item, value, time, event : name of a column
            The last three are optional; see `from_triplets`, as for the rest.
        weights, half_life, dtype
            As in `from_triplets`.

        Returns
        -------
        Interactions
            With `user_ids` and `item_ids`.
        """
        given = {"user": user, "item": item, "value": value, "time": time, "event": event}
        columns = {name: column(name, df, label) for name, label in given.items() if label is not None}
        return cls.from_triplets(
            columns["user"],
            columns["item"],
            columns.get("value"),
            columns.get("time"),
            events=columns.get("event"),
            weights=weights,
            half_life=half_life,
            dtype=dtype,
        )

    def renumbered(
        self,
        user_ids: Ids | None = None,
        item_ids: Ids | None = None,
        *,
        prefix: str = "",
        remedy: str = "",
        of: str = "the model",
    ) -> Interactions:
        """Return the same cells with rows and columns numbered as by other ids.

        Parameters
        ----------
        user_ids, item_ids : Ids, optional
            None: as they are. An id that they lack is refused.
        prefix, remedy, of : str
            For the message: what stands before "user_ids" or "item_ids", how to mend it, with {} for "rows" or
            "columns", and whose ids these are.
        """
        moves = [
            (name, ours, theirs)
            for name, ours, theirs in (("user_ids", self.user_ids, user_ids), ("item_ids", self.item_ids, item_ids))
            if ours is not None and theirs is not None and not ours.same_as(theirs)
        ]
        if not moves:
            return self
        matrix, weights = self.csr.tocoo(), self.weights
        rows, columns = matrix.row, matrix.col
        shape = list(self.shape)
        names: dict[str, Any] = {"user_ids": self.user_ids, "item_ids": self.item_ids}
        for name, ours, theirs in moves:
            axis = int(name == "item_ids")
            places = theirs.positions(prefix + name, ours.values, remedy.format(("rows", "columns")[axis]), of)
            if axis == 0:
                rows = places[rows]
            else:
                columns = places[columns]
            shape[axis] = len(theirs)
            names[name] = theirs
        cells = sparse.csr_array((matrix.data, (rows, columns)), shape=tuple(shape))
        if weights is not None:
            weights = sparse.csr_array((weights, (rows, columns)), shape=tuple(shape))
        return Interactions(cells, self.dtype, weights=weights, **names)

    @property
    def weights(self) -> np.ndarray | None:
        """One weight for each cell, in the order of `csr.data`; None where all are 1."""
        weights = self.by_user.weights
        return None if len(weights) == 1 and weights[0] == 1 else np.broadcast_to(weights, self.nnz)

    @cached_property
    def by_item(self) -> Cells:
        """Compressed columns: the same cells, item by item."""
        return transpose(self.by_user, self.shape)

    @property
    def csr(self) -> sparse.csr_array:
        """The cells as a SciPy array, shape (n_users, n_items)."""
        return _csr(self.by_user, self.by_user.all_values, self.shape)

    def without_zeros(self) -> Interactions:
        """Return the same cells less those with a stored 0; self where there is none."""
        values = self.by_user.values
        if values.all():
            return self
        matrix, weights = self.csr.copy(), self.weights
        if weights is not None:
            weights = weights[matrix.data != 0]
        matrix.eliminate_zeros()
        return Interactions(matrix, self.dtype, weights=weights, user_ids=self.user_ids, item_ids=self.item_ids)

    def __repr__(self) -> str:
        n_users, n_items = self.shape
        return f"Interactions({n_users} users x {n_items} items, {self.nnz} cells, {self.dtype})"


def _names(name: str, values: Any, n: int) -> Ids | None:
    if values is None:
        return None
    ids = values if isinstance(values, Ids) else Ids(name, values)
    if len(ids) != n:
        raise ValueError(f"{name} must have one id for each of the {n} {name[:4]}s of R, got {len(ids)}")
    return ids


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
) -> Interactions:
    """Return `R` as Interactions of `dtype`, numbered and as many as the users or items a model was fitted on."""
    if _is_triplets(R):
        R = _from_triplets(R, n_users, n_items)
    kept = isinstance(R, Interactions) and weights is None and R.dtype == dtype
    cells: Interactions = R if kept else Interactions(R, dtype, missing=missing, weights=weights)
    cells = cells.renumbered(user_ids, item_ids)
    for axis, (wanted, what) in enumerate(((n_users, "users"), (n_items, "items"))):
        if wanted is not None and cells.shape[axis] != wanted:
            turned = " (is it transposed?)" if cells.shape[1 - axis] == wanted else ""
            side = "rows" if axis == 0 else "columns"
            raise ValueError(
                f"R has shape {cells.shape}: {side} are {what} and the model has {wanted} of them, "
                f"got {cells.shape[axis]}{turned}; pass the matrix with the {what} it was fitted on"
            )
    return cells


def canonical_row(R: MatrixLike, n_items: int, dtype: np.dtype) -> Cells | None:
    """Return `R` as cells if it is one CSR row that `as_interactions` would take as it is, else None.

    A web service has one such row a request. To look at any matrix for all that may be wrong or has to be mended takes
    four times as long, and a quarter of the request.
    """
    if not (sparse.issparse(R) and R.format == "csr" and R.shape == (1, n_items) and R.dtype == dtype):
        return None
    indptr, indices, values = R.indptr, R.indices, R.data
    if not (indptr[0] == 0 and 0 < indptr[1] == len(indices) == len(values)):
        return None
    rising = (indices[1:] > indices[:-1]).all() and indices[0] >= 0 and indices[-1] < n_items
    # A stored 0 is for the model to keep or to drop.
    if not (rising and np.isfinite(values).all() and values.all()):
        return None
    indices, values = np.ascontiguousarray(indices, np.int32), np.ascontiguousarray(values)
    return Cells(indptr.astype(np.int64), indices, values, np.ones(1, dtype))


def as_named_interactions(name: str, R: MatrixLike, dtype: Any = "float32") -> Interactions:
    """Return `R` as Interactions; messages call it what the caller calls it."""
    try:
        return as_interactions(R, dtype)
    except (TypeError, ValueError) as error:
        raise type(error)(re.sub(r"\bR\b", name, str(error))) from None


def _as_csr(R: MatrixLike, missing: str, dtype: np.dtype, once: bool) -> sparse.csr_array:
    """Any accepted input as CSR, possibly sharing memory with it, possibly not canonical.

    With `once` duplicates that the conversion would sum are refused.
    """
    if isinstance(R, Interactions):
        matrix = R.csr
    elif sparse.issparse(R):
        matrix = _from_sparse(R, dtype, once)
    elif _is_triplets(R):
        matrix = _from_sparse(_from_triplets(R), dtype, once)
    elif isinstance(R, (np.ndarray, list)):
        matrix = _from_dense(R, missing, dtype)
    else:
        raise TypeError(
            "R must be a SciPy sparse matrix, a 2-D array, a list of (user, item, value) tuples or Interactions, "
            f"got {type(R).__name__}"
        )
    if 0 in matrix.shape:
        raise ValueError(f"R has shape {matrix.shape}: at least one user and one item are wanted")
    if max(matrix.shape) > _INDEX_LIMIT:
        raise ValueError(f"R has shape {matrix.shape}: at most {_INDEX_LIMIT} users and items are possible")
    return matrix


def _check_numeric(name: str, dtype: np.dtype) -> None:
    if dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {dtype}; convert its values first")


def _from_sparse(R: Any, dtype: np.dtype, once: bool) -> sparse.csr_array:
    if R.ndim != 2:
        raise ValueError(f"R must have 2 dimensions, users x items, got shape {R.shape}")
    _check_numeric("R", R.dtype)
    if R.format in ("csr", "csc"):
        check_indices("R", R)
    if once and R.format == "coo":
        _check_once("R", R)
    if R.dtype != _summed_as(R.dtype, dtype):
        R = copy.copy(R) if R.format in ("csr", "csc", "coo") else R.tocoo()
        R.data = R.data.astype(_summed_as(R.dtype, dtype))
    return sparse.csr_array(R)


def _summed_as(given: np.dtype, dtype: np.dtype) -> np.dtype:
    """Return a dtype that SciPy has and duplicates can be summed in: as bytes, say, 100 + 100 = -56."""
    return given.newbyteorder("=") if given.kind == "f" and given.itemsize >= 4 else dtype


def check_indices(name: str, R: Any) -> None:
    """Refuse a CSR or CSC that points outside itself: SciPy does not look, and no kernel must be led there."""
    axis = 1 if R.format == "csr" else 0
    # As unsigned, negative numbers are the largest: one pass.
    outside = R.indices.size > 0 and R.indices.view(f"u{R.indices.itemsize}").max() >= R.shape[axis]
    if outside or (R.indptr[1:] < R.indptr[:-1]).any():
        side = ("row", "column")[axis]
        cause = f"a {side} number is not in 0 .. {R.shape[axis] - 1}" if outside else "its indptr falls"
        raise ValueError(f"{name} is not a valid {R.format.upper()} matrix of shape {R.shape}: {cause}; build it anew")


def _from_dense(R: Any, missing: str, dtype: np.dtype) -> sparse.csr_array:
    if isinstance(R, np.ma.MaskedArray):
        raise TypeError(
            "R is a masked array, whose mask would be lost; pass R.filled(0), or R.filled(nan) where NaN means missing"
        )
    dense = _as_array("R", R)
    if dense.ndim != 2:
        raise ValueError(f"R must have 2 dimensions, users x items, got shape {dense.shape}")
    observed = dense != 0 if missing == "zero" else ~np.isnan(dense)
    # A third of the time of np.nonzero in two dimensions.
    rows, columns = np.divmod(np.flatnonzero(observed), dense.shape[1])
    values = dense[rows, columns].astype(_summed_as(dense.dtype, dtype), copy=False)
    return sparse.csr_array((values, (rows, columns)), shape=dense.shape)


def _as_array(name: str, given: Any) -> np.ndarray:
    """Return a dense array or nested lists as an array of numbers."""
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise ValueError(f"{name} must be an array of numbers: its rows differ in length ({error})") from error
    _check_numeric(name, array.dtype)
    return array


def _is_triplets(R: MatrixLike) -> bool:
    return isinstance(R, list) and len(R) > 0 and all(isinstance(entry, tuple) and len(entry) == 3 for entry in R)


def _from_triplets(
    triplets: list[tuple[Any, Any, Any]], n_users: int | None = None, n_items: int | None = None
) -> sparse.coo_array:
    """Triplets as a matrix of the given shape, or of the smallest that holds them."""
    limits = ("user", n_users), ("item", n_items)
    for position, (user, item, value) in enumerate(triplets):
        for (name, size), number in zip(limits, (user, item), strict=True):
            if isinstance(number, bool) or not isinstance(number, numbers.Integral):
                raise TypeError(f"R[{position}]: the {name} must be an integer, got {number!r}")
            number = int(number)
            if number < 0:
                raise ValueError(f"R[{position}]: the {name} must be at least 0, got {number!r}")
            if size is not None and number >= size:
                raise ValueError(f"R[{position}]: the model has {size} {name}s, numbered from 0, got {number!r}")
            if number >= _INDEX_LIMIT:
                raise ValueError(
                    f"R[{position}]: the {name} must be below {_INDEX_LIMIT}, got {number!r}; "
                    "number users and items from 0, without gaps"
                )
        if isinstance(value, str) or not isinstance(value, numbers.Real):
            raise TypeError(f"R[{position}]: the value must be a number, got {value!r}")
    users, items, values = (np.asarray(column) for column in zip(*triplets, strict=True))
    shape = (int(users.max()) + 1 if n_users is None else n_users, int(items.max()) + 1 if n_items is None else n_items)
    return sparse.coo_array((values.astype(np.float64), (users, items)), shape=shape)


def _as_csr_weights(weights: MatrixLike, R: MatrixLike, matrix: sparse.csr_array) -> np.ndarray:
    """Weights in the order of `matrix.data`."""
    if sparse.issparse(weights):
        _check_numeric("weights", weights.dtype)
        if weights.format == "coo":
            _check_once("weights", weights)
        return _weights_of_cells(sparse.csr_array(weights), matrix)
    array = _as_array("weights", weights)
    dense = isinstance(R, (np.ndarray, list)) and not _is_triplets(R)
    if dense and array.shape == matrix.shape:
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        return array[rows, matrix.indices]
    if not (dense or isinstance(R, Interactions) or (sparse.issparse(R) and R.format == "csr")):
        raise ValueError(
            "weights is an array and R is neither CSR nor dense, so the order of its cells is not kept: "
            "pass R as CSR or weights as a sparse matrix"
        )
    if array.shape != (matrix.nnz,):
        raise ValueError(
            f"weights must have one number for each stored cell of R, shape ({matrix.nnz},), got shape {array.shape}"
        )
    return array


def _weights_of_cells(weights: sparse.csr_array, matrix: sparse.csr_array) -> np.ndarray:
    if weights.shape != matrix.shape:
        raise ValueError(f"weights has shape {weights.shape}, R has {matrix.shape}: they must be equal")
    theirs, ours = (_in_order(cells) for cells in (weights, matrix))
    if not (np.array_equal(theirs.indptr, ours.indptr) and np.array_equal(theirs.indices, ours.indices)):
        raise ValueError(
            f"weights must store exactly the cells of R: it has {theirs.nnz} cells, R has {ours.nnz}"
            + ("" if theirs.nnz != ours.nnz else " in other places")
        )
    aligned = np.empty(matrix.nnz, weights.dtype)
    aligned[ours.data] = weights.data[theirs.data]
    return aligned


def _in_order(matrix: sparse.csr_array) -> sparse.csr_array:
    """Return the same places with columns rising in each row; the data say where each cell was."""
    order = sparse.csr_array((np.arange(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape, copy=True)
    order.sort_indices()
    return order


def _sort_pair(matrix: sparse.csr_array, weights: np.ndarray) -> tuple[sparse.csr_array, np.ndarray]:
    """Sort the columns of each row, taking the weights along."""
    order = _in_order(matrix)
    _check_once("R", order.tocoo(copy=False))
    sorted_matrix = sparse.csr_array((matrix.data[order.data], order.indices, order.indptr), shape=matrix.shape)
    return sorted_matrix, weights[order.data]


def _check_once(name: str, matrix: sparse.coo_array) -> None:
    """Refuse duplicates, where weights are given; SciPy sums them where it turns COO into CSR."""
    rows, columns = matrix.row, matrix.col
    order = np.lexsort((columns, rows))
    rows, columns = rows[order], columns[order]
    twice = (rows[1:] == rows[:-1]) & (columns[1:] == columns[:-1])
    if twice.any():
        position = int(np.argmax(twice))
        raise ValueError(
            f"{name} holds row {rows[position]}, column {columns[position]} more than once, and weights are given: "
            "a sum has no one weight; merge duplicates first"
        )


def _cast_finite(
    matrix: sparse.csr_array, values: np.ndarray, dtype: np.dtype, name: str, minimum: float | None = None
) -> np.ndarray:
    """Return `values` as `dtype`, without a copy where they are; not finite or too small: the place is named."""
    with np.errstate(over="ignore", invalid="ignore"):
        cast = values.astype(dtype, copy=False)
        # A sum is finite only if every term is: no array of flags for the usual case.
        clean = np.isfinite(cast.sum(dtype=np.float64))
    if clean and (minimum is None or cast.min(initial=minimum) >= minimum):
        return cast
    bad = ~np.isfinite(cast)
    if minimum is not None:
        bad |= values < minimum
    if not bad.any():  # finite cells whose sum is not
        return cast
    position = int(np.argmax(bad))
    row = int(np.searchsorted(matrix.indptr, position, side="right")) - 1
    too_large = np.isfinite(values[bad]).all() and (minimum is None or (values[bad] >= minimum).all())
    if too_large:
        wanted, remedy = f"too large for {dtype}", "rescale, or use dtype='float64'"
    else:
        wanted = "not finite" if minimum is None else f"not finite or below {minimum:g}"
        remedy = "drop or mend these cells first"
    raise ValueError(
        f"{name} is {wanted} in {int(bad.sum())} of {len(values)} cells, "
        f"the first at row {row}, column {matrix.indices[position]}: {values[position].item()!r}; {remedy}"
    )


def _compact(values: np.ndarray) -> np.ndarray:
    """One number instead of an array where all are equal: half the memory of the cells; else contiguous."""
    return values[:1].copy() if values.size and values.min() == values.max() else np.ascontiguousarray(values)


def _csr(cells: Cells, data: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    """Return a SciPy array that shares its indices: it copies them where indptr has another dtype."""
    indptr = cells.indptr.astype(np.int32) if len(cells.indices) <= _INDEX_LIMIT else cells.indptr
    return sparse.csr_array((data, cells.indices, indptr), shape=shape)


def transpose(cells: Cells, shape: tuple[int, int]) -> Cells:
    """Return the cells column by column."""
    one_value, one_weight = len(cells.values) == 1, len(cells.weights) == 1
    # One number for all needs no carrying over; a byte a cell is what SciPy then still moves.
    payload = cells.values if not one_value else np.broadcast_to(np.ones(1, np.int8), len(cells.indices))
    if not one_weight:
        payload = np.arange(len(cells.indices))
    turned = _csr(cells, payload, shape).tocsc()
    pick = slice(None) if one_weight else turned.data
    return Cells(
        turned.indptr.astype(np.int64, copy=False),
        turned.indices.astype(np.int32, copy=False),
        cells.values if one_value else (turned.data if one_weight else cells.values[pick]),
        cells.weights if one_weight else cells.weights[pick],
    )
