"""Tokenizers of good checkpoints, in files that are unusual."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests import damage
from tests.damage import Weights
from tests.faults.checkpoint_edits import MODEL, WORDS, json_file

TOKENIZER = "tokenizer.json"


def more_tokens(source: Path, folder: Path) -> None:
    """Special tokens that were added, with rows of their own."""
    count = 24

    def edit(tensors: Weights) -> None:
        tensors[WORDS] = torch.cat([tensors[WORDS], tensors[WORDS][5 : 5 + count]])

    damage.with_weights(source, folder, edit)
    size = len(load_file(folder / MODEL)[WORDS])
    json_file("config.json", vocab_size=size)(folder)
    path = folder / TOKENIZER
    content = json.loads(path.read_text())
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    content["added_tokens"] += [
        {"id": size - count + n, "content": f"<extra_{n}>", "special": True, **flags}
        for n in range(count)
    ]
    path.write_text(json.dumps(content))


def limits_in_the_tokenizer(folder: Path) -> None:
    """What sentence-transformers leaves in tokenizer.json."""
    path = folder / TOKENIZER
    content = json.loads(path.read_text())
    content["truncation"] = {
        "direction": "Right",
        "max_length": 128,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    content["padding"] = {
        "strategy": {"Fixed": 128},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    path.write_text(json.dumps(content))


def words_alone(end: str) -> Callable[[Path], object]:
    """A vocab.txt in place of tokenizer.json."""

    def edit(folder: Path) -> None:
        vocabulary = json.loads((folder / TOKENIZER).read_text())["model"]["vocab"]
        lines = sorted(vocabulary, key=vocabulary.__getitem__)
        (folder / "vocab.txt").write_bytes((end.join(lines) + end).encode())
        (folder / TOKENIZER).unlink()

    return edit
