"""Checkpoints whose bytes are damaged, or that are sound and say something else."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np

from fastals import ExplicitALS, ImplicitALS, storage
from tests.helpers import example, same_model, stored

from . import files, meanings
from .outcome import REFUSED, RIGHT, refusal, scratch

R = stored(example(0, (12, 9)))
FIT = {"factors": 3, "iterations": 4, "random_state": 3, "n_threads": 1}
CHANGES = (
    meanings.header_value,
    meanings.header_name,
    meanings.numbers,
    meanings.kind,
    meanings.shape,
    meanings.exchanged,
)


class Stop(Exception):  # noqa: N818
    """Ends a fit after the iteration of whose checkpoint the tries are."""


def stop(iteration: int, _: object) -> None:
    """Be the callback of a fit that is interrupted."""
    if iteration == 1:
        raise Stop


def tries(seed: int, first: int) -> Iterator[str]:
    """Go on from a changed checkpoint: to the same bits, or with factors that can be used; or it is refused."""
    warnings.simplefilter("ignore")
    fits = {"implicit": ImplicitALS(**FIT), "explicit": ExplicitALS(**FIT), "plain": ImplicitALS(**FIT, solver="plain")}
    with scratch() as folder:
        path = Path(folder, "checkpoint.npz")
        good = {}
        for name, model in fits.items():
            try:
                model.fit(R, checkpoint=path, callback=stop)
            except Stop:
                good[name] = path.read_bytes(), type(model)(**model.get_params()).fit(R)
            path.unlink()
        for turn in count(first):
            chance = random.Random(f"{seed} {turn}")
            name = chance.choice(list(fits))
            content, whole = good[name]
            bytes_change = turn % 2 == 0
            if bytes_change:
                content = chance.choice(files.MUTATIONS)(content, chance)
                path.write_bytes(content)
            else:
                path.write_bytes(content)
                header, arrays = storage.read(path)
                chance.choice(CHANGES)(header, arrays, chance)
                content = storage.write(path, header, arrays).read_bytes()
            model = type(whole)(**whole.get_params())
            try:
                outcome = judged(model.fit(R, checkpoint=path), whole, bytes_change)
            except Exception as error:
                outcome = refusal(error)
                if outcome == REFUSED and path.read_bytes() != content and not isinstance(error, np.linalg.LinAlgError):
                    outcome = f"refused, and the file is another one: {error!r:.300}"
            yield outcome


def judged(model: ImplicitALS | ExplicitALS, whole: ImplicitALS | ExplicitALS, exact: bool) -> str:
    """Tell whether a fit that went on is the one that was not interrupted, or at least can be used."""
    if same_model(model, whole):
        return RIGHT
    if exact:
        return "goes on to other factors"
    usable = np.isfinite(model.user_factors_).all() and len(model.recommend(range(12), 3)[0]) == 12
    return RIGHT if usable else "goes on to what cannot be used"
