"""Ctrl-C, as the system sends it, at random moments of what writes a model or a file."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from .outcome import scratch
from .writers import Judge, writers


class Sender:
    """Sends SIGINT to this process after a time; outside of the call that it is for, it does nothing."""

    def __init__(self) -> None:
        self._armed = False
        signal.signal(signal.SIGINT, self._came)

    def _came(self, *_: object) -> None:
        if self._armed:
            self._armed = False
            raise KeyboardInterrupt

    def during(self, call: Callable[[], object], after: float) -> None:
        """Make a call that is interrupted after so many seconds, if it takes as long."""
        thread = threading.Thread(target=lambda: (time.sleep(after), os.kill(os.getpid(), signal.SIGINT)))
        thread.start()
        try:
            self._armed = True
            call()
            self._armed = False
        except KeyboardInterrupt:
            pass
        thread.join()


def tries(seed: int, first: int) -> Iterator[str]:
    """Interrupt writers."""
    warnings.simplefilter("ignore")
    logging.disable()
    sender = Sender()
    with scratch() as folder:
        judges = []
        for number, writer in enumerate(writers()):
            own = Path(folder, str(number))
            own.mkdir()
            judge = Judge(writer, own)
            begun = time.perf_counter()
            judge.run(lambda call: call())
            judges.append((judge, time.perf_counter() - begun))
        for turn in count(first):
            chance = random.Random(f"{seed} {turn}")
            judge, seconds = chance.choice(judges)
            after = chance.uniform(0, seconds)
            try:
                yield judge.run(lambda call, after=after: sender.during(call, after))
            except Exception as failed:
                yield f"{judge.writer.name}: the next call fails: {failed!r:.300}"
