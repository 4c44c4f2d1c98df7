"""Copies of the demo's model whose files look whole and whose scores are wrong.

    python -m tests.faults.damaged > docs/damaged-models.md

writes what is seen of each: Spearman's rank correlation of its scores with the sound ones, on the
pairs of the technical canaries, and the hard comparisons that it wins.
"""

from __future__ import annotations

import json
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from scipy.stats import spearmanr

from reranker_core.config import load_config
from reranker_core.preflight.canaries import TECHNICAL, hard_canaries
from reranker_core.score.scorer import Scorer
from tests.damage import Weights
from tests.faults.zoo import DEMO, MODEL, WORDS, Build, changed, config, json_file, weights

LAYER = "bert.encoder.layer."
TYPES = "bert.embeddings.token_type_embeddings.weight"
GROUPS = ("files", "architecture", "weights", "tokenizer", "prompt", "numerics", "meaning")


def tensor(name: str, edit: Callable[[torch.Tensor], torch.Tensor]) -> Build:
    def change(tensors: Weights) -> None:
        tensors[name] = edit(tensors[name].float()).contiguous()

    return weights(change)


def matrices(edit: Callable[[torch.Tensor], torch.Tensor], part: str = "") -> Build:
    def change(tensors: Weights) -> None:
        for name, value in tensors.items():
            if value.dim() == 2 and part in name:
                tensors[name] = edit(value.float()).contiguous()

    return weights(change)


def noise(share: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def edit(value: torch.Tensor) -> torch.Tensor:
        draw = torch.Generator().manual_seed(0)
        return value + torch.randn(value.shape, generator=draw) * value.std() * share

    return edit


def rounded(bits: int, dim: int | None) -> Callable[[torch.Tensor], torch.Tensor]:
    most = 2 ** (bits - 1) - 1

    def edit(value: torch.Tensor) -> torch.Tensor:
        largest = value.abs().max() if dim is None else value.abs().amax(dim, keepdim=True)
        step = largest.clamp(min=1e-9) / most
        return (value / step).round() * step

    return edit


def strewn(share: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def edit(value: torch.Tensor) -> torch.Tensor:
        draw = torch.Generator().manual_seed(4)
        return value * (torch.rand(value.shape, generator=draw) >= share)

    return edit


def every(step: int) -> Callable[[torch.Tensor], torch.Tensor]:
    def edit(value: torch.Tensor) -> torch.Tensor:
        value.view(-1)[::step] = 0
        return value

    return edit


def permuted(share: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def edit(value: torch.Tensor) -> torch.Tensor:
        draw = torch.Generator().manual_seed(0)
        rows = torch.randperm(len(value), generator=draw)[: int(share * len(value))]
        value[rows] = value[rows.roll(1)]
        return value

    return edit


def hole(at: float, size: int) -> Build:
    """Zeros in the file, as an interrupted download into a preallocated file leaves them."""

    def edit(folder: Path) -> None:
        data = bytearray((folder / MODEL).read_bytes())
        head = struct.unpack("<Q", data[:8])[0] + 8
        start = head + int((len(data) - head) * at) // 4096 * 4096
        data[start : start + size] = bytes(size)
        (folder / MODEL).write_bytes(data)

    return changed(edit)


def sorted_vocabulary(folder: Path) -> None:
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    words = sorted(word for word in vocabulary if not word.startswith("["))
    vocabulary.update(zip(words, sorted(vocabulary[word] for word in words), strict=True))
    path.write_text(json.dumps(content))


def twice(tensors: Weights) -> None:
    for name in [name for name in tensors if ".layer.0." in name]:
        tensors[name.replace(".layer.0.", ".layer.1.")] = tensors[name].clone()


def new_separator(value: torch.Tensor) -> torch.Tensor:
    value[3] = torch.randn(value.shape[1], generator=torch.Generator().manual_seed(0)) * 0.02
    return value


NORMALIZER = {
    "type": "BertNormalizer",
    "clean_text": True,
    "handle_chinese_chars": True,
    "strip_accents": None,
    "lowercase": True,
}
# What is broken, how, and the check that sees it.
DAMAGED: dict[str, tuple[str, Build]] = {
    "the vocabulary's ids dealt out alphabetically": (
        "meaning/hard_comparisons",
        changed(sorted_vocabulary),
    ),
    "half of the embeddings exchanged": (
        "meaning/hard_comparisons",
        tensor(WORDS, permuted(0.5)),
    ),
    "30 % of the embeddings exchanged": (
        "meaning/hard_comparisons",
        tensor(WORDS, permuted(0.3)),
    ),
    "10 % of the embeddings exchanged": (
        "meaning/hard_comparisons",
        tensor(WORDS, permuted(0.1)),
    ),
    "lowercase=false for a vocabulary without capitals": (
        "tokenizer/knows_words",
        changed(json_file("tokenizer.json", normalizer={**NORMALIZER, "lowercase": False})),
    ),
    "token types exchanged": ("meaning/hard_comparisons", tensor(TYPES, lambda x: x.flip(0))),
    "activation linear": ("architecture/usual_settings", config(hidden_act="linear")),
    "epsilon of norms 1": ("architecture/usual_settings", config(layer_norm_eps=1.0)),
    "another number of heads": ("meaning/hard_comparisons", config(num_attention_heads=12)),
    "a feed-forward of zeros": (
        "weights/not_empty",
        tensor(LAYER + "0.output.dense.weight", torch.zeros_like),
    ),
    "positions of zeros": (
        "weights/not_empty",
        tensor("bert.embeddings.position_embeddings.weight", torch.zeros_like),
    ),
    "every 16th weight of a layer zero": ("weights/no_holes", matrices(every(16), "layer.0")),
    "10 % of all weights zero": ("weights/no_holes", matrices(strewn(0.1), "encoder")),
    "a hole of 64 KiB at 40 % of the file": ("weights/no_holes", hole(0.4, 1 << 16)),
    "a hole of 256 KiB at 40 % of the file": ("weights/no_holes", hole(0.4, 1 << 18)),
    "a hole of 16 KiB at 80 % of the file": ("weights/no_holes", hole(0.8, 1 << 14)),
    "a layer twice": ("weights/layers_differ", weights(twice)),
    "2 bits a row": ("weights/precise", matrices(rounded(2, 1))),
    "3 bits a row": ("weights/precise", matrices(rounded(3, 1))),
    "4 bits a matrix": ("weights/precise", matrices(rounded(4, None))),
    "noise of 50 %": ("meaning/hard_comparisons", matrices(noise(0.5))),
    "noise of 100 %": ("meaning/hard_comparisons", matrices(noise(1.0))),
    "the separator's embedding drawn anew": (
        "meaning/hard_comparisons",
        tensor(WORDS, new_separator),
    ),
    "keys of the second layer transposed": (
        "meaning/hard_comparisons",
        tensor(LAYER + "1.attention.self.key.weight", lambda x: x.T),
    ),
    # Not seen: too little of the ranking is lost.
    "queries of the second layer transposed": (
        "",
        tensor(LAYER + "1.attention.self.query.weight", lambda x: x.T),
    ),
    "noise of 20 %": ("", matrices(noise(0.2))),
}
SOUND: dict[str, Build] = {
    "bfloat16": matrices(lambda x: x.bfloat16()),
    "8 bits a row": matrices(rounded(8, 1)),
    "8 bits a matrix": matrices(rounded(8, None)),
    "noise of 2 %": matrices(noise(0.02)),
    "the smallest 10 % of each matrix pruned": matrices(
        lambda x: x * (x.abs() > x.abs().flatten().kthvalue(max(1, x.numel() // 10)).values)
    ),
}


def load(folder: Path, *settings: str) -> Scorer:
    paths = ("input.path=in", "output.path=out", f"model.path={folder}")
    fixed = ("model.device=cpu", "model.dtype=float32")
    return Scorer.load(load_config(None, (*paths, *fixed, *settings)))


def main() -> None:
    """Print the table."""
    pairs = [
        (query, text) for query, *lists in hard_canaries(TECHNICAL) for x in lists for text in x
    ]
    sound = load(DEMO).score_pairs(pairs)
    relaxed = [f"preflight.checks.{group}=warn" for group in GROUPS]
    print("# Damaged models\n\nCopies of `demo/model`, by `python -m tests.faults.damaged`.\n")
    print("| what was done | Spearman | hard comparisons | seen by |\n|---|---|---|---|")
    kinds = {what: build for what, (_, build) in DAMAGED.items()} | SOUND
    with tempfile.TemporaryDirectory() as place:
        for number, (what, build) in enumerate(kinds.items()):
            folder = Path(place) / str(number)
            build(DEMO, folder)
            scorer = load(folder, *relaxed)
            rho = float(spearmanr(sound, scorer.score_pairs(pairs)).statistic)
            checks = {f"{c.group}/{c.name}": c for c in scorer.report.checks}
            won = checks["meaning/hard_comparisons"].measured.partition(" (")[2].partition(")")[0]
            failed = ", ".join(f"`{n}`" for n, c in checks.items() if not c.passed)
            print(f"| {what} | {rho:.3f} | {won} | {failed or 'accepted'} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
