"""One `.npz` file a model: arrays, and JSON for the rest. Nothing in it can run code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import numpy as np

__all__ = ["read", "write", "write_arrays"]

FORMAT = 1
_HEADER = "header"


def write(path: str | os.PathLike[str], header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Path:
    """Write a file that `read` reads; a file of that name is replaced only when the new one is complete.

    Parameters
    ----------
    path : str or path
        `.npz` is appended where it is missing.
    header : dict
        What JSON can hold.
    arrays : dict of name -> ndarray
    """
    path = _with_suffix(path)
    text = json.dumps({"format": FORMAT, **header}).encode()
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            write_arrays(file, {_HEADER: np.frombuffer(text, np.uint8), **arrays})
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def write_arrays(file: str | os.PathLike[str] | IO[bytes], arrays: dict[str, Any]) -> None:
    """Write arrays as `numpy.savez` does, but no Python objects.

    Its own `allow_pickle=False` came with NumPy 2.1; before, that was one more array to be written.

    Raises
    ------
    ValueError
        An array holds Python objects.
    """
    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject:
            raise ValueError(f"{name} holds Python objects, which a file that can run no code cannot hold")
    np.savez(file, **arrays)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return header and arrays of a file that `write` wrote.

    Parameters
    ----------
    path : str or path
        As it was given to `write`.

    Returns
    -------
    header : dict
    arrays : dict of name -> ndarray

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; not a fastals model, damaged, or of a newer format.
    """
    path = _with_suffix(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
            header = json.loads(arrays.pop(_HEADER).tobytes())
            version = int(header.pop("format"))
    except (BadZipFile, KeyError, AttributeError, TypeError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is not a fastals model, or is damaged ({error}); save the model again") from error
    if version > FORMAT:
        raise ValueError(f"{path} has format {version}, this fastals reads up to {FORMAT}; install a newer fastals")
    return header, arrays


def _with_suffix(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    return path if path.suffix == ".npz" else path.with_name(path.name + ".npz")
