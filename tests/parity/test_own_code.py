"""The layered rerankers in the checkpoint's own code: as FlagEmbedding ships it.

FlagEmbedding 1.4.2 wrote it for transformers 4, and lets it import under 5. Before, and in the
checkpoints on the hub, its imports were those of version 4.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from FlagEmbedding.inference.reranker.decoder_only import models as shipped
from transformers.models.gemma2 import modeling_gemma2

from reranker_core.config import ModelConfig
from reranker_core.errors import ConfigError, PreflightRefused
from reranker_core.models import families
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.score.loading import load_scorer
from reranker_core.score.scorer import Scorer
from tests import damage
from tests.decoder_checkpoints import change
from tests.marks import more
from tests.parity import oracles
from tests.parity.common import (
    assert_same,
    assert_same_by_layer,
    deviation,
    load,
    sample_pairs,
)
from tests.tables import config

MINICPM = (
    "configuration_minicpm_reranker.LayerWiseMiniCPMConfig",
    "modeling_minicpm_reranker.LayerWiseMiniCPMForCausalLM",
)
GEMMA2 = ("gemma_config.CostWiseGemmaConfig", "gemma_model.CostWiseGemmaForCausalLM")
OWN = "model.trust_remote_code=true"
# Imports as 1.4.2 has them, and as they were.
IMPORTS = {
    "modeling_minicpm_reranker.py": (
        "from FlagEmbedding.utils.transformers_compat import is_torch_fx_available",
        "from transformers.utils.import_utils import is_torch_fx_available",
    ),
    "gemma_model.py": (
        "import Gemma2MLP, repeat_kv, Gemma2Attention, Gemma2DecoderLayer\n",
        "import Gemma2MLP, repeat_kv, Gemma2Attention, Gemma2FlashAttention2, Gemma2SdpaAttention, "
        "GEMMA2_ATTENTION_CLASSES, Gemma2DecoderLayer, GEMMA2_START_DOCSTRING, "
        "GEMMA2_INPUTS_DOCSTRING\n",
    ),
}


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


def import_as_before(folder: Path) -> None:
    name = next(name for name in IMPORTS if (folder / name).exists())
    now, before = IMPORTS[name]
    code = (folder / name).read_text()
    assert code.count(now) == 1
    (folder / name).write_text(code.replace(now, before))


def own_class(scorer: Scorer) -> str:
    """The module of the class that computes, where it is the checkpoint's."""
    return type(scorer._engine.model.inner).__module__


@pytest.mark.slow
@pytest.mark.parametrize(("cutoffs", "as_on_the_hub"), [more([6], False), ([2, 3, 6], True)])
def test_minicpms_own_code_runs_and_scores_as_it_should(
    minicpm: Path, cutoffs: list[int], as_on_the_hub: bool
):
    if as_on_the_hub:
        import_as_before(minicpm)
    pairs = sample_pairs(128, 96)
    setting = f"model.cutoff_layer={cutoffs}"
    scorer = load(minicpm, 128, 96, OWN, setting)
    assert own_class(scorer).startswith("transformers_modules.")
    scores = scorer.score_pairs(pairs)
    assert_same_by_layer(scores, oracles.layerwise_scores(minicpm, pairs, 128, 96, cutoffs))
    assert_same(scores, load(minicpm, 128, 96, setting).score_pairs(pairs))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cutoffs", "layers", "ratio", "as_on_the_hub"),
    [
        ([3, 4, 6], [2, 4], 2, True),
        more([5], [2, 4], 2, False),
        more([6], [], 1, True),
    ],
)
def test_gemma2s_own_code_runs_and_scores_as_it_should(
    gemma2: Path, cutoffs: list[int], layers: list[int], ratio: int, as_on_the_hub: bool
):
    if as_on_the_hub:
        import_as_before(gemma2)
    pairs = sample_pairs(128, 96)
    settings = (
        f"model.cutoff_layer={cutoffs}",
        f"model.compress_layers={layers}",
        f"model.compress_ratio={ratio}",
    )
    scorer = load(gemma2, 128, 96, OWN, *settings)
    assert own_class(scorer).startswith("transformers_modules.")
    scores = scorer.score_pairs(pairs)
    expected = oracles.lightweight_scores(gemma2, pairs, 128, 96, cutoffs, layers, ratio)
    assert_same_by_layer(scores, expected)
    assert_same(scores, load(gemma2, 128, 96, *settings).score_pairs(pairs))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["minicpm", "gemma2"])
def test_own_code_in_bfloat16_is_close_to_float32(family: str, request: pytest.FixtureRequest):
    folder = request.getfixturevalue(family)
    pairs = sample_pairs(128, 96)[:24]
    single = load(folder, 128, 96, OWN).score_pairs(pairs)
    half = load(folder, 128, 96, OWN, "model.dtype=bfloat16").score_pairs(pairs)
    assert 1e-5 < deviation(half, single) < 0.1


def test_transformers_is_left_as_it_was(gemma2: Path):
    layer = modeling_gemma2.Gemma2DecoderLayer
    load(gemma2, 128, 96, OWN)
    assert modeling_gemma2.Gemma2DecoderLayer is layer
    assert not hasattr(modeling_gemma2, "Gemma2FlashAttention2")


def test_code_that_does_not_run_is_refused_and_the_way_out_works(gemma2: Path):
    with (gemma2 / "gemma_model.py").open("a") as file:
        file.write("\nfrom transformers import what_it_no_longer_has\n")
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
    return load_scorer(config("in", "out", *settings, model=model))


def without_norm(weights: damage.Weights) -> None:
    del weights["model.norm.weight"]


@pytest.mark.slow
def test_own_code_has_its_preflight_too(minicpm: Path, gemma2: Path, tmp_path: Path):
    assert np.isfinite(checked(minicpm).score_pairs([("a", "b")])).all()
    assert np.isfinite(checked(gemma2).score_pairs([("a", "b")])).all()
    with pytest.raises(PreflightRefused, match=r"none_missing: 1 key: model.norm.weight"):
        checked(damage.with_weights(minicpm, tmp_path / "less", without_norm))


def test_heads_by_layer_are_not_what_gemma2s_own_code_has(gemma2: Path):
    settings = ("model.cutoff_layer=5", "model.lightweight_head=of_layer")
    with pytest.raises(ConfigError, match="lightweight_head=of_layer"):
        load(gemma2, 128, 96, OWN, *settings)


def test_own_code_is_part_of_the_record_and_told(minicpm: Path):
    for allowed in (False, True):
        model = ModelConfig(path=str(minicpm), trust_remote_code=allowed)
        checkpoint = open_checkpoint(model)
        record = families.FAMILIES["layerwise"].pair_format(checkpoint, model).record
        assert ("own_code" in record) == allowed
        assert ("own code" in families.choose(checkpoint, model)[2]) == allowed


UNUSED_MASK = """

class Body({0}):
    def _prepare_decoder_attention_mask(self, mask, *_):
        return mask

    def forward(self, *args, **given):
        return super().forward(*args, **given)


{0} = Body
"""


def test_a_mask_of_its_own_that_nothing_calls_is_refused(minicpm: Path, gemma2: Path):
    for folder, name, body in (
        (minicpm, "modeling_minicpm_reranker.py", "LayerWiseMiniCPMModel"),
        (gemma2, "gemma_model.py", "CostWiseGemmaModel"),
    ):
        with (folder / name).open("a") as file:
            file.write(UNUSED_MASK.format(body))
        with pytest.raises(PreflightRefused, match="_prepare_decoder_attention_mask") as caught:
            load(folder, 128, 96, OWN)
        assert f"{name}: Body" in str(caught.value)
