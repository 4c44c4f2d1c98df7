"""The forward as compiled code: the same scores, kept only where faster, never required."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from reranker_core import compiling
from reranker_core.config import Config
from reranker_core.errors import ConfigError
from reranker_core.pipeline.cluster import settle_compiling
from reranker_core.scorer import Scorer
from tests.parity.common import sample_pairs
from tests.tables import config

SETTINGS = ("model.device=cpu", "model.dtype=float32")
RELAXED = ("preflight.checks.meaning=off", "preflight.checks.tokenizer=off")
SMALL = "score.max_batch_tokens=512"


def load(model: Path, *settings: str) -> Scorer:
    return Scorer.load(config("in", "out", *SETTINGS, *RELAXED, *settings, model=model))


@pytest.fixture(scope="module")
def compiled(bert: Path) -> Iterator[Scorer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiling, "_WORTH", float("inf"))
        yield load(bert, "score.compile=true", SMALL)


def test_compiled_code_gives_the_scores_of_the_model_it_was_made_of(compiled: Scorer, bert: Path):
    assert compiled.report.compiled.startswith("compiled code used: it takes ")
    graphs, frames = counters["stats"]["unique_graphs"], counters["frames"]["total"]
    assert graphs > 0
    pairs = sample_pairs(100, 96)
    expected = load(bert, SMALL).score_pairs(pairs)
    calls = []
    compiled._engine.compiled.register_forward_hook(lambda *_: calls.append(None))
    found = compiled.score_pairs(pairs)
    assert len(calls) > 10
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.ptp(expected))
    # Whatever the shapes, nothing was compiled again.
    assert (counters["stats"]["unique_graphs"], counters["frames"]["total"]) == (graphs, frames)


def test_what_is_not_faster_is_not_used(compiled: Scorer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compiling, "_WORTH", 0.0)
    sequences = compiled._encode(sample_pairs(10, 96))
    said = compiling.compile_if_faster(compiled._engine, sequences, threads=1)
    assert said.startswith("compiled code not used: it takes ")
    assert compiled._engine.compiled is None


def test_without_a_compiler_there_is_a_warning_and_the_same_scores(
    xlm_roberta: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    import torch._inductor.config as inductor

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # nothing compiled before
    monkeypatch.setattr(inductor.cpp, "cxx", (None, "no-such-compiler"))
    torch._dynamo.reset()
    with caplog.at_level(logging.WARNING):
        scorer = load(xlm_roberta, "score.compile=true")
    assert "could not be compiled" in caplog.text
    assert "score.compile=false" in caplog.text
    assert scorer.report.compiled.startswith("not compiled: ")
    pairs = sample_pairs(20, 96)
    expected = load(xlm_roberta).score_pairs(pairs)
    np.testing.assert_array_equal(scorer.score_pairs(pairs), expected)


def test_what_is_no_encoder_is_not_compiled(gemma: Path):
    scorer = load(gemma, "score.compile=true", "model.template=bge-gemma")
    assert scorer.report.compiled == "not compiled: only encoders of known kinds are"


def test_scores_that_are_to_be_the_same_to_the_bit_are_not_compiled():
    with pytest.raises(ConfigError, match=r"score\.compile=true and score\.reproducible=true"):
        config("in", "out", "score.reproducible=true", "score.compile=true")


@pytest.mark.parametrize(
    ("settings", "pairs", "compiled"),
    [
        (("model.dtype=bfloat16", "model.device=cpu"), 1e6, True),
        (("model.dtype=bfloat16", "model.device=cpu"), 1e4, False),
        (("model.dtype=float32", "model.device=cpu"), 1e6, True),
        (("model.dtype=float32", "model.device=cpu"), 1e5, False),
        (("model.dtype=bfloat16", "model.device=cuda"), 1e6, False),
        (("model.dtype=bfloat16", "model.device=cpu", "score.reproducible=true"), 1e6, False),
        (("model.dtype=float32", "model.device=cpu", "score.compile=true"), 1e4, True),
        (("model.dtype=bfloat16", "model.device=cpu", "score.compile=false"), 1e6, False),
    ],
)
def test_long_runs_on_cpus_are_compiled(settings: tuple[str, ...], pairs: float, compiled: bool):
    before: Config = config("in", "out", *settings)
    after = settle_compiling(before, pairs)
    assert after.score.compile is compiled
