"""SIGTERM and SIGINT, from a person, a scheduler or `ray job stop`, as an ordinary error."""

from __future__ import annotations

import signal
from types import FrameType

from reranker_core.errors import Incomplete


def stop_on_signals() -> None:
    """From now on both signals raise Incomplete in the main thread, so that the process ends with
    its message and exit code.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Incomplete(
        f"stopped by {signal.Signals(number).name}; what is committed stays, and the same command "
        "resumes"
    )
