"""Tell how a fit goes on: a bar where tqdm is installed, a log line an iteration otherwise."""

from __future__ import annotations

import logging
import time
from typing import Any

logger = logging.getLogger("fastals")


class Progress:
    """Reports iteration, loss and seconds an iteration.

    Parameters
    ----------
    total : int
        Iterations at most.
    unit : str, default "iteration"
        What they are called.
    """

    def __init__(self, total: int, unit: str = "iteration"):
        self._total = total
        self._unit = unit
        self._last = time.perf_counter()
        self._bar: Any = None
        try:
            from tqdm.auto import tqdm
        except ImportError:
            return
        self._bar = tqdm(total=total, unit=unit)

    def __call__(self, iteration: int, loss: float | None = None) -> None:
        """Report that `iteration`, counted from 0, is done, and the loss then where there is one."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        if self._bar is None:
            text = "" if loss is None else f"loss {loss:.6g}, "
            logger.info("%s %d of %d: %s%.3f s", self._unit, iteration + 1, self._total, text, seconds)
        else:
            shown = {} if loss is None else {"loss": f"{loss:.6g}"}
            self._bar.set_postfix(**shown, seconds=f"{seconds:.3f}", refresh=False)
            self._bar.update()

    def close(self) -> None:
        """End the bar, also where the fit was stopped."""
        if self._bar is not None:
            self._bar.close()
