"""Users x items data of any kind as `Interactions`: events or a matrix, with ids, times and kinds if there are any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import sparse

from ..engine.problem import Cells
from ..html import facts
from ..validation import check_dtype, check_option
from .events import Events, cast_finite, read_events
from .ids import IGNORE, Frozen, Ids, as_ids, derived
from .matrix import cells_of_events, csr_of, read_matrix, transpose, unlocked
from .types import Columns, FloatType, is_frame, read_columns, refuse_source, refuse_unnamed
from .types import MatrixLike as MatrixLike  # for the modules that take `Interactions` too

if TYPE_CHECKING:
    from typing_extensions import Unpack

_NAMES = {name: name for name in ("users", "items", "values", "times", "events")}


class Interactions(Frozen):
    """Users x items data: what each user did with each item, with ids, times and kinds where there are any.

    Made of a matrix, or of events by `from_triplets`, `from_frame` and the readers in `fastals.datasets`. Events stay
    as they came; the matrix in which the events of one user and item are summed is built when it is first needed.

    Parameters
    ----------
    R : sparse matrix or array, array_like of shape (n_users, n_items), list of (user, item, value), Interactions
        Stored entries are interactions; duplicates are summed. A canonical CSR matrix of the wanted dtype is kept, not
        copied: do not change it in place while these interactions, or a model fitted on them, are used.
    dtype : {'float32', 'float64'}, default 'float32'
        What the values are kept as.
    missing : {'zero', 'nan'}, default 'zero'
        What marks an entry of a *dense* array as not observed. Stored entries of sparse input are observed, zeros too.
    weights : sparse matrix, array_like, optional
        One weight, at least 0, for each stored entry: a matrix with the entries of `R`, or an array in the order of
        `R`'s stored values (dense `R`: an array of its shape).
    user_ids, item_ids : array_like of str or int, optional
        What the rows and columns are called. A model fitted on these interactions takes and gives these ids.

    Attributes
    ----------
    shape, nnz, dtype
        (users, items); stored entries of the matrix; dtype of the values.
    user_ids, item_ids : Ids or None
        What users and items are called.
    users, items, values, times, kinds : arrays of shape (n,)
        Each event, with users and items as numbers from 0; no times or kinds: None. Made of a matrix: its stored
        entries, row by row.
    by_user, by_item : Cells
        Compressed rows of the matrix and of its transpose; `csr` is the matrix in the same memory.

    Raises
    ------
    TypeError, ValueError
        Not a matrix, no users or items, not numeric, not finite; the message names the first bad row and column.

    Examples
    --------
    >>> import numpy as np
    >>> Interactions(np.array([[5.0, 0.0], [1.0, 2.0]]))
    Interactions(2 users x 2 items, 3 entries, float32)
    >>> shop = Interactions.from_triplets(["ann", "bob", "ann"], ["tea", "tea", "tea"])
    >>> len(shop), shop.nnz, shop.user_ids
    (3, 2, Ids(2 strings: 'ann', 'bob'))
    >>> shop.csr.toarray()
    array([[2.],
           [1.]], dtype=float32)
    """

    shape: tuple[int, int]
    dtype: np.dtype
    user_ids: Ids | None
    item_ids: Ids | None
    _given: Events | None  # None: made of a matrix
    _locked: bool  # whether the matrix given was read-only

    def __init__(
        self,
        R: MatrixLike,
        dtype: FloatType = "float32",
        *,
        missing: Literal["zero", "nan"] = "zero",
        weights: MatrixLike | None = None,
        user_ids: Any = None,
        item_ids: Any = None,
    ):
        made = Interactions._of_matrix("R", R, check_dtype("dtype", dtype), missing, weights)
        user_ids = made.user_ids if user_ids is None else as_ids("user_ids", user_ids, made.shape[0])
        item_ids = made.item_ids if item_ids is None else as_ids("item_ids", item_ids, made.shape[1])
        self.__dict__.update(made.__dict__, user_ids=user_ids, item_ids=item_ids)

    @classmethod
    def _make(
        cls,
        shape: tuple[int, int],
        dtype: np.dtype,
        user_ids: Ids | None,
        item_ids: Ids | None,
        *,
        events: Events | None = None,
        cells: Cells | None = None,
        turned: Cells | None = None,
        locked: bool = False,
    ) -> Interactions:
        """Make interactions of checked parts: events, or the rows of a matrix, and those of its transpose if known."""
        self = cls.__new__(cls)
        own = None if events is None else events.read_only()
        self.__dict__.update(shape=shape, dtype=dtype, user_ids=user_ids, item_ids=item_ids, _given=own, _locked=locked)
        sides = (("by_user", cells), ("by_item", turned))
        self.__dict__.update({name: Cells(*map(unlocked, side)) for name, side in sides if side is not None})
        # Events that are finite may have sums that are not: the matrix tells, before any work.
        if own is not None and np.abs(own.values).sum(dtype=np.float64) > np.finfo(dtype).max:
            self.by_user  # noqa: B018
        return self

    @classmethod
    def _of_matrix(
        cls,
        name: str,
        R: MatrixLike,
        dtype: np.dtype,
        missing: str = "zero",
        weights: MatrixLike | None = None,
        sizes: tuple[int | None, int | None] = (None, None),
    ) -> Interactions:
        """Make interactions of a matrix, or of others; messages call it `name`."""
        refuse_source(name, R)
        if is_frame(R):
            refuse_unnamed(name, R)
        check_option("missing", missing, ("zero", "nan"))
        if isinstance(R, Interactions):
            same = R.astype(dtype)
            if weights is None:
                return same
            cells, shape = read_matrix(name, same.csr, dtype, weights=weights)
            return cls._make(shape, dtype, R.user_ids, R.item_ids, cells=cells)
        cells, shape = read_matrix(name, R, dtype, missing, weights, sizes)
        parts: Any = (R.data, R.indices) if getattr(R, "format", "") == "csr" else ()  # type: ignore[union-attr]
        locked = not all(part.flags.writeable for part in parts)
        return cls._make(shape, dtype, None, None, cells=cells, locked=locked)

    @classmethod
    def _of_frame(
        cls, frame: Any, columns: Columns, dtype: np.dtype, ids: Sequence[Ids | None] = (None, None), remedy: str = ""
    ) -> Interactions:
        """Make interactions of a table; messages name its columns and rows."""
        labels = {
            argument: label
            for argument, label in columns.items()
            if argument not in ("event_weights", "half_life") and label is not None
        }
        arrays = {f"{argument}s": array for argument, array in read_columns(frame, labels).items()}
        names = _NAMES | {f"{argument}s": f"column {label!r}" for argument, label in labels.items()}
        weights, half_life = columns.get("event_weights"), columns.get("half_life")
        return cls._of_columns(dtype, arrays, weights, half_life, names, *ids, "the model", remedy)

    @classmethod
    def _of_columns(cls, dtype: np.dtype, *arguments: Any) -> Interactions:
        """Make interactions of columns; the arguments are those of `read_events`."""
        events, user_ids, item_ids = read_events(dtype, *arguments)
        return cls._make((len(user_ids), len(item_ids)), dtype, user_ids, item_ids, events=events)

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
        user_ids: Any = None,
        item_ids: Any = None,
        dtype: FloatType = "float32",
    ) -> Interactions:
        """Make interactions of events: who, what, and how much.

        Parameters
        ----------
        users, items : array_like of str or int, shape (n_events,)
            Ids of any range; users and items are numbered in the sorted order of their ids.
        values : array_like of float, shape (n_events,), optional
            None: 1 an event. In the matrix, events of the same user and item are summed.
        times : array_like of datetime64, datetime or number, shape (n_events,), optional
            Times with a time zone are converted to UTC. With `half_life` an event counts `0.5^(age / half_life)`, its
            age being that before the latest one; an old one never counts so little that it is not observed.
        events : array_like of str, int or bool, shape (n_events,), optional
            The kind of each event.
        weights : mapping, optional
            What an event of each kind counts, for example `{"view": 1, "buy": 5}`. None: kinds make no difference.
        half_life : number, or datetime.timedelta or numpy.timedelta64 where times are datetimes, optional
        user_ids, item_ids : Ids or array_like of ids, optional
            Number users and items as these do; an id that they lack is refused.
        dtype : {'float32', 'float64'}, default 'float32'

        Returns
        -------
        Interactions
            With `user_ids` and `item_ids`, and with `times` and `kinds` where they were given.

        Raises
        ------
        TypeError, ValueError
            The columns differ in length, or one holds what it cannot: the message names the first place.

        Examples
        --------
        >>> shop = Interactions.from_triplets(
        ...     ["ann", "bob", "ann"], ["tea", "tea", "pot"], times=[0, 7, 14], half_life=7,
        ...     events=["view", "view", "buy"], weights={"view": 1, "buy": 5},
        ... )
        >>> shop.values
        array([0.25, 0.5 , 5.  ], dtype=float32)
        """
        columns = {"users": users, "items": items, "values": values, "times": times, "events": events}
        return cls._of_columns(check_dtype("dtype", dtype), columns, weights, half_life, _NAMES, user_ids, item_ids)

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
        dtype: FloatType = "float32",
    ) -> Interactions:
        """Make interactions of a table with a row an event.

        Parameters
        ----------
        df : table of pandas, polars (eager or lazy) or Arrow, or dict of arrays
            Its columns are taken by name and converted by NumPy.
        user, item, value, time, event : name of a column
            The last three are optional; see `from_triplets`, as for the rest.
        weights, half_life, dtype
            As in `from_triplets`.

        Raises
        ------
        TypeError, ValueError
            As in `from_triplets`, and where there is no such column: the message lists those that there are.

        Examples
        --------
        >>> orders = {"customer": ["ann", "bob"], "product": ["tea", "pot"], "pieces": [2, 1]}
        >>> Interactions.from_frame(orders, user="customer", item="product", value="pieces")
        Interactions(2 users x 2 items, 2 events, float32)
        """
        refuse_source("df", df)
        columns: Columns = {"user": user, "item": item, "value": value, "time": time, "event": event}
        columns.update({"event_weights": weights, "half_life": half_life})
        return cls._of_frame(df, columns, check_dtype("dtype", dtype))

    def __len__(self) -> int:
        return len(self.by_user.indices) if self._given is None else len(self._given.users)

    def __repr__(self) -> str:
        what = "entries" if self._given is None else "events"
        return f"Interactions({self.shape[0]} users x {self.shape[1]} items, {len(self)} {what}, {self.dtype})"

    def _repr_html_(self) -> str:
        names, share = ("users", "items", "events", "entries", "observed"), self.nnz / np.prod(self.shape)
        values = *self.shape, len(self), self.nnz, share
        return facts(f"Interactions, {self.dtype}", zip(names, values, strict=True))

    @derived
    def _events(self) -> Events:
        """Return the events, or the entries of the matrix as events."""
        if self._given is not None:
            return self._given
        cells = self.by_user
        users = np.repeat(np.arange(self.shape[0], dtype=np.int32), cells.counts)
        return Events(users, cells.indices, cells.all_values).read_only()

    @property
    def users(self) -> np.ndarray:
        """The user of each event, int32."""
        return self._events.users

    @property
    def items(self) -> np.ndarray:
        """The item of each event, int32."""
        return self._events.items

    @property
    def values(self) -> np.ndarray:
        """What each event counts."""
        return self._events.values

    @property
    def times(self) -> np.ndarray | None:
        """When each event was; None where there are no times."""
        return self._events.times

    @property
    def kinds(self) -> np.ndarray | None:
        """The kind of each event; None where there are no kinds."""
        kind_ids, kinds = self._events.kind_ids, self._events.kinds
        return None if kind_ids is None else kind_ids.values[kinds]

    @derived
    def by_user(self) -> Cells:
        """Compressed rows of the matrix: its entries, user by user."""
        assert self._given is not None
        return cells_of_events(self._given, self.shape)

    @derived
    def by_item(self) -> Cells:
        """Compressed columns of the matrix: the same entries, item by item."""
        return transpose(self.by_user, self.shape)

    @property
    def nnz(self) -> int:
        """Stored entries of the matrix."""
        return len(self.by_user.indices)

    @property
    def weights(self) -> np.ndarray | None:
        """One weight for each entry of the matrix, in the order of `csr.data`; None where all are 1."""
        weights = self.by_user.weights
        return None if len(weights) == 1 and weights[0] == 1 else np.broadcast_to(weights, self.nnz)

    @property
    def csr(self) -> sparse.csr_array:
        """The matrix as a SciPy array, shape (n_users, n_items)."""
        matrix = csr_of(self.by_user, self.by_user.all_values, self.shape)
        if self._locked:
            matrix.data.flags.writeable = matrix.indices.flags.writeable = False
        return matrix

    def matrix(self, values: Any = None) -> sparse.csr_array:
        """Return the users x items matrix, as one's own.

        Parameters
        ----------
        values : array_like of float, shape (n,), optional
            What each event counts, instead of `self.values`: ones, say, for a matrix of counts.

        Returns
        -------
        scipy.sparse.csr_array
            Canonical, of shape `shape` and dtype `dtype`; events of the same user and item are summed, and a 0 stays
            stored.

        Raises
        ------
        TypeError, ValueError
            `values` are not one finite number an event.

        Examples
        --------
        >>> ratings = Interactions.from_triplets([1, 1, 2], [10, 20, 10], [5, 3, 4])
        >>> ratings.matrix(ratings.values > 3).toarray()
        array([[1., 0.],
               [1., 0.]], dtype=float32)
        """
        if values is None:
            return self.csr.copy()
        given = np.asarray(values)
        if given.shape != (len(self),):
            raise ValueError(f"values must have shape {(len(self),)}, one number an event, got {given.shape}")
        if given.dtype.kind not in "biuf":
            raise TypeError(f"values must be numbers, got {given.dtype}")
        cast = cast_finite("values", given, self.dtype)
        cells = cells_of_events(self._events._replace(values=cast), self.shape)
        return csr_of(cells, cells.all_values, self.shape).copy()

    def select(self, rows: Any) -> Interactions:
        """Return some of the events, with the same ids, so that shapes agree between the parts.

        Parameters
        ----------
        rows : boolean array of shape (n,), or array of integers
            A mask of the events to keep, or their positions, in the wanted order.

        Raises
        ------
        TypeError, ValueError, IndexError
            `rows` holds neither booleans nor integers, a mask has another length, or a position lies outside.

        Examples
        --------
        >>> ratings = Interactions.from_triplets([1, 1, 2], [10, 20, 10], [5, 3, 4])
        >>> ratings.select(ratings.values >= 4)
        Interactions(2 users x 2 items, 2 events, float32)
        """
        index = np.asarray(rows)
        if index.size == 0 and index.dtype != np.bool_:
            index = index.astype(np.intp)  # numpy makes an empty list float64
        if index.dtype == np.bool_:
            if index.shape != (len(self),):
                raise ValueError(f"a mask must have shape {(len(self),)}, one entry an event, got {index.shape}")
        elif not np.issubdtype(index.dtype, np.integer):
            raise TypeError(f"rows must be a boolean mask or integer positions, got dtype {index.dtype}")
        events, weights = self._events.take(index), self.weights
        if weights is None:
            return Interactions._make(self.shape, self.dtype, self.user_ids, self.item_ids, events=events)
        return self._replaced(self.shape, events[:2], events.values, weights[index], self.user_ids, self.item_ids)

    def _replaced(self, shape: Any, places: Any, values: Any, weights: Any, *ids: Ids | None) -> Interactions:
        """Make interactions of entries of this matrix."""
        matrix, kept = (None if part is None else sparse.coo_array((part, places), shape) for part in (values, weights))
        return Interactions(matrix, self.dtype, weights=kept, user_ids=ids[0], item_ids=ids[1])  # type: ignore[arg-type]

    def astype(self, dtype: FloatType) -> Interactions:
        """Return the same interactions with values of another dtype; self where they have it.

        Parameters
        ----------
        dtype : {'float32', 'float64'}

        Raises
        ------
        ValueError
            A value is too large for the dtype.

        Examples
        --------
        >>> Interactions([[0, 1]]).astype("float64")
        Interactions(1 users x 2 items, 1 entries, float64)
        """
        wanted = check_dtype("dtype", dtype)
        if wanted == self.dtype:
            return self
        names = self.user_ids, self.item_ids
        if self._given is not None:
            values = cast_finite("values", self._given.values, wanted)
            return Interactions._make(self.shape, wanted, *names, events=self._given._replace(values=values))
        cells, _ = read_matrix("R", self.csr, wanted, weights=self.weights)
        return Interactions._make(self.shape, wanted, *names, cells=cells, locked=self._locked)

    def renumbered(
        self,
        user_ids: Ids | None = None,
        item_ids: Ids | None = None,
        *,
        prefix: str = "",
        remedy: str = "",
        of: str = "the model",
        unknown: str = "raise",
    ) -> Interactions:
        """Return the same interactions with users and items numbered as by other ids.

        Parameters
        ----------
        user_ids, item_ids : Ids, optional
            None: as they are. An id that they lack, or of another kind, is refused.
        prefix, remedy, of : str
            For the message: what stands before "user_ids" or "item_ids", how to mend it, with {} for "rows" or
            "columns", and whose ids these are.
        unknown : {'raise', 'ignore'}, default 'raise'
            'ignore' leaves out what an unknown id has.

        Examples
        --------
        >>> known = Interactions.from_triplets(["ann", "bob"], ["tea", "pot"])
        >>> Interactions.from_triplets(["bob"], ["pot"]).renumbered(known.user_ids, known.item_ids).shape
        (2, 2)
        """
        ours, theirs = [self.user_ids, self.item_ids], (user_ids, item_ids)
        shape, places = list(self.shape), list(self._events[:2]) if self._given is not None else []
        moved = False
        for axis, (mine, other) in enumerate(zip(tuple(ours), theirs, strict=True)):
            if mine is None or other is None or mine.same_as(other):
                continue
            side, what = ("user_ids", "item_ids")[axis], ("rows", "columns")[axis]
            numbers = other.positions(prefix + side, mine.values, remedy.format(what), of, unknown).astype(np.int32)
            places = places or list(self._events[:2])
            places[axis] = numbers[places[axis]]
            shape[axis], ours[axis], moved = len(other), other, True
        if not moved:
            return self
        kept: Any = slice(None) if unknown == "raise" else np.minimum(*places) >= 0
        size, events = (shape[0], shape[1]), self._events._replace(users=places[0], items=places[1]).take(kept)
        if self._given is not None:
            return Interactions._make(size, self.dtype, *ours, events=events)
        weights = None if self.weights is None else self.weights[kept]
        return self._replaced(size, events[:2], events.values, weights, *ours)

    def without_zeros(self) -> Interactions:
        """Return the matrix less its entries with a stored 0, as Interactions; self where there is none.

        Examples
        --------
        >>> Interactions([[0, 1]], missing="nan").without_zeros()
        Interactions(1 users x 2 items, 1 entries, float32)
        """
        if self.by_user.values.all():
            return self
        matrix, weights = self.csr.copy(), self.weights
        if weights is not None:
            weights = weights[matrix.data != 0]
        matrix.eliminate_zeros()
        return Interactions(matrix, self.dtype, weights=weights, user_ids=self.user_ids, item_ids=self.item_ids)


def as_interactions(
    R: MatrixLike,
    dtype: FloatType = "float32",
    *,
    missing: str = "zero",
    weights: MatrixLike | None = None,
    n_users: int | None = None,
    n_items: int | None = None,
    user_ids: Ids | None = None,
    item_ids: Ids | None = None,
    name: str = "R",
    unknown: str | None = None,
    **columns: Unpack[Columns],
) -> Interactions:
    """Return users x items data as Interactions numbered as those of a model; `R` itself where it is what is wanted.

    Parameters
    ----------
    R, dtype, missing, weights, **columns
        As in `Interactions`; or a table, with the names of its columns: see `Columns`.
    n_users, n_items : int, optional
        How many there must be; the numbers of a table are below these, where no ids are given.
    user_ids, item_ids : Ids, optional
        How users and items are numbered; data with other ids are refused.
    name : str, default "R"
        The argument, for messages.
    unknown : {'raise', 'ignore'}, optional
        'ignore' leaves out what an unknown id has. None raises too, without a word of this option: the caller has none.

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
        made = _numbered_frame(R, given, wanted, (n_users, n_items), (user_ids, item_ids), unknown)
    elif is_frame(R):
        refuse_unnamed(name, R)
    elif given:
        refuse_source(name, R)
        raise TypeError(f"{next(iter(given))}= is for tables, and {name} is a {type(R).__name__}; leave it out")
    else:
        made = Interactions._of_matrix(name, R, wanted, missing, weights, (n_users, n_items))
    remedy = "" if unknown is None else IGNORE
    made = made.renumbered(user_ids, item_ids, prefix=f"{name}.", remedy=remedy, unknown=unknown or "raise")
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
    unknown: str | None,
) -> Interactions:
    """Read a table with the ids of a model, or with numbers where the model has no ids."""
    numbered = [
        Ids(f"{side}s", np.arange(size)) if own is None and size is not None else own
        for side, size, own in zip(("user", "item"), sizes, ids, strict=True)
    ]
    known = numbered[0], numbered[1]
    wanted = (None, None) if unknown == "ignore" else known
    made = Interactions._of_frame(frame, columns, dtype, wanted, "" if unknown is None else IGNORE)
    made = made.renumbered(*known, unknown=unknown or "raise")
    kept = (
        None if own is None and size is not None else found
        for size, own, found in zip(sizes, ids, (made.user_ids, made.item_ids), strict=True)
    )
    return Interactions._make(made.shape, dtype, *kept, events=made._given)
