"""Decoders with a classification head: llama-nemotron-rerank, Qwen3-Reranker saved as a classifier.

The template makes the ids of a pair. Most classes of transformers apply the head to the last token.
Classes that compute more than that run unchanged, and so does the checkpoint's own code (nemotron's
attention is bidirectional, and it averages all tokens).
"""

from __future__ import annotations

from dataclasses import replace

import torch

from reranker_core.config import ModelConfig
from reranker_core.encode.formats.prompt import PromptFormat
from reranker_core.models.batch import Batch
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.decoders import is_decoder
from reranker_core.models.family import LoadedModel
from reranker_core.models.labels import label_record, relevant_label
from reranker_core.models.loading import has_head, load_classifier
from reranker_core.models.prompting import prompt_format
from reranker_core.models.reentrancy import is_reentrant


def fits(checkpoint: Checkpoint) -> bool:
    """Whether config.json names a decoder with a classification head."""
    return has_head(checkpoint) and is_decoder(checkpoint)


def pair_format(checkpoint: Checkpoint, model: ModelConfig) -> PromptFormat:
    """The prompt format of a checkpoint. It has no answer tokens, because the head gives the score.

    Raises:
        ConfigError: the template, a length or `model.label` does not fit the model.
        PreflightRefused: the tokenizer cannot be loaded.

    """
    record = label_record(checkpoint, model)
    found = prompt_format(checkpoint, model, "classifier", **record)
    headed = found.template.model_copy(update={"answers": {}, "answer_ids": {}})
    return replace(found, template=headed)


def load(
    checkpoint: Checkpoint, model: ModelConfig, dtype: torch.dtype, device: str
) -> LoadedModel:
    """The decoder in `dtype`; its head computes in float32, so that no digits of scores are lost.

    Raises:
        ConfigError: the head has no label `model.label`.
        PreflightRefused: transformers cannot load a classification model from the folder.

    """
    from reranker_core.models.networks.last_token import (
        LastToken,
        WholeClassifier,
        reads_last_token,
    )
    from reranker_core.models.networks.last_token_layer import reads_last_only
    from reranker_core.models.networks.packing import pack_if_same

    loaded = load_classifier("classifier", checkpoint, model, dtype)
    label = relevant_label(checkpoint, model)
    plain = reads_last_token(loaded.model)
    network = LastToken(loaded.model, label) if plain else WholeClassifier(loaded.model, label)
    network.to(device)
    if plain:
        pack_if_same(network, forward, reads_last_only(network.body))
    return replace(
        loaded,
        model=network,
        head=("score.", "inner.score."),
        reentrant=is_reentrant(loaded.model),
    )


def forward(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Float32 scores of a batch, shape (rows,)."""
    scores: torch.Tensor = model(batch)
    return scores
