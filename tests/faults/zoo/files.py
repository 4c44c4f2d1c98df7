"""Weight files that are damaged, incomplete, or in another format."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.damage import Weights
from tests.faults.checkpoint_edits import MODEL, changed, content, only, weights
from tests.faults.zoo.kind import Kind

INDEX = "model.safetensors.index.json"


def sharded(folder: Path) -> dict[str, str]:
    """Split the weights into two files with an index; which tensor is where."""
    tensors = load_file(folder / MODEL)
    (folder / MODEL).unlink()
    half = sorted(tensors)[len(tensors) // 2]
    names = {key: f"model-0000{1 + (key >= half)}-of-00002.safetensors" for key in tensors}
    for name in set(names.values()):
        piece = {key: tensors[key] for key in tensors if names[key] == name}
        save_file(piece, folder / name, metadata={"format": "pt"})
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": names}))
    return names


def without_a_shard(folder: Path) -> None:
    sharded(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


def shards_of_two_models(folder: Path) -> None:
    names = sharded(folder)
    first = [key for key, name in names.items() if name.startswith("model-00001")]
    tensors = load_file(folder / "model-00001-of-00002.safetensors")
    del tensors[first[0]]
    save_file(tensors, folder / "model-00001-of-00002.safetensors", metadata={"format": "pt"})


def in_two_shards(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], object]:
    """The last file has a tensor that the index places in the first one."""

    def edit(folder: Path) -> None:
        names = sharded(folder)
        first, last = sorted(set(names.values()))
        name = next(key for key, file in names.items() if file == first)
        value = load_file(folder / first)[name]
        tensors = load_file(folder / last) | {name: change(value)}
        save_file(tensors, folder / last, metadata={"format": "pt"})

    return edit


def as_pickle(folder: Path) -> None:
    torch.save(load_file(folder / MODEL), folder / "pytorch_model.bin")
    (folder / MODEL).unlink()


def hollow(tensors: Weights) -> None:
    for name in tensors:
        tensors[name] = torch.zeros(0, dtype=tensors[name].dtype)


def lfs_pointer(data: bytes) -> bytes:
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def damaged_header(data: bytes) -> bytes:
    length = struct.unpack("<Q", data[:8])[0]
    return (
        data[:8]
        + data[8 : 8 + length].replace(b"data_offsets", b"data_ofsets\xff")
        + data[8 + length :]
    )


KINDS: dict[str, Kind] = {
    "cut_short": Kind(
        "a weight file cut short by a broken download",
        "files/weights_present",
        content(lambda data: data[:-1000]),
    ),
    "too_long": Kind(
        "bytes behind the end of a weight file",
        "files/weights_present",
        content(lambda data: data + b"\0" * 64),
    ),
    "empty_file": Kind("an empty weight file", "files/weights_present", content(lambda data: b"")),
    "damaged_header": Kind(
        "a damaged safetensors header", "files/weights_present", content(damaged_header)
    ),
    "lfs_pointer": Kind(
        "a git-lfs pointer in place of the weights", "files/weights_present", content(lfs_pointer)
    ),
    "missing_shard": Kind(
        "one file of several is missing", "files/weights_present", changed(without_a_shard)
    ),
    "incomplete_shard": Kind(
        "a file that lacks tensors of the index",
        "files/weights_present",
        changed(shards_of_two_models),
    ),
    "two_values": Kind(
        "a tensor in two files, with other values than where the index places it",
        "files/weights_present",
        changed(in_two_shards(lambda value: value / 2)),
    ),
    "hollow": Kind(
        "saved from one process of a ZeRO-3 training: tensors without content",
        "files/weights_present",
        weights(hollow),
    ),
    "no_weights": Kind(
        "config.json and tokenizer only",
        "files/weights_present",
        changed(only("config.json", "tokenizer.json", "tokenizer_config.json")),
    ),
    "pickle": Kind("weights as a pickle (.bin)", "files/no_pickle", changed(as_pickle)),
}
