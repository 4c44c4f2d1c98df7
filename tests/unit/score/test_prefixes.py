"""What sequences share is computed once, and changes no score."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from reranker_core.encode.sequences import Ragged, TokenSequences
from reranker_core.models.batch import Batch
from reranker_core.score.batching import Shapes
from reranker_core.score.engine import Engine
from reranker_core.score.prefixes import shared_prefixes
from reranker_core.score.scorer import Scorer
from tests.parity.common import load

RNG = np.random.default_rng(0)
PREFIXES = [RNG.integers(10, 99, size).tolist() for size in (20, 33, 20, 7, 40)]


def sequences(shares: list[int], rest: int = 30) -> TokenSequences:
    """One for each number of `shares`: that prefix, and a passage of its own."""
    passages = [RNG.integers(10, 99, RNG.integers(1, rest)).tolist() for _ in shares]
    runs = [PREFIXES[i] + passage for i, passage in zip(shares, passages, strict=True)]
    starts = np.array([len(PREFIXES[i]) for i in shares], np.int32)
    return TokenSequences.one_each(Ragged.of(runs), starts)


MIXED = sequences([0] * 9 + [1] * 8 + [3] + [0, 4, 1, 4] * 5 + [2])
SHARING = [0, 1, 4]  # 2 and 3 stand but once


def runs_of(found: TokenSequences) -> list[list[int]]:
    tokens = found.tokens
    return [
        tokens.values[begin : begin + length].tolist()
        for begin, length in zip(tokens.starts, tokens.lengths, strict=True)
    ]


def test_a_prefix_and_what_follows_it_are_the_sequence():
    shared = shared_prefixes(MIXED)
    prefixes, rests = runs_of(shared.prefixes), runs_of(shared.rests)
    assert sorted(map(len, prefixes)) == sorted(len(PREFIXES[i]) for i in SHARING)
    for run, of, rest in zip(runs_of(MIXED), shared.of, rests, strict=True):
        assert run == (prefixes[of] if of >= 0 else []) + rest
    assert len(shared.alone) == 2


@pytest.mark.parametrize("budget", [8, 70, 10_000])
def test_each_sequence_that_shares_stands_in_one_group_with_its_prefix(budget: int):
    shared = shared_prefixes(MIXED)
    groups = list(shared.groups(Shapes(budget, longest=100)))
    rows = np.concatenate([rows for _, rows in groups])
    assert sorted([*rows.tolist(), *shared.alone.tolist()]) == list(range(len(MIXED)))
    for chosen, rows in groups:
        assert set(shared.of[rows]) == set(chosen)
        longest = shared.prefixes.tokens.lengths[chosen].max()
        assert len(chosen) == 1 or len(chosen) * longest <= budget


@pytest.mark.parametrize(
    "alike",
    [
        sequences([0, 1, 2, 3, 4]),
        sequences([3] * 20, rest=400),
        replace(MIXED, passage_starts=np.zeros_like(MIXED.passage_starts)),
        sequences([0] * 3, rest=2000),
    ],
    ids=["all differ", "little to save", "nothing before the passage", "too long"],
)
def test_where_it_saves_too_little_nothing_is_shared(alike: TokenSequences):
    assert shared_prefixes(alike) is None


def test_of_nothing_nothing_is_shared():
    assert shared_prefixes(sequences([])) is None


def test_something_always_follows():
    shared = shared_prefixes(TokenSequences.one_each(Ragged.of([[1, 2, 3]] * 4), np.full(4, 3)))
    assert runs_of(shared.rests) == [[3]] * 4


class Sum(torch.nn.Module):
    """Adds up the ids; what it keeps of a prefix is its sum."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.room, self.read_tokens, self.tokens = room, 0, 0
        self.most_rows, self.too_many = 10**9, []

    def read(self, batch: Batch) -> torch.Tensor:
        if batch.ids.numel() > self.room:
            torch.empty(10**15)
        self.read_tokens += batch.ids.numel()
        return (batch.ids * batch.mask).sum(1)

    def forward(self, batch: Batch) -> torch.Tensor:
        if len(batch.ids) > self.most_rows:
            self.too_many.append(tuple(batch.ids.shape))
            torch.empty(10**15)
        self.tokens += batch.ids.numel()
        own = (batch.ids * batch.mask * self.weight).sum(1)
        return own if batch.prefix is None else own + batch.prefix.states[batch.prefix.index]


def engine(room: int = 10**9, share: bool = True, **shapes: Any) -> Engine:
    family = SimpleNamespace(
        forward=lambda model, batch: model(batch),
        read_prefixes=lambda model, batch: model.read(batch),
    )
    values = {"max_tokens": 128, "longest": 100, **shapes}
    return Engine(Sum(room), family, 7, Shapes(**values), share)


def test_every_sequence_gets_its_own_score_and_all_tokens_are_counted():
    ours = engine()
    computed = ours.compute(MIXED)
    assert computed.values.tolist() == [sum(run) for run in runs_of(MIXED)]
    assert computed.tokens == ours.model.tokens + ours.model.read_tokens
    assert computed.tokens < MIXED.tokens.lengths.sum()


@pytest.mark.slow
def test_without_memory_for_prefixes_sequences_are_computed_whole(caplog):
    ours, expected = engine(room=40), [sum(run) for run in runs_of(MIXED)]
    whole = ours.compute(MIXED)
    assert whole.values.tolist() == expected
    assert whole.tokens >= MIXED.tokens.lengths.sum()
    assert "too little memory to share prefixes" in caplog.text
    shared = ours.compute(MIXED)  # fewer at once, which fit
    assert shared.values.tolist() == expected
    assert ours.model.read_tokens
    assert shared.tokens < whole.tokens


def test_prefixes_are_shared_again_when_memory_is_free_again():
    ours, expected = engine(room=0), [sum(run) for run in runs_of(MIXED)]
    tries, read = 0, ours.model.read

    def counted(batch):
        nonlocal tries
        tries += 1
        return read(batch)

    ours.model.read = counted
    for _ in range(50):
        assert ours.compute(MIXED).values.tolist() == expected
    assert 3 < tries < 20  # less and less often
    ours.model.room = 10**9
    for _ in range(100):
        ours.compute(MIXED)
    assert ours.model.read_tokens
    tokens = ours.compute(MIXED).tokens
    assert tokens < MIXED.tokens.lengths.sum()


def test_a_shortage_behind_prefixes_halves_the_next_batches():
    """Prefixes count in a batch, so they count where the budget is lowered."""
    ours = engine(max_tokens=1000)
    ours.model.most_rows = 20
    assert ours.compute(MIXED).values.tolist() == [sum(run) for run in runs_of(MIXED)]
    ((rows, width),) = ours.model.too_many
    assert ours.shapes.max_tokens == rows * (width + len(PREFIXES[4]) // 4) // 2


@pytest.mark.parametrize("settings", [{"share": False}, {"fixed": True}])
def test_nothing_is_shared_where_it_is_not_wanted_or_scores_must_be_reproducible(settings: dict):
    ours = engine(**settings)
    ours.compute(MIXED)
    assert not ours.model.read_tokens


QUERIES = ["how are rows sorted by a key that several columns make up " * 3, "🚀 ünïcode"]
TEXTS = ["rows", "sort a table by the values of its columns " * 4, "", "x" * 60, "a cache " * 30]
PAIRS = [(query, text) for query in QUERIES for text in TEXTS]


def scorer(model: Path, share: bool, dtype: str = "float32") -> Scorer:
    shared = f"score.share_prefixes={str(share).lower()}"
    return load(model, None, None, f"model.dtype={dtype}", shared)


@pytest.mark.parametrize("name", ["gemma", "qwen3", "qwen2", "llama"])
def test_language_models_give_the_same_scores(name: str, request: pytest.FixtureRequest):
    model = request.getfixturevalue(name)
    whole, shared = (scorer(model, share).score_texts(PAIRS) for share in (False, True))
    np.testing.assert_allclose(shared.values, whole.values, rtol=1e-5, atol=1e-5)
    assert shared.computed_tokens < 0.9 * whole.computed_tokens


def test_in_half_precision_they_stay_as_close_as_batches_do(qwen3: Path):
    whole, shared = (scorer(qwen3, share, "bfloat16").score_texts(PAIRS) for share in (False, True))
    np.testing.assert_allclose(shared.values, whole.values, atol=0.03 * np.ptp(whole.values))


def test_a_window_that_does_not_reach_back_to_the_prefix_shares_nothing(gemma2: Path):
    whole, shared = (scorer(gemma2, share).score_texts(PAIRS) for share in (False, True))
    assert shared.computed_tokens == whole.computed_tokens
