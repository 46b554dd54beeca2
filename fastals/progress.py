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
    """

    def __init__(self, total: int):
        self._total = total
        self._last = time.perf_counter()
        self._bar: Any = None
        try:
            from tqdm.auto import tqdm
        except ImportError:
            return
        self._bar = tqdm(total=total, unit="iteration")

    def __call__(self, iteration: int, loss: float) -> None:
        """Report that `iteration`, counted from 0, is done."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        if self._bar is None:
            logger.info("iteration %d of %d: loss %.6g, %.3f s", iteration + 1, self._total, loss, seconds)
        else:
            self._bar.set_postfix(loss=f"{loss:.6g}", seconds=f"{seconds:.3f}", refresh=False)
            self._bar.update()

    def close(self) -> None:
        """End the bar, also where the fit was stopped."""
        if self._bar is not None:
            self._bar.close()
