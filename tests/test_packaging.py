"""The sdist holds what the tests need, and the wheel built from it runs in an empty environment."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import fastals

ROOT = Path(__file__).parent.parent
TEXTS = {path: (ROOT / path).read_text(encoding="utf-8") for path in ("pyproject.toml", "CHANGELOG.md", "CITATION.cff")}
NOT_OURS = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "_build", "generated")
# What stands in the repository's root beside these folders is told in MANIFEST.in.
FOLDERS = ("bench", "conda", "docs", "examples", "fastals", "tests")
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_{}(sys.argv[1]))"
IN_THE_WHEEL = """
import os, sys
from importlib.metadata import version
import fastals
print(os.path.dirname(fastals.__file__), version("fastals"), fastals.__version__, "pytest" in sys.modules)
print(fastals.ImplicitALS(factors=2), len(fastals.datasets.synthetic(5, 4, 9)))
"""


def run(*command: str | Path, folder: Path) -> str:
    """Run a command without this checkout on its path; return what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def names(folder: Path) -> set[str]:
    """The files in the folders of a checkout or an unpacked sdist, without what is made there."""
    return {
        path.relative_to(folder).as_posix()
        for top in FOLDERS
        for path in (folder / top).rglob("*")
        if path.is_file() and not {"__pycache__", "_build", "generated"} & set(path.parts) and path.suffix != ".pyc"
        if not path.relative_to(folder).as_posix().startswith("docs/examples/")
    }


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    """The unpacked sdist, built from a copy: setuptools writes into the folder that it builds."""
    if int(version("setuptools").split(".")[0]) < 77:
        pytest.skip("needs setuptools 77 or newer: pip install -e '.[dev]'")
    work = tmp_path_factory.mktemp("sdist")
    shutil.copytree(ROOT, work / "checkout", ignore=NOT_OURS)
    for hidden in (".ci", ".gitignore"):
        source = ROOT / hidden
        (shutil.copytree if source.is_dir() else shutil.copy)(source, work / "checkout" / hidden)
    run(sys.executable, "-c", BUILD.format("sdist"), work, folder=work / "checkout")
    (archive,) = work.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(work, filter="data") if hasattr(tarfile, "data_filter") else packed.extractall(work)
    return work / archive.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(sdist) -> Path:
    """The wheel that is built from the sdist."""
    run(sys.executable, "-c", BUILD.format("wheel"), sdist.parent, folder=sdist)
    return next(sdist.parent.glob("*.whl"))


def test_the_sdist_has_all_that_the_tests_need(sdist):
    assert names(sdist) == names(ROOT)
    for name in ("Makefile", "MANIFEST.in", "README.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", ".ci/run"):
        assert (sdist / name).is_file()
    assert not list(sdist.rglob("*.csv")) + list(sdist.rglob("u.data"))


def test_tests_of_the_sdist_run(sdist):
    """Those of them that compile little, and read files beside the library too."""
    files = ("tests/test_validation.py", "tests/test_workflows.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    environment = os.environ | {"PYTHONPATH": str(sdist)}
    done = subprocess.run(command, cwd=sdist, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_wheel_has_the_library_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as packed:
        held = {name for name in packed.namelist() if ".dist-info/" not in name}
    assert held == {name for name in names(ROOT) if name.startswith("fastals/")}
    assert "fastals/py.typed" in held
    assert wheel.name == f"fastals-{fastals.__version__}-py3-none-any.whl"


def test_the_wheel_runs_in_an_empty_environment(wheel, tmp_path):
    """Only NumPy, SciPy and Numba come from the environment of the tests, by a `.pth` file in the empty one."""
    if int(version("pip").split(".")[0]) < 23:
        pytest.skip("needs pip 23 or newer")
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "empty", folder=tmp_path)
    python = next(path for path in (tmp_path / "empty").glob("*/python*") if path.stem == "python")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, folder=tmp_path)
    inside = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=tmp_path).strip()
    for dependency in ("numba", "scipy"):  # a folder in a .pth file goes after those of the environment
        site = Path(__import__(dependency).__file__).parent.parent
        (Path(inside) / f"{dependency}.pth").write_text(f"{site}\n", encoding="utf-8")
    first, second = run(python, "-c", IN_THE_WHEEL, folder=tmp_path).splitlines()
    assert Path(first.split()[0]).samefile(Path(inside) / "fastals")
    assert first.split()[1:] == [fastals.__version__, fastals.__version__, "False"]
    assert second.startswith("ImplicitALS(")
    assert run(python, "-m", "fastals", "--help", folder=tmp_path).startswith("usage:")


def test_the_version_has_one_home():
    assert re.search(r'^dynamic = \["version"\]', TEXTS["pyproject.toml"], re.MULTILINE)
    for page in (TEXTS["pyproject.toml"], TEXTS["CITATION.cff"], (ROOT / "conda" / "meta.yaml").read_text()):
        assert fastals.__version__ not in page
    released = re.findall(r"^## \[(\d[^\]]*)\]", TEXTS["CHANGELOG.md"], re.MULTILINE)
    assert not released or released[0] == fastals.__version__


def test_the_conda_recipe_wants_what_pyproject_wants():
    wanted = re.search(r"^dependencies = \[(.*)\]", TEXTS["pyproject.toml"], re.MULTILINE)
    recipe = (ROOT / "conda" / "meta.yaml").read_text(encoding="utf-8")
    run_time = recipe.partition("  run:\n")[2].partition("\n\n")[0]
    assert [line.strip("- ").replace(" ", "") for line in run_time.splitlines()] == [
        "python>=3.10",
        *re.findall(r'"([^"]+)"', wanted[1]),
    ]


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13", "3.14"])
def test_each_python_is_claimed_and_tested(python):
    assert f'"Programming Language :: Python :: {python}"' in TEXTS["pyproject.toml"]
    workflows = ROOT / ".github" / "workflows" / "tests.yml"
    if workflows.exists():  # an sdist has none
        assert f'"{python}"' in workflows.read_text(encoding="utf-8")
