"""Draw the table of time to loss in docs/benchmarks.md: docs/_static/speed.svg, which README.md shows.

python -m bench.picture
"""

import re

from matplotlib import rc_context
from matplotlib.figure import Figure

from bench.report import BENCHMARKS, ROOT

PICTURE = ROOT / "docs" / "_static" / "speed.svg"
COLOURS = {"fastals": "#c1121f", "implicit": "#1d6fa3", "irspack": "#4f8a3c", "cmfrec": "#b07d12", "rusket": "#6b4c9a"}


def seconds():
    """Return, for each data set and library, the number of factors and the seconds of its fastest solver."""
    text = BENCHMARKS.read_text()
    table = text.split("<!-- table:time-to-loss -->\n")[1].split("\n<!--")[0]
    names, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines())
    found = {}
    for name, *cells in rows:
        data, _, k = name.partition(", k = ")
        times = {}
        for column, cell in zip(names[1:-1], cells, strict=False):
            if number := re.match(r"\**([\d.]+)", cell):
                library = column.split()[0]
                times[library] = min(float(number[1]), times.get(library, float("inf")))
        for library, fastest in times.items():
            found.setdefault(data, {}).setdefault(library, []).append((int(k), fastest))
    return found


def main():
    found = seconds()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "fastals", "font.family": "sans-serif"}):
        figure = Figure(figsize=(10, 3.2), layout="constrained")
        for ax, (data, libraries) in zip(figure.subplots(1, len(found), sharey=True), found.items(), strict=True):
            for library, points in libraries.items():
                ax.plot(*zip(*points, strict=True), marker="o", markersize=4, color=COLOURS[library], label=library)
            ks = sorted({k for points in libraries.values() for k, _ in points})
            ax.set(xscale="log", yscale="log", title=data, xlabel="factors")
            ax.set_xticks(ks, map(str, ks))
            ax.set_xticks([], minor=True)
            ax.grid(alpha=0.3)
        figure.axes[0].set_ylabel("seconds to the same loss")
        figure.axes[0].legend(frameon=False)
        figure.savefig(PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    main()
