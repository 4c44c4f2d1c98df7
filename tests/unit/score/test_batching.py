"""Every sequence stands in one batch, whole, within the budget, next to no padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from reranker_core.config import ScoreConfig
from reranker_core.encode.sequences import Ragged, TokenSequences
from reranker_core.score.batching import Shapes, make_batch, plan_batches, tokens_on_cuda

CPU = torch.device("cpu")
PAD = 7


def lengths(count: int, longest: int = 130) -> np.ndarray:
    return np.random.default_rng(0).integers(3, longest + 1, count)


def sequences(runs: list[list[int]], starts: list[int]) -> TokenSequences:
    return TokenSequences.one_each(Ragged.of(runs), np.array(starts, np.int32))


def plan(all_lengths: np.ndarray, max_tokens: int, longest: int = 130, **others: Any) -> list:
    return list(plan_batches(all_lengths, Shapes(max_tokens, longest, **others)))


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("count", [0, 1, 7, 1000])
@pytest.mark.parametrize("budget", [8, 500, 16_384])
def test_every_row_stands_in_exactly_one_batch(count: int, budget: int, fixed: bool):
    batches = [rows for rows, _ in plan(lengths(count), budget, step=16, fixed=fixed)]
    rows = np.concatenate([np.array([], np.int64), *batches])
    assert sorted(rows.tolist()) == list(range(count))


@pytest.mark.parametrize("step", [1, 16])
@pytest.mark.parametrize("budget", [200, 500, 4096, 16_384])
def test_rows_times_width_stay_within_the_budget(budget: int, step: int):
    for rows, width in plan(lengths(1000), budget, step=step):
        assert len(rows) * width <= budget


def test_a_row_longer_than_the_budget_stands_alone():
    assert [rows.tolist() for rows, _ in plan(np.array([100, 5, 90]), 64)] == [[0], [2], [1]]


@pytest.mark.parametrize("step", [1, 16])
def test_all_rows_fit_in_their_batchs_width(step: int):
    all_lengths = lengths(1000)
    for rows, width in plan(all_lengths, 1000, step=step):
        assert all_lengths[rows].max() <= width


def test_widths_are_multiples_of_the_step_or_the_longest_allowed():
    widths = {width for _, width in plan(lengths(1000), 1000, step=16)}
    assert {width for width in widths if width % 16} == {130}
    assert len(widths) > 4


def test_rows_that_are_longer_than_the_longest_allowed_are_not_cut():
    assert [width for _, width in plan(np.array([200]), 1000, step=16)] == [200]


def test_the_longest_rows_come_first():
    widths = [width for _, width in plan(lengths(1000), 1000)]
    assert widths == sorted(widths, reverse=True)


def natural(count: int) -> np.ndarray:
    """Lengths as of docstrings: mean 145, median 120, a long tail."""
    return np.random.default_rng(0).lognormal(4.75, 0.65, count).clip(12, 512).astype(np.int64)


def test_less_than_two_percent_of_a_natural_part_is_padding():
    all_lengths = natural(8192)
    padded = sum(len(rows) * width for rows, width in plan(all_lengths, 4096, 512))
    assert padded < 1.02 * all_lengths.sum()


def test_equally_long_rows_fill_the_budget():
    assert [len(rows) for rows, _ in plan(np.full(100, 32), 320)] == [10] * 10


def test_where_shapes_are_fixed_a_length_always_gets_the_same_shape():
    shapes = Shapes(2048, 512, step=16, fixed=True)
    found: dict[int, set[int]] = {}
    for seed in range(5):
        some = np.random.default_rng(seed).permutation(natural(3000))[: 500 * (seed + 1)]
        for rows, width in plan_batches(some, shapes):
            for length in some[rows].tolist():
                found.setdefault(length, set()).add(width)
            assert len(rows) <= shapes.rows(width)
    assert {len(widths) for widths in found.values()} == {1}
    assert len(found) > 100


def test_where_shapes_are_fixed_rows_come_in_fours_or_alone():
    shapes = Shapes(2048, 8192, step=16, fixed=True)
    assert [shapes.rows(width) for width in (16, 48, 304, 512, 528, 2064)] == [128, 40, 4, 4, 1, 1]


def test_fixed_shapes_cost_less_than_a_tenth_of_a_natural_part():
    all_lengths = natural(8192)
    shapes = Shapes.of("cpu", 512, ScoreConfig(reproducible=True), model(1536))
    batches = plan_batches(all_lengths, shapes)
    computed = sum(shapes.rows(width) * width for _, width in batches)
    assert shapes.fixed
    assert computed < 1.1 * all_lengths.sum()


def model(width: int) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(8, width), torch.nn.Linear(width, 8))


def test_what_the_widest_layer_gives_for_a_batch_stays_in_the_caches():
    def tokens(width: int, threads: int = 1, dtype: torch.dtype = torch.float32) -> int:
        return Shapes.of("cpu", 512, ScoreConfig(), model(width).to(dtype), threads).max_tokens

    assert tokens(2048) * 2048 * 4 == 8 << 20
    assert tokens(2048, dtype=torch.bfloat16) == 2 * tokens(2048)
    assert tokens(2048, threads=3) == 3 * tokens(2048)
    assert [tokens(1 << 20), tokens(8), tokens(8, threads=9)] == [1024, 2048, 4096]


def test_a_configured_budget_goes_before_what_suits_device_and_model():
    for device in ("cpu", "cuda"):
        for reproducible in (False, True):
            score = ScoreConfig(max_batch_tokens=99, reproducible=reproducible)
            assert Shapes.of(device, 512, score, model(8)).max_tokens == 99
    assert Shapes.of("cuda", 512, ScoreConfig(), model(8)).step == 8


def test_packed_batches_on_a_cpu_have_few_sizes():
    def sizes(device: str) -> list[int]:
        shapes = Shapes.of(device, 130, ScoreConfig(max_batch_tokens=500), packs)
        batches = plan_batches(lengths(1000), shapes)
        return [shapes.computed(lengths(1000)[rows], width) for rows, width in batches]

    packs: Any = model(8)
    packs.packs = True
    assert set(sizes("cpu")) <= set(range(32, 500, 32))
    assert sum(sizes("cuda")) == lengths(1000).sum()


def test_a_budget_that_is_lowered_holds_for_the_batches_that_follow():
    shapes = Shapes(320, 130)
    batches = plan_batches(np.full(100, 32), shapes)
    assert len(next(batches)[0]) == 10
    shapes.max_tokens = 64
    assert {len(rows) for rows, _ in batches} == {2}


def test_a_batch_holds_the_chosen_rows_padded_on_the_right():
    batch = make_batch(
        sequences([[1, 2], [3], [], [4, 5, 6]], [1, 0, 0, 2]), np.array([3, 0, 2]), 4, PAD, CPU
    )
    assert batch.ids.tolist() == [[4, 5, 6, PAD], [1, 2, PAD, PAD], [PAD] * 4]
    assert batch.ids.dtype == torch.int64


def test_the_mask_is_one_for_tokens_and_zero_for_padding():
    batch = make_batch(sequences([[1, 2], [PAD, 3, 4]], [0, 0]), np.array([0, 1]), 4, PAD, CPU)
    assert batch.mask.tolist() == [[1, 1, 0, 0], [1, 1, 1, 0]]


def test_a_batch_knows_where_passages_start():
    batch = make_batch(
        sequences([[1, 2], [3, 4], [5, 6]], [0, 1, 2]), np.array([2, 0]), 16, PAD, CPU
    )
    assert batch.passage_starts.tolist() == [2, 0]


def test_all_batches_together_hold_all_tokens():
    rng = np.random.default_rng(1)
    runs = [rng.integers(10, 99, size).tolist() for size in lengths(200, 40)]
    everything = sequences(runs, [0] * 200)
    found: dict[int, list[int]] = {}
    for rows, width in plan(everything.tokens.lengths, 300, 40):
        batch = make_batch(everything, rows, width, PAD, CPU)
        for row, ids, mask in zip(rows.tolist(), batch.ids, batch.mask, strict=True):
            found[row] = ids[mask.bool()].tolist()
    assert [found[row] for row in range(200)] == runs


def test_rows_that_go_on_from_a_prefix_count_a_part_of_it():
    shapes = Shapes(16_384, 2048, 8)
    assert shapes.rows(8) == 2048
    assert shapes.rows(8, prefix=1000) == 16_384 // (8 + 250)
    [*batches] = plan_batches(np.full(4000, 8), shapes, prefix=1000)
    assert max(len(rows) for rows, _ in batches) == 63


GIB = 1 << 30


@pytest.mark.parametrize(
    ("model", "weights", "widest", "free", "expected"),
    [
        ("MiniLM-L6", 10_600_000, 1536 * 2, 78 * GIB, 131_072),
        ("bge-reranker-base", 85_000_000, 3072 * 2, 78 * GIB, 115_648),
        ("bge-reranker-v2-m3", 303_000_000, 4096 * 2, 78 * GIB, 32_768),
        ("Qwen3-Reranker-8B", 7_000_000_000, 12_288 * 2, 60 * GIB, 32_768),
        ("Qwen3-Reranker-8B on a GPU of 24 GB", 7_000_000_000, 12_288 * 2, 5 * GIB, 6824),
        ("a GPU with next to no memory left", 303_000_000, 4096 * 2, 1 << 20, 1024),
    ],
)
def test_a_budget_on_a_gpu_suits_model_and_memory(
    model: str, weights: int, widest: int, free: int, expected: int
):
    assert tokens_on_cuda(weights, widest, free, packed=True) == expected
    assert tokens_on_cuda(weights, widest, free, packed=False) == min(expected, 32_768)
