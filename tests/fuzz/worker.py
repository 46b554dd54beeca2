"""Run tries of one kind and print what came of each, a line a try: python -m tests.fuzz.worker KIND SEED FIRST."""

from __future__ import annotations

import json
import sys

from . import tries


def main(name: str, seed: int, first: int) -> None:
    """Print until the reader closes the pipe or ends this process."""
    for outcome in tries(name, seed, first):
        sys.stdout.write(json.dumps(outcome) + "\n")
        sys.stdout.flush()  # nothing is left for a forked child to print again


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
