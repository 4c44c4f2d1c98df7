"""Iterating over a stream with messages and a time limit for long waits."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any

from reranker_core.errors import Incomplete

log = logging.getLogger(__name__)

_TICK = 1.0
_FIRST_WORD = 120.0  # seconds without an item after which the wait is told of, and again


def watched(
    items: Iterable[Any],
    check: Callable[[], None],
    waiting_for: Callable[[], str],
    longest: float,
    silence: Callable[[], float] = lambda: float("inf"),
) -> Iterator[Any]:
    """The items of a stream. Call this in the main thread.

    This thread reads the stream, so that it is always closed in order. A second thread watches the
    time and interrupts the first one with a signal.

    Args:
        items: the stream.
        check: called every second; an error that it raises ends the iteration.
        waiting_for: returns a description of what the stream may be waiting for.
        longest: seconds without an item after which the stream counts as stalled.
        silence: returns the seconds since something was last computed.

    Raises:
        Incomplete: no item came for `longest` seconds.

    """
    watch = _Watch(check, waiting_for, longest, silence)
    before = signal.signal(signal.SIGUSR1, watch.interrupted)
    watch.thread.start()
    try:
        for item in items:
            watch.last = time.monotonic()
            yield item
            watch.raise_error()  # again: something may have handled it
            watch.last = time.monotonic()
    finally:
        watch.end.set()
        watch.thread.join(10)
        signal.signal(signal.SIGUSR1, before)


class _Watch:
    def __init__(
        self,
        check: Callable[[], None],
        waiting_for: Callable[[], str],
        longest: float,
        silence: Callable[[], float],
    ) -> None:
        self.last = time.monotonic()
        self.end = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True, name="watch")
        self._check, self._waiting_for, self._longest = check, waiting_for, longest
        self._silence = silence
        self._error: BaseException | None = None

    def interrupted(self, number: int, frame: FrameType | None) -> None:
        """What the signal does to the main thread."""
        if not self.end.is_set():
            self.raise_error()

    def raise_error(self) -> None:
        """The error that the other thread has found, if any."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._look()
        except BaseException as error:  # noqa: BLE001 - it is raised where the items are taken
            self._error = error
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def _look(self) -> None:
        told = self.last
        while not self.end.wait(_TICK):
            self._check()
            now = time.monotonic()
            silent = now - self.last
            if silent > self._longest and self._silence() > self._longest:
                raise Incomplete(
                    f"stalled: nothing was computed or committed for {self._longest:.0f} s "
                    f"(guard.max_stall_seconds={self._longest:g}); "
                    f"{_in_words(self._waiting_for)}. Committed parts are kept. Run the same "
                    "command again to resume"
                )
            if now - max(told, self.last) > _FIRST_WORD:
                told = now
                log.warning(
                    "no part was committed for %.0f s; %s", silent, _in_words(self._waiting_for)
                )


def _in_words(waiting_for: Callable[[], str]) -> str:
    """Its answer, unless it hangs for the same reason as the stream."""
    answer: list[str] = []

    def ask() -> None:
        try:
            answer.append(waiting_for())
        except Exception as error:  # noqa: BLE001 - it must not hide the stall
            answer.append(f"the reason for the wait is unknown ({type(error).__name__})")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(5)
    return answer[0] if answer else "the head node of the cluster does not answer"
