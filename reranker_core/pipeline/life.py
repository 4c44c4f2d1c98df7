"""Signs of life of a process while it loads a model, as long as it does something."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_EVERY = 10.0  # seconds
# In that time. A process that waits for a disk or a lock that does not answer uses next to nothing.
_BUSY_SECONDS, _READ_BYTES = 0.5, 1 << 20


@contextmanager
def signs_of_life(call: Callable[[], object], longest: float) -> Iterator[None]:
    """For the time of the `with` block, call `call` every 10 seconds in which this process has
    computed or read something; for at most `longest` seconds, because a process that waits for a
    GPU that hangs seems to compute.
    """
    done, end = threading.Event(), time.monotonic() + longest

    def watch() -> None:
        before = _work()
        while not done.wait(_EVERY) and time.monotonic() < end:
            now = _work()
            if works(before, now):
                call()
            before = now

    threading.Thread(target=watch, daemon=True, name="life").start()
    try:
        yield
    finally:
        done.set()


def works(before: tuple[float, int], now: tuple[float, int]) -> bool:
    """Whether a process that used so many processor seconds and read so many bytes has done more
    than wait.
    """
    return now[0] - before[0] >= _BUSY_SECONDS or now[1] - before[1] >= _READ_BYTES


def _work() -> tuple[float, int]:
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
        read = next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))
    except (OSError, StopIteration, ValueError):
        read = 0
    return time.process_time(), read
