"""Convert SIGTERM and SIGINT (from a person, a scheduler or `ray job stop`) to an error."""

from __future__ import annotations

import os
import signal
from types import FrameType

from reranker_core.errors import Incomplete

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def exit_on_signals() -> None:
    """After this call, these signals end the process at once with a message and exit code 5. Use it
    while nothing has begun that must be ended in order.
    """
    for number in _SIGNALS:
        signal.signal(number, _exit)


def _exit(number: int, frame: FrameType | None) -> None:
    os.write(2, f"error: stopped by {signal.Signals(number).name}\n".encode())
    os._exit(Incomplete.exit_code)


def stop_on_signals() -> None:
    """After this call, the first of these signals raises Incomplete in the main thread, so that the
    process ends with a message and exit code 5. Further signals are ignored. Exception: a second
    SIGTERM while the job stops its own Ray can end the process at once, with exit code 143.
    """
    for number in _SIGNALS:
        signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    for each in _SIGNALS:
        signal.signal(each, _be_patient)
    raise stopped(number)


def stopped(number: int) -> Incomplete:
    """The error of a run that this signal has ended."""
    return Incomplete(
        f"stopped by {signal.Signals(number).name}. Nothing is lost; run the same command again"
    )


def _be_patient(number: int, frame: FrameType | None) -> None:
    # Not print: the signal may have come in the middle of one.
    os.write(
        2, b"already stopping; this takes a few seconds. kill -9 stops at once and loses nothing\n"
    )
