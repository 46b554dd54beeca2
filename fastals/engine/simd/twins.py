"""What each micro-kernel computes, in plain NumPy: the reference of the tests.

Names and arguments are those of ``kernels.py``. The arrays may have any float dtype.
"""

import numpy as np

from fastals.engine.simd.target import lanes, target


def _at(offset, ld, rows, columns):
    """Return the flat positions of a block."""
    return offset + ld * np.arange(rows)[:, None] + np.arange(columns)


def _in_strips(offset, rows, count, width, dtype):
    """Return the flat positions of the first rows of a panel in strips."""
    strip = target().strip(dtype.itemsize)
    columns = np.arange(width)
    return offset + columns // strip * strip * rows + strip * np.arange(count)[:, None] + columns % strip


def _gathered(Y, ldy, indices, p, count):
    return Y.flat[_at(0, ldy, len(Y.flat) // ldy, ldy)][indices[p : p + count]]


def add_product(C, c, ldc, keep, scale, A, a, lda, B, b, ldb, depth, height, width):
    """``C = keep * C + scale * A'B``, without reading C where keep is 0."""
    product = A.flat[_at(a, lda, depth, height)].T @ B.flat[_at(b, ldb, depth, width)]
    place = _at(c, ldc, height, width)
    C.flat[place] = scale * product + (C.flat[place] if keep else 0)


def add_gram(C, c, ldc, keep, scale, P, p, depth):
    """``C = keep * C + scale * P'P`` by blocks; two blocks on the diagonal may be folded into one place."""
    W, S, folds = lanes(C.dtype), target().strip(C.itemsize), target().folds(C.itemsize)
    block = np.arange(S) // (W // 2 if folds else W)
    panel = P.flat[_at(p, S, depth, S)]
    # Not `@`: on ARM, NumPy's BLAS makes NaN of infinite numbers in lanes that it does not use.
    product, written = np.einsum("ki,kj->ij", panel, panel), block[:, None] <= block
    if folds:
        a, b = slice(W // 2, W), slice(W + W // 2, S)
        product[b, W:] = np.stack([product[a, a], product[b, b]], axis=2).reshape(W // 2, W)
        written[a, a], written[b, W:] = False, True
    place = _at(c, ldc, S, S)[written]
    C.flat[place] = scale * product[written] + (C.flat[place] if keep else 0)


def unfold(C, c, ldc):
    """Separate the two blocks that ``add_gram`` has folded."""
    W = lanes(C.dtype)
    H, square = W // 2, C.flat[_at(c, ldc, 2 * W, 2 * W)]
    shared = square[W + H :, W:].copy()
    square[H:W, H:W], square[W + H :, W + H :] = shared[:, ::2], shared[:, 1::2]
    C.flat[_at(c, ldc, 2 * W, 2 * W)] = square


def row_product(y, i, x, o, B, b, k, count):
    """``y = x'B``, strip after strip."""
    width = target().strip(y.dtype.itemsize)
    for s in range(count):
        y[i + s * width : i + (s + 1) * width] = x[o : o + k] @ B.flat[_at(b + s * k * width, width, k, width)]


def multiply(C, c, ldc, A, a, lda, B, b, ldb, height, depth, width):
    """``C = A B``."""
    C.flat[_at(c, ldc, height, width)] = A.flat[_at(a, lda, height, depth)] @ B.flat[_at(b, ldb, depth, width)]


def cholesky_block(C, c, ldc, inv, i):
    """``C = U'U``, row by row."""
    W = lanes(inv.dtype)
    block = np.triu(C.flat[_at(c, ldc, W, W)])
    for j in range(W):
        if not block[j, j] > 0:
            return j + 1
        block[j] /= np.sqrt(block[j, j])
        for r in range(j + 1, W):
            block[r, r:] -= block[j, r] * block[j, r:]
    C.flat[_at(c, ldc, W, W)] = block
    inv[i : i + W] = 1 / np.diag(block)
    return 0


def solve_tile(U, u, ldu, inv, i, C, c, ldc, width):
    """``C <- U'^-1 C``, then ``U <- U'^-1``."""
    W = lanes(inv.dtype)
    block = U.flat[_at(u, ldu, W, W)]
    tile = np.hstack((C.flat[_at(c, ldc, W, width)], np.eye(W, dtype=C.dtype)))
    for r in range(W):
        tile[r] = (tile[r] - block[:r, r] @ tile[:r]) * inv[i + r]
    C.flat[_at(c, ldc, W, width)], U.flat[_at(u, ldu, W, W)] = tile[:, :width], tile[:, width:]


def substitute_forward(U, u, ldu, i, x, o):
    """``x <- U'^-1 x`` for the W rows from i on; U holds the transposed inverses of its diagonal blocks."""
    n = i + lanes(x.dtype)
    upper, solved = U.flat[_at(u, ldu, n, n)], x[o : o + n]
    solved[i:] = upper[i:, i:] @ (solved[i:] - upper[:i, i:].T @ solved[:i])


def substitute_backward(U, u, ldu, n, x, o):
    """``x <- U^-1 x``, block by block; U is as in ``substitute_forward``."""
    W = lanes(x.dtype)
    upper, solved = U.flat[_at(u, ldu, n, n)], x[o : o + n]
    for i in reversed(range(0, n, W)):
        block = slice(i, i + W)
        solved[block] = upper[block, block].T @ (solved[block] - upper[block, i + W :] @ solved[i + W :])


def gather_dots(out, o, Y, ldy, indices, p, count, x, i):
    """``out = Y[indices] x``, and zeros up to a whole group of rows."""
    group = target().tile(out.dtype.itemsize)[0]
    out[o : o - (-count // group) * group] = 0
    out[o : o + count] = _gathered(Y, ldy, indices, p, count) @ x[i : i + ldy]


def gather_axpys(y, i, s, o, Y, ldy, indices, p, count):
    """``y += Y[indices]'s``."""
    y[i : i + ldy] += s[o : o + count] @ _gathered(Y, ldy, indices, p, count)


def gather_residual(q, i, s, b, w, o, Y, ldy, indices, p, count, x, j, ahead):
    """``s = Y[indices] x; q += Y[indices]'(b - w * s)``."""
    del ahead
    gather_dots(s, o, Y, ldy, indices, p, count, x, j)
    rows = slice(o, o + count)
    q[i : i + ldy] += (b[rows] - w[rows] * s[rows]) @ _gathered(Y, ldy, indices, p, count)


def dot(out, o, x, i, y, j, n):
    """``out[o] = x'y``."""
    out[o] = x[i : i + n] @ y[j : j + n]


def cg_direction(p, q, d, e, r, beta, n):
    """``p = e * r + beta * p; q = -d * p``."""
    p[:n] = e[:n] * r[:n] + beta * p[:n]
    q[:n] = -d[:n] * p[:n]


def cg_advance(out, o, x, i, r, p, q, e, alpha, n):
    """``x += alpha * p; r += alpha * q; out[o] = r'(e * r)``."""
    x[i : i + n] += alpha * p[:n]
    r[:n] += alpha * q[:n]
    out[o] = r[:n] @ (e[:n] * r[:n])


def solve_few(out, at, x, o, w, b, d, beyond, Y, ldy, indices, p, count):
    """``z = D^-1 Y't`` with ``(I + w Y D^-1 Y') t = b`` for the gathered rows Y; ``x = z + beyond * (z - x)``."""
    rows, before = _gathered(Y, ldy, indices, p, count), x[o : o + ldy].copy()
    K = (rows / d[:ldy]) @ rows.T
    A = np.eye(count) + w[:count, None] * K
    if not (np.linalg.eigvals(A).real > 0).all():
        return 1
    t = np.linalg.solve(A, b[:count])
    z = t @ rows / d[:ldy]
    way = z - before
    x[o : o + ldy] = z + beyond * way if beyond else z
    out[at : at + 2] = b[:count] @ K @ t, d[:ldy] @ way**2 + w[:count] @ (rows @ way) ** 2
    return 0


def go_beyond(out, at, x, o, before, d, beyond, n):
    """``before = x - before; x += beyond * before; out[at] = before'(d * before)``."""
    before[:n] = x[o : o + n] - before[:n]
    x[o : o + n] += beyond * before[:n]
    out[at] = before[:n] @ (d[:n] * before[:n])


def scaled(P, p0, rows, s, o, M, m, ldm, count, width):
    """``P = diag(s) M``, in strips."""
    P.flat[_in_strips(p0, rows, count, width, P.dtype)] = s[o : o + count, None] * M.flat[_at(m, ldm, count, width)]


def gather_gram(A, a, lda, r, w, b, o, Y, indices, p, count):
    """Add ``Y[indices]' diag(w) Y[indices]`` to A and ``Y[indices]' b`` to r."""
    W = lanes(A.dtype)
    y = _gathered(Y, W, indices, p, count)
    A.flat[_at(a, lda, W, W)] += (w[o : o + count] * y.T) @ y
    r[:W] += y.T @ b[o : o + count]


def gather_panel(C, keep, scale, P, rows, s, b, o, y, Y, ldy, indices, p, depth, left):
    """``P = diag(s) Y[indices]``, in strips; ``y += Y[indices]'b``; ``add_gram`` for each whole strip."""
    P.flat[_in_strips(0, rows, depth, ldy, P.dtype)] = s[o : o + depth, None] * _gathered(Y, ldy, indices, p, depth)
    gather_axpys(y, 0, b, o, Y, ldy, indices, p, depth)
    strip = target().strip(P.itemsize)
    for j in range(0, ldy - strip + 1, strip):
        add_gram(C, j * (ldy + 1), ldy, keep, scale, P, j * rows, depth)


def gather_transposed(T, t, rows, s, o, e, i, Y, ldy, indices, p, count):
    """``T = diag(e) Y[indices]' diag(s)`` in strips, and zero columns up to a multiple of W."""
    T.flat[_in_strips(t, rows, ldy, -(-count // lanes(T.dtype)) * lanes(T.dtype), T.dtype)] = 0
    product = s[o : o + count] * e[i : i + ldy, None] * _gathered(Y, ldy, indices, p, count).T
    T.flat[_in_strips(t, rows, ldy, count, T.dtype)] = product


def prefetch_rows(Y, ldy, indices, p, count):
    """Compute nothing: a prefetch has no result."""


def screen(out, p, q, o, B, b, pairs, terms, t, ld, offsets, u, slack, scale, length, offset, worst, count):
    """Set the bits of the columns that ``dot + length * lacking + offsets`` does not hold below ``worst``."""
    width = target().strip(terms.dtype.itemsize)
    numbers = q[o : o + pairs].view(np.int16).astype(np.int32)
    for s in range(count):
        strip = B[b + s * pairs * 2 * width :][: pairs * 2 * width].reshape(pairs, width, 2).swapaxes(1, 2)
        unit, lacking, own = (array[s * width :][:width] for array in (terms[t:], terms[t + ld :], offsets[u:]))
        raised = np.maximum((1 + slack) * own, (1 - slack) * own)
        dots = (numbers @ strip.reshape(2 * pairs, width).astype(np.int32)).astype(terms.dtype)
        below = scale * dots * unit + (length * lacking + (offset + raised)) < worst
        out[p + s] = np.packbits(~below, bitorder="little").view(f"<u{width // 8}").astype(np.uint32).view(np.int32)[0]


def keep_best(best, o, best_ids, i, n, kept, x, p, ids, q, taken, t, count):
    """Insert the columns whose bit is not set into ``best``, sorted by falling score, then by rising id."""
    scores, numbers = best[o : o + n], best_ids[i : i + n]
    for c in range(count):
        score, number = x[p + c], ids[q + c]
        before = (scores > score) | ((scores == score) & (numbers < number))
        if not (before[kept - 1] or np.isnan(score) or taken[t + c // 32] >> c % 32 & 1):
            place = np.count_nonzero(before)
            scores[place:] = np.insert(scores[place:], 0, score)[:-1]
            numbers[place:] = np.insert(numbers[place:], 0, number)[:-1]
