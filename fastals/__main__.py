"""The main job, `python -m fastals`: run the experiments of `fastals.demo` and print their tables."""

from __future__ import annotations

import argparse
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import demo, plots
from .models import ImplicitALS

WIDTH = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m fastals",
        description="Train on ratings, compare with published figures, and print tables.",
        epilog="Without --data: MovieLens 100K from $FASTALS_DATA/ml-100k/u.data, or else synthetic ratings.",
    )
    parser.add_argument("--data", metavar="FILE", type=Path, help="ratings with times, e.g. MovieLens' u.data")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder to write the recommending model to")
    options = parser.parse_args(arguments)
    if options.out is not None:
        try:
            options.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            parser.error(
                f"--out {options.out}: cannot make this folder ({error.strerror}); name one that can be written"
            )
    try:
        data = demo.find_data(options.data)
    except (OSError, ValueError) as error:
        parser.error(str(error))

    start = time.perf_counter()
    n_users, n_items = data.ratings.shape
    print(f"Data: {data.source}: {len(data.ratings):,} ratings, {n_users:,} users x {n_items:,} items\n")
    for table in demo.tables(data):
        print(text(table), end="\n\n", flush=True)
    if options.out is not None:
        model, path = demo.recommender(data), options.out / "implicit.npz"
        model.save(path)
        print(f"Model written to {path}; read it with fastals.load({str(path)!r})")
        print(draw(model, data, options.out))
    print(f"Took {time.perf_counter() - start:.0f} s, compilation included")
    return 0


def draw(model: ImplicitALS, data: demo.Data, folder: Path) -> str:
    """Write four pictures of a model, its data and a search into `folder`; return a sentence about it."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return "No pictures: matplotlib is not installed (pip install 'fastals[plots]')"
    R, positives = data.ratings.matrix(), demo.positives(data)
    names = [demo.title(data, item) for item in range(R.shape[1])]
    found = demo.search(data)
    pictures: dict[str, Callable[[Any], Any]] = {
        "convergence": lambda ax: plots.convergence(model, ax=ax),
        "embedding": lambda ax: plots.embedding(model, positives, n_labels=8, names=names, ax=ax),
        "degrees": lambda ax: plots.degrees(R, ax=ax),
        "tuning": lambda ax: plots.heat_map(found.table, "unobserved_weight", "regularization", ax=ax).set_title(
            "NDCG@10 on validation, 32 factors"
        ),
    }
    for name, paint in pictures.items():
        figure = Figure(figsize=(5.5, 4.2), layout="constrained")
        paint(figure.subplots())
        figure.savefig(folder / f"{name}.png", dpi=200)
    return f"Pictures written to {folder}: {', '.join(f'{name}.png' for name in pictures)}"


def text(table: demo.Table) -> str:
    """Return a table as aligned text with its title above and its note below."""
    lines = [table.columns, *(tuple(map(demo.cell_text, row)) for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numeric = [not any(isinstance(cell, str) for cell in column) for column in zip(*table.rows, strict=True)]
    aligned = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    ]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([table.title, "", aligned[0], rule, *aligned[1:], "", textwrap.fill(table.note, WIDTH)])


if __name__ == "__main__":
    sys.exit(main())
