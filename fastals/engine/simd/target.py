"""What the CPU offers: vector width, fused multiply-add, and the tile that fits its registers.

Everything here follows from the CPU that Numba compiles for. NUMBA_CPU_NAME and NUMBA_CPU_FEATURES override it. Both
are part of the key of Numba's cache, so a cached kernel always has the width for which it was made.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import llvmlite.binding as llvm
import numba
import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..jit import COMPILING, compiling
from ..shielded import shielded

CACHE_LINE = 64  # bytes; also the widest vector, so that an aligned row never straddles two lines


@dataclass(frozen=True)
class Target:
    """A CPU as the kernels see it."""

    cpu: str  # its name, as LLVM has it
    vector_bytes: int  # one vector register
    accumulators: int  # registers for the sums of a tile
    fma: bool  # whether a * b + c is one instruction
    pair_bytes: int  # width in bytes of x86's pmaddwd, which multiplies numbers of 16 bits; 0 on other CPUs

    def lanes(self, itemsize: int) -> int:
        """Return W: how many numbers of ``itemsize`` bytes a vector register holds."""
        return self.vector_bytes // itemsize

    def tile(self, itemsize: int) -> tuple[int, int]:
        """Return the rows and vectors of the tile of a product: its sums fill the accumulators, its rows divide W.

        A step of a tile of r rows by v vectors loads v vectors and r scalars for r * v multiply-adds. The load ports
        keep up with that from v = 2 on.
        """
        rows = min(self.lanes(itemsize), self.accumulators // 2)
        return rows, self.accumulators // rows

    def strip(self, itemsize: int) -> int:
        """Return S: how many columns a tile is wide."""
        return self.tile(itemsize)[1] * self.lanes(itemsize)

    def folds(self, itemsize: int) -> bool:
        """Tell whether Gram matrices fold the triangle of a strip: where a tile is W / 2 rows by two vectors.

        That is the case in float32 with AVX-512 and AVX2, where folding saves 2 to 10% of an exact row. In float64 it
        would make rows 1 to 2% slower.
        """
        rows, vectors = self.tile(itemsize)
        return vectors == 2 and 2 * rows == self.lanes(itemsize)


REGISTERS = {64: "zmm", 32: "ymm", 16: "xmm"}  # of x86, by their bytes

# Additions of 512 bits and one fused multiply-add. The machine code for them shows what the CPU has.
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
    if compiling():  # by itself: another thread would wait for the lock, and this one for the other
        return _of_numba()
    return cast(Target, shielded(_of_numba))


def _of_numba() -> Target:
    with COMPILING:  # a fork waits for it: LLVM has a lock of its own
        return describe(*compiled_for())


def compiled_for() -> tuple[str, str, str]:
    """Return triple, name and features of the CPU that Numba compiles for, as its settings say."""
    config: Any = numba.config
    features = config.CPU_FEATURES
    if features is None:
        of_host = llvm.get_host_cpu_features()
        if not config.ENABLE_AVX:
            of_host.update({name: False for name in of_host if name.startswith("avx")})
        features = of_host.flatten()
    return llvm.get_process_triple(), config.CPU_NAME or llvm.get_host_cpu_name(), features


def describe(triple: str, cpu: str, features: str) -> Target:
    """Return what a CPU has, by the code that LLVM makes for it: LLVM knows which name implies which features."""
    # Numba has done so where it compiles, but with NUMBA_DISABLE_JIT=1 it does not.
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features)
    assembly = machine.emit_assembly(llvm.parse_assembly(_PROBE))
    vector_bytes = 64 if "zmm" in assembly else 32 if "ymm" in assembly else 16
    return Target(
        cpu=cpu,
        vector_bytes=vector_bytes,
        # Half of AVX-512's 32 registers, half of the 16 of AVX2 and SSE: the rest is for operands.
        accumulators=16 if vector_bytes == 64 else 8,
        fma="fmaf" not in assembly,  # without the instruction it is a call of the C library
        pair_bytes=next((size for size, name in REGISTERS.items() if re.search(rf"paddw\b.*{name}", assembly)), 0),
    )


def lanes(dtype: DTypeLike) -> int:
    """Return W: how many numbers of ``dtype`` a vector register holds. All padded sizes are multiples of it."""
    return target().lanes(np.dtype(dtype).itemsize)


def padded(n: int, dtype: DTypeLike) -> int:
    """Return ``n`` rounded up to a multiple of W."""
    return -(-n // lanes(dtype)) * lanes(dtype)


def in_strips(n: int, dtype: DTypeLike) -> int:
    """Return ``n`` columns rounded up to whole strips."""
    strip = target().strip(np.dtype(dtype).itemsize)
    return -(-n // strip) * strip


def aligned_empty(
    shape: int | tuple[int, ...], dtype: DTypeLike, allocate: Callable[..., NDArray] = np.empty
) -> NDArray:
    """Return an uninitialised C-contiguous array that starts at a cache line, so that no vector straddles two lines."""
    dtype = np.dtype(dtype)
    size = (math.prod(shape) if isinstance(shape, tuple) else shape) * dtype.itemsize
    raw = allocate(size + CACHE_LINE, np.uint8)
    # Not `raw.ctypes`, which is slow, and folding in one row makes a dozen arrays.
    start = -raw.__array_interface__["data"][0] % CACHE_LINE
    return raw[start : start + size].view(dtype).reshape(shape)
