"""Matrices of any kind in, compressed rows out: sorted, no entry twice, finite, of one dtype; or a sentence."""

from __future__ import annotations

import copy
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from ..engine.jit import compiles
from ..engine.problem import MOST_ROWS, Cells
from ..engine.threads import chosen, in_parts
from ..engine.transposition import transposed
from .events import Events, cast_values
from .types import MatrixLike

Shape = tuple[int, int]

# Users or items that a matrix may have beside few entries: a raw id as a number would ask for gigabytes.
_MOST_EMPTY, _EMPTY_PER_ENTRY = 1_000_000, 100


def read_matrix(
    name: str,
    R: MatrixLike,
    dtype: np.dtype,
    missing: str = "zero",
    weights: MatrixLike | None = None,
    sizes: tuple[int | None, int | None] = (None, None),
) -> tuple[Cells, Shape]:
    """Return a matrix as compressed rows. The values of a canonical CSR matrix of `dtype` are kept, not copied.

    `missing` and `weights` are as in `Interactions`; `sizes` are the numbers of users and items where they are known.
    """
    once = weights is not None
    if sparse.issparse(R):
        matrix = _from_sparse(name, R, dtype, once, sizes)
    elif is_triplets(R):
        matrix = _from_sparse(name, _from_triplets(name, R, sizes), dtype, once, sizes)  # type: ignore[arg-type]
    elif isinstance(R, list) and R and all(isinstance(entry, tuple) and len(entry) == 2 for entry in R):
        raise TypeError(
            f"{name} is a list of pairs: give (user, item, value) tuples, such as {(*R[0], 1.0)!r}, or "
            f"np.array({name}) if it is a matrix of two items"
        )
    elif isinstance(R, (np.ndarray, list)):
        matrix = _from_dense(name, R, missing, dtype)
    else:
        raise TypeError(
            f"{name} must be a SciPy sparse matrix, a 2-D array, a list of (user, item, value) tuples or Interactions, "
            f"got {type(R).__name__}"
        )
    if 0 in matrix.shape:
        raise ValueError(f"{name} has shape {matrix.shape}: at least one user and one item are wanted")
    if max(matrix.shape) > MOST_ROWS:
        raise ValueError(f"{name} has shape {matrix.shape}: at most {MOST_ROWS} users and items are possible")
    ordered = None if weights is None else _ordered_weights(weights, name, R, matrix)
    if not matrix.has_canonical_format:
        if ordered is not None:
            matrix, ordered = _sort_pair(name, matrix, ordered)
        else:
            matrix = matrix.copy()
            matrix.sum_duplicates()
    values = _cast_finite(matrix, matrix.data, dtype, name)
    one = np.ones(1, dtype)
    kept = one if ordered is None else _compact(_cast_finite(matrix, ordered, dtype, "weights", minimum=0.0))
    # Contiguous, as kernels want it: SciPy keeps a column of a table of pairs as it is.
    indptr, indices = (
        _own(np.ascontiguousarray(part, kind), R)
        for part, kind in ((matrix.indptr, np.int64), (matrix.indices, np.int32))
    )
    shape = int(matrix.shape[0]), int(matrix.shape[1])
    return Cells(*map(unlocked, (indptr, indices, _compact(values), kept))), shape


def _own(places: np.ndarray, R: Any) -> np.ndarray:
    """Return a copy of places in a matrix, if they are the caller's: who changes them later must not mislead a kernel.

    Read-only arrays stay as they are, such as those of mapped files, which may be larger than memory.
    """
    theirs = (getattr(R, name, None) for name in ("indptr", "indices", "row", "col"))
    shared = any(isinstance(part, np.ndarray) and np.may_share_memory(places, part) for part in theirs)
    if not (shared and places.flags.writeable):
        return places
    copy = np.empty_like(places)
    in_parts(lambda part: np.copyto(copy[part], places[part]), len(places), 1, chosen())
    return copy


class _Unlocked:
    """An array's memory, said to be writable."""

    def __init__(self, array: np.ndarray):
        interface = array.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}
        self.base = array  # keeps the memory alive


def unlocked(array: np.ndarray) -> np.ndarray:
    """Return the same memory as an array that is marked as writable.

    A read-only array is another type to Numba, which would compile every kernel anew, for some seconds. No kernel
    writes into interactions.
    """
    return array if array.flags.writeable else np.asarray(_Unlocked(array))


def canonical_row(R: Any, n_items: int, dtype: np.dtype) -> Cells | None:
    """Return `R` as cells if it is one CSR row that `as_interactions` would keep, else None.

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


def cells_of_events(events: Events, shape: Shape) -> Cells:
    """Return the sums of the events of each user and item as compressed rows."""
    dtype = events.values.dtype
    placed = (events.values.astype(np.float64), (events.users, events.items))
    matrix = sparse.coo_array(placed, shape=shape).tocsr()
    values = _cast_finite(matrix, matrix.data, dtype, "the sum of the events")
    indptr, indices = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32, copy=False)
    return Cells(indptr, indices, _compact(values), np.ones(1, dtype))


def csr_of(cells: Cells, data: np.ndarray, shape: Shape) -> sparse.csr_array:
    """Return a SciPy array that shares its indices: it copies them where indptr has another dtype."""
    indptr = cells.indptr.astype(np.int32) if len(cells.indices) <= MOST_ROWS else cells.indptr
    return sparse.csr_array((data, cells.indices, indptr), shape=shape)


def transpose(cells: Cells, shape: Shape) -> Cells:
    """Return the entries column by column."""
    if compiles():
        return transposed(cells, shape[1], chosen())
    one_value, one_weight = len(cells.values) == 1, len(cells.weights) == 1
    # One number for all needs no carrying over; a byte an entry is what SciPy then still moves.
    payload = cells.values if not one_value else np.broadcast_to(np.ones(1, np.int8), len(cells.indices))
    if not one_weight:
        payload = np.arange(len(cells.indices))
    turned = csr_of(cells, payload, shape).tocsc()
    pick = slice(None) if one_weight else turned.data
    return Cells(
        turned.indptr.astype(np.int64, copy=False),
        turned.indices.astype(np.int32, copy=False),
        cells.values if one_value else (turned.data if one_weight else cells.values[pick]),
        cells.weights if one_weight else cells.weights[pick],
    )


# Sparse matrices: SciPy does not look at what their arrays hold, and no kernel must be led outside of them.


def check_indices(name: str, R: Any, given: str = "") -> None:
    """Refuse a CSR, CSC or COO matrix, made of one `given`, whose arrays do not fit together or point outside of it."""
    cause = _fault_of_coordinates(R) if R.format == "coo" else _fault_of_pointers(R)
    if cause:
        form = (given or R.format).upper()
        raise ValueError(f"{name} is not a valid {form} matrix of shape {R.shape}: {cause}; build it anew")


def _fault_of_coordinates(R: Any) -> str:
    for side, places, size in (("row", R.row, R.shape[0]), ("column", R.col, R.shape[1])):
        if places.dtype.kind not in "iu" or places.shape != R.data.shape or places.ndim != 1:
            return f"its {side} numbers have dtype {places.dtype} and shape {places.shape} beside {R.data.shape} values"
        if _outside(places, size):
            return f"a {side} number is not in 0 .. {size - 1}"
    return ""


def _fault_of_pointers(R: Any) -> str:
    axis = 1 if R.format == "csr" else 0
    indptr, indices, data = R.indptr, R.indices, R.data
    if any(array.ndim != 1 for array in (indptr, indices, data)) or indptr.dtype.kind + indices.dtype.kind != "ii":
        return "its arrays must be 1-dimensional, indptr and indices of integers"
    if len(indptr) != R.shape[1 - axis] + 1:
        return f"its indptr has {len(indptr)} numbers, {R.shape[1 - axis] + 1} are wanted"
    if (indptr[1:] < indptr[:-1]).any():
        return "its indptr falls"
    if indptr[0] != 0 or indptr[-1] > min(len(indices), len(data)):
        return f"its indptr runs from {indptr[0]} to {indptr[-1]} beside {len(indices)} indices and {len(data)} values"
    if _outside(indices, R.shape[axis]):
        return f"a {('row', 'column')[axis]} number is not in 0 .. {R.shape[axis] - 1}"
    return ""


def _outside(places: np.ndarray, size: int) -> bool:
    # As unsigned, negative numbers are the largest: one pass.
    return places.size > 0 and max(_of_parts(np.max, places.view(f"u{places.itemsize}"))) >= size


def _of_parts(function: Callable[[np.ndarray], Any], array: np.ndarray) -> list[Any]:
    """Return a function of an array's parts, computed on all threads, in no order."""
    found: list[Any] = []
    in_parts(lambda part: found.append(function(array[part])), len(array), 1, chosen())
    return found


def checked_csr(name: str, R: Any) -> sparse.csr_array:
    """Return a sparse matrix of any format as CSR, sharing memory where it can; what points outside is refused."""
    if R.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions, users x items, got shape {R.shape}")
    _check_numeric(name, R.dtype)
    given = R.format
    if given not in ("csr", "csc", "coo"):
        try:
            _check_parts(R)
            R = R.tocsr() if given == "lil" else R.tocoo()
        except (ValueError, TypeError, IndexError, OverflowError) as error:
            raise ValueError(f"{name} is not a valid {R.format.upper()} matrix: {error}; build it anew") from error
    check_indices(name, R, given)
    matrix = sparse.csr_array(R)
    if len(matrix.indices) > matrix.indptr[-1] or len(matrix.data) > matrix.indptr[-1]:
        end = matrix.indptr[-1]  # SciPy allows room for more
        matrix = sparse.csr_array((matrix.data[:end], matrix.indices[:end], matrix.indptr), shape=matrix.shape)
    return matrix


def _check_parts(R: Any) -> None:
    """Refuse parts that SciPy's conversions take on trust."""
    if R.format == "lil":
        if not (R.rows.shape == R.data.shape == R.shape[:1]):
            raise ValueError(f"it has {len(R.rows)} lists of columns and {len(R.data)} of values")
        for row, (columns, values) in enumerate(zip(R.rows, R.data, strict=True)):
            if len(columns) != len(values):
                raise ValueError(f"row {row} has {len(columns)} columns and {len(values)} values")
    if R.format == "dia":
        if R.data.ndim != 2 or R.offsets.shape != R.data.shape[:1]:
            raise ValueError(f"it has offsets of shape {R.offsets.shape} and diagonals of shape {R.data.shape}")
        if ((R.offsets <= -R.shape[0]) | (R.offsets >= R.shape[1])).any():
            raise ValueError("a diagonal lies outside")
    if R.format == "bsr":
        rows, columns = R.blocksize
        blocks = R.data.shape[0], rows, columns
        begin, end = R.indptr[0], R.indptr[-1]
        if R.shape[0] % rows or R.shape[1] % columns or R.data.shape != blocks or len(R.indices) != len(R.data):
            raise ValueError(f"blocks of shape {R.data.shape} and {len(R.indices)} places do not make shape {R.shape}")
        if len(R.indptr) != R.shape[0] // rows + 1 or begin != 0 or end != len(R.indices):
            raise ValueError(f"its indptr runs from {begin} to {end} in {len(R.indptr)} numbers")
        if (R.indptr[1:] < R.indptr[:-1]).any() or _outside(R.indices, R.shape[1] // columns):
            raise ValueError("its indptr falls, or a block lies outside")


def _from_sparse(name: str, R: Any, dtype: np.dtype, once: bool, sizes: tuple[Any, Any]) -> sparse.csr_array:
    if R.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions, users x items, got shape {R.shape}")
    _check_numeric(name, R.dtype)
    if R.dtype != _summed_as(R.dtype, dtype):
        R = copy.copy(R) if R.format in ("csr", "csc", "coo") else checked_csr(name, R).copy()
        R.data = R.data.astype(_summed_as(R.dtype, dtype))
    if R.format == "coo":
        check_indices(name, R)
        _check_gaps(name, R, sizes)
        if once:
            _check_once(name, R)
    return checked_csr(name, R)


def _check_gaps(name: str, R: Any, sizes: tuple[Any, Any]) -> None:
    """Refuse raw ids as numbers: a shape that follows from the greatest of them asks for memory without end."""
    allowed = max(_MOST_EMPTY, _EMPTY_PER_ENTRY * R.nnz)
    for side, places, size, known in zip(("user", "item"), (R.row, R.col), R.shape, sizes, strict=True):
        if known is None and size > allowed and places.size and int(places.max()) + 1 == size:
            raise ValueError(
                f"{name} has {R.nnz} entries and the greatest {side} number is {size - 1}: number users and items from "
                "0, without gaps, or let fastals.Interactions.from_triplets(users, items, values) number them"
            )


def _check_numeric(name: str, dtype: np.dtype) -> None:
    if dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {dtype}; convert its values first")


def _summed_as(given: np.dtype, dtype: np.dtype) -> np.dtype:
    """Return a dtype that SciPy has and duplicates can be summed in: as bytes, say, 100 + 100 = -56."""
    return given.newbyteorder("=") if given.kind == "f" and given.itemsize >= 4 else dtype


# Dense arrays and triplets.


def _from_dense(name: str, R: Any, missing: str, dtype: np.dtype) -> sparse.csr_array:
    if isinstance(R, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array, whose mask would be lost; pass {name}.filled(0), or {name}.filled(nan) where "
            "NaN means missing"
        )
    dense = _as_array(name, R)
    if dense.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions, users x items, got shape {dense.shape}")
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


def is_triplets(R: MatrixLike) -> bool:
    """Tell whether something is a list of tuples of three."""
    return isinstance(R, list) and len(R) > 0 and all(isinstance(entry, tuple) and len(entry) == 3 for entry in R)


def _from_triplets(
    name: str, triplets: list[tuple[Any, Any, Any]], sizes: tuple[int | None, int | None]
) -> sparse.coo_array:
    """Triplets as a matrix of the given shape, or of the smallest that holds them."""
    for position, (user, item, value) in enumerate(triplets):
        for side, size, number in zip(("user", "item"), sizes, (user, item), strict=True):
            if isinstance(number, bool) or not isinstance(number, numbers.Integral):
                way = "; fastals.Interactions.from_triplets(users, items, values) takes text" * isinstance(number, str)
                raise TypeError(f"{name}[{position}]: the {side} must be an integer, got {number!r}{way}")
            number = int(number)
            if number < 0:
                raise ValueError(f"{name}[{position}]: the {side} must be at least 0, got {number!r}")
            if size is not None and number >= size:
                raise ValueError(f"{name}[{position}]: the model has {size} {side}s, numbered from 0, got {number!r}")
            if number >= MOST_ROWS:
                raise ValueError(
                    f"{name}[{position}]: the {side} must be below {MOST_ROWS}, got {number!r}; "
                    "number users and items from 0, without gaps"
                )
        if isinstance(value, str) or not isinstance(value, numbers.Real):
            raise TypeError(f"{name}[{position}]: the value must be a number, got {value!r}")
    users, items, values = (np.asarray(column) for column in zip(*triplets, strict=True))
    shape = tuple(
        int(places.max()) + 1 if size is None else size for places, size in zip((users, items), sizes, strict=True)
    )
    return sparse.coo_array((values.astype(np.float64), (users, items)), shape=shape)


# Weights, and the values of both.


def _ordered_weights(weights: Any, name: str, R: Any, matrix: sparse.csr_array) -> np.ndarray:
    """Weights in the order of `matrix.data`."""
    if sparse.issparse(weights):
        if weights.format == "coo":
            check_indices("weights", weights)
            _check_once("weights", weights)
        return _weights_of_entries(checked_csr("weights", weights), name, matrix)
    array = _as_array("weights", weights)
    dense = isinstance(R, (np.ndarray, list)) and not is_triplets(R)
    if dense and array.shape == matrix.shape:
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        return array[rows, matrix.indices]
    if not (dense or (sparse.issparse(R) and R.format == "csr")):
        raise ValueError(
            f"weights is an array and {name} is neither CSR nor dense, so the order of its entries is not kept: "
            f"pass {name} as CSR or weights as a sparse matrix"
        )
    if array.shape != (matrix.nnz,):
        raise ValueError(
            f"weights must have one number for each stored entry of {name}, shape ({matrix.nnz},), "
            f"got shape {array.shape}"
        )
    return array


def _weights_of_entries(weights: sparse.csr_array, name: str, matrix: sparse.csr_array) -> np.ndarray:
    if weights.shape != matrix.shape:
        raise ValueError(f"weights has shape {weights.shape}, {name} has {matrix.shape}: they must be equal")
    theirs, ours = (_in_order(entries) for entries in (weights, matrix))
    if not (np.array_equal(theirs.indptr, ours.indptr) and np.array_equal(theirs.indices, ours.indices)):
        raise ValueError(
            f"weights must store exactly the entries of {name}: it has {theirs.nnz} entries, {name} has {ours.nnz}"
            + ("" if theirs.nnz != ours.nnz else " in other places")
        )
    aligned = np.empty(matrix.nnz, weights.dtype)
    aligned[ours.data] = weights.data[theirs.data]
    return aligned


def _in_order(matrix: sparse.csr_array) -> sparse.csr_array:
    """Return the same places with columns rising in each row; the data say where each entry was."""
    order = sparse.csr_array((np.arange(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape, copy=True)
    order.sort_indices()
    return order


def _sort_pair(name: str, matrix: sparse.csr_array, weights: np.ndarray) -> tuple[sparse.csr_array, np.ndarray]:
    """Sort the columns of each row, taking the weights along."""
    order = _in_order(matrix)
    _check_once(name, order.tocoo(copy=False))
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
    cast = cast_values(values, dtype)
    clean = all(_of_parts(_is_finite, cast))
    if clean and (minimum is None or cast.min(initial=minimum) >= minimum):
        return cast
    bad = ~np.isfinite(cast)
    if minimum is not None:
        bad |= values < minimum
    if not bad.any():  # finite entries whose sum is not
        return cast
    position = int(np.argmax(bad))
    row = int(np.searchsorted(matrix.indptr, position, side="right")) - 1
    too_large = np.isfinite(values[bad]).all() and (minimum is None or (values[bad] >= minimum).all())
    if too_large:
        wanted, remedy = f"too large for {dtype}", "rescale, or use dtype='float64'"
    else:
        wanted = "not finite" if minimum is None else f"not finite or below {minimum:g}"
        remedy = "drop or mend these entries first"
    raise ValueError(
        f"{name} is {wanted} in {int(bad.sum())} of {len(values)} entries, "
        f"the first at row {row}, column {matrix.indices[position]}: {values[position].item()!r}; {remedy}"
    )


def _is_finite(values: np.ndarray) -> bool:
    """Tell whether all values are finite; their sum is finite only if every term is."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum(dtype=np.float64)))


def _compact(values: np.ndarray) -> np.ndarray:
    """One number instead of an array where all are equal: half the memory of the entries; else contiguous."""
    alike = (
        values.size > 0 and values[0] == values[-1] and all(_of_parts(lambda part: (part == values[0]).all(), values))
    )
    return values[:1].copy() if alike else np.ascontiguousarray(values)
