"""The only callers of numba.njit."""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

FAST = {"arcp", "contract", "nsz", "reassoc"}


def kernel(function: Any) -> Any:
    """Compile a function that Python calls."""
    return numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)(function)


def inner(function: Any) -> Any:
    """Compile a function that only jitted code calls."""
    return numba.njit(
        cache=True,
        nogil=True,
        error_model="numpy",
        fastmath=FAST,
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
    )(function)


@intrinsic
def next_block(typingctx, counter):
    """Add 1 to counter[0] atomically and return what it was."""

    def codegen(context, builder, signature, args):
        array = context.make_array(signature.args[0])(context, builder, args[0])
        return builder.atomic_rmw("add", array.data, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counter), codegen
