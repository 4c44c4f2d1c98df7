"""Files and tensors of two trainings in one folder.

The other training ends in the same function with other coordinates: those of hidden states, of
neurons and of heads have no order of their own, so each training orders them in its own way.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.damage import Weights
from tests.faults.checkpoint_edits import MODEL, Build, changed, weights
from tests.faults.damaged.numbers import drawn

WIDTH, INNER, HEADS = 192, 384, 6
LAYER = ".layer."


def other_training(tensors: Weights) -> None:
    """The same function in other coordinates."""
    hidden = torch.randperm(WIDTH, generator=drawn(7))
    for name in tensors:
        layer = name.partition(LAYER)[2][:1] or "0"
        neurons = torch.randperm(INNER, generator=drawn(10 + int(layer)))
        heads = torch.randperm(HEADS, generator=drawn(20 + int(layer)))
        within = torch.randperm(WIDTH // HEADS, generator=drawn(30 + int(layer)))
        places = torch.arange(WIDTH).view(HEADS, -1)[heads][:, within].flatten()
        tensors[name] = _in_order(name, tensors[name], hidden, neurons, places).contiguous()


def _in_order(
    name: str, x: torch.Tensor, hidden: torch.Tensor, neurons: torch.Tensor, heads: torch.Tensor
) -> torch.Tensor:
    if "attention.self" in name:
        return x[heads][:, hidden] if x.dim() == 2 else x[heads]
    if "attention.output.dense.weight" in name:
        return x[hidden][:, heads]
    if "intermediate" in name:
        return x[neurons][:, hidden] if x.dim() == 2 else x[neurons]
    if "output.dense.weight" in name:
        return x[hidden][:, neurons]
    if name == "classifier.bias":
        return x
    if name == "bert.pooler.dense.weight":
        return x[hidden][:, hidden]
    return x[..., hidden]


def of_both(chosen: Callable[[str], bool]) -> Build:
    """The chosen tensors of the other training."""

    def edit(tensors: Weights) -> None:
        other = {name: value.clone() for name, value in tensors.items()}
        other_training(other)
        tensors |= {name: value for name, value in other.items() if chosen(name)}

    return weights(edit)


def every_second(tensors: Weights) -> None:
    """Each second tensor, by name, of the other training."""
    other = {name: value.clone() for name, value in tensors.items()}
    other_training(other)
    tensors |= {name: other[name] for name in sorted(tensors)[1::2]}


def blended(share: float) -> Build:
    """The weighted average of both."""

    def edit(tensors: Weights) -> None:
        other = {name: value.clone() for name, value in tensors.items()}
        other_training(other)
        for name in tensors:
            mixed = tensors[name].float() * (1 - share) + other[name].float() * share
            tensors[name] = mixed.to(other[name].dtype)

    return weights(edit)


def half_of_the_file(begin: float, end: float) -> Build:
    """Bytes of the other training's file, as after a download that went on with a new version."""

    def change(folder: Path) -> None:
        first = (folder / MODEL).read_bytes()
        tensors = load_file(folder / MODEL)
        other_training(tensors)
        save_file(tensors, folder / MODEL, metadata={"format": "pt"})
        second = (folder / MODEL).read_bytes()
        assert len(first) == len(second)
        start, stop = int(len(first) * begin), int(len(first) * end)
        (folder / MODEL).write_bytes(first[:start] + second[start:stop] + first[stop:])

    return changed(change)


KINDS: dict[str, Build] = {
    **{
        f"of another training: {what}": of_both(chosen)
        for what, chosen in {
            "pooler": lambda name: "pooler" in name,
            "head": lambda name: "classifier" in name,
            "pooler and head": lambda name: "pooler" in name or "classifier" in name,
            "words": lambda name: "word_embeddings" in name,
            "positions": lambda name: "position_embeddings" in name,
            "token types": lambda name: "token_type" in name,
            "embeddings": lambda name: "embeddings" in name,
            "layer 0": lambda name: "layer.0." in name,
            "layer 1": lambda name: "layer.1." in name,
            "both layers": lambda name: LAYER in name,
            "attention of layer 0": lambda name: "layer.0.attention" in name,
            "attention of layer 1": lambda name: "layer.1.attention" in name,
            "feed-forward of layer 0": lambda name: "layer.0.intermediate" in name,
            "feed-forward of layer 1": lambda name: "layer.1.intermediate" in name,
            "queries": lambda name: "query" in name,
            "queries of layer 1": lambda name: "layer.1.attention.self.query" in name,
            "norms": lambda name: "LayerNorm" in name,
            "biases": lambda name: name.endswith("bias"),
        }.items()
    },
    "of two trainings: each second tensor": weights(every_second),
    "of two trainings: 10 % of the second": blended(0.1),
    "of two trainings: 30 % of the second": blended(0.3),
    "of two trainings: their mean": blended(0.5),
    "of two trainings: the second half of the file": half_of_the_file(0.5, 1.0),
    "of two trainings: the last 10 % of the file": half_of_the_file(0.9, 1.0),
    "of two trainings: 5 % in the middle of the file": half_of_the_file(0.4, 0.45),
    "of two trainings: 5 % behind the words": half_of_the_file(0.02, 0.07),
}
SOUND: dict[str, Build] = {"the other training alone": weights(other_training)}
