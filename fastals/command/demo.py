"""`fastals demo`, which is the main job: measure, recommend, and say what to do next."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .. import demo, published
from ..demo_data import ROLES, Data, are_ratings, find_data
from ..report import Table, page, text
from ..storage import replacing
from . import pictures
from .options import Options
from .said import Said

CHECKOUT = Path(__file__).parents[2]  # which has the documentation; an installed wheel does not
Paint = Callable[[], bytes | None]


def add(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "demo",
        help="the main job: measure models on a file, and recommend (also without any command)",
        description="Learn from ratings or other interactions, measure the models, and recommend.",
        epilog="FILE has one line for each interaction: user, item and, if there are any, value and time, in this "
        "order, separated by tabs, commas, semicolons or spaces; further columns are left out. A third column "
        "of dates, or one named time, timestamp, date or day, has times. With --user and --item columns go by name, "
        "and Parquet and JSON lines are read too. Without --data: MovieLens 100K from $FASTALS_DATA/ml-100k/u.data, "
        "or else synthetic ratings.",
    )
    parser.add_argument("--data", metavar="FILE", help="interactions, for example MovieLens' u.data")
    for role in ROLES:
        parser.add_argument(f"--{role}", metavar="COLUMN", help=f"name of the column of {role}s")
    parser.add_argument("--where", metavar="SQL", help='read only lines for which this holds: "stars >= 4"')
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder for report.html, its pictures, and a model")
    parser.add_argument(
        "--published", action="store_true", help="print what three texts publish beside our figures, on MovieLens 100K"
    )
    parser.set_defaults(run=run)


def run(options: Options) -> Iterator[Said]:
    """Say the tables and what to do next; write the report, the pictures and the model."""
    columns = {name: value for name in (*ROLES, "where") if (value := getattr(options, name)) is not None}
    if columns and options.data is None:
        raise ValueError("--data is missing: columns are named, but no file")
    if options.published:
        if options.data is not None or options.out is not None:
            raise ValueError("--published is for MovieLens 100K alone: leave out --data and --out")
        for table in published.tables(published.load()):
            yield Said(text(table) + "\n", {"tables": [table.facts()]})
        return
    folder = None if options.out is None else _made(options.out)
    start = time.perf_counter()
    data = find_data(options.data, columns)
    n_users, n_items = data.ratings.shape
    line = f"Data: {data.source}: {len(data.ratings):,} interactions, {n_users:,} users x {n_items:,} items"
    yield Said(line + "\n", {"data": data.source})
    shown: list[Table] = []
    painted: dict[str, bytes | None] = {}
    try:
        for table, paint in _tables(data):
            shown.append(table)
            yield Said(text(table) + "\n", {"tables": [table.facts()]})
            painted[table.name] = None if folder is None else paint()
        steps = next_steps(data, options.data, folder)
        if folder is not None:
            yield _written(folder, data, line, shown, painted, steps)
    except (ValueError, ArithmeticError) as error:
        raise ValueError(f"{data.source} does not suit the tables: {error}") from error
    yield Said(f"{steps}\n\nTook {time.perf_counter() - start:.0f} s, compilation included")


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"--out {folder}: cannot make this folder ({error.strerror}); name one that can be written"
        ) from None
    return folder


def _tables(data: Data) -> Iterator[tuple[Table, Paint]]:
    """Yield each table, and what draws its picture."""
    yield demo.overview(data), lambda: pictures.degrees(data)
    found = demo.evaluations(data)
    yield demo.ranking(data, found), lambda: pictures.ranking(found)
    if are_ratings(data.ratings):
        missed = demo.errors(data)
        yield demo.rating_errors(data, missed), lambda: pictures.ratings(missed)
    model = demo.recommender(data)
    yield demo.recommendations(data, model), lambda: pictures.items(data, model)


def _written(
    folder: Path, data: Data, line: str, tables: list[Table], painted: dict[str, bytes | None], steps: str
) -> Said:
    """Write the model, the pictures and the page that has all; say where they are."""
    demo.recommender(data).save(folder / "model.npz")
    drawn = {name: picture for name, picture in painted.items() if picture is not None}
    report = page("What fastals found", line, tables, drawn, steps).encode()
    files = {f"{name}.png": picture for name, picture in drawn.items()} | {"report.html": report}
    for name, content in files.items():
        with replacing(folder / name) as file:
            file.write(content)
    said = f"Written to {folder}: model.npz, {', '.join(files)}"
    missing = "" if len(drawn) == len(painted) else f"\n{pictures.MISSING}"
    return Said(f"{said}{missing}\n", {"written": [str(folder / name) for name in ("model.npz", *files)]})


def next_steps(data: Data, file: str | None, folder: Path | None) -> str:
    """Say what to do next: own data, the written model, the documentation."""
    steps = []
    if file is None:
        steps.append("Try your own data: python -m fastals --data FILE (--help says what a file looks like)")
    if folder is None:
        steps.append("Write a report with pictures, and a model: add --out DIR")
    else:
        path, user = folder / "model.npz", demo.first_user(data)
        steps.append(f"Look at the report: open {folder / 'report.html'} in a browser")
        steps.append(f"Use the model: python -m fastals recommend {shlex.quote(str(path))} {shlex.quote(str(user))}")
        steps.append(f"The same in Python: fastals.load({str(path)!r}).recommend({user!r}, n=10)")
    steps.append("Fit a model to your table: python -m fastals fit --help")
    if (CHECKOUT / "docs" / "guide.md").exists():
        steps.append("Write it in ten lines of Python: README.md, section From a CSV file to recommendations")
        steps.append("Evaluate, tune and serve: docs/guide.md")
    else:
        steps.append("Write it in Python: help(fastals.read_table) and help(fastals.ImplicitALS) have examples")
    return "\n".join(["What to do next", "", *(f"- {step}" for step in steps)])
