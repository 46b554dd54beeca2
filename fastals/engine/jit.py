"""The only caller of ``numba.njit``: which flags this project compiles with, and why.

Five decorators: ``kernel`` is for functions that Python calls, ``inner`` for those that only jitted functions call,
``apart`` for such ones that LLVM never copies into a caller, ``fused`` and ``inlined`` for those that become part of
each caller, in LLVM or before. None takes a signature: a signature compiles at import, and importing this package
compiles nothing.

Parallelism is by Python threads. Each runs the same kernel, which holds no GIL and draws its blocks of rows from one
shared counter with ``next_block``. Only ``parallel_kernel``, for the textbook's engine, has ``prange``: its threading
layers abort when two Python threads launch at once, or die after a fork, which `launch` has to keep from them.
"""

import logging
import os
import warnings
from collections.abc import Callable
from functools import partial
from threading import RLock
from types import FunctionType
from typing import Any, NamedTuple

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils, cpu
from numba.core.errors import TypingError
from numba.extending import intrinsic

from . import cache_folder, forks, linked
from .shielded import shielded

config: Any = numba.config
logger = logging.getLogger("fastals")

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


def without_runtime() -> dict[str, Any]:
    """Return the option that leaves out Numba's runtime for memory; none where Numba has no such option.

    The compiler then refuses code that would allocate, and does not count arrays that are passed on: an atomic
    operation each, on cache lines that all threads share. With the runtime a cold first fit takes 1.12 times as long.
    Numba 0.61 to 0.68 have the option but do not document it. Remove when they document another one.
    """
    return {"_nrt": False} if hasattr(cpu.CPUTargetOptions, "_nrt") else {}


OPTIONS = {
    **without_runtime(),
    "error_model": "numpy",  # division by zero gives inf or nan, not a branch and a Python exception
    "fastmath": set(FASTMATH),
    # A wrapper for C callers would never be called, and costs some 15 ms of optimisation alone.
    "no_cfunc_wrapper": True,
    # ``boundscheck`` is not set, so that NUMBA_BOUNDSCHECK=1 can turn it on.
}

KERNEL_OPTIONS = {
    **OPTIONS,
    "nogil": True,  # the threads of one fit run kernels at the same time
}

INNER_OPTIONS = {
    **OPTIONS,
    "no_cpython_wrapper": True,  # as for C
    # Stated, as otherwise a function that is first compiled for a ``fused`` one inherits its True, and is fused too.
    "forceinline": False,
}


def compiler_lock() -> Any:
    """Return the lock that Numba holds while it compiles, or one of no effect where Numba keeps it elsewhere.

    Numba does not document the lock, and does not look after it in a fork. Remove when it does.
    """
    module = getattr(numba.core, "compiler_lock", None)
    return getattr(module, "global_compiler_lock", None) or RLock()


COMPILING = compiler_lock()
forks.hold(COMPILING.acquire, COMPILING.release)


def compiling() -> bool:
    """Whether this thread holds the lock, as in the middle of a compilation; False where a lock does not tell."""
    owned = getattr(getattr(COMPILING, "_lock", COMPILING), "_is_owned", None)
    return owned is not None and bool(owned())


def compiles() -> bool:
    """Whether functions are compiled; with NUMBA_DISABLE_JIT they are plain Python, which `next_block` is not."""
    return not config.DISABLE_JIT


def kernel(function: Callable) -> Any:
    """Compile ``function``, on its first call, as an entry from Python."""
    return _entry(_cached(function, KERNEL_OPTIONS))


def inner(function: Callable) -> Any:
    """Compile ``function``, when first needed, for callers that are jitted themselves."""
    return _linked(function)


def fused(function: Callable) -> Any:
    """Compile ``function``, when first needed, and have LLVM put it into the machine code of each caller.

    An ``inner`` function may have a machine code in each kernel that calls it, of which a process takes the first that
    it compiles or loads. Where sums may be reassociated, they may differ in the last bits.
    """
    return _linked(function, forceinline=True)


def apart(function: Callable) -> Any:
    """Compile ``function``, when first needed, for jitted callers that call it: LLVM does not copy it into them.

    For code with loops that has several callers or is seldom needed. LLVM decides by the size that a function has
    before vector loops make it up to ten times as long, and copies such code too, which a cold first fit pays for. A
    call passes each array of its arguments as seven words: pass the arrays that are used, not a whole Workspace.
    """
    return _linked(function, apart=True)


def inlined(function: Callable) -> Any:
    """Compile ``function`` into the body of its jitted callers, as if it were written there.

    For a few lines: Numba copies the function once for each of its blocks and calls.
    """
    return numba.njit(**INNER_OPTIONS, inline="always")(function)


# Without FASTMATH: every sum in the order in which it stands, so that a loop has the same bits however it is compiled.
STRICT_OPTIONS = {"error_model": "numpy", "nogil": True}


class ParallelKernel(NamedTuple):
    """A function with a loop over `numba.prange`, for `launch.launch`."""

    parallel: Any  # on the threads of one of Numba's threading layers
    serial: Any  # as a plain loop, to the same bits


def parallel_kernel(function: Callable) -> ParallelKernel:
    """Compile ``function``, on its first call, as an entry from Python whose ``prange`` runs on several threads."""
    serial = FunctionType(function.__code__, function.__globals__, function.__name__)
    serial.__qualname__ = f"{function.__qualname__}_serial"  # a cache of its own: Numba's key has no options
    parallel = _cached(function, {**STRICT_OPTIONS, "parallel": True})
    return ParallelKernel(_entry(parallel), _entry(_cached(serial, STRICT_OPTIONS)))


def strict(function: Callable) -> Any:
    """Compile ``function``, when first needed, for a ``parallel_kernel``."""
    return _cached(function, STRICT_OPTIONS)


def _entry(jitted: Any) -> Any:
    """Let Ctrl-C not strike where the function is compiled or loaded, if Numba does so in the method that it has now.

    Numba (0.68) does not document the method. Remove when it withstands Ctrl-C in the middle of a compilation.
    """
    if hasattr(jitted, "_compile_for_args"):
        jitted._compile_for_args = partial(shielded, jitted._compile_for_args)
    return jitted


def _linked(function: Callable, apart: bool = False, **options: Any) -> Any:
    """Decorate without a cache where callers have all there is of the function."""
    only = linked.options(apart)
    options = {**INNER_OPTIONS, **options}
    return numba.njit(**options, **only)(function) if only else _cached(function, options)


def _cached(function: Callable, options: dict[str, Any]) -> Any:
    """Decorate with the on-disk cache."""
    jitted = numba.njit(**options)(function)
    if hasattr(jitted, "_cache"):
        jitted._cache = Cache(jitted)
    elif not config.DISABLE_JIT:  # a Numba that keeps its cache elsewhere
        jitted.enable_caching()
    return jitted


class Cache:
    """Numba's cache of one function, opened when it is first needed, and left out where it cannot be used.

    Numba's own (0.68) makes its folder when the function is decorated, which is at import. And a file that is cut off
    (its issue 10434) or a full disk makes it fail, in every later process too. Remove when it does neither, for
    ``njit(cache=True)``.
    """

    def __init__(self, jitted: Any) -> None:
        self._jitted = jitted
        self._none = jitted._cache  # what a function without a cache has
        self._opened: Any = None

    @property
    def cache_path(self) -> str | None:
        """Return the folder, None where there is no cache."""
        return self._use(lambda cache: cache.cache_path)

    def load_overload(self, *arguments: Any) -> Any:
        """Return what is compiled for some types already, None if nothing is: Numba then compiles."""
        found = self._use(lambda cache: cache.load_overload(*arguments))
        if found is None:
            _tell(self._opened.cache_path if self._opened else None)
        return found

    def save_overload(self, *arguments: Any) -> None:
        """Keep what has been compiled for some types."""
        self._use(lambda cache: cache.save_overload(*arguments))

    def _use(self, step: Callable[[Any], Any]) -> Any:
        source = self._jitted.py_func.__code__.co_filename
        try:
            if self._opened is None:
                self._jitted.enable_caching()  # puts Numba's own in the place of this one
                self._opened, self._jitted._cache = self._jitted._cache, self
                cache_folder.check(self._opened.cache_path, source)
            return step(self._opened)
        except cache_folder.SharedCacheWarning:  # where warnings are errors
            raise
        except Exception as error:  # of any kind: a damaged pickle may raise what it likes
            _warn(self._opened.cache_path if self._opened else config.CACHE_DIR or os.path.dirname(source), error)
            try:
                self._opened.flush()  # a damaged index; the function is then kept as if for the first time
            except Exception:
                self._opened = self._none
            return None


WATCHERS: list[Callable[[], None]] = []  # called before each compilation, as by bars that say what takes so long
_told = _warned = False


def _tell(folder: str | None) -> None:
    """Tell the watchers, and once a process the log, that there is something to compile."""
    global _told
    if not _told:
        _told = True
        kept = "later processes load it from " + folder if folder else "it cannot be kept for later processes"
        logger.info("compiling the engine for this machine, which takes up to half a minute; %s", kept)
    for watcher in tuple(WATCHERS):
        watcher()


def _warn(folder: str, error: Exception) -> None:
    """Warn once a process: some dozens of functions would say the same."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"Numba's cache in {folder} cannot be used ({type(error).__name__}: {error}), so functions are compiled "
            "anew, which takes some seconds; if every process says so, empty this folder or set NUMBA_CACHE_DIR to "
            "one that can be written",
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
