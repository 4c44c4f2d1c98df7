"""The forward as compiled code: the same scores, kept only where faster, never required."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch._inductor.config as inductor
from torch._dynamo.utils import counters

from reranker_core.errors import ConfigError
from reranker_core.models.networks import packing
from reranker_core.score import compiling, products, streams
from reranker_core.score.loading import load_scorer
from reranker_core.score.scorer import Scorer
from tests import checkpoints
from tests.marks import more
from tests.parity.common import sample_pairs
from tests.tables import config

SETTINGS = ("model.device=cpu", "model.dtype=float32")
RELAXED = ("preflight.checks.meaning=off", "preflight.checks.tokenizer=off")
SMALL = "score.max_batch_tokens=512"
DEMO = Path(__file__).parents[3] / "demo/model"
inductor.compile_threads = 1  # more are processes, each of which imports torch


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One layer: a compiler takes its time for each."""
    return checkpoints.bert(tmp_path_factory.mktemp("small"), layers=1)


def load(model: Path, *settings: str, pairs: float = 0) -> Scorer:
    found = config("in", "out", *SETTINGS, *RELAXED, SMALL, *settings, model=model)
    return load_scorer(found, None, pairs)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Two threads for two streams; nothing compiled before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch._dynamo.reset()
    counters.clear()
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("threads", "shares", "packed"),
    # Two streams cannot share three threads evenly: another graph, and ten more seconds.
    [(2, {1}, True), more(2, {1}, False), more(3, {1, 2}, False)],
)
def test_compiled_code_gives_the_scores_of_the_model_it_was_made_of(
    threads: int, shares: set[int], packed: bool, small: Path, monkeypatch: pytest.MonkeyPatch
):
    torch.set_num_threads(threads)
    monkeypatch.setattr(packing, "has_kernel", lambda *_: packed)
    pairs = sample_pairs(100, 96)
    expected = load(small).score_pairs(pairs)
    monkeypatch.setattr(compiling, "_WORTH", float("inf"))
    monkeypatch.setattr(streams, "_MOST", 2)
    scorer = load(small, "score.compile=true")
    assert scorer.report.compiled.startswith("compiled code used: it needs ")
    engine = scorer._engine
    assert engine.compiled_threads == shares
    graphs = counters["stats"]["unique_graphs"]
    assert graphs >= (1 if packed else 2) * len(shares)  # with a mask, and without one
    tokens = []
    engine.compiled.register_forward_pre_hook(
        lambda _, __, inputs: tokens.append(inputs["input_ids"].numel()), with_kwargs=True
    )
    found = scorer.score_pairs(pairs)
    alone = scorer.score_pairs(pairs[:1])
    wary = scorer.score_warily(scorer.encode(pairs), *[np.zeros(0, np.int64)] * 2, lambda _: None)
    assert sum(count > scorer.max_length for count in tokens) > 10
    for scores in (found, wary.values, np.append(alone, expected[1:])):
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5 * np.ptp(expected))
    # Whatever the shapes and threads, nothing was compiled again.
    assert counters["stats"]["unique_graphs"] == graphs


@pytest.mark.slow
def test_layers_with_packed_weights_share_their_compiled_code(monkeypatch: pytest.MonkeyPatch):
    pairs = sample_pairs(100, 96)
    expected = load(DEMO).score_pairs(pairs)
    monkeypatch.setattr(compiling, "_WORTH", float("inf"))
    monkeypatch.setattr(products, "_WORTH", float("inf"))
    scorer = load(DEMO, "score.compile=true")
    assert scorer.report.products.startswith("packed weights used in 12 layers: ")
    assert scorer.report.compiled.startswith("compiled code used: ")
    # Two kinds of layers, as the last one computes less.
    assert counters["stats"]["unique_graphs"] == 2
    found = scorer.score_pairs(pairs)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.ptp(expected))


def test_what_is_not_faster_is_not_used(bert: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compiling, "compile_by_layer", lambda model: model)
    monkeypatch.setattr(compiling, "_WORTH", 0.0)
    scorer = load(bert, "score.compile=true")
    assert scorer.report.compiled.startswith("compiled code not used: it needs ")
    assert scorer._engine.compiled is None


def test_what_gives_other_scores_is_not_used(
    bert: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    wrong = load(bert)._engine.model
    torch.nn.init.normal_(wrong.classifier.weight)
    monkeypatch.setattr(compiling, "compile_by_layer", lambda _: wrong)  # a miscompilation
    with caplog.at_level(logging.WARNING):
        scorer = load(bert, "score.compile=true")
    assert scorer.report.compiled == "not compiled: it gives other scores"
    assert "it gives other scores" in caplog.text
    assert scorer._engine.compiled is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "dtype", "used"),
    [
        more("bert", "float32", False),
        more("bert", "bfloat16", True),
        # The head is the first of its modules.
        ("xlm_roberta", "float32", False),
        ("xlm_roberta", "bfloat16", True),
    ],
)
def test_rounding_in_half_precision_is_allowed(
    kind: str,
    dtype: str,
    used: bool,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
):
    model = request.getfixturevalue(kind)
    monkeypatch.setattr(compiling, "_WORTH", float("inf"))
    rounded = load(model, f"model.dtype={dtype}")._engine.model
    head = list(rounded.classifier.modules())[-1]
    head.weight.data *= 1.01
    monkeypatch.setattr(compiling, "compile_by_layer", lambda _: rounded)
    scorer = load(model, f"model.dtype={dtype}", "score.compile=true")
    assert scorer.report.compiled.startswith("compiled code used") is used, scorer.report.compiled


@pytest.mark.slow
def test_scores_as_close_to_float32_as_the_plain_ones_are_allowed(
    bert: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(compiling, "_WORTH", float("inf"))
    monkeypatch.setattr(compiling, "_SAME_IN_HALF", 0.0)
    settings = ("model.dtype=bfloat16", "score.compile=true")
    rounded = load(bert, "model.dtype=bfloat16")._engine.model
    monkeypatch.setattr(compiling, "compile_by_layer", lambda _: rounded)
    rounded.classifier.bias.data += 1e-6  # not the same, and as close
    assert load(bert, *settings).report.compiled.startswith("compiled code used")
    rounded.classifier.bias.data += 10.0
    assert load(bert, *settings).report.compiled == "not compiled: it gives other scores"


def test_without_a_compiler_there_is_a_warning_and_the_same_scores(
    small: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # nothing compiled before
    no_compiler = inductor.patch({"cpp.cxx": (None, "no-such-compiler")})
    with no_compiler, caplog.at_level(logging.WARNING):
        scorer = load(small, "score.compile=true")
    assert "compiled code cannot be used" in caplog.text
    assert "score.compile=false" in caplog.text
    assert scorer.report.compiled.startswith("not compiled: ")
    pairs = sample_pairs(20, 96)
    expected = load(small).score_pairs(pairs)
    np.testing.assert_array_equal(scorer.score_pairs(pairs), expected)


@pytest.mark.slow
def test_what_is_no_encoder_is_not_compiled(gemma: Path):
    scorer = load(gemma, "score.compile=true", "model.template=bge-gemma")
    assert scorer.report.compiled == "not compiled: this is only done for supported models"


def test_scores_that_are_to_be_the_same_to_the_bit_are_not_compiled():
    with pytest.raises(ConfigError, match=r"score\.compile=true and score\.reproducible=true"):
        config("in", "out", "score.reproducible=true", "score.compile=true")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pairs", "settings", "tried"),
    [
        (1e9, (), True),
        (1e4, (), False),
        more(0, (), False),
        more(1e9, ("model.dtype=float32",), True),
        more(1e9, ("score.compile=false",), False),
        more(1e9, ("score.reproducible=true",), False),
    ],
)
def test_long_runs_are_compiled(
    bert: Path,
    tmp_path: Path,
    pairs: float,
    settings: tuple[str, ...],
    tried: bool,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(compiling, "compile_by_layer", lambda model: model)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiling, "_WORTH", 0.0)
    scorer = load(bert, "model.dtype=bfloat16", *settings, pairs=pairs)
    assert scorer.report.compiled.startswith("compiled code not used") is tried
    assert bool(scorer.report.compiled) is tried


@pytest.mark.slow
def test_what_an_earlier_run_found_slower_is_not_compiled_again(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    tried = []
    monkeypatch.setattr(compiling, "compile_by_layer", lambda it: tried.append(it) or it)
    monkeypatch.setattr(compiling, "_WORTH", 0.0)
    (tmp_path / "batch-reranker-not-faster.json").write_text("{")  # ended while it was written
    first = load(bert, "model.dtype=bfloat16", pairs=1e9).report.compiled
    assert first.startswith("compiled code not used: it needs ")
    again = load(bert, "model.dtype=bfloat16", pairs=1e9).report.compiled
    assert again.startswith("not compiled: in an earlier run, compiled code needed ")
    assert len(tried) == 1
    load(bert, "model.dtype=bfloat16", "score.compile=true")  # as asked for
    load(bert, "model.dtype=float32", pairs=1e9)  # another number format
    assert len(tried) == 3
