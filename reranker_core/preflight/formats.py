"""What a model folder holds where it is no checkpoint that can be loaded, and what to do then."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from reranker_core.errors import ConfigError
from reranker_core.models.adapter import SETTINGS_FILE
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.model_files import CONFIG_FILE
from reranker_core.models.modules import LIST_FILE

_SHOWN = 4
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
PICKLED = (
    "Save the model again with save_pretrained, which writes safetensors. Or, if you trust the "
    "origin of the file, set model.allow_pickle=true: loading a pickle can run any code."
)
_COPIED = "Copy the files that the links point to, for example with `cp -rL`."
_SAVED = "Set model.path to the original checkpoint, in the format of save_pretrained."


class Kind(NamedTuple):
    """A format of weights: files that give it away, what it is, and what to do."""

    patterns: tuple[str, ...]
    what: str
    remedy: str


_KINDS = (
    Kind(
        ("*.incomplete", "*.part", "*.crdownload", "*.aria2", "*.safetensors.tmp", "*.bin.tmp"),
        "an unfinished download",
        "Download the checkpoint again, and compare the sizes.",
    ),
    Kind(
        ("model-*-of-*.safetensors", "pytorch_model-*-of-*.bin"),
        "a part of the weights, without the index of all parts",
        "Copy model.safetensors.index.json (or pytorch_model.bin.index.json) and all files that it "
        "names.",
    ),
    Kind(("*.onnx", "*/*.onnx"), "an ONNX export", _SAVED),
    Kind(("openvino_*.xml", "*/openvino_*.xml", "openvino_*.bin"), "an OpenVINO export", _SAVED),
    Kind(("*.mlmodel", "*.mlpackage/*", "*/*.mlpackage/*"), "a Core ML export", _SAVED),
    Kind(("*.engine", "*.plan"), "a TensorRT export", _SAVED),
    Kind(("*.ot",), "weights for rust-bert", _SAVED),
    Kind(("*.npz",), "NumPy arrays", _SAVED),
    Kind(("*.gguf",), "a GGUF file, which llama.cpp reads", _SAVED),
    Kind(
        ("tf_model*.h5", "saved_model.pb", "*.tflite", "*.ckpt.index", "*.ckpt-*.index"),
        "TensorFlow weights",
        "Convert them with transformers 4: from_pretrained(folder, from_tf=True), then "
        "save_pretrained. Or use a checkpoint with PyTorch weights.",
    ),
    Kind(
        ("flax_model*.msgpack",),
        "Flax weights",
        "Convert them with transformers 4: from_pretrained(folder, from_flax=True), then "
        "save_pretrained. Or use a checkpoint with PyTorch weights.",
    ),
    Kind(
        ("global_step*/*", "*zero_pp_rank_*", "*_model_states.pt"),
        "shards of a DeepSpeed training",
        "Gather them with the script zero_to_fp32.py in the same folder. It writes a complete "
        "pytorch_model.bin or safetensors file.",
    ),
    Kind(
        ("*.distcp", "*/*.distcp"),
        "shards of an FSDP training",
        "Gather them with `accelerate merge-weights`, and set model.path to the folder that it "
        "writes.",
    ),
    Kind(
        ("model.*.safetensors", "pytorch_model.*.bin"),
        "a variant of the weights",
        "Rename the file to model.safetensors (or pytorch_model.bin), or use the weights "
        "without a variant in their name.",
    ),
    Kind(
        ("consolidated*.safetensors", "consolidated*.pth"),
        "weights in their author's own format",
        "Use the checkpoint in the format of transformers, with the weights in model.safetensors.",
    ),
    Kind(
        ("adapter_model.safetensors", "adapter_model.bin"),
        "an adapter without its adapter_config.json",
        "Merge the adapter into its base (peft: merge_and_unload, then save_pretrained, with "
        "the tokenizer) and set model.path to the merged folder.",
    ),
    Kind(
        ("*.pt", "*.pth", "*.ckpt"),
        "a PyTorch file with an unknown layout",
        "Load it into its model, then save the model with save_pretrained, together with the "
        "tokenizer.",
    ),
    Kind(
        ("*.safetensors", "*model*.bin"),
        "a weight file of another name",
        "If it holds the whole model, rename it to model.safetensors (or pytorch_model.bin).",
    ),
)


def other_format(checkpoint: Checkpoint) -> tuple[str, str] | None:
    """What else a checkpoint without weights holds, and what to do; None if nothing is known."""
    pickles = checkpoint.unfetched_pickles
    if pickles:
        return f"weights as pickles, which are not fetched ({pickles[0]})", PICKLED
    inner = checkpoints_within(checkpoint.folder)
    if inner:
        named = ", ".join(path.name for path in inner[:4])
        return (
            f"folders with one checkpoint each: {named}",
            f"Set model.path to one of them, such as {inner[-1]}.",
        )
    for name in _WEIGHTS:
        path = checkpoint.folder / name
        if path.is_symlink() and not path.exists():
            return f"{name} is a link to {path.readlink()}, which does not exist", _COPIED
    for kind in _KINDS:
        found = [name for name in checkpoint.file_names if _is_of(kind, name)]
        if found:
            return f"{kind.what} ({found[0]})", kind.remedy
    return None


def refuse_without_model(checkpoint: Checkpoint) -> None:
    """Refuse a folder that holds nothing of a model, so that its path must be wrong.

    Raises:
        ConfigError: there are neither settings nor weights of any format; the message names folders
            below that hold a model.

    """
    folder = checkpoint.folder
    names = (CONFIG_FILE, LIST_FILE, SETTINGS_FILE, *(f"{name}*" for name in _WEIGHTS))
    if any(any(folder.glob(name)) for name in names):
        return
    inner = checkpoints_within(folder) or checkpoints_within(folder, "*/*")
    if not inner and other_format(checkpoint) is not None:
        return
    held = sorted(path.name for path in folder.iterdir())
    more = ", …" if len(held) > _SHOWN else ""
    what = f"contains {', '.join(held[:_SHOWN])}{more}" if held else "is empty"
    remedy = f"the folder with {CONFIG_FILE}, weights and tokenizer"
    if inner:
        remedy = "a model in it: " + " or ".join(map(str, inner[-_SHOWN:][::-1]))
    raise ConfigError(
        f"model.path={checkpoint.source}: there is no model in this folder, neither {CONFIG_FILE} "
        f"nor weights; it {what}. Set model.path to {remedy}"
    )


def _is_of(kind: Kind, name: str) -> bool:
    return any(
        fnmatch(name, pattern) and name.count("/") == pattern.count("/")
        for pattern in kind.patterns
    )


def checkpoints_within(folder: Path, depth: str = "*") -> list[Path]:
    """Folders of a folder that are checkpoints, as a Trainer leaves them; by number and name. With
    `*/*` as `depth`: folders of its folders, as in a cache of a hub.
    """
    found = [
        path.parent
        for path in folder.glob(f"{depth}/{CONFIG_FILE}")
        if any(path.parent.glob(f"{name}*") for name in _WEIGHTS)
    ]
    return sorted(found, key=lambda path: (_step(path.name), path.name))


def _step(name: str) -> int:
    number = name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1
