"""Fill README's tables from the main job: `python -m bench.readme` (MovieLens 100K through FASTALS_DATA)."""

import re
import sys
from pathlib import Path

from fastals import demo

README = Path(__file__).parent.parent / "README.md"


def markdown(table):
    """A table with its note; columns of numbers to the right."""
    right = [not any(isinstance(cell, str) for cell in column) for column in zip(*table.rows, strict=True)]
    lines = [table.columns, ["---:" if number else ":---" for number in right]]
    lines += [[demo.cell_text(cell) for cell in row] for row in table.rows]
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ["", table.note])


def filled(text, table):
    """The text with what stands between the table's markers replaced."""
    start, end = f"<!-- table:{table.name} -->", f"<!-- /table:{table.name} -->"
    pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"README must have one pair of markers {start} {end}")
    return pattern.sub(lambda _: f"{start}\n{markdown(table)}\n{end}", text)


def main():
    data = demo.find_data()
    if not data.is_movielens_100k:
        sys.exit(f"README's tables are about MovieLens 100K, not {data.source}: set FASTALS_DATA")
    text = README.read_text()
    for table in demo.tables(data):
        text = filled(text, table)
    README.write_text(text)


if __name__ == "__main__":
    main()
