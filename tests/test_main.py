"""The main job: its tables as data, what it prints, and how it refuses bad files."""

import re

import numpy as np
import pytest

import fastals
from fastals import demo
from fastals.__main__ import main, text
from fastals.datasets import synthetic


@pytest.fixture(scope="module")
def small_file(tmp_path_factory):
    """A file of the right layout, large enough for the splits and small enough for the NumPy loop."""
    ratings = synthetic(60, 40, 1500)
    path = tmp_path_factory.mktemp("data") / "u.data"
    columns = zip(ratings.users + 1, ratings.items + 1, ratings.values.astype(int), ratings.times, strict=True)
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in columns))
    path.with_name("u.item").write_text("".join(f"{i}|Film {i}|\n" for i in range(1, 41)))
    return path


@pytest.fixture(scope="module")
def small(small_file):
    return demo.find_data(small_file)


@pytest.fixture(scope="module")
def movielens(data_dir):
    return demo.find_data(data_dir / "ml-100k" / "u.data")


def by_name(table):
    return {row[0]: row[1:] for row in table.rows}


def test_the_whole_job_runs_and_writes_its_model(small_file, tmp_path, capsys):
    out = tmp_path / "deep" / "folder"
    assert main(["--data", str(small_file), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert f"Data: {small_file}: 1,500 ratings, 60 users x 40 items" in printed
    for name in ("Popularity", "WALS, linear weights", "film 4", "NumPy loop", "Film "):
        assert name in printed
    assert "0.1316" not in printed  # the texts' figures are about other data
    model = fastals.load(out / "implicit.npz")
    np.testing.assert_array_equal(model.item_factors_, demo.recommender(demo.find_data(small_file)).item_factors_)


def test_without_data_it_says_that_the_ratings_are_synthetic(monkeypatch, tmp_path):
    monkeypatch.delenv("FASTALS_DATA", raising=False)
    assert demo.find_data().source == "synthetic ratings (FASTALS_DATA is not set and no file is given)"
    monkeypatch.setenv("FASTALS_DATA", str(tmp_path))
    assert "there is no" in demo.find_data().source


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "does not exist"),
        ("", "u.data is empty: it holds no ratings"),
        ("1\t2\t3\t4\n1\tx\t3\t4\n", "u.data, line 2: expected 'user item rating time' separated by tabs, got"),
        ("1\t2\t3\t4\n", "u.data does not fit the experiments: no user has more than n = 1 rows"),
    ],
    ids=["missing", "empty", "malformed", "small"],
)
def test_bad_files_are_refused_in_a_sentence_with_status_2(content, message, tmp_path, capsys):
    path = tmp_path / "u.data"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SystemExit) as stopped:
        main(["--data", str(path)])
    printed = capsys.readouterr()
    assert stopped.value.code == 2
    assert message in printed.err and str(path) in printed.err
    assert "Traceback" not in printed.err and not printed.out


def test_data_without_times_are_refused(tmp_path, capsys):
    path = tmp_path / "pairs.txt"
    path.write_text("1 2 5\n1 3 5\n2 3 4\n")
    with pytest.raises(SystemExit, match="2"):
        main(["--data", str(path)])
    assert "ratings have no times" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_refused_before_any_work(small_file, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--data", str(small_file), "--out", str(small_file)])
    printed = capsys.readouterr()
    assert f"--out {small_file}: cannot make this folder" in printed.err
    assert not printed.out


def test_test_rows_are_of_known_users_and_known_items(small):
    train, test, known = small.temporal
    counts = np.bincount(train.users, minlength=60)
    assert counts[test.users].min() >= 10
    assert np.isin(known.items, train.items).all()
    assert train.times.max() <= test.times.min()


def test_the_small_example_keeps_its_ratings_and_fills_in_the_rest():
    rows = by_name(demo.small_example())
    given = [[cell if isinstance(cell, int) else None for cell in cells] for cells in rows.values()]
    assert given == [list(row) for row in demo.TEXT_EXAMPLE]
    # Users 1 and 2 agree where both have rated, and so do their filled-in cells with what the other gave.
    assert rows["user 1"][2] == pytest.approx(2, abs=1)
    assert rows["user 2"][1] == pytest.approx(3, abs=1)


def test_the_numpy_loop_and_ours_give_one_answer(small):
    table = demo.speed(small, iterations=3)
    assert float(re.search(r"differ by at most (\S+) ", table.note)[1]) < 1e-3
    loop, ours = by_name(table).values()
    assert loop[2] == 1
    assert ours[2] == round(loop[0] / ours[0])


def test_recommendations_are_new_to_the_user_and_titled(small):
    table = demo.recommendations(small, demo.recommender(small), user=3)
    ratings = small.ratings
    had = ratings.items[(ratings.users == 3) & (ratings.values >= demo.POSITIVE)]
    listed = [int(title.removeprefix("Film ")) - 1 for _, title, _ in table.rows]
    assert len(set(listed)) == len(listed) > 0
    assert not np.isin(listed, had).any()


def test_text_is_aligned():
    table = demo.Table("name", "Title", ("a", "number"), [("longer", 1.0), ("b", None)], "Note.")
    assert text(table) == "Title\n\na       number\n------  ------\nlonger  1.0000\nb\n\nNote."


# On the real data: the figures of the texts.


def test_ranking_is_ahead_of_the_text(movielens):
    rows = by_name(demo.ranking(movielens, ties=("file",)))
    assert rows["Popularity"][3] == pytest.approx(0.0399, abs=5e-5)  # the text's NDCG: its split is the first of ours
    for name in ("ImplicitALS, the text's parameters", "ImplicitALS, tuned"):
        text_recall, text_ndcg, recall, ndcg, *_ = rows[name]
        assert (text_recall, text_ndcg) == (0.1316, 0.0675)
        assert recall > text_recall and ndcg > text_ndcg


def test_rating_errors_are_those_of_the_text_and_better_with_biases(movielens):
    assert (len(movielens.temporal.test), len(movielens.temporal.test_known)) == (2875, 2786)
    rows = by_name(demo.rating_errors(movielens))
    for name in ("GlobalMean", "ItemBias", "plain ALS, zeros are data", "WALS, linear weights"):
        # The text's sort is not stable: a few rows at the border of the split are others.
        assert rows[name][0] == pytest.approx(rows[name][1], abs=2e-3)
    assert rows["ExplicitALS, biases, tuned"][2] < 0.9774


def test_sign_accuracies_are_those_of_the_text_and_better_with_biases(movielens):
    rows = by_name(demo.sign_accuracies(movielens))
    for name in ("GlobalMean", "ItemBias", "plain ALS, zeros are data", "WALS, linear weights"):
        assert rows[name][0] == pytest.approx(rows[name][1], abs=2e-3)
    assert rows["ExplicitALS, biases, tuned"][2] > 0.6831
