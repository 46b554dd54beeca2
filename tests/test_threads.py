"""How many threads, and that work is spread over them, whatever fails."""

import os
import threading

import numpy as np
import pytest

from fastals.engine import threads


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_available_follows_affinity_and_quota(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    for quota, wanted in ((2**31, 8), (3, 3), (0, 1)):
        monkeypatch.setattr(threads, "_cgroup_quota", lambda quota=quota: quota)
        assert threads.available() == wanted


V2, V1 = "/sys/fs/cgroup", "/sys/fs/cgroup/cpu"


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({f"{V2}/cpu.max": "max 100000"}, threads.UNLIMITED),
        ({f"{V2}/cpu.max": "150000 100000"}, 2),
        ({f"{V2}/cpu.max": "50000 100000"}, 1),
        ({f"{V2}/cpu.max": ""}, threads.UNLIMITED),
        ({}, threads.UNLIMITED),
        ({"/proc/self/cgroup": "0::/a/b\n", f"{V2}/a/b/cpu.max": "max 1000", f"{V2}/a/cpu.max": "3000 1000"}, 3),
        ({"/proc/self/cgroup": "0::/a/b\n", f"{V2}/a/b/cpu.max": "2000 1000", f"{V2}/a/cpu.max": "3000 1000"}, 2),
        ({"/proc/self/cgroup": "0::/gone\n", f"{V2}/cpu.max": "4000 1000"}, 4),
        (
            {
                "/proc/self/cgroup": "3:cpu,cpuacct:/a\n2:memory:/a\n",
                f"{V1}/a/cpu.cfs_quota_us": "250000",
                f"{V1}/a/cpu.cfs_period_us": "100000",
                f"{V1}/cpu.cfs_quota_us": "-1",
                f"{V1}/cpu.cfs_period_us": "100000",
            },
            3,
        ),
    ],
)
def test_quota_is_the_least_of_the_group_and_its_parents_rounded_up(monkeypatch, files, wanted):
    files = {"/proc/self/cgroup": "0::/\n"} | files

    def read(path):
        if str(path) not in files:
            raise FileNotFoundError(path)
        return files[str(path)]

    monkeypatch.setattr(threads.Path, "read_text", read)
    assert threads._cgroup_quota.__wrapped__() == wanted


def test_no_control_group(monkeypatch):
    def missing(path):
        raise FileNotFoundError

    monkeypatch.setattr(threads.Path, "read_text", missing)
    assert threads._cgroup_quota.__wrapped__() == threads.UNLIMITED


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
    calls = []
    threads.spread(lambda counter: calls.append(True), 3)
    assert len(calls) == 3
