"""Shared set-up: Numba's cache keyed by the engine's source, the hypothesis profile, the real data."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent


def engine_cache_dir() -> str:
    """A cache folder for this very engine source: Numba's cache does not see edits in other files."""
    digest = hashlib.sha256()
    for source in sorted((ROOT / "fastals" / "engine").rglob("*.py")):
        digest.update(source.read_bytes())
    return str(ROOT / ".cache" / "numba" / digest.hexdigest()[:16])


# Read by Numba when it is first imported, which no test module does before this file.
os.environ.setdefault("NUMBA_CACHE_DIR", engine_cache_dir())

COMPILING = """
import sys
import fastals
fastals.warmup(sys.argv[1])
for kind in (fastals.ImplicitALS, fastals.ExplicitALS):
    model = kind(2, iterations=1, solver="plain", dtype=sys.argv[1], random_state=0).fit([[1.0, 2.0], [3.0, 4.0]])
    model.recommend(0)
"""


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile the engine where several processes are to run tests: each would compile it by itself."""
    config = session.config
    if hasattr(config, "workerinput") or not getattr(config.option, "numprocesses", None):
        return
    commands = [[sys.executable, "-c", COMPILING, dtype] for dtype in ("float32", "float64")]
    for process in [subprocess.Popen(command, cwd=ROOT) for command in commands]:
        process.wait()


settings.register_profile("fastals", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("fastals")


@pytest.fixture(scope="session", autouse=True)
def threads_at_any_size() -> None:
    """Let small panels be summed and rotated by as many threads as large ones: the tests' are small."""
    from fastals.engine import basis  # here, as the benchmarks import this file before they limit BLAS

    basis.SHARE = 1


@pytest.fixture(autouse=True)
def the_same_numbers_in_each_run() -> Iterator[None]:
    """Start fits without a `random_state` from one seed, so that a test passes always or never."""
    from fastals import base

    checked = base.check_random_state
    with pytest.MonkeyPatch.context() as patch:  # of its own: the order in which a test's patches end stays
        patch.setattr(base, "check_random_state", lambda name, value: checked(name, 0 if value is None else value))
        yield


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the real data sets; skips where it is not given."""
    folder = os.environ.get("FASTALS_DATA")
    if not folder:
        pytest.skip("FASTALS_DATA is not set: no real data")
    return Path(folder)
