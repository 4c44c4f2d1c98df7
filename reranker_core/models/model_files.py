"""The files of a model folder: settings and weights."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from reranker_core.errors import ConfigError, brief

CONFIG_FILE = "config.json"
LFS_POINTER = b"version https://git-lfs"
# Keys of config.json that are read here, what they are in Python, and in words.
_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "architectures": (list, "a list of class names"),
    "model_type": (str, "a name"),
    "auto_map": (dict, "a mapping of classes"),
    "id2label": (dict, "a mapping of numbers to names"),
    "num_labels": (int, "a whole number"),
    "text_config": (dict, "a mapping of settings"),
    "transformers_weights": (str, "the name of a file"),
    "quantization_config": (dict, "a mapping of settings"),
    "start_layer": (int, "a whole number"),
    "layer_sep": (int, "a whole number"),
}
_COUNTS = (
    "num_labels",
    "vocab_size",
    *("num_hidden_layers", "num_layers", "n_layer", "n_layers"),
    *("hidden_size", "d_model", "n_embd", "dim"),
    *("num_attention_heads", "num_heads", "n_head", "n_heads"),
    *("max_position_embeddings", "n_positions"),
    *("start_layer", "layer_sep"),
)
_UNKNOWN = {("max_position_embeddings", -1)}  # XLNet has no limit
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_INDEX = ".index.json"


def read_config(folder: Path) -> tuple[dict[str, Any], str]:
    """Content of config.json and ''; or {} and the problem, if it is unreadable or has an
    impossible value.
    """
    path = folder / CONFIG_FILE
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, f"there is no {CONFIG_FILE}"
    except (ValueError, OSError) as error:
        return {}, unreadable(path, error)
    if not isinstance(config, dict) or not config:
        empty = "is empty" if config == {} else f"holds a {type(config).__name__}"
        return {}, f"{CONFIG_FILE} {empty}; expected a mapping of settings"
    wrong = next(_wrong(config), "")
    return ({}, f"{CONFIG_FILE}: {wrong}") if wrong else (config, "")


def unreadable(path: Path, error: Exception) -> str:
    """Why a file cannot be read, for messages."""
    if path.is_file() and path.read_bytes()[: len(LFS_POINTER)] == LFS_POINTER:
        return f"{path.name} is a git-lfs pointer, not the file itself (run `git lfs pull`)"
    return f"{path.name} cannot be read: {brief(error)}"


def _wrong(settings: dict[str, Any]) -> Iterator[str]:
    """Values that are of the wrong kind, or out of range, in any model."""
    for name, (kind, words) in _KINDS.items():
        value = settings.get(name)
        if value is not None and not isinstance(value, kind):
            yield f"{name} is {json.dumps(value)[:60]}; expected {words}"
    if not all(isinstance(name, str) for name in settings.get("architectures") or []):
        yield "architectures contains a value that is not a class name"
    for name in _COUNTS:
        value = settings.get(name)
        if isinstance(value, int) and value < 1 and (name, value) not in _UNKNOWN:
            yield f"{name} is {value}; expected a number from 1"
    for name, value in settings.items():
        if isinstance(value, float) and math.isnan(value):
            yield f"{name} is NaN; expected a number"
        elif name == "text_config" and isinstance(value, dict):
            yield from (f"text_config.{problem}" for problem in _wrong(value))


def weight_files(
    folder: Path, config: dict[str, Any]
) -> tuple[tuple[Path, ...], dict[str, set[str]]]:
    """The weight files that transformers loads from a folder, and their tensors by an index.

    `config` is the content of config.json, which may name another file (`transformers_weights`).

    Returns:
        The files, empty if there are none; and name of a file -> names of its tensors, empty if
        there is no index.

    Raises:
        ConfigError: the index is damaged, or a file outside the folder is named.

    """
    named = config.get("transformers_weights")
    if named is not None:
        _refuse_outside(folder / CONFIG_FILE, [str(named)])
    usual = [f"{name}{end}" for name in _WEIGHTS for end in ("", _INDEX)]
    for name in usual if named is None else [str(named)]:
        path = folder / name
        if name.endswith(_INDEX) and path.exists():
            tensors = _indexed(path)
            return tuple(folder / file for file in sorted(tensors)), tensors
        if path.exists() or named is not None:
            return (path,), {}
    return (), {}


def _indexed(index: Path) -> dict[str, set[str]]:
    """Name of a file -> names of the tensors that an index expects in it."""
    tensors: dict[str, set[str]] = {}
    try:
        found = json.loads(index.read_text(encoding="utf-8"))
        for tensor, file in found["weight_map"].items():
            tensors.setdefault(str(file), set()).add(tensor)
        if not isinstance(found.get("metadata"), dict):
            raise ConfigError(
                f"{index}: has no metadata, which transformers reads; expected a mapping. Copy it "
                'again, or add "metadata": {}'
            )
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"{index}: is not an index of weight files ({brief(error)}). Copy it again"
        ) from None
    _refuse_outside(index, tensors)
    return tensors


def _refuse_outside(path: Path, files: Iterable[str]) -> None:
    outside = [file for file in files if Path(file).name != file]
    if outside:
        raise ConfigError(
            f"{path}: names {outside[0]}; expected names of files beside it. Copy it again"
        )
