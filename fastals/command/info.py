"""`fastals info`: what a model file holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..models import load
from ..report import aligned
from .options import Options
from .said import Said


def add(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("info", help="say what a model file holds", description="Say what a model file holds.")
    parser.add_argument("file", metavar="MODEL", help="model file that fastals fit wrote")
    parser.set_defaults(run=run)


def run(options: Options) -> Iterator[Said]:
    """Load the model and describe it."""
    model = load(options.file)
    n_users, n_items = len(model.user_factors_), len(model.item_factors_)
    facts: dict[str, Any] = {
        "model": type(model).__name__,
        "users": n_users,
        "items": n_items,
        "user_ids": _examples(model.user_ids_),
        "item_ids": _examples(model.item_ids_),
        "iterations done": model.n_iter_,
        "loss": model.loss_history_[-1] if model.loss_history_ else None,
        "parameters": model.get_params(),
    }
    if os.path.isfile(options.file):
        facts["bytes"] = os.path.getsize(options.file)
    told = {name: fact for name, fact in facts.items() if name != "parameters"} | facts["parameters"]
    yield Said(aligned(("", ""), [(name, str(fact)) for name, fact in told.items()], (False, False)), facts)


def _examples(ids: np.ndarray | None) -> str:
    if ids is None:
        return "row numbers"
    kind = "strings" if ids.dtype.kind == "U" else "integers"
    return f"{kind}, such as {', '.join(map(str, ids[:3].tolist()))}"
