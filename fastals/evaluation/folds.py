"""Cross-validation in which each fold holds out some of each user's interactions."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np

from ..data.ids import encode
from ..data.interactions import Interactions
from ..data.types import is_frame, read_columns
from ..validation import Params, RandomState, check_integer, check_random_state
from .metrics import Ints


class UserFolds(Params):
    """Split events into folds, each with an equal share of every user's events: a splitter for scikit-learn's searches.

    Parameters
    ----------
    n_splits : int, default 5
        Number of folds, at least 2.
    user : name of a column, default "user"
        Where the events are a table: its column of users.
    random_state : int, numpy.random.Generator, RandomState, SeedSequence or None

    Notes
    -----
    The events of a user are shuffled and dealt out to the folds one by one. A user's only event is never held out, as
    nothing could be learned of this user without it.

    Examples
    --------
    >>> from fastals.evaluation import UserFolds
    >>> events = {"user": ["ann", "ann", "bob", "bob"], "item": ["tea", "cup", "cup", "pot"]}
    >>> for train, test in UserFolds(2, random_state=0).split(events):
    ...     print(len(train), len(test))
    2 2
    2 2
    """

    def __init__(self, n_splits: int = 5, user: Hashable = "user", random_state: RandomState = None) -> None:
        self.n_splits = n_splits
        self.user = user
        self.random_state = random_state

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds.

        Parameters
        ----------
        X, y, groups
            Not used; scikit-learn passes them.

        Examples
        --------
        >>> from fastals.evaluation import UserFolds
        >>> UserFolds(3).get_n_splits()
        3
        """
        return check_integer("n_splits", self.n_splits, 2)

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Ints, Ints]]:
        """Yield, for each fold, the positions of the events to learn from and of those to test on.

        Parameters
        ----------
        X : table, Interactions, or array of shape (n_events, 2 or more)
            Of an array the first column has the users.
        y, groups
            Not used; scikit-learn passes them.

        Yields
        ------
        train, test : arrays of int64
            Ascending. `Interactions.select` takes them, and so do rows of tables.

        Raises
        ------
        TypeError, ValueError
            There is no column of users, an id is missing, or `n_splits` is below 2.

        Examples
        --------
        >>> from fastals import Interactions
        >>> from fastals.evaluation import UserFolds
        >>> ratings = Interactions.from_triplets([1, 1, 2, 2], [7, 8, 7, 8], [5, 3, 4, 1])
        >>> train, test = next(UserFolds(2, random_state=0).split(ratings))
        >>> ratings.select(test).users.tolist()
        [0, 1]
        """
        n_splits, rng = self.get_n_splits(), check_random_state("random_state", self.random_state)
        users = self._users(X)
        counts = np.bincount(users)
        order = np.lexsort((rng.random(len(users)), users))
        # The cards are dealt on from user to user, so that no fold has more events than another by more than one.
        alone = counts[users[order]] == 1
        fold = np.full(len(users), -1)
        fold[order[~alone]] = np.arange(np.count_nonzero(~alone)) % n_splits
        return ((np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(n_splits))

    def _users(self, X: Any) -> Ints:
        """Return a number for the user of each event."""
        if isinstance(X, Interactions):
            return X.users.astype(np.int64)
        name = f"column {self.user!r}"
        if is_frame(X):
            column = read_columns(X, {"user": self.user})["user"]
        else:
            array = np.asarray(X, None if isinstance(X, np.ndarray) else object)
            if array.ndim != 2 or array.shape[1] < 2:
                raise ValueError(f"X has shape {array.shape}: pass a table, Interactions, or rows (user, item, ...)")
            name, column = "users", array[:, 0]
        return encode(name, column)[1].astype(np.int64)
