"""Sequences to padded batches with little padding: longest first, under a token budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from reranker_core.config import ScoreConfig
from reranker_core.sequences import Int64s, TokenSequences

# What is fastest differs by device; docs/performance.md has the figures.
_TOKENS = {"cpu": 4096, "cuda": 16_384}
_STEP_AMX, _STEP_CUDA = 16, 8
# The last batch of each width is filled up, so that smaller batches waste less.
_TOKENS_FIXED, _STEP_FIXED = {"cpu": 2048, "cuda": 8192}, 16
# A head with one output takes rows in fours on CPUs without AVX-512, and sums what is left over
# in another order.
_ROWS_FIXED = 4


@dataclass
class Shapes:
    """Which shapes batches may have: widths in steps, and as many rows as the budget allows.

    Attributes:
        max_tokens: rows x width, padding included; a single row may be longer.
        longest: most tokens of a sequence; no width is rounded up beyond it.
        step: widths are rounded up to a multiple of it.
        fixed: whether all batches of a width have the same number of rows, and all sequences of a
            length the same width. What a sequence is computed in then depends on its length only.

    """

    max_tokens: int
    longest: int
    step: int = 1
    fixed: bool = False

    @classmethod
    def of(cls, device: str, longest: int, score: ScoreConfig, streams: int = 1) -> Shapes:
        """Those that suit a device, `cpu` or `cuda`, where so many batches are computed at once."""
        tokens, step = _TOKENS[device] // streams, 1
        if device == "cuda":
            step = _STEP_CUDA
        elif torch.cpu.get_capabilities().get("amx_bf16"):
            step = _STEP_AMX
        if score.reproducible:
            tokens, step = _TOKENS_FIXED[device], _STEP_FIXED
        return cls(score.max_batch_tokens or tokens, longest, step, score.reproducible)

    def width(self, length: int) -> int:
        """The width of a batch whose longest sequence has this length."""
        return max(length, min(-(-length // self.step) * self.step, self.longest))

    def rows(self, width: int) -> int:
        """How many rows a batch of this width may have; has, if shapes are fixed."""
        rows = self.max_tokens // width
        if self.fixed:
            rows -= rows % _ROWS_FIXED
        return max(1, rows)


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


def plan_batches(lengths: Int64s, shapes: Shapes) -> Iterator[tuple[Int64s, int]]:
    """Rows and padded width of each batch, the longest first.

    Lazy, so that a budget that is lowered meanwhile holds for the batches that follow.
    """
    order = np.argsort(-lengths, kind="stable")
    begin = 0
    while begin < len(order):
        width = shapes.width(int(lengths[order[begin]]))
        rows = order[begin : begin + shapes.rows(width)]
        if shapes.fixed:
            rows = rows[[shapes.width(int(length)) == width for length in lengths[rows]]]
        yield rows, width
        begin += len(rows)


def make_batch(
    sequences: TokenSequences, rows: Int64s, width: int, pad_id: int, device: torch.device
) -> Batch:
    """Pad the chosen rows to `width` and move them to `device`, in one transfer."""
    tokens = sequences.tokens
    lengths = tokens.lengths[rows]
    columns = np.arange(width)
    inside = columns < lengths[:, None]
    packed = np.full((len(rows), width + 2), pad_id, np.int32)
    packed[:, :width][inside] = tokens.values[(tokens.starts[rows][:, None] + columns)[inside]]
    packed[:, width] = lengths
    packed[:, width + 1] = sequences.passage_starts[rows]
    moved = torch.from_numpy(packed)
    if device.type == "cuda":
        moved = moved.pin_memory().to(device, non_blocking=True)
    moved = moved.long()
    mask = torch.arange(width, device=device) < moved[:, width, None]
    return Batch(moved[:, :width].contiguous(), mask.long(), moved[:, width + 1])
