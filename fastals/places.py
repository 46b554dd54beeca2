"""What is written beside its place and then moved there: its name until then, and how the move gets to the disk."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def beside(place: Path) -> Path:
    """Return a name of its own in the folder of a place. What a killed process leaves there may be deleted."""
    return place.with_name(f".fastals-{secrets.token_hex(8)}.partial")


def flush_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
