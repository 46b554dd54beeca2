"""Readers, generator and splits of fastals.datasets."""

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastals import datasets
from fastals.datasets import (
    Ratings,
    read_negatives,
    read_ratings,
    read_split,
    read_titles,
    split_by_time,
    split_leave_last_out,
    split_new_users,
    split_random,
    synthetic,
)


def write(folder, name, text, encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def ratings_of(users, items, values=None, times=None):
    users, items = np.array(users, np.int32), np.array(items, np.int32)
    values = np.ones(users.size) if values is None else np.array(values)
    times = None if times is None else np.array(times, np.int64)
    return Ratings(
        users,
        items,
        values.astype(np.float32),
        times,
        np.arange(users.max(initial=-1) + 1),
        np.arange(items.max(initial=-1) + 1),
    )


def rows_of(ratings):
    times = [None] * len(ratings) if ratings.times is None else ratings.times.tolist()
    users, items = ratings.user_ids[ratings.users].tolist(), ratings.item_ids[ratings.items].tolist()
    return list(zip(users, items, ratings.values.tolist(), times, strict=True))


# --- Ratings ---------------------------------------------------------------------------------------------------------


def test_matrix_is_canonical_and_sums_duplicates():
    ratings = ratings_of([1, 0, 1, 1], [2, 1, 0, 2], [3, 4, 0, 0.5])
    matrix = ratings.matrix()
    assert matrix.has_canonical_format
    assert matrix.dtype == np.float32
    assert matrix.shape == ratings.shape == (2, 3)
    assert matrix.nnz == 3  # the stored 0 stays
    np.testing.assert_array_equal(matrix.toarray(), [[0, 4, 0], [0, 0, 3.5]])
    np.testing.assert_array_equal(ratings.matrix(np.ones(4)).toarray(), [[0, 1, 0], [1, 0, 2]])


def test_matrix_leaves_the_ratings_alone():
    ratings = ratings_of([1, 0, 1], [1, 0, 1], [3, 4, 5])
    ratings.matrix()
    assert rows_of(ratings) == [(1, 1, 3, None), (0, 0, 4, None), (1, 1, 5, None)]


def test_matrix_refuses_values_of_another_length():
    with pytest.raises(ValueError, match=re.escape("values must have shape (2,), one for each rating, got (3,)")):
        ratings_of([0, 1], [0, 1]).matrix(np.ones(3))


def test_select_keeps_the_id_tables():
    ratings = ratings_of([0, 1, 2], [2, 1, 0], [3, 4, 5], [7, 8, 9])
    picked = ratings.select([2, 0])
    assert picked.shape == (3, 3)
    assert rows_of(picked) == [(2, 0, 5, 9), (0, 2, 3, 7)]
    assert rows_of(ratings.select(ratings.values > 4)) == [(2, 0, 5, 9)]
    assert len(ratings.select([])) == 0
    assert ratings.select([]).matrix().shape == (3, 3)


def test_select_refuses_what_is_no_mask_or_index():
    ratings = ratings_of([0, 1], [0, 1])
    with pytest.raises(ValueError, match=re.escape("a mask must have shape (2,), as the ratings have, got (3,)")):
        ratings.select([True, False, True])
    with pytest.raises(TypeError, match="rows must be a boolean mask or integer positions, got dtype float64"):
        ratings.select([0.5])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"users": np.zeros(2)}, TypeError, "users must be an array of int32, got float64"),
        ({"values": [1.0, 2.0]}, TypeError, "values must be an array of float32, got list"),
        ({"times": np.zeros(2, np.int32)}, TypeError, "times must be an array of int64, got int32"),
        (
            {"items": np.zeros(3, np.int32)},
            ValueError,
            "items must be 1-dimensional and as long as users, got shape (3,)",
        ),
        ({"item_ids": np.arange(1)}, ValueError, "items must be codes from 0 to 0, positions in the table of 1 ids"),
        ({"users": np.array([0, -1], np.int32)}, ValueError, "got codes from -1 to 0"),
    ],
)
def test_ratings_refuse_arrays_that_do_not_agree(change, error, message):
    with pytest.raises(error, match=re.escape(message)):
        dataclasses.replace(ratings_of([0, 1], [0, 1]), **change)


# --- readers ---------------------------------------------------------------------------------------------------------

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
    ratings = read_ratings(write(tmp_path, "words", "zoë #1 2 5\nann 10 3 6\nann 9 4 7\n"))
    assert ratings.user_ids.tolist() == ["ann", "zoë"]
    assert ratings.item_ids.tolist() == ["#1", "10", "9"]
    assert rows_of(ratings)[1] == ("ann", "10", 3, 6)
    only_users = read_ratings(write(tmp_path, "mixed", "b 10\na 9\n"))
    assert only_users.user_ids.tolist() == ["a", "b"]
    assert only_users.item_ids.tolist() == [9, 10]
    only_items = read_ratings(write(tmp_path, "mixed", "10 b\n9 a\n"))
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
    first, second = read_split(train, test)
    assert first.shape == second.shape == (2, 7)
    assert first.user_ids is second.user_ids
    assert [row[:2] for row in rows_of(first)] == [(0, 5), (0, 6), (0, 7), (0, 8)]
    assert [row[:2] for row in rows_of(second)] == [(1, 6), (1, 2), (1, 3), (1, 4)]
    timed = [write(tmp_path, name, FILES["text"][1]) for name in ("a", "b")]
    assert [rows_of(part) for part in read_split(*timed)] == [TIMED_ROWS, TIMED_ROWS]
    with pytest.raises(ValueError, match=r"train\.txt and .*a must both have times or both have none"):
        read_split(train, timed[0])


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
        ("mine", "word\n", 1, "no layout fits 'word'; give layout=, one of 'u.data', 'ratings.dat', 'ratings.csv'"),
    ],
)
def test_malformed_lines_are_named(tmp_path, name, text, line, message):
    path = write(tmp_path, name, text)
    with pytest.raises(ValueError, match=re.escape(f"file {path}, line {line}: ")) as caught:
        read_ratings(path)
    assert message in str(caught.value)


def test_malformed_line_in_a_later_block(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "_SCAN_ROWS", 4)
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
    path = write(tmp_path, "mine", "a b\n" * rows_before + "zoë b\n", "latin-1")
    with pytest.raises(ValueError, match=re.escape(f"line {rows_before + 1}: expected UTF-8 text, got byte 0xeb")):
        read_ratings(path)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("u.item", "1|Misérables, Les (1995)|01-Jan-1995||http://x|0|1\r\n7|M|x\r\n"),
        ("movies.dat", "1::Misérables, Les (1995)::Drama|Musical\n7::M::Crime\n"),
        ("movies.csv", 'movieId,title,genres\n1,"Misérables, Les (1995)",Drama|Musical\n\n7,M,Crime\n'),
    ],
)
def test_titles(tmp_path, name, text, encoding):
    assert read_titles(write(tmp_path, name, text, encoding)) == {1: "Misérables, Les (1995)", 7: "M"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("u.item", "", "is empty: it holds no titles"),
        ("u.item", "1|A|x\n\nB|2\n", "line 3: expected 'id|title|...' with an integer id, got fields ['B', '2']"),
        ("movies.dat", "1::A::x\n2\n", "line 2: expected 'id::title::...' with an integer id, got fields ['2']"),
        ("movies.csv", "id,name\n", "line 1: expected the header 'movieId,title,genres', got 'id,name'"),
        ("movies.csv", "movieId,title,genres\n1,A,x\nB,2\n", "line 3: expected 'id,title,genres' with an integer id"),
        ("movies.csv", f'movieId,title,genres\n1,"{"A" * 200_000}', "line 2: not a CSV row"),
    ],
)
def test_malformed_titles_are_named(tmp_path, name, text, message):
    path = write(tmp_path, name, text)
    with pytest.raises(ValueError, match=re.escape(f"file {path}")) as caught:
        read_titles(path)
    assert message in str(caught.value)


def test_given_negatives(tmp_path):
    cases = read_negatives(write(tmp_path, "ml.test.negative", "(0,25)\t1064\t174\n(3,133)\t7\t2\n"))
    assert cases.users.tolist() == [0, 3]
    assert cases.items.tolist() == [25, 133]
    assert cases.negatives.tolist() == [[1064, 174], [7, 2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(0,1)\t2\n0,1\t2\n", "line 2: expected '\\(user,item\\)' and items separated by tabs"),
        ("(0,1)\tx\n", "line 1: expected '\\(user,item\\)'"),
        ("(0,1)\t2\t3\n(1,1)\t2\n", "line 2: expected 2 negatives as in every line"),
        ("(0,1)\n", "line 1: expected 1 negatives"),
        ("\n", "is empty: it holds no cases"),
    ],
)
def test_malformed_negatives_are_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_negatives(write(tmp_path, "ml.test.negative", text))


# --- synthetic data --------------------------------------------------------------------------------------------------


@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.floats(0, 1),
    st.integers(1, 3),
    st.tuples(st.floats(0, 10), st.floats(0, 10)),
    st.integers(0, 99),
)
def test_synthetic_keeps_its_guarantees(n_users, n_items, fill, rank, exponent, seed):
    n_cells = n_users + round(fill * n_users * (n_items - 1))
    ratings = synthetic(n_users, n_items, n_cells, rank, exponent, seed)
    assert ratings.shape == (n_users, n_items)
    assert len(set(zip(ratings.users.tolist(), ratings.items.tolist(), strict=True))) == len(ratings) == n_cells
    assert np.bincount(ratings.users, minlength=n_users).min() >= 1
    assert set(ratings.values.tolist()) <= {1, 2, 3, 4, 5}
    assert ratings.times is not None
    assert (np.diff(ratings.times) > 0).all()


def test_synthetic_is_reproducible_and_the_seed_counts():
    first, again, other = (synthetic(200, 100, 3000, random_state=seed) for seed in (5, 5, 6))
    assert rows_of(first) == rows_of(again)
    assert rows_of(first) != rows_of(other)


def test_synthetic_users_have_the_planned_degrees():
    users = np.sort(np.bincount(synthetic(2000, 4000, 100_000).users))[::-1]
    law = ((np.arange(2000) + 0.5) / 2000 + 1 / 1000) ** -0.8
    expected = 1 + 98_000 * law / law.sum()
    assert expected.max() < 4000  # no user is limited by the number of items
    assert np.abs(users - expected).max() <= 1


def test_synthetic_items_are_skewed_by_their_exponent():
    def gini(exponent):
        degrees = np.sort(np.bincount(synthetic(2000, 1000, 50_000, exponent=(0.8, exponent)).items, minlength=1000))
        return 1 - 2 * (np.cumsum(degrees) / degrees.sum()).mean()

    ginis = [gini(exponent) for exponent in (0.0, 1.0, 2.0)]
    assert ginis == sorted(ginis)
    # A law of exponent 2 alone has a Gini coefficient of 0.9; draws without replacement flatten its head.
    assert 0.6 < ginis[2] < 0.9


def test_synthetic_ratings_have_the_planted_rank():
    rank = 4
    dense = synthetic(300, 200, 60_000, rank=rank).matrix().toarray()
    spectrum = np.linalg.svd(dense, compute_uv=False)
    # Noise of deviation 0.6 and rounding (1 / sqrt(12)) have a norm of about sd * (sqrt(300) + sqrt(200)).
    noise = np.sqrt(0.6**2 + 1 / 12) * (np.sqrt(300) + np.sqrt(200))
    assert spectrum[rank - 1] > 3 * noise
    assert spectrum[rank] < 1.5 * noise


@pytest.mark.parametrize("rounds", [0, 1, 8])  # the race alone, both, almost only repeated draws
def test_cells_are_drawn_without_replacement_by_the_planted_probabilities(monkeypatch, rounds):
    monkeypatch.setattr(datasets, "_DRAW_ROUNDS", rounds)
    n_users, taste = 20_000, np.array([0.3, 0.7])
    appeals = np.array([[4.0, 1.0], [1.0, 2.0], [0.5, 0.5], [0.2, 1.0]])
    cells = datasets._draw_cells(np.full(n_users, 2), np.tile(taste, (n_users, 1)), appeals, np.random.default_rng(0))
    chosen = np.zeros((n_users, 4), bool)
    chosen.flat[cells] = True
    np.testing.assert_array_equal(chosen.sum(axis=1), 2)
    p = appeals @ taste / (appeals @ taste).sum()
    for i in range(4):
        for j in range(i):
            expected = p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j])
            deviation = np.sqrt(expected * (1 - expected) / n_users)
            assert abs((chosen[:, i] & chosen[:, j]).mean() - expected) < 4 * deviation


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 5, 5), ValueError, "n_users must be at least 1, got 0"),
        ((5, 2.5, 5), TypeError, "n_items must be an integer, got 2.5"),
        ((5, 5, 4), ValueError, "n_cells must be from n_users to n_users * n_items, 5 to 25, got 4"),
        ((5, 5, 26), ValueError, "n_cells must be from n_users to n_users * n_items, 5 to 25, got 26"),
        ((5, 5, 20, True), TypeError, "rank must be an integer, got True"),
        ((5, 5, 20, 2, (1, -1)), ValueError, "exponent must be two numbers from 0 to 10, for users and for items"),
        ((5, 5, 20, 2, (1, np.nan)), ValueError, "exponent must be two numbers from 0 to 10"),
        ((5, 5, 20, 2, (1,)), ValueError, "exponent must be two numbers from 0 to 10"),
    ],
)
def test_synthetic_refuses_arguments_out_of_range(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        synthetic(*arguments)


# --- splits ----------------------------------------------------------------------------------------------------------


@st.composite
def timed_ratings(draw):
    """Ratings with many ties whose values tell the rows apart."""
    rows = draw(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 3)), min_size=2, max_size=40))
    users, items, times = zip(*rows, strict=True)
    return ratings_of(users, items, np.arange(len(rows)), times)


def assert_parts(ratings, train, test):
    """Nothing lost, nothing twice, the order and the tables kept."""
    in_test = np.isin(ratings.values, test.values)
    assert rows_of(ratings.select(in_test)) == rows_of(test)
    assert rows_of(ratings.select(~in_test)) == rows_of(train)
    assert train.shape == test.shape == ratings.shape


@given(timed_ratings(), st.floats(0.01, 0.99), st.integers(0, 9))
def test_random_split(ratings, share, seed):
    size = round(share * len(ratings))
    if not 0 < size < len(ratings):
        with pytest.raises(ValueError, match="both sides of a split need at least one row"):
            split_random(ratings, share, seed)
        return
    train, test = split_random(ratings, share, seed)
    assert_parts(ratings, train, test)
    assert len(test) == size
    assert rows_of(split_random(ratings, share, seed)[1]) == rows_of(test)


def test_random_split_follows_its_seed_and_needs_no_times():
    ratings = ratings_of(np.arange(100), np.zeros(100))
    first, second = (split_random(ratings, random_state=seed)[1] for seed in (0, 1))
    assert len(first) == 20
    assert rows_of(first) != rows_of(second)


@given(timed_ratings())
def test_split_by_time(ratings):
    train, test = split_by_time(ratings, 0.5)
    assert_parts(ratings, train, test)
    by_time = sorted(rows_of(ratings), key=lambda row: row[3])
    assert sorted(rows_of(test)) == sorted(by_time[len(ratings) - round(0.5 * len(ratings)) :])


LAST = {
    "file": lambda row: (row[3], row[2]),
    "first": lambda row: (row[3], -row[2]),
    "item": lambda row: (row[3], row[1], row[2]),
    "item_descending": lambda row: (row[3], -row[1], row[2]),
}


@given(timed_ratings(), st.integers(1, 3), st.sampled_from([*LAST, "random"]), st.integers(0, 9))
def test_leave_last_out(ratings, n, ties, seed):
    counts = np.bincount(ratings.users)
    if counts.max() <= n:
        with pytest.raises(ValueError, match=f"no user has more than n = {n} rows"):
            split_leave_last_out(ratings, n, ties, seed)
        return
    train, test = split_leave_last_out(ratings, n, ties, seed)
    assert_parts(ratings, train, test)
    np.testing.assert_array_equal(np.bincount(test.users, minlength=counts.size), np.where(counts > n, n, 0))
    for user in np.flatnonzero(counts > n):
        held, kept = ([row for row in rows_of(part) if row[0] == user] for part in (test, train))
        assert min(row[3] for row in held) >= max(row[3] for row in kept)
        if ties in LAST:
            assert min(map(LAST[ties], held)) > max(map(LAST[ties], kept))


def test_random_ties_follow_their_seed():
    ratings = ratings_of(np.repeat(np.arange(50), 4), np.tile(np.arange(4), 50), times=np.zeros(200))
    items = [split_leave_last_out(ratings, ties="random", random_state=seed)[1].items.tolist() for seed in (0, 0, 1)]
    assert items[0] == items[1] != items[2]
    assert set(items[0]) == {0, 1, 2, 3}


def test_splits_refuse_what_they_cannot_do():
    timed, untimed = ratings_of([0, 0], [0, 1], times=[1, 2]), ratings_of([0, 0], [0, 1])
    for share in (0, 1, -0.5, np.nan):
        for split in (split_random, split_by_time):
            with pytest.raises(ValueError, match="test_share must lie between 0 and 1, got"):
                split(timed, share)
    for split in (split_by_time, split_leave_last_out):
        with pytest.raises(ValueError, match=r"ratings have no times, which this split needs; .* use split_random"):
            split(untimed, **({"test_share": 0.5} if split is split_by_time else {}))
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        split_leave_last_out(timed, 0)
    with pytest.raises(TypeError, match=r"n must be an integer, got 1\.5"):
        split_leave_last_out(timed, 1.5)
    with pytest.raises(ValueError, match=r"ties must be 'file', 'first', .* got 'last'"):
        split_leave_last_out(timed, ties="last")
    with pytest.raises(ValueError, match="no user has more than n = 1 rows"):
        split_leave_last_out(timed.select([]))


# --- real data -------------------------------------------------------------------------------------------------------


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


def test_temporal_split_of_movielens(data_dir):
    """The first 80,000 ratings by time are of 751 users, and 107 users with 10 of them have 2,875 later ones."""
    train, test = split_by_time(read_ratings(data_dir / "ml-100k" / "u.data"))
    counts = np.bincount(train.users, minlength=943)
    assert (len(train), np.count_nonzero(counts)) == (80_000, 751)
    known = test.users[counts[test.users] >= 10]
    assert (known.size, np.unique(known).size) == (2875, 107)


@pytest.mark.parametrize(("ties", "hits"), [("file", 74), ("first", 79), ("item", 56), ("item_descending", 94)])
def test_ties_decide_the_hit_rate_of_popularity(data_dir, ties, hits):
    """The number of the 942 users with a held-out positive among the 10 most popular items they do not have."""
    ratings = read_ratings(data_dir / "ml-100k" / "u.data")
    train, test = split_leave_last_out(ratings.select(ratings.values >= 4), ties=ties)
    assert len(test) == 942
    scores = np.bincount(train.items, minlength=ratings.shape[1]) * np.ones((943, 1))
    scores[train.users, train.items] = -1
    held_out = scores[test.users, test.items][:, None]
    # Items of equal popularity at rank 10 leave the count open by one: give the held-out item the first and last place.
    ranks_first = (scores[test.users] > held_out).sum(axis=1)
    ranks_last = (scores[test.users] >= held_out).sum(axis=1) - 1
    assert (ranks_last < 10).sum() <= hits <= (ranks_first < 10).sum() <= (ranks_last < 10).sum() + 1


@given(timed_ratings(), st.floats(0.1, 0.9), st.floats(0.1, 0.9), st.integers(0, 9))
def test_new_users_are_held_out_entirely(ratings, test_share, given_share, seed):
    try:
        parts = split_new_users(ratings, test_share, given_share, seed)
    except ValueError as error:
        assert "leaves a part without rows" in str(error)
        return
    old, new = set(parts.train.users.tolist()), set(parts.given.users.tolist())
    assert new == set(parts.test.users.tolist())
    assert not old & new
    assert_parts(ratings.select(np.isin(ratings.users, list(old))), *split_nothing(parts.train))
    items = set(parts.train.items.tolist())
    kept = [row for row in rows_of(ratings) if row[0] in new and row[1] in items]
    assert sorted(rows_of(parts.given) + rows_of(parts.test)) == sorted(kept)
    for user in new:
        n_given = int((parts.given.users == user).sum())
        n = n_given + int((parts.test.users == user).sum())
        assert n_given == min(max(round(given_share * n), 1), n - 1)


def split_nothing(ratings):
    return ratings, ratings.select([])


def test_new_users_follow_their_seed():
    ratings = ratings_of(np.repeat(np.arange(20), 10), np.tile(np.arange(10), 20))
    first, again, other = (split_new_users(ratings, 0.2, random_state=seed) for seed in (0, 0, 1))
    assert len(first.given) == 32
    assert len(first.test) == 8
    assert rows_of(first.test) == rows_of(again.test) != rows_of(other.test)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"test_share": 1.0}, "test_share must lie between 0 and 1, got 1.0"),
        ({"given_share": 0.0}, "given_share must lie between 0 and 1, got 0.0"),
        ({"test_share": 0.01}, "of 3 users leaves a part without rows"),
    ],
)
def test_new_users_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        split_new_users(ratings_of([0, 1, 2], [0, 0, 0]), **arguments)
