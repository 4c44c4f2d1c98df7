"""Tensors of weight files, and the prefixes that training tools add to their names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

# Modules that wrap others while a model is trained: torch.compile, DataParallel, FSDP, activation
# checkpointing. Each puts its name into those of the weights below it.
_WRAPPERS = re.compile(
    r"(?<![^.])(_orig_mod|module|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\."
)


def read_tensors(files: Iterable[Path]) -> dict[str, Any]:
    """Name → tensor; for safetensors files a `PySafeSlice`, which reads the tensor later.

    Raises:
        Exception: what torch and safetensors raise for damaged files.

    """
    found: dict[str, Any] = {}
    for path in files:
        if path.suffix == ".safetensors":
            file = safe_open(path, framework="pt")
            found |= {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - no dict
        else:
            found |= torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return found


def shape_of(tensor: Any) -> tuple[int, ...]:
    """Shape of a value of `read_tensors`, without reading it."""
    return tuple(tensor.get_shape() if hasattr(tensor, "get_shape") else tensor.shape)


def unwrapped(
    names: Iterable[str], expected: Iterable[str], missing: Iterable[str]
) -> dict[str, str]:
    """New names for tensors that a model does not expect: without the prefixes of training tools,
    and without one common prefix, if names that are missing follow it.

    Args:
        names: names in the files.
        expected: names in the model.
        missing: names in the model that are not in the files.

    Returns:
        Name in the files -> name in the model. Empty if there is no such prefix, or if two prefixes
        fit equally well.

    """
    names, expected, missing = set(names), set(expected), set(missing)
    plain = {name: _WRAPPERS.sub("", name) for name in sorted(names - expected)}
    prefixes = Counter(
        text.removesuffix(end) for text in plain.values() for end in _ends(text) if end in missing
    )
    (prefix, most), (_, next_most), *_ = [*prefixes.most_common(2), ("", 0), ("", 0)]
    if most == next_most:
        return {}
    renamed = {name: text.removeprefix(prefix) for name, text in plain.items()}
    renamed = {name: new for name, new in renamed.items() if new != name}
    clear = len(set(renamed.values()) - names) == len(renamed)
    return renamed if clear else {}


def describe(renamed: Mapping[str, str]) -> str:
    """What was removed from how many names, for messages."""
    old, new = next(iter(renamed.items()))
    return f"{len(renamed)} names without the wrapper prefixes of training, such as {old} for {new}"


def _ends(name: str) -> Iterable[str]:
    """The name, and what is left of it behind each of its dots."""
    yield name
    for dot in re.finditer(r"\.", name):
        yield name[dot.end() :]
