"""Decoders with a classification head."""

from __future__ import annotations

from typing import Any

import torch

from reranker_core.models.loading import inputs_to_float32
from reranker_core.models.networks.last_token_layer import last_states, read_last_token_only


class LastToken(torch.nn.Module):
    """A decoder, and its head behind the last token alone, where the stock class would run the head
    on all tokens and find the last by what is no padding token, which a text may hold itself.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.config = model.config
        self.body = model.base_model
        read_last_token_only(self.body)
        self.score = model.score.float()

    def get_input_embeddings(self) -> torch.nn.Module:
        """The embedding table, for preflight."""
        table: torch.nn.Module = self.body.get_input_embeddings()
        return table

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Float32 scores, shape (R,), of sequences that are padded on the right, shape (R, W)."""
        # No mask: the padding stands behind all tokens, and causal attention looks back only.
        last = last_states(self.body, ids, mask.sum(1), use_cache=False)
        scores: torch.Tensor = self.score(last.float())
        return scores[:, 0]


class WholeClassifier(torch.nn.Module):
    """A class of the checkpoint's own, which pools in its own way. Its head is computed in float32
    where it has the usual name.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.config = model.config
        self.inner = model
        if isinstance(head := getattr(model, "score", None), torch.nn.Module):
            head.float().register_forward_pre_hook(inputs_to_float32)

    def get_input_embeddings(self) -> torch.nn.Module:
        """The embedding table, for preflight."""
        table: torch.nn.Module = self.inner.get_input_embeddings()
        return table

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Float32 scores, shape (R,), of sequences that are padded on the right, shape (R, W)."""
        logits: torch.Tensor = self.inner(input_ids=ids, attention_mask=mask).logits
        return logits[:, 0].float()
