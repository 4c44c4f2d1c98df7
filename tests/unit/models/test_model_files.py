"""Which files of a model folder are its weights, and what config.json may ask for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from reranker_core.config import ModelConfig
from reranker_core.errors import ConfigError
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.preflight.files import check_files
from tests import damage
from tests.parity.common import load, sample_pairs
from tests.unit.preflight.refusing import failures, refused

PAIRS = sample_pairs(60, None)[:10]


def other_weights(folder: Path, name: str, scale: float = 0.5) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["classifier.weight"] = weights["classifier.weight"] * scale
    save_file(weights, folder / name, metadata={"format": "pt"})


def test_a_weight_file_that_config_json_names_is_loaded_and_digested(bert: Path, tmp_path: Path):
    named = damage.with_config(bert, tmp_path / "named", transformers_weights="own.safetensors")
    other_weights(named, "own.safetensors")
    usual = damage.with_file(bert, tmp_path / "usual", "unused", b"")
    other_weights(usual, "model.safetensors")
    scores = load(named, 64, None).score_pairs(PAIRS)
    np.testing.assert_array_equal(scores, load(usual, 64, None).score_pairs(PAIRS))

    digest = open_checkpoint(ModelConfig(path=str(named))).digests["weights"]
    other_weights(named, "own.safetensors", 0.25)
    assert open_checkpoint(ModelConfig(path=str(named))).digests["weights"] != digest


def test_a_weight_file_that_is_named_and_missing_is_refused(bert: Path, tmp_path: Path):
    folder = damage.with_config(bert, tmp_path / "m", transformers_weights="own.safetensors")
    model = ModelConfig(path=str(folder))
    failed = [check for check in check_files(open_checkpoint(model), model) if not check.passed]
    assert [check.name for check in failed] == ["weights_present"]
    assert failed[0].measured == "own.safetensors is missing, though config.json names it"


def test_weights_outside_the_folder_are_refused(bert: Path, tmp_path: Path):
    folder = damage.with_config(bert, tmp_path / "m", transformers_weights="../own.safetensors")
    with pytest.raises(ConfigError, match=r"config\.json: names \.\./own\.safetensors"):
        open_checkpoint(ModelConfig(path=str(folder)))


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_flash_attention_is_not_needed(bert: Path, tmp_path: Path, key: str):
    folder = damage.with_config(bert, tmp_path / "m", **{key: "flash_attention_2"})
    expected = load(bert, 64, None).score_pairs(PAIRS)
    np.testing.assert_array_equal(load(folder, 64, None).score_pairs(PAIRS), expected)


def test_weights_of_eight_bits_without_settings_are_refused(bert: Path, tmp_path: Path):
    def cast(weights: damage.Weights) -> None:
        for name, weight in weights.items():
            weights[name] = weight.to(torch.float8_e4m3fn) if weight.dim() == 2 else weight

    error = refused(damage.with_weights(bert, tmp_path / "m", cast))
    assert failures(error) == {"files/not_quantised"}
    assert "weights in F8_E4M3" in str(error)
