"""Odd values and unreadable files are named, on the driver, before anything is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from reranker_core.config import ModelConfig
from reranker_core.errors import ConfigError, PreflightRefused
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.models.families import FAMILIES
from reranker_core.preflight.files import check_files

NAN, INFINITY = float("nan"), float("inf")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
ST, BODY = "config_sentence_transformers.json", "sentence_bert_config.json"


def refused(folder: Path) -> dict[str, str]:
    model = ModelConfig(path=str(folder))
    found = check_files(open_checkpoint(model), model)
    return {check.name: str(check) for check in found if not check.passed}


@pytest.fixture
def folder(bert: Path, tmp_path: Path) -> Path:
    return shutil.copytree(bert, tmp_path / "m")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"architectures": "Bert"}, 'architectures is "Bert"; expected a list of class names'),
        ({"architectures": [7]}, "architectures contains a value that is not a class name"),
        ({"architectures": {"a": 1}}, "architectures is"),
        ({"model_type": ["bert"]}, "model_type is"),
        ({"auto_map": "a.B"}, "auto_map is"),
        ({"id2label": ["a"]}, "id2label is"),
        ({"text_config": "x"}, "text_config is"),
        ({"text_config": {"hidden_size": 0}}, "text_config.hidden_size is 0"),
        ({"quantization_config": "int8"}, "quantization_config is"),
        ({"start_layer": "2"}, "start_layer is"),
        ({"layer_sep": 0}, "layer_sep is 0; expected a number from 1"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0; expected a number from 1"),
        ({"vocab_size": -1}, "vocab_size is -1"),
        ({"max_position_embeddings": 0}, "max_position_embeddings is 0"),
        ({"layer_norm_eps": NAN}, "layer_norm_eps is NaN"),
    ],
)
def test_values_in_config_json(folder: Path, values: dict[str, Any], told: str):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    assert told in refused(folder)["config_readable"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "JSONDecodeError"),
        (b"{}", "config.json is empty"),
        (b"[1]", "holds a list"),
        (b"\xff\xfe", "UnicodeDecodeError"),
        (POINTER, "git lfs pull"),
    ],
)
def test_a_config_json_that_cannot_be_read(folder: Path, content: bytes, told: str):
    (folder / "config.json").write_bytes(content)
    message = refused(folder)["config_readable"]
    assert told in message
    assert "Copy config.json again" in message


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("tokenizer_config.json", b"[]", "tokenizer_config.json holds []"),
        ("tokenizer_config.json", POINTER, "tokenizer_config.json is a git-lfs pointer"),
        ("tokenizer_config.json", {"model_max_length": "256"}, 'model_max_length is "256"'),
        ("tokenizer_config.json", {"model_max_length": NAN}, "model_max_length is NaN"),
        ("tokenizer_config.json", {"model_input_names": [1]}, "expected a list of texts"),
        ("tokenizer_config.json", {"tokenizer_class": 7}, "tokenizer_class is 7"),
        ("special_tokens_map.json", b"[1]", "special_tokens_map.json holds [1]"),
        ("added_tokens.json", b"{", "added_tokens.json cannot be read"),
        (ST, b"{", f"{ST} cannot be read"),
        (ST, {"prompts": {"a": 3}}, "expected a mapping of names to texts"),
        (ST, {"prompts": ["a"], "default_prompt_name": 3}, "default_prompt_name is 3"),
        (ST, {"prompts": {"a": "x"}, "default_prompt_name": "b"}, '"b"; its prompts are a'),
        (BODY, {"max_seq_length": "x"}, 'max_seq_length is "x"'),
        (BODY, {"max_seq_length": INFINITY}, "max_seq_length is Infinity"),
        (BODY, {"modality_config": [1], "processing_kwargs": 7}, "processing_kwargs is 7"),
        ("chat_template.jinja", b"\xff", "chat_template.jinja cannot be read"),
    ],
)
def test_other_settings(folder: Path, name: str, content: Any, told: str):
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    (folder / name).write_bytes(data)
    assert told in refused(folder)["settings_readable"]


def test_values_that_published_models_have_are_accepted(folder: Path):
    path = folder / "config.json"
    odd = {"time_step_limit": [0.0, INFINITY], "max_position_embeddings": -1, "id2label": None}
    path.write_text(json.dumps(json.loads(path.read_text()) | odd))
    settings = {"model_max_length": 10**30, "tokenizer_class": None}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / BODY).write_text(json.dumps({"max_seq_length": None, "do_lower_case": False}))
    (folder / ST).write_text(json.dumps({"prompts": {}, "default_prompt_name": None}))
    assert not refused(folder)


def test_weights_that_are_a_folder(folder: Path):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()
    assert "model.safetensors cannot be read" in refused(folder)["weights_present"]


def test_an_index_that_names_files_elsewhere(folder: Path):
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {"a": "../../etc/passwd"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ConfigError, match=r"names \.\./\.\./etc/passwd"):
        open_checkpoint(ModelConfig(path=str(folder)))


@pytest.mark.parametrize("limit", [0, -1, 3, 12])
def test_a_limit_that_leaves_no_room_is_told_with_its_file(folder: Path, limit: int):
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": limit}))
    model = ModelConfig(path=str(folder))
    told = rf"tokenizer/length: model_max_length in tokenizer_config\.json allows {limit} tokens"
    with pytest.raises(PreflightRefused, match=told):
        FAMILIES["encoder"].pair_format(open_checkpoint(model), model)
