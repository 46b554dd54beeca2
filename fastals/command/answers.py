"""`fastals recommend` and `fastals similar`: what a saved model answers."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..models import load
from ..report import aligned
from .options import Options, integer
from .output import check_output, write_table
from .said import Said

RECOMMENDED = ("user", "rank", "item", "score")
SIMILAR = ("item", "rank", "similar_item", "score")

Block = tuple[np.ndarray, ...]


def add(commands: Any) -> None:
    """Add both commands."""
    recommend = commands.add_parser(
        "recommend", help="recommend items to users", description="Recommend items to users."
    )
    recommend.add_argument("file", metavar="MODEL", help="model file that fastals fit wrote")
    recommend.add_argument("users", nargs="*", metavar="USER", help="ids of users, as in the file of the fit")
    recommend.add_argument("--all", action="store_true", help="recommend to all users")
    recommend.add_argument("--include-seen", action="store_true", help="do not leave out what users have")
    _add_output(recommend)
    recommend.set_defaults(run=run_recommend)
    similar = commands.add_parser(
        "similar", help="find similar items", description="Find similar items by their factors."
    )
    similar.add_argument("file", metavar="MODEL", help="model file that fastals fit wrote")
    similar.add_argument("items", nargs="+", metavar="ITEM", help="ids of items, as in the file of the fit")
    _add_output(similar)
    similar.set_defaults(run=run_similar)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", type=integer, default=10, metavar="INTEGER", help="answers for each; default 10")
    parser.add_argument("-o", "--output", metavar="FILE", help="write a .csv or .parquet file instead of printing")


def run_recommend(options: Options) -> Iterator[Said]:
    """Recommend to the users that are named, or to all."""
    if bool(options.users) == options.all:
        raise ValueError(
            "name one USER at least, or give --all" if not options.all else "give either USER or --all, not both"
        )
    path = check_output(options.output)
    model = load(options.file)
    users = None if options.all else ids_of("USER", options.users, model.user_ids_)
    found = model.recommend_blocks(users, options.n, exclude_seen=not options.include_seen)
    return _answered(path, RECOMMENDED, (_rows(*block) for block in found), "recommendations")


def run_similar(options: Options) -> Iterator[Said]:
    """Find similar items for the items that are named."""
    path = check_output(options.output)
    model = load(options.file)
    items = ids_of("ITEM", options.items, model.item_ids_)
    rows = _rows(np.array(items), *model.similar_items(items, options.n))
    return _answered(path, SIMILAR, [rows], "similar_items")


def ids_of(name: str, texts: list[str], known: np.ndarray | None) -> list[Any]:
    """Return ids of text as the model has them: strings, integers, or numbers of rows."""
    if known is not None and known.dtype.kind == "U":
        return texts
    try:
        return [int(text) for text in texts]
    except ValueError:
        wrong = next(text for text in texts if not text.removeprefix("-").isdecimal())
        example = "" if known is None else f", for example {known[0]}"
        raise ValueError(f"{name} {wrong!r} is no integer, as the ids of this model are{example}") from None


def _rows(asked: np.ndarray, ids: np.ndarray, scores: np.ndarray) -> Block:
    """Return a column each of who was asked about, ranks, answers and scores, without empty places."""
    filled = np.isfinite(scores)
    rows, places = np.nonzero(filled)
    return asked[rows], places + 1, ids[filled], scores[filled]


def _answered(path: Any, names: tuple[str, ...], blocks: Iterable[Block], what: str) -> Iterator[Said]:
    """Write the answers, or say them block after block."""
    if path is not None:
        n = write_table(path, names, blocks)
        yield Said(f"{n:,} rows written to {path}", {"rows": n, "output": str(path)})
        return
    for block in blocks:
        rows = list(zip(*(column.tolist() for column in block), strict=True))
        numeric = [column.dtype.kind != "U" for column in block]
        yield Said(aligned(names, rows, numeric), {what: [dict(zip(names, row, strict=True)) for row in rows]})
