"""Downloads from a server of our own: whole and checked, or nothing."""

import hashlib
import http.server
import io
import socket
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastals.data import downloads
from fastals.data.downloads import Archive, data_home, fetch

U_DATA = "1\t10\t5\t100\n2\t20\t3\t200\n"


def zipped(**files: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/"), text)
    return packed.getvalue()


def tarred(name: str, text: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(text.encode())
        archive.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


class Server:
    """Serves bytes by path, and remembers what was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.claimed: dict[str, int | None] = {}  # a Content-Length other than the true one
        self.drip = threading.Event()  # set when the server is to stop sending without end
        self.asked: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                if self.path.startswith("/drip"):
                    self.send_without_end()
                    return
                body = outer.files.get(self.path)
                if body is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                length = outer.claimed.get(self.path, len(body))
                if length is not None:
                    self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(body)

            def send_without_end(self):
                """Send the bytes one by one: of a header, of a body, of a body that has the length of a chunk."""
                start = {"/drip-header": b"HTTP/1.1 200 OK\r\nX: ", "/drip-body": b"HTTP/1.1 200 OK\r\n\r\n"}
                chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;"
                try:
                    self.wfile.write(start.get(self.path, chunked))
                    while not outer.drip.wait(0.01):
                        self.wfile.write(b"a")
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self.drip.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def put(self, path: str, body: bytes, files: dict[str, str]) -> Archive:
        self.files[path] = body
        return Archive(self.url + path, "md5:" + hashlib.md5(body).hexdigest(), files)


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    yield server
    server.close()


@pytest.fixture
def archive(server) -> Archive:
    body = zipped(**{"ml__u.data": U_DATA, "ml__u.item": "10|Film\n"})
    return server.put("/ml.zip", body, {"u.data": "ml/u.data", "u.item": "ml/u.item"})


def test_files_are_downloaded_once(server, archive, tmp_path):
    folder = tmp_path / "cache" / "ml"
    paths = fetch(archive, folder, True, False)
    assert {name: path.read_text() for name, path in paths.items()} == {"u.data": U_DATA, "u.item": "10|Film\n"}
    assert sorted(path.name for path in folder.iterdir()) == ["u.data", "u.item"]
    assert fetch(archive, folder, True, False) == paths
    assert server.asked == ["/ml.zip"]


def test_a_tar_is_unpacked(server, tmp_path):
    archive = server.put("/a.tar.gz", tarred("in/side.tsv", "text"), {"side.tsv": "in/side.tsv"})
    assert fetch(archive, tmp_path, True, False)["side.tsv"].read_text() == "text"


def test_progress_counts_megabytes(server, tmp_path, monkeypatch):
    reports = []

    class Recorder:
        def __init__(self, total, unit):
            reports.append((total, unit))

        def __call__(self, done):
            reports.append(done)

        def close(self):
            reports.append("closed")

    monkeypatch.setattr(downloads, "Progress", Recorder)
    body = zipped(a="x" * (2 * 2**20))
    fetch(server.put("/a.zip", body, {"a": "a"}), tmp_path, True, True)
    assert reports == [(3, "MB"), 0, 1, 2, "closed"]  # stored, not compressed: 2 MB and the archive's own bytes


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda a: a._replace(checksum="md5:" + "0" * 32), ValueError, "has the checksum md5:.* is wanted"),
        (lambda a: a._replace(checksum="sha256:0"), ValueError, "has the checksum sha256:.* is wanted"),
        (lambda a: a._replace(files={"u.data": "ml/other"}), ValueError, "no archive that holds 'ml/other'"),
        (lambda a: a._replace(url=a.url + "x"), OSError, r"cannot download .*zipx \(Not Found\).*put u.data, u.item"),
    ],
)
def test_what_is_not_as_it_should_be_leaves_nothing(archive, tmp_path, spoil, error, message):
    with pytest.raises(error, match=message):
        fetch(spoil(archive), tmp_path, True, False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["/a.zip", "/a.tar.gz"])
def test_what_is_no_archive_is_refused(server, tmp_path, name):
    with pytest.raises(ValueError, match="is no archive that holds 'a'"):
        fetch(server.put(name, b"<html>", {"a": "a"}), tmp_path, True, False)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_connection_leaves_nothing(server, archive, tmp_path):
    server.claimed["/ml.zip"] = 10**6
    with pytest.raises(OSError, match=r"ended after|cannot download"):
        fetch(archive, tmp_path, True, False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["header", "body", "chunk"])
def test_a_drip_ends(server, tmp_path, what):
    archive = Archive(f"{server.url}/drip-{what}", None, {"a": "a"}, seconds=0.3)
    with pytest.raises(OSError, match=r"cannot download .*/drip-.* \(it takes more than 0.3 seconds\).*put a into"):
        fetch(archive, tmp_path, True, False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("claimed", [100_001, None])  # by a Content-Length, and by what comes
def test_an_endless_body_ends(server, tmp_path, claimed):
    archive = server.put("/large.zip", bytes(100_001), {"a": "a"})
    server.claimed["/large.zip"] = claimed
    with pytest.raises(
        ValueError, match=r"/large.zip has more than the 100000 bytes that are allowed: .*if you trust it.*put a into"
    ):
        fetch(archive._replace(size=100_000), tmp_path, True, False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="is no archive"):
        fetch(archive._replace(size=100_001), tmp_path, True, False)


def test_an_archive_without_a_checksum_is_a_small_one(server, tmp_path, monkeypatch):
    archive = server.put("/a.zip", zipped(a="x" * 1000), {"a": "a"})
    monkeypatch.setattr(downloads, "_UNCHECKED", 1000)
    with pytest.raises(ValueError, match=r"/a.zip has more than the 1000 bytes that are allowed"):
        fetch(archive._replace(checksum=None), tmp_path, True, False)
    assert fetch(archive, tmp_path, True, False)["a"].read_text() == "x" * 1000


def test_an_archive_of_unknown_length_is_whole(server, tmp_path):
    archive = server.put("/a.zip", zipped(a="x" * 3_000_000), {"a": "a"})
    server.claimed["/a.zip"] = None
    assert fetch(archive, tmp_path, True, False)["a"].stat().st_size == 3_000_000


def bomb(kind: str, declared: int | None = None) -> bytes:
    """An archive of some kB that holds 10 MB of zeros under the name a."""
    packed = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a", bytes(10**7))
        content = packed.getvalue()
        if declared is not None:
            content = content.replace((10**7).to_bytes(4, "little"), declared.to_bytes(4, "little"))
        return content
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo("a")
        entry.size = 10**7
        tar.addfile(entry, io.BytesIO(bytes(10**7)))
        tar.addfile(tarfile.TarInfo("b"))
    return packed.getvalue()


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_archives_that_unpack_to_more_than_allowed(server, tmp_path, kind):
    archive = server.put(f"/a.{kind}", bomb(kind), {"a": "a"})
    with pytest.raises(
        ValueError, match=r"is no archive that holds 'a' \(it has more than 10000 members or 9999999 bytes.*put a into"
    ):
        fetch(archive._replace(unpacked=10**7 - 1), tmp_path, True, False)
    assert list(tmp_path.iterdir()) == []
    assert fetch(archive._replace(unpacked=2 * 10**7), tmp_path, True, False)["a"].stat().st_size == 10**7


def test_a_member_that_is_larger_than_it_says(server, tmp_path):
    archive = server.put("/a.zip", bomb("zip", declared=1000), {"a": "a"})
    with pytest.raises(ValueError, match=r"is no archive that holds 'a' \(Bad CRC-32"):
        fetch(archive, tmp_path, True, False)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_larger_than_a_name(server, tmp_path):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", format=tarfile.GNU_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("a" * 10**7))
    archive = server.put("/a.tar.gz", packed.getvalue(), {"a": "a"})
    with pytest.raises(ValueError, match=r"\(a name in it is too long\)"):
        fetch(archive, tmp_path, True, False)


def test_archives_of_too_many_members(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "_MEMBERS", 2)
    with pytest.raises(ValueError, match=r"it has more than 2 members"):
        fetch(server.put("/a.zip", zipped(a="", b="", c=""), {"a": "a"}), tmp_path, True, False)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name in "abc":
            tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(ValueError, match=r"it has more than 2 members"):
        fetch(server.put("/a.tar.gz", packed.getvalue(), {"a": "a"}), tmp_path, True, False)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_damaged_archives_are_refused_or_equal(server, tmp_path, kind):
    good = zipped(a=U_DATA, b=U_DATA) if kind == "zip" else tarred("a", U_DATA)
    for turn in range(0, 8 * len(good), 7):
        content = bytearray(good)
        content[turn // 8] ^= 1 << turn % 8
        archive = server.put(f"/a.{kind}", bytes(content), {"a": "a"})
        try:
            assert fetch(archive, tmp_path, True, False)["a"].read_text() == U_DATA
        except ValueError as error:
            assert str(error).startswith(f"{archive.url} is no archive that holds 'a' (")
        else:
            (tmp_path / "a").unlink()


def test_members_are_written_where_they_are_wanted(server, tmp_path):
    archive = server.put("/a.zip", zipped(**{"..__..__evil": "text", "b": "other"}), {"a": "../../evil", "b": "b"})
    fetch(archive, tmp_path / "deep" / "folder", True, False)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "deep", "folder"]
    link = tarfile.TarInfo("a")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.addfile(link)
    with pytest.raises(ValueError, match=r"\(it lacks a\)"):
        fetch(server.put("/a.tar.gz", packed.getvalue(), {"a": "a"}), tmp_path / "links", True, False)


def test_no_room_for_the_files(archive, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(downloads.os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot unpack .*/ml.zip \(.*No space left on device\): check the room"):
        fetch(archive, tmp_path, True, False)
    assert list(tmp_path.iterdir()) == []


def test_no_server(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(
        OSError, match=rf"cannot download http://127.0.0.1:{port}/a.zip .*check the network.*put a into"
    ):
        fetch(Archive(f"http://127.0.0.1:{port}/a.zip", None, {"a": "a"}), tmp_path, True, False)


def test_without_download_nothing_is_asked_for(server, archive, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"u.data does not exist and download is False"):
        fetch(archive, tmp_path / "new", False, False)
    assert server.asked == []
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("platform", "environment", "wanted"),
    [
        ("linux", {"FASTALS_DATA": "/data"}, "/data"),
        ("linux", {"XDG_CACHE_HOME": "/cache"}, "/cache/fastals"),
        ("linux", {}, "/home/me/.cache/fastals"),
        ("darwin", {}, "/home/me/Library/Caches/fastals"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/fastals"),
    ],
)
def test_data_home(monkeypatch, platform, environment, wanted):
    for name in ("FASTALS_DATA", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert data_home() == Path(wanted)
    assert data_home("/given") == Path("/given")
