"""Checks of a checkpoint's files, before any weight is in memory."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

from reranker_core.checks import Check
from reranker_core.config import ModelConfig
from reranker_core.errors import count
from reranker_core.models.adapter import SETTINGS_FILE
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.digests import as_recorded, short_digest
from reranker_core.models.model_files import CONFIG_FILE, LFS_POINTER
from reranker_core.models.modules import LIST_FILE, Module
from reranker_core.preflight.code import check_code
from reranker_core.preflight.formats import PICKLED, checkpoints_within, other_format
from reranker_core.preflight.json_files import check_json_files
from reranker_core.preflight.quantised import check_quantisation
from reranker_core.preflight.shards import ambiguous

_HEADER_BYTES = 8
_COPY_AGAIN = "Download or copy the checkpoint again, and compare the sizes."


def check_files(
    checkpoint: Checkpoint, model: ModelConfig, golden: str | None = None
) -> list[Check]:
    """Everything there, whole, and of a kind that may be loaded. `golden`: `preflight.golden`."""
    config = _check_config(checkpoint)
    if not config.passed:
        return [config]
    found = [config, check_json_files(checkpoint)]
    found += [_check_weights(checkpoint), _check_format(checkpoint, model)]
    found.append(check_quantisation(checkpoint, golden))
    found.append(check_code(checkpoint, model))
    if model.digest:
        found.append(check_digest(checkpoint, model.digest, "model.digest"))
    return found


def check_digest(checkpoint: Checkpoint, expected: str, origin: str) -> Check:
    """The files are those that `expected` was made from."""
    return Check(
        "files",
        "digest",
        expected in (checkpoint.digest, short_digest(as_recorded(checkpoint.digests, {}))),
        f"digest {checkpoint.digest}",
        f"{expected} ({origin})",
        "These are not the files that were approved or that the run started with. They are "
        "another version, a damaged copy, or the folder was changed. Copy the checkpoint again. "
        "If the new files are intended, set the new digest and use another output.path.",
    )


def _check_config(checkpoint: Checkpoint) -> Check:
    adapter = checkpoint.folder / SETTINGS_FILE
    if adapter.exists():
        return _check_adapter(checkpoint)
    held = ", ".join(sorted(path.name for path in checkpoint.folder.iterdir())[:10])
    what, remedy = checkpoint.config_problem or CONFIG_FILE, ""
    if (checkpoint.folder / CONFIG_FILE).exists():
        remedy = f"Copy {CONFIG_FILE} again from the model's own repository."
    elif checkpoint.weights:
        remedy = f"Copy {CONFIG_FILE} from the model's own repository."
    other = None if checkpoint.config or checkpoint.weights else other_format(checkpoint)
    if other is not None and not remedy:
        what, remedy = f"{what}, but {other[0]}", other[1]
    return Check(
        "files",
        "config_readable",
        bool(checkpoint.config),
        what,
        "a config.json that describes a transformers model",
        remedy or f"Is {checkpoint.source} the checkpoint's folder? It holds: {held or 'nothing'}.",
    )


def _check_adapter(checkpoint: Checkpoint) -> Check:
    """A folder with adapter_config.json, of which no whole model could be made."""
    inner = checkpoints_within(checkpoint.folder)
    whole = [path for path in inner if not (path / SETTINGS_FILE).exists()]
    name = "adapter_usable"
    if checkpoint.adapter is None:
        name = "not_an_adapter"
        what = f"{checkpoint.source} holds a whole model, and {SETTINGS_FILE} beside it"
        remedy = (
            f"If the adapter is merged into the weights, remove {SETTINGS_FILE}. Otherwise set "
            "model.path to a folder with the adapter's files alone, and model.base to this one."
        )
    else:
        what = f"{checkpoint.source} holds an adapter of {checkpoint.adapter.base or 'no base'}"
        what += (
            f", which cannot be used. {checkpoint.base_problem}" if checkpoint.base_problem else ""
        )
        pickles = [] if checkpoint.adapter.weights else checkpoint.unfetched_pickles
        what += f"; not fetched: {', '.join(pickles)}" if pickles else ""
        remedy = (
            PICKLED
            if pickles
            else f"Set model.path to {whole[-1]}, which is a complete checkpoint."
            if whole
            else "Set model.base to the folder or hub id of the model that the adapter was trained "
            "from. Or merge the adapter into it (peft: merge_and_unload, then save_pretrained, "
            "with the tokenizer) and set model.path to the merged folder."
        )
    return Check(
        "files",
        name,
        False,
        what,
        "a whole checkpoint, or a LoRA adapter whose base can be opened",
        remedy,
    )


def _check_weights(checkpoint: Checkpoint) -> Check:
    problems, remedy = list(_problems(checkpoint)) or list(ambiguous(checkpoint)), _COPY_AGAIN
    if not checkpoint.weights:
        problems = [
            "no model.safetensors or pytorch_model.bin, neither as one file nor with an index"
        ]
        other = other_format(checkpoint)
        if other is not None:
            problems[0] += f", but {other[0]}"
            remedy = other[1]
    elif pickles := _absent_pickles(checkpoint):
        problems.append(f"not fetched: {', '.join(pickles[:4])}")
        remedy = PICKLED
    return Check(
        "files",
        "weights_present",
        not problems,
        "; ".join(problems[:4]) or count(len(checkpoint.weights), "complete weight file"),
        "all weight files present, with the sizes that their headers say and the tensors that "
        "the index lists, each with one value",
        remedy,
    )


def _absent_pickles(checkpoint: Checkpoint) -> list[str]:
    """Pickles of modules, and those that an index names, that are not fetched."""
    absent = {path.name for path in checkpoint.weights if not path.exists()}
    absent |= {f"{m.path}/pytorch_model.bin" for m in checkpoint.modules if _lacks_weights(m)}
    return [name for name in checkpoint.unfetched_pickles if name in absent] if absent else []


def _lacks_weights(module: Module) -> bool:
    return module.kind in ("Dense", "LayerNorm") and module.weights is None


def _weight_files(checkpoint: Checkpoint) -> list[Path]:
    """Those of the model, of the modules behind it, and of an adapter."""
    adapter = [] if checkpoint.adapter is None else checkpoint.adapter.weights
    modules = [module.weights for module in checkpoint.modules if module.weights is not None]
    return [*checkpoint.weights, *modules, *adapter]


def _problems(checkpoint: Checkpoint) -> Iterator[str]:
    wanted, folder = checkpoint.indexed, checkpoint.folder
    for module in checkpoint.modules:
        if _lacks_weights(module):
            yield f"{module.path} has no weights, though {LIST_FILE} names it"
    for path in _weight_files(checkpoint):
        name = path.relative_to(folder) if path.is_relative_to(folder) else path.name
        if not path.exists():
            where = "the index" if wanted else CONFIG_FILE
            yield f"{name} is missing, though {where} names it"
            continue
        try:
            tensors = _tensors(path)
        except ValueError as error:
            yield f"{name} {error}"
            continue
        except OSError as error:
            yield f"{name} cannot be read ({error.strerror})"
            continue
        absent = sorted(wanted.get(path.name, set()) - tensors) if tensors is not None else []
        if absent:
            yield f"{name} lacks {count(len(absent), 'tensor')} of the index, such as {absent[0]}"


def _tensors(path: Path) -> set[str] | None:
    """Names of a safetensors file's tensors; None for other kinds. Raises ValueError: damaged."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(len(LFS_POINTER))
        if start == LFS_POINTER:
            raise ValueError("is a git-lfs pointer, not the file itself (run `git lfs pull`)")
        if path.suffix != ".safetensors":
            if not size:
                raise ValueError("is empty")
            return None
        if len(start) < _HEADER_BYTES:
            raise ValueError(f"has {size} bytes and no header")
        length = struct.unpack("<Q", start[:_HEADER_BYTES])[0]
        if length + _HEADER_BYTES > size:
            raise ValueError(f"has {size} bytes, but its header alone should have {length}")
        file.seek(_HEADER_BYTES)
        try:
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            ends = [tensor["data_offsets"][1] for tensor in header.values()]
            hollow = [name for name, tensor in header.items() if 0 in tensor["shape"]]
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ValueError("has a damaged header") from None
    expected = _HEADER_BYTES + length + max(ends, default=0)
    if size != expected:
        raise ValueError(f"has {size} bytes, but its header says {expected}")
    if hollow:
        raise ValueError(
            f"holds {len(hollow)} empty tensors, such as {hollow[0]} (they were saved from one "
            "process of a sharded training, e.g. DeepSpeed ZeRO-3; gather the weights and save "
            "again)"
        )
    return set(header)


def _check_format(checkpoint: Checkpoint, model: ModelConfig) -> Check:
    pickles = [path.name for path in _weight_files(checkpoint) if path.suffix != ".safetensors"]
    return Check(
        "files",
        "no_pickle",
        not pickles or model.allow_pickle,
        ", ".join(pickles[:4]) or "safetensors",
        "weights as safetensors",
        PICKLED,
    )
