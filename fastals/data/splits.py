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


def split_each_user(
    ratings: MatrixLike,
    test_share: float = 0.2,
    by: Literal["random", "time"] = "random",
    random_state: Any = None,
    **columns: Unpack[Columns],
) -> tuple[Interactions, Interactions]:
    """Hold out the same share of every user's rows.

    Parameters
    ----------
    ratings, random_state, **columns
        As in `split_random`; with times for `by="time"`.
    test_share : float, default 0.2
        Of a user's n rows ``floor(test_share * n)`` are held out, but one at least where n is 2 or more.
    by : {"random", "time"}, default "random"
        Which rows: drawn at random, or the user's latest. Of rows with the same time, the later in `ratings` counts as
        the later.

    Returns
    -------
    train, test : Interactions
        The rows in the order of `ratings`, with its ids. Every user with rows has some in `train`.

    Raises
    ------
    ValueError
        The share does not lie between 0 and 1, there are no times, or no user has two rows.

    Examples
    --------
    >>> from fastals.data import split_each_user
    >>> train, test = split_each_user([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], 0.5, random_state=0)
    >>> test.users.tolist()
    [0, 0, 1]
    """
    check_option("by", by, ("random", "time"))
    check_share("test_share", test_share)
    events = _events(ratings, columns)
    rows = np.arange(len(events))
    key = _times(events) if by == "time" else check_random_state("random_state", random_state).permutation(rows)
    order = np.lexsort((rows, key, events.users))
    counts = np.bincount(events.users, minlength=events.shape[0])
    n_test = np.where(counts > 1, np.maximum(1, np.floor(test_share * counts + 1e-9)), 0)
    if not n_test.any():
        raise ValueError("no user has two rows, so none can be held out: use split_random")
    users = events.users[order]
    return _part(events, order[np.cumsum(counts)[users] - 1 - rows < n_test[users]])


def split_at_time(ratings: MatrixLike, when: Any, **columns: Unpack[Columns]) -> tuple[Interactions, Interactions]:
    """Hold out all rows from a time on.

    Parameters
    ----------
    ratings, **columns
        As in `split_by_time`.
    when : as the times of `ratings`
        Rows of this time and later are in the test part.

    Returns
    -------
    train, test : Interactions
        The rows in the order of `ratings`, with its ids.

    Raises
    ------
    ValueError
        There are no times, or a part is left without rows.

    Examples
    --------
    >>> from fastals.data import split_at_time
    >>> events = {"who": [1, 1, 2], "what": [7, 8, 7], "when": [30, 10, 20]}
    >>> split_at_time(events, 20, user="who", item="what", time="when")[1].times
    array([30, 20])
    """
    events = _events(ratings, columns)
    times = _times(events)
    late = times >= np.asarray(when, dtype=times.dtype)
    if late.all() or not late.any():
        raise ValueError(
            f"when is {when}, and the times of ratings run from {times.min()} to {times.max()}: both sides of a split "
            "need at least one row"
        )
    return _part(events, np.flatnonzero(late))


def rolling_windows(
    ratings: MatrixLike, n_windows: int = 3, test_share: float = 0.1, **columns: Unpack[Columns]
) -> list[tuple[Interactions, Interactions]]:
    """Split several times by time: each window tests on the rows that follow its training rows.

    Parameters
    ----------
    ratings, **columns
        As in `split_by_time`.
    n_windows : int, default 3
        Number of windows.
    test_share : float, default 0.1
        The share of the rows that one window tests on. The windows stand one after another at the end of the data.

    Returns
    -------
    list of (train, test)
        The earliest window first. `train` has all rows before those of `test`.

    Raises
    ------
    TypeError, ValueError
        As in `split_by_time`, or the windows leave no row to learn from.

    Examples
    --------
    >>> from fastals.data import rolling_windows
    >>> events = {"who": [1, 1, 2, 2], "what": [7, 8, 7, 8], "when": [40, 10, 20, 30]}
    >>> windows = rolling_windows(events, 2, 0.25, user="who", item="what", time="when")
    >>> [(train.times.tolist(), test.times.tolist()) for train, test in windows]
    [([10, 20], [30]), ([10, 20, 30], [40])]
    """
    check_integer("n_windows", n_windows, 1)
    events = _events(ratings, columns)
    size = _test_size(events, test_share)
    first = len(events) - n_windows * size
    if first < 1:
        raise ValueError(
            f"n_windows = {n_windows} of {size} rows each leave none of {len(events)} rows to learn from: lower "
            "n_windows or test_share"
        )
    order = np.argsort(_times(events), kind="stable")
    ends = range(first, len(events), size)
    return [(events.select(np.sort(order[:at])), events.select(np.sort(order[at : at + size]))) for at in ends]


def split_folds(
    ratings: MatrixLike, n_folds: int = 5, random_state: Any = None, **columns: Unpack[Columns]
) -> list[tuple[Interactions, Interactions]]:
    """Split for k-fold cross-validation: every row is in the test part of one fold.

    `fastals.evaluation.UserFolds` gives each fold an equal share of every user's rows instead.

    Parameters
    ----------
    ratings, random_state, **columns
        As in `split_random`.
    n_folds : int, default 5
        Number of folds, at least 2.

    Returns
    -------
    list of (train, test)
        Folds whose sizes differ by one row at most, drawn at random.

    Raises
    ------
    TypeError, ValueError
        `n_folds` is below 2 or above the number of rows.

    Examples
    --------
    >>> from fastals.data import split_folds
    >>> [len(test) for _, test in split_folds([[1, 1, 1], [1, 1, 0]], 2, random_state=0)]
    [3, 2]
    """
    check_integer("n_folds", n_folds, 2)
    events = _events(ratings, columns)
    if n_folds > len(events):
        raise ValueError(f"n_folds = {n_folds} is above the number of rows, {len(events)}")
    order = check_random_state("random_state", random_state).permutation(len(events))
    return [_part(events, rows) for rows in np.array_split(order, n_folds)]


def split_user_folds(
    ratings: MatrixLike,
    n_folds: int = 5,
    given_share: float = 0.8,
    random_state: Any = None,
    **columns: Unpack[Columns],
) -> list[NewUsers]:
    """Split for k-fold cross-validation by users: every user is new in one fold.

    Parameters
    ----------
    ratings, given_share, random_state, **columns
        As in `split_new_users`.
    n_folds : int, default 5
        Number of folds, at least 2.

    Returns
    -------
    list of NewUsers
        Each as `split_new_users` returns it.

    Raises
    ------
    TypeError, ValueError
        As in `split_new_users`; `n_folds` is below 2 or above the number of users.

    Examples
    --------
    >>> from fastals.data import split_user_folds
    >>> [len(fold.train) for fold in split_user_folds([[1, 1, 1]] * 4, 2, random_state=0)]
    [6, 6]
    """
    check_integer("n_folds", n_folds, 2)
    check_share("given_share", given_share)
    events = _events(ratings, columns)
    rng = check_random_state("random_state", random_state)
    present = rng.permutation(np.unique(events.users))
    if n_folds > present.size:
        raise ValueError(f"n_folds = {n_folds} is above the number of users, {present.size}")
    told = f"one of n_folds = {n_folds} of {present.size} users"
    return [_new_users(events, new, given_share, rng, told) for new in np.array_split(present, n_folds)]


def k_core(ratings: MatrixLike, users: int = 5, items: int = 5, **columns: Unpack[Columns]) -> Interactions:
    """Keep the users and items that have enough distinct partners, until all that are left do.

    Parameters
    ----------
    ratings, **columns
        As in `split_random`.
    users : int, default 5
        Least number of distinct items of a user.
    items : int, default 5
        Least number of distinct users of an item.

    Returns
    -------
    Interactions
        Those rows whose user and item are left, in the order of `ratings` and with its ids: rows and columns that
        became empty are still there.

    Raises
    ------
    TypeError, ValueError
        A number is no integer of at least 1, or nothing is left.

    Examples
    --------
    >>> from fastals.data import k_core
    >>> k_core([[1, 1, 0], [1, 1, 0], [1, 0, 1]], users=2, items=2).users.tolist()
    [0, 0, 1, 1]
    """
    check_integer("users", users, 1)
    check_integer("items", items, 1)
    events = _events(ratings, columns)
    cells = events.by_user
    rows, places = np.repeat(np.arange(events.shape[0]), cells.counts), cells.indices
    while True:
        enough = np.bincount(rows, minlength=events.shape[0]) >= users
        liked = np.bincount(places, minlength=events.shape[1]) >= items
        kept = enough[rows] & liked[places]
        if kept.all():
            break
        rows, places = rows[kept], places[kept]
    if not rows.size:
        raise ValueError(f"no users with {users} items and items with {items} users are left: lower users or items")
    return events.select(enough[events.users] & liked[events.items])


def without_known(test: Interactions, train: Interactions) -> Interactions:
    """Keep the test interactions of users with items that they do not have in train.

    Models do not recommend what a user has. So what a user has bought before and buys again is never found, and counts
    as a miss unless it is left out.

    Parameters
    ----------
    test, train : Interactions
        Parts of one split.

    Returns
    -------
    Interactions
        Rows of `test`, in their order; there may be none.

    Raises
    ------
    ValueError
        The two number users or items differently.

    Examples
    --------
    >>> from fastals.data import split_at_time, without_known
    >>> events = {"who": [1, 1, 1], "what": [7, 7, 8], "when": [10, 20, 30]}
    >>> train, test = split_at_time(events, 20, user="who", item="what", time="when")
    >>> len(test), len(without_known(test, train))
    (2, 1)
    """
    ids = zip(("users", "items"), (test.user_ids, test.item_ids), (train.user_ids, train.item_ids), strict=True)
    other = [what for what, a, b in ids if (a is None) != (b is None) or not (a is None or b is None or a.same_as(b))]
    if other or test.shape != train.shape:
        raise ValueError(
            f"test and train number their {' and '.join(other or ['users and items'])} differently: pass both parts of "
            "one split"
        )
    return test.select(~np.isin(_numbers(test), _numbers(train)))


def _numbers(events: Interactions) -> np.ndarray:
    """Return a number for the user and item of each row."""
    return events.users.astype(np.int64) * events.shape[1] + events.items


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
        check_share(name, share)
    events = _events(ratings, columns)
    rng = check_random_state("random_state", random_state)
    present = np.unique(events.users)
    new = rng.permutation(present)[: round(test_share * present.size)]
    return _new_users(events, new, given_share, rng, f"test_share = {test_share} of {present.size} users")


def _new_users(
    events: Interactions, new: np.ndarray, given_share: float, rng: np.random.Generator, told: str
) -> NewUsers:
    """Hold out the users `new`; a message tells what was asked for."""
    held_out = np.isin(events.users, new)
    known = np.bincount(events.items[~held_out], minlength=events.shape[1]) > 0
    rows = np.flatnonzero(held_out & known[events.items])
    counts = np.bincount(events.users[rows], minlength=events.shape[0])
    rows = rows[counts[events.users[rows]] >= 2]
    if held_out.all() or not rows.size:
        raise ValueError(f"{told} leaves a part without rows: new users need two rows of items that others have")
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


def check_share(name: str, share: float) -> None:
    """Refuse what is no share.

    Parameters
    ----------
    name : str
        The argument, for the message.
    share : float
        What came.

    Examples
    --------
    >>> check_share("test_share", 0.2)
    """
    if not 0 < share < 1:
        raise ValueError(f"{name} must lie between 0 and 1, got {share}")


def _test_size(events: Interactions, test_share: float) -> int:
    check_share("test_share", test_share)
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
