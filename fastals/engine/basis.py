"""The background: its Gram matrix, its eigenbasis, and panels rotated into it.

In the eigenbasis G = Q diag(g) Q' the background of every row, whatever its factor, is the diagonal c g. The model does
not change when both sides are rotated alike, so a fit leaves the fixed side rotated and solves the other one there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .jit import kernel, next_block
from .threads import spread

PIECE = 512  # rows summed in the panel's own precision before they go to float64


class Fixed(NamedTuple):
    """A fixed side ready for half-steps."""

    panel: np.ndarray  # T (n, kp), in the eigenbasis
    g: np.ndarray  # T (kp,), eigenvalues of the background, 0 in the padding
    rotation: np.ndarray | None  # float64 (width, width): panel = original @ rotation; None where it is the original


def gram(panel: np.ndarray, weights: np.ndarray, width: int, n_threads: int) -> np.ndarray:
    """Return sum_j weights_j y_j y_j' in float64, shape (width, width).

    Pieces of fixed size are summed in a fixed order: the bits do not depend on the number of threads.
    """
    n_pieces = -(-len(panel) // PIECE)
    groups = min(n_pieces, 16)
    partial = np.zeros((groups, width, width))
    spread(_gram_groups, min(n_threads, groups), panel, weights, width, partial)
    upper = np.triu(partial.sum(axis=0))
    return upper + np.triu(upper, 1).T


@kernel
def _gram_groups(
    counter,  # inout int64 (1,)
    panel,  # in    T (n, kp)
    weights,  # in    T (n,)
    width,  # in    intp
    partial,  # out   float64 (groups, width, width)   upper triangles
):
    """Sum every groups-th piece into its group."""
    n, groups = len(panel), len(partial)
    while True:
        group = next_block(counter)
        if group >= groups:
            return
        for start in range(group * PIECE, n, groups * PIECE):
            for j in range(start, min(start + PIECE, n)):
                y = panel[j]
                for a in range(width):
                    wy = weights[j] * np.float64(y[a])
                    for b in range(a, width):
                        partial[group, a, b] += wy * y[b]


def diagonalise(panel: np.ndarray, weights: np.ndarray, width: int, n_threads: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues g (T, (kp,)) and eigenvectors Q (float64, (width, width)) of the background."""
    eigenvalues, vectors = np.linalg.eigh(gram(panel, weights, width, n_threads))
    return _pad(np.maximum(eigenvalues, 0), panel), vectors


def rotate(panel: np.ndarray, rotation: np.ndarray) -> None:
    """Overwrite `panel` by `panel @ rotation`, some rows at a time."""
    width = len(rotation)
    rotation = rotation.astype(panel.dtype)
    for start in range(0, len(panel), PIECE):
        block = panel[start : start + PIECE, :width]
        block[:] = block @ rotation


def fix(panel: np.ndarray, weights: np.ndarray, width: int, n_threads: int) -> Fixed:
    """Prepare a side that must not change: rotated into a copy, unless it lies in its eigenbasis already.

    What a fit stores does, so folding in works on the stored factors themselves, and gives the same bits.
    """
    if not weights.any():
        return Fixed(panel, np.zeros(panel.shape[1], panel.dtype), None)
    background = gram(panel, weights, width, n_threads)
    diagonal = background.diagonal()
    # A rotation in working precision leaves off-diagonals of some eps |G|, not 0.
    if np.abs(background - np.diag(diagonal)).max() <= 64 * np.finfo(panel.dtype).eps * diagonal.max():
        return Fixed(panel, _pad(diagonal, panel), None)
    eigenvalues, rotation = np.linalg.eigh(background)
    rotated = panel.copy()
    rotate(rotated, rotation)
    return Fixed(rotated, _pad(np.maximum(eigenvalues, 0), panel), rotation)


def _pad(g: np.ndarray, panel: np.ndarray) -> np.ndarray:
    full = np.zeros(panel.shape[1], panel.dtype)
    full[: len(g)] = g
    return full
