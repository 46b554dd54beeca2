"""Rows of a DuckDB query in batches of NumPy arrays, by Arrow's C stream interface: nothing is copied.

https://arrow.apache.org/docs/format/CStreamInterface.html. PyArrow, which would do the same, is 100 MB of code, and
DuckDB's own conversion to NumPy makes a Python object of every string and has all rows in memory.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

# Arrow's letter for a type, and NumPy's. Text is apart; so are moments, whose letters have unit and zone.
_TYPES = {"C": "u1", "i": "i4", "l": "i8", "L": "u8", "g": "f8", "tdD": "i4"}
_TEXT = {"u": "i4", "U": "i8"}  # its offsets


@dataclass(frozen=True)
class Text:
    """Strings in UTF-8: the bytes of string `i` are those from `offsets[i]` to `offsets[i + 1]`."""

    characters: np.ndarray  # uint8
    offsets: np.ndarray  # int64

    def __len__(self) -> int:
        return len(self.offsets) - 1


Batch: TypeAlias = "dict[str, np.ndarray | Text]"


class _Schema(ctypes.Structure):
    pass


class _Array(ctypes.Structure):
    pass


class _Stream(ctypes.Structure):
    pass


def _method(*arguments: Any, result: Any = ctypes.c_int) -> Any:
    return ctypes.CFUNCTYPE(result, *(ctypes.POINTER(argument) for argument in arguments))


_long, _pointer, _string = ctypes.c_int64, ctypes.c_void_p, ctypes.c_char_p
_Schema._fields_ = [
    ("format", _string),
    ("name", _string),
    ("metadata", _string),
    ("flags", _long),
    ("n_children", _long),
    ("children", ctypes.POINTER(ctypes.POINTER(_Schema))),
    ("dictionary", _pointer),
    ("release", _method(_Schema, result=None)),
    ("private_data", _pointer),
]
_Array._fields_ = [
    *((name, _long) for name in ("length", "null_count", "offset", "n_buffers", "n_children")),
    ("buffers", ctypes.POINTER(_pointer)),
    ("children", ctypes.POINTER(ctypes.POINTER(_Array))),
    ("dictionary", _pointer),
    ("release", _method(_Array, result=None)),
    ("private_data", _pointer),
]
_Stream._fields_ = [
    ("get_schema", _method(_Stream, _Schema)),
    ("get_next", _method(_Stream, _Array)),
    ("get_last_error", _method(_Stream, result=_string)),
    ("release", _method(_Stream, result=None)),
    ("private_data", _pointer),
]
_opened = ctypes.pythonapi.PyCapsule_GetPointer
_opened.restype, _opened.argtypes = _pointer, [ctypes.py_object, _string]


def batches(capsule: Any) -> Iterator[Batch]:
    """Yield the rows of a stream by column. The arrays are gone when the next batch is asked for: copy what is kept.

    A column with nulls holds anything in their places. `RuntimeError` has the message of the other side.
    """
    stream = _Stream.from_address(_opened(capsule, b"arrow_array_stream"))
    schema, array = _Schema(), _Array()
    _check(stream, stream.get_schema(stream, schema))
    try:
        columns = [schema.children[place].contents for place in range(schema.n_children)]
        formats = {column.name.decode(): column.format.decode() for column in columns}
    finally:
        schema.release(schema)
    while True:
        _check(stream, stream.get_next(stream, array))
        if not array.release:  # so Arrow marks the end
            return
        try:
            yield {
                name: _column(array.children[place].contents, form)
                for place, (name, form) in enumerate(formats.items())
            }
        finally:
            array.release(array)


def _check(stream: _Stream, status: int) -> None:
    if status:
        said = stream.get_last_error(stream)
        raise RuntimeError(said.decode(errors="replace") if said else f"the stream ended with status {status}")


def _column(column: _Array, form: str) -> np.ndarray | Text:
    """Return a column as it lies in the memory of the other side."""
    begin, end = column.offset, column.offset + column.length
    if form in _TEXT:
        offsets = _numbers(column.buffers[1], _TEXT[form], end + 1)[begin:]
        characters = _numbers(column.buffers[2], "u1", int(offsets[-1]))
        return Text(characters, offsets.astype(np.int64, copy=False))
    moment = form.startswith("ts")
    values = _numbers(column.buffers[1], "i8" if moment else _TYPES[form], end)[begin:]
    if moment:
        unit = "s" if form[2] == "s" else f"{form[2]}s"
        return values.view(f"M8[{unit}]")
    return values.astype("M8[D]").astype("M8[us]") if form == "tdD" else values


def _numbers(address: int | None, dtype: str, n: int) -> np.ndarray:
    kind = np.dtype(dtype)
    if not n or not address:
        return np.zeros(n, kind)
    memory: Any = (ctypes.c_char * (n * kind.itemsize)).from_address(address)
    return np.frombuffer(memory, kind)
