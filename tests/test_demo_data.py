"""What the main job works on: which files it takes, how it reads their columns, and how it refuses others."""

import numpy as np
import pytest

from fastals.demo_data import are_ratings, find_data, least_liked


def test_without_data_it_says_that_the_ratings_are_synthetic(monkeypatch, tmp_path):
    monkeypatch.delenv("FASTALS_DATA", raising=False)
    assert find_data().source == "synthetic ratings (no file is given and FASTALS_DATA is not set)"
    monkeypatch.setenv("FASTALS_DATA", str(tmp_path))
    assert "there is no" in find_data().source


def cells():
    """Return 400 different pairs of 30 users and 25 items, with numbers from 0 on."""
    drawn = np.random.default_rng(0).permutation(750)[:400]
    return [(number, *divmod(cell, 25)) for number, cell in enumerate(drawn.tolist())]


def lines(form):
    """Return a line for each of the cells: {stars} are 1 to 5, {three} 1 to 3, {binary} 0 or 1."""
    stars = (1, 3, 4, 5, 5)
    return "".join(
        form.format(n=n, user=user, item=item, stars=star, three=(star + 1) // 2, binary=int(star > 3)) + "\n"
        for n, user, item in cells()
        for star in [stars[(7 * user + 3 * item) % 5]]
    )


ALL, RATED = (
    "All items with a value above 0 count as liked.",
    "Items rated {} or higher count as liked: the upper quarter of the scale from",
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
        ("day.csv", "who,what,day\n" + lines("{user},{item},2024-01-02"), True, 1, "what as items, day as times."),
        ("days.csv", lines("{user},{item},2024-01-02"), True, 1, "column 3 as times."),
        ("days.txt", lines("{user} {item} 2024-01-02"), True, 1, "column 3 as times."),
        ("stamp.csv", "u,i,timestamp\n" + lines("{user},{item},88{n}"), True, 1, "i as items, timestamp as times."),
        (
            "third.csv",
            "u,i,day,stars\n" + lines("{user},{item},{n},{stars}"),
            True,
            4,
            "day as times, stars as values.",
        ),
        ("no_times.csv", lines("{user};{item};{stars};web"), False, 4, "Left out: column 4."),
        ("ratings.csv", "user,item,rating\n" + lines("{user},{item},{stars}"), False, 4, RATED.format(4)),
        ("zero_or_one.csv", lines("{user},{item},{binary}"), False, 1, RATED.format(1)),
        ("to_three.csv", lines("{user},{item},{three}"), False, 3, RATED.format(3)),
        ("extreme.csv", lines("{user},{item},3e38"), False, 3e38, ALL),
        ("counts.csv", lines("{user},{item},{n}00"), False, 100, ALL),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value and len(value) < 16 else "",
)
def test_files_of_two_to_five_columns_are_taken(name, text, has_times, threshold, said, tmp_path):
    path = tmp_path / name
    path.write_text(text)
    data = find_data(path)
    assert len(data.ratings) == 400 and len(data.ratings.user_ids) == 30 and len(data.ratings.item_ids) == 25
    assert (data.ratings.times is not None) == has_times
    assert data.liked.values.min() == pytest.approx(threshold, rel=1e-6)
    assert said in data.rule
    assert are_ratings(data.ratings) == ("Items rated" in data.rule)


@pytest.mark.parametrize(
    ("scale", "least"),
    [
        ((1, 2, 3, 4, 5), 4),
        ((0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5), 4),
        ((0, 1, 2, 3, 4, 5), 4),
        ((1, 2, 3, 4, 5, 6, 7, 8, 9, 10), 8),
        ((0.2, 0.4, 0.6, 0.8, 1.0), 0.8),
        ((1, 2, 3), 3),
        ((0, 1), 1),
        ((-1, 1), 1),
    ],
    ids=str,
)
@pytest.mark.parametrize("falling", [False, True])
def test_what_counts_as_liked_follows_from_the_scale_and_not_from_the_mean(scale, least, falling):
    """However often each rating occurs, as long as a tenth of them are in the upper quarter."""
    weights = np.arange(1, len(scale) + 1)[:: -1 if falling else 1]
    values = np.repeat(np.array(scale, np.float32), 5 * weights)
    for moved in (
        values,
        np.append(values, values[: len(values) // 20]),
        np.append(values, values[-len(values) // 20 :]),
    ):
        assert least_liked(moved) == (
            pytest.approx(least),
            f"the upper quarter of the scale from {scale[0]:g} to {scale[-1]:g}",
        )


@pytest.mark.parametrize(
    ("counts", "least"),
    [
        ({1: 590, 2: 200, 3: 120, 4: 50, 50: 40}, 3),  # 3 and more are 21% of all, 4 and more are 9%
        ({1: 960, 2: 30, 12: 10}, 2),
    ],
)
def test_counts_within_the_range_of_ratings_have_liked_items_too(counts, least):
    values = np.repeat(*map(np.array, (list(counts), list(counts.values()))))
    found, why = least_liked(values)
    assert found == least and why.startswith("less than a tenth of the ratings are in the upper quarter of the scale")
    assert least_liked(np.repeat([0.0, 1.0], [97, 3]))[0] == 1


def test_columns_go_by_name_where_they_are_named(tmp_path):
    path = tmp_path / "orders.csv"
    path.write_text("order,who,stars,what\n" + lines("{n},{user},{stars},{item}"))
    data = find_data(path, {"user": "who", "item": "what", "value": "stars"})
    assert len(data.user_ids) == 30 and len(data.item_ids) == 25 and data.liked.values.min() == 4
    with pytest.raises(ValueError, match="item is missing: name its column too"):
        find_data(path, {"user": "who"})
    with pytest.raises(ValueError, match="has named columns: say which of them to read, user="):
        find_data(tmp_path / "orders.parquet")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        ("", "u.data is empty: it holds no ratings"),
        ("1\t2\t3\t4\n1\tx\t3\t4\n", "u.data, line 2: expected 'user item rating time' separated by tabs, got"),
        ("1\t2\t3\t4\n", "u.data is too small for the tables: they need at least 10 interactions that count as liked"),
        ("a,b,c,d\n", "u.data holds no events"),
        ("hello\n", "line 1: expected a user and an item separated by a tab, comma, semicolon or space, got 'hello'"),
        (
            "u,i,v\n1,2,x\n",
            " AS DOUBLE))'; where other columns are meant, name them: user=... item=",
        ),
        ("u,i,v\n1,2,3\n", "Columns: u as users, i as items, v as values. All items"),
        ("u,i,v\n1,2,3\n", "count as liked. Where other columns are meant, name them: user=... item="),
        ("1,2,3\n1,2\n", "line 2: expected 3 fields as in the first line, got '1,2'"),
        ("1,2,3\n1,2,x\n", "line 2: column '2' holds 'x': finite numbers are wanted"),
        ("1,2,nan\n", "line 1: column '2' holds 'nan': finite numbers are wanted"),
        ("1,2,1e39\n", "is 1e+39: 1 of 1 events are too large for float32; rescale"),
        (lines("{user},{item},0"), "got 0 of 0 users. All items with a value above 0 count as liked"),
        ("1,2,3\n1," + "x" * 200_000 + ",3\n", "field larger than field limit"),
    ],
    ids=lambda value: None if value is None else value[:12],
)
def test_bad_files_are_refused_in_a_sentence(content, message, tmp_path):
    path = tmp_path / "u.data"
    if content is not None:
        path.write_text(content)
    with pytest.raises((ValueError, OSError)) as raised:
        find_data(path)
    assert message in str(raised.value) and str(path) in str(raised.value)


def test_repeated_lines_of_a_user_and_an_item_count_once_and_the_last_one_counts(tmp_path):
    path = tmp_path / "repeated.csv"
    path.write_text("0,0,1\n" + lines("{user},{item},{stars}") + "0,0,5\n")
    ratings = find_data(path).ratings
    assert len(ratings) == len({(user, item) for _, user, item in cells()} | {(0, 0)})
    assert ratings.values[(ratings.users == 0) & (ratings.items == 0)] == [5]
