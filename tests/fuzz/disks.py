"""Disks that get full beneath a save or a checkpoint: files may not grow beyond a limit of this process."""

from __future__ import annotations

import os
import random
import resource
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import fastals
from fastals import ImplicitALS
from tests.helpers import example, same_model, stored

from .outcome import RIGHT, refusal, scratch

FIT = {"factors": 5, "iterations": 4, "random_state": 3, "n_threads": 1}


@contextmanager
def full_beyond(size: int) -> Iterator[None]:
    """Inside, no file grows beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def tries(seed: int, first: int) -> Iterator[str]:
    """Save, and fit with checkpoints, with limits from nothing to more than is needed."""
    warnings.simplefilter("ignore")
    R = stored(example(0, (60, 40)))
    old, new = (ImplicitALS(**FIT | {"random_state": n}).fit(R) for n in range(2))
    with scratch() as folder:
        path = Path(folder, "file.npz")
        new.save(path)
        size = path.stat().st_size
        for turn in count(first):
            chance = random.Random(f"{seed} {turn}")
            limit = chance.choice((0, 1, size - 1, size, 2 * size, chance.randrange(2 * size)))
            way = chance.choice(("save", "raise", "warn"))
            path.unlink(missing_ok=True)
            if way == "save":
                old.save(path)
            outcome = judged(lambda way=way: work(way, new, R, path), limit, path)
            if way == "save":
                found = fastals.load(path)
                whole = same_model(found, new if outcome == RIGHT else old)
            else:
                again = ImplicitALS(**new.get_params()).fit(R, checkpoint=path)
                whole = same_model(again, new)
            if os.listdir(folder) != [path.name]:
                outcome = f"left {os.listdir(folder)}"
            yield outcome if whole else f"{way}: the file is another one ({outcome})"


def work(way: str, model: Any, R: Any, path: Path) -> str:
    """Save, or fit with a checkpoint."""
    if way == "save":
        model.save(path)
        return RIGHT
    fit = ImplicitALS(**model.get_params()).fit(R, checkpoint=path, checkpoint_errors=way)
    return RIGHT if same_model(fit, model) else "the fit is another one"


def judged(run: Callable[[], str], limit: int, path: Path) -> str:
    """Run with a limit; an OSError of ours that names the file is a refusal."""
    try:
        with full_beyond(limit):
            return run()
    except Exception as error:
        return refusal(error, path)
