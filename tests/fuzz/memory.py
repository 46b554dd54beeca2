"""Too little memory for what is asked: a right answer, or one sentence, and never the end of the process.

Each try is a forked child, as what a lack of memory leaves behind is no matter of the next one. The child takes the
memory for its stack first: where the stack cannot grow, the system ends any process, whatever it runs.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import select
import signal
import warnings
import zlib
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

import fastals
from fastals import ImplicitALS
from fastals.datasets import read_ratings

from .files import limited_memory
from .outcome import RIGHT, refusal, scratch

MMAP_THRESHOLD = -3  # of `mallopt`: what is larger is taken from the system, and counts
LIMIT = 60.0  # seconds until a child counts as hanging
FIT = {"factors": 16, "iterations": 1, "random_state": 0, "n_threads": 2}


def sums(*arrays: np.ndarray) -> list[int]:
    """Return a checksum of each array: a copy would take memory too."""
    return [zlib.crc32(np.ascontiguousarray(array).data) for array in arrays]


def works(folder: Path) -> dict[str, Callable[[], list[int]]]:
    """Return calls that need some MB to some 10 MB, with checksums of what they give."""
    draw = np.random.default_rng(0)
    rows, columns = draw.integers(20_000, size=100_000), draw.integers(1_000, size=100_000)
    R = sparse.csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=(20_000, 1_000))
    model = ImplicitALS(**FIT).fit(R)
    model.save(folder / "model")
    lines = (f"{user} {item}\n" for user, item in zip(rows.tolist(), columns.tolist(), strict=True))
    (folder / "ratings.txt").write_text("".join(lines))

    def again() -> Any:
        return fastals.load(folder / "model.npz")

    return {
        "load": lambda: sums(*(lambda found: (found.user_factors_, found.item_factors_))(again())),
        "fit": lambda: sums(ImplicitALS(**FIT).fit(R).item_factors_),
        "read": lambda: sums(*(lambda found: (found.users, found.items))(read_ratings(folder / "ratings.txt"))),
        "recommend": lambda: sums(*model.recommend(range(5_000), 50)),
        "fold in": lambda: sums(model.fold_in_users(R)),
    }


def clear(error: BaseException) -> str:
    """Tell whether an error for want of memory is a sentence; NumPy's says how much it wanted."""
    if isinstance(error, MemoryError):
        return "refused" if str(error) else f"no sentence: {error!r}"
    return refusal(error)


def grow_stack() -> None:
    """Let the stack of the calling thread grow to some 100 kB: each list within a list takes a call of C."""
    nested: list[Any] = []
    for _ in range(800):
        nested = [nested]
    repr(nested)


def in_child(call: Callable[[], list[int]], wanted: list[int], allowed: int) -> str:
    """Make a call in a forked child that may take so many bytes more; return what came of it."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        outcome = "another answer"
        grow_stack()
        # What was given back to the allocator would be there beside the limit.
        ctypes.CDLL(None).malloc_trim(0)
        ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, 1 << 16)
        try:
            with limited_memory(allowed):
                outcome = RIGHT if call() == wanted else outcome
        except BaseException as error:
            outcome = clear(error)
        os.write(write, json.dumps(outcome).encode())
        os._exit(0)
    os.close(write)
    ready = select.select([read], [], [], LIMIT)[0]
    if not ready:
        os.kill(child, signal.SIGKILL)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if not ready:
        return f"no end within {LIMIT:.0f} s"
    found: str = json.loads(said) if said and status == 0 else f"the process ended with {status}"
    return found


def tries(seed: int, first: int) -> Iterator[str]:
    """Make calls with little memory."""
    warnings.simplefilter("ignore")
    with scratch() as folder:
        calls = works(Path(folder))
        wanted = {name: call() for name, call in calls.items()}
        for turn in count(first):
            chance = random.Random(f"{seed} {turn}")
            name = chance.choice(list(calls))
            allowed = int(2 ** chance.uniform(10, 25))
            outcome = in_child(calls[name], wanted[name], allowed)
            yield outcome if outcome in (RIGHT, "refused") else f"{name} with {allowed:,} bytes: {outcome}"
