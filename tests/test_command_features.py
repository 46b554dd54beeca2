"""Features of users and items in the command: files of each kind, aligned by ids."""

import json
import re

import numpy as np
import polars
import pytest

import fastals
from fastals import ExplicitALS, ImplicitALS
from fastals.__main__ import main
from tests.helpers import same_bits, same_model

pytest.importorskip("duckdb")

COLUMNS = ["--user", "who", "--item", "what"]
GENRES = {10: ["a", "b"], 20: ["b"], 30: [], 40: ["c"], 99: ["d"]}  # nobody has 99


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ratings of 20 users, whose ids are strings, and 4 items; features of users as text, of items with lists."""
    folder, rng = tmp_path_factory.mktemp("shop"), np.random.default_rng(0)
    ratings = [(f"u{u}", 10 * (i + 1), int(rng.integers(1, 6))) for u in range(20) for i in range(4) if (u + i) % 4]
    (folder / "orders.csv").write_text("who,what,stars\n" + "".join(f"{u},{i},{r}\n" for u, i, r in ratings))
    people = "".join(f"u{u};{20 + u};{'' if u == 3 else 'xy'[u % 2]}\n" for u in range(25))
    (folder / "people.csv").write_text("who;age;city\n" + people)
    (folder / "films.jsonl").write_text("".join(json.dumps({"what": i, "tags": t}) + "\n" for i, t in GENRES.items()))
    frame = polars.DataFrame({"what": list(GENRES), "tags": list(GENRES.values())})
    frame.write_parquet(folder / "films.parquet")
    (folder / "films.csv").write_text("what,year\n" + "".join(f"{item},{1900 + item}\n" for item in GENRES))
    return folder


def options_of(folder, *features):
    given = [part for side, name in features for part in (f"--{side}-features", str(folder / name))]
    return [str(folder / "orders.csv"), *COLUMNS, *given]


def people():
    users = [f"u{u}" for u in range(20)]
    return {
        "user": users,
        "age": [20.0 + u for u in range(20)],
        "city": [None if u == 3 else "xy"[u % 2] for u in range(20)],
    }


def table(folder, **options):
    return fastals.read_table(folder / "orders.csv", user="who", item="what", **options)


@pytest.mark.parametrize("films", ["films.jsonl", "films.parquet", "films.csv"])
def test_files_are_what_fit_takes(folder, films, tmp_path, capsys):
    out = str(tmp_path / "model.npz")
    given = options_of(folder, ("user", "people.csv"), ("item", films))
    assert main(["fit", *given, "--factors", "2", "-o", out]) == 0
    told = "20 users and 4 items, features of 20 users (5 without interactions left out) and features of 4 items (1 "
    assert told in " ".join(capsys.readouterr().out.split())
    known = [item for item in GENRES if item != 99]
    tags = {"tags": [GENRES[item] for item in known]} if films != "films.csv" else {"year": [1900.0 + i for i in known]}
    items = {"item": known} | tags
    wanted = ImplicitALS(2, random_state=0).fit(table(folder), user_features=people(), item_features=items)
    model = fastals.load(out)
    assert same_model(model, wanted)
    assert same_bits(model.user_feature_factors_, wanted.user_feature_factors_)
    assert model.item_feature_encoder_.feature_names_ == wanted.item_feature_encoder_.feature_names_
    assert main(["recommend", out, "u3", "-n", "1"]) == 0


def test_tune_and_evaluate_take_features(folder, tmp_path, capsys):
    given = [*options_of(folder, ("user", "people.csv")), "--value", "stars", "--model", "explicit", "--factors", "2"]
    search = ["--grid", "regularization=0.1,1", "-o", str(tmp_path / "best.npz")]
    assert main(["tune", *given, *search, "--json"]) == 0
    capsys.readouterr()
    best = fastals.load(tmp_path / "best.npz")
    R = table(folder, value="stars", duplicates="last")
    wanted = ExplicitALS(2, regularization=best.regularization, random_state=0).fit(R, user_features=people())
    assert same_model(best, wanted)
    assert main(["evaluate", *given, "--json"]) == 0
    with_features = json.loads(capsys.readouterr().out)["results"]
    assert (
        main(["evaluate", *[part for part in given if "people" not in part and part != "--user-features"], "--json"])
        == 0
    )
    assert json.loads(capsys.readouterr().out)["results"] != with_features


def test_implicit_features_are_an_option(folder, tmp_path):
    out = str(tmp_path / "model.npz")
    given = [*options_of(folder), "--value", "stars", "--model", "explicit", "--factors", "2", "--implicit-features"]
    assert main(["fit", *given, "-o", out]) == 0
    R = table(folder, value="stars", duplicates="last")
    assert same_model(fastals.load(out), ExplicitALS(2, implicit_features=True, random_state=0).fit(R))


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("a.csv", "id,age\nu1,3\n", r"--user='who' is not a column of file .*a.csv"),
        (
            "b.csv",
            "who,age\nv1,3\n",
            "none of the users of the interactions is there; it holds 'v1', and the .* have 'u0'",
        ),
        ("c.csv", "who,user\nu1,3\n", "has a column 'user' beside 'who', which has the ids: rename it"),
        ("d.csv", "who,age\nu1,3\nu1,4\n", "holds 'u1' more than once"),
    ],
)
def test_files_that_are_no_features_are_refused(folder, name, text, match, tmp_path, capsys):
    (tmp_path / name).write_text(text)
    given = [*options_of(folder), "--user-features", str(tmp_path / name), "-o", str(tmp_path / "m.npz")]
    with pytest.raises(SystemExit):
        main(["fit", *given])
    assert re.search(match, " ".join(capsys.readouterr().err.split()))
