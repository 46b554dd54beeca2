"""The only caller of ``numba.njit``: which flags this project compiles with, and why.

Three decorators: ``kernel`` is for functions that Python calls, ``inner`` for those that only jitted functions call,
``inlined`` for those that become part of each caller. None takes a signature: a signature compiles at import, and
importing this package compiles nothing.

Parallelism is by Python threads. Each runs the same kernel, which holds no GIL and draws its blocks of rows from one
shared counter with ``next_block``; there is no ``prange``, hence no threading layer that aborts or dies after a fork.
"""

import warnings
from collections.abc import Callable
from functools import cache, partial
from threading import Lock
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

# What the compiler may do to a sum or a product beyond IEEE 754. Never ``nnan`` or ``ninf``: they allow the compiler to
# delete the very tests that notice a non-finite result. No ``afn``: no function here is to be a guess.
FASTMATH = frozenset(
    {
        "arcp",  # x / y as x * (1 / y), so that the division leaves the loop
        "contract",  # x * y + z as one fused operation, with one rounding
        "nsz",  # -0.0 as 0.0
        # Sums in another order, without which no reduction becomes a vector loop. So no loop of the engine both sums
        # and stores at an offset: as the offset might be negative, LLVM would see arrays overlap that do not, and sum
        # in the plain order: the bits would depend on where arrays happen to lie.
        "reassoc",
    }
)

OPTIONS = {
    # Without Numba's runtime for memory the compiler refuses code that would allocate, and does not count arrays that
    # are passed on: an atomic operation each, on cache lines that all threads share. A short row took 600 ns more.
    "_nrt": False,
    "error_model": "numpy",  # division by zero gives inf or nan, not a branch and a Python exception
    "fastmath": set(FASTMATH),
    # ``boundscheck`` is not set, so that NUMBA_BOUNDSCHECK=1 can turn it on.
}

KERNEL_OPTIONS = {
    **OPTIONS,
    "nogil": True,  # the threads of one fit run kernels at the same time
}

INNER_OPTIONS = {
    **OPTIONS,
    # The wrappers for Python and C callers would never be called; each costs some 15 ms of optimisation alone.
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}


class Jitted:
    """A function that Numba gets to see when Python calls it, or when the compiler asks for it.

    Numba's own dispatchers, three dozen, and the compiler's contexts that the first of them makes were more than a
    third of what importing this package takes beyond Numba: 9 of 25 ms. To the compiler an instance is the dispatcher
    that it holds.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make, self._dispatcher = make, None

    def __call__(self, *arguments: Any) -> Any:
        """Call the function, compiled."""
        return (self._dispatcher or self._made())(*arguments)

    def __getattr__(self, name: str) -> Any:
        """Return what the dispatcher has, such as the type by which the compiler knows it."""
        if "_make" not in self.__dict__:  # `copy` and `pickle` ask an object that is not initialised yet
            raise AttributeError(name)
        return getattr(self._dispatcher or self._made(), name)

    def _made(self) -> Any:
        with _MAKING:  # the threads of a first fit call a kernel at the same time, and it is to be compiled once
            if self._dispatcher is None:
                self._dispatcher = self._make()
        return self._dispatcher


_MAKING = Lock()


def kernel(function: Callable) -> Any:
    """Compile ``function``, on its first call, as an entry from Python."""
    return Jitted(partial(_cached, function, KERNEL_OPTIONS))


def inner(function: Callable) -> Any:
    """Compile ``function``, when first needed, for callers that are jitted themselves."""
    return Jitted(lambda: _without_literals(_cached(function, INNER_OPTIONS)))


def inlined(function: Callable) -> Any:
    """Compile ``function`` into the body of its jitted callers, as if it were written there.

    Without a cache, as it is never compiled by itself.
    """
    return Jitted(lambda: numba.njit(**INNER_OPTIONS, inline="always")(function))


def _without_literals(dispatcher: Any) -> Any:
    """Give the dispatcher's callers one compiled function for numbers, whether written down or computed.

    To Numba the 0 of ``f(0)`` is a type of its own, and it compiles f once for each: a cold first fit took 10.5 s
    instead of 9.85.
    """
    template = dispatcher.get_call_template
    dispatcher.get_call_template = lambda arguments, keywords: template(
        tuple(map(types.unliteral, arguments)), {name: types.unliteral(kind) for name, kind in keywords.items()}
    )
    return dispatcher


def _cached(function: Callable, options: dict[str, Any]) -> Any:
    """Decorate with the on-disk cache, or without it where Numba finds no folder that it can write."""
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        _warn_uncached()
        return numba.njit(**options)(function)


@cache
def _warn_uncached() -> None:
    """Warn once a process, whatever the filters are: some dozens of functions would say the same."""
    warnings.warn(
        "Numba finds no writable folder for its cache, so every process compiles anew: "
        "set NUMBA_CACHE_DIR to a folder that can be written",
        RuntimeWarning,
        stacklevel=2,
    )


def _next_block(typingctx, counter):
    """Take the next block: return ``counter[0]`` and add 1 to it, atomically.

    Computes   old = counter[0]; counter[0] += 1; return old. No two threads get the same number.
    Requires   counter: int64, C-contiguous, at least one element.
    IR         ``atomicrmw add``, monotonic: the number orders nothing but itself. What the threads read was written
               before they started, and what they write is read after they are joined.
    """
    if not (isinstance(counter, types.Array) and counter.dtype == types.int64 and counter.layout == "C"):
        raise TypingError(f"next_block: counter must be a C-contiguous int64 array, got {counter}")

    def codegen(context, builder, signature, args):
        data = cgutils.create_struct_proxy(counter)(context, builder, args[0]).data
        return builder.atomic_rmw("add", data, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counter), codegen


next_block: Any = intrinsic(_next_block)  # Any, as its callers pass no typing context
