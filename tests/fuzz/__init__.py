"""The fault suite: `python -m tests.fuzz`, or `make fuzz SECONDS=600`.

A kind of fault is a module with a function `tries(seed, first, **options)`, a generator that never ends: try `first`,
the one after it, and so on. What try number n does follows from the seed and n alone. It yields what came of each, see
`outcome`. A kind runs in a process of its own, so that one that crashes or hangs is counted and the others go on.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any, NamedTuple


class Kind(NamedTuple):
    """A kind of fault: what its row of the table says, where it is, and its share of the time."""

    title: str
    module: str
    options: dict[str, Any] = {}  # noqa: RUF012  # never changed
    share: float = 1.0


KINDS = {
    "files": Kind("model files with damaged bytes, parts or headers", "files"),
    "meanings": Kind("model files that are sound and say something else", "meanings"),
    "checkpoints": Kind("checkpoints, damaged or changed", "checkpoints"),
    "texts": Kind("text files with changed characters, fields or lines", "texts"),
    "float32": Kind("extreme problems against dense float64, in float32", "problems", {"dtype": "float32"}),
    "float64": Kind("extreme problems against dense float64, in float64", "problems", {"dtype": "float64"}),
    "interleavings": Kind("four threads at one model against one after the other", "interleavings"),
    "exceptions": Kind("exceptions at each line of what writes a model or a file", "exceptions", {}, 2.0),
    "interrupts": Kind("Ctrl-C at random moments of the same", "interrupts"),
    "first fits": Kind("Ctrl-C at random moments of the first fit of a process", "first_fits"),
    "kills": Kind("kills of a fit with checkpoints and of a save", "kills"),
    "forks": Kind("forks beside fits, updates and first fits", "forks"),
    "disks": Kind("disks that get full beneath a save or a checkpoint", "disks"),
    "memory": Kind("too little memory for a load, a reader or a fit", "memory"),
}


def tries(name: str, seed: int, first: int = 0) -> Iterator[str]:
    """Return the tries of a kind, from number `first` on."""
    kind = KINDS[name]
    found: Iterator[str] = importlib.import_module(f"tests.fuzz.{kind.module}").tries(seed, first, **kind.options)
    return found
