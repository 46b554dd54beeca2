"""Numbers for ids that come in batches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastals.data import coding
from fastals.data.arrow import Text
from fastals.data.coding import Coder
from fastals.engine import coded


def text_of(words):
    parts = [word.encode() for word in words]
    joined = b"".join(parts)
    ends = np.cumsum([0, *map(len, parts)])
    return Text(np.frombuffer(b"??" + joined, np.uint8), ends + 2)  # it need not begin at 0


def check(batches, as_ids):
    """Assert that ids are numbered as a dictionary would, and in ascending order at the end."""
    coder, known = Coder("users"), {}
    for batch in batches:
        wanted = [known.setdefault(one, len(known)) for one in batch]
        found = coder.numbers(as_ids(batch))
        assert (found.dtype, found.tolist()) == (np.int32, wanted)
    ids, places = coder.ids()
    assert ids.tolist() == sorted(known)
    assert [ids[place] for place in places] == list(known)
    assert len(coder) == len(known)


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)


@given(st.lists(st.lists(texts | st.sampled_from(["a", "aa", "b" * 8, "b" * 9, "b" * 16]), min_size=1), min_size=1))
def test_text(batches):
    check(batches, text_of)


@given(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3), min_size=1), min_size=1))
def test_integers(batches):
    check(batches, lambda batch: np.array(batch, np.int64))


@pytest.mark.parametrize(("largest", "dtype"), [(2**64 - 1, np.uint64), (7, np.int64)])
def test_integers_without_a_sign(largest, dtype):
    def unsigned(batch):
        return np.array(batch, np.uint64)

    check([[largest, 5], [2**63 if largest > 2**63 else 9, 5]], unsigned)
    coder = Coder("users")
    coder.numbers(unsigned([largest, 5]))
    assert coder.ids()[0].values.dtype == dtype  # as `Ids` has them


def test_an_empty_id_at_the_end_of_all_room(monkeypatch):
    monkeypatch.setattr(coding, "_FIRST", 1)
    check([["a" * 16, ""], ["", "a" * 16] * 300], text_of)


def test_more_ids_than_there_was_room_for(monkeypatch):
    monkeypatch.setattr(coding, "_FIRST", 4)
    rng = np.random.default_rng(0)
    batches = [[f"user-{number:0{rng.integers(1, 40)}}" for number in rng.integers(0, 3000, 4000)] for _ in range(3)]
    check(batches, text_of)


def test_a_word_longer_than_all_room(monkeypatch):
    monkeypatch.setattr(coding, "_FIRST", 1)
    check([["a" * 1000, "a" * 999, "", "a" * 1000]], text_of)


def test_equal_hashes_do_not_make_ids_equal():
    """In a table of which every slot but one is taken, by ids of other hashes and of the same."""
    slots, ends = np.zeros(8, np.uint64), np.arange(5) * 8
    ids = np.arange(4).view(np.uint8)
    coded.fill(slots, ids, ends, 4)
    slots[slots != 0] &= np.uint64(0xFFFFFFFF)  # whatever their hashes were
    slots[slots == 0] = np.uint64(1)
    free = np.flatnonzero(slots == 1)[0]
    slots[free] = 0
    room, ends = np.concatenate([ids, np.zeros(80, np.uint8)]), np.concatenate([ends, np.zeros(9, np.int64)])
    known, numbers = np.array([4]), np.empty(2, np.int32)
    given_ids, offsets = np.array([77, 77]).view(np.uint8), np.array([0, 8, 16])
    hashes = np.empty(2, np.uint64)
    row = coded.number(0, given_ids, offsets, slots, room, ends, known, hashes, numbers)
    assert (row, numbers.tolist(), known.tolist()) == (2, [4, 4], [5])


def test_text_that_a_fixed_width_would_change_or_inflate():
    check([["b", "", "a"], ["a", "\0b"]], text_of)
    check([["b" * 1000, *"acdefghijk"]], text_of)
    coder = Coder("column 'who'")
    coder.numbers(text_of(["a", "a\0"]))
    with pytest.raises(ValueError, match=r"^column 'who' holds 'a\\x00': an id cannot end with the character NUL"):
        coder.ids()


def test_too_many_ids(monkeypatch):
    monkeypatch.setattr(coding, "MOST_ROWS", 4)
    monkeypatch.setattr(coding, "_FIRST", 2)
    with pytest.raises(
        ValueError, match=r"^column 'who' holds more than 4 different ids, which is the most that fits$"
    ):
        Coder("column 'who'").numbers(np.arange(9))
