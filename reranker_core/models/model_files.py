"""The files of a model folder: settings, weights, and their digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reranker_core.errors import ConfigError, brief

_DIGEST_CHUNK = 1 << 22
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def read_config(folder: Path) -> tuple[dict[str, Any], str]:
    """The settings, or none and why."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, "there is no config.json"
    except (ValueError, OSError) as error:
        return {}, f"config.json cannot be read: {brief(error)}"
    if not isinstance(config, dict) or not config:
        return {}, f"config.json holds a {type(config).__name__}; expected a mapping of settings"
    return config, ""


def weight_files(folder: Path) -> tuple[tuple[Path, ...], dict[str, set[str]]]:
    """The files that transformers would load, in its order of preference, and what an index says
    that they hold.
    """
    for name in _WEIGHTS:
        if (folder / name).exists():
            return (folder / name,), {}
        index = folder / f"{name}.index.json"
        if index.exists():
            tensors: dict[str, set[str]] = {}
            try:
                for tensor, file in json.loads(index.read_text(encoding="utf-8"))[
                    "weight_map"
                ].items():
                    tensors.setdefault(str(file), set()).add(tensor)
            except (ValueError, KeyError, AttributeError, TypeError) as error:
                raise ConfigError(
                    f"{index}: is not an index of weight files ({brief(error)}). Copy it again"
                ) from None
            return tuple(folder / file for file in sorted(tensors)), tensors
    return (), {}


def digest_of(paths: Iterable[Path]) -> str:
    """SHA-256 of the names and contents of files, in hexadecimal; of an absent one, of its name."""
    total = hashlib.sha256()
    for path in paths:
        total.update(f"{path.name}\0".encode())
        try:
            with open(path, "rb") as file:
                while chunk := file.read(_DIGEST_CHUNK):
                    total.update(chunk)
        except FileNotFoundError:
            total.update(b"absent\0")  # preflight names it
    return total.hexdigest()
