"""The work of an engine."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from reranker_core.encode.sequences import Int64s, Ragged, TokenSequences, take
from reranker_core.models.batch import Batch, Prefix
from reranker_core.score.batching import make_batch, moved_batch, packed_batch


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

    def packed(self, rows: Int64s, device: torch.device, size: int = 0) -> Batch:
        """These rows as a packed batch on the device, with the prefixes that they continue, and one
        more row that fills it up to `size` tokens.
        """
        if self.states is None:
            return packed_batch(self.sequences, rows, device, size)
        index = self.of[rows]
        prefixes = Ragged(np.arange(self.lengths.sum(), dtype=np.int32), self.lengths)
        before = take(prefixes, index, self.lengths[index])
        return packed_batch(self.sequences, rows, device, size, self.states, before)

    def padded(self, rows: Int64s, width: int, pad_id: int, device: torch.device) -> Batch:
        """These rows as a padded batch on the device, with the prefixes that they continue."""
        if self.states is None:
            return make_batch(self.sequences, rows, width, pad_id, device)
        index = self.of[rows]
        following = np.stack([index, self.lengths[index]], 1)
        batch, moved = moved_batch(self.sequences, rows, width, pad_id, device, following)
        return replace(batch, prefix=Prefix(self.states, moved[:, 0], moved[:, 1]))
