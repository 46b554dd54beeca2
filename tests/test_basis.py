"""The background: Gram matrix, eigenbasis, rotation, balance."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastals.engine import basis
from fastals.engine.panel import as_panel
from tests.helpers import dtypes, rounding


def panel(n, width, dtype, seed=0, decay=1.0):
    rng = np.random.default_rng(seed)
    return as_panel((rng.standard_normal((n, width)) * decay ** np.arange(width)).astype(dtype))


@given(n=st.integers(1, 1200), width=st.integers(1, 40), dtype=dtypes, alike=st.booleans())
def test_gram_is_its_formula(n, width, dtype, alike):
    Y = panel(n, width, dtype)
    weights = np.full(1, 0.3, dtype) if alike else np.random.default_rng(1).random(n).astype(dtype)
    exact = Y[:, :width].astype(np.float64)
    wanted = (exact * np.broadcast_to(weights, n)[:, None]).T @ exact
    size = (np.abs(exact) * np.broadcast_to(weights, n)[:, None]).T @ np.abs(exact)
    assert np.all(np.abs(basis.gram(Y, weights, width, 1) - wanted) <= rounding(dtype, basis.PIECE, size))


@pytest.mark.parametrize(("n", "width"), [(17 * basis.PIECE, 3), (9 * basis.PIECE, basis.BAND + 50)])
def test_gram_of_many_pieces_and_bands_is_its_formula(n, width):
    Y = panel(n, width, np.float32)
    weights = np.random.default_rng(1).random(n).astype(np.float32)
    exact = Y[:, :width].astype(np.float64)
    wanted, size = (matrix.T @ (matrix * weights[:, None]) for matrix in (exact, np.abs(exact)))
    assert np.all(np.abs(basis.gram(Y, weights, width, 2) - wanted) <= rounding(np.float32, basis.PIECE, size))


@pytest.mark.parametrize("width", [3, 200])
def test_gram_has_the_same_bits_for_any_number_of_threads(width):
    n = 2 * basis.PIECE + 300
    Y, weights = panel(n, width, np.float32), np.random.default_rng(1).random(n).astype(np.float32)
    one, two, five = (basis.gram(Y, weights, width, n_threads) for n_threads in (1, 2, 5))
    assert np.array_equal(one, two)
    assert np.array_equal(one, five)
    assert np.array_equal(one, one.T)


def test_what_the_dtype_cannot_hold_is_not_rotated():
    """Nor is there a warning: the rows that it makes impossible are named."""
    matrix = 1e40 * (np.eye(3) + 0.5)
    assert basis.diagonalise(matrix, np.dtype(np.float32))[1] is None
    assert basis.diagonalise(matrix, np.dtype(np.float64))[1] is not None


def test_a_thread_is_woken_for_no_less_than_its_share(monkeypatch):
    asked = []
    monkeypatch.setattr(basis, "SHARE", 64 * 16 * 16)
    monkeypatch.setattr(basis, "spread", lambda work, n_threads: asked.append(n_threads))
    for n in (63, 64, 65, 129, 4000):
        basis.rotate(panel(n, 16, np.float32), np.eye(16), 4)
    assert asked == [1, 1, 2, 3, 4]  # of 64 rows there is but one block
    basis.gram(panel(4 * basis.PIECE, 16, np.float32), np.ones(1, np.float32), 16, 4)
    assert asked[-1] == 4


@given(n=st.integers(1, 200), width=st.integers(1, 40), dtype=dtypes)
def test_rotation_is_a_product_and_keeps_the_padding(n, width, dtype):
    Y, T = panel(n, width, dtype), np.random.default_rng(2).standard_normal((width, width))
    rotated = Y.copy()
    basis.rotate(rotated, T, 2)
    size = np.abs(Y[:, :width].astype(np.float64)) @ np.abs(T)
    assert np.all(np.abs(rotated[:, :width] - Y[:, :width].astype(np.float64) @ T) <= rounding(dtype, width, size))
    assert not rotated[:, width:].any()


@given(n=st.integers(1, 130), width=st.integers(1, 150), dtype=dtypes)
def test_a_triangular_rotation_has_the_bits_of_a_full_one(n, width, dtype):
    Y, T = panel(n, width, dtype), np.random.default_rng(2).standard_normal((width, width))
    for shape, matrix in ((basis.UPPER, np.triu(T)), (basis.LOWER, np.tril(T))):
        full, triangular = Y.copy(), Y.copy()
        basis.rotate(full, matrix, 2)
        basis.rotate(triangular, matrix, 2, shape)
        assert np.array_equal(full, triangular)


@given(n=st.integers(1, 130), width=st.integers(1, 40), dtype=dtypes)
def test_a_rotation_into_another_panel_has_the_same_bits(n, width, dtype):
    Y, T = panel(n, width, dtype), np.random.default_rng(2).standard_normal((width, width))
    kept, rotated = Y.copy(), Y.copy()
    basis.rotate(rotated, T, 2)
    out = np.full_like(Y, 7)
    basis.rotate(Y, T, 2, out=out)
    assert np.array_equal(Y, kept)
    assert np.array_equal(out, rotated)
    basis.rotate(Y, None, 2, out=out)
    assert np.array_equal(out, Y)


def test_a_rotated_row_does_not_depend_on_its_neighbours():
    Y, T = panel(150, 20, np.float32), np.random.default_rng(2).standard_normal((20, 20))
    alone = Y[70:71].copy()
    basis.rotate(Y, T, 2)
    basis.rotate(alone, T, 1)
    assert np.array_equal(Y[70:71], alone)


@given(n=st.integers(1, 300), width=st.integers(1, 24), dtype=dtypes)
def test_fixed_side_lies_in_its_eigenbasis(n, width, dtype):
    Y = panel(n, width, dtype)
    weights = np.ones(1, dtype)
    fixed = basis.fix(Y, weights, width, 1)
    background = basis.gram(fixed.panel, weights, width, 1)
    largest = background.diagonal().max()
    assert np.abs(background - np.diag(fixed.g[:width])).max() <= rounding(dtype, n + width, largest)
    again = basis.fix(fixed.panel, weights, width, 1)
    assert again.rotation is None
    assert again.panel is fixed.panel


def test_no_background_is_no_rotation():
    Y = panel(10, 4, np.float32)
    fixed = basis.fix(Y, np.zeros(1, np.float32), 4, 1)
    assert fixed.panel is Y
    assert fixed.rotation is None
    assert not fixed.g.any()


@given(width=st.integers(1, 24), seed=st.integers(0, 99))
def test_balance_keeps_the_model_and_shares_the_ridge(width, seed):
    X, Y = (panel(50, width, np.float64, seed + i, decay)[:, :width] for i, decay in enumerate((0.8, 1.1)))
    T, inverse, balanced = basis.balance(X.T @ X, 2 * Y.T @ Y, 2)
    size = np.linalg.norm(X) * np.linalg.norm(Y)
    condition = np.linalg.cond(T)
    assert np.abs((X @ T) @ (Y @ inverse).T - X @ Y.T).max() <= rounding(np.float64, 50 * width, size, condition)
    ours, theirs = (X @ T).T @ (X @ T), 2 * (Y @ inverse).T @ (Y @ inverse)
    # Both traces get the floor on the diagonal before they are balanced: that is how far the result may be off.
    allowed = 2 * width * basis.FLOOR * condition**2 * (ours.trace() + theirs.trace())
    assert np.abs(ours - theirs).max() <= allowed
    assert np.abs(theirs - balanced).max() <= rounding(np.float64, 50 * width, theirs.trace(), condition**2)
    assert np.count_nonzero(balanced - np.diag(balanced.diagonal())) == 0
    before = np.linalg.norm(X) ** 2 + 2 * np.linalg.norm(Y) ** 2
    assert ours.trace() + theirs.trace() <= before + rounding(np.float64, width, before, condition)


@given(width=st.integers(1, 24), seed=st.integers(0, 99))
def test_balance_of_a_diagonal_is_that_of_any_other_matrix(width, seed):
    """What a fit with one ridge passes is diagonal, and takes a shorter way; both Gram matrices end up the same."""
    diagonal = np.diag(np.random.default_rng(seed).random(width) + 0.1)
    theirs = panel(50, width, np.float64, seed)[:, :width]
    theirs = theirs.T @ theirs
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((width, width)))[0]
    balanced = []
    for Q in (np.eye(width), turn):
        T, inverse, _ = basis.balance(Q.T @ diagonal @ Q, Q.T @ theirs @ Q, 2)
        balanced += [T.T @ (Q.T @ diagonal @ Q) @ T, inverse.T @ (Q.T @ theirs @ Q) @ inverse]
    allowed = 8 * width * basis.FLOOR * max(np.linalg.cond(theirs), 1.1 / 0.1) * (diagonal.trace() + theirs.trace())
    for matrix in balanced:
        assert np.abs(matrix - balanced[0]).max() <= allowed


def test_the_root_of_a_gram_matrix_that_rounding_has_made_indefinite():
    """A panel of rank 2 in three columns: of its sums in float32 the smallest eigenvalue is below 0, not 0."""
    Y = panel(basis.PIECE, 3, np.float32, seed=5)[:, :3]
    Y[:, 2] = Y[:, 0] + Y[:, 1]
    gram = np.cumsum(Y[:, :, None] * Y[:, None], axis=0, dtype=np.float32)[-1].astype(np.float64)
    trace, (sizes, axes) = gram.trace(), np.linalg.eigh(gram)
    shifted = gram + basis.FLOOR * trace * np.eye(3)
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(shifted)
    root, inverse = basis._root(gram, 2)
    # The eigenvalue counts as 0. What that changes is no more than the sums were off by.
    negative = sizes[0] * np.outer(axes[:, 0], axes[:, 0])
    assert np.abs(root @ root.T - (shifted - negative)).max() <= rounding(np.float64, 3, trace)
    assert np.abs(root @ root.T - shifted).max() <= rounding(np.float32, basis.PIECE, trace)
    assert np.abs(inverse @ root - np.eye(3)).max() <= rounding(np.float64, 3, 1.0, np.linalg.cond(root))


@given(n=st.integers(1, 300), width=st.integers(1, 24), dtype=dtypes)
def test_whitened_columns_are_orthogonal_of_one_length_and_span_the_same(n, width, dtype):
    width = min(n, width)
    Y = panel(n, width, dtype)
    original = Y[:, :width].astype(np.float64)
    condition = np.linalg.cond(original)
    basis.whiten(Y, width, 2)
    white = Y[:, :width].astype(np.float64) * np.sqrt(width / n)
    allowed = rounding(dtype, n + width, 1.0, condition**2) + 2 * width * basis.FLOOR * condition**2
    assert np.abs(white.T @ white - np.eye(width)).max() <= allowed
    projected = original @ np.linalg.lstsq(original, white, rcond=None)[0]
    assert np.abs(projected - white).max() <= rounding(dtype, n + width, 1.0, condition)


@pytest.mark.parametrize("lowest", [-0.999, -5, -500])
def test_whitening_survives_a_gram_matrix_that_rounding_has_made_indefinite(lowest, monkeypatch):
    Y = panel(200, 3, np.float32)
    Y[:, 2] = Y[:, 1]
    matrix = Y[:, :3].astype(np.float64).T @ Y[:, :3]
    axis = np.linalg.eigh(matrix)[1][:, 0]
    rounded = matrix + lowest * basis.FLOOR * matrix.trace() * np.outer(axis, axis)
    monkeypatch.setattr(basis, "gram", lambda *_: rounded)
    basis.whiten(Y, 3, 1)
    white = np.linalg.svd(Y[:, :3].astype(np.float64), compute_uv=False)
    assert white[1] == pytest.approx(white[0], rel=1e-2)
    assert white[2] < 1e-2 * white[0]
    assert 0.5 < (white**2).sum() / len(Y) < 2.5  # the formula counts the axis as -1 at most


@pytest.mark.parametrize("bad", [np.inf, np.nan, 0])
def test_whitening_leaves_what_it_cannot_whiten(bad):
    Y = panel(5, 2, np.float32)
    Y[3 if bad else slice(None)] = bad
    before = Y.copy()
    basis.whiten(Y, 2, 1)
    np.testing.assert_array_equal(Y, before)


def test_maps_compose_and_none_is_the_identity():
    A, B = np.random.default_rng(0).standard_normal((2, 3, 3))
    assert np.array_equal(basis.composed(A, B, 2), A @ B)
    assert basis.composed(A, None, 2) is A
    assert basis.composed(None, B, 2) is B
    assert basis.composed(None, None, 2) is None
    assert basis.turned(A, None, 2) is A
    Y = panel(5, 3, np.float32)
    before = Y.copy()
    basis.rotate(Y, None, 1)
    assert np.array_equal(Y, before)


def test_balance_takes_singular_matrices():
    singular = [np.diag([1.0, 2.0, 0.0]), np.diag([3.0, 0.0, 0.0]), np.ones((3, 3)), np.ones((3, 3)) - 1e-6 * np.eye(3)]
    for ours, theirs in itertools.product(singular, repeat=2):
        for matrix in basis.balance(ours, theirs, 2):
            assert np.isfinite(matrix).all()
