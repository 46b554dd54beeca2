"""Write a long table with a row for each answer: CSV or Parquet, block after block."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..data.sources import connected, quoted, run
from ..storage import replacing

FORMATS = (".csv", ".parquet")
TYPES = {"i": "BIGINT", "u": "UBIGINT", "f": "REAL", "U": "VARCHAR"}


def check_output(path: str | None) -> Path | None:
    """Return the path to write to, before any work is done."""
    if path is None:
        return None
    if Path(path).suffix.lower() not in FORMATS:
        raise ValueError(f"-o {path}: the name must end in {' or '.join(FORMATS)}")
    if not Path(path).absolute().parent.is_dir():
        raise ValueError(f"-o {path}: there is no folder {Path(path).parent}; make it first")
    return Path(path)


def write_table(path: Path, names: tuple[str, ...], blocks: Iterable[tuple[np.ndarray, ...]]) -> int:
    """Write blocks of columns; return the number of rows. A file that was there is replaced when all is written."""
    with replacing(path) as file:
        if path.suffix.lower() == ".csv":
            return _write_csv(file, names, blocks)[0]
        with connected("a .parquet file") as (con, folder):
            with open(folder / "rows.csv", "wb") as rows:
                n, kinds = _write_csv(rows, names, blocks)
            columns = ", ".join(
                f"{quoted(name)}: {quoted(TYPES[kind])}" for name, kind in zip(names, kinds, strict=True)
            )
            scan = (
                f"read_csv({quoted(str(folder / 'rows.csv'))}, auto_detect=false, header=true, quote='\"', escape='\"'"
            )
            scan += f", columns={{{columns}}}, force_not_null=[{', '.join(map(quoted, names))}])"
            made = folder / "rows.parquet"
            run(con, f"COPY (SELECT * FROM {scan}) TO {quoted(str(made))} (FORMAT parquet)", "the answers")
            with open(made, "rb") as whole:
                shutil.copyfileobj(whole, file)
            return n


def _write_csv(file: IO[bytes], names: tuple[str, ...], blocks: Iterable[tuple[np.ndarray, ...]]) -> tuple[int, str]:
    """Write lines below the names of the columns; return how many, and what kind of array each column is."""
    stream = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    n, kinds = 0, "U" * len(names)
    for columns in blocks:
        kinds = "".join(column.dtype.kind for column in columns)
        writer.writerows(zip(*map(_fields, columns), strict=True))
        n += len(columns[0])
    stream.detach()
    return n, kinds


def _fields(column: np.ndarray) -> list[Any]:
    """Return a column as text; floats with as many digits as tell them apart."""
    return (column.astype(str) if column.dtype.kind == "f" else column).tolist()
