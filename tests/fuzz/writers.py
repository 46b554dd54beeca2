"""What writes a model or a file, and what must hold when it is interrupted: all of it is done, or nothing.

Interrupted or not, the model and the file are those before or those after, NumPy's BLAS has its threads, no lock is
held, nothing unfinished lies in the folder, and the next call does what it always does.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastals import ExplicitALS, ImplicitALS, storage
from fastals.engine import blas, forks
from fastals.fitted import Fitted
from tests.helpers import example, stored

from .outcome import RIGHT

SHAPE = (8, 6)
FIT = {"factors": 3, "iterations": 2, "dtype": "float64", "random_state": 0, "n_threads": 1}


def data(seed: int, shape: tuple[int, int] = SHAPE) -> Any:
    """Return a small matrix without stored zeros."""
    R = example(seed, shape, 0.4)
    R[R == 0] = 1.0
    return stored(R)


class Writer(NamedTuple):
    """A call that writes, on models of one class; `path` is what it writes to, if it writes a file."""

    name: str
    model: Any
    call: Callable[[Any, Path], object]
    first: bool = False  # whether the model is not fitted yet


CALLS: dict[str, Callable[[Any, Path], object]] = {
    "fit": lambda model, path: model.fit(data(1, (9, 7))),
    "refit": lambda model, path: model.refit(data(0)),
    "update": lambda model, path: model.update(1, 2, 3.0),
    "update new": lambda model, path: model.update(*SHAPE),
    "users": lambda model, path: model.partial_fit_users([3, 8], data(1, (2, 6))),
    "items": lambda model, path: model.partial_fit_items([3, 6], data(1, (8, 2))),
    "assign": lambda model, path: setattr(model, "item_factors_", np.ones((6, 3))),
    "save": lambda model, path: model.save(path),
    "checkpoint": lambda model, path: model.fit(data(0), checkpoint=path),
}


def writers() -> list[Writer]:
    """Return every writer, with and without biases, with one thread and with two."""
    kinds = {
        "implicit": ImplicitALS(**FIT),
        "explicit": ExplicitALS(**FIT),
        "plain": ImplicitALS(**FIT, solver="plain"),
        "two threads": ImplicitALS(**FIT | {"n_threads": 2}),
    }
    found = []
    for name, model in kinds.items():
        first = ["checkpoint"] if name in ("implicit", "plain") else []
        found += [Writer(f"first {call}, {name}", copy.copy(model), CALLS[call], True) for call in first]
        model.fit(data(0))
        chosen = [call for call in CALLS if name in ("implicit", "explicit") or call in ("fit", "update", "checkpoint")]
        found += [Writer(f"{call}, {name}", model, CALLS[call]) for call in chosen]
    return found


def again(fitted: Fitted | None) -> Fitted | None:
    """Return a record of which nothing has been derived yet."""
    if fitted is None:
        return None
    return replace(fitted, users=replace(fitted.users), items=replace(fitted.items), by_user=replace(fitted.by_user))


def content(model: Any) -> tuple[Any, ...] | None:
    """Return all that a fitted model knows, to the bit; None if it is not fitted."""
    fitted = model._fitted
    if fitted is None:
        return None
    cells = fitted.by_user.cells
    arrays = (
        *(side.panel[:, : side.width] for side in (fitted.users, fitted.items)),
        *(np.asarray(part) for part in cells),
        fitted.item_counts,
        fitted.statistics.weight,
        fitted.statistics.background,
    )
    return (*(array.tobytes() for array in arrays), fitted.history, fitted.statistics.mean, fitted.objective)


class Judge:
    """Tells whether a writer that may have been interrupted has done all or nothing."""

    def __init__(self, writer: Writer, folder: Path) -> None:
        self.writer, self.folder = writer, folder
        self.path = folder / "file.npz"
        self.controls = blas._controls()
        if self.controls is not None:
            self.controls[1](2)
        self.threads = self.controls[0]() if self.controls is not None else 0
        model = self.fresh()
        self.path.unlink(missing_ok=True)
        self.before = content(model)
        writer.call(model, self.path)
        self.after, self.new_file = content(model), self.file()
        self.old_file = b"" if self.new_file is not None and "checkpoint" not in writer.name else None
        self.run(lambda call: call())  # so that what is compiled or cached is there

    def fresh(self) -> Any:
        """Return a model before the call."""
        model = copy.copy(self.writer.model)
        model._fitted = again(model._fitted)
        return model

    def file(self) -> bytes | None:
        """Return the bytes of the file, if there is one."""
        return self.path.read_bytes() if self.path.exists() else None

    def run(self, disturbed: Callable[[Callable[[], object]], object]) -> str:
        """Run the call in a way that may interrupt it, and return what came of it."""
        model = self.fresh()
        if self.old_file is None:
            self.path.unlink(missing_ok=True)
        else:
            self.path.write_bytes(self.old_file)
        disturbed(lambda: self.writer.call(model, self.path))
        wrong = self.torn(model) or self.held(model)
        if wrong:
            return f"{self.writer.name}: {wrong}"
        was_after = content(model) == self.after
        self.writer.call(model, self.path)
        if not was_after and content(model) != self.after:
            return f"{self.writer.name}: the next call does something else"
        return RIGHT

    def torn(self, model: Any) -> str:
        """Say what is neither as before nor as after the call."""
        found, file = content(model), self.file()
        left = [path for path in self.folder.iterdir() if path != self.path]
        if left:
            for path in left:
                path.unlink()
            return f"left {left[0].name} in the folder"
        if "checkpoint" in self.writer.name:
            if file is not None:
                storage.read(self.path)
            if self.writer.first and found is not None:
                return "" if np.isfinite(model.user_factors_).all() and model.n_iter_ >= 1 else "half a first fit"
        elif file not in (self.old_file, self.new_file):
            return "half a file"
        return "" if found in (self.before, self.after) else "half done"

    def held(self, model: Any) -> str:
        """Say what has not been given back."""
        if self.controls is not None and self.controls[0]() != self.threads:
            return f"BLAS has {self.controls[0]()} threads and had {self.threads}"
        if any(reference() is not None for reference in blas._inside.values()):
            return "the guard of BLAS is still on"
        locks = {"writer's": model._writing, "BLAS's": blas._entering, "fork's": forks._forking}
        held = [name for name, lock in locks.items() if lock._is_owned()]
        return f"the {held[0]} lock is held" if held else ""
