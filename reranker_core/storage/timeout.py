"""A time limit for a single request to a store.

Clients limit the time without a byte, and some of them not even that. A store that sends a byte now
and then, or a client without a limit of its own, would hold a run for ever.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

_SECONDS = 60.0  # that a request may take, however small
_SLOWEST = 256 << 10  # bytes a second
_UNKNOWN = 600.0  # seconds for a request of unknown size, such as a listing of many pages

Result = TypeVar("Result")


def seconds_for(size: int | None) -> float:
    """Seconds that a request for `size` bytes may take; None for an unknown size."""
    return _UNKNOWN if size is None else _SECONDS + size / _SLOWEST


def within(seconds: float, operation: Callable[[], Result]) -> Result:
    """The result of `operation`, which runs in a thread of its own.

    A request cannot be ended from outside. One that takes too long is left to its thread, so it may
    still be carried out later.

    Raises:
        TimeoutError: there is no result after `seconds`.
        Exception: what `operation` raises.

    """
    results: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            results.put((operation(), None))
        except BaseException as error:  # noqa: BLE001 - raised where the result is waited for
            results.put((None, error))

    threading.Thread(target=work, daemon=True, name="request").start()
    try:
        result, error = results.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no complete answer within {seconds:g} s") from None
    if error is not None:
        raise error
    found: Result = result
    return found
