"""How many tokens a batch may have, and whether prefixes are shared, as far as memory allows."""

from __future__ import annotations

import logging

import torch

from reranker_core.score.batching import Shapes

log = logging.getLogger(__name__)

_GOOD_BATCHES = 50  # before larger ones are tried again
# After so many failures in a row to read prefixes, the next parts share none: so many parts, and
# twice as many each time.
_FAILURES, _PAUSED_PARTS = 3, 4


class Budget:
    """Changes `shapes.max_tokens`: smaller batches where memory ran out, and larger ones later.

    Another process may have had the memory for a while. Each failure doubles the number of batches
    until the next attempt.
    """

    def __init__(self, shapes: Shapes, device: torch.device) -> None:
        self._shapes, self._device = shapes, device
        self._most, self._good, self._patience = shapes.max_tokens, 0, _GOOD_BATCHES

    def lower(self, tokens: int) -> None:
        """There was too little memory for a batch of so many tokens."""
        most = self._shapes.max_tokens = min(self._shapes.max_tokens, tokens // 2)
        self._good, self._patience = 0, 2 * self._patience
        log.warning(
            "%s had too little memory for a batch of %d tokens. The next batches have at most %d. "
            "To avoid this in later runs, set score.max_batch_tokens=%d",
            *(self._device, tokens, most, most),
        )

    def batch_fitted(self) -> None:
        """A batch was computed."""
        if self._shapes.max_tokens >= self._most:
            return
        self._good += 1
        if self._good >= self._patience:
            self._good = 0
            most = self._shapes.max_tokens = min(self._most, 2 * self._shapes.max_tokens)
            log.info("%s: batches have up to %d tokens again", self._device, most)


class Sharing:
    """Whether prefixes are shared. Where memory is too small for them, it may be larger later.

    Attributes:
        paused: whether none are shared for now.

    """

    def __init__(self) -> None:
        self.paused = False
        self._failures, self._left, self._next = 0, 0, _PAUSED_PARTS

    def next_part(self) -> bool:
        """A part begins; whether its prefixes may be shared."""
        self.paused = self._left > 0
        self._left = max(self._left - 1, 0)
        return not self.paused

    def fitted(self) -> None:
        """Prefixes were read."""
        self._failures, self._next = 0, _PAUSED_PARTS

    def failed(self) -> None:
        """There was too little memory to read prefixes."""
        self._failures += 1
        if self._failures >= _FAILURES:
            self.paused, self._failures = True, 0
            self._left, self._next = self._next, 2 * self._next
