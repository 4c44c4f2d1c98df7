"""Training: whole groups of docs at once, every query with every passage.

It is the model's own forward but for one thing: passage tokens do not look at the query. So
they are computed once for all queries of the group, and a pair costs its query's tokens and
[CLS] only, a fraction of a full forward.
"""

from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import BertForSequenceClassification

from demo.training.data import TrainingSet, pad
from demo.training.optimiser import Schedule
from demo.training.student import HEAD
from demo.training.teacher import Vectors

_GROUPS, _GROUP_SIZE = 4, 12
_NEIGHBOURS = 30
_QUERY_TOKENS, _PASSAGE_TOKENS = 16, 80
_PASSAGE_START = 10  # position of the first passage token: a typical query's length
_CLS, _SEP = 2, 3
_MASKED = -1e4
# What the teacher says: its cosines over a temperature, more for a query's own passage; and its
# share of what is learnt.
_TEMPERATURE, _OWN, _TAUGHT = 0.05, 2.0, 0.7
_AVERAGED_FROM, _DECAY = 0.6, 0.99  # of the steps; of the average, at each
_CALIBRATION = 0.02  # weight of the pointwise loss, which keeps logits comparable and small


def train(
    model: BertForSequenceClassification,
    data: TrainingSet,
    teacher: Vectors,
    steps: int,
    rate: float,
    seed: int,
) -> None:
    """Each step: groups of a doc and some of its neighbours; every query ranks its group, as its
    own passage and the teacher's cosines say. The model ends as the average of the last steps.
    """
    rng = np.random.default_rng(seed)
    schedule = Schedule(model, steps, rate)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(_DECAY))
    own = torch.eye(_GROUP_SIZE).expand(_GROUPS, -1, -1)
    for step in range(steps):
        docs = _groups(data, rng)
        logits = group_logits(
            model,
            _ids(data.queries, docs, _QUERY_TOKENS, [_CLS]),
            _ids(data.passages, docs, _PASSAGE_TOKENS, []),
        )
        alike = teacher.queries[docs] @ teacher.passages[docs].mT
        taught = (alike / _TEMPERATURE + _OWN * own).softmax(-1)
        targets = (1 - _TAUGHT) * own + _TAUGHT * taught
        ranking = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(0, 1))
        pointwise = functional.binary_cross_entropy_with_logits(logits, own)
        schedule.step(ranking + _CALIBRATION * pointwise)
        if step >= _AVERAGED_FROM * steps:
            average.update_parameters(model)
    model.load_state_dict(average.module.state_dict())


def _groups(data: TrainingSet, rng: np.random.Generator) -> torch.Tensor:
    """Numbers of docs, shape (groups, size): one drawn, and some of its neighbours."""
    docs: list[int] = []
    for seed in rng.integers(0, len(data.queries), _GROUPS):
        near = data.neighbours[seed][:_NEIGHBOURS]
        docs += [int(seed), *rng.choice(near, _GROUP_SIZE - 1, replace=False).tolist()]
    return torch.tensor(docs).view(_GROUPS, _GROUP_SIZE)


def _ids(
    texts: list[list[int]], docs: torch.Tensor, longest: int, before: list[int]
) -> torch.Tensor:
    """Padded ids of the docs' texts, shape (groups, size, tokens)."""
    padded = pad([[*before, *texts[i][:longest], _SEP] for i in docs.flatten().tolist()])
    return padded.unflatten(0, tuple(docs.shape))


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
