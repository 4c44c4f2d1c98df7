"""The layered rerankers in the checkpoint's own code: as FlagEmbedding ships it, and mended.

FlagEmbedding 1.4.2 wrote it for transformers 4. MiniCPM's runs here as it is. Gemma2's does not run
on transformers 5; a copy does in which Gemma2's layers are called as that version asks for.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from FlagEmbedding.inference.reranker.decoder_only import models as shipped

from reranker_core import models
from reranker_core.checkpoint import open_checkpoint
from reranker_core.config import ModelConfig
from reranker_core.errors import ConfigError, PreflightRefused
from reranker_core.scorer import Scorer
from tests import damage
from tests.decoder_checkpoints import change
from tests.parity import oracles
from tests.parity.common import assert_same, assert_same_by_layer, load, sample_pairs
from tests.tables import config

MINICPM = (
    "configuration_minicpm_reranker.LayerWiseMiniCPMConfig",
    "modeling_minicpm_reranker.LayerWiseMiniCPMForCausalLM",
)
GEMMA2 = ("gemma_config.CostWiseGemmaConfig", "gemma_model.CostWiseGemmaForCausalLM")
OWN = "model.trust_remote_code=true"
# What transformers 5 asks for: rotations made outside of the layer, which returns a tensor.
MENDED = """
from transformers.models.gemma2 import modeling_gemma2


class Gemma2DecoderLayer(modeling_gemma2.Gemma2DecoderLayer):
    def __init__(self, config, layer_idx):
        super().__init__(config, layer_idx)
        self.rotary = modeling_gemma2.Gemma2RotaryEmbedding(config)

    def forward(self, hidden_states, attention_mask, position_ids, **_):
        rotations = self.rotary(hidden_states, position_ids)
        settings = {"attention_mask": attention_mask, "position_ids": position_ids}
        return (super().forward(hidden_states, position_embeddings=rotations, **settings),)


CostWiseGemmaForCausalLM._tied_weights_keys = None
CostWiseGemmaForCausalLM.get_output_embeddings = lambda self: None
"""


def with_code(source: Path, folder: Path, classes: tuple[str, str], **settings: Any) -> Path:
    """The checkpoint with FlagEmbedding's code beside it."""
    shutil.copytree(source, folder)
    for name in classes:
        shutil.copy(Path(shipped.__file__).parent / f"{name.split('.')[0]}.py", folder)
    code = dict(zip(("AutoConfig", "AutoModelForCausalLM"), classes, strict=True))
    change(folder, "config.json", auto_map=code, **settings)
    return folder


@pytest.fixture
def minicpm(minicpm_layerwise: Path, tmp_path: Path) -> Path:
    return with_code(minicpm_layerwise, tmp_path / "minicpm", MINICPM)


@pytest.fixture
def gemma2(gemma2_lightweight: Path, tmp_path: Path) -> Path:
    return with_code(gemma2_lightweight, tmp_path / "gemma2", GEMMA2)


@pytest.fixture
def mended_gemma2(gemma2: Path) -> Path:
    with (gemma2 / "gemma_model.py").open("a") as file:
        file.write(MENDED)
    return gemma2


def own_class(scorer: Scorer) -> str:
    """The module of the class that computes, where it is the checkpoint's."""
    return type(scorer._engine.model.inner).__module__


@pytest.mark.parametrize("cutoffs", [[6], [2, 3, 6]])
def test_minicpms_own_code_as_shipped_runs_and_scores_as_it_should(
    minicpm: Path, cutoffs: list[int]
):
    pairs = sample_pairs(128, 96)
    setting = f"model.cutoff_layer={cutoffs}"
    scorer = load(minicpm, 128, 96, OWN, setting)
    assert own_class(scorer).startswith("transformers_modules.")
    scores = scorer.score_pairs(pairs)
    assert_same_by_layer(scores, oracles.layerwise_scores(minicpm, pairs, 128, 96, cutoffs))
    assert_same(scores, load(minicpm, 128, 96, setting).score_pairs(pairs))


@pytest.mark.parametrize(
    ("cutoffs", "layers", "ratio"), [([5], [2, 4], 2), ([3, 4, 6], [2, 4], 2), ([6], [], 1)]
)
def test_gemma2s_own_code_runs_once_it_fits_transformers(
    mended_gemma2: Path, cutoffs: list[int], layers: list[int], ratio: int
):
    pairs = sample_pairs(128, 96)
    settings = (
        f"model.cutoff_layer={cutoffs}",
        f"model.compress_layers={layers}",
        f"model.compress_ratio={ratio}",
    )
    scorer = load(mended_gemma2, 128, 96, OWN, *settings)
    assert own_class(scorer).startswith("transformers_modules.")
    scores = scorer.score_pairs(pairs)
    expected = oracles.lightweight_scores(mended_gemma2, pairs, 128, 96, cutoffs, layers, ratio)
    assert_same_by_layer(scores, expected)
    assert_same(scores, load(mended_gemma2, 128, 96, *settings).score_pairs(pairs))


def test_code_that_does_not_run_is_refused_and_the_way_out_works(gemma2: Path):
    with pytest.raises(PreflightRefused, match="architecture/own_code_runs") as caught:
        load(gemma2, 128, 96, OWN)
    assert "Set model.trust_remote_code=false" in str(caught.value)
    assert np.isfinite(load(gemma2, 128, 96).score_pairs(sample_pairs(128, 96))).all()


def test_unreadable_weights_are_not_taken_for_code_that_does_not_run(minicpm: Path):
    (minicpm / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(PreflightRefused, match="weights/loadable"):
        load(minicpm, 128, 96, OWN)


def checked(model: Path) -> Scorer:
    """Loaded with its preflight, but for what random weights mean."""
    settings = ("model.device=cpu", "model.dtype=float32", "preflight.checks.meaning=off", OWN)
    return Scorer.load(config("in", "out", *settings, model=model))


def without_norm(weights: damage.Weights) -> None:
    del weights["model.norm.weight"]


def test_own_code_has_its_preflight_too(minicpm: Path, mended_gemma2: Path, tmp_path: Path):
    assert np.isfinite(checked(minicpm).score_pairs([("a", "b")])).all()
    assert np.isfinite(checked(mended_gemma2).score_pairs([("a", "b")])).all()
    with pytest.raises(PreflightRefused, match=r"none_missing: 1 keys: model.norm.weight"):
        checked(damage.with_weights(minicpm, tmp_path / "less", without_norm))


def test_heads_by_layer_are_not_what_gemma2s_own_code_has(mended_gemma2: Path):
    settings = ("model.cutoff_layer=5", "model.lightweight_head=of_layer")
    with pytest.raises(ConfigError, match="lightweight_head=of_layer"):
        load(mended_gemma2, 128, 96, OWN, *settings)


def test_own_code_is_part_of_the_record_and_told(minicpm: Path):
    for allowed in (False, True):
        model = ModelConfig(path=str(minicpm), trust_remote_code=allowed)
        checkpoint = open_checkpoint(model)
        record = models.FAMILIES["layerwise"].pair_format(checkpoint, model).record
        assert ("own_code" in record) == allowed
        assert ("own code" in models.choose(checkpoint, model)[2]) == allowed
