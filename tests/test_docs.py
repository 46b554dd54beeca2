"""The documentation: the reference has all public names, and the notebooks run."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
REFERENCE = {page: page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "api").glob("*.rst")}
NOTEBOOKS = sorted((ROOT / "examples").glob("*.md"))
PUBLIC = (
    "fastals",
    "fastals.datasets",
    "fastals.evaluation",
    "fastals.tuning",
    "fastals.cluster",
    "fastals.plots",
    "fastals.compat.implicit.als",
    "fastals.compat.implicit.evaluation",
    "fastals.compat.implicit.nearest_neighbours",
    "fastals.compat.implicit.utils",
    "fastals.compat.sklearn",
    "fastals.compat.translate",
    "fastals.compat.wals",
)


def referenced() -> set[str]:
    """Full names in the lists of docs/api."""
    found = set()
    for text in REFERENCE.values():
        for part in re.split(r"^\.\. currentmodule:: ", text, flags=re.MULTILINE)[1:]:
            module = part.split()[0]
            for entries in re.findall(r"^ +:toctree: generated\n\n((?:   \S+\n)+)", part, re.MULTILINE):
                found |= {f"{module}.{name}" for name in entries.split()}
    return found


def test_the_reference_has_every_public_name():
    """A name that two modules have stands in one place."""
    names = referenced()
    known = {id(_value(name)) for name in names}
    missing = [
        f"{module}.{name}"
        for module in PUBLIC
        for name in importlib.import_module(module).__all__
        if id(getattr(importlib.import_module(module), name)) not in known
    ]
    assert missing == [], "add a line for each to its list in docs/api/*.rst"


def test_the_reference_has_the_warnings_that_a_fit_gives():
    errors = importlib.import_module("fastals.errors")
    wanted = {f"fastals.errors.{name}" for name in errors.__all__ if name.endswith("Warning")}
    assert wanted and wanted <= referenced()


def test_the_reference_has_no_other_name():
    assert all(_value(name) is not None for name in referenced())


def _value(name: str) -> object:
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            value = getattr(value, part)
        return value
    raise AssertionError(name)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(notebook, tmp_path, monkeypatch):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "notebook"}
    cells = re.findall(r"^```\{code-cell\} ipython3\n(.*?)^```", notebook.read_text(), re.DOTALL | re.MULTILINE)
    assert len(cells) > 3
    try:
        for number, cell in enumerate(cells, start=1):
            exec(compile(cell, f"{notebook.name}, cell {number}", "exec"), names)
    finally:
        pyplot.close("all")
