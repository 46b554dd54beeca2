"""One half-step as textbooks have it: the other side stays as it is, and the solutions are in its basis.

`fastals.engine.fit` rotates and balances both sides as it goes along and ends with the users: the same model in other
factors. Code that was written for a plain loop wants the factors of that loop.
"""

from __future__ import annotations

import numpy as np

from ..engine import basis, sweep
from ..engine import fit as engine
from ..engine.panel import aligned_zeros, as_panel
from ..engine.problem import BACKGROUND, RowProblem
from ..estimators import solve_error

__all__ = ["half_step"]


def half_step(
    problem: RowProblem,
    Y: np.ndarray,
    side: str,
    n_threads: int,
    start: np.ndarray | None = None,
    steps: int = 0,
) -> tuple[np.ndarray, float]:
    """Solve every row of `problem` for the fixed factors `Y`.

    Parameters
    ----------
    problem : RowProblem
    Y : ndarray, shape (n_columns, k)
    side : {'user', 'item'}
        What the rows are, for the message where one cannot be solved.
    n_threads : int
    start : ndarray, shape (n_rows, k), optional
        Where conjugate gradients begin. None: every row is solved exactly, by Cholesky.
    steps : int
        Of conjugate gradients, at most; rows for which Cholesky is cheaper are still solved by it.

    Returns
    -------
    X : ndarray, shape (n_rows, k)
    loss : float
        The objective of X and Y, less the ridge of Y.

    Raises
    ------
    numpy.linalg.LinAlgError
        A row's equations have no solution; the message names row and remedy.
    """
    panel, background, width = as_panel(Y), problem.columns[:, BACKGROUND], Y.shape[1]
    fixed = basis.fix(panel, background, width, n_threads)
    X = aligned_zeros((problem.cells.n_rows, panel.shape[1]), panel.dtype)
    plan = engine.plan_for("cholesky", X.dtype, bool(background.any()), warm=False, last=True)
    if start is not None:
        X[:, :width] = start
        if fixed.rotation is not None:
            basis.rotate(X, fixed.rotation, n_threads)
        plan = engine.plan_for("auto", X.dtype, bool(background.any()), warm=True, last=False)._replace(
            steps=steps, expected=steps
        )
    outcome = sweep.half_step(problem, fixed.panel, fixed.g, width, X, plan, n_threads)
    failed = np.flatnonzero(outcome.status)
    if len(failed):
        failure = engine.Failure(side, int(failed[0]), int(outcome.status[failed[0]]))
        raise solve_error(failure, problem.cells, X.dtype)
    if fixed.rotation is not None:
        basis.rotate(X, fixed.rotation.T, n_threads)
    return np.ascontiguousarray(X[:, :width]), outcome.loss
