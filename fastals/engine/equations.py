"""One row's equations in float64 and plain NumPy: what an explanation takes apart, and of many solutions the smallest.

A row's factors x are the solution of A x = r, for the row problem of `problem.RowProblem`:

    A = background G + ridge I + sum_j w_j y_j y_j' ,    r = sum_j b_j y_j + ridge p + background l

`rows.single_row` solves the same equations by the vector kernels, where Cholesky holds them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy

from .blas import eigh, one_blas_thread
from .problem import BACKGROUND, OFFSET, PRIOR, RIDGE, WEIGHT, RowProblem

BLOCK = 256  # rows taken at once
ROUNDINGS = 8  # of each summed number: a result that is no larger counts as 0


class Entries(NamedTuple):
    """The numbers of a problem's observed entries, float64 (n_entries,) each."""

    confidence: np.ndarray
    target: np.ndarray
    w: np.ndarray  # confidence less the background: what the entry weighs on top of it
    shift: np.ndarray  # by how much the entry's target is shifted, and would be if it were unobserved

    @property
    def b(self) -> np.ndarray:
        """Right-hand coefficients."""
        return self.confidence * self.target + self.w * self.shift

    @property
    def constant(self) -> np.ndarray:
        """What each entry adds to the objective at x = 0."""
        observed = self.confidence * self.target
        return observed * self.target + (2 * observed + self.w * self.shift) * self.shift


class Equations(NamedTuple):
    """A x = r with r = Y'b + ridge p + background l."""

    A: np.ndarray  # float64 (k, k)
    r: np.ndarray  # float64 (k,)
    Y: np.ndarray  # float64 (m, k): the fixed rows of the entries
    b: np.ndarray  # float64 (m,)
    w: np.ndarray  # float64 (m,)
    ridge: float
    background: np.ndarray | None  # float64 (k, k): background G; None where there is none
    eps: float  # of the dtype in which the fixed rows came
    mean: np.ndarray  # float64 (k,): the prior mean p, 0 where the row has none
    unobserved: np.ndarray  # float64 (k,): background l, 0 without shifts

    def only(self, unknowns: np.ndarray) -> Equations:
        """Return the equations where all unknowns but some are 0."""
        square = np.ix_(unknowns, unknowns)
        background = None if self.background is None else self.background[square]
        rest = {name: getattr(self, name)[unknowns] for name in ("r", "mean", "unobserved")}
        return self._replace(A=self.A[square], Y=self.Y[:, unknowns], background=background, **rest)

    @property
    def noise(self) -> float:
        """Share of the largest eigenvalue of Y'WY up to which another one is nothing but rounding."""
        size = max(self.Y.shape)
        return max(ROUNDINGS * size * np.finfo(float).eps, (size * self.eps) ** 2)


def entries(problem: RowProblem, offsets: np.ndarray | None = None) -> Entries:
    """Return confidence, target and weight of every entry, as `CellRule` defines them.

    Parameters
    ----------
    problem : RowProblem
    offsets : ndarray, shape (n_entries,), optional
        Biases that stand for the offsets, or for the shifts, of the problem.
    """
    cells, rule, rows, columns, shifts = problem
    row = rows[0] if len(rows) == 1 else np.repeat(rows[:, :PRIOR], cells.counts, axis=0).T
    column = (columns if len(columns) == 1 else columns[cells.indices]).astype(np.float64)
    offset, shift = column[:, OFFSET], np.zeros(len(cells.indices))
    if len(shifts.columns):
        shift += shifts.columns[cells.indices] if offsets is None else -offsets
    elif offsets is not None:
        offset = offsets.astype(np.float64)
    values = cells.all_values.astype(np.float64)
    confidence = (rule.constant + rule.slope * np.abs(values)) * cells.all_weights * row[WEIGHT] * column[:, WEIGHT]
    target = rule.sign_target * (values > 0) + rule.value_target * (values - rule.mean - offset)
    return Entries(confidence, target, confidence - row[BACKGROUND] * column[:, BACKGROUND], shift)


def row_equations(
    problem: RowProblem, Y: np.ndarray, offsets: np.ndarray | None = None, gram: np.ndarray | None = None
) -> Equations:
    """Return the equations of a problem of one row.

    Parameters
    ----------
    problem : RowProblem
        Where targets are shifted, with the linear term of the shifts.
    Y : ndarray, shape (m, k)
        The fixed rows of its entries.
    offsets : ndarray, shape (m,), optional
        The biases of the fixed rows: they are taken off the targets, and the row's own bias is one more unknown, the
        last one.
    gram : ndarray of float64, shape (k, k), optional
        G of the fixed side; None where there is no background.
    """
    eps = float(np.finfo(Y.dtype).eps)
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
    ridge, mean = float(problem.rows[0, RIDGE]), np.zeros(Y.shape[1])
    if problem.rows.shape[1] > PRIOR:
        mean += problem.rows[0, PRIOR:][: len(mean)]
        r += ridge * mean
    unobserved = np.zeros(Y.shape[1])
    if len(problem.shifts.linear):
        unobserved += float(problem.rows[0, BACKGROUND]) * problem.shifts.linear[: len(unobserved)].astype(np.float64)
        r += unobserved
    A += ridge * np.eye(Y.shape[1])
    background = None if gram is None else problem.rows[0, BACKGROUND] * gram
    if background is not None:
        A += background
    return Equations(A, r, Y, b, w, ridge, background, eps, mean, unobserved)


def solve(equations: Equations) -> np.ndarray:
    """Return x, float64 (k,): of many solutions the smallest. A row without entries is its prior mean."""
    return smallest(equations)[0]


def smallest(equations: Equations) -> tuple[np.ndarray, bool]:
    """Return x as `solve`, and whether it is the only solution."""
    _, r, Y, b, w, ridge, background, _, mean, unobserved = equations
    if len(b) == 0:
        return mean, True
    if not w.any() and not b.any() and not (ridge * mean + unobserved).any():
        return np.zeros(len(r)), False
    if ridge == 0 and background is None and len(b) < len(r):
        # Fewer entries than unknowns: x = Z'(Z Z')^-1 q with Z = sqrt(W) Y costs less than singular vectors.
        used = w > 0
        root = np.sqrt(w[used])
        Z = Y[used] * root[:, None]
        with one_blas_thread():
            t = _cholesky_solve(Z @ Z.T, b[used] / root, equations.noise)
            if t is not None:
                return np.asarray(Z.T @ t), False
    return _inverse_times(equations, r)


def of_mean(equations: Equations, y: np.ndarray) -> float:
    """Return what the prior mean p adds to the prediction x.y: ridge p' A^+ y, as `contributions` for entries."""
    if len(equations.b) == 0:
        return float((equations.mean * y).sum())
    turned, _ = _inverse_times(equations, y)
    return float(equations.ridge * (equations.mean * turned).sum())


def of_unobserved(equations: Equations, y: np.ndarray) -> float:
    """Return what the shifts of the background add to the prediction x.y: background l' A^+ y."""
    if len(equations.b) == 0:
        return 0.0
    turned, _ = _inverse_times(equations, y)
    return float((equations.unobserved * turned).sum())


def contributions(equations: Equations, y: np.ndarray) -> np.ndarray:
    """Return what each entry adds to the prediction x.y, float64 (m,).

    x = A^+ sum_j b_j y_j, so x.y is the sum of b_j y_j' A^+ y (Hu, Koren, Volinsky: Collaborative filtering for
    implicit feedback datasets. ICDM 2008, section 5).
    """
    if len(equations.b) == 0:
        return equations.b
    turned, _ = _inverse_times(equations, y)
    with one_blas_thread():
        return equations.b * (equations.Y @ turned)


def rounding_of_gram(width: int, eps: float) -> float:
    """Return the share of the largest eigenvalue of a Gram matrix up to which another one is nothing but rounding.

    The matrix is summed in float64. The fixed rows came in a dtype of this `eps`, and their squares are in the matrix.
    """
    return max(width * float(np.finfo(float).eps), (width * eps) ** 2)


def range_of(gram: np.ndarray, Y: np.ndarray, eps: float) -> np.ndarray | None:
    """Return axes that span the range of a background's Gram matrix, float64 (k, rank).

    An eigenvalue within the rounding of the fixed rows counts as 0; `eps` is that of the dtype in which they came. None
    where no eigenvalue is 0, all are, or the fixed rows `Y` reach out of the range, as those without a weight in the
    background may.
    """
    if not np.isfinite(gram).all():
        return None
    values, vectors = eigh(gram)
    share = rounding_of_gram(len(gram), eps)
    null = values <= share * values[-1]
    if not null.any() or not values[-1] > 0:
        return None
    with one_blas_thread():
        left = Y.astype(np.float64) @ vectors[:, null]
    # The matrix has the squares of the fixed rows: it is 0 but for rounding long before they are.
    return vectors[:, ~null] if (left**2).sum() <= (len(gram) * eps) ** 2 * np.sum(Y**2, dtype=np.float64) else None


def _inverse_times(equations: Equations, v: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return A^-1 v, or A^+ v where A is singular: the smallest solution; and whether it is the only one.

    Where a number of A or v is not finite, neither is the solution: LAPACK would fail on it, or not come to an end.
    """
    if not (np.isfinite(equations.A).all() and np.isfinite(v).all()):
        return np.full(len(v), np.nan), False
    background, axes = equations.background, None
    if background is not None and equations.ridge <= equations.eps * background.diagonal().max():
        axes = range_of(background, equations.Y, equations.eps)
    with one_blas_thread():
        if axes is not None and background is not None:
            A, G = (axes.T @ matrix @ axes for matrix in (equations.A, background))
            equations, v = equations._replace(A=A, Y=equations.Y @ axes, background=G), axes.T @ v
        size = 0.0 if equations.background is None else _norm(equations.background)
        solution = _cholesky_solve(equations.A, v, ROUNDINGS * max(equations.Y.shape) * np.finfo(float).eps, size)
        unique = axes is None and solution is not None
        if solution is None:
            solution = _pseudoinverse_times(equations, v)
        return (solution if axes is None else np.asarray(axes @ solution)), unique


def _pseudoinverse_times(equations: Equations, v: np.ndarray) -> np.ndarray:
    """Return A^+ v. What is 0 without the ridge counts as 0 also with it: no right-hand side reaches there."""
    _, _, Y, _, w, ridge, background, eps, _, _ = equations
    with one_blas_thread():
        Z = Y * np.sqrt(np.maximum(w, 0))[:, None]
        if background is not None:
            values, axes = eigh(background + (Y.T * np.minimum(w, 0)) @ Y)
            values[values <= rounding_of_gram(len(background), eps) * background.diagonal().max()] = 0
            Z = np.vstack([Z, np.sqrt(values)[:, None] * axes.T])
        _, values, axes = np.linalg.svd(Z, full_matrices=False)  # they tell more than the eigenvalues, their squares
        there = values > max(Y.shape) * eps * values[0]
        return np.asarray(axes[there].T @ (axes[there] @ v / (values[there] ** 2 + ridge)))


def _cholesky_solve(A: np.ndarray, r: np.ndarray, noise: float, size: float = 0.0) -> np.ndarray | None:
    """Return A^-1 r; None where the reciprocal condition number of A is `noise` or less.

    The pivots alone do not tell: what comes out in the place of a 0 may be many roundings large. Nor does A alone where
    it is the small difference of larger numbers: `size` is the norm of what entries were taken off from.
    """
    # By its full name: importing it with this module would add a tenth to what `import fastals` takes.
    factor, solution, info = scipy.linalg.lapack.dposv(A, r)
    if info != 0 or not scipy.linalg.lapack.dpocon(factor, max(size, _norm(A)))[0] > noise:
        return None
    return np.asarray(solution)


def _norm(A: np.ndarray) -> float:
    return float(np.abs(A).sum(axis=0).max())


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
