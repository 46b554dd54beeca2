"""Cholesky factor A = U'U of a padded square and substitution with it."""

from __future__ import annotations

import numpy as np

from .jit import inner


@inner
def factor(
    A,  # inout T (kp, kp)   upper triangle: A in, U out
):  # -> int: 0, or 1 + the first pivot that is not above 0
    """Factor in place, row by row."""
    n = A.shape[0]
    for i in range(n):
        if not A[i, i] > 0:
            return i + 1
        A[i, i] = np.sqrt(A[i, i])
        inverse = 1 / A[i, i]
        for j in range(i + 1, n):
            A[i, j] *= inverse
        for r in range(i + 1, n):
            scale = A[i, r]
            for j in range(r, n):
                A[r, j] -= scale * A[i, j]
    return 0


@inner
def substitute(
    U,  # in    T (kp, kp)
    x,  # inout T (kp,)      right-hand side in, solution out
):
    """Solve U'U x = r in place."""
    n = len(x)
    for i in range(n):
        x[i] /= U[i, i]
        for j in range(i + 1, n):
            x[j] -= U[i, j] * x[i]
    for i in range(n - 1, -1, -1):
        total = x[i]
        for j in range(i + 1, n):
            total -= U[i, j] * x[j]
        x[i] = total / U[i, i]
