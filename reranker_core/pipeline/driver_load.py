"""Whether one driver is enough for the parts of a run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from reranker_core.output.receipts import Receipt

log = logging.getLogger(__name__)

_WINDOW = 60.0  # seconds that are looked at together
# A driver is one Python process, so it has one core. Replicas that wait are what that costs.
_BUSY, _WAITING = 0.9, 0.05


class DriverLoad:
    """Warns once if replicas wait for parts while the processor of the driver is busy.

    Args:
        part_rows: `plan.part_rows` of the run.
        clock, processor: seconds that have passed, and seconds of this process's processor.

    """

    def __init__(
        self,
        part_rows: int,
        clock: Callable[[], float] = time.monotonic,
        processor: Callable[[], float] = time.process_time,
    ) -> None:
        self._part_rows, self._clock, self._processor = part_rows, clock, processor
        self._told = False
        self._begin()

    def committed(self, receipt: Receipt) -> None:
        """Count a part, and look at the time since the last look if it is long enough."""
        self._parts += 1
        self._worked += receipt.seconds
        self._waited += receipt.waited
        passed = self._clock() - self._since
        if passed < _WINDOW:
            return
        busy = (self._processor() - self._spent) / passed
        waiting = self._waited / ((self._waited + self._worked) or 1.0)
        if not self._told and busy >= _BUSY and waiting >= _WAITING:
            self._told = True
            log.warning(
                "replicas wait for parts %.0f %% of their time, because the driver handles no more "
                "than %.0f parts per second. Use larger parts: plan.part_rows=%d. An output that "
                "was started keeps its parts, so do this for the next output",
                *(100 * waiting, self._parts / passed, 4 * self._part_rows),
            )
        self._begin()

    def _begin(self) -> None:
        self._since, self._spent = self._clock(), self._processor()
        self._parts, self._worked, self._waited = 0, 0.0, 0.0
