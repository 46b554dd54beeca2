"""What this process may use of the machine: CPUs and memory, as its control groups have it."""

from __future__ import annotations

import contextlib
import math
from functools import cache
from pathlib import Path

UNLIMITED = 2**31


@cache
def cpus() -> int:
    """CPUs' worth of time that the control group may use: the least of its own and its parents' limits.

    Read once a process: it takes longer than folding in a user.
    """
    limits = [UNLIMITED]
    for folder, one_file in _control_groups("cpu"):
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max": no quota
            if one_file:
                quota, period = map(int, (folder / "cpu.max").read_text().split())
            else:
                quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
            if quota > 0:  # version 1 has -1 for no quota
                limits.append(math.ceil(quota / period))
    return min(limits)


def free_memory() -> int | None:
    """Return the bytes that this process may still take, without copies of files; None where the system does not tell.

    The least of what the machine has free and of what each control group is allowed to hold and does not.
    """
    try:
        free = 1024 * _entry(Path("/proc/meminfo"), "MemAvailable:")
    except (OSError, ValueError):
        return None
    for folder, one_file in _control_groups("memory"):
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max": no limit
            limit = int((folder / ("memory.max" if one_file else "memory.limit_in_bytes")).read_text())
            held = _entry(folder / "memory.stat", "anon" if one_file else "total_rss")
            free = min(free, limit - held)
    return max(0, free)


def _entry(file: Path, name: str) -> int:
    """Return the number behind a name in a file of the system."""
    for line in file.read_text().splitlines():
        first, *rest = line.split()
        if first == name:
            return int(rest[0])
    raise ValueError(f"{file} has no {name}")


def _control_groups(controller: str) -> list[tuple[Path, bool]]:
    """Return the folders of this process's control group and its parents, and whether they are of version 2."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    folders = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        root = Path(f"/sys/fs/cgroup/{controller}" if controllers else "/sys/fs/cgroup")
        own = root / path.lstrip("/")
        # In a container the path may be the host's, and only the root be there.
        folders += [(folder, not controllers) for folder in (own, *own.parents) if folder.is_relative_to(root)]
    return folders
