"""Ids that come in batches, to numbers: each new id gets the next number, until all are sorted at the end."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.coded import BLOCK, fill, number
from ..engine.problem import MOST_ROWS
from .ids import Ids, as_id_array

if TYPE_CHECKING:
    from .arrow import Text

_FIRST = 1 << 12  # places for ids, and 16 times as many bytes, before the first of them has come


class Coder:
    """Numbers ids of one kind, text or 64-bit integers, in the order in which they come.

    The ids are kept as bytes, one after another, with a table of hashes. Memory grows with the number of different ids.
    """

    def __init__(self, name: str):
        self.name = name
        self._integers: Any = None  # dtype of the ids, None: text
        self._characters = np.empty(16 * _FIRST, np.uint8)
        self._ends = np.zeros(_FIRST + 1, np.int64)
        self._slots = np.zeros(2 * _FIRST, np.uint64)
        self._known = np.zeros(1, np.int64)
        self._hashes = np.empty(BLOCK, np.uint64)

    def __len__(self) -> int:
        return int(self._known[0])

    def numbers(self, ids: np.ndarray | Text) -> np.ndarray:
        """Return the number of each id, int32."""
        if isinstance(ids, np.ndarray):
            self._integers = ids.dtype
            characters, offsets = ids.view(np.uint8), np.arange(0, 8 * len(ids) + 1, 8)
        else:
            characters, offsets = ids.characters, ids.offsets
        found, row = np.empty(len(ids), np.int32), 0
        while True:
            own = self._slots, self._characters, self._ends, self._known, self._hashes
            row = number(row, characters, offsets, *own, found)
            if len(self) > MOST_ROWS:
                raise ValueError(f"{self.name} holds more than {MOST_ROWS} different ids, which is the most that fits")
            if row == len(ids):
                return found
            self._grow(int(offsets[row + 1] - offsets[row]))

    def ids(self) -> tuple[Ids, np.ndarray]:
        """Return all ids in ascending order, and for each number so far the one in that order."""
        n = len(self)
        ends = self._ends[: n + 1]
        characters = self._characters[: ends[n]]
        if self._integers is not None:
            values = characters.view(self._integers)
            order = np.argsort(values, kind="stable")
            ids = Ids.ascending(as_id_array(self.name, values[order]))
        elif (table := _in_ascii(characters, ends)) is not None:
            order = np.argsort(table, kind="stable")
            ids = Ids.ascending(table[order].astype(f"U{table.itemsize}"))
        else:
            whole = characters.tobytes()
            texts = [whole[begin:end] for begin, end in pairwise(ends.tolist())]
            # Bytes of UTF-8 have the order of the characters.
            order = np.array(sorted(range(n), key=texts.__getitem__), np.int64)
            ids = Ids(self.name, [texts[place].decode() for place in order])
        places = np.empty(n, np.int32)
        places[order] = np.arange(n, dtype=np.int32)
        return ids, places

    def _grow(self, length: int) -> None:
        """Make room for more ids, the next of which has so many bytes."""
        n = len(self)
        if self._ends[n] + length > len(self._characters):
            more = np.empty(2 * len(self._characters) + length, np.uint8)
            more[: self._ends[n]] = self._characters[: self._ends[n]]
            self._characters = more
        if n + 1 == len(self._ends):
            self._ends = np.concatenate([self._ends, np.zeros(len(self._ends) - 1, np.int64)])
            self._slots = np.zeros(2 * len(self._slots), np.uint64)
            fill(self._slots, self._characters, self._ends, n)


def _in_ascii(characters: np.ndarray, ends: np.ndarray) -> np.ndarray | None:
    """Return text as bytes of one width, which sort ten times as fast; None if that would change or inflate it."""
    lengths = np.diff(ends)
    width = int(lengths.max(initial=1))
    if characters.max(initial=0) >= 128 or (characters[ends[1:] - 1] == 0).any() or width * len(lengths) > 4 * ends[-1]:
        return None
    table = np.zeros((len(lengths), width), np.uint8)
    table[np.arange(width) < lengths[:, None]] = characters
    return table.view(f"S{width}").ravel()
