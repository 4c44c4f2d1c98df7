"""Errors that libraries raise become checks that name what failed; no user sees a traceback."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import torch

from reranker_core.checks import Check
from reranker_core.errors import ConfigError, Incomplete, PreflightRefused
from reranker_core.preflight.failures import computes, tokenizes
from reranker_core.score.loading import load_scorer
from tests import damage
from tests.decoder_checkpoints import change
from tests.tables import config


def failed(folder: Path, *settings: str) -> list[str]:
    off = ("preflight.checks.meaning=off", "model.dtype=float32", "model.device=cpu")
    with pytest.raises(PreflightRefused) as caught:
        load_scorer(config("in", "out", *off, *settings, model=folder))
    assert caught.value.exit_code == 3
    checks = [Check(**check) for check in caught.value.report["checks"]]
    return [f"{check.group}/{check.name}" for check in checks if not check.passed]


def test_a_forward_that_fails_is_named(bert: Path, tmp_path: Path):
    body = "assert input_ids.shape[1] < 100, 'too long'"
    folder = damage.with_forward(bert, tmp_path / "m", body)
    assert failed(folder, "model.trust_remote_code=true") == ["architecture/computes"]


def test_a_package_that_cannot_be_imported_is_no_fault_of_the_model():
    with pytest.raises(PreflightRefused) as caught, computes():
        import_module("no_such_package")
    (check,) = caught.value.report["checks"]
    assert "No module named 'no_such_package'" in check["measured"]
    assert "no fault of the model" in check["remedy"]


def test_settings_that_break_the_forward_alone_are_named(monot5: Path, tmp_path: Path):
    folder = damage.with_config(monot5, tmp_path / "m", relative_attention_max_distance=8)
    assert failed(folder) == ["architecture/computes"]


def test_a_tokenizer_class_of_other_files_is_named(qwen3: Path, tmp_path: Path):
    folder = damage.with_config(qwen3, tmp_path / "m")
    change(folder, "tokenizer_config.json", tokenizer_class="GemmaTokenizerFast")
    (name,) = failed(folder)
    assert name.startswith("tokenizer/")


@pytest.mark.parametrize("alive", [True, False])
def test_an_error_of_a_lost_gpu_says_nothing_about_the_model(alive, monkeypatch):
    error = RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`")
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr("reranker_core.device._computes", lambda device: alive)
    with pytest.raises(PreflightRefused if alive else RuntimeError) as caught, computes():
        raise error
    assert (caught.value is error) is not alive


def test_our_own_errors_and_lack_of_memory_stay_what_they_are():
    for error in (ConfigError("x"), Incomplete("x"), torch.OutOfMemoryError("x")):
        with pytest.raises(type(error)), computes():
            raise error
    with pytest.raises(PreflightRefused, match=r"tokenizer/usable: KeyError: 'x'"), tokenizes():
        raise KeyError("x")
