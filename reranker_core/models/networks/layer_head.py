"""A head of one layer."""

from __future__ import annotations

import torch


class LayerHead(torch.nn.Module):
    """One score from a layer's hidden state, in float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_head = torch.nn.Linear(width, 1, bias=False)

    @classmethod
    def numbered(cls, numbers: list[int], width: int) -> torch.nn.ModuleDict:
        """Heads of these numbers, named as in the checkpoints."""
        return torch.nn.ModuleDict({str(number): cls(width) for number in numbers})

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Shape (R, width) → (R,)."""
        scores: torch.Tensor = self.linear_head(hidden.float())
        return scores[:, 0]
