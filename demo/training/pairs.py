"""Stage 2: train whole forwards over joined pairs, as the model will be used."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.nn import functional
from transformers import BertForSequenceClassification

from demo.training.data import TrainingSet
from demo.training.optimiser import Schedule

_QUERIES, _CANDIDATES = 12, 8  # a step: one relevant passage and seven neighbours a query
_CHUNKS = 4
_MAX_TOKENS = 160
_CLS, _SEP = 2, 3
_CALIBRATION = 0.02


def train(
    model: BertForSequenceClassification, data: TrainingSet, steps: int, rate: float, seed: int
) -> None:
    """Each step: every query ranks its relevant passage among hard negatives."""
    rng = np.random.default_rng(seed)
    schedule = Schedule(model, steps, rate)
    labels = torch.zeros(_QUERIES, dtype=torch.long)
    targets = torch.eye(_CANDIDATES)[0].expand(_QUERIES, -1)
    for _ in range(steps):
        pairs = list(_batch(data, rng))
        logits = score(model, pairs).unflatten(0, (_QUERIES, _CANDIDATES))
        ranking = functional.cross_entropy(logits, labels)
        pointwise = functional.binary_cross_entropy_with_logits(logits, targets)
        schedule.step(ranking + _CALIBRATION * pointwise)


def _batch(data: TrainingSet, rng: np.random.Generator) -> Iterator[tuple[list[int], list[int]]]:
    for i in rng.integers(0, len(data.queries), _QUERIES):
        near = data.neighbours[i]
        closeness = 1.0 / (np.arange(len(near)) + 10.0)
        shares = closeness / closeness.sum()
        negatives = rng.choice(near, _CANDIDATES - 1, replace=False, p=shares)
        for j in (i, *negatives):
            yield data.queries[i], data.passages[j]


def score(
    model: BertForSequenceClassification, pairs: Sequence[tuple[list[int], list[int]]]
) -> torch.Tensor:
    """Logits (pairs,) of ``[CLS] query [SEP] passage [SEP]``, in batches of similar length."""
    joined = [_join(query, passage) for query, passage in pairs]
    order = np.argsort([len(ids) for ids, _ in joined], kind="stable")
    logits = torch.cat([_forward(model, [joined[i] for i in b]) for b in _split(order)])
    return logits[torch.from_numpy(np.argsort(order))]


def _split(order: np.ndarray) -> list[np.ndarray]:
    return np.array_split(order, _CHUNKS)


def _join(query: list[int], passage: list[int]) -> tuple[list[int], int]:
    """Ids, and where the second segment starts."""
    head = [_CLS, *query[: _MAX_TOKENS // 2], _SEP]
    return [*head, *passage[: _MAX_TOKENS - len(head) - 1], _SEP], len(head)


def _forward(
    model: BertForSequenceClassification, batch: Sequence[tuple[list[int], int]]
) -> torch.Tensor:
    ids = torch.zeros(len(batch), max(len(row) for row, _ in batch), dtype=torch.long)
    segments, mask = torch.zeros_like(ids), torch.zeros_like(ids)
    for i, (row, second) in enumerate(batch):
        ids[i, : len(row)] = torch.tensor(row)
        segments[i, second : len(row)] = 1
        mask[i, : len(row)] = 1
    return model(input_ids=ids, token_type_ids=segments, attention_mask=mask).logits[:, 0]
