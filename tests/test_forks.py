"""Forks at any moment: the child fits and answers, and does not hang.

FASTALS_FORKS is how often a process forks in each state; every fork costs a fit in a child.
"""

import os
import signal
import subprocess
import sys
import threading
import warnings

import pytest

from fastals.engine import forks

FORKS = os.environ.get("FASTALS_FORKS", "3")

# A process whose threads are busy forks; each child has a time limit and answers by its exit status.
FORKING = """
import os, sys, threading, time, warnings
import numpy as np, scipy.sparse as sp
import fastals
from fastals.engine import basis, blas, threads

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
basis.SHARE = 1  # small panels on several threads too
state, forks, limit = sys.argv[1], int(sys.argv[2]), 300
R = sp.random(300, 200, 0.05, "csr", random_state=0)
controls = blas._controls()
if controls:
    controls[1](2)
    outside = controls[0]()

def fit(factors=8):
    return fastals.ImplicitALS(factors, iterations=2, n_threads=2, random_state=0).fit(R)

def busy(step):
    def repeat():
        while going:
            step()
    workers = [threading.Thread(target=repeat, daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()

def child():
    model = fit()
    model.update(1, 2, 1.0)
    model.recommend(np.arange(40), n=5)
    if wanted is not None and not (fit().item_factors_ == wanted).all():
        return 2
    if controls and controls[0]() != outside:
        return 3
    return 0

going, wanted = True, None
if state != "first fit":
    wanted = fit().item_factors_
    wanted.flags.writeable = False
if state == "eigh":
    matrix = np.cov(np.random.default_rng(0).standard_normal((40, 80)))
    busy(lambda: blas.eigh(matrix))
elif state == "update":
    models = [fit(64), fit(64)]
    busy(lambda: models[threading.get_ident() % 2].update(3, 4, 2.0))
elif state == "spread":
    busy(lambda: threads.spread(lambda counter: time.sleep(1e-4), 3))
elif state == "fit":
    busy(lambda: fit(64))

def ending(run):
    # Fork, and tell how the child that runs this ended.
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = run()
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(status)
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(1e-3)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return 9

def in_first_fit():
    # As a process that has not fitted yet, fork while a thread does.
    threading.Thread(target=fit, daemon=True).start()
    time.sleep(np.random.default_rng(number).random() * 0.3)
    return ending(child)

for number in range(forks):
    time.sleep(np.random.default_rng(number).random() * 1e-2)
    print(ending(in_first_fit if state == "first fit" else child), flush=True)
going = False
os._exit(0)
"""


def fork(state, n_forks, **environment):
    """How each child of a process in a state ended: 0 where all was well, 9 where it hung."""
    done = subprocess.run(
        [sys.executable, "-c", FORKING, state, str(n_forks)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout.split()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("state", ["eigh", "update", "spread", "fit", "after a fit"])
def test_a_child_fits_and_answers(state):
    assert fork(state, FORKS) == ["0"] * int(FORKS)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_forked_in_a_first_fit_fits_and_answers():
    """With a cache that is filled: what is waited for is the loading of what was compiled."""
    assert fork("first fit", FORKS) == ["0"] * int(FORKS)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_forked_while_numba_compiles_waits_for_it(tmp_path):
    assert fork("first fit", 1, NUMBA_CACHE_DIR=str(tmp_path)) == ["0"]


def test_locks_are_taken_in_order_and_given_back(monkeypatch):
    said = []
    monkeypatch.setattr(forks, "_locks", forks._locks[:1])
    monkeypatch.setattr(forks, "_in_child", [])
    for name in "ab":
        forks.hold(lambda name=name: said.append(f"take {name}"), lambda name=name: said.append(f"give {name}"))
    forks.in_child(lambda: said.append("repair"))
    forks._before()
    forks._after_in_parent()
    forks._before()
    forks._after_in_child()
    assert said == ["take a", "take b", "give b", "give a", "take a", "take b", "repair", "give b", "give a"]


def test_two_threads_fork_one_after_the_other():
    forks._before()
    second = threading.Thread(target=lambda: (forks._before(), forks._after_in_parent()))
    second.start()
    second.join(0.05)
    assert second.is_alive()
    forks._after_in_parent()
    second.join(30)
    assert not second.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_does_not_find_a_lock_of_its_own_held():
    lock, held, done = forks.OwnLock(), threading.Event(), threading.Event()

    def hold():
        with lock():
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    assert ended(lambda: lock().acquire(timeout=0)) == 0
    assert not lock().acquire(timeout=0)
    done.set()
    thread.join()
    assert lock().acquire(timeout=0)


def ended(run) -> int:
    """0 where what a forked child runs is true, after at most a minute."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
        child = os.fork()
    if child == 0:
        signal.alarm(60)
        os._exit(0 if run() else 1)
    return os.waitpid(child, 0)[1]
