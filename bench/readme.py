"""Fill tables: parameters in docs/guide/models.md, faults in README.md, published figures in docs/benchmarks.md.

python -m bench.readme [NAME ...]

The published tables need MovieLens 100K. NAME is one of parameters, reliability, ranking, ratings, signs, example,
speed; all by default.
"""

import argparse
import inspect
import json

from bench.report import README, ROOT, fill, rewrite
from fastals import ExplicitALS, ImplicitALS, WeightedALS, published
from fastals.command.options import MEANINGS
from fastals.report import Table, cell_text

GUIDE = ROOT / "docs" / "guide" / "models.md"
MODELS = (ImplicitALS, ExplicitALS, WeightedALS)
PUBLISHED = {
    "ranking": published.ranking,
    "ratings": published.rating_errors,
    "signs": published.sign_accuracies,
    "example": lambda _: published.small_example(),
    "speed": published.speed,
}


def parameters():
    """Parameters and defaults of the three models."""
    defaults = [inspect.signature(model).parameters for model in MODELS]
    rows = [
        (f"`{name}`", *(f"`{known[name].default!r}`" if name in known else "" for known in defaults), meaning)
        for name, meaning in MEANINGS.items()
    ]
    note = "Where a field is empty, the model has no such parameter."
    return Table("parameters", "", ("", *(f"`{model.__name__}`" for model in MODELS), "meaning"), rows, note)


def reliability():
    """What came of the tries of each kind of fault, as the fault suite has last kept it."""
    kept = json.loads((ROOT / "docs" / "reliability.json").read_text())
    counts = ("tries", "right", "refused", "other")
    rows = [(kind["title"], *(kind[count] for count in counts)) for kind in kept.values()]
    return Table("reliability", "", ("kind", "tries", "right", "refused", "anything else"), rows, "")


def markdown(table):
    """Give a table with its note as Markdown; columns of numbers to the right."""
    right = [not any(isinstance(cell, str) for cell in column) for column in zip(*table.rows, strict=True)]
    lines = [table.columns, ["---:" if number else ":---" for number in right]]
    lines += [[cell_text(cell) for cell in row] for row in table.rows]
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ["", table.note])


def main():
    names = ["parameters", "reliability", *PUBLISHED]
    parser = argparse.ArgumentParser(prog="python -m bench.readme", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; default: all")
    chosen = parser.parse_args().names or names
    if unknown := set(chosen) - set(names):
        parser.error(f"{', '.join(sorted(unknown))}: choose from {', '.join(names)}")
    if "parameters" in chosen:
        GUIDE.write_text(rewrite(GUIDE.read_text(), "parameters", markdown(parameters())))
    if "reliability" in chosen:
        README.write_text(rewrite(README.read_text(), "reliability", markdown(reliability()).strip()))
    wanted = [name for name in PUBLISHED if name in chosen]
    if wanted:
        data = published.load()
        fill({name: markdown(PUBLISHED[name](data)) for name in wanted})


if __name__ == "__main__":
    main()
