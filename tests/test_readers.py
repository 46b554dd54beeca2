"""Files of interactions: layouts that are told, that are certain, and what is refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastals.data import readers
from fastals.data.published import read_titles
from fastals.data.readers import read_ratings, read_split
from tests.tables import rows_of, write

TIMED_ROWS = [(9, 30, 4, 100), (-2, 4, 3.5, 90), (9, 4, 1, 90)]
FILES = {
    "u.data": ("u.data", "9\t30\t4\t100\n-2\t4\t3.5\t90\n9\t4\t1\t90\n"),
    "ratings.dat": ("ratings.dat", "9::30::4::100\n-2::4::3.5::90\n9::4::1::90\n"),
    "ratings.csv": ("ratings.csv", "userId,movieId,rating,timestamp\n9,30,4.0,100\n-2,4,3.5,90\n9,4,1.0,90\n"),
    "text": ("mine.txt", "9 30  4 100\n-2 4\t3.5 90\n 9 4 1 90\n"),
}


@pytest.mark.parametrize("layout", FILES)
@pytest.mark.parametrize(
    "change", [str, lambda text: text.replace("\n", "\r\n\r\n"), lambda text: "\ufeff" + text[:-1]]
)
def test_timed_layouts(tmp_path, layout, change):
    name, text = FILES[layout]
    path = write(tmp_path, name, change(text))
    for ratings in (read_ratings(path), read_ratings(str(path), layout)):
        assert rows_of(ratings) == TIMED_ROWS
        assert ratings.user_ids.tolist() == [-2, 9]
        assert ratings.item_ids.tolist() == [4, 30]
        assert ratings.users.tolist() == [1, 0, 1]


@pytest.mark.parametrize("layout", ["ratings.dat", "ratings.csv", "text"])
def test_layout_is_told_by_the_first_line(tmp_path, layout):
    assert rows_of(read_ratings(write(tmp_path, "other", FILES[layout][1]))) == TIMED_ROWS


@pytest.mark.parametrize("header", ["userID\tartistID\tweight\n", "18800\n2\n"])
def test_lastfm(tmp_path, header):
    ratings = read_ratings(write(tmp_path, "user_artists.dat", header + "2\t51\t13883\n2\t7\t10\n"))
    assert rows_of(ratings) == [(2, 51, 13883, None), (2, 7, 10, None)]


def test_text_without_values_or_times(tmp_path):
    assert rows_of(read_ratings(write(tmp_path, "pairs", "3 1\n2 1\n"))) == [(3, 1, 1, None), (2, 1, 1, None)]
    assert rows_of(read_ratings(write(tmp_path, "triples", "3 1 2.5\n"))) == [(3, 1, 2.5, None)]


def test_text_takes_words_for_ids(tmp_path):
    ratings = read_ratings(write(tmp_path, "words", "zoë #1 2 5\nann 10 3 6\nann 9 4 7\n"), "text")
    assert ratings.user_ids.tolist() == ["ann", "zoë"]
    assert ratings.item_ids.tolist() == ["#1", "10", "9"]
    assert rows_of(ratings)[1] == ("ann", "10", 3, 6)
    only_users = read_ratings(write(tmp_path, "mixed", "b 10\na 9\n"), "text")
    assert only_users.user_ids.tolist() == ["a", "b"]
    assert only_users.item_ids.tolist() == [9, 10]
    only_items = read_ratings(write(tmp_path, "mixed", "10 b\n9 a\n"), "text")
    assert only_items.user_ids.tolist() == [9, 10]


def test_adjacency(tmp_path):
    path = write(tmp_path, "train.txt", "0 5 6 7 8\n1\n\n2 6\n")
    expected = [(0, 5), (0, 6), (0, 7), (0, 8), (2, 6)]
    assert rows_of(read_ratings(path)) == [(user, item, 1, None) for user, item in expected]
    short_first_line = write(tmp_path, "short.txt", "2 6 7\n0 5\n")
    assert rows_of(read_ratings(short_first_line, "adjacency")) == [(2, 6, 1, None), (2, 7, 1, None), (0, 5, 1, None)]


@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-5, 5)), min_size=1))
def test_integer_ids_are_coded_in_ascending_order(tmp_path_factory, pairs):
    path = write(tmp_path_factory.mktemp("ids"), "ids", "".join(f"{user} {item}\n" for user, item in pairs))
    ratings = read_ratings(path)
    assert ratings.user_ids.tolist() == sorted({user for user, _ in pairs})
    assert ratings.item_ids.tolist() == sorted({item for _, item in pairs})
    assert [row[:2] for row in rows_of(ratings)] == pairs


def test_read_split_shares_the_id_tables(tmp_path):
    train = write(tmp_path, "train.txt", "0 5 6 7 8\n")
    test = write(tmp_path, "test.txt", "1 6 2 3 4\n")
    first, second = read_split(train, test, "adjacency")
    assert first.shape == second.shape == (2, 7)
    assert first.user_ids is second.user_ids
    assert [row[:2] for row in rows_of(first)] == [(0, 5), (0, 6), (0, 7), (0, 8)]
    assert [row[:2] for row in rows_of(second)] == [(1, 6), (1, 2), (1, 3), (1, 4)]
    timed = [write(tmp_path, name, FILES["text"][1]) for name in ("a", "b")]
    assert [rows_of(part) for part in read_split(*timed)] == [TIMED_ROWS, TIMED_ROWS]
    with pytest.raises(ValueError, match=r"train\.txt and .*a must both have times or both have none"):
        read_split(write(tmp_path, "train.txt", "0 5\n"), timed[0])


@pytest.mark.parametrize(
    ("name", "text", "line", "message"),
    [
        ("u.data", "1\t2\t3\t4\n1\t2\t3\n", 2, "expected 'user item rating time' separated by tabs, got '1\\t2\\t3'"),
        ("u.data", "1\t2\t3\t4\n\n1\t2\t3\t4\t5\n", 3, "got '1\\t2\\t3\\t4\\t5'"),
        ("u.data", "1 2 3 4\n", 1, "separated by tabs, got '1 2 3 4'"),
        ("u.data", "1\t2\t3\t4\n1\tx\t3\t4\n", 2, "got '1\\tx\\t3\\t4'"),
        ("u.data", "1\t2\t3\t4\n1\t2\t\t4\n", 2, "got '1\\t2\\t\\t4'"),
        ("u.data", "1\t2\tnan\t4\n", 1, "expected a finite rating in float32, got '1\\t2\\tnan\\t4'"),
        ("ratings.dat", "1::2::3::4\n1::2:3::4\n", 2, "expected 'user item rating time' separated by '::'"),
        ("ratings.csv", "1,2,3,4\n", 1, "expected the header 'userId movieId rating timestamp' separated by commas"),
        ("ratings.csv", "userId,movieId,rating,timestamp\n\n1,2,inf,4\n", 3, "expected a finite rating in float32"),
        ("ratings.csv", "userId,movieId,rating,timestamp\n1,2,3,4.5\n", 2, "got '1,2,3,4.5'"),
        ("user_artists.dat", "2\t51\t13883\n", 1, "expected the header 'userID artistID weight' separated by tabs"),
        ("user_artists.dat", "18800\n1\n2\t51\n", 3, "expected 'userID artistID weight' separated by tabs"),
        ("mine", "a b 3 4\na b 3\n", 2, "expected 'user item value time' separated by white space, got 'a b 3'"),
        ("mine", "a b\n \na b c\n", 3, "expected 'user item' separated by white space, got 'a b c'"),
        ("mine", "user item rating\n1 2 3\n", 1, "expected 'user item value' separated by white space"),
        ("mine", "1 2 3\n1 2 1e39\n", 2, "expected a finite value in float32, got '1 2 1e39'"),
        ("mine", "word\n", 1, "expected 'user item' separated by white space, got 'word'"),
    ],
)
def test_malformed_lines_are_named(tmp_path, name, text, line, message):
    path = write(tmp_path, name, text)
    with pytest.raises(ValueError, match=re.escape(f"file {path}, line {line}: ")) as caught:
        read_ratings(path, "text" if name == "mine" else None)
    assert message in str(caught.value)


def test_malformed_line_in_a_later_block(tmp_path, monkeypatch):
    monkeypatch.setattr("fastals.data.readers._SCAN_ROWS", 4)
    path = write(tmp_path, "u.data", "1\t2\t3\t4\n" * 10 + "bad\n" + "worse\n" * 5)
    with pytest.raises(ValueError, match=r"line 11: .* got 'bad'"):
        read_ratings(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("u.data", ""),
        ("mine", " \n\n"),
        ("ratings.csv", "userId,movieId,rating,timestamp\n"),
        ("user_artists.dat", "0\n0\n"),
    ],
)
def test_empty_files_are_refused(tmp_path, name, text):
    path = write(tmp_path, name, text)
    with pytest.raises(ValueError, match=re.escape(f"file {path} is empty: it holds no ratings")):
        read_ratings(path)


def test_adjacency_without_items_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is empty: it holds no ratings"):
        read_ratings(write(tmp_path, "train.txt", "0\n1\n"), "adjacency")


@pytest.mark.parametrize("reader", [read_ratings, read_titles])
def test_wrong_paths_say_what_to_do(tmp_path, reader):
    with pytest.raises(FileNotFoundError, match=r"u\.data does not exist: give the path of the data file itself"):
        reader(tmp_path / "u.data")
    with pytest.raises(FileNotFoundError, match="is a folder: give the path of the data file itself"):
        reader(tmp_path)


def test_unknown_layout_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"layout must be one of 'u\.data', .*'adjacency', got 'tsv'"):
        read_ratings(write(tmp_path, "u.data", FILES["u.data"][1]), "tsv")


@pytest.mark.parametrize("rows_before", [1, 20_000])  # met by the look at the first lines, and by the parser
def test_other_encodings_are_refused_with_their_line(tmp_path, rows_before):
    path = write(tmp_path, "mine", "1 2\n" * rows_before + "zoë b\n", "latin-1")
    with pytest.raises(ValueError, match=re.escape(f"line {rows_before + 1}: expected UTF-8 text, got byte 0xeb")):
        read_ratings(path)


def test_real_files_have_their_published_sizes(data_dir):
    ratings = read_ratings(data_dir / "ml-100k" / "u.data")
    assert (len(ratings), ratings.shape) == (100_000, (943, 1682))
    titles = read_titles(data_dir / "ml-100k" / "u.item")
    assert set(titles) == set(ratings.item_ids.tolist())
    assert titles[1] == "Toy Story (1995)"
    artists = read_ratings(data_dir / "lastfm-2k" / "user_artists.dat")
    assert (len(artists), artists.shape) == (92_834, (1892, 17_632))
    train, test = read_split(*(data_dir / "ml-1m-implicit" / name for name in ("train.txt", "test.txt")))
    assert (len(train), len(test), train.shape) == (801_218, 197_321, (6040, 3260))


# What no layout is certain for.


@pytest.mark.parametrize(
    ("name", "text", "line", "said"),
    [
        ("fifth column", "1\t10\t5.0\t100\tweb\n2\t11\t4.0\t101\tapp\n", 1, "5 fields may be a table"),
        ("five integers", "1 10 5 100 3\n2 11 4 101 7\n", 1, "give layout='adjacency'"),
        ("five integers and tabs", "1\t10\t11\t12\t13\n2\t11\t14\t15\t16\n", 1, "5 fields may be a table"),
        ("Matrix Market", "%%MatrixMarket matrix coordinate real general\n%\n3 3 1\n1 2 5\n", 1, "scipy.io.mmread"),
        ("LibSVM", "1 10:5 20:3\n0 3:1\n", 1, "Interactions.from_frame"),
        ("JSON lines", '{"user": 1, "item": 2}\n', 1, "Interactions.from_frame"),
        ("compact JSON lines", '{"user":1,"item":2}\n', 1, "separated by ','"),
        ("commas", "1,10,5,100\n", 1, "no layout has fields separated by ','"),
        ("commas and spaces", "1, 10, 5, 100\n", 1, "Interactions.from_frame"),
        ("semicolons", "1;10;5\n", 1, "no layout has fields separated by ';'"),
        ("date and time", "1,10,5,2020-01-01 10:00:00\n", 1, "Interactions.from_frame"),
        ("check-ins", "0\t2010-10-19T23:55:27Z\t30.2\t-97.7\t22847\n", 1, "Interactions.from_frame"),
        ("ids with spaces", "Anna B\t10\t5\nEva C\t11\t4\n", 1, "or ids that are words"),
        ("ids with spaces and spaces", "Anna B 10 5\nEva C 11 4\n", 1, "or ids that are words"),
        ("header", "user\titem\n1\t10\n", 1, "this may be a header"),
        ("header with times", "user item value time\n1 10 5 100\n", 1, "this may be a header"),
        ("trailing comment", "1 10 5 # first\n2 11 4\n", 1, "Interactions.from_frame"),
        ("late comment", "1 10 5\n1 11 4\n# done\n", 3, "Interactions.from_frame"),
        ("late word", "1 10 5\n1 11 4\nann 3 4\n", 3, "integers of at most 64 bits"),
        ("beyond 64 bits", "1 10\n18446744073709551615 3\n", 2, "integers of at most 64 bits"),
        ("an item that is no integer", "1\t10.1\t5\t100\n", 1, "Interactions.from_frame"),
        ("a time that is no integer", "1 10 5 100.5\n1 11 5 100\n", 1, "integers of at most 64 bits"),
        ("ragged", "1 2 3\n4 5\n", 2, "expected 'user item value'"),
        (
            "lists with an item beyond 64 bits",
            "0 1 2 3 4\n1 9 18446744073709551615 4 5 6\n",
            2,
            "expected 'user item item",
        ),
        ("lists with digits that are not ASCII", "0 1 2 3 4\n1 9 \u00b2 4 5 6\n", 1, "5 fields may be a table"),
        ("one field", "17\n", 1, "it has one field"),
        ("only comments", "# nothing\n", None, "is empty"),
        ("triples or lists", "0 6 7\n1 8 9\n", 1, "(layout='text') or a user and its items (layout='adjacency')"),
    ],
)
def test_files_without_a_certain_layout_are_refused(tmp_path, name, text, line, said):
    path = write(tmp_path, "ratings.txt", text)
    with pytest.raises(ValueError, match=re.escape(f"file {path}" + (f", line {line}: " if line else " "))) as caught:
        read_ratings(path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("# Nodes: 3 Edges: 2\n# a\tb\n0\t4\n0\t5\n", [(0, 4, 1, None), (0, 5, 1, None)]),
        ("% sym weighted\n% 2 3 3\n1 2 3\n1 3 2\n", [(1, 2, 3, None), (1, 3, 2, None)]),
        ("0 6 7\n1 8 2.5\n", [(0, 6, 7, None), (1, 8, 2.5, None)]),
        ("0 6 7\n1 8 8\n", [(0, 6, 7, None), (1, 8, 8, None)]),  # no user has an item twice
        ("0 6 7\n0 8 9\n", [(0, 6, 7, None), (0, 8, 9, None)]),
        ("0 6\n1 8\n", [(0, 6, 1, None), (1, 8, 1, None)]),
        ("-3\t6\t7\t8\n+4\t8\t9\t10\n", [(-3, 6, 7, 8), (4, 8, 9, 10)]),
        ("3 1 2\n0 5 6 7 8\n", [(3, 1, 1, None), (3, 2, 1, None), *((0, item, 1, None) for item in (5, 6, 7, 8))]),
        ("0 1 2 3 4\n1 2 3 4 5\n", [(user, item, 1, None) for user in (0, 1) for item in range(user + 1, user + 5)]),
        ("1::2::3::4\n", [(1, 2, 3, 4)]),
    ],
)
def test_certain_layouts(tmp_path, text, rows):
    assert rows_of(read_ratings(write(tmp_path, "file.txt", text))) == rows


def test_what_is_told_is_read_as_told(tmp_path):
    path = write(tmp_path, "file.txt", "0 6 7\n1 8 9\n")
    assert rows_of(read_ratings(path, "text")) == [(0, 6, 7, None), (1, 8, 9, None)]
    assert rows_of(read_ratings(path, "adjacency"))[1:3] == [(0, 7, 1, None), (1, 8, 1, None)]
    with pytest.raises(ValueError, match=r"line 1: expected 'user item rating time' separated by '::'"):
        read_ratings(write(tmp_path, "ratings.dat", "1::2\t3::4\n"))


def test_a_layout_in_doubt_is_that_of_the_other_file(tmp_path):
    lists, both = write(tmp_path, "a", "0 1 2 3 4 5\n1 2 3 4 5 6\n"), write(tmp_path, "b", "0 6 7\n1 8 9\n")
    triples = write(tmp_path, "c", "0 1 5\n0 2 5\n")
    held_out = [(0, 6), (0, 7), (1, 8), (1, 9)]
    assert [row[:2] for row in rows_of(read_split(lists, both)[1])] == held_out
    assert [row[:2] for row in rows_of(read_split(both, lists)[0])] == held_out
    assert rows_of(read_split(triples, both)[1]) == [(0, 6, 7, None), (1, 8, 9, None)]
    with pytest.raises(ValueError, match=r"may be 'user item value'"):
        read_split(both, both)


def test_words_in_one_of_two_files(tmp_path):
    first, second = write(tmp_path, "a", "1 10\n2 11\n"), write(tmp_path, "b", "ann 11\n")
    train, test = read_split(first, second, "text")
    assert list(train.user_ids) == ["1", "2", "ann"]
    assert list(train.item_ids) == [10, 11]
    assert rows_of(test) == [("ann", 11, 1, None)]


@pytest.mark.parametrize("text", ["1 2 3\n1 3\0 4\n", "1\0 \x002\0\n"])
def test_nul_bytes_are_no_text(tmp_path, text):
    line = text.count("\n", 0, text.index("\0")) + 1
    with pytest.raises(ValueError, match=rf"line {line}: expected UTF-8 text, got a NUL byte; unpack or convert"):
        read_ratings(write(tmp_path, "file.txt", text), "text")


def test_a_line_without_end_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("fastals.data.readers._LONGEST_LINE", 1000)
    monkeypatch.setattr("fastals.data.readers._BLOCK", 100)
    path = write(tmp_path, "file.txt", "1 2\n" * 5 + "1 2 " * 1000)
    with pytest.raises(ValueError, match="line 6: more than 1,000 bytes without the end of a line"):
        read_ratings(path)
    assert len(read_ratings(write(tmp_path, "file.txt", "1 2\n" * 1000))) == 1000


def test_a_long_word_takes_memory_in_proportion(tmp_path):
    text = "".join(f"u{n} i{n % 50}\n" for n in range(20_000)) + f"u0 {'x' * 200_000}\n"
    ratings = read_ratings(write(tmp_path, "file.txt", text), "text")
    assert ratings.shape == (20_000, 51)
    with pytest.raises(ValueError, match="users holds an id of 200,000 characters"):
        read_ratings(write(tmp_path, "file.txt", text + f"{'x' * 200_000} i1\n"), "text")


def test_integers_are_never_parsed_as_floats(tmp_path, monkeypatch):
    """As NumPy did before 2.3: both ways read the same and refuse the same."""
    for exact in (True, False):
        if not exact and readers._ROUNDS_INTEGERS:
            continue
        monkeypatch.setattr("fastals.data.readers._ROUNDS_INTEGERS", exact)
        path = write(tmp_path, "u.data", f"{2**63 - 1}\t{-(2**63)}\t5\t9007199254740993\n")
        assert rows_of(read_ratings(path)) == [(2**63 - 1, -(2**63), 5, 9007199254740993)]
        for field in ("10.1", "1e3", str(2**63), "1_0", "0x10", "\u0661\u0660"):
            with pytest.raises(ValueError, match="line 1: expected 'user item rating time' separated by tabs"):
                read_ratings(write(tmp_path, "u.data", f"1\t{field}\t5\t100\n"))
        ratings = read_ratings(write(tmp_path, "words", f"{2**64 - 1} 1 5\n{2**64 - 2} 3 4\n"), "text")
        assert list(ratings.user_ids) == [str(2**64 - 2), str(2**64 - 1)]
