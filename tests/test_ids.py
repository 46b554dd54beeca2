"""Names to numbers and back, and what is no name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastals.data.ids import Ids, as_id_array

integers = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20, unique=True)
large = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20, unique=True)
# NumPy's strings of fixed width do not keep a NUL at their end.
strings = st.lists(st.text(st.characters(exclude_characters="\0"), min_size=1), min_size=1, max_size=20, unique=True)


@given(values=integers | large | strings, data=st.data())
def test_names_go_to_numbers_and_back(values, data):
    ids = Ids("items", values)
    numbers = np.array(data.draw(st.lists(st.integers(0, len(values) - 1))), np.intp)
    asked = [values[number] for number in numbers]
    assert np.array_equal(ids.positions("items", asked), numbers)
    assert ids.take(numbers).tolist() == asked
    assert ids.positions("items", values[0]).tolist() == [0]


@pytest.mark.parametrize(
    ("values", "nothing"), [([5, 3], -1), (["b", "a"], ""), ([2**64 - 2, 0], 2**64 - 1)], ids=["int", "str", "uint"]
)
def test_no_name(values, nothing):
    assert Ids("items", values).take(np.array([[0, -1]])).tolist() == [[values[0], nothing]]


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        (["a", "bc"], "U"),
        (np.array(["a", "bc"], object), "U"),
        (np.array([1, 2], object), "i"),
        (np.array([1, 2], np.uint8), "i"),
        (np.array([2**64 - 1], np.uint64), "u"),
        ([2**64 - 1, 0], "u"),
        ([np.int32(3), 4], "i"),
        ([], "U"),
    ],
)
def test_what_may_be_ids(ids, kind):
    array = as_id_array("users", ids if len(ids) else np.array(ids, object))
    assert array.dtype.kind == kind
    assert array.tolist() == list(ids)


@pytest.mark.parametrize(
    ("ids", "error", "sentence"),
    [
        (np.array([1.0, 2.0]), TypeError, "users must be strings or integers, got float64; drop rows without an id"),
        (np.array(["a", None]), TypeError, r"users\[1\] is None: ids must be all strings or all integers"),
        (np.array([1, "a"], object), TypeError, r"users\[1\] is 'a': ids must be all strings"),
        (np.array([1, True], object), TypeError, r"users\[1\] is True"),
        ([1, "a"], TypeError, r"users\[1\] is 'a': ids must be all strings or all integers"),
        ([1.0], TypeError, r"users\[0\] is 1.0: ids must be all strings or all integers"),
        (np.array([True]), TypeError, "users must be strings or integers, got bool"),
        (np.array([b"a"]), TypeError, r"users must be strings or integers, got \|S1; convert them first"),
        (np.array([2**64, 1], object), ValueError, "users holds an integer beyond 64 bits"),
        (np.array([2**63, -1], object), ValueError, "users holds an integer beyond 64 bits"),
        ([[1]], ValueError, r"users must be a 1-D array of ids, got shape \(1, 1\)"),
    ],
)
def test_what_may_not_be_ids(ids, error, sentence):
    with pytest.raises(error, match=sentence):
        as_id_array("users", ids)


def test_unknown_names():
    numbers, words = Ids("items", [7, 3]), Ids("items", ["x", "y"])
    for ids, asked, error, sentence in (
        (numbers, 8, ValueError, r"items\[0\] is 8, which is not among the 2 ids of the model$"),
        (numbers, [7, 5, 4], ValueError, r"items\[1\] is 5, .* \(2 of 3 are unknown\)$"),
        (numbers, "7", TypeError, r"items must be integers, .* got strings \(the first is '7'\)"),
        (Ids("items", [2**64 - 1, 0]), -1, ValueError, r"items\[0\] is -1, which is not"),
        (Ids("items", [-1, 0]), 2**64 - 1, ValueError, r"items\[0\] is 18446744073709551615, which is not"),
        (words, 7, TypeError, r"items must be strings, .* got integers \(the first is 7\)"),
        (words, [["x"]], ValueError, r"items must be one id or a 1-D array of ids, got an array of shape \(1, 1\)"),
    ):
        with pytest.raises(error, match=sentence):
            ids.positions("items", asked)


def test_names_are_unique():
    with pytest.raises(ValueError, match="item_ids holds 'x' more than once"):
        Ids("item_ids", ["x", "y", "x"])


def test_same_names():
    ids = Ids("items", [1, 2])
    assert ids.same_as(ids)
    assert ids.same_as(Ids("items", [1, 2]))
    assert not ids.same_as(Ids("items", [2, 1]))
    assert len(ids) == 2
