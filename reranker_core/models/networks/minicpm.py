"""MiniCPM with one head per layer, computed with transformers' Granite."""

from __future__ import annotations

import math
from typing import Any

import torch
from transformers import GraniteConfig, GraniteModel
from transformers.models.granite.modeling_granite import GranitePreTrainedModel

from reranker_core.models.networks.layer_head import LayerHead


class LayerwiseMiniCPM(GranitePreTrainedModel):
    """MiniCPM up to the last cutoff layer, with the heads of the cutoffs."""

    def __init__(self, config: GraniteConfig) -> None:
        super().__init__(config)
        self.model = GraniteModel(config)
        self.lm_head = LayerHead.numbered(config.heads, config.hidden_size)
        self.post_init()

    def get_output_embeddings(self) -> None:
        """None: the heads are no vocabulary."""

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Ids padded on the right, shape (R, W), lengths (R,) → float32 scores, (R, cutoffs)."""
        heads = dict(zip(self.config.cutoffs, self.lm_head.values(), strict=True))
        scores = []
        hidden = self.model.embed_tokens(ids) * self.model.embedding_multiplier
        positions = torch.arange(ids.shape[1], device=ids.device)[None]
        rotations = self.model.rotary_emb(hidden, positions)
        for depth, layer in enumerate(self.model.layers, 1):
            # No mask: the padding stands behind all tokens, and causal attention looks back only.
            hidden = layer(hidden, position_ids=positions, position_embeddings=rotations)
            if depth in heads:
                last = hidden[torch.arange(len(ids), device=ids.device), lengths - 1]
                scores.append(heads[depth](self.model.norm(last)))
        return torch.stack(scores, 1)


def granite_config(config: dict[str, Any], cutoffs: list[int], heads: list[int]) -> GraniteConfig:
    """The `GraniteConfig` that computes the same as MiniCPM with this config.json."""
    attention_heads = config["num_attention_heads"]
    scaling = config.get("rope_scaling")
    rope = {"rope_type": "default", "rope_theta": config.get("rope_theta", 10_000.0)}
    if scaling and scaling.get("rope_type", scaling.get("type")) != "default":
        rope |= {"rope_type": scaling["type"], "factor": scaling["factor"]}
    found = GraniteConfig(
        vocab_size=config["vocab_size"],
        hidden_size=config["hidden_size"],
        intermediate_size=config["intermediate_size"],
        num_hidden_layers=cutoffs[-1],
        num_attention_heads=attention_heads,
        num_key_value_heads=config.get("num_key_value_heads") or attention_heads,
        hidden_act=config.get("hidden_act", "silu"),
        max_position_embeddings=config.get("max_position_embeddings", 2048),
        rms_norm_eps=config.get("rms_norm_eps", 1e-6),
        initializer_range=config.get("initializer_range", 0.02),
        rope_parameters=rope,
        attention_bias=config.get("attention_bias", False),
        pad_token_id=config.get("pad_token_id"),
        tie_word_embeddings=False,
        embedding_multiplier=config.get("scale_emb", 1),
        residual_multiplier=config.get("scale_depth", 1) / math.sqrt(config["num_hidden_layers"]),
        attention_multiplier=(config["hidden_size"] // attention_heads) ** -0.5,
    )
    found.cutoffs, found.heads = cutoffs, heads
    found._attn_implementation = "sdpa"  # causal without a mask
    return found
