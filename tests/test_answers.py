"""Answers as tables: of each library the same rows as the arrays."""

import importlib.util
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fastals import ExplicitALS, ImplicitALS, Interactions
from tests.helpers import observed, stored

KINDS = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "arrow": pa.Table}
USERS, ITEMS = [f"u{user}" for user in range(9)][::-1], np.arange(7) * 10
every_kind = pytest.mark.parametrize("kind", KINDS)
every_id = pytest.mark.parametrize("ids", [False, True], ids=["numbers", "ids"])


def fitted(ids: bool = True, cls=ImplicitALS):
    R = observed(np.random.default_rng(0), 9, 7, 0.3)
    R[R == 0] = 1.0
    names = {"user_ids": USERS, "item_ids": ITEMS} if ids else {}
    return cls(2, iterations=2, random_state=0).fit(Interactions(stored(R), "float32", **names))


def columns_of(table) -> dict:
    """Return the columns of any table as lists."""
    if isinstance(table, pa.Table):
        return table.to_pydict()
    return table.to_dict("list") if isinstance(table, pd.DataFrame) else table.to_dict(as_series=False)


def listed(asked, ids, scores, names):
    rows = [
        (who, rank, what, score)
        for who, whats, those in zip(asked, ids.tolist(), scores.tolist(), strict=True)
        for rank, (what, score) in enumerate(zip(whats, those, strict=True), 1)
        if score > -np.inf
    ]
    return dict(zip((*names, "score"), map(list, zip(*rows, strict=True)), strict=True))


@every_kind
@every_id
def test_tables_hold_the_arrays(kind, ids):
    model = fitted(ids)
    users, items = (["u3", "u0"], [20, 60]) if ids else ([3, 0], [2, 6])
    everybody = USERS if ids else list(range(9))
    for asked, given in ((users, users), (everybody, None), (users[:1], users[0])):
        table = model.recommend_frame(given, 6, frame=kind)
        assert type(table) is KINDS[kind]
        assert columns_of(table) == listed(asked, *model.recommend(asked, 6), ("user", "rank", "item"))
    table = model.similar_items_frame(items, 3, frame=kind, include_self=True)
    wanted = model.similar_items(items, 3, include_self=True)
    assert columns_of(table) == listed(items, *wanted, ("item", "rank", "similar_item"))
    table = model.similar_users_frame(users[0], 3, frame=kind)
    assert columns_of(table) == listed(users[:1], *model.similar_users(users[:1], 3), ("user", "rank", "similar_user"))
    table = model.predict_frame(users, items, frame=kind, clip=(0, 1))
    scores = model.predict(users, items, clip=(0, 1)).tolist()
    assert columns_of(table) == {"user": users, "item": items, "score": scores}
    table = model.predict_frame(users[0], np.array(items, object), frame=kind)
    assert columns_of(table)["user"] == [users[0]] * 2


def test_types_of_columns():
    table = fitted().recommend_frame(["u1"], frame="arrow")
    assert list(map(str, table.schema.types)) == ["string", "int64", "int64", "float"]
    assert str(fitted(cls=ExplicitALS).recommend_frame("u1", frame="polars")["user"].dtype) == "String"
    assert fitted().recommend_frame([], frame="arrow").num_rows == 0


def test_new_users_in_tables():
    model = fitted()
    named = Interactions.from_triplets(["dee", "eve"], [0, 10])
    assert set(model.recommend_frame(named, 2, fold_in=True, frame="polars")["user"]) == {"dee", "eve"}
    plain = model.recommend_frame(named.csr[:, [0, 1, 1, 1, 1, 1, 1]] * 0, 2, fold_in=True, frame="polars")
    assert plain["user"].to_list() == [0, 0, 1, 1]
    table = model.recommend_frame(basket=[0], n=2, frame="polars")
    assert table["user"].to_list() == [0, 0]
    assert table["item"].to_list() == model.recommend(basket=[0], n=2)[0].tolist()


def test_the_library_is_the_first_one_that_is_installed(monkeypatch):
    model = fitted()
    for kind, module in (("pandas", "pandas"), ("polars", "polars"), ("arrow", "pyarrow")):
        assert type(model.recommend_frame("u1")) is KINDS[kind]
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(
            ImportError, match=f"^frame='{kind}' needs {module}, .* not installed: pip install {module}$"
        ):
            model.predict_frame("u1", 0, frame=kind)
    assert importlib.util.find_spec("pandas") is None
    with pytest.raises(ImportError, match=r"^a table needs pandas, polars or pyarrow, and none of them is installed"):
        model.similar_items_frame(0)


def test_wrong_options_are_refused_before_any_work():
    model = fitted()
    with pytest.raises(ValueError, match=r"^frame must be one of 'pandas', 'polars', 'arrow', got 'excel'$"):
        model.recommend_frame("nobody", frame="excel")
    with pytest.raises(
        ValueError, match=r"^users is 'nobody', which is not among the 9 ids of the model; for somebody new"
    ):
        model.recommend_frame("nobody")
    with pytest.raises(ValueError, match="items must be one id or a 1-D array of ids"):
        model.similar_items_frame([[0, 10]])
