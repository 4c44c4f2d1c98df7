"""A time limit for tokenizing."""

from __future__ import annotations

import faulthandler
from types import TracebackType

_LONGEST_BASE = 60.0  # seconds, however short the text
_SLOWEST = 100_000.0  # characters a second; a core tokenizes some 2 million


class Limit:
    """Ends the process when tokenizing takes too long, even where Python cannot run because native
    code holds its lock. The coordinator then counts the end as it counts crashes.

    Args:
        base: minimum number of seconds that are allowed for any text, at most 60.

    """

    def __init__(self, base: float) -> None:
        self._base = min(base, _LONGEST_BASE)

    def seconds(self, characters: int) -> float:
        """Number of seconds allowed for this number of characters."""
        return self._base + characters / _SLOWEST

    def restart(self, characters: int) -> None:
        """Restart the timer for this number of characters."""
        # The process's file of errors, where Ray gathers it, gets the stack, without values.
        faulthandler.dump_traceback_later(self.seconds(characters), exit=True, file=2)

    def __enter__(self) -> Limit:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        faulthandler.cancel_dump_traceback_later()
