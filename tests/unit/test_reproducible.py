"""With score.reproducible a pair's score is the same to the bit, whatever it is batched with."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from reranker_core.scorer import Scorer
from tests.tables import config

# Not a tiny one: where a thread has few columns, some CPUs sum otherwise (numerics/same_bits).
MODEL = Path(__file__).parents[2] / "demo/model"
RNG = np.random.default_rng(0)
WORDS = ["read", "write", "file", "path", "value", "index", "row", "model", "cache", "sort"]
PAIRS = [
    (f"query {i}", " ".join(RNG.choice(WORDS, size)))
    for i, size in enumerate(RNG.integers(1, 60, 48))
]
ORDER = RNG.permutation(len(PAIRS))


def load(dtype: str) -> Scorer:
    settings = ("model.device=cpu", "score.max_batch_tokens=512", f"model.dtype={dtype}")
    return Scorer.load(config("in", "out", "score.reproducible=true", *settings, model=MODEL))


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def scorer(request: pytest.FixtureRequest) -> Scorer:
    return load(request.param)


def scores(scorer: Scorer, chosen: np.ndarray) -> dict[int, bytes]:
    found = scorer.score_pairs([PAIRS[i] for i in chosen])
    return {int(i): value.tobytes() for i, value in zip(chosen, found, strict=True)}


@pytest.fixture(scope="module")
def expected(scorer: Scorer) -> dict[int, bytes]:
    return scores(scorer, np.arange(len(PAIRS)))


@pytest.mark.parametrize("streams", [1, 2, 4])
def test_side_by_side(
    scorer: Scorer, expected: dict[int, bytes], streams: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(scorer._engine, "_streams", streams)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        assert scores(scorer, ORDER) == expected
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("chosen", [ORDER, ORDER[:7], ORDER[:20:3], ORDER[:1], np.sort(ORDER)[30:]])
def test_in_other_company_and_order(
    scorer: Scorer, expected: dict[int, bytes], chosen: np.ndarray, threads: int
):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for index, value in scores(scorer, chosen).items():
            assert value == expected[index]
    finally:
        torch.set_num_threads(before)


def test_by_another_replica(scorer: Scorer, expected: dict[int, bytes]):
    assert scores(load(scorer.dtype), ORDER) == expected


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="another matrix library")
def test_mkl_is_told_before_its_first_product():
    program = (
        "import torch; from reranker_core.device import keep_order_of_sums; keep_order_of_sums();"
        "torch.ones(64, 64) @ torch.ones(64, 64)"
    )
    command = [sys.executable, "-c", program]
    environment = os.environ | {"MKL_VERBOSE": "1"}
    environment.pop("MKL_CBWR", None)
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert re.search(r"SGEMM.*CNR:AUTO,STRICT Dyn:0", said.stdout)


def test_in_a_part_that_has_ended_a_process(scorer: Scorer, expected: dict[int, bytes]):
    index = np.arange(len(PAIRS))
    queries, passages = map(list, zip(*PAIRS, strict=True))
    sequences = scorer.pair_format.encode(queries, passages, index, index)
    found = scorer.score_warily(sequences, np.array([5]), np.array([1, 2, 40]), lambda rows: None)
    assert np.isnan(found.values[5])
    for i in np.delete(index, 5).tolist():
        assert found.values[i].tobytes() == expected[i]
