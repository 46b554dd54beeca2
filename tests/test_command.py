"""The parts of the command: right answers, files as other programs read them, and each bad input told in a sentence."""

import json
import shlex

import numpy as np
import polars
import pytest

import fastals
from fastals import ExplicitALS, ImplicitALS
from fastals.__main__ import main
from fastals.command.options import KINDS, MEANINGS, NOT_GIVEN, parameters
from fastals.datasets import synthetic
from fastals.evaluation import Popularity, UserFolds, evaluate, evaluate_ratings

pytest.importorskip("duckdb")

COLUMNS = ["--user", "who", "--item", "what"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with events of 40 users, whose ids are strings, and 30 items, and a model of them."""
    folder = tmp_path_factory.mktemp("shop")
    ratings = synthetic(40, 30, 600)
    lines = zip(ratings.users, ratings.items, ratings.values, ratings.times, strict=True)
    text = "".join(f"u{user},{100 + item},{value:g},{time}\n" for user, item, value, time in lines)
    (folder / "orders.csv").write_text("who,what,stars,day\n" + text)
    assert main(["fit", str(folder / "orders.csv"), *COLUMNS, "--factors", "4", "-o", str(folder / "model.npz")]) == 0
    return folder


@pytest.fixture
def orders(folder):
    return str(folder / "orders.csv")


@pytest.fixture
def file(folder):
    return str(folder / "model.npz")


def said(capsys, *arguments):
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def table_of(path, **options):
    return fastals.read_table(path, user="who", item="what", **options)


def test_fit_saves_the_model_of_the_table(orders, file):
    model, wanted = fastals.load(file), ImplicitALS(4, random_state=0).fit(table_of(orders))
    np.testing.assert_array_equal(model.item_factors_, wanted.item_factors_)
    assert model.user_ids_[0] == "u0" and model.item_ids_[0] == 100


def test_fit_takes_options_of_the_table_and_of_the_model(orders, tmp_path, capsys):
    out = tmp_path / "explicit"
    options = ["--value", "stars", "--time", "day", "--where", "stars > 1", "--model", "explicit", "--no-biases"]
    options += ["--factors", "3", "--regularization", "0.1,0.2", "--seed", "7", "--iterations", "2"]
    facts = said(capsys, "fit", orders, *COLUMNS, *options, "--dtype", "float64", "-o", str(out))
    table = table_of(orders, value="stars", time="day", where="stars > 1", duplicates="last", dtype="float64")
    wanted = ExplicitALS(3, (0.1, 0.2), biases=False, iterations=2, dtype="float64", random_state=7).fit(table)
    model = fastals.load(facts["model"])
    np.testing.assert_array_equal(model.user_factors_, wanted.user_factors_)
    assert facts["events"] == len(table) and facts["loss"] == wanted.loss_history_[-1] and model.random_state == 7


def test_flags_are_set_and_taken_back(orders, tmp_path, capsys):
    for flag in ("--biases", "--no-biases"):
        said(capsys, "fit", orders, *COLUMNS, flag, "--factors", "2", "-o", str(tmp_path / "m"))
        assert fastals.load(tmp_path / "m.npz").biases == (flag == "--biases")


def test_kinds_of_events_and_positions_are_taken(tmp_path, capsys):
    path, out = tmp_path / "events.txt", str(tmp_path / "m.npz")
    path.write_text("ann|tea|buy\nann|cup|view\nbob|tea|view\n")
    places = ["--user", "0", "--item", "1", "--event", "2", "--weights", "buy=5", "view=1", "--no-header"]
    said(capsys, "fit", str(path), *places, "--factors", "2", "-o", out)
    wanted = fastals.Interactions.from_triplets(["ann", "ann", "bob"], ["tea", "cup", "tea"], [5, 1, 1])
    expected = ImplicitALS(2, random_state=0).fit(wanted)
    np.testing.assert_array_equal(fastals.load(out).item_factors_, expected.item_factors_)


def test_recommend_prints_what_the_model_recommends(file, capsys):
    rows = said(capsys, "recommend", file, "u3", "u1", "-n", "4")["recommendations"]
    ids, scores = fastals.load(file).recommend(["u3", "u1"], 4)
    assert [row["item"] for row in rows] == ids.ravel().tolist()
    assert [(row["user"], row["rank"]) for row in rows] == [
        (user, rank) for user in ("u3", "u1") for rank in (1, 2, 3, 4)
    ]
    np.testing.assert_allclose([row["score"] for row in rows], scores.ravel(), rtol=1e-7)
    assert main(["recommend", file, "u3", "-n", "1"]) == 0
    head, _, row = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head == ["user", "rank", "item", "score"] and row == ["u3", "1", str(ids[0, 0]), f"{scores[0, 0]:.4f}"]


@pytest.mark.parametrize("name", ["all.csv", "all.parquet"])
def test_recommend_writes_all_users(file, name, tmp_path):
    path = tmp_path / name
    assert main(["recommend", file, "--all", "-n", "30", "-o", str(path)]) == 0
    read = (polars.read_csv if name.endswith(".csv") else polars.read_parquet)(path)
    wanted = fastals.load(file).recommend_frame(None, 30, frame="polars")
    assert read.columns == ["user", "rank", "item", "score"] and 0 < read.height < 40 * 30  # what they have is left out
    assert read.drop("score").rows() == wanted.drop("score").rows()
    np.testing.assert_array_equal(read["score"].to_numpy().astype(np.float32), wanted["score"].to_numpy())


def test_ids_that_need_quotes_come_back(tmp_path):
    names = ['a"b', "c,d", "e\nf", "007", " g "]
    file, path = str(tmp_path / "m.npz"), tmp_path / "out.parquet"
    ImplicitALS(2, random_state=0).fit(fastals.Interactions.from_triplets(names, ["x"] * 5)).save(file)
    assert main(["recommend", file, "--all", "--include-seen", "-n", "1", "-o", str(path)]) == 0
    assert polars.read_parquet(path)["user"].to_list() == sorted(names)


def test_similar_items(file, capsys):
    rows = said(capsys, "similar", file, "103", "105", "-n", "2")["similar_items"]
    ids, _ = fastals.load(file).similar_items([103, 105], 2)
    pairs = [(row["item"], row["similar_item"]) for row in rows]
    assert pairs == list(zip([103, 103, 105, 105], ids.ravel(), strict=True))


def test_evaluate_holds_out_items_of_each_user(orders, capsys):
    facts = said(capsys, "evaluate", orders, *COLUMNS, "--factors", "4", "-k", "5")
    table = table_of(orders)
    table = fastals.Interactions(table.matrix(), user_ids=table.user_ids, item_ids=table.item_ids)
    train, test = map(table.select, next(UserFolds(5, random_state=0).split(table)))
    wanted = [
        {"model": type(model).__name__, "metric": name, "average": found.overall[name]}
        | dict(zip(("from", "to"), found.interval(name), strict=True))
        for model in (Popularity(), ImplicitALS(4, random_state=0))
        for found in [evaluate(model.fit(train), test, 5)]
        for name in ("recall@5", "ndcg@5")
    ]
    assert facts["results"] == wanted and (facts["train"], facts["test"]) == (len(train), len(test))


def test_evaluate_by_time_counts_no_pair_twice(tmp_path, capsys):
    path = tmp_path / "repeats.csv"
    pairs = [(user, item, day) for day in range(2) for user in range(12) for item in range(user % 4, 6)]
    lines = "".join(f"{user},{item},{day}\n" for user, item, day in pairs)
    path.write_text(f"who,what,day\n{lines}0,5,9\n1,0,9\n")
    options = ["--time", "day", "--split", "time", "--test-share", "0.1", "--factors", "2"]
    assert said(capsys, "evaluate", str(path), *COLUMNS, *options)["test"] == 1  # user 1 has item 0 for the first time


def test_evaluate_ratings_beside_the_mean_of_each_item(orders, capsys):
    options = ["--value", "stars", "--model", "explicit", "--factors", "2"]
    facts = said(capsys, "evaluate", orders, *COLUMNS, *options)
    table = table_of(orders, value="stars", duplicates="last")
    train, test = map(table.select, next(UserFolds(5, random_state=0).split(table)))
    found = {(row["model"], row["metric"]): row for row in facts["results"]}
    for metric, value in evaluate_ratings(ExplicitALS(2, random_state=0).fit(train), test).items():
        row = found["ExplicitALS", metric]
        assert row["average"] == pytest.approx(value) and row["from"] < value < row["to"]
    assert ("ItemBias", "rmse") in found


@pytest.mark.parametrize("noise", [False, True])
def test_evaluate_says_where_predicted_ratings_are_behind_the_mean_of_each_item(tmp_path, capsys, noise):
    path, drawn = tmp_path / "stars.csv", np.random.default_rng(0)
    users = drawn.normal(size=30)
    lines = [f"{u},{i},{drawn.normal() if noise else users[u]}\n" for u in range(30) for i in range(20)]
    path.write_text("who,what,stars\n" + "".join(lines))
    options = ["--value", "stars", "--model", "explicit", "--factors", "8", "--regularization", "0.01"]
    told = said(capsys, "evaluate", str(path), *COLUMNS, *options)["note"]
    assert told.endswith("behind the mean of each item: search its parameters with fastals tune.") == noise


def test_tune_finds_the_best_and_saves_it(orders, tmp_path, capsys):
    out = str(tmp_path / "best.npz")
    grid = ["--grid", "factors=1,4", "unobserved-weight=0.1,1", "--iterations", "2"]
    facts = said(capsys, "tune", orders, *COLUMNS, *grid, "-o", out)
    assert facts["candidates"] == 4 and facts["metric"] == "ndcg@10"
    wanted = ImplicitALS(**facts["best"], iterations=2, random_state=0).fit(table_of(orders))
    np.testing.assert_array_equal(fastals.load(out).item_factors_, wanted.item_factors_)
    assert set(facts["best"]) == {"factors", "unobserved_weight"}
    assert main(["tune", orders, *COLUMNS, *grid]) == 0
    assert "Best: --" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "names", "candidates"),
    [
        ([], {"unobserved_weight", "regularization"}, 12),
        (["--unobserved-weight", "0.2"], {"regularization"}, 3),
        (["--model", "explicit", "--value", "stars", "--factors", "2"], {"regularization"}, 3),
    ],
)
def test_tune_tries_multiples_of_the_defaults(orders, tmp_path, capsys, options, names, candidates):
    out, journal = str(tmp_path / "best.npz"), str(tmp_path / "scores.jsonl")
    facts = said(capsys, "tune", orders, *COLUMNS, *options, "--iterations", "1", "--journal", journal, "-o", out)
    assert set(facts["best"]) == names and facts["candidates"] == candidates
    assert len(facts["best"]["regularization"]) == 2
    assert fastals.load(out).get_params()["regularization"] == tuple(facts["best"]["regularization"])


def test_info(file, capsys):
    facts = said(capsys, "info", file)
    assert (facts["model"], facts["users"], facts["items"]) == ("ImplicitALS", 40, 30)
    assert facts["item_ids"] == "integers, such as 100, 101, 102" and facts["parameters"]["factors"] == 4


def test_all_parameters_can_be_given():
    assert (
        {*parameters(), *NOT_GIVEN}
        == {name for kind in KINDS.values() for name in kind().get_params()}
        == set(MEANINGS)
    )


FIT = ["fit", "ORDERS", *COLUMNS, "-o", "m"]
RATED = ["--value", "stars", "--model", "explicit"]
BAD = [
    (["fit", "ORDERS", "--user", "wo", "--item", "what", "-o", "m"], "--user 'wo' is not a column of"),
    (["fit", "ORDERS", "--user", "who", "--item", "who", "-o", "m"], "are both the column 'who': name the column of"),
    (["fit", "none.csv", *COLUMNS, "-o", "m"], "none.csv does not exist"),
    (["fit", "EMPTY", *COLUMNS, "-o", "m"], "is empty: it holds no events"),
    (["fit", "ORDERS", *COLUMNS, "-o", "no/such/m.npz"], "cannot write no/such/m.npz"),
    (["fit", "ORDERS", *COLUMNS, "-o", ""], "-o must name a file, such as model.npz, got ''"),
    ([*FIT, "--model", "explicit"], "--value is missing: --model explicit learns ratings"),
    ([*FIT, *RATED, "--alpha", "2"], "--alpha 2.0 is no parameter of --model explicit; use --model implicit"),
    ([*FIT, "--factors", "0"], "--factors must be"),
    ([*FIT, "--factors", "x"], "argument --factors: an integer is wanted, got 'x'"),
    ([*FIT, "--solver", "best"], "--solver must be"),
    ([*FIT, "--where", "stars >"], "cannot be read"),
    ([*FIT, "--where", "stars > 9"], "no events"),
    ([*FIT, "--value", "who"], "finite numbers are wanted; mend it, or leave such rows out: --where 'isfinite("),
    ([*FIT, "--weights", "a=1"], "--event is missing"),
    ([*FIT, "--event", "stars", "--weights", "a"], "--weights 'a' is no KIND=NUMBER"),
    ([*FIT, "--no-header"], "--user 'who' is no position"),
    (["recommend", "MODEL"], "name one USER at least, or give --all"),
    (["recommend", "MODEL", "u1", "--all"], "give either USER or --all, not both"),
    (["recommend", "MODEL", "nobody"], "USER is 'nobody', which is not among the 40 ids of the model"),
    (["recommend", "MODEL", "--all", "-n", "0"], " -n must be at least 1, got 0"),
    (["recommend", "", "u1"], "MODEL must name a file, such as model.npz, got ''"),
    (["recommend", "MODEL", "--all", "-o", "x.txt"], "-o x.txt: the name must end in .csv or .parquet"),
    (["recommend", "MODEL", "--all", "-o", "no/x.csv"], "-o no/x.csv: there is no folder no"),
    (["recommend", "ORDERS", "u1"], "is not a fastals model"),
    (["recommend", "none.npz", "u1"], "none.npz"),
    (["similar", "MODEL", "tea"], "ITEM 'tea' is no integer, as the ids of this model are, for example 100"),
    (["similar", "MODEL", "7"], "ITEM is 7, which is not among the 30 ids of the model"),
    (["evaluate", "ORDERS", *COLUMNS, "--split", "time"], "--split time needs times: name their column with --time"),
    (["evaluate", "ORDERS", *COLUMNS, "-k", "0"], " -k must be at least 1, got 0"),
    (["evaluate", "ORDERS", *COLUMNS, "--test-share", "2"], "--test-share must be above 0 and at most 0.5, got 2"),
    (["tune", "ORDERS", *COLUMNS, "--grid", "depth=3"], "--grid 'depth=3' is no NAME=VALUES such as factors=32,64"),
    (["tune", "ORDERS", *COLUMNS, "--grid", "factors=a"], "--grid 'factors=a': an integer is wanted, got 'a'"),
    (["tune", "ORDERS", *COLUMNS, "--metric", "best"], "--metric"),
    (["info", "ORDERS"], "is not a fastals model"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[message[:30] for _, message in BAD])
def test_bad_input_is_told_in_a_sentence(arguments, message, orders, file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.csv").write_text("")
    paths = {"ORDERS": orders, "MODEL": file, "EMPTY": "empty.csv"}
    with pytest.raises(SystemExit, match="2"):
        main([paths.get(argument, argument) for argument in arguments])
    printed = capsys.readouterr().err.splitlines()[-1]
    assert message in printed and f"fastals {arguments[0]}: error: " in printed
    assert [path.name for path in tmp_path.iterdir()] == ["empty.csv"]


@pytest.mark.parametrize("command", ["fit", "tune"])
def test_a_path_that_cannot_be_written_is_told_before_the_work(command, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([command, str(tmp_path / "none.csv"), *COLUMNS, "-o", str(tmp_path / "no" / "m.npz")])
    told = capsys.readouterr()
    assert "cannot write" in told.err and not told.out and not any(tmp_path.iterdir())


def test_a_forgotten_option_is_told_in_one_sentence(orders, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["fit", orders, "--user", "who"])
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "fit: error: the following arguments are required: --item, -o" in said
    assert said.endswith("fit --help says more\n")


def test_the_next_command_can_be_copied_where_an_id_has_a_blank(tmp_path, capsys):
    orders, model = tmp_path / "orders.csv", str(tmp_path / "my model.npz")
    orders.write_text("who,what\nZoë Ann,tea\nbob,pot\n", encoding="utf-8")
    assert main(["fit", str(orders), *COLUMNS, "--factors", "2", "-o", model]) == 0
    proposed = shlex.split(capsys.readouterr().out.partition("Next: ")[2])
    assert proposed == ["fastals", "recommend", model, "Zoë Ann"]
    assert main([*proposed[1:], "-n", "1"]) == 0 and "pot" in capsys.readouterr().out
