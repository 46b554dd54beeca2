"""How many threads, and that work is spread over them, whatever fails."""

import os
import subprocess
import sys
import threading
from time import sleep

import numpy as np
import pytest

from fastals.engine import threads
from fastals.engine.shielded import shielded
from tests.helpers import interrupted


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_available_follows_affinity_and_quota(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    for quota, wanted in ((2**31, 8), (3, 3), (0, 1)):
        monkeypatch.setattr(threads.limits, "cpus", lambda quota=quota: quota)
        assert threads.available() == wanted


def test_a_choice_of_threads_holds_inside_and_for_one_python_thread():
    assert threads.chosen() == threads.available()
    other = []
    with threads.choose(7):
        with threads.choose(3):
            assert threads.chosen() == 3
        assert threads.chosen() == 7
        beside = threading.Thread(target=lambda: other.append(threads.chosen()))
        beside.start()
        beside.join()
    assert other == [threads.chosen()] == [threads.available()]


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_work_runs_on_that_many_threads_with_one_counter(n_threads):
    calls, all_here = [], threading.Barrier(n_threads)

    def work(counter):
        all_here.wait(timeout=30)
        calls.append((threading.get_ident(), id(counter)))

    threads.spread(work, n_threads)
    assert len({ident for ident, _ in calls}) == n_threads == len(calls)
    assert threading.get_ident() in {ident for ident, _ in calls}
    assert len({counter for _, counter in calls}) == 1


def test_counter_starts_at_zero_each_time():
    seen = []
    for _ in range(2):
        threads.spread(lambda counter: seen.append(counter.copy()), 1)
    assert np.array_equal(seen, np.zeros((2, 1), np.int64))


@pytest.mark.parametrize("here", [True, False])
def test_an_exception_on_any_thread_comes_out_after_all_are_done(here):
    done, all_here = [], threading.Barrier(2)

    def work(counter):
        all_here.wait(timeout=30)
        if (threading.current_thread() is threading.main_thread()) == here:
            raise RuntimeError("lost")
        done.append(True)

    with pytest.raises(RuntimeError, match="lost"):
        threads.spread(work, 2)
    assert done == [True]


def test_a_forked_child_makes_its_own_pool():
    threads.spread(lambda counter: None, 2)
    assert threads._pool is not None
    threads._forget_pool()
    assert threads._pool is None
    calls, all_here = [], threading.Barrier(3)
    threads.spread(lambda counter: calls.append(all_here.wait(timeout=30)), 3)
    assert len(calls) == 3


def draw(counter, drawn):
    """Draw 100 blocks as a kernel would, a moment each."""
    while (block := int(counter[0])) < 100:
        counter[0] += 1
        drawn.append(block)
        sleep(1e-5)


@pytest.mark.parametrize("started", [0, 1])
def test_where_no_thread_starts_the_calling_one_does_the_work(monkeypatch, started):
    start, starts = threads.start_new_thread, []

    def few(*call):
        if len(starts) == started:
            raise RuntimeError("can't start new thread")
        starts.append(call)
        return start(*call)

    threads._forget_pool()
    monkeypatch.setattr(threads, "start_new_thread", few)
    came, drawn, all_here = set(), [], threading.Event()

    def work(counter):
        came.add(threading.get_ident())
        if len(came) == 1 + started:
            all_here.set()
        assert all_here.wait(timeout=60)
        draw(counter, drawn)

    threads.spread(work, 4)
    assert len(came) == 1 + started
    assert set(drawn) == set(range(100))


def test_nobody_waits_for_threads_that_die_at_their_start(monkeypatch):
    threads._forget_pool()
    monkeypatch.setattr(threads, "start_new_thread", lambda *call: 0)
    drawn = []
    for _ in range(2 * threads.WAITING):
        threads.spread(drawn.append, 3)
    assert len(drawn) == 2 * threads.WAITING
    assert threads._pool[0].qsize() <= threads.WAITING + 1
    threads._forget_pool()


def test_threads_without_memory_to_spare_do_not_help(monkeypatch):
    monkeypatch.setattr(threads, "SPARE", 2**62)
    idents = []

    def work(counter):
        sleep(0.01)
        idents.append(threading.get_ident())

    threads.spread(work, 3)
    assert idents == [threading.get_ident()]


def test_no_memory_in_a_helping_thread_is_raised_and_the_thread_is_replaced(monkeypatch):
    here = threading.Barrier(2)

    def work(counter):
        here.wait(timeout=30)
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError

    threads._forget_pool()
    with pytest.raises(MemoryError):
        threads.spread(work, 2)
    tasks, started = threads._pool
    died = threading.Event()
    monkeypatch.setattr(sys, "unraisablehook", lambda told: died.set())
    tasks.put(lambda: bytearray(2**62))  # no memory before the work begins
    assert died.wait(timeout=30)
    assert started == []
    threads.spread(lambda counter: here.wait(timeout=30), 2)
    assert len(started) == 1


def test_who_comes_late_does_nothing():
    ran = []
    crew = threads._Crew(ran.append, None)
    crew.wait()
    crew._help(threads.allocate_lock())
    crew.wait()
    assert ran == []


def test_ctrl_c_at_any_line_leaves_nobody_at_work():
    at_work = []

    def work(counter):
        at_work.append(True)
        sleep(2e-3)
        at_work.pop()

    crew, interrupts = threads._Crew, 0
    codes = {function.__code__ for function in (threads.spread, crew.__init__, crew.call, crew.wait)}
    while interrupted(lambda: threads.spread(work, 3), lambda frame: frame.f_code in codes, interrupts + 1):
        assert at_work == []
        interrupts += 1
    assert interrupts > 20


def test_ctrl_c_while_waiting_is_raised_once_all_are_done(monkeypatch):
    ended, interrupts, here = [], [None] * 3, threading.Barrier(2)

    class Lock:
        def __init__(self):
            self.lock = threading.Lock()

        def __enter__(self):
            if threading.current_thread() is threading.main_thread() and interrupts:
                interrupts.pop()
                raise KeyboardInterrupt
            self.lock.acquire()

        def __exit__(self, *error):
            self.lock.release()

    def work(counter):
        here.wait(timeout=30)
        if threading.current_thread() is not threading.main_thread():
            sleep(0.05)
            ended.append(True)

    monkeypatch.setattr(threads, "allocate_lock", Lock)
    with pytest.raises(KeyboardInterrupt):
        threads.spread(work, 2)
    assert ended == [True]
    assert interrupts == []


LATE = """
import atexit, threading, time
import numpy as np, scipy.sparse as sp, fastals
R = sp.random(3000, 2000, 0.05, "csr", random_state=0)
def fit(name):
    model = fastals.ImplicitALS(16, iterations=2, n_threads=2, random_state=0).fit(R)
    print(name, bool((model.item_factors_ == first.item_factors_).all()), flush=True)
first = fastals.ImplicitALS(16, iterations=2, n_threads=2, random_state=0).fit(R)
atexit.register(fit, "atexit")
def outlive():
    threading.main_thread().join()
    fit("outlived")
threading.Thread(target=outlive).start()
"""


def test_a_fit_at_the_interpreters_end_gives_the_same_bits():
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, timeout=600)
    assert done.stderr == ""
    assert sorted(done.stdout.splitlines()) == ["atexit True", "outlived True"]


# A call that is made meanwhile.


def test_after_ctrl_c_nobody_waits_for_what_a_helper_compiles():
    go_on, helps, caller, waited = threading.Event(), threading.Event(), threading.get_ident(), []

    def work(counter):
        if threading.get_ident() == caller:
            helps.wait(60)
            raise KeyboardInterrupt
        helps.set()
        shielded(go_on.wait, 60)
        waited.append("until it is compiled")

    with pytest.raises(KeyboardInterrupt):
        threads.spread(work, 2)
    go_on.set()
    assert waited == []


@pytest.mark.parametrize("come", ["a thread", "none", "one that dies"])
def test_a_call_is_made_once_by_whoever_comes_first(monkeypatch, come):
    made = []

    def start(*_):
        if come == "none":
            raise RuntimeError("can't start new thread")

    if come != "a thread":
        monkeypatch.setattr(threads, "start_new_thread", start)
    call = threads.Meanwhile(lambda: made.append(threading.get_ident()))
    call.start()
    for _ in range(2):
        call.wait()
    assert len(made) == 1
    assert come == "a thread" or made == [threading.get_ident()]


def test_the_caller_goes_on_and_waits_later():
    go_on, order = threading.Event(), []
    call = threads.Meanwhile(lambda: go_on.wait(60) and order.append("call"))
    call.start()
    while not call._lock.locked():  # until the thread has begun
        sleep(1e-3)
    order.append("caller")
    go_on.set()
    call.wait()
    assert order == ["caller", "call"]


def test_what_a_call_raises_is_raised_where_it_is_waited_for():
    call = threads.Meanwhile(lambda: 1 / 0)
    call.start()
    with pytest.raises(ZeroDivisionError):
        call.wait()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_a_thread_that_it_does_not_have():
    go_on = threading.Event()
    call = threads.Meanwhile(lambda: go_on.wait(60))
    call.start()
    while not call._lock.locked():
        sleep(1e-3)
    child = os.fork()
    if child == 0:
        call.wait()
        os._exit(7)
    for _ in range(600):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        sleep(0.1)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
    go_on.set()
    call.wait()
    assert os.waitstatus_to_exitcode(status) == 7


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_parts_are_all_rows_once(n_threads, monkeypatch):
    monkeypatch.setattr(threads, "SHARE", 10)
    for length, width in ((0, 3), (1, 100), (7, 3), (50, 2)):
        times = np.zeros(length, np.int64)
        parts = []

        def work(rows, times=times, parts=parts):
            parts.append(rows)
            times[rows] += 1

        threads.in_parts(work, length, width, n_threads)
        assert (times == 1).all()
        assert len(parts) == max(1, min(n_threads, length * width // 10))


def test_an_error_in_a_part_is_raised(monkeypatch):
    monkeypatch.setattr(threads, "SHARE", 1)

    def fail(rows):
        raise ValueError(f"rows from {rows.start}")

    with pytest.raises(ValueError, match="rows from"):
        threads.in_parts(fail, 10, 1, 3)


@pytest.mark.parametrize("stop", range(1, 6))
def test_what_is_raised_at_any_line_of_a_wait_leaves_the_lock_free(stop):
    """As by a debugger, or by the tracer of `tests.fuzz.exceptions`."""
    lock, code, lines = threads.allocate_lock(), threads._wait_for.__code__, []

    def trace(frame, event, _):
        if frame.f_code is not code:
            return None
        lines.append(frame.f_lineno)
        # On the way out Python comes to the first line again, where it looks for no signals before the lock is free.
        if len(lines) == stop and lines.count(lines[-1]) < 2:
            raise RuntimeError("here")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        threads._wait_for(lock)
    except RuntimeError:
        assert len(lines) == stop
    finally:
        sys.settrace(before)
    assert not lock.locked()
