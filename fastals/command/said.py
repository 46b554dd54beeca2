"""What a command says: text for people, and the same as data for `--json`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Said(NamedTuple):
    """A piece of what a command says; facts of all pieces make one JSON object, and lists of one name are joined."""

    text: str
    facts: dict[str, Any] = {}  # noqa: RUF012 - nobody writes to it


def merged(pieces: list[Said]) -> dict[str, Any]:
    """Return the facts of all pieces as one object."""
    found: dict[str, Any] = {}
    for piece in pieces:
        for name, fact in piece.facts.items():
            found[name] = found[name] + fact if isinstance(fact, list) and name in found else fact
    return found


def plain(value: Any) -> Any:
    """Return a number or array of NumPy, or a path, as JSON holds it."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else str(value)
