"""Matrices that point outside themselves, whose parts do not fit together, or that ask for memory without end."""

import re
import sys

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher
from scipy import sparse

from fastals import ImplicitALS, Interactions
from fastals.data.interactions import as_interactions
from fastals.data.matrix import canonical_row, checked_csr, unlocked
from tests.helpers import mapped

FORMATS = ("csr", "csc", "coo", "lil", "dok", "bsr", "dia")


def example(form="csr"):
    R = np.zeros((6, 4), np.float32)
    R[[0, 1, 2, 5], [3, 1, 0, 2]] = [1, 2, 3, 4]
    return sparse.csr_array(R).asformat(form)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_every_format_gives_the_same_entries(form, dtype):
    R = example(form).astype(dtype)
    assert np.array_equal(Interactions(R).csr.toarray(), example().toarray())
    assert np.array_equal(Interactions(sparse.csr_matrix(example()).asformat(form)).csr.toarray(), example().toarray())


def broken():
    """Yield matrices of every format whose arrays were changed by hand, with what is wrong about them."""
    for side in ("row", "col"):
        for number in (-1, 6, 10**6):
            R = example("coo")
            getattr(R, side)[0] = number
            yield R, f"a {'row' if side == 'row' else 'column'} number is not in 0 .. {5 if side == 'row' else 3}"
    R = example("coo")
    R.data = R.data[:2]
    yield R, "its row numbers have dtype int32 and shape (4,) beside (2,) values"
    for form in ("csr", "csc"):
        limit = 3 if form == "csr" else 5
        size = 6 if form == "csr" else 4
        for changes, cause in (
            (
                {"indices": [0, 1, 2, limit + 1]},
                f"a {'column' if form == 'csr' else 'row'} number is not in 0 .. {limit}",
            ),
            ({"indptr": np.r_[0, 3, np.full(size - 1, 2)]}, "its indptr falls"),
            ({"indptr": np.r_[1, np.full(size, 4)]}, "its indptr runs from 1 to 4"),
            ({"indptr": np.r_[0, np.full(size, 5)]}, "its indptr runs from 0 to 5 beside 4 indices and 4 values"),
            ({"indptr": np.r_[0, 4]}, f"its indptr has 2 numbers, {size + 1} are wanted"),
            ({"indptr": np.r_[0, np.full(size + 1, 4)]}, f"its indptr has {size + 2} numbers, {size + 1} are wanted"),
            ({"data": np.ones(2, np.float32)}, "its indptr runs from 0 to 4 beside 4 indices and 2 values"),
            ({"indices": np.array([0.0, 1, 2, 3])}, "its arrays must be 1-dimensional, indptr and indices of integers"),
        ):
            R = example(form)
            for name, value in changes.items():
                setattr(R, name, np.asarray(value, getattr(value, "dtype", np.int32)))
            yield R, cause
    R = example("lil")
    R.rows[0] = [9]
    yield R, "a column number is not in 0 .. 3"
    R = example("lil")
    R.data[0] = [1.0] * 1000
    yield R, "row 0 has 1 columns and 1000 values"
    R = example("lil")
    R.rows = R.rows[:2]
    yield R, "it has 2 lists of columns and 6 of values"
    for changes, cause in (
        ({"indices": [7, 0, 0, 0]}, "a block lies outside"),
        ({"indptr": [0, 9, 9, 9]}, "its indptr runs from 0 to 9"),
        ({"indptr": [0, 4]}, "its indptr runs from 0 to 4 in 2 numbers"),
        ({"data": np.ones((1, 2, 2))}, "blocks of shape (1, 2, 2) and 4 places do not make shape (6, 4)"),
    ):
        R = example("bsr").tobsr((2, 2))
        for name, value in changes.items():
            setattr(R, name, np.asarray(value, getattr(value, "dtype", np.int32)))
        yield R, cause
    R = example("dia")
    R.offsets = R.offsets[:1]
    yield R, "it has offsets of shape (1,)"
    R = example("dia")
    R.offsets = R.offsets + 2**30
    yield R, "a diagonal lies outside"
    R = example("dok")
    dict.__setitem__(getattr(R, "_dict", R), (7, 9), 1.0)
    yield R, "number is not in|it is not valid|exceeds"


@pytest.mark.parametrize(("R", "cause"), [pytest.param(*case, id=f"{case[0].format} {case[1]}") for case in broken()])
def test_what_points_outside_is_refused_on_every_path(R, cause):
    cause = cause if "|" in cause else re.escape(cause)
    sentence = f"^{{}} is not a valid {R.format.upper()} matrix.*(?:{cause}).*; build it anew$"
    square = example()
    for name, call in (
        ("R", lambda: Interactions(R)),
        ("R", lambda: ImplicitALS(2, iterations=1).fit(R)),
        ("test", lambda: as_interactions(R, name="test")),
        ("weights", lambda: Interactions(square, weights=R)),
        ("exclude", lambda: checked_csr("exclude", R)),
    ):
        with pytest.raises(ValueError, match=sentence.format(name)):
            call()


def test_a_row_with_three_pointers_is_no_canonical_row():
    R = sparse.csr_array(np.array([[1, 0, 2]], np.float32))
    R.indptr = np.array([0, 2, 2], np.int32)
    assert canonical_row(R, 3, np.dtype(np.float32)) is None
    with pytest.raises(ValueError, match="its indptr has 3 numbers, 2 are wanted"):
        as_interactions(R, n_items=3)


def test_room_for_more_entries_is_left_out():
    R = example()
    R.data, R.indices = np.r_[R.data, 9, 9].astype(np.float32), np.r_[R.indices, 0, 99].astype(np.int32)
    with pytest.raises(ValueError, match="a column number is not in"):
        Interactions(R)
    R.indices[-1] = 0
    made = Interactions(R)
    assert (made.nnz, made.csr.data.tolist()) == (4, example().data.tolist())


def test_raw_ids_as_numbers_are_refused_before_memory_is_asked_for():
    sentence = "the greatest user number is 1234567890: number users and items from 0, without gaps, or let"
    with pytest.raises(ValueError, match=sentence):
        Interactions([(1_234_567_890, 7, 1.0), (5, 7, 1.0)])
    with pytest.raises(ValueError, match=r"R has 1 entries and the greatest item number is 2000000000"):
        Interactions(sparse.coo_array(([1.0], ([0], [2_000_000_000]))))
    assert as_interactions([(0, 1_999_999, 1.0)], n_items=2_000_000).shape == (1, 2_000_000)
    assert Interactions(sparse.coo_array(([1.0], ([0], [5])), shape=(1, 2_000_000))).shape == (1, 2_000_000)
    assert Interactions([(0, 999_999, 1.0)]).shape == (1, 1_000_000)


def test_read_only_arrays_are_kept_and_look_writable_to_kernels():
    R = example()
    for part in (R.data, R.indices, R.indptr):
        part.flags.writeable = False
    made = Interactions(R)
    for part, given in ((made.by_user.values, R.data), (made.by_user.indices, R.indices)):
        assert part.flags.writeable and np.shares_memory(part, given)
    assert not made.csr.data.flags.writeable and not made.csr.indices.flags.writeable
    row = canonical_row(R[[0]], 4, np.dtype(np.float32))
    assert all(part.flags.writeable for part in row)
    own = np.arange(3)
    assert unlocked(own) is own
    frozen = np.frombuffer(b"\1\2\3\4", np.uint8)
    view = unlocked(frozen)
    del frozen
    assert view.flags.writeable and view.tolist() == [1, 2, 3, 4]


def test_kernels_are_not_compiled_again_for_read_only_data(tmp_path):
    def signatures():
        return {
            (module, name): len(value.signatures)
            for module in list(sys.modules)
            if module.startswith("fastals")
            for name, value in vars(sys.modules[module]).items()
            if isinstance(value, Dispatcher)
        }

    R = example()
    model = ImplicitALS(2, iterations=1, random_state=0).fit(R)
    model.recommend([0], n=1)
    model.fold_in_users(R[[0]])
    before = signatures()
    assert sum(before.values()) > 3
    for part in (R.data, R.indices, R.indptr):
        part.flags.writeable = False
    events = Interactions.from_triplets([0, 1, 2], [1, 0, 1])
    for data in (R, Interactions(R), Interactions(R).csr, events, events.csr, mapped(Interactions(R), tmp_path)):
        again = ImplicitALS(2, iterations=1, random_state=0).fit(data)
        again.recommend(again.user_factors_.shape[0] - 1 if data is not events else [0], n=1)
    row = R[[0]]
    for part in (row.data, row.indices, row.indptr):
        part.flags.writeable = False
    model.fold_in_users(row)
    assert signatures() == before
