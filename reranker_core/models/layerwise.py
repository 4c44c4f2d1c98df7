"""bge-reranker-v2-minicpm-layerwise: one head per layer, so the layers above it need not run.

MiniCPM is a Llama with scaled embeddings and residuals. transformers' Granite computes the same. If
`model.trust_remote_code` allows it, the code that comes with the checkpoint runs instead.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from reranker_core.config import ModelConfig
from reranker_core.encode.formats.prompt import PromptFormat
from reranker_core.errors import ConfigError
from reranker_core.models.batch import Batch
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.cutoff import (
    as_configured,
    cutoffs_of,
    own_code_record,
    runs_own_code,
    used_keys,
)
from reranker_core.models.family import LoadedModel
from reranker_core.models.loading import load_weights
from reranker_core.models.prompting import prompt_format

_START_LAYER = 8  # LayerWiseMiniCPMConfig's defaults
_HEAD_TYPE = "simple"


def fits(checkpoint: Checkpoint) -> bool:
    """Whether config.json names the layerwise MiniCPM."""
    return checkpoint.architecture == "LayerWiseMiniCPMForCausalLM"


def pair_format(checkpoint: Checkpoint, model: ModelConfig) -> PromptFormat:
    """The prompt format of a checkpoint.

    Raises:
        ConfigError: the template, a length or a cutoff layer does not fit the model.
        PreflightRefused: the tokenizer cannot be loaded.

    """
    return prompt_format(
        checkpoint,
        model,
        "layerwise",
        cutoff_layer=as_configured(_cutoffs(checkpoint, model)),
        **own_code_record(checkpoint, model),
    )


def load(
    checkpoint: Checkpoint, model: ModelConfig, dtype: torch.dtype, device: str
) -> LoadedModel:
    """The layers up to the last cutoff, and the heads of the cutoffs. The checkpoint's own code
    loads all layers and heads.

    Raises:
        ConfigError: the checkpoint has another kind of heads.
        PreflightRefused: transformers cannot load the model from the folder, or the checkpoint's
            own code does not run.

    """
    cutoffs = _cutoffs(checkpoint, model)
    first = checkpoint.config.get("start_layer", _START_LAYER)
    heads = [cutoff - first for cutoff in cutoffs]
    if runs_own_code(checkpoint, model):
        from reranker_core.models.networks.own_code import load_own_layers

        return load_own_layers(checkpoint, dtype, device, heads, cutoff_layers=cutoffs)
    from reranker_core.models.networks.minicpm import LayerwiseMiniCPM, granite_config

    loaded = load_weights(
        LayerwiseMiniCPM,
        "layerwise",
        checkpoint,
        model,
        dtype=dtype,
        config=granite_config(checkpoint.config, cutoffs, heads),
    )
    loaded.model.lm_head.float()
    loaded.model.to(device)
    unexpected = used_keys(loaded.unexpected, cutoffs)
    return replace(loaded, unexpected=unexpected, head=("lm_head.",))


def forward(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Float32 scores, shape (R,); with several cutoff layers (R, cutoffs)."""
    scores: torch.Tensor = model(batch.ids, batch.mask.sum(1))
    return scores.squeeze(1)


def _cutoffs(checkpoint: Checkpoint, model: ModelConfig) -> list[int]:
    config = checkpoint.config
    kind = config.get("head_type", _HEAD_TYPE)
    if kind != "simple" or not config.get("head_multi", True):
        raise ConfigError(
            f"model.path={model.path}: has heads of the type '{kind}'; expected one linear head "
            "per layer (head_type=simple, head_multi=true), as in "
            "bge-reranker-v2-minicpm-layerwise. Use such a checkpoint"
        )
    return cutoffs_of(config, model, config.get("start_layer", _START_LAYER))
