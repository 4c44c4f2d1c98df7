"""Names, shapes and number formats of tensors in safetensors files; only headers are read."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HEADER_BYTES = 8


def tensor_names(files: Iterable[Path]) -> set[str]:
    """Names of the tensors; files of other kinds and damaged files are ignored."""
    return set(tensor_shapes(files))


def tensor_shapes(files: Iterable[Path]) -> dict[str, list[int]]:
    """Name -> shape; files of other kinds and damaged files are ignored."""
    return {name: tensor["shape"] for name, tensor in _headers(files).items()}


def tensor_formats(files: Iterable[Path]) -> set[str]:
    """The number formats of the tensors, in the words of safetensors: `F32`, `BF16`, `I8`, …; files
    of other kinds and damaged files are ignored.
    """
    return {str(tensor["dtype"]) for tensor in _headers(files).values()}


def _headers(files: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Name -> entry of the header."""
    found: dict[str, dict[str, Any]] = {}
    for path in files:
        if path.suffix != ".safetensors":
            continue
        try:
            with open(path, "rb") as file:
                length = struct.unpack("<Q", file.read(HEADER_BYTES))[0]
                if length <= path.stat().st_size:
                    header = json.loads(file.read(length))
                    header.pop("__metadata__", None)
                    found |= {
                        name: {"shape": tensor["shape"], "dtype": tensor["dtype"]}
                        for name, tensor in header.items()
                    }
        except (OSError, ValueError, struct.error, TypeError, KeyError, AttributeError):
            continue
    return found
