"""What a family's forward is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

# Going on from a prefix needs an explicit mask, whose cost grows with the square of the length;
# the longer a sequence, the less of it is prefix.
LONGEST_WITH_PREFIX = 1024


@dataclass(frozen=True)
class Prefix:
    """What R sequences go on from."""

    states: Any  # of N prefixes, as the family has read them
    index: torch.Tensor  # int64, which of them each sequence follows, shape (R,)
    lengths: torch.Tensor  # int64, their tokens, shape (R,)


@dataclass(frozen=True)
class Batch:
    """R sequences padded on the right to a common width W."""

    ids: torch.Tensor  # int64, shape (R, W)
    mask: torch.Tensor  # int64, 1 for tokens and 0 for padding, shape (R, W)
    passage_starts: torch.Tensor  # int64, shape (R,)
    prefix: Prefix | None = None
    padded: bool = True  # whether a row is shorter than W
