"""Good but unusual checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

from reranker_core.models.templates import TEMPLATES
from tests import damage
from tests.damage import Weights
from tests.faults.checkpoint_edits import (
    HEAD,
    MODEL,
    WORDS,
    Build,
    changed,
    config,
    json_file,
    renamed,
    weights,
)
from tests.faults.zoo.files import as_pickle, sharded
from tests.faults.zoo.kind import Kind

INDEX = "model.safetensors.index.json"


def drawn_as_wide(source: Path, folder: Path) -> None:
    deviation = load_file(source / MODEL)[HEAD].float().std().item()
    config(initializer_range=deviation)(source, folder)


def in_dtype(dtype: torch.dtype) -> Build:
    def edit(tensors: Weights) -> None:
        for name in tensors:
            tensors[name] = tensors[name].to(dtype)

    return weights(edit)


def padded_vocabulary(source: Path, folder: Path) -> None:
    def edit(tensors: Weights) -> None:
        rows = tensors[WORDS]
        more = -len(rows) % 128
        tensors[WORDS] = torch.cat([rows, torch.zeros(more, rows.shape[1], dtype=rows.dtype)])

    damage.with_weights(source, folder, edit)
    json_file("config.json", vocab_size=len(load_file(folder / MODEL)[WORDS]))(folder)


def old_norm_names(name: str) -> str:
    name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
    return name.replace("LayerNorm.bias", "LayerNorm.beta")


def beside(folder: Path) -> None:
    (folder / "onnx").mkdir()
    (folder / "onnx/model.onnx").write_bytes(b"onnx")
    (folder / "training_args.bin").write_bytes(b"a pickle that nobody loads")
    (folder / "optimizer.pt").write_bytes(b"neither")
    (folder / "README.md").write_text("# a model")


def linked(source: Path, folder: Path) -> None:
    """As a hub cache: links to blobs."""
    blobs = folder.parent / f"{folder.name}-blobs"
    shutil.copytree(source, blobs)
    folder.mkdir()
    for path in blobs.iterdir():
        (folder / path.name).symlink_to(path)


def layout_told(source: Path, folder: Path) -> None:
    damage.with_config(source, folder, _name_or_path=None)
    prompt = TEMPLATES["bge-gemma"].prompt
    layout = f"<bos>A: {{query}}\nB: {{passage}}\n{prompt}"
    json_file("reranker.json", layout=layout)(folder)


def position_ids(tensors: Weights) -> None:
    tensors["bert.embeddings.position_ids"] = torch.arange(256)[None]


GOOD: dict[str, Kind] = {
    "as_it_is": Kind("the trained encoder", "", changed(lambda folder: None)),
    "sharded": Kind("weights in several files", "", changed(sharded)),
    "float32_storage": Kind("stored as float32", "", in_dtype(torch.float32)),
    "bfloat16_storage": Kind("stored as bfloat16", "", in_dtype(torch.bfloat16)),
    "position_ids": Kind("a table that older versions saved", "", weights(position_ids)),
    "other_label": Kind(
        "another label name", "", config(id2label={"0": "RELEVANCE"}, label2id={"RELEVANCE": 0})
    ),
    "outputs_as_tuples": Kind("return_dict false, from old code", "", config(return_dict=False)),
    "drawn_as_wide": Kind(
        "a trained head whose weights deviate as drawn ones would", "", drawn_as_wide
    ),
    "padded_vocabulary": Kind("embeddings padded to a round number", "", padded_vocabulary),
    "gamma_and_beta": Kind("names of norms from TensorFlow days", "", renamed(old_norm_names)),
    "pickle_allowed": Kind(
        "a pickle, with model.allow_pickle=true",
        "",
        changed(as_pickle),
        settings=("model.allow_pickle=true",),
    ),
    "beside": Kind("exports and training state beside the weights", "", changed(beside)),
    "linked": Kind("links, as in a hub cache", "", linked),
    "prompt_as_trained": Kind(
        "a reranker.json that agrees",
        "",
        changed(json_file("reranker.json", answers={"Yes": 1.0}, truncation="only_passage")),
        base="gemma",
    ),
    "named_template": Kind(
        "a language model of no known name, its template configured",
        "",
        config(_name_or_path=None),
        base="gemma",
        settings=("model.template=bge-gemma",),
    ),
    "named_layout": Kind(
        "one of no known name whose reranker.json tells the layout",
        "",
        layout_told,
        base="gemma",
    ),
    "tied": Kind("a language model with tied embeddings", "", config(), base="gemma"),
    "classifier": Kind(
        "a language model with a classification head and a known name",
        "",
        config(),
        base="qwen3_classifier",
    ),
    "untied": Kind("a language model with its own output embeddings", "", config(), base="llama"),
    "digest_as_pinned": Kind(
        "model.digest set, and right",
        "",
        changed(lambda folder: None),
        settings=("model.digest={digest}",),
    ),
}
