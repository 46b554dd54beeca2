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
from scipy import sparse

from .data.ids import Ids, as_id_array
from .data.interactions import Interactions, MatrixLike
from .data.types import Columns
from .engine import equations
from .engine.nonnegative import solve_nonnegative
from .engine.problem import Cells, RowProblem, drawn_to
from .engine.rows.single_row import solve_single
from .errors import solve_error
from .features import check_given
from .fitted import Fitted, Row, Rows, Side, SideName
from .foldin import FoldingIn
from .validation import check_ids, check_integer, check_number

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Updating"]

Self = TypeVar("Self", bound="Updating")


class Updating(FoldingIn):
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
        fitted = self._state
        for side, of in (("user", fitted.users), ("item", fitted.items)):
            given = of.features is None or of.features.implicit or options.get(f"{side}_features") is not None
            if not given:
                raise ValueError(
                    f"the model was fitted with {side}_features: pass those of all {side}s of R to refit as well; "
                    "fit(R, start=model) goes on without"
                )
        return self.fit(R, start=self, **options)

    def partial_fit_users(
        self: Self, users: Any, R_rows: MatrixLike, *, user_features: Any = None, **columns: Unpack[Columns]
    ) -> Self:
        """Give users, new ones too, the factors that are exact for the stored item factors.

        Parameters
        ----------
        users : id or array_like of ids
            None twice. Without ids, new users have the next numbers, without a gap. A new id becomes part of the model.
        R_rows : as R in `fit`, shape (len(users), n_items)
            All interactions of each user, old ones too: they take the place of those that the model has.
        user_features : as in `fit`, optional
            Features of each user. None: known users keep theirs, and new ones have none.
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
        return self._write(lambda fitted: self._with_users(fitted, users, R_rows, user_features, columns))

    def _with_users(
        self, fitted: Fitted, users: Any, R_rows: MatrixLike, user_features: Any, columns: Columns
    ) -> Fitted:
        numbers, ids = _row_numbers("user", users, fitted.users)
        if len(numbers) == 0:
            return fitted
        cells = self._with_items_of(fitted, R_rows, "R_rows", None, columns)
        _check_given("user", numbers, ids, "R_rows", cells, cells.user_ids)
        features = _features_of(fitted, "user", user_features, numbers, users)
        X = self._solve_users(fitted, cells.by_user, features)
        counts = cells.by_user.counts
        return replace(
            fitted,
            users=_with_features(fitted.users, numbers, features).with_rows(numbers, X, ids=ids),
            statistics=fitted.objective.with_users(fitted.statistics, numbers, counts, len(fitted.users)),
            by_user=None if fitted.by_user is None else fitted.by_user.with_rows(_rows_of(cells.by_user, numbers)),
            by_item=None,
        )

    def partial_fit_items(
        self: Self, items: Any, R_columns: MatrixLike, *, item_features: Any = None, **columns: Unpack[Columns]
    ) -> Self:
        """Give items, new ones too, the factors that are exact for the stored user factors.

        Parameters
        ----------
        items : id or array_like of ids
            None twice. Without ids, new items have the next numbers, without a gap. A new id becomes part of the model.
        R_columns : as R in `fit`, shape (n_users, len(items))
            All interactions of each item, old ones too: users are rows here too.
        item_features : as in `fit`, optional
            Features of each item. None: known items keep theirs, and new ones have none.
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
        return self._write(lambda fitted: self._with_items(fitted, items, R_columns, item_features, columns))

    def _with_items(
        self, fitted: Fitted, items: Any, R_columns: MatrixLike, item_features: Any, columns: Columns
    ) -> Fitted:
        (numbers, ids), users = _row_numbers("item", items, fitted.items), fitted.users
        if len(numbers) == 0:
            return fitted
        cells = self._interactions(
            R_columns, fitted.dtype, n_users=len(users), user_ids=users.ids, name="R_columns", **columns
        )
        _check_given("item", numbers, ids, "R_columns", cells, cells.item_ids)
        objective, counts = fitted.objective, cells.by_item.counts
        problem = objective.item_problem(cells.by_item, fitted.statistics, len(users), new_items=True)
        features = _features_of(fitted, "item", item_features, numbers, items)
        Y = self._fold_in(fitted, problem, "item", features)
        by_item = None
        if fitted.by_user is not None:
            by_item = fitted.rows_by_item().with_rows(_rows_of(cells.by_item, numbers))
        return replace(
            fitted,
            items=_with_features(fitted.items, numbers, features).with_rows(numbers, Y, ids=ids),
            statistics=objective.with_items(fitted.statistics, numbers, counts),
            counts=fitted.counts.with_counts(numbers, objective.liked(cells.by_item)),
            by_user=None if by_item is None else by_item.transposed(len(users)),
            by_item=by_item,
        )

    def add_items(self: Self, items: Any, *, item_features: Any = None) -> Self:
        """Make items known that nobody has had yet, so that later interactions may name them.

        Parameters
        ----------
        items : id or array_like of ids
            Without ids, the next numbers, without a gap.
        item_features : as in `fit`, shape (len(items), d), optional
            Features of each item, for a model that was fitted with `item_features`.

        Returns
        -------
        self
            A new item has the factors and the bias that its features say, and can be recommended. Without features
            they are 0 until `update`, `partial_fit_items` or `refit` learns them.

        Raises
        ------
        TypeError, ValueError
            An item is known already, or `item_weights` is an array; the model stays what it was.

        Examples
        --------
        >>> import fastals
        >>> orders = fastals.Interactions.from_triplets(["ann", "bob"], ["tea", "cup"])
        >>> model = fastals.ImplicitALS(2, random_state=0).fit(orders).add_items(["pot"])
        >>> model.item_ids_.tolist()
        ['cup', 'tea', 'pot']
        """

        def change(fitted: Fitted) -> Fitted:
            numbers, _ = _row_numbers("item", items, fitted.items)
            known = np.flatnonzero(numbers < len(fitted.items))
            if len(known):
                first = int(known[0])
                name = fitted.items.names(numbers[known])[0].item()
                raise ValueError(
                    f"items[{first}] is {name!r}, which the model has already: add_items takes new ones only, and "
                    "partial_fit_items gives a known one other interactions"
                )
            nothing = sparse.csr_array((len(fitted.users), len(numbers)), dtype=fitted.dtype)
            return self._with_items(fitted, items, nothing, item_features, {})

        return self._write(change)

    def update(self: Self, user: Any, item: Any, value: float = 1.0) -> Self:
        """Learn from a single event: solve the item's row with all its interactions, then the user's row.

        Parameters
        ----------
        user, item : id
            A new id, or the next number where the model has no ids, is a new user or item.
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
        (user, user_ids), (item, item_ids) = _row_number("user", user, users), _row_number("item", item, items)
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
        # With features, rows that have got their first interaction, or have lost their last one, change their weight.
        old_x, old_y = _weight(statistics.user_background, user), _weight(statistics.background, item)
        statistics = objective.with_users(statistics, np.array([user]), np.array([len(of_user.columns)]), len(users))
        statistics = objective.with_exposed(statistics, item, len(of_item.columns))
        weight, background = statistics.weight[[item]], statistics.background[[item]]
        own = replace(statistics, weight=weight, background=background)
        gram_x, gram_y = fitted.gram("user", self._plain), fitted.gram("item", self._plain)
        weight_x, weight_y = _weight(statistics.user_background, user), float(background[0])
        if user == len(users):
            users, gram_x = _with_new(users, user, gram_x, weight_x, user_ids)
        else:
            gram_x = _weighed_anew(users, gram_x, users.row(user), old_x, weight_x)
        problem = _drawn(objective.item_problem(of_item.cells, own, len(users), room=False), items, item)
        if item == len(items):
            items, gram_y = _with_new(items, item, gram_y, weight_y, item_ids)
        else:
            gram_y = _weighed_anew(items, gram_y, items.row(item), old_y, weight_y)
        y = self._solve_row("item", item, problem, users, gram_x, objective.nonnegative)
        items = _with_row(items, item, y, gram_y, weight_y)
        problem = _drawn(objective.user_problem(of_user.cells, statistics, room=False), users, user)
        x = self._solve_row("user", user, problem, items, items.gram, objective.nonnegative)
        users = _with_row(users, user, x, gram_x, weight_x)
        return replace(
            fitted,
            users=users,
            items=items,
            statistics=statistics,
            counts=fitted.counts.with_counts(np.array([item]), objective.liked(of_item.cells)),
            by_user=by_user.with_rows({user: of_user}),
            by_item=by_item.with_rows({item: of_item}),
        )

    def _solve_row(
        self,
        name: SideName,
        number: int,
        problem: RowProblem,
        fixed: Side,
        gram: np.ndarray | None,
        nonnegative: bool,
    ) -> np.ndarray:
        """Return one row of a side, shape (width,), solved for the other side and the Gram matrix of its background."""
        rows, bias = fixed.rows(problem.cells.indices), fixed.k if fixed.biased else -1
        solution = None
        problem, gram = fixed.shifted(problem, gram)
        if nonnegative:
            solution = solve_nonnegative(problem, rows, fixed.width, bias, gram, self._plain)
        elif not self._plain:
            solution = solve_single(problem, rows, fixed.width, bias, gram)
        if solution is None:
            biases = rows[:, fixed.k] if fixed.biased else None
            solution = equations.solve(equations.row_equations(problem, rows[:, : fixed.k], biases, gram))
        with np.errstate(over="ignore"):
            row = solution.astype(fixed.base.dtype)
        if not np.isfinite(row).all():
            raise solve_error(name, number, len(problem.cells.indices), row.dtype)
        return row


def _row_numbers(name: SideName, given: Any, side: Side) -> tuple[np.ndarray, Ids | None]:
    """Return row numbers, none twice, new ones following the known ones without a gap; and the ids with new ones."""
    size, ids = len(side), side.ids
    if ids is not None:
        numbers = ids.positions(f"{name}s", given, unknown="ignore")
        new = np.flatnonzero(numbers < 0)
        if len(new):
            names = np.atleast_1d(as_id_array(f"{name}s", [given] if np.ndim(given) == 0 else given))[new]
            ids = ids.with_ids(f"{name}s", names)
            numbers[new] = size + np.arange(len(new))
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
    return numbers, ids


def _row_number(name: SideName, given: Any, side: Side) -> tuple[int, Ids | None]:
    """Return the number of a known row, or of the next new one; and the ids with the new one."""
    if side.ids is not None:
        if np.ndim(given) != 0:
            raise ValueError(f"{name} must be one id, got an array of shape {np.shape(given)}")
        number = int(side.ids.positions(name, given, unknown="ignore")[0])
        return (number, side.ids) if number >= 0 else (len(side), side.ids.with_ids(name, [given]))
    number = check_integer(name, given, 0)
    if number > len(side):
        raise ValueError(f"{name} is {number}: known are 0 to {len(side) - 1}, and the next new one is {len(side)}")
    return number, None


def _check_given(
    name: SideName, numbers: np.ndarray, ids: Ids | None, argument: str, cells: Interactions, theirs: Any
) -> None:
    """Refuse interactions of another number of rows or columns, or in another order of ids, than what they are for."""
    axis = int(name == "item")
    line = ("row", "column")[axis]
    if cells.shape[axis] != len(numbers):
        raise ValueError(
            f"{argument} has shape {cells.shape}: one {line} for each of the {len(numbers)} {name}s is wanted"
        )
    if ids is None or theirs is None:
        return
    wanted = ids.take(numbers)
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


def _with_row(side: Side, number: int, row: np.ndarray, gram: np.ndarray | None, weight: float) -> Side:
    """Return a side with one row replaced, which has this weight in the Gram matrix of the side's background."""
    if gram is not None:
        old, new = side.row(number).astype(np.float64), row.astype(np.float64)
        if side.biased:
            old, new = side.background_rows(np.stack([old, new]))
        gram = gram + weight * (new[:, None] * new - old[:, None] * old)
    return side.with_rows(np.array([number]), row[None], gram, side.ids)


def _with_new(
    side: Side, number: int, gram: np.ndarray | None, weight: float, ids: Ids | None
) -> tuple[Side, np.ndarray | None]:
    """Return a side with a row of zeros behind the last one, and the Gram matrix of its background."""
    row = np.zeros((1, side.width), side.base.dtype)
    if gram is not None and side.biased:  # the row counts, though it is 0: its column for biases is 1
        gram = _weighed_anew(side, gram, row[0], 0.0, weight)
    return side.with_rows(np.array([number]), row, gram, ids), gram


def _weighed_anew(side: Side, gram: np.ndarray | None, row: np.ndarray, old: float, new: float) -> np.ndarray | None:
    """Return the Gram matrix after the weight of one row of a side has changed."""
    if gram is None or old == new:
        return gram
    row = row.astype(np.float64)
    if side.biased:
        [row] = side.background_rows(row[None])
    return gram + (new - old) * (row[:, None] * row)


def _weight(weights: np.ndarray, number: int) -> float:
    """Return the weight of one row; one weight stands for all. A row that is not there yet is 0, whatever it weighs."""
    return float(weights[number] if number < len(weights) else weights[-1])


def _drawn(problem: RowProblem, side: Side, number: int) -> RowProblem:
    """Return the problem of one row with the prior mean of what is known of its features."""
    if side.features is None:
        return problem
    mean = np.zeros((1, side.base.shape[1]), side.base.dtype)
    mean[0, : side.width] = side.features.mean(number, problem.cells)
    return drawn_to(problem, mean)


def _features_of(fitted: Fitted, name: SideName, given: Any, numbers: np.ndarray, ids: Any) -> Cells | None:
    """Return the features of some rows: those that are given, else those that are known of them."""
    features = fitted.side(name).features
    if given is not None or features is None:
        return check_given(fitted, name, given, len(numbers), np.atleast_1d(ids))
    return features.of_rows(numbers)


def _with_features(side: Side, numbers: np.ndarray, cells: Cells | None) -> Side:
    """Return a side in which these rows have these features."""
    if side.features is None or cells is None:
        return side
    return replace(side, features=side.features.with_rows(numbers, cells))
