"""Folders that are no checkpoint that can be loaded are told what they are, and what to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from reranker_core.checks import Check
from reranker_core.config import ModelConfig
from reranker_core.errors import ConfigError
from reranker_core.models import quantised
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.preflight.checkpoint import check_checkpoint
from reranker_core.preflight.files import check_files
from tests import damage
from tests.faults.zoo.files import sharded
from tests.quantised_checkpoints import packed
from tests.unit.preflight.refusing import load


def checks(folder: Path) -> dict[str, Check]:
    model = ModelConfig(path=str(folder))
    return {check.name: check for check in check_files(open_checkpoint(model), model)}


@pytest.fixture
def copy(bert: Path, tmp_path: Path) -> Path:
    return shutil.copytree(bert, tmp_path / "copy")


OTHERS = {
    "onnx/model.onnx": "an ONNX export",
    "model_quantized.onnx": "an ONNX export",
    "openvino/openvino_model.xml": "an OpenVINO export",
    "reranker-Q8_0.gguf": "a GGUF file",
    "tf_model.h5": "TensorFlow weights",
    "flax_model.msgpack": "Flax weights",
    "global_step500/mp_rank_00_model_states.pt": "DeepSpeed",
    "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt": "DeepSpeed",
    "pytorch_model_fsdp_0/__0_0.distcp": "FSDP",
    "model.fp16.safetensors": "a variant of the weights",
    "pytorch_model.fp16.bin": "a variant of the weights",
    "consolidated.00.pth": "their author's own format",
    "adapter_model.safetensors": "an adapter without its adapter_config.json",
    "epoch=3.ckpt": "a PyTorch file with an unknown layout",
    "openvino_model.bin": "an OpenVINO export",
    "rust_model.ot": "weights for rust-bert",
    "model.safetensors.incomplete": "an unfinished download",
    "model-00001-of-00002.safetensors": "without the index of all parts",
    "best_model.bin": "a weight file of another name",
}


@pytest.mark.parametrize("with_config", [True, False])
@pytest.mark.parametrize("name", OTHERS)
def test_weights_in_another_format_are_named(copy: Path, name: str, with_config: bool):
    (copy / "model.safetensors").unlink()
    if not with_config:
        (copy / "config.json").unlink()
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_bytes(b"x" * 100)
    check = checks(copy)["weights_present" if with_config else "config_readable"]
    assert not check.passed
    assert OTHERS[name] in check.measured
    assert name in check.measured
    assert "Download or copy" not in check.remedy


def test_a_link_to_a_file_that_is_gone_is_named(copy: Path):
    (copy / "model.safetensors").unlink()
    (copy / "model.safetensors").symlink_to("../../blobs/5e8f")
    check = checks(copy)["weights_present"]
    assert "model.safetensors is a link to ../../blobs/5e8f, which does not exist" in check.measured
    assert "cp -rL" in check.remedy


def test_an_export_beside_whole_weights_is_no_matter(copy: Path):
    (copy / "onnx").mkdir()
    (copy / "onnx/model.onnx").write_bytes(b"x")
    (copy / "model.fp16.safetensors").write_bytes(b"x")
    assert all(check.passed for check in checks(copy).values())


@pytest.mark.parametrize("split", [False, True])
def test_weights_of_the_usual_names_need_config_json_alone(copy: Path, split: bool):
    (copy / "config.json").unlink()
    if split:
        sharded(copy)
    check = checks(copy)["config_readable"]
    assert check.measured == "there is no config.json"
    assert check.remedy == "Copy config.json from the model's own repository."


def test_weights_that_are_gone_are_to_be_copied_again(copy: Path):
    (copy / "model.safetensors").unlink()
    check = checks(copy)["weights_present"]
    assert "but" not in check.measured
    assert "copy the checkpoint again" in check.remedy


def test_a_trainers_folder_names_the_last_of_its_checkpoints(bert: Path, tmp_path: Path):
    for step in ("checkpoint-500", "checkpoint-1000", "runs"):
        (tmp_path / step).mkdir()
    for step in ("checkpoint-500", "checkpoint-1000"):
        shutil.copytree(bert, tmp_path / step, dirs_exist_ok=True)
    check = checks(tmp_path)["config_readable"]
    assert not check.passed
    assert "checkpoint-500, checkpoint-1000" in check.measured
    assert f"such as {tmp_path / 'checkpoint-1000'}" in check.remedy


@pytest.mark.parametrize(
    ("below", "said"),
    [
        ("model", r"contains model\. Set model\.path to a model in it: {}/model$"),
        ("snapshots/0a1b", r"contains snapshots\. .* a model in it: {}/snapshots/0a1b$"),
        ("notes", r"contains notes\. Set model\.path to the folder with config\.json, weights"),
        ("", r"is empty\. Set model\.path to the folder with"),
    ],
)
def test_a_folder_without_a_model_is_a_wrong_path(
    bert: Path, tmp_path: Path, below: str, said: str
):
    folder = tmp_path / "folder"
    folder.mkdir()
    if below == "notes":
        (folder / below).write_text("")
    elif below:
        shutil.copytree(bert, folder / below)
    model = ModelConfig(path=str(folder))
    with pytest.raises(ConfigError, match=said.format(folder)):
        check_checkpoint(open_checkpoint(model), model)


def test_a_merged_model_beside_an_adapter_is_named(bert: Path, tmp_path: Path):
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    assert "merge_and_unload" in checks(tmp_path)["adapter_usable"].remedy
    shutil.copytree(bert, tmp_path / "merged_model")
    check = checks(tmp_path)["adapter_usable"]
    assert not check.passed
    assert check.remedy == (
        f"Set model.path to {tmp_path / 'merged_model'}, which is a complete checkpoint."
    )


@pytest.mark.parametrize(
    ("settings", "method", "packages"),
    [
        (
            {"quant_method": "bitsandbytes", "load_in_4bit": True},
            "bitsandbytes",
            "bitsandbytes and accelerate",
        ),
        ({"load_in_8bit": True}, "bitsandbytes", "bitsandbytes and accelerate"),
        ({"quant_method": "awq", "bits": 4}, "awq", "gptqmodel"),
        ({"quant_method": "compressed-tensors"}, "compressed-tensors", "compressed-tensors"),
        ({"quant_method": "fbgemm_fp8"}, "fbgemm_fp8", "fbgemm-gpu"),
        ({"quant_method": "torchao"}, "torchao", "torchao"),
        ({"quant_method": "newest"}, "newest", "newest"),
        ({"bits": 4}, "an unnamed method", "an unnamed method"),
    ],
)
def test_quantised_weights_are_refused_by_method_and_packages(
    bert: Path, tmp_path: Path, settings: dict[str, Any], method: str, packages: str
):
    folder = damage.with_config(bert, tmp_path / "m", quantization_config=settings)
    check = checks(folder)["not_quantised"]
    assert not check.passed
    assert check.measured.startswith(f"quantised by {method} (")
    assert f"which needs {packages}; " in check.measured


@pytest.mark.parametrize(
    ("method", "where", "told"),
    [
        ("gptq", "config.json", "quantised by gptq (quantization_config of config.json)"),
        ("gptq", "quantize_config.json", "quantised by gptq (quantize_config.json)"),
        ("gptq", "", "quantised by an unnamed method (tensor model.layers.0."),
        ("awq", "config.json", "quantised by awq (quantization_config of config.json)"),
        ("awq", "quant_config.json", "quantised by awq (quant_config.json)"),
        ("awq", "", "quantised by an unnamed method (tensor model.layers.0."),
    ],
)
def test_weights_packed_by_gptq_and_awq_are_refused_before_they_are_read(
    qwen3: Path, tmp_path: Path, method: str, where: str, told: str
):
    check = checks(packed(qwen3, tmp_path / "m", method, where))["not_quantised"]
    assert not check.passed
    assert check.measured.startswith(told)
    assert "Use the original checkpoint" in check.remedy


def test_settings_of_a_quantisation_over_plain_weights_can_be_removed(bert: Path, tmp_path: Path):
    settings = {"quant_method": "bitsandbytes", "load_in_4bit": False, "load_in_8bit": False}
    folder = damage.with_config(bert, tmp_path / "m", quantization_config=settings)
    check = checks(folder)["not_quantised"]
    assert not check.passed
    assert "no tensor in the files is quantised" in check.measured
    assert "remove quantization_config from config.json" in check.remedy


def test_packages_that_are_not_installed_are_named_where_the_run_starts(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    said = damage.with_config(bert, tmp_path / "said", quantization_config=settings)
    integers = {"more": torch.ones(2, 2, dtype=torch.uint8)}
    folder = damage.with_weights(said, tmp_path / "m", lambda weights: weights.update(integers))
    monkeypatch.setattr(quantised, "find_spec", lambda name: None if name == "accelerate" else name)
    check = checks(folder)["not_quantised"]
    assert "not installed: accelerate" in check.measured
    assert "`pip install accelerate` on all nodes" in check.remedy


@pytest.mark.parametrize("name", ["quantize_config.json", "quant_config.json"])
def test_settings_of_a_quantiser_beside_the_weights_tell_too(copy: Path, name: str):
    (copy / name).write_text(json.dumps({"bits": 4, "quant_method": "gptq"}))
    check = checks(copy)["not_quantised"]
    assert not check.passed
    assert name in check.measured


@pytest.mark.parametrize(
    ("name", "content", "tensors", "passes"),
    [
        ("quantize_config.json", {"per_channel": True, "reduce_range": True}, None, True),
        (
            "quantize_config.json",
            {"modes": ["q8"], "quant_type": 1, "block_size": None},
            None,
            True,
        ),
        ("quantize_config.json", {"per_channel": True}, torch.int8, False),
        ("quantize_config.json", {"per_channel": True}, torch.int64, True),
        ("quant_config.json", {"zero_point": True, "w_bit": 4}, None, False),
        ("hf_quant_config.json", {"quantization": {"quant_algo": "FP8"}}, None, False),
    ],
)
def test_settings_of_another_export_are_no_matter(
    copy: Path, name: str, content: dict[str, Any], tensors: torch.dtype | None, passes: bool
):
    """transformers.js leaves quantize_config.json beside the weights that it did not change."""
    (copy / name).write_text(json.dumps(content))
    if tensors is not None:
        weights = load_file(copy / "model.safetensors")
        weights["more"] = torch.ones(2, 2, dtype=tensors)
        save_file(weights, copy / "model.safetensors")
    assert checks(copy)["not_quantised"].passed == passes


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [("JinaForRanking", "qwen3"), ("JinaVLForRanking", "qwen2_vl"), ("Own", "own")],
)
def test_code_is_not_recommended_for_models_of_no_family(
    bert: Path, tmp_path: Path, architecture: str, kind: str
):
    code = {"AutoModel": "modeling.X"}
    settings = {"architectures": [architecture], "model_type": kind, "auto_map": code}
    check = checks(damage.with_config(bert, tmp_path / "m", **settings))["no_remote_code"]
    assert not check.passed
    assert "model.trust_remote_code=true" not in check.remedy
    assert architecture in check.remedy


def test_code_that_is_passed_over_is_told(bert: Path, tmp_path: Path):
    code = {"AutoModelForSequenceClassification": "modeling_own.BertForSequenceClassification"}
    folder = damage.with_config(bert, tmp_path / "m", auto_map=code)
    check = checks(folder)["no_remote_code"]
    assert check.passed
    assert check.notable
    assert "modeling_own.BertForSequenceClassification) is not run" in check.measured
    folder = damage.with_config(bert, tmp_path / "n", auto_map={"AutoModelForMaskedLM": "x.Y"})
    assert not checks(folder)["no_remote_code"].notable


def test_empty_settings_of_quantisation_are_no_matter(bert: Path, tmp_path: Path):
    folder = damage.with_config(bert, tmp_path / "m", quantization_config={})
    assert checks(folder)["not_quantised"].passed
    pair = [("sort a list", "Sorts the list in place.")]
    assert load(folder).score_pairs(pair) == load(bert).score_pairs(pair)


def test_a_file_and_a_page_are_told_what_to_write(bert: Path):
    with pytest.raises(ConfigError, match=r"is a file\. Set it to the folder") as caught:
        open_checkpoint(ModelConfig(path=str(bert / "model.safetensors")))
    assert str(bert) in str(caught.value)
    page = "https://huggingface.co/BAAI/bge-reranker-v2-m3"
    for path in (page, f"{page}/tree/main", page.replace("https://", "https://www.")):
        with pytest.raises(ConfigError, match=r"Write BAAI/bge-reranker-v2-m3 instead$"):
            open_checkpoint(ModelConfig(path=path))
