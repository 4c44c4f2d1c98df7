"""Decoders with a classification head: llama-nemotron-rerank, Qwen3-Reranker saved as a classifier.

The pair's ids are the template's business. Stock classes read the head behind the last token; a
class of the checkpoint's own (nemotron's attends both ways and averages) is run as it is, and so is
a stock one that computes more than that.
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
    """Whether the class that wrote a checkpoint is a decoder with a classification head."""
    return has_head(checkpoint) and is_decoder(checkpoint)


def pair_format(checkpoint: Checkpoint, model: ModelConfig) -> PromptFormat:
    """The prompt format of a checkpoint; its answers are in the head.

    Raises:
        ConfigError: template, tokenizer, or lengths do not fit.

    """
    record = label_record(checkpoint, model)
    found = prompt_format(checkpoint, model, "classifier", **record)
    headed = found.template.model_copy(update={"answers": {}, "answer_ids": {}})
    return replace(found, template=headed)


def load(
    checkpoint: Checkpoint, model: ModelConfig, dtype: torch.dtype, device: str
) -> LoadedModel:
    """The decoder with its head, which stays in float32 so that scores keep their digits.

    Raises:
        PreflightRefused: transformers cannot make a classification model of the folder.

    """
    from reranker_core.models.networks.last_token import (
        LastToken,
        WholeClassifier,
        reads_last_token,
    )

    loaded = load_classifier("classifier", checkpoint, model, dtype)
    label = relevant_label(checkpoint, model)
    plain = reads_last_token(loaded.model)
    network = LastToken(loaded.model, label) if plain else WholeClassifier(loaded.model, label)
    return replace(
        loaded,
        model=network.to(device),
        head=("score.", "inner.score."),
        reentrant=is_reentrant(loaded.model),
    )


def forward(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Float32 scores of a batch, shape (rows,)."""
    scores: torch.Tensor = model(batch.ids, batch.mask)
    return scores
