"""BLAS on one thread while the engine calls it, and as it was afterwards."""

import contextlib
import linecache
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from fastals.engine import blas, forks

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
def test_eigenvectors_in_the_precision_of_the_matrix(dtype):
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
    done = subprocess.run([sys.executable, "-c", FIT], capture_output=True, text=True, timeout=600)
    assert done.stderr == ""
    assert int(done.stdout) == 0


def interrupted(run, check, stop):
    """Run with Ctrl-C at the `stop`-th event of the guard's code; tell whether it came to that.

    Events are calls and lines. Left out is the line of a `with` that is come to a second time, on the way out: there
    Python looks for no signals until the lock is released, and only a tracer can raise.
    """
    guard = blas.one_blas_thread
    codes = {f.__code__ for f in (guard.__enter__, guard.__exit__, guard._leave, blas._settle, blas.eigh)}
    events, entered = 0, {}

    def trace(frame, event, _):
        nonlocal events
        if frame.f_code not in codes:
            return None
        if event == "call":
            entered[id(frame)] = set()
        lines = entered[id(frame)]
        again = frame.f_lineno in lines and "with " in linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        lines.add(frame.f_lineno)
        if event in {"call", "line"} and not again:
            events += 1
            if events == stop:
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        run()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
        check()
    return False


def nested():
    with blas.one_blas_thread():
        blas.eigh(np.eye(2))
        with contextlib.suppress(ValueError), blas.one_blas_thread():
            raise ValueError


@pytest.mark.parametrize("run", [nested, lambda: blas.eigh(np.eye(2))], ids=["nested", "eigh"])
@pytest.mark.parametrize("another", [False, True])
def test_ctrl_c_anywhere_gives_the_threads_back(threads, run, another):
    if threads() != 2:
        pytest.skip("this OpenBLAS was built for one thread")
    other = blas.one_blas_thread()

    def check():
        assert threads() == (1 if another else 2)
        assert len(blas._inside) == another
        assert blas._lock.acquire(timeout=0)
        blas._lock.release()

    if another:
        other.__enter__()
    interrupts = 0
    while interrupted(run, check, interrupts + 1):
        interrupts += 1
    assert interrupts > 10
    if another:
        other.__exit__()
    assert threads() == 2


# Ctrl-C at random moments, as the system sends it.
SIGNALS = """
import os, random, signal, sys, threading, time
import numpy as np
from fastals.engine import blas, forks
get, set_ = blas._controls()
set_(2)
if get() != 2: sys.exit("built for one thread")
matrix, caught, wrong = np.eye(3), 0, 0
going = True
def send():
    while going:
        time.sleep((1 + random.random()) * 1e-3)  # so that no two fall into one guard
        os.kill(os.getpid(), signal.SIGINT)
sender = threading.Thread(target=send)
wanted = int(sys.argv[1])
while True:
    try:
        if caught == 0 and not sender.is_alive(): sender.start()
        while caught < wanted:
            blas.eigh(matrix)
        going = False
        sender.join()
        break
    except KeyboardInterrupt:
        caught += 1
    try:
        if get() != 2:
            wrong += 1
    except KeyboardInterrupt:
        pass
print(caught, wrong)
"""


def test_signals_give_the_threads_back(threads):
    wanted = os.environ.get("FASTALS_SIGNALS", "100")
    done = subprocess.run([sys.executable, "-c", SIGNALS, wanted], capture_output=True, text=True, timeout=600)
    if "built for one thread" in done.stderr:
        pytest.skip("this OpenBLAS was built for one thread")
    caught, wrong = map(int, done.stdout.split())
    assert caught >= int(wanted)
    assert wrong == 0


def test_a_fork_waits_for_those_inside():
    forked = threading.Event()

    def fork():
        forks._before()
        forked.set()
        forks._after_in_parent()

    with blas.one_blas_thread():
        thread = threading.Thread(target=fork)
        thread.start()
        assert not forked.wait(0.05)
    assert forked.wait(30)
    thread.join()
    with blas.one_blas_thread():
        forks._before()  # who is inside does not wait for itself
        forks._after_in_parent()
