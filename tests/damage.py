"""Copies of a checkpoint with something wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Weights = dict[str, torch.Tensor]


def with_weights(source: Path, folder: Path, edit: Callable[[Weights], object]) -> Path:
    """A copy whose weights are what `edit` makes of them in place."""
    shutil.copytree(source, folder)
    weights = load_file(folder / "model.safetensors")
    edit(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def with_config(source: Path, folder: Path, **values: Any) -> Path:
    """A copy whose config.json says something else; None takes a key out."""
    shutil.copytree(source, folder)
    path = folder / "config.json"
    given = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in given.items() if value is not None}))
    return folder


def with_file(source: Path, folder: Path, name: str, content: bytes) -> Path:
    """A copy with one file replaced or added."""
    shutil.copytree(source, folder)
    (folder / name).write_bytes(content)
    return folder


def with_forward(bert: Path, folder: Path, body: str) -> Path:
    """A BERT checkpoint with code of its own, which runs `body` on `input_ids` and `logits` before
    it returns the logits. Needs model.trust_remote_code=true.
    """
    code = f"""
import os
import torch
from transformers import BertConfig, BertForSequenceClassification


class OwnConfig(BertConfig):
    model_type = "own-bert"


class OwnForSequenceClassification(BertForSequenceClassification):
    config_class = OwnConfig

    def forward(self, input_ids=None, **given):
        output = super().forward(input_ids=input_ids, **given)
        logits = output.logits
        {body}
        return output
"""
    with_config(
        bert,
        folder,
        model_type="own-bert",
        architectures=["OwnForSequenceClassification"],
        auto_map={
            "AutoConfig": "own.OwnConfig",
            "AutoModelForSequenceClassification": "own.OwnForSequenceClassification",
        },
    )
    (folder / "own.py").write_text(code)
    return folder
