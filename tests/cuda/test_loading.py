"""Whole loading with preflight on a GPU; what is broken is refused there, too."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from reranker_core import Reranker
from reranker_core.errors import PreflightRefused
from reranker_core.score.loading import load_scorer
from reranker_core.score.scorer import Scorer
from tests import checkpoints, damage
from tests.checkpoints import TEXTS
from tests.cuda.families import CASES, PAIRS
from tests.parity.common import deviation
from tests.running import ROOT
from tests.tables import config
from tests.unit.preflight.refusing import HEAD, INNER, failures, overflow

DEMO = ROOT / "demo/model"  # trained, so that all checks of preflight hold
OFF = "preflight.checks.meaning=off"  # of what random weights give, no order is expected
NAMES = [
    "bert",
    "modernbert",
    "deberta",
    "bert_labels",
    "gemma",
    "gemma2",
    "qwen3",
    "qwen3_classifier",
    "nemotron",
    "minicpm",
    "lightweight",
    "monot5",
]
DEMO_PAIRS = [(TEXTS[0], text) for text in TEXTS]


def load(folder: Path, gpu: str, *settings: str) -> Scorer:
    return load_scorer(config("in", "out", f"model.device={gpu}", *settings, model=folder))


def refused(folder: Path, gpu: str, *settings: str) -> PreflightRefused:
    with pytest.raises(PreflightRefused) as caught:
        load(folder, gpu, OFF, *settings)
    assert caught.value.exit_code == 3
    return caught.value


def measured(scorer: Scorer) -> str:
    return "\n".join(map(str, scorer.report.checks))


@pytest.mark.parametrize("name", NAMES)
def test_each_family_passes_preflight_in_float32(
    name: str, gpu: str, folder_of: Callable[[str], Path]
):
    case = CASES[name]
    lengths: tuple[str, ...] = (f"model.max_length={case.most}",)
    if case.query_most:
        lengths += (f"model.query_max_length={case.query_most}",)
    settings = (*case.settings, *lengths, OFF)
    scorer = load(folder_of(name), gpu, "model.dtype=float32", *settings)
    assert not [str(check) for check in scorer.report.failed if check.group != "meaning"]
    assert {"finite", "repeatable", "same_alone_and_in_a_batch"} <= {
        check.name for check in scorer.report.checks
    }
    assert scorer.report.device == gpu
    assert scorer.device.type == gpu
    assert np.isfinite(scorer.score_pairs(PAIRS)).all()


@pytest.fixture(scope="module")
def demo(gpu: str) -> Reranker:
    return Reranker(DEMO, device=gpu)


@pytest.fixture(scope="module")
def on_cpu() -> Reranker:
    return Reranker(DEMO, device="cpu", dtype="float32")


def test_a_trained_model_gets_the_format_that_the_gpu_is_fast_in(demo: Reranker, gpu: str):
    report = demo.report
    assert (report.device, report.dtype) == (gpu, "bfloat16"), report.dtype_reason
    assert report.dtype_reason == "this GPU multiplies bfloat16 natively"
    assert not report.failed, "\n".join(map(str, report.failed))
    assert {"fits_device", "close_to_float32"} <= {check.name for check in report.checks}
    assert next(demo._scorer._engine.model.parameters()).is_cuda
    assert demo._scorer._engine.streams == 1


def test_its_scores_and_ranks_are_close_to_those_of_the_cpu(demo: Reranker, on_cpu: Reranker):
    found, expected = demo.score(DEMO_PAIRS), on_cpu.score(DEMO_PAIRS)
    assert np.abs(found - expected).max() <= 0.05 * np.ptp(expected)
    best = [ranker.rank(TEXTS[0], TEXTS, top_k=1)[0] for ranker in (demo, on_cpu)]
    assert best[0]["corpus_id"] == best[1]["corpus_id"]


def test_in_float32_its_scores_are_those_of_the_cpu(on_cpu: Reranker, gpu: str):
    found = Reranker(DEMO, device=gpu, dtype="float32").score(DEMO_PAIRS)
    assert deviation(found, on_cpu.score(DEMO_PAIRS)) <= 1e-4


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_preflight_compares_bits_where_scores_are_to_be_reproducible(dtype: str, gpu: str):
    scorer = load(DEMO, gpu, "score.reproducible=true", f"model.dtype={dtype}")
    assert "same_bits" in {check.name for check in scorer.report.checks}, measured(scorer)


def test_threads_share_a_reranker(demo: Reranker):
    parts = [DEMO_PAIRS[begin::8] for begin in range(8)]
    expected = [demo.score(part) for part in parts]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(demo.score, parts * 4))
    for scores, same in zip(found, expected * 4, strict=True):
        np.testing.assert_array_equal(scores, same)


def test_a_format_that_overflows_is_refused(
    gpu: str, folder_of: Callable[[str], Path], tmp_path: Path
):
    folder = damage.with_weights(folder_of("bert"), tmp_path / "m", overflow)
    error = refused(folder, gpu, "model.dtype=float16")
    assert failures(error) & {"numerics/finite", "numerics/close_to_float32"}, str(error)
    assert "model.dtype=" in str(error)


def test_auto_takes_the_next_format_where_one_is_not_accurate_enough(
    gpu: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """With no tolerance for rounding, only float32 is left."""
    monkeypatch.setattr("reranker_core.preflight.numerics._HALF_FLOAT32", 0.0)
    scorer = load(DEMO, gpu)
    report = scorer.report
    assert report.dtype == "float32"
    bfloat16, float16, _ = report.dtype_reason.split("; ")
    for failed, dtype in ((bfloat16, "bfloat16"), (float16, "float16")):
        assert failed.startswith(f"{dtype} failed ")
        assert "numerics/close_to_float32" in failed
    held = [weight.dtype for weight in scorer._engine.model.parameters()]
    assert set(held) == {torch.float32}


def nan_in_a_layer(weights: damage.Weights) -> None:
    weights[INNER][3, 5] = float("nan")


def no_head(weights: damage.Weights) -> None:
    del weights[HEAD], weights["classifier.bias"]


def zero_head(weights: damage.Weights) -> None:
    weights[HEAD].zero_()


@pytest.mark.parametrize("dtype", ["auto", "float32"])
@pytest.mark.parametrize(
    ("edit", "check"),
    [
        (nan_in_a_layer, "weights/finite"),
        (no_head, "weights/none_missing"),
        (zero_head, "weights/head_trained"),
    ],
)
def test_a_broken_checkpoint_is_refused(
    edit: Callable[[damage.Weights], None],
    check: str,
    dtype: str,
    gpu: str,
    folder_of: Callable[[str], Path],
    tmp_path: Path,
):
    folder = damage.with_weights(folder_of("bert"), tmp_path / "m", edit)
    assert check in failures(refused(folder, gpu, f"model.dtype={dtype}"))


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_compiled_code_gives_the_same_scores(
    dtype: str,
    gpu: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    folder = checkpoints.bert(tmp_path / "small", layers=3)
    checks = (OFF, "preflight.checks.tokenizer=off", "preflight.checks.numerics=off")
    settings = (*checks, f"model.dtype={dtype}", "score.max_batch_tokens=2048")
    expected = load(folder, gpu, *settings).score_pairs(PAIRS)
    monkeypatch.setattr("reranker_core.score.compiling._WORTH_ON_GPU", float("inf"))
    with caplog.at_level(logging.INFO):
        scorer = load(folder, gpu, *settings, "score.compile=true")
    told = scorer.report.compiled
    found = scorer.score_pairs(PAIRS)
    tolerance = (1e-4 if dtype == "float32" else 0.05) * np.ptp(expected)
    assert np.abs(found - expected).max() <= tolerance, told
    assert told.startswith("compiled code used: it needs "), f"{told}\n{caplog.text}"
    assert scorer._engine.compiled is not None
