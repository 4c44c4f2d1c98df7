"""Checks of a checkpoint that need no weights in memory: its files, and what it says it is."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from reranker_core.checkpoint import VOCABULARY_FILES, Checkpoint
from reranker_core.preflight.report import Check

_HEADER_BYTES = 8


def check_checkpoint(checkpoint: Checkpoint) -> list[Check]:
    """Weight files present and whole; an architecture with one score a pair."""
    return [
        _check_files(checkpoint),
        _check_tokenizer(checkpoint),
        _check_architecture(checkpoint),
        _check_labels(checkpoint),
    ]


def _check_files(checkpoint: Checkpoint) -> Check:
    problems = [problem for path in checkpoint.weights if (problem := _file_problem(path))]
    if not checkpoint.weights:
        problems = ["no model.safetensors or pytorch_model.bin, whole or with an index"]
    return Check(
        "files",
        "weights_present",
        not problems,
        "; ".join(problems) or f"{len(checkpoint.weights)} weight files, whole",
        "all weight files there and as long as their headers say",
        "Download or copy the checkpoint again." if problems else "",
    )


def _file_problem(path: Path) -> str:
    if not path.exists():
        return f"{path.name} is missing, though the index names it"
    size = path.stat().st_size
    if path.suffix != ".safetensors":
        return "" if size else f"{path.name} is empty"
    with open(path, "rb") as file:
        start = file.read(_HEADER_BYTES)
        if len(start) < _HEADER_BYTES:
            return f"{path.name} has {size} bytes and no header"
        length = struct.unpack("<Q", start)[0]
        if length + _HEADER_BYTES > size:
            return f"{path.name} has {size} bytes, its header alone says {length}"
        try:
            tensors = json.loads(file.read(length))
            ends = [t["data_offsets"][1] for name, t in tensors.items() if name != "__metadata__"]
        except (ValueError, TypeError, KeyError, AttributeError):
            return f"{path.name} has a damaged header"
    expected = _HEADER_BYTES + length + max(ends, default=0)
    return "" if size == expected else f"{path.name} has {size} bytes, its header says {expected}"


def _check_tokenizer(checkpoint: Checkpoint) -> Check:
    # Without these transformers makes up an empty vocabulary, to which every word is unknown.
    found = [name for name in VOCABULARY_FILES if (checkpoint.folder / name).exists()]
    return Check(
        "tokenizer",
        "vocabulary_present",
        bool(found),
        ", ".join(found) or f"no vocabulary file in {checkpoint.source}",
        f"one of {', '.join(VOCABULARY_FILES)}",
        "" if found else "Copy the tokenizer's files from the model it was trained from.",
    )


def _check_architecture(checkpoint: Checkpoint) -> Check:
    # Imported here: the table of families imports torch, and this file is for the driver's start.
    from reranker_core.models import FAMILIES

    name = checkpoint.architecture
    passed = any(family.fits(name) for family in FAMILIES.values())
    return Check(
        "architecture",
        "has_a_score",
        passed,
        f"config.json of {checkpoint.source} says {name or 'nothing'}, {_kind(name)}",
        "a …ForSequenceClassification",
        "" if passed else _architecture_remedy(name),
    )


def _kind(architecture: str) -> str:
    if architecture.endswith("ForSequenceClassification"):
        return "a classifier"
    if architecture.endswith(("ForCausalLM", "LMHeadModel")):
        return "a language model"
    if architecture.endswith("ForMaskedLM"):
        return "a masked language model without a classification head"
    if architecture.endswith("Model"):
        return "a base or embedding model without a classification head"
    return "no reranker that is known here"


def _architecture_remedy(architecture: str) -> str:
    if architecture.endswith(("ForCausalLM", "LMHeadModel")):
        return "Use an encoder reranker; language-model rerankers are not supported yet."
    return (
        "Its head would be drawn at random, and scores would be noise. Use the reranker that goes "
        "with it (for bge-m3: bge-reranker-v2-m3), or the checkpoint that training wrote last."
    )


def _check_labels(checkpoint: Checkpoint) -> Check:
    config = checkpoint.config
    # transformers' default, where config.json names none, is two.
    labels = len(config.get("id2label") or {}) or config.get("num_labels") or 2
    return Check(
        "architecture",
        "one_label",
        labels == 1,
        f"{labels} labels",
        "1",
        ""
        if labels == 1
        else "A reranker has one score a pair. If this is a classifier, use a reranker; if it was "
        "trained with one label, set id2label in its config.json.",
    )
