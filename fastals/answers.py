"""Answers as tables: one row for each recommendation, similar item or prediction, for pandas, polars or Arrow.

None of these libraries is imported before a table is asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Literal, TypeAlias

import numpy as np

from .ranking import Ranking
from .validation import check_option

__all__ = ["FrameKind", "Framing"]

FrameKind: TypeAlias = Literal["pandas", "polars", "arrow"]

LIBRARIES = {"pandas": "pandas", "polars": "polars", "arrow": "pyarrow"}


class Framing(Ranking):
    """The part of a model that answers in tables."""

    def recommend_frame(self, users: Any = None, n: int = 10, *, frame: FrameKind | None = None, **options: Any) -> Any:
        """Return what `recommend` does as a table with the columns user, rank, item and score.

        Parameters
        ----------
        users, n, **options
            As in `recommend`. With `fold_in` a user is the id that the interactions have, else a row number; with
            `basket` the user is 0.
        frame : {'pandas', 'polars', 'arrow'}, optional
            Library of the table. None: the first of the three that is installed.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            One row for each recommendation, user by user in the order asked for, ranks from 1. Places that `recommend`
            fills with -1 have no row.

        Raises
        ------
        ImportError
            The library is not installed.
        TypeError, ValueError
            As in `recommend`.

        Examples
        --------
        >>> import fastals
        >>> orders = fastals.Interactions.from_triplets(["ann", "ann", "bob"], ["tea", "cup", "cup"])
        >>> model = fastals.ImplicitALS(2, random_state=0).fit(orders)
        >>> model.recommend_frame(["bob"], n=3, frame="polars").select("user", "rank", "item").rows()
        [('bob', 1, 'tea')]
        """
        library = library_of(frame)
        ids, scores = self.recommend(users, n, **options)
        if options.get("basket") is not None:
            names: Any = np.zeros(1, np.int64)
        elif options.get("fold_in") or options.get("user_features") is not None:
            known = getattr(users, "user_ids", None)
            names = np.arange(len(ids)) if known is None else known.values
        else:
            names = self._names("user", users)
        return _listed(library, ("user", "rank", "item"), names, ids, scores)

    def similar_items_frame(self, items: Any, n: int = 10, *, frame: FrameKind | None = None, **options: Any) -> Any:
        """Return what `similar_items` does as a table with the columns item, rank, similar_item and score.

        Parameters
        ----------
        items, n, **options
            As in `similar_items`.
        frame
            As in `recommend_frame`, which also says what is raised.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            One row for each similar item, ranks from 1; the score is the cosine.

        Examples
        --------
        >>> import fastals
        >>> model = fastals.ImplicitALS(2, random_state=0).fit([(0, 0, 1), (0, 1, 1), (1, 1, 1)])
        >>> model.similar_items_frame([0], n=1, frame="arrow").column_names
        ['item', 'rank', 'similar_item', 'score']
        """
        library = library_of(frame)
        answer = self.similar_items(items, n, **options)
        return _listed(library, ("item", "rank", "similar_item"), self._names("item", items), *answer)

    def similar_users_frame(self, users: Any, n: int = 10, *, frame: FrameKind | None = None, **options: Any) -> Any:
        """Return what `similar_users` does as a table with the columns user, rank, similar_user and score.

        Parameters
        ----------
        users, n, **options
            As in `similar_users`.
        frame
            As in `recommend_frame`, which also says what is raised.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            One row for each similar user, ranks from 1; the score is the cosine.

        Examples
        --------
        >>> import fastals
        >>> model = fastals.ImplicitALS(2, random_state=0).fit([(0, 0, 1), (0, 1, 1), (1, 1, 1)])
        >>> model.similar_users_frame(0, n=1, frame="arrow").num_rows
        1
        """
        library = library_of(frame)
        answer = self.similar_users(users, n, **options)
        return _listed(library, ("user", "rank", "similar_user"), self._names("user", users), *answer)

    def predict_frame(self, users: Any, items: Any, *, frame: FrameKind | None = None, **options: Any) -> Any:
        """Return what `predict` does as a table with the columns user, item and score.

        Parameters
        ----------
        users, items, **options
            As in `predict`.
        frame
            As in `recommend_frame`, which also says what is raised.

        Returns
        -------
        pandas.DataFrame, polars.DataFrame or pyarrow.Table
            One row for each pair.

        Examples
        --------
        >>> import fastals
        >>> model = fastals.ImplicitALS(2, random_state=0).fit([(0, 0, 1), (0, 1, 1), (1, 1, 1)])
        >>> model.predict_frame(0, [0, 1], frame="polars").shape
        (2, 3)
        """
        library = library_of(frame)
        scores = self.predict(users, items, **options)
        pairs = (np.broadcast_to(_as_ids(given), len(scores)) for given in (users, items))
        return as_table(library, dict(zip(("user", "item", "score"), (*pairs, scores), strict=True)))

    def _names(self, name: Literal["user", "item"], given: Any) -> np.ndarray:
        """Return the ids that were asked for, where None is all."""
        side = self._state.side(name)
        return side.names(np.arange(len(side))) if given is None else _as_ids(given)


def _as_ids(given: Any) -> np.ndarray:
    array = np.atleast_1d(np.asarray(given))
    return np.array(array.tolist()) if array.dtype.kind == "O" else array


def library_of(frame: Any) -> str:
    """Return the kind of table to make, before any work is done."""
    if frame is not None:
        kind = check_option("frame", frame, tuple(LIBRARIES))
        if importlib.util.find_spec(LIBRARIES[kind]) is None:
            raise ImportError(
                f"frame={kind!r} needs {LIBRARIES[kind]}, which is not installed: pip install {LIBRARIES[kind]}"
            )
        return kind
    for kind, module in LIBRARIES.items():
        if importlib.util.find_spec(module) is not None:
            return kind
    raise ImportError(
        "a table needs pandas, polars or pyarrow, and none of them is installed: pip install pandas, or take the "
        "arrays of recommend, similar_items, similar_users and predict"
    )


def _listed(library: str, names: tuple[str, str, str], asked: np.ndarray, ids: np.ndarray, scores: np.ndarray) -> Any:
    """Return lists of the best as a table with a row for each place that is filled."""
    ids, scores = np.atleast_2d(ids), np.atleast_2d(scores)
    filled = scores > -np.inf
    rows, places = np.nonzero(filled)
    columns = dict(zip(names, (asked[rows], places + 1, ids[filled]), strict=True))
    return as_table(library, columns | {"score": scores[filled]})


def as_table(library: str, columns: dict[str, np.ndarray]) -> Any:
    """Return columns as a table of a library."""
    # Strings as Python's own: each library then makes its string type of them, whatever its version.
    plain = {name: column.tolist() if column.dtype.kind == "U" else column for name, column in columns.items()}
    module = importlib.import_module(LIBRARIES[library])
    return module.table(plain) if library == "arrow" else module.DataFrame(plain)
