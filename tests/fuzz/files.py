"""Files whose bytes, parts or headers are damaged by chance."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import numpy as np

from fastals import storage

from .outcome import RIGHT, refusal, scratch

MEMORY = 64 << 20  # bytes that reading a file of some kB may take at most
HEADER = {"model": "Some", "params": {"tol": 0.1, "list": [1, 2], "none": None}, "history": [3.5, 2.25]}
ARRAYS = {
    "factors": np.arange(60, dtype=np.float32).reshape(20, 3),
    "columns": np.asfortranarray(np.arange(12.0).reshape(4, 3)),
    "counts": np.arange(20),
    "twins": np.arange(20),
    "ids": np.array(["a", "bcd", "\U0010ffff"]),
    "flags": np.array([True, False]),
    "none": np.empty((0, 3), np.float32),
}


def same(content: tuple) -> bool:
    """Tell whether a file has given back all that was written."""
    header, arrays = content
    return (
        header == HEADER
        and arrays.keys() == ARRAYS.keys()
        and all(
            (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape) and (arrays[name] == array).all()
            for name, array in ARRAYS.items()
        )
    )


def flipped(good: bytes, chance: random.Random) -> bytes:
    content = bytearray(good)
    for _ in range(chance.choice((1, 1, 2, 8))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(content)


def cut(good: bytes, chance: random.Random) -> bytes:
    return good[: chance.randrange(len(good))]


def spliced(good: bytes, chance: random.Random) -> bytes:
    """Some bytes are taken out, put in, or copied from another place."""
    begin, end = sorted(chance.choices(range(len(good)), k=2))
    other = chance.choice((b"", bytes(chance.randrange(300)), good[chance.randrange(len(good)) :][: end - begin]))
    return good[:begin] + other + good[end:]


def directory_changed(good: bytes, chance: random.Random) -> bytes:
    """A number of the zip directory, or of its end, is another one: sizes, offsets, counts, kinds of compression."""
    content = bytearray(good)
    first = good.index(b"PK\1\2")
    places = [place for place in range(first, len(good) - 4) if good[place : place + 2] == b"PK"]
    place = chance.choice(places) + chance.randrange(4, 46)
    width = chance.choice((2, 4))
    number = chance.choice((0, 1, 8, 12, 14, 0xFF, 0xFFFF, 0xFFFFFFFF, 0x7FFFFFFF, chance.randrange(1 << 32)))
    content[place : place + width] = (number % (1 << 8 * width)).to_bytes(width, "little")
    return bytes(content[: len(good)])


def packed(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip file whose own checksums are right."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def unpacked(good: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def compressed(good: bytes, chance: random.Random) -> bytes:
    members = unpacked(good)
    members[chance.choice(list(members))] += bytes(chance.choice((0, 1 << 24)))
    return packed(members, chance.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)))


def swapped(good: bytes, chance: random.Random) -> bytes:
    """Members are under each other's names, gone, there under a new name, or there twice."""
    members = unpacked(good)
    one, other = chance.sample(list(members), 2)
    kind = chance.randrange(4)
    if kind == 0:
        members[one], members[other] = members[other], members[one]
    elif kind == 1:
        del members[one]
    elif kind == 2:
        members[chance.choice(("new.npy", "new", "../new.npy", "a" * 60_000))] = members[one]
    else:
        return packed(members | {"b" * len(one): members[one]}).replace(b"b" * len(one), one.encode())
    return packed(members)


def array_bytes(text: bytes, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H" if version[0] == 1 else "<I", len(text)) + text + data


def reshaped(good: bytes, chance: random.Random) -> bytes:
    """An array says that it has another shape or kind than its bytes; the zip file's checksums are right."""
    members = unpacked(good)
    shape = chance.choice(
        (
            "(1000000000000,)",
            "(-1, -60)",
            "(18446744073709551617,)",
            "(0, 99999999999999999999)",
            "(60,)",
            "60",
            "()",
            f"({'1, ' * 100})",
            f"({'(' * 400}{')' * 400},)",
            "(1e3,)",
            "(True,)",
            f"({'9' * 5000},)",
        )
    )
    kind = chance.choice(
        ("<f4", ">f4", "|O", "<U0", "<U999999999", "<c8", "|V4", "<M8[s]", "<f2", "<b8", "|b1", "f4,f4")
    )
    text = f"{{'descr': '{kind}', 'fortran_order': {chance.choice(('True', 'False'))}, 'shape': {shape}, }}".encode()
    name = chance.choice(list(members))
    members[name] = array_bytes(
        text + b" " * chance.choice((0, 1, 60_000 - len(text) if len(text) < 60_000 else 0)) + b"\n",
        chance.choice((b"", bytes(240), b"\xff" * 240)),
        chance.choice((b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x09")),
    )
    return packed(members)


def header_changed(good: bytes, chance: random.Random) -> bytes:
    """The header is no JSON, or other JSON; the zip file's checksums are right."""
    members = unpacked(good)
    header = json.loads(members["header.npy"][128:])
    sums = json.dumps(header["checksums"])
    text = chance.choice(
        (
            "[" * 100_000,
            '{"a":' * 100_000,
            "[" * 100_000 + "]" * 100_000,
            "[1]",
            "null",
            "{}",
            "",
            "\x00",
            '{"format": 2}',
            '{"format": true}',
            '{"format": -1}',
            '{"format": "2"}',
            '{"format": 1e400}',
            '{"format": 3}',
            f'{{"format": 2, "checksums": {sums}, "a": NaN}}',
            f'{{"format": 2, "checksums": {sums}, "a": [-Infinity]}}',
            f'{{"format": 2, "checksums": {sums}, "a": 1e999}}',
            f'{{"format": 2, "checksums": {sums}, "a": {"9" * 10_000}}}',
            '{"format": 2, "checksums": []}',
            '{"format": 2, "checksums": 3}',
            json.dumps(header | {"checksums": {name: 0 for name in header["checksums"]}}),
        )
    ).encode()
    text = chance.choice((text, text, b"\xff\xfe" + text))
    text_of = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(text)},), }}\n".encode()
    members["header.npy"] = array_bytes(text_of, text)
    return packed(members)


MUTATIONS = (
    flipped,
    cut,
    spliced,
    directory_changed,
    compressed,
    swapped,
    reshaped,
    header_changed,
)


@contextmanager
def limited_memory(allowed: int) -> Iterator[None]:
    """Inside, this process may take so many bytes more than it has."""
    import resource  # here, as Windows has none

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + allowed, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def tries(seed: int, first: int) -> Iterator[str]:
    """Read damaged files: each has equal arrays, or is refused in a sentence with the path."""
    with scratch() as folder:
        path = storage.write(Path(folder, "good"), HEADER, ARRAYS)
        good = path.read_bytes()
        assert same(storage.read(path))
        for turn in count(first):
            chance = random.Random(f"{seed} {turn}")
            path.write_bytes(MUTATIONS[turn % len(MUTATIONS)](good, chance))
            with limited_memory(MEMORY):
                try:
                    outcome = RIGHT if same(storage.read(path)) else "read, but not what was written"
                except Exception as error:
                    outcome = refusal(error, path)
            yield outcome if "more memory" not in outcome else f"takes too much memory: {outcome}"
