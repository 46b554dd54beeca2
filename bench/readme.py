"""Fill README's tables of parameters and of the main job: `python -m bench.readme`, with MovieLens 100K."""

import inspect
import sys

from bench.report import README, rewrite
from fastals import ExplicitALS, ImplicitALS, WeightedALS, demo

MODELS = (ImplicitALS, ExplicitALS, WeightedALS)
MEANINGS = {
    "factors": "length of a user's and an item's vector",
    "regularization": "ridge of users and items, or `(user, item)`",
    "alpha": "confidence of a cell is `1 + alpha abs(r)`",
    "biases": "predict `mean + user bias + item bias + x.y`",
    "item_weights": "`fastals.LinearWeights(w0, wk)`, `ExponentialWeights(w0, e)`, a function of counts, or an array",
    "unobserved_weight": "weight of the cells not stored, with target 0",
    "popularity_exponent": "e: an unobserved cell of item i weighs in proportion to (cells of i)^e",
    "regularization_exponent": "nu: the ridge of a row with n cells grows as n^nu; 0 is the plain ridge, 1 is ALS-WR",
    "iterations": "half-steps of items and of users, the last one exact",
    "solver": "how rows are solved: `'auto'`, `'cholesky'` or `'cg'`",
    "dtype": "`'float32'` or `'float64'`",
    "tol": "stop when an iteration lowers the loss by less than this share; 0: never",
    "n_threads": "None: as many as the process may use",
    "random_state": "of the start; the same int gives the same bits",
}


def parameters():
    """Parameters and defaults of the three models."""
    defaults = [inspect.signature(model).parameters for model in MODELS]
    rows = [
        (f"`{name}`", *(f"`{known[name].default!r}`" if name in known else "" for known in defaults), meaning)
        for name, meaning in MEANINGS.items()
    ]
    note = (
        "An empty field: the model has no such parameter. `WeightedALS.fit` also takes a weight for each stored cell."
    )
    return demo.Table("parameters", "", ("", *(f"`{model.__name__}`" for model in MODELS), "meaning"), rows, note)


def markdown(table):
    """A table with its note; columns of numbers to the right."""
    right = [not any(isinstance(cell, str) for cell in column) for column in zip(*table.rows, strict=True)]
    lines = [table.columns, ["---:" if number else ":---" for number in right]]
    lines += [[demo.cell_text(cell) for cell in row] for row in table.rows]
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ["", table.note])


def main():
    data = demo.find_data()
    if not data.is_movielens_100k:
        sys.exit(f"README's tables are about MovieLens 100K, not {data.source}: set FASTALS_DATA")
    text = README.read_text()
    for table in (parameters(), *demo.tables(data)):
        text = rewrite(text, table.name, markdown(table))
    README.write_text(text)


if __name__ == "__main__":
    main()
