"""The workflows of the repository: they parse, and call what there is. Only a run on GitHub shows more."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import fastals

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".github"
if not FOLDER.exists():
    pytest.skip("an sdist has no workflows", allow_module_level=True)
FILES = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.rglob("*.yml"))}
WORKFLOWS = {name: content for name, content in FILES.items() if "jobs" in content}
JOBS = {f"{workflow}, {name}": job for workflow, content in WORKFLOWS.items() for name, job in content["jobs"].items()}
COMMANDS = [(name, step["run"]) for name, job in JOBS.items() for step in job["steps"] if "run" in step]
MAKEFILE, PYPROJECT = ((ROOT / name).read_text(encoding="utf-8") for name in ("Makefile", "pyproject.toml"))
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
EXTRAS = PYPROJECT.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]


def python_of(job):
    return next(step["with"]["python-version"] for step in job["steps"] if "setup-python" in step.get("uses", ""))


def test_the_workflows_are_there():
    assert {"tests.yml", "release.yml"} <= set(WORKFLOWS) and len(COMMANDS) > 5


@pytest.mark.parametrize("name", JOBS)
def test_a_job_has_a_machine_steps_and_a_limit_of_time(name):
    job = JOBS[name]
    assert job["runs-on"] and job["timeout-minutes"] <= 60
    for step in job["steps"]:
        assert ("uses" in step) != ("run" in step)
        assert re.fullmatch(r"[\w-]+/[\w/-]+@(v\d+|release/v\d+)", step.get("uses", "a/b@v1"))
    assert job.get("needs", name.split(", ")[1]) in WORKFLOWS[name.split(", ")[0]]["jobs"]


@pytest.mark.parametrize(("name", "command"), COMMANDS)
def test_a_command_calls_what_there_is(name, command):
    words = command.split()
    if words[0] == "make":
        assert set(words[1:]) <= TARGETS
    elif words[0] == "python":
        assert words[1] == "-m" and importlib.util.find_spec(words[2]) is not None
        assert all(f"\n{extra} = [" in f"\n{EXTRAS}" for extra in re.findall(r"\.\[(.*?)\]", command))
    else:
        assert words[0] == "test"  # which a test of its own runs


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash, as the job has it")
@pytest.mark.parametrize(("tag", "status"), [(f"v{fastals.__version__}", 0), ("v0.0.1", 1), ("main", 1)])
def test_only_a_tag_of_this_version_is_released(tag, status):
    (command,) = [command for name, command in COMMANDS if "GITHUB_REF_NAME" in command and "release" in name]
    done = subprocess.run(
        ["bash", "-e", "-c", command], cwd=ROOT, env=os.environ | {"GITHUB_REF_NAME": tag}, timeout=60, check=False
    )
    assert done.returncode == status


def test_what_is_uploaded_is_what_make_makes():
    paths = [
        step["with"]["path"] for job in JOBS.values() for step in job["steps"] if "artifact@" in step.get("uses", "")
    ]
    assert len(paths) >= 4
    assert all(re.search(rf"(?<![\w/]){path}(?![\w/])", MAKEFILE) for path in paths)


def test_the_machines_are_those_that_the_library_claims():
    matrix = JOBS["tests.yml, newest"]["strategy"]["matrix"]
    claimed = re.findall(r"Python :: (3\.\d+)", PYPROJECT)
    assert matrix["python"] == claimed
    machines = [*matrix["os"], *(each["os"] for each in matrix["include"])]
    assert all(any(machine.startswith(system) for machine in machines) for system in ("ubuntu", "macos", "windows"))
    assert any(machine.endswith("-arm") for machine in machines) and {
        each["python"] for each in matrix["include"]
    } <= set(claimed)
    assert python_of(JOBS["tests.yml, oldest"]) == claimed[0] == re.search(r'requires-python = ">=(.*)"', PYPROJECT)[1]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", ".ci/run"])
def test_pages_name_targets_that_make_has(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    called = re.findall(r"(?:^ *|`)make ([a-z][a-z ]*)", text, re.MULTILINE)
    assert called and {target for words in called for target in words.split()} <= TARGETS
