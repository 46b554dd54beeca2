"""Files from the net into a folder of the user's: whole, checked and of bounded size, or not at all."""

from __future__ import annotations

import errno
import gzip
import hashlib
import http.client
import os
import struct
import sys
import tarfile
import tempfile
import threading
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import closing
from pathlib import Path
from typing import IO, NamedTuple

from ..progress import Progress

_BLOCK = 1 << 20
_TIMEOUT = 60.0  # seconds without a byte
_MEMBERS = 10_000  # of an archive
_UNCHECKED = 1 << 24  # bytes of an archive without a checksum
# What damage raises: OSError of gzip among others, RuntimeError of an encrypted member or an unknown method.
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    OSError,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    OverflowError,
    RuntimeError,
)


class Archive(NamedTuple):
    """Where some data lie, which of its files are wanted, and how much it may take to have them.

    `url` is that of a .zip or a .tar.gz; `files` has its member for each file to be kept. `checksum` is "md5:..." or
    "sha256:...", or None where the content changes: then only the sums within the archive are checked, and it may have
    at most 16 MiB.
    """

    url: str
    checksum: str | None
    files: dict[str, str]
    size: int = 1 << 30  # bytes of the archive
    unpacked: int = 1 << 32  # bytes of its members together
    seconds: float = 3600.0  # of the whole download


def data_home(folder: str | Path | None = None) -> Path:
    """Return the folder that data sets are kept in.

    Parameters
    ----------
    folder : str or Path, optional
        This one. Without it, what the environment variable `FASTALS_DATA` says, or `fastals` in the user's cache:
        `$XDG_CACHE_HOME` or `~/.cache`, `~/Library/Caches` on macOS, `%LOCALAPPDATA%` on Windows.

    Returns
    -------
    Path
        It need not exist.

    Examples
    --------
    >>> from fastals.data import data_home
    >>> data_home("data").name
    'data'
    """
    chosen = folder or os.environ.get("FASTALS_DATA")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        cache = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        cache = "~/Library/Caches"
    else:
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "fastals"


def fetch(archive: Archive, folder: Path, download: bool, progress: bool) -> dict[str, Path]:
    """Return the paths of an archive's files in `folder`, downloading what is not there.

    Each failure raises an error that says what to put where instead: FileNotFoundError without `download`, OSError of
    the net or the disk, ValueError where what came is not what is wanted.
    """
    paths = {name: folder / name for name in archive.files}
    missing = [path for path in paths.values() if not path.is_file()]
    if not missing:
        return paths
    if not download:
        raise FileNotFoundError(
            f"{missing[0]} does not exist and download is False: allow the download, or unpack {archive.url} there"
        )
    folder.mkdir(parents=True, exist_ok=True)
    by_hand = f"unpack the archive yourself and put {', '.join(archive.files)} into {folder}"
    # Within the folder, so that a rename puts each file in place whole, on the same file system.
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder, ignore_cleanup_errors=True) as work:
        packed = Path(work, "archive")
        _download(archive, packed, by_hand, progress)
        unpacked = _unpack(archive, packed, Path(work), by_hand)
        for name, path in paths.items():
            unpacked[archive.files[name]].replace(path)
    return paths


def _download(archive: Archive, target: Path, by_hand: str, progress: bool) -> None:
    """Download in a thread of its own: nothing else ends a server that sends a byte a minute, in its headers too."""
    outcome: Future[str] = Future()
    stop = threading.Event()

    def run() -> None:
        try:
            outcome.set_result(_receive(archive, target, stop, progress))
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        if wait([outcome], archive.seconds).not_done:
            raise TimeoutError(f"it takes more than {archive.seconds:g} seconds")
        checksum = outcome.result()
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        raise OSError(
            f"cannot download {archive.url} ({reason}): check the network and the room on the disk, or {by_hand}"
        ) from error
    except ValueError as error:
        raise ValueError(f"{archive.url} {error}: it may have changed; if you trust it, {by_hand}") from error
    finally:
        stop.set()
    if archive.checksum not in (None, checksum):
        raise ValueError(
            f"{archive.url} has the checksum {checksum}, {archive.checksum} is wanted: the download is damaged or the "
            "file has changed; try again, and do not use it if that does not help"
        )


def _receive(archive: Archive, target: Path, stop: threading.Event, progress: bool) -> str:
    """Write what the address sends to a file until told to stop, and return its checksum."""
    algorithm = (archive.checksum or "sha256").partition(":")[0]
    limit = archive.size if archive.checksum else min(archive.size, _UNCHECKED)
    digest, received = hashlib.new(algorithm, usedforsecurity=False), 0
    with closing(urllib.request.urlopen(archive.url, timeout=_TIMEOUT)) as response, target.open("wb") as out:
        length: int | None = response.length
        report = Progress(-(-(length or 0) // _BLOCK), unit="MB") if progress else None
        shown = -1
        try:
            # read1 returns what has come; read waits for a whole block.
            while max(received, length or 0) <= limit and not stop.is_set() and (block := response.read1(_BLOCK)):
                digest.update(block)
                out.write(block)
                received += len(block)
                if report is not None and received // _BLOCK > shown:
                    shown = received // _BLOCK
                    report(shown)
        finally:
            if report is not None:
                report.close()
    if max(received, length or 0) > limit:
        raise ValueError(f"has more than the {limit} bytes that are allowed")
    if length is not None and received != length:
        raise OSError(f"it ended after {received} of {length} bytes")
    return f"{algorithm}:{digest.hexdigest()}"


def _unpack(archive: Archive, packed: Path, folder: Path, by_hand: str) -> dict[str, Path]:
    """Copy the wanted members out: nothing that an archive says decides where a file is written."""
    unpacked: dict[str, Path] = {}
    try:
        for member, source in (_zip_members if archive.url.endswith(".zip") else _tar_members)(archive, packed):
            unpacked[member] = folder / f"member{len(unpacked)}"
            with source, unpacked[member].open("wb") as out:
                while block := source.read(_BLOCK):
                    out.write(block)
                out.flush()
                os.fsync(out.fileno())
        missing = [member for member in archive.files.values() if member not in unpacked]
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}")
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # not of a place that is none
            raise OSError(f"cannot unpack {archive.url} ({error}): check the room on the disk, or {by_hand}") from error
        raise ValueError(
            f"{archive.url} is no archive that holds {', '.join(map(repr, archive.files.values()))} ({error}): "
            f"it may have changed; if you trust it, {by_hand}"
        ) from error
    return unpacked


def _zip_members(archive: Archive, packed: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(packed) as opened:
        members = opened.infolist()
        # zipfile itself ends a member at the size that it declares.
        _check_size(archive, len(members), sum(member.file_size for member in members))
        for member in members:
            if member.filename in archive.files.values():
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError("it is compressed by another method than deflate")
                yield member.filename, opened.open(member)


def _tar_members(archive: Archive, packed: Path) -> Iterator[tuple[str, IO[bytes]]]:
    total = 0
    with _Gzip(packed) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
        for number, member in enumerate(tar, 1):
            total += member.size
            _check_size(archive, number, max(total, stream.tell()))
            source = tar.extractfile(member) if member.isreg() else None
            if source is not None and member.name in archive.files.values():
                yield member.name, source
        # The tar ends before the packed file does, at whose end its checksum is.
        while stream.read(_BLOCK):
            _check_size(archive, 0, stream.tell())


def _check_size(archive: Archive, members: int, size: int) -> None:
    if members > _MEMBERS or size > archive.unpacked:
        raise ValueError(f"it has more than {_MEMBERS} members or {archive.unpacked} bytes, which are allowed")


class _Gzip(gzip.GzipFile):
    """A packed tar that is read in small parts: `tarfile` reads as long a name as the archive declares."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _BLOCK:
            raise ValueError("a name in it is too long")
        return super().read(size)
