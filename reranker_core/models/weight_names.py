"""Names of the tensors in weight files, from their headers alone."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from pathlib import Path

HEADER_BYTES = 8


def tensor_names(files: Iterable[Path]) -> set[str]:
    """Of safetensors files; those of other kinds, and of damaged ones, are left out."""
    names: set[str] = set()
    for path in files:
        if path.suffix != ".safetensors":
            continue
        try:
            with open(path, "rb") as file:
                length = struct.unpack("<Q", file.read(HEADER_BYTES))[0]
                if length <= path.stat().st_size:
                    names |= set(json.loads(file.read(length)))
        except (OSError, ValueError, struct.error, TypeError):
            continue
    return names
