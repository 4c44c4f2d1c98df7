"""The input of a family's forward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from reranker_core.encode.sequences import Int32s, Int64s

# Going on from a prefix needs an explicit mask, whose cost grows with the square of the length;
# the longer a sequence, the less of it is prefix.
LONGEST_WITH_PREFIX = 1024


@dataclass(frozen=True)
class Prefix:
    """The common beginnings of R sequences, which are computed already.

    `index`: the beginning of each sequence, shape (R,). If the batch is packed: the tokens that
    each sequence attends to, one after another, among those of all beginnings and then its own.
    """

    states: Any  # keys and values of N beginnings, from the family's `read_prefixes`
    index: torch.Tensor  # int64
    lengths: torch.Tensor  # int64, number of tokens of each sequence's beginning, shape (R,)


@dataclass(frozen=True)
class Packing:
    """R sequences that are placed one after another, T tokens in all, without padding."""

    starts: torch.Tensor  # int32, index of each first token, and T, shape (R + 1,)
    longest: int  # number of tokens of the longest sequence
    tokens: int  # T
    seen: Packing | None = None  # of the tokens that they attend to; None: of their own

    def of_each_token(self, values: torch.Tensor) -> torch.Tensor:
        """The value of each token's sequence; shape (R,) → (T,)."""
        return values.repeat_interleave(self.starts.diff(), output_size=self.tokens)

    def positions(self) -> torch.Tensor:
        """Index of each token in its sequence, int64, shape (T,)."""
        begin = self.of_each_token(self.starts[:-1])
        return torch.arange(self.tokens, device=self.starts.device) - begin


@dataclass(frozen=True)
class Sizes:
    """What the host knows of R sequences, so that it need not be read from the device."""

    lengths: Int64s  # number of tokens, shape (R,)
    passage_starts: Int32s  # shape (R,)


@dataclass(frozen=True)
class Batch:
    """R sequences padded on the right to a common width W, or packed: then ids and mask have the
    shape (1, T).
    """

    ids: torch.Tensor  # int64, shape (R, W)
    mask: torch.Tensor  # int64, 1 for tokens and 0 for padding, shape (R, W)
    passage_starts: torch.Tensor  # int64, shape (R,)
    prefix: Prefix | None = None
    padded: bool = True  # whether a row is shorter than W
    packing: Packing | None = None
    sizes: Sizes | None = None

    @property
    def last(self) -> torch.Tensor:
        """Index of each sequence's last token among all tokens of `ids`, int64, shape (R,)."""
        if self.packing is not None:
            return self.packing.starts[1:].long() - 1
        rows, width = self.ids.shape
        return torch.arange(0, rows * width, width, device=self.ids.device) + self.mask.sum(1) - 1
