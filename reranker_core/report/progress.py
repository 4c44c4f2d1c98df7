"""Live progress of a run: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from reranker_core.errors import count
from reranker_core.input.plan import Part, Plan
from reranker_core.output.receipts import Receipt
from reranker_core.report.rate import Rate, duration

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_WITHOUT_NEWS = 60.0


class Progress:
    """Counts committed parts and pairs, and estimates what is left.

    Parts of earlier runs are counted separately. The rate is that of the last five minutes, from
    the first committed part on, so it excludes model loading.
    """

    def __init__(self, plan: Plan, todo: tuple[Part, ...]) -> None:
        self._all_parts = len(todo)
        self._resumed = len(plan.parts) - len(todo)
        self._parts = 0
        self._pairs_to_do = sum(part.pairs for part in todo)  # nested shards: an estimate
        self._pairs = 0
        self._rate = Rate()
        self._start = self._last_line = time.monotonic()
        self._told = 0  # how many parts the last line told of
        self._waiting = ""
        console = Console(stderr=True)
        self._bar = Bar(
            TextColumn("scoring"),
            BarColumn(),
            TextColumn("{task.description}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=max(1, self._pairs_to_do))

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
        if self._bar.disable and self._parts > self._told:
            log.info(self.state())

    def replicas(self, loading: int, ready: int, wanted: int) -> None:
        """Show the state of the replicas until the first part is committed."""
        if self._parts:
            return
        absent = max(0, wanted - loading - ready)
        states = {
            "ready": ready,
            "loading and checking the model": loading,
            "waiting to start": absent,
        }
        waiting = ", ".join(f"{number:,} {state}" for state, number in states.items() if number)
        waiting = f"{count(wanted, 'replica')}: {waiting}"
        now = time.monotonic()
        since = f"{waiting} ({duration(now - self._start)})"
        self._bar.update(self._task, description=since)
        quiet = _SECONDS_BETWEEN_LINES if waiting != self._waiting else _SECONDS_WITHOUT_NEWS
        if self._bar.disable and now - self._last_line >= quiet:
            self._last_line, self._waiting = now, waiting
            log.info(since)

    def advance(self, receipt: Receipt) -> None:
        """Count a committed part."""
        now = time.monotonic()
        self._parts += 1
        self._pairs += receipt.pairs
        self._rate.add(now, self._pairs)
        self._bar.update(self._task, completed=self._pairs, description=self.state())
        if self._bar.disable and now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line, self._told = now, self._parts
            log.info(self.state())

    def state(self) -> str:
        """Parts, pairs, rate and time left, in one line."""
        text = f"{self._parts:,} of {count(self._all_parts, 'part')}, {count(self._pairs, 'pair')}"
        if self._resumed:
            text += f" (and {count(self._resumed, 'part')} of earlier runs)"
        found = self._rate.estimate(time.monotonic())
        if found is None or not found.rate:
            return text
        left = max(0, self._pairs_to_do - self._pairs)
        return f"{text}, {found.rate:,.0f} pairs/s, {found.left(left)} left"
