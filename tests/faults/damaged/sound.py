"""Copies whose scores are those of the good model, or so close that nobody would mind."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tests.damage import Weights
from tests.faults.checkpoint_edits import (
    WORDS,
    Build,
    Edit,
    config,
    float_weights,
    matrices,
    scaled,
    tensors_of,
    weights,
)
from tests.faults.damaged.attention import HEAD_WIDTH, HEADS, LAYER, named
from tests.faults.damaged.mixtures import other_training
from tests.faults.damaged.numbers import anew, cast, drawn, noise, pruned, rounded
from tests.faults.damaged.untrained import NEURONS


def balanced(tensors: Weights) -> None:
    """Values three times as large, and what reads them three times as small."""
    for n in (0, 1):
        start = f"bert.encoder.layer.{n}.attention."
        tensors[f"{start}self.value.weight"] *= 3
        tensors[f"{start}self.value.bias"] *= 3
        tensors[f"{start}output.dense.weight"] /= 3


def opposite_scales(tensors: Weights) -> None:
    """Queries four times as large, and keys four times as small."""
    for name in tensors:
        for part, factor in (("query", 4), ("key", 0.25)):
            if f"self.{part}." in name:
                tensors[name] *= factor


def turned(one: str, other: str) -> Callable[[Weights], None]:
    """The rows of each head turned alike in two matrices; of outputs, the columns."""

    def edit(tensors: Weights) -> None:
        for layer in (0, 1):
            turns = [
                torch.linalg.qr(torch.randn(HEAD_WIDTH, HEAD_WIDTH, generator=drawn(head)))[0]
                for head in range(HEADS)
            ]
            turn = torch.block_diag(*turns)
            for part in (one, other):
                start = f"{LAYER}{layer}.attention.{part}"
                if part.startswith("output"):
                    tensors[f"{start}.weight"] = tensors[f"{start}.weight"] @ turn.T
                else:
                    for kind in ("weight", "bias"):
                        tensors[f"{start}.{kind}"] = turn @ tensors[f"{start}.{kind}"]

    return edit


def neurons_in_another_order(tensors: Weights) -> None:
    order = torch.randperm(NEURONS, generator=drawn(5))
    start = f"{LAYER}0."
    for kind in ("weight", "bias"):
        tensors[f"{start}intermediate.dense.{kind}"] = tensors[f"{start}intermediate.dense.{kind}"][
            order
        ]
    tensors[f"{start}output.dense.weight"] = tensors[f"{start}output.dense.weight"][:, order]


def least_neurons_pruned(tensors: Weights) -> None:
    """A tenth of the neurons of each layer, those that matter least."""
    for layer in (0, 1):
        start = f"{LAYER}{layer}."
        read, written = (tensors[f"{start}{n}.dense.weight"] for n in ("intermediate", "output"))
        dead = (read.norm(dim=1) * written.norm(dim=0)).argsort()[: NEURONS // 10]
        read[dead], written[:, dead] = 0, 0
        tensors[f"{start}intermediate.dense.bias"][dead] = 0


def merged_adapter(x: torch.Tensor) -> torch.Tensor:
    """A change of rank 8 with 2 % of the matrix's size, as a LoRA adapter makes."""
    change = torch.randn(x.shape[0], 8, generator=drawn(8)) @ torch.randn(
        8, x.shape[1], generator=drawn(9)
    )
    return x + change / change.norm() * x.norm() * 0.02


def by_rows(largest: float, dtype: torch.dtype) -> Edit:
    """Another number format, each row scaled to its range."""

    def edit(x: torch.Tensor) -> torch.Tensor:
        scale = x.abs().amax(1, keepdim=True).clamp(min=1e-9) / largest
        return cast(dtype)(x / scale) * scale

    return edit


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
    "queries and keys scaled": float_weights(opposite_scales),
    "queries and keys turned": float_weights(turned("self.query", "self.key")),
    "values and outputs turned": float_weights(turned("self.value", "output.dense")),
    "neurons in another order": float_weights(neurons_in_another_order),
    "a tenth of the neurons pruned": float_weights(least_neurons_pruned),
    "an adapter merged": matrices(merged_adapter, "self.query"),
    "key biases zero": named(r"key\.bias", torch.zeros_like),
    "key biases zero in layer 1": named(r"1\.attention\.self\.key\.bias", torch.zeros_like),
    "key biases drawn anew": named(r"key\.bias", anew),
    "4 bits in groups of 32": matrices(rounded(4, 32)),
    "5 bits in groups of 32": matrices(rounded(5, 32)),
    "8 bits a column": matrices(lambda x: rounded(8, 0)(x.T.contiguous()).T),
    "float8 with 3 bits of mantissa, scaled by rows": matrices(by_rows(448, torch.float8_e4m3fn)),
    "float8 with 2 bits of mantissa, scaled by rows": matrices(by_rows(57344, torch.float8_e5m2)),
    "noise of 1 %": matrices(noise(0.01)),
    "head a thousandth": scaled(0.001, "classifier"),
    "head a thousand times": scaled(1000.0, "classifier"),
    "head's bias 20 lower": named(r"classifier\.bias", lambda x: x - 20),
    "head's bias zero": named(r"classifier\.bias", torch.zeros_like),
    "head halved": scaled(0.5, "classifier"),
    "head ten times": scaled(10.0, "classifier"),
    "activation gelu_new": config(hidden_act="gelu_new"),
    "epsilon of norms 1e-5": config(layer_norm_eps=1e-5),
}
