"""The command `fastals`, also `python -m fastals`: print what a part of `fastals.command` says.

Without a command it does the main job, `demo`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from . import __version__
from .command import answers, demo, evaluate, fit, info, tune
from .command.said import Said, merged, plain

# What goes wrong with arguments, files, memory and numbers is told in a sentence.
FAILURES = (OSError, ValueError, TypeError, LookupError, ArithmeticError, MemoryError, ImportError)
PARTS = (fit, answers, evaluate, tune, info, demo)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status: 0, 2 for what is told in a sentence, 1 for a closed pipe, 130."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or (given[0].startswith("-") and given[0] not in ("-h", "--help", "-V", "--version")):
        given = ["demo", *given]
    name = "fastals" if Path(sys.argv[0]).stem == "fastals" else "python -m fastals"
    parser = _parser(name)
    options = parser.parse_args(given)
    said = f"{name} {options.command}"
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: print(f"{said}: warning: {message}", file=sys.stderr)
            _print(options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads the tables has seen enough
        _close_output()
        return 1
    except KeyboardInterrupt:
        return 130
    except FAILURES as error:
        _close_output()
        parser.exit(2, f"{said}: error: {_sentence(error, options)}\n")
    return 0


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one sentence, without the list of all options before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; {self.prog} --help says more\n")


def _parser(name: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=name,
        description="Learn from a file of interactions, measure models, and recommend, by alternating least squares.",
        epilog=f"{name} COMMAND --help says more. Without a command: the main job, demo.",
    )
    parser.add_argument("-V", "--version", action="version", version=f"fastals {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", required=True)
    for part in PARTS:
        part.add(commands)
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    return parser


def _print(options: argparse.Namespace) -> None:
    """Print what the command says, piece by piece, or as one JSON object at its end."""
    pieces: list[Said] = []
    for said in options.run(options):
        if options.json:
            pieces.append(said)
        else:
            print(said.text, flush=True)
    if options.json:
        print(json.dumps(merged(pieces), default=plain, indent=1))


def _sentence(error: BaseException, options: argparse.Namespace) -> str:
    """Say what went wrong in the words of the command line; errors of the operating system without their numbers."""
    if isinstance(error, OSError) and error.strerror and not str(error).startswith("cannot write"):
        return f"{error.filename or 'the output'}: {error.strerror}"
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    flags = {name: f"--{name.replace('_', '-')}" if len(name) > 1 else f"-{name}" for name in vars(options)} | {
        "users": "USER", "items": "ITEM", "n_threads": "--threads", "random_state": "--seed",
        "path": "MODEL" if hasattr(options, "file") else "-o",
    }  # fmt: skip

    def flag(found: re.Match[str]) -> str:
        return (
            flags.get(found[1], found[1]) + (" " if found[0].endswith("=") else "") if found[1] in flags else found[0]
        )

    if hasattr(options, "no_header"):
        text = text.replace("header=False", "--no-header")
    else:  # it has no option for this
        text = re.sub(r", or give header=False and positions from 0(, and delimiter=.*)?$", "", text)
    if not text.startswith("--"):  # which is in these words already
        text = re.sub(r"\b(\w+)=(?=\S)", flag, text)
    text = re.sub(r"^(\w+)(?:\[\d+\])?(?= (?:'[^']*' )?(?:must|is|has) )", flag, text)
    return text or type(error).__name__


def _close_output() -> None:
    """Let nothing be written any more: what is still buffered would fail again when Python ends."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # standard output is no file, as in tests
        return


if __name__ == "__main__":
    sys.exit(main())
