"""Weights in the number format of the run are not copied in the memory of the host."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from reranker_core.config import ModelConfig
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.models.families import FAMILIES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/maps")


def mapped_share(model: torch.nn.Module, folder: Path) -> float:
    """Share of a model's bytes that are pages of its weight file."""
    areas = [
        [int(end, 16) for end in line.split()[0].split("-")]
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith(f"{folder}/model.safetensors")
    ]
    weights = list(model.parameters())
    mapped = [w for w in weights if any(a <= w.data_ptr() < b for a, b in areas)]
    return sum(w.nbytes for w in mapped) / sum(w.nbytes for w in weights)


@pytest.mark.parametrize(
    ("family", "fixture", "settings"),
    [
        ("encoder", "bert", {}),
        ("llm", "qwen3", {"template": "qwen3-reranker"}),
        ("classifier", "qwen3_classifier", {"template": "qwen3-reranker"}),
    ],
)
def test_weights_are_mapped_until_they_are_on_the_device(
    family: str,
    fixture: str,
    settings: dict[str, str],
    tmp_path: Path,
    request: pytest.FixtureRequest,
):
    source = request.getfixturevalue(fixture)
    for file in source.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    half = {name: weight.bfloat16() for name, weight in weights.items()}
    save_file(half, tmp_path / "model.safetensors", {"format": "pt"})

    model = ModelConfig(path=str(tmp_path), **settings)
    checkpoint = open_checkpoint(model)
    found = FAMILIES[family].load(checkpoint, model, torch.bfloat16, "cpu")
    assert mapped_share(found.model, tmp_path) > 0.95
    found = FAMILIES[family].load(checkpoint, model, torch.float32, "cpu")
    assert mapped_share(found.model, tmp_path) == 0
