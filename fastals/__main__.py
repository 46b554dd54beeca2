"""The main job, `python -m fastals`: print the tables of `fastals.demo`, write a model and pictures."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import demo, plots
from .datasets import split_random
from .models import ImplicitALS
from .tuning import grid_search

# What goes wrong with files, memory and numbers is told in a sentence.
FAILURES = (OSError, ValueError, ArithmeticError, MemoryError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m fastals",
        description="Learn from ratings or other interactions, measure the models, and recommend.",
        epilog="FILE has a line an interaction: user, item and, where there are any, value and time, in this order, "
        "separated by tabs, commas, semicolons or spaces; further columns are left out. Without --data: MovieLens 100K "
        "from $FASTALS_DATA/ml-100k/u.data, or else synthetic ratings.",
    )
    parser.add_argument("--data", metavar="FILE", type=Path, help="interactions, for example MovieLens' u.data")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder to write a model and four pictures to")
    options = parser.parse_args(arguments)
    try:
        run(options.data, options.out)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads the tables has seen enough
        _close_output()
        return 1
    except KeyboardInterrupt:
        return 130
    except FAILURES as error:
        _close_output()
        parser.exit(2, f"{parser.prog}: error: {_sentence(error)}\n")
    return 0


def run(file: Path | None, folder: Path | None) -> None:
    """Print the tables and what to do next; write the model and the pictures."""
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(
                f"--out {folder}: cannot make this folder ({error.strerror}); name one that can be written"
            ) from None
    start = time.perf_counter()
    data = demo.find_data(file)
    n_users, n_items = data.ratings.shape
    print(f"Data: {data.source}: {len(data.ratings):,} interactions, {n_users:,} users x {n_items:,} items")
    print(textwrap.fill(data.rule, demo.WIDTH), end="\n\n")
    try:
        for table in demo.tables(data):
            print(demo.text(table), end="\n\n", flush=True)
        model = demo.recommender(data)
        print(demo.text(demo.recommendations(data, model)), end="\n\n", flush=True)
        path = None
        if folder is not None:
            path = folder / "model.npz"
            model.save(path)
            print(f"Model written to {path}")
            print(draw(model, data, folder), end="\n\n")
    except (ValueError, ArithmeticError) as error:
        raise ValueError(f"{data.source} does not suit the tables: {error}") from error
    print(next_steps(data, file, path))
    print(f"Took {time.perf_counter() - start:.0f} s, compilation included")


def draw(model: ImplicitALS, data: demo.Data, folder: Path) -> str:
    """Write pictures of a model, its data and a search into `folder`; return a sentence about it."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return "No pictures: matplotlib is not installed (pip install 'fastals[plots]')"
    liked = demo.ones(data.liked)
    names = [demo.title(data, item) for item in data.item_ids]
    grid = {"unobserved_weight": (0.01, 0.03, 0.1, 0.3), "regularization": (0.003, 0.01, 0.03, 0.1)}
    learned_from, _ = demo.split(data)  # the test part has no say in what a search chooses
    kept, validation = map(demo.ones, split_random(learned_from, demo.TEST_SHARE, random_state=0))
    found = grid_search(model, grid, (kept, validation), "ndcg@10", refit=False)
    pictures: dict[str, Callable[[Any], Any]] = {
        "convergence": lambda figure: plots.convergence(model, ax=figure.subplots()),
        "embedding": lambda figure: plots.embedding(model, liked, n_labels=8, names=names, ax=figure.subplots()),
        "degrees": lambda figure: plots.degrees(liked, axes=figure.subplots(1, 2)),
        "tuning": lambda figure: plots.heat_map(found, "unobserved_weight", "regularization", ax=figure.subplots()),
    }
    for name, paint in pictures.items():
        figure = Figure(figsize=(7.5, 4.2) if name == "degrees" else (5.5, 4.2), layout="constrained")
        paint(figure)
        figure.savefig(folder / f"{name}.png", dpi=200)
    return f"Pictures written to {folder}: {', '.join(f'{name}.png' for name in pictures)}"


def next_steps(data: demo.Data, file: Path | None, model: Path | None) -> str:
    """Say what to do next: own data, the written model, the documentation."""
    steps = []
    if file is None:
        steps.append("Try your own data: python -m fastals --data FILE (--help says what a file looks like)")
    if model is None:
        steps.append("Write a model and pictures: add --out DIR")
    else:
        steps.append(f"Use the model: fastals.load({str(model)!r}).recommend({demo.first_user(data)!r}, n=10)")
    steps.append("Write it in ten lines of Python: README.md, section From a table to recommendations")
    steps.append("Evaluate, tune and serve: docs/guide.md")
    return "\n".join(["What to do next", "", *(f"- {step}" for step in steps), ""])


def _sentence(error: BaseException) -> str:
    """Say what went wrong; errors of the operating system come without their numbers."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the output'}: {error.strerror}"
    return str(error) or type(error).__name__


def _close_output() -> None:
    """Let nothing be written any more: what is still buffered would fail again when Python ends."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # standard output is no file, as in tests
        return


if __name__ == "__main__":
    sys.exit(main())
