"""bge-reranker-v2-minicpm-layerwise: a head behind each layer, so that upper ones need not run.

MiniCPM is a Llama whose embeddings and residuals are scaled, which is what transformers' Granite
computes. The code that comes with the checkpoint is run where `model.trust_remote_code` allows it.
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
    """Whether the class that wrote a checkpoint is the layerwise MiniCPM."""
    return checkpoint.architecture == "LayerWiseMiniCPMForCausalLM"


def pair_format(checkpoint: Checkpoint, model: ModelConfig) -> PromptFormat:
    """The prompt format of a checkpoint.

    Raises:
        ConfigError: template, tokenizer, lengths or cutoff layers do not fit.

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
    """The layers below the last cutoff, and the heads of all cutoffs; of its own code all it has.

    Raises:
        ConfigError: the checkpoint has heads of another kind.
        PreflightRefused: transformers cannot make the model of the folder, or its code does not
            run.

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
    """Float32 scores of a batch, shape (rows,), or (rows, cutoffs) of several."""
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
