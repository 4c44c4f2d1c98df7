"""Convert SIGTERM and SIGINT (from a person, a scheduler or `ray job stop`) to an exception."""

from __future__ import annotations

import os
import signal
from types import FrameType

from reranker_core.errors import Incomplete

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(BaseException):
    """A signal has ended the run. It may come anywhere, and like KeyboardInterrupt it is no
    `Exception`: what handles errors of a store or of a library must not take it for one of those.

    Args:
        number: the signal.

    """

    exit_code = Incomplete.exit_code

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        name = signal.Signals(self.number).name
        return f"stopped by {name}. Nothing is lost; run the same command again"


def exit_on_signals() -> None:
    """After this call, these signals end the process at once with a message and exit code 5. Use it
    while nothing has begun that must be ended in order.
    """
    for number in _SIGNALS:
        signal.signal(number, _exit)


def _exit(number: int, frame: FrameType | None) -> None:
    os.write(2, f"error: stopped by {signal.Signals(number).name}\n".encode())
    os._exit(Incomplete.exit_code)


def ignore_signals() -> None:
    """After this call, these signals do nothing. Python's own end would give them back their usual
    effect, and the process another exit code.
    """
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def stop_on_signals() -> None:
    """After this call, the first of these signals raises Stopped in the main thread, so that the
    process ends with a message and exit code 5. Further signals are ignored. Exception: a second
    SIGTERM while the job stops its own Ray can end the process at once, with exit code 143.
    """
    for number in _SIGNALS:
        signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    for each in _SIGNALS:
        signal.signal(each, _be_patient)
    raise Stopped(number)


def _be_patient(number: int, frame: FrameType | None) -> None:
    # Not print: the signal may have come in the middle of one.
    os.write(
        2, b"already stopping; this takes a few seconds. kill -9 stops at once and loses nothing\n"
    )
