"""One file a model: what goes in comes out, and what is no such file is refused."""

import errno
import io
import itertools
import json
import os
import pickle
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

import fastals
from fastals import places, storage
from tests.helpers import interrupted

ROOT = Path(__file__).parent.parent
MODELS = Path(__file__).parent / "models"

ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([-0.0, np.inf, np.pi])}
HEADER = {"model": "Some", "params": {"tol": 0.1, "list": [1, 2], "none": None}}


def test_what_is_written_is_read(tmp_path):
    written = storage.write(tmp_path / "model", HEADER, ARRAYS)
    assert written == tmp_path / "model.npz"
    header, arrays = storage.read(written)
    assert header == HEADER
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
        assert arrays[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("name", ["model", "model.npz", "model.v1", "model.npz.old"])
def test_one_name_writes_and_reads(tmp_path, name):
    written = storage.write(str(tmp_path / name), HEADER, ARRAYS)
    assert written.suffix == ".npz"
    assert storage.read(str(tmp_path / name))[0] == HEADER
    assert os.listdir(tmp_path) == [written.name]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    storage.write(tmp_path / "model", HEADER, ARRAYS)
    with pytest.raises(TypeError, match="JSON"):
        storage.write(tmp_path / "model", {"no JSON": object()}, ARRAYS)
    with pytest.raises(ValueError, match=r"^a holds Python objects"):
        storage.write(tmp_path / "model", HEADER, {"a": np.array([object()])})
    assert os.listdir(tmp_path) == ["model.npz"]
    assert storage.read(tmp_path / "model")[0] == HEADER


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        storage.read(tmp_path / "none")


class Bomb:
    """Runs when unpickled."""

    def __reduce__(self):
        return (os.mkdir, ("exploded",))


def test_no_file_runs_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Bomb()))
    header = np.frombuffer(json.dumps({"format": 1}).encode(), np.uint8)
    np.savez("object.npz", header=header, a=np.array([Bomb()], dtype=object))
    for name in ("pickle", "object"):
        with pytest.raises(
            ValueError, match=rf"^{name}\.npz is not a fastals model, or is damaged \(.*\); save the model"
        ):
            storage.read(name)
    assert not (tmp_path / "exploded").exists()


def damaged(path):
    """Every way to damage a file: (name, bytes)."""
    good = path.read_bytes()
    yield "empty", b""
    yield "text", b"user,item\n1,2\n"
    yield "cut", good[: len(good) // 2]
    place = good.index(ARRAYS["b"].tobytes())
    yield "flipped", good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]


def test_damaged_files(tmp_path):
    path = storage.write(tmp_path / "good", HEADER, ARRAYS)
    for name, content in damaged(path):
        (tmp_path / f"{name}.npz").write_bytes(content)
        with pytest.raises(
            ValueError, match=rf"{name}\.npz is not a fastals model, or is damaged \(.*\); save the model again$"
        ):
            storage.read(tmp_path / name)


@pytest.mark.parametrize(
    "arrays",
    [
        {"a": np.ones(2)},
        {"header": np.frombuffer(b"not JSON", np.uint8)},
        {"header": np.frombuffer(b"{}", np.uint8)},
        {"header": np.frombuffer(b'{"format": "new"}', np.uint8)},
        {"header": np.frombuffer(b"[1]", np.uint8)},
    ],
)
def test_other_npz_files(tmp_path, arrays):
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(ValueError, match=r"other\.npz is not a fastals model, or is damaged"):
        storage.read(tmp_path / "other.npz")


def test_a_newer_format(tmp_path):
    np.savez(tmp_path / "new.npz", header=np.frombuffer(b'{"format": 99}', np.uint8))
    with pytest.raises(
        ValueError, match=r"new\.npz has format 99, this fastals reads up to 3; install a newer fastals$"
    ):
        storage.read(tmp_path / "new.npz")


def test_an_array_that_is_no_archive(tmp_path):
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(ValueError, match=r"array\.npz is not a fastals model"):
        storage.read(tmp_path / "array.npz")


# What is written.

KINDS = {
    "bool": np.array([True, False]),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "every other": np.arange(10, dtype=np.int32)[::2],
    "other byte order": np.arange(5, dtype=">f4"),
    "strings": np.array(["", "\0a", "\U0010ffff"]),
    "strings of another byte order": np.array(["a", "bc"], dtype=">U2"),
    "unsigned": np.array([2**64 - 1], np.uint64),
    "half": np.array([0.5], np.float16),
    "number": np.array(3.5),
    "no rows": np.empty((0, 3), np.float32),
    "more than one block": np.arange(300_000, dtype=np.float64),
}


def test_every_kind_of_array_comes_back(tmp_path):
    path = storage.write(tmp_path / "model", HEADER, KINDS)
    _, arrays = storage.read(path, KINDS)
    with np.load(path, allow_pickle=False) as same:
        for name, array in KINDS.items():
            for read in (arrays[name], same[name]):
                assert read.shape == array.shape
                assert read.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
                np.testing.assert_array_equal(read, array)
            assert arrays[name].dtype.isnative
            assert arrays[name].flags.writeable


def test_only_stored_members_with_their_checksums_are_written(tmp_path):
    path = storage.write(tmp_path / "model", HEADER, ARRAYS)
    with zipfile.ZipFile(path) as file:
        assert {info.compress_type for info in file.infolist()} == {zipfile.ZIP_STORED}
        header = json.loads(np.load(path)["header"].tobytes())
        assert header["format"] == 2
        assert header["checksums"] == {name: file.getinfo(f"{name}.npy").CRC for name in ARRAYS}


@pytest.mark.parametrize(
    ("header", "array", "error", "message"),
    [
        ({"tol": float("nan")}, 1.0, ValueError, "JSON compliant"),
        ({}, 1j, ValueError, "^a is an array of complex128, which a fastals file cannot hold$"),
        ({}, np.datetime64(1, "s"), ValueError, "^a is an array of datetime64"),
    ],
)
def test_what_could_not_be_read_is_not_written(tmp_path, header, array, error, message):
    with pytest.raises(error, match=message):
        storage.write(tmp_path / "model", header, {"a": np.asarray(array)})
    assert os.listdir(tmp_path) == []


def test_a_file_of_the_name_as_it_is_comes_first(tmp_path):
    for turn, name in enumerate(("model.npz", "other.npz")):
        storage.write(tmp_path / name, {"turn": turn}, ARRAYS)
    (tmp_path / "other.npz").rename(tmp_path / "model")
    assert storage.read(tmp_path / "model")[0] == {"turn": 1}
    assert storage.read(tmp_path / "model.npz")[0] == {"turn": 0}
    (tmp_path / "model").unlink()
    (tmp_path / "model").mkdir()
    assert storage.read(tmp_path / "model")[0] == {"turn": 0}


# How it is written.

posix = pytest.mark.skipif(os.name != "posix", reason="modes, links and signals of POSIX")


@posix
def test_the_mode_of_the_old_file_is_kept_and_a_new_one_has_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        path = storage.write(tmp_path / "model", HEADER, ARRAYS)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        for mode in (0o600, 0o666, 0o444):
            path.chmod(mode)
            storage.write(path, HEADER, ARRAYS)
            assert stat.S_IMODE(path.stat().st_mode) == mode
    finally:
        os.umask(before)


@posix
@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_its_target_is_replaced(tmp_path, there):
    (tmp_path / "far").mkdir()
    if there:
        storage.write(tmp_path / "far" / "target.bin.npz", {}, {})
    (tmp_path / "model.npz").symlink_to("far/target.bin.npz")
    assert storage.write(tmp_path / "model", HEADER, ARRAYS) == tmp_path / "model.npz"
    assert os.readlink(tmp_path / "model.npz") == "far/target.bin.npz"
    assert storage.read(tmp_path / "far" / "target.bin.npz")[0] == HEADER
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["far", "model.npz", "target.bin.npz"]


@posix
def test_a_link_in_the_place_of_the_unfinished_file_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(places.secrets, "token_hex", lambda _: "known")
    (tmp_path / "victim").write_text("mine")
    (tmp_path / ".fastals-known.partial").symlink_to("victim")
    with pytest.raises(FileExistsError, match=r"^cannot write .*model\.npz \(File exists\)"):
        storage.write(tmp_path / "model", HEADER, ARRAYS)
    assert (tmp_path / "victim").read_text() == "mine"
    assert not (tmp_path / "model.npz").exists()


def test_unfinished_files_have_names_of_their_own(tmp_path):
    names = []
    for _ in range(2):
        with storage.replacing(tmp_path / "file") as file:
            names.append(file.name)
    assert names[0] != names[1]
    assert {Path(name).parent for name in names} == {tmp_path}


def test_the_file_is_on_the_disk_before_it_has_its_name_and_then_the_folder(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, Path.replace

    def flush(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else os.fstat(descriptor).st_size)
        fsync(descriptor)

    def move(path, target):
        calls.append(target.name)
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(Path, "replace", move)
    path = storage.write(tmp_path / "model", HEADER, ARRAYS)
    assert calls[:2] == [path.stat().st_size, "model.npz"]
    assert calls[2:] == ["folder"] or os.name != "posix"


class Interrupted(BaseException):
    """Comes like Ctrl-C."""


@pytest.mark.parametrize("error", [Interrupted(), MemoryError(), OSError(errno.ENOSPC, "No space left on device")])
@pytest.mark.parametrize("place", ["write_array", "fsync", "replace"])
def test_an_error_at_any_step_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, error, place):
    path = storage.write(tmp_path / "model", {"old": 1}, ARRAYS)
    content = path.read_bytes()

    def fail(*_, **__):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr({"write_array": np.lib.format, "fsync": os, "replace": Path}[place], place, fail)
        with pytest.raises(type(error)) as caught:
            storage.write(path, HEADER, ARRAYS)
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["model.npz"]
    if isinstance(error, OSError):
        assert caught.value.errno == errno.ENOSPC
        assert str(caught.value) == (
            f"cannot write {path} (No space left on device): check that its folder exists, may be written to and has "
            "room, or choose another path; a file that was there is unchanged"
        )


FULL = """
import resource, sys
import numpy as np
from fastals import places, storage
storage.write(sys.argv[1], {"old": 1}, {"a": np.zeros(10)})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    storage.write(sys.argv[1], {"new": 1}, {"a": np.zeros(100_000)})
except OSError as error:
    print(error)
"""


def run(*arguments: str) -> str:
    """Return what a Python process of its own prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@posix
def test_a_full_disk(tmp_path):
    path = tmp_path / "model.npz"
    assert run("-c", FULL, str(path)).startswith(f"cannot write {path} (File too large): check that its folder exists")
    assert storage.read(path)[0] == {"old": 1}
    assert os.listdir(tmp_path) == ["model.npz"]


def test_a_path_that_no_file_can_be_at(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.npz").mkdir()
    for path, error in (
        ("none/model", FileNotFoundError),
        ("file/model", NotADirectoryError),
        ("folder", FileExistsError),
    ):
        with pytest.raises(error, match=rf"^cannot write .*{path}\.npz \(.*\): check that its folder exists"):
            storage.write(tmp_path / path, HEADER, ARRAYS)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.npz"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match=r"^cannot write .*model\.npz \(Permission denied\)"):
        storage.write(tmp_path / "model", HEADER, ARRAYS)


@posix
def test_a_device_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "model.npz").symlink_to("pipe")
    with pytest.raises(FileExistsError, match="it is a folder, a pipe or a device"):
        storage.write(tmp_path / "model.npz", HEADER, ARRAYS)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


SAVER = """
import sys
import numpy as np
from fastals import places, storage
for turn in range(int(sys.argv[2])):
    storage.write(sys.argv[1], {"turn": turn}, {"a": np.full(20_000, float(turn))})
"""


def test_threads_and_processes_write_to_one_path(tmp_path):
    path = storage.write(tmp_path / "model", {"turn": 0}, {"a": np.zeros(20_000)})
    failures, done = [], threading.Event()

    def write():
        try:
            for turn in range(40):
                storage.write(path, {"turn": turn}, {"a": np.full(20_000, float(turn))})
        except BaseException as error:
            failures.append(error)

    def read():
        try:
            while not done.is_set():
                header, arrays = storage.read(path)
                assert (arrays["a"] == header["turn"]).all()
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=write) for _ in range(3)]
    writers.append(threading.Thread(target=lambda: failures.append(run("-c", SAVER, str(path), "100"))))
    reader = threading.Thread(target=read)
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert failures == [""]  # what the process has printed
    assert os.listdir(tmp_path) == ["model.npz"]


# Python tells of what is raised between the opening of a file and the `with` that closes it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 may raise between a `with` block and its end")
def test_ctrl_c_at_any_line_of_a_write_leaves_one_whole_file_alone(tmp_path):
    def ours(frame):
        return frame.f_code.co_filename == storage.__file__

    for stop in itertools.count(1):
        path = storage.write(tmp_path / "model", HEADER | {"turn": 0}, ARRAYS)
        came = interrupted(lambda: storage.write(tmp_path / "model", HEADER | {"turn": 1}, ARRAYS), ours, stop)
        assert os.listdir(tmp_path) == ["model.npz"]
        assert storage.read(path)[0]["turn"] in (0, 1)
        if not came:
            break
    assert stop > 50


# What is read.


@pytest.mark.parametrize(
    ("name", "predictions"),
    [  # printed by the versions that wrote the files
        ("format_1_without_objective", [1.1044909954071045, 1.1543598175048828, 2.162975549697876, 0.925623893737793]),
        ("format_1", [1.1044909954071045, 1.1543598175048828, 2.162975311279297, 0.9256237745285034]),
    ],
)
def test_models_of_earlier_formats_are_read(name, predictions):
    header, arrays = storage.read(MODELS / name)
    assert header["params"]["factors"] == 2
    assert ("objective" in header) == (name == "format_1")
    assert "format" not in header
    assert arrays["item_factors_"].shape == (5, 2)
    model = fastals.load(MODELS / f"{name}.npz")
    assert isinstance(model, fastals.ExplicitALS)
    np.testing.assert_allclose(model.predict([0, 1, 2, 3], [0, 1, 2, 3]), predictions, rtol=1e-6)
    assert model.recommend([0, 3], n=2)[0].tolist() == [[2, 3], [0, 1]]


def test_an_array_of_another_name_is_refused(tmp_path):
    path = storage.write(tmp_path / "model", HEADER, ARRAYS)
    assert storage.read(path, {"a", "b", "c"})[1].keys() == ARRAYS.keys()
    with pytest.raises(ValueError, match=r"model\.npz is not a fastals model, or is damaged \(it has an array 'b'"):
        storage.read(path, {"a"})


@posix
def test_what_is_no_file_is_refused_at_once(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"{short}/socket")
        for path in (tmp_path / "pipe", tmp_path / "folder", Path(short, "socket"), Path("/dev/zero")):
            with pytest.raises(ValueError, match=rf"^{path} is not a fastals model, but a folder, a pipe or a device"):
                storage.read(path)
    monkeypatch.setattr(Path, "is_file", lambda _: True)  # it was one a moment ago
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ValueError, match=rf"^{path} is not a regular file"):
            storage.read(path)


def test_no_file_takes_more_memory_than_its_size(tmp_path):
    header = np.frombuffer(b'{"format": 1}', np.uint8)
    np.savez_compressed(tmp_path / "compressed.npz", header=header, a=np.zeros(10**7))
    shape = b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000,), }\n"
    with zipfile.ZipFile(tmp_path / "shape.npz", "w") as file:
        with file.open("header.npy", "w") as member:
            np.save(member, header)
        file.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(shape).to_bytes(2, "little") + shape)
    with zipfile.ZipFile(tmp_path / "members.npz", "w") as file:
        for number in range(20_000):
            file.writestr(str(number), b"")
    nested = np.frombuffer(b'{"format": 1, "a": ' + b"[" * 500_000, np.uint8)
    np.savez(tmp_path / "nested.npz", header=nested)
    for name, message in (
        ("compressed", "its part 'header' is compressed"),
        ("shape", r"an array of float64 of shape \(10000000,\) does not fit its 75 bytes"),
        ("members", "central directory"),
        ("nested", "recursion"),
    ):
        tracemalloc.start()
        with pytest.raises(ValueError, match=rf"{name}\.npz is not a fastals model, or is damaged \(.*{message}"):
            storage.read(tmp_path / name)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 6_000_000


def test_write_arrays_replaces_like_write(tmp_path):
    storage.write_arrays(tmp_path / "model", {"a": 1, "b": "text"})
    with pytest.raises(ValueError, match=r"^a holds Python objects"):
        storage.write_arrays(tmp_path / "model", {"a": None})
    with np.load(tmp_path / "model.npz", allow_pickle=False) as content:
        assert (content["a"], content["b"]) == (1, "text")
    assert os.listdir(tmp_path) == ["model.npz"]


def test_read_arrays_checks_like_read(tmp_path):
    np.savez(tmp_path / "plain.npz", **ARRAYS)
    np.savez_compressed(tmp_path / "compressed.npz", **ARRAYS)
    with open(tmp_path / "plain.npz", "rb") as opened:
        for source in (tmp_path / "plain", opened, opened, io.BytesIO((tmp_path / "plain.npz").read_bytes())):
            arrays = storage.read_arrays(source, "thing")
            assert arrays.keys() == ARRAYS.keys()
            assert all(arrays[name].tobytes() == ARRAYS[name].tobytes() for name in ARRAYS)
    with pytest.raises(ValueError, match=r"compressed\.npz is not a thing, or is damaged \(its part 'a' is compressed"):
        storage.read_arrays(tmp_path / "compressed", "thing")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none and no file .*none\.npz"):
        storage.read_arrays(tmp_path / "none", "thing")
