"""Options that several commands share: the table to read, the model to fit."""

from __future__ import annotations

import argparse
import inspect
from typing import Any, TypeAlias

from ..data.interactions import Interactions
from ..data.tables import read_table
from ..models import ExplicitALS, ImplicitALS, WeightedALS

Options: TypeAlias = argparse.Namespace
Model: TypeAlias = ImplicitALS | ExplicitALS | WeightedALS

KINDS: dict[str, type[Model]] = {"implicit": ImplicitALS, "explicit": ExplicitALS, "weighted": WeightedALS}
# What each parameter of the models means, in a line.
MEANINGS = {
    "factors": "length of a user's and an item's vector",
    "regularization": "ridge of users and items, or `(user, item)`",
    "alpha": "the confidence of an observed entry r is `1 + alpha abs(r)`",
    "biases": "predict `mean + user bias + item bias + x.y`",
    "item_weights": "`fastals.LinearWeights(w0, wk)`, `ExponentialWeights(w0, e)`, a function of counts, or an array",
    "unobserved_weight": "weight of the unobserved entries, whose target is 0",
    "popularity_exponent": "e: an unobserved entry of item i weighs in proportion to (interactions of i)^e",
    "regularization_exponent": "nu: the ridge grows with the number n of interactions as n^nu; 0 is plain, 1 is ALS-WR",
    "iterations": "number of ALS iterations; one iteration updates all items, then all users",
    "regularization_counts": "n in the ridge: `'all'` weights, of unobserved entries too, or `'observed'` ones alone",
    "nonnegative": "no factor is below 0",
    "solver": "how each user's and item's equations are solved: `'auto'`, `'cholesky'`, `'cg'` or `'plain'`",
    "dtype": "`'float32'` or `'float64'`",
    "tol": "stop when an iteration lowers the loss by less than this share; 0: never",
    "n_threads": "number of threads; None: as many as the process may use",
    "random_state": "seed of the start; the same int gives the same bits",
    "feature_regularization": "ridge of features' factors, or `(user, item)`; 1 is a hundred mean ridges of the side",
    "implicit_features": "learn also from which items a user has rated, whatever the ratings are, as SVD++ does",
}
FLAGS = {"n_threads": "threads", "random_state": "seed"}  # where they differ from the parameter's name
NOT_GIVEN = ("item_weights", "feature_regularization")  # no line of text says them, or what they are for


def add_table(parser: argparse.ArgumentParser) -> None:
    """Add what `fastals.read_table` takes."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="CSV or other text, Parquet, JSON lines; or a query that begins with SELECT",
    )
    group = parser.add_argument_group("columns of the file")
    group.add_argument("--user", metavar="COLUMN", required=True, help="who")
    group.add_argument("--item", metavar="COLUMN", required=True, help="what")
    group.add_argument("--value", metavar="COLUMN", help="how much: a count or a rating; without it each line counts 1")
    group.add_argument("--time", metavar="COLUMN", help="when: numbers or dates")
    group.add_argument("--event", metavar="COLUMN", help="kind of each event, for --weights")
    group.add_argument(
        "--weights", nargs="+", metavar="KIND=NUMBER", help="what an event of each kind counts: view=1 buy=5"
    )
    group.add_argument(
        "--half-life", type=number, metavar="TIME", help="age at which an event counts half, in the unit of --time"
    )
    group.add_argument("--where", metavar="SQL", help='read only lines for which this holds: "stars >= 4"')
    group.add_argument("--delimiter", metavar="CHARACTER", help="what separates the fields; by default it is found")
    group.add_argument(
        "--no-header", action="store_true", help="the first line names no columns; they are 0, 1, 2, ..."
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the kind of model and its parameters."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        choices=KINDS,
        default="implicit",
        help="implicit: clicks, plays, purchases (default); explicit: ratings; weighted: ratings with weights",
    )
    for name, default in parameters().items():
        flag, told = FLAGS.get(name, name).replace("_", "-"), f"{MEANINGS[name]}{_default_of(name)}"
        told = told.replace("`", "").replace("None: ", "by default ")
        if isinstance(default, bool):
            group.add_argument(f"--{flag}", action=argparse.BooleanOptionalAction, default=None, dest=name, help=told)
        else:
            kind = pair if name == "regularization" else type_of(default)
            metavar = "NUMBER" if name == "unobserved_weight" else METAVARS[kind]
            group.add_argument(f"--{flag}", type=kind, dest=name, metavar=metavar, help=told)


def parameters() -> dict[str, Any]:
    """Return the parameters of all models that a line of text says, with a default of each."""
    found: dict[str, Any] = {}
    for kind in KINDS.values():
        for name, parameter in inspect.signature(kind).parameters.items():
            if name not in NOT_GIVEN:
                found.setdefault(name, parameter.default)
    return found


def _default_of(name: str) -> str:
    """Say the default of a parameter, of each kind of model where they differ."""
    if name == "random_state":
        return "; default 0"  # of the command, which gives the same model twice
    having: dict[str, list[str]] = {}
    for kind, model in KINDS.items():
        known = inspect.signature(model).parameters
        if name in known and known[name].default is not None:
            having.setdefault(str(known[name].default).replace("False", "no").replace("True", "yes"), []).append(kind)
    if len(having) < 2:
        return "".join(f"; default {default}" for default in having)
    return "; default " + ", ".join(f"{default} ({' and '.join(kinds)})" for default, kinds in having.items())


def type_of(default: Any) -> Any:
    """Return what makes a parameter of text."""
    return integer if default is None or isinstance(default, int) else number if isinstance(default, float) else word


def integer(text: str) -> int:
    """Return text as an integer, or say what is wanted."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"an integer is wanted, got {text!r}") from None


def number(text: str) -> float:
    """Return text as a number, or say what is wanted."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a number is wanted, got {text!r}") from None


def word(text: str) -> str | float:
    """Return text as a number where it is one: some parameters take a word or a number."""
    try:
        return float(text)
    except ValueError:
        return text


def pair(text: str) -> float | tuple[float, float]:
    """Return text as one number, or as two: 0.1,0.2."""
    numbers = [number(part) for part in text.split(",")]
    if len(numbers) > 2:
        raise argparse.ArgumentTypeError(f"one number is wanted, or two with a comma: 0.1,0.2; got {text!r}")
    return (numbers[0], numbers[1]) if len(numbers) == 2 else numbers[0]


METAVARS = {integer: "INTEGER", number: "NUMBER", pair: "NUMBER[,NUMBER]", word: "NAME"}


def model_of(options: Options) -> Model:
    """Make the model that the options describe; what they leave open is the model's default, and the seed 0."""
    kind = KINDS[options.model]
    given = {name: value for name in parameters() if (value := getattr(options, name)) is not None}
    return kind(**{"random_state": 0, **_known(options.model, given)})


def _known(model: str, given: dict[str, Any]) -> dict[str, Any]:
    known = inspect.signature(KINDS[model]).parameters
    for name in given:
        if name not in known:
            having = [other for other, kind in KINDS.items() if name in inspect.signature(kind).parameters]
            raise ValueError(
                f"{name}={given[name]!r} is no parameter of --model {model}; use --model {' or '.join(having)}"
            )
    return given


def read(options: Options) -> Interactions:
    """Read the table that the options describe."""
    if options.model != "implicit" and options.value is None:
        raise ValueError(f"--value is missing: --model {options.model} learns ratings; name their column")
    if options.weights is not None and options.event is None:
        raise ValueError("--event is missing: --weights tells what each kind of event counts; name the column of kinds")
    columns = {name: getattr(options, name) for name in ("user", "item", "value", "time", "event")}
    if options.no_header:
        columns = {name: None if column is None else _position(name, column) for name, column in columns.items()}
    return read_table(
        options.files[0] if len(options.files) == 1 else options.files,
        **columns,
        weights=None if options.weights is None else dict(map(_weight, options.weights)),
        half_life=options.half_life,
        where=options.where,
        delimiter=options.delimiter,
        header=not options.no_header,
        dtype=options.dtype or "float32",
        duplicates="sum" if options.model == "implicit" else "last",
    )


def _position(name: str, column: str) -> int:
    if not column.isdecimal():
        raise ValueError(f"--{name} {column!r} is no position: with --no-header columns are 0, 1, 2, ...")
    return int(column)


def _weight(given: str) -> tuple[str, float]:
    kind, _, weight = given.rpartition("=")
    try:
        return kind, float(weight if kind else "")
    except ValueError:
        raise ValueError(f"--weights {given!r} is no KIND=NUMBER, such as buy=5") from None
