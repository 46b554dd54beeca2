"""Public data sets: where they lie, and how they are read."""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np

from .downloads import Archive, data_home, fetch
from .events import Events, cast_finite
from .ids import Ids
from .interactions import Interactions
from .readers import check_lines, existing, numbered_lines, read_ratings, refuse_line

_GROUPLENS = "https://files.grouplens.org/datasets/"


def _movielens(name: str, checksum: str | None, suffix: str, folder: str) -> Archive:
    files = {f"{part}.{suffix}": f"{folder}/{part}.{suffix}" for part in ("ratings", "movies")}
    return Archive(f"{_GROUPLENS}movielens/{name}.zip", checksum, files)


# GroupLens publishes the MD5 sums beside the archives, as `<archive>.md5`. "latest-small" changes.
_MOVIELENS = {
    "100k": Archive(
        _GROUPLENS + "movielens/ml-100k.zip",
        "md5:0e33842e24a9c977be4e0107933c0723",
        {"u.data": "ml-100k/u.data", "u.item": "ml-100k/u.item"},
    ),
    "1m": _movielens("ml-1m", "md5:c4d9eecfca2ab87c1945afe126590906", "dat", "ml-1m"),
    "10m": _movielens("ml-10m", "md5:ce571fd55effeba0271552578f2648bd", "dat", "ml-10M100K"),
    "20m": _movielens("ml-20m", "md5:cd245b17a1ae2cc31bb14903e1204af3", "csv", "ml-20m"),
    "25m": _movielens("ml-25m", "md5:6b51fb2759a8657d3bfcbfc42b592ada", "csv", "ml-25m"),
    "latest-small": _movielens("ml-latest-small", None, "csv", "ml-latest-small"),
}
_PLAYS = "usersha1-artmbid-artname-plays.tsv"
_LASTFM = {
    "2k": Archive(
        _GROUPLENS + "hetrec2011/hetrec2011-lastfm-2k.zip",
        "sha256:6738f48195667ff03caaab4d32ca9a3133d8cc026b7c3cdaf6ce1010e913c59c",
        {"user_artists.dat": "user_artists.dat", "artists.dat": "artists.dat"},
    ),
    "360k": Archive(
        "http://mtg.upf.edu/static/datasets/last.fm/lastfm-dataset-360K.tar.gz",
        "md5:635e6ed3fc873aa4ba33aba0ebce02b1",
        {_PLAYS: f"lastfm-dataset-360K/{_PLAYS}"},
    ),
}


def fetch_movielens(
    variant: str = "100k", *, folder: str | Path | None = None, download: bool = True, progress: bool = False
) -> Interactions:
    """Read ratings of MovieLens, downloading them from GroupLens the first time.

    Parameters
    ----------
    variant : {"100k", "1m", "10m", "20m", "25m", "latest-small"}, default "100k"
        The name tells how many ratings. All but the last are checked against the MD5 sums that GroupLens publishes.
        GroupLens changes "latest-small" from time to time: of it only the sums within the archive can be checked, and
        figures measured on it cannot be repeated.
    folder : str or Path, optional
        Where data sets are kept, see `fastals.data.downloads.data_home`: without it `$FASTALS_DATA`, or the user's
        cache.
    download : bool, default True
        Whether to download what is not there.
    progress : bool, default False
        Show a bar while downloading.

    Returns
    -------
    Interactions
        With times. The titles, for `read_titles`, lie beside: `data_home() / "ml-100k" / "u.item"`, or `movies.dat`,
        `movies.csv`.

    Raises
    ------
    ValueError, FileNotFoundError, OSError
        The variant is unknown or what came is not what GroupLens published; nothing is there and `download` is False;
        it cannot be downloaded: the message says what to put where instead.

    Notes
    -----
    The licence of the data allows research use, not redistribution. Harper & Konstan 2015.

    Examples
    --------
    >>> ratings = fetch_movielens("100k")  # doctest: +SKIP
    """
    paths = _fetch(_MOVIELENS, f"ml-{variant}", variant, folder, download, progress)
    return read_ratings(paths[0])


def fetch_lastfm(
    variant: str = "2k", *, folder: str | Path | None = None, download: bool = True, progress: bool = False
) -> Interactions:
    """Read how often users listened to artists, downloading it the first time.

    Parameters
    ----------
    variant : {"2k", "360k"}, default "2k"
        "2k": HetRec 2011, 1,892 users (Cantador et al. 2011, from GroupLens). "360k": 359,347 users, 17.5 million
        interactions, 550 MB (Celma 2010, from the Music Technology Group, Barcelona); an artist's id is its name.
        Both are checked against the sums of the archives.
    folder, download, progress
        As in `fetch_movielens`, which also says what is raised.

    Returns
    -------
    Interactions
        The values are counts of plays; no times.

    Examples
    --------
    >>> plays = fetch_lastfm("2k")  # doctest: +SKIP
    """
    path, *_ = _fetch(_LASTFM, f"lastfm-{variant}", variant, folder, download, progress)
    return read_ratings(path) if variant == "2k" else _read_plays(path)


def _fetch(
    archives: dict[str, Archive], name: str, variant: str, folder: str | Path | None, download: bool, progress: bool
) -> list[Path]:
    """Paths of the ratings, then of what comes with them."""
    if variant not in archives:
        raise ValueError(f"variant must be one of {', '.join(map(repr, archives))}, got {variant!r}")
    archive, place = archives[variant], data_home(folder) / name
    ratings = next(iter(archive.files))
    if (place / ratings).is_file():  # people keep the ratings without the titles
        return [place / ratings]
    return list(fetch(archive, place, download, progress).values())


def _read_plays(path: Path) -> Interactions:
    """Read `user mbid artist plays`, separated by tabs; rows without an artist's name are left out, as it is the id."""
    users, artists = array("i"), array("i")
    plays = array("f")
    user_codes: dict[str, int] = {}
    artist_codes: dict[str, int] = {}
    check_lines(existing(path))
    with numbered_lines(path) as lines:
        for number, line in lines:
            try:
                user, _, artist, count = line.split("\t")
                value = float(count)
            except ValueError:
                refuse_line(path, number, line, "'user mbid artist plays' separated by tabs")
            if artist:
                users.append(user_codes.setdefault(user, len(user_codes)))
                artists.append(artist_codes.setdefault(artist, len(artist_codes)))
                plays.append(value)
    if not users:
        raise ValueError(f"file {path} is empty: it holds no plays")
    values = cast_finite(f"file {path}: plays", np.frombuffer(plays, np.float32), np.dtype(np.float32), "rows")
    user_ids, artist_ids = Ids("users", list(user_codes)), Ids("artists", list(artist_codes))
    events = Events(np.frombuffer(users, np.int32), np.frombuffer(artists, np.int32), values)
    shape = len(user_ids), len(artist_ids)
    return Interactions._make(shape, values.dtype, user_ids, artist_ids, events=events)
