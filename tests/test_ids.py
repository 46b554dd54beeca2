"""Names to numbers and back, and what is no name."""

import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastals.data.ids import Ids, as_id_array, encode

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
        (numbers, 8, ValueError, r"items is 8, which is not among the 2 ids of the model$"),
        (numbers, [7, 5, 4], ValueError, r"items\[1\] is 5, .* \(2 of 3 are unknown\)$"),
        (numbers, "7", TypeError, r"items must be integers, .* got strings \(the first is '7'\)"),
        (Ids("items", [2**64 - 1, 0]), -1, ValueError, r"items is -1, which is not"),
        (Ids("items", [-1, 0]), 2**64 - 1, ValueError, r"items is 18446744073709551615, which is not"),
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


def test_ids_are_a_sequence():
    ids, words = Ids("items", np.array([7, 3, 9, 11], np.int16)), Ids("items", ["ann", "bob"])
    assert (len(ids), ids[1], ids[np.int64(-1)], list(ids), list(words)) == (4, 3, 11, [7, 3, 9, 11], ["ann", "bob"])
    assert ids[[0, 2]].tolist() == ids[np.array([0, 2])].tolist() == [7, 9]
    assert type(ids[0]) is int and type(words[0]) is str
    assert np.asarray(ids).tolist() == ids.tolist() == [7, 3, 9, 11]
    assert np.asarray(ids, np.float32).dtype == np.float32
    assert (3 in ids, 4 in ids, "3" in ids, 3.0 in ids, None in ids) == (True, False, False, False, False)
    assert ("ann" in words, "an" in words, 1 in words) == (True, False, False)
    assert repr(ids) == "Ids(4 integers: 7, 3, 9, ...)"
    assert repr(words) == "Ids(2 strings: 'ann', 'bob')"
    with pytest.raises(IndexError):
        ids[4]


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 9), min_size=1) | st.lists(st.text("ab"), min_size=1)
)
def test_ids_are_coded_in_ascending_order(values):
    ids, codes = encode("users", values)
    assert list(ids) == sorted(set(values))
    assert codes.dtype == np.int32
    assert ids[codes].tolist() == values
    of_array = encode("users", np.array(values, np.str_ if isinstance(values[0], str) else np.int64))
    assert of_array[0].same_as(ids) and np.array_equal(of_array[1], codes)


def test_large_unsigned_ids_are_coded_exactly():
    ids, codes = encode("users", [2**64 - 1, 2**64 - 2, 2**64 - 1])
    assert (list(ids), codes.tolist()) == ([2**64 - 2, 2**64 - 1], [1, 0, 1])


def test_strings_are_coded_block_by_block(monkeypatch):
    monkeypatch.setattr("fastals.data.ids._BLOCK", 3)
    values = ["b", "a", "c", "b", "d", "a", "e"]
    ids, codes = encode("users", values)
    assert ids[codes].tolist() == values
    with pytest.raises(TypeError, match=r"users\[5\] is 1: ids must be all strings"):
        encode("users", ["b", "a", "c", "b", "d", 1])


def test_one_long_id_is_stored_in_proportion_or_refused():
    long = "x" * 1_000_000
    ids, codes = encode("users", [f"u{n % 10}" for n in range(5000)] + [long])
    assert len(ids) == 11 and ids[10] == long and codes[-1] == 10
    sentence = r"users holds an id of 1,000,000 characters, which starts 'x+': ids are stored at the width of the long"
    for call in (encode, as_id_array):
        with pytest.raises(ValueError, match=sentence):
            call("users", [f"u{n}" for n in range(5000)] + [long])


def test_an_id_that_ends_with_nul_is_refused():
    for call in (encode, as_id_array, Ids):
        with pytest.raises(ValueError, match=r"users holds 'a\\x00': an id cannot end with the character NUL"):
            call("users", ["a", "a\0"])
    assert list(Ids("users", ["a\0b", "a"])) == ["a\0b", "a"]


def test_missing_ids_are_named_by_their_place():
    for missing in (None, float("nan"), np.datetime64("NaT", "s")):
        with pytest.raises(TypeError, match=r"users\[1\] is .*: ids must be all strings or all integers; drop rows"):
            encode("users", ["a", missing])
        with pytest.raises(TypeError, match="column 'who', row 1 is "):
            encode("column 'who'", [1, missing])


# New ids behind the known ones.


@given(
    values=st.one_of(
        *(
            st.lists(kind, min_size=2, max_size=40, unique=True)
            for kind in (st.text("abc\u00e9", max_size=9), st.integers(0, 2**64 - 1))
        )
    ),
    data=st.data(),
)
def test_added_ids_are_numbered_behind_the_known_ones(values, data):
    cuts = sorted(data.draw(st.lists(st.integers(1, len(values)), min_size=1, max_size=3)))
    ids = Ids("items", values[: cuts[0]])
    for begin, end in zip(cuts, [*cuts[1:], len(values)], strict=True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fastals.data.ids._FEW", data.draw(st.sampled_from([-9, 2, 64])))
            ids = ids.with_ids("items", np.array(values[begin:end], object))
    assert ids.tolist() == values
    assert len(ids) == len(values)
    assert ids.positions("items", values[::-1]).tolist() == list(range(len(values)))[::-1]
    assert ids.take(np.arange(len(values))).tolist() == values
    assert all(value in ids for value in values)
    assert ids.same_as(Ids("items", values))
    assert pickle.loads(pickle.dumps(ids)).positions("items", values[-1:]).tolist() == [len(values) - 1]


def test_ids_that_cannot_be_added():
    numbers, words = Ids("items", [7, -3]), Ids("items", ["x", "y"])
    for ids, new, error, sentence in (
        (numbers, [9, 7], ValueError, r"^items\[1\] is 7, which is known already$"),
        (numbers, [9, 9], ValueError, "^items holds 9 more than once$"),
        (numbers, ["9"], TypeError, "^items must be integers"),
        (numbers, [2**64 - 1], ValueError, "^items holds an integer beyond 64 bits"),
        (words, [1], TypeError, "^items must be strings"),
    ):
        with pytest.raises(error, match=sentence):
            ids.with_ids("items", new)
    wide = Ids("items", [str(number) for number in range(300_000)])
    with pytest.raises(ValueError, match="items holds an id of 500 characters, which starts 'zzz"):
        wide.with_ids("items", ["z" * 500])
    assert words.with_ids("items", []) is words


def test_unknown_ids_may_be_ignored():
    ids = Ids("items", ["x", "y"]).with_ids("items", ["longer"])
    assert ids.positions("items", ["y", "no", "longer", "longest"], unknown="ignore").tolist() == [1, -1, 2, -1]
    with pytest.raises(TypeError, match="items must be strings"):
        ids.positions("items", [1], unknown="ignore")


def test_one_id_is_what_it_is_among_many():
    words, numbers = Ids("items", ["ab", "c"]).with_ids("items", ["longer"]), Ids("items", [5, -3])
    large = Ids("items", [2**64 - 1, 0])
    for ids, asked in ((words, ["ab", "longer", "abc", "ab\0", "", 5]), (numbers, [5, -3, 2**63, -(2**64), "ab", 4]),
                       (large, [2**64 - 1, 0, -1, 2**64])):  # fmt: skip
        for one in asked:
            try:
                wanted = ids.positions("items", [one]).tolist()
            except (TypeError, ValueError) as error:
                sentence = re.escape(str(error)).replace(r"items\[0\]", r"items(\[0\])?")  # one has no place
                with pytest.raises(type(error), match=f"^{sentence}$"):
                    ids.positions("items", one)
            else:
                assert ids.positions("items", one).tolist() == wanted
