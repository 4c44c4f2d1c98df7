"""A tiny checkpoint of each family, and wider ones whose products are those of real models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from tests import checkpoints, damage, decoder_checkpoints, native_checkpoints
from tests.checkpoints import LONGEST, TEXTS
from tests.cuda import layered_checkpoints
from tests.parity.common import Pair, sample_pairs

_WIDE = {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 768}
# Ragged, empty, over-long and equal texts.
PAIRS: list[Pair] = sample_pairs(128, 90)
# Long queries with several candidates each: of a prompt, most is a prefix that pairs share.
SHARED: list[Pair] = [
    (" ".join(TEXTS[first : first + 2]), passage) for first in range(4) for passage in TEXTS[4:16]
]


class Case(NamedTuple):
    """How a checkpoint is made and loaded.

    Attributes:
        make: fills a folder, returns the checkpoint's.
        settings: its keys of the configuration.
        most, query_most: `model.max_length` and `model.query_max_length`.
        waits: how often a forward of a batch reads a value from the device.

    """

    make: Callable[[Path], Path]
    settings: tuple[str, ...] = ()
    most: int = LONGEST
    query_most: int | None = None
    waits: int = 0


def wide(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
    """The same with wider layers, whose outputs are no larger."""

    def scale(weights: damage.Weights) -> None:
        for weight in weights.values():
            if weight.dim() == 2:
                weight *= (32 / _WIDE["hidden_size"]) ** 0.5

    def made(folder: Path) -> Path:
        with (
            mock.patch.dict(checkpoints._WIDTH, _WIDE),
            mock.patch.dict(decoder_checkpoints._WIDTH, _WIDE),
        ):
            make(folder / "drawn")
        return damage.with_weights(folder / "drawn", folder / "scaled", scale)

    return made


def three_labels(folder: Path) -> Path:
    """A head with three labels."""
    return checkpoints.bert_labels(folder, "contradiction", "entailment", "neutral")


def two_labels(folder: Path) -> Path:
    """A decoder's head with two labels."""
    return decoder_checkpoints.qwen3_labels(folder, "not_relevant", "relevant")


def modular(kind: str) -> Callable[[Path], Path]:
    """A head in modules, which sentence-transformers saves."""

    def made(folder: Path) -> Path:
        from tests import modular_checkpoints

        return getattr(modular_checkpoints, kind)(folder)

    return made


def _template(name: str) -> tuple[str]:
    return (f"model.template={name}",)


_FLAG, _QWEN = _template("bge-gemma"), _template("qwen3-reranker")
_COMPRESSED = ("model.compress_layers=[2,4]", "model.compress_ratio=2")

CASES = {
    "bert": Case(checkpoints.bert),
    "xlm_roberta": Case(checkpoints.xlm_roberta),
    "modernbert": Case(checkpoints.modernbert),
    "distilbert": Case(checkpoints.distilbert),
    "electra": Case(checkpoints.electra),
    "deberta": Case(checkpoints.deberta, most=700, waits=1),  # copies a constant of its buckets
    "bert_labels": Case(three_labels, ("model.label=1",)),
    "jina": Case(native_checkpoints.jina),
    "gte": Case(native_checkpoints.gte),
    "ettin": Case(modular("ettin")),
    "averaged": Case(modular("averaged")),
    "joined_poolings": Case(modular("joined_poolings")),
    "gemma": Case(decoder_checkpoints.gemma, _FLAG, 128, 96),
    "gemma_untied": Case(decoder_checkpoints.gemma_untied, _FLAG, 128, 96),
    "gemma2": Case(decoder_checkpoints.gemma2, _FLAG, 128, 96),
    "llama": Case(decoder_checkpoints.llama, _FLAG, 128, 96),
    "qwen3": Case(decoder_checkpoints.qwen3, _QWEN, 512, 300),
    "qwen2": Case(decoder_checkpoints.qwen2, _template("mxbai-rerank-v2"), 512, 300),
    "qwen3_classifier": Case(decoder_checkpoints.qwen3_classifier, _QWEN, 512, 300),
    "qwen3_labels": Case(two_labels, (), 300),
    "nemotron": Case(
        decoder_checkpoints.nemotron,
        (*_template("nemotron"), "model.trust_remote_code=true"),
        512,
        300,
    ),
    "minicpm": Case(layered_checkpoints.minicpm, ("model.cutoff_layer=[2,3,6]",), 128, 96),
    "lightweight": Case(
        layered_checkpoints.lightweight, ("model.cutoff_layer=[3,4,6]", *_COMPRESSED), 128, 96
    ),
    "monot5": Case(decoder_checkpoints.monot5, (), 512, 400),
    "monot5_untied": Case(lambda at: decoder_checkpoints.monot5(at, tied=False), (), 512, 400),
    "wide_bert": Case(wide(checkpoints.bert)),
    "wide_modernbert": Case(wide(checkpoints.modernbert)),
    "wide_llama": Case(wide(decoder_checkpoints.llama), _FLAG, 128, 96),
}
