"""`implicit.als`: AlternatingLeastSquares of `implicit` 0.7 on the fastals engine.

Names, arguments, shapes, random start and objective are those of `implicit`. With `use_cg=False` the factors are equal
to those of `implicit` within rounding, after any number of iterations. With `use_cg=True` each row takes at most
`cg_steps` steps from the previous iterate, as in `implicit`; these steps are preconditioned and come nearer to the
solution, and a row for which Cholesky is cheaper is solved by Cholesky.

How `implicit`, and so this class, differs from `fastals.ImplicitALS`:

- The confidence of a stored value r is `alpha |r|`, not `1 + alpha |r|`. An observed entry of confidence below 1 weighs
  less than an unobserved one. A stored 0 has no weight at all.
- Users are solved first and items last. So the stored user factors are not the solution for the stored item factors;
  `recalculate_user` returns that solution.
- `fit` starts from the factors that the model has. Set both to None for a new random start.
- `recommend` always returns `N` items. Items that are left out come last, with the score `-finfo.max`.
- Of equal scores the higher id comes first.
- `similar_items` and `similar_users` keep the lengths of the factors. After changing factors in place, assign the array
  to the attribute again.

How this class differs from `implicit`:

- Wrong arguments are refused before any work, with the argument and the place: ids out of range or below 0 (an error
  that is an IndexError and a ValueError), columns beyond the factors, factors of another shape, numbers that are not
  finite. `implicit` crashes, reads other memory, takes the last row for -1, or finds NaN after the fit.
- Where `N` exceeds the number of items, the remaining places have the id -1 and the score `-finfo.max`. In `implicit`
  they repeat id 0 with the score 0. An id that is twice in `items` is ranked once.
- Of equal scores at the end of the list the higher ids are kept, so a shorter list is the beginning of a longer one.
- Entries stored as 0 are filtered like all others, also with `items`.
- The training loss is the objective; `implicit` adds the confidence of every disliked entry to it.
- Without regularization a row with many solutions gets the smallest one. A row whose solution is not finite in the
  dtype raises `numpy.linalg.LinAlgError`, a ValueError, and the model is unchanged.
- Matrices of all SciPy formats, dense arrays and `fastals.Interactions` are valid in all methods, with a
  `ParameterWarning` where they have to be converted. Duplicate entries are summed. With `dtype=float64` the values
  keep float64.
- Factors assigned by the caller may have any real dtype.
- `random_state` may be a `RandomState`; `filter_items` may be an array or a set.
- `explain` accepts the user's row as well as the whole matrix.
- `recommend_all` accepts `users_items_offset`.
- `save` omits a `random_state` that is not an int, which would make the file unreadable. `save` and `load` accept
  `pathlib` paths and open files. `load` sets only attributes that `save` writes.
- There is no GPU code: `use_gpu=True` and `to_gpu` are refused.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from scipy import linalg

from ...data.interactions import Interactions, MatrixLike
from ...engine.equations import gram, row_equations
from ...engine.loss import ridge
from ...progress import Progress
from ...storage import read_arrays, write_arrays
from ...validation import (
    RandomState,
    check_dtype,
    check_flag,
    check_ids,
    check_integer,
    check_random_state,
)
from ..textbook import HalfStep, writable_panel
from .factors import check_columns
from .ranking import Ranking
from .solvers import (
    calculate_loss,
    check_finite,
    least_squares,
    least_squares_cg,
    objective,
    solve,
    statistics,
    total_confidence,
)
from .utils import as_confidences

__all__ = ["AlternatingLeastSquares", "calculate_loss", "least_squares", "least_squares_cg"]

Callback = Callable[[int, float, float | None], Any]
FileOrPath = str | os.PathLike[str] | BinaryIO

START = 0.01  # the random start is uniform from 0 to this


class AlternatingLeastSquares(Ranking):
    """Alternating least squares for implicit feedback with the interface of `implicit`.

    Parameters
    ----------
    factors : int, default 100
    regularization : float, default 0.01
        Ridge of every user and every item.
    alpha : float, default 1.0
        The confidence of an entry with value r is `alpha |r|`.
    dtype : {float32, float64}, default float32
        Of the factors and of the arithmetic.
    use_native : bool, default True
        Has no effect: all code is compiled.
    use_cg : bool, default True
        Take a few steps of conjugate gradients from the previous iterate. False: solve each row exactly by Cholesky.
    iterations : int, default 15
        Each iteration solves the users, then the items.
    calculate_training_loss : bool, default False
        Pass the loss to the callback.
    num_threads : int, default 0
        Number of threads; 0: as many as the process may use. The result does not depend on it.
    random_state : int, numpy.random.Generator, RandomState, SeedSequence or None
        Seed of the random start.
    use_gpu : bool, default False
        Must be False.

    Attributes
    ----------
    user_factors, item_factors : ndarray of `dtype`, shapes (n_users, factors), (n_items, factors), or None before `fit`
    cg_steps : int
        Most steps of conjugate gradients for a row, 3.
    fit_callback : callable or None
        The callback of `fit` where no other is passed.

    Notes
    -----
    Minimises, with p = 1 for r > 0 and p = 0 for r < 0,

        sum_{stored} alpha |r| (p - x_u.y_i)^2 + sum_{others} (x_u.y_i)^2
            + regularization (sum_u |x_u|^2 + sum_i |y_i|^2)

    References
    ----------
    Hu, Koren, Volinsky: Collaborative filtering for implicit feedback datasets. ICDM 2008.

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> user_items = csr_matrix([[1, 1, 0], [1, 0, 1], [1, 1, 1]])
    >>> model = AlternatingLeastSquares(factors=2, random_state=0)
    >>> model.fit(user_items, show_progress=False)
    >>> model.user_factors.shape
    (3, 2)
    """

    def __init__(
        self,
        factors: int = 100,
        regularization: float = 0.01,
        alpha: float = 1.0,
        dtype: Any = np.float32,
        use_native: bool = True,
        use_cg: bool = True,
        iterations: int = 15,
        calculate_training_loss: bool = False,
        num_threads: int = 0,
        random_state: RandomState = None,
        *,
        use_gpu: bool = False,
    ):
        if check_flag("use_gpu", use_gpu):
            raise ValueError("use_gpu is True, and there is no GPU code here: leave use_gpu out")
        self.factors = factors
        self.regularization = regularization
        self.alpha = alpha
        self.dtype = check_dtype("dtype", dtype)
        self.use_native = use_native
        self.use_cg = use_cg
        self.iterations = iterations
        self.calculate_training_loss = calculate_training_loss
        self.num_threads = num_threads
        self.random_state = random_state
        self.cg_steps = 3
        self.fit_callback: Callback | None = None
        self.user_factors: np.ndarray | None = None
        self.item_factors: np.ndarray | None = None
        self._kept: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def fit(self, user_items: MatrixLike, show_progress: bool = True, callback: Callback | None = None) -> None:
        """Factorise a matrix of confidences, from the factors that the model has or from a random start.

        Parameters
        ----------
        user_items : csr_matrix, shape (n_users, n_items)
        show_progress : bool, default True
            Show a progress bar where tqdm is installed, else log a line an iteration to the logger "fastals".
        callback : callable (iteration, seconds, loss), optional
            Called after each iteration, counted from 0. The loss is None without `calculate_training_loss`, else

                objective / (sum of the confidences + number of entries that are not stored)

        Raises
        ------
        TypeError, ValueError
            A parameter or the matrix is not as described; the model is unchanged.
        numpy.linalg.LinAlgError
            The solution of a row is not finite in the dtype; the message names the row and the remedy. The model is
            unchanged.

        Examples
        --------
        >>> from scipy.sparse import csr_matrix
        >>> model = AlternatingLeastSquares(factors=2, iterations=3, random_state=0)
        >>> model.fit(csr_matrix([[1, 0], [0, 1]]), show_progress=False)
        >>> model.item_factors.shape
        (2, 2)
        """
        given, n_threads = objective(self.alpha, self.regularization), self._threads
        factors = check_integer("factors", self.factors, 1)
        iterations = check_integer("iterations", self.iterations, 0)
        steps = check_integer("cg_steps", self.cg_steps, 1) if check_flag("use_cg", self.use_cg) else 0
        wants_loss = check_flag("calculate_training_loss", self.calculate_training_loss)
        rng = check_random_state("random_state", self.random_state)
        callback = callback or self.fit_callback
        if callback is not None and not callable(callback):
            raise TypeError(f"callback must be callable (iteration, seconds, loss), got {type(callback).__name__}")
        R = as_confidences("user_items", user_items, self.dtype)
        before = self.user_factors, self.item_factors
        starts = []
        for side, start, n in zip(("user", "item"), before, R.shape, strict=True):
            if start is None:
                start = rng.random((n, factors), dtype=self.dtype.type) * self.dtype.type(START)
            elif np.shape(start) != (n, factors):
                raise ValueError(
                    f"{side}_factors have shape {np.shape(start)}, and user_items of shape {R.shape} with "
                    f"factors={factors} wants {(n, factors)}: set user_factors and item_factors to None for a new start"
                )
            starts.append(check_finite(f"{side}_factors", self._as_factors(side, start)))
        X, Y = (writable_panel(start) for start in starts)
        learned = given.learn(R)
        problem = given.user_problem(R.by_user, learned)
        users = HalfStep(problem, "user", factors, n_threads, steps)
        items = HalfStep(given.item_problem(R.by_item, learned, R.shape[0]), "item", factors, n_threads, steps)
        size = total_confidence(R, self.alpha)
        bar = Progress(iterations) if check_flag("show_progress", show_progress) else None
        try:
            for iteration in range(iterations):
                began = time.perf_counter()
                users(X, Y)
                loss = (items(Y, X) + ridge(problem, X)) / size
                if callback is not None:
                    self.user_factors, self.item_factors = X[:, :factors].copy(), Y[:, :factors].copy()
                seconds = time.perf_counter() - began
                if bar is not None:
                    bar(iteration, loss)
                if callback is not None:
                    callback(iteration, seconds, loss if wants_loss else None)
        except BaseException:
            self.user_factors, self.item_factors = before
            raise
        finally:
            if bar is not None:
                bar.close()
        self.user_factors, self.item_factors = X[:, :factors].copy(), Y[:, :factors].copy()

    @property
    def solver(self) -> Callable[..., None]:
        """Half-step `solver(Cui, X, Y, regularization, num_threads=0)` that overwrites X.

        The confidences Cui are already multiplied by alpha. With `use_cg` it takes at most `cg_steps` steps from X and
        accepts a keyword `cg_steps`, else it solves exactly. `fit` takes the same steps.
        """
        if not check_flag("use_cg", self.use_cg):
            return least_squares
        return functools.partial(least_squares_cg, cg_steps=self.cg_steps)

    def _fold_in(self, rows: Interactions, side: str) -> np.ndarray:
        fixed = "item" if side == "user" else "user"
        other = check_finite(f"{fixed}_factors", self._factors(fixed))
        return solve(rows, other, objective(self.alpha, self.regularization), side, self._threads)

    # New data.

    def recalculate_user(self, userid: npt.ArrayLike, user_items: MatrixLike) -> np.ndarray:
        """Return the exact factors of users for the stored item factors, without storing them.

        Parameters
        ----------
        userid : int or array_like of int
            Only the number of ids has an effect.
        user_items : csr_matrix, shape (number of users, n_items)
            All interactions of each user.

        Returns
        -------
        ndarray, shape (number of users, factors), or (factors,) for one number

        Raises
        ------
        TypeError, ValueError
            An argument is not as described.

        Examples
        --------
        >>> from scipy.sparse import csr_matrix
        >>> user_items = csr_matrix([[1, 1, 0], [1, 0, 1], [1, 1, 1]])
        >>> model = AlternatingLeastSquares(2, random_state=0)
        >>> model.fit(user_items, show_progress=False)
        >>> model.recalculate_user(0, user_items[0]).shape
        (2,)
        """
        rows = self._rows("user_items", user_items, np.size(userid), "items")
        X = self._fold_in(rows, "user")
        return X[0] if np.ndim(userid) == 0 else X

    def recalculate_item(self, itemid: npt.ArrayLike, item_users: MatrixLike) -> np.ndarray:
        """Return the exact factors of items for the stored user factors, without storing them.

        Parameters
        ----------
        itemid : int or array_like of int
            Only the number of ids has an effect.
        item_users : csr_matrix, shape (number of items, n_users)
            All interactions of each item; rows are items.

        Returns
        -------
        ndarray, shape (number of items, factors), or (factors,) for one number

        Raises
        ------
        TypeError, ValueError
            An argument is not as described.

        Examples
        --------
        >>> from scipy.sparse import csr_matrix
        >>> user_items = csr_matrix([[1, 1, 0], [1, 0, 1], [1, 1, 1]])
        >>> model = AlternatingLeastSquares(2, random_state=0)
        >>> model.fit(user_items, show_progress=False)
        >>> model.recalculate_item([0, 1], user_items.T.tocsr()[[0, 1]]).shape
        (2, 2)
        """
        rows = self._rows("item_users", item_users, np.size(itemid), "users")
        Y = self._fold_in(rows, "item")
        return Y[0] if np.ndim(itemid) == 0 else Y

    def partial_fit_users(self, userids: npt.ArrayLike, user_items: MatrixLike) -> None:
        """Store the factors that `recalculate_user` returns; new users are added.

        Parameters
        ----------
        userids : array_like of int
            Users between the last known one and a new one get factors of 0.
        user_items : csr_matrix, shape (number of users, n_items)
            All interactions of each user, old ones too.

        Raises
        ------
        TypeError, ValueError
            An argument is not as described; the model is unchanged.

        Examples
        --------
        >>> from scipy.sparse import csr_matrix
        >>> user_items = csr_matrix([[1, 1, 0], [1, 0, 1], [1, 1, 1]])
        >>> model = AlternatingLeastSquares(2, random_state=0)
        >>> model.fit(user_items, show_progress=False)
        >>> model.partial_fit_users([3], csr_matrix([[0, 1, 1]]))
        >>> model.user_factors.shape
        (4, 2)
        """
        self._partial_fit("user", userids, "user_items", user_items)

    def partial_fit_items(self, itemids: npt.ArrayLike, item_users: MatrixLike) -> None:
        """Store the factors that `recalculate_item` returns; new items are added.

        Parameters
        ----------
        itemids : array_like of int
            Items between the last known one and a new one get factors of 0.
        item_users : csr_matrix, shape (number of items, n_users)
            All interactions of each item, old ones too; rows are items.

        Raises
        ------
        TypeError, ValueError
            An argument is not as described; the model is unchanged.

        Examples
        --------
        >>> from scipy.sparse import csr_matrix
        >>> user_items = csr_matrix([[1, 1, 0], [1, 0, 1], [1, 1, 1]])
        >>> model = AlternatingLeastSquares(2, random_state=0)
        >>> model.fit(user_items, show_progress=False)
        >>> model.partial_fit_items([3], csr_matrix([[0, 1, 1]]))
        >>> model.item_factors.shape
        (4, 2)
        """
        self._partial_fit("item", itemids, "item_users", item_users)

    def _partial_fit(self, side: str, ids: npt.ArrayLike, name: str, given: MatrixLike) -> None:
        old = self._factors(side)
        rows = check_ids(f"{side}ids", ids, 2**31 - 1)
        repeated = np.sort(rows)[1:][np.diff(np.sort(rows)) == 0]
        if len(repeated):
            raise ValueError(f"{side}ids has {repeated[0]} more than once: one row for each {side} is wanted")
        other = "items" if side == "user" else "users"
        solved = self._fold_in(self._rows(name, given, len(rows), other, 5), side)
        # A new array: another thread may be reading the old one.
        new = np.zeros((max(len(old), int(rows.max(initial=-1)) + 1), old.shape[1]), old.dtype)
        new[: len(old)] = old
        new[rows] = solved
        setattr(self, f"{side}_factors", new)

    def explain(
        self, userid: int, user_items: MatrixLike, itemid: int, user_weights: Any = None, N: int = 10
    ) -> tuple[float, list[tuple[int, float]], Any]:
        """Split the score of an item for a user into the contributions of the user's interactions.

        Parameters
        ----------
        userid : int
        user_items : csr_matrix, shape (n_users, n_items) or (1, n_items)
            All users, or the row of this user.
        itemid : int
        user_weights : tuple, optional
            The third result of an earlier call for the same user; saves the factorisation.
        N : int, default 10
            Number of contributions to return.

        Returns
        -------
        total_score : float
            The score with the user's factors as `recalculate_user` returns them.
        top_contributions : list of (itemid, score)
            The largest contributions, largest first. Disliked items contribute nothing and are not listed.
        user_weights : tuple
            The Cholesky factor of the user's equations, as `scipy.linalg.cho_factor` returns it.

        Raises
        ------
        TypeError, ValueError
            An argument is not as described.

        Notes
        -----
        x_u.y_i = sum_j c_uj y_i' W y_j over the liked items j, with W the inverse of the matrix of the user's
        equations.

        References
        ----------
        Hu, Koren, Volinsky: Collaborative filtering for implicit feedback datasets, section 5. ICDM 2008.

        Examples
        --------
        >>> from scipy.sparse import csr_matrix
        >>> user_items = csr_matrix([[1, 1, 0], [1, 0, 1], [1, 1, 1]])
        >>> model = AlternatingLeastSquares(2, random_state=0)
        >>> model.fit(user_items, show_progress=False)
        >>> score, contributions, _ = model.explain(0, user_items, 2)
        >>> sorted(item for item, _ in contributions)
        [0, 1]
        """
        Y = self._factors("item").astype(np.float64)
        for name, number in (("userid", userid), ("itemid", itemid)):
            if np.ndim(number):
                raise ValueError(f"{name} must be one id, got an array of shape {np.shape(number)}")
        item = int(check_ids("itemid", itemid, len(Y))[0])
        given = as_confidences("user_items", user_items, self.dtype)
        row = int(check_ids("userid", userid, given.shape[0])[0]) if given.shape[0] > 1 else 0
        check_columns("user_items", given, len(Y), "items")
        cells = given.by_user.part(row, row + 1)
        problem = objective(self.alpha, self.regularization).user_problem(cells, statistics(len(Y)))
        background = gram(Y, np.ones(len(Y))) if user_weights is None else None
        system = row_equations(problem, Y[cells.indices], gram=background)
        if user_weights is None:
            user_weights = linalg.cho_factor(system.A)
        elif not (isinstance(user_weights, tuple) and np.shape(user_weights[0]) == (Y.shape[1],) * 2):
            raise ValueError(
                "user_weights must be what explain returned for this user, a tuple with a matrix of shape "
                f"{(Y.shape[1],) * 2}, got {type(user_weights).__name__}"
            )
        scores = system.b * (system.Y @ linalg.cho_solve(user_weights, Y[item]))
        counted = cells.all_values >= 0
        liked, scores = cells.indices[counted], scores[counted]
        best = np.lexsort((-liked, -scores))[: check_integer("N", N, 1)]
        return float(scores.sum()), list(zip(liked[best].tolist(), scores[best].tolist(), strict=True)), user_weights

    # Files and devices.

    def save(self, fileobj_or_path: FileOrPath) -> None:
        """Write the model to a `.npz` file that this class and `implicit` read.

        Parameters
        ----------
        fileobj_or_path : str, path or binary file
            `.npz` is appended to a path without it.

        Examples
        --------
        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "model.npz")
        >>> AlternatingLeastSquares(factors=8).save(path)
        >>> AlternatingLeastSquares.load(path).factors
        8
        """
        values = {name: getattr(self, name) for name in self._saved()}
        values["dtype"] = self.dtype.name
        if not isinstance(self.random_state, (int, np.integer)):
            del values["random_state"]
        kept = {name: value for name, value in values.items() if value is not None}
        write_arrays(fileobj_or_path, kept)

    @classmethod
    def load(cls, fileobj_or_path: FileOrPath) -> AlternatingLeastSquares:
        """Read a model that this class or `implicit` saved.

        Parameters
        ----------
        fileobj_or_path : str, path or binary file

        Returns
        -------
        AlternatingLeastSquares

        Raises
        ------
        FileNotFoundError, ValueError
            There is no such file, or it is not such a model.

        Examples
        --------
        >>> import os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "model.npz")
        >>> AlternatingLeastSquares(factors=8).save(path)
        >>> AlternatingLeastSquares.load(path).factors
        8
        """
        source = fileobj_or_path
        values = read_arrays(source, "saved AlternatingLeastSquares")
        model = cls()
        unknown = sorted(set(values) - set(model._saved()))
        if unknown:
            raise ValueError(f"{source} is not a saved AlternatingLeastSquares: it has {', '.join(unknown)}")
        for name, value in values.items():
            setattr(model, name, value.item() if value.ndim == 0 else value)
        model.dtype = check_dtype("dtype", model.dtype)
        for name in ("user_factors", "item_factors"):
            factors = getattr(model, name)
            if factors is not None and (np.shape(factors)[1:] != (model.factors,) or factors.dtype != model.dtype):
                raise ValueError(
                    f"{source} is damaged: {name} has shape {np.shape(factors)} with factors={model.factors}"
                )
        return model

    def _saved(self) -> list[str]:
        return [*self._param_names(), "cg_steps", "user_factors", "item_factors"]

    def to_gpu(self) -> None:
        """Raise a ValueError, as `implicit` does where it has no GPU.

        Examples
        --------
        >>> AlternatingLeastSquares().to_gpu()
        Traceback (most recent call last):
        ValueError: there is no GPU code here: use the model as it is
        """
        raise ValueError("there is no GPU code here: use the model as it is")
