"""Damaged layers: a matrix, a norm, a bias or a head of them."""

from __future__ import annotations

import torch

from tests.damage import Weights
from tests.faults.checkpoint_edits import HEAD, Build, Edit, float_weights, tensor
from tests.faults.damaged.numbers import (
    anew,
    in_blocks,
    negated,
    noise,
    shuffled,
    shuffled_columns,
    strewn,
)

LAYER = "bert.encoder.layer."
HEAD_WIDTH = 32
MATRICES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention output": "attention.output.dense",
    "feed-forward input": "intermediate.dense",
    "feed-forward output": "output.dense",
}
POOLER, POOLER_BIAS = "bert.pooler.dense.weight", "bert.pooler.dense.bias"
NORMS = {
    "the norm of the embeddings": "bert.embeddings.LayerNorm",
    **{
        f"layer {n}, the norm after attention": f"{LAYER}{n}.attention.output.LayerNorm"
        for n in (0, 1)
    },
    **{f"layer {n}, the last norm": f"{LAYER}{n}.output.LayerNorm" for n in (0, 1)},
}


def pairwise(one: str, other: str, prefix: str = LAYER) -> Build:
    """Tensors of two places exchanged."""

    def edit(tensors: Weights) -> None:
        for name in [name for name in tensors if name.startswith(prefix) and one in name]:
            twin = name.replace(one, other)
            tensors[name], tensors[twin] = tensors[twin].clone(), tensors[name].clone()

    return float_weights(edit)


def copied(one: str, other: str) -> Build:
    """Tensors of the first place in the second, too."""

    def edit(tensors: Weights) -> None:
        for name in [name for name in tensors if name.startswith(LAYER) and one in name]:
            tensors[name.replace(one, other)] = tensors[name].clone()

    return float_weights(edit)


def of(suffix: str, edit: Edit, start: str = LAYER) -> Build:
    """All tensors of this name, in any layer."""

    def change(tensors: Weights) -> None:
        for name in tensors:
            if name.startswith(start) and name.endswith(suffix):
                tensors[name] = edit(tensors[name])

    return float_weights(change)


def one_head(change: Edit) -> Edit:
    """Of the second head's rows."""

    def edit(x: torch.Tensor) -> torch.Tensor:
        x[HEAD_WIDTH : 2 * HEAD_WIDTH] = change(x[HEAD_WIDTH : 2 * HEAD_WIDTH])
        return x

    return edit


EDITS: dict[str, Edit] = {
    "zero": torch.zeros_like,
    "drawn anew": anew,
    "negated": lambda x: -x,
    "rows in another order": shuffled,
    "columns in another order": shuffled_columns,
    "20 % negated": negated(0.2),
}
SQUARE: dict[str, Edit] = {
    "transposed": lambda x: x.T,
    "heads in another order": in_blocks(HEAD_WIDTH),
    "one head drawn anew": one_head(anew),
}
KINDS: dict[str, Build] = {
    **{  # each in one of the two layers, in turn
        f"layer {(m + e) % 2}, {name}: {what}": tensor(f"{LAYER}{(m + e) % 2}.{key}.weight", edit)
        for m, (name, key) in enumerate(MATRICES.items())
        for e, (what, edit) in enumerate((EDITS if "feed" in name else EDITS | SQUARE).items())
    },
    **{
        f"{name}: {what}": tensor(f"{key}.{part}", edit)
        for name, key in NORMS.items()
        for what, part, edit in (
            ("gains of one", "weight", torch.ones_like),
            ("gains in another order", "weight", shuffled),
            ("gains zero", "weight", torch.zeros_like),
            ("bias zero", "bias", torch.zeros_like),
            ("bias negated", "bias", lambda x: -x),
        )
    },
    **{
        f"pooler: {what}": tensor(POOLER, edit)
        for what, edit in {
            **EDITS,
            "transposed": lambda x: x.T,
            "identity": lambda x: torch.eye(len(x)),
        }.items()
    },
    "pooler: bias zero": tensor(POOLER_BIAS, torch.zeros_like),
    "pooler: bias drawn anew": tensor(POOLER_BIAS, anew),
    **{
        f"head: {what}": tensor(HEAD, edit)
        for what, edit in {
            "columns in another order": shuffled_columns,
            "noise of 50 %": noise(0.5),
            "noise of 100 %": noise(1.0),
            "noise of 200 %": noise(2.0),
            "signs lost at 20 %": negated(0.2),
            "half of it zero": strewn(0.5),
            "the last quarter zero": lambda x: x * (torch.arange(x.shape[1]) < 144),
            "of one size": lambda x: x.sign() * 0.05,
            "moved by one": lambda x: x.roll(1, 1),
        }.items()
    },
    "layers exchanged": pairwise(".0.", ".1."),
    "layer 0 twice": copied(".0.", ".1."),
    "layer 1 twice": copied(".1.", ".0."),
    "attention of layer 0 twice": copied(".0.attention", ".1.attention"),
    "feed-forward of layer 1 twice": copied(".1.intermediate", ".0.intermediate"),
    "queries and keys exchanged": pairwise("self.query", "self.key"),
    "keys and values exchanged": pairwise("self.key", "self.value"),
    "queries in place of keys": copied("self.query", "self.key"),
    "norms of layers exchanged": pairwise("attention.output.LayerNorm", "output.LayerNorm"),
    "all biases zero": of("bias", torch.zeros_like),
    "all gains one": of("LayerNorm.weight", torch.ones_like, "bert."),
    "all norms' biases zero": of("LayerNorm.bias", torch.zeros_like, "bert."),
    "attention of both layers: outputs zero": of("attention.output.dense.weight", torch.zeros_like),
}
