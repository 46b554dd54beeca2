"""Whether others can write to the folder of the compile cache: what is loaded from there runs in this process."""

from __future__ import annotations

import os
import stat
import warnings
from functools import cache


class SharedCacheWarning(RuntimeWarning):
    """Other users can put code into the folder from which Numba loads compiled functions."""


_warned = False


@cache
def check(folder: str, source: str) -> None:
    """Warn, once a process, if other users can write to the folder of compiled functions, or to `NUMBA_CACHE_DIR`.

    Nothing is checked where there are no owners and modes, as on Windows.
    """
    global _warned
    if _warned or not hasattr(os, "geteuid"):
        return
    # Whoever owns the source can change what runs anyhow, and the administrator too.
    trusted = {0, os.geteuid(), os.stat(source).st_uid}
    for place in {folder, os.environ.get("NUMBA_CACHE_DIR") or folder}:
        reason = _writer(os.stat(place), trusted)
        if reason:
            _warned = True
            warnings.warn(
                f"the compile cache in {place} {reason}: what they put there runs in this process. Empty the folder "
                f"and make it yours alone (chmod go-w), or set NUMBA_CACHE_DIR to a folder that only you can write to",
                SharedCacheWarning,
                stacklevel=2,
            )
            return


def _writer(found: os.stat_result, trusted: set[int]) -> str:
    """Say who else can write to a folder; nothing if nobody can."""
    if found.st_uid not in trusted:
        return f"belongs to another user (number {found.st_uid})"
    if found.st_mode & stat.S_IWOTH:
        return "can be written to by all users"
    # Many systems give each user a group of the same number, and let it write to the user's new folders.
    if found.st_mode & stat.S_IWGRP and found.st_gid not in {0, found.st_uid}:
        return f"can be written to by other users (group {found.st_gid})"
    return ""
