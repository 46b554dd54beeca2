"""BLAS on one thread while the engine calls it, and as it was afterwards."""

import pytest

from fastals.engine import blas


@pytest.fixture
def threads():
    controls = blas._controls()
    if controls is None:
        pytest.skip("NumPy has no OpenBLAS here")
    get, set_ = controls
    before = get()
    set_(2)
    yield get
    set_(before)


def test_one_thread_inside_and_as_before_outside(threads):
    if threads() != 2:
        pytest.skip("this OpenBLAS was built for one thread")
    with blas.one_blas_thread():
        assert threads() == 1
        with blas.one_blas_thread():
            assert threads() == 1
        assert threads() == 1
    assert threads() == 2


def test_an_error_inside_gives_the_threads_back(threads):
    before = threads()
    with pytest.raises(RuntimeError), blas.one_blas_thread():
        raise RuntimeError
    assert threads() == before


def test_another_blas_is_left_alone(monkeypatch):
    monkeypatch.setattr(blas, "_controls", lambda: None)
    with blas.one_blas_thread():
        pass
