"""Tables of events from files, queries, databases and frames."""

import ast
import datetime
import gzip
import json
import re
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastals
from fastals import Interactions, read_table
from fastals.data.tables import last_of_each
from tests.tables import rows_of, write

duckdb = pytest.importorskip("duckdb")

# User, item, value, time: two events of one user and item, one id with a mark of CSV and of SQL, none with a number.
EVENTS = [("ann", "t,ea", 3.5, 90), ("bob", "t,ea", 2.0, 100), ("ann", "p'o\"t", 1.0, 80), ("ann", "t,ea", 4.0, 70)]
COLUMNS = {"user": "who", "item": "what", "value": "stars", "time": "at"}


def csv_of(rows, delimiter=",", end="\n"):
    def field(value):
        return '"' + value.replace('"', '""') + '"' if isinstance(value, str) else str(value)

    return end.join(delimiter.join(map(field, row)) for row in [("who", "what", "stars", "at"), *rows]) + end


def json_of(rows):
    return "".join(json.dumps(dict(zip(("who", "what", "stars", "at"), row, strict=True))) + "\n" for row in rows)


def parquet(path, rows):
    with duckdb.connect() as con:
        con.execute('CREATE TABLE t (who VARCHAR, what VARCHAR, stars DOUBLE, "at" BIGINT)')
        con.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
        con.execute(f"COPY t TO '{path}' (FORMAT parquet)")
    return path


FILES = {
    "comma.csv": lambda path: path.write_text(csv_of(EVENTS)),
    "semicolon": lambda path: path.write_text(csv_of(EVENTS, ";", "\r\n")),
    "tabs.tsv": lambda path: path.write_bytes(b"\xef\xbb\xbf" + csv_of(EVENTS, "\t").encode()),
    "bar.txt": lambda path: path.write_text(csv_of(EVENTS, "|").replace("\n", "\n\n")),
    "it's.CSV": lambda path: path.write_text(csv_of(EVENTS)),
    "a[1]*.csv": lambda path: path.write_text(csv_of(EVENTS)),
    "packed.csv.gz": lambda path: path.write_bytes(gzip.compress(csv_of(EVENTS).encode())),
    "lines.jsonl": lambda path: path.write_text(json_of(EVENTS)),
    "lines.json.gz": lambda path: path.write_bytes(gzip.compress(json_of(EVENTS).encode())),
    "it's.parquet": lambda path: parquet(str(path).replace("'", "''"), EVENTS),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_all_formats(tmp_path, name):
    path = tmp_path / name
    FILES[name](path)
    R = read_table(path, **COLUMNS)
    assert rows_of(R) == EVENTS
    assert R.user_ids.tolist() == ["ann", "bob"]
    assert R.item_ids.tolist() == ["p'o\"t", "t,ea"]
    assert R.csr.toarray().tolist() == [[1.0, 7.5], [0, 2]]
    assert rows_of(read_table(str(path), **COLUMNS, where="stars < 3 AND what = 't,ea'")) == [EVENTS[1]]
    last = read_table([path], **COLUMNS, duplicates="last")
    assert rows_of(last) == EVENTS[:3]


def test_zstd(tmp_path):
    path = tmp_path / "table.csv.zst"
    with duckdb.connect() as con:
        con.execute(f"COPY (SELECT 'ann' AS who, 7 AS what) TO '{path}' (FORMAT csv, COMPRESSION zstd)")
    assert rows_of(read_table(path, "who", "what")) == [("ann", 7, 1, None)]


def test_patterns_and_lists(tmp_path):
    for place, event in enumerate(EVENTS):
        write(tmp_path, f"part-{place}.csv", csv_of([event]))
    assert rows_of(read_table(f"{tmp_path}/part-*.csv", **COLUMNS)) == EVENTS
    assert rows_of(read_table([tmp_path / "part-3.csv", tmp_path / "part-1.csv"], **COLUMNS)) == EVENTS[3:0:-2]


def test_files_that_differ(tmp_path):
    first = write(tmp_path, "a.csv", "who,what\n1,2\n")
    with pytest.raises(ValueError, match=r"a\.csv and .*b\.csv differ: .*'who', 'what'; .*'what', 'who'; read files"):
        read_table([first, write(tmp_path, "b.csv", "what,who\n1,2\n")], "who", "what")
    # By DuckDB alone, '007' of the second file would become the 7 of the first one's type.
    for name, user in (("c", "7"), ("d", "'007'")):
        duckdb.execute(f"COPY (SELECT {user} AS who, 1 AS what) TO '{tmp_path / name}.parquet'")
    with pytest.raises(ValueError, match=r"it has 'who' \(INTEGER\).*it has 'who' \(VARCHAR\)"):
        read_table(f"{tmp_path}/*.parquet", "who", "what")


# Ids are what they are.


@pytest.mark.parametrize(
    ("ids", "wanted"),
    [
        (["10", "9", "-3"], [10, 9, -3]),
        (["10", "007"], ["10", "007"]),
        (["1", "1.0"], ["1", "1.0"]),
        (["1", "+1"], ["1", "+1"]),
        (["1", "1_0"], ["1", "1_0"]),
        (["1", " 1"], ["1", " 1"]),
        (["NA", "nan", "null"], ["NA", "nan", "null"]),
        ([str(2**63 - 1), str(-(2**63))], [2**63 - 1, -(2**63)]),
        ([str(2**64 - 1), "9007199254740993"], [2**64 - 1, 9007199254740993]),
        ([str(2**64), "1"], [str(2**64), "1"]),
        (["zoë", "日本", "😀", "￿"], ["zoë", "日本", "😀", "￿"]),
    ],
)
def test_ids_in_text(tmp_path, ids, wanted):
    R = read_table(write(tmp_path, "a.csv", "u,i\n" + "".join(f"{text},1\n" for text in ids)), "u", "i")
    assert [R.user_ids[number] for number in R.users] == wanted
    assert R.user_ids.tolist() == sorted(wanted)
    assert [type(one) for one in R.user_ids] == [type(wanted[0])] * len(wanted)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)), min_size=1))
def test_any_text_is_an_id(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("ids") / "a.jsonl"
    path.write_text("".join(f'{{"u": {json.dumps(user)}, "i": 1}}\n' for (user,) in rows))
    R = read_table(path, "u", "i")
    expected = Interactions.from_triplets([user for (user,) in rows], [1] * len(rows))
    assert R.user_ids.tolist() == expected.user_ids.tolist()
    assert R.users.tolist() == expected.users.tolist()


def test_ids_in_json_have_their_types(tmp_path):
    R = read_table(write(tmp_path, "a.jsonl", '{"u": "7", "a/b~": 7}\n{"u": "007", "a/b~": -1}\n'), "u", "a/b~")
    assert (R.user_ids.tolist(), R.item_ids.tolist()) == (["007", "7"], [-1, 7])
    with pytest.raises(ValueError, match=r"line 3: column 'u' holds '\"7\"': all integers or all text are wanted"):
        read_table(write(tmp_path, "b.jsonl", '{"u": 7, "i": 1}\n\n{"u": "7", "i": 1}\n'), "u", "i")


# Values, times, kinds, conditions.


def test_kinds_and_half_lives_as_in_from_frame(tmp_path):
    rows = [
        ("ann", 1, "view", "2024-01-05"),
        ("bob", 1, "buy", "2024-01-03"),
        ("ann", 2, "view", "2024-01-01 12:00:00"),
    ]
    path = write(tmp_path, "a.csv", "u,i,k,d\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    options = {"weights": {"view": 1, "buy": 8}, "half_life": datetime.timedelta(days=2), "dtype": "float64"}
    R = read_table(path, "u", "i", time="d", event="k", **options)
    users, items, kinds, days = zip(*rows, strict=True)
    times = np.array(days, "M8[us]")
    expected = Interactions.from_triplets(users, items, None, times, events=kinds, **options)
    assert R.values.tolist() == expected.values.tolist()
    assert R.times.tolist() == times.tolist()
    assert R.kinds.tolist() == list(kinds)
    frame = {"u": users, "i": items, "k": kinds, "d": times}
    assert read_table(frame, "u", "i", time="d", event="k", **options).values.tolist() == R.values.tolist()
    with pytest.raises(ValueError, match="half_life is given without times"):
        read_table(path, "u", "i", half_life=3)
    with pytest.raises(ValueError, match="event weights have no number for the event 'buy'"):
        read_table(path, "u", "i", event="k", weights={"view": 1})


@pytest.mark.parametrize(
    ("times", "wanted"),
    [
        (["5", "-7"], np.array([5, -7])),
        (["5", "7.5"], np.array([5, 7.5])),
        (["2024-01-02", "2024-1-2 10:00"], np.array(["2024-01-02", "2024-01-02T10:00"], "M8[us]")),
        (["2024-01-02T10:00:00+02:00", "2024-01-02 10:00:00Z"], np.array(["2024-01-02T08", "2024-01-02T10"], "M8[us]")),
    ],
)
def test_times_in_text(tmp_path, times, wanted):
    path = write(tmp_path, "a.csv", "u,i,t\n" + "".join(f"1,2,{time}\n" for time in times))
    found = read_table(path, "u", "i", time="t").times
    assert found.dtype == wanted.dtype
    assert found.tolist() == wanted.tolist()


@pytest.mark.parametrize(
    ("rows", "line", "said"),
    [
        ("1,2,3,4\n1,2\n", 3, "expected 4 fields as in the first line, got '1,2'"),
        ("1,2,3,4\n\n1,2,3,4,5\n", 4, "expected 4 fields as in the first line, got '1,2,3,4,5'"),
        ('"a\nb",2,3,4\n1,,3,4\n', 4, "column 'i' has no value: all integers or all text are wanted; mend it, or"),
        ("1,2,3,4\n1,2,x,4\n", 3, "column 'v' holds 'x': finite numbers are wanted"),
        ("1,2,3,4\n1,2,1_0,4\n", 3, "column 'v' holds '1_0': finite numbers"),
        ('1,2,3,4\n1,2,"3,5",4\n', 3, "column 'v' holds '3,5': finite numbers"),
        ("1,2,3,4\n1,2,,4\n", 3, "column 'v' has no value"),
        ("1,2,inf,4\n", 2, "column 'v' holds 'inf'"),
        ("1,2,nan,4\n", 2, "column 'v' holds 'nan'"),
        ("1,2,3,4\n1,2,3,4.5\n1,2,3,yesterday\n", 4, "column 't' holds 'yesterday': all numbers, all times as 2024"),
        ("1,2,3,2024-01-01 10:00:00Z\n1,2,3,2024-01-01\n", 3, "column 't' holds '2024-01-01': all numbers, all times"),
        ("1,2,3,01/02/2024\n", 2, "column 't' holds '01/02/2024'"),
        ("1,2,3,infinity\n", 2, "column 't' holds 'infinity'"),
        ('1,2,3,4\n1,"2"x,3,4\n', 3, 'expected a quotation mark " with its partner, and a delimiter after it'),
        ('1,2,3,4\n1,"2,3,4\n', 3, 'expected a quotation mark "'),
        (b"1,2,3,4\nzo\xeb,2,3,4\n", 3, "expected UTF-8 text"),
    ],
)
def test_bad_lines_are_named(tmp_path, rows, line, said):
    path = tmp_path / "a.csv"
    path.write_bytes(b"u,i,v,t\n" + (rows if isinstance(rows, bytes) else rows.encode()))
    with pytest.raises(ValueError, match=re.escape(f"file {path}, line {line}: ")) as caught:
        read_table(path, "u", "i", "v", "t")
    assert said in str(caught.value)


def test_the_file_and_the_late_line_are_named(tmp_path):
    good = write(tmp_path, "a.csv", "u,i,v\n" + "1,2,3\n" * 5000)
    bad = write(tmp_path, "b.csv", "u,i,v\n" + "1,2,3\n" * 9000 + "1,2,x\n" + "1,2,3\n" * 9000 + "1,2,y\n")
    with pytest.raises(ValueError, match=rf"^file {re.escape(str(bad))}, line 9002: column 'v' holds 'x'"):
        read_table([good, bad], "u", "i", "v")
    lines = write(tmp_path, "c.jsonl", '{"u": 1, "i": 2}\n' * 5000 + '\n{"u": 1}\n')
    with pytest.raises(ValueError, match=r"c\.jsonl, line 5002: column 'i' has no value"):
        read_table(lines, "u", "i")
    with pytest.raises(ValueError, match=r"d\.jsonl, line 2: expected a JSON object"):
        read_table(write(tmp_path, "d.jsonl", '{"u": 1, "i": 2}\n{"u": 1\n'), "u", "i")


def test_rows_of_typed_files_are_named(tmp_path):
    path = tmp_path / "a.parquet"
    query = "FROM (VALUES (1, 1, 3, 1::DOUBLE, '1'), (2, NULL, 4, 'nan'::DOUBLE, 'x')) t(u, i, j, v, w)"
    duckdb.execute(f"COPY ({query}) TO '{path}'")
    for columns, said in (
        ({"user": "u", "item": "i"}, "row 2: column 'i' has no value"),
        ({"user": "u", "item": "j", "value": "v"}, "row 2: column 'v' holds nan: finite numbers"),
        ({"user": "u", "item": "j", "value": "w"}, "row 2: column 'w' holds 'x': finite numbers"),
    ):
        with pytest.raises(ValueError, match=re.escape(f"file {path}, {said}")):
            read_table(path, **columns)
    with pytest.raises(TypeError, match=r"^user='v' is a column of DOUBLE in file .*: all integers or all"):
        read_table(path, "v", "u")
    with pytest.raises(ValueError, match=r"b\.parquet cannot be read: No magic bytes"):
        read_table(write(tmp_path, "b.parquet", "PAR1 and nothing else"), "u", "i")


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (
            {"user": "nobody"},
            ValueError,
            r"user='nobody' is not a column of file .*a.csv; it has 'u', 'i', 'v'; the",
        ),
        ({"user": 0}, TypeError, "user must be the name of a column, got 0"),
        ({"header": False}, TypeError, "user must be a position from 0, as header=False, got 'u'"),
        ({"delimiter": ",,"}, ValueError, "delimiter must be one character, and no quotation mark, got ',,'"),
        ({"duplicates": "mean"}, ValueError, "duplicates must be one of 'sum', 'last'|duplicates"),
        ({"where": 3}, TypeError, "where must be a condition in SQL, for example 'stars >= 4', got 3"),
        ({"where": "x > 3"}, ValueError, r"where='x > 3', a condition on file .*a.csv, cannot be read: .*x"),
        ({"where": "v > 3"}, ValueError, r"a.csv holds no events for which v > 3"),
        ({"source": "nothing.csv"}, FileNotFoundError, "nothing.csv does not exist"),
        ({"source": "nothing-*.csv"}, FileNotFoundError, r"nothing-\*.csv does not exist"),
        (
            {"source": "https://example.org/a.csv"},
            ValueError,
            "the address 'https://example.org/a.csv', and fastals",
        ),
        ({"source": []}, ValueError, "source is an empty list"),
        ({"source": [3]}, TypeError, "got a list with 3"),
        ({"source": 3}, TypeError, "source must be paths, a query or a table, got int"),
        ({"source": {"u": [1], "i": [1]}, "where": "u = 1"}, TypeError, "filter the dict before it is passed"),
        ({"connection": sqlite3}, TypeError, "connection= is for queries, and source is"),
        ({"source": "SELECT 1", "connection": 3}, TypeError, "connection must be a connection of DuckDB, sqlite3 or"),
        ({"source": "SELECT 1; SELECT 2"}, ValueError, "the query cannot be read: "),
    ],
)
def test_arguments_that_are_refused(tmp_path, arguments, error, said):
    path = write(tmp_path, "a.csv", "u,i,v\n1,2,3\n")
    with pytest.raises(error, match=said):
        read_table(**{"source": path, "user": "u", "item": "i"} | arguments)


def test_a_layout_is_told_or_certain(tmp_path):
    path = write(tmp_path, "a.csv", "1;10;3,5\n")
    with pytest.raises(ValueError, match=r"line 1: its fields may be separated by ',' or ';'; say which: delimiter="):
        read_table(path, 0, 1, header=False)
    told = read_table(path, 1, 0, header=False, delimiter=";")
    assert rows_of(told) == [(10, 1, 1, None)]
    assert rows_of(read_table(write(tmp_path, "b", "1\t10\t0.5\n"), 0, 1, 2, header=False)) == [(1, 10, 0.5, None)]
    assert rows_of(read_table(write(tmp_path, "c", "u i\n1 10\n"), "u", "i", delimiter=" ")) == [(1, 10, 1, None)]
    with pytest.raises(ValueError, match="the column 'u' is there twice"):
        read_table(write(tmp_path, "d.csv", "u,u,i\n1,2,3\n"), "u", "i")
    with pytest.raises(ValueError, match=r"e.csv is empty: it holds no events"):
        read_table(write(tmp_path, "e.csv", ""), "u", "i")
    with pytest.raises(ValueError, match=r"f.csv holds no events"):
        read_table(write(tmp_path, "f.csv", "u,i\n"), "u", "i")
    with pytest.raises(ValueError, match=r"delimiter= and header= are for delimited text, and file .* is JSON"):
        read_table(write(tmp_path, "g.json", "{}\n"), "u", "i", delimiter=",")


def test_conditions_see_numbers_and_text(tmp_path):
    text = 'u,i,v,a b\n1,2,3.2,x\n1,3,10,y\n1,4,3,"it\'s"\n'
    path = write(tmp_path, "a.csv", text)
    for condition, items in (("v > 3", [2, 3]), ("\"a b\" = 'it''s' -- no more", [4]), ("i < 3 OR v = 10", [2, 3])):
        assert read_table(path, "u", "i", where=condition).item_ids.tolist() == items
    # What a condition leaves out need not be whole.
    assert len(read_table(write(tmp_path, "b.csv", "u,i,v\n1,2,3\n,2,NA\n"), "u", "i", "v", where="u IS NOT NULL")) == 1
    path = write(tmp_path, "c.jsonl", '{"u": 1, "i": "a", "v": 2}\n{"u": 2, "i": "b", "v": 10, "w": "z"}\n')
    assert read_table(path, "u", "i", where="v > 3 AND w = 'z' AND i = 'b'").user_ids.tolist() == [2]


# Queries and databases.


def test_queries(tmp_path):
    path = write(tmp_path, "a.csv", csv_of(EVENTS))
    query = f"WITH t AS (SELECT *, stars * 2 AS twice FROM '{path}') SELECT who, what, twice FROM t; "
    assert rows_of(read_table(query, "who", "what", "twice")) == [(*row[:2], row[2] * 2, None) for row in EVENTS]
    with pytest.raises(ValueError, match="row 3 of the query: column 'x' has no value"):
        read_table("SELECT nullif(range, 2) AS x, 0 AS y FROM range(5)", "x", "y")
    with pytest.raises(ValueError, match=r"user='y' is not a column of the query; it has 'x' \(BIGINT\)$"):
        read_table("SELECT range AS x FROM range(5)", "y", "x")


def test_duckdb_connections():
    with duckdb.connect() as con:
        con.execute("CREATE TABLE t AS SELECT range AS u, 'i' || range % 2 AS i, DATE '2024-01-01' AS d FROM range(4)")
        R = read_table("FROM t", "u", "i", time="d", where="u > 0", connection=con)
        assert rows_of(R)[0][:3] == (1, "i1", 1)
        assert R.times.astype("M8[D]").astype(str).tolist() == ["2024-01-01"] * 3
        assert con.execute("SELECT count(*) FROM duckdb_tables()").fetchall() == [(1,)]
        with pytest.raises(ValueError, match="the query cannot be read: Table with name nothing does not exist"):
            read_table("FROM nothing", "u", "i", connection=con)


def test_sqlite_connections():
    with sqlite3.connect(":memory:") as con:
        con.execute("CREATE TABLE t (u, i, v)")
        con.executemany("INSERT INTO t VALUES (?, ?, ?)", [("007", 1, 2.5), ("7", 1, 1), ("7", 2, None)])
        R = read_table("SELECT * FROM t", "u", "i", "v", where="v IS NOT NULL", connection=con)
        assert rows_of(R) == [("007", 1, 2.5, None), ("7", 1, 1, None)]
        with pytest.raises(TypeError, match="column 'v' must be numbers"):
            read_table("SELECT * FROM t", "u", "i", "v", connection=con)
    con.close()


def test_without_duckdb(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    path = write(tmp_path, "a.csv", "u,i\n1,2\n")
    with pytest.raises(ImportError, match=r"^read_table needs DuckDB for .*: pip install 'fastals\[io\]'$"):
        read_table(path, "u", "i")
    assert rows_of(read_table({"u": [1, 1], "i": [2, 2]}, "u", "i")) == [(1, 2, 1, None)] * 2


NOTEBOOK = """
import sys, types
kernel = types.ModuleType("IPython")
kernel.get_ipython = lambda: types.SimpleNamespace(config={"IPKernelApp": {}})
sys.modules |= {"IPython": kernel, "IPython.display": types.ModuleType("IPython.display"), "ipywidgets": None}
import fastals
print(fastals.read_table("SELECT 1 AS who, 2 AS what", user="who", item="what"))
"""


def test_a_notebook_without_widgets():
    """DuckDB refuses to switch off a progress bar that it cannot show."""
    done = subprocess.run([sys.executable, "-c", NOTEBOOK], capture_output=True, text=True, timeout=120)
    assert done.stdout == "Interactions(1 users x 1 items, 1 events, float32)\n", done.stderr


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, "a.csv", csv_of(EVENTS))
    with duckdb.connect() as con:
        read_table("SELECT 1 AS u, 2 AS i", "u", "i", connection=con)
    read_table(path, **COLUMNS)
    with pytest.raises(ValueError, match="finite numbers"):
        read_table(path, "who", "what", "what")
    assert list(temporary.iterdir()) == []
    assert sorted(tmp_path.iterdir()) == [path, temporary]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 3)), min_size=1))
def test_last_of_each(rows):
    users, items, times = np.array(rows).T
    for moments in (times, None):
        best: dict = {}
        for place, (user, item, time) in enumerate(rows):
            key = 0 if moments is None else time
            if (user, item) not in best or key >= best[user, item][0]:
                best[user, item] = key, place
        wanted = sorted(place for _, place in best.values())
        assert np.flatnonzero(last_of_each(users, items, moments)).tolist() == wanted


def test_it_is_public():
    assert fastals.read_table is read_table
    assert "read_table" in fastals.__all__


@pytest.mark.parametrize(
    ("rows", "column", "option"),
    [
        ("c;p;9,50\nd;p;0,5\n", {"value": "extra"}, "decimal_separator=','"),
        ("c;p;31.12.2025\nd;p;01.01.2026\n", {"time": "extra"}, "dateformat='%d.%m.%Y'"),
        ("zo\xeb;p;1\nd;p;2\n", {}, "encoding='latin-1'"),
    ],
    ids=["decimal comma", "day first", "Latin-1"],
)
def test_a_file_that_is_written_otherwise_is_read_by_the_query_that_the_message_has(tmp_path, rows, column, option):
    path = tmp_path / "it's.csv"
    path.write_bytes(f"who;what;extra\n{rows}".encode("latin-1"))
    with pytest.raises(ValueError, match="pass the query SELECT") as caught:
        read_table(path, "who", "what", **column)
    query = re.search(r"SELECT .*\)", str(caught.value))[0]
    assert option in query
    read = read_table(query, "who", "what", **column)
    assert read.user_ids.tolist()[-1][:2] in ("d", "zo") and len(read) == 2
    if "value" in column:
        assert sorted(read.values.tolist()) == [0.5, 9.5]
    if "time" in column:
        assert sorted(read.times.astype("datetime64[D]").astype(str).tolist()) == ["2025-12-31", "2026-01-01"]


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("a.csv", "who,my item\nann,tea\nbob,\n", ("who", "my item")),
        ("a.csv", "ann,tea\nbob,\n", (0, 1)),
        ("a.jsonl", '{"who": "ann", "what": "tea"}\n{"who": "bob", "what": null}\n', ("who", "what")),
    ],
    ids=["names", "positions", "JSON lines"],
)
def test_rows_with_a_missing_id_are_left_out_by_the_condition_that_the_message_has(tmp_path, name, text, columns):
    path, options = tmp_path / name, {"header": False} if columns == (0, 1) else {}
    path.write_text(text)
    with pytest.raises(ValueError, match=r"has no value: .* leave such rows out: where=") as caught:
        read_table(path, *columns, **options)
    condition = ast.literal_eval(str(caught.value).rpartition("where=")[2])
    assert read_table(path, *columns, where=condition, **options).user_ids.tolist() == ["ann"]


@pytest.mark.parametrize("bad", ["many", "inf", "nan"])
@pytest.mark.parametrize("header", [True, False])
def test_rows_whose_value_is_no_number_are_left_out_by_the_condition_that_the_message_has(tmp_path, bad, header):
    path, columns = tmp_path / "a.csv", ("who", "what", "my stars") if header else (0, 1, 2)
    path.write_text("who,what,my stars\n" * header + f"ann,tea,2.5\nbob,tea,{bad}\n")
    with pytest.raises(ValueError, match=r"finite numbers are wanted; .* leave such rows out: where=") as caught:
        read_table(path, *columns, header=header)
    condition = ast.literal_eval(str(caught.value).rpartition("where=")[2])
    assert read_table(path, *columns, where=condition, header=header).values.tolist() == [2.5]
