"""Memory of a GPU: what is free, which models fit, and batches that do not."""

from __future__ import annotations

import json
import logging
import random
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

from reranker_core.device import (
    free_memory,
    is_lost,
    is_out_of_memory,
    release_memory,
    take_share,
    total_memory,
)
from reranker_core.errors import Incomplete, PreflightRefused
from reranker_core.score.loading import load_scorer
from reranker_core.score.scorer import Scorer
from tests import damage, decoder_checkpoints
from tests.cuda.families import CASES
from tests.parity.common import deviation, load, words
from tests.tables import config
from tests.unit.preflight.refusing import failures

Memory = Callable[[int], AbstractContextManager[None]]
MIB, GIB = 1 << 20, 1 << 30
BLOCK = 512 * MIB
SLACK = 64 * MIB  # what CUDA takes beside what it is asked for


@pytest.fixture
def device(gpu: str) -> Iterator[torch.device]:
    """The GPU, with all of its memory before and afterwards."""
    device = torch.device(gpu, 0)
    release_memory(device)
    yield device
    torch.cuda.set_per_process_memory_fraction(1.0)
    release_memory(device)


def fresh(folder_of: Callable[[str], Path], gpu: str, name: str, *settings: str) -> Scorer:
    """A scorer of its own, for its batches are to change."""
    case = CASES[name]
    chosen = (*case.settings, f"model.device={gpu}", *settings)
    return load.__wrapped__(folder_of(name), case.most, case.query_most, *chosen)


def many(count: int, size: int) -> list[tuple[str, str]]:
    """Pairs of about `size` tokens."""
    rng = random.Random(7)
    return [(words(8, rng), words(size - 8 - i % 5, rng)) for i in range(count)]


def test_what_is_taken_is_not_free_and_what_torch_keeps_is(device: torch.device):
    before = free_memory(device)
    _, size = torch.cuda.mem_get_info(device)
    assert 0 < before <= size
    taken = torch.empty(BLOCK, dtype=torch.uint8, device=device)
    assert abs(before - free_memory(device) - BLOCK) <= SLACK
    del taken
    assert torch.cuda.memory_reserved(device) >= BLOCK  # torch keeps it
    assert abs(before - free_memory(device)) <= SLACK
    release_memory(device)
    assert torch.cuda.memory_reserved(device) < BLOCK
    assert abs(before - free_memory(device)) <= SLACK


def test_all_of_a_gpu_is_for_the_process_without_a_share(device: torch.device):
    _, size = torch.cuda.mem_get_info(device)
    take_share(1)
    assert total_memory(device) == size


def test_a_share_is_a_limit_that_torch_keeps(device: torch.device):
    _, size = torch.cuda.mem_get_info(device)
    take_share(0.25)
    assert total_memory(device) == pytest.approx(0.25 * 0.95 * size, rel=1e-3)
    free = free_memory(device)
    assert free <= total_memory(device)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        torch.empty(free + GIB, dtype=torch.uint8, device=device)
    assert is_out_of_memory(caught.value)
    assert not is_lost(caught.value, device)
    fits = torch.empty(free - GIB, dtype=torch.uint8, device=device)
    assert free_memory(device) <= GIB + SLACK
    del fits


@pytest.mark.parametrize(("dtype", "needed"), [("float32", "6.0"), ("bfloat16", "3.0")])
def test_a_model_too_large_for_the_gpu_is_refused_before_it_is_loaded(
    dtype: str,
    needed: str,
    gpu: str,
    device: torch.device,
    folder_of: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """By the header of its weights; there is nothing behind it but a hole in the file."""
    shape, size = [1 << 10, 3 << 19], 3 * GIB
    name = "bert.embeddings.word_embeddings.weight"
    head = {name: {"dtype": "F16", "shape": shape, "data_offsets": [0, size]}}
    header = json.dumps(head).encode()
    folder = damage.with_file(folder_of("bert"), tmp_path / "m", "model.safetensors", b"")
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)
    loading = "reranker_core.score.loading._Loading.scorer"
    monkeypatch.setattr(loading, lambda *_: pytest.fail("it was loaded"))
    used = torch.cuda.memory_allocated(device)
    _, whole = torch.cuda.mem_get_info(device)
    torch.cuda.set_per_process_memory_fraction(2 * GIB / whole)
    settings = (f"model.device={gpu}", f"model.dtype={dtype}")
    with pytest.raises(PreflightRefused) as caught:
        load_scorer(config("in", "out", *settings, model=folder))
    assert failures(caught.value) == {"weights/fits_device"}
    assert caught.value.exit_code == 3
    said = str(caught.value)
    assert f"the weights need {needed} GiB in {dtype}" in said
    assert f"2.0 GiB that this process may use of {torch.cuda.get_device_name(device)}" in said
    assert torch.cuda.memory_allocated(device) == used


def test_a_batch_that_does_not_fit_is_split_and_the_scores_stay(
    gpu: str,
    device: torch.device,
    folder_of: Callable[[str], Path],
    memory_for: Memory,
    caplog: pytest.LogCaptureFixture,
):
    pairs = many(2000, 120)
    scorer = fresh(folder_of, gpu, "bert", "score.max_batch_tokens=131072")
    engine, sequences = scorer._engine, scorer.encode(pairs)
    engine.compute(sequences)
    release_memory(device)
    torch.cuda.reset_peak_memory_stats(device)
    used = torch.cuda.memory_allocated(device)
    expected = engine.compute(sequences).values
    peak = torch.cuda.max_memory_allocated(device) - used
    assert peak > 16 * MIB, "too small for this test"
    caplog.clear()
    with memory_for(peak * 6 // 10), caplog.at_level(logging.WARNING):
        found = engine.compute(sequences).values
        told = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        assert 1 <= len(told) <= 3, told
        left = engine.shapes.max_tokens
        assert left < 131072
        assert "had too little memory for a batch of" in told[0]
        assert f"score.max_batch_tokens={left}" in told[-1]
        caplog.clear()
        again = engine.compute(sequences).values
        assert not caplog.records, caplog.text  # the next batches are smaller at once
    assert deviation(found, expected) <= 1e-4
    assert deviation(again, expected) <= 1e-4


def test_without_memory_for_prefixes_each_sequence_is_computed_completely(
    gpu: str,
    device: torch.device,
    folder_of: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    scorer = fresh(folder_of, gpu, "qwen3", "score.max_batch_tokens=2048")
    engine = scorer._engine
    pairs = [(query, text) for query, _ in many(2, 60) for _, text in many(20, 40)]
    expected = scorer.score_pairs(pairs)

    def too_much(model: object, batch: object) -> None:
        torch.empty(1 << 50, dtype=torch.uint8, device=gpu)

    monkeypatch.setattr(engine, "_read", too_much)
    with caplog.at_level(logging.WARNING):
        found = scorer.score_pairs(pairs)
    assert "had too little memory" in caplog.text or "too little memory to share" in caplog.text
    assert deviation(found, expected) <= 1e-4


LONG = ("model.max_length=2000", "model.query_max_length=100")


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ((), "Lower model.max_length"),
        (("score.reproducible=true",), "Lower score.max_batch_tokens"),
    ],
)
def test_a_sequence_that_does_not_fit_is_an_error_that_says_what_to_do(
    settings: tuple[str, ...],
    remedy: str,
    gpu: str,
    device: torch.device,
    folder_of: Callable[[str], Path],
    memory_for: Memory,
):
    """DeBERTa's attention needs memory that grows with the square of the length."""
    scorer = fresh(folder_of, gpu, "deberta", *LONG, *settings)
    long, short = many(1, 1990), many(3, 40)
    expected = scorer.score_pairs([*long, *short])
    with memory_for(24 * MIB):
        with pytest.raises(Incomplete) as caught:
            scorer.score_pairs([*long, *short])
        assert remedy in str(caught.value)
        assert "too little memory for a batch of" in str(caught.value)
        cause = caught.value.__cause__
        assert isinstance(cause, Exception)
        assert is_out_of_memory(cause), repr(cause)
        assert not is_lost(cause, device)
        if not settings:  # a batch of short ones fits
            found = scorer.score_pairs(short)
            assert np.abs(found - expected[1:]).max() <= 1e-4 * np.abs(expected).max()
    assert deviation(scorer.score_pairs([*long, *short]), expected) <= 1e-4


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_float32_reference_needs_the_memory_of_a_layer_and_not_of_a_model(
    dtype: str, gpu: str, device: torch.device, tmp_path: Path
):
    size = {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 8}
    with mock.patch.dict(decoder_checkpoints._WIDTH, size | {"initializer_range": 0.02}):
        folder = decoder_checkpoints.llama(tmp_path / "deep")
    scorer = load.__wrapped__(
        folder, 64, None, f"model.device={gpu}", f"model.dtype={dtype}", "model.template=bge-gemma"
    )
    pairs = many(3, 30)
    scorer.reference(pairs)  # the first time libraries take memory for themselves
    release_memory(device)
    weights = sum(w.numel() * w.element_size() for w in scorer._engine.model.parameters())
    used = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    scorer.reference(pairs)
    more = torch.cuda.max_memory_allocated(device) - used
    assert more < weights, f"{more / MIB:.0f} MiB beside {weights / MIB:.0f} MiB of weights"
    assert torch.cuda.memory_allocated(device) <= used + MIB  # all given back
    layers = scorer._engine.model.get_submodule("body.layers")
    assert {w.dtype for w in layers.parameters()} == {getattr(torch, dtype)}


def test_a_scorer_that_is_dropped_gives_its_memory_back(
    gpu: str, device: torch.device, folder_of: Callable[[str], Path]
):
    used = torch.cuda.memory_allocated(device)
    scorer = fresh(folder_of, gpu, "wide_bert")
    scorer.score_pairs(many(3, 40))
    assert torch.cuda.memory_allocated(device) > used + 4 * MIB
    del scorer
    release_memory(device)
    assert torch.cuda.memory_allocated(device) <= used + MIB


def test_weights_of_a_refused_model_do_not_stay(
    gpu: str, device: torch.device, folder_of: Callable[[str], Path], tmp_path: Path
):
    def head_of_zeros(weights: damage.Weights) -> None:
        weights["classifier.weight"].zero_()

    folder = damage.with_weights(folder_of("wide_bert"), tmp_path / "m", head_of_zeros)
    used = torch.cuda.memory_allocated(device)
    with pytest.raises(PreflightRefused):
        load_scorer(config("in", "out", f"model.device={gpu}", model=folder))
    release_memory(device)
    assert torch.cuda.memory_allocated(device) <= used + MIB
