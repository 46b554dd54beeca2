"""BLAS on one thread while the engine calls it, and as it was afterwards."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastals.engine import blas

# A fit with more rows than a product of vectors needs for OpenBLAS to spread it, and how many nanoseconds threads that
# are not this one have run meanwhile: with a fit on one thread those of BLAS, which spin once they are woken.
FIT = """
import threading
from pathlib import Path
import numpy as np, scipy.sparse as sp, fastals
np.linalg.eigh(np.eye(4))
def others():
    threads = [t for t in Path("/proc/self/task").iterdir() if int(t.name) != threading.get_native_id()]
    return sum(int((t / "schedstat").read_text().split()[0]) for t in threads)
R = sp.random(30_000, 200, 0.01, "csr", dtype="float32", random_state=0)
model = fastals.ImplicitALS(factors=8, iterations=2, n_threads=1, random_state=0)
model.fit(R)
before = others()
model.fit(R)
print(others() - before)
"""


@pytest.fixture
def threads():
    controls = blas._controls()
    if controls is None:
        pytest.skip("NumPy has no OpenBLAS here")
    get, set_ = controls
    before = get()
    set_(2)
    yield get
    set_(before)


def test_one_thread_inside_and_as_before_outside(threads):
    if threads() != 2:
        pytest.skip("this OpenBLAS was built for one thread")
    with blas.one_blas_thread():
        assert threads() == 1
        with blas.one_blas_thread():
            assert threads() == 1
        assert threads() == 1
    assert threads() == 2


def test_an_error_inside_gives_the_threads_back(threads):
    before = threads()
    with pytest.raises(RuntimeError), blas.one_blas_thread():
        raise RuntimeError
    assert threads() == before


def test_another_blas_is_left_alone(monkeypatch):
    monkeypatch.setattr(blas, "_controls", lambda: None)
    with blas.one_blas_thread():
        pass


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("private", [True, False])
def test_eigenvectors_in_the_precision_of_the_matrix(dtype, private, monkeypatch):
    if not private:
        monkeypatch.setattr(np.linalg, "_umath_linalg", None)
    rows = np.random.default_rng(0).standard_normal((50, 40))
    matrix = rows.T @ rows
    values, vectors = blas.eigh(matrix.astype(dtype))
    assert values.dtype == vectors.dtype == dtype
    rounding = 40 * np.finfo(dtype).eps
    exact = vectors.astype(np.float64)
    assert np.abs(exact.T @ exact - np.eye(40)).max() <= rounding
    assert np.abs((exact * values) @ exact.T - matrix).max() <= rounding * values.max()


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="Linux tells the time of single threads")
def test_a_fit_wakes_no_thread_of_blas():
    done = subprocess.run([sys.executable, "-c", FIT], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert int(done.stdout) == 0
