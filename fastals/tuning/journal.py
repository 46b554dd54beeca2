"""The results of a search in a file, so that an interrupted search goes on."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from .candidates import Parameters

__all__ = ["Journal"]


class Journal:
    """Results as lines of JSON: the first line says which search it is, each other line holds one score.

    Parameters
    ----------
    path : Path
        Read if it exists, else made.
    header : dict
        Model, metric, options and data of the search. A file with another header is refused.

    Attributes
    ----------
    results : dict of str to dict
        What the file had, by key.
    """

    def __init__(self, path: Path, header: Parameters):
        self._path, self._writing = path, threading.Lock()
        self.results: dict[str, Parameters] = {}
        lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
        if not lines or lines == [""]:
            path.write_text(json.dumps(header) + "\n", encoding="utf-8")
            return
        unfinished = lines.pop()  # empty, or the part of a line that an interrupted write left
        try:
            found, *entries = [json.loads(line) for line in lines]
        except ValueError as error:
            raise ValueError(f"journal {path} is not one of a search ({error}): name another file") from error
        if found != json.loads(json.dumps(header)):
            other = [name for name in header if not isinstance(found, dict) or found.get(name) != header[name]]
            raise ValueError(
                f"journal {path} is of another search ({', '.join(other)} differ): name another file, or delete it"
            )
        self.results = {entry["key"]: entry for entry in entries}
        if unfinished:
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def add(self, key: str, result: Parameters) -> None:
        """Append a result.

        Parameters
        ----------
        key : str
            Which candidate, and how far it was fitted.
        result : dict
            What JSON can hold.
        """
        with self._writing, self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"key": key} | result) + "\n")
