"""The checkpoint of a fit: one file from which an interrupted fit goes on, to the bits of one that was not.

A checkpoint holds both panels as they stand after the items' half-step of an iteration, the losses so far, and what the
engine keeps from one half-step to the next. Beside these it says which fit it is of: parameters, seed, and digests of
the data and of the start.
"""

from __future__ import annotations

import errno
import numbers
import os
import warnings
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np

from . import storage
from .data.interactions import Interactions
from .engine.alternation import Begin, Reached
from .engine.model import Model
from .engine.simd.target import target
from .engine.threads import Meanwhile
from .features import Given
from .fitted import Fitted, SideName
from .objectives import Objective, Statistics
from .places import retold
from .validation import check_integer, check_option, level_of_caller

__all__ = ["Checkpoint", "Request", "identity_of", "requested"]

T = TypeVar("T")

FORMAT = 1
# Parameters that a fit may go on with whatever they were. They do not change the bits of an iteration.
FREE = {"iterations", "tol", "n_threads"}
SIDES = ("user", "item")
NAMES = {"users", "items", "losses", *(f"{what}_{side}" for side in SIDES for what in ("ridge", "features"))}
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Bytes of both panels up to which they are copied, and written on a thread while the fit goes on. A disk takes as long
# to confirm a file as a small fit takes for an iteration. Larger panels are not held twice.
COPIED = 2**26
REMEDY = "name another file, or delete this one to begin anew"


class Request(NamedTuple):
    """What `fit` was asked for."""

    path: Path
    every: int
    errors: str


class Found(NamedTuple):
    """What a checkpoint says beside the panels."""

    begin: Begin
    losses: list[float]  # after each iteration, to the one that was reached


def requested(path: str | os.PathLike[str] | None, every: Any, errors: Any) -> Request | None:
    """Return what `fit` was asked for by its arguments, after their check; None without a path."""
    every = check_integer("checkpoint_every", every, 1)
    errors = check_option("checkpoint_errors", errors, ("raise", "warn"))
    if path is None:
        return None
    if not isinstance(path, (str, os.PathLike)) or not str(path):
        raise TypeError(f"checkpoint must be the path of a file, or None, got {path!r:.60}")
    return Request(Path(path), every, errors)


class Checkpoint:
    """The file of one fit.

    Parameters
    ----------
    request : Request
    identity : dict
        Which fit it is, see `identity_of`.
    model : Model
        Its panels are written, and filled by `read`.
    iterations : int
        What the fit is to have in the end.
    beside : bool, default True
        Whether a file may be written while the fit goes on. A callback wants to find the one of its iteration.
    """

    def __init__(
        self, request: Request, identity: dict[str, Any], model: Model, iterations: int, beside: bool = True
    ) -> None:
        self._path, self._every, self._errors = request
        self._identity, self._model, self._iterations = identity, model, iterations
        self.environment = environment()
        self._beside = beside and model.X.nbytes + model.Y.nbytes <= COPIED
        self._writing: tuple[int, Meanwhile] | None = None  # the iterations of a file that may not be there yet

    def resume(self) -> Found | None:
        """Fill the panels from the file, if there is one. Raise now what writing to it would raise later.

        Raises
        ------
        OSError
            The file cannot be read, or not be written.
        ValueError
            It is no checkpoint, is damaged, of another fit, or has more iterations than are wanted.
        """
        found = self.read(warn=True)
        reached = None if found is None else found.begin.reached
        done = 0 if reached is None else reached.iteration + 1
        if done > self._iterations:
            raise ValueError(
                f"checkpoint {self._path} has {done} iterations and iterations is {self._iterations}: at least as many "
                f"are wanted; {REMEDY}"
            )
        if done < self._iterations:
            self._try_out()
        return found

    def read(self, warn: bool = False) -> Found | None:
        """Fill the panels from the file, if there is one; raise as `resume` does where it is not of this fit."""
        try:
            header, arrays = storage.read(self._path, NAMES)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise self._damaged(error.__cause__ or error) from error
        if header.get("checkpoint") != FORMAT:
            raise self._damaged(f"it has the format {header.get('checkpoint')!r:.20}, this fastals reads {FORMAT}")
        try:
            differences = _differences(header["identity"], self._identity)
            if differences:
                raise ValueError(f"checkpoint {self._path} is of another fit: {'; '.join(differences)}; {REMEDY}")
            found = self._found(header, arrays)
            other = [name for name, value in self.environment.items() if header["environment"].get(name) != value]
        except (KeyError, TypeError, AttributeError) as error:
            raise self._damaged(f"it lacks a part: {error!r}") from error
        if warn and other:
            warnings.warn(
                f"checkpoint {self._path} was made with another {', another '.join(other)}: the fit goes on, but its "
                "last bits may differ from those of a fit that was not interrupted",
                RuntimeWarning,
                stacklevel=level_of_caller(),
            )
        for panel, name in ((self._model.X, "users"), (self._model.Y, "items")):
            panel[:, : self._model.width] = arrays[name]
        for side, prior in self._model.priors.items():
            prior.factors = arrays[f"features_{side}"]
        return found

    def _found(self, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Found:
        """Check the parts of a checkpoint of this fit: kernels trust shapes."""
        X, Y, width = self._model.X, self._model.Y, self._model.width
        losses, users, done = arrays["losses"], header["users"], header["done"]
        iteration = losses.size - 1
        wanted: dict[str, tuple[tuple[int, ...], np.dtype]] = {
            "users": ((len(X), width), X.dtype),
            "items": ((len(Y), width), Y.dtype),
        }
        wanted |= {"losses": ((iteration + 1,), np.dtype(float))}
        ridges = {side: arrays[f"ridge_{side}"] for side in SIDES if f"ridge_{side}" in arrays}
        wanted |= {f"ridge_{side}": ((width, width), np.dtype(float)) for side in ridges}
        for side, prior in self._model.priors.items():
            wanted[f"features_{side}"] = prior.factors.shape, np.dtype(float)
        for name, (shape, dtype) in wanted.items():
            if arrays[name].shape != shape or arrays[name].dtype != dtype:
                raise self._damaged(f"{name} is {arrays[name].dtype} of shape {arrays[name].shape}, not {shape}")
        if iteration < 0 or users not in ("absent", "guessed", "solved") or type(done) is not int or done < 0:
            raise self._damaged("it has no iteration, or no start")
        reached = Reached(iteration, float(losses[-1]), ridges)
        begin = Begin(users, done, reached)
        return Found(begin, losses.tolist())

    def keep(self, begin: Begin, losses: list[float], reached: Reached) -> None:
        """Write the file, if it is time to; it may not be there before the next call, or the end of `waited_for`.

        Parameters
        ----------
        begin : Begin
            Where the fit began.
        losses : list of float
            Of the iterations before.
        reached : Reached

        Raises
        ------
        OSError
            This file or the one before cannot be written, and this is to end the fit.
        """
        done = reached.iteration + 1
        if done % self._every and done != self._iterations:
            return
        self._wait()
        model = self._model
        panels = {"users": model.X[:, : model.width], "items": model.Y[:, : model.width]}
        arrays = {name: panel.copy() if self._beside else panel for name, panel in panels.items()}
        arrays["losses"] = np.array([*losses, reached.loss])
        arrays |= {f"ridge_{side}": ridge for side, ridge in reached.ridges.items()}
        arrays |= {f"features_{side}": prior.factors for side, prior in model.priors.items()}
        header = {
            "checkpoint": FORMAT,
            "identity": self._identity,
            "environment": self.environment,
            "users": begin.users,
            "done": begin.done,
        }
        self._writing = done, Meanwhile(partial(storage.write, self._path, header, arrays))
        if self._beside:
            self._writing[1].start()
        else:
            self._wait()

    def waited_for(self, run: Callable[..., T]) -> Callable[..., T]:
        """Return a function that runs as `run` and returns, or raises, when the latest file is there."""

        def call(*arguments: Any) -> T:
            try:
                outcome = run(*arguments)
                self._wait()
                return outcome
            except BaseException:
                if self._writing is not None:
                    with suppress(Exception):  # the fit ends for another reason
                        self._writing[1].wait()
                raise

        return call

    def _wait(self) -> None:
        """Return when the latest file is there; raise or warn where it cannot be written."""
        if self._writing is None:
            return
        done, writing = self._writing
        try:
            writing.wait()
            self._writing = None
        except OSError as error:
            self._writing = None
            if self._errors == "warn":
                warnings.warn(
                    f"no checkpoint of iteration {done}: {error}", RuntimeWarning, stacklevel=level_of_caller()
                )
                return
            raise retold(
                error,
                f"no checkpoint of iteration {done}: {error}. The same fit goes on from the last checkpoint that was "
                "written; with checkpoint_errors='warn' it does not stop where one cannot be",
            ) from error

    def _try_out(self) -> None:
        """Reserve a file of the size that is to come, and give it back."""
        with storage.replacing(self._path, tried=True) as file:
            if hasattr(os, "posix_fallocate"):
                try:
                    os.posix_fallocate(file.fileno(), 0, self._model.X.nbytes + self._model.Y.nbytes)
                except OSError as error:
                    if error.errno in FULL:  # else the file system cannot tell
                        raise

    def _damaged(self, why: object) -> ValueError:
        return ValueError(f"checkpoint {self._path} is not one, or is damaged ({why}); {REMEDY}")


# Which fit it is.


def identity_of(
    name: str,
    params: dict[str, Any],
    objective: Objective,
    statistics: Statistics,
    cells: Interactions,
    features: Mapping[SideName, Given],
    start: Fitted | None,
) -> dict[str, Any]:
    """Return, as JSON, what two fits must have in common so that one can go on from the other's checkpoint.

    Parameters
    ----------
    name : str
        Of the model.
    params : dict
        All of its parameters.
    objective : Objective
    statistics : Statistics
        What the objective has learned from `cells`: item weights count by their values, whatever gave them.
    cells : Interactions
    features : mapping from side to Given
    start : Fitted or None
    """
    compared = {key: _as_json(value) for key, value in params.items() if key not in FREE}
    compared |= {"regularization": list(objective.regularization), "dtype": cells.dtype.name}
    if not features:
        compared.pop("feature_regularization", None)  # checkpoints from before it was there go on
    if name != "ExplicitALS" and not objective.biases:
        compared.pop("biases", None)  # likewise
    if not objective.implicit_features:
        compared.pop("implicit_features", None)
    if "item_weights" in params:
        compared["item_weights"] = _digest(statistics.weight)
    by_user = cells.by_user
    ids = {
        f"{side} ids": _digest(of.values) if of is not None else None
        for side, of in (("user", cells.user_ids), ("item", cells.item_ids))
    }
    return {
        "model": name,
        "params": compared,
        "shape": list(cells.shape),
        "data": {
            "entries": _digest(by_user.indptr, by_user.indices),
            "values": _digest(by_user.values),
            "weights": _digest(by_user.weights),
            **ids,
            **{f"{side} features": _of_features(given) for side, given in features.items()},
        },
        "start": None if start is None else _of_start(start),
    }


def _of_features(given: Given) -> list[str]:
    return ["those of the entries"] if given.implicit else _digest(*given.entries.cells)


def _of_start(start: Fitted) -> list[str]:
    arrays = [np.array([len(start.history)])]
    for side in (start.users, start.items):
        arrays += [side.panel[:, : side.width], *([] if side.ids is None else [side.ids.values])]
    return _digest(*arrays)


def _as_json(value: Any) -> Any:
    """Return a parameter as it is compared. All generators are alike: the checkpoint has what was drawn from them."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, np.random.SeedSequence):
        return f"SeedSequence({value.entropy}, spawn_key={value.spawn_key}, pool_size={value.pool_size})"
    return value if isinstance(value, str) else "None or a generator"


def _digest(*arrays: np.ndarray) -> list[str]:
    """Return checksums, which take half as long as hashes: to compare is to find slips, not forgeries."""
    return [f"{array.dtype.str} {array.shape} {zlib.crc32(np.ascontiguousarray(array).data):08x}" for array in arrays]


def environment() -> dict[str, str]:
    """Return what rounding depends on: a fit that goes on elsewhere is as good, but has other bits."""
    from . import __version__

    return {
        "fastals": __version__,
        "NumPy": np.__version__,
        "Numba": numba.__version__,
        "CPU": target().cpu,
        "vector width": f"{target().vector_bytes} bytes",
    }


def _differences(made: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Say in what the fit of a checkpoint differs from the one that is wanted."""
    if made["model"] != wanted["model"]:
        return [f"it was made by {made['model']!s:.40}, this model is {wanted['model']}"]
    found = []
    for name, value in wanted["params"].items():
        old = made["params"].get(name)
        if old != value and name == "item_weights":
            found.append("it was made with item_weights that give other weights")
        elif old != value:
            found.append(f"it was made with {name}={old!s:.60}, this model has {name}={value}")
    if made["shape"] != wanted["shape"]:
        found.append(f"it was made with R of shape {tuple(made['shape'])!s:.40}, this R has {tuple(wanted['shape'])}")
    else:
        names = dict.fromkeys((*wanted["data"], *made["data"]))
        other = [name for name in names if made["data"].get(name) != wanted["data"].get(name)]
        if other:
            found.append(f"it was made with another R, of which {' and '.join(other)} differ")
    if made["start"] != wanted["start"]:
        with_start = "no" if made["start"] is None else "another" if wanted["start"] is not None else "a"
        found.append(
            f"it was made with {with_start} start, this fit has {'none' if wanted['start'] is None else 'one'}"
        )
    return found
