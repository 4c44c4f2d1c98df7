"""Encoder-decoders whose first output token is the answer: monoT5 and similar models.

The raw score is the difference of the answers' logits, true - false (Nogueira et al. 2020,
arXiv:2003.06713). Its sigmoid is the probability of `true`; pygaggle returns the logarithm of this
probability.
"""

from __future__ import annotations

import re
from dataclasses import replace

import torch

from reranker_core.config import ModelConfig
from reranker_core.encode.formats.prompt import PromptFormat
from reranker_core.models.batch import Batch
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.family import LoadedModel
from reranker_core.models.loading import load_weights
from reranker_core.models.prompting import prompt_format

_T5 = re.compile(r"(U?M)?T5ForConditionalGeneration")


def fits(checkpoint: Checkpoint) -> bool:
    """Whether config.json names a T5 with an output vocabulary."""
    return bool(_T5.fullmatch(checkpoint.architecture))


def pair_format(checkpoint: Checkpoint, model: ModelConfig) -> PromptFormat:
    """The prompt format of a checkpoint.

    Raises:
        ConfigError: the template or a length does not fit the model, or the template has no answer
            tokens.
        PreflightRefused: the tokenizer cannot be loaded.

    """
    found = prompt_format(checkpoint, model, "seq2seq")
    found.refuse_missing_answers()
    return found


def load(
    checkpoint: Checkpoint, model: ModelConfig, dtype: torch.dtype, device: str
) -> LoadedModel:
    """The model in `dtype`, and the output embeddings of the answer tokens in float32.

    Raises:
        PreflightRefused: transformers cannot load an encoder-decoder from the folder.

    """
    from transformers import AutoModelForSeq2SeqLM

    from reranker_core.models.networks.first_answer import FirstAnswer

    answers = pair_format(checkpoint, model).answers
    loaded = load_weights(
        AutoModelForSeq2SeqLM,
        "seq2seq",
        checkpoint,
        model,
        dtype=dtype,
        trust_remote_code=model.trust_remote_code,
    )
    return replace(loaded, model=FirstAnswer(loaded.model.eval(), answers).to(device))


def forward(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Float32 scores of a batch, shape (rows,)."""
    scores: torch.Tensor = model(batch.ids, batch.mask)
    return scores
