"""Factors on disk: the bits of factors in memory, a file that nobody sees, and a sentence where there is no room."""

import errno
import logging
import os

import numpy as np
import pytest

import fastals
from fastals import Interactions, start
from fastals.engine import spilled
from fastals.engine.mapped import is_mapped
from fastals.engine.panel import aligned_copy
from fastals.engine.simd.target import CACHE_LINE
from fastals.engine.spilled import folder_of, spilled_zeros
from tests.helpers import mapped, same_bits, same_model

FLOAT32 = np.dtype(np.float32)


@pytest.fixture(params=["reserved", "written"])
def reserving(request, monkeypatch):
    """With and without a call that reserves a file's size at once."""
    if request.param == "written":
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    return request.param


@pytest.mark.parametrize("shape", [(5, 16), (0, 16), (300_000, 2)])
def test_an_array_lies_in_a_file_that_no_folder_shows(reserving, shape, tmp_path):
    array = spilled_zeros(shape, FLOAT32, str(tmp_path))
    assert array.shape == shape and array.dtype == FLOAT32 and not array.any()
    assert is_mapped(array) and array.ctypes.data % CACHE_LINE == 0
    assert folder_of(array) == folder_of(array[1:3]) == str(tmp_path)
    assert list(tmp_path.iterdir()) == []
    array += 1
    copy = aligned_copy(array)
    assert folder_of(copy) == str(tmp_path) and same_bits(copy, array)
    array[...] = 2
    assert (copy == 1).all()


def test_other_arrays_lie_in_no_file(tmp_path):
    np.save(tmp_path / "array.npy", np.zeros((4, 16), FLOAT32))
    for array in (np.zeros((4, 16)), np.zeros(9)[1:5], np.load(tmp_path / "array.npy", mmap_mode="r")):
        assert folder_of(array) is None
        assert folder_of(aligned_copy(array)) is None


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(spilled, "_reserve", full)
    with pytest.raises(OSError, match=r"factors of 3\.2 GB have no room in memory, nor in a file there: No space left"):
        spilled_zeros((50_000_000, 16), FLOAT32, str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"factors of 6\.4e-08 GB have no room"):
        spilled_zeros((1, 16), FLOAT32, str(tmp_path / "gone"))


@pytest.fixture
def no_memory(monkeypatch):
    monkeypatch.setattr(start, "free_memory", lambda: 0)


def events():
    rng = np.random.default_rng(3)
    R = rng.choice([0.5, 1.0, 3.0], (120, 70)) * (rng.random((120, 70)) < 0.2)
    return Interactions(R, "float32")


MODELS = {
    "implicit": fastals.ImplicitALS(20, iterations=3, random_state=0),
    "many factors": fastals.ImplicitALS(256, iterations=6, random_state=0),
    "biases": fastals.ImplicitALS(5, iterations=3, biases=True, random_state=0),
    "explicit": fastals.ExplicitALS(8, iterations=3, random_state=0),
    "no ridge": fastals.WeightedALS(80, iterations=2, unobserved_weight=0.5, regularization=0.0, random_state=0),
    "plain": fastals.ImplicitALS(4, iterations=2, solver="plain", random_state=0),
}


@pytest.mark.filterwarnings("ignore::fastals.errors.SingularRowsWarning")
@pytest.mark.parametrize("name", MODELS)
def test_a_fit_has_the_bits_of_one_in_memory(name, no_memory, tmp_path, caplog):
    model, R, seen = MODELS[name], events(), []
    wanted = type(model)(**model.get_params()).fit(R)
    assert folder_of(wanted._fitted.users.panel) is None
    on_disk = mapped(R, tmp_path)
    (folder,) = tmp_path.iterdir()
    with caplog.at_level(logging.INFO, logger="fastals"):
        found = type(model)(**model.get_params()).fit(on_disk, callback=lambda _, now: seen.append(now) and None)
    assert f"GB of free memory: they are kept in {folder}" in caplog.text
    assert same_model(found, wanted)
    for side in (found._fitted.users, found._fitted.items, seen[-1]._fitted.users):
        assert folder_of(side.panel) == str(folder)
    assert {path.suffix for path in folder.iterdir()} == {".npy"}  # those of the entries


def test_such_a_model_answers_learns_and_is_saved(no_memory, tmp_path):
    model = fastals.ImplicitALS(20, iterations=2, random_state=0).fit(mapped(events(), tmp_path))
    model.save(tmp_path / "model.npz")
    other = fastals.load(tmp_path / "model.npz")
    for one in (model, other):
        one.update(3, 5).partial_fit_users([120], np.eye(1, 70))
    assert same_model(model, other)
    for ours, theirs in zip(model.recommend([0, 120], n=5), other.recommend([0, 120], n=5), strict=True):
        assert same_bits(ours, theirs)


def test_where_nobody_may_write_beside_the_entries_it_is_the_folder_for_temporary_files(
    no_memory, tmp_path, monkeypatch
):
    monkeypatch.setattr(start.os, "access", lambda *_: False)
    monkeypatch.setattr(start.tempfile, "gettempdir", lambda: str(tmp_path / "other"))
    (tmp_path / "other").mkdir()
    model = fastals.ImplicitALS(4, iterations=1, random_state=0).fit(mapped(events(), tmp_path))
    assert folder_of(model._fitted.items.panel) == str(tmp_path / "other")
