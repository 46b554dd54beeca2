"""Titles of films and given negatives."""

import re

import pytest

from fastals.data.published import read_negatives, read_titles
from tests.tables import write


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
        ("u.item", "1_000|A|x\n", "line 1: expected 'id|title|...' with an integer id, got fields ['1_000', 'A'"),
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


def test_negatives_in_another_encoding_are_refused(tmp_path):
    with pytest.raises(ValueError, match="line 2: expected UTF-8 text, got byte 0xe9"):
        read_negatives(write(tmp_path, "ml.test.negative", "(0,1)\t2\n(0,\xe9)\t2\n", "latin-1"))


def test_negatives_beyond_64_bits_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"line 1: expected '\(user,item\)' and items separated by tabs"):
        read_negatives(write(tmp_path, "ml.test.negative", f"(0,1)\t{2**64}\n"))
