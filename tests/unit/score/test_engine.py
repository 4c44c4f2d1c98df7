"""Batches that do not fit in memory are split; other errors are raised as they are."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from reranker_core.encode.sequences import Ragged, TokenSequences
from reranker_core.errors import Incomplete
from reranker_core.models.batch import Batch
from reranker_core.score.batching import Shapes
from reranker_core.score.engine import Engine

RNG = np.random.default_rng(0)
RUNS = [RNG.integers(10, 99, size).tolist() for size in RNG.integers(3, 33, 200)]
SEQUENCES = TokenSequences.one_each(Ragged.of(RUNS), np.zeros(len(RUNS), np.int32))
SUMS = np.array([sum(run) for run in RUNS], np.float32)


class Model(torch.nn.Module):
    """Adds up the ids. Asks for more memory than there is where a batch has too many tokens."""

    def __init__(self, fits: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.fits = fits
        self.seen: list[tuple[int, int]] = []

    def forward(self, batch: Batch) -> torch.Tensor:
        self.seen.append((batch.ids.shape[0], batch.ids.shape[1]))
        if batch.ids.numel() > self.fits:
            torch.empty(10**15)
        return (batch.ids * batch.mask * self.weight).sum(1)


def engine(fits: int = 10**9, **shapes: Any) -> Engine:
    family = SimpleNamespace(forward=lambda model, batch: model(batch))
    values = {"max_tokens": 512, "longest": 32, **shapes}
    return Engine(Model(fits), family, 7, Shapes(**values))


@pytest.mark.parametrize("fixed", [False, True])
def test_each_sequence_gets_its_own_score(fixed: bool):
    computed = engine(step=8, fixed=fixed).compute(SEQUENCES)
    assert computed.values.tolist() == SUMS.tolist()


@pytest.mark.parametrize("fixed", [False, True])
def test_the_tokens_that_were_computed_are_counted_with_padding(fixed: bool):
    ours = engine(step=8, fixed=fixed)
    computed = ours.compute(SEQUENCES)
    assert computed.tokens == sum(rows * width for rows, width in ours.model.seen)
    assert computed.tokens > SEQUENCES.tokens.lengths.sum()


def test_fixed_shapes_are_filled_up():
    ours = engine(step=8, fixed=True)
    ours.compute(SEQUENCES)
    ours.one_batch(SEQUENCES, np.array([3]))
    shapes = {width: {r for r, w in ours.model.seen if w == width} for _, width in ours.model.seen}
    assert shapes == {8: {64}, 16: {32}, 24: {20}, 32: {16}}


def test_only_the_batch_that_does_not_fit_is_split_and_the_budget_lowered(
    caplog: pytest.LogCaptureFixture,
):
    ours = engine(fits=300)
    with caplog.at_level(logging.WARNING):
        computed = ours.compute(SEQUENCES)
    assert computed.values.tolist() == SUMS.tolist()
    too_large = [shape for shape in ours.model.seen if shape[0] * shape[1] > 300]
    assert len(too_large) == 1
    assert ours.shapes.max_tokens == too_large[0][0] * too_large[0][1] // 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"score.max_batch_tokens={ours.shapes.max_tokens}" in caplog.text


@pytest.mark.slow
def test_a_batch_is_split_until_it_fits():
    ours = engine(fits=40)
    assert ours.compute(SEQUENCES).values.tolist() == SUMS.tolist()
    assert ours.shapes.max_tokens <= 64
    assert sum(rows * width > 40 for rows, width in ours.model.seen) == 4


@pytest.mark.slow
def test_a_single_sequence_that_does_not_fit_is_an_error_that_says_so():
    with pytest.raises(Incomplete, match=r"batch of 32 tokens. Lower model\.max_length") as caught:
        engine(fits=30).compute(SEQUENCES)
    assert "DefaultCPUAllocator" in str(caught.value.__cause__)


def test_fixed_shapes_are_not_split_for_that_would_change_scores():
    with pytest.raises(Incomplete, match=r"Lower score\.max_batch_tokens"):
        engine(fits=300, fixed=True).compute(SEQUENCES)


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("x")]
)
def test_other_errors_are_raised_as_they_are(error: Exception):
    ours = engine()

    def fail(module: Any, inputs: Any) -> None:
        raise error

    ours.model.register_forward_pre_hook(fail)
    with pytest.raises(type(error)) as caught:
        ours.compute(SEQUENCES)
    assert caught.value is error
    assert ours.shapes.max_tokens == 512


def test_a_budget_that_was_lowered_for_a_while_is_raised_again():
    ours = engine(fits=300)
    ours.compute(SEQUENCES)
    assert ours.shapes.max_tokens < 300
    ours.model.fits = 10**9  # whoever had the memory has given it back
    for _ in range(20):
        ours.compute(SEQUENCES)
    assert ours.shapes.max_tokens == 512


@pytest.mark.slow
def test_a_budget_that_never_fits_is_tried_less_and_less_often():
    ours = engine(fits=300)
    for _ in range(60):
        assert ours.compute(SEQUENCES).values.tolist() == SUMS.tolist()
    too_large = sum(rows * width > 300 for rows, width in ours.model.seen)
    assert 1 < too_large < 8
    assert too_large < len(ours.model.seen) / 100
