"""Gram matrix, Cholesky factor and substitution, on padded square matrices.

A = U'U with U upper triangular and row-major, so that every update is ``add_product`` on contiguous rows. The
factorisation is left-looking: it reads and writes each block of W rows once, with all updates from the rows above in
one product.

The caller pads the matrix to a multiple of W, with ones on the diagonal and zeros elsewhere. Only the upper triangle is
read.
"""

from fastals.engine.jit import inner
from fastals.engine.simd.kernels import (
    add_gram,
    add_product,
    cholesky_block,
    folds_of,
    lanes_of,
    solve_tile,
    strip_of,
    substitute_backward,
    substitute_forward,
    unfold,
)


@inner
def gram_add(
    C,  # inout  float (height, width)    upper triangle, by W x W blocks
    keep,  # in     whether to add to C, else overwrite it
    sign,  # in     1 or -1
    P,  # in     float (depth, width), in strips
    rows,  # in     rows that a strip of P has room for
    depth,
    height,  # padded; below width a multiple of S
    width,  # padded
):
    """Add sign * P'P to the upper triangle of the first rows of C, or overwrite it. Call ``unfold_gram`` at the end.

    Below the diagonal only the W x W blocks that contain it are written.
    """
    S = strip_of(C)
    for j in range(0, height - S + 1, S):
        add_gram(C, j * width + j, width, keep, sign, P, j * rows, depth)
    gram_add_between(C, keep, sign, P, rows, depth, height, width)


@inner
def gram_add_between(
    C,  # inout  as for ``gram_add``
    keep,
    sign,
    P,
    rows,
    depth,
    height,
    width,
):
    """Do what ``gram_add`` does, without the products of whole strips with themselves: ``gather_panel`` adds those."""
    W, S = lanes_of(C), strip_of(C)
    for j in range(0, width, S):
        right, columns = j * rows, min(S, width - j)
        for i in range(0, min(j, height), S):
            tall = min(S, height - i)
            add_product(C, i * width + j, width, keep, sign, P, i * rows, S, P, right, S, depth, tall, columns)
        if j < height and columns < S:
            for i in range(0, columns, W):
                start = (j + i) * (width + 1)
                add_product(C, start, width, keep, sign, P, right + i, S, P, right + i, S, depth, W, columns - i)


@inner
def unfold_gram(
    C,  # inout  float (height, width)    in: as ``gram_add`` leaves it; out: its upper triangle
    height,  # as for ``gram_add``
    width,
):
    """Move the blocks that ``gram_add`` has folded to their places."""
    S = strip_of(C)
    if folds_of(C):
        for j in range(0, height - S + 1, S):
            unfold(C, j * width + j, width)


@inner
def solve(
    A,  # inout  float (n, n)    in: upper triangle of the matrix; out: U, with the blocks U_ii'^-1 on its diagonal
    n,  # padded
    inv,  # work   float (n,)    reciprocals of the diagonal of U
    x,  # inout  float (n,)      in: right-hand side; out: solution
):  # -> 0, or 1 + the first row whose pivot is not positive or NaN
    """Factor a symmetric positive definite matrix, and solve A x = b.

    Forward substitution follows the factorisation block by block, so that the CPU overlaps the two.
    """
    W = lanes_of(A)
    for i in range(0, n, W):
        diagonal = i * n + i
        if i > 0:
            add_product(A, diagonal, n, 1, -1.0, A, i, n, A, i, n, i, W, n - i)
        status = cholesky_block(A, diagonal, n, inv, i)
        if status != 0:
            return i + status
        solve_tile(A, diagonal, n, inv, i, A, diagonal + W, n, n - i - W)
        substitute_forward(A, 0, n, i, x, 0)
    substitute_backward(A, 0, n, n, x, 0)
    return 0
