"""The flags, the cache and its fallback, and the counter that threads draw their blocks from."""

import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import numpy as np
import pytest

import fastals
from fastals.engine import jit, linked
from fastals.engine.simd.target import target

ROOT = Path(__file__).parent.parent

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


def power(x):
    return x * x


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


def test_a_kernel_has_an_on_disk_cache():
    assert draw._cache.cache_path


def machine_code_of_an_inner_function():
    """Call one from jitted code; return the address of its own machine code."""
    square = jit.inner(power)
    assert numba.njit(lambda x: square(x))(3.0) == 9.0
    (compiled,) = square.overloads.values()
    return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)


def test_an_inner_function_is_compiled_with_its_callers_alone():
    assert machine_code_of_an_inner_function() == 0


def test_a_numba_with_other_libraries_compiles_an_inner_function_by_itself_too(monkeypatch):
    monkeypatch.setattr(linked, "Library", object)
    assert linked.options(apart=False) == linked.options(apart=True) == {}
    assert machine_code_of_an_inner_function() != 0


def times_four(x):
    return doubled(doubled(x))


doubled = jit.inner(lambda x: x + x)


def test_what_a_fused_function_calls_is_not_fused_itself():
    four = jit.fused(times_four)
    assert numba.njit(lambda x: four(x))(3.0) == 12.0
    assert "alwaysinline" in "".join(four.inspect_llvm().values())
    assert "alwaysinline" not in "".join(doubled.inspect_llvm().values())


@pytest.mark.parametrize(("decorator", "called"), [(jit.apart, True), (jit.inner, False), (jit.fused, False)])
def test_llvm_calls_a_function_apart(decorator, called):
    square = decorator(power)
    caller = numba.njit(lambda x: square(x))
    assert caller(3.0) == 9.0
    (code,) = caller.inspect_llvm().values()
    calls = [line for line in code.splitlines() if "call " in line and "power" in line]
    assert bool(calls) == called


def test_the_main_thread_compiles_where_ctrl_c_cannot_strike(monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    found = []
    monkeypatch.setattr(jit, "WATCHERS", [lambda: found.append(threading.get_ident())])
    assert jit.kernel(power)(3.0) == 9.0
    assert len(found) == 1
    assert found != [threading.get_ident()]


def test_who_compiles_already_needs_no_other_thread(monkeypatch):
    assert not jit.compiling()
    with jit.COMPILING:
        assert jit.compiling()
        assert target.__wrapped__() == target()
    monkeypatch.setattr(jit, "COMPILING", object())
    assert not jit.compiling()


def test_a_numba_that_compiles_in_another_method_is_left_as_it_is():
    class Jitted:
        """What a later Numba may decorate with."""

    jitted = Jitted()
    assert jit._entry(jitted) is jitted
    assert vars(jitted) == {}


def test_only_a_kernel_releases_the_gil_and_has_wrappers_for_python():
    assert draw.targetoptions["nogil"]
    assert not draw.targetoptions.keys() & {"no_cpython_wrapper"}
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


# Two functions with a cache each.
SUM = """
import numpy as np
from fastals.engine import basis, jit
from fastals.engine.rows import workspace
total = np.full(64, 3.0)
jit.kernel(workspace.clear.py_func)(total, 0, 63)
jit.kernel(basis._add.py_func)(total, 63, total.copy(), 63, 1)
print(total.sum())
"""


def run_python(code, folder=None, **environment):
    return subprocess.run(
        [sys.executable, "-W", "always", "-c", code],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )


def package_of(folder):
    """A copy of the package, none of whose folders can hold a cache: where Numba would make one lies a file.

    Permissions would not stop root.
    """
    shutil.copytree(PACKAGE, folder / "fastals", ignore=shutil.ignore_patterns("__pycache__"))
    for inside in [*(folder / "fastals").rglob("*"), folder / "fastals"]:
        if inside.is_dir():
            (inside / "__pycache__").touch()


def elsewhere(folder):
    """An environment in which Numba finds no other folder for a cache."""
    occupied = folder / "file"
    occupied.touch()
    places = {"NUMBA_CACHE_DIR": "cache", "XDG_CACHE_HOME": "xdg", "HOME": "home", "LOCALAPPDATA": "appdata"}
    return {name: str(occupied / place) for name, place in places.items()}


def test_without_a_writable_cache_there_is_one_warning_and_no_error(tmp_path):
    package_of(tmp_path)
    done = run_python(SUM + "print(jit.__file__)\n", folder=tmp_path, **elsewhere(tmp_path))
    assert done.stdout.split() == ["6.0", str(tmp_path / "fastals" / "engine" / "jit.py")]
    assert done.stderr.count("RuntimeWarning") == done.stderr.count(str(tmp_path / "file" / "cache")) == 1


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file):
    file.write_bytes(b"")


def garble(file):
    file.write_bytes(b"no pickle" * 100)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A folder with the cache of a process."""
    folder = tmp_path_factory.mktemp("cache")
    assert run_python(SUM, NUMBA_CACHE_DIR=str(folder)).stderr == ""
    return folder


@pytest.mark.parametrize("damage", [cut, empty, garble])
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_a_damaged_cache_is_named_once_and_replaced(filled, tmp_path, kind, damage):
    def run():
        return run_python(SUM, NUMBA_CACHE_DIR=str(tmp_path))

    shutil.copytree(filled, tmp_path, dirs_exist_ok=True)
    files = list(tmp_path.rglob(f"*.{kind}"))
    assert len(files) >= 2
    for file in files:
        damage(file)
    done = run()
    assert done.stdout == "6.0\n"
    assert done.stderr.count("RuntimeWarning") == done.stderr.count(str(tmp_path)) == 1
    assert run().stderr == ""


def test_a_full_disk_is_named_once(tmp_path):
    """No file may grow beyond 100 bytes: as on a full disk, files can be made but not written."""
    limit = "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
    done = run_python(limit + SUM, NUMBA_CACHE_DIR=str(tmp_path))
    assert done.stdout == "6.0\n"
    assert done.stderr.count("RuntimeWarning") == done.stderr.count(str(tmp_path)) == 1
    assert list(tmp_path.rglob("*.nbc")) == []
    assert run_python(SUM, NUMBA_CACHE_DIR=str(tmp_path)).stderr == ""


def test_a_numba_that_keeps_its_cache_elsewhere_is_asked_for_it(monkeypatch):
    class Dispatcher:
        def enable_caching(self):
            self.enabled = True

    monkeypatch.setattr(numba, "njit", lambda **options: lambda function: Dispatcher())
    assert jit.kernel(lambda x: x).enabled


def test_without_a_compiler_there_are_the_functions_themselves():
    code = "from fastals.engine import jit\ndef f(x): return x\nprint(jit.kernel(f) is jit.inner(f) is f)"
    assert run_python(code, NUMBA_DISABLE_JIT="1").stdout == "True\n"


def test_a_numba_without_the_option_that_leaves_out_its_runtime(monkeypatch):
    assert jit.without_runtime() == {"_nrt": False}
    monkeypatch.setattr(jit.cpu, "CPUTargetOptions", object)
    assert jit.without_runtime() == {}


def test_a_numba_without_its_lock(monkeypatch):
    assert jit.compiler_lock() is numba.core.compiler_lock.global_compiler_lock
    monkeypatch.delattr(numba.core.compiler_lock, "global_compiler_lock")
    with jit.compiler_lock():
        pass


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


FITTING = """
import hashlib
import numpy as np
from scipy import sparse
import fastals
rng = np.random.default_rng(0)
R = sparse.random(300, 120, 0.1, format="csr", random_state=0)
R.data[:] = rng.integers(1, 6, R.nnz)
found = hashlib.sha256()
for kind, params in (
    (fastals.ImplicitALS, {"unobserved_weight": 0.1, "popularity_exponent": 0.5}),
    (fastals.WeightedALS, {"unobserved_weight": 0.1, "item_weights": fastals.LinearWeights()}),
    (fastals.ExplicitALS, {}),
):
    for solver in ("auto", "cholesky", "cg"):
        model = kind(24, iterations=3, dtype="float64", random_state=0, solver=solver, **params).fit(R)
        for array in (model.user_factors_, model.item_factors_, model.loss_history_, model.loss(R)):
            found.update(np.asarray(array).tobytes())
print(found.hexdigest())
"""


def test_a_process_that_compiles_has_the_bits_of_one_that_loads_the_cache(tmp_path):
    def run() -> str:
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, "-c", FITTING]
        return subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    cold = run()
    assert len(cold) == 65
    assert run() == cold
