"""FlagEmbedding's modeling code for its two layered rerankers, made to run on transformers 5.

It was written for transformers 4.46. All of its arithmetic stays as it is; changed is only what the
library now asks for: how tied weights are declared, what a config without RoPE scaling looks like,
and how Gemma2's layers are called and what they return.
"""

from __future__ import annotations

from typing import Any

import torch
from FlagEmbedding.inference.reranker.decoder_only.models import (
    gemma_model,
)
from FlagEmbedding.inference.reranker.decoder_only.models import (
    modeling_minicpm_reranker as minicpm,
)
from transformers import GenerationMixin
from transformers.models.gemma2.modeling_gemma2 import Gemma2DecoderLayer, Gemma2RotaryEmbedding

CostWiseGemmaConfig = gemma_model.CostWiseGemmaConfig
LayerWiseMiniCPMConfig = minicpm.LayerWiseMiniCPMConfig


def _plain_rope(self: Any) -> None:
    self.rotary_emb = minicpm.MiniCPMRotaryEmbedding(
        self.head_dim,
        max_position_embeddings=self.max_position_embeddings,
        base=self.config.rope_parameters["rope_theta"],
    )


class _Layer(Gemma2DecoderLayer):
    """Called as transformers 4.46 called it, and returning a tuple."""

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.rotary = Gemma2RotaryEmbedding(config)

    def forward(self, hidden_states, attention_mask, position_ids, **_) -> tuple[torch.Tensor]:
        states = super().forward(
            hidden_states,
            position_embeddings=self.rotary(hidden_states, position_ids),
            attention_mask=attention_mask,
            position_ids=position_ids,
        )
        return (states,)


minicpm.MiniCPMAttention._init_rope = _plain_rope
gemma_model.Gemma2DecoderLayer = _Layer


class LayerWiseMiniCPMForCausalLM(minicpm.LayerWiseMiniCPMForCausalLM, GenerationMixin):
    _tied_weights_keys = None


class CostWiseGemmaForCausalLM(gemma_model.CostWiseGemmaForCausalLM, GenerationMixin):
    _tied_weights_keys = None

    def get_output_embeddings(self) -> None:
        """None: the heads are no vocabulary."""
