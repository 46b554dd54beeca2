"""Four threads at one model: what comes out is what some order of doing it one after the other gives.

Every record that is put in place is kept with the call that made it. Afterwards the calls are made again on one thread,
in that order: each must give the same record, to the bit, so no call was lost or done in halves. Every answer must be
that of a record that was in place while it was asked for.
"""

from __future__ import annotations

import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import fastals
from fastals import ExplicitALS, ImplicitALS

from .outcome import RIGHT, scratch
from .writers import FIT, SHAPE, content, data

THREADS = 4
Call = Callable[[Any], Any]


class Answer(NamedTuple):
    """What was asked, what came, and the numbers of the first and the last record that it may be of."""

    ask: Call
    found: Any
    first: int
    last: int


class Recorder:
    """The records of a model in the order in which they were put in place, each with the call that made it."""

    def __init__(self, kind: Any) -> None:
        self.records: list[tuple[Any, Call | None]] = []
        self.now = threading.local()
        recorder = self

        class Recorded(kind):  # type: ignore[misc]
            def __setattr__(self, name: str, value: Any) -> None:
                super().__setattr__(name, value)
                if name == "_fitted":
                    recorder.records.append((value, getattr(recorder.now, "call", None)))

        self.model = Recorded(**FIT).fit(data(0))


def writes(chance: random.Random) -> Call:
    """Return a call that writes."""
    seed, user, item = chance.randrange(99), chance.randrange(SHAPE[0]), chance.randrange(SHAPE[1])
    value = float(chance.randrange(1, 6))
    of_user, of_item, whole = data(seed, (1, SHAPE[1])), data(seed, (SHAPE[0], 1)), data(seed)
    return chance.choice(
        (
            lambda model: model.update(user, item, value),
            lambda model: model.update(user, item, value),
            lambda model: model.partial_fit_users([user], of_user),
            lambda model: model.partial_fit_items([item], of_item),
            lambda model: model.fit(whole),
            lambda model: model.refit(whole),
        )
    )


def asks(chance: random.Random) -> Call:
    """Return a call that answers, with what it says as bytes."""
    user, item, row = chance.randrange(SHAPE[0]), chance.randrange(SHAPE[1]), data(chance.randrange(99), (1, SHAPE[1]))
    return chance.choice(
        (
            lambda model: b"".join(part.tobytes() for part in model.recommend([user, 0], 3)),
            lambda model: model.predict(range(SHAPE[0]), item).tobytes(),
            lambda model: b"".join(part.tobytes() for part in model.interactions_of(user)),
            lambda model: b"".join(part.tobytes() for part in model.similar_items(item, 2)),
            lambda model: model.fold_in_users(row).tobytes(),
            lambda model: model.loss_history_,
        )
    )


def saved(model: Any, path: Path) -> Any:
    """Return what a model is after a save and a load."""
    model.save(path)
    return content(fastals.load(path))


def work(recorder: Recorder, seed: str, path: Path, answers: list[Answer], failures: list[str]) -> None:
    """Do what one of the threads does."""
    chance = random.Random(seed)
    model, records = recorder.model, recorder.records
    try:
        for _ in range(4):
            way = chance.randrange(8)
            if way < 4:
                recorder.now.call = writes(chance)
                recorder.now.call(model)
                continue
            ask: Call = asks(chance) if way < 7 else content
            first = len(records) - 1
            found = partial(saved, path=path)(model) if way == 7 else ask(model)
            answers.append(Answer(ask, found, first, len(records) - 1))
    except Exception as error:
        failures.append(f"raised {error!r:.300}")


def judged(kind: Any, seed: str, folder: Path) -> str:
    """Let threads at a model, and do the same again one after the other."""
    recorder = Recorder(kind)
    recorder.records[:] = recorder.records[-1:]
    answers: list[Answer] = []
    failures: list[str] = []
    threads = [
        threading.Thread(target=work, args=(recorder, f"{seed} {n}", folder / f"{n}.npz", answers, failures))
        for n in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        return failures[0]
    model, twin = kind(**FIT), kind(**FIT).fit(data(0))
    records = [record for record, _ in recorder.records]
    for number, (record, call) in enumerate(recorder.records):
        if call is not None:
            call(twin)
        model._fitted = record
        if content(model) != content(twin):
            return f"record {number} of {len(records)} is not what its call makes of the one before"
    for ask, found, first, last in answers:
        # A record is in place a moment before it is noted here.
        possible = records[first : last + 2]
        if not any(ask(_with(model, record)) == found for record in possible):
            return "an answer is that of no record that was in place"
    return RIGHT


def _with(model: Any, record: Any) -> Any:
    model._fitted = record
    return model


def tries(seed: int, first: int) -> Iterator[str]:
    """Let threads at models, with turns of other lengths each time."""
    warnings.simplefilter("ignore")
    with scratch() as folder:
        for turn in count(first):
            chance = random.Random(f"{seed} {turn}")
            sys.setswitchinterval(chance.choice((1e-5, 1e-4, 1e-3)))
            yield judged(chance.choice((ImplicitALS, ExplicitALS)), f"{seed} {turn}", Path(folder))
