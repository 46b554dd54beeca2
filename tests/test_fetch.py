"""Public data sets: what is downloaded, how it is read, and the variants."""

import numpy as np
import pytest

from fastals.data import fetch
from fastals.data.published import read_titles

# ruff: noqa: F811 - fixtures
from tests.test_downloads import archive, server, tarred, zipped  # noqa: F401 - two of these are fixtures


def test_fetch_movielens(server, archive, tmp_path, monkeypatch):
    monkeypatch.setitem(fetch._MOVIELENS, "100k", archive)
    monkeypatch.setenv("FASTALS_DATA", str(tmp_path))
    ratings = fetch.fetch_movielens()
    np.testing.assert_array_equal(ratings.values, [5, 3])
    np.testing.assert_array_equal(ratings.item_ids, [10, 20])
    assert read_titles(tmp_path / "ml-100k" / "u.item") == {10: "Film"}
    (tmp_path / "ml-100k" / "u.item").unlink()
    assert len(fetch.fetch_movielens("100k", download=False)) == 2  # the ratings are enough
    assert server.asked == ["/ml.zip"]


def test_fetch_lastfm(server, tmp_path, monkeypatch):
    plays = "u1\tm1\tSigur Rós\t7\nu1\t\tBj\x85rk\t3\nu2\tm1\tSigur Rós\t1\nu2\tm2\t\t9\n"
    small = zipped(**{"user_artists.dat": "userID\tartistID\tweight\n2\t51\t13\n", "artists.dat": "id\n"})
    monkeypatch.setitem(
        fetch._LASTFM,
        "2k",
        server.put("/2k.zip", small, {name: name for name in ("user_artists.dat", "artists.dat")}),
    )
    large = server.put("/360k.tar.gz", tarred("d/plays", plays), {"plays": "d/plays"})
    monkeypatch.setitem(fetch._LASTFM, "360k", large)
    assert fetch.fetch_lastfm("2k", folder=tmp_path).values.tolist() == [13]
    ratings = fetch.fetch_lastfm("360k", folder=tmp_path)
    np.testing.assert_array_equal(ratings.matrix().toarray(), [[7, 3], [1, 0]])
    assert ratings.item_ids.tolist() == ["Sigur Rós", "Bj\x85rk"]


def test_plays_that_are_none_are_named(server, tmp_path, monkeypatch):
    for text, message in (("u\tm\ta\t1\nu\tm\ta\n", "line 2: expected 'user mbid artist plays'"), ("", "is empty")):
        archive = server.put("/b.tar.gz", tarred("plays", text), {f"plays{len(text)}": "plays"})
        monkeypatch.setitem(fetch._LASTFM, "360k", archive)
        with pytest.raises(ValueError, match=message):
            fetch.fetch_lastfm("360k", folder=tmp_path)


@pytest.mark.parametrize("fetcher", [fetch.fetch_movielens, fetch.fetch_lastfm])
def test_unknown_variants_are_refused_with_the_known_ones(fetcher):
    with pytest.raises(ValueError, match=r"variant must be one of '(100k|2k)', .*, got '3m'|got '3m'"):
        fetcher("3m")


def test_addresses_and_sums_are_complete():
    archives = [*fetch._MOVIELENS.items(), *fetch._LASTFM.items()]
    for variant, found in archives:
        algorithm, _, digest = (found.checksum or ":").partition(":")
        assert len(digest) == {"md5": 32, "sha256": 64, "": 0}[algorithm]
        assert bool(digest) == (variant != "latest-small")
        assert found.url.split(":")[0] == "https" or digest  # without encryption the sum is the only guard
