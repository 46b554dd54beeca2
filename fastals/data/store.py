"""A store: a folder of plain arrays, with a manifest that vouches for them, opened without reading them.

`manifest.json` names every array with its dtype, shape and checksum. The arrays are `.npy` files that NumPy maps into
memory: ids, the matrix by user and by item in compressed rows, and the events where they have times or kinds.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..engine.problem import Cells
from ..places import beside, flush_folder, retold
from .events import Events
from .ids import Ids
from .interactions import Interactions
from .matrix import unlocked

FORMAT = 1
MANIFEST, PARTS = "manifest.json", "parts"
_HEADER = 128  # bytes before the numbers of an array: what NumPy writes for one of one dimension
_BLOCK = 1 << 22  # bytes read at a time for a checksum
_SIDES = {side: [f"{side}_{part}" for part in ("indptr", "indices", "values")] for side in ("by_user", "by_item")}


def open_store(folder: str | os.PathLike[str], *, verify: bool = False) -> Interactions:
    """Open a store that `build_store` has written.

    The arrays are mapped into memory: opening reads none of them, and what is used is read when it is used.

    Parameters
    ----------
    folder : path
        The folder of the store.
    verify : bool, default False
        Whether to read all arrays and compare them with their checksums. Without it, only the manifest's own checksum
        and the sizes of the files are checked.

    Returns
    -------
    Interactions
        Models, splits and evaluation take it as any other. Its arrays are read-only.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such store; it is of another version, or damaged; it has parts that are not merged.

    Examples
    --------
    >>> import pathlib, tempfile, fastals
    >>> folder = pathlib.Path(tempfile.mkdtemp(), "shop")
    >>> _ = fastals.build_store({"who": ["ann", "bob"], "what": ["tea", "tea"]}, folder, user="who", item="what")
    >>> fastals.open_store(folder)
    Interactions(2 users x 1 items, 2 entries, float32)
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    waiting = parts_of(folder)
    if waiting:
        raise ValueError(
            f"store {folder} has {len(waiting)} appended part(s) that are not merged: call fastals.merge_store first"
        )
    return opened(folder, manifest, verify)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a store, checked."""
    path = folder / MANIFEST
    if folder.is_file():
        raise NotADirectoryError(f"{folder} is a file, and a store is a folder: read a file with fastals.read_table")
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}: build the store with fastals.build_store")
    if not path.is_file():
        raise ValueError(f"folder {folder} is no store: it has no {MANIFEST}; give the folder that build_store wrote")
    try:
        signed = json.loads(path.read_text(encoding="utf-8"))
        manifest, checksum = signed["manifest"], signed["crc32"]
        version = manifest["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"store {folder} is damaged: its {MANIFEST} cannot be read ({error}); build it anew"
        ) from error
    if version != FORMAT:
        raise ValueError(
            f"store {folder} has format {version!r:.20}, this fastals reads {FORMAT}: build it anew with this version"
        )
    if checksum != _signature(manifest):
        raise ValueError(f"store {folder} is damaged: its {MANIFEST} has another checksum; build it anew")
    return dict(manifest)


def parts_of(folder: Path) -> list[Path]:
    """Return the appended parts of a store, the oldest first."""
    inside = folder / PARTS
    return sorted(part for part in inside.iterdir() if part.name.isdecimal()) if inside.is_dir() else []


def opened(folder: Path, manifest: dict[str, Any], verify: bool = False) -> Interactions:
    """Return the interactions of a folder whose manifest has been read, whatever parts it has."""
    arrays = {name: _mapped(folder, name, said, verify) for name, said in manifest["arrays"].items()}
    shape, dtype = (int(manifest["shape"][0]), int(manifest["shape"][1])), np.dtype(manifest["dtype"])
    sides = {}
    for side, names in _SIDES.items():
        indptr, indices, values = (unlocked(arrays[name]) for name in names)
        if indptr[0] != 0 or indptr[-1] != len(indices):
            raise ValueError(f"store {folder} is damaged: {names[0]}.npy does not fit {names[1]}.npy; build it anew")
        sides[side] = Cells(indptr, indices, values, np.ones(1, dtype))
    events = None
    if "event_users" in arrays:
        users, items, values = (arrays[f"event_{name}"] for name in ("users", "items", "values"))
        kind_ids = Ids.ascending(arrays["kind_ids"]) if "kind_ids" in arrays else None
        events = Events(users, items, values, arrays.get("event_times"), arrays.get("event_kinds"), kind_ids)
    ids = [Ids.ascending(arrays[name]) if name in arrays else None for name in ("user_ids", "item_ids")]
    made = Interactions._make(shape, dtype, *ids, events=events, cells=sides["by_user"], locked=True)
    made.__dict__["by_item"] = sides["by_item"]
    return made


def _mapped(folder: Path, name: str, said: dict[str, Any], verify: bool) -> np.ndarray:
    """Map an array into memory; its file must be what the manifest says."""
    path, dtype = folder / f"{name}.npy", np.dtype(said["dtype"])
    size = _HEADER + dtype.itemsize * said["length"]
    if not path.is_file() or path.stat().st_size != size:
        found = f"has {path.stat().st_size:,} bytes" if path.is_file() else "is missing"
        raise ValueError(f"store {folder} is damaged: {name}.npy {found}, {size:,} are wanted; build it anew")
    with path.open("rb") as file:
        if file.read(_HEADER) != _header(dtype, said["length"]):
            raise ValueError(f"store {folder} is damaged: {name}.npy is no array of {dtype}; build it anew")
        if verify:
            checksum = 0
            while block := file.read(_BLOCK):
                checksum = zlib.crc32(block, checksum)
            if checksum != said["crc32"]:
                raise ValueError(f"store {folder} is damaged: {name}.npy has another checksum; build it anew")
    return np.asarray(np.memmap(path, dtype, "r", _HEADER, (said["length"],)))


# Writing.


class Column:
    """An array on disk that grows by blocks; its header is written at the end, when its length is known."""

    def __init__(self, path: Path, dtype: np.dtype):
        self.path, self.dtype, self.length, self.checksum = path, np.dtype(dtype), 0, 0
        self._file = path.open("xb")
        self._file.write(bytes(_HEADER))

    def append(self, values: np.ndarray) -> None:
        """Write more numbers."""
        raw = np.ascontiguousarray(values, self.dtype).view(np.uint8).data
        self._file.write(raw)
        self.checksum = zlib.crc32(raw, self.checksum)
        self.length += len(values)

    def close(self) -> dict[str, Any]:
        """Bring the file to the disk and return what the manifest says of it."""
        with self._file:
            self._file.seek(0)
            self._file.write(_header(self.dtype, self.length))
            self._file.flush()
            os.fsync(self._file.fileno())
        return {"dtype": self.dtype.str, "length": self.length, "crc32": self.checksum}

    def discard(self) -> None:
        """Close the file, whatever it holds."""
        with suppress(OSError):
            self._file.close()

    def blocks(self, rows: int) -> Iterator[np.ndarray]:
        """Yield what has been written. A map would keep what it has read in memory."""
        self._file.flush()
        for begin in range(0, self.length, rows):
            count = min(rows, self.length - begin)
            yield np.fromfile(self.path, self.dtype, count, offset=_HEADER + begin * self.dtype.itemsize)


class Building(NamedTuple):
    """A store that is being written: its folder for now, and its columns by name."""

    folder: Path
    columns: dict[str, Column]

    def column(self, name: str, dtype: Any, block: np.ndarray | None = None) -> Column:
        """Begin an array, with its first block or all of it."""
        made = self.columns[name] = Column(self.folder / f"{name}.npy", np.dtype(dtype))
        if block is not None:
            made.append(block)
        return made

    def drop(self, name: str) -> None:
        """Delete an array that is no part of the store."""
        column = self.columns.pop(name)
        column.discard()
        column.path.unlink()

    def finish(self, **said: Any) -> None:
        """Write the manifest, with which the folder becomes a store."""
        arrays = {name: column.close() for name, column in self.columns.items()}
        manifest = {"format": FORMAT, **said, "arrays": arrays}
        with (self.folder / MANIFEST).open("x", encoding="utf-8") as file:
            json.dump({"manifest": manifest, "crc32": _signature(manifest)}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        flush_folder(self.folder)


@contextmanager
def building(folder: Path, overwrite: bool) -> Iterator[Building]:
    """Write a store beside its place, and move it there when it is whole.

    A build that fails leaves nothing. One that is killed leaves a folder `.fastals-*.partial`, which may be deleted.
    """
    recover(folder)
    check_place(folder, overwrite)
    partial = beside(folder)
    made = Building(partial, {})
    try:
        partial.mkdir()
        yield made
        if folder.exists():
            old = _old(folder)
            folder.rename(old)
            partial.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
        else:
            partial.rename(folder)
        flush_folder(folder.parent)
    except OSError as error:
        if error.errno is None:  # a sentence about the source
            raise
        raise retold(
            error,
            f"cannot write the store {folder} ({error.strerror or error}): check that its parent folder may be written "
            "to and has room; nothing of the new store is left, and one that was there is unchanged",
        ) from error
    finally:
        for column in made.columns.values():
            column.discard()
        shutil.rmtree(partial, ignore_errors=True)


def recover(folder: Path) -> None:
    """Put back a store that was moved aside by a build that was killed before it moved the new one there."""
    old = _old(folder)
    if not old.is_dir():
        return
    if folder.exists():  # the new one is there: only the old one had not been deleted
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.rename(folder)


def _old(folder: Path) -> Path:
    return folder.with_name(f".fastals-{folder.name}.old")


def check_place(folder: Path, overwrite: bool) -> None:
    """Refuse a place where a store cannot be written, before any work."""
    if not folder.parent.is_dir():
        raise FileNotFoundError(
            f"there is no folder {folder.parent} to write the store {folder.name} into: make it first"
        )
    if not folder.exists():
        return
    if not (folder / MANIFEST).is_file():
        raise FileExistsError(f"{folder} is there and is no store: choose another folder, or delete it first")
    if not overwrite:
        raise FileExistsError(f"store {folder} is there: choose another folder, or replace it with overwrite=True")


def _header(dtype: np.dtype, length: int) -> bytes:
    """Return what stands before the numbers in a `.npy` file."""
    described = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': ({length},), }}"
    fixed = b"\x93NUMPY\x01\x00" + (_HEADER - 10).to_bytes(2, "little")
    return fixed + described.encode().ljust(_HEADER - 11) + b"\n"


def _signature(manifest: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(manifest, sort_keys=True).encode())
