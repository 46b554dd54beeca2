"""The types that users see: what they write passes mypy --strict and pyright, and wrong calls do not."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import typed_consumer

ROOT = Path(__file__).parent.parent
CONSUMER, MISTAKES = (Path(__file__).with_name(name) for name in ("typed_consumer.py", "typed_mistakes.py"))


def run(module: str, *arguments: str) -> str:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed (pip install 'fastals[dev]')")
    environment = os.environ | {"MYPYPATH": str(ROOT), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, 1), done.stdout + done.stderr  # 1: errors in the files
    return done.stdout


@pytest.fixture(scope="module")
def errors_of_mypy(tmp_path_factory) -> dict[tuple[str, int], str]:
    """Messages by file and line."""
    config = tmp_path_factory.mktemp("mypy") / "mypy.ini"
    missing = "".join(f"[mypy-{name}.*]\nignore_missing_imports = True\n" for name in ("scipy", "pandas", "numba"))
    config.write_text("[mypy]\nfollow_imports = silent\n" + missing)
    cache = ROOT / ".mypy_cache" / "consumer"
    printed = run("mypy", "--strict", f"--config-file={config}", f"--cache-dir={cache}", str(CONSUMER), str(MISTAKES))
    found = re.findall(r"^\S*?(\w+\.py):(\d+): error: (.*)$", printed, re.MULTILINE)
    return {(name, int(line)): message for name, line, message in found}


@pytest.fixture(scope="module")
def errors_of_pyright(tmp_path_factory) -> dict[tuple[str, int], str]:
    """Messages by file and line."""
    config = tmp_path_factory.mktemp("pyright") / "pyrightconfig.json"
    settings = {
        "include": [str(CONSUMER), str(MISTAKES)],
        "extraPaths": [str(ROOT)],
        "typeCheckingMode": "standard",
        "pythonVersion": "3.10",
    }
    config.write_text(json.dumps(settings))
    found = json.loads(run("basedpyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(config)))
    assert found["summary"]["filesAnalyzed"] >= 2
    return {
        (Path(error["file"]).name, error["range"]["start"]["line"] + 1): error["message"]
        for error in found["generalDiagnostics"]
        if error["severity"] == "error"
    }


@pytest.fixture(params=["mypy", "pyright"])
def errors(request) -> dict[tuple[str, int], str]:
    return request.getfixturevalue(f"errors_of_{request.param}")


def test_what_users_write_is_accepted(errors):
    assert {place: message for place, message in errors.items() if place[0] == CONSUMER.name} == {}


def test_wrong_calls_are_refused(errors):
    marked = {n for n, line in enumerate(MISTAKES.read_text().splitlines(), 1) if line.endswith("# refused")}
    refused = {line: message for (name, line), message in errors.items() if name == MISTAKES.name}
    assert len(marked) >= 15
    assert set(refused) == marked, refused


def test_what_users_write_runs(tmp_path):
    models = typed_consumer.fits()
    ids, scores = typed_consumer.answers(models[-1], str(tmp_path / "model.npz"))
    assert ids.shape == scores.shape == (1, 2)
    assert set(typed_consumer.measures()) >= {"ndcg@5", "coverage@10", "capped_recall@20", "rmse", "grid", "halving"}
