"""Weights under the names that training tools give them, and what is left over beside them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from reranker_core.config import ModelConfig
from reranker_core.models import encoder
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.models.tensors import read_tensors, unwrapped
from reranker_core.preflight.weights import check_weights
from tests import damage
from tests.parity.common import load

PAIRS = [("how to sort", "Sorts the list in place."), ("a csv file", "read_csv reads a file.")]
LAYER = "bert.encoder.layer.1."

WRAPPED: dict[str, Callable[[str], str]] = {
    "compiled": lambda name: f"_orig_mod.{name}",
    "data parallel": lambda name: f"module.{name}",
    "compiled and data parallel": lambda name: f"module._orig_mod.{name}",
    "a trainer's attribute": lambda name: f"model.{name}",
    "fully sharded": lambda name: f"_fsdp_wrapped_module.{name}",
    "an adapter's base": lambda name: f"base_model.model.{name}",
    "a prefix of no known tool": lambda name: f"student.reranker.{name}",
    "one compiled layer": lambda name: name.replace(LAYER, f"{LAYER}_orig_mod."),
    "sharded layers": lambda name: (
        "_fsdp_wrapped_module." + name.replace(".layer.", ".layer._fsdp_wrapped_module.")
    ),
    "each layer's activations are computed again": lambda name: name.replace(
        LAYER, f"{LAYER}_checkpoint_wrapped_module."
    ),
    "old names of norms": lambda name: (
        "module."
        + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        )
    ),
    "all but the head": lambda name: name if name.startswith("classifier.") else f"module.{name}",
    "the head alone": lambda name: f"module.{name}" if name.startswith("classifier.") else name,
}


def renamed(source: Path, folder: Path, name: Callable[[str], str]) -> Path:
    def edit(weights: damage.Weights) -> None:
        for old in list(weights):
            weights[name(old)] = weights.pop(old)

    return damage.with_weights(source, folder, edit)


@pytest.mark.parametrize("how", WRAPPED)
def test_weights_score_the_same_under_the_names_of_training(
    bert: Path, tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
):
    folder = renamed(bert, tmp_path / "m", WRAPPED[how])
    with caplog.at_level(logging.WARNING, logger="reranker_core"):
        scores = load(folder, 64, None).score_pairs(PAIRS)
    assert np.array_equal(scores, load(bert, 64, None).score_pairs(PAIRS))
    assert "names without the wrapper prefixes of training" in caplog.text


def test_pickled_weights_are_renamed_too(bert: Path, tmp_path: Path):
    folder = damage.with_weights(bert, tmp_path / "m", lambda weights: None)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    wrapped = {f"module.{name}": tensor for name, tensor in weights.items()}
    torch.save(wrapped, folder / "pytorch_model.bin")
    scores = load(folder, 64, None, "model.allow_pickle=true").score_pairs(PAIRS)
    assert np.array_equal(scores, load(bert, 64, None).score_pairs(PAIRS))


def test_the_prefix_of_a_language_model_is_left_out(qwen3: Path, tmp_path: Path):
    folder = renamed(qwen3, tmp_path / "m", lambda name: f"_orig_mod.{name}")
    scores = load(folder, 300, None).score_pairs(PAIRS)
    assert np.array_equal(scores, load(qwen3, 300, None).score_pairs(PAIRS))


def checked(folder: Path) -> dict[str, tuple[bool, str]]:
    """Whether each check of the weights passed, and what it measured."""
    model = ModelConfig(path=str(folder))
    loaded = encoder.load(open_checkpoint(model), model, torch.float32, "cpu")
    return {check.name: (check.passed, check.measured) for check in check_weights(loaded)}


def test_what_was_left_out_is_told(bert: Path, tmp_path: Path):
    found = checked(renamed(bert, tmp_path / "m", lambda name: f"module.{name}"))
    assert found["none_missing"][0]
    assert f"such as module.{LAYER[:4]}" in found["none_missing"][1]
    assert found["none_unexpected"] == (True, "none")


def test_two_models_in_one_file_are_refused(bert: Path, tmp_path: Path):
    def both(weights: damage.Weights) -> None:
        for name in list(weights):
            tensor = weights.pop(name)
            weights[f"teacher.{name}"], weights[f"student.{name}"] = tensor, tensor.clone()

    found = checked(damage.with_weights(bert, tmp_path / "m", both))
    assert not found["none_missing"][0]
    assert not found["none_unexpected"][0]


def test_a_second_model_beside_the_first_is_refused(bert: Path, tmp_path: Path):
    def average(weights: damage.Weights) -> None:
        weights |= {f"ema.{name}": tensor.clone() for name, tensor in weights.items()}
        for name in [name for name in weights if not name.startswith("ema.")]:
            weights[f"model.{name}"] = weights.pop(name)
        del weights["ema.classifier.bias"]

    found = checked(damage.with_weights(bert, tmp_path / "m", average))
    assert found["none_missing"][0]  # one prefix brings more of them
    assert not found["none_unexpected"][0]


def test_a_prefix_does_not_hide_that_the_head_is_missing(bert: Path, tmp_path: Path):
    def base(weights: damage.Weights) -> None:
        for name in list(weights):
            tensor = weights.pop(name)
            if not name.startswith("classifier."):
                weights[f"module.{name}"] = tensor

    found = checked(damage.with_weights(bert, tmp_path / "m", base))
    passed, measured = found["none_missing"]
    assert not passed
    assert "classifier.weight" in measured


LEFT = {
    "cls.predictions.transform.dense.weight": (32, 32),
    "cls.seq_relationship.weight": (2, 32),
    "lm_head.decoder.bias": (600,),
    "loss.logit_scale": (1,),
    "score_bias": (1,),
    "log_vars": (3,),
    "qa_outputs.weight": (2, 32),
    "bert.encoder.rotary_emb.inv_freq": (4,),
    "bert.embeddings.position_ids": (1, 130),
    "generator_predictions.dense.weight": (32, 32),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_nothing_needs_is_told_and_accepted(bert: Path, tmp_path: Path, name: str):
    extra = {name: torch.ones(LEFT[name])}
    found = checked(damage.with_weights(bert, tmp_path / "m", lambda w: w.update(extra)))
    passed, measured = found["none_unexpected"]
    assert passed
    assert name in measured or "position_ids" in name  # which transformers drops itself


@pytest.mark.parametrize(
    "name",
    [
        "bert.encoder.layer.2.output.dense.weight",
        "classifier.dense.weight",
        "score_head.weight",
        "bert.encoder.layer.0.output.dense.weight_scale",
        "pooling.attention.weight",
    ],
)
def test_what_may_have_made_the_score_stays_refused(bert: Path, tmp_path: Path, name: str):
    extra = {name: torch.ones(32, 32)}
    found = checked(damage.with_weights(bert, tmp_path / "m", lambda w: w.update(extra)))
    passed, measured = found["none_unexpected"]
    assert not passed
    assert name in measured


def test_names_that_would_collide_stay_as_they_are():
    assert unwrapped(["module.a.w", "a.w"], ["a.w", "b.w"], ["b.w"]) == {}
    assert unwrapped(["module.a.w", "x.a.w"], ["a.w"], ["a.w"]) == {}
    assert unwrapped([], ["a.w"], ["a.w"]) == {}


def test_tensors_are_read_by_name(bert: Path):
    file = bert / "model.safetensors"
    found = read_tensors([file])
    stored = load_file(file)
    assert found.keys() == stored.keys()
    assert torch.equal(found["classifier.weight"][:], stored["classifier.weight"])
