"""Live progress of a run: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from reranker_core.commit import Receipt
from reranker_core.plan import Part, Plan

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Counts committed parts and pairs of this session, and estimates what is left."""

    def __init__(self, plan: Plan, todo: tuple[Part, ...]) -> None:
        self._parts_before = len(plan.parts) - len(todo)
        self._all_parts = len(plan.parts)
        self._parts = 0
        self._pairs = 0
        self._pairs_to_do = max(1, sum(part.pairs for part in todo))
        self._planned = {part.name: part.pairs for part in todo}
        self._planned_done = 0
        self._start = time.monotonic()
        self._first: float | None = None
        self._pairs_at_first = 0
        self._last_line = self._start
        console = Console(stderr=True)
        self._bar = (
            Bar(
                TextColumn("scoring"),
                BarColumn(),
                TextColumn("{task.fields[state]}"),
                console=console,
            )
            if console.is_terminal
            else None
        )
        self._task = (
            self._bar.add_task("", total=self._pairs_to_do, state="loading models")
            if self._bar
            else None
        )

    def __enter__(self) -> Progress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()
        elif self._parts:
            log.info(self.state())

    def advance(self, receipt: Receipt) -> None:
        """Count a committed part."""
        now = time.monotonic()
        self._parts += 1
        self._pairs += receipt.pairs
        self._planned_done += self._planned.get(receipt.part, 0)
        if self._first is None:  # the rate counts from here, past the loading of models
            self._first, self._pairs_at_first = now, self._pairs
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=self._planned_done, state=self.state())
        elif now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            log.info(self.state())

    def state(self) -> str:
        """Parts, pairs, rate and time left, in one line."""
        text = f"{self._parts_before + self._parts}/{self._all_parts} parts, {self._pairs:,} pairs"
        elapsed = time.monotonic() - (self._first or self._start)
        since = self._pairs - self._pairs_at_first
        if since and elapsed > 0:
            rate = since / elapsed
            left = max(0, self._pairs_to_do - self._planned_done) / rate
            text += f", {rate:,.0f} pairs/s, {_duration(left)} left"
        return text


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{seconds:02}s"
