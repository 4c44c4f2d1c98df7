"""Tensors that are in two of the files that an index names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open

from reranker_core.models.checkpoint import Checkpoint


def ambiguous(checkpoint: Checkpoint) -> Iterator[str]:
    """Files with other values of a tensor than the file that the index names for it.

    transformers reads all files, so the last one decides. The files must be whole.
    """
    places = {name: file for file, names in checkpoint.indexed.items() for name in names}
    for path in checkpoint.weights:
        if not places or path.suffix != ".safetensors":
            continue
        with safe_open(path, framework="pt") as file:
            other = [
                name
                for name in sorted(file.keys())
                if places.get(name, path.name) != path.name
                and not _has(path.with_name(places[name]), name, file.get_tensor(name))
            ]
        if other:
            yield (
                f"{path.name} has other values of {other[0]} than {places[other[0]]}, where the "
                f"index places it ({len(other)} such tensor{'s'[: len(other) > 1]})"
            )


def _has(path: Path, name: str, value: torch.Tensor) -> bool:
    with safe_open(path, framework="pt") as file:
        return torch.equal(file.get_tensor(name), value)
