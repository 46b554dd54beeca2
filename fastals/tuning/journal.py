"""The results of a search in a file, so that an interrupted search goes on."""

from __future__ import annotations

import json
from pathlib import Path

from ..engine.forks import OwnLock
from ..storage import replacing
from .candidates import Parameters


class Journal:
    """Results as lines of JSON: the first line says which search it is, each other line holds one score.

    The file always is a complete one: a new one takes its place when it is on the disk. `results` holds by key what the
    file had. A file of a search with another header is refused.
    """

    def __init__(self, path: Path, header: Parameters):
        self._path, self._writing = path, OwnLock()
        self._lines, self.results = [json.dumps(header)], {}
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if not text:
            self._write()
            return
        lines = text.split("\n")[:-1]  # behind the last line end is nothing, or the part of a line from an old version
        try:
            found, *entries = [json.loads(line) for line in lines]
        except ValueError as error:
            raise ValueError(f"journal {path} is not one of a search ({error}): name another file") from error
        if found != json.loads(self._lines[0]):
            other = [name for name in header if not isinstance(found, dict) or found.get(name) != header[name]]
            raise ValueError(
                f"journal {path} is of another search ({', '.join(other)} differ): name another file, or delete it"
            )
        self._lines, self.results = lines, {entry["key"]: entry for entry in entries}

    def add(self, key: str, result: Parameters) -> None:
        """Add a result, which JSON can hold; the key says which candidate, and how far it was fitted."""
        with self._writing():
            self._lines.append(json.dumps({"key": key} | result))
            self._write()

    def _write(self) -> None:
        with replacing(self._path) as file:
            file.write("".join(f"{line}\n" for line in self._lines).encode())
