"""The main job: its tables as data, what it prints and writes, which files it takes, and how it refuses others."""

import os
import subprocess
import sys

import numpy as np
import pytest

import fastals
from fastals import demo
from fastals.__main__ import main
from fastals.datasets import synthetic


@pytest.fixture(scope="module")
def small_file(tmp_path_factory):
    """A file of the layout of MovieLens 100K with titles beside it; ids start at 101."""
    ratings = synthetic(60, 40, 1500)
    path = tmp_path_factory.mktemp("data") / "u.data"
    columns = zip(ratings.users + 101, ratings.items + 101, ratings.values.astype(int), ratings.times, strict=True)
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in columns))
    path.with_name("u.item").write_text("".join(f"{i}|Film {i}|\n" for i in range(101, 141)))
    return path


@pytest.fixture(scope="module")
def small(small_file):
    return demo.find_data(small_file)


@pytest.fixture(scope="module")
def movielens(data_dir):
    return demo.find_data(data_dir / "ml-100k" / "u.data")


def by_name(table):
    return {row[0]: row[1:] for row in table.rows}


def test_the_whole_job_runs_and_writes_pictures_and_a_model_with_the_ids_of_the_file(small_file, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out = tmp_path / "deep" / "folder"
    assert main(["--data", str(small_file), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert f"Data: {small_file}: 1,500 interactions, 60 users x 40 items" in printed
    for name in ("Popularity", "Mean of each item", "Ten recommendations for user 101", "Film 1", "What to do next"):
        assert name in printed
    assert {path.name for path in out.iterdir()} == {
        "model.npz",
        *(f"{name}.png" for name in ("convergence", "degrees", "embedding", "tuning")),
    }
    model = fastals.load(out / "model.npz")
    data = demo.find_data(small_file)
    np.testing.assert_array_equal(model.item_factors_, demo.recommender(data).item_factors_)
    ids, _ = model.recommend(101, 10)
    table = demo.recommendations(data, model)
    assert [f"Film {item}" for item in ids if item >= 0] == [title for _, title, _ in table.rows]
    assert f"recommend({demo.first_user(data)!r}, n=10)" in printed and demo.first_user(data) == 101


def test_without_data_it_says_that_the_ratings_are_synthetic(monkeypatch, tmp_path):
    monkeypatch.delenv("FASTALS_DATA", raising=False)
    assert demo.find_data().source == "synthetic ratings (no file is given and FASTALS_DATA is not set)"
    monkeypatch.setenv("FASTALS_DATA", str(tmp_path))
    assert "there is no" in demo.find_data().source


def cells():
    """Return 400 different pairs of 30 users and 25 items, with numbers from 0 on."""
    drawn = np.random.default_rng(0).permutation(750)[:400]
    return [(number, *divmod(cell, 25)) for number, cell in enumerate(drawn.tolist())]


def lines(form):
    """Return a line for each of the cells: {stars} are 1 to 5 with a mean above 3, {three} 1 to 3, {binary} 0 or 1."""
    stars = (1, 3, 4, 5, 5)
    return "".join(
        form.format(n=n, user=user, item=item, stars=star, three=(star + 1) // 2, binary=int(star > 3)) + "\n"
        for n, user, item in cells()
        for star in [stars[(7 * user + 3 * item) % 5]]
    )


ALL, RATED = (
    "All items with a value above 0 count as liked.",
    "Items rated {} or higher count as liked; the mean rating",
)


@pytest.mark.parametrize(
    ("name", "text", "has_times", "threshold", "said"),
    [
        ("two.txt", lines("{user} {item}"), False, 1, ALL),
        ("two.csv", "user_id,item_id\n" + lines("{user},{item}"), False, 1, "user_id as users, item_id as items."),
        ("words.csv", lines('ann {user},"tea, {item}"'), False, 1, ALL),
        ("three.csv", "who,what,stars\n" + lines("{user},{item},{stars}"), False, 4, "what as items, stars as values."),
        ("four.txt", lines("{user} {item} {stars} {n}"), True, 4, RATED.format(4)),
        ("comma.csv", lines("{user},{item},{stars},{n}"), True, 4, RATED.format(4)),
        ("five.tsv", lines("{user}\t{item}\t{stars}\t{n}\tweb"), True, 4, "Left out: column 5."),
        ("dates.csv", lines("{user};{item};{stars};2024-01-02T10:00:00+02:00"), True, 4, RATED.format(4)),
        ("no_times.csv", lines("{user};{item};{stars};web"), False, 4, "Left out: column 4."),
        ("ratings.csv", "user,item,rating\n" + lines("{user},{item},{stars}"), False, 4, RATED.format(4)),
        ("zero_or_one.csv", lines("{user},{item},{binary}"), False, 1, RATED.format(1)),
        ("to_three.csv", lines("{user},{item},{three}"), False, 3, RATED.format(3)),
        ("extreme.csv", lines("{user},{item},3e38"), False, 3e38, ALL),
        ("counts.csv", lines("{user},{item},{n}00"), False, 100, ALL),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value and len(value) < 16 else "",
)
def test_files_of_two_to_five_columns_are_taken(name, text, has_times, threshold, said, tmp_path, capsys):
    path = tmp_path / name
    path.write_text(text)
    assert main(["--data", str(path)]) == 0
    printed = capsys.readouterr().out
    data = demo.find_data(path)
    assert len(data.ratings) == 400 and len(data.ratings.user_ids) == 30 and len(data.ratings.item_ids) == 25
    assert (data.ratings.times is not None) == has_times
    assert data.liked.values.min() == pytest.approx(threshold, rel=1e-6)
    assert said in data.rule and said.split()[0] in printed
    assert ("RMSE" in printed) == ("Items rated" in data.rule)


def test_ids_and_titles_are_those_of_the_file(small):
    assert small.ratings.user_ids[[0, -1]].tolist() == [101, 160]
    assert demo.title(small, 101) == "Film 101" and demo.title(small, 7) == "item 7"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        ("", "u.data is empty: it holds no ratings"),
        ("1\t2\t3\t4\n1\tx\t3\t4\n", "u.data, line 2: expected 'user item rating time' separated by tabs, got"),
        ("1\t2\t3\t4\n", "u.data is too small for the tables: they need at least 10 interactions that count as liked"),
        ("a,b,c,d\n", "u.data holds no interactions below the names of its columns"),
        ("hello\n", "line 1: expected a user and an item separated by a tab, comma, semicolon or space, got 'hello'"),
        ("1,2,3\n1,2\n", "line 2: expected 3 fields as in line 1, got 2"),
        ("1,2,3\n1,2,x\n", "line 2: the value must be a finite number, got 'x'"),
        ("1,2,nan\n", "line 1: the value must be a finite number, got 'nan'"),
        ("1,2,1e39\n", "line 1: the value must be a finite number, got '1e39'"),
        (lines("{user},{item},0"), "got 0 of 0 users. All items with a value above 0 count as liked"),
        ("1,2,3\n1," + "x" * 200_000 + ",3\n", "field larger than field limit"),
    ],
    ids=lambda value: None if value is None else value[:12],
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
    for option in ("layout", "n =", "test_share"):
        assert option not in printed.err


def test_a_folder_that_cannot_be_made_is_refused_before_any_work(small_file, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--data", str(small_file), "--out", str(small_file)])
    printed = capsys.readouterr()
    assert f"--out {small_file}: cannot make this folder" in printed.err
    assert not printed.out


def run(file, **streams):
    command = [sys.executable, "-m", "fastals", "--data", str(file)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **streams)


def test_a_closed_pipe_ends_the_job_without_a_word(small_file):
    job = run(small_file, stdout=subprocess.PIPE)
    job.stdout.readline()
    job.stdout.close()
    assert (job.wait(120), job.stderr.read()) == (1, "")
    job.stderr.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_is_told_in_a_sentence(small_file):
    with open("/dev/full", "w") as full:
        job = run(small_file, stdout=full)
        assert job.wait(120) == 2
    assert job.stderr.read() == "python -m fastals: error: the output: No space left on device\n"
    job.stderr.close()


def test_standard_errors_are_those_of_the_users(small):
    table = demo.ranking(small)
    assert f"over {len(np.unique(small.liked.users))} users" in table.note
    for recall, error, _, _ in by_name(table).values():
        n_users = len(demo.split(small)[1])
        assert error == pytest.approx(np.sqrt(recall * (1 - recall) / n_users))  # one held-out item: 0 or 1


def test_repeated_lines_of_a_user_and_an_item_count_once_and_the_last_one_counts(tmp_path):
    path = tmp_path / "repeated.csv"
    path.write_text("0,0,1\n" + lines("{user},{item},{stars}") + "0,0,5\n")
    ratings = demo.find_data(path).ratings
    assert len(ratings) == len({(user, item) for _, user, item in cells()} | {(0, 0)})
    assert ratings.values[(ratings.users == 0) & (ratings.items == 0)] == [5]


def test_recommendations_are_new_to_the_user_and_titled(small):
    table = demo.recommendations(small, demo.recommender(small), user=104)
    liked = small.liked
    had = small.item_ids[liked.items[small.user_ids[liked.users] == 104]]
    listed = [int(title.removeprefix("Film ")) for _, title, _ in table.rows]
    assert len(set(listed)) == len(listed) > 0
    assert not np.isin(listed, had).any()


def test_text_is_aligned():
    table = demo.Table("name", "Title", ("a", "number"), [("longer", 1.0), ("b", None)], "Note.")
    assert demo.text(table) == "Title\n\na       number\n------  ------\nlonger  1.0000\nb\n\nNote."


def test_a_table_without_rows_has_a_head():
    assert demo.text(demo.Table("name", "Title", ("a", "b"), [], "Note.")) == "Title\n\na  b\n-  -\n\nNote."


# On the real data.


def test_models_are_ahead_of_the_baselines(movielens):
    ranking, errors = by_name(demo.ranking(movielens)), by_name(demo.rating_errors(movielens))
    assert ranking["Popularity"][2] == pytest.approx(0.0399, abs=5e-5)  # as published: leave the last positive out
    assert ranking["ImplicitALS"][0] > ranking["Popularity"][0] + 0.04
    assert errors["ExplicitALS"][0] < 0.92 < 1.02 < errors["Mean of each item"][0] < 1.03
