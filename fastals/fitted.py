"""The fitted state of a model: one frozen record, built by whatever learns and read once by whatever answers.

Whoever learns builds a new `Fitted` and puts it in place by one assignment. Whoever answers takes the record once. So
an answer beside a fit or an update comes from exactly one state, and no reader needs a lock.

A single event changes one user and one item. So a record shares its arrays with the record before it: what has changed
since stands beside them, row by row, until there is so much of it that a copy of all costs little a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np

from .data.encoder import FeatureEncoder
from .data.features import implicit_features
from .data.ids import Ids, stand_beside
from .data.matrix import transpose
from .engine import basis, equations, plain_answers, topk
from .engine.features import Entries, means
from .engine.panel import aligned_copy, aligned_zeros, as_panel
from .engine.problem import BACKGROUND, OFFSET, Cells, RowProblem
from .engine.rows.precision import extent_of
from .engine.shifts import shifts_for
from .engine.topk import Lists
from .objectives import Objective, Statistics
from .validation import check_ids

__all__ = ["Columns", "Counts", "Fitted", "Row", "Rows", "Side", "SideName"]

SideName = Literal["user", "item"]
Columns: TypeAlias = topk.Columns | plain_answers.Columns
T = TypeVar("T")

FEW = 64  # rows that are gathered one by one, where the others are not needed


class Derived:
    """What follows from a frozen record: made when it is first asked for, and kept as long as the record."""

    _derived: dict[str, Any]

    def _once(self, name: str, make: Callable[[], T]) -> T:
        found = self._derived.get(name)
        if found is None:
            # Two threads may make it at the same time: both then use what was there first.
            found = self._derived.setdefault(name, make())
        return found

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_derived": {}}


class Row(NamedTuple):
    """The interactions of one user or item, sorted by column, none twice; one value and one weight for each."""

    columns: np.ndarray  # int32 (m,)
    values: np.ndarray  # T (m,)
    weights: np.ndarray  # T (m,)

    def with_entry(self, column: int, value: float) -> Row:
        """Return the row with this value in `column`: an entry that was there keeps its weight, a new one weighs 1."""
        at = int(np.searchsorted(self.columns, column))
        if at < len(self.columns) and self.columns[at] == column:
            values = self.values.copy()
            values[at] = value
            return self._replace(values=values)
        parts = zip(self, (column, value, 1), strict=True)
        return Row(*(np.concatenate([part[:at], np.array([new], part.dtype), part[at:]]) for part, new in parts))

    def without_entry(self, column: int) -> Row:
        """Return the row without the entry in `column`, if there is one."""
        return Row(*(part[self.columns != column] for part in self))

    @property
    def cells(self) -> Cells:
        """The row as compressed rows, of which it is the only one."""
        return Cells(np.array([0, len(self.columns)]), *self)


@dataclass(frozen=True, eq=False)
class Counts:
    """Numbers of which some have been replaced, and to which some have been added.

    Attributes
    ----------
    base : ndarray of int64, shape (n,)
    changed : mapping from place to number
    """

    base: np.ndarray
    changed: Mapping[int, int] = field(default_factory=dict)

    def with_counts(self, places: np.ndarray, counts: np.ndarray) -> Counts:
        """Return these numbers with some of them replaced, or added."""
        new = Counts(self.base, {**self.changed, **dict(zip(places.tolist(), counts.tolist(), strict=True))})
        return new if stand_beside(len(new.changed), len(self.base)) else Counts(new.all)

    @property
    def all(self) -> np.ndarray:
        """All numbers; 0 where none was added."""
        if not self.changed:
            return self.base
        counts = np.zeros(max(len(self.base), max(self.changed) + 1), np.int64)
        counts[: len(self.base)] = self.base
        counts[list(self.changed)] = list(self.changed.values())
        return counts


@dataclass(frozen=True, eq=False)
class Rows(Derived):
    """Compressed rows of which some have been replaced, and to which some have been added.

    Attributes
    ----------
    base : Cells
    changed : mapping from row number to Row
        What stands in the place of the base's row, or behind its last one.
    """

    base: Cells
    changed: Mapping[int, Row] = field(default_factory=dict)
    _derived: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __getitem__(self, number: int) -> Row:
        """Return a row; one that is not there is empty."""
        row = self.changed.get(number)
        if row is not None:
            return row
        if number >= self.base.n_rows:
            return Row(*(part[:0] for part in self.base[1:]))
        begin, end = self.base.indptr[number : number + 2]
        n = len(self.base.indices)
        # One number for all entries is written out: `broadcast_to` takes ten times as long for a row.
        return Row(*(part[begin:end] if len(part) == n else np.full(end - begin, part[0]) for part in self.base[1:]))

    def with_rows(self, new: Mapping[int, Row]) -> Rows:
        """Return these rows with some of them replaced, or added."""
        if stand_beside(len(self.changed) + len(new), len(self.base.indices)) and not self._derived:
            return Rows(self.base, {**self.changed, **new})
        return Rows(self.cells, dict(new))

    @property
    def cells(self) -> Cells:
        """All rows, compressed."""
        return self._once("cells", self._spliced) if self.changed else self.base

    def lists(self, numbers: np.ndarray) -> Lists:
        """Return the columns of some rows as lists, one for each number."""
        if self.changed and len(numbers) <= FEW and not self._derived:
            parts = [self[number].columns for number in numbers.tolist()]
            indptr = np.cumsum([0, *map(len, parts)], dtype=np.int64)
            indices = np.concatenate(parts) if parts else np.zeros(0, np.int32)
            return Lists(indptr, indices, np.arange(len(numbers), dtype=np.intp))
        cells = self.cells
        return Lists(cells.indptr, cells.indices, numbers)

    def transposed(self, n_columns: int) -> Rows:
        """Return the same entries column by column."""
        cells = self.cells
        return Rows(transpose(cells, (cells.n_rows, n_columns)))

    def _spliced(self) -> Cells:
        base, numbers = self.base, sorted(self.changed)
        counts = np.zeros(max(base.n_rows, numbers[-1] + 1), np.int64)
        counts[: base.n_rows] = base.counts
        counts[numbers] = [len(self.changed[number].columns) for number in numbers]
        indptr = np.concatenate(([0], np.cumsum(counts)))
        parts = enumerate((base.indices, base.values, base.weights))
        return Cells(indptr, *(self._spliced_part(part, position, numbers) for position, part in parts))

    def _spliced_part(self, part: np.ndarray, position: int, numbers: list[int]) -> np.ndarray:
        """Return one of the base's arrays with the changed rows in it: what lies between them is copied in one go."""
        base, pieces, begin = self.base, [], 0
        new = [self.changed[number][position] for number in numbers]
        if position > 0 and len(part) == 1 and all((row == part).all() for row in new):
            return part  # one number for all entries, still
        part = np.broadcast_to(part, len(base.indices))
        for number, row in zip(numbers, new, strict=True):
            pieces += [part[begin : base.indptr[min(number, base.n_rows)]], row]
            begin = base.indptr[min(number + 1, base.n_rows)]
        return np.concatenate([*pieces, part[begin:]])


@dataclass(frozen=True, eq=False)
class Features(Derived):
    """What a model has learned of the features of a side.

    Attributes
    ----------
    panel : ndarray, shape (n_features, kp)
        What each feature adds to the prior mean of a row: factors, then the bias where there is one, then zeros.
    width : int
        Number of columns in use.
    mu : float
        The ridge of these factors.
    rows : Rows or None
        The features of each row; a row that is not there has none. None: implicit features, which follow from the
        interactions of each row.
    encoder : FeatureEncoder or None
        What makes features of a table; None where a matrix was given.
    """

    panel: np.ndarray
    width: int
    mu: float
    rows: Rows | None
    encoder: FeatureEncoder | None = None
    _derived: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def implicit(self) -> bool:
        """Whether they follow from the interactions of each row."""
        return self.rows is None

    def means(self, cells: Cells, plain: bool, n_threads: int) -> np.ndarray:
        """Return the prior means of rows with these features, or with these interactions, shape (n_rows, kp)."""
        features = implicit_features(cells, len(self.panel)) if self.implicit else Entries(cells, len(self.panel))
        return means(features, self.panel, plain, n_threads)

    def cells(self, n_rows: int) -> Cells | None:
        """Return the features of all rows of a side that has so many; None for implicit ones."""
        if self.rows is None:
            return None
        cells = self.rows.cells
        added = np.full(n_rows - cells.n_rows, cells.indptr[-1])
        return cells._replace(indptr=np.concatenate([cells.indptr, added]))

    def of_rows(self, numbers: np.ndarray) -> Cells | None:
        """Return the features of some rows; None for implicit ones."""
        if self.rows is None:
            return None
        rows = [self.rows[int(number)] for number in numbers]
        ends = np.cumsum([0, *(len(row.columns) for row in rows)], dtype=np.int64)
        columns, values, _ = (np.concatenate(parts) for parts in zip(*rows, strict=True))
        return Cells(ends, columns, values, np.ones(1, values.dtype))

    def with_rows(self, numbers: np.ndarray, cells: Cells) -> Features:
        """Return these features with those of some rows replaced, or added."""
        if self.rows is None:
            return self
        new = Rows(cells)
        return replace(self, rows=self.rows.with_rows({int(number): new[i] for i, number in enumerate(numbers)}))

    def mean(self, number: int, interactions: Cells) -> np.ndarray:
        """Return the prior mean of a known row with these interactions, float64 (width,)."""
        if self.rows is None:
            row = Rows(implicit_features(interactions, len(self.panel)).part(0, 1))[0]
        else:
            row = self.rows[number]
        factors = self.panel[row.columns, : self.width].astype(np.float64)
        return np.asarray((row.values.astype(np.float64)[:, None] * factors).sum(axis=0))

    @property
    def penalty(self) -> float:
        """The ridge term of these factors."""
        return float(self.mu * np.sum(self.panel**2, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Side(Derived):
    """The users, or the items, of a fitted model.

    Attributes
    ----------
    base : ndarray, shape (n_base, kp)
        A panel: factors, then the bias where there is one, then zeros. Nobody writes to it any more.
    k : int
        Number of factors.
    biased : bool
        Whether column `k` is the bias.
    ids : Ids or None
        None where rows go by their numbers.
    changed : mapping from row number to ndarray, shape (width,)
        What stands in the place of the base's row, or behind its last one.
    size : int
        Number of rows.
    gram : ndarray of float64, shape (k, k), or (k + 2, k + 2) with biases; or None
        The Gram matrix of the background, where it has been carried along from event to event.
    origin : object
        The same for all sides in which a row number means the same user or item.
    features : Features or None
        None where the model was fitted without features of this side.
    """

    base: np.ndarray
    k: int
    biased: bool
    ids: Ids | None
    changed: Mapping[int, np.ndarray] = field(default_factory=dict)
    size: int = -1
    gram: np.ndarray | None = None
    origin: object = field(default_factory=object, repr=False)
    features: Features | None = None
    _derived: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.size < 0:
            object.__setattr__(self, "size", len(self.base))

    def __len__(self) -> int:
        return self.size

    @property
    def width(self) -> int:
        """Number of columns in use."""
        return self.k + self.biased

    @property
    def panel(self) -> np.ndarray:
        """All rows as one panel, shape (n, kp)."""
        return self._once("panel", self._merged) if self.changed else self.base

    @property
    def factors(self) -> np.ndarray:
        """View of the factors, shape (n, k)."""
        return self.panel[:, : self.k]

    @property
    def biases(self) -> np.ndarray | None:
        """View of the biases, shape (n,); None without biases."""
        return self.panel[:, self.k] if self.biased else None

    def public(self, name: Literal["factors", "biases"]) -> np.ndarray:
        """Return factors or biases as users get them: read-only, and the same object each time."""

        def view() -> np.ndarray:
            array: np.ndarray = getattr(self, name).view()
            array.setflags(write=False)
            return array

        return self._once(name, view)

    def part(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return a panel with some of the rows, and where they are in it."""
        if not self.changed or len(numbers) > FEW or "panel" in self._derived:
            return self.panel, numbers
        return self.rows(numbers), np.arange(len(numbers), dtype=np.intp)

    def row(self, number: int) -> np.ndarray:
        """Return one row, shape (width,); one that is not there is 0."""
        row = self.changed.get(number)
        if row is None:
            there = number < len(self.base)
            row = self.base[number, : self.width] if there else np.zeros(self.width, self.base.dtype)
        return row

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Return copies of some rows, shape (len(numbers), kp); a row that is not there is 0."""
        if not self.changed:
            return self.base.take(numbers, axis=0)
        if numbers.max(initial=0) < len(self.base):
            found = self.base.take(numbers, axis=0)  # in one go, as an event gathers hundreds of rows
        else:
            found = np.zeros((len(numbers), self.base.shape[1]), self.base.dtype)
            there = numbers < len(self.base)
            found[there] = self.base[numbers[there]]
        for place, number in enumerate(numbers.tolist()):
            if number in self.changed:
                found[place, : self.width] = self.changed[number]
        return found

    def with_rows(
        self, numbers: np.ndarray, rows: np.ndarray, gram: np.ndarray | None = None, ids: Ids | None = None
    ) -> Side:
        """Return this side with some rows replaced, or added behind the last; `rows` has `width` columns or more.

        `ids` are the side's own, with those of the added rows.
        """
        base, changed = (self.panel, {}) if "panel" in self._derived else (self.base, self.changed)
        new = zip(numbers.tolist(), np.array(rows[:, : self.width], base.dtype), strict=True)
        size = max(self.size, int(numbers.max()) + 1)
        grown = replace(self, base=base, changed={**changed, **dict(new)}, size=size, gram=gram, ids=ids)
        if stand_beside(len(grown.changed), len(base)):
            return grown
        return replace(grown, base=grown.panel, changed={})

    def _merged(self) -> np.ndarray:
        panel = aligned_zeros((self.size, self.base.shape[1]), self.base.dtype)
        panel[: len(self.base)] = self.base
        panel[list(self.changed), : self.width] = list(self.changed.values())
        return panel

    def with_factors(self, factors: np.ndarray, biases: np.ndarray | None) -> Side:
        """Return a side with other numbers in it, in an array that nobody else has."""
        k = factors.shape[1]
        features = self.features if k == self.k else None  # else they speak of other factors
        return Side(as_panel(factors, biases), k, self.biased, self.ids, origin=self.origin, features=features)

    # What is made of it.

    def columns(self, plain: bool) -> Columns:
        """Pack the rows for the top n by inner product."""
        return self._once(f"columns, plain={plain}", lambda: pack(self.factors, self.biases, plain))

    def unit_columns(self, plain: bool) -> Columns:
        """Pack the rows for the top n by cosine."""
        return self._once(f"unit columns, plain={plain}", lambda: pack(unit_rows(self.factors), None, plain))

    @property
    def regressors(self) -> np.ndarray:
        """The panel as a half-step of the other side wants it: with 1, the factor of the row's own bias, for biases."""
        if not self.biased:
            return self.panel
        panel = aligned_copy(self.panel)
        panel[:, self.k] = 1
        return panel

    def fixed(self, columns: np.ndarray, n_threads: int, shifted: bool = False) -> basis.Fixed:
        """Return the regressors in the eigenbasis of their background; the columns of a problem are always the same.

        `shifted` says whether the biases are `Shifts` of the rows' targets.
        """

        def make() -> basis.Fixed:
            background = columns[:, BACKGROUND]
            fixed = basis.fix(self.regressors, background, self.width, n_threads)
            shifts = shifts_for(-self.panel[:, self.k], background, fixed.panel) if shifted else None
            return fixed._replace(extent=extent_of(columns, fixed.panel), shifts=shifts)

        return self._once("fixed", make)

    def background_rows(self, rows: np.ndarray) -> np.ndarray:
        """Return what of some rows is in the Gram matrix of the background: y, or [y, 1, -b] with a bias b.

        So the last column of the matrix is the linear term of `Shifts`.
        """
        if not self.biased:
            return rows[:, : self.k]
        return np.column_stack([rows[:, : self.k], np.ones(len(rows), rows.dtype), -rows[:, self.k]])

    def shifted(self, problem: RowProblem, gram: np.ndarray | None) -> tuple[RowProblem, np.ndarray | None]:
        """Return the problem of one row of the other side with the linear term of its shifts, and G without it."""
        if gram is None or not self.biased:
            return problem, gram
        linear, width = np.zeros(self.base.shape[1]), self.width
        linear[:width] = gram[:width, width]
        shifts = problem.shifts._replace(linear=linear, square=float(gram[width, width]))
        return problem._replace(shifts=shifts), gram[:width, :width]

    def numbers(self, name: str, ids: Any, unknown: str = "raise", remedy: str = "") -> np.ndarray:
        """Return the row numbers of ids, or check row numbers where there are no ids; one becomes an array of one.

        An unknown one raises, with `remedy` at the end of the message, or becomes -1 where `unknown` is another word.
        """
        if self.ids is None:
            return check_ids(name, ids, self.size, unknown, remedy)
        return self.ids.positions(name, ids, remedy, unknown=unknown)

    def one(self, name: str, given: Any) -> int:
        """Return the row number of one id."""
        if np.ndim(given) != 0:
            raise ValueError(f"{name} must be one id, got an array of shape {np.shape(given)}")
        return int(self.numbers(name, given)[0])

    def names(self, numbers: np.ndarray) -> np.ndarray:
        """Return ids for row numbers, where there are ids; -1 stays -1, or "" among strings."""
        return numbers if self.ids is None else self.ids.take(numbers)


@dataclass(frozen=True, eq=False)
class Fitted(Derived):
    """What a model knows: all that its answers are made of.

    Attributes
    ----------
    users, items : Side
    objective : Objective
        The one that was fitted; parameters set since then do not count.
    statistics : Statistics
    counts : Counts
        Number of interactions of each item that are no dislikes: popularity.
    history : tuple of float
        The objective after each iteration.
    by_user : Rows or None
        What each user has; None where the model was saved without it.
    by_item : Rows or None
        The same item by item, where it has been carried along from event to event.
    """

    users: Side
    items: Side
    objective: Objective
    statistics: Statistics
    counts: Counts
    history: tuple[float, ...]
    by_user: Rows | None
    by_item: Rows | None = None
    _derived: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of users and of items."""
        return len(self.users), len(self.items)

    @property
    def dtype(self) -> np.dtype:
        """Of the factors."""
        return self.items.base.dtype

    @property
    def item_counts(self) -> np.ndarray:
        """Number of interactions of each item that are no dislikes, int64 (n_items,)."""
        return self._once("item_counts", lambda: self.counts.all)

    @property
    def mean(self) -> float:
        """What every prediction starts from."""
        return self.statistics.mean if self.objective.biases else 0.0

    def side(self, name: SideName) -> Side:
        """Return the users, or the items."""
        return self.users if name == "user" else self.items

    def with_side(self, name: SideName, side: Side) -> Fitted:
        """Return the record with another side."""
        return replace(self, users=side) if name == "user" else replace(self, items=side)

    def seen(self, otherwise: str) -> Rows:
        """Return what each user has; where that was not saved, say what to do `otherwise`."""
        if self.by_user is None:
            raise ValueError(
                "this model was saved without its training interactions, so it does not know what users have: save it "
                f"with include_cells=True, or {otherwise}"
            )
        return self.by_user

    def rows_by_item(self) -> Rows:
        """Return what each item has."""
        by_user = self.seen("fit again")
        if self.by_item is not None:
            return self.by_item
        return self._once("by_item", lambda: by_user.transposed(len(self.items)))

    def gram(self, name: SideName, plain: bool) -> np.ndarray | None:
        """Return the Gram matrix of the background that a side is for the other; None where there is no background."""
        side = self.side(name)
        if self.objective.unobserved_weight == 0 or side.gram is not None:
            return side.gram
        statistics = self.statistics
        weights = statistics.background if name == "item" else statistics.user_background

        def make() -> np.ndarray:
            if plain:
                return equations.gram(side.background_rows(side.panel), weights)
            panel = as_panel(side.background_rows(side.panel)) if side.biased else side.panel
            return basis.gram(panel, weights.astype(self.dtype), side.k + 2 * side.biased, 1)

        return side._once(f"gram, plain={plain}", make)

    def columns_with_offsets(self) -> np.ndarray:
        """Return the items as columns of the users' problem, with their biases as offsets, shape (n_items, 3)."""

        def make() -> np.ndarray:
            columns = np.array(np.broadcast_to(self.statistics.columns(self.dtype), (len(self.items), 3)))
            columns[:, OFFSET] = self.items.panel[:, self.items.k]
            return columns

        return self._once("columns with offsets", make)

    def explaining_gram(self) -> np.ndarray | None:
        """Return `gram("item")` in float64 throughout: where a model explains all but little, that little counts."""
        weights = self.statistics.background
        if not weights.any():
            return None
        items = self.items
        return self._once("explaining gram", lambda: equations.gram(items.background_rows(items.panel), weights))

    def popularity(self, plain: bool) -> Columns:
        """Pack the items' numbers of interactions for the top n."""
        counts = self.item_counts.astype(self.dtype)[:, None]
        return self._once(f"popularity, plain={plain}", lambda: pack(counts, None, plain))


def pack(Y: np.ndarray, offsets: np.ndarray | None, plain: bool) -> Columns:
    """Return factors of shape (n, k), and offsets of shape (n,), for the top n of either engine."""
    if not plain:
        return topk.pack(Y, offsets)
    return plain_answers.Columns(Y, np.zeros(len(Y), Y.dtype) if offsets is None else offsets)


def unit_rows(factors: np.ndarray) -> np.ndarray:
    """Return the rows divided by their length; a row of zeros stays one."""
    # In float64, as the square of a float32 number may overflow or vanish.
    lengths = np.sqrt(np.einsum("nk,nk->n", factors, factors, dtype=np.float64))
    return (factors / np.where(lengths > 0, lengths, 1.0)[:, None]).astype(factors.dtype)
