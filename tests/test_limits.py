"""What the system says of CPUs and memory, read from files of both versions of control groups."""

import pytest

from fastals.engine import limits

V2, V1 = "/sys/fs/cgroup", "/sys/fs/cgroup/cpu"


def only_files(monkeypatch, files):
    """Let the system have these files and no other."""

    def read(path):
        if str(path) not in files:
            raise FileNotFoundError(path)
        return files[str(path)]

    monkeypatch.setattr(limits.Path, "read_text", read)


MEMINFO, V1_MEMORY = "MemTotal: 9 kB\nMemAvailable:    5000 kB\n", "/sys/fs/cgroup/memory"


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"/proc/meminfo": MEMINFO}, 5_120_000),
        ({"/proc/meminfo": "MemTotal: 9 kB\n"}, None),
        ({"/proc/meminfo": MEMINFO, f"{V2}/memory.max": "max\n", f"{V2}/memory.stat": "anon 7\n"}, 5_120_000),
        ({"/proc/meminfo": MEMINFO, f"{V2}/memory.max": "4000\n", f"{V2}/memory.stat": "anon 900\nfile 5\n"}, 3100),
        ({"/proc/meminfo": MEMINFO, f"{V2}/memory.max": "4000\n", f"{V2}/memory.stat": "anon 5000\n"}, 0),
        (
            {
                "/proc/meminfo": MEMINFO,
                "/proc/self/cgroup": "4:memory:/a/b\n1:cpu:/c\n",
                f"{V1_MEMORY}/a/memory.limit_in_bytes": "1000\n",
                f"{V1_MEMORY}/a/memory.stat": "rss 3\ntotal_rss 400\n",
                f"{V1_MEMORY}/memory.limit_in_bytes": "9223372036854771712\n",
                f"{V1_MEMORY}/memory.stat": "total_rss 400\n",
            },
            600,
        ),
    ],
)
def test_free_memory_is_what_the_machine_and_each_group_have_left(monkeypatch, files, wanted):
    only_files(monkeypatch, {"/proc/self/cgroup": "0::/\n"} | files)
    assert limits.free_memory() == wanted


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({f"{V2}/cpu.max": "max 100000"}, limits.UNLIMITED),
        ({f"{V2}/cpu.max": "150000 100000"}, 2),
        ({f"{V2}/cpu.max": "50000 100000"}, 1),
        ({f"{V2}/cpu.max": ""}, limits.UNLIMITED),
        ({}, limits.UNLIMITED),
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
    only_files(monkeypatch, {"/proc/self/cgroup": "0::/\n"} | files)
    assert limits.cpus.__wrapped__() == wanted


def test_no_control_group(monkeypatch):
    only_files(monkeypatch, {})
    assert limits.free_memory() is None
    assert limits.cpus.__wrapped__() == limits.UNLIMITED
