"""One file a model: what goes in comes out, and what is no such file is refused."""

import json
import os
import pickle

import numpy as np
import pytest

from fastals import storage

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
        ValueError, match=r"new\.npz has format 99, this fastals reads up to 2; install a newer fastals$"
    ):
        storage.read(tmp_path / "new.npz")


def test_an_array_that_is_no_archive(tmp_path):
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(ValueError, match=r"array\.npz is not a fastals model"):
        storage.read(tmp_path / "array.npz")
