"""Examples in docstrings: all that are there run, and what users call has one."""

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import pytest

import fastals

MODULES = ["fastals"] + [
    found.name
    for found in pkgutil.walk_packages(fastals.__path__, "fastals.")
    if not found.name.startswith("fastals.engine") and not found.name.endswith("__main__")
]
PUBLIC = [
    "fastals",
    "fastals.compat.implicit.als",
    "fastals.compat.implicit.evaluation",
    "fastals.compat.implicit.nearest_neighbours",
    "fastals.compat.implicit.utils",
    "fastals.compat.translate",
    "fastals.compat.wals",
    "fastals.datasets",
    "fastals.evaluation",
    "fastals.plots",
    "fastals.tuning",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, tmp_path, monkeypatch):
    module = importlib.import_module(name)
    monkeypatch.chdir(tmp_path)
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for lazy in dir(module):
        getattr(module, lazy)  # a submodule that loads now would change the names that are looked through
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        runner.run(test, out=report.append)
    assert not runner.summarize(verbose=False).failed, "".join(report)


def public(module: ModuleType) -> Iterator[tuple[str, object]]:
    """Give the public functions, classes and methods of a module with their names."""
    for name in module.__all__:
        value = getattr(module, name)
        if getattr(value, "_is_protocol", False) or not (inspect.isfunction(value) or inspect.isclass(value)):
            continue
        yield f"{module.__name__}.{name}", value
        if inspect.isclass(value) and not issubclass(value, tuple | BaseException):
            functions = inspect.getmembers(value, lambda member: inspect.isfunction(member) or inspect.ismethod(member))
            for method, function in functions:
                if not method.startswith("_") and function.__module__.startswith("fastals"):
                    yield f"{module.__name__}.{name}.{method}", function


@pytest.mark.parametrize("name", PUBLIC)
def test_what_users_call_has_an_example(name):
    module = importlib.import_module(name)
    missing = [
        full for full, value in public(module) if "\nExamples\n--------\n>>> " not in (inspect.getdoc(value) or "")
    ]
    assert missing == []
