"""The jobs of a new user: each script of examples/jobs runs by itself, on data of its own."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
JOBS = sorted((ROOT / "examples" / "jobs").glob("[0-9]*"))
NEEDED = {"07_compare": ["implicit"], "08_searches": ["optuna"]}  # besides what `.[dev]` brings for any Python


def run(command, folder):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg", "OPENBLAS_NUM_THREADS": "1"}
    environment["PATH"] = f"{folder}{os.pathsep}{environment['PATH']}"
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize("job", JOBS, ids=lambda path: path.stem)
def test_jobs_run(job, tmp_path):
    for package in NEEDED.get(job.stem, []):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{job.name} needs {package}")
    if job.suffix == ".sh":
        if os.name == "nt":
            pytest.skip(f"{job.name} is for a POSIX shell")
        command = tmp_path / "fastals"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fastals "$@"\n', encoding="utf-8")
        command.chmod(0o755)
        run([sys.executable, str(job.parent / "orders.py")], tmp_path)
    done = run(["sh" if job.suffix == ".sh" else sys.executable, str(job)], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_every_job_has_a_line_in_the_documentation():
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"`(\d\d_\w+\.\w+)`", page)) == [path.name for path in JOBS]
