"""The matrices of a loaded model, for checks of their values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import torch

from reranker_core.checks import Check
from reranker_core.models.family import LoadedModel

LAYER = re.compile(r"\.\d+\.")  # the number of a layer in the name of a weight
# Smaller tables are those of token types and the like. RoBERTa leaves its single type at zero.
LEAST_ROWS, LEAST_VALUES = 16, 4096
_SHOWN = 4

Matrices = dict[str, torch.Tensor]


def matrices_of(loaded: LoadedModel) -> Matrices:
    """All large matrices of the body, each once. The head has its own check."""
    return dict(_matrices(loaded))


def _matrices(loaded: LoadedModel) -> Iterator[tuple[str, torch.Tensor]]:
    for name, weight in loaded.model.named_parameters():
        head = bool(loaded.head) and name.startswith(loaded.head)
        large = weight.dim() == 2 and min(weight.shape) >= LEAST_ROWS
        if large and weight.numel() >= LEAST_VALUES and weight.is_floating_point() and not head:
            yield name, weight.detach()


def finding(name: str, keys: Sequence[str], expected: str, remedy: str) -> Check:
    """The check of group `weights` that lists the weights in which something was found."""
    shown = ", ".join(keys[:_SHOWN]) + (", …" if len(keys) > _SHOWN else "")
    measured = f"{len(keys)} found: {shown}" if keys else "none found"
    return Check("weights", name, not keys, measured, expected, remedy)
