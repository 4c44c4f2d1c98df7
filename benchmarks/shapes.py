"""Shapes of well-known rerankers with random weights, and what they are to score."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GemmaConfig,
    GemmaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from reranker_core.encode.formats.pair_format import Answer
from reranker_core.encode.sequences import Int64s, Ragged, TokenSequences
from reranker_core.models.networks.answer_model import AnswerModel
from reranker_core.models.networks.first_token_layer import read_first_token_only

LONGEST = 512

_ONE = {"num_labels": 1, "pad_token_id": 0}


@dataclass(frozen=True)
class Shape:
    """A kind of model: how to make one, and which family scores with it."""

    family: str
    make: Callable[[], Any]


SHAPES = {
    "minilm-l6": Shape(
        "encoder",
        lambda: BertForSequenceClassification(
            BertConfig(
                hidden_size=384,
                num_hidden_layers=6,
                num_attention_heads=12,
                intermediate_size=1536,
                num_labels=1,
            )
        ),
    ),
    "bert-base": Shape("encoder", lambda: BertForSequenceClassification(BertConfig(num_labels=1))),
    "xlm-r-large": Shape(  # bge-reranker-large, and bge-reranker-v2-m3 but for its positions
        "encoder",
        lambda: XLMRobertaForSequenceClassification(
            XLMRobertaConfig(
                vocab_size=250_002,
                hidden_size=1024,
                num_hidden_layers=24,
                num_attention_heads=16,
                intermediate_size=4096,
                max_position_embeddings=LONGEST + 2,
                num_labels=1,
            )
        ),
    ),
    "gemma-2b": Shape(  # bge-reranker-v2-gemma
        "llm",
        lambda: GemmaForCausalLM(
            GemmaConfig(
                hidden_size=2048,
                num_hidden_layers=18,
                num_attention_heads=8,
                num_key_value_heads=1,
                head_dim=256,
                intermediate_size=16_384,
            )
        ),
    ),
    "qwen3-0.6b": Shape(  # Qwen3-Reranker-0.6B
        "llm",
        lambda: Qwen3ForCausalLM(
            Qwen3Config(
                vocab_size=151_669,
                hidden_size=1024,
                num_hidden_layers=28,
                num_attention_heads=16,
                num_key_value_heads=8,
                head_dim=128,
                intermediate_size=3072,
                tie_word_embeddings=True,
            )
        ),
    ),
}
_SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_SMALL |= {"intermediate_size": 128, "vocab_size": 1000}
TINY = {
    "bert-tiny": Shape(
        "encoder", lambda: BertForSequenceClassification(BertConfig(**_SMALL, **_ONE))
    ),
    "gemma-tiny": Shape(
        "llm",
        lambda: GemmaForCausalLM(GemmaConfig(**_SMALL, num_key_value_heads=1, head_dim=16)),
    ),
}


def natural_lengths(count: int) -> Int64s:
    """Numbers of tokens as pairs of docstrings have them: median 120, mean 146."""
    rng = np.random.default_rng(1)
    return rng.lognormal(4.79, 0.62, count).clip(16, LONGEST).astype(np.int64)


def natural_sequences(count: int, vocabulary: int) -> TokenSequences:
    """Random ids in natural lengths."""
    lengths, rng = natural_lengths(count), np.random.default_rng(0)
    ids = rng.integers(4, vocabulary, int(lengths.sum())).astype(np.int32)
    return TokenSequences.one_each(Ragged(ids, lengths), (lengths // 5).astype(np.int32))


def scoring_model(whole: Any, family: str) -> Any:
    """What the engine runs, as the families make it; `whole` stays as it is."""
    model = copy.deepcopy(whole)
    if family == "llm":
        return AnswerModel(model, (Answer("Yes", (5,), 1.0),))
    read_first_token_only(model)
    return model
