"""The command: which part runs, what the main job prints and writes, and that every failure is a sentence."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import fastals
from fastals import demo
from fastals.__main__ import main
from fastals.demo_data import find_data
from tests.tables import film_file


@pytest.fixture(scope="module")
def small_file(tmp_path_factory):
    return film_file(tmp_path_factory.mktemp("data"))


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
        "report.html",
        *(f"{name}.png" for name in ("data", "ranking", "ratings", "recommendations")),
    }
    model = fastals.load(out / "model.npz")
    data = find_data(small_file)
    np.testing.assert_array_equal(model.item_factors_, demo.recommender(data).item_factors_)
    ids, _ = model.recommend(101, 10)
    table = demo.recommendations(data, model)
    assert [f"Film {item}" for item in ids if item >= 0] == [title for _, title, _ in table.rows]
    assert f"recommend({demo.first_user(data)!r}, n=10)" in printed and demo.first_user(data) == 101
    report = (out / "report.html").read_text()
    assert report.count("data:image/png;base64,") == 4 and "Ten recommendations for user 101" in report
    assert (out / "data.png").read_bytes().startswith(b"\x89PNG")


def test_json_is_one_object_with_all_tables(small_file, capsys):
    assert main(["demo", "--data", str(small_file), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [table["name"] for table in said["tables"]] == ["data", "ranking", "ratings", "recommendations"]
    assert said["tables"][3]["rows"][0]["item"].startswith("Film ") and said["data"] == str(small_file)


def test_version_and_help(capsys):
    for option, said in (("--version", f"fastals {fastals.__version__}\n"), ("--help", "commands:")):
        with pytest.raises(SystemExit, match="0"):
            main([option])
        assert said in capsys.readouterr().out


def test_a_wrong_column_is_told_without_options_that_demo_lacks(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("who,what\nann,tea\n")
    with pytest.raises(SystemExit, match="2"):
        main(["demo", "--data", str(tmp_path / "a.csv"), "--user", "wo", "--item", "what"])
    assert capsys.readouterr().err.endswith("it has 'who', 'what'; the first line must name them\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "none.csv"], "none.csv"),
        (["--user", "who"], "--data is missing"),
        (["--data", "none.parquet"], "say which of them to read, --user ..."),
        (["--published", "--data", "x"], "--published is for MovieLens 100K alone"),
    ],
)
def test_bad_arguments_are_told_in_a_sentence_with_status_2(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    printed = capsys.readouterr()
    assert message in printed.err and "Traceback" not in printed.err and not printed.out
    assert printed.err.startswith("python -m fastals demo: error: ") and printed.err.count("\n") == 1


def test_ctrl_c_ends_with_130(monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastals.command.demo.find_data", stop)
    assert main([]) == 130


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
    assert job.stderr.read() == "python -m fastals demo: error: the output: No space left on device\n"
    job.stderr.close()


@pytest.mark.parametrize("checkout", [True, False])
def test_next_steps_name_the_documentation_that_is_there_and_quote_blanks(checkout, small_file, tmp_path, monkeypatch):
    command = sys.modules["fastals.command.demo"]
    if not checkout:  # an installed wheel
        monkeypatch.setattr(command, "CHECKOUT", tmp_path)
    steps = command.next_steps(find_data(small_file), "x", tmp_path / "a report")
    assert ("README.md" in steps, "help(fastals.read_table)" in steps) == (checkout, not checkout)
    assert f"recommend '{tmp_path}/a report/model.npz' 101" in steps
