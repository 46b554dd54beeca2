"""Files of lines of text: their lines, the integers in them, and what is wrong with a line."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

__all__ = ["check_lines", "existing", "integer", "is_integer", "numbered_lines", "refuse_encoding", "refuse_line"]

# Bytes of a line: more is no table, and reading it would take memory without end.
_LONGEST_LINE = 1 << 26
_BLOCK = 1 << 20


def existing(path: str | Path) -> Path:
    """Return a path as Path; it must lead to a file."""
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is no regular file" if path.exists() else "does not exist"
        raise FileNotFoundError(
            f"{path} {what}: give the path of the data file itself (relative paths start at {Path.cwd()})"
        )
    return path


@contextmanager
def numbered_lines(path: Path, skip: int = 0) -> Iterator[Iterator[tuple[int, str]]]:
    """Open a file for its lines that are not empty, without their ends, each with its number from 1; less the first."""
    with path.open(encoding="utf-8-sig") as stream:
        lines = ((number, line.rstrip("\n")) for number, line in enumerate(stream, start=1) if line.strip())
        yield itertools.islice(lines, skip, None)


def refuse_line(path: Path, number: int, line: str, expected: str, remedy: str = "") -> NoReturn:
    """Say what is wrong with a line."""
    shown = repr(line[:100])[:100]
    raise ValueError(f"file {path}, line {number}: expected {expected}, got {shown}{'; ' if remedy else ''}{remedy}")


def check_lines(path: Path) -> None:
    """Refuse what is no text of lines, before it is read as such."""
    length = number = 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            if b"\0" in block:
                line = number + block.count(b"\n", 0, block.index(b"\0")) + 1
                raise ValueError(
                    f"file {path}, line {line}: expected UTF-8 text, got a NUL byte; unpack or convert the file"
                )
            ends = max(block.rfind(b"\n"), block.rfind(b"\r"))
            length = len(block) - ends - 1 if ends >= 0 else length + len(block)
            number += block.count(b"\n")
            if length > _LONGEST_LINE:
                raise ValueError(
                    f"file {path}, line {number + 1}: more than {_LONGEST_LINE:,} bytes without the end of a line: "
                    "this is no file of interactions with a line each"
                )


def refuse_encoding(path: Path) -> NoReturn:
    """Name the line of the first byte that is no UTF-8."""
    raw = path.read_bytes()
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        byte = raw[error.start]
    raise ValueError(
        f"file {path}, line {number}: expected UTF-8 text, got byte 0x{byte:02x}; unpack or convert the file"
    )


def is_integer(text: str) -> bool:
    """Tell whether a text is an integer of plain digits, with or without a minus."""
    return text.isascii() and text.removeprefix("-").isdigit()


def integer(text: str) -> int:
    """Return a text as an integer of 64 bits; Python's own would take 1_000 as well."""
    stripped = text.strip()
    number = int(stripped) if is_integer(stripped.removeprefix("+")) else None
    if number is None or not -(2**63) <= number < 2**63:
        raise ValueError(text)
    return number
