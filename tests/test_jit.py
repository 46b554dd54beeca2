"""The flags, the cache and its fallback, and the counter that threads draw their blocks from."""

import copy
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep

import numba
import numpy as np
import pytest

import fastals
from fastals.engine import jit

PACKAGE = Path(fastals.__file__).parent


@jit.kernel
def draw(counter, owner, me):
    """Draw blocks until there are none; write who drew each; count those drawn."""
    drawn = 0
    block = jit.next_block(counter)
    while block < len(owner):
        owner[block] = me
        drawn += 1
        block = jit.next_block(counter)
    return drawn


@jit.inner
def divide(x, y):
    return x / y


@jit.kernel
def call_divide(x, y):
    return divide(x, y)


@jit.kernel
def count_finite(x):
    count = 0
    for value in x:
        if np.isfinite(value):
            count += 1
    return count


@pytest.mark.parametrize("function", [draw, divide], ids=["kernel", "inner"])
def test_flags(function):
    options = function.targetoptions
    assert options["error_model"] == "numpy"
    assert options["fastmath"] == {"arcp", "contract", "nsz", "reassoc"}
    assert options.get("boundscheck") is None
    assert "parallel" not in options
    assert function._cache.cache_path  # the on-disk cache


def test_only_a_kernel_releases_the_gil_and_has_wrappers_for_python():
    assert draw.targetoptions["nogil"]
    assert not draw.targetoptions.keys() & {"no_cpython_wrapper", "no_cfunc_wrapper"}
    assert "nogil" not in divide.targetoptions
    assert divide.targetoptions["no_cpython_wrapper"]
    assert divide.targetoptions["no_cfunc_wrapper"]


def test_division_by_zero_is_not_an_exception():
    assert call_divide(1.0, 0.0) == np.inf


def test_values_that_are_not_finite_are_seen():
    assert count_finite(np.array([1.0, np.nan, np.inf, -np.inf, 2.0])) == 2


def test_next_block_gives_each_block_to_one_thread():
    counter, owner = np.zeros(1, np.int64), np.full(200_000, -1)
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda me: draw(counter, owner, me), range(4)))
    assert sum(drawn) == len(owner)
    assert counter[0] == len(owner) + 4
    assert drawn == [np.count_nonzero(owner == me) for me in range(4)]


@pytest.mark.parametrize("counter", [np.zeros(1), np.zeros(1, np.int32), np.zeros(4, np.int64)[::2]])
def test_next_block_refuses_other_counters(counter):
    with pytest.raises(numba.TypingError, match="int64"):
        numba.njit(lambda counter: jit.next_block(counter))(counter)


def test_a_literal_is_compiled_as_any_number():
    @jit.inner
    def power(x, n):
        return x**n

    assert numba.njit(lambda x, n: power(x, 2) + power(x, n) + power(x, n=1))(1.5, 3) == 1.5**2 + 1.5**3 + 1.5
    assert len(power.signatures) == 1


def run_python(code, folder=None, **environment):
    return subprocess.run(
        [sys.executable, "-W", "always", "-c", code],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )


def test_without_a_writable_cache_there_is_one_warning_and_no_error(tmp_path):
    """Every folder that Numba would try lies where a file is, which stops root as well."""
    shutil.copytree(PACKAGE, tmp_path / "fastals", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [folder for folder in (tmp_path / "fastals").rglob("*") if folder.is_dir()] + [tmp_path / "fastals"]:
        (folder / "__pycache__").touch()
    occupied = tmp_path / "file"
    occupied.touch()
    done = run_python(
        "import numba, numpy as np\n"
        "from fastals.engine import cholesky, jit\n"
        "compiled = jit.kernel(cholesky.gram_add.py_func)\n"
        "C = np.zeros((64, 64))\n"
        "compiled(C, True, 1.0, np.ones((3, 64)), 3, 3, 64, 64)\n"
        "print(C[0, 63], jit.__file__)\n",
        folder=tmp_path,
        NUMBA_CACHE_DIR=str(occupied / "cache"),
        XDG_CACHE_HOME=str(occupied / "xdg"),
        HOME=str(occupied / "home"),
        LOCALAPPDATA=str(occupied / "appdata"),
    )
    assert done.stdout.split() == ["3.0", str(tmp_path / "fastals" / "engine" / "jit.py")]
    assert done.stderr.count("NUMBA_CACHE_DIR") == 1


def test_other_errors_of_numba_are_not_taken_for_a_missing_cache(monkeypatch):
    def fail(**options):
        raise RuntimeError("something else")

    monkeypatch.setattr(numba, "njit", fail)
    with pytest.raises(RuntimeError, match="something else"):
        jit.kernel(lambda x: x)(1)


def test_what_threads_need_first_at_the_same_time_is_made_once():
    made = []

    def make():
        made.append(1)
        sleep(0.05)
        return lambda x: 2 * x

    function = jit.Jitted(make)
    assert made == []
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(function, range(4))) == [0, 2, 4, 6]
    assert len(made) == 1


def test_a_function_can_be_copied_before_it_is_compiled():
    assert copy.copy(jit.kernel(lambda x: x + 1))(1) == 2


def test_import_compiles_nothing():
    done = run_python(
        "from numba.core import event\n"
        "with event.install_recorder('numba:compile') as compiled:\n"
        "    import fastals.engine.jit, fastals.engine.cholesky, fastals.engine.simd.kernels\n"
        "    print(len(compiled.buffer))\n"
        "    from fastals.engine.simd.target import target\n"
        "    print(target.cache_info().currsize)\n"
    )
    assert done.stdout.split() == ["0", "0"]
