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
