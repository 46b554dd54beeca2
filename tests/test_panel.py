"""Panels: padded, aligned, zero where nothing was given."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastals.engine.panel import aligned_zeros, as_panel
from fastals.engine.simd.target import CACHE_LINE, padded
from tests.helpers import dtypes


@given(n=st.integers(1, 40), width=st.integers(1, 40), dtype=dtypes)
def test_zeros_start_at_a_cache_line(n, width, dtype):
    zeros = aligned_zeros((n, width), np.dtype(dtype))
    assert (zeros.shape, zeros.dtype) == ((n, width), np.dtype(dtype))
    assert zeros.ctypes.data % CACHE_LINE == 0
    assert zeros.flags.c_contiguous
    assert zeros.flags.writeable
    assert not zeros.any()


@given(n=st.integers(1, 9), width=st.integers(1, 40), dtype=dtypes, with_extra=st.booleans(), fortran=st.booleans())
def test_panel_holds_the_factors_and_zeros(n, width, dtype, with_extra, fortran):
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(n, width)).astype(dtype, order="F" if fortran else "C")
    extra = rng.normal(size=n).astype(dtype) if with_extra else None
    panel = as_panel(factors, extra)
    assert panel.shape == (n, padded(width + with_extra, factors.dtype))
    assert panel.ctypes.data % CACHE_LINE == 0
    assert panel.flags.c_contiguous
    assert np.array_equal(panel[:, :width], factors)
    if extra is not None:
        assert np.array_equal(panel[:, width], extra)
    assert not panel[:, width + with_extra :].any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_a_panel_already_is_not_copied(dtype):
    factors = aligned_zeros((5, padded(1, np.dtype(dtype))), np.dtype(dtype))
    assert as_panel(factors) is factors
    assert as_panel(factors[:, :3]) is not factors
