"""Forks at any moment: the child fits and answers, and does not hang. The tries themselves are in `tests.fuzz`."""

import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

from fastals.engine import forks

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("state", ["first fit", "eigh", "update", "spread", "fit", "after a fit"])
def test_a_child_fits_and_answers(state):
    """A first fit has a cache that is filled: what is waited for is the loading of what was compiled."""
    from tests.fuzz.forks import endings

    assert endings(state, 3) == ["0"] * 3


COMPILING = """
import threading, warnings
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from numba.core import event
from fastals.engine import basis
from tests.fuzz.forks import ending

class Begins(event.Listener):
    def on_start(self, event):
        begun.set()
    def on_end(self, event):
        ended.append(event)

def gram(*_):
    return (basis.gram(np.ones((40, 8), np.float32), np.ones(40), 8, 1) == 40).all()

def child():
    # Two, as one may have the number of the thread that compiles: the lock would then seem to be its own.
    with ThreadPoolExecutor(2) as pool:
        return int(not all(pool.map(gram, range(2))))

warnings.simplefilter("ignore", DeprecationWarning)
begun, ended = threading.Event(), []
with event.install_listener("numba:compile", Begins()):
    threading.Thread(target=gram, daemon=True).start()
    begun.wait()
    print(len(ended), ending(child), len(ended) > 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_forked_while_numba_compiles_waits_for_it(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", COMPILING], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=400
    )
    assert (done.stdout, done.stderr) == ("0 0 True\n", "")


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
