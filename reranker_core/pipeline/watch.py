"""Taking what a stream yields without ever waiting for it in silence."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
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
) -> Iterator[Any]:
    """The items, as they come.

    Args:
        items: iterated over in a thread of its own.
        check: called every second; what it raises ends the iteration.
        waiting_for: says in words what the stream may be waiting for.
        longest: seconds without an item after which it counts as stalled.

    Raises:
        Incomplete: nothing came for `longest` seconds.

    """
    arrived: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_pull, args=(items, arrived), daemon=True, name="stream").start()
    last = told = time.monotonic()
    while True:
        try:
            kind, item = arrived.get(timeout=_TICK)
        except queue.Empty:
            kind, item = "nothing", None
        check()
        now = time.monotonic()
        if kind == "item":
            last = told = now
            yield item
        elif kind == "error":
            raise item
        elif kind == "end":
            return
        elif now - last > longest:
            raise Incomplete(
                f"stalled: no part was committed for {now - last:.0f} s "
                f"(guard.max_stall_seconds={longest:g}); {_in_words(waiting_for)}. What is "
                "committed stays; the same command resumes"
            )
        elif now - told > _FIRST_WORD:
            told = now
            log.warning("nothing for %.0f s; %s", now - last, _in_words(waiting_for))


def _pull(items: Iterable[Any], arrived: queue.SimpleQueue[tuple[str, Any]]) -> None:
    try:
        for item in items:
            arrived.put(("item", item))
        arrived.put(("end", None))
    except BaseException as error:  # noqa: BLE001 - it is raised where the items are taken
        arrived.put(("error", error))


def _in_words(waiting_for: Callable[[], str]) -> str:
    """Its answer, unless it hangs for the same reason as the stream."""
    answer: list[str] = []

    def ask() -> None:
        try:
            answer.append(waiting_for())
        except Exception as error:  # noqa: BLE001 - it must not hide the stall
            answer.append(f"what it waits for cannot be told ({type(error).__name__})")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(5)
    return answer[0] if answer else "the head of the cluster does not answer"
