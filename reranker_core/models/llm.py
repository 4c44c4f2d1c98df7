"""Language-model rerankers: the score is a weighted sum of the logits of answer tokens after the
last token of the prompt.

bge-reranker-v2-gemma, Qwen3-Reranker, mxbai-rerank-v2, zerank, contextual-rerank, and others with
your own template. The template makes the ids of a pair; this module loads and runs the model.
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
    """Whether config.json names a language model with an output vocabulary."""
    # An embedding model made from a decoder says …Model, though its weights would load here.
    name = checkpoint.architecture
    return name.endswith(_LANGUAGE_MODELS) and not name.startswith(_OTHERS)


def pair_format(checkpoint: Checkpoint, model: ModelConfig) -> PromptFormat:
    """The prompt format of a checkpoint.

    Raises:
        ConfigError: the template or a length does not fit the model, or the template has no answer
            tokens.
        PreflightRefused: the tokenizer cannot be loaded.

    """
    found = prompt_format(checkpoint, model, "llm")
    found.refuse_missing_answers()
    return found


def load(
    checkpoint: Checkpoint, model: ModelConfig, dtype: torch.dtype, device: str
) -> LoadedModel:
    """The layers in `dtype`, and the output embeddings of the answer tokens in float32.

    Raises:
        ConfigError: the model computes its logits in a way that is not supported.
        PreflightRefused: transformers cannot load a language model from the folder.

    """
    from transformers import AutoModelForCausalLM

    from reranker_core.models.networks.answer_model import AnswerModel
    from reranker_core.models.networks.last_token_layer import reads_last_only
    from reranker_core.models.networks.packing import pack_if_same

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
    pack_if_same(scoring, forward, reads_last_only(scoring.body))
    return replace(loaded, model=scoring, reentrant=is_reentrant(loaded.model))


def forward(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Float32 scores of a batch, shape (rows,)."""
    scores: torch.Tensor = model(batch.ids, batch.last, batch.packing, batch.prefix)
    return scores


def read_prefixes(model: Any, batch: Batch) -> Any:
    """Keys and values of the sequences of a batch, for `Prefix.states`; None if not supported."""
    return model.read(batch.ids, batch.packing)
