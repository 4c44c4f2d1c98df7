"""Sequences to padded batches with little padding: longest first, under a token budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from reranker_core.config import ScoreConfig
from reranker_core.encode.sequences import Int64s, Ragged, TokenSequences, concatenate, take
from reranker_core.models.batch import Batch, Packing, Prefix, Sizes

# What is fastest differs by device; docs/performance.md has the figures. On a CPU, what a layer
# gives for a batch is to stay in the caches of its cores.
_CACHED_BYTES, _MOST_A_THREAD, _FEWEST, _MOST = 8 << 20, 2048, 1024, 4096
_WIDE_BYTES = 8192  # a token, where layers are of an unknown kind
# On a GPU, products are to be large: a small model needs more tokens for that, as long as they take
# no more than a quarter of the free memory, and as they mean no padding. A layer holds about eight
# times its widest output.
_TOKENS_CUDA, _MOST_CUDA = 32_768, 131_072
_LARGE_MODEL = 300_000_000  # weights of its layers, for which the smallest number is enough
_MEMORY_SHARE, _OUTPUTS_HELD = 4, 8
_ENOUGH = 64 << 30
_STEP_AMX, _STEP_CUDA = 16, 8
# oneDNN prepares a product for each number of tokens, and keeps it, with about a megabyte.
_FILL_CPU = 32
# Keys and values of a token of a prefix take about this part of what a computed token takes.
_PREFIX_SHARE = 4
# The last batch of each width is filled up, so that smaller batches waste less.
_TOKENS_FIXED_CUDA, _STEP_FIXED = 4096, 16
# A head with one output takes rows in fours on CPUs without AVX-512, and sums what is left over
# in another order.
_ROWS_FIXED = 4


@dataclass
class Shapes:
    """The allowed shapes of batches: widths in steps, and as many rows as the token budget allows.

    Attributes:
        max_tokens: rows x width, padding included; a single row may be longer.
        longest: maximum number of tokens of a sequence; no width is rounded up beyond it.
        step: widths are rounded up to a multiple of it.
        fixed: whether all batches of a width have the same number of rows, and all sequences of a
            length have the same width. Then the shape depends only on the length of a sequence.
        packed: whether the sequences of a batch are placed one after another, without padding.
        fill: the tokens of a packed batch are filled up to a multiple of it.

    """

    max_tokens: int
    longest: int
    step: int = 1
    fixed: bool = False
    packed: bool = False
    fill: int = 1

    @classmethod
    def of(
        cls,
        device: str,
        longest: int,
        score: ScoreConfig,
        model: torch.nn.Module,
        threads: int = 1,
        free: int = _ENOUGH,
    ) -> Shapes:
        """The shapes for a model on a device, `cpu` or `cuda`, with this number of CPU threads a
        batch, or this number of bytes of free memory on a GPU.
        """
        packed = not score.reproducible and getattr(model, "packs", False)
        cached = min(_CACHED_BYTES // _widest_layer(model), _MOST_A_THREAD)
        if score.reproducible:  # whatever the threads, the same shapes
            tokens = _TOKENS_FIXED_CUDA if device == "cuda" else max(_FEWEST, cached)
            step = _STEP_FIXED
        elif device == "cuda":
            layers = [part for part in model.modules() if isinstance(part, torch.nn.Linear)]
            weights = sum(layer.weight.numel() for layer in layers)
            tokens = tokens_on_cuda(weights, _widest_layer(model), free, packed)
            step = _STEP_CUDA
        else:
            tokens = min(max(_FEWEST, threads * cached), _MOST)
            step = _STEP_AMX if torch.cpu.get_capabilities().get("amx_bf16") else 1
        fill = _FILL_CPU if packed and device == "cpu" else 1
        return cls(
            score.max_batch_tokens or tokens, longest, step, score.reproducible, packed, fill
        )

    def width(self, length: int) -> int:
        """The width of a batch whose longest sequence has this length."""
        return max(length, min(-(-length // self.step) * self.step, self.longest))

    def rows(self, width: int, prefix: int = 0) -> int:
        """Maximum number of rows of a batch of this width; the exact number if shapes are fixed.
        Each row continues a prefix of this number of tokens.
        """
        rows = self.max_tokens // (width + tokens_of_prefix(prefix))
        if self.fixed:
            rows -= rows % _ROWS_FIXED
        return max(1, rows)

    def computed(self, lengths: Int64s, width: int) -> int:
        """Tokens that a batch of sequences of these lengths computes, padding included."""
        if self.packed:
            return -(-int(lengths.sum()) // self.fill) * self.fill
        return (self.rows(width) if self.fixed else len(lengths)) * width


def tokens_of_prefix(prefix: int) -> int:
    """How many computed tokens take as much memory as a continued prefix of so many tokens."""
    return prefix // _PREFIX_SHARE


def tokens_on_cuda(weights: int, widest: int, free: int, packed: bool) -> int:
    """Tokens of a batch on a GPU.

    Args:
        weights: number of weights in the layers of the model.
        widest: bytes that the widest layer gives for a token.
        free: bytes of memory that are free once the model is loaded.
        packed: whether batches have no padding; otherwise, large ones have much of it.

    """
    useful = _TOKENS_CUDA * _LARGE_MODEL // max(weights, 1) if packed else _TOKENS_CUDA
    fitting = free // _MEMORY_SHARE // (_OUTPUTS_HELD * widest)
    most = min(max(useful, _TOKENS_CUDA), _MOST_CUDA, fitting)
    return max(most // _STEP_CUDA * _STEP_CUDA, _FEWEST)


def _widest_layer(model: torch.nn.Module) -> int:
    """Output size of the widest layer, in bytes a token."""
    layers = [part for part in model.modules() if isinstance(part, torch.nn.Linear)]
    widths = (layer.out_features * layer.weight.element_size() for layer in layers)
    return max(widths, default=_WIDE_BYTES)


def plan_batches(lengths: Int64s, shapes: Shapes, prefix: int = 0) -> Iterator[tuple[Int64s, int]]:
    """Rows and padded width of each batch, in descending order of width; `prefix` as in
    `Shapes.rows`.

    Lazy, so that a budget that is lowered meanwhile holds for the batches that follow.
    """
    order = np.argsort(-lengths, kind="stable")
    sizes = lengths[order] + tokens_of_prefix(prefix)
    ends = np.cumsum(sizes)
    begin = 0
    while begin < len(order):
        width = shapes.width(int(lengths[order[begin]]))
        count = shapes.rows(width, prefix)
        if shapes.packed:
            most = ends[begin] - sizes[begin] + shapes.max_tokens // shapes.fill * shapes.fill
            count = max(int(np.searchsorted(ends, most, "right")) - begin, 1)
        rows = order[begin : begin + count]
        if shapes.fixed:
            rows = rows[[shapes.width(int(length)) == width for length in lengths[rows]]]
        yield rows, width
        begin += len(rows)


def packed_batch(
    sequences: TokenSequences,
    rows: Int64s,
    device: torch.device,
    size: int = 0,
    states: Any = None,
    before: Ragged | None = None,
) -> Batch:
    """The chosen rows, one after another, moved to `device` in one transfer.

    Args:
        sequences: of which the rows are chosen.
        rows: their indices.
        device: where the batch is to be.
        size: number of tokens that one more row, whose score is not used, fills the batch up to.
        states: of the prefixes that the rows continue.
        before: which of the tokens of these prefixes each row continues.

    """
    tokens = take(sequences.tokens, rows, sequences.tokens.lengths[rows])
    passage_starts = sequences.passage_starts[rows]
    filler = size - len(tokens.values)
    if filler > 0:
        more = Ragged(np.resize(tokens.values, filler), np.array([filler]))
        tokens, passage_starts = _joined(tokens, more), np.append(passage_starts, 0)
        before = before and _joined(before, Ragged.of([[]]))
    parts: list[np.ndarray] = [tokens.values, _ends(tokens), passage_starts]
    if before is not None:
        own = Ragged(np.arange(len(tokens.values)) + states.tokens, tokens.lengths)
        seen = concatenate([before, own], len(tokens.lengths))
        parts += [seen.values, _ends(seen), before.lengths]
    moved = _moved(np.concatenate(parts), device).split([len(part) for part in parts])
    ids, packing, prefix = moved[0].long()[None], _packing(tokens, moved[1]), None
    if before is not None:
        packing = replace(packing, seen=_packing(seen, moved[4]))
        prefix = Prefix(states, moved[3].long(), moved[5].long())
    return Batch(ids, torch.ones_like(ids), moved[2].long(), prefix, False, packing)


def _joined(tokens: Ragged, more: Ragged) -> Ragged:
    values = np.concatenate([tokens.values, more.values])
    return Ragged(values, np.concatenate([tokens.lengths, more.lengths]))


def _ends(tokens: Ragged) -> Int64s:
    return np.append(0, np.cumsum(tokens.lengths))


def _packing(tokens: Ragged, starts: torch.Tensor) -> Packing:
    return Packing(starts, int(tokens.lengths.max()), len(tokens.values))


def make_batch(
    sequences: TokenSequences, rows: Int64s, width: int, pad_id: int, device: torch.device
) -> Batch:
    """Pad the chosen rows to `width` and move them to `device`, in one transfer."""
    return moved_batch(sequences, rows, width, pad_id, device, np.empty((len(rows), 0)))[0]


def moved_batch(
    sequences: TokenSequences,
    rows: Int64s,
    width: int,
    pad_id: int,
    device: torch.device,
    beside: np.ndarray,
) -> tuple[Batch, torch.Tensor]:
    """As `make_batch`; in the same transfer, integers that stand beside the rows, shape (R, k)."""
    tokens = sequences.tokens
    lengths = tokens.lengths[rows]
    columns = np.arange(width)
    inside = columns < lengths[:, None]
    packed = np.full((len(rows), width + 2 + beside.shape[1]), pad_id, np.int32)
    packed[:, :width][inside] = tokens.values[(tokens.starts[rows][:, None] + columns)[inside]]
    packed[:, width] = lengths
    packed[:, width + 1] = sequences.passage_starts[rows]
    packed[:, width + 2 :] = beside
    moved = _moved(packed, device).long()
    mask = torch.arange(width, device=device) < moved[:, width, None]
    padded = bool((lengths < width).any())
    sizes = Sizes(lengths, sequences.passage_starts[rows])
    ids = moved[:, :width].contiguous()
    batch = Batch(ids, mask.long(), moved[:, width + 1], padded=padded, sizes=sizes)
    return batch, moved[:, width + 2 :]


def _moved(values: np.ndarray, device: torch.device) -> torch.Tensor:
    """Integers on the device, as int32; the host does not wait for it."""
    found = torch.from_numpy(values.astype(np.int32, copy=False))
    return found.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else found
