"""LoRA adapters that were merged wrongly. The base is the model without the strongest directions of
what the training changed; the adapter is these directions.
"""

from __future__ import annotations

import torch

from tests.damage import Weights
from tests.faults.checkpoint_edits import Build, float_weights
from tests.faults.damaged.numbers import drawn

RANK, DEVIATION = 8, 0.02  # the latter of transformers' initial weights


def adapter(weight: torch.Tensor) -> torch.Tensor:
    """What an adapter adds to a matrix of the base."""
    first = torch.randn(weight.shape, generator=drawn(len(weight))) * DEVIATION
    left, sizes, right = torch.linalg.svd(weight - first, full_matrices=False)
    return (left[:, :RANK] * sizes[:RANK]) @ right[:RANK]


def merged(factor: float, *parts: str) -> Build:
    """The adapter with another factor than 1, in matrices of layers whose names contain `parts`."""

    def edit(tensors: Weights) -> None:
        for name, weight in tensors.items():
            matrix = ".layer." in name and weight.dim() == 2
            if matrix and any(part in name for part in parts or ("",)):
                tensors[name] = weight + (factor - 1) * adapter(weight)

    return float_weights(edit)


KINDS: dict[str, Build] = {
    "an adapter not merged": merged(0),
    "an adapter merged twice": merged(2),
    "an adapter merged at half of its scale": merged(0.5),
    "an adapter merged at four times its scale": merged(4),
    "an adapter subtracted": merged(-1),
    "an adapter merged into queries and values alone": merged(0, "key", "dense"),
    "an adapter merged into attention alone": merged(
        0, "intermediate", "layer.0.output", "layer.1.output"
    ),
}
