"""Exceptions raised at each line of what writes a model or a file, the engine's guards included.

A line of a `with` that is come to again, on the way out, is left out: there Python looks for no signals before the lock
is released, and only a tracer can raise.
"""

from __future__ import annotations

import linecache
import logging
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

from .outcome import PACKAGE, RIGHT, scratch
from .writers import Judge, writers

RAISED = (KeyboardInterrupt, MemoryError, OSError, RuntimeError)


def traced(call: Callable[[], object], stop: int, error: type[BaseException]) -> int:
    """Run with an error raised at the `stop`-th line of the package's, counted from 1; return how many there were."""
    steps = 0
    entered: dict[int, set[int]] = {}

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal steps
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE):
            return None
        if event == "call":
            entered[id(frame)] = set()
        if event not in ("call", "line"):
            return trace
        lines, line = entered[id(frame)], frame.f_lineno
        leaving = line in lines and "with " in linecache.getline(code.co_filename, line)
        lines.add(line)
        if not leaving:
            steps += 1
            if steps == stop:
                raise error
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except (error, ValueError, OSError):  # a reader of files says in a sentence of its own what has failed
        pass
    finally:
        sys.settrace(before)
    return steps


def tries(seed: int, first: int) -> Iterator[str]:
    """Raise at each line of each writer, one after the other, with one error after the other."""
    warnings.simplefilter("ignore")
    logging.disable()
    sys.unraisablehook = lambda _: None  # Python tells of what is raised where an object ends
    with scratch() as folder:
        judges = []
        for number, writer in enumerate(writers()):
            own = Path(folder, str(number))
            own.mkdir()
            lines = 0

            def counted(call: Callable[[], object]) -> None:
                nonlocal lines
                lines = traced(call, -1, KeyboardInterrupt)

            judge = Judge(writer, own)
            judge.run(counted)
            judges.append((judge, lines))
        places = [(judge, line) for judge, lines in judges for line in range(1, lines + 1)]
        random.Random(seed).shuffle(places)
        for turn in count(first):
            judge, line = places[turn % len(places)]
            error = RAISED[turn // len(places) % len(RAISED)]
            try:
                outcome = judge.run(lambda call, line=line, error=error: traced(call, line, error))
            except Exception as failed:
                outcome = f"{judge.writer.name}: the next call fails: {failed!r:.300}"
            yield outcome if outcome == RIGHT else f"{outcome}; {error.__name__} at line {line}"
