"""Sequences to padded batches with little padding: longest first, under a token budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from reranker_core.sequences import Int64s, TokenSequences

# Matrix kernels run fastest on widths that are multiples of this; measured on AMX.
WIDTH_STEP = 16


@dataclass(frozen=True)
class Batch:
    """R sequences padded on the right to a common width W."""

    rows: Int64s  # which sequences of the part these are, shape (R,)
    ids: torch.Tensor  # int64, shape (R, W)
    mask: torch.Tensor  # int64, 1 for tokens and 0 for padding, shape (R, W)
    passage_starts: torch.Tensor  # int64, shape (R,)


def plan_batches(
    lengths: Int64s, max_batch_tokens: int, max_width: int
) -> Iterator[tuple[Int64s, int]]:
    """Rows and padded width of each batch; rows x width stays within `max_batch_tokens` (but for
    a single row that is longer). Widths are rounded up, though never past `max_width`.
    """
    order = np.argsort(-lengths, kind="stable")
    begin = 0
    while begin < len(order):
        longest = int(lengths[order[begin]])
        width = max(longest, min(-(-longest // WIDTH_STEP) * WIDTH_STEP, max_width))
        count = max(1, max_batch_tokens // width)
        yield order[begin : begin + count], width
        begin += count


def make_batch(
    sequences: TokenSequences, rows: Int64s, width: int, pad_id: int, device: torch.device
) -> Batch:
    """Pad the chosen rows to `width` and move them to `device`."""
    tokens = sequences.tokens
    lengths = tokens.lengths[rows]
    columns = np.arange(width)
    mask = columns < lengths[:, None]
    ids = np.full(mask.shape, pad_id, np.int64)
    positions = tokens.starts[rows][:, None] + columns
    ids[mask] = tokens.values[positions[mask]]
    starts = sequences.passage_starts[rows].astype(np.int64)
    tensors = (torch.from_numpy(array).to(device) for array in (ids, mask.astype(np.int64), starts))
    return Batch(rows, *tensors)
