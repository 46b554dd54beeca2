"""Calls that Ctrl-C does not cut short: where they are made, and what becomes of them."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from fastals.engine import shielded as module
from fastals.engine.shielded import GivenUpError, given_up_if, shielded

HERE = threading.get_ident


def test_the_main_thread_lets_another_make_the_call():
    assert shielded(lambda x, y: (x, y, HERE()), 1, y=2)[:2] == (1, 2)
    assert shielded(HERE) != HERE()


def test_another_thread_makes_it_itself():
    found = []
    thread = threading.Thread(target=lambda: found.append(shielded(HERE) == HERE()))
    thread.start()
    thread.join()
    assert found == [True]


def test_what_the_call_raises_is_raised_here():
    with pytest.raises(ZeroDivisionError):
        shielded(lambda: 1 / 0)
    assert module._at_work == {}


@pytest.mark.parametrize("start", ["refused", "dies"])
def test_without_another_thread_the_caller_makes_the_call(monkeypatch, start):
    def no_thread(*_):
        if start == "refused":
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(module, "start_new_thread", no_thread)
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    assert shielded(HERE) == HERE()


def test_a_call_is_made_once_however_late_its_thread_comes(monkeypatch):
    late, made = [], []
    monkeypatch.setattr(module, "start_new_thread", lambda make, _: late.append(make))
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    shielded(lambda: made.append(HERE()))
    late[0]()
    assert made == [HERE()]


@pytest.fixture
def ctrl_c():
    """Python's own handler, which a process that was started in the background lacks."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.skipif(sys.platform == "win32", reason="a signal to one thread")
def test_ctrl_c_ends_the_waiting_and_leaves_the_call_whole():
    go_on, ended = threading.Event(), threading.Event()

    def call():
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        go_on.wait(60)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        shielded(call)
    assert not ended.is_set()
    go_on.set()
    assert ended.wait(60)


def test_a_thread_that_works_for_others_waits_no_longer_than_they_do():
    go_on, given_up, found = threading.Event(), threading.Event(), []

    def work():
        with given_up_if(given_up.is_set):
            found.append(shielded(HERE) != HERE())
            try:
                shielded(go_on.wait, 60)
            except GivenUpError:
                found.append("stopped")
        found.append(shielded(HERE) == HERE())

    thread = threading.Thread(target=work)
    thread.start()
    while not module._at_work:
        time.sleep(1e-3)
    given_up.set()
    thread.join(60)
    assert found == [True, "stopped", True]
    go_on.set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_that_is_forked_while_the_caller_waits_makes_the_call_itself(monkeypatch):
    """As by the handler of a signal."""
    go_on, process, children = threading.Event(), os.getpid(), []

    def over(call, seconds):
        if not children:
            children.append(os.fork())
            go_on.set()
        return wait(call, seconds)

    wait = module._Call.over
    monkeypatch.setattr(module._Call, "over", over)
    found = shielded(lambda: go_on.wait(60) and os.getpid())
    if os.getpid() != process:
        os._exit(7 if found == os.getpid() else 1)
    assert found == process
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 7


# A call goes on after Ctrl-C, and the interpreter ends.
END = """
import os, sys, threading, time
from fastals.engine import shielded

def call():
    at_work.set()
    try:
        while True:
            time.sleep(0.01)
    finally:
        print("stopped", flush=True)

at_work = threading.Event()
shielded.main_thread = lambda: threading.current_thread()
threading.Thread(target=shielded.shielded, args=(call,), daemon=True).start()
at_work.wait()
if sys.argv[1] == "child":
    child = os.fork()
    if child:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize(
    "process",
    ["parent", pytest.param("child", marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"))],
)
def test_the_end_stops_what_is_still_at_work(process):
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", END, process],
        capture_output=True,
        text=True,
        timeout=module.END,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "stopped\n", "")
