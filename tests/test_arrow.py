"""Rows of DuckDB as NumPy arrays, by Arrow's C stream interface."""

import sys

import numpy as np
import pytest

from fastals.data.arrow import Text, batches

duckdb = pytest.importorskip("duckdb")


def columns(query, *settings):
    """Return whole columns of a query; text as Python's strings."""
    found = {}
    with duckdb.connect() as con:
        for setting in ("TimeZone = 'UTC'", *settings):
            con.execute(f"SET {setting}")
        for batch in batches(con.sql(query).__arrow_c_stream__()):
            for name, column in batch.items():
                found.setdefault(name, []).extend(strings(column) if isinstance(column, Text) else [column.copy()])
    return {name: parts if isinstance(parts[0], str) else np.concatenate(parts) for name, parts in found.items()}


def strings(text):
    whole = text.characters.tobytes()
    return [whole[text.offsets[i] : text.offsets[i + 1]].decode() for i in range(len(text))]


@pytest.mark.parametrize(
    ("sql", "dtype"),
    [
        ("range::BIGINT - 1", "i8"),
        ("range::UBIGINT + 18446744073709551000", "u8"),
        ("range / 3", "f8"),
        ("(range % 2)::UTINYINT", "u1"),
        ("DATE '1969-12-30' + range::INTEGER", "M8[us]"),
        ("TIMESTAMP '2024-01-01' + to_seconds(range)", "M8[us]"),
        ("TIMESTAMPTZ '2024-01-01 10:00:00+02' + to_seconds(range)", "M8[us]"),
        ("make_timestamp_ns(range)", "M8[ns]"),
        ("(TIMESTAMP '2024-01-01' + to_seconds(range))::TIMESTAMP_S", "M8[s]"),
        ("(TIMESTAMP '2024-01-01' + to_seconds(range))::TIMESTAMP_MS", "M8[ms]"),
    ],
)
def test_numbers_are_those_that_duckdb_gives(sql, dtype):
    query = f"SELECT {sql} AS x FROM range(5)"
    found = columns(query)["x"]
    assert found.dtype == np.dtype(dtype)
    assert np.array_equal(found, duckdb.sql(query).fetchnumpy()["x"])


@pytest.mark.parametrize("large", ["true", "false"])
def test_text(large):
    query = "SELECT repeat('zoë日😀', range % 4) || range AS x FROM range(1000)"
    wanted = [row[0] for row in duckdb.sql(query).fetchall()]
    assert columns(query, f"arrow_large_buffer_size = {large}")["x"] == wanted


def test_many_rows_come_in_order_and_need_no_pyarrow(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    n = 2_500_000
    found = columns(f"SELECT range AS x, (range % 7)::DOUBLE AS y FROM range({n}) WHERE range % 5 <> 1")
    wanted = np.arange(n)[np.arange(n) % 5 != 1]
    assert np.array_equal(found["x"], wanted)
    assert np.array_equal(found["y"], wanted % 7)


def test_a_null_leaves_its_neighbours_alone():
    found = columns("SELECT nullif(range, 2) AS x FROM range(5)")["x"]
    assert found[[0, 1, 3, 4]].tolist() == [0, 1, 3, 4]
    assert columns("SELECT range AS x FROM range(0)") == {}


def test_an_error_has_the_message_of_duckdb():
    query = "SELECT CAST(if(range = 150000, 'x', '1') AS BIGINT) AS x FROM range(200000)"
    with pytest.raises((RuntimeError, duckdb.Error), match=r"(?i)could not convert string 'x'"):
        columns(query, "threads = 1")  # else a thread that is interrupted may be the first to say so
