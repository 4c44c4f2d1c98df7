"""bge-reranker-v2-minicpm-layerwise: a head behind each layer, so that upper ones need not run.

MiniCPM is a Llama whose embeddings and residuals are scaled, which is what transformers' Granite
computes. The code that comes with the checkpoint is not used: it was written for transformers 4,
and on 5 it stops at its RoPE settings or, mended there, computes with uninitialised buffers.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from transformers import GraniteConfig, GraniteModel
from transformers.models.granite.modeling_granite import GranitePreTrainedModel

from reranker_core.batching import Batch
from reranker_core.checkpoint import Checkpoint
from reranker_core.config import ModelConfig
from reranker_core.errors import ConfigError
from reranker_core.models.cutoff import LayerHead, cutoff_of, used_keys
from reranker_core.models.family import LoadedModel
from reranker_core.models.loading import load_weights
from reranker_core.models.prompting import PromptFormat, prompt_format

_START_LAYER = 8  # LayerWiseMiniCPMConfig's defaults
_HEAD_TYPE = "simple"


def fits(architecture: str) -> bool:
    """Whether the class that wrote a checkpoint is the layerwise MiniCPM."""
    return architecture == "LayerWiseMiniCPMForCausalLM"


def pair_format(checkpoint: Checkpoint, model: ModelConfig) -> PromptFormat:
    """The prompt format of a checkpoint.

    Raises:
        ConfigError: template, tokenizer, lengths or cutoff layer do not fit.

    """
    return prompt_format(
        checkpoint,
        model,
        "layerwise",
        cutoff_layer=_cutoff(checkpoint, model),
    )


def load(
    checkpoint: Checkpoint, model: ModelConfig, dtype: torch.dtype, device: str
) -> LoadedModel:
    """The layers below the cutoff and its head.

    Raises:
        ConfigError: the checkpoint has heads of another kind.
        PreflightRefused: transformers cannot make the model of the folder.

    """
    cutoff = _cutoff(checkpoint, model)
    head = cutoff - checkpoint.config.get("start_layer", _START_LAYER)
    loaded = load_weights(
        LayerwiseMiniCPM,
        "layerwise",
        checkpoint,
        model,
        dtype=dtype,
        config=_granite(checkpoint.config, cutoff, head),
    )
    loaded.model.lm_head.float()
    loaded.model.to(device)
    unexpected = used_keys(loaded.unexpected, cutoff)
    return replace(loaded, unexpected=unexpected, head=("lm_head.",))


def forward(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Float32 scores of a batch, shape (rows,)."""
    scores: torch.Tensor = model(batch.ids, batch.mask)
    return scores


class LayerwiseMiniCPM(GranitePreTrainedModel):
    """MiniCPM up to the cutoff layer, with that layer's head."""

    def __init__(self, config: GraniteConfig) -> None:
        super().__init__(config)
        self.model = GraniteModel(config)
        self.lm_head = LayerHead.among(config.head, config.hidden_size)
        self.post_init()

    def get_output_embeddings(self) -> None:
        """None: the heads are no vocabulary."""

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Float32 scores of sequences that are padded on the right, shape (R,)."""
        # No mask: the padding stands behind all tokens, and causal attention looks back only.
        hidden = self.model(input_ids=ids, use_cache=False).last_hidden_state
        last = hidden[torch.arange(len(ids), device=ids.device), mask.sum(1) - 1]
        scores: torch.Tensor = self.lm_head[str(self.config.head)](last)
        return scores


def _cutoff(checkpoint: Checkpoint, model: ModelConfig) -> int:
    config = checkpoint.config
    kind = config.get("head_type", _HEAD_TYPE)
    if kind != "simple" or not config.get("head_multi", True):
        raise ConfigError(
            f"model.path={model.path}: has heads of the type '{kind}'; supported is one linear "
            "head a layer (head_type=simple, head_multi=true), as in "
            "bge-reranker-v2-minicpm-layerwise"
        )
    return cutoff_of(config, model, config.get("start_layer", _START_LAYER))


def _granite(config: dict[str, Any], cutoff: int, head: int) -> GraniteConfig:
    """The same arithmetic in Granite's terms."""
    heads = config["num_attention_heads"]
    scaling = config.get("rope_scaling")
    rope = {"rope_type": "default", "rope_theta": config.get("rope_theta", 10_000.0)}
    if scaling and scaling.get("rope_type", scaling.get("type")) != "default":
        rope |= {"rope_type": scaling["type"], "factor": scaling["factor"]}
    found = GraniteConfig(
        vocab_size=config["vocab_size"],
        hidden_size=config["hidden_size"],
        intermediate_size=config["intermediate_size"],
        num_hidden_layers=cutoff,
        num_attention_heads=heads,
        num_key_value_heads=config.get("num_key_value_heads") or heads,
        hidden_act=config.get("hidden_act", "silu"),
        max_position_embeddings=config.get("max_position_embeddings", 2048),
        rms_norm_eps=config.get("rms_norm_eps", 1e-6),
        rope_parameters=rope,
        attention_bias=config.get("attention_bias", False),
        pad_token_id=config.get("pad_token_id"),
        tie_word_embeddings=False,
        embedding_multiplier=config.get("scale_emb", 1),
        residual_multiplier=config.get("scale_depth", 1) / math.sqrt(config["num_hidden_layers"]),
        attention_multiplier=(config["hidden_size"] // heads) ** -0.5,
    )
    found.head = head
    return found
