"""The data of the benchmarks: each problem is a matrix and the two numbers of its objective."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".cache" / "bench"


@dataclass(frozen=True)
class Problem:
    """Minimise over X, Y: sum over all cells of c (p - x.y)^2 + regularization (|X|^2 + |Y|^2).

    A stored cell has p = 1 and c = 1 + alpha r, every other p = 0 and c = 1 (Hu, Koren & Volinsky 2008).
    """

    name: str
    R: sp.csr_matrix  # float32, users x items, ids ascending within a row
    alpha: float = 10.0
    regularization: float = 1.0


class UnavailableError(Exception):
    """The data of a problem is not on this machine; the message says what to do."""


def _lines(path: str) -> list[str]:
    folder = os.environ.get("FASTALS_DATA")
    if not folder:
        raise UnavailableError(f"FASTALS_DATA is not set: it names the folder that holds {path}")
    file = Path(folder) / path
    if not file.exists():
        raise UnavailableError(f"{file} does not exist")
    return file.read_text().splitlines()


def _read_ml_1m() -> sp.csr_matrix:
    """Read lines of `user item item ...`; every listed item is an event of weight 1."""
    rows = [np.array(line.split(), dtype=np.int32) for line in _lines("ml-1m-implicit/train.txt")]
    users = np.repeat([row[0] for row in rows], [len(row) - 1 for row in rows])
    items = np.concatenate([row[1:] for row in rows])
    return sp.csr_matrix((np.ones(len(items), np.float32), (users, items)))


def _read_lastfm() -> sp.csr_matrix:
    """Read `user artist count`; r = ln(1 + count) over its mean.

    Counts run from 1 to 352,698. The logarithm keeps one album on repeat from outweighing a whole listening history,
    and mean 1 lets alpha mean what it means for events of weight 1.
    """
    lines = (line.split() for line in _lines("lastfm-2k/user_artists.dat"))
    # Copies of this file begin with different headers: names of columns, or counts of rows.
    users, artists, counts = np.array([line for line in lines if len(line) == 3 and line[0].isdigit()], np.int64).T
    _, rows = np.unique(users, return_inverse=True)
    _, columns = np.unique(artists, return_inverse=True)
    weights = np.log1p(counts)
    return sp.csr_matrix(((weights / weights.mean()).astype(np.float32), (rows, columns)))


def _synthetic(users: int, items: int, cells: int) -> Callable[[], sp.csr_matrix]:
    def generate() -> sp.csr_matrix:
        from fastals.datasets import synthetic

        return sp.csr_matrix(synthetic(users, items, cells, random_state=0).matrix())

    return generate


READERS: dict[str, Callable[[], sp.csr_matrix]] = {
    "lastfm-2k": _read_lastfm,
    "ml-1m": _read_ml_1m,
    "synthetic-20m": _synthetic(138_000, 27_000, 20_000_000),  # the shape of MovieLens 20M
}


def _cache_file(name: str) -> Path:
    digest = hashlib.sha256(Path(__file__).read_bytes())
    generator = ROOT / "fastals" / "data" / "synthetic.py"
    if name.startswith("synthetic") and generator.exists():
        digest.update(generator.read_bytes())
    return CACHE / f"{name}-{digest.hexdigest()[:16]}.npz"


def prepare(name: str) -> None:
    """Read or generate a problem once and keep it as arrays; `UnavailableError` where its data is not here."""
    file = _cache_file(name)
    if file.exists():
        return
    R = READERS[name]().astype(np.float32)
    R.sum_duplicates()
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".part.npz")
    np.savez(unfinished, data=R.data, indices=R.indices, indptr=R.indptr, shape=R.shape)
    unfinished.replace(file)


def load(name: str) -> Problem:
    """Load a prepared problem; takes no memory beside the arrays themselves, so that peaks can be compared."""
    prepare(name)
    with np.load(_cache_file(name)) as arrays:
        R = sp.csr_matrix((arrays["data"], arrays["indices"], arrays["indptr"]), shape=tuple(arrays["shape"]))
    return Problem(name, R)
