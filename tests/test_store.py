"""Stores: the same interactions as in memory, whatever the size of blocks; damage and failures in sentences."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastals
from fastals import (
    ExplicitALS,
    ImplicitALS,
    Interactions,
    append_store,
    build_store,
    merge_store,
    open_store,
    read_table,
)
from fastals.data import build, passes
from fastals.datasets import split_by_time
from fastals.evaluation import evaluate

pytest.importorskip("duckdb")

ROOT = Path(__file__).parent.parent
COLUMNS = {"user": "u", "item": "i", "value": "v", "time": "t"}
MATRIX = {key: COLUMNS[key] for key in ("user", "item", "value")}


def same(left, right):
    """Assert that interactions are equal to the bit, matrix, ids and events."""
    assert (left.shape, left.dtype, len(left)) == (right.shape, right.dtype, len(right))
    for side in ("by_user", "by_item"):
        for ours, theirs in zip(getattr(left, side), getattr(right, side), strict=True):
            assert (ours.dtype, ours.tobytes()) == (theirs.dtype, theirs.tobytes())
    for ids in ("user_ids", "item_ids"):
        ours, theirs = getattr(left, ids), getattr(right, ids)
        assert ours is theirs is None or ours.values.tolist() == theirs.values.tolist()
    for name in ("users", "items", "values", "times", "kinds"):
        ours, theirs = getattr(left, name), getattr(right, name)
        assert ours is theirs is None or (ours.dtype, ours.tobytes()) == (theirs.dtype, theirs.tobytes())


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A file of 3,000 events, a tenth of them of a user and item that are there before."""
    rng = np.random.default_rng(7)
    users, items = rng.integers(0, 90, 3000), rng.integers(0, 60, 3000)
    values, times = rng.normal(size=3000).round(3), rng.integers(0, 500, 3000)
    kinds = np.array(["view", "buy"])[rng.integers(0, 2, 3000)]
    lines = [f"user-{u},{i},{v},{t},{k}\n" for u, i, v, t, k in zip(users, items, values, times, kinds, strict=True)]
    path = tmp_path_factory.mktemp("table") / "events.csv"
    path.write_text("u,i,v,t,k\n" + "".join(lines))
    return path


@pytest.fixture
def small_blocks(monkeypatch):
    """Many blocks and many passes."""
    for module in (build, passes):
        monkeypatch.setattr(module, "ROWS", 700)
    monkeypatch.setattr(passes, "_FEWEST", 500)
    monkeypatch.setattr(passes, "_BYTES", 1 << 40)


OPTIONS = {
    "times": COLUMNS,
    "matrix": MATRIX,
    "float64": MATRIX | {"dtype": "float64"},
    "ones": {"user": "u", "item": "i", "where": "t >= 250"},
    "kinds": COLUMNS | {"event": "k", "weights": {"view": 1, "buy": 3.5}, "half_life": 100},
    "last": COLUMNS | {"duplicates": "last"},
    "last in the file": MATRIX | {"duplicates": "last", "dtype": "float64"},
}


@pytest.mark.parametrize("options", OPTIONS)
def test_a_store_is_what_is_read_into_memory(table, tmp_path, small_blocks, options):
    wanted = read_table(table, **OPTIONS[options])
    if not {"time", "event"} & OPTIONS[options].keys():
        wanted = Interactions(wanted.csr, wanted.dtype, user_ids=wanted.user_ids, item_ids=wanted.item_ids)
    same(build_store(table, tmp_path / "store", **OPTIONS[options]), wanted)
    same(open_store(str(tmp_path / "store"), verify=True), wanted)
    assert os.listdir(tmp_path) == ["store"]


def test_frames_and_interactions(table, tmp_path, small_blocks):
    R = read_table(table, **COLUMNS, event="k")
    same(build_store(R, tmp_path / "a"), R)
    frame = {"u": R.user_ids[R.users], "i": R.item_ids[R.items], "v": R.values, "t": R.times, "k": R.kinds}
    same(build_store(frame, tmp_path / "b", **COLUMNS, event="k"), R)
    plain = Interactions(np.diag([1.0, 2.0, 0.0])[:, [2, 0, 1]], missing="nan")
    same(build_store(plain, tmp_path / "c"), plain)
    shuffled = Interactions(np.eye(3), user_ids=["c", "a", "b"], item_ids=[9, 5, 7])
    stored = build_store(shuffled, tmp_path / "d")
    assert stored.user_ids.tolist() == ["a", "b", "c"]
    assert stored.csr.toarray().tolist() == shuffled.csr.toarray()[[1, 2, 0]][:, [1, 2, 0]].tolist()
    with pytest.raises(TypeError, match="user= is for tables, and source is Interactions; leave it out"):
        build_store(plain, tmp_path / "e", user="u")
    with pytest.raises(TypeError, match="half_life= is for tables, and source is Interactions; leave it out"):
        build_store(plain, tmp_path / "e", half_life=3.0)
    with pytest.raises(ValueError, match="source has a weight for each entry"):
        build_store(Interactions(np.eye(2), weights=np.eye(2) * [1, 2]), tmp_path / "e")


@pytest.mark.filterwarnings("ignore::fastals.errors.SummedRatingsWarning")
def test_models_splits_and_evaluation(table, tmp_path):
    R, stored = read_table(table, **COLUMNS), build_store(table, tmp_path / "store", **COLUMNS)
    for model in (ImplicitALS(8, iterations=3, random_state=0), ExplicitALS(8, iterations=2, random_state=0)):
        factors = [(model.fit(data).user_factors_.tobytes(), model.item_factors_.tobytes()) for data in (R, stored)]
        assert factors[0] == factors[1]
        assert model.recommend("user-3", n=2)[0].dtype.kind == "i"
    parts = split_by_time(stored), split_by_time(R)
    same(parts[0][0], parts[1][0])
    model = ImplicitALS(8, iterations=2, random_state=0).fit(parts[0][0])
    scores = []
    for train, test in parts:
        seen, again = (part.users * 60 + part.items for part in (train, test))
        scores.append(evaluate(model, test.select(~np.isin(again, seen)), k=5).overall)
    assert scores[0] == scores[1]
    with pytest.raises(ValueError, match="read-only"):
        stored.csr.data[0] = 7
    assert stored.astype("float64").dtype == np.float64


def test_append_and_merge(table, tmp_path, small_blocks):
    folder, early, late = tmp_path / "store", "t < 300", "t >= 300"
    wanted = build_store(
        f"FROM (FROM '{table}' WHERE {early}) UNION ALL (FROM '{table}' WHERE {late})", tmp_path / "b", **COLUMNS
    )
    build_store(table, folder, **COLUMNS, where=early)
    append_store(folder, table, **COLUMNS, where=late, merge=False)
    with pytest.raises(
        ValueError, match=r"has 1 appended part\(s\) that are not merged: call fastals.merge_store first"
    ):
        open_store(folder)
    same(merge_store(folder), wanted)
    assert not (folder / "parts").exists()
    append_store(folder, {"u": ["user-3", "a"], "i": [0, 777], "v": [1.0, 2], "t": [1, 2]}, **COLUMNS)
    more = open_store(folder, verify=True)
    assert (more.user_ids[0], more.item_ids[60], len(more)) == ("a", 777, 3002)


def test_appended_events_must_fit(table, tmp_path):
    folder = tmp_path / "store"
    R = build_store(table, folder, **COLUMNS)
    with pytest.raises(ValueError, match="has times, and new events must have the same"):
        append_store(folder, table, **MATRIX)
    with pytest.raises(
        TypeError, match=r"item_ids of store .* are integers, those of the new events strings: convert them"
    ):
        append_store(folder, {"u": ["a"], "i": ["b"], "v": [1], "t": [1]}, **COLUMNS)
    same(open_store(folder), R)
    build_store(table, tmp_path / "fading", **COLUMNS, half_life=3)
    with pytest.raises(ValueError, match="was built with half_life"):
        append_store(tmp_path / "fading", table, **COLUMNS)


# What is refused.


def test_places_that_are_taken(table, tmp_path):
    folder = tmp_path / "store"
    build_store(table, folder, **MATRIX)
    with pytest.raises(FileExistsError, match="is there: choose another folder, or replace it with overwrite=True"):
        build_store(table, folder, **MATRIX)
    assert len(build_store(table, folder, **MATRIX, where="t < 9", overwrite=True).by_user.indices) < 100
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileExistsError, match="mine is there and is no store"):
        build_store(table, tmp_path / "mine", **MATRIX, overwrite=True)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere to write the store s into"):
        build_store(table, tmp_path / "nowhere" / "s", **MATRIX)
    assert sorted(os.listdir(tmp_path)) == ["mine", "store"]


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"memory_limit": "2"}, ValueError, "memory_limit must be at least 128MB, for example '2GB', got '2'"),
        ({"memory_limit": "1MB"}, ValueError, "memory_limit must be at least 128MB"),
        ({"source": "nothing.csv"}, FileNotFoundError, "^nothing.csv does not exist"),
        ({"user": None}, TypeError, "user is missing: name the column of the users, user="),
        ({"item": "x"}, ValueError, "item='x' is not a column of file"),
        ({"value": "k"}, ValueError, r"events.csv, line 2: column 'k' holds '(view|buy)': finite numbers are wanted"),
        ({"duplicates": "mean"}, ValueError, "duplicates must be one of"),
        ({"dtype": int}, ValueError, "dtype must be 'float32' or 'float64'"),
    ],
)
def test_a_build_that_is_refused_leaves_nothing(table, tmp_path, arguments, error, said):
    with pytest.raises(error, match=said):
        build_store(**{"source": table, "folder": tmp_path / "store", **MATRIX} | arguments)
    assert os.listdir(tmp_path) == []


def test_a_full_disk(table, tmp_path):
    """A limit of the size of files raises what a full disk raises: in DuckDB's files, and in those of the store."""
    code = """
import resource, sys, fastals
from fastals import Interactions, read_table
table, folder, size = sys.argv[1:]
R = read_table(table, "u", "i", "v")
resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), int(size)))
for source, columns in ((R, {}), (table, {"user": "u", "item": "i", "value": "v"})):
    try:
        fastals.build_store(source, folder, **columns)
    except OSError as error:
        print(error)
"""
    command = [sys.executable, "-c", code, str(table), str(tmp_path / "store"), "4000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120)
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    for line in (first, second):
        assert re.match(rf"cannot write the store {tmp_path}/store \(.*\): check that its parent folder may be", line)
    assert os.listdir(tmp_path) == []


def test_a_killed_build_leaves_no_store(table, tmp_path):
    code = """
import os, signal, sys, fastals
from fastals.data import passes
passes._write_by_item = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
fastals.build_store(sys.argv[1], sys.argv[2], user="u", item="i")
"""
    command = [sys.executable, "-c", code, str(table), str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, check=False, cwd=ROOT, timeout=120)
    assert done.returncode == -9
    (left,) = os.listdir(tmp_path)
    assert re.fullmatch(r"\.fastals-[0-9a-f]+\.partial", left)
    for folder in (tmp_path / "store", tmp_path / left):
        with pytest.raises(
            (FileNotFoundError, ValueError), match=r"there is no folder|is no store: it has no manifest"
        ):
            open_store(folder)


@pytest.mark.parametrize(("moved", "then"), [(False, "build"), (False, "merge"), (True, "append")])
def test_a_build_that_is_killed_at_its_end_loses_no_store(table, tmp_path, moved, then):
    """Between its two renames, or after them, while it deletes the store that was there."""
    folder = tmp_path / "store"
    R = build_store(table, folder, **MATRIX)
    code = """
import os, pathlib, shutil, signal, sys, fastals
def kill(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
rename, rmtree = pathlib.Path.rename, shutil.rmtree
if sys.argv[3] == "True":
    shutil.rmtree = lambda path, **kwargs: kill() if str(path).endswith(".old") else rmtree(path, **kwargs)
else:
    pathlib.Path.rename = lambda self, to: kill() if self.suffix == ".partial" else rename(self, to)
fastals.build_store(sys.argv[1], sys.argv[2], user="u", item="i", overwrite=True)
"""
    command = [sys.executable, "-c", code, str(table), str(folder), str(moved)]
    done = subprocess.run(command, capture_output=True, check=False, cwd=ROOT, timeout=120)
    assert done.returncode == -9
    assert (tmp_path / ".fastals-store.old").is_dir()
    assert folder.is_dir() == moved
    if then == "build":
        with pytest.raises(FileExistsError, match="is there: choose another folder, or replace it"):
            build_store(table, folder, **MATRIX)
    elif then == "append":
        append_store(folder, {"u": ["nobody"], "i": [7]}, "u", "i")
        assert open_store(folder).shape == (91, 60)
    else:
        merge_store(folder)
    assert ".fastals-store.old" not in os.listdir(tmp_path)
    if not moved:
        same(open_store(folder), R)


def damaged(folder, change):
    """Change a store's manifest, with a checksum that fits."""
    from fastals.data.store import _signature

    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())["manifest"] | change
    path.write_text(json.dumps({"manifest": manifest, "crc32": _signature(manifest)}))


def test_damage(table, tmp_path):
    folder = tmp_path / "store"
    build_store(table, folder, **MATRIX)
    manifest, values = folder / "manifest.json", folder / "by_user_values.npy"
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    flipped = whole[values][:-1] + bytes([whole[values][-1] ^ 1])
    for path, content, said in (
        (values, whole[values][:-1], r"by_user_values.npy has [\d,]+ bytes, [\d,]+ are wanted; build it anew"),
        (values, None, "by_user_values.npy is missing"),
        (values, whole[values].replace(b"<f4", b"<i4"), "by_user_values.npy is no array of float32"),
        (manifest, whole[manifest].replace(b'"float32"', b'"float64"'), "its manifest.json has another checksum"),
        (manifest, whole[manifest][:-9], r"its manifest.json cannot be read"),
        (manifest, b"[]", r"its manifest.json cannot be read"),
    ):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"^store .*store is damaged: {said}"):
            open_store(folder)
        path.write_bytes(whole[path])
    values.write_bytes(flipped)
    assert open_store(folder).nnz > 2000
    with pytest.raises(ValueError, match=r"by_user_values.npy has another checksum; build it anew"):
        open_store(folder, verify=True)
    damaged(folder, {"format": 2})
    with pytest.raises(ValueError, match="has format 2, this fastals reads 1: build it anew with this version"):
        open_store(folder)
    with pytest.raises(
        ValueError, match=r"is no store: it has no manifest.json; give the folder that build_store wrote"
    ):
        open_store(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere: build the store"):
        open_store(tmp_path / "nowhere")
    (tmp_path / "orders.csv").write_text("who,what\n")
    with pytest.raises(NotADirectoryError, match=r"orders.csv is a file, and a store is a folder: read a file with"):
        open_store(tmp_path / "orders.csv")


def test_arrays_are_plain_and_mapped(table, tmp_path):
    stored = build_store(table, tmp_path / "store", **COLUMNS)
    for name, array in (("by_user_indices", stored.by_user.indices), ("event_times", stored.times)):
        assert np.array_equal(np.load(tmp_path / "store" / f"{name}.npy", allow_pickle=False), array)
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert "by_item_indices.npy" in maps.read_text()


def test_they_are_public():
    assert {"append_store", "build_store", "merge_store", "open_store", "read_table"} <= set(fastals.__all__)
