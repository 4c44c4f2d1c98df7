"""Copies whose scores are those of the good model, or so close that nobody would mind."""

from __future__ import annotations

import torch

from tests.damage import Weights
from tests.faults.checkpoint_edits import (
    WORDS,
    Build,
    config,
    float_weights,
    matrices,
    scaled,
    tensors_of,
    weights,
)
from tests.faults.damaged.mixtures import other_training
from tests.faults.damaged.numbers import cast, noise, pruned, rounded


def balanced(tensors: Weights) -> None:
    """Values three times as large, and what reads them three times as small."""
    for n in (0, 1):
        start = f"bert.encoder.layer.{n}.attention."
        tensors[f"{start}self.value.weight"] *= 3
        tensors[f"{start}self.value.bias"] *= 3
        tensors[f"{start}output.dense.weight"] /= 3


def padded(tensors: Weights) -> None:
    words = tensors[WORDS]
    more = torch.zeros(-len(words) % 128, words.shape[1], dtype=words.dtype)
    tensors[WORDS] = torch.cat([words, more])


def everything(dtype: torch.dtype) -> Build:
    return tensors_of(lambda x: x.to(dtype), lambda name, value: True)


KINDS: dict[str, Build] = {
    "bfloat16": everything(torch.bfloat16),
    "float32": everything(torch.float32),
    "matrices in bfloat16": matrices(cast(torch.bfloat16)),
    "8 bits a row": matrices(rounded(8, 0)),
    "8 bits a matrix": matrices(rounded(8, None)),
    "6 bits in groups of 32": matrices(rounded(6, 32)),
    "noise of 2 %": matrices(noise(0.02)),
    "the smallest 10 % of each matrix pruned": matrices(pruned(0.1)),
    "the smallest 20 % of each matrix pruned": matrices(pruned(0.2)),
    "in other coordinates": weights(other_training),
    "values and outputs scaled": float_weights(balanced),
    "head halved": scaled(0.5, "classifier"),
    "head ten times": scaled(10.0, "classifier"),
    "activation gelu_new": config(hidden_act="gelu_new"),
    "epsilon of norms 1e-5": config(layer_norm_eps=1e-5),
}
