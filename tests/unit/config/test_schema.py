"""The JSON Schema of configuration files accepts what the job accepts."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from reranker_core.config import load_config
from reranker_core.config.schema import json_schema
from reranker_core.errors import ConfigError

CONFIGS = Path(__file__).parents[3] / "configs"
PATHS = ("input.path=in", "output.path=out", "model.path=m")


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    Draft202012Validator.check_schema(json_schema())
    return Draft202012Validator(json_schema())


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_our_files_are_valid_and_name_the_schema(path: Path, validator: Draft202012Validator):
    text = path.read_text(encoding="utf-8")
    schema = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / schema).is_file()
    validator.validate(yaml.safe_load(text))
    load_config(path, PATHS)


@pytest.mark.parametrize(
    "text",
    [
        "model: {dtype: bf16}",
        "model: {dtype: half}",
        "plan:",
        "input: {columns: }",
        "output: {passthrough: [a, b]}",
        "preflight: {checks: {meaning: off}}",
        "score: {compile: true}",
        "model: {cutoff_layer: [8, 16], max_length: null}",
        "model: {template: {segments: ['{query}', '{passage}'], answers: {'Yes': 1}}}",
        "model: {template: {prompt: x}}",
        "model: {dtype: fp8}",
        "model: {dtpye: float32}",
        "batch_size: 32",
        "output: {path: ''}",
        "output: {rank: 1}",
        "plan: {part_rows: 0}",
        "guard: {max_quarantined_fraction: 2}",
        "output: {label_thresholds: 0.5}",
    ],
)
def test_schema_and_job_accept_the_same(text: str, tmp_path: Path, validator: Draft202012Validator):
    path = tmp_path / "c.yaml"
    path.write_text(text + "\n", encoding="utf-8")
    try:
        load_config(path, PATHS[::2] if "output: {path" in text else PATHS)
        accepted = True
    except ConfigError:
        accepted = False
    assert validator.is_valid(yaml.safe_load(text)) == accepted


def test_a_wrong_value_in_a_section_is_named_there(validator: Draft202012Validator):
    found = list(validator.iter_errors({"model": {"dtype": "fp8"}, "input": {"columns": 3}}))
    assert sorted(".".join(map(str, error.path)) for error in found) == [
        "input.columns",
        "model.dtype",
    ]


def test_all_sections_and_keys_are_described():
    schema = json_schema()
    for section in (schema, *schema["$defs"].values()):
        for name, key in section["properties"].items():
            assert key.get("description"), name
