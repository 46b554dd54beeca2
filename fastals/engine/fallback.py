"""Which engine serves: the fast one, or where its vector kernels cannot be compiled the plain one."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
from numba.core.errors import NumbaError

from .jit import kernel
from .simd.kernels import dot
from .simd.target import aligned_empty, lanes


class PlainEngineWarning(RuntimeWarning):
    """The vector kernels cannot be compiled for this CPU, so the plain engine does the work: slower, as exact."""


def is_plain(solver: str) -> bool:
    """Whether the plain engine serves: it is asked for, or the other cannot."""
    return solver == "plain" or not vector_kernels_compile()


@cache
def vector_kernels_compile() -> bool:
    """Whether a small vector kernel can be compiled; if not, this warns, once a process."""
    count = lanes(np.float32)
    x = aligned_empty(2 * count, np.float32)
    x[...] = 1
    try:
        _probe(x)
    except (NumbaError, NotImplementedError, RuntimeError) as error:  # RuntimeError: LLVM refuses the code
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        warnings.warn(
            f"vector kernels cannot be compiled for this CPU, or NUMBA_DISABLE_JIT is set ({first_line}): "
            "fits and answers come from the plain engine, which is several times slower",
            PlainEngineWarning,
            stacklevel=2,
        )
        return False
    return True


@kernel
def _probe(
    x,  # inout float32 (2 * W,)
):
    """Multiply two vectors."""
    dot(x, 0, x, 0, x, 0, len(x))
