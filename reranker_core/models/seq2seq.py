"""Encoder-decoders that answer with their first token: monoT5 and its kin.

Raw scores are the difference of the answers' logits, true - false; its sigmoid is the probability
of `true`, and the logarithm of that is what pygaggle returns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM

from reranker_core.batching import Batch
from reranker_core.checkpoint import Checkpoint
from reranker_core.config import ModelConfig
from reranker_core.models.family import Answer, LoadedModel
from reranker_core.models.loading import inputs_to_float32, load_weights
from reranker_core.models.prompting import PromptFormat, prompt_format

_T5 = re.compile(r"(U?M)?T5ForConditionalGeneration")


def fits(architecture: str) -> bool:
    """Whether the class that wrote a checkpoint is a T5 with a vocabulary head."""
    return bool(_T5.fullmatch(architecture))


def pair_format(checkpoint: Checkpoint, model: ModelConfig) -> PromptFormat:
    """The prompt format of a checkpoint.

    Raises:
        ConfigError: template, tokenizer, or lengths do not fit; or the template has no answers.

    """
    found = prompt_format(checkpoint, model, "seq2seq")
    found.refuse_missing_answers()
    return found


def load(
    checkpoint: Checkpoint, model: ModelConfig, dtype: torch.dtype, device: str
) -> LoadedModel:
    """The model, with the rows of the answers for its output embeddings, in float32.

    Raises:
        PreflightRefused: transformers cannot make an encoder-decoder of the folder.

    """
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


class FirstAnswer(torch.nn.Module):
    """An encoder-decoder that computes the answers' logits at its first step, and no others."""

    def __init__(self, model: Any, answers: Sequence[Answer]) -> None:
        super().__init__()
        head = model.get_output_embeddings()
        rows = head.weight[[answer.ids[0] for answer in answers]].detach().float()
        small = torch.nn.Linear(rows.shape[1], rows.shape[0], bias=False)
        small.weight = torch.nn.Parameter(rows, requires_grad=False)
        small.register_forward_pre_hook(inputs_to_float32)
        model.lm_head = small  # the model scales and multiplies as it always does
        self.inner = model
        self.config = model.config
        self.weights = torch.nn.Parameter(torch.tensor([a.weight for a in answers]), False)

    def get_input_embeddings(self) -> torch.nn.Module:
        """The embedding table, for preflight."""
        table: torch.nn.Module = self.inner.get_input_embeddings()
        return table

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Float32 scores, shape (R,), of sequences that are padded on the right, shape (R, W)."""
        start = torch.full((len(ids), 1), self.config.decoder_start_token_id, device=ids.device)
        logits = self.inner(
            input_ids=ids, attention_mask=mask, decoder_input_ids=start, use_cache=False
        ).logits
        return (logits[:, 0] * self.weights).sum(-1)
