"""Weights as GPTQ packs them: whole numbers of 2, 4 or 8 bits, side by side in 32-bit words."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from reranker_core.models.tensors import read_tensors

BITS = (2, 4, 8)
FORMATS = ("gptq", "gptq_v2")  # the first one stores zero points less one
_WORD = 32
_PACKED, _ZEROS, _SCALES, _GROUPS = ".qweight", ".qzeros", ".scales", ".g_idx"


def unpacked(files: Iterable[Path], settings: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """As `read_tensors`, with weights in `dtype` in place of the packed ones."""
    tensors = read_tensors(files)
    parts = (_PACKED, _ZEROS, _SCALES, _GROUPS)
    found = {name: value for name, value in tensors.items() if not name.endswith(parts)}
    bits = settings["bits"]
    for start in [name.removesuffix(_PACKED) for name in tensors if name.endswith(_PACKED)]:
        numbers = _numbers(tensors[start + _PACKED][:].T, bits)  # (outputs, inputs)
        zeros, scales = _numbers(tensors[start + _ZEROS][:], bits), tensors[start + _SCALES][:]
        if settings.get("checkpoint_format", FORMATS[0]) == FORMATS[0]:
            zeros = (zeros + 1) & (2**bits - 1)
        at = torch.arange(numbers.shape[1]) * len(scales) // numbers.shape[1]
        if start + _GROUPS in tensors:  # the row of zeros and scales for each input
            at = tensors[start + _GROUPS][:].long()
        weight = (numbers - zeros[at].T) * scales.float()[at].T
        found[f"{start}.weight"] = weight.to(dtype)
    return found


def _numbers(words: torch.Tensor, bits: int) -> torch.Tensor:
    """The numbers in each row of words."""
    shifts = torch.arange(0, _WORD, bits)
    return ((words[:, :, None].long() >> shifts) & (2**bits - 1)).flatten(1)
