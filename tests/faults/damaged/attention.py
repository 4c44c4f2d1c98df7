"""Damaged attention: heads, and matrices that were split or joined in another way than written."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch

from tests.damage import Weights
from tests.faults.checkpoint_edits import Build, Edit, float_weights

LAYER = "bert.encoder.layer."
HEADS, HEAD_WIDTH = 6, 32
PARTS = ("query", "key", "value")
LAYERS = (0, 1)


def named(pattern: str, edit: Edit) -> Build:
    """Each tensor whose name matches."""

    def change(tensors: Weights) -> None:
        for name in tensors:
            if re.search(pattern, name):
                tensors[name] = edit(tensors[name]).contiguous()

    return float_weights(change)


def fused(edit: Callable[[list[torch.Tensor]], list[torch.Tensor]]) -> Build:
    """Queries, keys and values of each layer, weights and biases, changed together."""

    def change(tensors: Weights) -> None:
        for layer in LAYERS:
            for kind in ("weight", "bias"):
                names = [f"{LAYER}{layer}.attention.self.{part}.{kind}" for part in PARTS]
                tensors.update(zip(names, edit([tensors[name] for name in names]), strict=True))

    return float_weights(change)


def by_heads(x: torch.Tensor) -> torch.Tensor:
    """Rows as (heads, rows of a head, …)."""
    return x.unflatten(0, (HEADS, HEAD_WIDTH))


def heads_read_as_thirds(parts: list[torch.Tensor]) -> list[torch.Tensor]:
    """Written head by head (query, key, value of a head), read as three matrices."""
    whole = torch.stack([by_heads(part) for part in parts], 1).flatten(0, 2)
    return [third.clone() for third in whole.chunk(3)]


def interleaved(x: torch.Tensor) -> torch.Tensor:
    """Rows written as (rows of a head, heads)."""
    return by_heads(x).transpose(0, 1).flatten(0, 1)


def as_for_rotation(x: torch.Tensor) -> torch.Tensor:
    """The two halves of each head in turns, as for rotary positions."""
    return by_heads(x).unflatten(1, (2, -1)).transpose(1, 2).flatten(0, 2)


def halves_exchanged(dim: int = 0) -> Edit:
    """Two parts of a parallel training joined in the wrong order."""
    return lambda x: torch.cat(
        x.chunk(2, dim if x.dim() > 1 else 0)[::-1], dim if x.dim() > 1 else 0
    )


def without_heads(layer: int, heads: tuple[int, ...], parts: tuple[str, ...] = PARTS) -> Build:
    """Rows of these heads all zero."""

    def edit(x: torch.Tensor) -> torch.Tensor:
        x = by_heads(x).clone()
        x[list(heads)] = 0
        return x.flatten(0, 1)

    return named(rf"layer\.{layer}\.attention\.self\.({'|'.join(parts)})\.", edit)


QUERIES, BOTH = r"self\.query\.", r"self\.(query|key)\."
KINDS: dict[str, Build] = {
    "attention: scaled twice": named(BOTH, lambda x: x / 2),
    "attention: scores not scaled": named(QUERIES, lambda x: x * HEAD_WIDTH**0.5),
    "attention: scores scaled twice": named(QUERIES, lambda x: x / HEAD_WIDTH**0.5),
    "attention: heads of queries and keys in another order than values": named(
        BOTH, lambda x: by_heads(x).flip(0).flatten(0, 1)
    ),
    "attention: queries in the order of rotary positions": named(QUERIES, as_for_rotation),
    "attention: heads of queries and keys interleaved": named(BOTH, interleaved),
    "attention: heads of values interleaved, layer 0": named(r"0\.att.*self\.value\.", interleaved),
    "attention: one matrix of all heads, read as thirds": fused(heads_read_as_thirds),
    "attention: keys, values, queries": fused(lambda x: [x[1].clone(), x[2].clone(), x[0].clone()]),
    "attention: values, queries, keys": fused(lambda x: [x[2].clone(), x[0].clone(), x[1].clone()]),
    "halves of a parallel training exchanged: values": named(r"self\.value\.", halves_exchanged()),
    "halves of a parallel training exchanged: feed-forward inputs": named(
        r"0\.intermediate\.", halves_exchanged()
    ),
    "halves of a parallel training exchanged: feed-forward outputs": named(
        r"layer\.0\.output\.dense\.weight", halves_exchanged(1)
    ),
    "halves of a parallel training exchanged: columns of words": named(
        "word_embeddings", halves_exchanged(1)
    ),
    "layer 0, one head zero": without_heads(0, (2,)),
    "layer 1, one head zero": without_heads(1, (1,)),
    "layer 0, three heads zero": without_heads(0, (0, 2, 4)),
    "layer 1, values of three heads zero": without_heads(1, (0, 2, 4), ("value",)),
    "layer 0, values of five heads zero": without_heads(0, (0, 1, 2, 3, 4), ("value",)),
    "query biases negated": named(r"query\.bias", lambda x: -x),
    "value biases negated": named(r"value\.bias", lambda x: -x),
    "all biases of matrices negated": named(r"(dense|query|key|value)\.bias", lambda x: -x),
}
