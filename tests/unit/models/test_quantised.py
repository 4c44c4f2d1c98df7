"""Quantised checkpoints: their weights are dequantised, and their ranking is the original's.

bitsandbytes and torchao are large and are not installed with the others. Their cases run where they
are installed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from reranker_core.checks import Check
from reranker_core.config import ModelConfig
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.preflight.files import check_files
from reranker_core.preflight.golden import record
from tests import damage
from tests.marks import more
from tests.parity import common
from tests.quantised_checkpoints import (
    by_transformers,
    compressed,
    fp8,
    packed,
    rounded_as_packed,
)
from tests.running import ROOT
from tests.unit.preflight.refusing import load, refused

DEMO = ROOT / "demo/model"
PAIRS = common.sample_pairs(100, None)[:30]
_FILES = "files/not_quantised"


def bits(folder: Path, **settings: object) -> Path:
    pytest.importorskip("bitsandbytes")
    return by_transformers(DEMO, folder, transformers.BitsAndBytesConfig(**settings))


def torchao(folder: Path) -> Path:
    pytest.importorskip("torchao")
    from torchao.quantization import Int8WeightOnlyConfig

    return by_transformers(DEMO, folder, transformers.TorchAoConfig(Int8WeightOnlyConfig()))


WAYS: dict[str, Callable[[Path], Path]] = {
    "compressed-tensors, 8 bits, activations too": lambda at: compressed(DEMO, at, "W8A8"),
    "compressed-tensors, 4 bits in groups": lambda at: compressed(DEMO, at, "W4A16"),
    "compressed-tensors, fp8": lambda at: compressed(DEMO, at, "FP8_DYNAMIC"),
    "fp8 in blocks": lambda at: fp8(DEMO, at, 64)[0],
    "bitsandbytes, 8 bits": lambda at: bits(at, load_in_8bit=True),
    "bitsandbytes, 4 bits": lambda at: bits(at, load_in_4bit=True, bnb_4bit_quant_type="nf4"),
    "torchao, 8 bits": torchao,
}
MARKS = {"compressed-tensors, fp8": pytest.mark.exhaustive}


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("golden") / "golden.json"
    record(load(DEMO).report, str(path))
    return f"preflight.golden={path}"


def checked(model: Path, *settings: str) -> dict[str, Check]:
    report = load(model, "preflight.checks.meaning=refuse", *settings).report
    return {check.name: check for check in report.checks}


@pytest.mark.parametrize("way", [pytest.param(way, marks=MARKS.get(way, ())) for way in WAYS])
def test_a_quantised_model_runs_if_it_ranks_as_the_original(way: str, tmp_path: Path, golden: str):
    folder = WAYS[way](tmp_path / "m")
    assert "quantization_config" in json.loads((folder / "config.json").read_text())
    found = checked(folder, golden)
    assert found["not_quantised"].measured.endswith("dequantised while they are loaded")
    assert float(found["golden"].measured.removeprefix("canary scores: ")) > 0.98


@pytest.mark.parametrize(
    "name",
    ["bert", "qwen3", "monot5", more("gemma2_lightweight")],
)
def test_scores_are_those_of_the_dequantised_weights(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
):
    quantised, plain = fp8(request.getfixturevalue(name), tmp_path, 16)
    template = ["model.template=qwen3-reranker"] if name == "qwen3" else []
    longest = None if name == "qwen3" else 100
    scores = [
        common.load(folder, longest, None, *template).score_pairs(PAIRS)
        for folder in (quantised, plain)
    ]
    common.assert_same(*scores)


@pytest.mark.parametrize("table", [True, False])
def test_weights_of_gptq_are_unpacked(qwen3: Path, tmp_path: Path, table: bool):
    """`table`: the files say which scale each input has."""
    folder = packed(qwen3, tmp_path / "packed", "gptq")
    if not table:
        weights = load_file(folder / "model.safetensors")
        kept = {name: value for name, value in weights.items() if not name.endswith(".g_idx")}
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    scores = [
        common.load(model, None, None, "model.template=qwen3-reranker").score_pairs(PAIRS[:10])
        for model in (folder, rounded_as_packed(qwen3, tmp_path / "plain"))
    ]
    common.assert_same(*scores)


def test_scores_are_those_of_the_library(bert: Path, tmp_path: Path):
    folder = compressed(bert, tmp_path / "m", "W4A16")
    scorer = common.load(folder, 100, None)
    oracle = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    separator, expected = scorer.pair_format.tokenizer.backend.token_to_id("[SEP]"), []
    with torch.inference_mode():
        for ids in common.encode(scorer, PAIRS):
            second = [int(i > ids.index(separator)) for i in range(len(ids))]
            given = {"input_ids": torch.tensor([ids]), "token_type_ids": torch.tensor([second])}
            expected.append(oracle(**given).logits.item())
    common.assert_same(scorer.score_pairs(PAIRS), expected)


def test_a_ranking_that_the_quantisation_changes_is_refused(tmp_path: Path, golden: str):
    folder = compressed(DEMO, tmp_path / "m", "W4A16", group=96, bits=2)
    relaxed = [f"preflight.checks.{group}=warn" for group in ("weights", "meaning")]
    found = {check.name: check for check in load(folder, golden, *relaxed).report.failed}
    assert float(found["golden"].measured.removeprefix("canary scores: ")) < 0.98
    assert "of at least 0.98" in found["golden"].expected
    assert "The quantisation changes the ranking" in found["golden"].remedy


def test_scores_of_the_quantised_model_itself_are_no_standard(bert: Path, tmp_path: Path):
    folder, path = compressed(bert, tmp_path / "m", "W8A8"), tmp_path / "golden.json"
    record(load(folder, "preflight.checks.files=warn").report, str(path))
    report = load(folder, f"preflight.golden={path}").report
    (found,) = (check for check in report.failed if check.name == "golden")
    assert found.measured == "recorded with these quantised weights"


def test_without_scores_to_compare_with_a_quantised_model_is_refused(bert: Path, tmp_path: Path):
    message = str(refused(compressed(bert, tmp_path / "m", "W8A8")))
    assert _FILES in message
    assert "there are no scores of the unquantised model" in message
    assert "--record" in message


def problem(folder: Path) -> str:
    model = ModelConfig(path=str(folder))
    found = check_files(open_checkpoint(model), model, "golden.json")
    return "; ".join(check.measured for check in found if not check.passed)


def test_weights_that_would_be_dequantised_wrongly_are_refused(bert: Path, tmp_path: Path):
    assert "several schemes" in problem(mixed(bert, tmp_path / "mixed"))
    assert "do not fit weight_block_size" in problem(fp8(bert, tmp_path / "cut", 24, cut=True)[0])
    assert "order of activations (weight_g_idx)" in problem(regrouped(bert, tmp_path / "order"))
    settings = {"quant_method": "gptq", "bits": 3}
    three = damage.with_config(bert, tmp_path / "three", quantization_config=settings)
    assert "only 2, 4, 8 bits" in problem(three)


def regrouped(bert: Path, folder: Path) -> Path:
    """As llm-compressor wrote it for `actorder=group`: a table says which scale a column has."""
    settings = {"quant_method": "compressed-tensors", "config_groups": {"4 bits": {}}}
    start = "bert.encoder.layer.0.attention.self.query"
    damage.with_weights(
        bert, folder, lambda w: w.update({f"{start}.weight_g_idx": torch.arange(32) % 2})
    )
    (folder / "config.json").write_text(
        json.dumps(
            json.loads((folder / "config.json").read_text()) | {"quantization_config": settings}
        )
    )
    return folder


def mixed(bert: Path, folder: Path) -> Path:
    groups = {f"{bits} bits": {"weights": {"num_bits": bits}} for bits in (4, 8)}
    settings = {"quant_method": "compressed-tensors", "config_groups": groups}
    return damage.with_config(bert, folder, quantization_config=settings)
