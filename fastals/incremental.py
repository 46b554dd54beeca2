"""New data without a new fit: rows solved again, single events, a fit that goes on from the last one.

References
----------
He, Zhang, Kan, Chua: Fast matrix factorization for online recommendation with implicit feedback. SIGIR 2016: after an
event only the user's and the item's vectors are learnt again. Here both are solved exactly.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from threading import Lock
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np

from .data.ids import Ids
from .data.interactions import Interactions, MatrixLike, transpose
from .engine import basis, equations
from .engine.panel import as_panel
from .engine.problem import Cells, RowProblem
from .objectives import Objective, Statistics
from .validation import check_ids, check_integer, check_number

__all__ = ["Incremental"]

Self = TypeVar("Self", bound="Incremental")

# One for all models, as a lock cannot be pickled with its model. Held while rows are spliced, after events.
SPLICING = Lock()

WRITTEN_IN_PLACE = ("user_factors_", "item_factors_", "user_biases_", "item_biases_", "_by_user", "_by_item")
NO_NEW = "; a model fitted on ids takes no new ones here: call refit with all cells, or fit on numbers"


class Row(NamedTuple):
    """The cells of one row, sorted by column, none twice; one value and one weight for each."""

    columns: np.ndarray  # int32 (m,)
    values: np.ndarray  # T (m,)
    weights: np.ndarray  # T (m,)

    def with_cell(self, column: int, value: float) -> Row:
        """Return the row with this value in `column`; a cell that was there keeps its weight, a new one weighs 1."""
        at = int(np.searchsorted(self.columns, column))
        if at < len(self.columns) and self.columns[at] == column:
            values = self.values.copy()
            values[at] = value
            return self._replace(values=values)
        parts = zip(self, (column, value, 1), strict=True)
        return Row(*(np.concatenate([part[:at], np.array([new], part.dtype), part[at:]]) for part, new in parts))

    def without_cell(self, column: int) -> Row:
        """Return the row without the cell in `column`, if there is one."""
        return Row(*(part[self.columns != column] for part in self))


class Rows:
    """Compressed rows of which some have been replaced, and to which some have been added; for any threads at once.

    Parameters
    ----------
    base : Cells
    """

    def __init__(self, base: Cells):
        self._base = base
        self._replaced: dict[int, Row] = {}

    def __getitem__(self, number: int) -> Row:
        """Return a row; one that is not there is empty."""
        with SPLICING:
            base, row = self._base, self._replaced.get(number)
        if row is not None:
            return row
        begin, end = base.indptr[number : number + 2] if number < base.n_rows else (0, 0)
        return Row(base.indices[begin:end], base.all_values[begin:end], base.all_weights[begin:end])

    def __setitem__(self, number: int, row: Row) -> None:
        with SPLICING:
            self._replaced[number] = row

    def __copy__(self) -> Rows:
        with SPLICING:
            other = Rows(self._base)
            other._replaced = self._replaced.copy()
        return other

    def cells(self) -> Cells:
        """Return all rows compressed again; what was replaced is then part of them."""
        if self._replaced:
            with SPLICING:
                self._splice()
        return self._base

    def _splice(self) -> None:
        if not self._replaced:  # another thread has done it meanwhile
            return
        base, numbers = self._base, sorted(self._replaced)
        counts = np.zeros(max(base.n_rows, numbers[-1] + 1), np.int64)
        counts[: base.n_rows] = base.counts
        counts[numbers] = [len(self._replaced[number].columns) for number in numbers]
        indptr = np.concatenate(([0], np.cumsum(counts)))
        parts = enumerate((base.indices, base.values, base.weights))
        self._base = Cells(indptr, *(self._spliced(part, position, numbers) for position, part in parts))
        self._replaced = {}  # last: who finds nothing replaced takes the base without the lock

    def _spliced(self, part: np.ndarray, position: int, numbers: list[int]) -> np.ndarray:
        """Return one of the base's arrays with the replaced rows in it: what lies between them is copied in one go."""
        base, pieces, begin = self._base, [], 0
        new = [self._replaced[number][position] for number in numbers]
        if position > 0 and len(part) == 1 and all((row == part).all() for row in new):
            return part  # one number for all, still
        part = np.broadcast_to(part, len(base.indices))
        for number, row in zip(numbers, new, strict=True):
            pieces += [part[begin : base.indptr[min(number, base.n_rows)]], row]
            begin = base.indptr[min(number + 1, base.n_rows)]
        return np.concatenate([*pieces, part[begin:]])


class Incremental:
    """What a fitted model learns without a new fit: a mixin of the three models.

    Other threads may ask while rows are solved again. They look up how many users there are, then the cells, then the
    factors. So new users' cells are there before their factors, and new items' factors before their cells; biases and
    numbers of cells are there before the factors of the same rows.
    """

    # What the models set.
    user_factors_: np.ndarray
    item_factors_: np.ndarray
    user_biases_: np.ndarray
    item_biases_: np.ndarray
    _missing: ClassVar[str]
    _fitted_objective: Objective
    _statistics: Statistics
    _kept: dict[str, Any]
    _ids: tuple[Ids | None, Ids | None]
    _item_counts: np.ndarray
    _check_fitted: Callable[[], None]
    _interactions: Callable[..., Interactions]
    _fold_in: Callable[..., np.ndarray]
    _biases: Callable[[str], np.ndarray | None]
    _fit: Callable[..., Any]

    _by_user: Rows | None = None
    _by_item: Rows | None = None  # made at the first single event
    _grams: dict[str, tuple[np.ndarray, np.ndarray | None]]

    @property
    def _seen(self) -> Cells | None:
        """The cells that the stored factors were learnt from, user by user; None where they were not saved."""
        rows = self._by_user
        return None if rows is None else rows.cells()

    @_seen.setter
    def _seen(self, cells: Cells | None) -> None:
        self._by_user, self._by_item = None if cells is None else Rows(cells), None
        self._grams = {}

    def __copy__(self: Self) -> Self:
        """Return a model whose events leave this one as it is: what `update` writes in place is copied."""
        other = object.__new__(type(self))
        for name, value in self.__dict__.items():
            other.__dict__[name] = copy.copy(value) if name in WRITTEN_IN_PLACE else value
        other.__dict__ |= {name: {} for name in ("_kept", "_grams") if name in self.__dict__}
        return other

    def refit(self: Self, R: MatrixLike, callback: Callable | None = None, progress: bool = False) -> Self:
        """Factorise `R` again, from the stored factors on: for cells that were added, users and items too.

        Parameters
        ----------
        R, callback, progress
            As in `fit`, of which this is `fit(R, start=model)`.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            As in `fit`; `R` lacks users or items of the model, or `factors` has been lowered.
        """
        self._check_fitted()
        return self._fit(R, None, callback, progress, start=self)

    def partial_fit_users(self: Self, users: Any, R_rows: MatrixLike) -> Self:
        """Give users, new ones too, the factors that are exact for the stored item factors.

        Parameters
        ----------
        users : id or array_like of ids
            None twice. New users have the next numbers, without a gap; a model fitted on users' ids takes known ones.
        R_rows : as R in `fit`, shape (len(users), n_items)
            All cells of each user, old ones too: they take the place of those that the model has.

        Returns
        -------
        self
            With factors, and what `recommend` leaves out, renewed. Item factors, mean, item weights, popularity stay.

        Raises
        ------
        TypeError, ValueError
            The users or the cells are not as wanted; the model stays what it was.
        """
        self._check_fitted()
        numbers = self._row_numbers("user", users)
        if len(numbers) == 0:
            return self
        n_items = len(self.item_factors_)
        cells = self._interactions(R_rows, self.item_factors_.dtype, n_items=n_items, item_ids=self._ids[1])
        self._check_given("user", numbers, "R_rows", cells)
        X = self._fold_in(self._fitted_objective.user_problem(cells.by_user, self._statistics), "item", "user")
        seen = self._seen
        if seen is not None:
            seen = _replaced(seen, numbers, cells.by_user)
        factors = self._with_rows("user", numbers, X)
        self._seen = seen
        self._set("user", factors)
        return self

    def partial_fit_items(self: Self, items: Any, R_columns: MatrixLike) -> Self:
        """Give items, new ones too, the factors that are exact for the stored user factors.

        Parameters
        ----------
        items : id or array_like of ids
            None twice. New items have the next numbers, without a gap; a model fitted on items' ids takes known ones.
        R_columns : as R in `fit`, shape (n_users, len(items))
            All cells of each item, old ones too: users are rows here too.

        Returns
        -------
        self
            With factors, item weights and popularity of these items, and what `recommend` leaves out, renewed.

        Raises
        ------
        TypeError, ValueError
            The items or the cells are not as wanted, or `item_weights` is an array; the model stays what it was.
        """
        self._check_fitted()
        numbers, n_users = self._row_numbers("item", items), len(self.user_factors_)
        if len(numbers) == 0:
            return self
        cells = self._interactions(R_columns, self.item_factors_.dtype, n_users=n_users, user_ids=self._ids[0])
        self._check_given("item", numbers, "R_columns", cells)
        objective = self._fitted_objective
        problem = objective.item_problem(cells.by_item, self._statistics, n_users, new_items=True)
        Y = self._fold_in(problem, "user", "item")
        statistics = objective.with_items(self._statistics, numbers, cells.by_item.counts)
        seen = self._seen
        if seen is not None:
            by_item = transpose(seen, (n_users, len(self.item_factors_)))
            by_item = _replaced(by_item, numbers, cells.by_item)
            seen = transpose(by_item, (by_item.n_rows, n_users))
        factors = self._with_rows("item", numbers, Y)
        self._item_counts = self._counted(numbers, cells.by_item.counts)
        self._statistics = statistics
        self._set("item", factors)
        self._seen = seen
        return self

    def update(self: Self, user: Any, item: Any, value: float = 1.0) -> Self:
        """Learn from a single event: solve the item's row with all its cells, then the user's row with all its cells.

        Parameters
        ----------
        user, item : id
            The next number is a new user or item; where the model was fitted on ids, only known ones are taken.
        value : float, default 1.0
            What R has in this cell from now on, whatever it had. For `ImplicitALS`, 0 takes the cell out.

        Returns
        -------
        self
            The user's factors are exact for the stored item factors, the item's for the user factors before the event.
            Both are written into the arrays that are there, so no other thread should be reading them. Mean, item
            weights and popularity stay, save those of a new item.

        Raises
        ------
        TypeError, ValueError
            An argument is not as wanted; the model was saved without its cells; the item is new and `item_weights` is
            an array. The model stays what it was.
        numpy.linalg.LinAlgError
            A row has no solution. The model stays what it was.
        """
        self._check_fitted()
        objective, statistics, dtype = self._fitted_objective, self._statistics, self.item_factors_.dtype
        user, item = self._row_number("user", user), self._row_number("item", item)
        value = check_number("value", value)
        if not np.isfinite(dtype.type(value)):
            raise ValueError(f"value is too large for {dtype}: {value!r}")
        if self._by_user is None:
            raise ValueError(
                "this model was saved without its training cells, and a row is solved with all of its cells: "
                "save it with include_cells=True, or use partial_fit_users with whole rows"
            )
        if self._by_item is None:
            self._by_item = Rows(transpose(self._by_user.cells(), (len(self.user_factors_), len(self.item_factors_))))
        if item == len(self.item_factors_):
            statistics = objective.with_items(statistics, np.array([item]), np.ones(1, np.int64))
        removed = value == 0 and self._missing == "zero"
        cells_of_user, cells_of_item = (
            row.without_cell(other) if removed else row.with_cell(other, value)
            for row, other in ((self._by_user[user], item), (self._by_item[item], user))
        )
        own = replace(statistics, weight=statistics.weight[[item]], background=statistics.background[[item]])
        X, Y = (self._grown(side, 1 + number) for side, number in (("user", user), ("item", item)))
        of_user = objective.user_problem(_single(cells_of_user), statistics)
        of_item = objective.item_problem(_single(cells_of_item), own, len(X[0]))
        gram_x, gram_y = self._gram("user"), self._gram("item")
        old_x, old_y = _row(X, user), _row(Y, item)
        try:
            _put(Y, item, _solve("item", item, of_item, X, gram_x))
            gram_y = _exchange(gram_y, statistics.background[item], old_y, _row(Y, item))
            _put(X, user, _solve("user", user, of_user, Y, gram_y))
        except BaseException:
            _put(Y, item, old_y)
            raise
        gram_x = _exchange(gram_x, 1.0, old_x, _row(X, user))
        self._item_counts = self._counted(np.array([item]), np.array([len(cells_of_item.columns)]))
        self._statistics = statistics
        self._set("item", Y)
        self._by_user[user], self._by_item[item] = cells_of_user, cells_of_item
        self._set("user", X)
        self._kept = {}  # the factors were changed where they stand
        self._grams = {"user": (X[0], gram_x), "item": (Y[0], gram_y)}
        return self

    def _row_numbers(self, side: str, given: Any) -> np.ndarray:
        """Return row numbers, none twice, new ones following the known ones without a gap; with ids no new ones."""
        name, ids = f"{side}s", self._ids[side == "item"]
        size = len(getattr(self, f"{side}_factors_"))
        if ids is not None:
            numbers = ids.positions(name, given, NO_NEW)
        else:
            numbers = check_ids(name, given, size + np.size(given))
        ordered = np.sort(numbers)
        twice = ordered[:-1][ordered[1:] == ordered[:-1]]
        if len(twice):
            one = twice if ids is None else ids.take(twice)
            raise ValueError(f"{name} has {one[0].item()!r} more than once: one row for each is wanted")
        new = ordered[ordered >= size]
        gaps = np.flatnonzero(new != size + np.arange(len(new)))
        if len(gaps):
            raise ValueError(f"{name} has {new[gaps[0]]}, and {size + gaps[0]} is the next new number: leave no gap")
        return numbers

    def _row_number(self, side: str, given: Any) -> int:
        """Return the number of a known row, or of the next new one; with ids there is no new one."""
        ids, size = self._ids[side == "item"], len(getattr(self, f"{side}_factors_"))
        if ids is not None:
            if np.ndim(given) != 0:
                raise ValueError(f"{side} must be one id, got an array of shape {np.shape(given)}")
            return int(ids.positions(side, given, NO_NEW)[0])
        number = check_integer(side, given, 0)
        if number > size:
            raise ValueError(f"{side} is {number}: known are 0 to {size - 1}, and the next new one is {size}")
        return number

    def _check_given(self, side: str, numbers: np.ndarray, name: str, cells: Interactions) -> None:
        """Refuse cells of another number of rows or columns, or in another order of ids, than what they are for."""
        axis = int(side == "item")
        line = ("row", "column")[axis]
        if cells.shape[axis] != len(numbers):
            raise ValueError(
                f"{name} has shape {cells.shape}: one {line} for each of the {len(numbers)} {side}s is wanted"
            )
        ours, theirs = self._ids[axis], (cells.user_ids, cells.item_ids)[axis]
        if ours is None or theirs is None:
            return
        wanted = ours.take(numbers)
        other = np.flatnonzero(theirs.values != wanted)
        if len(other):
            first = int(other[0])
            raise ValueError(
                f"{line} {first} of {name} is that of {theirs.values[first].item()!r}, and {side}s[{first}] is "
                f"{wanted[first].item()!r}: give both in the same order"
            )

    def _grown(self, side: str, size: int) -> list[np.ndarray]:
        """Return factors, and biases where there are any, of at least `size` rows; new ones are 0."""
        parts = [getattr(self, f"{side}_factors_"), self._biases(side)]
        missing = size - len(parts[0])
        return [
            part if missing <= 0 else np.concatenate([part, np.zeros((missing, *part.shape[1:]), part.dtype)])
            for part in parts
            if part is not None
        ]

    def _set(self, side: str, parts: list[np.ndarray]) -> None:
        if len(parts) == 2:
            setattr(self, f"{side}_biases_", parts[1])
        setattr(self, f"{side}_factors_", parts[0])

    def _with_rows(self, side: str, numbers: np.ndarray, solutions: np.ndarray) -> list[np.ndarray]:
        """Return copies with solutions in them: another thread may be reading what is stored now."""
        parts = [part.copy() for part in self._grown(side, int(numbers.max()) + 1)]
        k = parts[0].shape[1]
        parts[0][numbers] = solutions[:, :k]
        if len(parts) == 2:
            parts[1][numbers] = solutions[:, k]
        return parts

    def _counted(self, items: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return how many cells each item has, renewed for these: what is popular goes by it."""
        known = np.zeros(max(len(self._item_counts), int(items.max()) + 1), np.int64)
        known[: len(self._item_counts)] = self._item_counts
        known[items] = counts
        return known

    def _gram(self, side: str) -> np.ndarray | None:
        """Return the Gram matrix of the background that a side is for the other; None where there is no background."""
        if self._fitted_objective.unobserved_weight == 0:
            return None
        factors = getattr(self, f"{side}_factors_")
        kept = self._grams.get(side)
        if kept is None or kept[0] is not factors:
            weights = self._statistics.background if side == "item" else np.ones(1)
            panel = as_panel(factors)
            kept = factors, basis.gram(panel, weights.astype(panel.dtype), factors.shape[1], 1)
            self._grams[side] = kept
        return kept[1]


def _row(parts: list[np.ndarray], number: int) -> np.ndarray:
    """Return a copy of a side's row: factors, then the bias."""
    return np.concatenate([np.atleast_1d(part[number]) for part in parts])


def _put(parts: list[np.ndarray], number: int, row: np.ndarray) -> None:
    k = parts[0].shape[1]
    parts[0][number] = row[:k]
    if len(parts) == 2:
        parts[1][number] = row[k]


def _single(row: Row) -> Cells:
    return Cells(np.array([0, len(row.columns)]), row.columns, row.values, row.weights)


def _exchange(gram: np.ndarray | None, weight: float, old: np.ndarray, new: np.ndarray) -> np.ndarray | None:
    """Return the Gram matrix after one of its rows has changed."""
    if gram is None:
        return None
    old, new = old.astype(np.float64), new.astype(np.float64)
    return gram + weight * (np.outer(new, new) - np.outer(old, old))


def _solve(side: str, number: int, problem: RowProblem, fixed: list[np.ndarray], gram: np.ndarray | None) -> np.ndarray:
    """Solve a problem of one row in float64; `fixed` are the other side's factors, and biases if any."""
    factors, biases = fixed[0], fixed[1] if len(fixed) == 2 else None
    solution = equations.solve(equations.row_equations(problem, factors, biases, gram))
    if solution is None:
        raise np.linalg.LinAlgError(
            f"{side} {number} with {len(problem.cells.indices)} cells cannot be solved: its equations are not positive "
            "definite; raise regularization"
        )
    return solution


def _replaced(cells: Cells, numbers: np.ndarray, new: Cells) -> Cells:
    """Return compressed rows with some of them exchanged for those of `new`, or added."""
    rows, others = Rows(cells), Rows(new)
    for place, number in enumerate(numbers.tolist()):
        rows[number] = others[place]
    return rows.cells()
