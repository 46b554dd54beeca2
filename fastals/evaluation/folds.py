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

PARTS = ("users", "items")  # the first columns of an array


class UserFolds(Params):
    """Split events into folds, each with an equal share of every user's events: a splitter for scikit-learn's searches.

    Parameters
    ----------
    n_splits : int, default 5
        Number of folds, at least 2.
    user : name of a column, default "user"
        Where the events are a table: its column of users.
    random_state : int, numpy.random.Generator, RandomState, SeedSequence or None
    item : name of a column, optional
        Where the events are a table: its column of items. Without it, events of one user and item are split too.

    Notes
    -----
    The events of a user are shuffled and dealt out to the folds one by one. Several events of one user and item go to
    one fold together: a model does not recommend what a user has, so it cannot find what it has learned from. A user's
    only event, or only item, is never held out, as nothing could be learned of this user without it.

    Examples
    --------
    >>> from fastals.evaluation import UserFolds
    >>> events = {"user": ["ann", "ann", "bob", "bob"], "item": ["tea", "cup", "cup", "pot"]}
    >>> for train, test in UserFolds(2, random_state=0).split(events):
    ...     print(len(train), len(test))
    2 2
    2 2
    """

    def __init__(
        self,
        n_splits: int = 5,
        user: Hashable = "user",
        random_state: RandomState = None,
        item: Hashable | None = None,
    ) -> None:
        self.n_splits = n_splits
        self.user = user
        self.random_state = random_state
        self.item = item

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
            Of an array the first column has the users, the second one the items.
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
        users, of_event = self._pairs(X)
        counts = np.bincount(users)
        order = np.lexsort((rng.random(len(users)), users))
        # The cards are dealt on from user to user, so that no fold has more events than another by more than one.
        alone = counts[users[order]] == 1
        fold = np.full(len(users), -1)
        fold[order[~alone]] = np.arange(np.count_nonzero(~alone)) % n_splits
        fold = fold[of_event]
        return ((np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(n_splits))

    def _pairs(self, X: Any) -> tuple[Ints, Ints]:
        """Return the user of each pair of user and item, in order of first events, and the pair of each event.

        Without a column of items, each event is a pair of its own.
        """
        if isinstance(X, Interactions):
            users, items = X.users.astype(np.int64), X.items.astype(np.int64)
        elif is_frame(X):
            names = {"user": self.user} | ({} if self.item is None else {"item": self.item})
            columns = read_columns(X, names)
            numbers = {part: encode(f"column {names[part]!r}", columns[part])[1].astype(np.int64) for part in names}
            users, items = numbers["user"], numbers.get("item", np.arange(len(numbers["user"])))
        else:
            array = np.asarray(X, None if isinstance(X, np.ndarray) else object)
            if array.ndim != 2 or array.shape[1] < 2:
                raise ValueError(f"X has shape {array.shape}: pass a table, Interactions, or rows (user, item, ...)")
            users, items = (encode(name, array[:, place])[1].astype(np.int64) for place, name in enumerate(PARTS))
        _, first, of_event = np.unique(
            users * (items.max(initial=0) + 1) + items, return_index=True, return_inverse=True
        )
        place = np.argsort(np.argsort(first))
        return users[np.sort(first)], place[of_event]
