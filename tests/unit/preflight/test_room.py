"""Models that do not fit the memory of a GPU are told before they are read."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from safetensors.torch import load_file

from reranker_core.config import ModelConfig
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.preflight.room import check_room, room
from tests import damage


def needed(bert: Path, dtype: str, memory: int) -> tuple[bool, str]:
    model = ModelConfig(path=str(bert))
    check = room(open_checkpoint(model), model, dtype, "NVIDIA L4", memory)
    return check.passed, check.measured


def gib(folder: Path, **settings: Any) -> str:
    model = ModelConfig(path=str(folder), **settings)
    large = {"bytes": SimpleNamespace(itemsize=2**30)}
    with mock.patch("reranker_core.preflight.room.DTYPES", large):
        return room(open_checkpoint(model), model, "bytes", "NVIDIA L4", 1).measured


def count_of(folder: Path, left_out: str = "$never") -> str:
    weights = load_file(folder / "model.safetensors")
    total = sum(each.numel() for name, each in weights.items() if not re.match(left_out, name))
    return f"the weights need {total:.1f} GiB in bytes"


def test_layers_above_the_cutoff_are_not_counted(minicpm_layerwise: Path):
    assert gib(minicpm_layerwise) == count_of(minicpm_layerwise)
    upper = r"model\.layers\.[3-9]|lm_head"
    assert count_of(minicpm_layerwise, upper) != count_of(minicpm_layerwise)
    assert gib(minicpm_layerwise, cutoff_layer=3) == count_of(minicpm_layerwise, upper)
    assert gib(minicpm_layerwise, cutoff_layer=[2, 3]) == count_of(minicpm_layerwise, upper)


def test_output_embeddings_of_their_own_are_not_counted(gemma_untied: Path, tmp_path: Path):
    assert gib(gemma_untied) == count_of(gemma_untied, "lm_head")

    def without_input(weights: damage.Weights) -> None:
        del weights["model.embed_tokens.weight"]

    tied = damage.with_weights(gemma_untied, tmp_path / "tied", without_input)
    assert gib(tied) == count_of(tied)  # they are the input embeddings, too


def test_weights_are_counted_in_the_number_format_of_the_run(bert: Path):
    size = (bert / "model.safetensors").stat().st_size  # float32, with a small header
    assert needed(bert, "float32", size // 2)[0] is False
    assert needed(bert, "float32", 2 * size)[0] is True
    assert needed(bert, "bfloat16", size * 2 // 3)[0] is True
    assert needed(bert, "bfloat16", size // 2)[0] is False  # nothing would be left


def test_the_file_may_be_in_another_number_format(bert: Path, tmp_path: Path):
    def halve(weights: damage.Weights) -> None:
        for name in weights:
            weights[name] = weights[name].half()

    half = damage.with_weights(bert, tmp_path / "half", halve)
    assert needed(half, "float32", 1) == needed(bert, "float32", 1)


def test_sizes_and_gpu_are_named(bert: Path):
    model = ModelConfig(path=str(bert))
    check = room(open_checkpoint(model), model, "bfloat16", "NVIDIA L4", 1 << 30)
    assert "GiB in bfloat16" in check.measured
    assert "the 1.0 GiB that this process may use of NVIDIA L4" in check.expected


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_cpu_has_no_such_limit(bert: Path, dtype: str):
    model = ModelConfig(path=str(bert))
    assert check_room(open_checkpoint(model), model, dtype, "cpu") == []
