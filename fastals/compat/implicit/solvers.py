"""What `implicit` has as functions: `least_squares`, `least_squares_cg` and `calculate_loss`."""

from __future__ import annotations

import numpy as np

from ...data.interactions import Interactions, MatrixLike
from ...engine.loss import cells_and_background, ridge
from ...engine.panel import as_panel
from ...engine.threads import available
from ...objectives import Objective, Statistics
from ...validation import check_integer, check_number
from ..textbook import HalfStep, writable_panel
from .utils import as_confidences

__all__ = [
    "calculate_loss",
    "check_finite",
    "least_squares",
    "least_squares_cg",
    "objective",
    "solve",
    "statistics",
    "total_confidence",
]


def least_squares(Cui: MatrixLike, X: np.ndarray, Y: np.ndarray, regularization: float, num_threads: int = 0) -> None:
    """Overwrite `X` by the exact solutions for `Y`, each by Cholesky.

    Parameters
    ----------
    Cui : csr_matrix, shape (n, m)
        Confidences, already multiplied by alpha. A negative number is a disliked item with that confidence.
    X : ndarray of float32 or float64, shape (n, factors)
    Y : ndarray of the dtype of `X`, shape (m, factors)
    regularization : float
        Ridge of every row.
    num_threads : int, default 0
        0: as many as the process may use.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described; `X` is unchanged.
    numpy.linalg.LinAlgError
        A row's solution is not finite in the dtype; `X` is unchanged.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csr_matrix
    >>> X = np.zeros((2, 2))
    >>> least_squares(csr_matrix([[4.0, 0.0], [0.0, 9.0]]), X, np.eye(2), 1.0)
    >>> X
    array([[0.8, 0. ],
           [0. , 0.9]])
    """
    _half_step(Cui, X, Y, regularization, num_threads, 0)


def least_squares_cg(
    Cui: MatrixLike, X: np.ndarray, Y: np.ndarray, regularization: float, num_threads: int = 0, cg_steps: int = 3
) -> None:
    """Move `X` towards the solutions for `Y` by conjugate gradients, in place.

    The steps are preconditioned, so they come nearer to the solution than as many steps of `implicit`. A row for which
    Cholesky is cheaper is solved by Cholesky.

    Parameters
    ----------
    Cui, X, Y, regularization, num_threads
        As in `least_squares`. The iteration starts from the rows of `X`.
    cg_steps : int, default 3
        Most steps for a row.

    Raises
    ------
    TypeError, ValueError, numpy.linalg.LinAlgError
        As from `least_squares`.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csr_matrix
    >>> X = np.zeros((2, 2))
    >>> least_squares_cg(csr_matrix([[4.0, 0.0], [0.0, 9.0]]), X, np.eye(2), 1.0)
    >>> np.round(X, 6)
    array([[0.8, 0. ],
           [0. , 0.9]])
    """
    _half_step(Cui, X, Y, regularization, num_threads, check_integer("cg_steps", cg_steps, 1))


def calculate_loss(Cui: MatrixLike, X: np.ndarray, Y: np.ndarray, regularization: float, num_threads: int = 0) -> float:
    """Return the objective of given factors, divided by the sum of all confidences.

    `implicit` adds the confidence of every disliked entry to it.

    Parameters
    ----------
    Cui, X, Y, regularization, num_threads
        As in `least_squares`. No array is changed.

    Returns
    -------
    float
        (objective) / (sum of the confidences + number of entries that are not stored), summed in float64.

    Raises
    ------
    TypeError, ValueError
        An argument is not as described.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csr_matrix
    >>> calculate_loss(csr_matrix([[4.0, 0.0]]), np.array([[1.0]]), np.array([[0.5], [1.0]]), 0.0)
    0.4
    """
    rows, n_threads = _checked(Cui, X, Y, num_threads)
    given = objective(1.0, regularization)
    problem = given.user_problem(rows.by_user, statistics(len(Y)))
    panels = as_panel(check_finite("factors X", X)), as_panel(check_finite("factors Y", Y))
    total = cells_and_background(problem, *panels, X.shape[1], n_threads) + ridge(problem, panels[0])
    total += given.regularization[1] * float(np.square(Y, dtype=np.float64).sum())
    return total / total_confidence(rows, 1.0)


def total_confidence(rows: Interactions, alpha: float) -> float:
    """Return the sum of all confidences: `alpha |r|` of a stored entry, 1 of any other.

    Parameters
    ----------
    rows : Interactions
    alpha : float

    Returns
    -------
    float
    """
    stored = float(alpha * np.abs(rows.by_user.all_values).sum(dtype=np.float64))
    return stored + rows.shape[0] * rows.shape[1] - rows.nnz


def _half_step(
    Cui: MatrixLike, X: np.ndarray, Y: np.ndarray, regularization: float, num_threads: int, steps: int
) -> None:
    rows, n_threads = _checked(Cui, X, Y, num_threads)
    if not X.flags.writeable:
        raise ValueError("X is read-only and the solutions are written into it: pass a copy")
    start = check_finite("factors X", X) if steps else None
    given = objective(1.0, regularization)
    X[:] = solve(rows, check_finite("factors Y", Y), given, "row", n_threads, steps, start)


def _checked(Cui: MatrixLike, X: np.ndarray, Y: np.ndarray, num_threads: int) -> tuple[Interactions, int]:
    """Return the confidences, which fit to `X` and `Y`, and the number of threads."""
    for name, factors in (("X", X), ("Y", Y)):
        if not isinstance(factors, np.ndarray) or factors.ndim != 2 or factors.dtype.name not in ("float32", "float64"):
            shown = f"{factors.dtype} {factors.shape}" if isinstance(factors, np.ndarray) else type(factors).__name__
            raise TypeError(f"{name} must be a 2-D array of float32 or float64, got {shown}")
    if X.dtype != Y.dtype or X.shape[1] != Y.shape[1]:
        raise ValueError(
            f"X and Y must have one dtype and one number of columns, got {X.dtype} {X.shape} and {Y.dtype} {Y.shape}"
        )
    rows = as_confidences("Cui", Cui, X.dtype, 5)
    if rows.shape[0] != len(X) or rows.shape[1] > len(Y):
        raise ValueError(
            f"Cui has shape {rows.shape}: one row for each of the {len(X)} rows of X and at most one column for each "
            f"of the {len(Y)} rows of Y are wanted"
        )
    return rows, check_integer("num_threads", num_threads, 0) or available()


def objective(alpha: float, regularization: float) -> Objective:
    """Return the objective of `implicit`: confidence `alpha |r|`, preference 1 for r > 0, the rest weighs 1.

    Parameters
    ----------
    alpha, regularization : float

    Returns
    -------
    Objective

    Raises
    ------
    TypeError, ValueError
        A number is not finite or below 0.
    """
    return Objective(
        constant=0.0,
        slope=check_number("alpha", alpha, 0.0),
        sign_target=1.0,
        value_target=0.0,
        regularization=(check_number("regularization", regularization, 0.0),) * 2,
        unobserved_weight=1.0,
    )


def statistics(n: int) -> Statistics:
    """Return the statistics for a fixed side of `n` rows, all of which weigh 1."""
    ones = np.ones(n)
    return Statistics(0.0, ones, ones, 1.0)


def solve(
    rows: Interactions,
    Y: np.ndarray,
    objective: Objective,
    side: str,
    n_threads: int,
    steps: int = 0,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """Return the solutions for `Y`, shape (rows, factors).

    Parameters
    ----------
    rows : Interactions
    Y : ndarray, shape (n, factors)
    objective : Objective
    side : str
        What a row is, for messages.
    n_threads : int
    steps : int, default 0
        Most steps of conjugate gradients from `start`; 0: solve exactly.
    start : ndarray, shape (rows, factors), optional

    Returns
    -------
    ndarray
    """
    factors = Y.shape[1]
    problem = objective.user_problem(rows.by_user, statistics(len(Y)))
    panel = writable_panel(np.zeros((rows.shape[0], factors), Y.dtype) if start is None else start)
    HalfStep(problem, side, factors, n_threads, steps)(panel, as_panel(Y))
    return np.ascontiguousarray(panel[:, :factors])


def check_finite(name: str, factors: np.ndarray) -> np.ndarray:
    """Return `factors`; all of them must be finite.

    Parameters
    ----------
    name : str
        What they are, for the message.
    factors : ndarray, shape (n, k)

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        A number is not finite.
    """
    if not np.isfinite(factors).all():
        row = int(np.flatnonzero(~np.isfinite(factors).all(axis=1))[0])
        raise ValueError(f"{name} are not finite in row {row}: replace that row by finite numbers")
    return factors
