"""`fastals tune`: search the parameters of a model on held-out data."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..data.interactions import Interactions
from ..report import Cell, Table, text
from ..storage import check_writable
from ..tuning import grid_search
from ..tuning.spaces import default_grid
from .features import add_features, features_of
from .options import FLAGS, KINDS, Model, Options, add_model, add_table, model_of, pair, parameters, read, type_of
from .said import Said
from .split import add_split, held_out

SHOWN = 10  # candidates


def add(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "tune",
        help="search parameters on held-out data",
        description="Try combinations of parameters on held-out data, and print the best.",
        epilog="Example: fastals tune orders.csv --user user_id --item item_id --grid factors=32,64 alpha=1,10",
    )
    add_table(parser)
    add_features(parser)
    add_model(parser)
    add_split(parser)
    group = parser.add_argument_group("search")
    group.add_argument("--grid", nargs="+", metavar="NAME=VALUES", help="values to try: factors=32,64 alpha=1,10")
    group.add_argument("--metric", help="such as ndcg@10 or rmse; default: ndcg@K, for ratings rmse")
    group.add_argument("--journal", metavar="FILE", help="keep scores here; an interrupted search goes on from it")
    group.add_argument(
        "-o", "--output", metavar="MODEL", help="fit the best parameters to the whole file, and save this model"
    )
    group.add_argument("--progress", action="store_true", help="show each candidate")
    parser.set_defaults(run=run)


def run(options: Options) -> Iterator[Said]:
    """Search, print the best candidates, and save a model where one is wanted."""
    model, given = model_of(options), None if options.grid is None else grid_of(options)
    if options.output is not None:
        check_writable(options.output)
    data = read(options)
    features, _ = features_of(options, data)
    train, test, how = held_out(data, options)
    grid = grid_without_given(options, model, train) if given is None else given
    metric = options.metric or (f"ndcg@{options.k}" if options.model == "implicit" else "rmse")
    found = grid_search(
        model, grid, (train, test), metric, refit=False, journal=options.journal, progress=options.progress, **features
    )
    order = np.argsort(found.table["score"] * (1 if metric in ("rmse", "mae") else -1), kind="stable")
    rows: list[tuple[Cell, ...]] = [
        (*(_told(found.table[name][place]) for name in grid), float(found.table["score"][place])) for place in order
    ]
    best = {name: value for name, value in found.best_parameters.items() if name in grid}
    said = " ".join(f"--{FLAGS.get(name, name).replace('_', '-')} {_told(value)}" for name, value in best.items())
    note = f"{how} {len(rows)} candidates. Best: {said}"
    table = Table("tuning", f"Best parameters by {metric}", (*grid, metric), rows[:SHOWN], note)
    yield Said(text(table), {"best": best, "score": found.best_score, "metric": metric, "candidates": len(rows)})
    if options.output is not None:
        model.set_params(**best).fit(data, progress=options.progress, **features).save(options.output)
        yield Said(f"Model written to {options.output}", {"model": options.output})


def grid_of(options: Options) -> dict[str, list[Any]]:
    """Return the values of each parameter that --grid says to try."""
    return dict(_values(text, options.model) for text in options.grid)


def grid_without_given(options: Options, model: Model, R: Interactions) -> dict[str, list[Any]]:
    """Return the values of each parameter to try on these data; a parameter that was given stays as it is."""
    grid = default_grid(model, R)
    given = {name: [getattr(options, name)] for name in grid if getattr(options, name) is not None}
    return {name: values for name, values in grid.items() if name not in given} or given


def _values(given: str, model: str) -> tuple[str, list[Any]]:
    name, _, values = given.partition("=")
    name = {flag: parameter for parameter, flag in FLAGS.items()}.get(name, name.replace("-", "_"))
    known = KINDS[model]().get_params()
    if name not in parameters() or name not in known or not values:
        raise ValueError(
            f"--grid {given!r} is no NAME=VALUES such as factors=32,64; NAME is one of "
            f"{', '.join(other for other in parameters() if other in known)}"
        )
    kind = pair if name == "regularization" else type_of(parameters()[name])
    try:
        return name, [kind(value) for value in values.split(",")]
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"--grid {given!r}: {error}") from None


def _told(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_told, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
