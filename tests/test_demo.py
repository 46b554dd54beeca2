"""The tables of the main job as data: right numbers, standard errors from the data, recommendations with titles."""

import numpy as np
import pytest

from fastals import demo
from fastals.demo_data import find_data
from tests.tables import film_file


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return find_data(film_file(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def movielens(data_dir):
    return find_data(data_dir / "ml-100k" / "u.data")


def by_name(table):
    return {row[0]: row[1:] for row in table.rows}


def test_the_data_are_counted(small):
    told = {name: number for name, (number,) in by_name(demo.overview(small)).items()}
    of_item = np.sort(np.bincount(small.liked.items, minlength=40))
    assert told["users"] == "60" and told["items"] == "40"
    assert told["observed entries"] == f"{len(small.ratings):,} of 2,400"
    assert told["of these liked"] == f"{np.count_nonzero(small.ratings.values >= 4)}"
    assert told["share of the 10% most liked items"] == f"{of_item[-4:].sum() / of_item.sum():.0%}"


def test_what_is_missing_is_said(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text("".join(f"{user} {item}\n" for user in range(10) for item in range(user, user + 6)))
    data = find_data(path)
    note = demo.overview(data).note
    assert "There are no times" in note and "no table of rating errors: the values are all alike." in note
    assert [table.name for table in demo.tables(data)] == ["data", "ranking"]


def test_ids_and_titles_are_those_of_the_file(small):
    assert small.ratings.user_ids[[0, -1]].tolist() == [101, 160]
    assert demo.title(small, 101) == "Film 101" and demo.title(small, 7) == "item 7"


def test_standard_errors_are_those_of_the_users(small):
    table = demo.ranking(small, demo.evaluations(small))
    assert f"over {len(np.unique(small.liked.users))} users" in table.note
    for recall, error, _, _ in by_name(table).values():
        n_users = len(demo.split(small)[1])
        assert error == pytest.approx(np.sqrt(recall * (1 - recall) / n_users))  # one held-out item: 0 or 1


def test_errors_of_ratings_are_those_of_the_predictions(small):
    found = demo.errors(small)
    table = demo.rating_errors(small, found)
    for name, (rmse, of_rmse, mae, of_mae) in by_name(table).items():
        missed = found[name]
        assert rmse == pytest.approx(np.sqrt(np.mean(missed**2))) and mae == pytest.approx(np.mean(np.abs(missed)))
        drawn = np.random.default_rng(0).choice(missed, (2000, len(missed)))
        assert of_rmse == pytest.approx(np.sqrt((drawn**2).mean(axis=1)).std(), rel=0.1)
        assert of_mae == pytest.approx(np.abs(drawn).mean(axis=1).std(), rel=0.1)


def test_recommendations_are_new_to_the_user_and_titled(small):
    table = demo.recommendations(small, demo.recommender(small), user=104)
    liked = small.liked
    had = small.item_ids[liked.items[small.user_ids[liked.users] == 104]]
    listed = [int(title.removeprefix("Film ")) for _, title, _ in table.rows]
    assert len(set(listed)) == len(listed) > 0
    assert not np.isin(listed, had).any()


# On the real data.


def test_models_are_ahead_of_the_baselines(movielens):
    ranking = by_name(demo.ranking(movielens, demo.evaluations(movielens)))
    errors = by_name(demo.rating_errors(movielens, demo.errors(movielens)))
    assert ranking["Popularity"][2] == pytest.approx(0.0399, abs=5e-5)  # as published: leave the last positive out
    assert ranking["ImplicitALS"][0] > ranking["Popularity"][0] + 0.04
    assert errors["ExplicitALS"][0] < 0.92 < 1.02 < errors["Mean of each item"][0] < 1.03
