"""The layered checkpoints' own code, as FlagEmbedding ships it, does not run on transformers 5.

That is why these families are written on transformers' layers. A test that fails here says that the
code has been mended, and could be offered to those who allow it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from FlagEmbedding.inference.reranker.decoder_only import models as shipped
from transformers import AutoModelForCausalLM

from tests.decoder_checkpoints import change

CODE = {
    "minicpm_layerwise": (
        "configuration_minicpm_reranker.LayerWiseMiniCPMConfig",
        "modeling_minicpm_reranker.LayerWiseMiniCPMForCausalLM",
    ),
    "gemma2_lightweight": (
        "gemma_config.CostWiseGemmaConfig",
        "gemma_model.CostWiseGemmaForCausalLM",
    ),
}
IDS = torch.tensor([[2, 300, 301, 302, 303, 304]])


def own_model(checkpoint: Path, folder: Path, name: str, **settings: Any) -> Any:
    """The checkpoint with its code beside it, loaded as transformers loads such."""
    shutil.copytree(checkpoint, folder)
    for source in CODE[name]:
        shutil.copy(Path(shipped.__file__).parent / f"{source.split('.')[0]}.py", folder)
    code = dict(zip(("AutoConfig", "AutoModelForCausalLM"), CODE[name], strict=True))
    change(folder, "config.json", auto_map=code, **settings)
    return AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).eval()


def test_minicpm_stops_at_its_rope_settings(minicpm_layerwise: Path, tmp_path: Path):
    with pytest.raises(KeyError, match="type"):
        own_model(minicpm_layerwise, tmp_path / "m", "minicpm_layerwise")


def test_minicpm_computes_with_buffers_that_nobody_filled(minicpm_layerwise: Path, tmp_path: Path):
    rope = {"type": "linear", "rope_type": "linear", "factor": 1.0, "rope_theta": 10_000.0}
    model = own_model(minicpm_layerwise, tmp_path / "m", "minicpm_layerwise", rope_parameters=rope)
    first = model.model.layers[0].self_attn.rotary_emb.cos_cached[0]
    assert not torch.allclose(first.float(), torch.ones(()))  # the cosine of position 0


def test_gemma2_stops_at_its_tied_weights(gemma2_lightweight: Path, tmp_path: Path):
    with pytest.raises(AttributeError, match="keys"):
        own_model(gemma2_lightweight, tmp_path / "m", "gemma2_lightweight")


def test_gemma2_stops_at_transformers_layers(gemma2_lightweight: Path, tmp_path: Path):
    model = own_model(
        gemma2_lightweight, tmp_path / "m", "gemma2_lightweight", tie_word_embeddings=False
    )
    with pytest.raises(TypeError, match="unpack"):
        model(IDS, attention_mask=torch.ones_like(IDS), use_cache=False, cutoff_layers=[3])
