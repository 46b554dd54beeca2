"""Kills, by a signal that no process can catch, of a fit with checkpoints and of a save over and over to one file."""

from __future__ import annotations

import os
import random
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

import fastals
from fastals import ImplicitALS
from tests.helpers import example, same_model, stored

from .outcome import RIGHT, scratch

FIT = {"factors": 5, "iterations": 30, "random_state": 3, "n_threads": 1}
LONGEST = 0.1  # seconds until the kill


def killed(work: Callable[[], object], after: float) -> str:
    """Fork, let the child work and kill it; say how it ended otherwise."""
    child = os.fork()
    if child == 0:
        try:
            while True:
                work()
        finally:
            os._exit(1)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    return "" if os.WIFSIGNALED(os.waitpid(child, 0)[1]) else "the work failed before the kill"


def of_a_save(models: list[Any], path: Path, after: float) -> str:
    """The file is one that was saved as a whole, and at most one unfinished file lies beside it."""
    model, other = models
    model.save(path)

    def save() -> None:
        other.save(path)
        model.save(path)

    wrong = killed(save, after)
    left = list(path.parent.glob(".fastals-*.partial"))
    for unfinished in left:
        unfinished.unlink()
    if wrong or len(left) > 1:
        return wrong or f"{len(left)} unfinished files"
    loaded = fastals.load(path)
    return RIGHT if any(same_model(loaded, one) for one in models) else "another model than either"


def of_a_fit(whole: Any, R: Any, path: Path, after: float) -> str:
    """The fit goes on to the bits of the one that was not killed."""
    path.unlink(missing_ok=True)

    def fit() -> None:
        path.unlink(missing_ok=True)
        ImplicitALS(**whole.get_params()).fit(R, checkpoint=path)

    wrong = killed(fit, after)
    for unfinished in path.parent.glob(".fastals-*.partial"):
        unfinished.unlink()
    again = ImplicitALS(**whole.get_params()).fit(R, checkpoint=path)
    return wrong or (RIGHT if same_model(again, whole) else "goes on to other factors")


def tries(seed: int, first: int) -> Iterator[str]:
    """Kill one and the other."""
    warnings.simplefilter("ignore")
    R = stored(example(0, (60, 40)))
    whole = {solver: ImplicitALS(**FIT, solver=solver).fit(R) for solver in ("auto", "plain")}
    large = stored(example(0, (2000, 60), 0.05))
    models = [ImplicitALS(32, iterations=1, random_state=n, n_threads=1).fit(large) for n in range(2)]
    assert not np.array_equal(models[0].item_factors_, models[1].item_factors_)
    with scratch() as folder:
        for turn in count(first):
            chance = random.Random(f"{seed} {turn}")
            after = chance.uniform(0, LONGEST)
            try:
                if turn % 2:
                    yield of_a_save(models, Path(folder, "model.npz"), after)
                else:
                    yield of_a_fit(whole[chance.choice(list(whole))], R, Path(folder, "fit.npz"), after)
            except Exception as error:
                yield f"the file is lost: {error!r:.300}"
