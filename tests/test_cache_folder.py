"""Who can write to the folder of the compile cache, and the warning where it is not the user alone."""

import os
import subprocess
import sys

import pytest

from fastals.engine import cache_folder

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has no modes of folders")
SUM = """
import numpy as np
from fastals.engine import basis, jit
for dtype in (np.float32, np.float64):
    total = np.ones(64, dtype)
    jit.kernel(basis._add.py_func)(total, 0, 2 * total, 0, 64)
print(total[63])
"""


def run(folder, *options):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder)}
    return subprocess.run([sys.executable, *options, "-c", SUM], env=environment, capture_output=True, text=True)


def test_a_folder_of_our_own_is_used_without_a_word(tmp_path):
    for _ in range(2):
        done = run(tmp_path, "-W", "error")
        assert (done.stdout, done.stderr) == ("3.0\n", "")


@pytest.mark.parametrize("inner", [False, True], ids=["NUMBA_CACHE_DIR", "the folder in it"])
@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_a_folder_that_all_can_write_to_is_named_once(tmp_path, inner, mode):
    """A sticky one too: others cannot replace a file in it, but add one for a function that is not there yet."""
    run(tmp_path)
    folder = next(path.parent for path in tmp_path.rglob("*.nbi")) if inner else tmp_path
    folder.chmod(mode)
    done = run(tmp_path, "-W", "always")
    assert done.stdout == "3.0\n"
    assert done.stderr.count("SharedCacheWarning") == 1
    assert f"the compile cache in {folder} can be written to by all users" in done.stderr


def test_where_warnings_are_errors_nothing_is_loaded(tmp_path):
    tmp_path.chmod(0o777)
    done = run(tmp_path, "-W", "error")
    assert done.stdout == ""
    assert "SharedCacheWarning: the compile cache in" in done.stderr


def found(uid, gid, mode):
    return os.stat_result((mode, 0, 0, 0, uid, gid, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        (found(1000, 1000, 0o40755), ""),
        (found(1000, 1000, 0o40775), ""),  # the user's own group
        (found(0, 0, 0o40775), ""),
        (found(1001, 1000, 0o40755), "belongs to another user (number 1001)"),
        (found(1000, 1000, 0o40757), "can be written to by all users"),
        (found(1000, 50, 0o40775), "can be written to by other users (group 50)"),
        (found(1000, 50, 0o40755), ""),
    ],
)
def test_who_else_can_write(folder, reason):
    assert cache_folder._writer(folder, {0, 1000}) == reason
