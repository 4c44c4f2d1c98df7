"""The work of an engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from reranker_core.encode.sequences import Int64s, TokenSequences
from reranker_core.models.batch import Prefix


@dataclass(frozen=True)
class Work:
    """Sequences to compute (all, or the chosen `rows`), whole or after prefixes.

    Attributes:
        states: the states of N prefixes; None: the sequences are whole.
        of: the index of each sequence's prefix, shape (S,).
        lengths: number of tokens of each prefix, shape (N,).

    """

    sequences: TokenSequences
    rows: Int64s | None = None
    states: Any = None
    of: Int64s = field(default_factory=lambda: np.zeros(0, np.int64))
    lengths: Int64s = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def tokens_read(self) -> int:
        """Number of tokens that were computed for the prefixes, padding included."""
        return int(len(self.lengths) * self.lengths.max(initial=0))

    def prefix(self, rows: Int64s, device: torch.device) -> Prefix | None:
        """The prefix that a batch of these rows continues."""
        if self.states is None:
            return None
        index = self.of[rows]
        moved = torch.from_numpy(np.stack([index, self.lengths[index]])).to(device)
        return Prefix(self.states, moved[0], moved[1])
