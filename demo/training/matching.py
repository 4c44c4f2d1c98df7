"""Training: whole groups of docs at once, every query with every passage.

It is the model's own forward but for one thing: passage tokens do not look at the query. So
they are computed once for all queries of the group, and a pair costs its query's tokens and
[CLS] only, a fraction of a full forward.
"""

from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import BertForSequenceClassification

from demo.training.data import TrainingSet, pad
from demo.training.optimiser import Schedule
from demo.training.student import HEAD

_GROUPS, _GROUP_SIZE = 4, 12
_NEIGHBOURS = 30
_QUERY_TOKENS, _PASSAGE_TOKENS = 16, 80
_PASSAGE_START = 10  # position of the first passage token: a typical query's length
_CLS, _SEP = 2, 3
_MASKED = -1e4
_CALIBRATION = 0.02  # weight of the pointwise loss, which keeps logits comparable and small


def train(
    model: BertForSequenceClassification, data: TrainingSet, steps: int, rate: float, seed: int
) -> None:
    """Each step: groups of a doc and some of its neighbours; every query ranks its group."""
    rng = np.random.default_rng(seed)
    schedule = Schedule(model, steps, rate)
    labels = torch.arange(_GROUP_SIZE).repeat(_GROUPS)
    targets = torch.eye(_GROUP_SIZE).expand(_GROUPS, -1, -1)
    for _ in range(steps):
        queries, passages = _batch(data, rng)
        logits = group_logits(model, queries, passages)
        ranking = functional.cross_entropy(logits.flatten(0, 1), labels)
        pointwise = functional.binary_cross_entropy_with_logits(logits, targets)
        schedule.step(ranking + _CALIBRATION * pointwise)


def _batch(data: TrainingSet, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    docs: list[int] = []
    for seed in rng.integers(0, len(data.queries), _GROUPS):
        near = data.neighbours[seed][:_NEIGHBOURS]
        docs += [int(seed), *rng.choice(near, _GROUP_SIZE - 1, replace=False).tolist()]
    queries = pad([[_CLS, *data.queries[i][:_QUERY_TOKENS], _SEP] for i in docs])
    passages = pad([[*data.passages[i][:_PASSAGE_TOKENS], _SEP] for i in docs])
    shape = (_GROUPS, _GROUP_SIZE)
    return queries.unflatten(0, shape), passages.unflatten(0, shape)


def group_logits(
    model: BertForSequenceClassification, queries: torch.Tensor, passages: torch.Tensor
) -> torch.Tensor:
    """Logits (groups, queries, passages) from ids (groups, size, tokens) of each side."""
    first, second = model.bert.encoder.layer
    query = _embed(model, queries, segment=0, start=0)
    passage = _embed(model, passages, segment=1, start=_PASSAGE_START)
    query_padding, passage_padding = queries == 0, passages == 0
    seen = _attend_across(first.attention.self, query, passage, query_padding, passage_padding)
    tokens = _finish(first, seen, query[:, :, None])  # (groups, size, size, tokens, hidden)
    context = _attend_within(first.attention.self, passage, passage_padding)
    others = _finish(first, context, passage)  # (groups, size, tokens, hidden)
    cls = _attend_cls(second.attention.self, tokens, others, query_padding, passage_padding)
    pooler: Any = model.bert.pooler
    pooled = pooler.activation(pooler.dense(_finish(second, cls, tokens[..., 0, :])))
    return model.classifier(pooled)[..., 0]


def _embed(
    model: BertForSequenceClassification, ids: torch.Tensor, segment: int, start: int
) -> torch.Tensor:
    layer = model.bert.embeddings
    places = layer.position_embeddings.weight[start : start + ids.shape[-1]]
    segments = layer.token_type_embeddings.weight[segment]
    return layer.LayerNorm(layer.word_embeddings(ids) + places + segments)


def _heads(x: torch.Tensor) -> torch.Tensor:
    """(…, tokens, hidden) as (…, heads, tokens, HEAD)."""
    return x.unflatten(-1, (-1, HEAD)).transpose(-2, -3)


def _attend_across(
    attention: Any,
    query: torch.Tensor,
    passage: torch.Tensor,
    query_padding: torch.Tensor,
    passage_padding: torch.Tensor,
) -> torch.Tensor:
    """One softmax over a query's own tokens and a passage's, for each pair of the group."""
    size, length = query.shape[1:3]
    wanted = _heads(attention.query(query)) / HEAD**0.5
    own = wanted @ _heads(attention.key(query)).transpose(-1, -2)
    own = own.masked_fill(query_padding[:, :, None, None, :], _MASKED)
    # The tokens of all queries in one row, so that a passage meets them in one product.
    own, wanted = (x.transpose(1, 2).flatten(2, 3)[:, None] for x in (own, wanted))
    across = wanted @ _heads(attention.key(passage)).transpose(-1, -2)
    across = across.masked_fill(passage_padding[:, :, None, None, :], _MASKED)
    weights = torch.cat([across, own.expand(-1, size, -1, -1, -1)], dim=-1).softmax(-1)
    of_across, of_own = weights.split([across.shape[-1], length], dim=-1)
    read = (of_across @ _heads(attention.value(passage))).unflatten(3, (size, length))
    of_own, own_values = of_own.unflatten(3, (size, length)), _heads(attention.value(query))
    read = read + torch.einsum("gjhilm,gihmd->gjhild", of_own, own_values)
    return read.permute(0, 3, 1, 4, 2, 5).flatten(-2)


def _attend_within(attention: Any, passage: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
    """Attention among the tokens of each passage."""
    parts = (attention.query, attention.key, attention.value)
    mask = ~padding[:, :, None, None, :]
    wanted, keys, values = (_heads(part(passage)) for part in parts)
    read = functional.scaled_dot_product_attention(wanted, keys, values, attn_mask=mask)
    return read.transpose(-3, -2).flatten(-2)


def _attend_cls(
    attention: Any,
    tokens: torch.Tensor,
    passage: torch.Tensor,
    query_padding: torch.Tensor,
    passage_padding: torch.Tensor,
) -> torch.Tensor:
    """Let [CLS] of every pair read the pair's tokens: (groups, size, size, hidden).

    Only [CLS] asks, so a pair's tokens need no keys and values of their own: the question goes
    through the key weights instead, and what is read through the value weights.
    """
    wanted = attention.query(tokens[..., 0, :]).unflatten(-1, (-1, HEAD)) / HEAD**0.5
    key, value = (part.weight.unflatten(0, (-1, HEAD)) for part in (attention.key, attention.value))
    key_bias, value_bias = (part.bias.view(-1, HEAD) for part in (attention.key, attention.value))
    keys, values = (
        part(passage).unflatten(-1, (-1, HEAD)) for part in (attention.key, attention.value)
    )
    own = torch.einsum("gijhd,hdc->gijhc", wanted, key) @ tokens.transpose(-1, -2)
    own = own + (wanted * key_bias).sum(-1, keepdim=True)
    own = own.masked_fill(query_padding[:, :, None, None, :], _MASKED)
    across = torch.einsum("gijhd,gjmhd->gijhm", wanted, keys)
    across = across.masked_fill(passage_padding[:, None, :, None, :], _MASKED)
    weights = torch.cat([own, across], dim=-1).softmax(-1)
    of_own, of_across = weights.split([own.shape[-1], across.shape[-1]], dim=-1)
    read = torch.einsum("gijhc,hdc->gijhd", of_own @ tokens, value)
    read = read + of_own.sum(-1, keepdim=True) * value_bias
    read = read + torch.einsum("gijhm,gjmhd->gijhd", of_across, values)
    return read.flatten(-2)


def _finish(layer: Any, attended: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """Everything in a BERT layer that follows attention."""
    output = layer.attention.output
    hidden = output.LayerNorm(output.dense(attended) + before)
    inner = functional.gelu(layer.intermediate.dense(hidden))
    return layer.output.LayerNorm(layer.output.dense(inner) + hidden)
