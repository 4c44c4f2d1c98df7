"""The model before training: BERT's own architecture, with first weights that match words.

A transformer this small needs far more data than there is here to find out by itself that a
query's words should look for themselves in the passage. So that is where it starts:

- token embeddings are those of the base model, projected on their main axes; one more
  coordinate holds a word's rarity (idf), one its segment, one is left free;
- in layer 1 queries and keys are the same projection, so that attention is word similarity,
  with a push towards the passage; values and output keep what they read;
- layer 2 starts looking at the query's tokens alone, which by then know whether they matched.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

HEAD = 32
_EXTRA = 3  # coordinates beside the projected embedding: idf, segment, free
_IDF, _SEGMENT = -3, -2
_SEGMENT_SIZE = 2.8
_IDF_SIZE = 4.0
_SHARPNESS = (1.3, 0.2)  # of word similarity in the attention of layers 1 and 2
_TO_PASSAGE = (2.0, -4.0)  # push of layers 1 and 2 towards passage tokens (half the difference)


def config(vocabulary_size: int) -> BertConfig:
    """Two layers, 192 wide, six heads; one label."""
    settings = BertConfig(
        vocab_size=vocabulary_size,
        hidden_size=192,
        num_hidden_layers=2,
        num_attention_heads=192 // HEAD,
        intermediate_size=384,
        max_position_embeddings=256,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=0,
    )
    settings.num_labels = 1
    return settings


def document_frequencies(passages: Sequence[Sequence[int]], size: int) -> np.ndarray:
    """In how many passages each token occurs: float64, (size,)."""
    counts = np.zeros(size)
    for ids in passages:
        counts[list(set(ids))] += 1
    return counts


def build(
    words: torch.Tensor, positions: torch.Tensor, frequencies: np.ndarray, passages: int
) -> BertForSequenceClassification:
    """Build the model from the base's embeddings of the kept pieces, (vocabulary, base width)."""
    model = BertForSequenceClassification(config(len(words)))
    with torch.no_grad():
        _set_embeddings(model.bert.embeddings, words, positions, _idf(frequencies, passages))
        layers = zip(model.bert.encoder.layer, _SHARPNESS, _TO_PASSAGE, strict=True)
        for layer, sharpness, push in layers:
            _set_attention(layer, sharpness, push)
            nn.init.xavier_uniform_(layer.intermediate.dense.weight)
            nn.init.xavier_uniform_(layer.output.dense.weight, gain=0.5)
        pooler: Any = model.bert.pooler
        nn.init.xavier_uniform_(pooler.dense.weight)
    return model


def _idf(frequencies: np.ndarray, passages: int) -> torch.Tensor:
    idf = np.log(1 + (passages - frequencies + 0.5) / (frequencies + 0.5))
    idf[:5] = 0  # the special tokens
    return torch.from_numpy(idf / idf.max()).float()


def _set_embeddings(
    embeddings: Any, words: torch.Tensor, positions: torch.Tensor, idf: torch.Tensor
) -> None:
    width = embeddings.word_embeddings.embedding_dim - _EXTRA
    centred = words.double() - words[5:].double().mean(0)
    axes = torch.linalg.svd(centred, full_matrices=False).Vh[:width].T
    projected = nn.functional.normalize((centred @ axes).float(), dim=1) * width**0.5
    table = torch.cat([projected, torch.zeros(len(words), _EXTRA)], dim=1)
    table[:, _IDF] = idf * _IDF_SIZE
    table[0] = 0
    embeddings.word_embeddings.weight.copy_(table)

    places = positions[: embeddings.position_embeddings.num_embeddings].double()
    places = ((places - places.mean(0)) @ axes).float()
    embeddings.position_embeddings.weight.zero_()[:, :width] = 0.05 * places / places.std()
    embeddings.token_type_embeddings.weight.zero_()[:, _SEGMENT] = torch.tensor(
        [-_SEGMENT_SIZE, _SEGMENT_SIZE]
    )


def _set_attention(layer: Any, sharpness: float, push: float) -> None:
    attention, hidden = layer.attention.self, layer.attention.self.all_head_size
    width, rows = hidden - _EXTRA, HEAD - 1  # a head's last row carries the push
    basis = torch.linalg.qr(torch.randn(width, width)).Q
    strength = (abs(push) / 2 * HEAD**0.5) ** 0.5
    matching = torch.zeros(hidden, hidden)
    for head in range(hidden // HEAD):
        first, start = head * HEAD, (head * rows) % (width - rows)
        matching[first : first + rows, :width] = basis[start : start + rows]
    attention.query.weight.copy_(matching * sharpness**0.5)
    attention.key.weight.copy_(matching * sharpness**0.5)
    attention.query.bias[HEAD - 1 :: HEAD] = strength
    sign = 1.0 if push > 0 else -1.0
    attention.key.weight[HEAD - 1 :: HEAD, _SEGMENT] = sign * strength / _SEGMENT_SIZE
    turn = torch.linalg.qr(torch.randn(hidden, hidden)).Q
    attention.value.weight.copy_(turn)
    layer.attention.output.dense.weight.copy_(turn.T * 0.5)
