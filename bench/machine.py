"""What the numbers were measured on, and what every contender gets of it."""

import contextlib
import ctypes
import os
import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# Every contender runs this many threads of its own.
THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
PACKAGES = ("fastals", "implicit", "irspack", "cmfrec", "rusket", "faiss-cpu", "hnswlib", "numba", "numpy", "scipy")


def limit_blas() -> None:
    """Give BLAS one thread in this process and its children; without effect once a BLAS is loaded.

    `implicit` and `cmfrec` call BLAS from threads of their own: with a pool under each they are several times slower.
    """
    for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ[variable] = "1"


def peak_memory() -> int:
    """Return the most memory this process ever held, in bytes.

    Linux carries `ru_maxrss` over fork and exec, so that a child begins with its parent's peak; `VmHWM` begins anew.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak_memory() -> None:
    """Let the peak begin anew at what is held now, where the system can (Linux), and what is free be given back first.

    Work that reuses what other work has freed would seem to need no memory.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)  # of the C library of GNU
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def resident_memory() -> int:
    """Return the bytes this process holds now; where the system does not tell, the most it ever held."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return peak_memory()
    return int(status.read_text().split()[1]) * resource.getpagesize()


def cpu_seconds(pid: int | None = None) -> float:
    """Return the CPU seconds that a process has taken, or all processes since the machine started (Linux only)."""
    if pid is None:
        # user, nice, system, idle, iowait, irq, softirq, steal
        times = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        ticks = sum(map(int, times)) - int(times[3]) - int(times[4])
    else:
        ticks = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def cpu_model() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Return the version of Python and of every package that takes part and is installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
