"""Report the progress of a fit: a bar if tqdm is installed, else a log line for each iteration."""

from __future__ import annotations

import logging
import time
from typing import Any

from .engine.jit import WATCHERS

logger = logging.getLogger("fastals")


class Progress:
    """Reports how many units are done, the seconds of a unit, and a number such as the loss.

    Parameters
    ----------
    total : int
        Units at most.
    unit, quantity : str
        What is counted, and the name of the number.
    done : int
        Units that were done before.
    """

    def __init__(self, total: int, unit: str = "iteration", quantity: str = "loss", done: int = 0):
        self._total, self._unit, self._quantity = total, unit, quantity
        self._last = time.perf_counter()
        self._bar: Any = None
        try:
            from tqdm.auto import tqdm
        except ImportError:
            return
        self._bar = tqdm(total=total, unit=unit, initial=done)
        self._compiling = False
        WATCHERS.append(self._compile)

    def __call__(self, done: int, value: float | None = None) -> None:
        """Report that unit `done`, counted from 0, is done."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        if self._bar is None:
            shown = "" if value is None else f"{self._quantity} {value:.6g}, "
            logger.info("%s %d of %d: %s%.3f s", self._unit, done + 1, self._total, shown, seconds)
        else:
            if self._compiling:
                self._bar.set_description(None, refresh=False)
                self._compiling = False
            if value is not None:
                self._bar.set_postfix(**{self._quantity: f"{value:.6g}"}, seconds=f"{seconds:.3f}", refresh=False)
            self._bar.update()

    def _compile(self) -> None:
        """Say what the first unit waits for; without a bar the log does."""
        if not self._compiling:
            self._compiling = True
            self._bar.set_description("compiling for this machine")

    def close(self) -> None:
        """Close the bar; call it also if the fit was stopped."""
        if self._bar is not None:
            if self._compile in WATCHERS:
                WATCHERS.remove(self._compile)
            self._bar.close()
