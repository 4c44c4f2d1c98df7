"""The last layer of an encoder, computed only for the token that the head reads."""

from __future__ import annotations

from typing import Any

import torch

from reranker_core.models.batch import Packing
from reranker_core.models.loading import is_half
from reranker_core.models.networks.packing import attention_within

_PROBE_TOKENS = 8
_SAME, _SAME_IN_HALF = 1e-3, 0.05  # of 1 + |score|
# Whose layers are BERT's, and whose heads read the first token alone, in transformers 5.23.
_LIKE_BERT = {"bert", "roberta", "xlm-roberta", "camembert", "ernie", "electra"}


class FirstTokenLayer(torch.nn.Module):
    """A BERT layer that computes only the state of the first token.

    Keys and values are those of all tokens, so this state does not change. A model with six layers
    needs a seventh less time.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        # Under their own names, so that those of the weights stay.
        self.attention = layer.attention
        self.intermediate, self.output = layer.intermediate, layer.output

    def forward(
        self,
        hidden: torch.Tensor,
        mask: torch.Tensor | None = None,
        *_: Any,
        packing: Packing | None = None,
        **__: Any,
    ) -> torch.Tensor:
        """States of shape (R, W, H), mask of shape (R, 1, W or 1, W) → (R, 1, H); packed states
        have the shape (1, T, H).
        """
        inner = self.attention.self
        # One block of memory: what lies apart is multiplied row by row, in another order of sums.
        rows = hidden if packing is None else hidden[0, packing.starts[:-1].long()][:, None]
        first = rows[:, :1].contiguous()
        query, key, value = (
            states.unflatten(-1, (-1, inner.attention_head_size))
            for states in (inner.query(first), inner.key(hidden), inner.value(hidden))
        )
        if packing is None:
            attended = torch.nn.functional.scaled_dot_product_attention(
                query.transpose(1, 2),
                key.transpose(1, 2),
                value.transpose(1, 2),
                attn_mask=None if mask is None else mask[:, :, :1],
            ).transpose(1, 2)
        else:
            each = torch.arange(len(first) + 1, dtype=torch.int32, device=hidden.device)
            queries = Packing(each, 1, len(first))
            attended = attention_within(query[:, 0], key[0], value[0], queries, packing)[:, None]
        found = self.attention.output(attended.flatten(2), first)
        states: torch.Tensor = self.output(self.intermediate(found), found)
        return states


@torch.inference_mode()
def read_first_token_only(model: Any) -> bool:
    """Replace the last layer of a classifier by a `FirstTokenLayer`, if its layers and head are
    known to allow this and the scores of a test input do not change. Returns whether it did.
    """
    config = model.config
    if (
        not type(model).__module__.startswith("transformers.models.")
        or config.model_type not in _LIKE_BERT
        or config._attn_implementation != "sdpa"
        or config.is_decoder
    ):
        return False
    words = model.get_input_embeddings().num_embeddings
    layers, ids = model.base_model.encoder.layer, torch.arange(_PROBE_TOKENS)[None] % words
    stock, expected = layers[-1], model(input_ids=ids).logits
    layers[-1] = FirstTokenLayer(stock)
    tolerance = _SAME_IN_HALF if is_half(model) else _SAME
    same = (model(input_ids=ids).logits - expected).abs() <= tolerance * (1 + expected.abs())
    if not same.all():
        layers[-1] = stock
    return bool(same.all())
