"""What came of a try: right, refused in a clear sentence, or anything else, which is told."""

from __future__ import annotations

import os
import tempfile
import traceback
from pathlib import Path

import fastals

RIGHT = "right"
REFUSED = "refused"

PACKAGE = str(Path(fastals.__file__).parent)
LONGEST = 500  # characters of a sentence


def own(error: BaseException) -> bool:
    """Tell whether an error was raised by a line of the package, and not somewhere below it."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.startswith(PACKAGE)


def refusal(error: BaseException, *named: object) -> str:
    """Return `REFUSED` for an error of ours, in a short sentence with all that is `named`; else what is wrong."""
    text = str(error)
    if not isinstance(error, (ValueError, TypeError, OSError)) or not own(error):
        return f"foreign error: {error!r:.300}"
    if not text or len(text) >= LONGEST:
        return f"long or empty error: {error!r:.600}"
    missing = [name for name in map(str, named) if name not in text]
    return f"error that does not name {missing[0]}: {error!r:.300}" if missing else REFUSED


def scratch() -> tempfile.TemporaryDirectory[str]:
    """Return a folder in memory where the system has such: files are brought to the disk thousands of times."""
    return tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
