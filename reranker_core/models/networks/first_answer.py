"""An encoder-decoder whose first output token is the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from reranker_core.encode.formats.pair_format import Answer
from reranker_core.models.loading import inputs_to_float32
from reranker_core.models.networks.answer_model import answer_rows


class FirstAnswer(torch.nn.Module):
    """An encoder-decoder that computes only the logits of the answers at the decoder's first
    step.
    """

    def __init__(self, model: Any, answers: Sequence[Answer]) -> None:
        super().__init__()
        head = model.get_output_embeddings()
        rows = answer_rows(head, [answer.ids[0] for answer in answers])
        small = torch.nn.Linear(rows.shape[1], rows.shape[0], bias=False)
        small.weight = torch.nn.Parameter(rows, requires_grad=False)
        small.register_forward_pre_hook(inputs_to_float32)
        model.lm_head = small  # the model scales and multiplies as it always does
        self.inner = model
        self.config = model.config
        self.weights = torch.nn.Parameter(torch.tensor([a.weight for a in answers]), False)

    def get_input_embeddings(self) -> torch.nn.Module:
        """The embedding table, for preflight."""
        table: torch.nn.Module = self.inner.get_input_embeddings()
        return table

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Float32 scores, shape (R,), of sequences padded on the right, ids and mask (R, W)."""
        start = torch.full((len(ids), 1), self.config.decoder_start_token_id, device=ids.device)
        logits = self.inner(
            input_ids=ids, attention_mask=mask, decoder_input_ids=start, use_cache=False
        ).logits
        return (logits[:, 0] * self.weights).sum(-1)
