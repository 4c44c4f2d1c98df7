"""Names and shapes of the tensors in safetensors files; only the headers are read."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from pathlib import Path

HEADER_BYTES = 8


def tensor_names(files: Iterable[Path]) -> set[str]:
    """Names of the tensors; files of other kinds and damaged files are ignored."""
    return set(tensor_shapes(files))


def tensor_shapes(files: Iterable[Path]) -> dict[str, list[int]]:
    """Name -> shape; files of other kinds and damaged files are ignored."""
    shapes: dict[str, list[int]] = {}
    for path in files:
        if path.suffix != ".safetensors":
            continue
        try:
            with open(path, "rb") as file:
                length = struct.unpack("<Q", file.read(HEADER_BYTES))[0]
                if length <= path.stat().st_size:
                    header = json.loads(file.read(length))
                    header.pop("__metadata__", None)
                    shapes |= {name: tensor["shape"] for name, tensor in header.items()}
        except (OSError, ValueError, struct.error, TypeError, KeyError, AttributeError):
            continue
    return shapes
