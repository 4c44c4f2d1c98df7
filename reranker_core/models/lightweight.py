"""bge-reranker-v2.5-gemma2-lightweight: one head per layer, and passages compressed between layers.

Before each layer in `model.compress_layers`, each `model.compress_ratio` neighbouring states of the
passage are replaced by their mean. The states of query and prompt do not change. Then positions are
counted again from 0. The layers are those of transformers' Gemma2; the checkpoint's own code is not
needed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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

_START_LAYER = _LAYER_STEP = 28  # CostWiseGemmaConfig's defaults


def fits(checkpoint: Checkpoint) -> bool:
    """Whether config.json names the lightweight Gemma2."""
    return checkpoint.architecture == "CostWiseGemmaForCausalLM"


def pair_format(checkpoint: Checkpoint, model: ModelConfig) -> PromptFormat:
    """The prompt format of a checkpoint.

    Raises:
        ConfigError: the template, a length or a layer does not fit the model.
        PreflightRefused: the tokenizer cannot be loaded.

    """
    found = prompt_format(
        checkpoint,
        model,
        "lightweight",
        cutoff_layer=as_configured(_cutoffs(checkpoint, model)),
        compress_layers=sorted(set(model.compress_layers)) if model.compress_ratio > 1 else [],
        compress_ratio=model.compress_ratio,
        lightweight_head=model.lightweight_head,
        **own_code_record(checkpoint, model),
    )
    window = checkpoint.config.get("sliding_window") or found.max_length
    if found.max_length > window:
        raise ConfigError(
            f"model.max_length: {found.max_length} tokens with the prompt exceed the sliding "
            f"attention window of {model.path} ({window} tokens). Compression does not support "
            "this. Lower model.max_length"
        )
    return found


def load(
    checkpoint: Checkpoint, model: ModelConfig, dtype: torch.dtype, device: str
) -> LoadedModel:
    """The layers up to the last cutoff, and a head for each cutoff. The checkpoint's own code loads
    all layers and heads.

    Raises:
        ConfigError: the checkpoint does not have one head per layer, or its own code cannot use the
            heads of `model.lightweight_head`.
        PreflightRefused: transformers cannot load the model from the folder, or the checkpoint's
            own code does not run.

    """
    found = pair_format(checkpoint, model)
    cutoffs, compress_layers = _cutoffs(checkpoint, model), found.settings["compress_layers"]
    heads = _heads(checkpoint.config, cutoffs, model.lightweight_head)
    if runs_own_code(checkpoint, model):
        from reranker_core.models.networks.own_code import load_own_layers

        if heads != list(range(len(cutoffs))):
            raise ConfigError(
                f"model.lightweight_head={model.lightweight_head}: the checkpoint's own code "
                "numbers the heads as FlagEmbedding does. Set flag_embedding, or "
                "model.trust_remote_code=false"
            )
        return load_own_layers(
            checkpoint,
            dtype,
            device,
            heads,
            behind=found.behind,
            cutoff_layers=cutoffs,
            compress_layer=compress_layers,
            compress_ratio=model.compress_ratio,
        )
    from reranker_core.models.networks.gemma2 import LightweightGemma2, gemma2_config

    config = gemma2_config(checkpoint.config, cutoffs)
    config.heads = heads
    config.compress_layers = compress_layers
    config.compress_ratio = model.compress_ratio
    config.behind = found.behind
    loaded = load_weights(
        LightweightGemma2, "lightweight", checkpoint, model, dtype=dtype, config=config
    )
    loaded.model.lm_head.float()
    loaded.model.to(device)
    unexpected = used_keys(loaded.unexpected, cutoffs)
    return replace(loaded, unexpected=unexpected, head=("lm_head.",))


def forward(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Float32 scores, shape (R,); with several cutoff layers (R, cutoffs)."""
    scores: torch.Tensor = model(batch.ids, batch.mask.sum(1), batch.passage_starts, batch.sizes)
    return scores.squeeze(1)


def _cutoffs(checkpoint: Checkpoint, model: ModelConfig) -> list[int]:
    config = checkpoint.config
    if not config.get("layer_wise", False):
        raise ConfigError(
            f"model.path={model.path}: config.json says layer_wise=false, so there is no head "
            "for each layer. If the model answers with tokens, set model.family=llm"
        )
    first, step = _numbering(config)
    return cutoffs_of(config, model, first, step)


def _heads(config: dict[str, Any], cutoffs: list[int], choice: str) -> list[int]:
    """The number of the head for each cutoff. FlagEmbedding 1.4.2 numbers the heads by the position
    of a cutoff in the requested list. So a single cutoff always gets the first head, which belongs
    to the start layer.
    """
    if choice == "flag_embedding":
        return list(range(len(cutoffs)))
    first, step = _numbering(config)
    return [(cutoff - first) // step for cutoff in cutoffs]


def _numbering(config: dict[str, Any]) -> tuple[int, int]:
    return config.get("start_layer", _START_LAYER), config.get("layer_sep", _LAYER_STEP)
