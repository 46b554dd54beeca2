"""Files from the net into a folder of the user's, whole and checked, or not at all."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from contextlib import closing
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..progress import Progress

__all__ = ["Archive", "data_home", "fetch"]

_BLOCK = 1 << 20
_TIMEOUT = 60.0  # seconds without a byte


class Archive(NamedTuple):
    """Where some data lie, and which of its files are wanted.

    Attributes
    ----------
    url : str
        A .zip or a .tar.gz.
    checksum : str or None
        Of the archive, as "md5:..." or "sha256:..."; None where its content changes: then only the sums within the
        archive are checked.
    files : dict of str to str
        The archive's member for each file to be kept.
    """

    url: str
    checksum: str | None
    files: dict[str, str]


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

    Parameters
    ----------
    archive : Archive
    folder : Path
        Made where it is missing.
    download : bool
        Whether to download what is missing, or to raise.
    progress : bool
        Show a bar of megabytes.

    Raises
    ------
    FileNotFoundError
        A file is missing and `download` is False.
    OSError
        The archive cannot be downloaded.
    ValueError
        What came has another checksum, or lacks a file.
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
    # Within the folder, so that a rename puts each file in place whole, on the same file system.
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as work:
        packed = Path(work, "archive")
        _download(archive, packed, folder, progress)
        for name, path in paths.items():
            _unpack(archive, packed, archive.files[name], Path(work, "member"))
            Path(work, "member").replace(path)
    return paths


def _download(archive: Archive, target: Path, folder: Path, progress: bool) -> None:
    algorithm, _, wanted = (archive.checksum or "sha256:").partition(":")
    digest, received = hashlib.new(algorithm, usedforsecurity=False), 0
    try:
        with closing(urllib.request.urlopen(archive.url, timeout=_TIMEOUT)) as response, target.open("wb") as out:
            length = int(response.headers.get("Content-Length") or 0)
            report = Progress(-(-length // _BLOCK), unit="MB") if progress else None
            try:
                while block := _read_block(response):
                    digest.update(block)
                    out.write(block)
                    if report is not None:
                        report(received // _BLOCK)
                    received += len(block)
            finally:
                if report is not None:
                    report.close()
    except (
        OSError,
        http.client.HTTPException,
    ) as error:  # no network, no such host, no such file, a connection that breaks
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise OSError(
            f"cannot download {archive.url} ({reason}): check the network, or unpack the archive yourself and put "
            f"{', '.join(archive.files)} into {folder}"
        ) from error
    if length and received != length:
        raise OSError(f"download of {archive.url} ended after {received} of {length} bytes: try again")
    if wanted and digest.hexdigest() != wanted:
        raise ValueError(
            f"{archive.url} has the checksum {algorithm}:{digest.hexdigest()}, {archive.checksum} is wanted: the "
            "download is damaged or the file has changed; try again, and do not use it if that does not help"
        )


def _read_block(response: Any) -> bytes:
    block: bytes = response.read(_BLOCK)
    return block


def _unpack(archive: Archive, packed: Path, member: str, target: Path) -> None:
    """Copy one member out: nothing that an archive says decides where a file is written."""
    try:
        if archive.url.endswith(".zip"):
            with zipfile.ZipFile(packed) as opened, opened.open(member) as source:
                _copy(source, target)
        else:
            with tarfile.open(packed) as tar:
                extracted = tar.extractfile(member)
                if extracted is None:
                    raise KeyError(member)
                with extracted:
                    _copy(extracted, target)
    except (KeyError, zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise ValueError(f"{archive.url} is no archive that holds {member!r} ({error}): it may have changed") from error


def _copy(source: IO[bytes], target: Path) -> None:
    with target.open("wb") as out:
        shutil.copyfileobj(source, out, _BLOCK)
