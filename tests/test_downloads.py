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

import numpy as np
import pytest

from fastals import datasets
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
        self.claimed: dict[str, int] = {}  # a Content-Length other than the true one
        self.asked: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                body = outer.files.get(self.path)
                if body is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(outer.claimed.get(self.path, len(body))))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
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


# The data sets.


def test_fetch_movielens(server, archive, tmp_path, monkeypatch):
    monkeypatch.setitem(datasets._MOVIELENS, "100k", archive)
    monkeypatch.setenv("FASTALS_DATA", str(tmp_path))
    ratings = datasets.fetch_movielens()
    np.testing.assert_array_equal(ratings.values, [5, 3])
    np.testing.assert_array_equal(ratings.item_ids, [10, 20])
    assert datasets.read_titles(tmp_path / "ml-100k" / "u.item") == {10: "Film"}
    (tmp_path / "ml-100k" / "u.item").unlink()
    assert len(datasets.fetch_movielens("100k", download=False)) == 2  # the ratings are enough
    assert server.asked == ["/ml.zip"]


def test_fetch_lastfm(server, tmp_path, monkeypatch):
    plays = "u1\tm1\tSigur Rós\t7\nu1\t\tBj\x85rk\t3\nu2\tm1\tSigur Rós\t1\nu2\tm2\t\t9\n"
    small = zipped(**{"user_artists.dat": "userID\tartistID\tweight\n2\t51\t13\n", "artists.dat": "id\n"})
    monkeypatch.setitem(
        datasets._LASTFM,
        "2k",
        server.put("/2k.zip", small, {name: name for name in ("user_artists.dat", "artists.dat")}),
    )
    large = server.put("/360k.tar.gz", tarred("d/plays", plays), {"plays": "d/plays"})
    monkeypatch.setitem(datasets._LASTFM, "360k", large)
    assert datasets.fetch_lastfm("2k", folder=tmp_path).values.tolist() == [13]
    ratings = datasets.fetch_lastfm("360k", folder=tmp_path)
    np.testing.assert_array_equal(ratings.matrix().toarray(), [[7, 3], [1, 0]])
    assert ratings.item_ids.tolist() == ["Sigur Rós", "Bj\x85rk"]


def test_plays_that_are_none_are_named(server, tmp_path, monkeypatch):
    for text, message in (("u\tm\ta\t1\nu\tm\ta\n", "line 2: expected 'user mbid artist plays'"), ("", "is empty")):
        archive = server.put("/b.tar.gz", tarred("plays", text), {f"plays{len(text)}": "plays"})
        monkeypatch.setitem(datasets._LASTFM, "360k", archive)
        with pytest.raises(ValueError, match=message):
            datasets.fetch_lastfm("360k", folder=tmp_path)


@pytest.mark.parametrize("fetcher", [datasets.fetch_movielens, datasets.fetch_lastfm])
def test_unknown_variants_are_refused_with_the_known_ones(fetcher):
    with pytest.raises(ValueError, match=r"variant must be one of '(100k|2k)', .*, got '3m'|got '3m'"):
        fetcher("3m")


def test_addresses_and_sums_are_complete():
    archives = [*datasets._MOVIELENS.items(), *datasets._LASTFM.items()]
    for variant, archive in archives:
        algorithm, _, digest = (archive.checksum or ":").partition(":")
        assert len(digest) == {"md5": 32, "sha256": 64, "": 0}[algorithm]
        assert bool(digest) == (variant != "latest-small")
        assert archive.url.split(":")[0] == "https" or digest  # without encryption the sum is the only guard
