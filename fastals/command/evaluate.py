"""`fastals evaluate`: how good a model is on held-out data, beside a simple baseline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import numpy as np

from ..data.interactions import Interactions
from ..evaluation import ItemBias, Popularity, bootstrap_interval, evaluate
from ..report import Table, text
from .features import add_features, features_of
from .options import Model, Options, add_model, add_table, model_of, read
from .said import Said
from .split import add_split, held_out

METRICS: tuple[Literal["recall", "ndcg"], ...] = ("recall", "ndcg")
Row: TypeAlias = tuple[str, str, float, float, float]
COLUMNS = ("metric", "average", "from", "to")


def add(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "evaluate",
        help="measure a model on held-out data, beside popularity",
        description="Fit a model to a part of a file, and measure it on the rest beside a simple baseline.",
        epilog="Example: fastals evaluate orders.csv --user user_id --item item_id --time day --split time",
    )
    add_table(parser)
    add_features(parser)
    add_model(parser)
    add_split(parser)
    parser.set_defaults(run=run)


def run(options: Options) -> Iterator[Said]:
    """Split, fit, measure."""
    model = model_of(options)
    data = read(options)
    features, _ = features_of(options, data)
    train, test, how = held_out(data, options)
    implicit = options.model == "implicit"
    rows = lists(model, train, test, options.k, features) if implicit else ratings(model, train, test, features)
    better = (
        f"Recall@{options.k} is the share of the held-out items among a user's {options.k} recommendations; "
        f"NDCG@{options.k} counts those near the top for more."
        if implicit
        else "RMSE is the root of the mean squared error and MAE the mean absolute error; smaller is better."
    )
    behind = rows[-1][2] < rows[1][2] if implicit else rows[-2][2] > rows[0][2]  # by ndcg, or by rmse
    baseline = "popularity" if implicit else "the mean of each item"
    note = f"{how} {len(train):,} entries to learn from, {len(test):,} to test on. {better} From and to: 95% interval."
    note += f" The model is behind {baseline}: search its parameters with fastals tune." if behind else ""
    table = Table("evaluation", "How good is the model?", ("model", *COLUMNS), list(rows), note)
    yield Said(text(table), {"results": table.facts()["rows"], "train": len(train), "test": len(test), "note": note})


def lists(model: Model, train: Interactions, test: Interactions, k: int, features: dict[str, Any]) -> list[Row]:
    """Measure lists of recommendations; the intervals are about other users of the same kind."""
    rows: list[Row] = []
    for each in (Popularity().fit(train), model.fit(train, **features)):
        found = evaluate(each, test, k, METRICS)
        rows += [(type(each).__name__, name, found.overall[name], *found.interval(name)) for name in found.per_user]
    return rows


def ratings(model: Model, train: Interactions, test: Interactions, features: dict[str, Any]) -> list[Row]:
    """Measure predicted ratings; the intervals are about other ratings of the same kind."""
    assert test.user_ids is not None and test.item_ids is not None  # as a table that was read has
    users, items = test.user_ids[test.users], test.item_ids[test.items]
    rows: list[Row] = []
    for each in (ItemBias().fit(train), model.fit(train, **features)):
        errors = np.asarray(each.predict(users, items), np.float64) - test.values
        squared, absolute = errors**2, np.abs(errors)
        rmse, low, high = (value**0.5 for value in (float(squared.mean()), *bootstrap_interval(squared)))
        rows.append((type(each).__name__, "rmse", rmse, low, high))
        rows.append((type(each).__name__, "mae", float(absolute.mean()), *bootstrap_interval(absolute)))
    return rows
