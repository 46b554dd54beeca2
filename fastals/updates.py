"""New data without a new fit: rows solved again, single events, a fit that goes on from the last one.

References
----------
He, Zhang, Kan, Chua: Fast matrix factorization for online recommendation with implicit feedback. SIGIR 2016: after an
event only the user's and the item's vectors are learnt again. Here both are solved exactly.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .base import Base
from .data.interactions import Interactions, MatrixLike
from .data.types import Columns
from .engine import equations
from .engine.problem import Cells, RowProblem
from .fitted import Fitted, Row, Rows, Side, SideName
from .validation import check_ids, check_integer, check_number

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Updating"]

Self = TypeVar("Self", bound="Updating")

NO_NEW = "; a model fitted on ids takes no new ones here: call refit with all interactions, or fit on numbers"


class Updating(Base):
    """The part of a model that learns without a new fit.

    Writers wait for each other, and each puts one new record in place: readers see the state before it, or after it.
    """

    def refit(self: Self, R: MatrixLike, **options: Any) -> Self:
        """Factorise `R` again, from the stored factors on: for new interactions, users and items.

        Parameters
        ----------
        R : as in `fit`
        **options
            As in `fit`, of which this is `fit(R, start=model)`.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            As in `fit`; `R` lacks users or items of the model, or `factors` has been lowered.

        Examples
        --------
        >>> import fastals
        >>> model = fastals.ImplicitALS(2, random_state=0).fit([(0, 0, 1), (0, 1, 1)])
        >>> model.refit([(0, 0, 1), (0, 1, 1), (1, 1, 1)]).user_factors_.shape
        (2, 2)
        """
        return self.fit(R, start=self, **options)

    def partial_fit_users(self: Self, users: Any, R_rows: MatrixLike, **columns: Unpack[Columns]) -> Self:
        """Give users, new ones too, the factors that are exact for the stored item factors.

        Parameters
        ----------
        users : id or array_like of ids
            None twice. New users have the next numbers, without a gap; a model fitted on users' ids takes known ones.
        R_rows : as R in `fit`, shape (len(users), n_items)
            All interactions of each user, old ones too: they take the place of those that the model has.
        **columns
            As in `fit`.

        Returns
        -------
        self
            With factors, and what `recommend` leaves out, renewed. Item factors, mean, item weights, popularity stay.

        Raises
        ------
        TypeError, ValueError
            The users or the interactions are not as wanted; the model stays what it was.

        Examples
        --------
        >>> import fastals
        >>> model = fastals.ImplicitALS(2, random_state=0).fit([(0, 0, 1), (0, 1, 1)])
        >>> model.partial_fit_users([1], [[0, 1]]).user_factors_.shape
        (2, 2)
        """
        return self._write(lambda fitted: self._with_users(fitted, users, R_rows, columns))

    def _with_users(self, fitted: Fitted, users: Any, R_rows: MatrixLike, columns: Columns) -> Fitted:
        numbers = _row_numbers("user", users, fitted.users)
        if len(numbers) == 0:
            return fitted
        items = fitted.items
        cells = self._interactions(
            R_rows, fitted.dtype, n_items=len(items), item_ids=items.ids, name="R_rows", **columns
        )
        _check_given("user", numbers, fitted.users, "R_rows", cells, cells.user_ids)
        X = self._solve_users(fitted, cells.by_user)
        return replace(
            fitted,
            users=fitted.users.with_rows(numbers, X),
            by_user=None if fitted.by_user is None else fitted.by_user.with_rows(_rows_of(cells.by_user, numbers)),
            by_item=None,
        )

    def partial_fit_items(self: Self, items: Any, R_columns: MatrixLike, **columns: Unpack[Columns]) -> Self:
        """Give items, new ones too, the factors that are exact for the stored user factors.

        Parameters
        ----------
        items : id or array_like of ids
            None twice. New items have the next numbers, without a gap; a model fitted on items' ids takes known ones.
        R_columns : as R in `fit`, shape (n_users, len(items))
            All interactions of each item, old ones too: users are rows here too.
        **columns
            As in `fit`.

        Returns
        -------
        self
            With factors, item weights and popularity of these items, and what `recommend` leaves out, renewed.

        Raises
        ------
        TypeError, ValueError
            The items or the interactions are not as wanted, or `item_weights` is an array; the model stays what it was.

        Examples
        --------
        >>> import fastals
        >>> model = fastals.ImplicitALS(2, random_state=0).fit([(0, 0, 1), (1, 1, 1)])
        >>> model.partial_fit_items([2], [[1], [0]]).item_factors_.shape
        (3, 2)
        """
        return self._write(lambda fitted: self._with_items(fitted, items, R_columns, columns))

    def _with_items(self, fitted: Fitted, items: Any, R_columns: MatrixLike, columns: Columns) -> Fitted:
        numbers, users = _row_numbers("item", items, fitted.items), fitted.users
        if len(numbers) == 0:
            return fitted
        cells = self._interactions(
            R_columns, fitted.dtype, n_users=len(users), user_ids=users.ids, name="R_columns", **columns
        )
        _check_given("item", numbers, fitted.items, "R_columns", cells, cells.item_ids)
        objective, counts = fitted.objective, cells.by_item.counts
        problem = objective.item_problem(cells.by_item, fitted.statistics, len(users), new_items=True)
        Y = self._fold_in(fitted, problem, "item")
        by_item = None
        if fitted.by_user is not None:
            by_item = fitted.rows_by_item().with_rows(_rows_of(cells.by_item, numbers))
        return replace(
            fitted,
            items=fitted.items.with_rows(numbers, Y),
            statistics=objective.with_items(fitted.statistics, numbers, counts),
            item_counts=_counted(fitted.item_counts, numbers, objective.liked(cells.by_item)),
            by_user=None if by_item is None else by_item.transposed(len(users)),
            by_item=by_item,
        )

    def update(self: Self, user: Any, item: Any, value: float = 1.0) -> Self:
        """Learn from a single event: solve the item's row with all its interactions, then the user's row.

        Parameters
        ----------
        user, item : id
            The next number is a new user or item; where the model was fitted on ids, only known ones are taken.
        value : float, default 1.0
            What R has for this user and item from now on, whatever it had. For `ImplicitALS`, 0 takes the interaction
            out.

        Returns
        -------
        self
            The user's factors are exact for the stored item factors, the item's for the user factors before the event.
            Mean, item weights and popularity stay, save those of a new item.

        Raises
        ------
        TypeError, ValueError
            An argument is not as wanted; the model was saved without its interactions; the item is new and
            `item_weights` is an array. The model stays what it was.
        numpy.linalg.LinAlgError
            A row's solution is not finite. The model stays what it was.

        Examples
        --------
        >>> import fastals
        >>> model = fastals.ImplicitALS(2, random_state=0).fit([(0, 0, 1), (1, 1, 1)])
        >>> model.update(0, 1).recommend(0, n=1)[0].tolist()
        [-1]
        """
        return self._write(lambda fitted: self._with_event(fitted, user, item, value))

    def _with_event(self, fitted: Fitted, user: Any, item: Any, value: float) -> Fitted:
        objective, statistics, users, items = fitted.objective, fitted.statistics, fitted.users, fitted.items
        user, item = _row_number("user", user, users), _row_number("item", item, items)
        value = check_number("value", value)
        if not np.isfinite(fitted.dtype.type(value)):
            raise ValueError(f"value is too large for {fitted.dtype}: {value!r}")
        by_user = fitted.seen("use partial_fit_users with whole rows, as a row is solved with all its interactions")
        by_item = fitted.rows_by_item()
        if item == len(items):
            statistics = objective.with_items(statistics, np.array([item]), np.ones(1, np.int64))
        removed = value == 0 and self._missing == "zero"
        of_user, of_item = (
            row.without_entry(other) if removed else row.with_entry(other, value)
            for row, other in ((by_user[user], item), (by_item[item], user))
        )
        weight, background = statistics.weight[[item]], statistics.background[[item]]
        own = replace(statistics, weight=weight, background=background)
        gram_x, gram_y = fitted.gram("user", self._plain), fitted.gram("item", self._plain)
        if user == len(users):
            users = users.with_rows(np.array([user]), np.zeros((1, users.width)), gram_x)
        problem = objective.item_problem(of_item.cells, own, len(users))
        items = _solved("item", item, items, problem, users, gram_x, gram_y, background[0])
        problem = objective.user_problem(of_user.cells, statistics)
        users = _solved("user", user, users, problem, items, items.gram, gram_x, 1.0)
        return replace(
            fitted,
            users=users,
            items=items,
            statistics=statistics,
            item_counts=_counted(fitted.item_counts, np.array([item]), objective.liked(of_item.cells)),
            by_user=by_user.with_rows({user: of_user}),
            by_item=by_item.with_rows({item: of_item}),
        )


def _row_numbers(name: SideName, given: Any, side: Side) -> np.ndarray:
    """Return row numbers, none twice, new ones following the known ones without a gap; with ids no new ones."""
    size = len(side)
    if side.ids is not None:
        numbers = side.ids.positions(f"{name}s", given, NO_NEW)
    else:
        numbers = check_ids(f"{name}s", given, size + np.size(given))
    ordered = np.sort(numbers)
    twice = ordered[:-1][ordered[1:] == ordered[:-1]]
    if len(twice):
        raise ValueError(f"{name}s has {side.names(twice)[0].item()!r} more than once: one row for each is wanted")
    new = ordered[ordered >= size]
    gaps = np.flatnonzero(new != size + np.arange(len(new)))
    if len(gaps):
        raise ValueError(f"{name}s has {new[gaps[0]]}, and {size + gaps[0]} is the next new number: leave no gap")
    return numbers


def _row_number(name: SideName, given: Any, side: Side) -> int:
    """Return the number of a known row, or of the next new one; with ids there is no new one."""
    if side.ids is not None:
        if np.ndim(given) != 0:
            raise ValueError(f"{name} must be one id, got an array of shape {np.shape(given)}")
        return int(side.ids.positions(name, given, NO_NEW)[0])
    number = check_integer(name, given, 0)
    if number > len(side):
        raise ValueError(f"{name} is {number}: known are 0 to {len(side) - 1}, and the next new one is {len(side)}")
    return number


def _check_given(
    name: SideName, numbers: np.ndarray, side: Side, argument: str, cells: Interactions, theirs: Any
) -> None:
    """Refuse interactions of another number of rows or columns, or in another order of ids, than what they are for."""
    axis = int(name == "item")
    line = ("row", "column")[axis]
    if cells.shape[axis] != len(numbers):
        raise ValueError(
            f"{argument} has shape {cells.shape}: one {line} for each of the {len(numbers)} {name}s is wanted"
        )
    if side.ids is None or theirs is None:
        return
    wanted = side.names(numbers)
    other = np.flatnonzero(theirs.values != wanted)
    if len(other):
        first = int(other[0])
        raise ValueError(
            f"{line} {first} of {argument} is that of {theirs.values[first].item()!r}, and {name}s[{first}] is "
            f"{wanted[first].item()!r}: give both in the same order"
        )


def _rows_of(cells: Cells, numbers: np.ndarray) -> dict[int, Row]:
    """Return compressed rows by the numbers that they are to have."""
    rows = Rows(cells)
    return {number: rows[place] for place, number in enumerate(numbers.tolist())}


def _counted(known: np.ndarray, items: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the items' numbers of interactions, renewed for these items."""
    counted = np.zeros(max(len(known), int(items.max()) + 1), np.int64)
    counted[: len(known)] = known
    counted[items] = counts
    return counted


def _solved(
    name: SideName,
    number: int,
    side: Side,
    problem: RowProblem,
    fixed: Side,
    gram: np.ndarray | None,
    own_gram: np.ndarray | None,
    weight: float,
) -> Side:
    """Return a side with one row solved for the other side; the row counts in its own Gram matrix with a weight."""
    rows = fixed.rows(problem.cells.indices)
    biases = rows[:, fixed.k] if fixed.biased else None
    solution = equations.solve(equations.row_equations(problem, rows[:, : fixed.k], biases, gram))
    place = np.array([number])
    old = side.rows(place)[0, : side.width] if number < len(side) else np.zeros(side.width, side.base.dtype)
    with np.errstate(over="ignore"):
        new = solution.astype(side.base.dtype)
    if not np.isfinite(new).all():
        raise np.linalg.LinAlgError(
            f"{name} {number} with {len(problem.cells.indices)} interactions cannot be solved in {new.dtype}: its "
            "solution is not finite; raise regularization, or rescale the values"
        )
    return side.with_rows(place, new[None], _exchange(own_gram, weight, old, new))


def _exchange(gram: np.ndarray | None, weight: float, old: np.ndarray, new: np.ndarray) -> np.ndarray | None:
    """Return the Gram matrix after one of its rows has changed."""
    if gram is None:
        return None
    old, new = old.astype(np.float64), new.astype(np.float64)
    return gram + weight * (np.outer(new, new) - np.outer(old, old))
