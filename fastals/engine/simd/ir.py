"""The vector operations that the kernels are written in. This module knows LLVM's builder, not Numba's types."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from llvmlite import ir
from numba.core import cgutils

from fastals.engine.simd.target import CACHE_LINE, Target

INDEX = ir.IntType(64)
MULTIPLY_PAIRS = {8: "llvm.x86.sse2.pmadd.wd", 16: "llvm.x86.avx2.pmadd.wd", 32: "llvm.x86.avx512.pmaddw.d.512"}

Index: TypeAlias = ir.Value | int


class Vectors:
    """An IR builder for vectors of one scalar type on one CPU.

    Pointers point at scalars. ``pointer[i]`` in the docstrings is the i-th scalar from there on. Indices are LLVM
    integers as wide as a pointer, or Python ints for constants.
    """

    def __init__(self, builder: ir.IRBuilder, scalar: ir.Type, itemsize: int, target: Target) -> None:
        self.builder = builder
        self.scalar = scalar
        self.itemsize = itemsize
        self.fused = target.fma
        self.pair_bytes = target.pair_bytes
        self.lanes = target.lanes(itemsize)
        self.tile_rows, self.tile_vectors = target.tile(itemsize)
        self.strip = target.strip(itemsize)
        self.folds = target.folds(itemsize)
        self.vector = ir.VectorType(scalar, self.lanes)
        self.zero = self.constant(0.0)

    # Indices and addresses

    def index(self, value: Index) -> ir.Value:
        """Return a Python int as a constant, and an LLVM integer as it is."""
        return ir.Constant(INDEX, value) if isinstance(value, int) else value

    def add(self, x: Index, y: Index) -> ir.Value:
        """Return ``x + y``."""
        return self.builder.add(self.index(x), self.index(y), flags=["nsw"])

    def sub(self, x: Index, y: Index) -> ir.Value:
        """Return ``x - y``."""
        return self.builder.sub(self.index(x), self.index(y), flags=["nsw"])

    def mul(self, x: Index, y: Index) -> ir.Value:
        """Return ``x * y``."""
        return self.builder.mul(self.index(x), self.index(y), flags=["nsw"])

    def min(self, x: Index, y: Index) -> ir.Value:
        """Return the smaller of two indices."""
        x, y = self.index(x), self.index(y)
        return self.builder.select(self.builder.icmp_signed("<", x, y), x, y)

    def max(self, x: Index, y: Index) -> ir.Value:
        """Return the larger of two indices."""
        x, y = self.index(x), self.index(y)
        return self.builder.select(self.builder.icmp_signed(">", x, y), x, y)

    def at(self, pointer: ir.Value, i: Index, row: Index = 0, ld: Index = 0) -> ir.Value:
        """Return the address of ``pointer[row * ld + i]``."""
        if not (isinstance(row, int) and row == 0):
            pointer = self.builder.gep(pointer, [self.mul(row, ld)], inbounds=True)
        return self.builder.gep(pointer, [self.index(i)], inbounds=True)

    def loop(
        self,
        start: Index,
        stop: Index,
        step: int,
        carried: Sequence[ir.Value],
        body: Callable[[ir.Value, list[ir.Value]], Sequence[ir.Value]],
    ) -> list[ir.Value]:
        """Emit ``for index in range(start, stop, step): carried = body(index, carried)``; return the last ``carried``.

        The carried values are phi nodes, so that they stay in registers. ``step`` may be negative.
        """
        builder = self.builder
        entry = builder.block
        head, inside, done = (builder.append_basic_block(name) for name in ("head", "inside", "done"))
        builder.branch(head)

        builder.position_at_end(head)
        counter = builder.phi(INDEX)
        counter.add_incoming(self.index(start), entry)
        phis = []
        for value in carried:
            phi = builder.phi(value.type)
            phi.add_incoming(value, entry)
            phis.append(phi)
        going = builder.icmp_signed("<" if step > 0 else ">", counter, self.index(stop))
        builder.cbranch(going, inside, done)

        builder.position_at_end(inside)
        values = body(counter, phis)
        counter.add_incoming(self.add(counter, step), builder.block)
        for phi, value in zip(phis, values, strict=True):
            phi.add_incoming(value, builder.block)
        builder.branch(head)

        builder.position_at_end(done)
        return phis

    def each(self, start: Index, stop: Index, step: int, body: Callable[[ir.Value], None]) -> None:
        """Emit ``for index in range(start, stop, step): body(index)``."""

        def carry_nothing(index: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
            body(index)
            return carried

        self.loop(start, stop, step, [], carry_nothing)

    def either(
        self, condition: ir.Value, one: Callable[[], list[ir.Value]], other: Callable[[], list[ir.Value]]
    ) -> list[ir.Value]:
        """Emit ``one() if condition else other()``; return the values of the branch taken."""
        found = []
        with self.builder.if_else(condition) as branches:
            for branch, emit in zip(branches, (one, other), strict=True):
                with branch:
                    found.append((emit(), self.builder.block))
        phis = []
        for i, value in enumerate(found[0][0]):
            phi = self.builder.phi(value.type)
            for values, block in found:
                phi.add_incoming(values[i], block)
            phis.append(phi)
        return phis

    # Memory

    def load(self, pointer: ir.Value, i: Index = 0) -> ir.Value:
        """Return the vector ``pointer[i : i + W]``."""
        return self.builder.load(self._as_vector(pointer, i), align=self.itemsize)

    def load_as(self, vector: ir.Type, pointer: ir.Value, i: Index = 0) -> ir.Value:
        """Return ``pointer[i : i + lanes]`` as the given vector type."""
        element = vector.element
        align = element.width // 8 if isinstance(element, ir.IntType) else self.itemsize
        return self.builder.load(self._as_vector(pointer, i, vector), align=align)

    def store(self, vector: ir.Value, pointer: ir.Value, i: Index = 0) -> None:
        """Store ``pointer[i : i + lanes] = vector``."""
        self.builder.store(vector, self._as_vector(pointer, i, vector.type), align=self.itemsize)

    def load_scalar(self, pointer: ir.Value, i: Index = 0) -> ir.Value:
        """Return ``pointer[i]``."""
        return self.builder.load(self.at(pointer, i))

    def broadcast(self, pointer: ir.Value, i: Index = 0) -> ir.Value:
        """Return ``pointer[i]`` in all lanes."""
        return self.splat(self.load_scalar(pointer, i))

    def scratch(self, size: int) -> ir.Value:
        """Return a pointer to ``size`` scalars on the stack, at the start of a cache line."""
        with self.builder.goto_entry_block():
            place = self.builder.alloca(self.scalar, size)
        place.align = CACHE_LINE
        return place

    def keep_in_memory(self, pointer: ir.Value) -> None:
        """Make LLVM read the numbers at ``pointer`` from memory from here on.

        To LLVM the empty piece of assembly may have changed them.
        """
        self.builder.asm(ir.FunctionType(ir.VoidType(), [pointer.type]), "", "r,~{memory}", [pointer], True)

    def settled(self, pointer: ir.Value) -> ir.Value:
        """Return ``pointer`` such that LLVM keeps it, and does not compute it again before each loop that uses it.

        To LLVM the empty piece of assembly may have changed it.
        """
        return self.builder.asm(ir.FunctionType(pointer.type, [pointer.type]), "", "=r,0", [pointer], False)

    def prefetch(self, pointer: ir.Value, i: Index = 0) -> None:
        """Fetch the cache line of ``pointer[i]`` into all levels of the cache."""
        address = self.builder.bitcast(self.at(pointer, i), ir.IntType(8).as_pointer())
        flag = ir.IntType(32)
        signature = ir.FunctionType(ir.VoidType(), [address.type, flag, flag, flag])
        self._call(f"llvm.prefetch.{address.type.intrinsic_name}", signature, [address, flag(0), flag(3), flag(1)])

    @property
    def line(self) -> int:
        """Number of scalars in a cache line."""
        return CACHE_LINE // self.itemsize

    def _as_vector(self, pointer: ir.Value, i: Index, vector: ir.Type | None = None) -> ir.Value:
        return self.builder.bitcast(self.at(pointer, i), (vector or self.vector).as_pointer())

    # Lanes

    def constant(self, value: float) -> ir.Value:
        """Return ``value`` in all lanes."""
        return ir.Constant(self.vector, [ir.Constant(self.scalar, value)] * self.lanes)

    def splat(self, scalar: ir.Value, lanes: int = 0) -> ir.Value:
        """Return ``scalar``, of any type, in all lanes or in ``lanes`` of them."""
        lanes = lanes or self.lanes
        undefined = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.IntType(32)(0))
        return self.shuffle(first, first, [0] * lanes)

    def splat_lane(self, vector: ir.Value, lane: int) -> ir.Value:
        """Return ``vector[lane]`` in all lanes."""
        return self.shuffle(vector, vector, [lane] * self.lanes)

    def lane(self, vector: ir.Value, lane: int) -> ir.Value:
        """Return ``vector[lane]``, a scalar."""
        return self.builder.extract_element(vector, ir.IntType(32)(lane))

    def shuffle(self, x: ir.Value, y: ir.Value, lanes: Sequence[int]) -> ir.Value:
        """Return ``concatenate(x, y)[lanes]``."""
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes))
        return self.builder.shuffle_vector(x, y, mask)

    def choose(self, from_x: Sequence[bool], x: ir.Value, y: ir.Value) -> ir.Value:
        """Return ``where(from_x, x, y)``; which lanes come from x is known when the code is emitted."""
        n = len(from_x)
        return self.shuffle(x, y, [lane if take else n + lane for lane, take in enumerate(from_x)])

    def first_lanes(self, count: ir.Value, x: ir.Value) -> ir.Value:
        """Return ``x`` with zeros in the lanes from ``count`` on."""
        n = x.type.count
        numbers = ir.Constant(ir.VectorType(ir.IntType(32), n), list(range(n)))
        count = self.builder.trunc(self.min(count, n), ir.IntType(32))
        counts = self.splat(count, n)
        return self.builder.select(self.builder.icmp_signed("<", numbers, counts), x, ir.Constant(x.type, None))

    # Arithmetic, of vectors or scalars
    #
    # Every operation has the flag ``nsz``, because Numba gives operations without a flag all fast-math flags of the
    # caller. With ``arcp`` LLVM would replace a division of float32 vectors by an estimate that lacks a few bits.

    def plus(self, x: ir.Value, y: ir.Value) -> ir.Value:
        """Return ``x + y``."""
        return self.builder.fadd(x, y, flags=["nsz"])

    def minus(self, x: ir.Value, y: ir.Value) -> ir.Value:
        """Return ``x - y``."""
        return self.builder.fsub(x, y, flags=["nsz"])

    def times(self, x: ir.Value, y: ir.Value) -> ir.Value:
        """Return ``x * y``."""
        return self.builder.fmul(x, y, flags=["nsz"])

    def over(self, x: ir.Value, y: ir.Value) -> ir.Value:
        """Return ``x / y``, correctly rounded."""
        return self.builder.fdiv(x, y, flags=["nsz"])

    def fma(self, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        """Return ``x * y + z``, fused if the CPU can: on others ``llvm.fma`` is a library call for each lane."""
        if not self.fused:
            return self.plus(self.times(x, y), z)
        return self._call(f"llvm.fma.{_spelled(x.type)}", ir.FunctionType(x.type, [x.type] * 3), [x, y, z])

    def add_pairs(self, total: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
        """Return ``total + x[::2] * y[::2] + x[1::2] * y[1::2]``, of 32 bits, from numbers of 16 bits.

        x86 has an instruction for it. It is called by name, because LLVM does not always find it.
        """
        pairs = x.type.count // 2
        if not self.pair_bytes:
            whole = ir.VectorType(total.type.element, pairs)
            for first in (0, 1):
                lanes = range(first, 2 * pairs, 2)
                factors = (self.builder.sext(self.shuffle(z, z, lanes), whole) for z in (x, y))
                total = self.builder.add(total, self.builder.mul(*factors))
            return total
        size = self.pair_bytes // 2
        halves, words = ir.VectorType(x.type.element, size), ir.VectorType(total.type.element, size // 2)
        signature = ir.FunctionType(words, [halves, halves])
        sums = []
        for start in range(0, 2 * pairs, size):
            part = range(start, start + size)
            sums.append(self._call(MULTIPLY_PAIRS[size], signature, [self.shuffle(z, z, part) for z in (x, y)]))
        while len(sums) > 1:
            width = range(2 * sums[0].type.count)
            sums = [self.shuffle(low, high, width) for low, high in zip(sums[::2], sums[1::2], strict=True)]
        return self.builder.add(total, sums[0])

    def sqrt(self, x: ir.Value) -> ir.Value:
        """Return the correctly rounded square roots of ``x``."""
        return self._call(f"llvm.sqrt.{_spelled(x.type)}", ir.FunctionType(x.type, [x.type]), [x])

    def product(self, xs: Sequence[ir.Value], ys: Sequence[ir.Value]) -> ir.Value:
        """Return ``sum_i xs[i] * ys[i]``."""
        total = self.times(xs[0], ys[0])
        for x, y in zip(xs[1:], ys[1:], strict=True):
            total = self.fma(x, y, total)
        return total

    def transpose(self, rows: Sequence[ir.Value]) -> list[ir.Value]:
        """Transpose a W x W block: exchange each bit of the row number with that of the lane number."""
        rows = list(rows)
        distance = 1
        while distance < self.lanes:
            for i in range(self.lanes):
                if not i & distance:
                    rows[i], rows[i + distance] = self._exchange(rows[i], rows[i + distance], distance)
            distance *= 2
        return rows

    def sums(self, vectors: Sequence[ir.Value]) -> ir.Value:
        """Return a vector with the sum of each of ``vectors``, whose number is a power of two, at most W.

        A transpose with additions: n - 1 exchanges instead of n reductions.
        """
        vectors = list(vectors)
        n = len(vectors)
        lanes = self.lanes
        while lanes > n:
            lanes //= 2
            low, high = range(lanes), range(lanes, 2 * lanes)
            vectors = [self.plus(self.shuffle(x, x, low), self.shuffle(x, x, high)) for x in vectors]
        while len(vectors) > 1:
            distance = len(vectors) // 2
            pairs = (self._exchange(vectors[i], vectors[i + distance], distance) for i in range(distance))
            vectors = [self.plus(x, y) for x, y in pairs]
        return vectors[0]

    def sum_of(self, values: Sequence[ir.Value]) -> ir.Value:
        """Return ``sum_i values[i]``, added in pairs."""
        values = list(values)
        while len(values) > 1:
            values = [self.plus(x, y) for x, y in zip(values[::2], values[1::2], strict=True)]
        return values[0]

    def totals(self, vectors: Sequence[ir.Value]) -> list[ir.Value]:
        """Return the sum of each of ``vectors`` as a scalar; W vectors are reduced together."""
        found: list[ir.Value] = []
        for start in range(0, len(vectors), self.lanes):
            some = list(vectors[start : start + self.lanes])
            n = 1 << (len(some) - 1).bit_length()
            sums = self.sums(some + [self.zero] * (n - len(some)))
            found += [self.lane(sums, lane) for lane in range(len(some))]
        return found

    def _exchange(self, x: ir.Value, y: ir.Value, distance: int) -> tuple[ir.Value, ir.Value]:
        """Exchange the upper half of each group of ``2 * distance`` lanes of ``x`` with the lower half in ``y``."""
        n = x.type.count
        lower = [lane if not lane & distance else n + lane - distance for lane in range(n)]
        upper = [lane + distance if not lane & distance else n + lane for lane in range(n)]
        return self.shuffle(x, y, lower), self.shuffle(x, y, upper)

    def _call(self, name: str, signature: ir.FunctionType, arguments: Sequence[ir.Value]) -> ir.Value:
        """Call an LLVM intrinsic by its full name: the builder's own methods know scalars only."""
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        return self.builder.call(function, arguments)


def _spelled(kind: ir.Type) -> str:
    """Return the suffix of an overloaded intrinsic, such as ``v16f32`` or ``f32``."""
    return f"v{kind.count}{kind.element.intrinsic_name}" if isinstance(kind, ir.VectorType) else kind.intrinsic_name
