"""Drivers that can be killed or paused at any request, without the cost of a process."""

from __future__ import annotations

import itertools
import random
import threading
from typing import Any

from reranker_core.storage.store import Store


class Killed(BaseException):
    """The process is no more: nothing catches this, nothing is cleaned up."""


class MortalStore(Store):
    """The store as one driver and its workers see it. After `lives` requests every request raises
    Killed, in all threads; at request `pause_at` all of them stand still for `pause` seconds, or
    until `wake` is called.
    """

    def __init__(
        self,
        url: str,
        lives: int | None = None,
        pause_at: int | None = None,
        pause: float | None = None,
        patience: float = 60.0,
    ) -> None:
        super().__init__(url, patience)
        self._lives, self._pause_at, self._pause = lives, pause_at, pause
        self._requests = itertools.count(1)  # one for all copies; next() is atomic
        self._awake = threading.Event()
        self._awake.set()

    @property
    def paused(self) -> bool:
        """Whether it stands still."""
        return not self._awake.is_set()

    def wake(self) -> None:
        """End the pause."""
        self._awake.set()

    def _try(self, name: str, operation: Any, size: int | None = 0) -> Any:
        number = next(self._requests)
        if number == self._pause_at:
            self._awake.clear()
            if self._pause is not None:
                threading.Timer(self._pause, self.wake).start()
        self._awake.wait()
        if self._lives is not None and number > self._lives:
            raise Killed
        result = super()._try(name, operation, size)
        # Half of those who die do so after the store has done what they asked for.
        if self._lives is not None and number == self._lives and random.random() < 0.5:
            raise Killed
        return result
