"""Language-model rerankers: the logits of answer tokens behind the last token make the score.

bge-reranker-v2-gemma, Qwen3-Reranker, mxbai-rerank-v2, zerank, contextual-rerank, and others by a
template of one's own. The pair's ids are the template's business; this module's is the model.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from reranker_core.config import ModelConfig
from reranker_core.encode.formats.prompt import PromptFormat
from reranker_core.models.batch import Batch
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.family import LoadedModel
from reranker_core.models.loading import load_weights
from reranker_core.models.prompting import prompt_format
from reranker_core.models.reentrancy import is_reentrant

_LANGUAGE_MODELS = ("ForCausalLM", "LMHeadModel")
_OTHERS = ("LayerWise", "CostWise")  # families of their own


def fits(checkpoint: Checkpoint) -> bool:
    """Whether the class that wrote a checkpoint is a language model with a vocabulary head."""
    # An embedding model made from a decoder says …Model, though its weights would load here.
    name = checkpoint.architecture
    return name.endswith(_LANGUAGE_MODELS) and not name.startswith(_OTHERS)


def pair_format(checkpoint: Checkpoint, model: ModelConfig) -> PromptFormat:
    """The prompt format of a checkpoint.

    Raises:
        ConfigError: template, tokenizer, or lengths do not fit; or the template has no answers.

    """
    found = prompt_format(checkpoint, model, "llm")
    found.refuse_missing_answers()
    return found


def load(
    checkpoint: Checkpoint, model: ModelConfig, dtype: torch.dtype, device: str
) -> LoadedModel:
    """The language model's layers, and its output embeddings of the answers in float32.

    Raises:
        PreflightRefused: transformers cannot make a language model of the folder.

    """
    from transformers import AutoModelForCausalLM

    from reranker_core.models.networks.answer_model import AnswerModel

    answers = pair_format(checkpoint, model).answers
    loaded = load_weights(
        AutoModelForCausalLM,
        "llm",
        checkpoint,
        model,
        dtype=dtype,
        trust_remote_code=model.trust_remote_code,
    )
    scoring = AnswerModel(loaded.model.eval(), answers).to(device)
    return replace(loaded, model=scoring, reentrant=is_reentrant(loaded.model))


def forward(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Float32 scores of a batch, shape (rows,)."""
    scores: torch.Tensor = model(batch.ids, batch.mask.sum(1), batch.prefix)
    return scores


def read_prefixes(model: Any, batch: Batch) -> Any:
    """What a forward can go on from, for `Prefix.states`; None where this model cannot."""
    return model.read(batch.ids)
