"""How the house is kept: imports point down, one module compiles, none prints, importing does nothing."""

import ast
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import fastals

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "fastals"

# From the top. A module imports from layers below its own, or from its own where no circle arises.
LAYERS = [
    {"__main__"},
    {"command"},
    {"demo", "published"},
    {"demo_data"},
    {"compat"},
    {"tuning", "plots", "cluster"},
    {"datasets"},
    {"models"},
    {"answers", "scoring"},
    {"ranking", "explain", "updates", "persistence", "evaluation"},
    {"foldin"},
    {"base", "filters"},
    {"state", "start", "features", "errors", "storage", "checkpoint"},
    {"fitted"},
    {"defaults", "objectives"},
    {"data.fetch", "data.published", "data.splits"},
    {"data.build"},
    {"data.passes"},
    {"data.store", "data.tables"},
    {"data.sources"},
    {"data.readers", "data.generated"},
    {"data.interactions", "data.downloads"},
    {"data.features", "data.encoder"},
    {"data.matrix", "data.types"},
    {"progress", "data.events", "data.coding"},
    {"data.ids", "data.arrow", "html", "report"},
    {"validation", "places"},
    {"engine.sketch", "engine.plain", "engine.plain_answers", "engine.plain_fit", "engine.nonnegative"},
    {"engine.alternation"},
    {"engine.model"},
    {"engine.sweep", "engine.features"},
    {"engine.rows.long_rows", "engine.rows.blocked_rows", "engine.rows.single_row"},
    {"engine.rows.solve", "engine.loss", "engine.topk", "engine.smallest", "engine.products"},
    {"engine.transposition", "engine.whitening", "engine.leveling"},
    {"engine.rows.precision"},
    {"engine.rows.primal", "engine.rows.dual", "engine.rows.cg"},
    {"engine.rows.diagonal", "engine.basis", "engine.equations", "engine.fallback", "engine.shifts"},
    {"engine.rows.workspace", "engine.cholesky", "engine.cells", "engine.plan", "engine.mapped"},
    {
        "engine.panel",
        "engine.problem",
        "engine.threads",
        "engine.blas",
        "engine.triangular",
        "engine.launch",
        "engine.coded",
        "engine.turned",
    },
    {"engine.simd"},
    {"engine.jit"},
    {"engine.shielded"},
    {"engine.forks", "engine.cache_folder", "engine.linked", "engine.limits", "engine.spilled"},
]
SOURCES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
}
every_source = pytest.mark.parametrize("name", SOURCES)


def layer(module: str) -> int:
    """Where a module stands; a package's modules stand where the package does."""
    for height, members in enumerate(LAYERS):
        if any(module == member or module.startswith(member + ".") for member in members):
            return height
    raise AssertionError(f"fastals.{module} stands in no layer: give it its place in LAYERS")


def own_imports(name: str) -> Iterator[str]:
    """Modules of the package that a module imports, named without the leading `fastals.`."""
    parts = name.split(".")[:-1]
    for node in ast.walk(SOURCES[name]):
        if isinstance(node, ast.Import):
            yield from (
                alias.name.removeprefix("fastals.") for alias in node.names if alias.name.startswith("fastals.")
            )
        if not isinstance(node, ast.ImportFrom):
            continue
        origin = (node.module or "").split(".") if node.module else []
        if node.level:
            origin = parts[: len(parts) - node.level + 1] + origin
        elif origin[0] == "fastals":
            origin = origin[1:]
        else:
            continue
        for alias in node.names:
            inner = ".".join([*origin, alias.name])
            yield inner if inner in SOURCES or f"{inner}.__init__" in SOURCES else ".".join(origin)


def modules() -> list[str]:
    """All modules that hold code: the packages' own files only collect names."""
    return [name for name in SOURCES if not name.endswith("__init__")]


@pytest.mark.parametrize("name", modules())
def test_imports_point_down(name):
    for imported in own_imports(name):
        if imported:
            assert layer(imported) >= layer(name), f"fastals.{name} imports fastals.{imported} from above"


def test_no_circles():
    list(TopologicalSorter({name: set(own_imports(name)) for name in modules()}).static_order())


COMPILED = {"kernel", "inner", "fused", "inlined", "strict", "parallel_kernel"}
LONGER = {"engine.simd.kernels"}  # vector kernels are one idea, each with its table


@every_source
def test_files_and_functions_are_short(name):
    """No file above 600 lines, and no function above 60 statements outside the compiled kernels."""
    lines = (PACKAGE / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8").count("\n")
    assert name in LONGER or lines <= 600
    for node in ast.walk(SOURCES[name]):
        if isinstance(node, ast.FunctionDef) and not COMPILED & {ast.unparse(d) for d in node.decorator_list}:
            statements = sum(isinstance(child, ast.stmt) for child in ast.walk(node)) - 1
            assert statements <= 60, f"{node.name} of fastals.{name} has {statements} statements"


def test_compilers_are_called_in_one_module():
    compilers = {"njit", "jit", "vectorize", "guvectorize", "generated_jit", "cfunc", "stencil"}
    for name, tree in SOURCES.items():
        used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        used |= {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "numba"
            for alias in node.names
        }
        assert not used & compilers or name == "engine.jit", f"fastals.{name} compiles: {used & compilers}"


def outside_of_one_blas_thread(node: ast.AST) -> Iterator[int]:
    """Lines of the products of arrays and the calls of `np.linalg` in a module that no such `with` is around."""
    if isinstance(node, ast.With) and any("one_blas_thread" in ast.unparse(item.context_expr) for item in node.items):
        return
    product = isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult)
    called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
    if product or called.startswith("np.linalg.") or called in {"np.dot", "np.matmul", "np.inner", "np.vdot"}:
        yield node.lineno
    for child in ast.iter_child_nodes(node):
        yield from outside_of_one_blas_thread(child)


@pytest.mark.parametrize("name", [name for name in SOURCES if name.startswith("engine.") and "twins" not in name])
def test_the_engine_calls_blas_on_one_thread(name):
    assert list(outside_of_one_blas_thread(SOURCES[name])) == []


@every_source
def test_no_print(name):
    calls = [node for node in ast.walk(SOURCES[name]) if isinstance(node, ast.Call)]
    printing = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    assert printing == [] or name == "__main__"


@every_source
def test_no_pickle_and_no_eval(name):
    names = {node.id for node in ast.walk(SOURCES[name]) if isinstance(node, ast.Name)}
    imported = {alias.name for node in ast.walk(SOURCES[name]) if isinstance(node, ast.Import) for alias in node.names}
    assert not (names | imported) & {"pickle", "marshal", "shelve", "eval", "exec"}


IMPORTING = """
import json, os, sys, threading
import numba, numpy as np, scipy.sparse
def state():
    return (
        dict(os.environ),
        {name: repr(value) for name, value in vars(numba.config).items() if name.isupper()},
        repr(np.random.get_state()),
        repr(np.geterr()),
        threading.active_count(),
        sorted(os.listdir()),
    )
before = state()
import fastals
same = before == state()
from numba.core.dispatcher import Dispatcher
functions = [
    value
    for module in list(sys.modules) if module.startswith("fastals")
    for value in vars(sys.modules[module]).values()
    if isinstance(value, Dispatcher)
]
compiled = [function.__name__ for function in functions if function.signatures]
heavy = [name for name in ("tqdm", "matplotlib", "pandas", "dask", "duckdb", "sklearn") if name in sys.modules]
print(json.dumps([same, len(functions) > 20, compiled, heavy]))
"""


def test_importing_does_nothing(tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == [True, True, [], []]
    assert list(cache.rglob("*")) == []


# Docstrings.

# Modules for the library's own use: users do not call them, and a sentence may be enough.
INTERNAL = {
    "answers",
    "base",
    "checkpoint",
    "cluster.rows",
    "cluster.tasks",
    "cluster.workers",
    "command",
    "data",
    "features",
    "demo",
    "demo_data",
    "errors",
    "evaluation.lists",
    "evaluation.protocols",
    "evaluation.term_weights",
    "explain",
    "filters",
    "fitted",
    "html",
    "objectives",
    "persistence",
    "progress",
    "published",
    "ranking",
    "report",
    "scoring",
    "start",
    "state",
    "storage",
    "tuning.candidates",
    "tuning.journal",
    "tuning.search",
    "updates",
    "places",
    "validation",
}


def documented() -> Iterator[tuple[str, object]]:
    """Public classes and functions with the public methods of the classes, by name."""
    for name in modules():
        if name.startswith(("engine", "__main__")):
            continue
        module = importlib.import_module(f"fastals.{name}")
        for public, value in vars(module).items():
            if public.startswith("_") or getattr(value, "__module__", None) != module.__name__:
                continue
            if inspect.isfunction(value) or inspect.isclass(value):
                yield f"{name}.{public}", value
            if inspect.isclass(value) and not issubclass(value, tuple):
                for method, function in inspect.getmembers(value, inspect.isfunction):
                    if not method.startswith("_") and function.__module__.startswith("fastals"):
                        yield f"{name}.{public}.{method}", function


DOCUMENTED = dict(documented())


def section(docstring: str, title: str) -> list[str]:
    """Lines of a numpydoc section."""
    found = re.search(rf"^{title}\n-+\n(.*?)(?=^\S[^\n]*\n-+\n|\Z)", docstring, re.DOTALL | re.MULTILINE)
    return found[1].splitlines() if found else []


def documented_parameters(docstring: str) -> list[str]:
    heads = [line.split(" : ")[0] for line in section(docstring, "Parameters") if line and not line[0].isspace()]
    return [name.strip().lstrip("*") for head in heads for name in head.split(",")]


def parameters_needed(name: str, parameters: list[str]) -> bool:
    """Tell whether a docstring must list the parameters: not if internal, nor if the summary has said it all."""
    parts = name.split(".")
    return not set(parts).isdisjoint(fastals.__all__) or (
        INTERNAL.isdisjoint({parts[0], ".".join(parts[:2])}) and len(parameters) > 1
    )


@pytest.mark.parametrize("name", DOCUMENTED)
def test_docstrings_name_the_parameters_of_the_signature(name):
    value = DOCUMENTED[name]
    docstring = inspect.getdoc(value) or ""
    assert docstring, "no docstring"
    if inspect.isclass(value) and issubclass(value, tuple | dict | BaseException):
        return  # Fields of a tuple are its attributes.
    wanted = [parameter for parameter in inspect.signature(value).parameters if parameter != "self"]
    listed = documented_parameters(docstring)
    if listed or parameters_needed(name, wanted):
        assert sorted(listed) == sorted(wanted)


def test_public_names_are_there_and_documented():
    for name in fastals.__all__:
        assert getattr(fastals, name).__doc__
