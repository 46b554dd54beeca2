"""Splits of interactions into parts to learn from and parts to test on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from ..validation import check_integer, check_option, check_random_state
from .interactions import Interactions, as_interactions
from .types import Columns, MatrixLike

if TYPE_CHECKING:
    from typing_extensions import Unpack

Ties: TypeAlias = Literal["file", "first", "item", "item_descending", "random"]


def split_random(
    ratings: MatrixLike, test_share: float = 0.2, random_state: Any = None, **columns: Unpack[Columns]
) -> tuple[Interactions, Interactions]:
    """Hold out a share of the rows, drawn at random.

    Parameters
    ----------
    ratings : Interactions, matrix, or table with the names of its columns
        What to split.
    test_share : float, default 0.2
        The share of the rows to hold out, between 0 and 1.
    random_state : int, numpy.random.Generator or None
        The seed.
    **columns
        Of a table: see `fastals.data.Columns`.

    Returns
    -------
    train, test : Interactions
        The rows in the order of `ratings`, `round(test_share * n)` of them in `test`, with the ids of `ratings`.

    Raises
    ------
    ValueError
        The share does not lie between 0 and 1, or leaves one side without rows.

    Examples
    --------
    >>> from fastals.data import split_random
    >>> train, test = split_random([[1, 1, 1], [1, 1, 0]], random_state=0)
    >>> len(train), len(test), train.shape
    (4, 1, (2, 3))
    """
    events = _events(ratings, columns)
    n_test = _test_size(events, test_share)
    order = check_random_state("random_state", random_state).permutation(len(events))
    return _part(events, order[:n_test])


def split_by_time(
    ratings: MatrixLike, test_share: float = 0.2, **columns: Unpack[Columns]
) -> tuple[Interactions, Interactions]:
    """Hold out the latest share of the rows.

    Parameters
    ----------
    ratings : Interactions, or a table with the names of its columns
        What to split, with times.
    test_share, **columns
        As in `split_random`, which also says what is returned and raised. Of rows with the same time, the later in
        `ratings` counts as the later.

    Examples
    --------
    >>> from fastals.data import split_by_time
    >>> events = {"who": [1, 1, 2], "what": [7, 8, 7], "when": [30, 10, 20]}
    >>> split_by_time(events, 0.4, user="who", item="what", time="when")[1].times
    array([30])
    """
    events = _events(ratings, columns)
    n_test = _test_size(events, test_share)
    order = np.argsort(_times(events), kind="stable")
    return _part(events, order[len(events) - n_test :])


def split_leave_last_out(
    ratings: MatrixLike, n: int = 1, ties: Ties = "file", random_state: Any = None, **columns: Unpack[Columns]
) -> tuple[Interactions, Interactions]:
    """Hold out the last rows of every user.

    Parameters
    ----------
    ratings : Interactions, or a table with the names of its columns
        What to split, with times.
    n : int, default 1
        How many rows of each user to hold out.
    ties : {"file", "first", "item", "item_descending", "random"}, default "file"
        Which of a user's rows with the same time counts as the last: the later in `ratings`, the earlier in `ratings`,
        the one with the highest item number, the one with the lowest, or any. Rows that this leaves equal stand in
        their order in `ratings`.
    random_state : int, numpy.random.Generator or None
        The seed for `ties="random"`.
    **columns
        As in `split_random`.

    Returns
    -------
    train, test : Interactions
        The rows in the order of `ratings`, with its ids. A user with more than `n` rows has exactly `n` in `test`. A
        user with `n` rows or fewer has all in `train`, since nothing could be learned about it otherwise, and should
        not count in the evaluation.

    Raises
    ------
    TypeError, ValueError
        If `n` is no integer or below 1, the ratings have no times, `ties` is unknown, or no user has more than `n`
        rows.

    Notes
    -----
    Ties decide much: MovieLens users often enter many ratings in the same second. On MovieLens 100K (ratings of 4 and
    5, one held out) the hit rate at 10 of plain popularity lies between 0.059 and 0.100, according to the ties. State
    which rule you used.

    Examples
    --------
    >>> from fastals.data import split_leave_last_out
    >>> events = {"who": [1, 1, 2], "what": [7, 8, 7], "when": [30, 10, 20]}
    >>> split_leave_last_out(events, user="who", item="what", time="when")[1].times
    array([30])
    """
    check_integer("n", n, 1)
    check_option("ties", ties, get_args(Ties))
    events = _events(ratings, columns)
    times = _times(events)
    rows = np.arange(len(events))
    if ties == "random":
        tie_break = check_random_state("random_state", random_state).permutation(rows)
    else:
        # What is greater counts as the later.
        tie_break = {"file": rows, "first": -rows, "item": events.items, "item_descending": -events.items}[ties]
    counts = np.bincount(events.users, minlength=events.shape[0])
    if counts.max(initial=0) <= n:
        raise ValueError(f"no user has more than n = {n} rows, so none can be held out; choose a smaller n")
    order = np.lexsort((tie_break, times, events.users))
    users = events.users[order]
    later_rows = np.cumsum(counts)[users] - 1 - rows
    return _part(events, order[(later_rows < n) & (counts[users] > n)])


class NewUsers(NamedTuple):
    """Users held out entirely: what is learned from, what new users give, and what else they have.

    All parts have the ids of the ratings that were split; a user has rows in `train`, or in the other two.

    Examples
    --------
    >>> from fastals.data import split_new_users
    >>> train, given, test = split_new_users([[1, 1, 1]] * 4, test_share=0.25, random_state=0)
    >>> test.shape
    (4, 3)
    """

    train: Interactions
    given: Interactions
    test: Interactions


def split_new_users(
    ratings: MatrixLike,
    test_share: float = 0.1,
    given_share: float = 0.8,
    random_state: Any = None,
    **columns: Unpack[Columns],
) -> NewUsers:
    """Hold out users entirely, and a part of their rows again: strong generalisation (Liang et al. 2018).

    Parameters
    ----------
    ratings, random_state, **columns
        As in `split_random`.
    test_share : float, default 0.1
        The share of the users to hold out, between 0 and 1.
    given_share : float, default 0.8
        Of a held-out user's n rows `round(given_share * n)` are given, but always one at least, and one is left.

    Returns
    -------
    NewUsers
        Rows in the order of `ratings`. Held-out rows of items without a row in `train`, about which nothing can be
        learned, are left out; so are then users with fewer than two rows.

    Raises
    ------
    ValueError
        If a share does not lie between 0 and 1, or a part is left without rows.

    Examples
    --------
    >>> from fastals.data import split_new_users
    >>> parts = split_new_users([[1, 1, 1]] * 4, test_share=0.25, random_state=0)
    >>> len(parts.train), len(parts.given), len(parts.test)
    (9, 2, 1)
    """
    for name, share in (("test_share", test_share), ("given_share", given_share)):
        if not 0 < share < 1:
            raise ValueError(f"{name} must lie between 0 and 1, got {share}")
    events = _events(ratings, columns)
    rng = check_random_state("random_state", random_state)
    present = np.unique(events.users)
    new = rng.permutation(present)[: round(test_share * present.size)]
    held_out = np.isin(events.users, new)
    known = np.bincount(events.items[~held_out], minlength=events.shape[1]) > 0
    rows = np.flatnonzero(held_out & known[events.items])
    counts = np.bincount(events.users[rows], minlength=events.shape[0])
    rows = rows[counts[events.users[rows]] >= 2]
    if held_out.all() or not rows.size:
        raise ValueError(
            f"test_share = {test_share} of {present.size} users leaves a part without rows: new users need two rows of "
            "items that others have"
        )
    order = rows[np.lexsort((rng.random(rows.size), events.users[rows]))]
    _, sizes = np.unique(events.users[order], return_counts=True)
    n_given = np.clip(np.round(given_share * sizes).astype(np.int64), 1, sizes - 1)
    nth = np.arange(order.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    is_given = nth < np.repeat(n_given, sizes)
    return NewUsers(
        events.select(~held_out), events.select(np.sort(order[is_given])), events.select(np.sort(order[~is_given]))
    )


def _events(ratings: MatrixLike, columns: Columns) -> Interactions:
    dtype = ratings.dtype if isinstance(ratings, Interactions) else np.float32
    return as_interactions(ratings, dtype, name="ratings", **columns)


def _test_size(events: Interactions, test_share: float) -> int:
    if not 0 < test_share < 1:
        raise ValueError(f"test_share must lie between 0 and 1, got {test_share}")
    n_test = round(test_share * len(events))
    if not 0 < n_test < len(events):
        raise ValueError(
            f"test_share = {test_share} of {len(events)} rows is {n_test}: both sides of a split need at least one row"
        )
    return n_test


def _times(events: Interactions) -> np.ndarray:
    if events.times is None:
        raise ValueError(
            "ratings have no times, which this split needs; name their column with time=..., read a file with times, "
            "or use split_random"
        )
    return events.times


def _part(events: Interactions, test_rows: np.ndarray) -> tuple[Interactions, Interactions]:
    in_test = np.zeros(len(events), dtype=bool)
    in_test[test_rows] = True
    return events.select(~in_test), events.select(in_test)
