"""One `.npz` file a model: arrays, and JSON for the rest. It runs no code, and its size bounds the memory it takes."""

from __future__ import annotations

import functools
import io
import json
import math
import os
import re
import stat
import struct
import sys
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from .places import beside, flush_folder, retold

FORMAT = 3  # the newest; 1 had no checksums in its header, and 2 had no features
_HEADER = "header"
_KINDS = "biufU"  # of arrays: bool, integers, floats, fixed-width strings
_BLOCK = 1 << 20  # bytes read at a time, few enough to be in the CPU's cache when their checksum is computed
_MAX_DIRECTORY = 1 << 16  # bytes of the zip directory: some 700 arrays
_MAX_HEADER = 1 << 26  # bytes of JSON
_MAX_PREAMBLE = 1 << 10  # bytes before an array's own: NumPy writes 118 for all but the longest shapes
_LOCAL = struct.Struct("<4s22x2H")  # before a member: signature, lengths of its name and of what else is there
_PREAMBLE = re.compile(
    rb"\{'descr': '([<>|][%s][0-9]{1,9})', 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\), \} *\n"
    % _KINDS.encode()
)
# What damage raises: ValueError of JSON, of bytes that are no UTF-8, and of our own.
_DAMAGE = (zipfile.BadZipFile, struct.error, ValueError, TypeError, NotImplementedError, OverflowError, RecursionError)


def write(
    path: str | os.PathLike[str], header: dict[str, Any], arrays: dict[str, np.ndarray], version: int = 2
) -> Path:
    """Write a file that `read` reads, and return its path; an old file of that name is replaced only at the end.

    Parameters
    ----------
    path : str or path
        `.npz` is appended where it is missing.
    header : dict
        What JSON can hold, without NaN and infinity. "format" and "checksums" are taken.
    arrays : dict of name -> ndarray
        Of bool, integers, floats or fixed-width strings. "header" is taken.
    version : int, default 2
        The oldest format that has all of it, so that an older fastals reads what it can.
    """
    path = _with_suffix(path)
    _refuse_objects(arrays)
    for name, array in arrays.items():
        if array.dtype.kind not in _KINDS:
            raise ValueError(f"{name} is an array of {array.dtype}, which a fastals file cannot hold")
    with replacing(path) as file, _Archive(file, "w") as archive:
        checksums = {name: _write_member(archive, name, array) for name, array in arrays.items()}
        text = json.dumps({**header, "format": version, "checksums": checksums}, allow_nan=False).encode()
        if len(text) > _MAX_HEADER:
            raise ValueError(f"the header of {path} has {len(text)} bytes, at most {_MAX_HEADER} can be read again")
        _write_member(archive, _HEADER, np.frombuffer(text, np.uint8))
    return path


def check_writable(path: str | os.PathLike[str]) -> None:
    """Refuse a path that `write` could not write to, before the work whose result is to be written."""
    with replacing(_with_suffix(path), tried=True):
        pass


def write_arrays(file: str | os.PathLike[str] | IO[bytes], arrays: dict[str, Any]) -> None:
    """Write arrays as `numpy.savez` does, but no Python objects, and a file as `write` does."""
    _refuse_objects(arrays)
    if isinstance(file, (str, os.PathLike)):
        with replacing(_with_suffix(file)) as opened:
            write_arrays(opened, arrays)
        return
    with _Archive(file, "w") as archive:
        for name, array in arrays.items():
            _write_member(archive, name, np.asarray(array))


@contextmanager
def replacing(path: str | os.PathLike[str], *, tried: bool = False) -> Iterator[IO[bytes]]:
    """Open a new file that takes the place of `path` when it is complete and on the disk; a `tried` one is removed.

    An error inside, Ctrl-C or a kill leaves the old file as it was. The new file has the old one's mode. Where `path`
    is a symbolic link, the file that it points to is replaced. Threads and processes may write to one path at once; the
    file is that of the last one. A process that is killed leaves a file `.fastals-*.partial` in the folder, which may
    be deleted.
    """
    target = Path(os.path.realpath(path))
    # A name that nobody can foresee: no other writer has it, and no link can be planted there.
    partial = beside(target)
    try:
        mode = _mode(target)
        # Never open to more readers than the old file was, not for a moment.
        opener = functools.partial(os.open, mode=0o666 if mode is None else mode)
        try:
            try:
                with open(partial, "xb", opener=opener) as file:
                    if mode is not None:
                        with suppress(OSError):  # of a file system without modes
                            partial.chmod(mode)  # what the umask has left out
                    yield file
                    if not tried:
                        file.flush()
                        os.fsync(file.fileno())
                if not tried:
                    partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)
        except BaseException:  # Ctrl-C may have come before the line above
            partial.unlink(missing_ok=True)
            raise
        if not tried:
            flush_folder(target.parent)
    except OSError as error:
        raise retold(
            error,
            f"cannot write {path} ({error.strerror or error}): check that its folder exists, may be written to and "
            "has room, or choose another path; a file that was there is unchanged",
        ) from error


def read(
    path: str | os.PathLike[str], names: Collection[str] | None = None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return header and arrays of a file that `write` wrote, of this or an earlier format.

    What the file says of its parts is checked against its size before memory is taken; every array is checked against
    its checksum. What the arrays mean is the caller's to check. The file of that very name is read where there is one,
    else the one with `.npz`; an array that is not among `names` is refused.
    """
    path = _existing(path)
    with io.FileIO(path, opener=_open_regular) as opened, _Reader(opened) as file:
        with explained(path):
            members = _members(file)
            header = _read_header(file, members)
            version = header.pop("format", None)
            if type(version) is not int or version < 1:
                raise ValueError(f"its header has the format {version!r:.20}")
        if version > FORMAT:
            raise ValueError(f"{path} has format {version}, this fastals reads up to {FORMAT}; install a newer fastals")
        with explained(path):
            sums = {name: member.checksum for name, member in members.items()}
            if version > 1 and header.pop("checksums", None) != sums:
                raise ValueError("its header has the checksums of other arrays")
            unknown = sorted(members.keys() - names) if names is not None else []
            if unknown:
                raise ValueError(f"it has an array {unknown[0]!r:.60}, which is no part of one")
            return header, {name: _read_array(file, member) for name, member in members.items()}


def read_arrays(file: str | os.PathLike[str] | IO[bytes], what: str) -> dict[str, np.ndarray]:
    """Return the arrays of a file that `write_arrays` or `numpy.savez` wrote; messages call it `what`."""
    if isinstance(file, (str, os.PathLike)):
        file = _existing(file)
        with io.FileIO(file, opener=_open_regular) as opened:
            return read_arrays(opened, what)
    reader = _Reader(file)  # type: ignore[arg-type]  # it has what a raw file has
    try:
        with explained(getattr(file, "name", file), what):
            return {name: _read_array(reader, member) for name, member in _members(reader).items()}
    finally:
        reader.detach()  # or it would close the caller's file


class _Member(NamedTuple):
    """Where an array lies in the file, how many bytes it has there, and their CRC-32."""

    start: int
    size: int
    checksum: int


class _Archive(zipfile.ZipFile):
    """A zip file that is not completed after an error, which would hide the error behind others."""

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if kind is not None:
            self.fp = None
        self.close()

    def __del__(self) -> None:
        """Nor is it after an interrupt before the line above."""


class _Reader(io.BufferedReader):
    """A file that is read in small parts: `zipfile` reads as large a directory as the file declares."""

    def read(self, size: int | None = -1) -> bytes:
        wanted = _MAX_DIRECTORY if size is None or size < 0 else size
        return super().read(min(wanted, _MAX_DIRECTORY))


def _with_suffix(path: str | os.PathLike[str]) -> Path:
    file = Path(path)
    if not file.name:
        raise ValueError(f"path must name a file, such as model.npz, got {os.fspath(path)!r}")
    return file if file.suffix == ".npz" else file.with_name(file.name + ".npz")


def _existing(path: str | os.PathLike[str]) -> Path:
    candidates = Path(path), _with_suffix(path)
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    for candidate in candidates:
        if candidate.exists():
            raise ValueError(f"{candidate} is not a fastals model, but a folder, a pipe or a device; name a file")
    raise FileNotFoundError(f"there is no file {' and no file '.join(dict.fromkeys(map(str, candidates)))}")


def _open_regular(name: str, flags: int) -> int:
    """Open a file without waiting for the writer of a pipe that has taken its place."""
    descriptor = os.open(name, flags | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"{name} is not a regular file; name another one")
    return descriptor


def _mode(target: Path) -> int | None:
    """Return the mode of a file, None where there is no file."""
    try:
        found = target.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise FileExistsError("it is a folder, a pipe or a device")
    return stat.S_IMODE(found.st_mode)


def _refuse_objects(arrays: dict[str, Any]) -> None:
    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject:
            raise ValueError(f"{name} holds Python objects, which a file that can run no code cannot hold")


def _write_member(archive: _Archive, name: str, array: np.ndarray) -> int:
    """Write an array as it is, not compressed, and return the CRC-32 of what was written."""
    # Without force_zip64, an array beyond 2 GiB is noticed when it has been written, and refused.
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)
    return archive.getinfo(f"{name}.npy").CRC


@contextmanager
def explained(path: Any, what: str = "fastals model") -> Iterator[None]:
    """Turn whatever a damaged file raises into one sentence."""
    try:
        yield
    except MemoryError as error:
        raise ValueError(f"{path} needs more memory to be read than there is, or is damaged") from error
    except _DAMAGE as error:
        raise ValueError(f"{path} is not a {what}, or is damaged ({error}); save the model again") from error


def _members(file: _Reader) -> dict[str, _Member]:
    """Return where each array lies; all that the directory says is checked against the file."""
    size = file.seek(0, os.SEEK_END)
    try:
        with zipfile.ZipFile(file) as archive:
            listed = sorted(archive.infolist(), key=lambda info: info.header_offset)
    except OSError as error:  # a place before the file's beginning
        raise ValueError("its directory points outside of it") from error
    members: dict[str, _Member] = {}
    end = 0
    for info in listed:
        name = info.filename.removesuffix(".npy")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
            raise ValueError(f"its part {name!r:.60} is compressed or encrypted, which fastals does not write")
        if not end <= info.header_offset <= size - _LOCAL.size:
            raise ValueError(f"its part {name!r:.60} lies outside of it or over another")
        file.seek(info.header_offset)
        signature, name_length, extra_length = _LOCAL.unpack(file.read(_LOCAL.size))
        start = info.header_offset + _LOCAL.size + name_length + extra_length
        end = start + info.file_size
        if signature != b"PK\3\4" or end > size or name in members or name == info.filename:
            raise ValueError(f"its part {name!r:.60} does not lie where its directory says, or is there twice")
        members[name] = _Member(start, info.file_size, info.CRC)
    return members


def _read_header(file: _Reader, members: dict[str, _Member]) -> dict[str, Any]:
    """Take the header out of the members and return what it says."""
    member = members.pop(_HEADER, None)
    if member is None or member.size > _MAX_HEADER:
        raise ValueError(f"it has no header of at most {_MAX_HEADER} bytes")
    text = _read_array(file, member)
    if text.dtype != np.uint8:
        raise ValueError(f"its header is an array of {text.dtype}, not of bytes")
    header = json.loads(text.tobytes().decode(), parse_float=_finite, parse_constant=_finite)
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    return header


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"its header holds the number {text:.20}")
    return number


def _read_array(file: _Reader, member: _Member) -> np.ndarray:
    """Return an array; NumPy's own reader takes what memory a shape asks for, and evaluates its text."""
    file.seek(member.start)
    fixed = file.read(10)  # "\x93NUMPY", the version, the length of the text that describes the array
    text = file.read(min(int.from_bytes(fixed[8:], "little"), _MAX_PREAMBLE))
    found = _PREAMBLE.fullmatch(text)
    if fixed[:8] != b"\x93NUMPY\x01\x00" or found is None:
        raise ValueError("one of its parts is no array of numbers or strings")
    dtype = np.dtype(found[1].decode())
    shape = tuple(map(int, re.findall(rb"[0-9]+", found[3])))
    n_bytes = math.prod(shape) * dtype.itemsize
    if dtype.itemsize == 0 or len(fixed) + len(text) + n_bytes != member.size:
        raise ValueError(f"an array of {dtype} of shape {shape} does not fit its {member.size} bytes")
    array = np.empty(shape, dtype, order="F" if found[2] == b"True" else "C")
    raw = array.reshape(-1, order="A").view(np.uint8)
    checksum = zlib.crc32(fixed + text)
    for begin in range(0, n_bytes, _BLOCK):
        part = raw[begin : begin + _BLOCK].data
        if file.readinto(part) != len(part):
            raise ValueError("it ends within an array")
        checksum = zlib.crc32(part, checksum)
    if checksum != member.checksum:
        raise ValueError("an array has another checksum")
    # NumPy trusts these bytes.
    if dtype.kind == "b" and raw.max(initial=0) > 1:
        raise ValueError("an array of bool has another byte than 0 and 1")
    if dtype.kind == "U" and raw.view(f"{dtype.byteorder}u4").max(initial=0) > sys.maxunicode:
        raise ValueError("a string has a character that there is not")
    return array.astype(dtype.newbyteorder("="), order="A", copy=False)
