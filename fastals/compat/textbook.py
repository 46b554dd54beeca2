"""Half-steps as textbooks describe them: solve one side and leave the other side unchanged.

`fastals.engine.alternation` rotates both sides and ends with the users: predictions are the same, the factors are not.
Code that replaces a plain ALS loop must return the factors of that loop.
"""

from __future__ import annotations

import numpy as np

from ..engine import basis, plain, sweep
from ..engine.fallback import is_plain
from ..engine.panel import as_panel
from ..engine.plan import plan_for
from ..engine.problem import BACKGROUND, Outcome, RowProblem, first_failure
from ..errors import solve_error

__all__ = ["HalfStep", "writable_panel"]


class HalfStep:
    """Solve all rows of a problem, any number of times; plan and schedule are made once.

    Parameters
    ----------
    problem : RowProblem
    side : {'user', 'item'}
        What a row is, for messages.
    factors : int
    n_threads : int
    steps : int, default 0
        Most steps of conjugate gradients for a row, from its previous solution. Rows for which Cholesky is cheaper are
        solved by Cholesky. 0: solve every row exactly.
    """

    def __init__(self, problem: RowProblem, side: str, factors: int, n_threads: int, steps: int = 0):
        self._problem, self._side, self._factors, self._n_threads = problem, side, factors, n_threads
        dtype, background = problem.rows.dtype, bool(problem.columns[:, BACKGROUND].any())
        self._warm = steps > 0
        solver = "auto" if self._warm else "cholesky"
        self._plan = plan_for(solver, dtype, background, warm=self._warm, last=not self._warm, steps=steps)
        self._solve: sweep.Solve | None = None

    def __call__(self, X: np.ndarray, Y: np.ndarray) -> float:
        """Overwrite X by the solutions for Y and return the objective without the ridge of Y.

        Parameters
        ----------
        X : ndarray, shape (n_rows, padded factors)
            From `writable_panel`; conjugate gradients start from it.
        Y : ndarray, shape (n_columns, padded factors)
            From `as_panel`.

        Returns
        -------
        float

        Raises
        ------
        numpy.linalg.LinAlgError
            A row's solution is not finite in the dtype; the message names the row and the remedy.
        """
        problem, width, n_threads = self._problem, self._factors, self._n_threads
        if is_plain("auto"):
            return self._checked(plain.half_step(problem, Y, width, X, n_threads), X)
        fixed = basis.fix(Y, problem.columns[:, BACKGROUND], width, n_threads)
        if self._warm:
            basis.rotate(X, fixed.rotation, n_threads)
        if self._solve is None:
            self._solve = sweep.solver_here(problem.cells, Y, self._plan, n_threads)
        outcome = sweep.half_step(problem, fixed.panel, fixed.g, width, X, self._plan, n_threads, self._solve)
        if fixed.rotation is not None:
            basis.rotate(X, fixed.rotation.T, n_threads)
        return self._checked(outcome, X)

    def _checked(self, outcome: Outcome, X: np.ndarray) -> float:
        failure = first_failure(self._side, outcome.status)
        if failure is not None:
            raise solve_error(self._side, failure.row, self._problem.cells.counts[failure.row], X.dtype)
        return max(0.0, outcome.loss)


def writable_panel(factors: np.ndarray) -> np.ndarray:
    """Return a copy of `factors`, shape (n, k), as a panel."""
    return as_panel(factors.copy())
