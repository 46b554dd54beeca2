"""One row's equations in float64 and plain NumPy: what an update solves and an explanation takes apart.

A row's factors x are the solution of A x = r, for the row problem of `problem.RowProblem`:

    A = background G + ridge I + sum_j w_j y_j y_j' ,    r = sum_j b_j y_j

The kernels of a half-step want the background as a diagonal. To bring it there costs ten times what one row does.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy

from .blas import one_blas_thread
from .problem import BACKGROUND, OFFSET, RIDGE, WEIGHT, RowProblem

BLOCK = 256  # rows taken at once


class Entries(NamedTuple):
    """The numbers of a problem's observed entries, float64 (n_entries,) each."""

    confidence: np.ndarray
    target: np.ndarray
    w: np.ndarray  # confidence less the background: what the entry weighs on top of it

    @property
    def b(self) -> np.ndarray:
        """Right-hand coefficients."""
        return self.confidence * self.target


class Equations(NamedTuple):
    """A x = r with r = Y'b."""

    A: np.ndarray  # float64 (k, k)
    r: np.ndarray  # float64 (k,)
    Y: np.ndarray  # float64 (m, k): the fixed rows of the entries
    b: np.ndarray  # float64 (m,)


def entries(problem: RowProblem, offsets: np.ndarray | None = None) -> Entries:
    """Return confidence, target and weight of every entry, as `CellRule` defines them.

    Parameters
    ----------
    problem : RowProblem
    offsets : ndarray, shape (n_entries,), optional
        Stand for those of the problem.
    """
    cells, rule, rows, columns = problem
    row = rows[0] if len(rows) == 1 else np.repeat(rows, cells.counts, axis=0).T
    column = (columns if len(columns) == 1 else columns[cells.indices]).astype(np.float64)
    offset = column[:, OFFSET] if offsets is None else offsets.astype(np.float64)
    values = cells.all_values.astype(np.float64)
    confidence = (rule.constant + rule.slope * np.abs(values)) * cells.all_weights * row[WEIGHT] * column[:, WEIGHT]
    target = rule.sign_target * (values > 0) + rule.value_target * (values - rule.mean - offset)
    return Entries(confidence, target, confidence - row[BACKGROUND] * column[:, BACKGROUND])


def row_equations(
    problem: RowProblem, Y: np.ndarray, offsets: np.ndarray | None = None, gram: np.ndarray | None = None
) -> Equations:
    """Return the equations of a problem of one row.

    Parameters
    ----------
    problem : RowProblem
    Y : ndarray, shape (m, k)
        The fixed rows of its entries.
    offsets : ndarray, shape (m,), optional
        The biases of the fixed rows: they are taken off the targets, and the row's own bias is one more unknown, the
        last one.
    gram : ndarray of float64, shape (k, k), optional
        G of the fixed side; None where there is no background.
    """
    Y = Y.astype(np.float64)
    if offsets is not None:
        Y = np.column_stack([Y, np.ones(len(Y))])
    numbers = entries(problem, offsets)
    w, b = numbers.w, numbers.b
    with one_blas_thread():
        if w.min(initial=0) >= 0:
            Z = Y * np.sqrt(w)[:, None]
            A = Z.T @ Z  # which BLAS does in half the time of the product of two matrices
        else:
            A = (Y.T * w) @ Y
        r = Y.T @ b
    A += problem.rows[0, RIDGE] * np.eye(Y.shape[1])
    if gram is not None:
        A += problem.rows[0, BACKGROUND] * gram
    return Equations(A, r, Y, b)


def solve(equations: Equations) -> np.ndarray | None:
    """Return x, float64 (k,), by Cholesky; None where A is not positive definite. A row without entries is 0."""
    return _cholesky_solve(equations.A, equations.r) if len(equations.b) else np.zeros(len(equations.r))


def contributions(equations: Equations, y: np.ndarray) -> np.ndarray | None:
    """Return what each entry adds to the prediction x.y, float64 (m,); None where A is not positive definite.

    x = A^-1 sum_j b_j y_j, so x.y is the sum of b_j y_j' A^-1 y (Hu, Koren, Volinsky: Collaborative filtering for
    implicit feedback datasets. ICDM 2008, section 5).
    """
    if len(equations.b) == 0:
        return equations.b
    turned = _cholesky_solve(equations.A, y)
    with one_blas_thread():
        return None if turned is None else equations.b * (equations.Y @ turned)


def _cholesky_solve(A: np.ndarray, r: np.ndarray) -> np.ndarray | None:
    # By its full name: importing it with this module would add a tenth to what `import fastals` takes.
    factor, solution, info = scipy.linalg.lapack.dposv(A, r)
    pivots = factor.diagonal() ** 2
    # A pivot that is no more than a rounding may come out positive, where exactly it is 0.
    if info != 0 or pivots.min() <= len(A) * np.finfo(float).eps * A.diagonal().max():
        return None
    return solution


def gram(factors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return sum_j weights_j y_j y_j', in float64 throughout; one weight stands for all.

    `basis.gram` sums pieces in the factors' own precision, and so is faster. Where a model explains all but little of
    the data, that little is then lost from a loss.
    """
    total = np.zeros((factors.shape[1], factors.shape[1]))
    weights = np.broadcast_to(weights, len(factors))
    with one_blas_thread():
        for start in range(0, len(factors), BLOCK):
            rows = factors[start : start + BLOCK].astype(np.float64)
            total += (rows.T * weights[start : start + BLOCK]) @ rows
    return total
