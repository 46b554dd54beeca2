"""What is written beside its place and then moved there: its name until then, and how the move gets to the disk."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def beside(place: Path) -> Path:
    """Return a name of its own in the folder of a place. What a killed process leaves there may be deleted."""
    return place.with_name(f".fastals-{secrets.token_hex(8)}.partial")


def retold(error: OSError, sentence: str) -> OSError:
    """Return an error of the same class and number that says in a sentence what to do where writing has failed."""
    told = type(error)(sentence)
    told.errno = error.errno  # which an error of one argument does not have
    return told


def flush_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
