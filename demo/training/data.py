"""Training docs, as token ids, with their BM25 neighbours as hard negatives."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from tokenizers import Tokenizer

from demo.corpus import HELD_OUT, Doc, first_stage, normalise, read_docs

_NAMES = """
FlagEmbedding _pytest accelerate aiohttp anyio botocore click cryptography datasets google grpc
huggingface_hub hypothesis jinja2 joblib lxml mpmath mypy mypyc narwhals networkx numpy
opentelemetry packaging peft pip pyarrow pydantic pygments ray rich scipy sentence_transformers
setuptools sympy torch transformers urllib3 virtualenv
"""
PACKAGES = tuple(_NAMES.split())
DEV = ("sklearn",)  # settings are chosen on it, so that held-out packages are measured once

_SHINGLE = 8  # words
_MAX_SHARED = 0.3  # of a passage's shingles


@dataclass(frozen=True)
class TrainingSet:
    """Token ids without special tokens; doc i has query i, passage i and the neighbours i."""

    queries: list[list[int]]
    passages: list[list[int]]
    neighbours: list[np.ndarray]  # other docs by BM25 for query i, best first


def training_docs() -> list[Doc]:
    """Docs of ``PACKAGES`` that no doc held out or for development repeats in good part."""
    held_out = [*read_docs(HELD_OUT), *read_docs(DEV)]
    known = {normalise(text) for doc in held_out for text in (doc.query, doc.passage)}
    shingles = {s for doc in held_out for s in _shingles(doc.passage)}

    def is_new(doc: Doc) -> bool:
        own = _shingles(doc.passage)
        return (
            normalise(doc.query) not in known
            and normalise(doc.passage) not in known
            and len(own & shingles) <= _MAX_SHARED * len(own)
        )

    return [doc for doc in read_docs(PACKAGES) if is_new(doc)]


def _shingles(passage: str) -> set[tuple[str, ...]]:
    words = normalise(passage).split()
    return {tuple(words[i : i + _SHINGLE]) for i in range(max(1, len(words) - _SHINGLE + 1))}


def build_training_set(docs: Sequence[Doc], tokenizer: Tokenizer, k: int = 50) -> TrainingSet:
    """Tokenize the docs and look up the k best other docs of every query, in its own package.

    Neighbours of another package would be told apart by style, which teaches nothing.
    """
    neighbours: list[np.ndarray] = []
    for _, group in groupby(docs, key=lambda doc: doc.package):
        own = list(group)
        first = len(neighbours)
        found = first_stage(own, own, k + 1).docs
        neighbours += [row[row != i][:k] + first for i, row in enumerate(found)]
    return TrainingSet(
        token_ids(tokenizer, [d.query for d in docs]),
        token_ids(tokenizer, [d.passage for d in docs]),
        neighbours,
    )


def token_ids(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Ids of each text, without special tokens."""
    return [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]


def pad(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Int64 (rows, longest), filled with 0, the id of [PAD]."""
    padded = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = torch.tensor(row)
    return padded
