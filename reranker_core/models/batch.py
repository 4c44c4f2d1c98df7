"""The input of a family's forward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

# Going on from a prefix needs an explicit mask, whose cost grows with the square of the length;
# the longer a sequence, the less of it is prefix.
LONGEST_WITH_PREFIX = 1024


@dataclass(frozen=True)
class Prefix:
    """The common beginnings of R sequences, which are computed already."""

    states: Any  # keys and values of N beginnings, from the family's `read_prefixes`
    index: torch.Tensor  # int64, the beginning of each sequence, shape (R,)
    lengths: torch.Tensor  # int64, number of tokens of that beginning, shape (R,)


@dataclass(frozen=True)
class Batch:
    """R sequences padded on the right to a common width W."""

    ids: torch.Tensor  # int64, shape (R, W)
    mask: torch.Tensor  # int64, 1 for tokens and 0 for padding, shape (R, W)
    passage_starts: torch.Tensor  # int64, shape (R,)
    prefix: Prefix | None = None
    padded: bool = True  # whether a row is shorter than W
