"""What the CPU offers: vector width, fused multiply-add, and the tile that fits its registers.

Everything here is a pure function of the CPU that Numba compiles for, which NUMBA_CPU_NAME and NUMBA_CPU_FEATURES
override. Both are part of the key of Numba's cache, so no cached kernel meets a width that it was not made for.
"""

import math
import re
from dataclasses import dataclass
from functools import cache

import llvmlite.binding as llvm
import numpy as np
from numba.core.registry import cpu_target
from numpy.typing import DTypeLike, NDArray

CACHE_LINE = 64  # bytes; also the widest vector, so that an aligned row never straddles two lines


@dataclass(frozen=True)
class Target:
    """A CPU as the kernels see it."""

    vector_bytes: int  # one vector register
    accumulators: int  # registers that a tile may keep its sums in
    fma: bool  # whether a * b + c is one instruction
    pair_bytes: int  # the vector register whose numbers of 16 bits x86's pmaddwd takes; 0 on other CPUs

    def lanes(self, itemsize: int) -> int:
        """W: how many numbers of ``itemsize`` bytes a vector register holds."""
        return self.vector_bytes // itemsize

    def tile(self, itemsize: int) -> tuple[int, int]:
        """Rows and vectors of the tile of a product: its sums fill the accumulators, its rows divide W.

        A step of a tile of r rows by v vectors loads v vectors and r scalars for r * v multiply-adds, which the load
        ports keep up with from v = 2 on. AVX-512: 8 x 2, AVX2 and single-precision SSE and NEON: 4 x 2.
        """
        rows = min(self.lanes(itemsize), self.accumulators // 2)
        return rows, self.accumulators // rows

    def strip(self, itemsize: int) -> int:
        """S: how many columns a tile is wide."""
        return self.tile(itemsize)[1] * self.lanes(itemsize)

    def folds(self, itemsize: int) -> bool:
        """Whether Gram matrices fold the triangle of a strip: where a tile is W / 2 rows by two vectors.

        That is in float32 with AVX-512, where an exact row takes 4 to 9% less, and with AVX2: 2 to 10%.
        In float64 tiles would be half as high as they are, and a row takes 1 to 2% longer.
        """
        rows, vectors = self.tile(itemsize)
        return vectors == 2 and 2 * rows == self.lanes(itemsize)


REGISTERS = {64: "zmm", 32: "ymm", 16: "xmm"}  # of x86, by their bytes

# Additions of 512 bits and one fused multiply-add: what the machine code uses for them tells what the CPU has.
_PROBE = """
define <16 x float> @add(<16 x float> %x) {
  %y = fadd <16 x float> %x, %x
  ret <16 x float> %y
}
define <32 x i16> @add_words(<32 x i16> %x) {
  %y = add <32 x i16> %x, %x
  ret <32 x i16> %y
}
define float @multiply_add(float %x) {
  %y = call float @llvm.fma.f32(float %x, float %x, float %x)
  ret float %y
}
declare float @llvm.fma.f32(float, float, float)
"""


@cache
def target() -> Target:
    """Return the CPU that Numba compiles for."""
    triple, cpu, features = cpu_target.target_context.codegen().magic_tuple()
    return describe(triple, cpu, features)


def describe(triple: str, cpu: str, features: str) -> Target:
    """Ask LLVM what the CPU has, as it alone knows which name implies which features."""
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features)
    assembly = machine.emit_assembly(llvm.parse_assembly(_PROBE))
    vector_bytes = 64 if "zmm" in assembly else 32 if "ymm" in assembly else 16
    return Target(
        vector_bytes=vector_bytes,
        # Half of AVX-512's 32 registers, half of the 16 of AVX2 and SSE: the rest is for operands.
        accumulators=16 if vector_bytes == 64 else 8,
        fma="fmaf" not in assembly,  # without the instruction it is a call of the C library
        pair_bytes=next((size for size, name in REGISTERS.items() if re.search(rf"paddw\b.*{name}", assembly)), 0),
    )


def lanes(dtype: DTypeLike) -> int:
    """W: how many numbers of ``dtype`` a vector register holds; all paddings are multiples of it."""
    return target().lanes(np.dtype(dtype).itemsize)


def padded(n: int, dtype: DTypeLike) -> int:
    """Return ``n`` rounded up to a multiple of W."""
    return -(-n // lanes(dtype)) * lanes(dtype)


def in_strips(n: int, dtype: DTypeLike) -> int:
    """Return ``n`` columns rounded up to whole strips."""
    strip = target().strip(np.dtype(dtype).itemsize)
    return -(-n // strip) * strip


def aligned_empty(shape: int | tuple[int, ...], dtype: DTypeLike) -> NDArray:
    """Make an uninitialised C-contiguous array that starts at a cache line, so that no vector straddles two."""
    dtype = np.dtype(dtype)
    size = (math.prod(shape) if isinstance(shape, tuple) else shape) * dtype.itemsize
    raw = np.empty(size + CACHE_LINE, np.uint8)
    # Not `raw.ctypes`, which costs 2 us: a dozen work arrays are made to fold in one row.
    start = -raw.__array_interface__["data"][0] % CACHE_LINE
    return raw[start : start + size].view(dtype).reshape(shape)
