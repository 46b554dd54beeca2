"""`fastals fit`: from a file to a model."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from typing import Any

from ..storage import check_writable
from .features import add_features, features_of
from .options import Options, add_model, add_table, model_of, read
from .said import Said


def add(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "fit",
        help="fit a model to a file and save it",
        description="Fit a model to a file and save it.",
        epilog="Example: fastals fit orders.csv --user user_id --item item_id -o model.npz",
    )
    add_table(parser)
    add_features(parser)
    add_model(parser)
    parser.add_argument("-o", "--output", metavar="MODEL", required=True, help="file to write the model to, .npz")
    parser.add_argument("--progress", action="store_true", help="show each iteration")
    parser.set_defaults(run=run)


def run(options: Options) -> Iterator[Said]:
    """Read, fit, save, and say so."""
    model = model_of(options)
    check_writable(options.output)
    data = read(options)
    features, of_features = features_of(options, data)
    n_users, n_items = data.shape
    read_as = {"events": len(data), "users": n_users, "items": n_items}
    yield Said(f"Read {len(data):,} events of {n_users:,} users and {n_items:,} items{of_features}", read_as)
    start = time.perf_counter()
    model.fit(data, progress=options.progress, **features)
    seconds = time.perf_counter() - start
    model.save(options.output)
    path = options.output if options.output.endswith(".npz") else f"{options.output}.npz"
    user = str(data.user_ids[0]) if data.user_ids else "0"
    facts = {"model": path, "iterations": model.n_iter_, "loss": model.loss_history_[-1], "seconds": round(seconds, 3)}
    yield Said(
        f"Fitted {type(model).__name__} in {seconds:.1f} s: {model.n_iter_} iterations, loss {facts['loss']:.6g}\n"
        f"Model written to {path}. Next: fastals recommend {shlex.quote(path)} {shlex.quote(user)}",
        facts,
    )
