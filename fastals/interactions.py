"""The one place that touches users' data: any users x items matrix in, canonical cells both ways round out."""

from __future__ import annotations

import numbers
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse

from .engine.problem import Cells
from .validation import check_dtype

__all__ = ["Interactions", "MatrixLike", "as_interactions"]

MatrixLike: TypeAlias = Any
"""SciPy sparse matrix or array of any format, dense 2-D array, list of (user, item, value) tuples, Interactions."""

_INDEX_LIMIT = 2**31 - 1


class Interactions:
    """Users x items cells in canonical form: sorted, no duplicates, finite, one float dtype.

    Parameters
    ----------
    R : sparse matrix or array, array_like of shape (n_users, n_items), or list of (user, item, value) tuples
        Stored cells are interactions; duplicates are summed. A canonical CSR matrix of the wanted dtype is not copied.
    dtype : {'float32', 'float64'}, default 'float32'
        What the values are kept as.
    missing : {'zero', 'nan'}, default 'zero'
        What marks a cell of a *dense* array as not observed. Stored cells of sparse input are observed, zeros too.
    weights : sparse matrix, array_like, optional
        One weight, at least 0, for each stored cell: a matrix with the cells of `R`, or an array in the order of
        `R`'s stored values (dense `R`: an array of its shape).

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

    Raises
    ------
    TypeError, ValueError
        Not a matrix, no users or items, not numeric, not finite; the message names the first bad row and column.
    """

    def __init__(
        self, R: MatrixLike, dtype: Any = "float32", *, missing: str = "zero", weights: MatrixLike | None = None
    ):
        self.dtype = check_dtype("dtype", dtype)
        matrix = _as_csr(R, missing)
        if weights is not None:
            weights = _as_csr_weights(weights, R, matrix)
        if not matrix.has_canonical_format:
            if weights is not None:
                matrix, weights = _sort_pair(matrix, weights)
            else:
                matrix = matrix.copy()
                matrix.sum_duplicates()
        self.shape: tuple[int, int] = (int(matrix.shape[0]), int(matrix.shape[1]))
        self.nnz = int(matrix.nnz)
        self.by_user = Cells(
            matrix.indptr.astype(np.int64, copy=False),
            matrix.indices.astype(np.int32, copy=False),
            _compact(_cast_finite(matrix, matrix.data, self.dtype, "R")),
            np.ones(1, self.dtype)
            if weights is None
            else _compact(_cast_finite(matrix, weights, self.dtype, "weights", minimum=0.0)),
        )

    @cached_property
    def by_item(self) -> Cells:
        """Compressed columns: the same cells, item by item."""
        return _transpose(self.by_user, self.shape)

    @property
    def csr(self) -> sparse.csr_array:
        """The cells as a SciPy array, shape (n_users, n_items)."""
        cells = self.by_user
        return sparse.csr_array((cells.all_values, cells.indices, cells.indptr), shape=self.shape)

    def without_zeros(self) -> Interactions:
        """Return the same cells less those with a stored 0; self where there is none."""
        values = self.by_user.values
        if values.all():
            return self
        matrix = self.csr.copy()
        matrix.eliminate_zeros()
        return Interactions(matrix, self.dtype)

    def astype(self, dtype: np.dtype) -> Interactions:
        """Return the same cells with values of `dtype`; self where they have it."""
        if dtype == self.dtype:
            return self
        weights = self.by_user.weights
        return Interactions(self.csr, dtype, weights=None if len(weights) == 1 else weights)

    def __repr__(self) -> str:
        n_users, n_items = self.shape
        return f"Interactions({n_users} users x {n_items} items, {self.nnz} cells, {self.dtype})"


def as_interactions(
    R: MatrixLike,
    dtype: Any = "float32",
    *,
    missing: str = "zero",
    weights: MatrixLike | None = None,
    n_users: int | None = None,
    n_items: int | None = None,
) -> Interactions:
    """Return `R` as Interactions of `dtype`, checked against the number of users or items a model was fitted on."""
    if isinstance(R, Interactions) and weights is None:
        cells = R.astype(dtype)
    elif isinstance(R, Interactions):
        cells = Interactions(R.csr, dtype, weights=weights)
    else:
        cells = Interactions(R, dtype, missing=missing, weights=weights)
    for axis, (wanted, what) in enumerate(((n_users, "users"), (n_items, "items"))):
        if wanted is not None and cells.shape[axis] != wanted:
            turned = " (is it transposed?)" if cells.shape[1 - axis] == wanted else ""
            side = "rows" if axis == 0 else "columns"
            raise ValueError(
                f"R has shape {cells.shape}: {side} are {what} and the model has {wanted} of them, "
                f"got {cells.shape[axis]}{turned}; pass the matrix with the {what} it was fitted on"
            )
    return cells


def _as_csr(R: MatrixLike, missing: str) -> sparse.csr_array:
    """Any accepted input as CSR, possibly sharing memory with it, possibly not canonical."""
    if isinstance(R, list) and R and all(isinstance(entry, tuple) and len(entry) == 3 for entry in R):
        matrix = _from_triplets(R)
    elif sparse.issparse(R):
        if R.ndim != 2:
            raise ValueError(f"R must have 2 dimensions, users x items, got shape {R.shape}")
        _check_numeric(R.dtype)
        matrix = sparse.csr_array(R)
    elif isinstance(R, (np.ndarray, list)):
        matrix = _from_dense(R, missing)
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


def _check_numeric(dtype: np.dtype) -> None:
    if dtype.kind not in "biuf":
        raise TypeError(f"R must hold real numbers, got dtype {dtype}; convert its values first")


def _from_dense(R: Any, missing: str) -> sparse.csr_array:
    try:
        dense = np.asarray(R)
    except ValueError as error:
        raise ValueError(f"R must be a 2-D array, users x items: its rows differ in length ({error})") from error
    if dense.ndim != 2:
        raise ValueError(f"R must have 2 dimensions, users x items, got shape {dense.shape}")
    _check_numeric(dense.dtype)
    observed = dense != 0 if missing == "zero" else ~np.isnan(dense)
    rows, columns = np.nonzero(observed)
    return sparse.csr_array((dense[rows, columns], (rows, columns)), shape=dense.shape)


def _from_triplets(triplets: list[tuple[Any, Any, Any]]) -> sparse.csr_array:
    for position, (user, item, value) in enumerate(triplets):
        for name, number in (("user", user), ("item", item)):
            if isinstance(number, bool) or not isinstance(number, numbers.Integral):
                raise TypeError(f"R[{position}]: the {name} must be an integer, got {number!r}")
            if number < 0:
                raise ValueError(f"R[{position}]: the {name} must be at least 0, got {number!r}")
        if isinstance(value, str) or not isinstance(value, numbers.Real):
            raise TypeError(f"R[{position}]: the value must be a number, got {value!r}")
    users, items, values = zip(*triplets, strict=True)
    return sparse.coo_array((np.asarray(values, np.float64), (np.asarray(users), np.asarray(items)))).tocsr()


def _as_csr_weights(weights: MatrixLike, R: MatrixLike, matrix: sparse.csr_array) -> np.ndarray:
    """Weights in the order of `matrix.data`."""
    if sparse.issparse(weights):
        theirs = sparse.csr_array(weights)
        if theirs.shape != matrix.shape:
            raise ValueError(f"weights has shape {theirs.shape}, R has {matrix.shape}: they must be equal")
        ours = sparse.csr_array((np.arange(1, matrix.nnz + 1), matrix.indices, matrix.indptr), shape=matrix.shape)
        theirs, ours = theirs.copy(), ours.copy()
        theirs.sort_indices()
        ours.sort_indices()
        if not (np.array_equal(theirs.indptr, ours.indptr) and np.array_equal(theirs.indices, ours.indices)):
            raise ValueError(
                f"weights must store exactly the cells of R: it has {theirs.nnz} cells, R has {ours.nnz}"
                + ("" if theirs.nnz != ours.nnz else " in other places")
            )
        aligned = np.empty(matrix.nnz, theirs.dtype)
        aligned[ours.data - 1] = theirs.data
        return aligned
    array = np.asarray(weights)
    _check_numeric(array.dtype)
    if array.ndim == 2 and isinstance(R, np.ndarray) and array.shape == R.shape:
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        return array[rows, matrix.indices]
    if array.shape != (matrix.nnz,):
        raise ValueError(
            f"weights must have one number for each stored cell of R, shape ({matrix.nnz},), got shape {array.shape}"
        )
    if sparse.issparse(R) and R.format != "csr":
        raise ValueError(
            f"weights is an array and R is in {R.format} format, whose order of cells is not kept: "
            "pass R as CSR or weights as a sparse matrix"
        )
    return array


def _sort_pair(matrix: sparse.csr_array, weights: np.ndarray) -> tuple[sparse.csr_array, np.ndarray]:
    """Sort the columns of each row, taking the weights along."""
    order = sparse.csr_array((np.arange(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape).copy()
    order.sort_indices()
    ends = np.zeros(matrix.nnz, bool)
    ends[matrix.indptr[1:-1][matrix.indptr[1:-1] < matrix.nnz]] = True
    twice = (np.diff(order.indices) == 0) & ~ends[1:]
    if twice.any():
        position = int(np.argmax(twice))
        user = int(np.searchsorted(matrix.indptr, position, side="right")) - 1
        raise ValueError(
            f"R holds row {user}, column {order.indices[position]} more than once, and weights are given: "
            "a sum has no one weight; merge duplicates first"
        )
    sorted_matrix = sparse.csr_array((matrix.data[order.data], order.indices, order.indptr), shape=matrix.shape)
    return sorted_matrix, weights[order.data]


def _cast_finite(
    matrix: sparse.csr_array, values: np.ndarray, dtype: np.dtype, name: str, minimum: float | None = None
) -> np.ndarray:
    """Return `values` as `dtype`, without a copy where they are; not finite or too small: the place is named."""
    with np.errstate(over="ignore", invalid="ignore"):
        cast = values.astype(dtype, copy=False)
        # A sum is finite only if every term is: no array of flags for the usual case.
        clean = np.isfinite(cast.sum(dtype=np.float64))
    if not clean or (minimum is not None and cast.min(initial=minimum) < minimum):
        bad = ~np.isfinite(cast)
        if minimum is not None:
            bad |= cast < minimum
        if bad.any():
            position = int(np.argmax(bad))
            row = int(np.searchsorted(matrix.indptr, position, side="right")) - 1
            place = f"the first at row {row}, column {matrix.indices[position]}: {values[position]!r}"
            if np.isfinite(values[bad]).all() and minimum is None:
                raise ValueError(
                    f"{name} has {int(bad.sum())} cells too large for {dtype} ({place}); rescale or use dtype='float64'"
                )
            wanted = "not finite" if minimum is None else f"not finite or below {minimum:g}"
            raise ValueError(f"{name} has {int(bad.sum())} cells that are {wanted} ({place}); drop or mend them first")
    return cast


def _compact(values: np.ndarray) -> np.ndarray:
    """One number instead of an array where all are equal: half the memory of the cells."""
    return values[:1].copy() if values.size and values.min() == values.max() else values


def _transpose(cells: Cells, shape: tuple[int, int]) -> Cells:
    """Return the cells column by column."""
    one_value, one_weight = len(cells.values) == 1, len(cells.weights) == 1
    # One number for all needs no carrying over; a byte a cell is what SciPy then still moves.
    payload = cells.values if not one_value else np.broadcast_to(np.ones(1, np.int8), len(cells.indices))
    if not one_weight:
        payload = np.arange(len(cells.indices))
    turned = sparse.csr_array((payload, cells.indices, cells.indptr), shape=shape).tocsc()
    pick = slice(None) if one_weight else turned.data
    return Cells(
        turned.indptr.astype(np.int64, copy=False),
        turned.indices.astype(np.int32, copy=False),
        cells.values if one_value else (turned.data if one_weight else cells.values[pick]),
        cells.weights if one_weight else cells.weights[pick],
    )
