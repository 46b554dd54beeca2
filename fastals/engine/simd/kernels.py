"""The micro-kernels: Numba intrinsics whose bodies are written in vector IR.

Conventions. Arrays are C-contiguous. After an array comes the offset of the element where the operand starts; after a
matrix also its leading dimension. Both count elements. All float arrays of a call have one dtype, float32 or float64.
Padded sizes are multiples of W, as are leading dimensions and offsets of blocks. Outputs do not overlap inputs, unless
the docstring says so. Kernels read and write only the ranges that their docstring names.

A panel in strips is a matrix cut into strips of S columns, the width of a tile. The strips follow one another, each
row-major with room for ``rows`` rows: element (r, c) is at ``(c - c % S) * rows + r * S + c % S``. A product reads a
strip from end to end, and a strip of 256 rows fits the first-level cache. In a row-major matrix with rows of 2 KiB, the
rows of a strip would compete for the same few cache lines.

Each kernel is one LLVM function for each dtype, and a module holds one copy of it. So callers compile fast, and the
kernel has all registers for itself. ``twins.py`` says in plain NumPy what each kernel computes, and
``tests/test_simd.py`` compares the two.
"""

import inspect
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from fastals.engine.simd.ir import INDEX, Vectors
from fastals.engine.simd.target import Target, target

FLOATS = (types.float32, types.float64)

# Gathered rows are fetched into the cache this many rows ahead of their use.
AHEAD = 16

# Vectors of a row that a pass over gathered rows takes at a time. A group has more rows than there are registers for
# their addresses, and 2 vectors halve how often an address is loaded. A pass takes up to 12% longer with 1, 8% with 4.
WIDE = 2

# Maximum number of entries of a row that is solved in registers.
FEW = 6


def micro_kernel(body: Callable) -> Any:
    """Make an intrinsic of ``body(v, *arguments)``, which emits the kernel with the operations of ``v``.

    The body gets arrays as pointers to their first element, integers as indices, and floats as the scalar type of the
    arrays. The intrinsic returns what the body returns: an index, or 0 for None.
    """

    def typing(typingctx: Any, *arguments: Any) -> Any:
        scalar = _scalar_type(body.__name__, arguments)
        passed = [
            argument
            if isinstance(argument, types.Array)
            else scalar
            if isinstance(argument, types.Float)
            else types.intp
            for argument in arguments
        ]

        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> ir.Value:
            pointers = [
                context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
                for kind, value in zip(signature.args, values, strict=True)
            ]
            function = _emitted(body, builder.module, context.get_value_type(scalar), scalar.bitwidth // 8, pointers)
            return builder.call(function, pointers)

        return types.intp(*passed), codegen

    names = inspect.signature(body)
    typing.__signature__ = names  # type: ignore[attr-defined]  # the names of the arguments, in errors of typing
    typing.__name__ = body.__name__
    typing.__doc__ = body.__doc__
    return intrinsic(typing)


def _scalar_type(name: str, arguments: tuple) -> types.Float:
    """Check the arrays among ``arguments``, and return their float type."""
    arrays = [argument for argument in arguments if isinstance(argument, types.Array)]
    for array in arrays:
        if array.layout != "C" or array.dtype not in (*FLOATS, types.int32, types.int8):
            raise TypingError(f"{name}: arrays must be C-contiguous, of float32, float64, int32 or int8; got {array}")
    scalars = {array.dtype for array in arrays if array.dtype in FLOATS}
    if len(scalars) != 1:
        raise TypingError(f"{name}: the float arrays of one call must have one dtype; got {arrays}")
    return scalars.pop()


def _emitted(body: Callable, module: ir.Module, scalar: ir.Type, itemsize: int, arguments: list) -> ir.Function:
    """Return the kernel's function in ``module``; emit it if it is not there yet."""
    cpu = target()
    name = f"fastals.{body.__name__}.v{cpu.lanes(itemsize)}{scalar.intrinsic_name}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(INDEX, [value.type for value in arguments]), name)
    function.linkage = "linkonce_odr"  # linking the modules of callers keeps one of the equal copies
    function.attributes.add("noinline")
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    status = body(Vectors(builder, scalar, itemsize, cpu), *function.args)
    builder.ret(INDEX(0) if status is None else status)
    return function


def _constant_of(name: str, kind: types.Type, number: Callable[[Target, int], int]) -> Any:
    """Make an intrinsic that returns a constant of the CPU for the dtype of an array."""

    def typing(typingctx, A):
        value = number(target(), _scalar_type(name, (A,)).bitwidth // 8)
        return kind(A), lambda context, builder, signature, arguments: context.get_constant(kind, value)

    typing.__name__ = name
    return intrinsic(typing)


lanes_of = _constant_of("lanes_of", types.intp, Target.lanes)
strip_of = _constant_of("strip_of", types.intp, Target.strip)
folds_of = _constant_of("folds_of", types.boolean, Target.folds)


# Matrix products


@micro_kernel
def add_product(v, C, c, ldc, keep, scale, A, a, lda, B, b, ldb, depth, height, width):
    """Add a product of a transposed matrix and a matrix, or overwrite with it.

    Computes   C[0:height, 0:width] <- keep * C + scale * A[0:depth, 0:height]' B[0:depth, 0:width]. With keep = 0 C is
               not read.
    Requires   height and width padded, or height a multiple of r and width whole strips; depth any, 0 too; keep 0 or 1.
               A and B may be the same.
    IR         Tiles of r rows by v vectors (``Target.tile``): r * v sums in registers. Each step of depth takes v
               loads, r broadcasts and r * v fma. C is read and written once. Tiles at the right edge are one vector by
               up to 2 r rows: with r sums only, each fma would wait for the one before.
    """
    C, A, B = v.at(C, c), v.at(A, a), v.at(B, b)
    factor, adds = v.splat(scale), v.builder.icmp_signed("!=", keep, INDEX(0))

    def tile(i, j, rows, vectors):
        sums = _tile_sums(v, _down(v, v.at(A, i), lda, rows), v.at(B, j), ldb, depth, rows, vectors)
        _add_or_put(v, adds, factor, sums, v.at(C, j, i, ldc), ldc, vectors)

    low, high = v.tile_rows, min(v.lanes, 2 * v.tile_rows)

    def columns(j, vectors):
        rows = low if vectors == v.tile_vectors else high
        v.each(0, height, rows, lambda i: tile(i, j, rows, vectors))

    _each_strip(v, width, columns)


def _each_strip(v, width, columns):
    """Emit columns(start, vectors) for whole strips, then for single vectors."""
    edge = v.sub(width, v.builder.srem(width, v.index(v.strip)))
    v.each(0, edge, v.strip, lambda c: columns(c, v.tile_vectors))
    v.each(edge, width, v.lanes, lambda c: columns(c, 1))


def _nothing(d, row):
    """Do nothing."""


def _tile_sums(v, column, right, ldb, depth, rows, vectors, also=_nothing):
    """Return the sums of a tile, row by row: the numbers at ``column(d)`` times row d of ``right``, summed over d.

    ``also`` is called with d and the vectors of each row of ``right``.
    """

    def step(d, sums):
        row = [v.load(v.at(right, n * v.lanes, d, ldb)) for n in range(vectors)]
        also(d, row)
        return _add_outer(v, [v.broadcast(place) for place in column(d)], row, sums)

    return v.loop(0, depth, 1, [v.zero] * (rows * vectors), step)


def _add_outer(v, column, row, sums):
    """Return the sums of a tile plus the outer product of a column of numbers and a row of vectors."""
    return [v.fma(column[n // len(row)], row[n % len(row)], total) for n, total in enumerate(sums)]


def _down(v, A, lda, rows):
    """Return a function of d: the addresses of A[d, 0:rows]."""
    return lambda d: [v.at(A, r, d, lda) for r in range(rows)]


def _add_or_put(v, adds, factor, sums, C, ldc, vectors):
    """Emit C = (C if ``adds`` else 0) + factor * sums; ``sums`` has the vectors of a tile, row by row."""
    places = [v.at(C, n % vectors * v.lanes, n // vectors, ldc) for n in range(len(sums))]
    with v.builder.if_else(adds) as (add, put):
        with add:
            for total, place in zip(sums, places, strict=True):
                v.store(v.fma(factor, total, v.load(place)), place)
        with put:
            for total, place in zip(sums, places, strict=True):
                v.store(v.times(factor, total), place)


# Rows of a strip whose folded halves fit on the stack: 16 KiB.
FOLDED = 256


@micro_kernel
def add_gram(v, C, c, ldc, keep, scale, P, p, depth):
    """Add the upper triangle of P'P for one strip P, or overwrite with it; folded, if ``folds_of(C)``.

    Computes   C[0:S, 0:S] <- keep * C + scale * P[0:depth]' P[0:depth], the blocks on and above the diagonal. With
               keep = 0 C is not read. Blocks are W x W. If it folds, they are H x H with H = W / 2, and the second and
               fourth block on the diagonal, A and B, share the place of B and of the block to the left of B: row r
               holds A[r, 0], B[r, 0], A[r, 1], B[r, 1] and so on. ``unfold`` separates them.
    Requires   depth any, 0 too.
    IR         Tiles of W rows by as many vectors as are left. For a strip of 2 W columns these are 6 H vectors of sums,
               with a third of the numbers below the diagonal. Folded they are 5 H, which takes 16% less time. The
               blocks of the strip, by the tile that sums them:

                   1  1  1  1      Tile 1: H rows by two vectors. It leaves the second and the fourth block of each
                      A  2  2      row of P on the stack, interleaved.
                         2  2      Tile 2: W rows by one vector.
                            B      A and B: pairs of numbers from the stack are broadcast. They are summed in one pass
                                   with tile 2: in two passes a row takes up to 12% longer.
    """
    C, P = v.at(C, c), v.at(P, p)
    factor, adds = v.splat(scale), v.builder.icmp_signed("!=", keep, INDEX(0))

    def block(first):
        rows, count = v.at(P, 0, first, v.strip), v.min(v.sub(depth, first), FOLDED)
        again = v.builder.or_(adds, v.builder.icmp_signed(">", first, INDEX(0)))

        def first_tile(also):
            left = _down(v, rows, v.strip, v.tile_rows)
            return _tile_sums(v, left, rows, v.strip, count, v.tile_rows, v.tile_vectors, also)

        _triangle(v, C, ldc, again, factor, rows, count, first_tile)

    v.each(0, v.max(depth, 1), FOLDED, block)


def _triangle(v, C, ldc, adds, factor, P, depth, first_tile):
    """Emit ``add_gram`` for up to FOLDED rows; ``first_tile(also)`` returns the sums of the first tile."""
    W, vectors = v.lanes, v.tile_vectors

    def put(i, j, sums, vectors):
        _add_or_put(v, adds, factor, sums, v.at(C, j, i, ldc), ldc, vectors)

    if not v.folds:
        put(0, 0, first_tile(_nothing), vectors)
        for n in range(1, vectors):
            i, left = n * W, v.at(P, n * W)
            sums = _tile_sums(v, _down(v, left, v.strip, W), left, v.strip, depth, W, vectors - n)
            put(i, i, sums, vectors - n)
        return

    H = W // 2
    halves, pair = v.scratch(FOLDED * W), ir.VectorType(v.scalar, 2)
    interleaved = [lane for r in range(H, W) for lane in (r, W + r)]

    def keep_halves(d, row):
        v.store(v.shuffle(*row, interleaved), halves, v.mul(d, W))

    def others(d, sums):
        shared = v.at(halves, 0, d, W)
        pairs = [v.load_as(pair, shared, 2 * r) for r in range(H)]
        pairs = [v.shuffle(numbers, numbers, [0, 1] * H) for numbers in pairs]
        column = [v.broadcast(v.at(P, H + r, d, v.strip)) for r in range(W)]
        second = _add_outer(v, column, [v.load(v.at(P, W, d, v.strip))], sums[:W])
        return second + _add_outer(v, pairs, [v.load(shared)], sums[W:])

    put(0, 0, first_tile(keep_halves), vectors)
    sums = v.loop(0, depth, 1, [v.zero] * (W + H), others)
    put(H, W, sums[:W], 1)
    put(W + H, W, sums[W:], 1)


@micro_kernel
def unfold(v, C, c, ldc):
    """Move the blocks that ``add_gram`` has folded to their places.

    Computes   the blocks A and B of C[0:S, 0:S]. The block to the left of B is undefined afterwards.
    Requires   ``folds_of(C)``.
    IR         A load and two stores of half a vector for each row.
    """
    C, H, W = v.at(C, c), v.lanes // 2, v.lanes
    for r in range(H):
        row = v.load(v.at(C, W, W + H + r, ldc))
        for first, at in ((0, H), (1, W + H)):
            v.store(v.shuffle(row, row, range(first, W, 2)), v.at(C, at, at + r, ldc))


@micro_kernel
def row_product(v, y, i, x, o, B, b, k, count):
    """Multiply one row by strips of k rows.

    Computes   y[i + s * S : i + (s + 1) * S] = x[o : o + k]' B_s for the strips s < count, B_s = B[b + s * k * S :].
               The bits are those of ``add_product``.
    Requires   k and count above 0.
    IR         Groups of r strips by v vectors, then of fewer strips, with a sum in a register for each vector. Each
               step takes one broadcast, and a load and an fma for each vector.
    """
    y, x, B = v.at(y, i), v.at(x, o), v.at(B, b)

    def group(first, n):
        strips = [v.at(B, 0, v.add(first, r), v.mul(k, v.strip)) for r in range(n)]
        vectors = range(0, v.strip, v.lanes)

        def step(d, sums):
            factor = v.broadcast(x, d)
            rows = [v.load(v.at(strip, v.mul(d, v.strip)), c) for strip in strips for c in vectors]
            return [v.fma(factor, column, total) for column, total in zip(rows, sums, strict=True)]

        sums = v.loop(0, k, 1, [v.zero] * (n * len(vectors)), step)
        for c, total in enumerate(sums):
            v.store(total, v.at(y, c * v.lanes, first, v.strip))

    _in_groups(v, count, group)


@micro_kernel
def multiply(v, C, c, ldc, A, a, lda, B, b, ldb, height, depth, width):
    """Multiply two matrices.

    Computes   C[0:height, 0:width] = A[0:height, 0:depth] B[0:depth, 0:width]
    Requires   width padded; height and depth any, 0 too.
    IR         The tiles of ``add_product``, then tiles of fewer rows. A is not copied: a tile reads the cache lines of
               its rows of A one after the other.
    """
    C, A, B = v.at(C, c), v.at(A, a), v.at(B, b)

    def tile(i, j, rows, vectors):
        left = [v.at(A, 0, v.add(i, r), lda) for r in range(rows)]
        sums = _tile_sums(v, lambda d: [v.at(row, d) for row in left], v.at(B, j), ldb, depth, rows, vectors)
        for n, total in enumerate(sums):
            v.store(total, v.at(v.at(C, j, v.add(i, n // vectors), ldc), n % vectors * v.lanes))

    def group(first, rows):
        _each_strip(v, width, lambda j, vectors: tile(first, j, rows, vectors))

    _in_groups(v, height, group)


# Cholesky factor and substitution


@micro_kernel
def cholesky_block(v, C, c, ldc, inv, i):
    """Factor a W x W block in registers.

    Computes   C = U'U, in place, U upper triangular with zeros below its diagonal; inv[i : i + W] = 1 / diag(U).
               Returns 0, or 1 + the row of the first pivot that is not positive or NaN. U is then undefined.
    Requires   the upper triangle of C; the lower one is not read.
    IR         W rows in registers, factored as U'DU, so that no step waits for a square root: the W roots and their
               reciprocals are one vector each, at the end. The pivots are computed ahead, as scalars: a step waits for
               one scalar division and one fma, not for the update of a whole row.
    """
    C = v.at(C, c)
    builder, n = v.builder, v.lanes
    rows = [v.load(v.at(C, 0, r, ldc)) for r in range(n)]
    pivot = v.lane(rows[0], 0)
    pivots = v.splat(pivot)
    for j in range(n - 1):
        reciprocal = v.over(v.scalar(1.0), pivot)
        beside = v.lane(rows[j], j + 1)
        pivot = v.fma(builder.fneg(v.times(beside, beside)), reciprocal, v.lane(rows[j + 1], j + 1))
        pivots = v.choose([lane <= j for lane in range(n)], pivots, v.splat(pivot))
        eliminator = v.times(rows[j], v.splat(builder.fneg(reciprocal)))
        for r in range(j + 1, n):
            rows[r] = v.fma(v.splat_lane(rows[j], r), eliminator, rows[r])
    roots = v.sqrt(pivots)
    reciprocals = v.over(v.constant(1.0), roots)
    v.store(reciprocals, inv, i)
    for j in range(n):
        row = v.times(rows[j], v.splat_lane(reciprocals, j))
        row = v.choose([lane == j for lane in range(n)], roots, row)
        v.store(v.choose([lane >= j for lane in range(n)], row, v.zero), v.at(C, 0, j, ldc))

    failed = builder.fcmp_unordered("<=", pivots, v.zero)
    bits = builder.zext(builder.bitcast(failed, ir.IntType(n)), INDEX)
    first = builder.cttz(builder.or_(bits, INDEX(1 << n)), ir.IntType(1)(0))
    return builder.select(builder.icmp_signed("==", first, INDEX(n)), INDEX(0), v.add(first, 1))


@micro_kernel
def solve_tile(v, U, u, ldu, inv, i, C, c, ldc, width):
    """Solve a transposed triangular block for many right-hand sides, and invert it.

    Computes   C[0:W, 0:width] <- X with U'X = C, U the upper triangular W x W block; inv[i : i + W] = 1 / diag(U).
               Then U <- U'^-1, which is lower triangular. Both substitutions use it.
    Requires   width padded, 0 too.
    IR         For each W columns: W rows in registers, W * (W - 1) / 2 fma with an element of U broadcast. A copy of U
               on the stack has its rows divided by their diagonal, so that a step waits for one fma. ``keep_in_memory``
               stops LLVM from making a vector of each element before the loop, which takes almost twice as long. The
               inverse is the solution for the identity.
    """
    U, C, unit = v.at(U, u), v.at(C, c), v.scratch(v.lanes * v.lanes)
    scale = v.load(inv, i)
    for r in range(v.lanes):
        row = v.times(v.load(v.at(U, 0, r, ldu)), v.splat_lane(scale, r))
        v.store(v.builder.fneg(row), unit, r * v.lanes)

    def put_solution(rows, target, ld):
        v.keep_in_memory(unit)
        for r in range(v.lanes):
            for s in range(r + 1, v.lanes):
                rows[s] = v.fma(v.broadcast(unit, r * v.lanes + s), rows[r], rows[s])
            v.store(v.times(rows[r], v.splat_lane(scale, r)), v.at(target, 0, r, ld))

    def columns(j):
        tile = v.at(C, j)
        put_solution([v.load(v.at(tile, 0, r, ldc)) for r in range(v.lanes)], tile, ldc)

    v.each(0, width, v.lanes, columns)
    one = v.constant(1.0)
    put_solution([v.choose([lane == r for lane in range(v.lanes)], one, v.zero) for r in range(v.lanes)], U, ldu)


@micro_kernel
def substitute_forward(v, U, u, ldu, i, x, o):
    """Solve U'z = x for the next W unknowns, in place: one step of forward substitution.

    Computes   x[o + i : o + i + W] <- z[i : i + W], where x[o : o + i] holds z[0:i]
    Requires   i padded; U has the transposed inverses of its blocks on the diagonal, as ``solve_tile`` leaves them.
    IR         i fma in four chains. Then W dot products with the rows of the block's inverse, reduced together into one
               vector: W dependent steps along the block itself would take longer.
    """
    U, x = v.at(U, u), v.at(x, o)
    columns, chains = v.at(U, i), min(4, v.lanes)

    def earlier(r, chains):
        rows = [v.add(r, n) for n in range(len(chains))]
        return [
            v.fma(v.broadcast(x, row), v.load(v.at(columns, 0, row, ldu)), chain)
            for row, chain in zip(rows, chains, strict=True)
        ]

    known = v.sum_of(v.loop(0, i, chains, [v.zero] * chains, earlier))
    right = v.minus(v.load(x, i), known)
    inverse = [v.load(v.at(columns, 0, v.add(i, r), ldu)) for r in range(v.lanes)]
    v.store(v.sums([v.times(row, right) for row in inverse]), x, i)


@micro_kernel
def substitute_backward(v, U, u, ldu, n, x, o):
    """Solve Uy = x in place: backward substitution.

    Computes   x[o : o + n] <- y
    Requires   n padded; U as for ``substitute_forward``.
    IR         From the last block up: W dot products with what is solved, reduced together into one vector. Then W fma
               with the rows of the block's inverse, in chains.
    """
    U, x = v.at(U, u), v.at(x, o)

    def block(i):
        rows = v.at(U, 0, i, ldu)

        def columns(j, sums):
            solved = v.load(x, j)
            return [v.fma(v.load(v.at(rows, j, r, ldu)), solved, total) for r, total in enumerate(sums)]

        sums = v.loop(v.add(i, v.lanes), n, v.lanes, [v.zero] * v.lanes, columns)
        right = v.minus(v.load(x, i), v.sums(sums))
        chains = [v.zero] * min(4, v.lanes)
        for r in range(v.lanes):
            chain = r % len(chains)
            chains[chain] = v.fma(v.splat_lane(right, r), v.load(v.at(rows, i, r, ldu)), chains[chain])
        v.store(v.sum_of(chains), x, i)

    v.each(v.sub(n, v.lanes), -1, -v.lanes, block)


# Products of a vector with gathered rows
#
# Rows are taken in groups of r, the rows of a tile. If fewer are left, dot products take the last row again and drop
# the result, so that no row beyond the last is read.


def _along(v, width, carried, columns):
    """Emit carried = columns(at, carried) along a row, ``at`` the starts of its vectors; return the last carried."""
    edge = v.sub(width, v.builder.srem(width, INDEX(WIDE * v.lanes)))
    for start, stop, vectors in ((INDEX(0), edge, WIDE), (edge, width, 1)):
        offsets = range(0, vectors * v.lanes, v.lanes)
        carried = v.loop(
            start,
            stop,
            vectors * v.lanes,
            carried,
            lambda c, values, offsets=offsets: columns([v.add(c, offset) for offset in offsets], values),
        )
    return carried


def _products(v, rows, width, x, far=()):
    """Return the products of rows and x, whose lanes are still to be summed; fetch the rows ``far`` meanwhile."""

    def columns(at, sums):
        factors, sums = [v.load(x, c) for c in at], list(sums)
        for r, row in enumerate(rows):
            for c, factor in zip(at, factors, strict=True):
                sums[r] = v.fma(v.load(row, c), factor, sums[r])
                if far:
                    v.prefetch(far[r], c)
        return sums

    return _along(v, width, [v.zero] * len(rows), columns)


def _fetch(v, row, width):
    """Fetch a row into the cache."""
    v.each(0, width, v.line, lambda c: v.prefetch(row, c))


def _in_groups(v, count, group):
    """Emit group(first, n) for groups of r rows, then of fewer."""
    start = INDEX(0)
    for n in (v.tile_rows, 2, 1):
        stop = v.sub(count, v.builder.srem(count, INDEX(n)))
        v.each(start, stop, n, lambda first, n=n: group(first, n))
        start = stop


def _gathered(v, Y, ldy, indices, p):
    """Return a function of r: the address of row ``indices[p + r]`` of a matrix."""
    return lambda r: v.at(Y, 0, v.builder.sext(v.load_scalar(indices, v.add(p, r)), INDEX), ldy)


@micro_kernel
def gather_dots(v, out, o, Y, ldy, indices, p, count, x, i):
    """Multiply gathered rows by a vector.

    Computes   out[o + r] = Y[indices[p + r]] . x[i : i + ldy] for r < count, and zeros up to a multiple of W at most.
    Requires   ldy, the length of a row, padded; count any, 0 too; out has room for count padded.
    IR         Groups of r rows with a sum each in registers, reduced together into one vector.
    """
    out, x, address = v.at(out, o), v.at(x, i), _gathered(v, Y, ldy, indices, p)

    def group(first):
        rows = [address(v.min(v.add(first, r), v.sub(count, 1))) for r in range(v.tile_rows)]
        v.store(v.first_lanes(v.sub(count, first), v.sums(_products(v, rows, ldy, x))), out, first)

    v.each(0, count, v.tile_rows, group)


@micro_kernel
def gather_axpys(v, y, i, s, o, Y, ldy, indices, p, count):
    """Add multiples of gathered rows to a vector.

    Computes   y[i : i + ldy] += sum_r s[o + r] * Y[indices[p + r]] for r < count
    Requires   ldy, the length of a row, padded; count any, 0 too.
    IR         Groups of r rows, then of 2 and 1. y is read and written once for each group. The rows of later groups
               are fetched in the same loop: separate loops take 5 to 20% longer.
    """
    y, s, address, last = v.at(y, i), v.at(s, o), _gathered(v, Y, ldy, indices, p), v.sub(count, 1)

    def group(first, n):
        numbers = [v.add(first, r) for r in range(n)]
        rows = [address(number) for number in numbers]
        factors = [v.broadcast(s, number) for number in numbers]
        # After a smaller group there are no rows to fetch.
        far = [address(v.min(v.add(r, AHEAD), last)) for r in numbers] if n == v.tile_rows else [None] * n

        def columns(at, _):
            totals = [v.load(y, c) for c in at]
            for row, factor, later in zip(rows, factors, far, strict=True):
                totals = [v.fma(v.load(row, c), factor, total) for c, total in zip(at, totals, strict=True)]
                if later:
                    for c in at:
                        v.prefetch(later, c)
            for c, total in zip(at, totals, strict=True):
                v.store(total, y, c)
            return []

        _along(v, ldy, [], columns)

    _in_groups(v, count, group)


@micro_kernel
def gather_residual(v, q, i, s, b, w, o, Y, ldy, indices, p, count, x, j, ahead):
    """Multiply gathered rows by a vector, and add multiples of the rows by the residuals to another, in one pass.

    Computes   s[o + r] = Y[indices[p + r]] . x[j : j + ldy], zeros up to a multiple of W at most, and
               q[i : i + ldy] += sum_r (b[o + r] - w[o + r] s[o + r]) Y[indices[p + r]] for r < count
    Requires   ldy, the length of a row, padded; count any, 0 too; s, b and w have room for count padded; q and x do not
               overlap. With ahead > 0 the rows that many further on are fetched into the cache meanwhile.
    IR         ``gather_dots`` and ``gather_axpys`` for each group of rows, which the first-level cache holds between
               the two. The sum of a group is in two chains, for half the latency. Groups have 2 r rows if W allows it:
               one reduction for 16 rows instead of two for 8 saves up to 15%. The last groups have r rows, and fetch
               none.
    """
    q, x = v.at(q, i), v.at(x, j)
    s, b, w = (v.at(array, o) for array in (s, b, w))
    address = _gathered(v, Y, ldy, indices, p)
    last = v.sub(count, 1)

    def group(first, n, rest=False):
        narrow = ir.VectorType(v.scalar, n)
        numbers = [v.add(first, r) for r in range(n)]
        # Settled, because two loops use them: computed twice, a pass takes 2 to 3% longer.
        rows = [v.settled(address(v.min(r, last) if rest else r)) for r in numbers]

        def products():
            return _products(v, rows, ldy, x)

        def products_and_fetches():
            return _products(v, rows, ldy, x, [address(v.min(v.add(r, ahead), last)) for r in numbers])

        fetches = v.builder.icmp_signed(">", ahead, INDEX(0))
        dots = v.sums(products() if rest else v.either(fetches, products_and_fetches, products))
        inside = v.sub(count, first)
        v.store(v.first_lanes(inside, dots), s, first)
        weights, targets = (v.load_as(narrow, array, first) for array in (w, b))
        residual = v.first_lanes(inside, v.minus(targets, v.times(weights, dots)))
        factors = [v.shuffle(residual, residual, [r] * v.lanes) for r in range(n)]

        def add(at, _):
            chains = [[v.load(q, c) for c in at], [v.zero] * len(at)]
            for r, row in enumerate(rows):
                totals = chains[r % 2]
                chains[r % 2] = [v.fma(v.load(row, c), factors[r], t) for c, t in zip(at, totals, strict=True)]
            for c, total, other in zip(at, *chains, strict=True):
                v.store(v.plus(total, other), q, c)
            return []

        _along(v, ldy, [], add)

    most = min(2 * v.tile_rows, v.lanes)
    stop = v.sub(count, v.builder.srem(count, INDEX(most)))
    v.each(0, stop, most, lambda first: group(first, most))
    v.each(stop, count, v.tile_rows, lambda first: group(first, v.tile_rows, rest=True))


@micro_kernel
def gather_gram(v, A, a, lda, r, w, b, o, Y, indices, p, count):
    """Add the weighted Gram matrix of gathered rows that are one vector long, and multiples of them to a vector.

    Computes   A[0:W, 0:W] += sum_r w[o + r] y_r y_r' and r[0:W] += sum_r b[o + r] y_r, with y_r = Y[indices[p + r]]
    Requires   rows of Y of length W; count any, 0 too; w of any sign.
    IR         W + 1 sums in registers. Each row takes two loads, W + 2 broadcasts and as many multiplications: half the
               time of the general way by a panel.
    """
    A, w, b, n = v.at(A, a), v.at(w, o), v.at(b, o), v.lanes
    address = _gathered(v, Y, n, indices, p)
    last = v.sub(count, 1)

    def step(j, sums):
        _fetch(v, address(v.min(v.add(j, AHEAD), last)), n)
        row = address(j)
        y = v.load(row)
        weighted = v.times(y, v.broadcast(w, j))
        square = [v.fma(v.broadcast(row, i), weighted, total) for i, total in enumerate(sums[:n])]
        return [*square, v.fma(v.broadcast(b, j), y, sums[n])]

    sums = v.loop(0, count, 1, [v.zero] * (n + 1), step)
    places = [*(v.at(A, 0, i, lda) for i in range(n)), r]
    for place, total in zip(places, sums, strict=True):
        v.store(v.plus(v.load(place), total), place)


# Conjugate gradients
#
# What a step does to vectors of k numbers, in as few passes as its two products allow. Compiled from Python loops,
# where LLVM knows neither the padding nor that arrays do not overlap, this would take a quarter of a row.


@micro_kernel
def dot(v, out, o, x, i, y, j, n):
    """Multiply two vectors.

    Computes   out[o] = x[i : i + n] . y[j : j + n]
    Requires   n padded.
    IR         One sum in a register.
    """
    x, y = v.at(x, i), v.at(y, j)
    (total,) = v.loop(0, n, v.lanes, [v.zero], lambda c, sums: [v.fma(v.load(x, c), v.load(y, c), sums[0])])
    v.store(v.sums([total]), out, o)


@micro_kernel
def cg_direction(v, p, q, d, e, r, beta, n):
    """Compute the next direction, and the diagonal's part of its product with the matrix.

    Computes   p[0:n] <- e * r + beta * p; q[0:n] = -d * p, with the new p.
    Requires   n padded.
    IR         One pass: 4 loads, 2 stores.
    """
    factor = v.splat(beta)

    def step(c):
        direction = v.fma(factor, v.load(p, c), v.times(v.load(e, c), v.load(r, c)))
        v.store(direction, p, c)
        v.store(v.times(v.minus(v.zero, v.load(d, c)), direction), q, c)

    v.each(0, n, v.lanes, step)


@micro_kernel
def cg_advance(v, out, o, x, i, r, p, q, e, alpha, n):
    """Step along the direction.

    Computes   x[i : i + n] += alpha * p; r[0:n] += alpha * q; out[o] = sum of e * r^2, with the new r.
    Requires   n padded.
    IR         One pass: 5 loads, 2 stores, one sum in a register.
    """
    x, factor = v.at(x, i), v.splat(alpha)

    def step(c, sums):
        v.store(v.fma(factor, v.load(p, c), v.load(x, c)), x, c)
        residual = v.fma(factor, v.load(q, c), v.load(r, c))
        v.store(residual, r, c)
        # Multiplied by e first: the squares of small residuals may underflow where these products do not.
        return [v.fma(v.times(residual, v.load(e, c)), residual, sums[0])]

    (total,) = v.loop(0, n, v.lanes, [v.zero], step)
    v.store(v.sums([total]), out, o)


@micro_kernel
def solve_few(v, out, at, x, o, w, b, d, beyond, Y, ldy, indices, p, count):
    """Solve a row of a few entries in registers, and go beyond the solution.

    Computes   z = sum_j t_j y_j / d with t + w K t = b, K_ij = y_i . (y_j / d), y_j = Y[indices[p + j]]; s = z - x;
               out[at] <- sum_j b_j y_j.z, out[at + 1] <- sum_i d_i s_i^2 + sum_j w_j (y_j.s)^2;
               x[o : o + ldy] <- z + beyond s, or z if beyond is 0. Returns 0, or 1 if a pivot is not positive or NaN;
               out and x then stay as they are.
    Requires   ldy, the length of a row, padded; count from 1 to FEW; d not 0.
    IR         A block of code for each count. One pass over the rows computes the dot products of all pairs. Scalars
               eliminate, with the pivots of the symmetric matrix I + w^(1/2) K w^(1/2). A second pass computes x.
    """
    out, x = v.at(out, at), v.at(x, o)
    builder, address = v.builder, _gathered(v, Y, ldy, indices, p)
    status = builder.alloca(INDEX)
    builder.store(INDEX(1), status)
    factor, stays = v.splat(beyond), builder.fcmp_ordered("==", beyond, v.scalar(0.0))

    def solve(n):
        rows = [address(INDEX(j)) for j in range(n)]
        weights, right = [[v.load_scalar(array, j) for j in range(n)] for array in (w, b)]
        pairs = [(i, j) for i in range(n) for j in range(i, n)]

        def dots(c, sums):
            inverse = v.over(v.constant(1.0), v.load(d, c))
            numbers = [v.load(row, c) for row in rows]
            scaled = [v.times(row, inverse) for row in numbers]
            return [v.fma(numbers[i], scaled[j], total) for (i, j), total in zip(pairs, sums, strict=True)]

        K = dict(zip(pairs, v.totals(v.loop(0, ldy, v.lanes, [v.zero] * len(pairs), dots)), strict=True))
        K |= {(j, i): total for (i, j), total in K.items()}
        solved, t = _eliminated(v, weights, K, right)
        with builder.if_then(solved):
            shares = [v.splat(share) for share in t]

            def columns(c, sums):
                numbers = [v.load(row, c) for row in rows]
                diagonal, before = v.load(d, c), v.load(x, c)
                solution = v.over(v.product(shares, numbers), diagonal)
                way = v.minus(solution, before)
                v.store(builder.select(stays, solution, v.fma(factor, way, solution)), x, c)
                others = [v.fma(row, way, total) for row, total in zip(numbers, sums[1:], strict=True)]
                return [v.fma(v.times(diagonal, way), way, sums[0]), *others]

            above, *ways = v.totals(v.loop(0, ldy, v.lanes, [v.zero] * (n + 1), columns))
            fits = [v.product(t, [K[i, j] for j in range(n)]) for i in range(n)]
            builder.store(v.product(right, fits), out)
            moved = v.product(weights, [v.times(way, way) for way in ways])
            builder.store(v.plus(above, moved), v.at(out, 1))
            builder.store(INDEX(0), status)

    for n in range(1, FEW + 1):
        with builder.if_then(builder.icmp_signed("==", count, INDEX(n))):
            solve(n)
    return builder.load(status)


def _eliminated(v, weights, K, right):
    """Return whether all pivots are positive, and t with t + diag(weights) K t = right, in scalars."""
    n = len(right)
    one, zero = v.scalar(1), v.scalar(0)
    A = [[v.fma(weights[i], K[i, j], one if i == j else zero) for j in range(n)] for i in range(n)]
    t, inverses, solved = list(right), [], ir.IntType(1)(1)
    for i in range(n):
        solved = v.builder.and_(solved, v.builder.fcmp_ordered(">", A[i][i], zero))
        inverses.append(v.over(one, A[i][i]))
        for r in range(i + 1, n):
            factor = v.builder.fneg(v.times(A[r][i], inverses[i]))
            A[r] = [A[r][j] if j <= i else v.fma(factor, A[i][j], A[r][j]) for j in range(n)]
            t[r] = v.fma(factor, t[i], t[r])
    for i in reversed(range(n)):
        for j in range(i + 1, n):
            t[i] = v.fma(v.builder.fneg(A[i][j]), t[j], t[i])
        t[i] = v.times(t[i], inverses[i])
    return solved, t


@micro_kernel
def go_beyond(v, out, at, x, o, before, d, beyond, n):
    """Move a vector further in the direction in which it has moved.

    Computes   before[0:n] <- s = x[o : o + n] - before; x[o : o + n] += beyond * s; out[at] = sum of d * s^2.
    Requires   n padded.
    IR         One pass: 3 loads, 2 stores, one sum in a register.
    """
    x, factor = v.at(x, o), v.splat(beyond)

    def step(c, sums):
        here = v.load(x, c)
        moved = v.minus(here, v.load(before, c))
        v.store(moved, before, c)
        v.store(v.fma(factor, moved, here), x, c)
        return [v.fma(v.times(moved, moved), v.load(d, c), sums[0])]

    (total,) = v.loop(0, n, v.lanes, [v.zero], step)
    v.store(v.sums([total]), out, at)


# Panels in strips


def _in_strip(v, P, rows, c):
    """Return the address of row 0, column c of a panel in strips."""
    inside = v.builder.and_(v.index(c), INDEX(v.strip - 1))
    return v.at(P, inside, v.sub(c, inside), rows)


@micro_kernel
def scaled(v, P, p0, rows, s, o, M, m, ldm, count, width):
    """Copy scaled rows into a panel in strips.

    Computes   P[r, 0:width] = s[o + r] * M[r, 0:width] for r < count
    Requires   width padded; count <= rows, 0 too.
    IR         A load, a product and a store for each vector.
    """
    P, s = v.at(P, p0), v.at(s, o)

    def row(r):
        source, factor, place = v.at(M, m, r, ldm), v.broadcast(s, r), v.mul(r, v.strip)
        v.each(
            0,
            width,
            v.lanes,
            lambda c: v.store(v.times(v.load(source, c), factor), _in_strip(v, P, rows, c), place),
        )

    v.each(0, count, 1, row)


@micro_kernel
def gather_panel(v, C, keep, scale, P, rows, s, b, o, y, Y, ldy, indices, p, depth, left):
    """Gather scaled rows into a panel in strips, and add what each whole strip sums up to.

    Computes   P[r, 0:ldy] = s[o + r] * Y[indices[p + r]] and y[0:ldy] += sum_r b[o + r] * Y[indices[p + r]] for
               r < depth; on the diagonal of C, ldy x ldy, ``add_gram`` of each whole strip of P.
    Requires   ldy, the length of a row, padded; depth <= rows and FOLDED, 0 too; left >= depth: the number of rows from
               p on that may be fetched.
    IR         The first tile of ``add_gram`` takes the rows of Y on their way into the panel, so that the CPU fetches
               and multiplies at the same time. This saves 4 to 12% of an exact row, and fetching rows ahead 3 to 7%.
               The tile reads its factors back from the panel: LLVM would shuffle them out of the row's registers, on a
               port that fma needs. Columns beyond the last whole strip are only gathered.
    """
    s, b = v.at(s, o), v.at(b, o)
    factor, adds = v.splat(scale), v.builder.icmp_signed("!=", keep, INDEX(0))
    address, last = _gathered(v, Y, ldy, indices, p), v.sub(left, 1)

    def columns(c, vectors):
        panel, multiples, offsets = _in_strip(v, P, rows, c), v.at(y, c), range(0, vectors * v.lanes, v.lanes)

        def gathered(tall, also):
            """Emit the loop over the rows; return the sums of a tile: ``tall`` numbers of each row by its vectors."""

            def step(d, carried):
                totals, sums = carried[:vectors], carried[vectors:]
                far = address(v.min(v.add(d, AHEAD), last))
                for n in range(0, vectors * v.lanes, v.line):
                    v.prefetch(far, v.add(c, n))
                source, place = v.at(address(d), c), v.at(panel, 0, d, v.strip)
                weight, multiple = v.broadcast(s, d), v.broadcast(b, d)
                numbers = [v.load(source, n) for n in offsets]
                row = [v.times(x, weight) for x in numbers]
                for n, x in zip(offsets, row, strict=True):
                    v.store(x, place, n)
                also(d, row)
                totals = [v.fma(x, multiple, total) for x, total in zip(numbers, totals, strict=True)]
                v.keep_in_memory(place)
                return totals + _add_outer(v, [v.broadcast(place, n) for n in range(tall)], row, sums)

            start = [v.load(multiples, n) for n in offsets] + [v.zero] * (tall * vectors)
            sums = v.loop(0, depth, 1, start, step)
            for n, total in zip(offsets, sums, strict=False):
                v.store(total, multiples, n)
            return sums[vectors:]

        if vectors == v.tile_vectors:
            place = v.at(C, c, c, ldy)
            _triangle(v, place, ldy, adds, factor, panel, depth, lambda also: gathered(v.tile_rows, also))
        else:
            gathered(0, _nothing)

    _each_strip(v, ldy, columns)


@micro_kernel
def gather_transposed(v, T, t, rows, s, o, e, i, Y, ldy, indices, p, count):
    """Gather rows as the columns of a panel in strips, scaled on both sides.

    Computes   T[c, r] = s[o + r] * e[i + c] * Y[indices[p + r], c] for c < ldy and r < count, and zeros for r from
               count up to the next multiple of W.
    Requires   ldy, the length of a row, padded, at most rows; count any, 0 too; s and T have room for count padded.
    IR         W x W blocks: W loads times e, transposed in registers, times s, W stores.
    """
    T, s, e = v.at(T, t), v.at(s, o), v.at(e, i)
    address = _gathered(v, Y, ldy, indices, p)

    def block(first):
        sources = [address(v.min(v.add(first, r), v.sub(count, 1))) for r in range(v.lanes)]
        scale = v.first_lanes(v.sub(count, first), v.load(s, first))
        place = _in_strip(v, T, rows, first)

        def columns(j):
            factor = v.load(e, j)
            blocks = [v.times(v.load(source, j), factor) for source in sources]
            for c, column in enumerate(v.transpose(blocks)):
                v.store(v.times(column, scale), v.at(v.at(place, 0, j, v.strip), 0, c, v.strip))

        v.each(0, ldy, v.lanes, columns)

    v.each(0, count, v.lanes, block)


@micro_kernel
def prefetch_rows(v, Y, ldy, indices, p, count):
    """Fetch rows into the cache that will be gathered soon.

    Computes   nothing; fetches Y[indices[p + r]] for r < count.
    Requires   count any, 0 too.
    IR         One ``llvm.prefetch`` for each line.
    """
    address = _gathered(v, Y, ldy, indices, p)
    v.each(0, count, 1, lambda r: _fetch(v, address(r), ldy))


# Selection


@micro_kernel
def screen(v, out, p, q, o, B, b, pairs, terms, t, ld, offsets, u, slack, scale, length, offset, worst, count):
    """Tell which columns may reach a score, by factors rounded to whole numbers.

    Computes   out[p + s], for the strips s < count: bit j is set unless column c = t + s * S + j, whose numbers are
               B[b + s * pairs * 2 S :], has
               scale (q'B_c) terms[c] + (length terms[ld + c] + (offset + raised)) < worst, where raised is the larger
               of (1 + slack) and (1 - slack) times offsets[c - t + u].
               q[o : o + pairs] holds two numbers of 16 bits each, the first in the lower half. B holds two numbers of 8
               bits for each column of each pair.
    Requires   pairs and count above 0; S at most 32; q'B_c within 32 bits.
    IR         Groups of r strips, then of fewer. Each step takes one broadcast, and for each strip a load that widens
               and a multiply-add of pairs.
    """
    out, q, B, terms, offsets = v.at(out, p), v.at(q, o), v.at(B, b), v.at(terms, t), v.at(offsets, u)
    builder, word = v.builder, ir.IntType(32)
    bytes_, halves = (ir.VectorType(ir.IntType(bits), 2 * v.strip) for bits in (8, 16))
    words, scores = (ir.VectorType(kind, v.strip) for kind in (word, v.scalar))
    one = ir.Constant(v.scalar, 1)
    factors = v.plus(one, slack), v.minus(one, slack)

    def group(first, n):
        strips = [v.at(B, 0, v.add(first, r), v.mul(pairs, 2 * v.strip)) for r in range(n)]

        def step(d, sums):
            x = builder.bitcast(v.splat(v.load_scalar(q, d), v.strip), halves)
            rows = [builder.sext(v.load_as(bytes_, strip, v.mul(d, 2 * v.strip)), halves) for strip in strips]
            return [v.add_pairs(total, x, y) for y, total in zip(rows, sums, strict=True)]

        for r, total in enumerate(v.loop(0, pairs, 1, [ir.Constant(words, None)] * n, step)):
            at = v.mul(v.add(first, r), v.strip)
            unit, lacking, own = (v.load_as(scores, address, at) for address in (terms, v.at(terms, ld), offsets))
            raised = [v.times(v.splat(factor, v.strip), own) for factor in factors]
            raised = builder.select(builder.fcmp_ordered(">", *raised), *raised)
            bound = v.plus(v.times(v.splat(length, v.strip), lacking), v.plus(v.splat(offset, v.strip), raised))
            dot = v.times(v.times(v.splat(scale, v.strip), builder.sitofp(total, scores)), unit)
            alive = builder.fcmp_unordered(">=", v.plus(dot, bound), v.splat(worst, v.strip))
            mask = builder.bitcast(alive, ir.IntType(v.strip))
            builder.store(builder.zext(mask, word) if v.strip < 32 else mask, v.at(out, v.add(first, r)))

    _in_groups(v, count, group)


@micro_kernel
def keep_best(v, best, o, best_ids, i, n, kept, x, p, ids, q, taken, t, count):
    """Insert columns into the list of the best, which is sorted by falling score, then by rising id.

    Computes   best[o : o + n] and best_ids[i : i + n] <- the first n of themselves and of the scores x[p + c] with
               their ids[q + c], of those c < count whose bit c % 32 of taken[t + c / 32] is not set and that come
               before place kept - 1. NaN is never inserted.
    Requires   n padded; count a multiple of S; best sorted, without NaN; ids from -1 on.
    IR         A compare of S numbers and a branch, until a lane is not below the worst. Only then ids and bits are
               read. To insert, from the last vector to the first, each lane of best keeps its number, or takes the new
               one, or that of its left neighbour: compares and selections, no branches to predict.
    """
    best, best_ids, x, ids, taken = v.at(best, o), v.at(best_ids, i), v.at(x, p), v.at(ids, q), v.at(taken, t)
    builder, worst = v.builder, v.sub(kept, 1)
    word = ir.IntType(32)
    numbers, scores_of_strip, ids_of_strip = (
        ir.VectorType(kind, lanes) for kind, lanes in ((word, v.lanes), (v.scalar, v.strip), (word, v.strip))
    )
    shift = range(v.lanes - 1, 2 * v.lanes - 1)

    def insert(score, number):
        new, new_id = v.splat(score), v.splat(number)

        def before(scores, score_ids):
            level = builder.and_(builder.fcmp_ordered("==", scores, new), builder.icmp_signed("<", score_ids, new_id))
            return builder.or_(builder.fcmp_ordered(">", scores, new), level)

        def place(j, left, left_ids):
            here, here_ids = v.load(best, j), v.load_as(numbers, best_ids, j)
            left, left_ids = v.shuffle(left, here, shift), v.shuffle(left_ids, here_ids, shift)
            stays, behind = before(here, here_ids), before(left, left_ids)
            v.store(builder.select(stays, here, builder.select(behind, new, left)), best, j)
            v.store(builder.select(stays, here_ids, builder.select(behind, new_id, left_ids)), best_ids, j)

        def with_neighbour(j):
            place(j, v.load(best, v.sub(j, v.lanes)), v.load_as(numbers, best_ids, v.sub(j, v.lanes)))

        v.each(v.sub(n, v.lanes), 0, -v.lanes, with_neighbour)
        place(0, v.constant(float("inf")), v.splat(word(-2)))  # a neighbour that comes before everything

    def strip(c):
        scores = v.load_as(scores_of_strip, x, c)

        def compared(sign):
            return builder.fcmp_ordered(sign, scores, v.splat(v.load_scalar(best, worst), v.strip))

        def as_bits(lanes):
            return builder.bitcast(lanes, ir.IntType(v.strip))

        def better():
            last = v.splat(v.load_scalar(best_ids, worst), v.strip)
            before = builder.icmp_signed("<", v.load_as(ids_of_strip, ids, c), last)
            return as_bits(builder.or_(compared(">"), builder.and_(compared(">="), before)))

        none = ir.IntType(v.strip)(0)
        with builder.if_then(builder.icmp_unsigned("!=", as_bits(compared(">=")), none)):
            left_out = v.load_scalar(taken, builder.lshr(c, INDEX(5)))
            left_out = builder.lshr(left_out, builder.trunc(builder.and_(c, INDEX(31)), word))
            free = builder.not_(builder.trunc(left_out, none.type) if v.strip < 32 else left_out)
            first = builder.and_(better(), free)
            entry = builder.block
            head, inside, done = (builder.append_basic_block(name) for name in ("head", "inside", "done"))
            builder.branch(head)

            builder.position_at_end(head)
            bits = builder.phi(none.type)
            bits.add_incoming(first, entry)
            builder.cbranch(builder.icmp_unsigned("!=", bits, none), inside, done)

            builder.position_at_end(inside)
            lane = v.add(c, builder.zext(builder.cttz(bits, ir.IntType(1)(1)), INDEX))
            insert(v.load_scalar(x, lane), v.load_scalar(ids, lane))
            others = builder.and_(bits, builder.sub(bits, none.type(1)))
            bits.add_incoming(builder.and_(others, better()), builder.block)
            builder.branch(head)

            builder.position_at_end(done)

    v.each(0, count, v.strip, strip)
