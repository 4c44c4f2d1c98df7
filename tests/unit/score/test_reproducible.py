"""With score.reproducible a pair's score is the same to the bit, whatever it is batched with."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from reranker_core.device import torch_threads
from reranker_core.score.loading import load_scorer
from reranker_core.score.scorer import Scorer
from tests.running import ROOT
from tests.tables import config

# Not a tiny one: where a thread has few columns, some CPUs sum otherwise (numerics/same_bits).
MODEL = ROOT / "demo/model"
RNG = np.random.default_rng(0)
WORDS = ["read", "write", "file", "path", "value", "index", "row", "model", "cache", "sort"]
PAIRS = [
    (f"query {i}", " ".join(RNG.choice(WORDS, size)))
    for i, size in enumerate(RNG.integers(1, 60, 24))
]
ORDER = RNG.permutation(len(PAIRS))


def load(dtype: str) -> Scorer:
    settings = ("model.device=cpu", "score.max_batch_tokens=512", f"model.dtype={dtype}")
    return load_scorer(config("in", "out", "score.reproducible=true", *settings, model=MODEL))


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def scorer(request: pytest.FixtureRequest) -> Scorer:
    return load(request.param)


def scores(scorer: Scorer, chosen: np.ndarray) -> dict[int, bytes]:
    found = scorer.score_pairs([PAIRS[i] for i in chosen])
    return {int(i): value.tobytes() for i, value in zip(chosen, found, strict=True)}


@pytest.fixture(scope="module")
def expected(scorer: Scorer) -> dict[int, bytes]:
    return scores(scorer, np.arange(len(PAIRS)))


@pytest.mark.slow
@pytest.mark.parametrize("streams", [1, 2, 4])
def test_side_by_side(
    scorer: Scorer, expected: dict[int, bytes], streams: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(scorer._engine, "streams", streams)
    with torch_threads(4):
        assert scores(scorer, ORDER) == expected


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("chosen", [ORDER, ORDER[:7], ORDER[:20:3], ORDER[:1], np.sort(ORDER)[15:]])
def test_in_other_company_and_order(
    scorer: Scorer, expected: dict[int, bytes], chosen: np.ndarray, threads: int
):
    with torch_threads(threads):
        for index, value in scores(scorer, chosen).items():
            assert value == expected[index]


def test_preflight_has_compared_bits_and_can_have_one_thread(scorer: Scorer):
    assert "same_bits" in {check["name"] for check in scorer.report.as_dict()["checks"]}
    seen: list[int] = []
    scorer.on_batch(lambda: seen.append(torch.get_num_threads()))
    scorer.score_texts(PAIRS[:1], threads=2)
    scorer.score_texts(PAIRS[:1], threads=1)
    scorer.on_batch(lambda: None)
    assert seen == [2, 1]


def test_by_another_replica_which_tells_mkl_so(
    scorer: Scorer, expected: dict[int, bytes], monkeypatch: pytest.MonkeyPatch
):
    if scorer.dtype != "float32":
        return  # MKL multiplies no other format, and loading another takes seconds
    monkeypatch.delenv("MKL_CBWR")  # which all tests have
    assert scores(load(scorer.dtype), ORDER) == expected
    assert os.environ["MKL_CBWR"] == "AUTO,STRICT"


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
    found = scorer.score_warily(sequences, np.array([5]), np.array([1, 2, 20]), lambda rows: None)
    assert np.isnan(found.values[5])
    for i in np.delete(index, 5).tolist():
        assert found.values[i].tobytes() == expected[i]
