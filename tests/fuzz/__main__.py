"""Run the fault suite and print a table by kind; see the package's docstring.

python -m tests.fuzz [--seconds N] [--tries N] [--only KIND ...] [--seed S] [--first N] [--json FILE]

Each kind gets its share of the seconds, or so many tries. What is neither right nor refused is printed with the call
that does it again. The exit code is 1 if there was any.
"""

from __future__ import annotations

import argparse
import json
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from . import KINDS
from .outcome import REFUSED, RIGHT

ROOT = Path(__file__).parent.parent.parent
HANGS = 300.0  # seconds without an outcome
SHOWN = 20  # findings of one kind that are printed in full


class Result(NamedTuple):
    """What came of the tries of a kind."""

    tries: int
    right: int
    refused: int
    other: int
    seconds: float
    seed: int


class Lines:
    """The outcomes that a worker prints, each within a time, or None where it has ended."""

    def __init__(self, name: str, seed: int, first: int) -> None:
        command = [sys.executable, "-m", "tests.fuzz.worker", name, str(seed), str(first)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0, cwd=ROOT)
        self._waiting: list[bytes] = []
        self._rest = b""

    def next(self) -> str | None:
        """Return an outcome; None if the worker has ended, TimeoutError if it hangs."""
        pipe = self.process.stdout
        assert pipe is not None
        while not self._waiting:
            if not select.select([pipe], [], [], HANGS)[0]:
                raise TimeoutError
            read = pipe.read(1 << 16)
            if not read:
                return None
            *self._waiting, self._rest = (self._rest + read).split(b"\n")
        outcome: str = json.loads(self._waiting.pop(0))
        return outcome

    def end(self) -> None:
        """End the worker."""
        self.process.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.wait()


def run(
    name: str, seed: int, first: int, number: float, seconds: float, keep: Callable[[Result], None] | None = None
) -> Result:
    """Run tries of a kind until there are so many or the time is over; `keep` gets the figures now and then."""
    begun = kept = time.monotonic()
    counts: Counter[str] = Counter()
    lines, done = None, 0
    while done < number and time.monotonic() - begun < seconds:
        lines = lines or Lines(name, seed, first + done)
        try:
            outcome = lines.next()
            if outcome is None:
                outcome = f"the process ended with {lines.process.wait()}"
        except TimeoutError:
            outcome = f"no end within {HANGS:.0f} s"
        if outcome.startswith(("the process ended", "no end within")):
            lines.end()
            lines = None
        if outcome not in (RIGHT, REFUSED):
            told(name, seed, first + done, outcome, counts["other"])
            outcome = "other"
        counts[outcome] += 1
        done += 1
        if keep is not None and time.monotonic() - kept > 10:
            kept = time.monotonic()
            keep(Result(done, counts[RIGHT], counts[REFUSED], counts["other"], round(kept - begun, 1), seed))
    if lines is not None:
        lines.end()
    seconds = round(time.monotonic() - begun, 1)
    return Result(done, counts[RIGHT], counts[REFUSED], counts["other"], seconds, seed)


def told(name: str, seed: int, number: int, outcome: str, before: int) -> None:
    """Print a finding with the call that does it again."""
    if before < SHOWN:
        again = f"python -m tests.fuzz --only {name} --seed {seed} --first {number} --tries 1"
        sys.stderr.write(f"{name}: {outcome}\n    {again}\n")
        sys.stderr.flush()


def save(path: Path, results: dict[str, Result]) -> None:
    """Put the figures of these kinds into a file, and leave those of other kinds as they are."""
    before: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    both = before | {name: {"title": KINDS[name].title} | result._asdict() for name, result in results.items()}
    path.write_text(json.dumps({name: both[name] for name in KINDS if name in both}, indent=1) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Run, print the table and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, help="in all; 60 where --tries is not given")
    parser.add_argument("--tries", type=int, help="of each kind")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first try")
    parser.add_argument("--json", type=Path, help="put the figures into this file")
    given = parser.parse_args(arguments)
    number = float("inf") if given.tries is None else given.tries
    seconds = given.seconds or (60.0 if given.tries is None else float("inf"))
    shares = sum(KINDS[name].share for name in given.only)
    form = "{:<60} {:>8} {:>8} {:>8} {:>8} {:>8}\n".format
    sys.stdout.write(form("kind", "tries", "right", "refused", "other", "seconds"))
    bad = 0
    for name in given.only:
        kind = KINDS[name]
        keep = None if given.json is None else lambda result, name=name: save(given.json, {name: result})
        result = run(name, given.seed, given.first, number, seconds * kind.share / shares, keep)
        sys.stdout.write(form(f"{name}: {kind.title}"[:60], *result[:-1]))
        sys.stdout.flush()
        bad += result.other
        if keep is not None:
            keep(result)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
