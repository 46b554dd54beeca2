"""Functions that only become part of others: compiled once, with their callers.

Numba optimises a function that other jitted functions call, and makes machine code of it, before it does so again
within each caller. For functions that Python never calls the first time is for nothing: without it a cold first fit
takes 0.76 of the time. So they are lowered only, and every kernel has its own machine code of what it calls.

Numba documents its customised pipelines, but not the class of libraries. Remove when it does not compile twice.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import codegen, compiler

Library: Any = getattr(codegen, "JITCodeLibrary", object)

# What is replaced below, as Numba 0.61 to 0.68 have it.
REPLACED = (
    "_optimize_final_module",
    "_finalize_final_module",
    "_finalize_dynamic_globals",
    "get_pointer_to_function",
    "add_ir_module",
)


class _Part(Library):  # type: ignore[misc]
    """Code to link into that of callers, as it was lowered."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """Return 0: there is no machine code."""
        self._ensure_finalized()
        return 0

    @property
    def codegen(self) -> _Part:
        """What `set_env` is called on."""
        return self

    def set_env(self, name: str, env: object) -> None:
        """Leave out what only exceptions with values need, of which an engine without Python objects has none."""


class _CalledPart(_Part):
    """The same for code that callers call, and never copy."""

    def add_ir_module(self, ir_module: ir.Module) -> None:
        """Take what has been lowered, and mark it."""
        for function in ir_module.functions:
            if not function.is_declaration:
                function.attributes.add("noinline")
        super().add_ir_module(ir_module)


class _Linked(compiler.Compiler):
    """Numba's pipeline, with such a library."""

    kind = _Part

    def define_pipelines(self) -> Any:
        state = self.state
        state.library = self.kind(state.targetctx.codegen(), state.func_id.func_qualname)
        return super().define_pipelines()


class _LinkedApart(_Linked):
    kind = _CalledPart


def options(apart: bool) -> dict[str, Any]:
    """Return the options for functions that are linked only; none where Numba has other libraries.

    Those that are `apart` are never copied into their callers.
    """
    if not all(hasattr(Library, name) for name in REPLACED):
        return {}
    return {"pipeline_class": _LinkedApart if apart else _Linked}
