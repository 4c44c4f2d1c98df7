"""Damaged language models, and decoders with a head; of tiny ones with random weights."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch

from tests.damage import Weights
from tests.faults.checkpoint_edits import (
    Build,
    Edit,
    changed,
    config,
    float_weights,
    matrices,
    tensor,
    tensors_of,
    without,
)
from tests.faults.damaged.numbers import (
    anew,
    drawn,
    negated,
    noise,
    permuted,
    rounded,
    shuffled,
    shuffled_columns,
)
from tests.faults.damaged.weight_file import block, zeros

LAYER = "model.layers."
WORDS = "model.embed_tokens.weight"
HEAD = "score.weight"


def each(pattern: str, edit: Edit) -> Build:
    return tensors_of(edit, lambda name, _: re.search(pattern, name) is not None)


def twice(tensors: Weights) -> None:
    """Layer 0 in the place of layer 1."""
    for name in [name for name in tensors if name.startswith(f"{LAYER}0.")]:
        tensors[name.replace("layers.0.", "layers.1.")] = tensors[name].clone()


def layers_exchanged(tensors: Weights) -> None:
    for name in [name for name in tensors if name.startswith(f"{LAYER}0.")]:
        twin = name.replace("layers.0.", "layers.2.")
        tensors[name], tensors[twin] = tensors[twin].clone(), tensors[name].clone()


def gate_and_up(tensors: Weights) -> None:
    for name in [name for name in tensors if "gate_proj" in name]:
        twin = name.replace("gate_proj", "up_proj")
        tensors[name], tensors[twin] = tensors[twin].clone(), tensors[name].clone()


def tokenizer(edit: Any) -> Build:
    def change(folder: Path) -> None:
        path = folder / "tokenizer.json"
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))

    return changed(change)


def words_exchanged(*pairs: tuple[str, str]) -> Build:
    def edit(content: dict[str, Any]) -> None:
        ids = content["model"]["vocab"]
        for one, other in pairs:
            ids[one], ids[other] = ids[other], ids[one]

    return tokenizer(edit)


def fewer_merges(content: dict[str, Any]) -> None:
    merges = content["model"]["merges"]
    content["model"]["merges"] = merges[: len(merges) // 2]


COMMON: dict[str, Build] = {
    "words: 30% of the rows exchanged": tensor(WORDS, permuted(0.3)),
    "words: all rows moved by one": tensor(WORDS, lambda x: x.roll(1, 0)),
    "query of layer 1: zero": tensor(f"{LAYER}1.self_attn.q_proj.weight", torch.zeros_like),
    "query of layer 1: drawn anew": tensor(f"{LAYER}1.self_attn.q_proj.weight", anew),
    "value of layer 0: rows in another order": tensor(
        f"{LAYER}0.self_attn.v_proj.weight", shuffled
    ),
    "feed-forward of layer 1: zero": each(r"layers\.1\.mlp", torch.zeros_like),
    "gate and input of feed-forwards exchanged": float_weights(gate_and_up),
    "layer 0 twice": float_weights(twice),
    "layers 0 and 2 exchanged": float_weights(layers_exchanged),
    "norms of queries and keys of one": each("(q|k)_norm", torch.ones_like),
    "norms of layer 1 of one": each(r"layers\.1\..*norm", torch.ones_like),
    "the last norm of one": tensor("model.norm.weight", torch.ones_like),
    "all matrices: noise of 50%": matrices(noise(0.5)),
    "all matrices: 20% negated at random": matrices(negated(0.2)),
    "all matrices: 2 bits a row": matrices(rounded(2, 0)),
    "all matrices: 3 bits a row": matrices(rounded(3, 0)),
    "64 KiB at 60% of the file: zeros": block(0.6, 1 << 16, zeros(1 << 16)),
    "layer 2 missing": without(f"{LAYER}2."),
    "config.json: another base of rotary positions": config(
        rope_parameters={"rope_type": "default", "rope_theta": 1e6}
    ),
    "config.json: epsilon of norms 0.1": config(rms_norm_eps=0.1),
    "config.json: activation relu": config(hidden_act="relu"),
    "config.json: a layer less": config(num_hidden_layers=2),
    "vocabulary: ids in the opposite order": tokenizer(
        lambda content: content["model"]["vocab"].update(
            zip(
                content["model"]["vocab"],
                reversed(content["model"]["vocab"].values()),
                strict=True,
            )
        )
    ),
    "tokenizer: half of the merges lost": tokenizer(fewer_merges),
    "tokenizer: the chat tokens lost": tokenizer(
        lambda content: content.update(
            added_tokens=[t for t in content["added_tokens"] if "im_" not in t["content"]]
        )
    ),
}
KINDS: dict[str, dict[str, Build]] = {
    "qwen3": {
        **COMMON,
        "rows of the answers exchanged": words_exchanged(("yes", "no")),
        "output embeddings of another model, though tied": float_weights(
            lambda tensors: tensors.update({"lm_head.weight": anew(tensors[WORDS])})
        ),
    },
    "qwen3_classifier": {
        **COMMON,
        "head: zero": tensor(HEAD, torch.zeros_like),
        "head: negated": tensor(HEAD, lambda x: -x),
        "head: columns in another order": tensor(HEAD, shuffled_columns),
        "head: as torch draws it": tensor(
            HEAD,
            lambda x: torch.empty_like(x).uniform_(-1, 1, generator=drawn(21)) * x.shape[1] ** -0.5,
        ),
        "head: as transformers draws it": tensor(
            HEAD, lambda x: torch.randn(x.shape, generator=drawn(22)) * 0.12
        ),
        "head missing": without(HEAD),
    },
}
