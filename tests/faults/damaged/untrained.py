"""Parts with values of an earlier time: as drawn, half trained, of another step or scale."""

from __future__ import annotations

import re

import torch

from tests.damage import Weights
from tests.faults.checkpoint_edits import WORDS, Build, float_weights, matrices, tensor
from tests.faults.damaged.attention import LAYER, named
from tests.faults.damaged.layers import pairwise
from tests.faults.damaged.numbers import drawn

_DEVIATION = 0.02  # of transformers' initial weights
NEURONS = 384


def as_drawn(pattern: str) -> Build:
    """Initial values in place of all tensors whose names match."""

    def edit(tensors: Weights) -> None:
        generator = drawn(11)
        for name in sorted(tensors):
            value = tensors[name]
            if not re.search(pattern, name):
                continue
            if value.dim() == 2:
                tensors[name] = torch.randn(value.shape, generator=generator) * _DEVIATION
            else:
                is_gain = "LayerNorm.weight" in name
                tensors[name] = torch.full_like(value, 1.0 if is_gain else 0.0)

    return float_weights(edit)


def on_the_way(share: float) -> Build:
    """Matrices that went this share of the way from their initial values."""

    def edit(x: torch.Tensor) -> torch.Tensor:
        first = torch.randn(x.shape, generator=drawn(x.shape[0])) * _DEVIATION
        return x * share + first * (1 - share)

    return matrices(edit)


def averaged(tensors: Weights) -> None:
    """Both layers the average of both."""
    for name in [name for name in tensors if ".layer.0." in name]:
        twin = name.replace(".layer.0.", ".layer.1.")
        mean = (tensors[name] + tensors[twin]) / 2
        tensors[name], tensors[twin] = mean, mean.clone()


def too_strong(x: torch.Tensor) -> torch.Tensor:
    """A random direction as strong as the strongest one of the matrix."""
    left, right = (torch.randn(n, generator=drawn(13 + n)) for n in x.shape)
    size = torch.linalg.matrix_norm(x, 2)
    return x + torch.outer(left / left.norm(), right / right.norm()) * size


def without_neurons(share: float) -> Build:
    """Neurons of both feed-forwards that are always zero."""

    def edit(tensors: Weights) -> None:
        for layer in (0, 1):
            dead = torch.randperm(NEURONS, generator=drawn(layer))[: int(share * NEURONS)]
            for kind in ("weight", "bias"):
                tensors[f"{LAYER}{layer}.intermediate.dense.{kind}"][dead] = 0

    return float_weights(edit)


KINDS: dict[str, Build] = {
    "as drawn: layer 0": as_drawn(r"layer\.0\."),
    "as drawn: layer 1": as_drawn(r"layer\.1\."),
    "as drawn: attention of layer 1": as_drawn(r"layer\.1\.attention"),
    "as drawn: feed-forwards": as_drawn(r"(intermediate|layer\.\d\.output)\."),
    "as drawn: pooler": as_drawn("pooler"),
    "as drawn: words from 3,000 on": tensor(
        WORDS, lambda x: torch.cat([x[:3000], torch.randn(6000, 192, generator=drawn(3)) * 0.02])
    ),
    "half of the way from the initial weights": on_the_way(0.5),
    "three quarters of the way from the initial weights": on_the_way(0.75),
    "both layers their average": float_weights(averaged),
    "a direction too strong in each matrix of the layers": matrices(too_strong, "layer"),
    "a direction too strong in the words": tensor(WORDS, too_strong),
    **{
        f"matrices of layer {layer} multiplied by {factor:g}": named(
            rf"layer\.{layer}\.(?!.*LayerNorm).*weight", lambda x, factor=factor: x * factor
        )
        for layer, factor in ((0, 2), (0, 0.5), (0, 1.3), (1, 4), (1, 0.25))
    },
    "half of the neurons zero": without_neurons(0.5),
    "a tenth of the neurons zero": without_neurons(0.1),
    "query biases of layers exchanged": pairwise(
        ".0.attention.self.query.b", ".1.attention.self.query.b"
    ),
    "last norms of layers exchanged": pairwise(".0.output.LayerNorm", ".1.output.LayerNorm"),
    "norms after attention of layers exchanged": pairwise(
        ".0.attention.output.LayerNorm", ".1.attention.output.LayerNorm"
    ),
    "layer 1, the last norm: gains halved": named(r"1\.output\.LayerNorm\.weight", lambda x: x / 2),
    "layer 0, the last norm: biases one higher": named(
        r"0\.output\.LayerNorm\.bias", lambda x: x + 1
    ),
    "gains squared": named(r"LayerNorm\.weight", lambda x: x * x.abs()),
}
