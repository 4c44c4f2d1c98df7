"""Models that do not fit the memory of a GPU are told before they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from reranker_core.config import ModelConfig
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.preflight.room import check_room, room
from tests import damage


def needed(bert: Path, dtype: str, memory: int) -> tuple[bool, str]:
    check = room(open_checkpoint(ModelConfig(path=str(bert))), dtype, "NVIDIA L4", memory)
    return check.passed, check.measured


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
    check = room(open_checkpoint(ModelConfig(path=str(bert))), "bfloat16", "NVIDIA L4", 1 << 30)
    assert "GiB in bfloat16" in check.measured
    assert "the 1.0 GiB that this process may use of NVIDIA L4" in check.expected


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_cpu_has_no_such_limit(bert: Path, dtype: str):
    assert check_room(open_checkpoint(ModelConfig(path=str(bert))), dtype, "cpu") == []
