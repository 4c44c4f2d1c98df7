"""jina-reranker-v2 and gte-multilingual-reranker score without their own code.

Of gte, rotary frequencies are held against the formula of its own code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from reranker_core.checks import Check
from reranker_core.config import ModelConfig
from reranker_core.errors import ConfigError, PreflightRefused
from reranker_core.models import encoder
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.score.loading import load_scorer
from tests import damage, native_checkpoints
from tests.checkpoints import LONGEST
from tests.parity.common import assert_same, encode, load, sample_pairs
from tests.tables import config


@pytest.fixture(scope="module")
def jina(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return native_checkpoints.jina(tmp_path_factory.mktemp("jina"))


@pytest.fixture(scope="module")
def gte(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return native_checkpoints.gte(tmp_path_factory.mktemp("gte"))


def opened(folder: Path, **settings: Any) -> tuple[Any, ModelConfig]:
    model = ModelConfig(path=str(folder), **settings)
    return open_checkpoint(model), model


def test_jina_scores_as_the_same_weights_in_their_usual_names(jina: Path, xlm_roberta: Path):
    pairs = sample_pairs(LONGEST, None)
    expected = load(xlm_roberta, LONGEST, None).score_pairs(pairs)
    assert np.array_equal(load(jina, LONGEST, None).score_pairs(pairs), expected)
    assert encoder.pair_format(*opened(jina)).max_length == LONGEST  # positions from 2 on


def test_gte_scores_with_the_positions_of_its_own_code(gte: Path):
    pairs = sample_pairs(LONGEST, None)
    scorer = load(gte, LONGEST, None)
    model = native_checkpoints.gte_with_own_frequencies(gte)
    with torch.inference_mode():
        expected = [float(model(torch.tensor([ids])).logits[0, 0]) for ids in encode(scorer, pairs)]
    assert_same(scorer.score_pairs(pairs), expected)


@pytest.mark.parametrize("name", ["jina", "gte"])
def test_code_is_not_run_where_it_is_allowed_but_not_needed(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
):
    """Neither from the folder, nor from the repository that config.json names."""
    folder = request.getfixturevalue(name)
    code = b"raise SystemExit('this code has run')"
    copy = damage.with_file(folder, tmp_path / "m", "configuration_xlm_roberta.py", code)
    scorer = load(copy, LONGEST, None, "model.trust_remote_code=true")
    pairs = sample_pairs(LONGEST, None)[:5]
    assert np.array_equal(scorer.score_pairs(pairs), load(folder, LONGEST, None).score_pairs(pairs))


@pytest.mark.parametrize("prefix", ["", "gte."])
def test_gte_is_read_under_its_other_prefixes(gte: Path, tmp_path: Path, prefix: str):
    def rename(weights: damage.Weights) -> None:
        for name in list(weights):
            weights[name.replace("new.", prefix)] = weights.pop(name)

    folder = damage.with_weights(gte, tmp_path / "m", rename)
    pairs = sample_pairs(64, None)[:10]
    expected = load(gte, 64, None).score_pairs(pairs)
    assert np.array_equal(load(folder, 64, None).score_pairs(pairs), expected)


@pytest.mark.parametrize("name", ["jina", "gte"])
def test_no_code_is_asked_for(name: str, request: pytest.FixtureRequest):
    folder = request.getfixturevalue(name)
    off = ("preflight.checks.meaning=off", "model.dtype=float32", "model.device=cpu")
    report = load_scorer(config("in", "out", *off, model=folder)).report
    assert not [check for check in report.failed if check.group != "meaning"]
    found, _ = opened(folder)
    assert not found.needs_remote_code
    assert "code" not in found.digests


@pytest.mark.parametrize(
    "other",
    [
        {"rope_scaling": {"type": "yarn", "factor": 8.0}},
        {"rope_scaling": {"type": "ntk", "factor": 8.0, "mixed_b": 0.5}},
        {"logn_attention_scale": True},
        {"layer_norm_type": "rms_norm"},
    ],
)
def test_settings_of_gte_that_are_not_known_are_refused(
    gte: Path, tmp_path: Path, other: dict[str, Any]
):
    folder = damage.with_config(gte, tmp_path / "m", **other)
    with pytest.raises(ConfigError, match="not supported"):
        opened(folder)


@pytest.mark.parametrize(
    "other",
    [
        {"rope_scaling": {"type": "ntk", "factor": []}},
        {"rope_scaling": {"type": "ntk"}},
        {"num_attention_heads": ""},
    ],
)
def test_settings_of_gte_that_cannot_be_read_are_refused(
    gte: Path, tmp_path: Path, other: dict[str, Any]
):
    folder = damage.with_config(gte, tmp_path / "m", **other)
    with pytest.raises(ConfigError, match="cannot be used"):
        opened(folder)


def test_a_layer_that_is_missing_is_refused(jina: Path, tmp_path: Path):
    name = "roberta.encoder.layers.1.mixer.Wqkv.weight"
    folder = damage.with_weights(jina, tmp_path / "m", lambda weights: weights.pop(name))
    off = ("preflight.checks.meaning=off", "model.dtype=float32", "model.device=cpu")
    with pytest.raises(PreflightRefused) as caught:
        load_scorer(config("in", "out", *off, model=folder))
    failed = [Check(**check) for check in caught.value.report["checks"] if not check["passed"]]
    assert [check.name for check in failed] == ["none_missing"]
    assert "attention.self.query.weight" in failed[0].measured


def test_own_code_in_jinas_names_without_jinas_marks_is_not_taken_for_it(
    jina: Path, tmp_path: Path
):
    folder = damage.with_config(jina, tmp_path / "m", model_type="xlm-roberta")
    weights = load_file(folder / "model.safetensors")
    weights["roberta.other_ln.weight"] = weights.pop("roberta.emb_ln.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    found, _ = opened(folder)
    assert not found.is_native
    assert found.names_own_code
