"""A table of hashes that gives each new id, a run of bytes, the next number."""

import numpy as np

from .jit import fused, kernel

BLOCK = 512  # ids that are looked up together
_FACTOR, _LOW = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xFFFFFFFF)
_EMPTY, _ONE, _SHIFT, _HALF = np.uint64(0), np.uint64(1), np.uint64(7), np.uint64(32)


@fused
def _hash(characters, begin, end):
    """Return a hash of some bytes, eight at a time: FNV with a larger factor."""
    hashed = np.uint64(end - begin)
    while begin + 8 <= end:
        word = np.uint64(0)
        for place in range(8):  # which LLVM makes one load of
            word |= np.uint64(characters[begin + place]) << np.uint64(8 * place)
        hashed = (hashed ^ word) * _FACTOR
        hashed ^= hashed >> _HALF
        begin += 8
    word = np.uint64(0)
    for place in range(begin, end):
        word = word << np.uint64(8) | np.uint64(characters[place])
    hashed = (hashed ^ word) * _FACTOR
    return (hashed ^ hashed >> _HALF) * _FACTOR


@fused
def _same(left, i, right, j, length):
    """Tell whether two runs of bytes are equal."""
    place = 0
    while place < length and left[i + place] == right[j + place]:
        place += 1
    return place == length


@kernel
def number(row, given, offsets, slots, characters, ends, known, hashes, numbers):
    """Give ids their numbers from one row on, and return the row after the last that found room.

    A slot is 0, or has the upper half of a hash and the number of the id that has it, plus 1.
    """
    mask, n = np.uint64(len(slots) - 1), known[0]
    while row < len(numbers):
        size = min(len(hashes), len(numbers) - row)
        _look_up(row, size, given, offsets, slots, characters, ends, hashes, numbers)
        for i in range(size):
            begin, end = offsets[row], offsets[row + 1]
            place, tag = hashes[i] >> _SHIFT & mask, hashes[i] & ~_LOW
            found = np.int64(-1)
            while slots[place] != _EMPTY and found < 0:
                slot = slots[place]
                one = np.int64(slot & _LOW) - 1
                first = ends[one]
                alike = slot & ~_LOW == tag and ends[one + 1] - first == end - begin
                if alike and _same(given, begin, characters, first, end - begin):
                    found = one
                place = place + _ONE & mask
            if found < 0:
                first = ends[n]
                if n + 1 == len(ends) or first + end - begin > len(characters):
                    known[0] = n
                    return row
                for byte in range(end - begin):
                    characters[first + byte] = given[begin + byte]
                found, n = n, n + 1
                ends[n] = first + end - begin
                slots[place] = tag | np.uint64(n)
            numbers[row] = found
            row += 1
    known[0] = n
    return row


@fused
def _look_up(row, size, given, offsets, slots, characters, ends, hashes, numbers):
    """Hash some ids, and bring what the first slot of each leads to into the cache.

    Each of the three loops waits for the memory of many ids at the same time, which `number` does for one at a time.
    """
    mask = np.uint64(len(slots) - 1)
    for i in range(size):
        hashes[i] = _hash(given, offsets[row + i], offsets[row + i + 1])
    for i in range(size):
        numbers[row + i] = max(np.int64(slots[hashes[i] >> _SHIFT & mask] & _LOW) - 1, 0)
    for i in range(size):
        numbers[row + i] = characters[min(ends[numbers[row + i]], len(characters) - 1)]


@kernel
def fill(slots, characters, ends, n):
    """Enter the first ids into an empty table."""
    mask = np.uint64(len(slots) - 1)
    for number in range(n):
        hashed = _hash(characters, ends[number], ends[number + 1])
        place = hashed >> _SHIFT & mask
        while slots[place] != _EMPTY:
            place = place + _ONE & mask
        slots[place] = hashed & ~_LOW | np.uint64(number + 1)
