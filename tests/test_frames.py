"""Tables of any make: their columns, and what stands in place of data."""

import contextlib
import datetime
import importlib
import re
from pathlib import Path

import numpy as np
import pytest

from fastals import ImplicitALS, Interactions
from fastals.data.ids import Ids
from fastals.data.interactions import as_interactions
from fastals.data.splits import split_by_time, split_leave_last_out, split_new_users, split_random
from fastals.data.types import column_names, is_frame, read_columns
from tests.tables import rows_of


class Column:
    """A column whose only way to NumPy is the common protocol."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)


DATA = {
    "user": ["ann", "bob", "ann", "ann"],
    "item": [2**40, 7, 7, 7],
    "stars": [1.0, 2.0, 3.0, 4.0],
    "day": np.array(["2024-01-03", "2024-01-01", "2024-01-03", "2024-01-02"], "M8[ns]"),
    "kind": ["view", "buy", "view", "view"],
}


def tables():
    """Make the same table in every library that is here."""
    yield "dict", DATA
    yield "columns", {name: Column(values) for name, values in DATA.items()}
    libraries = ("pandas", "DataFrame"), ("polars", "DataFrame"), ("polars", "LazyFrame"), ("pyarrow", "table")
    for library, make in (*libraries, ("pyarrow", "record_batch")):
        with contextlib.suppress(ImportError):
            yield f"{library} {make}", getattr(importlib.import_module(library), make)(DATA)


every_table = pytest.mark.parametrize("df", [pytest.param(table, id=name) for name, table in tables()])


@every_table
def test_tables_of_any_make(df):
    assert is_frame(df)
    R = Interactions.from_frame(df, user="user", item="item", value="stars", time="day", event="kind", dtype="float64")
    assert R.user_ids.values.tolist() == ["ann", "bob"]
    assert R.item_ids.values.tolist() == [7, 2**40]
    assert R.csr.toarray().tolist() == [[7, 1], [2, 0]]
    assert R.times.astype("M8[D]").astype(str).tolist() == ["2024-01-03", "2024-01-01", "2024-01-03", "2024-01-02"]
    assert R.kinds.tolist() == DATA["kind"]
    R = Interactions.from_frame(
        df,
        user="user",
        item="item",
        time="day",
        half_life=datetime.timedelta(days=1),
        event="kind",
        weights={"view": 1, "buy": 8},
    )
    assert R.csr.toarray().tolist() == [[1.5, 1], [2, 0]]


@every_table
def test_a_table_without_such_a_column(df):
    listed = "it has 'user', 'item', 'stars', 'day', 'kind'"
    with pytest.raises(ValueError, match=f"^user='who' is not a column of the {type(df).__name__}; {listed}$"):
        Interactions.from_frame(df, user="who", item="item")
    with pytest.raises(ValueError, match=f"^time='when' is not a column of the {type(df).__name__}; {listed}$"):
        as_interactions(df, user="user", item="item", time="when")


@every_table
def test_a_table_whose_columns_are_not_named(df):
    sentence = f"R is a {type(df).__name__} with the columns 'user', 'item', 'stars', 'day', 'kind': name those of"
    for columns in ({}, {"user": "user"}, {"item": "item", "value": "stars"}):
        with pytest.raises(TypeError, match=re.escape(sentence)):
            as_interactions(df, **columns)
    with pytest.raises(TypeError, match=re.escape(sentence)):
        ImplicitALS(2).fit(df)


@every_table
def test_splits_take_tables(df):
    names = {"user": "user", "item": "item", "time": "day"}
    train, test = split_by_time(df, 0.25, **names)
    assert [row[:2] for row in rows_of(test)] == [("ann", 7)]
    assert train.shape == test.shape == (2, 2)
    assert [row[:2] for row in rows_of(split_leave_last_out(df, **names)[1])] == [("ann", 7)]
    assert len(split_random(df, 0.5, 0, user="user", item="item")[0]) == 2
    assert len(split_new_users(df, 0.5, 0.5, 0, user="user", item="item", value="stars").train) > 0
    with pytest.raises(TypeError, match=r"ratings is a .* with the columns 'user', 'item'"):
        split_by_time(df)
    with pytest.raises(ValueError, match="name their column with time="):
        split_by_time(df, user="user", item="item")


def test_a_matrix_in_a_data_frame_is_told_how():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(TypeError, match=re.escape("if its columns are items and its rows users, pass R.to_numpy()")):
        as_interactions(pandas.DataFrame(np.eye(2)))


def test_the_name_of_a_file_is_no_data():
    for given, kind in (("a/x.csv", "string"), (b"a/x.csv", "string"), (Path("a/x.csv"), "path")):
        got = rf"or Interactions, got the {kind} 'a/x.csv'; read the file first: "
        sentence = got + r"fastals.read_table\('a/x.csv', user=..., item=...\)"
        for call in (
            Interactions,
            ImplicitALS(2).fit,
            split_random,
            lambda path: Interactions.from_frame(path, "user", "item"),
        ):
            with pytest.raises(TypeError, match=sentence):
                call(given)
    with pytest.raises(TypeError, match=r"download it and read the file: fastals.read_table\('x.csv', user="):
        Interactions("https://example.org/data/x.csv")


def test_columns_are_for_tables():
    for R, kind in ((np.eye(2), "ndarray"), (Interactions(np.eye(2)), "Interactions")):
        with pytest.raises(TypeError, match=f"user= is for tables, and R is a {kind}; leave it out"):
            as_interactions(R, user="user")
        assert as_interactions(R, user=None).shape == (2, 2)
    with pytest.raises(TypeError, match="weights go with the entries of a matrix, and R is a table"):
        as_interactions({"u": [1], "i": [1]}, user="u", item="i", weights=np.ones(1))


def test_tables_in_the_numbering_of_a_model():
    ids = Ids("users", ["zoe", "bob", "ann"])
    R = as_interactions(DATA, user="user", item="item", user_ids=ids, n_users=3)
    assert (R.shape, R.users.tolist()) == ((3, 2), [2, 1, 2, 2])
    with pytest.raises(ValueError, match="column 'user', row 1 is 'bob', which is not among the 1 ids of the model"):
        as_interactions(DATA, user="user", item="item", user_ids=Ids("users", ["ann"]))
    R = as_interactions({"u": [3, 1], "i": [0, 2]}, user="u", item="i", n_users=5, n_items=4)
    assert (R.shape, R.users.tolist(), R.items.tolist(), R.user_ids) == ((5, 4), [3, 1], [0, 2], None)
    with pytest.raises(ValueError, match="column 'u', row 1 is 5, which is not among the 5 ids of the model"):
        as_interactions({"u": [3, 5], "i": [0, 2]}, user="u", item="i", n_users=5)


@pytest.mark.parametrize(
    ("column", "values", "error", "sentence"),
    [
        (
            "user",
            ["ann", None],
            TypeError,
            "column 'user', row 1 is (None|nan): ids must be all strings or all integers",
        ),
        (
            "user",
            [1.0, np.nan],
            TypeError,
            "column 'user'.* is 1.0: ids must be|column 'user' must be strings or integ",
        ),
        ("stars", [1.0, np.nan], ValueError, "column 'stars', row 1 is nan: 1 of 2 events are not finite"),
        ("stars", ["1", "2"], TypeError, "column 'stars' must be numbers, got"),
        ("day", [1, np.inf], ValueError, "column 'day', row 1 is inf: 1 of 2 times are missing"),
        ("day", [None, datetime.datetime(2024, 1, 1)], (TypeError, ValueError), "column 'day', row 0 is (None|NaT)"),
        ("kind", ["view", None], TypeError, "column 'kind', row 1 is (None|nan)"),
    ],
)
def test_what_is_wrong_is_named_by_column_and_row(column, values, error, sentence):
    data = {"user": [1, 2], "item": [1, 2], "stars": [1, 2], "day": [1, 2], "kind": ["a", "b"]} | {column: values}
    names = {"user": "user", "item": "item", "value": "stars", "time": "day", "event": "kind"}
    made = [data]
    with contextlib.suppress(ImportError):
        made.append(importlib.import_module("pandas").DataFrame(data | {column: np.array(values, object)}))
    for df in made:
        with pytest.raises(error, match=sentence):
            as_interactions(df, **names)


def test_times_with_a_zone_are_brought_to_utc():
    pandas, polars, pyarrow = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))
    naive = pandas.Series(pandas.to_datetime(["2024-01-01 09:00", "2024-07-01 09:00"]))
    zoned = naive.dt.tz_localize("Asia/Tokyo")
    zone = datetime.timezone(datetime.timedelta(hours=9))
    python = [datetime.datetime(2024, month, 1, 9, tzinfo=zone) for month in (1, 7)]
    for times in (
        zoned,
        zoned.astype(object),
        zoned.astype("timestamp[us, tz=Asia/Tokyo][pyarrow]"),
        polars.Series(python),
        pyarrow.chunked_array([python]),
        python,
    ):
        R = Interactions.from_frame({"u": [1, 2], "i": [1, 2], "t": times}, "u", "i", time="t")
        assert R.times.astype("M8[s]").astype(str).tolist() == ["2024-01-01T00:00:00", "2024-07-01T00:00:00"]


def test_other_tables():
    records = np.array([(1, 2.0), (3, 4.0)], [("u", int), ("v", float)])
    assert column_names(records) == ["u", "v"]
    assert read_columns(records, {"user": "u"})["user"].tolist() == [1, 3]
    assert not is_frame(np.eye(2))
    masked = np.ma.array([1, 2], mask=[False, True])
    with pytest.raises(ValueError, match="column 'u' is a masked array with missing entries"):
        read_columns({"u": masked}, {"user": "u"})


class Named:
    """Has its columns as Arrow does."""

    column_names = ("user",)

    def __getitem__(self, name):
        return [1]


class Unnamed:
    """Has an exception that is no KeyError."""

    def __getitem__(self, name):
        raise ArithmeticError("not found")


def test_columns_by_name():
    assert read_columns(Named(), {"user": "user"})["user"].tolist() == [1]
    for frame, sentence in (
        (Named(), "user='who' is not a column of the Named; it has 'user'$"),
        ({"u": [2]}, "user='who' is not a column of the dict; it has 'u'$"),
        (Unnamed(), "user='who' is not a column of the Unnamed: not found$"),
    ):
        with pytest.raises(ValueError, match=sentence):
            read_columns(frame, {"user": "who"})


def test_a_path_with_names_of_columns_is_told_how_to_read_the_file():
    with pytest.raises(TypeError, match=r"got the string 'orders.csv'; read the file first: fastals.read_table"):
        ImplicitALS(factors=2).fit("orders.csv", user="who", item="what")
