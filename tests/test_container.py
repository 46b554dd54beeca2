"""The container of events: what it keeps, what it gives, and what it refuses."""

import copy
import datetime
import pickle
import re

import numpy as np
import pytest
from scipy import sparse

from fastals import Interactions
from fastals.data.ids import Ids
from tests.helpers import same_bits
from tests.tables import ratings_of, rows_of


def test_matrix_is_canonical_and_sums_duplicates():
    ratings = ratings_of([1, 0, 1, 1], [2, 1, 0, 2], [3, 4, 0, 0.5])
    matrix = ratings.matrix()
    assert matrix.has_canonical_format
    assert matrix.dtype == np.float32
    assert matrix.shape == ratings.shape == (2, 3)
    assert matrix.nnz == 3  # the stored 0 stays
    np.testing.assert_array_equal(matrix.toarray(), [[0, 4, 0], [0, 0, 3.5]])
    np.testing.assert_array_equal(ratings.matrix(np.ones(4)).toarray(), [[0, 1, 0], [1, 0, 2]])


def test_matrix_leaves_the_ratings_alone():
    ratings = ratings_of([1, 0, 1], [1, 0, 1], [3, 4, 5])
    ratings.matrix()
    assert rows_of(ratings) == [(1, 1, 3, None), (0, 0, 4, None), (1, 1, 5, None)]


def test_matrix_refuses_values_of_another_length():
    with pytest.raises(ValueError, match=re.escape("values must have shape (2,), one number an event, got (3,)")):
        ratings_of([0, 1], [0, 1]).matrix(np.ones(3))


def test_select_keeps_the_id_tables():
    ratings = ratings_of([0, 1, 2], [2, 1, 0], [3, 4, 5], [7, 8, 9])
    picked = ratings.select([2, 0])
    assert picked.shape == (3, 3)
    assert rows_of(picked) == [(2, 0, 5, 9), (0, 2, 3, 7)]
    assert rows_of(ratings.select(ratings.values > 4)) == [(2, 0, 5, 9)]
    assert len(ratings.select([])) == 0
    assert ratings.select([]).matrix().shape == (3, 3)


def test_select_refuses_what_is_no_mask_or_index():
    ratings = ratings_of([0, 1], [0, 1])
    with pytest.raises(ValueError, match=re.escape("a mask must have shape (2,), one entry an event, got (3,)")):
        ratings.select([True, False, True])
    with pytest.raises(TypeError, match="rows must be a boolean mask or integer positions, got dtype float64"):
        ratings.select([0.5])


@pytest.mark.parametrize(
    ("users", "items", "error", "sentence"),
    [
        ([1], [1, 2], ValueError, "users and items must be of equal length, got 1 and 2"),
        ([], [], ValueError, "there are no events"),
        ([1.5], [1], TypeError, "users must be strings or integers, got float64"),
        ([1], [None], TypeError, r"items\[0\] is None"),
    ],
)
def test_wrong_triplet_columns(users, items, error, sentence):
    with pytest.raises(error, match=sentence):
        Interactions.from_triplets(
            np.array(users, None if users else np.int64), np.array(items, None if items else int)
        )


def shop(**options):
    return Interactions.from_triplets(
        ["bob", "ann", "bob", "ann"],
        [7, 2**40, 7, 7],
        [1, 2, 3, 4],
        times=[30, 10, 20, 40],
        events=["view", "buy", "buy", "view"],
        **options,
    )


def test_events_stay_as_they_came():
    R = shop()
    assert (len(R), R.nnz, R.shape, R.dtype) == (4, 3, (2, 2), np.float32)
    assert R.users.tolist() == [1, 0, 1, 0]
    assert R.items.tolist() == [0, 1, 0, 0]
    assert R.values.tolist() == [1, 2, 3, 4]
    assert R.times.tolist() == [30, 10, 20, 40]
    assert R.kinds.tolist() == ["view", "buy", "buy", "view"]
    assert list(R.user_ids) == ["ann", "bob"]
    assert R.csr.toarray().tolist() == [[4, 2], [4, 0]]
    assert rows_of(R.select([2, 0])) == [("bob", 7, 3, 20), ("bob", 7, 1, 30)]
    assert R.select(R.kinds == "buy").csr.toarray().tolist() == [[0, 2], [3, 0]]


def test_times_and_kinds_count_only_where_asked():
    assert shop(weights={"view": 1, "buy": 10}).values.tolist() == [1, 20, 30, 4]
    assert shop(half_life=10).values.tolist() == [0.5, 0.25, 0.75, 4]
    with pytest.raises(ValueError, match="half_life is given without times"):
        Interactions.from_triplets([1], [1], half_life=3)


def test_a_matrix_gives_its_entries_as_events():
    R = Interactions(sparse.csr_array(np.array([[0, 2.0, 1], [3, 0, 0]])))
    assert (len(R), R.users.tolist(), R.items.tolist()) == (3, [0, 0, 1], [1, 2, 0])
    assert R.values.tolist() == [2, 1, 3]
    assert R.times is None and R.kinds is None and R.user_ids is None
    assert R.select(R.values > 1).csr.toarray().tolist() == [[0, 2, 0], [3, 0, 0]]
    assert R.matrix(np.ones(3)).toarray().tolist() == [[0, 1, 1], [1, 0, 0]]
    weighted = Interactions(R, weights=np.array([5.0, 6.0, 7.0]))
    part = weighted.select([2, 0])
    assert part.weights.tolist() == [5, 7]
    assert part.csr.toarray().tolist() == [[0, 2, 0], [3, 0, 0]]


def test_nothing_can_be_set_or_written():
    R, ids = shop(), Ids("users", [3, 1])
    for thing, name in ((R, "dtype"), (R, "values"), (R, "by_user"), (ids, "values")):
        with pytest.raises(AttributeError, match=f"{name} cannot be set: .* do not change, make new ones"):
            setattr(thing, name, None)
        with pytest.raises(AttributeError, match="cannot be set"):
            delattr(thing, name)
    for array in (R.users, R.items, R.values, R.times, ids.values, Interactions(np.eye(2)).items):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_what_the_caller_changes_afterwards_is_not_seen():
    times, values = np.array([3, 1], "M8[s]"), np.array([1.0, 2.0], np.float32)
    R = Interactions.from_triplets([0, 1], [0, 1], values, times)
    times[0], values[0] = 9, 9
    assert R.times.astype(int).tolist() == [3, 1]
    assert R.values.tolist() == [1, 2]
    own = R.matrix()
    own.data[:] = 0
    assert R.csr.data.tolist() == [1, 2]


def test_copies_and_pickles():
    R = shop()
    for other in (copy.copy(R), copy.deepcopy(R), pickle.loads(pickle.dumps(R))):
        assert rows_of(other) == rows_of(R)
        assert same_bits(other.by_item.values, R.by_item.values)


def test_astype_keeps_events():
    R = shop().astype("float64")
    assert (R.dtype, R.values.dtype, R.times.tolist()) == (np.float64, np.float64, [30, 10, 20, 40])
    assert R.astype("float64") is R
    huge = Interactions.from_triplets([1, 2], [1, 1], [1.0, 1e300], dtype="float64")
    with pytest.raises(ValueError, match=re.escape("values[1] is 1e+300: 1 of 2 events are too large for float32")):
        huge.astype("float32")


def test_values_that_are_not_finite_are_named_by_their_event():
    with pytest.raises(ValueError, match=re.escape("values[1] is nan: 2 of 3 events are not finite; drop them")):
        Interactions.from_triplets([1, 2, 3], [1, 2, 3], [1, np.nan, np.inf])
    with pytest.raises(ValueError, match="too large for float32; rescale"):
        Interactions.from_triplets([1], [1], [1e39])
    with pytest.raises(ValueError, match="the sum of the events is too large for float32"):
        Interactions.from_triplets([1, 1], [1, 1], [3e38, 3e38])
    with pytest.raises(ValueError, match=re.escape("values[1] is nan")):
        shop().matrix([1, np.nan, 1, 1])
    assert Interactions.from_triplets([1, 2], [1, 1], [3e38, 3e38]).nnz == 2


def test_what_is_hardly_anything_is_observed_all_the_same():
    """A stored 0 would mean "not observed" to ImplicitALS."""
    year = datetime.timedelta(days=365)
    times = np.array(["0001-01-01", "2026-01-01"], "M8[s]")
    for dtype in ("float32", "float64"):
        R = Interactions.from_triplets([1, 1], [1, 2], times=times, half_life=year, dtype=dtype)
        assert 0 < R.csr.data[0] < 1e-30
        assert R.without_zeros() is R
    tiny = Interactions(np.array([[1e-60, -1e-60, 1]])).csr.data
    assert tiny.tolist() == pytest.approx([1.2e-38, -1.2e-38, 1], rel=0.1)
    zero = Interactions.from_triplets([1, 1], [1, 2], [0, 1], times=times, half_life=year)
    assert zero.csr.data.tolist() == [0, 1]  # a 0 of the caller's stays one


def test_ids_of_others():
    known = shop()
    R = Interactions.from_triplets(["bob"], [7], user_ids=known.user_ids, item_ids=known.item_ids)
    arrays = {"user_ids": known.user_ids.values, "item_ids": known.item_ids.values.tolist()}
    same = Interactions.from_triplets(["bob"], [7], **arrays)
    assert same.shape == R.shape and same.user_ids.same_as(R.user_ids) and same.item_ids.same_as(R.item_ids)
    with pytest.raises(TypeError, match="item_ids"):
        Interactions.from_triplets(["bob"], [7], item_ids=[7.5])
    assert (R.shape, R.users.tolist()) == ((2, 2), [1])
    with pytest.raises(ValueError, match=re.escape("users[1] is 'eve', which is not among the 2 ids")):
        Interactions.from_triplets(["bob", "eve"], [7, 7], user_ids=known.user_ids)


def test_renumbered_events_keep_their_times():
    more = Ids("users", ["zoe", "bob", "ann"])
    R = shop().renumbered(user_ids=more)
    assert (R.shape, R.users.tolist(), R.times.tolist()) == ((3, 2), [1, 2, 1, 2], [30, 10, 20, 40])
    assert R.user_ids is more
