"""BLAS on one thread while the engine calls it, and as it was afterwards."""

import contextlib
import gc
import linecache
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fastals.engine import blas, forks

# A fit with more rows than a product of vectors needs for OpenBLAS to spread it, and how many nanoseconds threads that
# are not this one have run meanwhile: with a fit on one thread those of BLAS, which spin once they are woken.
FIT = """
import threading
from concurrent.futures import ThreadPoolExecutor
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


CODES = {f.__code__ for f in (blas.one_blas_thread, blas._token_of_this_thread, blas._quiet, blas.eigh)}


def interrupted(run, first, second):
    """Run with Ctrl-C at the `first` line of the guard's code, and at the `second` call; tell which of them came.

    A tracer and a profiler raise once each, the one at calls and lines, the other where Python looks for signals: at
    the begin of a function and after a call in C. Left out is the line of a `with` that is come to a second time, on
    the way out: there Python looks for no signals until the lock is released, and only a tracer can raise.
    """
    count, entered, came = [0, 0], {}, [False, False]

    def strike(which, wanted):
        count[which] += 1
        if count[which] == wanted:
            came[which] = True
            raise KeyboardInterrupt

    def trace(frame, event, _):
        if frame.f_code not in CODES:
            return None
        if event == "call":
            entered[id(frame)] = set()
        lines = entered[id(frame)]
        again = frame.f_lineno in lines and "with " in linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        lines.add(frame.f_lineno)
        if event in {"call", "line"} and not again:
            strike(0, first)
        return trace

    def profile(frame, event, _):
        if frame.f_code in CODES and event in {"call", "c_return"}:
            strike(1, second)

    sys.settrace(trace)
    sys.setprofile(profile)
    try:
        run()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
        sys.setprofile(None)
    return came


def is_free(lock):
    """Whether another thread can take a lock: this one can take one again that it holds."""
    with ThreadPoolExecutor(1) as other:
        return other.submit(lambda: lock.acquire(timeout=0) and (lock.release() or True)).result()


def nested():
    with blas.one_blas_thread():
        blas.eigh(np.eye(2))
        with contextlib.suppress(ValueError), blas.one_blas_thread():
            raise ValueError


def caught_and_retried():
    """The second Ctrl-C strikes in a later guard, or while the first is handled."""
    with contextlib.suppress(KeyboardInterrupt):
        blas.eigh(np.eye(2))
    blas.eigh(np.eye(2))


@pytest.mark.parametrize(
    "run", [nested, lambda: blas.eigh(np.eye(2)), caught_and_retried], ids=["nested", "eigh", "twice"]
)
@pytest.mark.parametrize("another", [False, True])
def test_two_ctrl_c_anywhere_give_the_threads_back(threads, run, another):
    if threads() != 2:
        pytest.skip("this OpenBLAS was built for one thread")
    other = blas.one_blas_thread() if another else None
    lines = next(n for n in range(1, 500) if not interrupted(run, n, 0)[0])
    calls = next(n for n in range(1, 500) if not interrupted(run, 0, n)[1])
    both = 0
    for first in range(lines):
        for second in range(calls):
            both += all(interrupted(run, first, second))
            assert threads() == (1 if another else 2)
            assert sum(reference() is not None for reference in blas._inside.values()) == another
            assert is_free(blas._entering)
    assert min(lines, calls, both) > 5
    del other
    assert threads() == 2


# Ctrl-C at random moments, as the system sends it, two at a time.
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
        time.sleep((1 + random.random()) * 1e-3)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(random.choice([0, random.random() * 1e-4, random.random() * 2e-3]))
        os.kill(os.getpid(), signal.SIGINT)
sender = threading.Thread(target=send)
wanted = int(sys.argv[1])
def raising(number, frame):
    global caught
    caught += 1
    if frame.f_code.co_filename == blas.__file__: raise KeyboardInterrupt
signal.signal(signal.SIGINT, raising)
sender.start()
while caught < wanted:
    try:
        blas.eigh(matrix)
    except KeyboardInterrupt:
        pass
    wrong += get() != 2
going = False
sender.join()
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


def test_threads_that_come_and_go_at_once_give_the_threads_back(threads):
    before, wrong = threads(), []

    def work():
        for _ in range(300):
            with blas.one_blas_thread():
                wrong.append(threads() != 1)

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not any(wrong)
    assert threads() == before


def test_a_cycle_that_holds_a_guard_gives_the_threads_back_when_it_is_collected(threads):
    before, cycle = threads(), []
    cycle.append((cycle, blas.one_blas_thread()))
    assert threads() == 1
    del cycle
    gc.collect()
    assert threads() == before


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
